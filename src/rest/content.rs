//! What a message says and its channel's options, as both old APIs write them.
//!
//! The Messages API v0.1, which Dispatch is built on, keeps content in an object of its own, v1 at the
//! top; within, they are the same. How long things may be and what a channel sends is judged behind
//! this, where gRPC's requests are judged.

use prost_types::{ListValue, Struct, Value as ProtoValue, value::Kind};
use serde_json::{Map, Value};

use super::{
    diagnostics::{Diagnostics, kind_of},
    json_cursor::JsonCursor,
};
use crate::pb::v1::{self, message::Content};

/// The kinds of content, which name the key of their payload too.
pub(super) const KINDS: [&str; 7] =
    ["text", "image", "audio", "video", "file", "template", "custom"];
/// The whole numbers that a double holds exactly.
const EXACT: u64 = 1 << 53;

/// The content in `cursor`, whose kind stands under `kind_key`.
pub(super) fn content(
    cursor: &JsonCursor<'_>,
    kind_key: &str,
    diagnostics: &mut Diagnostics,
) -> Option<Content> {
    let Some(named) = cursor.text(kind_key, diagnostics) else {
        if cursor.get(kind_key).is_none() {
            diagnostics.wrong(cursor.name(kind_key), format!("must be given: {}", one_of()));
        }
        return None;
    };
    let kind = if named == "img" {
        diagnostics.coerced(&cursor.name(kind_key), "is img and was taken as image; write image");
        "image"
    } else {
        named
    };
    for other in KINDS.iter().filter(|other| **other != kind && cursor.get(other).is_some()) {
        let advice = format!("belongs to {kind_key} {other} and was left out");
        diagnostics.coerced(&cursor.name(other), &advice);
    }
    let content = match kind {
        "text" => cursor.text("text", diagnostics).map(|text| Content::Text(text.to_owned())),
        "image" => media(cursor, kind, diagnostics)
            .map(|(url, caption)| Content::Image(v1::Image { url, caption })),
        "audio" => media(cursor, kind, diagnostics)
            .map(|(url, caption)| Content::Audio(v1::Audio { url, caption })),
        "video" => media(cursor, kind, diagnostics)
            .map(|(url, caption)| Content::Video(v1::Video { url, caption })),
        "file" => media(cursor, kind, diagnostics)
            .map(|(url, caption)| Content::File(v1::File { url, caption })),
        "template" => template(cursor, diagnostics).map(Content::Template),
        "custom" => custom(cursor, diagnostics).map(Content::Custom),
        _ => {
            diagnostics.wrong(cursor.name(kind_key), format!("must be {}", one_of()));
            return None;
        }
    };
    if cursor.get(kind).is_none() {
        diagnostics.wrong(cursor.name(kind), "must be given: what the message says");
    }
    content
}

fn one_of() -> String {
    format!("one of {}", KINDS.join(", "))
}

fn media(
    cursor: &JsonCursor<'_>,
    kind: &str,
    diagnostics: &mut Diagnostics,
) -> Option<(String, String)> {
    let media = cursor.object(kind, diagnostics)?;
    media.only(&["url", "caption", "name", "thumb_url"], diagnostics);
    media.without_effect(&["name", "thumb_url"], diagnostics);
    let url = media.text("url", diagnostics).unwrap_or_default();
    let caption = media.text("caption", diagnostics).unwrap_or_default();
    Some((url.to_owned(), caption.to_owned()))
}

/// Parameters are strings, or `{"default": …}` objects as Dispatch first had them.
fn template(cursor: &JsonCursor<'_>, diagnostics: &mut Diagnostics) -> Option<v1::Template> {
    let template = cursor.object("template", diagnostics)?;
    template.only(&["name", "parameters"], diagnostics);
    let name = template.text("name", diagnostics).unwrap_or_default().to_owned();
    let mut parameters = Vec::new();
    for (index, item) in
        template.items("parameters", diagnostics).unwrap_or_default().iter().enumerate()
    {
        let path = template.name(&format!("parameters[{index}]"));
        match item {
            Value::String(text) => parameters.push(text.clone()),
            Value::Object(_) => {
                let parameter = JsonCursor::at(item, path, diagnostics)?;
                parameter.only(&["default"], diagnostics);
                let text = parameter.text("default", diagnostics);
                if parameter.get("default").is_none() {
                    diagnostics
                        .wrong(parameter.name("default"), "must be given: what fills the blank");
                }
                parameters.push(text.unwrap_or_default().to_owned());
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => {
                let wanted = "must be a string, or an object with a string `default`";
                diagnostics.wrong(path, format!("{wanted}, and is {}", kind_of(item)));
            }
        }
    }
    Some(v1::Template { name, parameters })
}

fn custom(cursor: &JsonCursor<'_>, diagnostics: &mut Diagnostics) -> Option<Struct> {
    let Some(Value::Object(object)) = cursor.get("custom") else {
        cursor.object("custom", diagnostics);
        return None;
    };
    let passed = structure(object);
    if passed.is_none() {
        let wanted = "must hold whole numbers below 2^53 only; write larger ones as strings";
        diagnostics.wrong(cursor.name("custom"), wanted);
    }
    passed
}

fn structure(object: &Map<String, Value>) -> Option<Struct> {
    let fields = object.iter().map(|(key, value)| Some((key.clone(), passed(value)?)));
    Some(Struct { fields: fields.collect::<Option<_>>()? })
}

/// The value, unless it holds a number that would arrive as another.
fn passed(value: &Value) -> Option<ProtoValue> {
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(truth) => Kind::BoolValue(*truth),
        Value::Number(number) => {
            let is_exact = number.as_i64().map(i64::unsigned_abs).or(number.as_u64());
            if is_exact.is_some_and(|size| size >= EXACT) {
                return None;
            }
            Kind::NumberValue(number.as_f64()?)
        }
        Value::String(text) => Kind::StringValue(text.clone()),
        Value::Array(items) => {
            Kind::ListValue(ListValue { values: items.iter().map(passed).collect::<Option<_>>()? })
        }
        Value::Object(object) => Kind::StructValue(structure(object)?),
    };
    Some(ProtoValue { kind: Some(kind) })
}

