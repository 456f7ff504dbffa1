//! Who goes first on a busy route, and who is let in: what becomes of one message while a flood goes on.
//! The turn by itself on virtual time; the whole service in [`over_sockets`].

mod over_sockets;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
    time::Duration,
};

use dispatch::{
    engine::{
        Command, EngineError, Grace, Made, Processor, Route, RouteTable, RouteTenants, SendOrder,
        SenderMatch, SystemClock,
    },
    machine::{
        Fact, FailoverCondition, Moment, Outcome, Plan, Priority, Reason, SendResult, WorkflowId,
    },
    store::{MemoryStore, Record, Store},
};
use dispatch_contract::{
    Account, Capabilities, Channel, ChannelAdapter, Correlation, Status, UnixMillis,
};
use dispatch_sandbox::{ProviderConfig, SandboxAdapter, SimulatedProvider};
use uuid::Uuid;

use crate::shared::plans;

const START: u64 = 1_700_000_000_000;
const PLACES: u32 = 4;
/// How long the provider takes for a call.
const CALL_MS: u64 = 8000;
const SECOND: u64 = 1000;

fn at(ms: u64) -> Moment {
    Moment::both(UnixMillis(START + ms))
}

/// Routes of one channel, in order, each with [`PLACES`].
fn routes(names: &[&str], weights: &[(&str, u32)]) -> Arc<RouteTable> {
    let clock = Arc::new(SystemClock::new());
    let provider = Arc::new(SimulatedProvider::new(clock, ProviderConfig::default()));
    let can = Capabilities { correlation: Correlation::AttemptId, ..dispatch_sms::capabilities() };
    let adapter: Arc<dyn ChannelAdapter> =
        Arc::new(SandboxAdapter::new(Channel::SMS, can, provider));
    let account = Arc::new(Account {
        name: "main".to_owned(),
        revision: 1,
        settings: BTreeMap::new(),
        secrets: BTreeMap::new(),
    });
    let route = |name: &&str| Route {
        tenants: RouteTenants::All,
        name: Arc::from(*name),
        sender: SenderMatch::Any,
        adapter: Arc::clone(&adapter),
        account: Arc::clone(&account),
        concurrency: PLACES,
        timeout: Duration::from_secs(30),
        callback_url: None,
        external_fields: None,
    };
    let weights = weights.iter().map(|(tenant, weight)| (Arc::from(*tenant), *weight)).collect();
    Arc::new(RouteTable::new(names.iter().map(route).collect()).weighted(weights))
}

/// The engine's turns on virtual time, and a provider that takes [`CALL_MS`] for each call.
struct World {
    store: MemoryStore,
    processor: Processor,
    routes: Arc<RouteTable>,
    now: u64,
    /// The calls that are out, by when they come back.
    calls: BTreeMap<(u64, u64), SendOrder>,
    /// How many were asked for.
    asked: u64,
    /// When the first call of each workflow left, and by which route.
    left: HashMap<WorkflowId, (u64, Arc<str>)>,
    order: Vec<WorkflowId>,
    ended: HashMap<WorkflowId, Reason>,
    queues: BTreeMap<Arc<str>, [usize; 3]>,
    refused: BTreeMap<Arc<str>, u64>,
}

impl World {
    fn of(routes: Arc<RouteTable>) -> World {
        let store = MemoryStore::new();
        let grace = Grace::new(UnixMillis(START), Duration::ZERO, 0);
        let processor = Processor::new(&store, Arc::clone(&routes), grace);
        World {
            store,
            processor,
            routes,
            now: 0,
            calls: BTreeMap::new(),
            asked: 0,
            left: HashMap::new(),
            order: Vec::new(),
            ended: HashMap::new(),
            queues: BTreeMap::new(),
            refused: BTreeMap::new(),
        }
    }

    fn run(&mut self, commands: Vec<Command>) {
        let out = self.processor.run(&self.store, at(self.now), commands).unwrap();
        assert_eq!(out.broken, []);
        for row in self.store.commit(out.change_set).unwrap() {
            for fact in &row.facts {
                if let Fact::Ended(Outcome { reason, .. }) = fact {
                    self.ended.insert(row.workflow, *reason);
                }
            }
        }
        out.acks.into_iter().for_each(|ack| ack());
        self.queues.extend(out.queues);
        for (route, creates) in out.refused {
            *self.refused.entry(route).or_default() += creates;
        }
        for order in out.sends {
            let id = WorkflowId(order.attempt.workflow);
            self.left.insert(id, (self.now, Arc::clone(&order.route)));
            self.order.push(id);
            self.calls.insert((self.now + CALL_MS, self.order.len() as u64), order);
        }
    }

