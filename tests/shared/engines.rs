//! A small engine: its options, one route to a simulated provider, and a store in memory that a test stands before.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use dispatch::{
    engine::{
        BesideJournal, Command, Engine, EngineOptions, EngineParts, Grace, InboundOptions,
        LaneLimits, Processor, Route, RouteTable, RouteTenants, SenderMatch, Senders, SpaceLimits,
        SystemClock,
    },
    machine::{ClockKind, Moment, PolicySnapshot, Workflow, WorkflowId},
    store::{
        ChangeSet, ClockNote, DueWorkflow, ExistingRequest, FoundMessage, HeldReceipt, MemoryStore,
        NameHash, Reader, Record, RestoreLock, Row, Settings, Store, StoreError, Swept,
    },
    telemetry::Metrics,
};
use dispatch_contract::{
    Account, AttemptId, Capabilities, Channel, ChannelSender, Correlation, Endpoint,
    ExternalFields, UnixMillis,
};
use dispatch_sandbox::{ProviderConfig, SandboxAdapter, SimulatedProvider};
use uuid::Uuid;

use super::plans;

/// An engine that keeps what ended for an hour, and gives no grace.
pub fn options() -> EngineOptions {
    EngineOptions {
        policy: PolicySnapshot::default(),
        recovery_grace: Duration::ZERO,
        retention: Duration::from_secs(3600),
        space: SpaceLimits::default(),
        is_read_only: false,
        queue_warn: Duration::ZERO,
        lanes: LaneLimits::default(),
    }
}

/// One route for SMS to a provider that takes everything, `concurrency` calls at once.
pub fn sms_route(name: &str, concurrency: u32) -> RouteTable {
    let clock = Arc::new(SystemClock::new());
    let provider = Arc::new(SimulatedProvider::new(clock, ProviderConfig::default()));
    let can = Capabilities { correlation: Correlation::AttemptId, ..dispatch_sms::capabilities() };
    let adapter = SandboxAdapter::new(Channel::SMS, can, provider);
    let account = Account {
        name: "main".to_owned(),
        revision: 1,
        settings: BTreeMap::new(),
        secrets: BTreeMap::new(),
    };
    RouteTable::new(vec![Route {
        name: Arc::from(name),
        tenants: RouteTenants::All,
        sender: SenderMatch::Any,
        adapter: Arc::new(adapter),
        account: Arc::new(account),
        concurrency,
        timeout: Duration::from_secs(1),
        callback_url: None,
        external_fields: None,
    }])
}

/// Has a workflow created in a store, durably: by the one route of [`sms_route`], or by none, so that it fails at once.
pub fn create(store: &mut MemoryStore, record: Record, has_route: bool) {
    let now = record.created_at;
    let create = Command::Create { record: Box::new(record), reply: Box::new(drop) };
    let grace = Grace::new(now.engine, Duration::ZERO, 0);
    let routes = if has_route { sms_route("sms", 1) } else { RouteTable::default() };
    let mut processor = Processor::new(&*store, Arc::new(routes), grace);
    let effects = processor.run(&*store, now, vec![create]).expect("a store in memory can be read");
    store.commit(effects.change_set).expect("a store in memory can be written");
}

/// A store in memory, in front of whose reader, settings or commits a test stands.
pub struct FrontedStore {
    inner: MemoryStore,
    /// What readers are given.
    pub reader: Arc<dyn Reader>,
    /// What is kept beside workflows.
    pub settings: Arc<dyn Settings>,
    /// While it is set, commits fail.
    pub fails: Arc<AtomicBool>,
}

impl FrontedStore {
    /// Nobody stands before it yet.
    pub fn new() -> Self {
        let inner = MemoryStore::new();
        let (reader, settings) = (inner.reader(), inner.settings());
        FrontedStore { reader, settings, fails: Arc::default(), inner }
    }

    /// An engine over it, without routes.
    pub fn start(self) -> Engine {
        let inbound = InboundOptions {
            tenant: Arc::from("default"),
            retention: Duration::from_secs(3600),
            most: 1000,
        };
        let beside =
            BesideJournal::open(&self.settings, &plans::KEEPER, inbound).expect("an empty store");
        Engine::start(
            Box::new(self),
            Arc::new(RouteTable::default()),
            EngineParts {
                senders: Arc::new(NoSenders),
                contents: Arc::clone(&plans::KEEPER),
                beside,
                clock: Arc::new(SystemClock::new()),
                metrics: Arc::new(Metrics::new()),
            },
            &options(),
        )
    }
}

impl Store for FrontedStore {
    fn load(&self, id: WorkflowId) -> Result<Option<Workflow>, StoreError> {
        self.inner.load(id)
    }
    fn find_request(
        &self,
        tenant: &str,
        request_id: &str,
    ) -> Result<Option<ExistingRequest>, StoreError> {
        self.inner.find_request(tenant, request_id)
    }
    fn find_message(&self, account: &str, id: &str) -> Result<Option<FoundMessage>, StoreError> {
        self.inner.find_message(account, id)
    }

    fn find_conversation(
        &self,
        conversation: NameHash,
        times: (UnixMillis, UnixMillis),
        limit: usize,
    ) -> Result<Vec<AttemptId>, StoreError> {
        self.inner.find_conversation(conversation, times, limit)
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
        Arc::clone(&self.reader)
    }
    fn settings(&self) -> Arc<dyn Settings> {
        Arc::clone(&self.settings)
    }
}

/// Nothing is sent.
pub struct NoSenders;

impl Senders for NoSenders {
    fn account(
        &self,
        _: &Account,
        _: ExternalFields,
        _: &str,
        _: &Channel,
        _: &Endpoint,
    ) -> Result<Option<Account>, String> {
        Ok(None)
    }

    fn owner(&self, _: &Channel, _: &Endpoint) -> Option<Arc<str>> {
        None
    }

    fn application(&self, _: &str, _: &ChannelSender) -> Option<Uuid> {
        None
    }
}
