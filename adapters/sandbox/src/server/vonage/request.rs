//! Reads the two forms of a send: v1 (flat) and v0.1 (`to`, `from`, `message`).
//!
//! Only the shape is checked, and what a script cannot say: enough to find a caller that builds its
//! requests wrongly, not a second copy of the provider's rules. Unknown keys are no mistake.

use dispatch_contract::{AddressForm, AddressPattern, Channel, Endpoint};
use serde_json::{Map, Value};

use super::MessagesVersion;
use crate::server::shared::is_web_address;

/// A send, whichever way it was written.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) channel: Channel,
    pub(super) to: Endpoint,
    pub(super) from: Endpoint,
    pub(super) client_ref: Option<String>,
    /// Where this message's receipts go, if not where all of them do.
    pub(super) webhook_url: Option<String>,
    /// The form of this message's receipts.
    pub(super) webhook_version: MessagesVersion,
}

/// What is wrong with a body.
#[derive(Debug)]
pub(super) enum Malformed {
    /// It is no JSON object.
    NotJson,
    /// Names of parameters, and what is wrong with them. Never their values.
    Parameters(Vec<(String, String)>),
}

/// Reads the body of a send to this version of the API.
pub(super) fn parse(version: MessagesVersion, body: &[u8]) -> Result<Order, Malformed> {
    let body: Map<String, Value> = serde_json::from_slice(body).map_err(|_| Malformed::NotJson)?;
    let mut found = RequestFaults(Vec::new());
    let order = match version {
        MessagesVersion::V1 => v1(&body, &mut found),
        MessagesVersion::V0_1 => v0_1(&body, &mut found),
    };
    match order {
        Some(order) if found.0.is_empty() => Ok(order),
        Some(_) | None => Err(Malformed::Parameters(found.0)),
    }
}

/// The channel's name in this version of the API.
pub(super) fn channel_name(version: MessagesVersion, channel: &Channel) -> &str {
    match version {
        MessagesVersion::V1 if *channel == Channel::VIBER => "viber_service",
        MessagesVersion::V1 | MessagesVersion::V0_1 => channel.as_str(),
    }
}

/// Whether the channel reports reading.
pub(super) fn reads(channel: &Channel) -> bool {
    [Channel::MESSENGER, Channel::WHATSAPP, Channel::VIBER, Channel::RCS].contains(channel)
}

/// Whether what a person writes on the channel names the message that it quotes: where Vonage documents its `context`.
pub(super) fn quotes(channel: &Channel) -> bool {
    [Channel::WHATSAPP, Channel::VIBER].contains(channel)
}

/// What has been found wrong so far.
struct RequestFaults(Vec<(String, String)>);

impl RequestFaults {
    fn add(&mut self, name: &str, reason: &str) {
        self.0.push((name.to_owned(), reason.to_owned()));
    }

    /// Adds a finding that leaves nothing to go on with.
    fn none<T>(&mut self, name: &str, reason: &str) -> Option<T> {
        self.add(name, reason);
        None
    }
}

fn v1(body: &Map<String, Value>, found: &mut RequestFaults) -> Option<Order> {
    let channel = channel(MessagesVersion::V1, "channel", body.get("channel"), found);
    let client_ref = client_ref(body, 100, found);
    let webhook_url = optional_text("webhook_url", body.get("webhook_url"), found);
    if webhook_url.as_deref().is_some_and(|url| !is_web_address(url)) {
        found.add("webhook_url", "must be an http or https URL.");
    }
    let webhook_version = match body.get("webhook_version").map(Value::as_str) {
        None | Some(Some("v1")) => MessagesVersion::V1,
        Some(Some("v0.1")) => MessagesVersion::V0_1,
        Some(_) => {
            found.add("webhook_version", "must be v0.1 or v1.");
            MessagesVersion::V1
        }
    };
    // Without the channel, nobody can say what the rest should be.
    let channel = channel?;
    content(MessagesVersion::V1, &channel, body, found);
    let to = address("to", body.get("to"), &recipient_forms(&channel), found);
    let from = address("from", body.get("from"), &sender_forms(&channel), found);
    Some(Order { channel, to: to?, from: from?, client_ref, webhook_url, webhook_version })
}

fn v0_1(body: &Map<String, Value>, found: &mut RequestFaults) -> Option<Order> {
    let empty = Map::new();
    let mut object = |name| match body.get(name).and_then(Value::as_object) {
        Some(object) => object,
        None => {
            found.add(name, "is required, and must be an object.");
            &empty
        }
    };
    let (to, from, message) = (object("to"), object("from"), object("message"));
    let client_ref = client_ref(body, 40, found);
    if !found.0.is_empty() {
        return None;
    }
    let channel = channel(MessagesVersion::V0_1, "to.type", to.get("type"), found)?;
    if from.get("type") != to.get("type") {
        found.add("from.type", "must be that of to.");
    }
    match message.get("content").and_then(Value::as_object) {
        Some(object) => content(MessagesVersion::V0_1, &channel, object, found),
        None => {
            found.add("message.content", "is required, and must be an object.");
        }
    }
    let to = party("to", to, &recipient_forms(&channel), found);
    let from = party("from", from, &sender_forms(&channel), found);
    Some(Order {
        channel,
        to: to?,
        from: from?,
        client_ref,
        webhook_url: None,
        webhook_version: MessagesVersion::V0_1,
    })
}

