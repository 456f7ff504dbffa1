//! What providers tell, shared out: how messages of ours fare goes to the writer; who wants none, and what persons
//! write, is kept beside the journal.

use std::sync::Arc;

use dispatch_contract::{
    AttemptId, Inbound, InboundMessage, OptOut, Receipt, Report, Status, Watermark,
};

use super::{
    Command, ConversationWatermark, Engine, EngineError, HeardMessage, InboundReport, OptOutSource,
    QuotedMessage, ReceiptScope, account_id,
};
use crate::{
    contents::DayKeys,
    machine::WorkflowId,
    store::{Record, StoreError},
};

/// When it is worth telling again what found no place.
const RETRY_AFTER_MS: u64 = 1000;

/// What was told at once, by who takes it.
#[derive(Default)]
struct ToldAtOnce {
    /// For the writer. What a message of ours that was quoted reached thereby is among it.
    reports: Vec<InboundReport>,
    /// What persons wrote, and where among the reports stands what each quotes.
    messages: Vec<(InboundMessage, Option<usize>)>,
    opt_outs: Vec<OptOut>,
}

impl Engine {
    /// Takes what a provider told. Returns once it is durable.
    ///
    /// # Errors
    /// [`EngineError::Overloaded`]: nothing of it was taken. [`EngineError::Unavailable`],
    /// [`EngineError::ReadOnly`]: perhaps a part of it; told again, that changes nothing.
    pub async fn inbound(
        &self,
        provider: &str,
        account: &str,
        items: Vec<Inbound>,
    ) -> Result<(), EngineError> {
        self.inbound_of(provider, account, None, items).await
    }

    /// The same, where it counts for the messages of `scope` alone.
    ///
    /// # Errors
    /// As [`inbound`](Self::inbound).
    pub async fn inbound_of(
        &self,
        provider: &str,
        account: &str,
        scope: Option<ReceiptScope>,
        items: Vec<Inbound>,
    ) -> Result<(), EngineError> {
        let items = self.with_kept_ids(provider, items);
        self.make_days(&items).await?;
        let ToldAtOnce { reports, messages, opt_outs } = ToldAtOnce::of(items, self.days());
        let mut found = Vec::new();
        let waits_for_the_disk = !messages.is_empty() || !opt_outs.is_empty();
        let _place = match waits_for_the_disk.then(|| self.inbound_messages().place()) {
            Some(None) => return Err(EngineError::Overloaded { retry_after_ms: RETRY_AFTER_MS }),
            place => place,
        };
        // These first: they may be refused, and then nothing at all was taken.
        if !reports.is_empty() || (messages.is_empty() && opt_outs.is_empty()) {
            let (provider, account) = (Arc::from(provider), Arc::from(account));
            let (scope, items) = (scope.clone(), reports);
            found = self
                .submit(|reply| Command::Inbound { provider, account, scope, items, reply })
                .await??;
        }
        let quoted = |at: Option<usize>| {
            let of_it =
                |(place, attempt): &(usize, AttemptId)| (Some(*place) == at).then_some(*attempt);
            found.iter().find_map(of_it)
        };
        let messages: Vec<_> =
            messages.into_iter().map(|(message, at)| (message, quoted(at))).collect();
        let account = account_id(provider, account);
        // Opt-outs before messages: who is told that a person wrote STOP, must not still send to them.
        if !opt_outs.is_empty() {
            self.opted_out(&account, scope.clone(), opt_outs).await?;
        }
        match messages.is_empty() {
            true => Ok(()),
            false => self.keep_messages(&account, scope, messages).await,
        }
    }

    /// Where a conversation is named, makes the keys that it may be called by in the answers of calls that are out. Once a
    /// day.
    async fn make_days(&self, items: &[Inbound]) -> Result<(), EngineError> {
        let now = self.clock().now();
        let names_one = items.iter().any(|item| matches!(item, Inbound::Watermark(_)));
        if !names_one || self.days().has_those_of_calls_out(now) {
            return Ok(());
        }
        let days = Arc::clone(self.days());
        self.beside_the_journal(move || days.make_those_of_calls_out(now)).await
    }

    /// The same, with ids of our messages as they are kept: at this door as at that of the answer to a call, or nothing
    /// would be found by them. Not the id of what a person wrote, which is sealed with it, and answered by.
    fn with_kept_ids(&self, provider: &str, mut items: Vec<Inbound>) -> Vec<Inbound> {
        if !self.routes().has_pseudonyms(provider) {
            return items;
        }
        for item in &mut items {
            let id = match item {
                Inbound::Receipt(receipt) => receipt.provider_id.as_mut(),
                Inbound::Message(message) => message.quoted_id.as_mut(),
                _ => None,
            };
            if let Some(id) = id {
                *id = self.contents().pseudonym(provider, id);
            }
        }
        items
    }

    /// Keeps who wants no messages any more. The writer has no part in it: each call looks at the list itself.
    async fn opted_out(
        &self,
        account: &Arc<str>,
        scope: Option<ReceiptScope>,
        told: Vec<OptOut>,
    ) -> Result<(), EngineError> {
        let (opt_outs, routes, now) =
            (Arc::clone(self.opt_outs()), self.routes(), self.clock().wall());
        let account = Arc::clone(account);
        let (new, gone) = self
            .beside_the_journal(move || {
                opt_outs.told(&account, scope.as_ref(), &routes, &told, now)
            })
            .await?;
        self.metrics().opted_out(OptOutSource::Person.as_str(), new);
        self.metrics().opt_outs_lifted(OptOutSource::Person.as_str(), gone);
        Ok(())
    }

