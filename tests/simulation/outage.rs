//! A provider is down for ten virtual minutes, and many wait for it: nobody is lost, no more calls
//! are out than the route allows, who waits longest goes first, and batches do not grow with the crowd.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use dispatch::{
    engine::{Command, Grace, Processor, SendOrder, answer_of},
    machine::{
        Fact, FailoverCondition, Moment, Plan, PolicySnapshot, Priority, SendResult, WorkflowId,
    },
    store::{MemoryStore, Record, Store},
};
use dispatch_contract::{AdapterError, Channel, ErrorKind, Fault, Retry, Status, UnixMillis};
use uuid::Uuid;

use crate::{
    routes,
    scenario::{RouteSpec, START, text_step},
    shared::plans,
};

const PLACES: u32 = 64;
const DOWN_MS: u64 = 600_000;
/// How long the disk takes for a commit, and a call when it fails and when it does not.
const COMMIT_MS: u64 = 20;
const FAILS_MS: u64 = 5;
const TAKES_MS: u64 = 50;
const SPAN_MS: u64 = 50_000;
/// How many creates a batch takes, as the inbox does it.
const CREATES_A_BATCH: u64 = 512;

/// What an outage was like.
#[derive(Debug)]
pub struct Outage {
    pub workflows: u64,
    pub calls: u64,
    pub batches: u64,
    pub longest_batch: Duration,
    /// What a call cost in batches while everybody waited, in the best of several spans: so that
    /// whatever else the machine does meanwhile is left out.
    pub call_costs: Duration,
    /// When the last message was taken, after the provider was back.
    pub done_after_ms: u64,
}

