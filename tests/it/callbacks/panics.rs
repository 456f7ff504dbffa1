//! A panic costs at most the callbacks of one row, and is told; a key that cannot be read costs none.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use dispatch::{
    access::{Application, MessagesCapability, PayloadVersion, Signing, Webhook},
    callbacks::{CallbackContext, CallbackOptions, Callbacks},
    contents::ContentsKeeper,
    engine::Engine,
    machine::WorkflowId,
    store::{
        ApiDialect, KeyAndValue, Kind, Requester, SettingChange, Settings, StoreError, encode,
    },
};
use dispatch_contract::Channel;
use uuid::Uuid;

use crate::{
    shared::{engines::FrontedStore, plans},
    support::eventually,
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
            payload_version: PayloadVersion::V01,
            signing: Signing::Jwt,
            secret: Vec::new(),
        }),
        other_capabilities: String::new(),
        improve_ai: false,
        create_time_ms: 0,
    }
}

/// No route serves it: it fails at once, and that is told.
async fn create(engine: &Engine, application: Uuid) -> WorkflowId {
    let plan = plans::plan(vec![plans::step(Channel::SMS, None)]);
    let requester = Requester { application: Some(application), dialect: ApiDialect::DispatchV01 };
    engine
        .create(Arc::from("default"), plans::request(plan, "x"), None, requester)
        .await
        .unwrap()
        .id
}

fn context(engine: &Engine) -> CallbackContext {
    CallbackContext {
        contents: Arc::clone(engine.contents()),
        clock: Arc::clone(engine.clock()),
        reader: Arc::clone(engine.reader()),
        settings: Arc::clone(engine.settings()),
        feed: Arc::clone(engine.feed()),
        inbound: Arc::clone(engine.inbound_messages()),
        metrics: Arc::clone(engine.metrics()),
        log_limit: Arc::clone(engine.log_limit()),
        is_read_only: engine.is_read_only(),
    }
}

/// A keeper that opens nothing: it never gave out these keys.
fn keyless() -> Arc<ContentsKeeper> {
    Arc::new(ContentsKeeper::in_memory([1; 32]))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_opened_for_a_moment_is_told_of_later() {
    let store = FrontedStore::new();
    let (settings, told) = (Arc::clone(&store.settings), application());
    let row = encode(&told).unwrap();
    let change = SettingChange::put(Kind::Application, *told.id.as_bytes(), row);
    settings.write(vec![change]).unwrap();
    let engine = store.start();
    let context = CallbackContext { contents: keyless(), ..context(&engine) };
    let callbacks = Callbacks::start(context, CallbackOptions::default()).await.unwrap();
    let id = create(&engine, told.id).await;
    let kept = || settings.list(Kind::Callback, None, 100).unwrap();
    let is_made =
        async || !kept().is_empty() && kept().iter().all(|(key, _)| key.starts_with(id.as_bytes()));
    assert!(eventually(Duration::from_secs(20), is_made).await, "it was passed over");
    let made = kept().len();
    // It is tried, and waits: nobody gives it up.
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(kept().len(), made);
    let text = engine.metrics().render();
    assert!(!text.contains("outcome=\"dropped\""), "{text}");
    callbacks.stop().await;
    engine.drain(Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_ends_no_callbacks_but_those_of_its_row() {
    let mut store = FrontedStore::new();
    let settings = Arc::new(Frightening {
        inner: Arc::clone(&store.settings),
        notes: AtomicBool::new(false),
        keys: Mutex::default(),
    });
    store.settings = Arc::clone(&settings) as Arc<dyn Settings>;
    let [told, frightening] = [application(), application()];
    for application in [&told, &frightening] {
        let row = encode(application).unwrap();
        let change = SettingChange::put(Kind::Application, *application.id.as_bytes(), row);
        settings.write(vec![change]).unwrap();
    }
    let engine = store.start();
    let callbacks = Callbacks::start(context(&engine), CallbackOptions::default()).await.unwrap();
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
    let text = engine.metrics().render();
    let panics = text.lines().find_map(|line| line.strip_prefix("dispatch_callback_panics_total "));
    assert!(panics.is_some_and(|count| count != "0" && count != "1"), "{text}");
    callbacks.stop().await;
    engine.drain(Duration::ZERO).await;
}
