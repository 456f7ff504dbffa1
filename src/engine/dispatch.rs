//! Makes the calls, outside the writer, and brings their answers back.

mod recall;

use std::{borrow::Cow, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use dispatch_contract::{
    Accepted, Account, AdapterError, Busy, ChannelSender, Endpoint, ErrorKind, Fault, Retry,
    SendContext, UnixMillis,
};
use futures_util::FutureExt;

use super::{
    Addressed, Command, ConversationSend, EngineClock, Inbox, OptOutSource, OptOuts, RecallOrder,
    Route, RouteTable, SendOrder, Senders,
};
use crate::{
    machine::{CallFailure, SendResult, StepPlan, WorkflowId},
    store::{Reader, Record},
    telemetry::Metrics,
};

/// The longest text of a provider's that is kept, in bytes.
const DETAIL_BYTES: usize = 300;
/// The longest id of a provider's that is kept, in bytes, and of how many parts of one message.
const PROVIDER_ID_BYTES: usize = 1024;
const MAX_PARTS: usize = 255;
/// What is said of a message whose route is gone.
const NO_ROUTE: &str = "its route is no longer configured";
/// How many records one thread reads before others are asked to help.
const READ_TOGETHER: usize = 32;

/// Makes the calls that batches order.
pub trait CallExecutor: Send {
    /// Makes these calls by these routes. Whatever happens, exactly one [`Command::SendResult`] comes back for
    /// each, by the writer's inbox.
    fn start(&self, orders: Vec<SendOrder>, routes: &Arc<RouteTable>);

    /// Asks for these messages back. At most one [`Command::RecallResult`] comes for each.
    fn recall(&self, orders: Vec<RecallOrder>, routes: &Arc<RouteTable>);
}

/// A provider took a message.
struct Taken {
    accepted: Accepted,
    /// The sides of its conversation, where the provider tells by watermarks.
    conversation: Option<(ChannelSender, Endpoint)>,
}

/// A call that nothing stands against.
pub struct ReadyCall<'a> {
    /// By which route.
    pub route: &'a Route,
    /// What its account is called.
    pub known_as: &'a Arc<str>,
    /// What was asked for.
    pub record: &'a Arc<Record>,
    /// The step that it is for.
    pub step: &'a StepPlan,
}

/// Makes calls on the runtime it was made on.
#[derive(Clone)]
pub(super) struct Dispatcher {
    pub(super) runtime: tokio::runtime::Handle,
    pub(super) senders: Arc<dyn Senders>,
    pub(super) opt_outs: Arc<OptOuts>,
    pub(super) reader: Arc<dyn Reader>,
    pub(super) inbox: Arc<Inbox>,
    pub(super) clock: Arc<dyn EngineClock>,
    pub(super) metrics: Arc<Metrics>,
}

impl CallExecutor for Dispatcher {
    fn start(&self, orders: Vec<SendOrder>, routes: &Arc<RouteTable>) {
        let mut unread = Vec::new();
        for order in orders {
            let busy = self.clock.busy();
            if order.record.is_some() {
                self.spawn(order, Arc::clone(routes), busy);
            } else {
                unread.push((order, busy));
            }
        }
        while !unread.is_empty() {
            let some: Vec<_> = unread.drain(..unread.len().min(READ_TOGETHER)).collect();
            let (this, routes) = (self.clone(), Arc::clone(routes));
            // A read may wait for the disk. Several share a thread: the way there and back costs
            // more than a read does.
            self.runtime.spawn_blocking(move || {
                for (mut order, busy) in some {
                    match this.read(WorkflowId(order.attempt.workflow)) {
                        Ok(record) => {
                            order.record = record;
                            this.spawn(order, Arc::clone(&routes), busy);
                        }
                        Err(deferred) => this.answer(order, deferred, 0, None, busy),
                    }
                }
            });
        }
    }

    fn recall(&self, orders: Vec<RecallOrder>, routes: &Arc<RouteTable>) {
        for order in orders {
            self.spawn_recall(order, Arc::clone(routes), self.clock.busy());
        }
    }
}

impl Dispatcher {
    fn spawn(&self, order: SendOrder, routes: Arc<RouteTable>, busy: Busy) {
        let this = self.clone();
        self.runtime.spawn(async move {
            let began = this.clock.now();
            // An adapter that panics may have sent before it did.
            let called = AssertUnwindSafe(this.call(&order, &routes)).catch_unwind().await;
            let called = called.unwrap_or_else(|_| {
                if let Some(route) = routes.get(&order.route) {
                    this.metrics.adapter_panicked(route.adapter.name(), "send");
                }
                tracing::error!(route = &*order.route, attempt = %order.attempt, "the adapter panicked");
                let detail = "the adapter failed in the middle of the call";
                Err(unknown(ErrorKind::ProviderFailure, detail))
            });
            let answered = this.clock.now();
            let took = answered.since(began);
            if let Some(route) = routes.get(&order.route) {
                this.metrics.call(&order.route, route.adapter.provider(), took);
            }
            let (answer, conversation) = match called {
                Ok(Taken { accepted: Accepted { provider_ids, provider_time }, conversation }) => {
                    let conversation = conversation.map(|(sender, recipient)| {
                        let (began, answered) = (began, answered);
                        ConversationSend { sender, recipient, began, answered, provider_time }
                    });
                    let provider_ids = usable(provider_ids);
                    (SendResult::Accepted { provider_ids }, conversation.map(Box::new))
                }
                Err(answer) => (answer, None),
            };
            this.answer(order, answer, took.as_millis() as u64, conversation, busy);
        });
    }

