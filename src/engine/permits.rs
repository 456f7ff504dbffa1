//! Permits of routes: how many calls are out, and who waits for a permit.
//!
//! Who waits is served in the order of [`fair`](super::fair): by priority, by tenants in turn, then
//! the longest wait first. The queues are in memory alone. After a start they are filled from what is
//! stored before the first permit is given out, so that the order does not hang on which workflow
//! happened to be read first.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use dispatch_contract::UnixMillis;

use super::fair::FairQueue;
use crate::machine::{Priority, WorkflowId};

/// How long a call is taken to last, in microseconds, before the first came back: rather too long for
/// most providers, so that a route with few permits does not promise what it cannot keep.
const FIRST_CALL_US: u64 = 1_000_000;

/// The permits of all routes. One is acquired when an attempt is STARTED, and free again when its
/// call came back: never more calls are out than a route allows.
#[derive(Debug, Default)]
pub(super) struct Permits {
    routes: HashMap<Arc<str>, RoutePermits>,
    /// Where a workflow waits: on one route at most.
    waiting: HashMap<WorkflowId, (Arc<str>, PermitRequest)>,
    /// How often a tenant is served in a round; those that are not here, once.
    weights: Arc<BTreeMap<Arc<str>, u32>>,
    /// Whose queue is not as it was when that was last asked for.
    changed: HashSet<Arc<str>>,
    is_paused: bool,
}

/// Who asks for a permit, and with what right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PermitRequest {
    pub(super) tenant: Arc<str>,
    pub(super) priority: Priority,
    /// Since when it waits.
    pub(super) since: UnixMillis,
}

#[derive(Debug, Default)]
struct RoutePermits {
    capacity: u32,
    in_use: u32,
    queue: FairQueue<Arc<str>, BTreeSet<(UnixMillis, WorkflowId)>>,
    /// Moving average of call latency. µs, because ms would round short calls to 0.
    call_us: Option<u64>,
    /// When the newest call that is out began.
    newest_call_at: UnixMillis,
}

impl Permits {
    pub(super) fn new(
        capacities: impl IntoIterator<Item = (Arc<str>, u32)>,
        weights: Arc<BTreeMap<Arc<str>, u32>>,
    ) -> Self {
        let routes = capacities
            .into_iter()
            .map(|(name, capacity)| (name, RoutePermits { capacity, ..RoutePermits::default() }));
        let routes: HashMap<_, _> = routes.collect();
        let changed = routes.keys().cloned().collect();
        Permits { routes, weights, changed, ..Permits::default() }
    }

    /// Acquires a permit, or queues for one. A route that is gone has none.
    pub(super) fn acquire_or_queue(
        &mut self,
        route: &Arc<str>,
        id: WorkflowId,
        request: PermitRequest,
        now: UnixMillis,
    ) -> bool {
        match self.waiting.get(&id) {
            Some((waits_for, _)) if waits_for == route => return false,
            Some(_) => self.leave(id),
            None => {}
        }
        let permits = self.routes.entry(Arc::clone(route)).or_default();
        if !self.is_paused && permits.in_use < permits.capacity && permits.queue.len() == 0 {
            permits.in_use += 1;
            permits.newest_call_at = now;
            return true;
        }
        let weight = weight(&self.weights, &request.tenant);
        permits.queue.add(request.priority, &request.tenant, weight, (request.since, id));
        self.changed.insert(Arc::clone(route));
        self.waiting.insert(id, (Arc::clone(route), request));
        false
    }

    /// How many wait, on all routes.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// A workflow that wants no permit any more waits for none.
    pub(super) fn leave(&mut self, id: WorkflowId) {
        let Some((route, request)) = self.waiting.remove(&id) else { return };
        if let Some(permits) = self.routes.get_mut(&route) {
            permits.queue.remove(request.priority, &request.tenant, &(request.since, id));
        }
        self.changed.insert(route);
    }

