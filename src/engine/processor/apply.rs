//! One workflow in a batch: it is loaded once, handed events, and what follows is done: a permit asked for,
//! a call ordered, a provider's id remembered.

use std::sync::Arc;

use dispatch_contract::AttemptId;

use super::{BatchContext, LoadedWorkflow, admission::LoadAwareRouter};
use crate::{
    engine::{Effects, RecallOrder, SendOrder, permits::PermitRequest, sender_account_id},
    machine::{self, AttemptState, Event, Fact, Update, WorkflowId},
    store::{Change, HeldReceipt, StoreError},
};
/// Workflows.
impl BatchContext<'_> {
    pub(super) fn load(&mut self, id: WorkflowId) -> Result<Option<&LoadedWorkflow>, StoreError> {
        if !self.loaded.contains_key(&id) {
            let Some(state) = self.store.load(id)? else { return Ok(None) };
            let tenant = state.steps.first().map(|step| Arc::clone(&step.requirement.tenant));
            let loaded = LoadedWorkflow {
                expected: state.sequence,
                tenant: tenant.unwrap_or_else(|| Arc::from("")),
                state,
                record: None,
                is_new: false,
                facts: Vec::new(),
                messages: Vec::new(),
            };
            self.order.push(id);
            self.loaded.insert(id, loaded);
        }
        Ok(self.loaded.get(&id))
    }

    pub(super) fn event(&mut self, id: WorkflowId, event: Event) -> Result<(), StoreError> {
        if self.load(id)?.is_none() {
            return Ok(());
        }
        let Some(loaded) = self.loaded.get_mut(&id) else { return Ok(()) };
        let router = LoadAwareRouter {
            routes: &self.processor.routes,
            permits: &self.processor.permits,
            now: self.now.engine,
        };
        let facts = machine::handle(&mut loaded.state, self.now, event, &router);
        self.apply(id, facts)
    }

    /// Keeps the facts, and does what they and the new state ask for.
    pub(super) fn apply(&mut self, id: WorkflowId, facts: Vec<Fact>) -> Result<(), StoreError> {
        let mut early: Vec<(u16, Vec<HeldReceipt>)> = Vec::new();
        let Some(loaded) = self.loaded.get_mut(&id) else { return Ok(()) };
        for fact in &facts {
            match fact {
                Fact::AttemptAccepted { attempt, provider_id, .. }
                | Fact::LateSendResult { attempt, provider_id: Some(provider_id), .. }
                    if !provider_id.is_empty() =>
                {
                    let sent = loaded.state.attempt(*attempt);
                    let Some(account) = sent.and_then(|sent| sent.account.as_ref()) else {
                        continue;
                    };
                    let account = Arc::clone(self.processor.routes.former_names().present(account));
                    let mut matched = self.processor.held_receipts.take(&account, provider_id);
                    if self.processor.held_receipts.len() > 0
                        && let Some(step) =
                            sent.and_then(|it| loaded.state.steps.get(usize::from(it.step)))
                    {
                        let own = sender_account_id(&account, &step.requirement);
                        matched.extend(self.processor.held_receipts.take(&own, provider_id));
                    }
                    early.push((*attempt, matched));
                    let named = AttemptId { workflow: id.0, number: *attempt };
                    self.messages.insert((Arc::clone(&account), provider_id.clone()), named);
                    loaded.messages.push((account, provider_id.clone(), *attempt));
                }
                Fact::AttemptStarted { attempt, call, account } => {
                    self.processor
                        .expected_receipts
                        .started(self.processor.routes.former_names().present(account));
                    if let Some(sent) = loaded.state.attempt(*attempt) {
                        self.effects.sends.push(SendOrder {
                            attempt: AttemptId { workflow: id.0, number: *attempt },
                            call: *call,
                            step: sent.step,
                            useful_for_ms: loaded.state.useful_for_ms(sent.step, self.now),
                            route: Arc::clone(&sent.route),
                            record: loaded.record.clone(),
                        });
                    }
                }
                Fact::RecallStarted { attempt, .. } => {
                    let sent = loaded.state.attempt(*attempt);
                    if let Some((sent, account)) =
                        sent.and_then(|it| Some((it, it.account.clone()?)))
                    {
                        self.effects.recalls.push(RecallOrder {
                            attempt: AttemptId { workflow: id.0, number: *attempt },
                            step: sent.step,
                            route: Arc::clone(&sent.route),
                            account,
                        });
                    }
                }
                // The others ask for nothing outside.
                _ => {}
            }
        }
        loaded.facts.extend(facts);
        for (attempt, matched) in early {
            for parked in matched {
                self.effects.change_set.release_receipts.push(parked.key);
                let update = Update {
                    report: parked.report(),
                    provider_id: Some(parked.provider_id),
                    provider_time: parked.provider_time,
                    code: parked.code,
                    detail: parked.detail,
                    usage: parked.usage,
                };
                self.event(id, Event::Update { attempt, update })?;
            }
        }
        self.request_permit(id)
    }

    pub(super) fn request_permit(&mut self, id: WorkflowId) -> Result<(), StoreError> {
        let Some(loaded) = self.loaded.get(&id) else { return Ok(()) };
        let state = &loaded.state;
        let wanted = state.wants_permit().and_then(|number| Some((number, state.attempt(number)?)));
        let Some((number, attempt)) = wanted else {
            self.processor.permits.leave(id);
            return Ok(());
        };
        let route = Arc::clone(&attempt.route);
        let request = PermitRequest {
            tenant: Arc::clone(&loaded.tenant),
            priority: state.priority,
            // When it was planned or became due again, which was the last thing that happened to it: a
            // start after a crash puts it where it was.
            since: state.updated_at.engine,
        };
        if self.processor.permits.acquire_or_queue(&route, id, request, self.now.engine)
            && !self.start_attempt(id, number, &route)?
        {
            // Whoever queued while it was held, the workflow itself perhaps, is not told otherwise.
            self.dispatch_waiting(&route)?;
        }
        Ok(())
    }

    /// Starts an attempt under an acquired permit. Whether it started; if not, the permit is free again.
    pub(super) fn start_attempt(
        &mut self,
        id: WorkflowId,
        number: u16,
        route: &Arc<str>,
    ) -> Result<bool, StoreError> {
        self.event(id, Event::PermitGranted { attempt: number })?;
        let has_started = self
            .loaded
            .get(&id)
            .and_then(|loaded| loaded.state.attempt(number))
            .is_some_and(|attempt| attempt.state == AttemptState::Started);
        if !has_started {
            self.processor.permits.release(route);
        }
        Ok(has_started)
    }

    /// Gives free permits of a route to those who wait for one.
    pub(super) fn dispatch_waiting(&mut self, route: &Arc<str>) -> Result<(), StoreError> {
        while let Some(id) = self.processor.permits.next(route, self.now.engine) {
            let wanted = self.load(id)?.and_then(|loaded| {
                let number = loaded.state.wants_permit()?;
                let attempt = loaded.state.attempt(number)?;
                Some((number, Arc::clone(&attempt.route)))
            });
            match wanted {
                Some((number, wanted)) if wanted == *route => {
                    self.start_attempt(id, number, route)?;
                }
                Some(_) => {
                    // It moved to another route while it waited here.
                    self.processor.permits.release(route);
                    self.request_permit(id)?;
                }
                None => self.processor.permits.release(route),
            }
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> Effects {
        for id in std::mem::take(&mut self.order) {
            let Some(loaded) = self.loaded.remove(&id) else { continue };
            self.processor.recovery.track_deferred(&loaded.state, self.now);
            let names = self.processor.routes.former_names();
            self.processor.expected_receipts.track(&loaded.state, |account| names.present(account));
            if loaded.facts.is_empty() {
                continue;
            }
            self.effects.broken.extend(machine::check(&loaded.state));
            self.effects.change_set.changes.push(Change {
                record: loaded.record.filter(|_| loaded.is_new),
                tenant: loaded.tenant,
                at: self.now,
                expected: loaded.expected,
                facts: loaded.facts,
                state: loaded.state,
                messages: loaded.messages,
            });
        }
        self.effects.queues = self.processor.permits.changed_depths();
        if self.processor.is_draining && self.processor.permits.in_use() == 0 {
            for reply in self.processor.draining.drain(..) {
                self.effects.acks.push(Box::new(move || reply(())));
            }
        }
        self.effects
    }
}