    fn answer(
        &self,
        order: SendOrder,
        answer: SendResult,
        took_ms: u64,
        conversation: Option<Box<ConversationSend>>,
        busy: Busy,
    ) {
        let SendOrder { attempt, call, route, .. } = order;
        let answer = Command::SendResult { attempt, call, route, answer, took_ms, conversation };
        // If the engine has stopped, the next life finds the attempt STARTED and unanswered.
        let _ = self.inbox.push(answer, busy);
    }

    /// Whatever is not an acceptance is an error here.
    async fn call(&self, order: &SendOrder, routes: &RouteTable) -> Result<Taken, SendResult> {
        let now = self.clock.wall();
        let ready = may_leave(order, routes, &*self.senders, &self.opt_outs, now)?;
        let ReadyCall { route, known_as, record, step } = ready;
        let (channel, sender) = (&step.message.channel, &step.message.from);
        let account = self.account(route, &record.tenant, step)?;
        let context = SendContext {
            attempt: order.attempt,
            account: &account,
            callback_url: route.callback_url.as_deref(),
            useful_for: order.useful_for_ms.map(Duration::from_millis),
            now,
            timeout: route.timeout,
        };
        let call = route.adapter.send(&context, &step.message);
        match tokio::time::timeout(route.timeout, call).await {
            Ok(Ok(accepted)) => {
                let stands_in = || {
                    let (channel, id) = (channel.clone(), sender.value().to_owned());
                    (ChannelSender { channel, id }, step.message.to.clone())
                };
                let conversation = route.adapter.capabilities().watermarks.then(stands_in);
                Ok(Taken { accepted, conversation })
            }
            Ok(Err(error)) => {
                if error.kind == ErrorKind::OptedOut {
                    let is_own = matches!(account, Cow::Owned(_));
                    let (record, account) = (Arc::clone(record), Arc::clone(known_as));
                    self.keep_opt_out(record, order.step, account, is_own).await;
                }
                Err(answer_of(error))
            }
            Err(_) => {
                let detail = format!("no answer within {} s", route.timeout.as_secs_f64());
                Err(unknown(ErrorKind::Timeout, &detail))
            }
        }
    }

    /// The provider knows what we did not.
    async fn keep_opt_out(&self, record: Arc<Record>, step: u8, account: Arc<str>, is_own: bool) {
        let (opt_outs, now) = (Arc::clone(&self.opt_outs), self.clock.wall());
        let keep = move || {
            let Some(step) = record.plan.steps.get(usize::from(step)) else { return Ok(0) };
            let message = &step.message;
            let addressed = Addressed {
                tenant: &record.tenant,
                channel: &message.channel,
                sender: &message.from,
                recipient: &message.to,
                account: &account,
            };
            opt_outs.refused(addressed, is_own, now)
        };
        // Beside the runtime: it waits for the disk. Where it fails, the provider says so again next time.
        match tokio::task::spawn_blocking(keep).await {
            Ok(Ok(new)) => self.metrics.opted_out(OptOutSource::Provider.as_str(), new),
            Ok(Err(error)) => tracing::error!(%error, "an opt-out could not be kept"),
            Err(_) => tracing::error!("an opt-out could not be kept: it panicked"),
        }
    }

    /// The account of the route, or what the sender makes of it.
    fn account<'a>(
        &self,
        route: &'a Route,
        tenant: &str,
        step: &StepPlan,
    ) -> Result<Cow<'a, Account>, SendResult> {
        let message = &step.message;
        let Some(fields) = route.external_fields else { return Ok(Cow::Borrowed(&*route.account)) };
        let (channel, sender) = (&message.channel, &message.from);
        match self.senders.account(&route.account, fields, tenant, channel, sender) {
            Ok(Some(own)) => Ok(Cow::Owned(own)),
            Ok(None) => Ok(Cow::Borrowed(&*route.account)),
            Err(error) => {
                tracing::error!(
                    route = &*route.name,
                    error,
                    "a sender's account could not be read"
                );
                Err(not_sent("its sender's account could not be read"))
            }
        }
    }

    /// The record, or the answer that says that nothing was sent: the store may be read next time.
    fn read(&self, id: WorkflowId) -> Result<Option<Arc<Record>>, SendResult> {
        self.reader.record(id).map_err(|error| {
            tracing::error!(workflow = %id, %error, "a record could not be read");
            not_sent("its record could not be read")
        })
    }
}

