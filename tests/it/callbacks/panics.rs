//! A panic costs at most the callbacks of one row, and is told.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use dispatch_contract::{
    Account, AttemptId, Channel, Content, Endpoint, Message, Options as MessageOptions, UnixMillis,
};
use uuid::Uuid;

use dispatch::{
    access::{Application, MessagesCapability, Shape, Signing, Webhook},
    callbacks::{Callbacks, Options},
    engine::{Engine, EngineOptions, LaneLimits, RouteTable, Senders, SpaceLimits, SystemClock},
    machine::{
        ClockKind, Fingerprint, Moment, OnLateSuccess, OnUnknown, Plan, Priority, StepPlan,
        Template, Terms, Workflow, WorkflowId,
    },
    store::{
        Batch, ClockNote, DueRow, Facade, Held, KeyAndValue, Kind, MemoryStore, Parked, Reader,
        Requester, Row, SettingChange, Settings, Store, StoreError, Swept, encode,
    },
    telemetry::Metrics,
};

/// Settings over which whoever comes panics, once told to, or at certain keys.
struct Frightening {
    inner: Arc<dyn Settings>,
    notes: AtomicBool,
    keys: Mutex<Vec<Vec<u8>>>,
}

impl Settings for Frightening {
    fn get(&self, kind: Kind, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let frightens = self.keys.lock().unwrap().iter().any(|frightening| frightening == key);
        assert!(!frightens, "as the test wants");
        self.inner.get(kind, key)
    }
    fn list(
        &self,
        kind: Kind,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<KeyAndValue>, StoreError> {
        self.inner.list(kind, after, limit)
    }
    fn write(&self, changes: Vec<SettingChange>) -> Result<(), StoreError> {
        self.inner.write(changes)
    }
    fn note(&self, changes: Vec<SettingChange>) -> Result<(), StoreError> {
        assert!(!self.notes.swap(false, Ordering::SeqCst), "as the test wants");
        self.inner.note(changes)
    }
}

/// A store with such settings.
struct WithSettings(MemoryStore, Arc<Frightening>);

impl Store for WithSettings {
    fn load(&self, id: WorkflowId) -> Result<Option<Workflow>, StoreError> {
        self.0.load(id)
    }
    fn find_request(
        &self,
        tenant: &str,
        id: &str,
    ) -> Result<Option<(WorkflowId, Fingerprint)>, StoreError> {
        self.0.find_request(tenant, id)
    }
    fn find_message(&self, account: &str, id: &str) -> Result<Option<AttemptId>, StoreError> {
        self.0.find_message(account, id)
    }
    fn due(
        &self,
        clock: ClockKind,
        after: Option<(UnixMillis, WorkflowId)>,
        until: UnixMillis,
        limit: usize,
    ) -> Vec<DueRow> {
        self.0.due(clock, after, until, limit)
    }
    fn next_due(
        &self,
        clock: ClockKind,
        after: Option<(UnixMillis, WorkflowId)>,
    ) -> Option<UnixMillis> {
        self.0.next_due(clock, after)
    }
    fn open_ids(&self, after: Option<WorkflowId>, limit: usize) -> Vec<WorkflowId> {
        self.0.open_ids(after, limit)
    }
    fn open_count(&self) -> usize {
        self.0.open_count()
    }
    fn parked(&self) -> Vec<Parked> {
        Store::parked(&self.0)
    }
    fn commit(&mut self, batch: Batch) -> Result<Vec<Arc<Row>>, StoreError> {
        self.0.commit(batch)
    }
    fn sweep(
        &mut self,
        now: UnixMillis,
        before: UnixMillis,
        budget: usize,
    ) -> Result<Swept, StoreError> {
        self.0.sweep(now, before, budget)
    }
    fn held(&self) -> Option<Held> {
        self.0.held()
    }
    fn last_time(&self) -> Moment {
        self.0.last_time()
    }
    fn clock(&self) -> Option<ClockNote> {
        self.0.clock()
    }
    fn note_clock(&mut self, note: ClockNote) -> Result<(), StoreError> {
        self.0.note_clock(note)
    }
    fn grace_given_ms(&self) -> u64 {
        self.0.grace_given_ms()
    }
    fn reader(&self) -> Arc<dyn Reader> {
        self.0.reader()
    }
    fn settings(&self) -> Arc<dyn Settings> {
        Arc::clone(&self.1) as Arc<dyn Settings>
    }
}

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

/// One that nobody answers.
fn application() -> Application {
    Application {
        id: Uuid::now_v7(),
        tenant: "default".to_owned(),
        name: "orders".to_owned(),
        public_key: None,
        messages: Some(MessagesCapability {
            inbound: None,
            status: Some(Webhook { address: "https://example.com/status".to_owned() }),
            shape: Shape::V01,
            signing: Signing::Jwt,
            secret: Vec::new(),
        }),
        other_capabilities: String::new(),
        improve_ai: false,
        created_at_ms: 0,
    }
}

/// No route serves it: it fails at once, and that is told.
async fn create(engine: &Engine, application: Uuid) -> WorkflowId {
    let message = Message {
        channel: Channel::SMS,
        from: Endpoint::Number("12345".to_owned()),
        to: Endpoint::Number("447700900000".to_owned()),
        content: Content::Text("x".to_owned()),
        options: MessageOptions::default(),
    };
    let plan = Plan {
        template: Template::Failover,
        steps: vec![StepPlan { message, rule: None }],
        send_at: None,
        valid_until: None,
        send_within_ms: None,
        on_late_success: OnLateSuccess::Stop,
        on_unknown: OnUnknown::WaitReceipt,
        priority: Priority::Normal,
        labels: BTreeMap::new(),
        client_ref: None,
    };
    let requester = Requester {
        application: Some(application),
        webhook_url: None,
        facade: Facade::DispatchV01,
    };
    engine.create(Arc::from("default"), plan, None, requester).await.unwrap().id
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_ends_no_callbacks_but_those_of_its_row() {
    let store = MemoryStore::new();
    let settings = Arc::new(Frightening {
        inner: store.settings(),
        notes: AtomicBool::new(false),
        keys: Mutex::default(),
    });
    let [told, frightening] = [application(), application()];
    for application in [&told, &frightening] {
        let row = encode(application).unwrap();
        let change = SettingChange::put(Kind::Application, *application.id.as_bytes(), row);
        settings.write(vec![change]).unwrap();
    }
    let metrics = Arc::new(Metrics::new());
    let options = EngineOptions {
        terms: Terms::default(),
        recovery_grace: Duration::ZERO,
        retention: Duration::from_secs(3600),
        space: SpaceLimits::default(),
        is_read_only: false,
        queue_warn: Duration::ZERO,
        lanes: LaneLimits::default(),
    };
    let engine = Engine::start(
        Box::new(WithSettings(store, Arc::clone(&settings))),
        Arc::new(RouteTable::default()),
        Arc::new(NoSenders),
        Arc::new(SystemClock::new()),
        Arc::clone(&metrics),
        &options,
    );
    let callbacks = Callbacks::start(&engine, Options::default()).await.unwrap();
    let is_told = async |id: WorkflowId| {
        for _ in 0..500 {
            let kept = settings.list(Kind::Callback, None, 100).unwrap();
            if kept.iter().any(|(key, _)| key.starts_with(id.as_bytes())) {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        false
    };

    // Over what it had made, once: it is made again.
    settings.notes.store(true, Ordering::SeqCst);
    let id = create(&engine, told.id).await;
    assert!(is_told(id).await, "a panic ended the callbacks");
    assert!(!settings.notes.load(Ordering::SeqCst));

    // Over one row, whenever it is looked at: the others are not its victims.
    settings.keys.lock().unwrap().push(frightening.id.as_bytes().to_vec());
    create(&engine, frightening.id).await;
    let id = create(&engine, told.id).await;
    assert!(is_told(id).await, "a row ended the callbacks of others");
    let text = metrics.render();
    let panics = text.lines().find_map(|line| line.strip_prefix("dispatch_callback_panics_total "));
    assert!(panics.is_some_and(|count| count != "0" && count != "1"), "{text}");
    callbacks.stop().await;
    engine.drain(Duration::ZERO).await;
}
