//! The Telegram Gateway.
//!
//! - `sendVerificationMessage` takes a code, and answers by script: the request's status, an error's word, 500, or
//!   never. `checkSendAbility` always says yes.
//! - `revokeVerificationMessage` takes a message back that nobody has yet; `checkVerificationStatus` says what came
//!   of it, and of any other message that it was sent.
//! - Reports go to the message's `callback_url`, signed as Telegram signs. One that a script has fail is reported as
//!   expired, with its fee given back.
//!
//! A script's codes are Vonage's; the word of Telegram's that says the same stands for each. No code is checked that a
//! person enters, and no message expires by itself.

mod request;
mod status;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    response::Response,
    routing::post,
};
use dispatch_contract::{Recall, Receipt, Secret, Status};
use dispatch_telegram::gateway::{SIGNATURE, TIMESTAMP, signature};
use serde_json::{Value, json};

use super::{
    shared::{SharedServer, json_response, read},
    webhook_sender::{WebhookDraft, WebhookSigner},
};
use crate::{
    plan::ChannelTells,
    provider::{SendCall, SimulatedProvider},
    record::CallResult,
};
use request::CodeOrder;

/// The methods that it knows.
const METHODS: [&str; 4] = [
    "sendVerificationMessage",
    "checkSendAbility",
    "checkVerificationStatus",
    "revokeVerificationMessage",
];

/// Telegram's side of the server.
struct TelegramFront {
    shared: Arc<SharedServer>,
    token: Secret,
    signer: Arc<dyn WebhookSigner>,
    /// What became of the messages that were to be revoked, by their ids.
    revoked: Mutex<BTreeMap<String, &'static str>>,
}

/// Signs under the account's token, by the provider's clock.
struct ReportSigner {
    token: Secret,
    provider: Arc<SimulatedProvider>,
}

/// An error, as Telegram words it.
#[derive(Debug, PartialEq, Eq)]
struct GatewayProblem(StatusCode, &'static str);

/// Telegram's paths; an account has this token.
pub(super) fn routes(shared: &Arc<SharedServer>, token: &Secret) -> Router {
    let provider = Arc::clone(&shared.provider);
    let front = Arc::new(TelegramFront {
        shared: Arc::clone(shared),
        token: token.clone(),
        signer: Arc::new(ReportSigner { token: token.clone(), provider }),
        revoked: Mutex::default(),
    });
    METHODS
        .into_iter()
        .fold(Router::new(), |router, method| router.route(&format!("/{method}"), post(call)))
        .with_state(front)
}

async fn call(State(front): State<Arc<TelegramFront>>, request: Request) -> Response {
    let method = request.uri().path().trim_start_matches('/').to_owned();
    match front.try_call(&method, request).await {
        Ok(response) => response,
        Err(GatewayProblem(status, error)) => {
            json_response(status, &json!({ "ok": false, "error": error }))
        }
    }
}

impl TelegramFront {
    async fn try_call(&self, method: &str, request: Request) -> Result<Response, GatewayProblem> {
        self.authorized(request.headers())?;
        let body = read(request.into_body()).await.map_err(|_| refused("PAYLOAD_INVALID"))?;
        let body: Value = serde_json::from_slice(&body).map_err(|_| refused("PAYLOAD_INVALID"))?;
        match method {
            "sendVerificationMessage" => self.send(&body).await,
            "checkSendAbility" => {
                let number = request::phone_number(&body)?;
                let id = format!("granted-{}", number.value());
                Ok(granted(&status::request(&id, &format!("+{}", number.value()), "")))
            }
            "revokeVerificationMessage" => {
                self.revoke(request::request_id(&body)?)?;
                Ok(granted(&json!(true)))
            }
            _ => {
                let id = request::request_id(&body)?;
                Ok(granted(&self.status(id)?))
            }
        }
    }

    fn authorized(&self, headers: &HeaderMap) -> Result<(), GatewayProblem> {
        let shown = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        match shown.and_then(|shown| shown.strip_prefix("Bearer ")) {
            Some(token) if token == self.token.expose() => Ok(()),
            Some(_) => Err(GatewayProblem(StatusCode::UNAUTHORIZED, "ACCESS_TOKEN_INVALID")),
            None => Err(GatewayProblem(StatusCode::UNAUTHORIZED, "ACCESS_TOKEN_REQUIRED")),
        }
    }

    async fn send(&self, body: &Value) -> Result<Response, GatewayProblem> {
        let order = request::parse(body)?;
        match self.play(&order).await {
            CallResult::Accepted { provider_id } | CallResult::AcceptedBefore { provider_id } => {
                Ok(granted(&status::sent(&order, &provider_id)))
            }
            CallResult::Rejected(code) => Err(refused(status::error(code))),
            CallResult::Throttled { .. } => {
                Err(GatewayProblem(StatusCode::TOO_MANY_REQUESTS, "FLOOD_WAIT"))
            }
            CallResult::Failed => {
                Err(GatewayProblem(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL"))
            }
            CallResult::Nothing => Ok(self.shared.silence().await),
        }
    }

    async fn play(&self, order: &CodeOrder) -> CallResult {
        let call = SendCall {
            channel: &order.channel,
            recipient: &order.to,
            client_ref: order.payload.as_deref(),
            tells: ChannelTells { reads: true, quotes: false },
        };
        let webhook = |receipt: &Receipt| {
            Some(WebhookDraft {
                url: order.callback_url.clone()?,
                content_type: "application/json",
                body: status::report(order, receipt)?.to_string().into_bytes(),
                signer: Some(Arc::clone(&self.signer)),
            })
        };
        self.shared.play(&call, webhook).await
    }

    fn revoke(&self, id: &str) -> Result<(), GatewayProblem> {
        self.known(id)?;
        let status = match self.shared.recall(id) {
            Recall::Recalled => "revoked",
            Recall::TooLate(Some(Status::Read)) => "read",
            Recall::TooLate(_) => "delivered",
        };
        let mut revoked = self.revoked.lock().unwrap_or_else(PoisonError::into_inner);
        revoked.insert(id.to_owned(), status);
        Ok(())
    }

    fn status(&self, id: &str) -> Result<Value, GatewayProblem> {
        self.known(id)?;
        let revoked = self.revoked.lock().unwrap_or_else(PoisonError::into_inner);
        let status = revoked.get(id).copied().unwrap_or("sent");
        let updated_at = self.shared.provider.clock().wall().0 / 1_000;
        let mut shown = status::request(id, "", "");
        shown["delivery_status"] = json!({ "status": status, "updated_at": updated_at });
        Ok(shown)
    }

    fn known(&self, id: &str) -> Result<(), GatewayProblem> {
        let known = self.shared.provider.channel_of(id);
        known.map(|_| ()).ok_or_else(|| refused("REQUEST_ID_INVALID"))
    }
}

impl WebhookSigner for ReportSigner {
    fn sign(&self, _url: &str, body: &[u8]) -> Vec<(&'static str, String)> {
        let timestamp = (self.provider.clock().wall().0 / 1_000).to_string();
        let signature = signature(self.token.expose(), &timestamp, body);
        vec![(TIMESTAMP, timestamp), (SIGNATURE, signature)]
    }
}

fn granted(result: &Value) -> Response {
    json_response(StatusCode::OK, &json!({ "ok": true, "result": result }))
}

fn refused(error: &'static str) -> GatewayProblem {
    GatewayProblem(StatusCode::BAD_REQUEST, error)
}
