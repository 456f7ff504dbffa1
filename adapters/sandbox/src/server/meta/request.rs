//! Reads a send, in WhatsApp's words or in Messenger's.
//!
//! Only the shape is checked: enough to find a caller that builds its requests wrongly, not a second copy of the
//! provider's rules.

use dispatch_contract::{Channel, Endpoint};
use serde_json::Value;

/// A send.
#[derive(Debug)]
pub(super) struct MetaOrder {
    pub(super) channel: Channel,
    /// The id of the number or page that it comes from.
    pub(super) sender: String,
    pub(super) to: Endpoint,
    /// What the caller calls it, to be told back.
    pub(super) ours: Option<String>,
}

impl MetaOrder {
    pub(super) fn is_messenger(&self) -> bool {
        self.channel == Channel::MESSENGER
    }
}

/// Reads the body of a send; `None` if it is none.
pub(super) fn parse(sender: String, body: &[u8]) -> Option<MetaOrder> {
    let body: Value = serde_json::from_slice(body).ok()?;
    if sender.is_empty() || !sender.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    match body.get("messaging_product") {
        Some(product) if product == "whatsapp" => whatsapp(sender, &body),
        Some(_) => None,
        None => messenger(sender, &body),
    }
}

fn whatsapp(sender: String, body: &Value) -> Option<MetaOrder> {
    let kind = text(body, "type")?;
    if !body.get(kind).is_some_and(Value::is_object) {
        return None;
    }
    // A number goes before an id where both stand.
    let to = match (text(body, "to"), text(body, "recipient")) {
        (Some(number), _) => Endpoint::Number(number.trim_start_matches('+').to_owned()),
        (None, id) => Endpoint::Id(id?.to_owned()),
    };
    let ours = text(body, "biz_opaque_callback_data").map(str::to_owned);
    Some(MetaOrder { channel: Channel::WHATSAPP, sender, to, ours })
}

fn messenger(sender: String, body: &Value) -> Option<MetaOrder> {
    let message = body.get("message")?;
    let is_known = ["RESPONSE", "UPDATE", "MESSAGE_TAG"].contains(&text(body, "messaging_type")?);
    // What is left of the tags since 2026-04-27.
    let is_tagged = text(body, "messaging_type") == Some("MESSAGE_TAG");
    let tag = text(body, "tag");
    let fits = if is_tagged { tag == Some("HUMAN_AGENT") } else { tag.is_none() };
    let says = text(message, "text").is_some() != message.get("attachment").is_some();
    if !is_known || !fits || !says {
        return None;
    }
    let to = Endpoint::Id(text(body.get("recipient")?, "id")?.to_owned());
    let ours = text(message, "metadata").map(str::to_owned);
    Some(MetaOrder { channel: Channel::MESSENGER, sender, to, ours })
}

fn text<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value.get(name)?.as_str().filter(|text| !text.is_empty())
}
