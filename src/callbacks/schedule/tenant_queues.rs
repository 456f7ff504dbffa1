//! The permits of one share, and the tenants that take turns at them.

use std::collections::{HashMap, VecDeque};

use super::HELD_PER_FREE;

/// Destinations that wait for a permit, by tenant, and how many permits each tenant holds.
#[derive(Default)]
pub(super) struct TenantQueues {
    tenants: HashMap<u64, Tenant>,
    /// Tenants with a destination that waits, each once, in the order of their turns.
    order: VecDeque<u64>,
    in_flight: usize,
}

#[derive(Default)]
struct Tenant {
    destinations: VecDeque<u64>,
    in_flight: usize,
}

impl TenantQueues {
    /// How many permits are taken.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// A destination of `tenant`'s waits for its turn.
    pub(super) fn queue(&mut self, tenant: u64, destination: u64) {
        let of = self.tenants.entry(tenant).or_default();
        if of.destinations.is_empty() {
            self.order.push_back(tenant);
        }
        of.destinations.push_back(destination);
    }

    /// The destination whose turn it is, if `permits` leave one for a tenant that waits. It waits no longer.
    pub(super) fn next(&mut self, permits: usize) -> Option<u64> {
        let free = permits.saturating_sub(self.in_flight);
        // Those that hold too much already keep their turn.
        let at = self
            .order
            .iter()
            .position(|tenant| self.in_flight_of(*tenant) < HELD_PER_FREE * free)?;
        let tenant = self.order.remove(at)?;
        let of = self.tenants.get_mut(&tenant)?;
        let destination = of.destinations.pop_front();
        if !of.destinations.is_empty() {
            self.order.push_back(tenant);
        }
        self.forget(tenant);
        destination
    }

    /// `tenant` takes a permit.
    pub(super) fn take(&mut self, tenant: u64) {
        self.tenants.entry(tenant).or_default().in_flight += 1;
        self.in_flight += 1;
    }

    /// `tenant` gives a permit back.
    pub(super) fn release(&mut self, tenant: u64) {
        if let Some(of) = self.tenants.get_mut(&tenant) {
            of.in_flight -= 1;
            self.in_flight -= 1;
        }
        self.forget(tenant);
    }

    fn in_flight_of(&self, tenant: u64) -> usize {
        self.tenants.get(&tenant).map_or(0, |of| of.in_flight)
    }

    fn forget(&mut self, tenant: u64) {
        if self
            .tenants
            .get(&tenant)
            .is_some_and(|of| of.in_flight == 0 && of.destinations.is_empty())
        {
            self.tenants.remove(&tenant);
        }
    }
}
