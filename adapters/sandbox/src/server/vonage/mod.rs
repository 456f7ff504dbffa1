//! The provider as an HTTP server that speaks the Vonage Messages API.
//!
//! - `POST /v1/messages` and `POST /v0.1/messages` take a send, and answer by script: 202 with a
//!   `message_uuid`, 422 (v1) or 400 (v0.1) with a problem object, 429, 500, or never.
//! - `PATCH /v1/messages/{id}` with `{"status": "revoked"}` takes an RCS message back that nobody has yet: 202;
//!   422 if it is too late or of another channel, 404 if there is none.
//! - Status webhooks go to the message's `webhook_url` (v1) or to the configured one, in the form of
//!   the message's `webhook_version` or of the version that was called. They are signed as Vonage
//!   signs, and repeated by the injected clock until they are taken: after 5, 10, 20, … 640 s, then
//!   every 900 s, for 24 h.
//! - `/sandbox/…` is for people and tests: what was sent, and which scripts are in force.
//!
//! It fetches no media, checks no length of texts, sends no inbound messages, and does not model
//! `failover`. Sends without a webhook address get no receipts. It is meant for the loopback
//! interface: `/sandbox/…` asks for no credential, and webhooks go wherever a caller says.

mod auth;
pub(super) mod problem;
mod request;
mod status;

use std::{
    fmt, io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Path, Request, State},
    http::StatusCode,
    response::Response,
    routing::{get, patch, post},
};
use dispatch_contract::{Channel, Recall, Secret};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{
    control,
    webhook_sender::{WebhookPost, WebhookSender},
};
use crate::{
    provider::{SendCall, SimulatedProvider},
    record::CallResult,
};
use auth::Callers;
use problem::{SandboxProblem, json_response};
use request::Order;

/// The longest body of a send, in bytes.
const BODY_LIMIT: usize = 256 * 1024;

/// How long a caller may take to send its body. Real time, as all that concerns sockets.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a connection is kept open on which nothing will be answered: longer than any caller
/// waits, and short enough not to gather them.
const SILENCE_LIMIT: Duration = Duration::from_secs(300);

/// An account at the simulated provider.
///
/// With neither `api_secret` nor `public_key_pem`, callers must show some `Authorization`, and any
/// will do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerConfig {
    /// The account's key: the user of Basic credentials, and a claim of signed webhooks.
    pub api_key: String,
    /// The password of Basic credentials; `None` refuses them once a public key is set.
    pub api_secret: Option<Secret>,
    /// The application that tokens must name, and a claim of signed webhooks.
    pub application_id: Option<String>,
    /// The application's RSA public key, as PEM; `None` refuses tokens once a secret is set.
    pub public_key_pem: Option<String>,
    /// What webhooks are signed with; `None`: they are not.
    pub signature_secret: Option<Secret>,
    /// Where status webhooks go, unless the message says otherwise.
    pub status_url: Option<String>,
}

/// A configuration that no server can be made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerConfigError(String);

/// The simulated provider behind HTTP; see [`ServerConfig`] and the `/sandbox` paths of
/// [`serve`](Self::serve).
pub struct SandboxServer {
    shared: Arc<ServerState>,
}

struct ServerState {
    provider: Arc<SimulatedProvider>,
    callers: Callers,
    webhook_sender: Arc<WebhookSender>,
    status_url: Option<String>,
    problems: AtomicU64,
    cancel: CancellationToken,
}

/// A version of the Messages API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MessagesVersion {
    V1,
    V0_1,
}

impl SandboxServer {
    /// A server for `provider`, which may have other fronts as well.
    ///
    /// # Errors
    /// If the public key is no RSA key in PEM form, the status URL is none, or no HTTP client can be
    /// made.
    pub fn new(
        provider: Arc<SimulatedProvider>,
        config: ServerConfig,
    ) -> Result<Self, ServerConfigError> {
        if config.status_url.as_deref().is_some_and(|url| !request::is_web_address(url)) {
            return Err(ServerConfigError(
                "the status URL must be an http or https URL".to_owned(),
            ));
        }
        let callers =
            Callers::new(&config).map_err(|error| ServerConfigError::public_key(&error))?;
        let webhook_sender = Arc::new(WebhookSender::new(Arc::clone(&provider), &config)?);
        let shared = ServerState {
            provider,
            callers,
            webhook_sender,
            status_url: config.status_url,
            problems: AtomicU64::new(0),
            cancel: CancellationToken::new(),
        };
        Ok(SandboxServer { shared: Arc::new(shared) })
    }

