//! A message whose time is over is asked back before the next one goes out, by a provider that can.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use dispatch::{
    builtin,
    client::{Client, Credential},
    config::Config,
    pb::v1::{EventKind, Recall as Recalled, RecallResult, Workflow, event::Attributes},
};
use dispatch_contract::{
    Accepted, AdapterError, AddressForm, Capabilities, Channel, ChannelAdapter, Clock, ContentKind,
    Correlation, ErrorKind, Fault, Inbound, InboundSink, Limits, Message, OptionsForm, Provider,
    ProviderAccounts, Recall, Receipt, Report, Retry, SendContext, SettingsForm, Shutdown, Status,
};

use tokio::sync::watch;

use crate::{
    no_recipient,
    support::{eventually, request},
};

static NOTE: Channel = Channel::named("note");

/// Puts notes on a board, and takes them off again while nobody has read them.
#[derive(Clone)]
struct Board(Arc<BoardState>);

struct BoardState {
    can: Capabilities,
    /// What it was asked back for, under the ids that it gave out.
    asked: Mutex<Vec<String>>,
    /// Where it tells what becomes of notes, once it runs.
    sink: watch::Sender<Option<Arc<dyn InboundSink>>>,
}

impl Board {
    fn new() -> Board {
        let can = Capabilities {
            condition_statuses: vec![Status::Submitted, Status::Delivered, Status::Read],
            content: vec![ContentKind::Text],
            captions: vec![],
            limits: Limits { text_chars: 100, caption_chars: 0, url_bytes: 0 },
            to: vec![AddressForm::Id],
            from: vec![AddressForm::Id],
            idempotent_for: None,
            correlation: Correlation::AttemptId,
            options: OptionsForm::NONE,
            recall: true,
            parts: false,
            watermarks: false,
            ids_name_recipients: false,
        };
        Board(Arc::new(BoardState { can, asked: Mutex::default(), sink: watch::Sender::new(None) }))
    }

    /// Tells that a note is on the board, naming our attempt and nothing else.
    async fn tell(&self, context: &SendContext<'_>) {
        let mut sink = self.0.sink.subscribe();
        let sink = sink.wait_for(Option::is_some).await.unwrap().clone().unwrap();
        let receipt = Receipt {
            attempt: Some(context.attempt),
            provider_id: None,
            report: Report::Reached(Status::Delivered),
            provider_time: None,
            code: None,
            detail: None,
            usage: None,
        };
        sink.deliver(&context.account.name, vec![Inbound::Receipt(receipt)]).await.unwrap();
    }
}

#[async_trait]
impl Provider for Board {
    fn name(&self) -> &str {
        "board"
    }

    fn settings(&self) -> SettingsForm {
        SettingsForm(&[])
    }

    fn channels(&self) -> Vec<Arc<dyn ChannelAdapter>> {
        vec![Arc::new(self.clone())]
    }

    async fn run(
        &self,
        _: Arc<dyn ProviderAccounts>,
        sink: Arc<dyn InboundSink>,
        _: Arc<dyn Clock>,
        shutdown: Shutdown,
    ) {
        self.0.sink.send_replace(Some(sink));
        shutdown.await;
        self.0.sink.send_replace(None);
    }
}

#[async_trait]
impl ChannelAdapter for Board {
    fn name(&self) -> &str {
        "board"
    }

    fn provider(&self) -> &str {
        "board"
    }

    fn channel(&self) -> &Channel {
        &NOTE
    }

    fn capabilities(&self) -> &Capabilities {
        &self.0.can
    }

    async fn send(
        &self,
        context: &SendContext<'_>,
        message: &Message,
    ) -> Result<Accepted, AdapterError> {
        if message.to.value() == "gil" {
            self.tell(context).await;
        }
        Ok(Accepted::under(format!("note of {}", message.to.value())))
    }

    /// As the person's name says.
    async fn recall(
        &self,
        context: &SendContext<'_>,
        provider_id: &str,
    ) -> Result<Recall, AdapterError> {
        assert_eq!(context.account.name, "main");
        self.0.asked.lock().unwrap().push(provider_id.to_owned());
        match provider_id {
            "note of ada" | "note of gil" => Ok(Recall::Recalled),
            "note of bob" => Ok(Recall::TooLate(Some(Status::Delivered))),
            "note of cyd" => Ok(Recall::TooLate(Some(Status::Read))),
            "note of dan" => panic!("an adapter's mistake"),
            "note of eve" => {
                std::future::pending::<()>().await;
                unreachable!()
            }
            _ => {
                let (kind, fault) = (ErrorKind::ProviderFailure, Fault::Provider);
                Err(AdapterError::new(kind, fault, Retry::Unknown, "it said nothing useful"))
            }
        }
    }
}

const CONFIGURATION: &str = r#"
[store]
kind = "memory"

[listen]
grpc = "127.0.0.1:0"
http = "127.0.0.1:0"
internal_http = "127.0.0.1:0"

[[access.keys]]
id = "board"
secret = "a secret of the tests"
scopes = ["create", "read"]

[[accounts]]
name = "main"
provider = "board"

[[routes]]
name = "board"
adapter = "board"
account = "main"
sender = "us"

