//! The turn by itself, stepped by hand: what a restart owes, and what it must not do twice.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use dispatch::{
    engine::{
        Grace, Input, Outbox, Route, RouteTable, RouteTenants, SenderMatch, SystemClock, Turn,
    },
    machine::{
        Answer, Fact, OnLateSuccess, OnUnknown, Plan, Priority, Refusal, StepPlan, Template, Terms,
        WorkflowId,
    },
    store::{MemoryStore, Record, Requester, Store},
};
use dispatch_contract::{
    Account, Channel, ChannelAdapter, Content, Endpoint, ErrorKind, Fault, Message, Options,
    UnixMillis,
};
use dispatch_sandbox::{Provider, ProviderConfig, SandboxAdapter};
use uuid::Uuid;

const START: u64 = 1_700_000_000_000;

fn routes(concurrency: u32) -> Arc<RouteTable> {
    let clock = Arc::new(SystemClock::new(UnixMillis(0)));
    let provider = Arc::new(Provider::new(clock, ProviderConfig::default()));
    let can = dispatch_sms::capabilities();
    let adapter: Arc<dyn ChannelAdapter> =
        Arc::new(SandboxAdapter::new(Channel::SMS, can, provider));
    let account = Account {
        name: "main".to_owned(),
        revision: 1,
        settings: BTreeMap::new(),
        secrets: BTreeMap::new(),
    };
    Arc::new(RouteTable::new(vec![Route {
        name: Arc::from("sms"),
        tenants: RouteTenants::All,
        sender: SenderMatch::Any,
        adapter,
        account: Arc::new(account),
        concurrency,
        timeout: Duration::from_secs(1),
        callback_url: None,
    }]))
}

fn create(number: u128) -> Input {
    let plan = Plan {
        template: Template::Failover,
        steps: vec![StepPlan {
            message: Message {
                channel: Channel::SMS,
                from: Endpoint::Number("12345".to_owned()),
                to: Endpoint::Number("447700900000".to_owned()),
                content: Content::Text("x".to_owned()),
                options: Options::default(),
            },
            rule: None,
        }],
        send_at: None,
        valid_until: None,
        send_within_ms: Some(86_400_000),
        on_late_success: OnLateSuccess::Stop,
        on_unknown: OnUnknown::WaitReceipt,
        priority: Priority::Normal,
        labels: BTreeMap::new(),
        client_ref: None,
    };
    let record = Record {
        id: WorkflowId(Uuid::from_u128(number)),
        tenant: Arc::from("default"),
        created_at: UnixMillis(START),
        fingerprint: plan.fingerprint(),
        requester: Requester::default(),
        plan,
        terms: Terms::default(),
        request_id: None,
    };
    Input::Create { record: Box::new(record), reply: Box::new(|_| {}) }
}

/// Makes the batch durable, and lets the rest happen.
fn settle(store: &mut MemoryStore, out: Outbox) -> (Vec<Fact>, Vec<dispatch::engine::SendOrder>) {
    let rows = store.commit(out.batch).unwrap();
    out.acks.into_iter().for_each(|ack| ack());
    assert_eq!(out.broken, []);
    (rows.iter().flat_map(|row| row.facts.clone()).collect(), out.sends)
}

fn at(ms: u64) -> UnixMillis {
    UnixMillis(START + ms)
}

fn no_grace(ms: u64) -> Grace {
    Grace { started_at: at(ms), until: at(ms) }
}

#[test]
fn a_restart_with_thousands_of_overdue_retries_takes_none_of_its_own_calls_for_lost() {
    const MANY: usize = 3000;
    let routes = routes(10_000);
    let mut store = MemoryStore::new();
    let mut turn = Turn::new(&store, Arc::clone(&routes), no_grace(0));
    let inputs = (1..=MANY as u128).map(create).collect();
    let out = turn.run(&store, at(0), inputs).unwrap();
    let (_, sends) = settle(&mut store, out);
    assert_eq!(sends.len(), MANY);
    let refusal = Refusal {
        kind: ErrorKind::Throttled,
        fault: Fault::Provider,
        code: None,
        detail: "not now".to_owned(),
    };
    let answers = sends.into_iter().map(|order| Input::Answer {
        attempt: order.attempt,
        call: order.call,
        route: order.route,
        answer: Answer::Deferred { refusal: refusal.clone(), after_ms: None },
        took_ms: 1,
    });
    let out = turn.run(&store, at(1), answers.collect()).unwrap();
    settle(&mut store, out);

    let hour = 3_600_000;
    let mut turn = Turn::new(&store, routes, no_grace(hour));
    let (mut facts, mut sends) = (Vec::new(), Vec::new());
    while turn.is_recovering() || turn.next_due(&store, at(hour)).is_some_and(|due| due <= at(hour))
    {
        let out = turn.run(&store, at(hour), Vec::new()).unwrap();
        let (more_facts, more_sends) = settle(&mut store, out);
        facts.extend(more_facts);
        sends.extend(more_sends);
    }
    assert_eq!(sends.len(), MANY);
    let unknown = facts.iter().filter(|fact| matches!(fact, Fact::AttemptUnknown { .. })).count();
    assert_eq!(unknown, 0);
}

#[test]
fn what_was_started_and_not_answered_is_unknown_after_a_restart_and_what_was_planned_goes_on() {
    let routes = routes(2);
    let mut store = MemoryStore::new();
    let mut turn = Turn::new(&store, Arc::clone(&routes), no_grace(0));
    let out = turn.run(&store, at(0), (1..=5).map(create).collect()).unwrap();
    let (_, sends) = settle(&mut store, out);
    assert_eq!(sends.len(), 2, "two places");

    let mut turn = Turn::new(&store, routes, no_grace(10));
    let out = turn.run(&store, at(10), Vec::new()).unwrap();
    assert!(!turn.is_recovering());
    let (facts, sends) = settle(&mut store, out);
    let unknown = facts.iter().filter(|fact| matches!(fact, Fact::AttemptUnknown { .. })).count();
    assert_eq!((unknown, sends.len(), turn.calls_out()), (2, 2, 2));
}

#[test]
fn a_drain_starts_nothing_and_tells_when_the_last_call_came_back() {
    let mut store = MemoryStore::new();
    let mut turn = Turn::new(&store, routes(1), no_grace(0));
    let out = turn.run(&store, at(0), (1..=3).map(create).collect()).unwrap();
    let (_, mut sends) = settle(&mut store, out);
    let told = Arc::new(Mutex::new(false));
    let tell = Arc::clone(&told);
    let drain = Input::Drain { reply: Box::new(move |()| *tell.lock().unwrap() = true) };
    let out = turn.run(&store, at(1), vec![drain]).unwrap();
    settle(&mut store, out);
    assert!(!*told.lock().unwrap());
    let order = sends.remove(0);
    let answer = Input::Answer {
        attempt: order.attempt,
        call: order.call,
        route: order.route,
        answer: Answer::Accepted { provider_id: "p".to_owned() },
        took_ms: 1,
    };
    let out = turn.run(&store, at(2), vec![answer]).unwrap();
    let (_, sends) = settle(&mut store, out);
    assert!(sends.is_empty(), "nothing starts while draining");
    assert!(*told.lock().unwrap());
}
