//! Other routes between two turns, as a reload of the configuration brings them.
//!
//! Whoever waits for a place on a route that is the same but for its limits goes on waiting, and finds
//! new places at once. Whoever waits on one that is gone, or that serves another sender or channel now,
//! is planned anew on a route that serves it, or its step ends (NO_ROUTE): it does not wait in vain.

use std::sync::Arc;

use super::{DUE_A_TURN, Reply, Work};
use crate::{
    engine::{Route, RouteTable},
    machine::Event,
    store::StoreError,
};

impl Work<'_> {
    pub(super) fn routes(
        &mut self,
        table: RouteTable,
        reply: Reply<Arc<RouteTable>>,
    ) -> Result<(), StoreError> {
        let old = Arc::clone(&self.turn.routes);
        let table = Arc::new(table);
        self.turn.routes = Arc::clone(&table);
        self.turn.has_rerouted = true;
        let active = table.iter().map(|route| (Arc::clone(&route.name), route.concurrency));
        self.turn.slots.resize(active, Arc::clone(table.weights()));
        for route in old.iter() {
            if !table.iter().any(|new| is_the_same_way(route, new)) {
                self.turn.unrouted.extend(self.turn.slots.take_waiting(&route.name));
            }
        }
        for route in table.iter() {
            self.fill(&route.name)?;
        }
        self.out.acks.push(Box::new(move || reply(table)));
        Ok(())
    }

    /// Some of those that have to be looked at since the routes changed.
    pub(super) fn reroute(&mut self) -> Result<(), StoreError> {
        if self.turn.is_held() {
            return Ok(());
        }
        for _ in 0..DUE_A_TURN {
            let Some(id) = self.turn.unrouted.pop_front() else { break };
            self.load(id)?;
            self.seek_slot(id)?;
        }
        Ok(())
    }

    /// Whether an attempt that is about to ask for a place is on a route that does not serve it any
    /// more. Then it is told so, and what follows is done.
    pub(super) fn leaves_its_route(
        &mut self,
        id: crate::machine::WorkflowId,
        number: u16,
    ) -> Result<bool, StoreError> {
        if !self.turn.has_rerouted {
            return Ok(false);
        }
        let Some(working) = self.working.get(&id) else { return Ok(false) };
        let Some(attempt) = working.state.attempt(number) else { return Ok(false) };
        let step = working.state.steps.get(usize::from(attempt.step));
        let serves =
            step.is_some_and(|step| self.turn.routes.still_serves(&attempt.route, &step.need));
        if serves {
            return Ok(false);
        }
        self.event(id, Event::RouteGone { attempt: number })?;
        Ok(true)
    }
}

/// Whether messages go the same way by both, whatever the limits.
fn is_the_same_way(old: &Route, new: &Route) -> bool {
    old.name == new.name
        && old.sender == new.sender
        && old.adapter.name() == new.adapter.name()
        && old.account.name == new.account.name
}
