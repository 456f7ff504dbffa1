//! Telegram's Bot API, as far as a bot sends texts.
//!
//! - `/bot{token}/sendMessage` takes a text, and answers by script: the message, an error, 500, or never. `getMe` says
//!   whether a token is taken.
//! - It tells nothing later, as Telegram does not: a script's receipts are of no account.
//!
//! A script's codes are Vonage's; whatever is not of the account or the content is a person who blocked the bot.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Path, Request, State},
    http::StatusCode,
    response::Response,
    routing::{get, post},
};
use dispatch_contract::{Channel, Endpoint, ErrorKind, Receipt, Secret};
use serde_json::{Value, json};

use super::{
    shared::{SharedServer, json_response, read},
    webhook_sender::WebhookDraft,
};
use crate::{codes::refusal, provider::SendCall, record::CallResult};

/// The longest text, in characters.
const TEXT_CHARS: usize = 4_096;

/// The Bot API's side of the server.
struct BotFront {
    shared: Arc<SharedServer>,
    token: Secret,
}

/// An error: its code, which is the HTTP status too, its description, and how long to wait, in seconds.
struct BotProblem(StatusCode, &'static str, Option<u64>);

/// The Bot API's paths; a bot has this token.
pub(super) fn routes(shared: &Arc<SharedServer>, token: &Secret) -> Router {
    let front = Arc::new(BotFront { shared: Arc::clone(shared), token: token.clone() });
    // Other fronts call the first part of their paths by this name.
    Router::new()
        .route("/{version}/getMe", get(me).post(me))
        .route("/{version}/sendMessage", post(send))
        .with_state(front)
}

async fn me(State(front): State<Arc<BotFront>>, Path(bot): Path<String>) -> Response {
    match front.admit(&bot) {
        Ok(id) => done(&json!({
            "id": id, "is_bot": true, "first_name": "Acme", "username": "acme_bot",
        })),
        Err(problem) => problem.into_response(),
    }
}

async fn send(
    State(front): State<Arc<BotFront>>,
    Path(bot): Path<String>,
    request: Request,
) -> Response {
    front.try_send(&bot, request).await.unwrap_or_else(BotProblem::into_response)
}

impl BotFront {
    /// The bot's id, if the path names the bot.
    fn admit(&self, bot: &str) -> Result<u64, BotProblem> {
        let token = bot.strip_prefix("bot").filter(|token| *token == self.token.expose());
        let id = token.and_then(|token| token.split_once(':')?.0.parse().ok());
        id.ok_or(BotProblem(StatusCode::UNAUTHORIZED, "Unauthorized", None))
    }

    async fn try_send(&self, bot: &str, request: Request) -> Result<Response, BotProblem> {
        let id = self.admit(bot)?;
        let body = read(request.into_body()).await.map_err(|_| refused("Bad Request: no body"))?;
        let fields = fields(&body);
        let field = |name: &str| fields.iter().find(|(own, _)| own == name).map(|(_, text)| text);
        let text = field("text").filter(|text| !text.is_empty());
        let text = text.ok_or(refused("Bad Request: message text is empty"))?;
        if text.chars().count() > TEXT_CHARS {
            return Err(refused("Bad Request: message is too long"));
        }
        let chat: Option<i64> = field("chat_id").and_then(|chat| chat.parse().ok());
        let chat = chat.ok_or(refused("Bad Request: chat not found"))?;
        match self.play(chat).await {
            CallResult::Accepted { provider_id } | CallResult::AcceptedBefore { provider_id } => {
                Ok(done(&self.message(id, chat, text, &provider_id)))
            }
            CallResult::Rejected(code) => Err(scripted(code)),
            CallResult::Throttled { after } => {
                let wait = after.map_or(1, |after| after.as_millis().div_ceil(1_000) as u64);
                let said = "Too Many Requests: retry later";
                Err(BotProblem(StatusCode::TOO_MANY_REQUESTS, said, Some(wait)))
            }
            CallResult::Failed => {
                let status = StatusCode::INTERNAL_SERVER_ERROR;
                Err(BotProblem(status, "Internal Server Error", None))
            }
            CallResult::Nothing => Ok(self.shared.silence().await),
        }
    }

    /// A message is numbered within its chat; here by what the provider calls it.
    fn message(&self, bot: u64, chat: i64, text: &str, provider_id: &str) -> Value {
        let number = provider_id
            .bytes()
            .fold(7_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(byte)));
        json!({
            "message_id": number & 0x7fff_ffff,
            "from": { "id": bot, "is_bot": true, "first_name": "Acme" },
            "date": self.shared.provider.clock().wall().0 / 1_000,
            "chat": { "id": chat, "type": if chat < 0 { "group" } else { "private" } },
            "text": text,
        })
    }

    async fn play(&self, chat: i64) -> CallResult {
        let recipient = Endpoint::Id(chat.to_string());
        let channel = Channel::named("telegram_bot");
        let (channel, recipient) = (&channel, &recipient);
        let call = SendCall { channel, recipient, client_ref: None, reads: false };
        self.shared.play(&call, |_: &Receipt| None::<WebhookDraft>).await
    }
}

impl BotProblem {
    fn into_response(self) -> Response {
        let BotProblem(status, description, wait) = self;
        let mut body =
            json!({ "ok": false, "error_code": status.as_u16(), "description": description });
        if let Some(seconds) = wait {
            body["parameters"] = json!({ "retry_after": seconds });
        }
        json_response(status, &body)
    }
}

/// The parameters, as JSON or as a form.
fn fields(body: &[u8]) -> Vec<(String, String)> {
    match serde_json::from_slice(body) {
        Ok(Value::Object(object)) => object
            .into_iter()
            .map(|(name, value)| match value {
                Value::String(text) => (name, text),
                other => (name, other.to_string()),
            })
            .collect(),
        _ => url::form_urlencoded::parse(body).into_owned().collect(),
    }
}

fn done(result: &Value) -> Response {
    json_response(StatusCode::OK, &json!({ "ok": true, "result": result }))
}

fn refused(description: &'static str) -> BotProblem {
    BotProblem(StatusCode::BAD_REQUEST, description, None)
}

/// Refused by script.
fn scripted(code: u16) -> BotProblem {
    match refusal(code).kind {
        ErrorKind::InvalidRecipient => refused("Bad Request: chat not found"),
        ErrorKind::InvalidRequest | ErrorKind::ContentRejected => refused("Bad Request: refused"),
        ErrorKind::Unauthorized | ErrorKind::Forbidden | ErrorKind::InsufficientFunds => {
            BotProblem(StatusCode::UNAUTHORIZED, "Unauthorized", None)
        }
        ErrorKind::Throttled => {
            BotProblem(StatusCode::TOO_MANY_REQUESTS, "Too Many Requests: retry later", Some(1))
        }
        ErrorKind::OptedOut
        | ErrorKind::OutsideWindow
        | ErrorKind::Unreached
        | ErrorKind::Timeout
        | ErrorKind::Unreachable
        | ErrorKind::ProviderFailure => {
            BotProblem(StatusCode::FORBIDDEN, "Forbidden: bot was blocked by the user", None)
        }
    }
}