fn channel(
    version: MessagesVersion,
    name: &str,
    value: Option<&Value>,
    found: &mut RequestFaults,
) -> Option<Channel> {
    let Some(text) = value.and_then(Value::as_str) else {
        return found.none(name, "is required.");
    };
    let rcs = (version == MessagesVersion::V1).then_some(Channel::RCS);
    [Channel::SMS, Channel::MMS, Channel::MESSENGER, Channel::WHATSAPP, Channel::VIBER]
        .into_iter()
        .chain(rcs)
        .find(|channel| channel_name(version, channel) == text)
        .or_else(|| found.none(name, "names no channel of this provider."))
}

/// Checks the content: its kind, and that what the kind needs is there.
fn content(
    version: MessagesVersion,
    channel: &Channel,
    holder: &Map<String, Value>,
    found: &mut RequestFaults,
) {
    let (key, prefix) = match version {
        MessagesVersion::V1 => ("message_type", ""),
        MessagesVersion::V0_1 => ("type", "message.content."),
    };
    let name = |key: &str| format!("{prefix}{key}");
    let Some(kind) = holder.get(key).and_then(Value::as_str) else {
        return found.add(&name(key), "is required.");
    };
    if !kinds(version, channel).contains(&kind) {
        return found.add(&name(key), "is not sent on this channel.");
    }
    match (kind, holder.get(kind)) {
        (_, None) => found.add(&name(kind), "is required."),
        ("text", Some(text)) => {
            if text.as_str().is_none_or(str::is_empty) {
                found.add(&name(kind), "must be a text that is not empty.");
            }
        }
        ("image" | "audio" | "video" | "file" | "vcard", Some(media)) => {
            if media.get("url").and_then(Value::as_str).is_none_or(str::is_empty) {
                found.add(&name(&format!("{kind}.url")), "is required.");
            }
        }
        (_, Some(_)) => {}
    }
}

/// The kinds of content that the provider sends on a channel.
fn kinds(version: MessagesVersion, channel: &Channel) -> &'static [&'static str] {
    match (version, channel.as_str()) {
        (_, "sms") => &["text"],
        (MessagesVersion::V1, "mms") => {
            &["text", "image", "vcard", "audio", "video", "file", "content"]
        }
        (MessagesVersion::V0_1, "mms") => &["image"],
        (MessagesVersion::V1, "viber_service_msg") => &["text", "image", "video", "file"],
        (MessagesVersion::V0_1, "viber_service_msg") => &["text", "image", "template"],
        (_, "messenger") => &["text", "image", "audio", "video", "file", "template", "custom"],
        (MessagesVersion::V0_1, "whatsapp") => {
            &["text", "template", "image", "audio", "video", "file", "custom"]
        }
        (MessagesVersion::V1, "whatsapp") => &[
            "text", "template", "image", "audio", "video", "file", "custom", "sticker", "reaction",
        ],
        (MessagesVersion::V1, "rcs") => &["text", "image", "video", "file", "custom"],
        // Channels are an open set; `channel` lets no others in.
        (_, _) => &[],
    }
}

/// An id that WhatsApp gave a person, as far as it tells one from a number.
static PERSON: AddressPattern = AddressPattern {
    name: "whatsapp_user",
    wanted: "an id of WhatsApp's own: two letters, a period, and up to 132 characters",
    admits: |endpoint| {
        let Endpoint::Id(id) = endpoint else { return false };
        let country = id.split_once('.').map(|(country, _)| country);
        (4..=135).contains(&id.len()) && country.is_some_and(|country| country.len() == 2)
    },
};

fn recipient_forms(channel: &Channel) -> Vec<AddressForm> {
    if *channel == Channel::MESSENGER {
        vec![AddressForm::Id]
    } else if *channel == Channel::WHATSAPP {
        vec![AddressForm::E164, AddressForm::Pattern(&PERSON)]
    } else {
        vec![AddressForm::E164]
    }
}

fn sender_forms(channel: &Channel) -> Vec<AddressForm> {
    if [Channel::MESSENGER, Channel::VIBER, Channel::RCS].contains(channel) {
        vec![AddressForm::Id]
    } else {
        vec![AddressForm::E164, AddressForm::ShortCode, AddressForm::Alphanumeric]
    }
}

/// An address of v0.1: an object with `id` or `number`.
fn party(
    name: &str,
    party: &Map<String, Value>,
    forms: &[AddressForm],
    found: &mut RequestFaults,
) -> Option<Endpoint> {
    let key = if forms.contains(&AddressForm::Id) { "id" } else { "number" };
    address(&format!("{name}.{key}"), party.get(key), forms, found)
}

fn address(
    name: &str,
    value: Option<&Value>,
    forms: &[AddressForm],
    found: &mut RequestFaults,
) -> Option<Endpoint> {
    let Some(text) = value.and_then(Value::as_str) else {
        return found.none(name, "is required, and must be a text.");
    };
    let endpoints = [Endpoint::Id(text.to_owned()), Endpoint::Number(text.to_owned())];
    let fits = |endpoint: &Endpoint| forms.iter().any(|form| form.admits(endpoint));
    let Some(endpoint) = endpoints.into_iter().find(fits) else {
        let wanted: Vec<_> = forms.iter().map(|form| form.describe()).collect();
        return found.none(name, &format!("must be {}.", wanted.join(" or ")));
    };
    Some(endpoint)
}

fn client_ref(body: &Map<String, Value>, most: usize, found: &mut RequestFaults) -> Option<String> {
    let text = optional_text("client_ref", body.get("client_ref"), found)?;
    if text.chars().count() > most {
        return found.none("client_ref", &format!("must not exceed {most} characters."));
    }
    Some(text)
}

fn optional_text(name: &str, value: Option<&Value>, found: &mut RequestFaults) -> Option<String> {
    match value? {
        Value::String(text) => Some(text.clone()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            found.none(name, "must be a text.")
        }
    }
}
