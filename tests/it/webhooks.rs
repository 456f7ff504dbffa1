//! Webhooks over real HTTP: forged, repeated, truncated, oversize, unknown, early, late.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use dispatch::{
    builtin,
    client::Client,
    config::{AccountConfig, Config},
    engine::TestClock,
    pb::v1::{EventKind, MessageFailure, Workflow, WorkflowSpec, WorkflowState},
    service::{Components, Service, ServiceClock},
};
use dispatch_contract::Secret;
use dispatch_sandbox::{ProviderConfig, SandboxServer, ServerConfig, SimulatedProvider};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    no_recipient,
    support::{FREE, Running, in_memory, kinds, messenger_sms, request},
};

mod accounts;
mod early;
mod odd;
mod panics;
mod paths;

const PERSON: &str = "1000000000000001";
const NUMBER: &str = "447700900001";
const KEY: &str = "abcd1234";
const SECRET: &str = "a secret of thirty-two characters";

async fn metric(running: &Running, line: &str) -> bool {
    told(&running.service).await.lines().any(|found| found == line)
}

async fn told(service: &Service) -> String {
    let url = format!("http://{}/metrics", service.internal_http);
    reqwest::get(url).await.unwrap().text().await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_that_nobody_signed_changes_nothing() {
    let running = Running::over_http(&in_memory()).await;
    running.script(PERSON, "accept; never").await;
    let id = running.create(messenger_sms(PERSON, NUMBER, "600s")).await;
    running.advance(Duration::from_secs(1)).await;
    let attempt = running.sent().await[0].attempt_id.clone();
    let before = running.get(&id).await;
    let url = format!("http://{}/receipts/vonage/sandbox", running.service.http);
    let body = format!(
        r#"{{"message_uuid":"x","channel":"messenger","to":"1","from":"2","timestamp":"2026-01-01T00:00:00Z","status":"read","client_ref":"{attempt}"}}"#
    );
    let client = reqwest::Client::new();
    // None, not a token, "alg": "none", and HS256 with a key that is not ours.
    let forged = [
        None,
        Some("Bearer x"),
        Some("Bearer eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.eyJpc3MiOiJWb25hZ2UifQ."),
        Some(
            "Bearer eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJWb25hZ2UifQ.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        ),
    ];
    for authorization in forged {
        let mut call =
            client.post(&url).header("content-type", "application/json").body(body.clone());
        if let Some(value) = authorization {
            call = call.header("authorization", value);
        }
        assert_eq!(call.send().await.unwrap().status(), 401, "{authorization:?}");
    }
    assert_eq!(running.get(&id).await, before);
    assert!(
        metric(
            &running,
            r#"dispatch_webhooks_total{provider="vonage",account="sandbox",verdict="forged"} 4"#
        )
        .await
    );
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_webhook_is_refused_plainly() {
    let running = Running::over_http(&in_memory()).await;
    let base = format!("http://{}", running.service.http);
    let client = reqwest::Client::new();
    let large = vec![b' '; 4 * 1024 * 1024];
    let too_large = vec![b' '; 4 * 1024 * 1024 + 1];
    let cases = [
        ("/receipts/vonage/sandbox", large, 401),
        ("/receipts/vonage/sandbox", too_large, 413),
        ("/receipts/nobody/sandbox", Vec::new(), 404),
        ("/receipts/vonage/nobody", Vec::new(), 404),
        ("/receipts/vonage", b"{}".to_vec(), 401),
        ("/receipts/vonage/sandbox", b"\xff\xfe not json".to_vec(), 401),
        ("/elsewhere", Vec::new(), 404),
    ];
    for (path, body, status) in cases {
        let answer = client.post(format!("{base}{path}")).body(body).send().await.unwrap();
        assert_eq!(answer.status(), status, "{path}");
    }
    running.stop().await;
}

/// Doubled, early, out of order, and unsigned at first: over real HTTP, the end is the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signed_receipts_count_once_however_they_come() {
    for oddity in ["twice", "early", "out-of-order", "unsigned first"] {
        let running = Running::over_http(&in_memory()).await;
        running.script(PERSON, &format!("accept; deliver 1s; read 2s; {oddity}")).await;
        let id = running.create(messenger_sms(PERSON, NUMBER, "600s")).await;
        running.advance(Duration::from_secs(120)).await;
        let workflow = running.get(&id).await;
        assert_eq!(workflow.state(), WorkflowState::Succeeded, "{oddity}");
        let mut seen: Vec<_> = workflow
            .timeline
            .iter()
            .filter(|event| {
                !event.status().is_empty() && event.kind().as_str_name().contains("STATUS")
            })
            .map(|event| event.status().to_owned())
            .collect();
        let count = seen.len();
        seen.dedup();
        assert_eq!(seen.len(), count, "{oddity}: a status twice on the timeline");
        assert_eq!(running.sent().await.len(), 1, "{oddity}");
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unsigned_receipts_are_refused_and_the_message_counts_as_unread() {
    let running = Running::over_http(&in_memory()).await;
    running.script(PERSON, "accept; deliver 1s; read 2s; unsigned").await;
    let id = running.create(messenger_sms(PERSON, NUMBER, "600s")).await;
    running.advance(Duration::from_secs(1200)).await;
    assert_eq!(running.sent().await.len(), 2, "the SMS went out");
    assert_eq!(running.get(&id).await.state(), WorkflowState::Succeeded);
    running.stop().await;
}

/// The form of a status webhook.
#[derive(Clone, Copy, Debug)]
enum Shape {
    V01,
    V1,
}

const SHAPES: [Shape; 2] = [Shape::V01, Shape::V1];

/// A service with an account at a provider that accepts everything and reports nothing. The test
/// knows the account's secret, and signs the reports.
struct Told {
    service: Service,
    client: Client,
    clock: Arc<TestClock>,
    provider: Arc<SimulatedProvider>,
    shape: Shape,
    stop: CancellationToken,
}

impl Told {
    async fn start(shape: Shape) -> Told {
        Told::start_with(shape, in_memory(), |_| {}).await
    }

    /// The same, with a configuration that `change` has changed after the account and its routes were
    /// added.
    async fn start_with(shape: Shape, config: Config, change: impl FnOnce(&mut Config)) -> Told {
        let listener = TcpListener::bind(FREE).await.unwrap();
        let stop = CancellationToken::new();
        let made = OnceLock::new();
        let started = no_recipient::start(&config, |clock, _| {
            let default_script = "accept; never".parse().unwrap();
            let quiet = ProviderConfig { default_script, ..ProviderConfig::default() };
            let provider = Arc::new(SimulatedProvider::new(clock.contract_clock(), quiet));
            let server = ServerConfig {
                api_key: KEY.to_owned(),
                api_secret: Some(Secret::new(SECRET)),
                ..ServerConfig::default()
            };
            let server = SandboxServer::new(Arc::clone(&provider), server).unwrap();
            let base_url = format!("http://{}", listener.local_addr().unwrap());
            tokio::spawn(server.serve(listener, stop.clone()));
            let ServiceClock::Test(test_clock) = clock else { panic!("a real clock") };
            made.set((provider, Arc::clone(test_clock))).unwrap();

            let mut config = config.clone();
            let version = match shape {
                Shape::V01 => "v0.1",
                Shape::V1 => "v1",
            };
            let settings =
                [("base_url", base_url.as_str()), ("api_key", KEY), ("api_version", version)];
            config.accounts.push(AccountConfig {
                name: "main".to_owned(),
                formerly: Vec::new(),
                provider: "vonage".to_owned(),
                settings: settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
                secrets: ["api_secret", "signature_secret"]
                    .map(|name| (name.to_owned(), SECRET.into()))
                    .into(),
            });
            for adapter in ["vonage-messenger", "vonage-sms"] {
                config.routes.push(dispatch::config::RouteConfig {
                    name: adapter.to_owned(),
                    adapter: adapter.to_owned(),
                    account: "main".to_owned(),
                    tenants: vec!["default".to_owned()],
                    sender: "*".to_owned(),
                    concurrency: 8,
                    timeout_s: 10,
                });
            }
            change(&mut config);
            // The provider is one of this test's own.
            Ok(Components { is_simulated: true, ..builtin::parts(&config, clock)? })
        });
        let service = started.await.unwrap();
        let (provider, clock) = made.into_inner().unwrap();
        let client = Client::connect(format!("http://{}", service.grpc)).await.unwrap();
        Told { service, client, clock, provider, shape, stop }
    }

    /// Creates a workflow; its id, and that of its first message's attempt.
    async fn create(&self, spec: WorkflowSpec) -> (String, String) {
        let created = self.client.create(request(spec)).await.unwrap();
        self.advance(1).await;
        let sent = self.provider.sent().pop().unwrap();
        (created.workflow.unwrap().workflow_id, sent.client_ref.unwrap())
    }

    async fn get(&self, id: &str) -> Workflow {
        self.client.get(id).await.unwrap()
    }

    async fn advance(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds)).await;
    }

    /// What the provider would post of the message of `attempt`.
    fn body(&self, attempt: &str, status: &str) -> Value {
        let sent = self.provider.sent();
        let sent = sent.iter().find(|sent| sent.client_ref.as_deref() == Some(attempt));
        let message = sent.map_or("0190a1b2-c3d4-4e5f-8a6b-0123456789ab", |it| &it.provider_id);
        let failed = ["rejected", "undeliverable"].contains(&status);
        let mut body = match self.shape {
            Shape::V01 => json!({
                "to": { "type": "messenger", "id": PERSON },
                "from": { "type": "messenger", "id": "107083064136738" },
                "timestamp": "2027-01-15T08:00:02.000Z",
            }),
            Shape::V1 => json!({
                "channel": "messenger", "to": PERSON, "from": "107083064136738",
                "timestamp": "2027-01-15T08:00:02Z",
            }),
        };
        if failed {
            body["error"] = match self.shape {
                Shape::V01 => json!({ "code": 1340, "reason": "Outside of the window" }),
                Shape::V1 => json!({
                    "type": "https://developer.vonage.com/api-errors/messages#1340",
                    "title": "1340", "detail": "Outside of the window", "instance": message,
                }),
            };
        }
        body["message_uuid"] = message.into();
        body["client_ref"] = attempt.into();
        body["status"] = status.into();
        body
    }

    /// Posts a body with these claims' signature; the HTTP status.
    async fn post(&self, body: impl Into<Vec<u8>>, authorization: &str) -> u16 {
        self.post_to("/receipts/vonage/main", body, authorization).await
    }

    async fn post_to(&self, path: &str, body: impl Into<Vec<u8>>, authorization: &str) -> u16 {
        let url = format!("http://{}{path}", self.service.http);
        let post = reqwest::Client::new().post(url).header("content-type", "application/json");
        let post = post.header("authorization", authorization).body(body.into());
        post.send().await.unwrap().status().as_u16()
    }

    /// Posts a body as the provider does.
    async fn tell(&self, body: &[u8]) -> u16 {
        self.post(body, &signed(body)).await
    }

    /// Posts a report as the provider does; it must be taken.
    async fn report(&self, attempt: &str, status: &str) {
        let body = self.body(attempt, status).to_string();
        assert_eq!(self.tell(body.as_bytes()).await, 200, "{status}");
    }

    /// A counter; 0 as long as nothing was counted.
    async fn count(&self, name: &str) -> u64 {
        let metrics = told(&self.service).await;
        let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map_or(0, |value| value.parse().unwrap())
    }

    async fn verdicts(&self, verdict: &str) -> u64 {
        let name = format!(
            "dispatch_webhooks_total{{provider=\"vonage\",account=\"main\",verdict=\"{verdict}\"}}"
        );
        self.count(&name).await
    }

    async fn stop(self) {
        self.stop.cancel();
        no_recipient::stop(self.service).await;
    }
}

/// The header of a webhook with this body.
fn signed(body: &[u8]) -> String {
    let claims = json!({ "iss": "Vonage", "iat": 1_800_000_000, "jti": "j", "api_key": KEY });
    signed_with(SECRET, claims, body)
}

/// A JWT, HS256, with the body's hash among the claims.
fn signed_with(secret: &str, mut claims: Value, body: &[u8]) -> String {
    claims["payload_hash"] = hex(&Sha256::digest(body)).into();
    let header = json!({ "typ": "JWT", "alg": "HS256" });
    let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
    let signed = format!("{header}.{claims}");
    let mac = URL_SAFE_NO_PAD.encode(hmac_sha256(secret.as_bytes(), signed.as_bytes()));
    format!("Bearer {signed}.{mac}")
}

/// RFC 2104, for keys of at most one block.
fn hmac_sha256(key: &[u8], message: &[u8]) -> [u8; 32] {
    let padded = |with: u8| -> Vec<u8> {
        let key = key.iter().copied().chain(std::iter::repeat(0)).take(64);
        key.map(|byte| byte ^ with).collect()
    };
    let inner = Sha256::digest([padded(0x36).as_slice(), message].concat());
    Sha256::digest([padded(0x5c).as_slice(), inner.as_slice()].concat()).into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The statuses on a timeline, in order.
fn statuses(workflow: &Workflow) -> Vec<&str> {
    let reached = |kind| matches!(kind, EventKind::StatusReached | EventKind::LateStatus);
    let events = workflow.timeline.iter().filter(|event| reached(event.kind()));
    events.map(|event| event.status()).collect()
}

#[test]
fn the_hand_made_hmac_is_that_of_rfc_4231() {
    let mac = hmac_sha256(b"Jefe", b"what do ya want for nothing?");
    let wanted = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
    assert_eq!(hex(&mac), wanted);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_signed_receipt_three_times_stands_once_on_the_timeline() {
    for shape in SHAPES {
        let told = Told::start(shape).await;
        let (id, attempt) = told.create(messenger_sms(PERSON, NUMBER, "600s")).await;
        let before = told.get(&id).await.timeline.len();
        let body = told.body(&attempt, "delivered").to_string();
        let authorization = signed(body.as_bytes());
        for _ in 0..3 {
            assert_eq!(told.post(body.clone(), &authorization).await, 200, "{shape:?}");
        }
        let workflow = told.get(&id).await;
        assert_eq!(workflow.timeline.len(), before + 1, "{shape:?}: {workflow:#?}");
        assert_eq!(statuses(&workflow), ["delivered"], "{shape:?}");
        let event = workflow.timeline.last().unwrap();
        assert_eq!(event.attempt_id, attempt);
        let time = event.status_report().unwrap().provider_time;
        assert_eq!(time.map(|time| time.seconds), Some(1_800_000_002));
        assert_eq!(workflow.state(), WorkflowState::Running);
        assert_eq!(told.verdicts("understood").await, 3);
        let delivered =
            "dispatch_message_statuses_total{channel=\"messenger\",status=\"delivered\"}";
        assert_eq!(told.count(delivered).await, 1);
        assert_eq!(told.count("dispatch_receipts_unmatched_total").await, 0);

        // A lower status after a higher one says nothing new; a higher one ends the wait, once.
        for status in ["submitted", "read", "read", "delivered"] {
            told.report(&attempt, status).await;
        }
        let workflow = told.get(&id).await;
        assert_eq!(workflow.state(), WorkflowState::Succeeded, "{shape:?}");
        assert_eq!(statuses(&workflow), ["delivered", "read"], "{shape:?}");
        told.advance(1200).await;
        assert_eq!(told.provider.sent().len(), 1, "{shape:?}");
        told.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_good_signature_of_another_body_account_or_secret_is_forged() {
    for shape in SHAPES {
        let told = Told::start(shape).await;
        let (id, attempt) = told.create(messenger_sms(PERSON, NUMBER, "600s")).await;
        let before = told.get(&id).await;
        let good = told.body(&attempt, "delivered").to_string();
        let authorization = signed(good.as_bytes());
        let tampered = [
            good.replace("delivered", "read"),
            good.replace("delivered", "rejected"),
            good.replace(&attempt, &attempt.replace(".1", ".2")),
            good.replace("delivered", "delivered "),
            format!("[{good}]"),
            format!("{good}{good}"),
            good[..good.len() - 1].to_owned(),
            String::new(),
        ];
        for body in &tampered {
            assert_ne!(*body, good);
            assert_eq!(told.post(body.clone(), &authorization).await, 401, "{shape:?}: {body}");
        }
        let claims = json!({ "iss": "Vonage", "iat": 1_800_000_000, "api_key": KEY });
        let other_account = json!({ "iss": "Vonage", "iat": 1_800_000_000, "api_key": "ffff0000" });
        let mac_of_another = authorization.rsplit_once('.').unwrap().0.to_owned()
            + signed(b"").rsplit_once('.').map(|(_, mac)| format!(".{mac}")).unwrap().as_str();
        let forged = [
            signed_with("another secret of that length....", claims.clone(), good.as_bytes()),
            signed_with("", claims, good.as_bytes()),
            signed_with(SECRET, other_account, good.as_bytes()),
            mac_of_another,
            authorization.replacen("Bearer", "Basic", 1),
        ];
        for authorization in &forged {
            assert_eq!(told.post(good.clone(), authorization).await, 401, "{shape:?}");
        }
        let all = (tampered.len() + forged.len()) as u64;
        assert_eq!(told.verdicts("forged").await, all, "{shape:?}");
        assert_eq!(told.get(&id).await, before, "{shape:?}");
        assert_eq!(told.post(good, &authorization).await, 200, "{shape:?}: it is genuine still");
        assert_eq!(statuses(&told.get(&id).await), ["delivered"], "{shape:?}");
        told.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_genuine_webhook_that_cannot_be_read_is_answered_200_counted_and_changes_nothing() {
    for shape in SHAPES {
        let told = Told::start(shape).await;
        let (id, attempt) = told.create(messenger_sms(PERSON, NUMBER, "600s")).await;
        let before = told.get(&id).await;
        let good = told.body(&attempt, "delivered").to_string();
        // Cut off before it says how the message fares, signed as it is.
        let status = good.find("delivered").unwrap() + "delivered".len();
        let mut bodies: Vec<Vec<u8>> =
            (0..=status).rev().step_by(7).map(|end| good.as_bytes()[..end].to_vec()).collect();
        let odd = ["accepted", "deliver", "de livered", ""].map(|it| told.body(&attempt, it));
        bodies.extend(odd.map(|body| body.to_string().into_bytes()));
        for status in [json!(null), json!(7), json!(["delivered"]), json!({})] {
            let mut body = told.body(&attempt, "delivered");
            body["status"] = status;
            bodies.push(body.to_string().into_bytes());
        }
        bodies.extend(["[]", "{}", "null", "\u{feff}{}"].map(|body| body.as_bytes().to_vec()));
        bodies.push(b"\xff\xfe".to_vec());
        bodies.push("[".repeat(100_000).into_bytes());
        for body in &bodies {
            let shown = String::from_utf8_lossy(&body[..body.len().min(300)]).into_owned();
            assert_eq!(told.tell(body).await, 200, "{shape:?}: {shown}");
        }
        assert_eq!(told.verdicts("not_understood").await, bodies.len() as u64, "{shape:?}");
        assert_eq!(told.verdicts("understood").await, 0, "{shape:?}");
        assert_eq!(told.get(&id).await, before, "{shape:?}");
        assert_eq!(told.count("dispatch_receipts_unmatched_total").await, 0, "{shape:?}");
        told.report(&attempt, "read").await;
        assert_eq!(told.get(&id).await.state(), WorkflowState::Succeeded, "{shape:?}");
        told.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receipt_for_an_unknown_message_is_taken_counted_and_changes_nothing() {
    const UNMATCHED: &str = "dispatch_receipts_unmatched_total";
    for shape in SHAPES {
        let told = Told::start(shape).await;
        let (id, attempt) = told.create(messenger_sms(PERSON, NUMBER, "1800s")).await;
        let before = told.get(&id).await;
        // Another store's attempt, a stranger's reference, and none: this provider's receipts name
        // our attempts, so none of them can be ours, and none waits.
        told.report("0190a1b2c3d47e5f8a6b0123456789ab.1", "read").await;
        assert_eq!(told.count(UNMATCHED).await, 1, "{shape:?}");
        told.report("order-17", "read").await;
        let mut body = told.body("order-18", "undeliverable");
        body.as_object_mut().unwrap().remove("client_ref");
        assert_eq!(told.tell(body.to_string().as_bytes()).await, 200);
        // An attempt that was never made, of a workflow that there is.
        told.report(&attempt.replace(".1", ".2"), "read").await;
        assert_eq!(told.get(&id).await, before, "{shape:?}");
        assert_eq!(told.verdicts("understood").await, 4, "{shape:?}");

        assert_eq!(told.count(UNMATCHED).await, 4, "{shape:?}");

        told.report(&attempt, "read").await;
        assert_eq!(told.get(&id).await.state(), WorkflowState::Succeeded, "{shape:?}");
        told.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receipt_after_the_end_stands_on_the_timeline_and_the_state_stays() {
    for shape in SHAPES {
        let told = Told::start(shape).await;
        let (id, attempt) = told.create(messenger_sms(PERSON, NUMBER, "600s")).await;
        told.client.cancel(&id).await.unwrap();
        let ended = told.get(&id).await;
        assert_eq!(ended.state(), WorkflowState::Canceled);
        for status in ["delivered", "delivered", "read", "undeliverable"] {
            told.report(&attempt, status).await;
        }
        let after = told.get(&id).await;
        assert_eq!(after.state(), WorkflowState::Canceled, "{shape:?}");
        assert_eq!(after.outcome, ended.outcome, "{shape:?}");
        assert_eq!(after.end_time, ended.end_time, "{shape:?}");
        let (told_before, told_late) = after.timeline.split_at(ended.timeline.len());
        assert_eq!(told_before, ended.timeline, "{shape:?}");
        assert_eq!(kinds(told_late), [EventKind::LateStatus; 2], "{shape:?}");
        assert_eq!(statuses(&after), ["delivered", "read"], "{shape:?}");
        let states = told_late.iter().all(|event| event.state() == WorkflowState::Canceled);
        assert!(states, "{shape:?}: {told_late:#?}");

        // A failure that comes late, and comes twice.
        let (id, attempt) = told.create(messenger_sms(PERSON, NUMBER, "601s")).await;
        told.client.cancel(&id).await.unwrap();
        told.report(&attempt, "rejected").await;
        told.report(&attempt, "rejected").await;
        let after = told.get(&id).await;
        assert_eq!(after.state(), WorkflowState::Canceled, "{shape:?}");
        let late = after.timeline.last().unwrap();
        assert_eq!(late.kind(), EventKind::LateFailure, "{shape:?}");
        let late = late.failure_report().unwrap();
        assert_eq!((late.failure(), &*late.provider_code), (MessageFailure::Rejected, "1340"));
        let failures = kinds(&after.timeline);
        let failures = failures.iter().filter(|kind| **kind == EventKind::LateFailure);
        assert_eq!(failures.count(), 1, "{shape:?}");
        told.advance(3600).await;
        assert_eq!(told.provider.sent().len(), 2, "{shape:?}: nothing followed");
        told.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_after_delivered_changes_nothing_and_one_before_starts_the_next_step() {
    for shape in SHAPES {
        let told = Told::start(shape).await;
        let (id, attempt) = told.create(messenger_sms(PERSON, NUMBER, "600s")).await;
        told.report(&attempt, "delivered").await;
        let before = told.get(&id).await;
        for status in ["undeliverable", "rejected"] {
            told.report(&attempt, status).await;
        }
        assert_eq!(told.get(&id).await, before, "{shape:?}");
        assert_eq!(told.provider.sent().len(), 1, "{shape:?}");
        told.report(&attempt, "read").await;
        assert_eq!(told.get(&id).await.state(), WorkflowState::Succeeded, "{shape:?}");

        let (id, attempt) = told.create(messenger_sms(PERSON, NUMBER, "601s")).await;
        told.report(&attempt, "undeliverable").await;
        told.advance(1).await;
        let sent = told.provider.sent();
        assert_eq!(sent.len(), 3, "{shape:?}: the SMS went out");
        let workflow = told.get(&id).await;
        let failed = workflow.timeline.iter().find(|it| it.kind() == EventKind::StatusFailed);
        let failed = failed.unwrap().failure_report().unwrap();
        assert_eq!(failed.failure(), MessageFailure::Undeliverable, "{shape:?}");
        assert_eq!(failed.provider_code, "1340", "{shape:?}");
        told.report(sent[2].client_ref.as_deref().unwrap(), "delivered").await;
        assert_eq!(told.get(&id).await.state(), WorkflowState::Succeeded, "{shape:?}");
        told.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn receipts_in_one_call_are_taken_one_by_one() {
    for shape in SHAPES {
        let told = Told::start(shape).await;
        let (first, one) = told.create(messenger_sms(PERSON, NUMBER, "600s")).await;
        let (second, two) = told.create(messenger_sms(PERSON, NUMBER, "601s")).await;
        let body = json!([
            told.body(&two, "read"),
            { "status": "of no message" },
            told.body(&one, "delivered"),
            told.body(&one, "delivered"),
            told.body("0190a1b2c3d47e5f8a6b0123456789ab.1", "read"),
        ]);
        assert_eq!(told.tell(body.to_string().as_bytes()).await, 200, "{shape:?}");
        assert_eq!(statuses(&told.get(&first).await), ["delivered"], "{shape:?}");
        assert_eq!(told.get(&second).await.state(), WorkflowState::Succeeded, "{shape:?}");
        assert_eq!(told.count("dispatch_receipts_unmatched_total").await, 1, "{shape:?}");
        assert_eq!(told.verdicts("understood").await, 1, "{shape:?}");
        told.stop().await;
    }
}
