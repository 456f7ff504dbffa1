//! Lives without network and clock: what goes into the machine, the turn and the store when a
//! workflow is created, its first message is accepted, its time passes, its second message is
//! accepted, and a receipt ends it.

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use dispatch::{
    builtin,
    config::Config,
    contents::{ContentsKeeper, WorkflowRequest},
    engine::{Command, Effects, Grace, InboundReport, Processor, SendOrder, TestClock},
    grpc::parse_create,
    machine::{Moment, PolicySnapshot, SendResult, WorkflowId},
    pb::v1::CreateWorkflowRequest,
    service::{Components, ServiceClock},
    store::{Record, Requester, Row, Store},
};
use dispatch_contract::{AttemptId, Content, Receipt, Report, Status, UnixMillis, WebhookRequest};
use sha2::{Digest, Sha256};
use uuid::Uuid;

pub const SECRET: &str = "a secret of thirty-two characters";
pub const EXPIRY_MS: u64 = 2000;
const START: u64 = 1_800_000_000_000;

pub fn at(ms: u64) -> Moment {
    Moment::both(UnixMillis(START + ms))
}

/// The real adapters behind routes for Messenger and SMS.
pub fn parts() -> Components {
    let config = Config::parse(&format!(
        r#"
[[accounts]]
name = "main"
provider = "vonage"
settings = {{ base_url = "http://127.0.0.1:9", api_key = "abcd1234" }}
secrets = {{ api_secret = "{SECRET}", signature_secret = "{SECRET}" }}
[[routes]]
name = "messenger"
adapter = "vonage-messenger"
account = "main"
concurrency = 10000
[[routes]]
name = "sms"
adapter = "vonage-sms"
account = "main"
concurrency = 10000
"#
    ));
    // Not the system's: what reads that one looks for a page of the kernel's which valgrind hides.
    let clock = ServiceClock::Test(Arc::new(TestClock::new(UnixMillis(0))));
    builtin::parts(&config.expect("a good configuration"), &clock).expect("good routes")
}

/// Two steps with a text of 160 characters each.
pub fn request() -> CreateWorkflowRequest {
    let text = "0123456789abcdef".repeat(10);
    let spec = dispatch::pb::from_yaml(&format!(
        "
steps:
  - sender: {{ channel: messenger, id: '107083064136738' }}
    recipient: {{ channel: messenger, id: '1000000000001' }}
    message: {{ text: {text} }}
    failover: {{ expiry_time: 2s, condition_status: delivered }}
  - sender: {{ channel: sms, number: '447700900000' }}
    recipient: {{ channel: sms, number: '447700900001' }}
    message: {{ text: {text} }}
"
    ));
    CreateWorkflowRequest {
        workflow: Some(spec.expect("a good workflow")),
        ..CreateWorkflowRequest::default()
    }
}

pub fn asked(parts: &Components) -> WorkflowRequest {
    parse_create(&request(), &parts.routes, at(0).wall).expect("a good workflow")
}

static KEEPER: LazyLock<ContentsKeeper> = LazyLock::new(|| ContentsKeeper::in_memory([7; 32]));

/// What is asked for in workflow `number`: as in the plan, but for the texts, of which no two are alike.
/// What repeats itself would take little room.
pub fn record(number: u128, asked: &WorkflowRequest) -> Record {
    let WorkflowRequest { plan, mut contents } = asked.clone();
    let text = hex(&Sha256::digest(number.to_be_bytes()));
    for step in &mut contents.steps {
        step.content = Content::Text(text.repeat(3)[..160].to_owned());
    }
    let id = WorkflowId(Uuid::from_u128((u128::from(START) << 80) | number));
    let key = KEEPER.take().expect("keys in memory are always at hand");
    Record {
        id,
        tenant: Arc::from("default"),
        created_at: at(0),
        plan,
        policy: PolicySnapshot::default(),
        request: None,
        requester: Requester::default(),
        contents: KEEPER.seal(key, id, &contents).expect("it can be sealed"),
    }
}

pub fn create(number: u128, asked: &WorkflowRequest) -> Command {
    Command::Create { record: Box::new(record(number, asked)), reply: Box::new(|_| {}) }
}

