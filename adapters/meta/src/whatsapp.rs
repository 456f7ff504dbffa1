//! WhatsApp through Meta's Cloud API.
//!
//! A sender is the number that people see, or the id that Meta gave to it; a recipient is a number, or the id
//! that WhatsApp gave a person. A template's name is bare, its language exactly the one asked for. Custom content
//! is handed over as it is, with the recipient that is set here.

use std::sync::Arc;

use dispatch_contract::{
    AdapterError, AddressForm, AddressPattern, Capabilities, Content, Correlation, Endpoint, Field,
    Limits, Media, Message, SendContext, Violation,
};
use dispatch_whatsapp::{WhatsAppAdapter, WhatsAppOptions};
use serde_json::{Map, Value, json};

use crate::{
    MetaGateway,
    account::is_id,
    graph::{inexpressible, link},
};

/// The id that Meta gave to a number: what stands in the path of a call, and what a tenant who brings a number
/// knows of it.
static NUMBER_ID: AddressPattern = AddressPattern {
    name: "whatsapp_number_id",
    wanted: "the id that Meta gave to a number, of 7 to 32 digits",
    admits: |endpoint| matches!(endpoint, Endpoint::Id(id) if is_id(id)),
};

/// The adapter `meta-whatsapp`.
pub(crate) fn adapter(gateway: &Arc<MetaGateway>) -> WhatsAppAdapter {
    WhatsAppAdapter::through(Arc::clone(gateway) as _)
}

/// WhatsApp repeats our attempt id (`biz_opaque_callback_data`) in every status. Its own id of a message, `wamid.` and
/// base64, has the recipient's number in it.
pub(crate) fn capabilities(can: Capabilities) -> Capabilities {
    let mut from = can.from;
    from.push(AddressForm::Pattern(&NUMBER_ID));
    let limits = Limits { caption_chars: 1_024, ..can.limits };
    let correlation = Correlation::AttemptId;
    Capabilities { from, limits, correlation, ids_name_recipients: true, ..can }
}

/// What Meta would refuse beyond the channel's rules. Custom content is passed through, so all that can be said
/// of it is that it is an object.
pub(crate) fn check(message: &Message) -> Vec<Violation> {
    const BARE: &str = "must be the template's bare name: lower-case letters, digits and _";
    let mut found = Vec::new();
    match &message.content {
        Content::Template { name, .. } if !is_template(name) => {
            found.push(Violation::new(Field::Within("template.name"), BARE));
        }
        Content::Custom(text) if custom(text).is_none() => {
            found.push(Violation::new(Field::Within("custom"), "must be one JSON object"));
        }
        Content::Text(_)
        | Content::Image(_)
        | Content::Audio(_)
        | Content::Video(_)
        | Content::File(_)
        | Content::Location { .. }
        | Content::Template { .. }
        | Content::Code { .. }
        | Content::Custom(_) => {}
    }
    let options: Option<WhatsAppOptions> = message.options.read();
    let of_code = options.and_then(|options| options.code_template);
    if of_code.is_some_and(|name| !is_template(&name)) {
        found.push(Violation::new(Field::Option("code_template"), BARE));
    }
    found
}

fn is_template(name: &str) -> bool {
    let is_part = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    (1..=512).contains(&name.len()) && name.bytes().all(is_part)
}

/// The body of a send.
///
/// # Errors
/// For what the channel's `check` refuses when a workflow is created, so an error here means a message that was
/// never checked.
pub(crate) fn encode(context: &SendContext<'_>, message: &Message) -> Result<Value, AdapterError> {
    let options: WhatsAppOptions = message
        .options
        .read()
        .ok_or_else(|| inexpressible("the options are not the channel's own"))?;
    let mut body = content(message, &options)?;
    body.insert("messaging_product".into(), "whatsapp".into());
    body.insert("recipient_type".into(), "individual".into());
    match &message.to {
        Endpoint::Number(number) => body.insert("to".into(), number.as_str().into()),
        Endpoint::Id(id) => body.insert("recipient".into(), id.as_str().into()),
    };
    if let Some(answered) = options.reply_to {
        body.insert("context".into(), json!({ "message_id": answered }));
    }
    body.insert("biz_opaque_callback_data".into(), context.attempt.to_string().into());
    Ok(Value::Object(body))
}