    /// Asks for a workflow, and tells whether it was taken.
    fn create(
        &mut self,
        tenant: &str,
        priority: Priority,
        send_within_s: u64,
    ) -> Result<WorkflowId, EngineError> {
        self.asked += 1;
        let told = Arc::new(Mutex::new(None));
        let tell = Arc::clone(&told);
        let record = record(self.asked, self.now, tenant, priority, send_within_s);
        self.run(vec![Command::Create {
            record: Box::new(record),
            reply: Box::new(move |answer| *tell.lock().unwrap() = Some(answer)),
        }]);
        let answer = told.lock().unwrap().take().expect("it was answered");
        answer.map(|made| match made {
            Made::New(new) => new.record.id,
            Made::Existing(existing) => existing.id,
        })
    }

    /// Lets time pass, and answers the calls that come back meanwhile.
    fn until(&mut self, end: u64) {
        loop {
            let due = self.processor.next_due(&self.store, at(self.now)).expected(at(self.now));
            let due = due.map(|due| due.0.saturating_sub(START));
            let back = self.calls.first_key_value().map(|((at, _), _)| *at);
            let Some(next) = due.into_iter().chain(back).min().filter(|next| *next <= end) else {
                break;
            };
            self.now = self.now.max(next);
            let later = self.calls.split_off(&(self.now + 1, 0));
            let back = std::mem::replace(&mut self.calls, later);
            let answer = |((_, number), order): ((u64, u64), SendOrder)| Command::SendResult {
                attempt: order.attempt,
                call: order.call,
                route: order.route,
                answer: SendResult::Accepted { provider_ids: vec![format!("m{number}")] },
                took_ms: CALL_MS,
                conversation: None,
            };
            self.run(back.into_iter().map(answer).collect());
        }
        self.now = self.now.max(end);
    }

    fn waited(&self, id: WorkflowId, since: u64) -> u64 {
        self.left.get(&id).expect("it was sent").0 - since
    }

    fn ended_with(&self, reason: Reason) -> usize {
        self.ended.values().filter(|of| **of == reason).count()
    }
}

fn record(number: u64, now: u64, tenant: &str, priority: Priority, within_s: u64) -> Record {
    let rule = FailoverCondition { condition: Status::Submitted, expiry_ms: Some(86_400 * SECOND) };
    let plan = Plan {
        send_within_ms: Some(within_s * SECOND),
        priority,
        ..plans::plan(vec![plans::step(Channel::SMS, Some(rule))])
    };
    Record {
        tenant: Arc::from(tenant),
        ..plans::record(WorkflowId(Uuid::from_u128(number.into())), at(now), plan)
    }
}

/// A bulk of 2,000 that may take an hour each, 20 s after its first call.
fn flooded() -> World {
    let mut world = World::of(routes(&["sms"], &[]));
    for _ in 0..2000 {
        world.create("bulk", Priority::Low, 5000).unwrap();
    }
    world.until(20 * SECOND);
    assert_eq!(world.queues["sms"], [0, 0, 1988]);
    world
}

#[test]
fn an_urgent_message_waits_for_one_call_and_not_for_the_bulk_before_it() {
    let mut world = flooded();
    for tenant in ["bulk", "other"] {
        let since = world.now;
        let urgent = world.create(tenant, Priority::High, 15).unwrap();
        world.until(since + 2 * CALL_MS);
        assert!(world.waited(urgent, since) <= CALL_MS, "{tenant}");
    }
    // The usual ones of another tenant too, and its own bulk in turn with the other's.
    let since = world.now;
    let (usual, bulk) = (
        world.create("other", Priority::Normal, 30).unwrap(),
        world.create("other", Priority::Low, 30).unwrap(),
    );
    world.until(since + 3 * CALL_MS);
    assert!(world.waited(usual, since) <= CALL_MS);
    assert!(world.waited(bulk, since) <= 2 * CALL_MS);
}

#[test]
fn what_could_not_be_sent_in_time_is_refused_and_the_route_is_named() {
    let mut world = flooded();
    // 1,989 calls of 8 s by four places.
    let refused = world.create("bulk", Priority::Low, 900).unwrap_err();
    let EngineError::RouteSaturated { route, retry_after_ms } = &refused else {
        panic!("{refused:?}")
    };
    assert_eq!((&**route, *retry_after_ms), ("sms", 1989 * CALL_MS / 4 - 900 * SECOND));
    assert!(refused.to_string().contains("route sms"), "{refused}");
    assert_eq!(world.refused, BTreeMap::from([(Arc::from("sms"), 1)]));
    // Real overload of the urgent is refused as well, and others' are taken all the same.
    let taken = (0..100).filter(|_| world.create("bulk", Priority::High, 60).is_ok()).count();
    assert!((20..=30).contains(&taken), "{taken} calls of 8 s by four places in a minute");
    world.create("other", Priority::High, 60).unwrap();
}

