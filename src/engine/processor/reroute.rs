//! Other routes than those that attempts were planned on: after a start, and as a reload brings them.
//!
//! Every open workflow is told, and looks at the route of what waits to be called
//! ([`Event::Rerouted`]). Whoever waits for a permit of a route that serves it goes on waiting, and finds
//! new permits at once. Whoever waits on one that is gone, or that serves another sender or channel now, is
//! planned anew on a route that serves it, or its step ends (NO_ROUTE): it does not wait in vain.
//!
//! After a start all are told before anything else is done, after a reload while the rest goes on; a permit
//! that is given out in between is of no use to whoever may not go by that route any more.

use std::sync::Arc;

use super::{BatchContext, HeldReceipts, MAX_DUE_PER_BATCH};
use crate::{
    engine::{Responder, RouteTable},
    machine::Event,
    store::StoreError,
};

impl BatchContext<'_> {
    pub(super) fn routes(
        &mut self,
        table: RouteTable,
        reply: Responder<Arc<RouteTable>>,
    ) -> Result<(), StoreError> {
        let table = Arc::new(table);
        let processor = &mut *self.processor;
        // Under a restore lock all are told when it is released.
        if !processor.is_restore_locked() && !table.goes_as(&processor.routes) {
            processor.reroute_queue = self.store.open_ids(None, usize::MAX).into();
        }
        processor.routes = Arc::clone(&table);
        let names = table.former_names();
        processor.expected_receipts.rename(names);
        processor.watermarks.rename(names);
        processor.held_receipts = HeldReceipts::of(self.store.held_receipts(), names);
        let active = table.iter().map(|route| (Arc::clone(&route.name), route.concurrency));
        processor.permits.resize(active, Arc::clone(table.weights()));
        self.effects.acks.push(Box::new(move || reply(table)));
        Ok(())
    }

    /// Gives out the permits of the routes that are in force, of which there may be more: after all tables of
    /// a batch, so that nothing starts by one that another replaces at once.
    pub(super) fn dispatch_all_waiting(&mut self) -> Result<(), StoreError> {
        let routes = Arc::clone(&self.processor.routes);
        routes.iter().try_for_each(|route| self.dispatch_waiting(&route.name))
    }

    /// Some of those that have to be told since the routes changed.
    pub(super) fn reroute(&mut self) -> Result<(), StoreError> {
        for _ in 0..MAX_DUE_PER_BATCH {
            let Some(id) = self.processor.reroute_queue.pop_front() else { break };
            self.event(id, Event::Rerouted)?;
        }
        Ok(())
    }
}
