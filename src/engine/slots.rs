//! Places on routes: how many calls are out, and who waits for one.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
};

use crate::machine::{Priority, WorkflowId};

/// The places of all routes. A place is taken when an attempt is STARTED, and free again when its
/// call came back: never more calls are out than a route allows.
#[derive(Debug, Default)]
pub(super) struct Slots {
    routes: HashMap<Arc<str>, RouteSlots>,
    /// Which queue a workflow waits in. It may stand in others still, where it is passed over.
    waiting: HashMap<WorkflowId, Arc<str>>,
    is_paused: bool,
}

#[derive(Debug, Default)]
struct RouteSlots {
    capacity: u32,
    taken: u32,
    queue: BTreeMap<Priority, VecDeque<WorkflowId>>,
    queued: usize,
    /// How long calls take, smoothed, in microseconds: of a few milliseconds nothing would be left.
    call_us: u64,
}

impl Slots {
    pub(super) fn new(capacities: impl IntoIterator<Item = (Arc<str>, u32)>) -> Self {
        let routes = capacities
            .into_iter()
            .map(|(name, capacity)| (name, RouteSlots { capacity, ..RouteSlots::default() }));
        Slots { routes: routes.collect(), ..Slots::default() }
    }

    /// Takes a place, or queues for one. A route that is gone has no places.
    pub(super) fn take_or_wait(
        &mut self,
        route: &Arc<str>,
        id: WorkflowId,
        priority: Priority,
    ) -> bool {
        let slots = self.routes.entry(Arc::clone(route)).or_default();
        if !self.is_paused && slots.taken < slots.capacity && slots.queued == 0 {
            slots.taken += 1;
            self.waiting.remove(&id);
            return true;
        }
        if self.waiting.get(&id) != Some(route) {
            self.waiting.insert(id, Arc::clone(route));
            slots.queue.entry(priority).or_default().push_back(id);
            slots.queued += 1;
        }
        false
    }

    /// Frees a place.
    pub(super) fn release(&mut self, route: &str) {
        if let Some(slots) = self.routes.get_mut(route) {
            slots.taken = slots.taken.saturating_sub(1);
        }
    }

    /// Takes a place for the next in the queue, if both are there.
    pub(super) fn next(&mut self, route: &str) -> Option<WorkflowId> {
        let slots = self.routes.get_mut(route)?;
        if self.is_paused || slots.taken >= slots.capacity {
            return None;
        }
        loop {
            let id = slots.queue.values_mut().find_map(VecDeque::pop_front)?;
            slots.queued -= 1;
            if self.waiting.get(&id).is_some_and(|waits_for| **waits_for == *route) {
                slots.taken += 1;
                self.waiting.remove(&id);
                return Some(id);
            }
        }
    }

    /// Remembers how long a call took.
    pub(super) fn took(&mut self, route: &str, ms: u64) {
        if let Some(slots) = self.routes.get_mut(route) {
            slots.call_us = (slots.call_us * 7 + ms.saturating_mul(1000)) / 8;
        }
    }

    /// How long a newcomer would wait for a place, in milliseconds, as far as can be told.
    pub(super) fn expected_wait_ms(&self, route: &str) -> u64 {
        self.routes.get(route).map_or(0, |slots| {
            let ahead = slots.queued as u64;
            ahead.saturating_mul(slots.call_us) / u64::from(slots.capacity.max(1)) / 1000
        })
    }

    /// No place is given out any more.
    pub(super) fn pause(&mut self) {
        self.is_paused = true;
    }

    /// How many calls are out.
    pub(super) fn taken(&self) -> u32 {
        self.routes.values().map(|slots| slots.taken).sum()
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn who_leaves_a_congested_route_is_served_on_the_next_and_passed_over_on_the_first() {
        let (a, b): (Arc<str>, Arc<str>) = (Arc::from("a"), Arc::from("b"));
        let mut slots = Slots::new([(Arc::clone(&a), 1), (Arc::clone(&b), 1)]);
        let id = |number| WorkflowId(Uuid::from_u128(number));
        assert!(slots.take_or_wait(&a, id(1), Priority::Normal));
        assert!(slots.take_or_wait(&b, id(2), Priority::Normal));
        assert!(!slots.take_or_wait(&a, id(3), Priority::Normal));
        assert!(!slots.take_or_wait(&b, id(3), Priority::Normal), "its step failed over to b");
        slots.release(&a);
        assert_eq!(slots.next(&a), None, "it does not wait there any more");
        slots.release(&b);
        assert_eq!(slots.next(&b), Some(id(3)));
        assert_eq!(slots.taken(), 1);
    }

    #[test]
    fn the_wait_for_a_place_is_told_by_quick_calls_too() {
        let a: Arc<str> = Arc::from("a");
        let mut slots = Slots::new([(Arc::clone(&a), 2)]);
        for number in 0..1002 {
            slots.take_or_wait(&a, WorkflowId(Uuid::from_u128(number)), Priority::Normal);
            slots.took(&a, 3);
        }
        // A thousand wait, two places, three milliseconds a call.
        assert!((1450..=1500).contains(&slots.expected_wait_ms(&a)));
    }

    #[test]
    fn the_urgent_go_first() {
        let a: Arc<str> = Arc::from("a");
        let mut slots = Slots::new([(Arc::clone(&a), 1)]);
        let id = |number| WorkflowId(Uuid::from_u128(number));
        assert!(slots.take_or_wait(&a, id(1), Priority::Normal));
        for (number, priority) in [(2, Priority::Low), (3, Priority::Normal), (4, Priority::High)] {
            assert!(!slots.take_or_wait(&a, id(number), priority));
        }
        let mut order = Vec::new();
        slots.release(&a);
        while let Some(next) = slots.next(&a) {
            order.push(next);
            slots.release(&a);
        }
        assert_eq!(order, [id(4), id(3), id(2)]);
    }
}
