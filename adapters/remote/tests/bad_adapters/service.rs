//! The service's side, as far as a test needs it: it dials, sends, and takes what is told.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use dispatch_contract::{
    Account, AdapterError, AttemptId, Busy, Channel, ChannelAdapter, Clock, Content, Endpoint,
    Inbound, InboundSink, Message, Options, Provider, ProviderAccounts, SendContext, SinkClosed,
    UnixMillis,
};
use dispatch_remote::{ConfiguredUse, DialTarget, RemoteProvider, pb};
use tokio::sync::Notify;

use crate::played::PATIENCE;

pub(crate) fn target(at: SocketAddr) -> DialTarget {
    DialTarget::new(&format!("http://{at}"), None, false).unwrap()
}

pub(crate) async fn dialled(
    at: SocketAddr,
    kept: Option<PathBuf>,
    patience: Duration,
) -> Arc<RemoteProvider> {
    let used = ConfiguredUse {
        settings: BTreeSet::from(["base_url".to_owned()]),
        secrets: BTreeSet::new(),
        adapters: BTreeSet::from(["fax".to_owned()]),
    };
    Arc::new(RemoteProvider::dial("fax", target(at), kept, &used, patience).await)
}

pub(crate) fn fax(provider: &RemoteProvider) -> Arc<dyn ChannelAdapter> {
    let [fax] = provider.channels().try_into().unwrap_or_else(|_| panic!("one channel"));
    fax
}

pub(crate) fn message() -> Message {
    Message {
        channel: Channel::named("fax"),
        from: Endpoint::Number("442079460000".to_owned()),
        to: Endpoint::Number("442079460001".to_owned()),
        content: Content::Text("Your table is ready.".to_owned()),
        options: Options::NONE,
    }
}

pub(crate) async fn send(
    adapter: &dyn ChannelAdapter,
    timeout: Duration,
) -> Result<Vec<String>, AdapterError> {
    let account = account("main");
    let context = SendContext {
        attempt: AttemptId { workflow: uuid::Uuid::max(), number: 1 },
        account: &account,
        callback_url: None,
        useful_for: None,
        now: UnixMillis(1_700_000_000_000),
        timeout,
    };
    adapter.send(&context, &message()).await.map(|accepted| accepted.provider_ids)
}

pub(crate) fn account(name: &str) -> Account {
    Account {
        name: name.to_owned(),
        revision: 1,
        settings: Default::default(),
        secrets: Default::default(),
    }
}

/// What was delivered, and to whom it counts.
#[derive(Default)]
pub(crate) struct Sink(pub(crate) Mutex<Vec<(String, usize)>>);

#[async_trait]
impl InboundSink for Sink {
    async fn deliver(&self, account: &str, inbound: Vec<Inbound>) -> Result<(), SinkClosed> {
        self.0.lock().unwrap().push((account.to_owned(), inbound.len()));
        Ok(())
    }
}

/// The account `main`, which changes when it is told to.
#[derive(Default)]
pub(crate) struct Main(pub(crate) Notify);

#[async_trait]
impl ProviderAccounts for Main {
    fn now(&self) -> Vec<Arc<Account>> {
        vec![Arc::new(account("main"))]
    }

    async fn changed(&self) {
        self.0.notified().await;
    }
}

pub(crate) struct NoClock;

#[async_trait]
impl Clock for NoClock {
    fn now(&self) -> UnixMillis {
        UnixMillis(0)
    }

    fn wall(&self) -> UnixMillis {
        UnixMillis(0)
    }

    async fn sleep_until(&self, _: UnixMillis) -> Busy {
        std::future::pending().await
    }
}

/// Runs one as a service does.
pub(crate) fn run(provider: &Arc<RemoteProvider>) -> Arc<Sink> {
    run_with(provider, Arc::default())
}

pub(crate) fn run_with(provider: &Arc<RemoteProvider>, accounts: Arc<Main>) -> Arc<Sink> {
    let sink = Arc::new(Sink::default());
    let (provider, heard) = (Arc::clone(provider), Arc::clone(&sink));
    tokio::spawn(async move {
        let never = Box::pin(std::future::pending());
        provider.run(accounts, heard, Arc::new(NoClock), never).await;
    });
    sink
}

pub(crate) async fn eventually(holds: impl Fn() -> bool) {
    let ended = tokio::time::timeout(PATIENCE, async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    ended.await.expect("it never came about");
}

pub(crate) fn receipt(status: i32) -> pb::Inbound {
    let receipt = pb::Receipt {
        provider_message_id: "one".to_owned(),
        report: Some(pb::receipt::Report::Reached(status)),
        ..Default::default()
    };
    pb::Inbound { item: Some(pb::inbound::Item::Receipt(receipt)) }
}

pub(crate) fn batch(batch_id: u64, account: &str, inbound: Vec<pb::Inbound>) -> pb::ListenResponse {
    pb::ListenResponse { batch_id, account: account.to_owned(), inbound }
}