    /// Serves until `cancel`, then answers what is under way and returns. Webhooks that are not yet
    /// due are forgotten; sends that wait in vain are cut off with 503.
    ///
    /// Beside the Messages API there are, without credentials and for people and tests:
    /// `GET /sandbox/messages` (what was really sent), `GET`, `PUT` and `DELETE /sandbox/scripts`
    /// (all scripts; set the default; clear), `PUT` and `DELETE /sandbox/scripts/{recipient}`.
    ///
    /// # Errors
    /// If the listener fails.
    pub async fn serve(self, listener: TcpListener, cancel: CancellationToken) -> io::Result<()> {
        let SandboxServer { shared } = self;
        // Whoever drops this future stops the webhooks, too.
        let stop = shared.cancel.clone().drop_guard();
        let webhook_sender =
            tokio::spawn(Arc::clone(&shared.webhook_sender).run(shared.cancel.clone()));
        let app = Router::new()
            .route("/v1/messages", post(send_v1))
            .route("/v1/messages/{id}", patch(revoke))
            .route("/v0.1/messages", post(send_v0_1))
            .route("/v2/applications", get(nothing_kept))
            .route("/beta/chatapp-accounts", get(nothing_kept))
            .with_state(Arc::clone(&shared))
            .merge(control::routes(Arc::clone(&shared.provider)));
        let stopping = {
            let shared = Arc::clone(&shared);
            async move {
                cancel.cancelled().await;
                shared.cancel.cancel();
            }
        };
        let served = axum::serve(listener, app).with_graceful_shutdown(stopping).await;
        drop(stop);
        if let Err(error) = webhook_sender.await {
            tracing::error!(%error, "the task that posts status webhooks failed");
        }
        served
    }
}

/// What else Vonage keeps for whoever has this credential: nothing.
async fn nothing_kept(State(shared): State<Arc<ServerState>>, request: Request) -> Response {
    let checked = shared.callers.check(request.headers(), shared.provider.clock().wall());
    match checked.map_err(SandboxProblem::unauthorized) {
        Ok(()) => json_response(StatusCode::OK, &json!({ "page": 1, "page_size": 1 })),
        Err(problem) => shared.told(problem),
    }
}

impl ServerState {
    async fn send(&self, version: MessagesVersion, request: Request) -> Response {
        match self.try_send(version, request).await {
            Ok(response) => response,
            Err(problem) => self.told(problem),
        }
    }

    fn told(&self, problem: SandboxProblem) -> Response {
        let count = self.problems.fetch_add(1, Ordering::Relaxed);
        let instance = self.provider.seed().id(count, &["instance"]).simple().to_string();
        problem.into_response(&instance)
    }

    async fn try_send(
        &self,
        version: MessagesVersion,
        request: Request,
    ) -> Result<Response, SandboxProblem> {
        let now = self.provider.clock().wall();
        self.callers.check(request.headers(), now).map_err(SandboxProblem::unauthorized)?;
        let body = read(request.into_body()).await?;
        let order = request::parse(version, &body)
            .map_err(|malformed| SandboxProblem::malformed(version, &malformed))?;
        match self.play(&order).await {
            CallResult::Accepted { provider_id } | CallResult::AcceptedBefore { provider_id } => {
                Ok(json_response(StatusCode::ACCEPTED, &json!({ "message_uuid": provider_id })))
            }
            CallResult::Rejected(code) => Err(SandboxProblem::rejected(version, code)),
            CallResult::Throttled { after } => Err(SandboxProblem::throttled(after)),
            CallResult::Failed => Err(SandboxProblem::failed()),
            CallResult::Nothing => Ok(self.silence().await),
        }
    }

