//! Telegram's Bot API, as far as a bot sends texts and hears people.
//!
//! - `/bot{token}/sendMessage` takes a text, and answers by script: the message, an error, 500, or never. `getMe` says
//!   whether a token is taken. Messages are numbered within their chat, people's among them.
//! - It tells nothing later of what was sent, as Telegram does not: of a script's receipts there is none. What a script
//!   has a person answer is posted, and numbered when the message is sent that it answers.
//! - `setWebhook`, `getWebhookInfo` and `deleteWebhook` say where updates go. What people write is posted there, with the
//!   secret in its header, and repeated until it is taken; nobody can ask for it (`getUpdates`).
//! - `POST /sandbox/telegram_bot/messages` has a person write: `{"chat_id": 2718281828, "text": "STOP"}`, with whatever
//!   other fields a message has; `reply_to_message_id` is a message of the bot's there.
//!
//! A script's codes are Vonage's; whatever is not of the account or the content is a person who blocked the bot.

mod chats;
mod updates;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use axum::{
    Router,
    body::Bytes,
    extract::{Path, Request, State},
    http::StatusCode,
    response::Response,
    routing::{get, post},
};
use dispatch_contract::{Channel, Endpoint, ErrorKind, Receipt, Secret};
use serde_json::{Map, Value, json};

use super::shared::{SharedServer, json_response, read};
use crate::{codes::refusal, plan::ChannelTells, provider::SendCall, record::CallResult, reply};
use chats::Chats;
use updates::Updates;

/// The longest text, in characters.
const TEXT_CHARS: usize = 4_096;

/// The Bot API's side of the server.
struct BotFront {
    shared: Arc<SharedServer>,
    token: Secret,
    chats: Chats,
    updates: Updates,
}

