//! The Messages API v0.1: the same three objects as a step of the old Dispatch API.
//!
//! Written from the OpenAPI document 0.4.0. It is spoken for accounts that are still set to it, and
//! it has fewer words than [`v1`]: no encoding of an SMS, no button, no caption but WhatsApp's and
//! MMS's, pictures only by MMS and only from a US short code, and no address for webhooks. What it
//! cannot say goes through v1, so that what the channels declare holds for every account.

use serde_json::{Map, Value, json};

use dispatch_contract::{
    AddressForm, Channel, Content, ContentKind, Endpoint, Message, Options, SendContext,
    SmsEncoding,
};

use super::v1;

/// Where messages are posted, under the account's base URL.
pub const PATH: &str = "/v0.1/messages";

/// The body of a send; `None` where v0.1 has no words for the message.
pub fn encode(context: &SendContext<'_>, message: &Message) -> Option<Value> {
    if !can_say(message) {
        return None;
    }
    let channel = message.channel.as_str();
    let mut said = Map::new();
    said.insert("content".into(), content(&message.content)?);
    if let Some(options) = options(message) {
        said.insert(channel.into(), options);
    }
    Some(json!({
        "to": party(channel, &message.to),
        "from": party(channel, &message.from),
        "message": said,
        "client_ref": context.attempt.to_string(),
    }))
}

fn can_say(message: &Message) -> bool {
    use ContentKind::{Audio, Custom, File, Image, Template, Text, Video};

    let kind = message.content.kind();
    let captioned = message.content.media().is_some_and(|media| media.caption.is_some());
    let Options { sms, viber, messenger: _, whatsapp: _ } = &message.options;
    let channel = &message.channel;
    if *channel == Channel::SMS {
        let detects = sms.as_ref().is_none_or(|sms| sms.encoding == SmsEncoding::Auto);
        kind == Text && detects
    } else if *channel == Channel::MMS {
        kind == Image && AddressForm::ShortCode.admits(&message.from)
    } else if *channel == Channel::MESSENGER {
        matches!(kind, Text | Image | Audio | Video | File) && !captioned
    } else if *channel == Channel::WHATSAPP {
        match kind {
            Text | Template | Custom | Image | File => true,
            Audio | Video => !captioned,
            ContentKind::Location => false,
        }
    } else if *channel == Channel::VIBER {
        let has_button = viber.as_ref().is_some_and(|viber| viber.action.is_some());
        matches!(kind, Text | Image) && !captioned && !has_button
    } else {
        false
    }
}

fn party(channel: &str, endpoint: &Endpoint) -> Value {
    match endpoint {
        Endpoint::Id(id) => json!({ "type": channel, "id": id }),
        Endpoint::Number(number) => json!({ "type": channel, "number": number }),
    }
}

fn content(content: &Content) -> Option<Value> {
    let kind = content.kind().as_str();
    let payload = match content {
        Content::Text(text) => text.as_str().into(),
        Content::Image(media)
        | Content::Audio(media)
        | Content::Video(media)
        | Content::File(media) => v1::file(media),
        Content::Template { name, parameters } => v1::template(name, parameters),
        // What is no object is left to v1, which says so.
        Content::Custom(text) => v1::custom(text).ok()?,
        Content::Location { .. } => return None,
    };
    let mut value = json!({ "type": kind });
    value[kind] = payload;
    Some(value)
}

fn options(message: &Message) -> Option<Value> {
    v1::messenger(message)
        .or_else(|| v1::whatsapp(message))
        .or_else(|| message.options.viber.as_ref().map(v1::viber))
}
