//! The places of one share, and the tenants that take turns at them.

use std::collections::{HashMap, VecDeque};

use super::HOLD;

/// Lanes that wait for a place, by tenant, and how many places each tenant holds.
#[derive(Default)]
pub(super) struct Turns {
    tenants: HashMap<u64, Tenant>,
    /// Tenants with a lane that waits, each once, in the order of their turns.
    order: VecDeque<u64>,
    out: usize,
}

#[derive(Default)]
struct Tenant {
    lanes: VecDeque<u64>,
    out: usize,
}

impl Turns {
    /// How many places are taken.
    pub(super) fn out(&self) -> usize {
        self.out
    }

    /// A lane of `tenant`'s waits for its turn.
    pub(super) fn queue(&mut self, tenant: u64, lane: u64) {
        let of = self.tenants.entry(tenant).or_default();
        if of.lanes.is_empty() {
            self.order.push_back(tenant);
        }
        of.lanes.push_back(lane);
    }

    /// The lane whose turn it is, if `places` leave one for a tenant that waits. It waits no longer.
    pub(super) fn next(&mut self, places: usize) -> Option<u64> {
        let free = places.saturating_sub(self.out);
        // Those that hold too much already keep their turn.
        let at = self.order.iter().position(|tenant| self.out_of(*tenant) < HOLD * free)?;
        let tenant = self.order.remove(at)?;
        let of = self.tenants.get_mut(&tenant)?;
        let lane = of.lanes.pop_front();
        if !of.lanes.is_empty() {
            self.order.push_back(tenant);
        }
        self.forget(tenant);
        lane
    }

    /// `tenant` takes a place.
    pub(super) fn take(&mut self, tenant: u64) {
        self.tenants.entry(tenant).or_default().out += 1;
        self.out += 1;
    }

    /// `tenant` gives a place back.
    pub(super) fn release(&mut self, tenant: u64) {
        if let Some(of) = self.tenants.get_mut(&tenant) {
            of.out -= 1;
            self.out -= 1;
        }
        self.forget(tenant);
    }

    fn out_of(&self, tenant: u64) -> usize {
        self.tenants.get(&tenant).map_or(0, |of| of.out)
    }

    fn forget(&mut self, tenant: u64) {
        if self.tenants.get(&tenant).is_some_and(|of| of.out == 0 && of.lanes.is_empty()) {
            self.tenants.remove(&tenant);
        }
    }
}
