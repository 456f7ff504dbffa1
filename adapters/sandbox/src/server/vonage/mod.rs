//! The Vonage Messages API.
//!
//! - `POST /v1/messages` and `POST /v0.1/messages` take a send, and answer by script: 202 with a
//!   `message_uuid`, 422 (v1) or 400 (v0.1) with a problem object, 429, 500, or never.
//! - `PATCH /v1/messages/{id}` with `{"status": "revoked"}` takes an RCS message back that nobody has yet: 202;
//!   422 if it is too late or of another channel, 404 if there is none.
//! - Status webhooks go to the message's `webhook_url` (v1) or to the configured one, in the form of
//!   the message's `webhook_version` or of the version that was called, signed as Vonage signs.
//! - What a script has a person answer goes to the configured URL for inbound messages, in the same form; it
//!   quotes the message on WhatsApp and Viber, where Vonage documents that.
//!
//! It fetches no media, checks no length of texts, and does not model `failover`. Sends without a webhook
//! address get no receipts.

mod auth;
mod inbound;
mod problem;
mod request;
mod signer;
mod status;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use axum::{
    Router,
    extract::{Path, Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, patch, post},
};
use dispatch_contract::{Channel, Recall, Receipt};
use serde_json::{Value, json};

use super::{
    ServerConfig, ServerConfigError,
    shared::{SharedServer, json_response, read},
    webhook_sender::{WebhookDraft, WebhookSigner},
};
use crate::{plan::ChannelTells, provider::SendCall, record::CallResult, reply};
use auth::Callers;
use problem::SandboxProblem;
use request::Order;
use signer::TokenSigner;

/// Vonage's side of the server.
struct VonageFront {
    shared: Arc<SharedServer>,
    callers: Callers,
    signer: Option<Arc<dyn WebhookSigner>>,
    status_url: Option<String>,
    inbound_url: Option<String>,
    problems: AtomicU64,
}

/// Vonage's paths.
///
/// # Errors
/// If the public key is no RSA key in PEM form.
pub(super) fn routes(
    shared: &Arc<SharedServer>,
    config: &ServerConfig,
) -> Result<Router, ServerConfigError> {
    let callers = Callers::new(config).map_err(|error| ServerConfigError::public_key(&error))?;
    let front = VonageFront {
        shared: Arc::clone(shared),
        callers,
        signer: TokenSigner::of(config, &shared.provider).map(|signer| Arc::new(signer) as _),
        status_url: config.status_url.clone(),
        inbound_url: config.inbound_url.clone(),
        problems: AtomicU64::new(0),
    };
    Ok(Router::new()
        .route("/v1/messages", post(send_v1))
        .route("/v1/messages/{id}", patch(revoke))
        .route("/v0.1/messages", post(send_v0_1))
        .route("/v2/applications", get(nothing_kept))
        .route("/beta/chatapp-accounts", get(nothing_kept))
        .with_state(Arc::new(front)))
}

/// A version of the Messages API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MessagesVersion {
    V1,
    V0_1,
}

/// What else Vonage keeps for whoever has this credential: nothing.
async fn nothing_kept(State(front): State<Arc<VonageFront>>, request: Request) -> Response {
    let checked = front.callers.check(request.headers(), front.shared.provider.clock().wall());
    match checked.map_err(SandboxProblem::unauthorized) {
        Ok(()) => json_response(StatusCode::OK, &json!({ "page": 1, "page_size": 1 })),
        Err(problem) => front.told(problem),
    }
}

impl VonageFront {
    async fn send(&self, version: MessagesVersion, request: Request) -> Response {
        match self.try_send(version, request).await {
            Ok(response) => response,
            Err(problem) => self.told(problem),
        }
    }

    fn told(&self, problem: SandboxProblem) -> Response {
        let count = self.problems.fetch_add(1, Ordering::Relaxed);
        let instance = self.shared.provider.seed().id(count, &["instance"]).simple().to_string();
        problem.into_response(&instance)
    }

    async fn try_send(
        &self,
        version: MessagesVersion,
        request: Request,
    ) -> Result<Response, SandboxProblem> {
        let now = self.shared.provider.clock().wall();
        self.callers.check(request.headers(), now).map_err(SandboxProblem::unauthorized)?;
        let body = read(request.into_body()).await.map_err(SandboxProblem::body)?;
        let order = request::parse(version, &body)
            .map_err(|malformed| SandboxProblem::malformed(version, &malformed))?;
        match self.play(&order).await {
            CallResult::Accepted { provider_id } | CallResult::AcceptedBefore { provider_id } => {
                Ok(json_response(StatusCode::ACCEPTED, &json!({ "message_uuid": provider_id })))
            }
            CallResult::Rejected(code) => Err(SandboxProblem::rejected(version, code)),
            CallResult::Throttled { after } => Err(SandboxProblem::throttled(after)),
            CallResult::Failed => Err(SandboxProblem::failed()),
            CallResult::Nothing => Ok(self.shared.silence().await),
        }
    }

    /// Takes a message back.
    async fn try_revoke(&self, id: &str, request: Request) -> Result<Response, SandboxProblem> {
        let now = self.shared.provider.clock().wall();
        self.callers.check(request.headers(), now).map_err(SandboxProblem::unauthorized)?;
        let body = read(request.into_body()).await.map_err(SandboxProblem::body)?;
        let asked = serde_json::from_slice::<Value>(&body).unwrap_or_default();
        let channel = self.shared.provider.channel_of(id).ok_or_else(SandboxProblem::not_found)?;
        let is_known = asked["status"] == "revoked" && channel == Channel::RCS;
        if !is_known || self.shared.recall(id) != Recall::Recalled {
            return Err(SandboxProblem::unsupported());
        }
        Ok(StatusCode::ACCEPTED.into_response())
    }

    async fn play(&self, order: &Order) -> CallResult {
        let call = SendCall {
            channel: &order.channel,
            recipient: &order.to,
            client_ref: order.client_ref.as_deref(),
            tells: ChannelTells {
                reads: request::reads(&order.channel),
                quotes: request::quotes(&order.channel),
            },
        };
        let url = order.webhook_url.as_ref().or(self.status_url.as_ref());
        let webhook = |receipt: &Receipt| {
            let (url, body) = match reply::id(self.shared.provider.seed(), receipt) {
                Some(id) => (self.inbound_url.as_ref(), inbound::body(order, receipt, id)),
                None => (url, status::body(order, receipt)),
            };
            Some(WebhookDraft {
                url: url?.clone(),
                content_type: "application/json",
                body: body.to_string().into_bytes(),
                signer: self.signer.clone(),
            })
        };
        self.shared.play(&call, webhook).await
    }
}

async fn send_v1(State(front): State<Arc<VonageFront>>, request: Request) -> Response {
    front.send(MessagesVersion::V1, request).await
}

async fn revoke(
    State(front): State<Arc<VonageFront>>,
    Path(id): Path<String>,
    request: Request,
) -> Response {
    match front.try_revoke(&id, request).await {
        Ok(response) => response,
        Err(problem) => front.told(problem),
    }
}

async fn send_v0_1(State(front): State<Arc<VonageFront>>, request: Request) -> Response {
    front.send(MessagesVersion::V0_1, request).await
}
