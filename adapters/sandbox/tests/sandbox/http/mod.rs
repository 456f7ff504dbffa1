//! The HTTP server: real sockets on the loopback interface, and a clock moved by hand.

mod sends;
mod webhooks;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, Uri},
    routing::post,
};
use dispatch_contract::{Clock, Secret};
use dispatch_sandbox::{ProviderConfig, SandboxServer, ServerConfig, SimulatedProvider};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::clock::{ManualClock, START};

const PERSON: &str = "447700900001";
const SIGNATURE_SECRET: &str = "a-secret-of-at-least-32-characters";
const APPLICATION: &str = "78d335fa-323d-0114-9c3d-d6f0d48968cf";

struct HttpWorld {
    clock: Arc<ManualClock>,
    provider: Arc<SimulatedProvider>,
    base: String,
    client: reqwest::Client,
    receiver: Arc<WebhookReceiver>,
    stop: CancellationToken,
    serving: JoinHandle<std::io::Result<()>>,
}

/// Takes webhooks, or refuses some of them first.
struct WebhookReceiver {
    clock: Arc<ManualClock>,
    refuse: Mutex<usize>,
    heard: Mutex<Vec<ReceivedWebhook>>,
}

#[derive(Clone, Debug)]
struct ReceivedWebhook {
    /// Since the start of the test.
    at: Duration,
    /// `/status` or `/inbound`.
    path: String,
    authorization: Option<String>,
    body: Vec<u8>,
}

impl HttpWorld {
    /// A server that signs its webhooks and takes any credentials.
    async fn new() -> Self {
        HttpWorld::with(ServerConfig {
            api_key: "abcd1234".into(),
            application_id: Some(APPLICATION.into()),
            signature_secret: Some(Secret::new(SIGNATURE_SECRET)),
            ..ServerConfig::default()
        })
        .await
    }

    async fn scripted(script: &str) -> Self {
        let world = HttpWorld::new().await;
        world.provider.set_default(script.parse().unwrap());
        world
    }

    async fn with(mut config: ServerConfig) -> Self {
        let clock = ManualClock::new();
        let receiver = Arc::new(WebhookReceiver {
            clock: clock.clone(),
            refuse: Mutex::new(0),
            heard: Mutex::default(),
        });
        let app = Router::new().route("/{kind}", post(hear)).with_state(receiver.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = |path| format!("http://{}/{path}", listener.local_addr().unwrap());
        (config.status_url, config.inbound_url) = (Some(url("status")), Some(url("inbound")));
        tokio::spawn(async move { axum::serve(listener, app).await });

        let provider = Arc::new(SimulatedProvider::new(clock.clone(), ProviderConfig::default()));
        let server = SandboxServer::new(provider.clone(), config).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        let serving = tokio::spawn(server.serve(listener, stop.clone()));
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        HttpWorld { clock, provider, base, client, receiver, stop, serving }
    }

    fn request(&self, path: &str, body: &Value) -> reqwest::RequestBuilder {
        self.client.post(format!("{}{path}", self.base)).json(body)
    }

    /// Sends under some credential: status, headers, body.
    async fn send(&self, path: &str, body: &Value) -> (u16, reqwest::header::HeaderMap, Value) {
        let request = self.request(path, body).basic_auth("some", Some("body"));
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        (status, headers, response.json().await.unwrap())
    }

    /// Sends an SMS by v1, and lets an hour pass: the id of the message, and what was heard.
    async fn play(&self) -> (String, Vec<ReceivedWebhook>) {
        let (status, _, answer) = self.send("/v1/messages", &sms()).await;
        assert_eq!(status, 202, "{answer}");
        self.clock.advance(Duration::from_secs(3600)).await;
        (answer["message_uuid"].as_str().unwrap().to_owned(), self.heard())
    }

    fn heard(&self) -> Vec<ReceivedWebhook> {
        self.receiver.heard.lock().unwrap().clone()
    }
}

impl ReceivedWebhook {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The status, and when it was heard, in seconds since the start.
    fn heard(&self) -> (u64, String) {
        (self.at.as_secs(), self.json()["status"].as_str().unwrap().to_owned())
    }

    /// The claims of its token, once its signature and the hash of its body are found to be right.
    fn verified(&self) -> Value {
        let header = self.authorization.as_deref().expect("it is signed");
        let token = header.strip_prefix("Bearer ").expect("a bearer token");
        let mut validation = Validation::new(Algorithm::HS256);
        validation.required_spec_claims.clear();
        validation.set_issuer(&["Vonage"]);
        let key = DecodingKey::from_secret(SIGNATURE_SECRET.as_bytes());
        let claims = jsonwebtoken::decode::<Value>(token, &key, &validation).unwrap().claims;
        let hash: String =
            Sha256::digest(&self.body).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(claims["payload_hash"], hash);
        claims
    }
}

async fn hear(
    State(receiver): State<Arc<WebhookReceiver>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    receiver.heard.lock().unwrap().push(ReceivedWebhook {
        at: receiver.clock.now().since(START),
        path: uri.path().to_owned(),
        authorization: headers.get("authorization").map(|value| value.to_str().unwrap().to_owned()),
        body: body.to_vec(),
    });
    let mut refuse = receiver.refuse.lock().unwrap();
    if *refuse > 0 {
        *refuse -= 1;
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    StatusCode::OK
}

fn sms() -> Value {
    json!({
        "channel": "sms",
        "message_type": "text",
        "to": PERSON,
        "from": "Shop",
        "text": "hello",
        "client_ref": "order-17",
    })
}

fn sms_v0_1() -> Value {
    json!({
        "to": { "type": "sms", "number": PERSON },
        "from": { "type": "sms", "number": "Shop" },
        "message": { "content": { "type": "text", "text": "hello" } },
        "client_ref": "order-17",
    })
}
