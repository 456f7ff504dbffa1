//! What a person wrote, as its receiver knows it: the inbound message of Messages v0.1, or of v1.
//!
//! Both have one content a message. Of several they are told a file or a place before a text, which is then the file's
//! caption, and both before what only its provider has words for; `parts`, which is ours, has all of them. What a
//! provider charges for a message, and in how many pieces it came, is not told.

use dispatch_contract::{Channel, Content, Media};
use serde_json::{Map, Number, Value, json};

use crate::{
    access::PayloadVersion,
    callbacks::render::words::{endpoint, object, timestamp, v1_channel},
    engine::{QuotedMessage, ReceivedMessage},
    machine::{WorkflowId, message_uuid},
};

/// The body that tells of `message`: compact JSON.
pub(in crate::callbacks) fn inbound(
    message: &ReceivedMessage,
    version: PayloadVersion,
) -> Option<Vec<u8>> {
    let mut body = match version {
        PayloadVersion::V01 => v01(message),
        PayloadVersion::V1 => v1(message),
    };
    let at = message.provider_time.unwrap_or(message.create_time);
    body.insert("timestamp".to_owned(), timestamp(at).into());
    let parts: Vec<_> = message.content.iter().map(|part| part_of(part, None, version)).collect();
    body.insert("parts".to_owned(), parts.into_iter().map(Value::Object).collect());
    serde_json::to_vec(&body).ok()
}

fn v01(message: &ReceivedMessage) -> Map<String, Value> {
    let (main, caption) = main(&message.content);
    let mut said = Map::new();
    said.insert("content".to_owned(), part_of_main(main, caption, PayloadVersion::V01).into());
    if let Some(quoted) = quoted_uuid(message) {
        said.insert("context".to_owned(), json!({ "message_uuid": quoted }));
    }
    let mut body = object(json!({
        "message_uuid": message.id.to_string(),
        "to": endpoint(&message.channel, &message.to),
        "from": endpoint(&message.channel, &message.from),
        "message": said,
    }));
    if let Some(quoted) = &message.quoted {
        let id = quoted.attempt.workflow.to_string();
        let link = json!({ "dispatch_uuid": id, "href": format!("/v0.1/dispatch/{id}") });
        body.insert("_links".to_owned(), json!({ "workflow": link }));
    }
    body
}

fn v1(message: &ReceivedMessage) -> Map<String, Value> {
    let (main, caption) = main(&message.content);
    let mut body = part_of_main(main, caption, PayloadVersion::V1);
    let kind = body.remove("type").unwrap_or_default();
    body.insert("message_type".to_owned(), kind);
    body.insert("message_uuid".to_owned(), message.id.to_string().into());
    body.insert("channel".to_owned(), v1_channel(&message.channel).into());
    body.insert("to".to_owned(), message.to.value().into());
    body.insert("from".to_owned(), message.from.value().into());
    // The one channel that has it.
    if message.channel == Channel::WHATSAPP {
        let status = match (&message.quoted, &message.quoted_id) {
            (Some(_), _) => "available",
            (None, Some(_)) => "unavailable",
            (None, None) => "none",
        };
        body.insert("context_status".to_owned(), status.into());
    }
    if let Some(quoted) = quoted_uuid(message) {
        let context = json!({ "message_uuid": quoted, "message_from": message.to.value() });
        body.insert("context".to_owned(), context);
    }
    if let Some(QuotedMessage { attempt, step }) = &message.quoted {
        let (id, number) = (attempt.workflow.to_string(), (u16::from(*step) + 1).to_string());
        let workflow = json!({
            "workflow_id": id, "items_number": number, "id": id, "item_number": number,
        });
        body.insert("workflow".to_owned(), workflow);
    }
    body
}

/// What the message of ours is called outside that is quoted.
fn quoted_uuid(message: &ReceivedMessage) -> Option<String> {
    let QuotedMessage { attempt, step } = message.quoted.as_ref()?;
    Some(message_uuid(WorkflowId(attempt.workflow), *step).to_string())
}

/// What is told of several contents, and the text that is told as its caption.
fn main(content: &[Content]) -> (Option<&Content>, Option<&str>) {
    let text = content.iter().find(|part| matches!(part, Content::Text(_)));
    let is_shown = |part: &&Content| match part {
        Content::Image(_)
        | Content::Audio(_)
        | Content::Video(_)
        | Content::File(_)
        | Content::Location { .. } => true,
        Content::Text(_) | Content::Template { .. } | Content::Code { .. } | Content::Custom(_) => {
            false
        }
    };
    let main = content.iter().find(is_shown).or(text).or(content.first());
    let caption = match (main, text) {
        (Some(Content::Text(_)) | None, _) => None,
        (Some(_), Some(Content::Text(text))) => Some(text.as_str()),
        (Some(_), _) => None,
    };
    (main, caption)
}

fn part_of_main(
    main: Option<&Content>,
    caption: Option<&str>,
    version: PayloadVersion,
) -> Map<String, Value> {
    match main {
        Some(main) => part_of(main, caption, version),
        None => object(json!({ "type": "unsupported" })),
    }
}

/// A content under its type; `caption` stands in where it has none of its own.
fn part_of(part: &Content, caption: Option<&str>, version: PayloadVersion) -> Map<String, Value> {
    let file = |kind: &str, media: &Media| {
        let mut file = object(json!({ "url": media.url }));
        if let Some(caption) = media.caption.as_deref().or(caption) {
            file.insert("caption".to_owned(), caption.into());
        }
        typed(kind, file.into())
    };
    match part {
        Content::Text(text) => typed("text", text.as_str().into()),
        Content::Image(media) => file("image", media),
        Content::Audio(media) => file("audio", media),
        Content::Video(media) => file("video", media),
        Content::File(media) => file("file", media),
        Content::Location { latitude, longitude, name, address } => {
            let mut place = match version {
                PayloadVersion::V01 => json!({ "latitude": latitude, "longitude": longitude }),
                PayloadVersion::V1 => {
                    json!({ "lat": degrees(latitude), "long": degrees(longitude) })
                }
            };
            for (key, value) in [("name", name), ("address", address)] {
                if let Some(value) = value {
                    place[key] = value.as_str().into();
                }
            }
            typed("location", place)
        }
        Content::Custom(json) => {
            let custom: Value = serde_json::from_str(json).unwrap_or_default();
            object(json!({ "type": "unsupported", "custom": custom }))
        }
        // No provider tells these of a person.
        Content::Template { name, .. } => typed("template", json!({ "name": name })),
        Content::Code { code, .. } => typed("text", code.as_str().into()),
    }
}

fn typed(kind: &str, what: Value) -> Map<String, Value> {
    let mut typed = Map::new();
    typed.insert("type".to_owned(), kind.into());
    typed.insert(kind.to_owned(), what);
    typed
}

/// A decimal text as a number.
fn degrees(text: &str) -> Value {
    text.parse().ok().and_then(Number::from_f64).map_or(Value::Null, Value::Number)
}
