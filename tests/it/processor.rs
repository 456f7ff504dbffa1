//! The processor by itself, stepped by hand: what a restart owes, and what it must not do twice.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use dispatch::{
    engine::{
        Command, ConversationSend, Created, Effects, FormerNames, Grace, Processor, Route,
        RouteTable, RouteTenants, SendOrder, SenderMatch, SystemClock,
    },
    machine::{
        CallFailure, Fact, FailoverCondition, Moment, Plan, Reason, SendResult, StepPlan,
        WorkflowId,
    },
    store::{MemoryStore, Row, Store},
};
use dispatch_contract::{
    AddressForm, AttemptId, Capabilities, Channel, ChannelSender, Correlation, Endpoint, ErrorKind,
    Fault, Inbound, Receipt, Report, Status, UnixMillis, Usage, Watermark,
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
        ..plans::plan(vec![plans::step(Channel::SMS, "x", None)])
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
    let receipt = Receipt {
        attempt,
        provider_id: Some(provider_id.to_owned()),
        report: Report::Reached(Status::Delivered),
        provider_time: None,
        code: None,
        detail: None,
        usage: Some(Usage { currency: "EUR".to_owned(), price: "0.03".to_owned() }),
    };
    Command::Inbound {
        provider: Arc::from("sandbox"),
        account: Arc::from(account),
        scope: None,
        items: vec![Inbound::Receipt(receipt)],
        reply: Box::new(|_| {}),
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
        let Command::Create { mut record, .. } = create(number) else { panic!("no create") };
        record.request_id = Some("order-7".to_owned());
        let made = Arc::clone(&made);
        let reply = move |answer: Result<Created, _>| made.lock().unwrap().push(answer.unwrap().id);
        Command::Create { record, reply: Box::new(reply) }
    };
    let out = processor.run(&store, at(0), vec![asked(1), asked(2)]).unwrap();
    let (_, sends) = settle(&mut store, out);
    assert_eq!(sends.len(), 1);
    let first = WorkflowId(Uuid::from_u128(1));
    assert_eq!(*made.lock().unwrap(), [first, first]);
    assert_eq!(store.open_count(), 1);
}

/// Where `order` stands, whose call began and was answered then: everybody writes to the same person.
fn answered_in(
    order: &SendOrder,
    (began, answered): (u64, u64),
    provider_time: Option<u64>,
) -> Command {
    let conversation = ConversationSend {
        sender: ChannelSender { channel: Channel::SMS, id: "12345".to_owned() },
        recipient: Endpoint::Number("447700900001".to_owned()),
        began: at(began).engine,
        answered: at(answered).engine,
        provider_time: provider_time.map(|ms| at(ms).wall),
    };
    Command::SendResult {
        attempt: order.attempt,
        call: order.call,
        route: Arc::clone(&order.route),
        answer: SendResult::Accepted { provider_ids: vec![order.attempt.to_string()] },
        took_ms: 0,
        conversation: Some(Box::new(conversation)),
    }
}

fn watermark(account: &str, recipient: &str, status: Status, until: u64) -> Command {
    let watermark = Watermark {
        sender: ChannelSender { channel: Channel::SMS, id: "12345".to_owned() },
        recipient: Endpoint::Number(recipient.to_owned()),
        status,
        until: at(until).wall,
    };
    Command::Inbound {
        provider: Arc::from("sandbox"),
        account: Arc::from(account),
        scope: None,
        items: vec![Inbound::Watermark(watermark)],
        reply: Box::new(|_| {}),
    }
}

/// The attempts' workflows whose messages reached a status, as numbers of [`create`], in order.
fn reached(rows: &[Arc<Row>], status: Status) -> Vec<u128> {
    let is_it = |fact: &Fact| match fact {
        Fact::StatusReached { status: reached, .. } | Fact::LateStatus { status: reached, .. } => {
            *reached == status
        }
        _ => false,
    };
    let rows = rows.iter().filter(|row| row.facts.iter().any(is_it));
    rows.map(|row| row.workflow.0.as_u128()).collect()
}

/// A processor with these workflows' calls out, each STARTED a second after the one before it.
fn calling(count: u128) -> (MemoryStore, Processor, Vec<SendOrder>) {
    let mut store = MemoryStore::new();
    let mut processor = Processor::new(&store, routes(100), no_grace(0));
    let sends = (1..=count).flat_map(|number| {
        let now = at(number as u64 * 1000);
        let out = processor.run(&store, now, vec![create(number)]).unwrap();
        settle(&mut store, out).1
    });
    let sends = sends.collect();
    (store, processor, sends)
}

const PERSON: &str = "447700900001";

