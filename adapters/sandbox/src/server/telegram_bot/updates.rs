//! Where a bot's updates go, and what is posted there.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use dispatch_contract::Secret;
use serde_json::{Value, json};

use super::{BotProblem, refused};
use crate::{
    script::ReceiptSigning,
    server::{
        shared::{SharedServer, is_web_address},
        webhook_sender::{WebhookDraft, WebhookPost, WebhookSigner},
    },
};

/// What a bot hears that does not say what it wants to hear, as far as anything of it is posted here.
const USUAL: [&str; 1] = ["message"];
/// The longest secret, in bytes.
const SECRET_BYTES: usize = 256;

/// What a bot hears, and how.
#[derive(Default)]
pub(super) struct Updates {
    webhook: Mutex<Option<BotWebhook>>,
    posted: AtomicU64,
}

#[derive(Clone, PartialEq, Eq)]
struct BotWebhook {
    url: String,
    secret_token: String,
    allowed_updates: Vec<String>,
}

/// Shows the secret.
struct ShownSecret(Secret);

impl Updates {
    /// Has updates go to a URL from now on; to none, if that is empty. What was done, in Telegram's words.
    pub(super) fn subscribe(
        &self,
        fields: &[(String, String)],
    ) -> Result<&'static str, BotProblem> {
        let field = |name: &str| {
            let field = fields.iter().find(|(own, _)| own == name);
            field.map_or("", |(_, text)| text.as_str())
        };
        let (url, secret_token) = (field("url"), field("secret_token"));
        if url.is_empty() {
            return Ok(self.unsubscribe());
        }
        if !is_web_address(url) {
            return Err(refused(
                "Bad Request: bad webhook: An HTTPS URL must be provided for webhook",
            ));
        }
        let is_known = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        if secret_token.len() > SECRET_BYTES {
            return Err(refused("Bad Request: secret token is too long"));
        }
        if !secret_token.bytes().all(is_known) {
            return Err(refused("Bad Request: secret token contains unallowed characters"));
        }
        let wanted: Vec<String> = match field("allowed_updates") {
            "" => Vec::new(),
            text => serde_json::from_str(text)
                .map_err(|_| refused("Bad Request: can't parse allowed_updates"))?,
        };
        let usual = || USUAL.map(str::to_owned).to_vec();
        let wanted = BotWebhook {
            url: url.to_owned(),
            secret_token: secret_token.to_owned(),
            allowed_updates: if wanted.is_empty() { usual() } else { wanted },
        };
        let before = self.replace(Some(wanted.clone()));
        let is_as_before = before.is_some_and(|before| before == wanted);
        Ok(if is_as_before { "Webhook is already set" } else { "Webhook was set" })
    }

    /// Has updates go nowhere.
    pub(super) fn unsubscribe(&self) -> &'static str {
        match self.replace(None) {
            Some(_) => "Webhook was deleted",
            None => "Webhook is already deleted",
        }
    }

    /// Where they go, as anybody who has the token may know: not the secret.
    pub(super) fn info(&self) -> Value {
        let mut info =
            json!({ "url": "", "has_custom_certificate": false, "pending_update_count": 0 });
        if let Some(webhook) = self.webhook() {
            info["url"] = webhook.url.into();
            info["max_connections"] = 40.into();
            info["allowed_updates"] = webhook.allowed_updates.into();
        }
        info
    }

    /// Posts an update of this kind, until it is taken. Whether anybody wants it.
    pub(super) async fn post(&self, shared: &SharedServer, kind: &str, what: &Value) -> bool {
        let Some(draft) = self.draft(kind, what) else { return false };
        let (chat, now) = (what["chat"]["id"].to_string(), shared.provider.clock().now());
        let post = WebhookPost::new(&chat, draft, ReceiptSigning::Signed, now);
        shared.webhook_sender.plan(&chat, [(now, post)]).await;
        true
    }

    /// An update of this kind; `None` if nobody wants it.
    pub(super) fn draft(&self, kind: &str, what: &Value) -> Option<WebhookDraft> {
        let wanted = self.webhook().filter(|it| it.allowed_updates.iter().any(|it| it == kind));
        let BotWebhook { url, secret_token, .. } = wanted?;
        let id = self.posted.fetch_add(1, Ordering::Relaxed) + 1;
        let secret = (!secret_token.is_empty()).then(|| Secret::new(secret_token));
        Some(WebhookDraft {
            url,
            content_type: "application/json",
            body: json!({ "update_id": id, kind: what }).to_string().into_bytes(),
            signer: secret.map(|secret| Arc::new(ShownSecret(secret)) as Arc<dyn WebhookSigner>),
        })
    }

    fn webhook(&self) -> Option<BotWebhook> {
        self.webhook.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn replace(&self, webhook: Option<BotWebhook>) -> Option<BotWebhook> {
        let mut known = self.webhook.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *known, webhook)
    }
}

impl WebhookSigner for ShownSecret {
    fn sign(&self, _url: &str, _body: &[u8]) -> Vec<(&'static str, String)> {
        vec![("x-telegram-bot-api-secret-token", self.0.expose().to_owned())]
    }
}