/// The provider's id of an attempt's message.
pub fn provider_id(attempt: AttemptId) -> String {
    Uuid::from_u128(attempt.workflow.as_u128() ^ u128::from(attempt.number)).to_string()
}

pub fn accepted(order: SendOrder) -> Command {
    let SendOrder { attempt, call, route, .. } = order;
    let answer = SendResult::Accepted { provider_ids: vec![provider_id(attempt)] };
    Command::SendResult { attempt, call, route, answer, took_ms: 1, conversation: None }
}

pub fn delivered(attempt: AttemptId) -> Command {
    let receipt = Receipt {
        attempt: Some(attempt),
        provider_id: Some(provider_id(attempt)),
        report: Report::Reached(Status::Delivered),
        provider_time: Some(at(0).wall),
        code: None,
        detail: None,
        usage: None,
    };
    Command::Inbound {
        provider: Arc::from("vonage"),
        account: Arc::from("main"),
        scope: None,
        items: vec![InboundReport::Receipt(receipt)],
        reply: Box::new(|_| {}),
    }
}

/// A receipt as Vonage posts it.
pub struct SignedReceipt {
    body: &'static str,
    headers: [(String, Vec<u8>); 1],
}

impl SignedReceipt {
    pub fn new() -> Self {
        let body = r#"{"message_uuid":"0198c0ff-ee00-7000-8000-00000000beef","to":"447700900001","from":"447700900000","timestamp":"2027-01-15T08:00:00Z","status":"delivered","channel":"sms","client_ref":"0198c0ffee007000800000000000beef.2"}"#;
        let claims = serde_json::json!({
            "iss": "Vonage", "iat": at(0).wall.0 / 1000, "jti": "j", "api_key": "abcd1234",
            "payload_hash": hex(&Sha256::digest(body)),
        });
        let key = jsonwebtoken::EncodingKey::from_secret(SECRET.as_bytes());
        let token = jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key);
        let header = format!("Bearer {}", token.expect("a token"));
        SignedReceipt { body, headers: [("authorization".to_owned(), header.into_bytes())] }
    }

    pub fn request(&self) -> WebhookRequest<'_> {
        WebhookRequest {
            method: "POST",
            url: "/receipts/vonage/main",
            query: "",
            headers: &self.headers,
            body: self.body.as_bytes(),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A turn on `store` that recovers nothing.
pub fn processor(store: &dyn Store, parts: &Components) -> Processor {
    let grace = Grace::new(at(0).engine, Duration::ZERO, 0);
    Processor::new(store, Arc::new(parts.routes.clone()), grace)
}

/// Commits what a turn gave back.
pub fn settle(store: &mut dyn Store, out: Effects) -> (Vec<Arc<Row>>, Vec<SendOrder>) {
    assert_eq!(out.broken, []);
    let rows = store.commit(out.change_set).expect("it can be kept");
    out.acks.into_iter().for_each(|ack| ack());
    (rows, out.sends)
}

/// Steps `numbers` through whole lives, all at once; returns the journal's rows.
pub fn live(
    store: &mut dyn Store,
    processor: &mut Processor,
    asked: &WorkflowRequest,
    numbers: std::ops::Range<u128>,
    now: u64,
) -> Vec<Arc<Row>> {
    let mut journal = Vec::new();
    let mut run = |processor: &mut Processor, store: &mut dyn Store, ms: u64, commands| {
        let out = processor.run(store, at(now + ms), commands).expect("the store can be read");
        let (rows, sends) = settle(store, out);
        journal.extend(rows);
        sends
    };
    let creates = numbers.map(|number| create(number, asked)).collect();
    let first = run(processor, store, 0, creates);
    run(processor, store, 1, first.into_iter().map(accepted).collect());
    let second = run(processor, store, 1 + EXPIRY_MS, Vec::new());
    let attempts: Vec<_> = second.iter().map(|order| order.attempt).collect();
    run(processor, store, 2 + EXPIRY_MS, second.into_iter().map(accepted).collect());
    run(processor, store, 7 + EXPIRY_MS, attempts.into_iter().map(delivered).collect());
    journal
}