    /// Routes have other capacities and tenants other weights from now on; a route that is not
    /// named has capacity 0.
    pub(super) fn resize(
        &mut self,
        capacities: impl IntoIterator<Item = (Arc<str>, u32)>,
        weights: Arc<BTreeMap<Arc<str>, u32>>,
    ) {
        for permits in self.routes.values_mut() {
            permits.capacity = 0;
        }
        for (name, capacity) in capacities {
            self.routes.entry(name).or_default().capacity = capacity;
        }
        self.weights = weights;
    }

    /// Gives a permit back.
    pub(super) fn release(&mut self, route: &str) {
        if let Some(permits) = self.routes.get_mut(route) {
            permits.in_use = permits.in_use.saturating_sub(1);
        }
    }

    /// Acquires a permit for the next in the queue, if both are there.
    pub(super) fn next(&mut self, route: &Arc<str>, now: UnixMillis) -> Option<WorkflowId> {
        let permits = self.routes.get_mut(route)?;
        if self.is_paused || permits.in_use >= permits.capacity {
            return None;
        }
        let (_, id) = permits.queue.take()?;
        permits.in_use += 1;
        permits.newest_call_at = now;
        self.waiting.remove(&id);
        self.changed.insert(Arc::clone(route));
        Some(id)
    }

    /// Remembers how long a call took.
    pub(super) fn took(&mut self, route: &str, ms: u64) {
        if let Some(permits) = self.routes.get_mut(route) {
            let us = ms.saturating_mul(1000);
            permits.call_us = Some(permits.call_us.map_or(us, |smoothed| (smoothed * 7 + us) / 8));
        }
    }

    /// How long a newcomer would wait for a permit, in milliseconds, as far as can be told: what goes
    /// before it, and nobody else.
    pub(super) fn expected_wait_ms(
        &self,
        route: &str,
        tenant: &Arc<str>,
        priority: Priority,
        now: UnixMillis,
    ) -> u64 {
        let Some(permits) = self.routes.get(route) else { return 0 };
        if permits.in_use < permits.capacity && permits.queue.len() == 0 {
            return 0;
        }
        let weight = weight(&self.weights, tenant);
        // And one more, whose permit it gets.
        let ahead = permits.queue.ahead_of(priority, tenant, weight) + 1;
        let call_us = permits.call_us(now);
        ahead.saturating_mul(call_us) / u64::from(permits.capacity.max(1)) / 1000
    }

    /// Whether permits are given out.
    pub(super) fn pause(&mut self, is_paused: bool) {
        self.is_paused = is_paused;
    }

    /// Each route as it stands, in order of name.
    pub(super) fn queues(&self, now: UnixMillis) -> Vec<RouteQueue> {
        let mut oldest: HashMap<&Arc<str>, UnixMillis> = HashMap::new();
        for (route, request) in self.waiting.values() {
            let since = oldest.entry(route).or_insert(request.since);
            *since = request.since.min(*since);
        }
        let queue = |route: Arc<str>| {
            let permits = &self.routes[&route];
            let age = oldest.get(&route).map_or(Duration::ZERO, |since| now.since(*since));
            RouteQueue {
                waiting: permits.queue.len(),
                age,
                capacity: permits.capacity,
                in_use: permits.in_use,
                call: Duration::from_micros(permits.call_us(now)),
                is_paused: self.is_paused,
                route,
            }
        };
        self.routes().into_iter().map(queue).collect()
    }

    /// How many calls are out.
    pub(super) fn in_use(&self) -> u32 {
        self.routes.values().map(|permits| permits.in_use).sum()
    }

    /// The routes, in order of name.
    pub(super) fn routes(&self) -> Vec<Arc<str>> {
        let routes: BTreeSet<_> = self.routes.keys().cloned().collect();
        routes.into_iter().collect()
    }

    /// How many wait, by priority, the highest first: of the routes where that changed since it was
    /// last asked for.
    pub(super) fn changed_depths(&mut self) -> Vec<(Arc<str>, [usize; Priority::ALL.len()])> {
        let changed = self.changed.drain();
        let depth = |route| self.routes.get(&route).map(|permits| (route, permits.queue.depths()));
        changed.filter_map(depth).collect()
    }
}