/// Lives through it, and checks all but the time that batches take.
pub fn live(workflows: u64) -> Outage {
    let spec = RouteSpec {
        name: Arc::from("sms"),
        channel: Channel::SMS,
        tells: vec![Status::Submitted],
        provider: "alpha",
        account: "main",
        concurrency: PLACES,
        timeout_ms: 10_000,
        idempotent_ms: None,
        echoes: true,
        recalls: false,
        bundles_receipts: false,
        in_parts: false,
        watermarks: None,
    };
    let specs = [spec];
    let table = Arc::new(routes::table(&specs, &routes::Names::all(&specs)));
    let mut store = MemoryStore::new();
    let at = |ms: u64| Moment::both(UnixMillis(START + ms));
    let mut processor = Processor::new(&store, table, Grace::new(at(0).engine, Duration::ZERO, 0));
    let created = Arc::new(AtomicU64::new(0));
    let mut asked = 0;
    let mut calls: BTreeMap<(u64, u64), (SendOrder, SendResult)> = BTreeMap::new();
    let mut queued: HashMap<WorkflowId, u64> = HashMap::new();
    let mut last_start: BTreeMap<Priority, u64> = BTreeMap::new();
    let mut seen = Outage {
        workflows,
        calls: 0,
        batches: 0,
        longest_batch: Duration::ZERO,
        call_costs: Duration::MAX,
        done_after_ms: 0,
    };
    let (mut now, mut succeeded) = (0, 0);
    let (mut spent, mut span_ends, mut calls_before) = (Duration::ZERO, SPAN_MS, 0);
    loop {
        if now >= span_ends {
            // The first span has the creates in it.
            if now < DOWN_MS && span_ends > SPAN_MS {
                let calls = u32::try_from(seen.calls - calls_before).unwrap_or(u32::MAX).max(1);
                seen.call_costs = seen.call_costs.min(spent / calls);
            }
            (spent, span_ends, calls_before) = (Duration::ZERO, now + SPAN_MS, seen.calls);
        }
        let mut commands = Vec::new();
        while let Some(entry) = calls.first_entry().filter(|entry| entry.key().0 <= now) {
            let (SendOrder { attempt, call, route, .. }, answer) = entry.remove();
            commands.push(Command::SendResult {
                attempt,
                call,
                route,
                answer,
                took_ms: FAILS_MS,
                conversation: None,
            });
        }
        let more = CREATES_A_BATCH.min(workflows - asked);
        for number in asked..asked + more {
            let created = Arc::clone(&created);
            let reply = Box::new(move |answer: Result<_, _>| {
                created.fetch_add(u64::from(answer.is_ok()), Ordering::Relaxed);
            });
            commands.push(Command::Create { record: Box::new(record(number, now)), reply });
        }
        asked += more;

        let began = Instant::now();
        let out = processor.run(&store, at(now), commands).expect("a memory store can be read");
        let took = began.elapsed();
        seen.batches += 1;
        spent += took;
        seen.longest_batch = seen.longest_batch.max(took);
        assert_eq!(out.broken, []);
        let rows = store.commit(out.change_set).expect("a memory store takes everything");
        out.acks.into_iter().for_each(|ack| ack());
        for (id, fact) in rows.iter().flat_map(|row| row.facts.iter().map(|f| (row.workflow, f))) {
            match fact {
                Fact::AttemptPlanned { .. } | Fact::AttemptDue { .. } => {
                    queued.insert(id, seen.batches);
                }
                Fact::StepMet { .. } => {
                    succeeded += 1;
                    seen.done_after_ms = now.saturating_sub(DOWN_MS);
                }
                _ => {}
            }
        }
        for order in out.sends {
            seen.calls += 1;
            let id = WorkflowId(order.attempt.workflow);
            let since = queued.get(&id).copied().expect("who starts was waiting");
            let last = last_start.entry(priority(id)).or_default();
            assert!(
                *last <= since,
                "{id} waits since batch {since}, and one of batch {last} went first"
            );
            *last = since;
            let left = now + COMMIT_MS;
            let (back, answer) = if left < DOWN_MS {
                (left + FAILS_MS, answer_of(unreachable(), None))
            } else {
                (
                    left + TAKES_MS,
                    SendResult::Accepted { provider_ids: vec![format!("m{}", seen.calls)] },
                )
            };
            calls.insert((back, seen.calls), (order, answer));
            assert!(calls.len() <= PLACES as usize, "{} calls are out", calls.len());
        }
        let due = processor.next_due(&store, at(now)).expected(at(now));
        let due = due.map(|due| due.0.saturating_sub(START));
        let answer = calls.first_key_value().map(|((at, _), _)| *at);
        let next = if asked < workflows { Some(now) } else { due.into_iter().chain(answer).min() };
        match next {
            Some(next) => now = next.max(now + COMMIT_MS),
            None => break,
        }
    }
    assert_eq!(
        (created.load(Ordering::Relaxed), succeeded),
        (workflows, workflows),
        "nobody is lost"
    );
    assert_eq!((store.open_count(), processor.calls_in_flight()), (0, 0));
    // The last retry may have been just before the provider was back; then there is the queue.
    let queue_ms = (workflows / u64::from(PLACES) + 1) * (TAKES_MS + 2 * COMMIT_MS);
    let limit_ms = PolicySnapshot::default().retry_max_ms + 2 * queue_ms + 1000;
    assert!(seen.done_after_ms <= limit_ms, "{seen:?}, and not more than {limit_ms} ms is right");
    seen
}

fn priority(id: WorkflowId) -> Priority {
    match id.0.as_u128() % 10 {
        0 => Priority::High,
        1 => Priority::Low,
        _ => Priority::Normal,
    }
}

fn unreachable() -> AdapterError {
    let retry = Retry::Temporary { after: None };
    AdapterError::new(ErrorKind::Unreachable, Fault::Provider, retry, "connection refused")
}

fn record(number: u64, now: u64) -> Record {
    let id = WorkflowId(Uuid::from_u128(u128::from(number) + 1));
    let rule = FailoverCondition { condition: Status::Submitted, expiry_ms: Some(86_400_000) };
    let plan = Plan {
        send_within_ms: Some(86_400_000),
        priority: priority(id),
        ..plans::plan(vec![text_step(Channel::SMS, Some(rule))])
    };
    plans::record(id, Moment::both(UnixMillis(START + now)), plan)
}