#[test]
fn a_watermark_covers_what_was_accepted_and_began_before_it() {
    let (mut store, mut processor, sends) = calling(4);
    let ids: Vec<_> = sends.iter().map(|order| order.attempt.workflow.as_u128()).collect();
    let mut run = |ms: u64, commands: Vec<Command>| {
        let out = processor.run(&store, at(ms), commands).unwrap();
        store.commit(out.change_set).unwrap()
    };
    // The fourth has no answer, and the third began too late for the first watermark.
    run(
        5000,
        sends[..3].iter().zip(1..).map(|(it, n)| answered_in(it, (n * 1000, 5000), None)).collect(),
    );
    let rows = run(6000, vec![watermark("main", PERSON, Status::Delivered, 2999)]);
    assert_eq!(reached(&rows, Status::Delivered), [ids[1], ids[0]]);
    for (account, person) in [("other", PERSON), ("main", "447700900002")] {
        let rows = run(6000, vec![watermark(account, person, Status::Delivered, 9000)]);
        assert!(rows.is_empty(), "{account} {person}");
    }
    // They have ended, and what is told of them is noted; the one without an answer is not touched.
    let rows = run(7000, vec![watermark("main", PERSON, Status::Read, 9000)]);
    assert_eq!(reached(&rows, Status::Read), [ids[2], ids[1], ids[0]]);
    assert!(run(7000, vec![watermark("main", PERSON, Status::Read, 9000)]).is_empty());
}

#[test]
fn a_watermark_that_comes_before_the_answer_counts_once_that_is_there() {
    let (mut store, mut processor, sends) = calling(2);
    let ids: Vec<_> = sends.iter().map(|order| order.attempt.workflow.as_u128()).collect();
    let mut run = |ms: u64, commands: Vec<Command>| {
        let out = processor.run(&store, at(ms), commands).unwrap();
        store.commit(out.change_set).unwrap()
    };
    assert!(run(3000, vec![watermark("main", PERSON, Status::Read, 1500)]).is_empty());
    let rows = run(
        3100,
        sends.iter().zip(1..).map(|(it, n)| answered_in(it, (n * 1000, 3050), None)).collect(),
    );
    assert_eq!(reached(&rows, Status::Read), [ids[0]], "the other began after it");
    // In one batch too, whichever comes first.
    let (mut store, mut processor, sends) = calling(1);
    let both = vec![
        answered_in(&sends[0], (1000, 2000), None),
        watermark("main", PERSON, Status::Read, 1500),
    ];
    let out = processor.run(&store, at(3000), both).unwrap();
    assert_eq!(reached(&store.commit(out.change_set).unwrap(), Status::Read).len(), 1);
}

#[test]
fn a_watermark_says_nothing_of_a_call_that_began_after_it_whatever_the_clocks_say() {
    let (mut store, mut processor, sends) = calling(2);
    let id = sends[1].attempt.workflow.as_u128();
    let mut run = |ms: u64, commands: Vec<Command>| {
        let out = processor.run(&store, at(ms), commands).unwrap();
        store.commit(out.change_set).unwrap()
    };
    // Its clock is an hour ahead, and no answer has told that yet.
    let hour = 3_600_000;
    assert!(run(3000, vec![watermark("main", PERSON, Status::Read, hour)]).is_empty());
    // The second had been deferred, and was called again after that.
    let rows = run(
        9000,
        sends.iter().zip([1000, 8000]).map(|(it, n)| answered_in(it, (n, 9000), None)).collect(),
    );
    assert_eq!(reached(&rows, Status::Read).len(), 1, "{rows:?}");
    // Told again, it is of now, and counts for the other too.
    let rows = run(10_000, vec![watermark("main", PERSON, Status::Read, hour)]);
    assert_eq!(reached(&rows, Status::Read), [id]);
}

#[test]
fn a_watermark_settles_no_unknown_outcome() {
    let (mut store, mut processor, sends) = calling(1);
    let SendOrder { attempt, call, route, .. } = sends[0].clone();
    let failure = CallFailure {
        kind: ErrorKind::Timeout,
        fault: Fault::Provider,
        code: None,
        detail: "no answer".to_owned(),
        cause: None,
    };
    let answer = SendResult::Unknown(failure);
    let lost = Command::SendResult { attempt, call, route, answer, took_ms: 1, conversation: None };
    for command in [lost, watermark("main", PERSON, Status::Read, 9000)] {
        let out = processor.run(&store, at(5000), vec![command]).unwrap();
        let rows = store.commit(out.change_set).unwrap();
        assert!(reached(&rows, Status::Read).is_empty());
    }
}

#[test]
fn watermarks_go_by_the_provider_s_clock() {
    let (mut store, mut processor, sends) = calling(2);
    let mut run = |ms: u64, commands: Vec<Command>| {
        let out = processor.run(&store, at(ms), commands).unwrap();
        store.commit(out.change_set).unwrap()
    };
    // It is a minute behind, so that its watermarks seem to be of long ago.
    let minute = 60_000;
    let provider_time = |ms: u64| Some(ms + 120_000 - minute);
    run(122_000, vec![answered_in(&sends[0], (121_000, 121_000), provider_time(1000))]);
    let rows = run(123_000, vec![answered_in(&sends[1], (122_000, 122_000), provider_time(2000))]);
    assert!(reached(&rows, Status::Read).is_empty());
    // The calls began after 121 s and 122 s. Its clock is told to the second, and so well are they compared.
    let before = START + 121_000 - minute + 1400;
    let mut told = watermark("main", PERSON, Status::Read, 0);
    if let Command::Inbound { items, .. } = &mut told
        && let [Inbound::Watermark(watermark)] = items.as_mut_slice()
    {
        watermark.until = UnixMillis(before);
    }
    assert_eq!(reached(&run(124_000, vec![told]), Status::Read).len(), 1);
}

