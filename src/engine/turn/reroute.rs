//! Other routes than those that attempts were planned on: after a start, and as a reload brings them.
//!
//! Every open workflow is told, and looks at the route of what waits to be called
//! ([`Event::Rerouted`]). Whoever waits for a place on a route that serves it goes on waiting, and finds
//! new places at once. Whoever waits on one that is gone, or that serves another sender or channel now, is
//! planned anew on a route that serves it, or its step ends (NO_ROUTE): it does not wait in vain.
//!
//! After a start all are told before anything else is done, after a reload while the rest goes on; a place
//! that is given out in between is of no use to whoever may not go by that route any more.

use std::sync::Arc;

use super::{DUE_A_TURN, Reply, Work};
use crate::{engine::RouteTable, machine::Event, store::StoreError};

impl Work<'_> {
    pub(super) fn routes(
        &mut self,
        table: RouteTable,
        reply: Reply<Arc<RouteTable>>,
    ) -> Result<(), StoreError> {
        let table = Arc::new(table);
        let turn = &mut *self.turn;
        // A store that is held tells all when it is let go.
        if !turn.is_held() && !table.goes_as(&turn.routes) {
            turn.unrouted = self.store.open_ids(None, usize::MAX).into();
        }
        turn.routes = Arc::clone(&table);
        let active = table.iter().map(|route| (Arc::clone(&route.name), route.concurrency));
        turn.slots.resize(active, Arc::clone(table.weights()));
        self.out.acks.push(Box::new(move || reply(table)));
        Ok(())
    }

    /// Gives out the places of the routes that are in force, of which there may be more: after all tables of
    /// a turn, so that nothing starts by one that another replaces at once.
    pub(super) fn fill_all(&mut self) -> Result<(), StoreError> {
        let routes = Arc::clone(&self.turn.routes);
        routes.iter().try_for_each(|route| self.fill(&route.name))
    }

    /// Some of those that have to be told since the routes changed.
    pub(super) fn reroute(&mut self) -> Result<(), StoreError> {
        for _ in 0..DUE_A_TURN {
            let Some(id) = self.turn.unrouted.pop_front() else { break };
            self.event(id, Event::Rerouted)?;
        }
        Ok(())
    }
}
