//! What each command does to the workflows it concerns.

use std::sync::Arc;

use dispatch_contract::{AttemptId, Inbound, Report, Status, UnixMillis, Watermark};

use super::{
    BatchContext, LoadedWorkflow,
    admission::LoadAwareRouter,
    watermarks::{MAX_COVERED, Reach},
};
use crate::{
    engine::{
        Canceled, Command, Created, EngineError, ForeignReceipts, NewWorkflow, ReceiptScope,
        Responder, account_id,
    },
    machine::{self, AttemptState, Event, RouteRequirement, Update, Workflow, WorkflowId},
    store::{self, FoundMessage, HeldReceipt, ReceiptKey, Record, StoreError},
};
/// Commands.
impl BatchContext<'_> {
    pub(super) fn command(&mut self, command: Command) -> Result<(), StoreError> {
        match command {
            Command::Create { record, reply } => self.create(*record, reply),
            Command::Cancel { tenant, id, reply } => self.cancel(&tenant, id, reply),
            Command::Inbound { provider, account, scope, items, reply } => {
                for item in items {
                    self.inbound(&provider, &account, scope.as_ref(), item)?;
                }
                self.effects.acks.push(Box::new(move || reply(Ok(()))));
                Ok(())
            }
            Command::SendResult { attempt, call, route, answer, took_ms, conversation } => {
                self.processor.permits.release(&route);
                self.processor.permits.took(&route, took_ms);
                let id = WorkflowId(attempt.workflow);
                let mut joins = None;
                if let Some(account) = self.account_of(attempt)? {
                    self.processor.expected_receipts.answered(&account);
                    joins = conversation.map(|sent| {
                        self.processor.watermarks.compare_clocks(self.now, &account, &sent);
                        let name = store::conversation(&account, &sent.sender, &sent.recipient);
                        (name, sent.began)
                    });
                }
                self.event(
                    id,
                    Event::SendResult { attempt: attempt.number, call, result: answer },
                )?;
                if let Some((conversation, began)) = joins {
                    self.join_conversation(attempt, conversation, began)?;
                }
                self.dispatch_waiting(&route)
            }
            Command::RecallResult { attempt, result } => {
                let up_since = self.processor.recovery.started_at();
                let number = attempt.number;
                let event = Event::RecallResult { attempt: number, result, up_since };
                self.event(WorkflowId(attempt.workflow), event)
            }
            Command::Drain { reply } => {
                self.processor.permits.pause(true);
                self.processor.is_draining = true;
                self.processor.draining.push(reply);
                Ok(())
            }
            Command::Routes { table, reply } => self.routes(table, reply),
            Command::Resume { open, reply } => {
                self.resume(open, reply);
                Ok(())
            }
            Command::Tick | Command::Stop => Ok(()),
        }
    }

    pub(super) fn create(
        &mut self,
        record: Record,
        reply: Responder<Result<Created, EngineError>>,
    ) -> Result<(), StoreError> {
        if let Some(request_id) = &record.request_id {
            let key = (Arc::clone(&record.tenant), request_id.clone());
            let in_batch = self.requests.get(&key).and_then(|id| {
                self.loaded.get(id)?.record.as_ref().map(|record| (*id, record.fingerprint))
            });
            let known = match in_batch {
                Some(known) => Some(known),
                None => self.store.find_request(&record.tenant, request_id)?,
            };
            if let Some((id, fingerprint)) = known {
                let answer = if fingerprint == record.fingerprint {
                    Ok(Created { id, new: None })
                } else {
                    Err(EngineError::AlreadyExists(id))
                };
                self.effects.acks.push(Box::new(move || reply(answer)));
                return Ok(());
            }
        }
        // Only now: a repeated request is answered with the workflow that there is, however late.
        if self.processor.is_short_of_space {
            reply(Err(EngineError::DiskFull));
            return Ok(());
        }
        if self.processor.is_restore_locked() {
            reply(Err(EngineError::RestoreLocked));
            return Ok(());
        }
        if record.plan.valid_until.is_some_and(|until| until <= self.now.wall) {
            reply(Err(EngineError::TooLate));
            return Ok(());
        }
        let mut state = self.processor.requirements.workflow(&record);
        if let Some(error) = self.overload(&state) {
            // Refused before any promise: nothing of it is kept.
            if let EngineError::RouteSaturated { route, .. } = &error {
                *self.effects.refused.entry(Arc::clone(route)).or_default() += 1;
            }
            reply(Err(error));
            return Ok(());
        }
        let id = record.id;
        if let Some(request_id) = &record.request_id {
            self.requests.insert((Arc::clone(&record.tenant), request_id.clone()), id);
        }
        let record = Arc::new(record);
        let router = LoadAwareRouter {
            routes: &self.processor.routes,
            permits: &self.processor.permits,
            now: self.now.engine,
        };
        let facts = machine::create(&mut state, self.now, &router);
        let loaded = LoadedWorkflow {
            state,
            tenant: Arc::clone(&record.tenant),
            record: Some(Arc::clone(&record)),
            is_new: true,
            expected: 0,
            facts: Vec::new(),
            messages: Vec::new(),
        };
        self.order.push(id);
        self.loaded.insert(id, loaded);
        self.apply(id, facts)?;
        // As it is now; a permit that another create gives back may start it within this batch.
        let new = self.loaded.get(&id).map(|loaded| {
            let (state, facts) = (loaded.state.clone(), loaded.facts.clone());
            Box::new(NewWorkflow { record, state, facts })
        });
        self.effects.acks.push(Box::new(move || reply(Ok(Created { id, new }))));
        Ok(())
    }

    pub(super) fn cancel(
        &mut self,
        tenant: &Arc<str>,
        id: WorkflowId,
        reply: Responder<Result<Canceled, EngineError>>,
    ) -> Result<(), StoreError> {
        let Some(loaded) = self.load(id)? else {
            self.effects.acks.push(Box::new(move || reply(Err(EngineError::NotFound(id)))));
            return Ok(());
        };
        if loaded.tenant != *tenant {
            // Not even that it exists is told.
            self.effects.acks.push(Box::new(move || reply(Err(EngineError::NotFound(id)))));
            return Ok(());
        }
        if let machine::Phase::Ended(state, reason) = loaded.state.phase
            && state != machine::EndState::Canceled
        {
            let error = EngineError::AlreadyEnded { id, state, reason };
            self.effects.acks.push(Box::new(move || reply(Err(error))));
            return Ok(());
        }
        self.event(id, Event::Cancel)?;
        let started = self.loaded.get(&id).map(|loaded| started_attempts(&loaded.state));
        let canceled = Canceled { id, started: started.unwrap_or_default() };
        self.effects.acks.push(Box::new(move || reply(Ok(canceled))));
        Ok(())
    }

    pub(super) fn inbound(
        &mut self,
        provider: &Arc<str>,
        account: &Arc<str>,
        scope: Option<&ReceiptScope>,
        item: Inbound,
    ) -> Result<(), StoreError> {
        let reported_by = account_id(provider, account);
        let reported_by = Arc::clone(self.processor.routes.former_names().present(&reported_by));
        let (attempt, provider_id, mut update) = match item {
            Inbound::Receipt(receipt) => {
                let update = Update {
                    report: receipt.report,
                    provider_id: receipt.provider_id.clone(),
                    part: None,
                    provider_time: receipt.provider_time,
                    code: receipt.code,
                    detail: receipt.detail,
                    usage: receipt.usage,
                };
                (receipt.attempt, receipt.provider_id, update)
            }
            Inbound::Reply(answer) => {
                let provider_id = answer.provider_id.clone();
                let update = Update::plain(Status::Replied, answer.provider_time);
                (answer.attempt, answer.provider_id, Update { provider_id, ..update })
            }
            Inbound::Watermark(watermark) => {
                return self.watermark(&reported_by, scope, &watermark);
            }
            // A newer contract's: nothing here knows what it would mean.
            _ => return Ok(()),
        };
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
            return Ok(());
        };
        let Some(started_under) = self.account_of(found)? else {
            self.effects.unmatched += 1;
            return Ok(());
        };
        if started_under != reported_by || !self.is_within(scope, found) {
            let reported_by = match scope {
                Some(_) => Arc::from(format!("a sender's own account over {reported_by}")),
                None => reported_by,
            };
            let first = ForeignReceipts { count: 0, reported_by, started_under };
            self.effects.foreign.get_or_insert(first).count += 1;
            return Ok(());
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
                        return Ok(());
                    }
                    update = Update::plain(Status::Submitted, None);
                }
                UnnamedPart::Accepted => update = Update::plain(Status::Submitted, None),
                UnnamedPart::Strange => {
                    self.effects.unmatched += 1;
                    return Ok(());
                }
            }
        }
        self.event(WorkflowId(found.workflow), Event::Update { attempt: found.number, update })
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
        watermark: &Watermark,
    ) -> Result<(), StoreError> {
        let Watermark { sender, recipient, status, until } = watermark;
        let reach = Reach {
            status: *status,
            // Whatever the clocks say, it tells nothing of what is still to begin.
            until: (self.processor.watermarks)
                .engine_at(self.now, reported_by, *until)
                .min(self.now.engine),
            provider_time: *until,
            scope: scope.cloned(),
        };
        let conversation = store::conversation(reported_by, sender, recipient);
        if self.processor.expected_receipts.may_receive(reported_by) {
            let now = self.now.engine;
            self.processor.watermarks.remember(now, conversation, reach.clone());
        }
        let in_batch = self.conversations.get(&conversation).into_iter().flatten();
        let in_batch = in_batch.filter(|(began, _)| *began <= reach.until).map(|(_, it)| *it);
        let mut covered: Vec<_> = in_batch.collect();
        let names = self.processor.routes.former_names();
        let former = names
            .former(reported_by)
            .iter()
            .map(|name| store::conversation(name, sender, recipient));
        // Of a sender's own account it says nothing to the others of that conversation.
        let after = match scope {
            None => self.processor.watermarks.told(conversation, *status, reach.until),
            Some(_) => UnixMillis(0),
        };
        let times = (after, reach.until);
        for conversation in std::iter::once(conversation).chain(former) {
            covered.extend(self.store.find_conversation(conversation, times, MAX_COVERED)?);
        }
        for attempt in covered {
            self.load(WorkflowId(attempt.workflow))?;
            if self.is_within(scope, attempt) {
                let event = Event::Update { attempt: attempt.number, update: reach.update() };
                self.event(WorkflowId(attempt.workflow), event)?;
            }
        }
        Ok(())
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
    fn account_of(&mut self, attempt: AttemptId) -> Result<Option<Arc<str>>, StoreError> {
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

pub(super) fn is_reply(report: Report) -> bool {
    report == Report::Reached(Status::Replied)
}

/// The attempts of a workflow that may go out, or went.
fn started_attempts(state: &Workflow) -> Vec<AttemptId> {
    let is_out = |attempt: &machine::Attempt| match attempt.state {
        AttemptState::Started
        | AttemptState::Accepted
        | AttemptState::Recalling { .. }
        | AttemptState::Unknown { .. } => true,
        AttemptState::Planned | AttemptState::RetryScheduled { .. } => attempt.is_uncertain,
        AttemptState::Rejected => false,
    };
    let numbered = (1..).zip(&state.attempts);
    let out = numbered.filter(|(_, attempt)| is_out(attempt));
    out.map(|(number, _)| AttemptId { workflow: state.id.0, number }).collect()
}