    /// Keeps what persons wrote, each with the attempt that it quotes.
    async fn keep_messages(
        &self,
        account: &Arc<str>,
        scope: Option<ReceiptScope>,
        messages: Vec<(InboundMessage, Option<AttemptId>)>,
    ) -> Result<(), EngineError> {
        let (engine, account, now) = (self.clone(), Arc::clone(account), self.clock().moment());
        let (new, repeated) = self
            .beside_the_journal(move || {
                let mut heard = Vec::new();
                for (message, quoted) in messages {
                    heard.extend(engine.owned(&account, scope.as_ref(), message, quoted)?);
                }
                engine.inbound_messages().keep(heard, now)
            })
            .await?;
        self.metrics().inbound_messages(new, repeated);
        Ok(())
    }

    /// A message, for each tenant whose it is: a sender's own account heard it for its tenants; else it is for whoever
    /// sent what it quotes, or whose the sender is. Where nothing tells that, the configuration says whose it is.
    fn owned(
        &self,
        account: &Arc<str>,
        scope: Option<&ReceiptScope>,
        message: InboundMessage,
        quoted: Option<AttemptId>,
    ) -> Result<Vec<HeardMessage>, StoreError> {
        let routes = self.routes();
        let account = routes.former_names().present(account);
        let message = InboundMessage { to: routes.as_routed(account, message.to), ..message };
        let to = routes.sender_as_named(account, &message.to);
        let (asked_by, quoted) = match quoted {
            Some(attempt) => self.quoted(attempt)?.unzip(),
            None => (None, None),
        };
        let tenants = match (scope, &asked_by) {
            (Some(scope), _) if scope.is_of(&message.to) => scope.tenants().to_vec(),
            (Some(_), _) => Vec::new(),
            (None, Some(record)) => vec![Arc::clone(&record.tenant)],
            (None, None) => {
                let owner = self.senders().owner(&message.to.channel, &to);
                let tenant = routes.tenant_of(account, &message.to, owner);
                let usual = || Arc::clone(self.inbound_messages().usual_tenant());
                vec![tenant.unwrap_or_else(usual)]
            }
        };
        let heard = |tenant: Arc<str>| {
            let asked_by = asked_by.as_ref().filter(|record| record.tenant == tenant);
            let linked = self.senders().application(&tenant, &message.to);
            let asking = asked_by.and_then(|record| record.requester.application);
            HeardMessage {
                applications: linked.into_iter().chain(asking).collect(),
                quoted: quoted.filter(|_| asked_by.is_some()),
                tenant,
                account: Arc::clone(account),
                former_accounts: routes.former_names().former(account).to_vec(),
                to: to.clone(),
                message: message.clone(),
            }
        };
        Ok(tenants.into_iter().map(heard).collect())
    }

    /// Whose message an attempt is, and which.
    fn quoted(
        &self,
        attempt: AttemptId,
    ) -> Result<Option<(Arc<Record>, QuotedMessage)>, StoreError> {
        let id = WorkflowId(attempt.workflow);
        let (Some(record), Some(workflow)) =
            (self.reader().record(id)?, self.reader().workflow(id)?)
        else {
            return Ok(None);
        };
        let step = workflow.attempt(attempt.number).map(|it| it.step);
        Ok(step.map(|step| (record, QuotedMessage { attempt, step })))
    }

    /// Does work that waits for the disk, off the runtime. Where it fails its provider is to tell it again.
    async fn beside_the_journal<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, EngineError> {
        if self.is_read_only() {
            return Err(EngineError::ReadOnly);
        }
        match tokio::task::spawn_blocking(work).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(error)) => {
                tracing::error!(%error, "what a provider told could not be kept; it is asked to tell it again");
                Err(EngineError::Unavailable)
            }
            Err(_) => Err(EngineError::Unavailable),
        }
    }
}

impl ToldAtOnce {
    fn of(items: Vec<Inbound>, days: &DayKeys) -> ToldAtOnce {
        let mut told = ToldAtOnce::default();
        for item in items {
            match item {
                Inbound::OptOut(opt_out) => told.opt_outs.push(opt_out),
                Inbound::Message(message) => {
                    let at = told.reports.len();
                    told.reports.extend(replied(&message).map(InboundReport::Receipt));
                    let quotes = told.reports.len() > at;
                    told.messages.push((message, quotes.then_some(at)));
                }
                Inbound::Receipt(receipt) => told.reports.push(InboundReport::Receipt(receipt)),
                Inbound::Watermark(Watermark { sender, recipient, status, until }) => {
                    let conversation = days.of_any(&sender, &recipient);
                    let watermark = ConversationWatermark { conversation, status, until };
                    told.reports.push(InboundReport::Watermark(watermark));
                }
                // Of a kind that is not known here.
                _ => {}
            }
        }
        told
    }
}

/// What a message of ours has reached that a person's quotes.
fn replied(message: &InboundMessage) -> Option<Receipt> {
    let InboundMessage { quoted_id, quoted_attempt, provider_time, .. } = message;
    (quoted_id.is_some() || quoted_attempt.is_some()).then(|| Receipt {
        attempt: *quoted_attempt,
        provider_id: quoted_id.clone(),
        report: Report::Reached(Status::Replied),
        provider_time: *provider_time,
        code: None,
        detail: None,
        usage: None,
    })
}
