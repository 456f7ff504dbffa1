//! What the conformance suite has to know about a bot.

use std::fmt;

use dispatch_contract::{
    Account, ChannelAdapter, Content, ContentKind, Endpoint, ErrorKind, Fault, InboundMessage,
    Message, OptOut, Options, Provider, Report, Retry, Secret, Status,
};
use dispatch_kit::conformance::{
    ConformanceSubject, ExpectedReport, RefusalSample, SampleWebhook, SignedPart, StubAnswer,
    UnderstoodRequest,
};
use serde_json::{Value, json};

use super::{
    provider::{TelegramBot, telegram_bot},
    webhook::SECRET_HEADER,
};

const BOT: u64 = 123_456_789;
const TOKEN: &str = "123456789:AA-a-token-for-the-conformance-suite";
const SECRET_TOKEN: &str = "a-secret-for-the-conformance-suite";
const SENDER: &str = "acme_bot";
const PERSON: i64 = 2_718_281_828;

/// The adapter, and a sample message of each kind.
pub struct TelegramBotSubject(TelegramBot);

/// What proves a bot's channel.
pub fn subjects() -> Vec<Box<dyn ConformanceSubject>> {
    vec![Box::new(TelegramBotSubject::usual())]
}

impl TelegramBotSubject {
    /// Puts it to the test.
    pub fn usual() -> Self {
        TelegramBotSubject(telegram_bot())
    }
}

impl ConformanceSubject for TelegramBotSubject {
    fn adapter(&self) -> &dyn ChannelAdapter {
        &*self.0.0
    }

    fn provider(&self) -> &dyn Provider {
        &self.0
    }

    fn account(&self, base_url: &str) -> Account {
        Account {
            name: "conformance".to_owned(),
            revision: 1,
            settings: [("base_url", base_url), ("sender", SENDER)]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            secrets: [("bot_token", TOKEN), ("secret_token", SECRET_TOKEN)]
                .map(|(name, secret)| (name.to_owned(), Secret::new(secret)))
                .into(),
        }
    }

    fn sample(&self, kind: ContentKind) -> Option<Message> {
        let content = match kind {
            ContentKind::Text => Content::Text("Your table is ready.".to_owned()),
            ContentKind::Code => Content::Code { code: "271828".to_owned(), text: None },
            ContentKind::Image
            | ContentKind::Audio
            | ContentKind::Video
            | ContentKind::File
            | ContentKind::Location
            | ContentKind::Template
            | ContentKind::Custom => return None,
        };
        Some(Message {
            channel: self.adapter().channel().clone(),
            from: Endpoint::Id(SENDER.to_owned()),
            to: Endpoint::Id(PERSON.to_string()),
            content,
            options: Options::default(),
        })
    }

    /// Not every message in a chat has the number of one in another.
    fn sample_id(&self) -> &str {
        "2718281828:42"
    }

    fn accepted(&self, provider_id: &str) -> StubAnswer {
        let answer = json!({ "ok": true, "result": ours(provider_id) });
        StubAnswer::new(200, answer.to_string())
    }

    fn webhooks(&self, told: &ExpectedReport) -> Vec<SampleWebhook> {
        if told.report != Report::Reached(Status::Replied) {
            return Vec::new();
        }
        let quoted = ours(&told.provider_id);
        let query = json!({
            "id": "4382bfdwdsb323b2d9",
            "from": person(),
            "message": quoted,
            "chat_instance": "-3141592653589793238",
            "data": "at-eight",
        });
        vec![update("callback_query", &query)]
    }

    fn inbound_messages(&self, told: &InboundMessage) -> Vec<SampleWebhook> {
        let text = told.content.iter().find_map(Content::spoken).unwrap_or_default();
        let mut message = written(&chat(told.from.value()), &text);
        message["message_id"] = number(&told.id).into();
        if let Some(quoted) = &told.quoted_id {
            message["reply_to_message"] = ours(quoted);
        }
        vec![update("message", &message)]
    }