[[routes]]
name = "sandbox-note"
adapter = "sandbox-note"
account = "sandbox"
sender = "sandbox"

[[routes]]
name = "sms"
adapter = "sandbox-sms"
account = "sandbox"

[sandbox.scripts]
"slow" = "accept; deliver 60s"
"quick" = "accept; deliver 0s"
"#;

/// A note that is to be read within a second, else an SMS; once it has ended, or is at its second step.
async fn noted(client: &Client, sender: &str, to: &str) -> Workflow {
    let spec = dispatch::pb::from_yaml(&format!(
        "
steps:
  - sender: {{ channel: note, id: '{sender}' }}
    recipient: {{ channel: note, id: '{to}' }}
    message: {{ text: 'Your table is ready.' }}
    failover: {{ expiry_time: 1s, condition_status: read }}
  - sender: {{ channel: sms, number: 'Dispatch' }}
    recipient: {{ channel: sms, number: '447700900001' }}
    message: {{ text: 'Your table is ready.' }}
"
    ));
    let created = client.create(request(spec.unwrap())).await.unwrap();
    let id = created.workflow.unwrap().workflow_id;
    let is_over = async || {
        let found = client.get(&id).await.unwrap();
        found.outcome.is_some() || !found.steps[1].attempts.is_empty()
    };
    assert!(eventually(Duration::from_secs(30), is_over).await, "{:?}", client.get(&id).await);
    client.get(&id).await.unwrap()
}

fn kinds(workflow: &Workflow) -> Vec<EventKind> {
    workflow.timeline.iter().map(|event| event.kind()).collect()
}

fn recall(workflow: &Workflow) -> Option<Recalled> {
    let ended = workflow.timeline.iter().find(|event| event.kind() == EventKind::RecallEnded)?;
    match ended.attributes.as_ref()? {
        Attributes::Recall(recall) => Some(recall.clone()),
        _ => None,
    }
}

fn result(workflow: &Workflow) -> Option<RecallResult> {
    recall(workflow).map(|recall| recall.result())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_message_goes_out_when_the_one_before_was_asked_back() {
    let board = Board::new();
    let config = Config::parse(CONFIGURATION).unwrap();
    let mut providers = builtin::Providers::default();
    builtin::add(&mut providers).unwrap();
    providers.add(board.clone()).unwrap();
    let parts = |clock: &_, _| builtin::parts_of(&providers.registry, &config, clock);
    let service = no_recipient::start(&config, parts).await.unwrap();
    let client = Client::connect(format!("http://{}", service.grpc)).await.unwrap();
    let client = client.with(Credential::key("board:a secret of the tests").unwrap());

    let all = ["ada", "bob", "dan", "eve", "fay"].map(|to| noted(&client, "us", to));
    let all = futures_util::future::join_all(all).await;
    let expected = [
        RecallResult::Recalled,
        RecallResult::TooLate,
        RecallResult::Failed,
        RecallResult::Unanswered,
        RecallResult::Failed,
    ];
    for (workflow, expected) in all.iter().zip(expected) {
        assert_eq!(result(workflow), Some(expected), "{:?}", workflow.timeline);
        let kinds = kinds(workflow);
        let at = |kind| kinds.iter().position(|it| *it == kind).unwrap();
        let order = [
            EventKind::AttemptAccepted,
            EventKind::RecallStarted,
            EventKind::RecallEnded,
            EventKind::StepExpired,
            EventKind::StepStarted,
        ];
        assert!(order[..4].windows(2).all(|pair| at(pair[0]) < at(pair[1])), "{kinds:?}");
        let last = kinds.iter().rposition(|it| *it == EventKind::StepStarted).unwrap();
        assert!(at(EventKind::StepExpired) < last, "{kinds:?}");
    }
    assert_eq!(all[1].steps[0].status, "delivered", "what the provider said of it is kept");
    let details: Vec<_> = all.iter().map(|workflow| recall(workflow).unwrap().detail).collect();
    assert_eq!(details[2], "the adapter failed in the middle of the call");
    assert_eq!(details[4], "it said nothing useful");
    assert!([0, 1, 3].iter().all(|at| details[*at].is_empty()), "{details:?}");

    // It was read, and nobody had told: nothing more is sent.
    let read = noted(&client, "us", "cyd").await;
    assert_eq!(read.outcome.unwrap().reason().as_str_name(), "OUTCOME_REASON_CONDITION_MET");
    assert!(read.steps[1].attempts.is_empty());
    assert_eq!(board.0.asked.lock().unwrap().len(), 6, "each was asked for once");

    // It was told of before its answer came, which alone says what to ask for.
    let told_first = noted(&client, "us", "gil").await;
    assert_eq!(result(&told_first), Some(RecallResult::Recalled), "{:?}", told_first.timeline);
    let named = &told_first.steps[0].attempts[0].provider_message_ids;
    assert_eq!(named, &["note of gil"]);

    // The sandbox does as the channel's real adapter says that it can.
    let slow = noted(&client, "sandbox", "slow").await;
    assert_eq!(result(&slow), Some(RecallResult::Recalled));
    let quick = noted(&client, "sandbox", "quick").await;
    assert_eq!(result(&quick), Some(RecallResult::TooLate));
    no_recipient::stop(service).await;
}
