//! The adapter within the process, on a clock moved by hand.

mod receipts;
mod sends;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use dispatch_contract::{
    Accepted, Account, AdapterError, AddressForm, AttemptId, Capabilities, Channel, ChannelAdapter,
    Clock, Content, ContentKind, Correlation, Endpoint, Inbound, InboundMessage, InboundSink,
    Limits, Message, Options, OptionsForm, Recall, Receipt, Report, SendContext, SinkClosed,
    Status,
};
use dispatch_sandbox::{ProviderConfig, SandboxAdapter, SimulatedProvider};
use tokio_util::sync::CancellationToken;

use crate::clock::{ManualClock, START, secs};

const PERSON: &str = "447700900001";
const DELIVERED: Report = Report::Reached(Status::Delivered);
const READ: Report = Report::Reached(Status::Read);

struct ProcessWorld {
    clock: Arc<ManualClock>,
    provider: Arc<SimulatedProvider>,
    adapter: Arc<SandboxAdapter>,
    heard: Arc<Heard>,
    stop: CancellationToken,
}

/// What came out of `run`, and how long after the start.
struct Heard {
    clock: Arc<ManualClock>,
    receipts: Mutex<Vec<(Duration, Receipt)>>,
    messages: Mutex<Vec<(Duration, InboundMessage)>>,
    closed: Mutex<bool>,
}

#[async_trait]
impl InboundSink for Heard {
    async fn deliver(&self, account: &str, inbound: Vec<Inbound>) -> Result<(), SinkClosed> {
        assert_eq!(account, "shop");
        if *self.closed.lock().unwrap() {
            return Err(SinkClosed);
        }
        // A sink that takes its time must not let the clock run on.
        tokio::task::yield_now().await;
        for item in inbound {
            let at = self.clock.now().since(START);
            match item {
                Inbound::Receipt(receipt) => self.receipts.lock().unwrap().push((at, receipt)),
                Inbound::Message(message) => self.messages.lock().unwrap().push((at, message)),
                other => panic!("neither a receipt nor an answer: {other:?}"),
            }
        }
        Ok(())
    }
}

impl ProcessWorld {
    /// A WhatsApp adapter whose `run` is running.
    async fn new(config: ProviderConfig) -> Self {
        ProcessWorld::with(Channel::WHATSAPP, Correlation::AttemptId, config).await
    }

    async fn scripted(script: &str) -> Self {
        let world = ProcessWorld::new(ProviderConfig::default()).await;
        world.provider.set_script(PERSON, script.parse().unwrap());
        world
    }

    async fn with(channel: Channel, correlation: Correlation, config: ProviderConfig) -> Self {
        let clock = ManualClock::new();
        let provider = Arc::new(SimulatedProvider::new(clock.clone(), config));
        let capabilities = capabilities(&channel, correlation);
        let adapter = Arc::new(SandboxAdapter::new(channel, capabilities, provider.clone()));
        let heard = Arc::new(Heard {
            clock: clock.clone(),
            receipts: Mutex::default(),
            messages: Mutex::default(),
            closed: Mutex::new(false),
        });
        let world =
            ProcessWorld { clock, provider, adapter, heard, stop: CancellationToken::new() };
        world.run().await;
        world
    }

    async fn run(&self) -> tokio::task::JoinHandle<()> {
        let (adapter, stop) = (self.adapter.clone(), self.stop.clone());
        let (sink, clock) = (self.heard.clone(), self.clock.clone());
        let running = tokio::spawn(async move {
            adapter.run(sink, clock, Box::pin(stop.cancelled_owned())).await;
        });
        // The runtime has one thread: now `run` is under way.
        tokio::task::yield_now().await;
        running
    }

    async fn send(&self, number: u16) -> Result<Accepted, AdapterError> {
        self.send_to(number, PERSON).await
    }

    async fn send_to(&self, number: u16, to: &str) -> Result<Accepted, AdapterError> {
        let account = account();
        let context = SendContext {
            attempt: attempt(number),
            account: &account,
            callback_url: None,
            useful_for: None,
            now: self.clock.now(),
            timeout: secs(10),
        };
        let message = Message {
            channel: self.adapter.channel().clone(),
            from: Endpoint::Number("447700900000".into()),
            to: Endpoint::Number(to.into()),
            content: Content::Text("hello".into()),
            options: Options::default(),
        };
        self.adapter.send(&context, &message).await
    }

    async fn recall(&self, provider_id: &str) -> Result<Recall, AdapterError> {
        let account = account();
        let context = SendContext {
            attempt: attempt(1),
            account: &account,
            callback_url: None,
            useful_for: None,
            now: self.clock.now(),
            timeout: secs(5),
        };
        self.adapter.recall(&context, provider_id).await
    }

    /// Sends, and lets an hour pass: when what was heard.
    async fn play(&self) -> Vec<(Duration, Report)> {
        let _ = self.send(1).await;
        self.clock.advance(secs(3600)).await;
        self.reports()
    }

    fn reports(&self) -> Vec<(Duration, Report)> {
        self.receipts().into_iter().map(|(at, receipt)| (at, receipt.report)).collect()
    }

    fn receipts(&self) -> Vec<(Duration, Receipt)> {
        self.heard.receipts.lock().unwrap().clone()
    }
}

fn capabilities(channel: &Channel, correlation: Correlation) -> Capabilities {
    let statuses = if *channel == Channel::SMS {
        vec![Status::Submitted, Status::Delivered]
    } else {
        vec![Status::Submitted, Status::Delivered, Status::Read, Status::Replied]
    };
    Capabilities {
        condition_statuses: statuses,
        content: vec![ContentKind::Text],
        captions: Vec::new(),
        limits: Limits { text_chars: 1000, caption_chars: 0, url_bytes: 0 },
        to: vec![AddressForm::E164],
        from: vec![AddressForm::E164],
        idempotent_for: Some(secs(1)),
        correlation,
        recall: true,
        parts: false,
        watermarks: false,
        ids_name_recipients: false,
        options: OptionsForm::NONE,
    }
}

fn account() -> Account {
    Account {
        name: "shop".into(),
        revision: 1,
        settings: BTreeMap::new(),
        secrets: BTreeMap::new(),
    }
}

fn attempt(number: u16) -> AttemptId {
    AttemptId { workflow: uuid::Uuid::from_u128(0xfeed), number }
}
