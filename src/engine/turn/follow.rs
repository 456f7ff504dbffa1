//! One workflow in a turn: it is loaded once, told events, and what follows is done: a place sought,
//! a call ordered, a provider's id remembered.

use std::sync::Arc;

use dispatch_contract::AttemptId;

use super::{Outbox, SendOrder, Work, Working, admission::Book};
use crate::{
    engine::slots::Claim,
    machine::{self, AttemptState, Event, Fact, News, WorkflowId},
    store::{Change, Parked, StoreError},
};
/// Workflows.
impl Work<'_> {
    pub(super) fn load(&mut self, id: WorkflowId) -> Result<Option<&Working>, StoreError> {
        if !self.working.contains_key(&id) {
            let Some(state) = self.store.load(id)? else { return Ok(None) };
            let tenant = state.steps.first().map(|step| Arc::clone(&step.need.tenant));
            let working = Working {
                expected: state.sequence,
                tenant: tenant.unwrap_or_else(|| Arc::from("")),
                state,
                record: None,
                is_new: false,
                facts: Vec::new(),
                messages: Vec::new(),
            };
            self.order.push(id);
            self.working.insert(id, working);
        }
        Ok(self.working.get(&id))
    }

    pub(super) fn event(&mut self, id: WorkflowId, event: Event) -> Result<(), StoreError> {
        if self.load(id)?.is_none() {
            return Ok(());
        }
        let Some(working) = self.working.get_mut(&id) else { return Ok(()) };
        let book =
            Book { routes: &self.turn.routes, slots: &self.turn.slots, now: self.now.engine };
        let facts = machine::handle(&mut working.state, self.now, event, &book);
        self.follow(id, facts)
    }

    /// Keeps the facts, and does what they and the new state ask for.
    pub(super) fn follow(&mut self, id: WorkflowId, facts: Vec<Fact>) -> Result<(), StoreError> {
        let mut early: Vec<(u16, Vec<Parked>)> = Vec::new();
        let Some(working) = self.working.get_mut(&id) else { return Ok(()) };
        for fact in &facts {
            match fact {
                Fact::AttemptAccepted { attempt, provider_id, .. }
                | Fact::LateAnswer { attempt, provider_id: Some(provider_id), .. }
                    if !provider_id.is_empty() =>
                {
                    let sent = working.state.attempt(*attempt);
                    let Some(account) = sent.and_then(|sent| sent.account.as_ref()) else {
                        continue;
                    };
                    let account = Arc::clone(self.turn.routes.former_names().present(account));
                    let matched = self.turn.parking.take(&account, provider_id);
                    early.push((*attempt, matched));
                    let named = AttemptId { workflow: id.0, number: *attempt };
                    self.messages.insert((Arc::clone(&account), provider_id.clone()), named);
                    working.messages.push((account, provider_id.clone(), *attempt));
                }
                Fact::AttemptStarted { attempt, call, account } => {
                    self.turn.awaited.started(self.turn.routes.former_names().present(account));
                    if let Some(sent) = working.state.attempt(*attempt) {
                        self.out.sends.push(SendOrder {
                            attempt: AttemptId { workflow: id.0, number: *attempt },
                            call: *call,
                            step: sent.step,
                            useful_for_ms: working.state.useful_for_ms(sent.step, self.now),
                            route: Arc::clone(&sent.route),
                            record: working.record.clone(),
                        });
                    }
                }
                // The others ask for nothing outside.
                _ => {}
            }
        }
        working.facts.extend(facts);
        for (attempt, matched) in early {
            for parked in matched {
                self.out.batch.unpark.push(parked.key);
                let news = News {
                    report: parked.report(),
                    provider_id: Some(parked.provider_id),
                    provider_time: parked.provider_time,
                    code: parked.code,
                    detail: parked.detail,
                    usage: parked.usage,
                };
                self.event(id, Event::News { attempt, news })?;
            }
        }
        self.seek_slot(id)
    }

    pub(super) fn seek_slot(&mut self, id: WorkflowId) -> Result<(), StoreError> {
        let Some(working) = self.working.get(&id) else { return Ok(()) };
        let state = &working.state;
        let wanted = state.wants_slot().and_then(|number| Some((number, state.attempt(number)?)));
        let Some((number, attempt)) = wanted else {
            self.turn.slots.leave(id);
            return Ok(());
        };
        let route = Arc::clone(&attempt.route);
        let claim = Claim {
            tenant: Arc::clone(&working.tenant),
            priority: state.priority,
            // When it was planned or became due again, which was the last thing that happened to it: a
            // start after a crash puts it where it was.
            since: state.updated_at.engine,
        };
        if self.turn.slots.take_or_wait(&route, id, claim, self.now.engine)
            && !self.grant(id, number, &route)?
        {
            // Whoever queued while it was held, the workflow itself perhaps, is not told otherwise.
            self.fill(&route)?;
        }
        Ok(())
    }

    /// Gives a taken place to an attempt. Whether it started; if not, the place is free again.
    pub(super) fn grant(
        &mut self,
        id: WorkflowId,
        number: u16,
        route: &Arc<str>,
    ) -> Result<bool, StoreError> {
        self.event(id, Event::Slot { attempt: number })?;
        let has_started = self
            .working
            .get(&id)
            .and_then(|working| working.state.attempt(number))
            .is_some_and(|attempt| attempt.state == AttemptState::Started);
        if !has_started {
            self.turn.slots.release(route);
        }
        Ok(has_started)
    }

    /// Gives free places of a route to those who wait for one.
    pub(super) fn fill(&mut self, route: &Arc<str>) -> Result<(), StoreError> {
        while let Some(id) = self.turn.slots.next(route, self.now.engine) {
            let wanted = self.load(id)?.and_then(|working| {
                let number = working.state.wants_slot()?;
                let attempt = working.state.attempt(number)?;
                Some((number, Arc::clone(&attempt.route)))
            });
            match wanted {
                Some((number, wanted)) if wanted == *route => {
                    self.grant(id, number, route)?;
                }
                Some(_) => {
                    // It moved to another route while it waited here.
                    self.turn.slots.release(route);
                    self.seek_slot(id)?;
                }
                None => self.turn.slots.release(route),
            }
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> Outbox {
        for id in std::mem::take(&mut self.order) {
            let Some(working) = self.working.remove(&id) else { continue };
            self.turn.look_behind(&working.state, self.now);
            let names = self.turn.routes.former_names();
            self.turn.awaited.look_at(&working.state, |account| names.present(account));
            if working.facts.is_empty() {
                continue;
            }
            self.out.broken.extend(machine::check(&working.state));
            self.out.batch.changes.push(Change {
                record: working.record.filter(|_| working.is_new),
                tenant: working.tenant,
                at: self.now,
                expected: working.expected,
                facts: working.facts,
                state: working.state,
                messages: working.messages,
            });
        }
        self.out.queues = self.turn.slots.changed_depths();
        if self.turn.is_draining && self.turn.slots.taken() == 0 {
            for reply in self.turn.draining.drain(..) {
                self.out.acks.push(Box::new(move || reply(())));
            }
        }
        self.out
    }
}
