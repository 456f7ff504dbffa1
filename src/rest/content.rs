//! What a message says and its channel's options, as both old APIs write them.
//!
//! The Messages API v0.1, which Dispatch is built on, keeps content in an object of its own, v1 at the
//! top; within, they are the same. How long things may be and what a channel sends is judged behind
//! this, where gRPC's requests are judged.

use prost_types::{ListValue, Struct, Value as ProtoValue, value::Kind};
use serde_json::{Map, Value};

use super::{
    notes::{Notes, kind_of},
    place::Place,
};
use crate::pb::v1::{self, message::Content};

/// The kinds of content, which name the key of their payload too.
pub(super) const KINDS: [&str; 7] =
    ["text", "image", "audio", "video", "file", "template", "custom"];
/// The whole numbers that a double holds exactly.
const EXACT: u64 = 1 << 53;

/// The content in `place`, whose kind stands under `kind_key`.
pub(super) fn content(place: &Place<'_>, kind_key: &str, notes: &mut Notes) -> Option<Content> {
    let Some(named) = place.text(kind_key, notes) else {
        if place.get(kind_key).is_none() {
            notes.wrong(place.name(kind_key), format!("must be given: {}", one_of()));
        }
        return None;
    };
    let kind = if named == "img" {
        notes.bent(&place.name(kind_key), "is img and was taken as image; write image");
        "image"
    } else {
        named
    };
    for other in KINDS.iter().filter(|other| **other != kind && place.get(other).is_some()) {
        let advice = format!("belongs to {kind_key} {other} and was left out");
        notes.bent(&place.name(other), &advice);
    }
    let content = match kind {
        "text" => place.text("text", notes).map(|text| Content::Text(text.to_owned())),
        "image" => media(place, kind, notes)
            .map(|(url, caption)| Content::Image(v1::Image { url, caption })),
        "audio" => media(place, kind, notes)
            .map(|(url, caption)| Content::Audio(v1::Audio { url, caption })),
        "video" => media(place, kind, notes)
            .map(|(url, caption)| Content::Video(v1::Video { url, caption })),
        "file" => {
            media(place, kind, notes).map(|(url, caption)| Content::File(v1::File { url, caption }))
        }
        "template" => template(place, notes).map(Content::Template),
        "custom" => custom(place, notes).map(Content::Custom),
        _ => {
            notes.wrong(place.name(kind_key), format!("must be {}", one_of()));
            return None;
        }
    };
    if place.get(kind).is_none() {
        notes.wrong(place.name(kind), "must be given: what the message says");
    }
    content
}

fn one_of() -> String {
    format!("one of {}", KINDS.join(", "))
}

fn media(place: &Place<'_>, kind: &str, notes: &mut Notes) -> Option<(String, String)> {
    let media = place.object(kind, notes)?;
    media.only(&["url", "caption", "name", "thumb_url"], notes);
    media.without_effect(&["name", "thumb_url"], notes);
    let url = media.text("url", notes).unwrap_or_default();
    let caption = media.text("caption", notes).unwrap_or_default();
    Some((url.to_owned(), caption.to_owned()))
}