#[test]
fn the_low_ones_get_their_reserve_while_the_urgent_never_cease() {
    let mut world = World::of(routes(&["sms"], &[]));
    for _ in 0..400 {
        world.create("bulk", Priority::Low, 900).unwrap();
    }
    let low_ends: u64 = 900 * SECOND;
    while world.now < low_ends + CALL_MS {
        while world.queues.get("sms").is_none_or(|queue| queue[0] < 8) {
            world.create("bulk", Priority::High, 60).unwrap();
        }
        world.until(world.now + CALL_MS);
    }
    let calls = (low_ends / CALL_MS * u64::from(PLACES)) as usize;
    let low: Vec<_> = (1..=400).map(|number| WorkflowId(Uuid::from_u128(number))).collect();
    let sent = low.iter().filter(|id| world.left.contains_key(id)).count();
    assert!((calls / 10..=calls / 10 + 8).contains(&sent), "{sent} of {calls} calls");
    // What was crowded out has ended with a reason of its own, and none is lost.
    assert_eq!(world.ended_with(Reason::RouteSaturated), 400 - sent);
    assert_eq!(world.queues["sms"][2], 0);
}

#[test]
fn tenants_share_a_route_by_their_weights() {
    let mut world = World::of(routes(&["sms"], &[("gold", 3)]));
    let tenants = ["bulk", "gold", "other"];
    let of: HashMap<_, _> = (0..150)
        .map(|number| {
            let tenant = tenants[usize::from(number >= 50) + usize::from(number >= 100)];
            (world.create(tenant, Priority::Normal, 5000).unwrap(), tenant)
        })
        .collect();
    world.until(15 * CALL_MS - 1);
    let sent = |tenant| world.order[4..].iter().filter(|id| of[id] == tenant).count();
    let (bulk, gold, other) = (sent("bulk"), sent("gold"), sent("other"));
    assert_eq!(bulk + gold + other, 56);
    assert!(gold >= 33 && bulk.abs_diff(other) <= 1, "{bulk}, {gold}, {other}");
}

#[test]
fn whoever_no_longer_wants_to_be_sent_is_not_counted_as_ahead() {
    let mut world = flooded();
    assert!(world.create("bulk", Priority::Low, 900).is_err());
    for number in 13..=2000 {
        let cancel = Command::Cancel {
            tenant: Arc::from("bulk"),
            id: WorkflowId(Uuid::from_u128(number)),
            reply: Box::new(|answer| assert!(answer.is_ok())),
        };
        world.run(vec![cancel]);
    }
    assert_eq!(world.queues["sms"], [0, 0, 0]);
    let since = world.now;
    let id = world.create("bulk", Priority::Low, 15).unwrap();
    world.until(since + 2 * CALL_MS);
    assert!(world.waited(id, since) <= CALL_MS);
}

#[test]
fn a_full_route_leaves_newcomers_to_the_next_and_only_when_both_are_full_are_they_refused() {
    let mut world = World::of(routes(&["first", "second"], &[]));
    let taken = (0..1000).filter(|_| world.create("bulk", Priority::Normal, 60).is_ok()).count();
    let queued = |route| world.queues[route][1];
    assert_eq!((queued("first"), queued("second")), (240, 240), "a second each is reckoned with");
    assert_eq!(taken, 488);
    assert_eq!(world.refused, BTreeMap::from([(Arc::from("first"), 512)]));
    world.until(20 * SECOND);
    let by = |route: &str| world.left.values().filter(|(_, by)| **by == *route).count();
    assert_eq!((by("first"), by("second")), (12, 12));
}

#[test]
fn after_a_start_the_first_places_go_to_the_urgent_and_the_order_is_as_it_was() {
    let mut worlds = [false, true].map(|restarts| {
        let mut world = World::of(routes(&["sms"], &[]));
        let priorities = [Priority::Low, Priority::Normal, Priority::High];
        for number in 0..4 {
            world.create("first", priorities[number % 3], 5000).unwrap();
        }
        world.now += SECOND;
        for number in 0..24 {
            let tenant = ["b", "a"][number % 2];
            world.create(tenant, priorities[number / 8], 5000).unwrap();
        }
        if restarts {
            // What is out comes back, and nothing starts.
            world.run(vec![Command::Drain { reply: Box::new(|()| {}) }]);
            world.until(CALL_MS);
            assert_eq!(world.order.len(), 4);
            let grace = Grace::new(at(world.now).engine, Duration::ZERO, 0);
            world.processor = Processor::new(&world.store, Arc::clone(&world.routes), grace);
            world.run(Vec::new());
            assert!(!world.processor.is_recovering());
        }
        world
    });
    worlds.iter_mut().for_each(|world| world.until(100 * CALL_MS));
    let [straight, restarted] = worlds;
    assert_eq!(straight.order.len(), 28);
    assert_eq!(straight.order, restarted.order);
    let urgent = restarted.order[4..12].iter().all(|id| id.0.as_u128() > 20);
    assert!(urgent, "{:?}", restarted.order);
}
