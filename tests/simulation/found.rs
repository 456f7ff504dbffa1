//! What the simulation found, each told by hand: a seed tells a story only as long as the dice fall
//! as they did.

use std::sync::Arc;

use dispatch::{
    engine::{Command, Grace, Processor, RouteTable, SendOrder},
    machine::{
        CallFailure, Fact, FailoverCondition, Moment, OnUnknown, Plan, SendResult, WorkflowId,
    },
    store::{MemoryStore, SledOptions, Store},
};
use dispatch_contract::{Channel, ErrorKind, Fault, Status, UnixMillis};
use uuid::Uuid;

use crate::{
    routes,
    scenario::{RouteSpec, START, text_step},
    shared::plans,
};

const SECOND: u64 = 1000;

/// A service that is stepped by hand, and its store.
struct Stepped {
    store: Box<dyn Store>,
    processor: Processor,
    table: Arc<RouteTable>,
}

impl Stepped {
    /// With one route that has one place.
    fn new(store: Box<dyn Store>, idempotent_ms: Option<u64>) -> Stepped {
        let spec = RouteSpec {
            name: Arc::from("sms"),
            channel: Channel::SMS,
            tells: vec![Status::Delivered],
            provider: "alpha",
            account: "main",
            concurrency: 1,
            timeout_ms: 10 * SECOND,
            idempotent_ms,
            echoes: true,
            recalls: false,
            bundles_receipts: false,
            in_parts: false,
            watermarks: None,
        };
        let specs = [spec];
        let table = Arc::new(routes::table(&specs, &routes::Names::all(&specs)));
        let processor = Processor::new(&*store, Arc::clone(&table), grace(0, 0));
        Stepped { store, processor, table }
    }

    fn restart(&mut self, ms: u64, grace_ms: u64) {
        self.processor = Processor::new(&*self.store, Arc::clone(&self.table), grace(ms, grace_ms));
    }

    fn run(&mut self, ms: u64, commands: Vec<Command>) -> (Vec<Fact>, Vec<SendOrder>) {
        let out = self.processor.run(&*self.store, at(ms), commands).unwrap();
        assert_eq!(out.broken, []);
        let rows = self.store.commit(out.change_set).unwrap();
        (rows.iter().flat_map(|row| row.facts.clone()).collect(), out.sends)
    }

    fn due(&self, ms: u64) -> Option<u64> {
        self.processor.next_due(&*self.store, at(ms)).expected(at(ms)).map(|due| due.0 - START)
    }
}

fn at(ms: u64) -> Moment {
    Moment::both(UnixMillis(START + ms))
}

fn grace(ms: u64, grace_ms: u64) -> Grace {
    Grace { started_at: at(ms).engine, until: at(ms + grace_ms).engine }
}

fn create(number: u128, steps: usize, on_unknown: OnUnknown) -> Command {
    let rule =
        Some(FailoverCondition { condition: Status::Delivered, expiry_ms: Some(60 * SECOND) });
    let plan = Plan {
        send_within_ms: Some(900 * SECOND),
        on_unknown,
        ..plans::plan(vec![text_step(Channel::SMS, rule); steps])
    };
    let record = plans::record(WorkflowId(Uuid::from_u128(number)), at(0), plan);
    Command::Create { record: Box::new(record), reply: Box::new(|_| {}) }
}

fn answer(order: &SendOrder, answer: SendResult) -> Command {
    let SendOrder { attempt, call, route, .. } = order.clone();
    Command::SendResult { attempt, call, route, answer, took_ms: 1, conversation: None }
}

fn unknown() -> SendResult {
    SendResult::Unknown(CallFailure {
        kind: ErrorKind::ProviderFailure,
        fault: Fault::Provider,
        code: None,
        detail: "no answer".to_owned(),
        cause: None,
    })
}

fn accepted() -> SendResult {
    SendResult::Accepted { provider_ids: vec!["m1".to_owned()] }
}

#[test]
fn a_workflow_whose_end_passed_retention_while_its_call_was_out_is_forgotten_in_its_time() {
    let folder = tempfile::tempdir().unwrap();
    let options = SledOptions { folder: folder.path().join("data"), cache_bytes: 16 << 20 };
    let stores: [Box<dyn Store>; 2] =
        [Box::new(MemoryStore::new()), Box::new(options.open().unwrap())];
    for store in stores {
        let mut service = Stepped::new(store, None);
        let (_, sends) = service.run(0, vec![create(1, 1, OnUnknown::WaitReceipt)]);
        let id = WorkflowId(Uuid::from_u128(1));
        let cancel = Command::Cancel { tenant: Arc::from("default"), id, reply: Box::new(|_| {}) };
        service.run(1, vec![cancel]);
        service.store.sweep(at(100 * SECOND).engine, at(50 * SECOND).engine, 100).unwrap();
        let (facts, _) = service.run(100 * SECOND, vec![answer(&sends[0], accepted())]);
        assert!(matches!(facts[..], [Fact::LateSendResult { .. }]), "{facts:?}");
        service.store.sweep(at(300 * SECOND).engine, at(200 * SECOND).engine, 100).unwrap();
        assert_eq!(service.store.reader().record(id).unwrap(), None);
        assert_eq!(service.store.find_message("alpha/main", "m1").unwrap(), None);
    }
}

