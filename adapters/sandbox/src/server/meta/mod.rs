//! Meta's Graph API, as far as WhatsApp and Messenger are sent through it.
//!
//! - `POST /{version}/{sender}/messages` takes a send in WhatsApp's words or in Messenger's, and answers by script:
//!   200 with the message's id, a Graph error, or never.
//! - `GET /{version}/me` says whether a token is taken.
//! - What becomes of a message is posted to the configured URL, signed as Meta signs, in Meta's words:
//!   WhatsApp's statuses, and on Messenger echoes, deliveries by ids and read watermarks. Messenger tells of no
//!   failure, so of a script's nothing is posted there.
//! - What a script has a person answer is posted there, too, and quotes the message.
//!
//! A script's codes are Vonage's; what is answered is the code of Meta's that means the same. It fetches no media,
//! knows no templates and no window of 24 hours.

mod codes;
mod inbound;
mod request;
mod status;

use std::sync::Arc;

use axum::{
    Router,
    extract::{Path, Request, State},
    http::{HeaderMap, StatusCode, header},
    response::Response,
    routing::{get, post},
};
use dispatch_contract::{Receipt, Secret};
use dispatch_kit::signature::SignatureScheme;
use serde_json::{Value, json};

use super::{
    shared::{SharedServer, json_response, read},
    webhook_sender::{WebhookDraft, WebhookSigner},
};
use crate::{plan::ChannelTells, provider::SendCall, record::CallResult, reply};
use request::MetaOrder;

/// An app at the simulated Meta.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetaApp {
    /// The ids of its numbers and pages, each with the token that sends for it.
    pub senders: Vec<(String, Secret)>,
    /// What webhooks are signed with.
    pub app_secret: Secret,
    /// Where webhooks go; nobody is told without it.
    pub webhook_url: Option<String>,
}

/// Meta's side of the server.
struct MetaFront {
    shared: Arc<SharedServer>,
    app: MetaApp,
    signer: Arc<dyn WebhookSigner>,
}

/// Signs with the app's secret.
struct BodySigner(Secret);

/// A Graph error: an HTTP status, a code, and what people are told.
struct GraphProblem(StatusCode, u32, &'static str);

/// Meta's paths.
pub(super) fn routes(shared: &Arc<SharedServer>, app: MetaApp) -> Router {
    let signer = Arc::new(BodySigner(app.app_secret.clone()));
    let front = MetaFront { shared: Arc::clone(shared), app, signer };
    Router::new()
        .route("/{version}/{sender}/messages", post(send))
        .route("/{version}/me", get(me))
        .with_state(Arc::new(front))
}

async fn send(
    State(front): State<Arc<MetaFront>>,
    Path((_version, sender)): Path<(String, String)>,
    request: Request,
) -> Response {
    match front.try_send(sender, request).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    }
}

async fn me(State(front): State<Arc<MetaFront>>, request: Request) -> Response {
    match front.authorized(None, request.headers(), request.uri().query()) {
        Ok(()) => json_response(StatusCode::OK, &json!({ "id": "100000000000001", "name": "app" })),
        Err(problem) => problem.into_response(),
    }
}

impl MetaFront {
    async fn try_send(&self, sender: String, request: Request) -> Result<Response, GraphProblem> {
        self.authorized(Some(&sender), request.headers(), request.uri().query())?;
        let body = read(request.into_body()).await.map_err(|_| GraphProblem::parameter())?;
        let order = request::parse(sender, &body).ok_or_else(GraphProblem::parameter)?;
        match self.play(&order).await {
            CallResult::Accepted { provider_id } | CallResult::AcceptedBefore { provider_id } => {
                let body = status::accepted(&order, &provider_id);
                Ok(json_response(StatusCode::OK, &body))
            }
            CallResult::Rejected(code) => {
                Err(GraphProblem(StatusCode::BAD_REQUEST, codes::graph(code), "Message failed"))
            }
            CallResult::Throttled { .. } => Err(GraphProblem(
                StatusCode::TOO_MANY_REQUESTS,
                if order.is_messenger() { 613 } else { 130_429 },
                "Rate limit hit",
            )),
            CallResult::Failed => {
                Err(GraphProblem(StatusCode::INTERNAL_SERVER_ERROR, 1, "An unknown error occurred"))
            }
            CallResult::Nothing => Ok(self.shared.silence().await),
        }
    }

    /// Whether a call has one of the app's tokens, the sender's if it is for one, and no wrong proof of the app's
    /// secret.
    fn authorized(
        &self,
        sender: Option<&str>,
        headers: &HeaderMap,
        query: Option<&str>,
    ) -> Result<(), GraphProblem> {
        let shown = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = shown.and_then(|shown| shown.strip_prefix("Bearer ")).unwrap_or_default();
        let mut known =
            self.app.senders.iter().filter(|(_, known)| known.expose() == token).peekable();
        if known.peek().is_none() {
            return Err(GraphProblem(StatusCode::UNAUTHORIZED, 190, "Invalid OAuth access token"));
        }
        if sender.is_some_and(|sender| !known.any(|(own, _)| own == sender)) {
            return Err(GraphProblem(StatusCode::FORBIDDEN, 10, "Permission denied"));
        }
        let query = query.unwrap_or_default();
        let proof = query.split('&').find_map(|field| field.strip_prefix("appsecret_proof="));
        let secret = self.app.app_secret.expose().as_bytes();
        let is_right = proof.is_none_or(|proof| {
            SignatureScheme::Sha256Hex.is_genuine(secret, token.as_bytes(), proof)
        });
        is_right.then_some(()).ok_or(GraphProblem(
            StatusCode::BAD_REQUEST,
            100,
            "Invalid appsecret_proof provided in the API argument",
        ))
    }

    async fn play(&self, order: &MetaOrder) -> CallResult {
        let call = SendCall {
            channel: &order.channel,
            recipient: &order.to,
            client_ref: order.ours.as_deref(),
            tells: ChannelTells { reads: true, quotes: true },
        };
        let webhook = |receipt: &Receipt| {
            let body = match reply::id(self.shared.provider.seed(), receipt) {
                Some(id) => inbound::webhook(order, receipt, id),
                None => status::webhook(order, receipt),
            };
            Some(WebhookDraft {
                url: self.app.webhook_url.clone()?,
                content_type: "application/json",
                body: body?.to_string().into_bytes(),
                signer: Some(Arc::clone(&self.signer)),
            })
        };
        self.shared.play(&call, webhook).await
    }
}

impl WebhookSigner for BodySigner {
    fn sign(&self, _url: &str, body: &[u8]) -> Vec<(&'static str, String)> {
        let signature = SignatureScheme::Sha256Hex.sign(self.0.expose().as_bytes(), body);
        vec![("x-hub-signature-256", format!("sha256={signature}"))]
    }
}

impl GraphProblem {
    fn parameter() -> Self {
        GraphProblem(StatusCode::BAD_REQUEST, 100, "Invalid parameter")
    }

    fn into_response(self) -> Response {
        let GraphProblem(status, code, title) = self;
        let error: Value = json!({
            "message": format!("(#{code}) {title}"), "type": "OAuthException", "code": code,
            "error_data": { "messaging_product": "whatsapp", "details": title },
            "fbtrace_id": "AbCdEfGhIjKlMnOpQrStUv",
        });
        json_response(status, &json!({ "error": error }))
    }
}