/// Parameters are strings, or `{"default": …}` objects as Dispatch first had them.
fn template(place: &Place<'_>, notes: &mut Notes) -> Option<v1::Template> {
    let template = place.object("template", notes)?;
    template.only(&["name", "parameters"], notes);
    let name = template.text("name", notes).unwrap_or_default().to_owned();
    let mut parameters = Vec::new();
    for (index, item) in template.items("parameters", notes).unwrap_or_default().iter().enumerate()
    {
        let path = template.name(&format!("parameters[{index}]"));
        match item {
            Value::String(text) => parameters.push(text.clone()),
            Value::Object(_) => {
                let parameter = Place::at(item, path, notes)?;
                parameter.only(&["default"], notes);
                let text = parameter.text("default", notes);
                if parameter.get("default").is_none() {
                    notes.wrong(parameter.name("default"), "must be given: what fills the blank");
                }
                parameters.push(text.unwrap_or_default().to_owned());
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => {
                let wanted = "must be a string, or an object with a string `default`";
                notes.wrong(path, format!("{wanted}, and is {}", kind_of(item)));
            }
        }
    }
    Some(v1::Template { name, parameters })
}

fn custom(place: &Place<'_>, notes: &mut Notes) -> Option<Struct> {
    let Some(Value::Object(object)) = place.get("custom") else {
        place.object("custom", notes);
        return None;
    };
    let passed = structure(object);
    if passed.is_none() {
        let wanted = "must hold whole numbers below 2^53 only; write larger ones as strings";
        notes.wrong(place.name("custom"), wanted);
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
pub(super) fn messenger(place: &Place<'_>, notes: &mut Notes) -> Option<v1::MessengerOptions> {
    use v1::MessengerCategory::{MessageTag, Response, Unspecified, Update};
    let options = place.object("messenger", notes)?;
    options.only(&["category", "tag"], notes);
    let categories = [("response", Response), ("update", Update), ("message_tag", MessageTag)];
    let category = options.one_of("category", &categories, notes).unwrap_or(Unspecified);
    let mut tag = options.text("tag", notes).unwrap_or_default();
    if category != MessageTag && !tag.is_empty() {
        let advice = "belongs to category message_tag and was left out";
        notes.bent(&options.name("tag"), advice);
        tag = "";
    }
    Some(v1::MessengerOptions { category: category as i32, tag: tag.to_owned() })
}

/// WhatsApp's options.
pub(super) fn whatsapp(place: &Place<'_>, notes: &mut Notes) -> Option<v1::WhatsAppOptions> {
    let options = place.object("whatsapp", notes)?;
    options.only(&["policy", "locale"], notes);
    // The other there was, `fallback`, was retired by WhatsApp in January 2020.
    let policies = [("deterministic", v1::WhatsAppPolicy::Deterministic)];
    let policy = options.one_of("policy", &policies, notes).unwrap_or_default();
    let locale = options.text("locale", notes).unwrap_or_default().to_owned();
    Some(v1::WhatsAppOptions { policy: policy as i32, locale })
}

/// Viber's options, under the key that each API has for them.
pub(super) fn viber(
    place: &Place<'_>,
    key: &str,
    notes: &mut Notes,
) -> Option<v1::ViberServiceMsgOptions> {
    use v1::ViberCategory::{Promotion, Transaction};
    let options = place.object(key, notes)?;
    options.only(&["category", "ttl", "action", "type", "duration", "file_size"], notes);
    options.without_effect(&["type", "duration", "file_size"], notes);
    let categories = [("transaction", Transaction), ("promotion", Promotion)];
    let category = options.one_of("category", &categories, notes).unwrap_or_default();
    let ttl = options.seconds("ttl", None, notes);
    let action = options.object("action", notes).map(|action| {
        action.only(&["url", "text"], notes);
        v1::ViberAction {
            url: action.text("url", notes).unwrap_or_default().to_owned(),
            text: action.text("text", notes).unwrap_or_default().to_owned(),
        }
    });
    Some(v1::ViberServiceMsgOptions { category: category as i32, ttl: ttl.map(seconds), action })
}

/// An SMS's options; v1 only.
pub(super) fn sms(place: &Place<'_>, notes: &mut Notes) -> Option<v1::SmsOptions> {
    use v1::SmsEncoding::{Auto, Text, Unicode};
    let options = place.object("sms", notes)?;
    options.only(&["encoding_type", "content_id", "entity_id"], notes);
    options.without_effect(&["content_id", "entity_id"], notes);
    let encodings = [("text", Text), ("unicode", Unicode), ("auto", Auto)];
    let encoding = options.one_of("encoding_type", &encodings, notes).unwrap_or_default();
    Some(v1::SmsOptions { encoding: encoding as i32, ttl: None })
}

/// So many seconds; more than the type holds is refused behind this, as any other too many.
pub(super) fn seconds(seconds: u64) -> prost_types::Duration {
    prost_types::Duration { seconds: i64::try_from(seconds).unwrap_or(i64::MAX), nanos: 0 }
}
