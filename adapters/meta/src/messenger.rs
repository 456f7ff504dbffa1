//! Messenger through Meta's Graph API: from a page to a person who wrote to it.
//!
//! A sender is the page's id, a recipient the id that Facebook gave the person for that page. There is no form
//! of its own for a caption, a place or a code: a code goes out as its sentence. What the platform calls utility
//! messages has a form of its own that is not known here, and is not sent.
//!
//! Our attempt id goes along as `metadata`, which stands in the echo of a message alone: what was delivered is
//! told by the provider's ids.

use std::sync::Arc;

use dispatch_contract::{
    AdapterError, AddressForm, AddressPattern, Capabilities, Content, Endpoint, Media, Message,
    SendContext, Status,
};
use dispatch_messenger::{MessengerAdapter, MessengerCategory, MessengerOptions};
use serde_json::{Value, json};

use crate::{
    MetaGateway,
    account::is_id,
    graph::{inexpressible, link},
};

/// A page's id: what stands in the path of a call.
static PAGE: AddressPattern = AddressPattern {
    name: "page",
    wanted: "a page's id, of 7 to 32 digits",
    admits: |endpoint| matches!(endpoint, Endpoint::Id(id) if is_id(id)),
};

/// The adapter `meta-messenger`.
pub(crate) fn adapter(gateway: &Arc<MetaGateway>) -> MessengerAdapter {
    MessengerAdapter::through(Arc::clone(gateway) as _)
}

/// Reads are told only as a watermark by page and person, which names no message; an answer names the message that it
/// quotes.
pub(crate) fn capabilities(mut can: Capabilities) -> Capabilities {
    can.condition_statuses.push(Status::Replied);
    Capabilities { from: vec![AddressForm::Pattern(&PAGE)], watermarks: true, ..can }
}

/// The body of a send.
///
/// # Errors
/// For what the channel's `check` refuses when a workflow is created, so an error here means a message that was
/// never checked.
pub(crate) fn encode(context: &SendContext<'_>, message: &Message) -> Result<Value, AdapterError> {
    let options: MessengerOptions = message
        .options
        .read()
        .ok_or_else(|| inexpressible("the options are not the channel's own"))?;
    let mut said = said(&message.content)?;
    said["metadata"] = context.attempt.to_string().into();
    let kind = match options.category.unwrap_or_default() {
        MessengerCategory::Response => "RESPONSE",
        MessengerCategory::Update => "UPDATE",
        MessengerCategory::MessageTag => "MESSAGE_TAG",
    };
    let mut body = json!({
        "recipient": { "id": message.to.value() }, "messaging_type": kind, "message": said,
    });
    if let Some(tag) = options.tag {
        body["tag"] = tag.into();
    }
    Ok(body)
}

fn said(content: &Content) -> Result<Value, AdapterError> {
    let (kind, media) = match content {
        Content::Text(_) | Content::Code { .. } => {
            return Ok(json!({ "text": content.spoken().unwrap_or_default() }));
        }
        Content::Image(media) => ("image", media),
        Content::Audio(media) => ("audio", media),
        Content::Video(media) => ("video", media),
        Content::File(media) => ("file", media),
        Content::Location { .. } | Content::Template { .. } | Content::Custom(_) => {
            return Err(inexpressible("this kind of content is not sent on Messenger"));
        }
    };
    Ok(json!({ "attachment": { "type": kind, "payload": payload(media) } }))
}

fn payload(media: &Media) -> Value {
    json!({ "url": link(media), "is_reusable": false })
}

#[cfg(test)]
mod tests;