    /// Of what became of a message the Bot API tells nothing.
    fn tells_failures(&self) -> bool {
        false
    }

    fn opt_outs(&self, told: &OptOut) -> Vec<SampleWebhook> {
        let words = match told.is_lifted {
            false => ["Stop.", "/stop", "/stop@acme_bot"],
            true => ["START", "/start", "/start from-the-shop"],
        };
        let chat = chat(told.recipient.value());
        words.into_iter().map(|word| update("message", &written(&chat, word))).collect()
    }

    fn unrelated(&self) -> Vec<SampleWebhook> {
        let here = chat(&PERSON.to_string());
        let member = json!({ "status": "kicked", "user": { "id": BOT, "is_bot": true } });
        let blocked = json!({ "chat": here, "from": person(), "new_chat_member": member });
        vec![
            update("edited_message", &written(&here, "Hello!")),
            update("my_chat_member", &blocked),
            update("message", &written(&chat("-1001234567890"), "STOP")),
            update("channel_post", &written(&json!({ "id": -1, "type": "channel" }), "News")),
        ]
    }

    fn sign(&self, webhook: &mut SampleWebhook) {
        webhook.headers.push((SECRET_HEADER.to_owned(), SECRET_TOKEN.into()));
    }

    fn signed_part(&self) -> SignedPart {
        SignedPart::ShownSecret
    }

    fn understood(&self, request: &str) -> Option<UnderstoodRequest> {
        let (_, body) = request.split_once("\r\n\r\n")?;
        let body: Value = serde_json::from_str(body).ok()?;
        let text = body.get("text").map(|_| ContentKind::Text);
        Some(UnderstoodRequest { channel: None, content: text.into_iter().collect() })
    }

    fn refusals(&self) -> Vec<RefusalSample> {
        let refusal = |status: u16, description: &str, kind, fault, retry| {
            let body = json!({ "ok": false, "error_code": status, "description": description })
                .to_string();
            RefusalSample { answer: StubAnswer::new(status, body), kind, fault, retry }
        };
        let no = Retry::Permanent;
        let (not_found, unreached) = (ErrorKind::InvalidRecipient, ErrorKind::Unreached);
        vec![
            refusal(400, "Bad Request: chat not found", not_found, Fault::Recipient, no),
            refusal(403, "Forbidden: bot was blocked by the user", unreached, Fault::Recipient, no),
            refusal(400, "Bad Request: x", ErrorKind::InvalidRequest, Fault::Content, no),
            refusal(401, "Unauthorized", ErrorKind::Unauthorized, Fault::Account, no),
        ]
    }
}

impl fmt::Debug for TelegramBotSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TelegramBotSubject")
    }
}

/// A message that the bot sent, by its id here.
fn ours(provider_id: &str) -> Value {
    let chat_id = provider_id.split(':').next().unwrap_or_default();
    json!({
        "message_id": number(provider_id),
        "from": { "id": BOT, "is_bot": true, "first_name": "Acme" },
        "date": 1_700_000_000,
        "chat": chat(chat_id),
        "text": "Your table is ready.",
    })
}

/// What Telegram calls a message within its chat.
fn number(id: &str) -> u64 {
    id.split(':').nth(1).and_then(|number| number.parse().ok()).unwrap_or(1)
}

fn chat(id: &str) -> Value {
    let kind = if id.starts_with('-') { "supergroup" } else { "private" };
    json!({ "id": id.parse::<i64>().unwrap_or(PERSON), "type": kind })
}

fn person() -> Value {
    json!({ "id": PERSON, "is_bot": false, "first_name": "Ana" })
}

/// What a person wrote in a chat.
fn written(chat: &Value, text: &str) -> Value {
    json!({
        "message_id": 43,
        "from": person(),
        "date": 1_700_000_000,
        "chat": chat,
        "text": text,
    })
}

fn update(kind: &str, what: &Value) -> SampleWebhook {
    SampleWebhook::json(json!({ "update_id": 271_828, kind: what }))
}
