//! What the conformance suite has to know about a bot.

use std::fmt;

use dispatch_contract::{
    Account, ChannelAdapter, Content, ContentKind, Endpoint, ErrorKind, Fault, Message, Options,
    Provider, Retry, Secret,
};
use dispatch_kit::conformance::{ConformanceSubject, RefusalSample, StubAnswer, UnderstoodRequest};
use serde_json::{Value, json};

use super::provider::{TelegramBot, telegram_bot};

const TOKEN: &str = "123456789:AA-a-token-for-the-conformance-suite";

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
            settings: [("base_url".to_owned(), base_url.to_owned())].into(),
            secrets: [("bot_token".to_owned(), Secret::new(TOKEN))].into(),
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
            from: Endpoint::Id("acme_bot".to_owned()),
            to: Endpoint::Id("2718281828".to_owned()),
            content,
            options: Options::default(),
        })
    }

    fn accepted(&self, provider_id: &str) -> StubAnswer {
        let chat = json!({ "id": 2_718_281_828_u64, "type": "private" });
        let message = json!({ "message_id": provider_id, "date": 1_700_000_000, "chat": chat });
        StubAnswer::new(200, json!({ "ok": true, "result": message }).to_string())
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
