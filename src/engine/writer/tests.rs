//! What is counted and logged has happened: a commit that fails leaves neither a count nor a line.

use std::{
    io,
    sync::{Arc, Mutex},
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
        Created, Grace, LaneLimits, Reply, Route, RouteTable, RouteTenants, SenderMatch, Senders,
        SpaceLimits, SystemClock,
    },
    machine::{
        ClockKind, Fingerprint, OnLateSuccess, OnUnknown, Plan, Priority, StepPlan, Template,
        Terms, Workflow, WorkflowId,
    },
    store::{
        Batch, ClockNote, DueRow, Held, MemoryStore, Parked, Reader, Record, Requester, Row,
        Settings, Swept,
    },
    telemetry::LogLimit,
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
    ) -> Vec<DueRow> {
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
    fn parked(&self) -> Vec<Parked> {
        Store::parked(&self.inner)
    }
    fn commit(&mut self, batch: Batch) -> Result<Vec<Arc<Row>>, StoreError> {
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
    fn held(&self) -> Option<Held> {
        self.inner.held()
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

/// Nobody sends.
struct NoSenders;

impl Senders for NoSenders {
    fn account(
        &self,
        _: &Account,
        _: &str,
        _: &Channel,
        _: &Endpoint,
    ) -> Result<Option<Account>, String> {
        Ok(None)
    }

    fn owner(&self, _: &Channel, _: &Endpoint) -> Option<Arc<str>> {
        None
    }
}

/// A workflow that no route serves: it fails at once, and that is counted and logged.
fn create() -> Input {
    create_told(Box::new(|_| {}))
}

/// The same, of somebody who listens.
fn create_told(reply: Reply<Result<Created, EngineError>>) -> Input {
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
            rule: None,
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
        terms: Terms::default(),
        request_id: None,
    };
    Input::Create { record: Box::new(record), reply }
}

fn writer(fails: Arc<AtomicBool>, routes: RouteTable) -> Writer {
    let store = Failing { inner: MemoryStore::new(), fails };
    let clock: Arc<dyn EngineClock> = Arc::new(SystemClock::new());
    let inbox = Arc::new(Inbox::new(LaneLimits::default()));
    let now = clock.now();
    let reader = store.reader();
    Writer {
        turn: Turn::new(&store, Arc::new(routes), Grace::new(now, Duration::ZERO, 0)),
        inbox: Arc::clone(&inbox),
        feed: Arc::new(Feed::new(reader.newest())),
        dispatcher: Dispatcher {
            runtime: tokio::runtime::Handle::current(),
            senders: Arc::new(NoSenders),
            reader,
            inbox,
            clock: Arc::clone(&clock),
            metrics: Arc::new(Metrics::new()),
        },
        clock,
        metrics: Arc::new(Metrics::new()),
        retention: Duration::from_secs(3600),
        next_sweep: now.plus(SWEEP_EVERY),
        space: Space::new(SpaceLimits::default()),
        queue_warn: Duration::ZERO,
        is_read_only: false,
        narrator: Narrator { limit: Arc::new(LogLimit::default()) },
        is_held: Arc::default(),
        silence: Silence::default(),
        recovering: None,
        store: Box::new(store),
    }
}

/// What is logged on this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

#[tokio::test]
async fn a_commit_that_fails_leaves_no_line_and_no_count_of_what_did_not_happen() {
    let log = Log::default();
    let lines = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::DEBUG)
        .with_writer(move || lines.clone())
        .finish();
    let _here = tracing::subscriber::set_default(subscriber);

    let fails = Arc::new(AtomicBool::new(true));
    let mut writer = writer(Arc::clone(&fails), RouteTable::default());
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
fn route(provider: &Arc<Provider>) -> RouteTable {
    let can = dispatch_sms::capabilities();
    let adapter = SandboxAdapter::new(Channel::SMS, can, Arc::clone(provider));
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
#[tokio::test]
async fn a_commit_that_fails_acknowledges_nothing_and_sends_nothing() {
    let clock = Arc::new(SystemClock::new());
    let provider = Arc::new(Provider::new(clock, ProviderConfig::default()));
    let fails = Arc::new(AtomicBool::new(true));
    let mut writer = writer(Arc::clone(&fails), route(&provider));
    let told = Arc::new(AtomicBool::new(false));
    let listening = || {
        let told = Arc::clone(&told);
        create_told(Box::new(move |answer| told.store(answer.is_ok(), Ordering::Relaxed)))
    };
    assert!(writer.step(vec![listening()]).is_err());
    // What was spawned on this runtime would have called by now.
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!((told.load(Ordering::Relaxed), provider.sent_count()), (false, 0));

    fails.store(false, Ordering::Relaxed);
    let mut writer = self::writer(fails, route(&provider));
    writer.step(vec![listening()]).unwrap();
    while provider.sent_count() == 0 {
        tokio::task::yield_now().await;
    }
    assert!(told.load(Ordering::Relaxed));
}

/// A provider that was answered 2xx sends it no more.
#[tokio::test]
async fn a_receipt_is_answered_only_once_it_is_durable() {
    let clock = Arc::new(SystemClock::new());
    let provider = Arc::new(Provider::new(clock, ProviderConfig::default()));
    let fails = Arc::new(AtomicBool::new(false));
    let mut writer = writer(Arc::clone(&fails), route(&provider));
    let create = create();
    let Input::Create { record, .. } = &create else { panic!("no create") };
    let attempt = AttemptId { workflow: record.id.0, number: 1 };
    writer.step(vec![create]).unwrap();

    let told = Arc::new(AtomicBool::new(false));
    let receipt = || {
        let told = Arc::clone(&told);
        Input::Inbound {
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
