//! The processor by itself, stepped by hand: what a restart owes, and what it must not do twice.

mod erased;
mod parts;
mod watermarks;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use dispatch::{
    contents::{AnyConversation, CallConversation, StoredOnDay},
    engine::{
        Command, ConversationSend, ConversationWatermark, Effects, FormerNames, Grace,
        InboundReport, Made, Processor, Route, RouteTable, RouteTenants, SendOrder, SenderMatch,
        SystemClock,
    },
    machine::{
        CallFailure, Fact, FailoverCondition, Moment, Plan, Reason, SendResult, StepPlan,
        WorkflowId,
    },
    store::{MemoryStore, Row, Store},
};
use dispatch_contract::{
    Account, AddressForm, AttemptId, Capabilities, Channel, Correlation, ErrorKind, Fault, Receipt,
    Report, Status, UnixMillis, Usage,
};
use dispatch_sandbox::{ProviderConfig, SandboxAdapter, SimulatedProvider};
use uuid::Uuid;

use crate::shared::{engines::sms_route, plans};

const START: u64 = 1_700_000_000_000;

fn routes(concurrency: u32) -> Arc<RouteTable> {
    Arc::new(sms_route("sms", concurrency))
}

fn create(number: u128) -> Command {
    let plan = Plan {
        send_within_ms: Some(86_400_000),
        ..plans::plan(vec![plans::step(Channel::SMS, None)])
    };
    let record = plans::record(WorkflowId(Uuid::from_u128(number)), at(0), plan);
    Command::Create { record: Box::new(record), reply: Box::new(|_| {}) }
}

/// A step to be delivered within 600 s, and one behind it.
fn with_failover(command: Command, valid_until: Option<UnixMillis>) -> Command {
    let Command::Create { mut record, reply } = command else { panic!("no create") };
    let last = record.plan.steps[0].clone();
    let rule = Some(FailoverCondition { condition: Status::Delivered, expiry_ms: Some(600_000) });
    record.plan.steps = vec![StepPlan { failover: rule, ..last.clone() }, last];
    record.plan.valid_until = valid_until;
    Command::Create { record, reply }
}

/// Makes the batch durable, and lets the rest happen.
fn settle(store: &mut MemoryStore, out: Effects) -> (Vec<Fact>, Vec<SendOrder>) {
    let rows = store.commit(out.change_set).unwrap();
    out.acks.into_iter().for_each(|ack| ack());
    assert_eq!(out.broken, []);
    (rows.iter().flat_map(|row| row.facts.clone()).collect(), out.sends)
}

fn at(ms: u64) -> Moment {
    Moment::both(UnixMillis(START + ms))
}

fn no_grace(ms: u64) -> Grace {
    Grace::new(at(ms).engine, Duration::ZERO, 0)
}