/// What the message says, as its type and the object under that name.
fn content(
    message: &Message,
    options: &WhatsAppOptions,
) -> Result<Map<String, Value>, AdapterError> {
    let (kind, said) = match &message.content {
        Content::Text(text) => ("text", json!({ "body": text })),
        Content::Image(media) => ("image", file(media)),
        Content::Audio(media) => ("audio", file(media)),
        Content::Video(media) => ("video", file(media)),
        Content::File(media) => {
            let mut file = file(media);
            if let Some(name) = &options.file_name {
                file["filename"] = name.as_str().into();
            }
            ("document", file)
        }
        Content::Location { latitude, longitude, name, address } => {
            ("location", location(latitude, longitude, name.as_deref(), address.as_deref())?)
        }
        Content::Template { name, parameters } => {
            let parameters: Vec<_> = parameters.iter().map(|text| parameter(text)).collect();
            let body = json!({ "type": "body", "parameters": parameters });
            let components = if parameters.is_empty() { vec![] } else { vec![body] };
            ("template", template(name, options, components)?)
        }
        // The code stands in the sentence, and behind the button that copies it.
        Content::Code { code, .. } => {
            let name = options.code_template.as_deref();
            let name = name.ok_or_else(|| inexpressible("a code on WhatsApp needs a template"))?;
            let parameters = [parameter(code)];
            let components = vec![
                json!({ "type": "body", "parameters": parameters }),
                json!({ "type": "button", "sub_type": "url", "index": "0", "parameters": parameters }),
            ];
            ("template", template(name, options, components)?)
        }
        Content::Custom(text) => {
            return custom(text)
                .ok_or_else(|| inexpressible("custom content must be one JSON object"));
        }
    };
    Ok([("type".to_owned(), kind.into()), (kind.to_owned(), said)].into_iter().collect())
}

fn parameter(text: &str) -> Value {
    json!({ "type": "text", "text": text })
}

fn template(
    name: &str,
    options: &WhatsAppOptions,
    components: Vec<Value>,
) -> Result<Value, AdapterError> {
    let locale = options.locale.as_deref();
    let locale = locale.ok_or_else(|| inexpressible("a template needs its language"))?;
    // WhatsApp writes it with an underscore.
    let language = json!({ "policy": "deterministic", "code": locale.replace('-', "_") });
    let mut template = json!({ "name": name, "language": language });
    if !components.is_empty() {
        template["components"] = components.into();
    }
    Ok(template)
}

fn file(media: &Media) -> Value {
    let mut file = json!({ "link": link(media) });
    if let Some(caption) = &media.caption {
        file["caption"] = caption.as_str().into();
    }
    file
}

fn location(
    latitude: &str,
    longitude: &str,
    name: Option<&str>,
    address: Option<&str>,
) -> Result<Value, AdapterError> {
    let degrees = |text: &str| {
        let number: Option<f64> = text.parse().ok();
        number.ok_or_else(|| inexpressible("a place's degrees must be decimal numbers"))
    };
    let mut place = json!({ "latitude": degrees(latitude)?, "longitude": degrees(longitude)? });
    for (key, text) in [("name", name), ("address", address)] {
        if let Some(text) = text {
            place[key] = text.into();
        }
    }
    Ok(place)
}

fn custom(text: &str) -> Option<Map<String, Value>> {
    match serde_json::from_str(text) {
        Ok(Value::Object(object)) => Some(object),
        Ok(_) | Err(_) => None,
    }
}

#[cfg(test)]
mod tests;
