//! A real HTTP receiver that remembers what came, and answers as it is told to.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, Response, Uri},
    routing::any,
};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;

use crate::support::FREE;

/// A callback that came.
#[derive(Clone, Debug)]
pub struct Received {
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// How the receiver answers.
#[derive(Clone, Debug)]
pub struct Answer {
    status: u16,
    retry_after: Option<u64>,
    after: Duration,
}

pub struct Receiver {
    pub address: SocketAddr,
    state: Arc<Inner>,
}

struct Inner {
    received: Mutex<Vec<Received>>,
    next: Mutex<VecDeque<Answer>>,
    usual: Mutex<Answer>,
}

impl Answer {
    pub fn status(status: u16) -> Answer {
        Answer { status, retry_after: None, after: Duration::ZERO }
    }

    pub fn retry_after(self, seconds: u64) -> Answer {
        Answer { retry_after: Some(seconds), ..self }
    }

    pub fn after(self, after: Duration) -> Answer {
        Answer { after, ..self }
    }
}

impl Receiver {
    pub async fn start() -> Receiver {
        Receiver::at(FREE).await
    }

    pub async fn at(address: SocketAddr) -> Receiver {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Inner {
            received: Mutex::default(),
            next: Mutex::default(),
            usual: Mutex::new(Answer::status(200)),
        });
        let router = Router::new().fallback(any(take)).with_state(Arc::clone(&state));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Receiver { address, state }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Answers so first, and then as usual.
    pub fn answer(&self, answers: impl IntoIterator<Item = Answer>) {
        self.state.next.lock().unwrap().extend(answers);
    }

    /// Answers so from now on.
    pub fn always(&self, answer: Answer) {
        *self.state.usual.lock().unwrap() = answer;
    }

    pub fn received(&self) -> Vec<Received> {
        self.state.received.lock().unwrap().clone()
    }
}

async fn take(
    State(state): State<Arc<Inner>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let path = uri.path_and_query().unwrap().to_string();
    let answer = {
        // Under one lock, so that who comes first is answered first.
        let mut received = state.received.lock().unwrap();
        received.push(Received { path, headers, body });
        let next = state.next.lock().unwrap().pop_front();
        next.unwrap_or_else(|| state.usual.lock().unwrap().clone())
    };
    tokio::time::sleep(answer.after).await;
    let mut response = Response::builder().status(answer.status).header("location", "/elsewhere");
    if let Some(seconds) = answer.retry_after {
        response = response.header("retry-after", seconds);
    }
    response.body(Body::from("thank you")).unwrap()
}

impl Received {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub fn header(&self, name: &str) -> String {
        self.headers.get(name).map_or(String::new(), |value| value.to_str().unwrap().to_owned())
    }

    /// The token's `iat`.
    pub fn issued_s(&self) -> u64 {
        let token = self.header("authorization");
        let token = token.strip_prefix("Bearer ").unwrap();
        jsonwebtoken::dangerous::insecure_decode::<Value>(token).unwrap().claims["iat"]
            .as_u64()
            .unwrap()
    }

    pub fn is_signed_by(&self, secret: &str) {
        let token = self.header("authorization");
        let token = token.strip_prefix("Bearer ").unwrap();
        let mut validation = Validation::new(Algorithm::HS256);
        validation.required_spec_claims.clear();
        let key = DecodingKey::from_secret(secret.as_bytes());
        let claims = jsonwebtoken::decode::<Value>(token, &key, &validation).unwrap().claims;
        let hash: String =
            Sha256::digest(&self.body).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(claims["payload_hash"], hash);
    }
}
