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
    AdapterError, Channel, Content, ContentKind, ErrorKind, Fault, Media, Message, Retry,
    SendContext, UrlRules, check_url,
};
use dispatch_messenger::MessengerOptions;
use dispatch_rcs::RcsOptions;
use dispatch_sms::SmsOptions;
use dispatch_viber::ViberOptions;
use dispatch_whatsapp::WhatsAppOptions;

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
    let (kind, payload) = said(message)?;
    body.insert("channel".into(), channel(&message.channel).into());
    body.insert("message_type".into(), kind.into());
    body.insert("to".into(), message.to.value().into());
    body.insert("from".into(), message.from.value().into());
    body.insert(kind.into(), payload);
    body.insert("client_ref".into(), context.attempt.to_string().into());
    // RCS has one shape only, and no word for it.
    if message.channel != Channel::RCS {
        body.insert("webhook_version".into(), "v1".into());
    }
    if let Some(url) = context.callback_url {
        body.insert("webhook_url".into(), url.into());
    }
    let ttl_s = ttl_s(context, message);
    if let Some((name, options)) = options(message, ttl_s)? {
        body.insert(name.into(), options);
    }
    if message.channel == Channel::WHATSAPP
        && let Some(answered) = read::<WhatsAppOptions>(message)?.reply_to
    {
        body.insert("context".into(), json!({ "message_uuid": answered }));
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

/// What the message says, under the kind that v1 has for it.
fn said(message: &Message) -> Result<(&'static str, Value), AdapterError> {
    let payload = match &message.content {
        Content::Text(text) => text.as_str().into(),
        Content::Image(media) | Content::Audio(media) => file(media),
        Content::Video(media) => video(message, media)?,
        Content::File(media) => named(message, media)?,
        Content::Template { name, parameters } => template(name, parameters),
        Content::Custom(text) => custom(text)?,
        Content::Code { code, .. } if message.channel == Channel::WHATSAPP => {
            return Ok((ContentKind::Custom.as_str(), authentication(message, code)?));
        }
        Content::Code { .. } => {
            let text = message.content.spoken().unwrap_or_default();
            return Ok((ContentKind::Text.as_str(), text.into()));
        }
        Content::Location { .. } => {
            return Err(inexpressible("the provider takes a place only as custom content"));
        }
    };
    Ok((message.content.kind().as_str(), payload))
}

/// A video; Viber's has a preview.
fn video(message: &Message, media: &Media) -> Result<Value, AdapterError> {
    let mut video = file(media);
    if message.channel == Channel::VIBER
        && let Some(of_video) = read::<ViberOptions>(message)?.video
    {
        video["thumb_url"] = url(&of_video.preview_url).into();
        // The description asks for them here, describes them among the options, and shows both.
        video["duration"] = of_video.duration_s.to_string().into();
        video["file_size"] = of_video.size_mb.to_string().into();
    }
    Ok(video)
}

/// A file, which has a name on some channels.
fn named(message: &Message, media: &Media) -> Result<Value, AdapterError> {
    let name = match &message.channel {
        channel if *channel == Channel::VIBER => read::<ViberOptions>(message)?.file_name,
        channel if *channel == Channel::WHATSAPP => read::<WhatsAppOptions>(message)?.file_name,
        _ => None,
    };
    let mut file = file(media);
    if let Some(name) = name {
        file["name"] = name.into();
    }
    Ok(file)
}

/// An authentication template, in the words of WhatsApp's own API: the code stands in the sentence, and behind
/// the button that copies it.
fn authentication(message: &Message, code: &str) -> Result<Value, AdapterError> {
    let options = read::<WhatsAppOptions>(message)?;
    let (Some(name), Some(locale)) = (options.code_template, options.locale) else {
        return Err(inexpressible("a code on WhatsApp needs a template and its language"));
    };
    let parameters = json!([{ "type": "text", "text": code }]);
    Ok(json!({
        "type": "template",
        "template": {
            "name": name,
            // WhatsApp writes it with an underscore.
            "language": { "policy": "deterministic", "code": locale.replace('-', "_") },
            "components": [
                { "type": "body", "parameters": parameters },
                { "type": "button", "sub_type": "url", "index": "0", "parameters": parameters },
            ],
        },
    }))
}

/// The options as the channel's own type.
fn read<T: serde::de::DeserializeOwned + Default>(message: &Message) -> Result<T, AdapterError> {
    let read = message.options.read();
    read.ok_or_else(|| inexpressible("the options are not the channel's own"))
}

/// The options of the message's channel, under the key that v1 has for them.
fn options(
    message: &Message,
    ttl_s: Option<u32>,
) -> Result<Option<(&'static str, Value)>, AdapterError> {
    let channel = &message.channel;
    let of = |key: &'static str, options: Option<Value>| options.map(|options| (key, options));
    Ok(if *channel == Channel::SMS {
        of("sms", sms(message)?)
    } else if *channel == Channel::MESSENGER {
        of("messenger", messenger(message)?)
    } else if *channel == Channel::WHATSAPP {
        of("whatsapp", whatsapp(message)?)
    } else if *channel == Channel::VIBER {
        of("viber_service", viber(message, ttl_s)?)
    } else if *channel == Channel::RCS {
        let RcsOptions { category, ttl_s: _ } = read(message)?;
        category.map(|category| ("rcs", json!({ "category": category })))
    } else {
        None
    })
}

fn sms(message: &Message) -> Result<Option<Value>, AdapterError> {
    let SmsOptions { encoding, content_id, entity_id, ttl_s: _ } = read(message)?;
    let mut value = Map::new();
    if let Some(encoding) = encoding {
        value.insert("encoding_type".into(), json!(encoding));
    }
    for (key, id) in [("content_id", content_id), ("entity_id", entity_id)] {
        if let Some(id) = id {
            value.insert(key.into(), id.into());
        }
    }
    Ok((!value.is_empty()).then_some(Value::Object(value)))
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

pub(super) fn messenger(message: &Message) -> Result<Option<Value>, AdapterError> {
    if message.options.is_none() {
        return Ok(None);
    }
    let MessengerOptions { category, tag } = read(message)?;
    let mut value = json!({ "category": category.unwrap_or_default() });
    if let Some(tag) = tag {
        value["tag"] = tag.into();
    }
    Ok(Some(value))
}

/// Only a template has a language; with other content the object has no place in the schema.
pub(super) fn whatsapp(message: &Message) -> Result<Option<Value>, AdapterError> {
    if message.content.kind() != ContentKind::Template || message.options.is_none() {
        return Ok(None);
    }
    let WhatsAppOptions { policy, locale, .. } = read(message)?;
    let mut value = json!({ "policy": policy.unwrap_or_default() });
    if let Some(locale) = locale {
        value["locale"] = locale.into();
    }
    Ok(Some(value))
}

/// Viber's options, if it has any or is of use for a while only.
pub(super) fn viber(message: &Message, ttl_s: Option<u32>) -> Result<Option<Value>, AdapterError> {
    let mut value = Map::new();
    if !message.options.is_none() {
        let ViberOptions { category, action, video, text_type, file_name: _, ttl_s: _ } =
            read(message)?;
        value.insert("category".into(), json!(category.unwrap_or_default()));
        if let Some(action) = action {
            let action = json!({ "url": url(&action.url), "text": action.text });
            value.insert("action".into(), action);
        }
        if let Some(video) = video {
            // Numbers in texts, as the provider describes them.
            value.insert("duration".into(), video.duration_s.to_string().into());
            value.insert("file_size".into(), video.size_mb.to_string().into());
        }
        if let Some(text_type) = text_type {
            value.insert("type".into(), text_type.into());
        }
    }
    if let Some(ttl_s) = ttl_s {
        value.insert("ttl".into(), ttl_s.into());
    }
    Ok((!value.is_empty()).then_some(Value::Object(value)))
}

fn inexpressible(problem: &str) -> AdapterError {
    AdapterError::new(ErrorKind::InvalidRequest, Fault::Content, Retry::Permanent, problem)
}
