//! What each command does to the workflows it concerns.

use std::sync::Arc;

use dispatch_contract::AttemptId;
use uuid::Uuid;

use super::{BatchContext, LoadedWorkflow, admission::LoadAwareRouter, inbound::says_reply};
use crate::{
    engine::{Canceled, Command, EngineError, Made, MarkedErased, NewWorkflow, Responder},
    machine::{self, AttemptState, Event, Workflow, WorkflowId},
    store::{ExistingRequest, Record, StoreError},
};

/// Commands.
impl BatchContext<'_> {
    pub(super) fn command(&mut self, command: Command) -> Result<(), StoreError> {
        match command {
            Command::Create { record, reply } => self.create(*record, reply),
            Command::Cancel { tenant, id, reply } => self.cancel(&tenant, id, reply),
            Command::Inbound { provider, account, scope, items, reply } => {
                // Most say nothing of the kind, and cost nothing for it.
                let mut replied = Vec::new();
                for (place, item) in items.into_iter().enumerate() {
                    let is_reply = says_reply(&item);
                    let found = self.inbound(&provider, &account, scope.as_ref(), item)?;
                    replied.extend(found.filter(|_| is_reply).map(|found| (place, found)));
                }
                self.effects.acks.push(Box::new(move || reply(Ok(replied))));
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
                        (account, *sent)
                    });
                }
                self.event(
                    id,
                    Event::SendResult { attempt: attempt.number, call, result: answer },
                )?;
                if let Some((account, sent)) = joins {
                    self.join_conversation(attempt, &account, &sent)?;
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
            Command::Erase { erasure, workflows, reply } => self.erase(erasure, workflows, reply),
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
        reply: Responder<Result<Made, EngineError>>,
    ) -> Result<(), StoreError> {
        if let Some(existing) = self.requested(&record)? {
            self.effects.acks.push(Box::new(move || reply(Ok(Made::Existing(existing)))));
            return Ok(());
        }
        // Only now: a repeated request is answered with the workflow that there is, however late.
        if let Some(error) = self.refusal(&record) {
            reply(Err(error));
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
        if let Some(request_id) = record.request_id() {
            self.requests.insert((Arc::clone(&record.tenant), request_id.to_owned()), id);
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
        if let Some(loaded) = self.loaded.get(&id) {
            let (state, facts) = (loaded.state.clone(), loaded.facts.clone());
            let made = Made::New(Box::new(NewWorkflow { record, state, facts }));
            self.effects.acks.push(Box::new(move || reply(Ok(made))));
        }
        Ok(())
    }

    /// What was made for a create's request id, in this batch or before it.
    fn requested(&self, record: &Record) -> Result<Option<ExistingRequest>, StoreError> {
        let Some(request_id) = record.request_id() else { return Ok(None) };
        let key = (Arc::clone(&record.tenant), request_id.to_owned());
        let in_batch = self
            .requests
            .get(&key)
            .and_then(|id| self.loaded.get(id)?.record.as_ref()?.existing_request());
        match in_batch {
            Some(known) => Ok(Some(known)),
            None => self.store.find_request(&record.tenant, request_id),
        }
    }

    /// Why no new workflow is made of a request, whatever the routes.
    fn refusal(&self, record: &Record) -> Option<EngineError> {
        if self.processor.is_short_of_space {
            return Some(EngineError::DiskFull);
        }
        if self.processor.is_restore_locked() {
            return Some(EngineError::RestoreLocked);
        }
        let is_over = record.plan.valid_until.is_some_and(|until| until <= self.now.wall);
        is_over.then_some(EngineError::TooLate)
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

    /// Whatever is answered later of these workflows, it is behind this.
    fn erase(
        &mut self,
        erasure: Uuid,
        workflows: Vec<WorkflowId>,
        reply: Responder<Result<MarkedErased, EngineError>>,
    ) -> Result<(), StoreError> {
        let mut marked = MarkedErased::default();
        for id in workflows {
            let Some(loaded) = self.load(id)? else { continue };
            let was_open = !loaded.state.has_ended();
            self.event(id, Event::Erase { erasure })?;
            let Some(loaded) = self.loaded.get(&id) else { continue };
            marked.canceled += usize::from(was_open);
            if was_open {
                marked.may_arrive.extend(started_attempts(&loaded.state));
            } else {
                let unanswered = loaded.state.unanswered().into_iter();
                marked.may_arrive.extend(unanswered.map(|number| attempt_id(id, number)));
            }
        }
        self.effects.acks.push(Box::new(move || reply(Ok(marked))));
        Ok(())
    }
}

fn attempt_id(workflow: WorkflowId, number: u16) -> AttemptId {
    AttemptId { workflow: workflow.0, number }
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
    out.map(|(number, _)| attempt_id(state.id, number)).collect()
}