/// An error: its code, which is the HTTP status too, its description, and how long to wait, in seconds.
struct BotProblem(StatusCode, &'static str, Option<u64>);

/// The Bot API's paths; a bot has this token.
pub(super) fn routes(shared: &Arc<SharedServer>, token: &Secret) -> Router {
    let front = Arc::new(BotFront {
        shared: Arc::clone(shared),
        token: token.clone(),
        chats: Chats::default(),
        updates: Updates::default(),
    });
    // Other fronts call the first part of their paths by this name.
    Router::new()
        .route("/{version}/getMe", get(me).post(me))
        .route("/{version}/sendMessage", post(send))
        .route("/{version}/setWebhook", get(subscribe).post(subscribe))
        .route("/{version}/deleteWebhook", get(unsubscribe).post(unsubscribe))
        .route("/{version}/getWebhookInfo", get(subscription).post(subscription))
        .route("/sandbox/telegram_bot/messages", post(write))
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

async fn subscribe(
    State(front): State<Arc<BotFront>>,
    Path(bot): Path<String>,
    request: Request,
) -> Response {
    let subscribed = async {
        front.admit(&bot)?;
        front.updates.subscribe(&fields(&told(request).await?))
    };
    subscribed.await.map_or_else(BotProblem::into_response, done_with)
}

async fn unsubscribe(State(front): State<Arc<BotFront>>, Path(bot): Path<String>) -> Response {
    let done = front.admit(&bot).map(|_| front.updates.unsubscribe());
    done.map_or_else(BotProblem::into_response, done_with)
}

async fn subscription(State(front): State<Arc<BotFront>>, Path(bot): Path<String>) -> Response {
    let info = front.admit(&bot).map(|_| front.updates.info());
    info.map_or_else(BotProblem::into_response, |info| done(&info))
}

/// A person writes.
async fn write(State(front): State<Arc<BotFront>>, request: Request) -> Response {
    let written = async {
        let fields = serde_json::from_slice(&told(request).await?);
        front.write(fields.map_err(|_| refused("Bad Request: an object is needed"))?).await
    };
    written.await.map_or_else(BotProblem::into_response, |message| done(&message))
}

impl BotFront {
    /// The bot's id, if the path names the bot.
    fn admit(&self, bot: &str) -> Result<u64, BotProblem> {
        let token = bot.strip_prefix("bot").filter(|token| *token == self.token.expose());
        let id = token.and_then(|_| self.bot_id());
        id.ok_or(BotProblem(StatusCode::UNAUTHORIZED, "Unauthorized", None))
    }

    fn bot_id(&self) -> Option<u64> {
        self.token.expose().split_once(':')?.0.parse().ok()
    }

    async fn try_send(&self, bot: &str, request: Request) -> Result<Response, BotProblem> {
        let id = self.admit(bot)?;
        let fields = fields(&told(request).await?);
        let field = |name: &str| fields.iter().find(|(own, _)| own == name).map(|(_, text)| text);
        let text = field("text").filter(|text| !text.is_empty());
        let text = text.ok_or(refused("Bad Request: message text is empty"))?;
        if text.chars().count() > TEXT_CHARS {
            return Err(refused("Bad Request: message is too long"));
        }
        let chat: Option<i64> = field("chat_id").and_then(|chat| chat.parse().ok());
        let chat = chat.ok_or(refused("Bad Request: chat not found"))?;
        let message = OnceLock::new();
        let message =
            || message.get_or_init(|| self.message(id, chat, self.chats.number(chat), text));
        match self.play(chat, message).await {
            CallResult::Accepted { .. } | CallResult::AcceptedBefore { .. } => Ok(done(message())),
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

    /// A person's message, once it is on its way.
    async fn write(&self, mut message: Map<String, Value>) -> Result<Value, BotProblem> {
        let chat = message.remove("chat_id").and_then(|id| id.as_i64());
        let chat = chat.ok_or(refused("Bad Request: chat_id is needed"))?;
        if let Some(quoted) = message.remove("reply_to_message_id") {
            let quoted = quoted.as_u64().filter(|number| self.chats.has(chat, *number));
            let quoted = quoted.zip(self.bot_id()).map(|(number, bot)| {
                self.message(bot, chat, number, "What was said is not remembered.")
            });
            let quoted = quoted.ok_or(refused("Bad Request: message to be replied not found"))?;
            message.insert("reply_to_message".to_owned(), quoted);
        }
        let message = self.of_person(chat, message);
        if !self.updates.post(&self.shared, "message", &message).await {
            return Err(refused("Bad Request: no webhook is set that asks for messages"));
        }
        Ok(message)
    }

    /// A message of a person's, with these fields beside what every message has.
    fn of_person(&self, chat: i64, mut message: Map<String, Value>) -> Value {
        let from = json!({ "id": chat.unsigned_abs(), "is_bot": false, "first_name": "Ana" });
        message.extend(self.envelope(&from, chat, self.chats.number(chat)));
        Value::Object(message)
    }

    /// A message of the bot's.
    fn message(&self, bot: u64, chat: i64, number: u64, text: &str) -> Value {
        let from = json!({ "id": bot, "is_bot": true, "first_name": "Acme" });
        let mut message = self.envelope(&from, chat, number);
        message.insert("text".to_owned(), text.into());
        Value::Object(message)
    }

    /// What every message has.
    fn envelope(&self, from: &Value, chat: i64, number: u64) -> Map<String, Value> {
        let date = self.shared.provider.clock().wall().0 / 1_000;
        let kind = if chat < 0 { "group" } else { "private" };
        let fields = [
            ("message_id", number.into()),
            ("from", from.clone()),
            ("date", date.into()),
            ("chat", json!({ "id": chat, "type": kind })),
        ];
        fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// `message` is what the person has of it, if it is sent.
    async fn play<'a>(&self, chat: i64, message: impl Fn() -> &'a Value) -> CallResult {
        let recipient = Endpoint::Id(chat.to_string());
        let channel = Channel::named("telegram_bot");
        let (channel, recipient) = (&channel, &recipient);
        let tells = ChannelTells { reads: false, quotes: true };
        let call = SendCall { channel, recipient, client_ref: None, tells };
        // What is told twice is one message.
        let answers = Mutex::new(BTreeMap::new());
        let webhook = |receipt: &Receipt| {
            let id = reply::id(self.shared.provider.seed(), receipt)?;
            let mut answers = answers.lock().unwrap_or_else(PoisonError::into_inner);
            let answer = answers.entry(id).or_insert_with(|| {
                let quoting = [
                    ("text".to_owned(), reply::TEXT.into()),
                    ("reply_to_message".to_owned(), message().clone()),
                ];
                self.of_person(chat, quoting.into_iter().collect())
            });
            self.updates.draft("message", answer)
        };
        self.shared.play(&call, webhook).await
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

/// A call's body.
async fn told(request: Request) -> Result<Bytes, BotProblem> {
    read(request.into_body()).await.map_err(|_| refused("Bad Request: no body"))
}

fn done(result: &Value) -> Response {
    json_response(StatusCode::OK, &json!({ "ok": true, "result": result }))
}

fn done_with(description: &str) -> Response {
    let body = json!({ "ok": true, "result": true, "description": description });
    json_response(StatusCode::OK, &body)
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