/// Who waits for a permit of a route, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteQueue {
    /// The route.
    pub route: Arc<str>,
    /// How many wait.
    pub waiting: usize,
    /// For how long the first of them has waited; zero if none waits.
    pub age: Duration,
    /// How many calls may be out.
    pub capacity: u32,
    /// How many are.
    pub in_use: u32,
    /// How long a call takes.
    pub call: Duration,
    /// Nothing is started: the service stops, or is under a restore lock.
    pub is_paused: bool,
}

impl RouteQueue {
    /// Why they wait, in a few words.
    pub fn why(&self) -> String {
        let RouteQueue { capacity, in_use, call, .. } = self;
        if self.is_paused {
            "nothing is started at the moment".to_owned()
        } else if *capacity == 0 {
            "the route is not configured any more".to_owned()
        } else if in_use >= capacity {
            let seconds = call.as_secs_f64();
            format!("all {capacity} permits are in use, and a call takes {seconds:.1} s")
        } else {
            format!("{in_use} of {capacity} permits are in use")
        }
    }
}

impl RoutePermits {
    /// How long a call takes, in microseconds. While all permits are in use the newest call shows how
    /// long it is at least: a provider that has become slow is noticed before the first answer.
    fn call_us(&self, now: UnixMillis) -> u64 {
        let known = self.call_us.unwrap_or(FIRST_CALL_US);
        let is_full = self.in_use >= self.capacity && self.in_use > 0;
        let newest_ms = if is_full { now.0.saturating_sub(self.newest_call_at.0) } else { 0 };
        known.max(newest_ms.saturating_mul(1000))
    }
}

