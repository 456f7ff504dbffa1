//! Makes the calls, outside the writer, and brings their answers back.

mod recall;

use std::{borrow::Cow, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use dispatch_contract::{
    Accepted, Account, AdapterError, Busy, Channel, ChannelSender, Endpoint, ErrorKind, Fault,
    Message, Retry, SendContext, UnixMillis,
};
use futures_util::FutureExt;

use super::{
    Addressed, Command, ConversationSend, EngineClock, Inbox, OptOutSource, OptOuts, RecallOrder,
    Route, RouteTable, SendOrder, Senders,
};
use crate::{
    contents::{CallConversation, ContentsKeeper, DayKeys, scrub},
    machine::{CallFailure, SendResult, StepPlan, WorkflowId},
    store::{Reader, Record},
    telemetry::Metrics,
};

/// The longest id of a provider's that is kept, in bytes, and of how many parts of one message.
const PROVIDER_ID_BYTES: usize = 1024;
const MAX_PARTS: usize = 255;
/// What is said of a message whose route is gone.
const NO_ROUTE: &str = "its route is no longer configured";
/// What is said of a message that nobody can read.
const UNOPENED: &str = "its contents could not be opened";
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
    /// What goes out.
    pub message: Message,
}

/// Makes calls on the runtime it was made on.
#[derive(Clone)]
pub(super) struct Dispatcher {
    pub(super) runtime: tokio::runtime::Handle,
    pub(super) senders: Arc<dyn Senders>,
    pub(super) contents: Arc<ContentsKeeper>,
    pub(super) opt_outs: Arc<OptOuts>,
    pub(super) days: Arc<DayKeys>,
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
                let ids: Vec<_> =
                    some.iter().map(|(order, _)| WorkflowId(order.attempt.workflow)).collect();
                let records = this.read_all(&ids);
                for ((mut order, busy), record) in some.into_iter().zip(records) {
                    match record {
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
                    let conversation = match conversation {
                        Some((sender, recipient)) => this.joined(sender, recipient, began).await,
                        None => None,
                    };
                    let conversation = conversation.map(|conversation| ConversationSend {
                        conversation,
                        began,
                        answered,
                        provider_time,
                    });
                    let provider_ids = this.kept_ids(&order.route, &routes, provider_ids);
                    (SendResult::Accepted { provider_ids }, conversation.map(Box::new))
                }
                Err(answer) => (answer, None),
            };
            this.answer(order, answer, took.as_millis() as u64, conversation, busy);
        });
    }

    /// What the conversation is called that a message was put into by a call that began then; `None`, and a line in the log,
    /// if the day's key could not be made: what is told of the conversation does not reach the message.
    async fn joined(
        &self,
        sender: ChannelSender,
        recipient: Endpoint,
        began: UnixMillis,
    ) -> Option<CallConversation> {
        if let Some(known) = self.days.known(&sender, &recipient, began) {
            return Some(known);
        }
        // Once a day: it waits for the disk.
        let days = Arc::clone(&self.days);
        let named = move || days.of_call(&sender, &recipient, began);
        let named = tokio::task::spawn_blocking(named).await.ok()?;
        named
            .inspect_err(
                |error| tracing::error!(%error, "a message is not found by its conversation"),
            )
            .ok()
    }

    /// The ids by which a message is known from now on.
    fn kept_ids(&self, route: &str, routes: &RouteTable, provider_ids: Vec<String>) -> Vec<String> {
        let provider_ids = usable(provider_ids);
        match routes.get(route).map(|route| route.adapter.provider()) {
            Some(provider) if routes.has_pseudonyms(provider) => {
                let pseudonym = |id: String| self.contents.pseudonym(provider, &id);
                provider_ids.into_iter().map(pseudonym).collect()
            }
            Some(_) | None => provider_ids,
        }
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
        let check = LastCheck {
            routes,
            senders: &*self.senders,
            contents: &self.contents,
            opt_outs: &self.opt_outs,
        };
        let ReadyCall { route, known_as, record, message } = check.ready(order, now)?;
        let account = self.account(route, &record.tenant, &message.channel, &message.from)?;
        let context = SendContext {
            attempt: order.attempt,
            account: &account,
            callback_url: route.callback_url.as_deref(),
            useful_for: order.useful_for_ms.map(Duration::from_millis),
            now,
            timeout: route.timeout,
        };
        let call = route.adapter.send(&context, &message);
        match tokio::time::timeout(route.timeout, call).await {
            Ok(Ok(accepted)) => {
                let stands_in = || {
                    let (channel, id) = (message.channel.clone(), message.from.value().to_owned());
                    (ChannelSender { channel, id }, message.to.clone())
                };
                let conversation = route.adapter.capabilities().watermarks.then(stands_in);
                Ok(Taken { accepted, conversation })
            }
            Ok(Err(error)) => {
                let kind = error.kind;
                let answer = answer_of(error, Some(&message));
                if kind == ErrorKind::OptedOut {
                    let is_own = matches!(account, Cow::Owned(_));
                    let (tenant, account) = (Arc::clone(&record.tenant), Arc::clone(known_as));
                    self.keep_opt_out(tenant, message, account, is_own).await;
                }
                Err(answer)
            }
            Err(_) => {
                let detail = format!("no answer within {} s", route.timeout.as_secs_f64());
                Err(unknown(ErrorKind::Timeout, &detail))
            }
        }
    }

    /// The provider knows what we did not.
    async fn keep_opt_out(
        &self,
        tenant: Arc<str>,
        message: Message,
        account: Arc<str>,
        is_own: bool,
    ) {
        let (opt_outs, now) = (Arc::clone(&self.opt_outs), self.clock.wall());
        let keep = move || {
            let addressed = Addressed {
                tenant: &tenant,
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
        channel: &Channel,
        sender: &Endpoint,
    ) -> Result<Cow<'a, Account>, SendResult> {
        let Some(fields) = route.external_fields else { return Ok(Cow::Borrowed(&*route.account)) };
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

    /// The records of some workflows, read at once; one that cannot be read spoils no other.
    fn read_all(&self, ids: &[WorkflowId]) -> Vec<Result<Option<Arc<Record>>, SendResult>> {
        match self.reader.records(ids) {
            Ok(records) => records.into_iter().map(Ok).collect(),
            Err(_) => ids.iter().map(|id| self.read(*id)).collect(),
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

/// What is looked at right before a call is made, whatever was known when it was ordered.
///
/// Public, so that simulated calls leave as real ones do.
pub struct LastCheck<'a> {
    /// The routes that are in force.
    pub routes: &'a RouteTable,
    /// Whose the senders are.
    pub senders: &'a dyn Senders,
    /// Opens what goes out.
    pub contents: &'a ContentsKeeper,
    /// Who wants no messages.
    pub opt_outs: &'a OptOuts,
}

impl<'a> LastCheck<'a> {
    /// What the call needs, if it may be made at `now`. `order` has its record.
    ///
    /// # Errors
    /// With the answer to the call, if nothing goes out.
    pub fn ready(
        &self,
        order: &'a SendOrder,
        now: UnixMillis,
    ) -> Result<ReadyCall<'a>, SendResult> {
        let routes = self.routes;
        let known = routes.get(&order.route).zip(routes.account_of(&order.route));
        let Some((route, known_as)) = known else {
            return Err(refused(ErrorKind::Forbidden, Fault::Account, NO_ROUTE));
        };
        let record = order.record.as_ref();
        let found = record
            .and_then(|record| Some((record, record.plan.steps.get(usize::from(order.step))?)));
        let Some((record, step)) = found else {
            let detail = "its record could not be read";
            return Err(refused(ErrorKind::InvalidRequest, Fault::Content, detail));
        };
        let (channel, sender) = (&step.channel, &step.sender);
        let owner = self.senders.owner(channel, sender);
        // Looked at here once more: what was planned under another configuration, or before another
        // tenant's account was registered, goes out for nobody.
        if !routes.may_go_by(route, &record.tenant, channel, sender, owner.as_deref()) {
            let detail = "its route serves this sender of this tenant no longer";
            return Err(refused(ErrorKind::Forbidden, Fault::Account, detail));
        }
        let message = self.message(record, step, order.step)?;
        let recipient = &message.to;
        let addressed =
            Addressed { tenant: &record.tenant, channel, sender, recipient, account: known_as };
        if self.opt_outs.forbids(addressed, routes.former_names()) {
            let detail =
                "the person wants no messages from this sender on this channel, and told so before";
            return Err(refused(ErrorKind::OptedOut, Fault::Recipient, detail));
        }
        // Another adapter of the channel may have found it right, or an earlier version of this one.
        if let Some(wrong) = route.adapter.check(&message, now).first() {
            let detail =
                format!("its route takes no such message: {} {}", wrong.field, wrong.problem);
            return Err(refused(ErrorKind::InvalidRequest, Fault::Provider, &detail));
        }
        Ok(ReadyCall { route, known_as, record, message })
    }

    /// What goes out: never with a hole in it.
    fn message(&self, record: &Record, plan: &StepPlan, step: u8) -> Result<Message, SendResult> {
        let opened = self.contents.open(record).map_err(|error| {
            tracing::error!(workflow = %record.id, %error, "what is to be sent could not be opened");
            not_sent(UNOPENED)
        })?;
        opened.into_message(plan, step).ok_or_else(|| not_sent(UNOPENED))
    }
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
/// Of what the provider says nothing is kept that repeats `message`, where that is known.
pub fn answer_of(error: AdapterError, message: Option<&Message>) -> SendResult {
    let retry = error.retry;
    let failure = failure_of(error, message);
    match retry {
        Retry::Permanent => SendResult::Rejected(failure),
        Retry::Temporary { after } => SendResult::RetryLater {
            failure,
            after_ms: after.map(|after| after.as_millis() as u64),
        },
        Retry::Unknown => SendResult::Unknown(failure),
    }
}

/// A failed call, with as much of the provider's words as is kept.
fn failure_of(error: AdapterError, message: Option<&Message>) -> CallFailure {
    let AdapterError { kind, fault, code, cause, detail, retry: _ } = error;
    let (code, detail) = (scrub::code(code, message), scrub::detail(detail, message));
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