    /// Takes a message back.
    async fn try_revoke(&self, id: &str, request: Request) -> Result<Response, SandboxProblem> {
        let now = self.provider.clock().wall();
        self.callers.check(request.headers(), now).map_err(SandboxProblem::unauthorized)?;
        let body = read(request.into_body()).await?;
        let asked = serde_json::from_slice::<Value>(&body).unwrap_or_default();
        let channel = self.provider.channel_of(id).ok_or_else(SandboxProblem::not_found)?;
        let is_known = asked["status"] == "revoked" && channel == Channel::RCS;
        if !is_known || self.provider.recall(id) != Recall::Recalled {
            return Err(SandboxProblem::unsupported());
        }
        self.webhook_sender.forget(id);
        Ok(Response::builder().status(StatusCode::ACCEPTED).body(Body::empty()).unwrap_or_default())
    }

    /// Lets the provider react, and sees to it that its receipts go out.
    async fn play(&self, order: &Order) -> CallResult {
        let reaction = self.provider.react(&SendCall {
            channel: &order.channel,
            recipient: &order.to,
            client_ref: order.client_ref.as_deref(),
            reads: request::reads(&order.channel),
        });
        let Some(url) = order.webhook_url.as_ref().or(self.status_url.as_ref()) else {
            return reaction.answered;
        };
        let Some(message) =
            reaction.receipts.first().and_then(|planned| planned.receipt.provider_id.clone())
        else {
            return reaction.answered;
        };
        let (early, later): (Vec<_>, Vec<_>) = reaction
            .receipts
            .into_iter()
            .map(|planned| {
                let body = status::body(order, &planned.receipt).to_string().into_bytes();
                let post = WebhookPost::new(&message, url, body, planned.signing, planned.due);
                (planned.early, (planned.due, post))
            })
            .partition(|(early, _)| *early);
        // First what must not get lost if the caller hangs up meanwhile.
        self.webhook_sender.plan(&message, later.into_iter().map(|(_, post)| post)).await;
        for (_, (_, post)) in early {
            self.webhook_sender.post_now(&message, post).await;
        }
        reaction.answered
    }

    /// Waits until the caller gives up, which ends this future, or has waited beyond all measure.
    async fn silence(&self) -> Response {
        let waited = tokio::time::timeout(SILENCE_LIMIT, self.cancel.cancelled()).await;
        let status = match waited {
            Ok(()) => StatusCode::SERVICE_UNAVAILABLE,
            Err(_) => StatusCode::GATEWAY_TIMEOUT,
        };
        let mut response = Response::new(Body::empty());
        *response.status_mut() = status;
        response
    }
}

impl ServerConfigError {
    pub(super) fn public_key(error: &jsonwebtoken::errors::Error) -> Self {
        ServerConfigError(format!("the public key must be an RSA public key in PEM form: {error}"))
    }

    pub(super) fn client(error: &reqwest::Error) -> Self {
        ServerConfigError(format!("no HTTP client for webhooks could be made: {error}"))
    }
}

impl fmt::Display for ServerConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ServerConfigError {}

impl fmt::Debug for SandboxServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SandboxServer")
            .field("provider", &self.shared.provider)
            .finish_non_exhaustive()
    }
}

async fn send_v1(State(shared): State<Arc<ServerState>>, request: Request) -> Response {
    shared.send(MessagesVersion::V1, request).await
}

async fn revoke(
    State(shared): State<Arc<ServerState>>,
    Path(id): Path<String>,
    request: Request,
) -> Response {
    match shared.try_revoke(&id, request).await {
        Ok(response) => response,
        Err(problem) => shared.told(problem),
    }
}

async fn send_v0_1(State(shared): State<Arc<ServerState>>, request: Request) -> Response {
    shared.send(MessagesVersion::V0_1, request).await
}

async fn read(body: Body) -> Result<Bytes, SandboxProblem> {
    match tokio::time::timeout(BODY_TIMEOUT, axum::body::to_bytes(body, BODY_LIMIT)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(_)) => Err(SandboxProblem::body(
            StatusCode::PAYLOAD_TOO_LARGE,
            "It broke off, or is longer than 262144 bytes.",
        )),
        Err(_) => {
            Err(SandboxProblem::body(StatusCode::REQUEST_TIMEOUT, "It took longer than 10 s."))
        }
    }
}