/// What is looked at right before a call is made, whatever was known when it was ordered: what it needs, if it may be
/// made, or the answer to it where nothing goes out. `order` has its record.
///
/// Public, so that simulated calls leave as real ones do.
///
/// # Errors
/// With the answer, if nothing goes out.
pub fn may_leave<'a>(
    order: &'a SendOrder,
    routes: &'a RouteTable,
    senders: &dyn Senders,
    opt_outs: &OptOuts,
    now: UnixMillis,
) -> Result<ReadyCall<'a>, SendResult> {
    let known = routes.get(&order.route).zip(routes.account_of(&order.route));
    let Some((route, known_as)) = known else {
        return Err(refused(ErrorKind::Forbidden, Fault::Account, NO_ROUTE));
    };
    let record = order.record.as_ref();
    let found =
        record.and_then(|record| Some((record, record.plan.steps.get(usize::from(order.step))?)));
    let Some((record, step)) = found else {
        let detail = "its record could not be read";
        return Err(refused(ErrorKind::InvalidRequest, Fault::Content, detail));
    };
    let (channel, sender) = (&step.message.channel, &step.message.from);
    let owner = senders.owner(channel, sender);
    // Looked at here once more: what was planned under another configuration, or before another
    // tenant's account was registered, goes out for nobody.
    if !routes.may_go_by(route, &record.tenant, channel, sender, owner.as_deref()) {
        let detail = "its route serves this sender of this tenant no longer";
        return Err(refused(ErrorKind::Forbidden, Fault::Account, detail));
    }
    let recipient = &step.message.to;
    let addressed =
        Addressed { tenant: &record.tenant, channel, sender, recipient, account: known_as };
    if opt_outs.forbids(addressed, routes.former_names()) {
        let detail =
            "the person wants no messages from this sender on this channel, and told so before";
        return Err(refused(ErrorKind::OptedOut, Fault::Recipient, detail));
    }
    // Another adapter of the channel may have found it right, or an earlier version of this one.
    if let Some(wrong) = route.adapter.check(&step.message, now).first() {
        let detail = format!("its route takes no such message: {} {}", wrong.field, wrong.problem);
        return Err(refused(ErrorKind::InvalidRequest, Fault::Provider, &detail));
    }
    Ok(ReadyCall { route, known_as, record, step })
}

/// The ids by which receipts may be found: each once, none empty or beyond all measure.
fn usable(provider_ids: Vec<String>) -> Vec<String> {
    let mut usable: Vec<String> = Vec::with_capacity(provider_ids.len().min(MAX_PARTS));
    for id in provider_ids {
        let fits = !id.is_empty() && id.len() <= PROVIDER_ID_BYTES && usable.len() < MAX_PARTS;
        if fits && !usable.contains(&id) {
            usable.push(id);
        }
    }
    usable
}

/// What a failed call says to the machine. Public, so that simulated calls are answered as real ones.
pub fn answer_of(error: AdapterError) -> SendResult {
    let retry = error.retry;
    let failure = failure_of(error);
    match retry {
        Retry::Permanent => SendResult::Rejected(failure),
        Retry::Temporary { after } => SendResult::RetryLater {
            failure,
            after_ms: after.map(|after| after.as_millis() as u64),
        },
        Retry::Unknown => SendResult::Unknown(failure),
    }
}

/// A failed call, with as much of the provider's text as is kept.
fn failure_of(error: AdapterError) -> CallFailure {
    let AdapterError { kind, fault, code, cause, mut detail, retry: _ } = error;
    let end = (0..=DETAIL_BYTES.min(detail.len())).rev().find(|at| detail.is_char_boundary(*at));
    detail.truncate(end.unwrap_or(0));
    CallFailure { kind, fault, code, detail, cause }
}

/// A call that failed on our side, or without a word of the provider's.
fn failure(kind: ErrorKind, fault: Fault, detail: &str) -> CallFailure {
    CallFailure { kind, fault, code: None, detail: detail.to_owned(), cause: None }
}

/// Nothing was sent, and it may go better next time.
fn not_sent(detail: &str) -> SendResult {
    let failure = failure(ErrorKind::Unreachable, Fault::Account, detail);
    SendResult::RetryLater { failure, after_ms: None }
}

fn refused(kind: ErrorKind, fault: Fault, detail: &str) -> SendResult {
    SendResult::Rejected(failure(kind, fault, detail))
}

fn unknown(kind: ErrorKind, detail: &str) -> SendResult {
    SendResult::Unknown(failure(kind, Fault::Provider, detail))
}