fn weight(weights: &BTreeMap<Arc<str>, u32>, tenant: &Arc<str>) -> u32 {
    weights.get(tenant).copied().unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const NOW: UnixMillis = UnixMillis(1000);

    fn permits(capacities: &[(&Arc<str>, u32)]) -> Permits {
        let capacities = capacities.iter().map(|(name, capacity)| (Arc::clone(name), *capacity));
        Permits::new(capacities, Arc::default())
    }

    fn id(number: u128) -> WorkflowId {
        WorkflowId(Uuid::from_u128(number))
    }

    fn seek(permits: &mut Permits, route: &Arc<str>, number: u128, priority: Priority) -> bool {
        let request = PermitRequest { tenant: Arc::from("default"), priority, since: NOW };
        permits.acquire_or_queue(route, id(number), request, NOW)
    }

    fn normal(permits: &mut Permits, route: &Arc<str>, number: u128) -> bool {
        seek(permits, route, number, Priority::Normal)
    }

    #[test]
    fn who_leaves_a_congested_route_is_served_on_the_next_and_waits_on_the_first_no_more() {
        let (a, b): (Arc<str>, Arc<str>) = (Arc::from("a"), Arc::from("b"));
        let mut permits = permits(&[(&a, 1), (&b, 1)]);
        assert!(normal(&mut permits, &a, 1));
        assert!(normal(&mut permits, &b, 2));
        assert!(!normal(&mut permits, &a, 3));
        assert!(!normal(&mut permits, &b, 3), "its step failed over to b");
        permits.release(&a);
        assert_eq!(permits.next(&a, NOW), None, "it does not wait there any more");
        permits.release(&b);
        assert_eq!(permits.next(&b, NOW), Some(id(3)));
        assert_eq!(permits.in_use(), 1);
    }

    #[test]
    fn whoever_wants_no_place_any_more_is_in_nobody_s_way() {
        let a: Arc<str> = Arc::from("a");
        let mut permits = permits(&[(&a, 1)]);
        for number in 0..1001 {
            normal(&mut permits, &a, number);
        }
        permits.took(&a, 1000);
        let wait_ms = |permits: &Permits| {
            permits.expected_wait_ms("a", &Arc::from("default"), Priority::Normal, NOW)
        };
        assert_eq!(wait_ms(&permits), 1_001_000);
        assert_eq!(permits.changed_depths(), [(Arc::clone(&a), [0, 1000, 0])]);
        (1..1001).for_each(|number| permits.leave(id(number)));
        assert_eq!(wait_ms(&permits), 1000, "a place is free when the call that is out comes back");
        assert_eq!(permits.changed_depths(), [(Arc::clone(&a), [0, 0, 0])]);
        assert_eq!(permits.changed_depths(), []);
        permits.release(&a);
        assert_eq!((permits.next(&a, NOW), wait_ms(&permits)), (None, 0));
    }

    #[test]
    fn the_wait_for_a_place_is_told_by_quick_calls_too() {
        let a: Arc<str> = Arc::from("a");
        let mut permits = permits(&[(&a, 2)]);
        for number in 0..1002 {
            normal(&mut permits, &a, number);
            permits.took(&a, 3);
        }
        // A thousand wait, two capacity, three milliseconds a call.
        let wait = |permits: &Permits, now| {
            permits.expected_wait_ms("a", &Arc::from("default"), Priority::Normal, now)
        };
        assert_eq!(wait(&permits, NOW), 1501);
        // No call came back for a minute: calls do not take three milliseconds any more.
        assert_eq!(wait(&permits, UnixMillis(NOW.0 + 60_000)), 1001 * 60_000 / 2);
    }

    #[test]
    fn the_wait_for_a_place_counts_only_what_goes_before() {
        let a: Arc<str> = Arc::from("a");
        let mut permits = permits(&[(&a, 4)]);
        (0..2004).for_each(|number| {
            seek(&mut permits, &a, number, Priority::Low);
        });
        (0..4).for_each(|_| permits.took(&a, 8000));
        let wait = |tenant: &str, priority| {
            permits.expected_wait_ms("a", &Arc::from(tenant), priority, NOW) / 1000
        };
        assert_eq!(wait("default", Priority::Low), 4002);
        assert_eq!(wait("other", Priority::Low), 4, "one of the others, and it");
        assert_eq!(wait("default", Priority::Normal), 4, "one may be reserved for the lower");
        assert_eq!(wait("default", Priority::High), 4);
    }

    #[test]
    fn before_any_call_came_back_a_second_is_reckoned_with() {
        let a: Arc<str> = Arc::from("a");
        let mut permits = permits(&[(&a, 1)]);
        (0..11).for_each(|number| {
            normal(&mut permits, &a, number);
        });
        let wait = permits.expected_wait_ms("a", &Arc::from("default"), Priority::Normal, NOW);
        assert_eq!(wait, 11_000);
    }

    #[test]
    fn a_queue_tells_its_depth_its_age_and_why_it_waits() {
        let (a, b): (Arc<str>, Arc<str>) = (Arc::from("a"), Arc::from("b"));
        let mut permits = permits(&[(&a, 2), (&b, 1)]);
        (0..5).for_each(|number| {
            normal(&mut permits, &a, number);
        });
        let since = UnixMillis(NOW.0 + 30_000);
        let later =
            PermitRequest { tenant: Arc::from("default"), priority: Priority::Normal, since };
        permits.acquire_or_queue(&a, id(5), later, since);
        permits.took("a", 8000);
        let queues = permits.queues(UnixMillis(NOW.0 + 90_000));
        let (a, b) = (&queues[0], &queues[1]);
        assert_eq!((a.waiting, a.age, a.in_use), (4, Duration::from_secs(90), 2));
        assert_eq!((b.waiting, b.age, b.in_use), (0, Duration::ZERO, 0));
        assert_eq!(a.why(), "all 2 permits are in use, and a call takes 90.0 s");
        permits.pause(true);
        assert_eq!(permits.queues(NOW)[0].why(), "nothing is started at the moment");
    }

    #[test]
    fn the_urgent_go_first() {
        let a: Arc<str> = Arc::from("a");
        let mut permits = permits(&[(&a, 1)]);
        assert!(normal(&mut permits, &a, 1));
        for (number, priority) in [(2, Priority::Low), (3, Priority::Normal), (4, Priority::High)] {
            assert!(!seek(&mut permits, &a, number, priority));
        }
        let mut order = Vec::new();
        permits.release(&a);
        while let Some(next) = permits.next(&a, NOW) {
            order.push(next);
            permits.release(&a);
        }
        assert_eq!(order, [id(4), id(3), id(2)]);
    }
}