#[test]
fn each_part_of_a_message_has_receipts_of_its_own() {
    let in_parts = || by_adapter(Channel::SMS, |can| can.parts = true);
    for receipt_first in [false, true] {
        let mut store = MemoryStore::new();
        let mut processor = Processor::new(&store, Arc::new(in_parts()), no_grace(0));
        let mut run = |ms: u64, commands: Vec<Command>| {
            let out = processor.run(&store, at(ms), commands).unwrap();
            settle(&mut store, out)
        };
        let (_, sends) = run(0, vec![create(1)]);
        let order = &sends[0];
        let attempt = Some(order.attempt);
        if receipt_first {
            // It says no more than that the message was accepted: nobody knows yet how many parts there are.
            let (facts, _) = run(1, vec![told("main", attempt, "b")]);
            assert!(matches!(facts[..], [Fact::AttemptAccepted { .. }]), "{facts:?}");
        }
        let answer = Command::SendResult {
            attempt: order.attempt,
            call: order.call,
            route: Arc::clone(&order.route),
            answer: SendResult::Accepted { provider_ids: vec!["a".to_owned(), "b".to_owned()] },
            took_ms: 1,
            conversation: None,
        };
        let (mut facts, _) = run(2, vec![answer]);
        if !receipt_first {
            // By the provider's id alone, and with ours beside it.
            facts.extend(run(3, vec![told("main", None, "b")]).0);
        }
        let part = |fact: &Fact| matches!(fact, Fact::PartReached { part: 2, .. });
        assert_eq!(facts.iter().filter(|fact| part(fact)).count(), 1, "{facts:?}");
        assert!(!facts.iter().any(|fact| matches!(fact, Fact::Ended(_))), "{facts:?}");
        let (facts, _) = run(4, vec![told("main", attempt, "a")]);
        assert!(facts.iter().any(|fact| matches!(fact, Fact::Ended(_))), "{facts:?}");
    }
}

/// What a message that may go out in parts has reached after these receipts, of which each names our attempt
/// and one of the provider's ids, before its answer or behind it.
fn reached_in_parts(before: &[&str], answer: SendResult, behind: &[&str]) -> Status {
    let routes = by_adapter(Channel::SMS, |can| can.parts = true);
    let mut store = MemoryStore::new();
    let mut processor = Processor::new(&store, Arc::new(routes), no_grace(0));
    let mut run = |commands: Vec<Command>| {
        let out = processor.run(&store, at(1), commands).unwrap();
        settle(&mut store, out).1
    };
    let order = run(vec![with_failover(create(1), None)]).remove(0);
    let SendOrder { attempt, call, route, .. } = order;
    let receipts = |ids: &[&str]| ids.iter().map(|id| told("main", Some(attempt), id)).collect();
    run(receipts(before));
    run(vec![Command::SendResult { attempt, call, route, answer, took_ms: 1, conversation: None }]);
    run(receipts(behind));
    store.load(WorkflowId(attempt.workflow)).unwrap().unwrap().attempts[0].status
}

#[test]
fn a_part_counts_once_it_is_known_how_many_there_are() {
    let accepted = |ids: &[&str]| SendResult::Accepted {
        provider_ids: ids.iter().map(|id| (*id).to_owned()).collect(),
    };
    let failure = CallFailure {
        kind: ErrorKind::Timeout,
        fault: Fault::Provider,
        code: None,
        detail: "no answer".to_owned(),
        cause: None,
    };
    let unknown = || SendResult::Unknown(failure.clone());
    for (before, answer, behind, reached) in [
        (&["a"][..], accepted(&["a"]), &[][..], Status::Delivered),
        (&[], accepted(&["a"]), &["a"], Status::Delivered),
        (&[], accepted(&["a"]), &["another of it"], Status::Delivered),
        (&["a"], accepted(&["a", "b"]), &[], Status::Submitted),
        (&["a"], accepted(&["a", "b"]), &["b"], Status::Delivered),
        (&[], accepted(&["a", "b"]), &["a", "a"], Status::Submitted),
        (&[], accepted(&["a", "b"]), &["a stranger's"], Status::Submitted),
        (&[], unknown(), &["a"], Status::Submitted),
    ] {
        let is = reached_in_parts(before, answer.clone(), behind);
        assert_eq!(is, reached, "{before:?}, {answer:?}, {behind:?}");
    }
}