#[test]
fn a_restart_with_thousands_of_overdue_retries_takes_none_of_its_own_calls_for_lost() {
    const MANY: usize = 3000;
    let routes = routes(10_000);
    let mut store = MemoryStore::new();
    let mut processor = Processor::new(&store, Arc::clone(&routes), no_grace(0));
    let commands = (1..=MANY as u128).map(create).collect();
    let out = processor.run(&store, at(0), commands).unwrap();
    let (_, sends) = settle(&mut store, out);
    assert_eq!(sends.len(), MANY);
    let failure = CallFailure {
        kind: ErrorKind::Throttled,
        fault: Fault::Provider,
        code: None,
        detail: "not now".to_owned(),
        cause: None,
    };
    let answers = sends.into_iter().map(|order| Command::SendResult {
        attempt: order.attempt,
        call: order.call,
        route: order.route,
        answer: SendResult::RetryLater { failure: failure.clone(), after_ms: None },
        took_ms: 1,
        conversation: None,
    });
    let out = processor.run(&store, at(1), answers.collect()).unwrap();
    settle(&mut store, out);

    let hour = 3_600_000;
    let mut processor = Processor::new(&store, routes, no_grace(hour));
    let (mut facts, mut sends) = (Vec::new(), Vec::new());
    while processor.is_recovering() || processor.next_due(&store, at(hour)).is_due(at(hour)) {
        let out = processor.run(&store, at(hour), Vec::new()).unwrap();
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
    let mut processor = Processor::new(&store, Arc::clone(&routes), no_grace(0));
    let out = processor.run(&store, at(0), (1..=5).map(create).collect()).unwrap();
    let (_, sends) = settle(&mut store, out);
    assert_eq!(sends.len(), 2, "two places");

    let mut processor = Processor::new(&store, routes, no_grace(10));
    let out = processor.run(&store, at(10), Vec::new()).unwrap();
    assert!(!processor.is_recovering());
    let (facts, sends) = settle(&mut store, out);
    let unknown = facts.iter().filter(|fact| matches!(fact, Fact::AttemptUnknown { .. })).count();
    assert_eq!((unknown, sends.len(), processor.calls_in_flight()), (2, 2, 2));
}

#[test]
fn a_drain_starts_nothing_and_tells_when_the_last_call_came_back() {
    let mut store = MemoryStore::new();
    let mut processor = Processor::new(&store, routes(1), no_grace(0));
    let out = processor.run(&store, at(0), (1..=3).map(create).collect()).unwrap();
    let (_, mut sends) = settle(&mut store, out);
    let told = Arc::new(Mutex::new(false));
    let tell = Arc::clone(&told);
    let drain = Command::Drain { reply: Box::new(move |()| *tell.lock().unwrap() = true) };
    let out = processor.run(&store, at(1), vec![drain]).unwrap();
    settle(&mut store, out);
    assert!(!*told.lock().unwrap());
    let order = sends.remove(0);
    let answer = Command::SendResult {
        attempt: order.attempt,
        call: order.call,
        route: order.route,
        answer: SendResult::Accepted { provider_ids: vec!["p".to_owned()] },
        took_ms: 1,
        conversation: None,
    };
    let out = processor.run(&store, at(2), vec![answer]).unwrap();
    let (_, sends) = settle(&mut store, out);
    assert!(sends.is_empty(), "nothing starts while draining");
    assert!(*told.lock().unwrap());
}

fn told(account: &str, attempt: Option<AttemptId>, provider_id: &str) -> Command {
    let provider_id = Some(provider_id.to_owned());
    inbound(account, receipt(attempt, provider_id, Status::Delivered))
}

fn receipt(attempt: Option<AttemptId>, provider_id: Option<String>, reached: Status) -> Receipt {
    Receipt {
        attempt,
        provider_id,
        report: Report::Reached(reached),
        provider_time: None,
        code: None,
        detail: None,
        usage: Some(Usage { currency: "EUR".to_owned(), price: "0.03".to_owned() }),
    }
}

fn inbound(account: &str, receipt: Receipt) -> Command {
    Command::Inbound {
        provider: Arc::from("sandbox"),
        account: Arc::from(account),
        scope: None,
        items: vec![InboundReport::Receipt(receipt)],
        reply: Box::new(|_| {}),
    }
}

#[test]
fn a_message_of_which_a_receipt_told_first_is_found_by_the_id_that_its_answer_tells() {
    for id_first in [false, true] {
        let mut store = MemoryStore::new();
        let mut processor = Processor::new(&store, routes(1), no_grace(0));
        let mut run = |ms, commands| {
            let out = processor.run(&store, at(ms), commands).unwrap();
            let unmatched = out.unmatched;
            let (facts, sends) = settle(&mut store, out);
            (unmatched, facts, sends)
        };
        let (_, _, sends) = run(0, vec![create(1)]);
        let SendOrder { attempt, call, route, .. } = sends[0].clone();
        let ours = inbound("main", receipt(Some(attempt), None, Status::Submitted));
        let (_, facts, _) = run(1, vec![ours]);
        assert!(matches!(facts[..], [Fact::AttemptAccepted { .. }]), "{facts:?}");
        // By the provider's id alone, before the answer that tells it or behind.
        let theirs = || told("main", None, "m1");
        let mut all = Vec::new();
        if id_first {
            assert_eq!(run(2, vec![theirs()]).1, []);
        }
        let answer = SendResult::Accepted { provider_ids: vec!["m1".to_owned()] };
        let command =
            Command::SendResult { attempt, call, route, answer, took_ms: 1, conversation: None };
        all.extend(run(3, vec![command]).1);
        if !id_first {
            let (unmatched, facts, _) = run(4, vec![theirs()]);
            assert_eq!(unmatched, 0);
            all.extend(facts);
        }
        assert!(all.iter().any(|fact| matches!(fact, Fact::Ended(_))), "{all:?}");
    }
}

#[test]
fn a_receipt_is_held_while_its_account_has_a_call_out_or_in_doubt_and_no_longer() {
    let mut store = MemoryStore::new();
    let mut processor = Processor::new(&store, routes(1), no_grace(0));
    let mut step = |ms, commands| {
        let out = processor.run(&store, at(ms), commands).unwrap();
        let counts = (
            out.change_set.hold_receipts.len(),
            out.change_set.release_receipts.len(),
            out.unmatched,
        );
        let (facts, sends) = settle(&mut store, out);
        (counts, facts, sends)
    };
    let (counts, ..) = step(0, vec![told("main", None, "m1")]);
    assert_eq!(counts, (0, 0, 1), "nothing is out");
    let (_, _, mut sends) = step(1, vec![create(1), create(2)]);
    let order = sends.remove(0);
    let other = told("other", None, "m1");
    let (counts, ..) = step(2, vec![told("main", None, "m1"), other, told("main", None, "m9")]);
    assert_eq!(counts, (2, 0, 1), "of the other account nothing is out");
    let answer = |order: &SendOrder, answer| Command::SendResult {
        attempt: order.attempt,
        call: order.call,
        route: Arc::clone(&order.route),
        answer,
        took_ms: 1,
        conversation: None,
    };
    let accepted = SendResult::Accepted { provider_ids: vec!["m1".to_owned()] };
    let (counts, facts, mut sends) = step(3, vec![answer(&order, accepted)]);
    assert_eq!(counts, (0, 1, 0));
    let reached = facts.iter().find(|fact| matches!(fact, Fact::StatusReached { .. }));
    let Some(Fact::StatusReached { usage: Some(usage), .. }) = reached else { panic!("{facts:?}") };
    assert_eq!(usage.price, "0.03");

    // The second is out now, then in doubt, and then it ends.
    let order = sends.remove(0);
    let failure = CallFailure {
        kind: ErrorKind::Timeout,
        fault: Fault::Provider,
        code: None,
        detail: "no answer".to_owned(),
        cause: None,
    };
    let (_, facts, _) = step(4, vec![answer(&order, SendResult::Unknown(failure))]);
    assert!(facts.iter().any(|fact| matches!(fact, Fact::AttemptUnknown { .. })), "{facts:?}");
    let (counts, ..) = step(5, vec![told("main", None, "m2")]);
    assert_eq!(counts, (1, 0, 0), "it may be of the one in doubt");
    // One that names the attempt says what its message is called.
    let (counts, facts, _) = step(6, vec![told("main", Some(order.attempt), "m2")]);
    assert_eq!(counts, (0, 1, 0), "{facts:?}");
    let (counts, ..) = step(7, vec![told("main", None, "m3")]);
    assert_eq!(counts, (0, 0, 1), "nothing is out and nothing in doubt");
    let (counts, ..) = step(601_000, Vec::new());
    assert_eq!(counts, (0, 1, 1), "the stranger's waited long enough");
}

#[test]
fn only_the_account_of_an_attempt_speaks_of_it_by_whatever_name() {
    let mut store = MemoryStore::new();
    let mut processor = Processor::new(&store, routes(8), no_grace(0));
    let out = processor.run(&store, at(0), (1..=3).map(create).collect()).unwrap();
    let (_, sends) = settle(&mut store, out);
    let attempts: Vec<_> = sends.iter().map(|order| order.attempt).collect();
    let out = processor.run(&store, at(1), vec![told("other", Some(attempts[0]), "m1")]).unwrap();
    let foreign = out.foreign.clone().unwrap();
    assert_eq!((foreign.count, out.unmatched), (1, 0));
    assert_eq!([&*foreign.reported_by, &*foreign.started_under], ["sandbox/other", "sandbox/main"]);
    assert_eq!(settle(&mut store, out).0, []);

    // The next life knows the account by another name. What it left STARTED is in doubt.
    let renamed = [(Arc::from("sandbox/other"), Arc::from("sandbox/main"))];
    let routes = RouteTable::clone(&routes(8)).with_former_names(FormerNames::new(renamed));
    let mut processor = Processor::new(&store, Arc::new(routes), no_grace(2));
    while processor.is_recovering() {
        let out = processor.run(&store, at(2), Vec::new()).unwrap();
        settle(&mut store, out);
    }
    let by = |account, at: usize| told(account, Some(attempts[at]), &format!("m{at}"));
    let commands = vec![by("other", 0), by("main", 1), by("third", 2), told("other", None, "m0")];
    let out = processor.run(&store, at(3), commands).unwrap();
    assert_eq!(out.foreign.as_ref().map(|foreign| foreign.count), Some(1));
    let (facts, _) = settle(&mut store, out);
    let reached: Vec<_> = facts
        .iter()
        .filter(|fact| matches!(fact, Fact::StatusReached { .. }))
        .map(|fact| fact.attempt())
        .collect();
    assert_eq!(reached.len(), 2, "{facts:?}");
}

#[test]
fn a_call_is_told_for_how_long_its_message_is_of_use() {
    let useful_for = |command: Command, failure: Option<SendResult>, ms: u64| {
        let mut store = MemoryStore::new();
        let mut processor = Processor::new(&store, routes(1), no_grace(0));
        let out = processor.run(&store, at(0), vec![command]).unwrap();
        let (_, mut sends) = settle(&mut store, out);
        if let Some(answer) = failure {
            let order = sends.remove(0);
            let (attempt, call, route) = (order.attempt, order.call, order.route);
            let command = Command::SendResult {
                attempt,
                call,
                route,
                answer,
                took_ms: 1,
                conversation: None,
            };
            let out = processor.run(&store, at(1), vec![command]).unwrap();
            let (_, again) = settle(&mut store, out);
            sends = again;
            if sends.is_empty() {
                let out = processor.run(&store, at(ms), Vec::new()).unwrap();
                (_, sends) = settle(&mut store, out);
            }
        }
        (sends[0].step, sends[0].useful_for_ms)
    };
    let failure = |kind| CallFailure {
        kind,
        fault: Fault::Provider,
        code: None,
        detail: String::new(),
        cause: None,
    };
    let permanent = || Some(SendResult::Rejected(failure(ErrorKind::Forbidden)));
    let later = || {
        let failure = failure(ErrorKind::Throttled);
        Some(SendResult::RetryLater { failure, after_ms: Some(5_000) })
    };
    // Until the next step; the clock begins with the acceptance, so waiting takes nothing from it.
    assert_eq!(useful_for(with_failover(create(1), None), None, 0), (0, Some(600_000)));
    assert_eq!(useful_for(with_failover(create(1), None), later(), 60_000), (0, Some(600_000)));
    // Nothing follows the last one.
    assert_eq!(useful_for(with_failover(create(1), None), permanent(), 0), (1, None));
    assert_eq!(useful_for(create(1), None, 0), (0, None));
    // Not beyond valid_until, on which step so ever.
    let until = Some(at(90_000).wall);
    assert_eq!(useful_for(with_failover(create(1), until), None, 0), (0, Some(90_000)));
    assert_eq!(useful_for(with_failover(create(1), until), later(), 60_000), (0, Some(30_000)));
    assert_eq!(useful_for(with_failover(create(1), until), permanent(), 0), (1, Some(89_999)));
}

/// The routes of a configuration that was read anew.
fn reload(table: RouteTable) -> Command {
    Command::Routes { table, reply: Box::new(|_| {}) }
}

#[test]
fn a_route_with_more_places_is_used_at_once_and_one_with_fewer_lets_its_calls_come_back() {
    let mut store = MemoryStore::new();
    let mut processor = Processor::new(&store, routes(1), no_grace(0));
    let out = processor.run(&store, at(0), (1..=6).map(create).collect()).unwrap();
    assert_eq!(settle(&mut store, out).1.len(), 1);
    let out = processor.run(&store, at(1), vec![reload(sms_route("sms", 4))]).unwrap();
    assert_eq!(settle(&mut store, out).1.len(), 3);
    let out = processor.run(&store, at(2), vec![reload(sms_route("sms", 2))]).unwrap();
    assert_eq!(settle(&mut store, out).1.len(), 0);
    assert_eq!(processor.calls_in_flight(), 4);
}

#[test]
fn who_waits_on_a_route_that_is_gone_is_planned_anew_and_what_is_out_is_still_answered() {
    let mut store = MemoryStore::new();
    let mut processor = Processor::new(&store, routes(1), no_grace(0));
    let out = processor.run(&store, at(0), (1..=3).map(create).collect()).unwrap();
    let (_, mut sends) = settle(&mut store, out);
    let out = processor.run(&store, at(1), vec![reload(sms_route("sms-b", 10))]).unwrap();
    let (_, moved) = settle(&mut store, out);
    assert_eq!(moved.len(), 2, "both go by the other route");
    assert!(moved.iter().all(|order| &*order.route == "sms-b"));

    let order = sends.remove(0);
    let answer = Command::SendResult {
        attempt: order.attempt,
        call: order.call,
        route: order.route,
        answer: SendResult::Accepted { provider_ids: vec!["p".to_owned()] },
        took_ms: 1,
        conversation: None,
    };
    let out = processor.run(&store, at(2), vec![answer]).unwrap();
    assert_eq!(out.change_set.changes[0].messages.len(), 1, "its receipts will find it");
    settle(&mut store, out);
}

#[test]
fn who_waits_where_no_route_is_left_ends_at_once() {
    let mut store = MemoryStore::new();
    let mut processor = Processor::new(&store, routes(1), no_grace(0));
    let out = processor.run(&store, at(0), (1..=2).map(create).collect()).unwrap();
    let (_, mut sends) = settle(&mut store, out);
    let out = processor.run(&store, at(1), vec![reload(RouteTable::default())]).unwrap();
    let (facts, _) = settle(&mut store, out);
    let ended = facts.iter().filter_map(|fact| match fact {
        Fact::Ended(outcome) => Some(outcome.reason),
        _ => None,
    });
    assert_eq!(ended.collect::<Vec<_>>(), [Reason::NoRoute]);

    // One that certainly was not processed does not wait to be called there again either.
    let out = processor.run(&store, at(2), vec![throttled(sends.remove(0), 60_000)]).unwrap();
    let (facts, sends) = settle(&mut store, out);
    assert!(sends.is_empty());
    assert_eq!(failed(&facts), [Reason::NoRoute]);
}

fn throttled(order: SendOrder, after_ms: u64) -> Command {
    let failure = CallFailure {
        kind: ErrorKind::Throttled,
        fault: Fault::Provider,
        code: None,
        detail: "not now".to_owned(),
        cause: None,
    };
    Command::SendResult {
        attempt: order.attempt,
        call: order.call,
        route: order.route,
        answer: SendResult::RetryLater { failure, after_ms: Some(after_ms) },
        took_ms: 1,
        conversation: None,
    }
}

fn failed(facts: &[Fact]) -> Vec<Reason> {
    let reason = |fact: &Fact| match fact {
        Fact::StepFailed { reason, .. } => Some(*reason),
        _ => None,
    };
    facts.iter().filter_map(reason).collect()
}

/// One workflow that was throttled for an hour, one whose call is out, and one that waits for a place; all
/// on the route `sms`, which has one. Then come other routes, by a restart or by a reload: the calls that
/// are made at once, and why steps failed.
fn with_other_routes(others: RouteTable, is_restart: bool) -> (Vec<SendOrder>, Vec<Reason>) {
    let mut store = MemoryStore::new();
    let mut processor = Processor::new(&store, routes(1), no_grace(0));
    let creates = (1..=3).map(|number| with_failover(create(number), None));
    let out = processor.run(&store, at(0), creates.collect()).unwrap();
    let (_, mut sends) = settle(&mut store, out);
    let out = processor.run(&store, at(1), vec![throttled(sends.remove(0), 500_000)]).unwrap();
    assert_eq!(settle(&mut store, out).1.len(), 1, "the second has the place");

    let mut commands = Vec::new();
    if is_restart {
        processor = Processor::new(&store, Arc::new(others), no_grace(2));
    } else {
        commands.push(reload(others));
    }
    let (mut facts, mut sends) = (Vec::new(), Vec::new());
    loop {
        let out = processor.run(&store, at(2), std::mem::take(&mut commands)).unwrap();
        let (more_facts, more_sends) = settle(&mut store, out);
        facts.extend(more_facts);
        sends.extend(more_sends);
        if !processor.is_recovering() && !processor.next_due(&store, at(2)).is_due(at(2)) {
            return (sends, failed(&facts));
        }
    }
}

/// The route `sms` with something else about it.
fn changed(change: impl FnOnce(&mut Route)) -> RouteTable {
    let mut route = sms_route("sms", 9).iter().next().unwrap().clone();
    change(&mut route);
    RouteTable::new(vec![route])
}

/// The same by an adapter that can do something else.
fn by_adapter(channel: Channel, change: impl FnOnce(&mut Capabilities)) -> RouteTable {
    let clock = Arc::new(SystemClock::new());
    let provider = Arc::new(SimulatedProvider::new(clock, ProviderConfig::default()));
    let mut can =
        Capabilities { correlation: Correlation::AttemptId, ..dispatch_sms::capabilities() };
    change(&mut can);
    changed(|route| route.adapter = Arc::new(SandboxAdapter::new(channel, can, provider)))
}

#[test]
fn what_waits_goes_on_by_a_renamed_route_at_a_restart_and_at_a_reload() {
    for is_restart in [true, false] {
        let (sends, failed) = with_other_routes(sms_route("sms-b", 9), is_restart);
        let went: Vec<_> = sends.iter().map(|order| (&*order.route, order.step)).collect();
        assert_eq!(went, [("sms-b", 0); 2], "restart: {is_restart}");
        assert_eq!(failed, []);
    }
}

#[test]
fn nothing_goes_by_a_route_of_the_same_name_that_does_not_serve_it() {
    let only = |tenant: &str| RouteTenants::Only([Arc::from(tenant)].into());
    let others = || {
        [
            ("none", RouteTable::default()),
            ("another tenant's", changed(|route| route.tenants = only("other"))),
            (
                "another sender's",
                changed(|route| route.sender = SenderMatch::Exactly("54321".to_owned())),
            ),
            ("another channel's", by_adapter(Channel::MESSENGER, |_| {})),
            ("without texts", by_adapter(Channel::SMS, |can| can.content.clear())),
            (
                "from sender texts alone",
                by_adapter(Channel::SMS, |can| can.from = vec![AddressForm::Alphanumeric]),
            ),
        ]
    };
    for is_restart in [true, false] {
        for (what, table) in others() {
            let (sends, failed) = with_other_routes(table, is_restart);
            assert_eq!(sends.len(), 0, "{what}, restart: {is_restart}");
            assert_eq!(failed, [Reason::NoRoute; 4], "{what}, restart: {is_restart}");
        }
        // Whoever waits for nothing in particular goes on by it.
        let table = by_adapter(Channel::SMS, |can| can.condition_statuses.clear());
        let (sends, failed) = with_other_routes(table, is_restart);
        let steps: Vec<_> = sends.iter().map(|order| order.step).collect();
        assert_eq!((steps, failed), (vec![1, 1], vec![Reason::NoRoute; 2]));
    }
}

#[test]
fn what_starts_in_the_batch_that_brings_other_routes_goes_by_those() {
    let mut store = MemoryStore::new();
    let mut processor = Processor::new(&store, routes(1), no_grace(0));
    let out = processor.run(&store, at(0), (1..=2).map(create).collect()).unwrap();
    let (_, mut sends) = settle(&mut store, out);
    // The place that the answer gives back is on a route that is another one from this batch on.
    let other = by_adapter(Channel::MESSENGER, |_| {});
    let commands = vec![throttled(sends.remove(0), 1), reload(other), create(3)];
    let out = processor.run(&store, at(1), commands).unwrap();
    let (facts, sends) = settle(&mut store, out);
    assert_eq!(sends.len(), 0, "{facts:?}");
}

#[test]
fn nothing_starts_by_routes_that_others_replace_in_the_same_batch() {
    let mut store = MemoryStore::new();
    let mut processor = Processor::new(&store, routes(1), no_grace(0));
    let out = processor.run(&store, at(0), (1..=2).map(create).collect()).unwrap();
    assert_eq!(settle(&mut store, out).1.len(), 1, "the second waits");
    let other = by_adapter(Channel::MESSENGER, |_| {});
    let out =
        processor.run(&store, at(1), vec![reload(sms_route("sms", 9)), reload(other)]).unwrap();
    let (facts, sends) = settle(&mut store, out);
    assert_eq!(sends.len(), 0, "{facts:?}");
}

#[test]
fn a_request_id_that_comes_twice_in_one_batch_makes_one_workflow() {
    let mut store = MemoryStore::new();
    let mut processor = Processor::new(&store, routes(9), no_grace(0));
    let made = Arc::new(Mutex::new(Vec::new()));
    let asked = |number| {
        let Command::Create { record, .. } = create(number) else { panic!("no create") };
        let request = plans::request(record.plan.clone(), "x");
        let record = plans::named(record.id, record.created_at, request.clone(), "order-7");
        let record = Box::new(record);
        let made = Arc::clone(&made);
        let reply = move |answer: Result<Made, _>| {
            let digest = request.digest();
            let created = answer.unwrap().answer(&plans::KEEPER, Some(&digest));
            made.lock().unwrap().push(created.unwrap().id);
        };
        Command::Create { record, reply: Box::new(reply) }
    };
    let out = processor.run(&store, at(0), vec![asked(1), asked(2)]).unwrap();
    let (_, sends) = settle(&mut store, out);
    assert_eq!(sends.len(), 1);
    let first = WorkflowId(Uuid::from_u128(1));
    assert_eq!(*made.lock().unwrap(), [first, first]);
    assert_eq!(store.open_count(), 1);
}
