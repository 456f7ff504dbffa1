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

/// The content in `cursor`, whose kind stands under `kind_key`. Of a file's keys those that are among the
/// options of `channel` are left to whoever reads these.
pub(super) fn content(
    cursor: &JsonCursor<'_>,
    kind_key: &str,
    channel: &str,
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
    let media = |diagnostics: &mut Diagnostics| media(cursor, kind, channel, diagnostics);
    let content = match kind {
        "text" => cursor.text("text", diagnostics).map(|text| Content::Text(text.to_owned())),
        "image" => {
            media(diagnostics).map(|(url, caption)| Content::Image(v1::Image { url, caption }))
        }
        "audio" => {
            media(diagnostics).map(|(url, caption)| Content::Audio(v1::Audio { url, caption }))
        }
        "video" => {
            media(diagnostics).map(|(url, caption)| Content::Video(v1::Video { url, caption }))
        }
        "file" => media(diagnostics).map(|(url, caption)| Content::File(v1::File { url, caption })),
        "template" => template(cursor, diagnostics).map(Content::Template),
        "custom" => custom(cursor, diagnostics).map(Content::Custom),
        _ => {
            let wanted =
                elsewhere(kind).map_or_else(|| format!("must be {}", one_of()), str::to_owned);
            diagnostics.wrong(cursor.name(kind_key), wanted);
            return None;
        }
    };
    if cursor.get(kind).is_none() {
        diagnostics.wrong(cursor.name(kind), "must be given: what the message says");
    }
    content
}

/// What is said of the Messages API's kinds that no message has here.
fn elsewhere(kind: &str) -> Option<&'static str> {
    match kind {
        "sticker" => Some(
            "must be custom for a sticker, in WhatsApp's own form: an object of type sticker with a sticker that \
             has a link",
        ),
        "reaction" => Some("must not be reaction: nobody tells of one that it arrived"),
        "vcard" | "content" => Some(
            "must be image, audio, video or file: a message has one file, and cards are not sent",
        ),
        _ => None,
    }
}

/// The keys of a file that are options of a channel of v1.
fn own_keys(channel: &str, kind: &str) -> &'static [&'static str] {
    match (channel, kind) {
        ("viber_service_msg" | "whatsapp", "file") => &["name"],
        ("viber_service_msg", "video") => &["thumb_url", "duration", "file_size"],
        _ => &[],
    }
}

/// What a file is called, on the channels that show it.
pub(super) fn file_name(cursor: &JsonCursor<'_>, diagnostics: &mut Diagnostics) -> Option<String> {
    let file = within(cursor, "file", diagnostics)?;
    file.text("name", diagnostics).map(str::to_owned)
}

/// What Viber has to know of a video. Its length and its size stand among the options, in the video, or, as
/// in the sample that is published, in both.
pub(super) fn viber_video(
    cursor: &JsonCursor<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<v1::ViberVideo> {
    let places = ["viber_service", "video"].map(|key| within(cursor, key, diagnostics));
    let at = |key: &str| places.iter().flatten().find(|place| place.get(key).is_some());
    let (preview, duration, size) = (at("thumb_url"), at("duration"), at("file_size"));
    preview.or(duration).or(size)?;
    let preview_url = preview.and_then(|place| place.text("thumb_url", diagnostics));
    let duration = duration.and_then(|place| whole(place, "duration", diagnostics));
    let size = size.and_then(|place| whole(place, "file_size", diagnostics));
    Some(v1::ViberVideo {
        preview_url: preview_url.unwrap_or_default().to_owned(),
        duration: duration.map(seconds),
        size_mb: size.map_or(0, |size| u32::try_from(size).unwrap_or(u32::MAX)),
    })
}

/// The object under a key; what is none is noted by whoever reads the content and the options.
fn within<'a>(
    cursor: &JsonCursor<'a>,
    key: &str,
    diagnostics: &mut Diagnostics,
) -> Option<JsonCursor<'a>> {
    let object = cursor.get(key).filter(|value| value.is_object())?;
    JsonCursor::at(object, cursor.name(key), diagnostics)
}

fn one_of() -> String {
    format!("one of {}", KINDS.join(", "))
}

fn media(
    cursor: &JsonCursor<'_>,
    kind: &str,
    channel: &str,
    diagnostics: &mut Diagnostics,
) -> Option<(String, String)> {
    let media = cursor.object(kind, diagnostics)?;
    let special = ["name", "thumb_url", "duration", "file_size"];
    media.only(&[&["url", "caption"][..], &special].concat(), diagnostics);
    let own = own_keys(channel, kind);
    for key in special.iter().filter(|key| !own.contains(key)) {
        media.without_effect(&[key], diagnostics);
    }
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
    Some(v1::WhatsAppOptions { policy: policy as i32, locale, ..v1::WhatsAppOptions::default() })
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
    // v0.1 has no videos on Viber.
    if key != "viber_service" {
        options.without_effect(&["duration", "file_size"], diagnostics);
    }
    let text_type = options.text("type", diagnostics).unwrap_or_default().to_owned();
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
    Some(v1::ViberServiceMsgOptions {
        category: category as i32,
        ttl: ttl.map(seconds),
        action,
        video: None,
        file_name: String::new(),
        r#type: text_type,
    })
}

/// A whole number, which the Messages API describes as a text here.
fn whole(cursor: &JsonCursor<'_>, key: &str, diagnostics: &mut Diagnostics) -> Option<u64> {
    let value = cursor.get(key)?;
    let digits = value.as_str().filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
    let number = value.as_u64().or_else(|| digits.and_then(|text| text.parse().ok()));
    if number.is_none() {
        diagnostics.wrong(cursor.name(key), "must be a whole number");
    }
    number
}

/// An SMS's options; v1 only.
pub(super) fn sms(
    cursor: &JsonCursor<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<v1::SmsOptions> {
    use v1::SmsEncoding::{Auto, Text, Unicode};
    let options = cursor.object("sms", diagnostics)?;
    options.only(&["encoding_type", "content_id", "entity_id"], diagnostics);
    let encodings = [("text", Text), ("unicode", Unicode), ("auto", Auto)];
    let encoding = options.one_of("encoding_type", &encodings, diagnostics).unwrap_or_default();
    let mut id = |key| options.text(key, diagnostics).unwrap_or_default().to_owned();
    let (content_id, entity_id) = (id("content_id"), id("entity_id"));
    Some(v1::SmsOptions { encoding: encoding as i32, ttl: None, content_id, entity_id })
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
