//! What is counted and logged has happened: a commit that fails leaves neither a count nor a line.

use std::{
    io,
    sync::{Arc, Mutex, atomic::AtomicUsize},
};

use dispatch_contract::{AttemptId, Channel, Receipt, Report, Status};
use uuid::Uuid;

use super::*;
use crate::{
    engine::{InboundReport, LaneLimits, Made, RecallOrder, Responder, SendOrder, SystemClock},
    machine::WorkflowId,
    shared::{
        engines::{self, FrontedStore, sms_route},
        plans,
    },
};

/// Counts the calls that leave.
#[derive(Clone, Default)]
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn calls(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl CallExecutor for Counted {
    fn start(&self, orders: Vec<SendOrder>, _: &Arc<RouteTable>) {
        self.0.fetch_add(orders.len(), Ordering::Relaxed);
    }

    fn recall(&self, _: Vec<RecallOrder>, _: &Arc<RouteTable>) {}
}

/// A workflow that no route serves: it fails at once, and that is counted and logged.
fn create() -> Command {
    create_told(Box::new(|_| {}))
}

/// The same, of somebody who listens.
fn create_told(reply: Responder<Result<Made, EngineError>>) -> Command {
    let plan = plans::plan(vec![plans::step(Channel::SMS, None)]);
    let record = plans::record(
        WorkflowId(Uuid::now_v7()),
        Moment::both(UnixMillis(1_700_000_000_000)),
        plan,
    );
    Command::Create { record: Box::new(record), reply }
}

fn writer(fails: Arc<AtomicBool>, routes: RouteTable, calls: Counted) -> Writer {
    let mut store = FrontedStore::new();
    store.fails = fails;
    let clock: Arc<dyn EngineClock> = Arc::new(SystemClock::new());
    let inbox = Arc::new(Inbox::new(LaneLimits::default()));
    let options = engines::options();
    let (routes, metrics) = (Arc::new(routes), Arc::new(Metrics::new()));
    Writer::new(Box::new(store), routes, inbox, clock, Box::new(calls), metrics, &options)
}

/// What is logged on this thread.
#[derive(Clone, Default)]
struct LogBuffer(Arc<Mutex<Vec<u8>>>);

impl io::Write for LogBuffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl LogBuffer {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

#[test]
fn a_commit_that_fails_leaves_no_line_and_no_count_of_what_did_not_happen() {
    let log = LogBuffer::default();
    let lines = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::DEBUG)
        .with_writer(move || lines.clone())
        .finish();
    let _here = tracing::subscriber::set_default(subscriber);

    let fails = Arc::new(AtomicBool::new(true));
    let mut writer = writer(Arc::clone(&fails), RouteTable::default(), Counted::default());
    assert!(writer.step(vec![create()]).is_err());
    let metrics = writer.metrics.render();
    assert!(metrics.contains("dispatch_workflows_created_total 0"), "{metrics}");
    assert!(!metrics.contains("NO_ROUTE"), "{metrics}");
    assert!(!log.text().contains("NO_ROUTE"), "{}", log.text());

    fails.store(false, Ordering::Relaxed);
    writer.step(vec![create()]).unwrap();
    let metrics = writer.metrics.render();
    assert!(metrics.contains("dispatch_workflows_created_total 1"), "{metrics}");
    assert!(metrics.contains("NO_ROUTE"), "{metrics}");
    assert!(log.text().contains("NO_ROUTE"), "{}", log.text());
}

/// A call that left before its STARTED was durable would be forgotten by a crash, and made again.
#[test]
fn a_commit_that_fails_acknowledges_nothing_and_sends_nothing() {
    let (fails, calls) = (Arc::new(AtomicBool::new(true)), Counted::default());
    let told = Arc::new(AtomicBool::new(false));
    let listening = || {
        let told = Arc::clone(&told);
        create_told(Box::new(move |answer| told.store(answer.is_ok(), Ordering::Relaxed)))
    };
    let mut failed = writer(Arc::clone(&fails), sms_route("sms", 1), calls.clone());
    assert!(failed.step(vec![listening()]).is_err());
    assert_eq!((told.load(Ordering::Relaxed), calls.calls()), (false, 0));

    fails.store(false, Ordering::Relaxed);
    let mut writer = writer(fails, sms_route("sms", 1), calls.clone());
    writer.step(vec![listening()]).unwrap();
    assert_eq!((told.load(Ordering::Relaxed), calls.calls()), (true, 1));
}

/// A provider that was answered 2xx sends it no more.
#[test]
fn a_receipt_is_answered_only_once_it_is_durable() {
    let fails = Arc::new(AtomicBool::new(false));
    let mut writer = writer(Arc::clone(&fails), sms_route("sms", 1), Counted::default());
    let create = create();
    let Command::Create { record, .. } = &create else { panic!("no create") };
    let attempt = AttemptId { workflow: record.id.0, number: 1 };
    writer.step(vec![create]).unwrap();

    let told = Arc::new(AtomicBool::new(false));
    let receipt = || {
        let told = Arc::clone(&told);
        Command::Inbound {
            provider: Arc::from("sandbox"),
            account: Arc::from("main"),
            scope: None,
            items: vec![InboundReport::Receipt(Receipt {
                attempt: Some(attempt),
                provider_id: None,
                report: Report::Reached(Status::Submitted),
                provider_time: None,
                code: None,
                detail: None,
                usage: None,
            })],
            reply: Box::new(move |answer| told.store(answer.is_ok(), Ordering::Relaxed)),
        }
    };
    fails.store(true, Ordering::Relaxed);
    assert!(writer.step(vec![receipt()]).is_err(), "it means something");
    assert!(!told.load(Ordering::Relaxed));
}
