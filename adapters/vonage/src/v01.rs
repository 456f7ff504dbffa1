//! The Messages API v0.1: the same three objects as a step of the old Dispatch API.
//!
//! Written from the OpenAPI document 0.4.0. It is spoken for accounts that are still set to it, and
//! it has fewer words than [`v1`]: no RCS, no encoding, registration and time to live of an SMS or MMS, no button, no answer, no
//! caption but WhatsApp's, no id of a person there, no custom content, only pictures by MMS, and those from a US short code, and
//! no address for webhooks. What it cannot say goes through v1, so that what the channels declare holds
//! for every account.

use serde_json::{Map, Value, json};

use dispatch_contract::{
    AdapterError, AddressForm, Channel, Content, ContentKind, Endpoint, Message, SendContext,
};
use dispatch_sms::{SmsEncoding, SmsOptions};
use dispatch_viber::ViberOptions;
use dispatch_whatsapp::WhatsAppOptions;

use super::{ttl::ttl_s, v1};

/// Where messages are posted, under the account's base URL.
pub const PATH: &str = "/v0.1/messages";

/// The body of a send; `None` where v0.1 has no words for the message.
pub fn encode(context: &SendContext<'_>, message: &Message) -> Option<Value> {
    let ttl_s = ttl_s(context, message);
    if !can_say(message, ttl_s) {
        return None;
    }
    let channel = message.channel.as_str();
    let mut said = Map::new();
    said.insert("content".into(), content(&message.content)?);
    // What is unreadable is refused by v1.
    if let Some(options) = options(message, ttl_s).ok()? {
        said.insert(channel.into(), options);
    }
    Some(json!({
        "to": party(channel, &message.to),
        "from": party(channel, &message.from),
        "message": said,
        "client_ref": context.attempt.to_string(),
    }))
}

fn can_say(message: &Message, ttl_s: Option<u32>) -> bool {
    use ContentKind::{Audio, Code, Custom, File, Image, Location, Template, Text, Video};

    let kind = message.content.kind();
    let captioned = message.content.media().is_some_and(|media| media.caption.is_some());
    let channel = &message.channel;
    if *channel == Channel::SMS {
        let options = message.options.read::<SmsOptions>();
        let detects = options.is_some_and(|it| {
            let is_registered = it.content_id.is_some() || it.entity_id.is_some();
            it.encoding.unwrap_or_default() == SmsEncoding::Auto && !is_registered
        });
        kind == Text && detects && ttl_s.is_none()
    } else if *channel == Channel::MMS {
        let is_short = AddressForm::ShortCode.admits(&message.from);
        kind == Image && is_short && !captioned && ttl_s.is_none()
    } else if *channel == Channel::MESSENGER {
        matches!(kind, Text | Image | Audio | Video | File) && !captioned
    } else if *channel == Channel::WHATSAPP {
        // Ids of persons are younger than v0.1.
        let has_number = matches!(message.to, Endpoint::Number(_));
        let options = message.options.read::<WhatsAppOptions>();
        let is_plain = options.is_some_and(|it| it.reply_to.is_none() && it.file_name.is_none());
        has_number
            && is_plain
            && match kind {
                Text | Template | Image | File => true,
                Audio | Video => !captioned,
                Code | Custom | Location => false,
            }
    } else if *channel == Channel::VIBER {
        let options = message.options.read::<ViberOptions>();
        let has_button = options.is_none_or(|viber| viber.action.is_some());
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
        Content::Code { .. } | Content::Custom(_) | Content::Location { .. } => return None,
    };
    let mut value = json!({ "type": kind });
    value[kind] = payload;
    Some(value)
}

fn options(message: &Message, ttl_s: Option<u32>) -> Result<Option<Value>, AdapterError> {
    let channel = &message.channel;
    match channel {
        _ if *channel == Channel::MESSENGER => v1::messenger(message),
        _ if *channel == Channel::WHATSAPP => v1::whatsapp(message),
        _ if *channel == Channel::VIBER => v1::viber(message, ttl_s),
        _ => Ok(None),
    }
}
