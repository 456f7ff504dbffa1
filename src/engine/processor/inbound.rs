//! What providers told: of one message, by our attempt or their id, or of a conversation.

use std::sync::Arc;

use dispatch_contract::{AttemptId, Receipt, Report, Status, UnixMillis};

use super::{
    BatchContext,
    watermarks::{MAX_COVERED, Reach},
};
use crate::{
    contents::{AnyConversation, StoredOnDay, scrub},
    engine::{ConversationWatermark, ForeignReceipts, InboundReport, ReceiptScope, account_id},
    machine::{AttemptState, Event, RouteRequirement, Update, WorkflowId},
    store::{self, FoundMessage, HeldReceipt, NameHash, ReceiptKey, StoreError},
};

/// Receipts.
impl BatchContext<'_> {
    /// Takes an item. Returns the attempt that it is about, if it is one of ours and may be told of it so.
    pub(super) fn inbound(
        &mut self,
        provider: &Arc<str>,
        account: &Arc<str>,
        scope: Option<&ReceiptScope>,
        item: InboundReport,
    ) -> Result<Option<AttemptId>, StoreError> {
        let reported_by = account_id(provider, account);
        let reported_by = Arc::clone(self.processor.routes.former_names().present(&reported_by));
        let receipt = match item {
            InboundReport::Receipt(receipt) => receipt,
            InboundReport::Watermark(watermark) => {
                self.watermark(&reported_by, scope, &watermark)?;
                return Ok(None);
            }
        };
        let (attempt, mut update) = told(receipt);
        let provider_id = update.provider_id.clone();
        let mut by_name = match &provider_id {
            Some(provider_id) if attempt.is_none() => {
                self.find_message(&reported_by, provider_id)?
            }
            Some(_) | None => None,
        };
        let Some(found) = attempt.or(by_name.map(|found| found.attempt)) else {
            match provider_id {
                Some(provider_id) if self.may_be_early(&reported_by) => {
                    self.hold_update(&reported_by, scope, provider_id, update);
                }
                Some(_) | None => self.effects.unmatched += 1,
            }
            return Ok(None);
        };
        let Some(started_under) = self.account_of(found)? else {
            self.effects.unmatched += 1;
            return Ok(None);
        };
        if started_under != reported_by || !self.is_within(scope, found) {
            let reported_by = match scope {
                Some(_) => Arc::from(format!("a sender's own account over {reported_by}")),
                None => reported_by,
            };
            let first = ForeignReceipts { count: 0, reported_by, started_under };
            self.effects.foreign.get_or_insert(first).count += 1;
            return Ok(None);
        }
        if self.loaded.get(&WorkflowId(found.workflow)).is_some_and(|it| it.state.is_erased) {
            // Not held, either, whatever part it is about.
            self.effects.after_erasure += 1;
            return Ok(Some(found));
        }
        if let Some(provider_id) = &provider_id
            && attempt.is_some()
            && self.goes_in_parts(found)
        {
            by_name = self.find_message(&reported_by, provider_id)?;
        }
        let named = by_name.filter(|it| it.attempt == found);
        update.part = named.and_then(|named| named.part).filter(|_| !is_reply(update.report));
        if let Some(provider_id) = provider_id
            && named.is_none()
        {
            match self.unnamed_part(found, update.report) {
                UnnamedPart::Whole => {}
                UnnamedPart::Waits { is_accepted } => {
                    self.hold_update(&reported_by, scope, provider_id, update);
                    if !is_accepted {
                        return Ok(Some(found));
                    }
                    update = Update::plain(Status::Submitted, None);
                }
                UnnamedPart::Accepted => update = Update::plain(Status::Submitted, None),
                UnnamedPart::Strange => {
                    self.effects.unmatched += 1;
                    return Ok(None);
                }
            }
        }
        let up_since = self.processor.recovery.started_at();
        let event = Event::Update { attempt: found.number, update, up_since };
        self.event(WorkflowId(found.workflow), event)?;
        Ok(Some(found))
    }

    /// What becomes of a receipt that names one of our attempts, and its message by an id that no answer told.
    fn unnamed_part(&self, attempt: AttemptId, report: Report) -> UnnamedPart {
        let loaded = self.loaded.get(&WorkflowId(attempt.workflow));
        let Some(sent) = loaded.and_then(|it| it.state.attempt(attempt.number)) else {
            return UnnamedPart::Strange;
        };
        // A message has failed when one part has, and whoever answers, answers all of it.
        if !sent.properties.in_parts || is_reply(report) || matches!(report, Report::Failed(_)) {
            return UnnamedPart::Whole;
        }
        match sent.state {
            _ if sent.is_answered && sent.parts.is_empty() => UnnamedPart::Whole,
            _ if sent.is_answered => UnnamedPart::Strange,
            AttemptState::Started | AttemptState::Accepted | AttemptState::Recalling { .. } => {
                UnnamedPart::Waits { is_accepted: true }
            }
            // It is called again under its id, and the answer to that names the parts.
            AttemptState::Planned | AttemptState::RetryScheduled { .. } => {
                UnnamedPart::Waits { is_accepted: false }
            }
            // No answer will say how many parts there are.
            AttemptState::Unknown { .. } => UnnamedPart::Accepted,
            AttemptState::Rejected => UnnamedPart::Strange,
        }
    }

    /// Tells everything that a watermark covers.
    fn watermark(
        &mut self,
        reported_by: &Arc<str>,
        scope: Option<&ReceiptScope>,
        watermark: &ConversationWatermark,
    ) -> Result<(), StoreError> {
        let ConversationWatermark { conversation: of, status, until } = watermark;
        let reach = Reach {
            status: *status,
            // Whatever the clocks say, it tells nothing of what is still to begin.
            until: (self.processor.watermarks)
                .engine_at(self.now, reported_by, *until)
                .min(self.now.engine),
            provider_time: *until,
            scope: scope.cloned(),
        };
        let conversation = store::conversation(reported_by, &of.remembered);
        if self.processor.expected_receipts.may_receive(reported_by) {
            let now = self.now.engine;
            self.processor.watermarks.remember(now, conversation, reach.clone());
        }
        let in_batch = self.conversations.get(&conversation).into_iter().flatten();
        let in_batch = in_batch.filter(|(began, _)| *began <= reach.until).map(|(_, it)| *it);
        let mut covered: Vec<_> = in_batch.collect();
        // Of a sender's own account it says nothing to the others of that conversation.
        let after = match scope {
            None => self.processor.watermarks.told(conversation, *status, reach.until),
            Some(_) => UnixMillis(0),
        };
        covered.extend(self.stored_in(reported_by, of, (after, reach.until))?);
        let up_since = self.processor.recovery.started_at();
        for attempt in covered {
            self.load(WorkflowId(attempt.workflow))?;
            if self.is_within(scope, attempt) {
                let update = reach.update();
                let event = Event::Update { attempt: attempt.number, update, up_since };
                self.event(WorkflowId(attempt.workflow), event)?;
            }
        }
        Ok(())
    }

    /// The attempts of a conversation whose calls began between these times, the newest first and so many at most, but
    /// for the last day that is looked at.
    fn stored_in(
        &self,
        account: &Arc<str>,
        conversation: &AnyConversation,
        times: (UnixMillis, UnixMillis),
    ) -> Result<Vec<AttemptId>, StoreError> {
        let mut found = Vec::new();
        let is_within = |day: &&StoredOnDay| day.from <= times.1 && day.until > times.0;
        for day in conversation.stored.iter().filter(is_within) {
            for name in self.conversations_of(account, &day.hash) {
                found.extend(self.store.find_conversation(name, times, MAX_COVERED)?);
            }
            if found.len() >= MAX_COVERED {
                break;
            }
        }
        Ok(found)
    }

    /// What a conversation is called: under the account's present name first, then under those that it had.
    pub(super) fn conversations_of(&self, account: &Arc<str>, keyed: &NameHash) -> Vec<NameHash> {
        let former = self.processor.routes.former_names().former(account);
        let names = std::iter::once(account).chain(former);
        names.map(|name| store::conversation(name, keyed)).collect()
    }

    /// Keeps what is said of a message that the provider's answer will name.
    fn hold_update(
        &mut self,
        reported_by: &Arc<str>,
        scope: Option<&ReceiptScope>,
        provider_id: String,
        update: Update,
    ) {
        let held = HeldReceipt {
            key: 0,
            account: Arc::clone(reported_by),
            provider_id,
            at: self.now.engine,
            report: update.report.into(),
            provider_time: update.provider_time,
            code: update.code,
            detail: update.detail,
            usage: update.usage,
        };
        match scope {
            None => self.hold(held),
            Some(scope) => scope
                .ids(reported_by)
                .for_each(|account| self.hold(HeldReceipt { account, ..held.clone() })),
        }
    }

    fn hold(&mut self, held: HeldReceipt) {
        let (parked, gone) = self.processor.held_receipts.park(held);
        self.effects.change_set.hold_receipts.push(parked);
        self.effects.unmatched += usize::from(gone.is_some());
        self.effects.change_set.release_receipts.extend(gone);
    }

    /// Whether what came in this scope counts for an attempt. The attempt's workflow is loaded.
    fn is_within(&self, scope: Option<&ReceiptScope>, attempt: AttemptId) -> bool {
        scope.is_none_or(|it| self.requirement_of(attempt).is_some_and(|of| it.admits(of)))
    }

    /// What the step of an attempt needs of its route. The attempt's workflow is loaded.
    fn requirement_of(&self, attempt: AttemptId) -> Option<&RouteRequirement> {
        let state = &self.loaded.get(&WorkflowId(attempt.workflow))?.state;
        let step = state.attempt(attempt.number)?.step;
        Some(&*state.steps.get(usize::from(step))?.requirement)
    }

    /// Whether the message of an attempt may go out in parts, or did. The attempt's workflow is loaded.
    fn goes_in_parts(&self, attempt: AttemptId) -> bool {
        let loaded = self.loaded.get(&WorkflowId(attempt.workflow));
        let sent = loaded.and_then(|it| it.state.attempt(attempt.number));
        sent.is_some_and(|it| it.properties.in_parts || !it.parts.is_empty())
    }

    /// What the account is known by now that the newest call of an attempt was STARTED under; `None` if
    /// there is no such attempt, or no call of it.
    pub(super) fn account_of(
        &mut self,
        attempt: AttemptId,
    ) -> Result<Option<Arc<str>>, StoreError> {
        let routes = Arc::clone(&self.processor.routes);
        let Some(loaded) = self.load(WorkflowId(attempt.workflow))? else { return Ok(None) };
        let account = loaded.state.attempt(attempt.number).and_then(|it| it.account.as_ref());
        Ok(account.map(|account| Arc::clone(routes.former_names().present(account))))
    }

    /// Whether a receipt that names none of our attempts may be for one whose answer is still to come.
    /// Else it is a stranger's: other systems may share the account.
    fn may_be_early(&self, account: &str) -> bool {
        // What was STARTED when the backup was taken is looked at when it is let go.
        self.processor.expected_receipts.may_receive(account) || self.processor.is_restore_locked()
    }

    /// The message that an account calls so, also if it had another name when it was told.
    pub(super) fn find_message(
        &self,
        account: &Arc<str>,
        provider_id: &str,
    ) -> Result<Option<FoundMessage>, StoreError> {
        if let Some(found) = self.messages.get(&ReceiptKey::provider_id(account, provider_id)) {
            return Ok(Some(*found));
        }
        let former = self.processor.routes.former_names().former(account);
        for name in std::iter::once(account).chain(former) {
            if let Some(found) = self.store.find_message(name, provider_id)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}

/// What a receipt tells of a message, and our attempt where it names that. Of a provider's words no more than is kept:
/// whom and what the message was for is not known here, and may not be for as long as the receipt is held.
fn told(receipt: Receipt) -> (Option<AttemptId>, Update) {
    let update = Update {
        report: receipt.report,
        provider_id: receipt.provider_id,
        part: None,
        provider_time: receipt.provider_time,
        code: scrub::code(receipt.code, None),
        detail: receipt.detail.map(|said| scrub::detail(said, None)),
        usage: receipt.usage,
    };
    (receipt.attempt, update)
}

/// What becomes of a receipt of a part that no answer has named.
enum UnnamedPart {
    /// It counts for the whole message.
    Whole,
    /// It waits for the answer that names the parts. Whether it shows that the message was accepted.
    Waits { is_accepted: bool },
    /// Only so much is certain that the message was accepted.
    Accepted,
    /// The message is known by other ids.
    Strange,
}

/// Whether an item says that a message of ours was replied to.
pub(super) fn says_reply(item: &InboundReport) -> bool {
    matches!(item, InboundReport::Receipt(receipt) if is_reply(receipt.report))
}

pub(super) fn is_reply(report: Report) -> bool {
    report == Report::Reached(Status::Replied)
}
