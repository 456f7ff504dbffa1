//! The Messages API v1: one flat object per message.
//!
//! Written from the OpenAPI document 1.11.0. Every message names its attempt as `client_ref`, asks
//! for status webhooks in the shape of v1 whatever the account is set to, and, where this service
//! has a public address, for their delivery there. What is of use for a while only has a `ttl` where the
//! channel has one.
//!
//! Vonage's own `failover` is not used: it knows no time limit and no `read`.

use serde_json::{Map, Value, json};

use dispatch_contract::{
    AdapterError, Channel, Content, ErrorKind, Fault, Media, Message, MessengerCategory, Retry,
    SendContext, SmsEncoding, UrlRules, ViberCategory, ViberOptions, WhatsAppPolicy, check_url,
};

use super::ttl::ttl_s;

/// Where messages are posted, under the account's base URL.
pub const PATH: &str = "/v1/messages";

/// The body of a send.
///
/// # Errors
/// For content that v1 has no words for; the channel's `check` refuses it when a workflow is
/// created, so an error here means a message that was never checked.
pub fn encode(context: &SendContext<'_>, message: &Message) -> Result<Value, AdapterError> {
    let mut body = Map::new();
    let kind = message.content.kind().as_str();
    body.insert("channel".into(), channel(&message.channel).into());
    body.insert("message_type".into(), kind.into());
    body.insert("to".into(), message.to.value().into());
    body.insert("from".into(), message.from.value().into());
    body.insert(kind.into(), payload(&message.content)?);
    body.insert("client_ref".into(), context.attempt.to_string().into());
    body.insert("webhook_version".into(), "v1".into());
    if let Some(url) = context.callback_url {
        body.insert("webhook_url".into(), url.into());
    }
    let ttl_s = ttl_s(context, message);
    if let Some((name, options)) = options(message, ttl_s) {
        body.insert(name.into(), options);
    }
    // Viber's stands among its options.
    if let Some(ttl_s) = ttl_s.filter(|_| message.channel != Channel::VIBER) {
        body.insert("ttl".into(), ttl_s.into());
    }
    Ok(Value::Object(body))
}

/// v1's name of a channel: its own for Viber, ours for every other.
fn channel(channel: &Channel) -> &str {
    if *channel == Channel::VIBER { "viber_service" } else { channel.as_str() }
}

fn payload(content: &Content) -> Result<Value, AdapterError> {
    match content {
        Content::Text(text) => Ok(text.as_str().into()),
        Content::Image(media)
        | Content::Audio(media)
        | Content::Video(media)
        | Content::File(media) => Ok(file(media)),
        Content::Template { name, parameters } => Ok(template(name, parameters)),
        Content::Custom(text) => custom(text),
        Content::Location { .. } => {
            Err(inexpressible("the provider takes a place only as custom content"))
        }
    }
}

/// The options of the message's channel, under the key that v1 has for them.
fn options(message: &Message, ttl_s: Option<u32>) -> Option<(&'static str, Value)> {
    let options = &message.options;
    if let Some(sms) = &options.sms {
        let encoding = match sms.encoding {
            SmsEncoding::Auto => "auto",
            SmsEncoding::Text => "text",
            SmsEncoding::Unicode => "unicode",
        };
        return Some(("sms", json!({ "encoding_type": encoding })));
    }
    if let Some(options) = messenger(message) {
        return Some(("messenger", options));
    }
    if let Some(options) = whatsapp(message) {
        return Some(("whatsapp", options));
    }
    viber(message, ttl_s).map(|options| ("viber_service", options))
}

pub(super) fn file(media: &Media) -> Value {
    let mut file = json!({ "url": url(&media.url) });
    if let Some(caption) = &media.caption {
        file["caption"] = caption.as_str().into();
    }
    file
}

/// In the form that every client reads alike: the scheme and the host in lower case, names beyond ASCII
/// encoded.
fn url(text: &str) -> String {
    check_url(text, UrlRules::PUBLIC).map_or_else(|_| text.to_owned(), String::from)
}

pub(super) fn template(name: &str, parameters: &[String]) -> Value {
    let mut template = json!({ "name": name });
    if !parameters.is_empty() {
        template["parameters"] = parameters.into();
    }
    template
}

pub(super) fn custom(text: &str) -> Result<Value, AdapterError> {
    match serde_json::from_str(text) {
        Ok(Value::Object(object)) => Ok(Value::Object(object)),
        Ok(_) | Err(_) => Err(inexpressible("custom content must be one JSON object")),
    }
}

pub(super) fn messenger(message: &Message) -> Option<Value> {
    let options = message.options.messenger.as_ref()?;
    let category = match options.category {
        MessengerCategory::Response => "response",
        MessengerCategory::Update => "update",
        MessengerCategory::MessageTag => "message_tag",
    };
    let mut value = json!({ "category": category });
    if let Some(tag) = &options.tag {
        value["tag"] = tag.as_str().into();
    }
    Some(value)
}

/// Only a template has a language; with other content the object has no place in the schema.
pub(super) fn whatsapp(message: &Message) -> Option<Value> {
    let options = message.options.whatsapp.as_ref()?;
    match message.content {
        Content::Template { .. } => {}
        Content::Text(_)
        | Content::Image(_)
        | Content::Audio(_)
        | Content::Video(_)
        | Content::File(_)
        | Content::Location { .. }
        | Content::Custom(_) => return None,
    }
    let policy = match options.policy {
        WhatsAppPolicy::Deterministic => "deterministic",
    };
    let mut value = json!({ "policy": policy });
    if let Some(locale) = &options.locale {
        value["locale"] = locale.as_str().into();
    }
    Some(value)
}

/// Viber's options, if it has any or is of use for a while only.
pub(super) fn viber(message: &Message, ttl_s: Option<u32>) -> Option<Value> {
    let given = message.options.viber.as_ref();
    if message.channel != Channel::VIBER || (given.is_none() && ttl_s.is_none()) {
        return None;
    }
    let mut value = json!({});
    if let Some(ViberOptions { category, action, .. }) = given {
        value["category"] = match category {
            ViberCategory::Transaction => "transaction",
            ViberCategory::Promotion => "promotion",
        }
        .into();
        if let Some(action) = action {
            value["action"] = json!({ "url": url(&action.url), "text": action.text });
        }
    }
    if let Some(ttl_s) = ttl_s {
        value["ttl"] = ttl_s.into();
    }
    Some(value)
}

fn inexpressible(problem: &str) -> AdapterError {
    AdapterError::new(ErrorKind::InvalidRequest, Fault::Content, Retry::Permanent, problem)
}