/// Messenger's options.
pub(super) fn messenger(
    cursor: &JsonCursor<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<v1::MessengerOptions> {
    use v1::MessengerCategory::{MessageTag, Response, Unspecified, Update};
    let options = cursor.object("messenger", diagnostics)?;
    options.only(&["category", "tag"], diagnostics);
    let categories = [("response", Response), ("update", Update), ("message_tag", MessageTag)];
    let category = options.one_of("category", &categories, diagnostics).unwrap_or(Unspecified);
    let mut tag = options.text("tag", diagnostics).unwrap_or_default();
    if category != MessageTag && !tag.is_empty() {
        let advice = "belongs to category message_tag and was left out";
        diagnostics.coerced(&options.name("tag"), advice);
        tag = "";
    }
    Some(v1::MessengerOptions { category: category as i32, tag: tag.to_owned() })
}

/// WhatsApp's options.
pub(super) fn whatsapp(
    cursor: &JsonCursor<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<v1::WhatsAppOptions> {
    let options = cursor.object("whatsapp", diagnostics)?;
    options.only(&["policy", "locale"], diagnostics);
    // The other there was, `fallback`, was retired by WhatsApp in January 2020.
    let policies = [("deterministic", v1::WhatsAppPolicy::Deterministic)];
    let policy = options.one_of("policy", &policies, diagnostics).unwrap_or_default();
    let locale = options.text("locale", diagnostics).unwrap_or_default().to_owned();
    let code_template = String::new();
    Some(v1::WhatsAppOptions { policy: policy as i32, locale, code_template })
}

/// Viber's options, under the key that each API has for them.
pub(super) fn viber(
    cursor: &JsonCursor<'_>,
    key: &str,
    diagnostics: &mut Diagnostics,
) -> Option<v1::ViberServiceMsgOptions> {
    use v1::ViberCategory::{Promotion, Transaction};
    let options = cursor.object(key, diagnostics)?;
    options.only(&["category", "ttl", "action", "type", "duration", "file_size"], diagnostics);
    options.without_effect(&["type", "duration", "file_size"], diagnostics);
    let categories = [("transaction", Transaction), ("promotion", Promotion)];
    let category = options.one_of("category", &categories, diagnostics).unwrap_or_default();
    let ttl = options.seconds("ttl", None, diagnostics);
    let action = options.object("action", diagnostics).map(|action| {
        action.only(&["url", "text"], diagnostics);
        v1::ViberAction {
            url: action.text("url", diagnostics).unwrap_or_default().to_owned(),
            text: action.text("text", diagnostics).unwrap_or_default().to_owned(),
        }
    });
    Some(v1::ViberServiceMsgOptions { category: category as i32, ttl: ttl.map(seconds), action })
}

/// An SMS's options; v1 only.
pub(super) fn sms(
    cursor: &JsonCursor<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<v1::SmsOptions> {
    use v1::SmsEncoding::{Auto, Text, Unicode};
    let options = cursor.object("sms", diagnostics)?;
    options.only(&["encoding_type", "content_id", "entity_id"], diagnostics);
    options.without_effect(&["content_id", "entity_id"], diagnostics);
    let encodings = [("text", Text), ("unicode", Unicode), ("auto", Auto)];
    let encoding = options.one_of("encoding_type", &encodings, diagnostics).unwrap_or_default();
    Some(v1::SmsOptions { encoding: encoding as i32, ttl: None })
}

/// An RCS message's options; v1 only.
pub(super) fn rcs(
    cursor: &JsonCursor<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<v1::RcsOptions> {
    use v1::RcsCategory::{
        Acknowledgement, Authentication, Promotion, ServiceRequest, Transaction,
    };
    let options = cursor.object("rcs", diagnostics)?;
    options.only(&["category"], diagnostics);
    let categories = [
        ("authentication", Authentication),
        ("transaction", Transaction),
        ("promotion", Promotion),
        ("service-request", ServiceRequest),
        ("acknowledgement", Acknowledgement),
    ];
    let category = options.one_of("category", &categories, diagnostics).unwrap_or_default();
    Some(v1::RcsOptions { category: category as i32, ttl: None })
}

/// So many seconds; more than the type holds is refused behind this, as any other too many.
pub(super) fn seconds(seconds: u64) -> prost_types::Duration {
    prost_types::Duration { seconds: i64::try_from(seconds).unwrap_or(i64::MAX), nanos: 0 }
}
