//! What is counted and logged has happened: a commit that fails leaves neither a count nor a line.

use std::{
    io,
    sync::{Arc, Mutex, atomic::AtomicUsize},
};

use dispatch_contract::{
    Account, AttemptId, Channel, Content, Endpoint, Inbound, Message, Options as MessageOptions,
    Receipt, Report, Status,
};
use dispatch_sandbox::{Provider, ProviderConfig, SandboxAdapter};
use uuid::Uuid;

use super::*;
use crate::{
    engine::{
        Created, LaneLimits, Responder, Route, RouteTenants, SendOrder, SenderMatch, SpaceLimits,
        SystemClock,
    },
    machine::{
        ClockKind, Fingerprint, OnLateSuccess, OnUnknown, Plan, PolicySnapshot, Priority, StepPlan,
        Template, Workflow, WorkflowId,
    },
    store::{
        ChangeSet, ClockNote, DueWorkflow, HeldReceipt, MemoryStore, Reader, Record, Requester,
        RestoreLock, Row, Settings, Swept,
    },
};

/// A store whose commits fail when it is told so.
struct Failing {
    inner: MemoryStore,
    fails: Arc<AtomicBool>,
}

impl Store for Failing {
    fn load(&self, id: WorkflowId) -> Result<Option<Workflow>, StoreError> {
        self.inner.load(id)
    }
    fn find_request(
        &self,
        tenant: &str,
        request_id: &str,
    ) -> Result<Option<(WorkflowId, Fingerprint)>, StoreError> {
        self.inner.find_request(tenant, request_id)
    }
    fn find_message(&self, account: &str, id: &str) -> Result<Option<AttemptId>, StoreError> {
        self.inner.find_message(account, id)
    }
    fn due(
        &self,
        clock: ClockKind,
        after: Option<(UnixMillis, WorkflowId)>,
        until: UnixMillis,
        limit: usize,
    ) -> Vec<DueWorkflow> {
        self.inner.due(clock, after, until, limit)
    }
    fn next_due(
        &self,
        clock: ClockKind,
        after: Option<(UnixMillis, WorkflowId)>,
    ) -> Option<UnixMillis> {
        self.inner.next_due(clock, after)
    }
    fn open_ids(&self, after: Option<WorkflowId>, limit: usize) -> Vec<WorkflowId> {
        self.inner.open_ids(after, limit)
    }
    fn open_count(&self) -> usize {
        self.inner.open_count()
    }
    fn held_receipts(&self) -> Vec<HeldReceipt> {
        Store::held_receipts(&self.inner)
    }
    fn commit(&mut self, batch: ChangeSet) -> Result<Vec<Arc<Row>>, StoreError> {
        if self.fails.load(Ordering::Relaxed) {
            return Err(StoreError::Io("no space left on device".to_owned()));
        }
        self.inner.commit(batch)
    }
    fn sweep(
        &mut self,
        now: UnixMillis,
        before: UnixMillis,
        budget: usize,
    ) -> Result<Swept, StoreError> {
        self.inner.sweep(now, before, budget)
    }
    fn restore_lock(&self) -> Option<RestoreLock> {
        self.inner.restore_lock()
    }
    fn last_time(&self) -> Moment {
        self.inner.last_time()
    }
    fn clock(&self) -> Option<ClockNote> {
        self.inner.clock()
    }
    fn note_clock(&mut self, note: ClockNote) -> Result<(), StoreError> {
        self.inner.note_clock(note)
    }
    fn grace_given_ms(&self) -> u64 {
        self.inner.grace_given_ms()
    }
    fn reader(&self) -> Arc<dyn Reader> {
        self.inner.reader()
    }
    fn settings(&self) -> Arc<dyn Settings> {
        self.inner.settings()
    }
}

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
}

/// A workflow that no route serves: it fails at once, and that is counted and logged.
fn create() -> Command {
    create_told(Box::new(|_| {}))
}

/// The same, of somebody who listens.
fn create_told(reply: Responder<Result<Created, EngineError>>) -> Command {
    let plan = Plan {
        template: Template::Failover,
        steps: vec![StepPlan {
            message: Message {
                channel: Channel::SMS,
                from: Endpoint::Number("12345".to_owned()),
                to: Endpoint::Number("447700900000".to_owned()),
                content: Content::Text("x".to_owned()),
                options: MessageOptions::default(),
            },
            failover: None,
        }],
        send_at: None,
        valid_until: None,
        send_within_ms: None,
        on_late_success: OnLateSuccess::Stop,
        on_unknown: OnUnknown::WaitReceipt,
        priority: Priority::Normal,
        labels: Default::default(),
        client_ref: None,
    };
    let record = Record {
        id: WorkflowId(Uuid::now_v7()),
        tenant: Arc::from("default"),
        created_at: Moment::both(UnixMillis(1_700_000_000_000)),
        fingerprint: plan.fingerprint(),
        requester: Requester::default(),
        plan,
        policy: PolicySnapshot::default(),
        request_id: None,
    };
    Command::Create { record: Box::new(record), reply }
}

fn writer(fails: Arc<AtomicBool>, routes: RouteTable, calls: Counted) -> Writer {
    let store = Failing { inner: MemoryStore::new(), fails };
    let clock: Arc<dyn EngineClock> = Arc::new(SystemClock::new());
    let inbox = Arc::new(Inbox::new(LaneLimits::default()));
    let options = EngineOptions {
        policy: PolicySnapshot::default(),
        recovery_grace: Duration::ZERO,
        retention: Duration::from_secs(3600),
        space: SpaceLimits::default(),
        is_read_only: false,
        queue_warn: Duration::ZERO,
        lanes: LaneLimits::default(),
    };
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

/// A route to a provider.
fn route() -> RouteTable {
    let clock = Arc::new(SystemClock::new());
    let provider = Arc::new(Provider::new(clock, ProviderConfig::default()));
    let can = dispatch_sms::capabilities();
    let adapter = SandboxAdapter::new(Channel::SMS, can, provider);
    let account = Account {
        name: "main".to_owned(),
        revision: 1,
        settings: Default::default(),
        secrets: Default::default(),
    };
    RouteTable::new(vec![Route {
        name: Arc::from("sms"),
        tenants: RouteTenants::All,
        sender: SenderMatch::Any,
        adapter: Arc::new(adapter),
        account: Arc::new(account),
        concurrency: 1,
        timeout: Duration::from_secs(1),
        callback_url: None,
    }])
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
    let mut failed = writer(Arc::clone(&fails), route(), calls.clone());
    assert!(failed.step(vec![listening()]).is_err());
    assert_eq!((told.load(Ordering::Relaxed), calls.calls()), (false, 0));

    fails.store(false, Ordering::Relaxed);
    let mut writer = writer(fails, route(), calls.clone());
    writer.step(vec![listening()]).unwrap();
    assert_eq!((told.load(Ordering::Relaxed), calls.calls()), (true, 1));
}

/// A provider that was answered 2xx sends it no more.
#[test]
fn a_receipt_is_answered_only_once_it_is_durable() {
    let fails = Arc::new(AtomicBool::new(false));
    let mut writer = writer(Arc::clone(&fails), route(), Counted::default());
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
            items: vec![Inbound::Receipt(Receipt {
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