#[test]
fn a_repeat_is_not_made_once_the_provider_no_longer_honours_our_id() {
    let mut service = Stepped::new(Box::new(MemoryStore::new()), Some(20 * SECOND));
    let two = [1, 2].map(|number| create(number, 1, OnUnknown::WaitReceipt));
    let (_, first) = service.run(0, two.into());
    let (facts, second) = service.run(SECOND, vec![answer(&first[0], unknown())]);
    assert!(facts.iter().any(|fact| matches!(fact, Fact::AttemptRepeated { .. })), "{facts:?}");
    let due = service.due(SECOND).unwrap();
    let (facts, sends) = service.run(due, Vec::new());
    assert_eq!((facts, sends.len()), (vec![Fact::AttemptDue { attempt: 1 }], 0));
    // The second workflow held the only place for too long.
    let (facts, sends) = service.run(30 * SECOND, vec![answer(&second[0], accepted())]);
    assert!(facts.iter().any(|fact| matches!(fact, Fact::AttemptUnknown { .. })), "{facts:?}");
    assert!(sends.is_empty(), "{sends:?}");
}

#[test]
fn a_place_that_is_given_back_is_taken_at_once_by_what_follows() {
    let mut service = Stepped::new(Box::new(MemoryStore::new()), Some(20 * SECOND));
    let (_, sends) = service.run(0, vec![create(1, 1, OnUnknown::Resend)]);
    service.run(SECOND, vec![answer(&sends[0], unknown())]);
    // The writer was late: the repeat has a place, and gives it back.
    let (facts, sends) = service.run(30 * SECOND, Vec::new());
    let calls: Vec<_> = sends.iter().map(|order| (order.attempt.number, order.call)).collect();
    assert_eq!(calls, [(2, 1)], "{facts:?}");
}

#[test]
fn an_expiry_does_not_wait_behind_the_held_wait_for_an_unknown_outcome() {
    let mut service = Stepped::new(Box::new(MemoryStore::new()), None);
    service.run(0, vec![create(1, 2, OnUnknown::WaitReceipt)]);
    service.restart(SECOND, 0);
    let (facts, _) = service.run(SECOND, Vec::new());
    assert!(matches!(facts[..], [Fact::AttemptUnknown { .. }]), "{facts:?}");
    // The wait was over at 31 s, the expiry is at 61 s, and the grace lasts much longer.
    service.restart(40 * SECOND, 600 * SECOND);
    service.run(40 * SECOND, Vec::new());
    assert!(service.due(40 * SECOND).is_some_and(|due| due <= 61 * SECOND));
    let (facts, _) = service.run(61 * SECOND, Vec::new());
    let has_expired = |fact: &Fact| matches!(fact, Fact::StepExpired { while_down: false, .. });
    assert!(facts.first().is_some_and(has_expired), "{facts:?}");
}

#[test]
fn a_time_for_sending_that_passed_while_down_is_not_hidden_by_the_grace() {
    let mut service = Stepped::new(Box::new(MemoryStore::new()), Some(86_400 * SECOND));
    let (_, sends) = service.run(0, vec![create(1, 1, OnUnknown::WaitReceipt)]);
    let drain = Command::Drain { reply: Box::new(|()| {}) };
    service.run(1, vec![drain, answer(&sends[0], unknown())]);
    let (facts, sends) = service.run(10 * SECOND, Vec::new());
    assert_eq!((facts, sends.len()), (vec![Fact::AttemptDue { attempt: 1 }], 0), "it drains");
    // The 900 s for sending are over; what is PLANNED is sent all the same, and then not again.
    service.restart(1000 * SECOND, 600 * SECOND);
    let (_, sends) = service.run(1000 * SECOND, Vec::new());
    let SendResult::Unknown(failure) = unknown() else { unreachable!("it is") };
    let deferred = SendResult::RetryLater { failure, after_ms: None };
    let now = 1001 * SECOND;
    service.run(now, vec![answer(&sends[0], deferred)]);
    assert!(service.due(now).is_some_and(|due| due <= now), "{:?}", service.due(now));
    let (facts, sends) = service.run(now, Vec::new());
    assert!(matches!(facts[..], [Fact::AttemptUnknown { .. }]), "{facts:?}");
    assert!(sends.is_empty(), "{sends:?}");
}
