//! What a message says.
//!
//! How long things may be and which kinds a channel sends is the adapters' to say; here only what
//! no channel could take is refused.

use dispatch_contract::{Content, Media, UrlRules, check_url};
use prost_types::{Struct, Value, value::Kind};
use serde_json::Number;

use super::{FieldAt, Found};
use crate::pb::v1::{self, message};

const PLACE_MOST_CHARS: usize = 1000;
/// The largest number up to which every whole number has a double of its own.
const WHOLE_MOST: f64 = 9_007_199_254_740_992.0;

/// The content; `None` if there is none or it cannot be read, and noted.
pub(super) fn content(
    given: Option<&v1::Message>,
    at: FieldAt<'_>,
    found: &mut Found,
) -> Option<Content> {
    let Some(content) = given.and_then(|message| message.content.as_ref()) else {
        found.note(
            at,
            "must be given: one of text, image, audio, video, file, location, template, code and custom",
        );
        return None;
    };
    let mut media = |url: &str, caption: &str, kind: &'static str| {
        if let Err(wrong) = check_url(url, UrlRules::PUBLIC) {
            found.note(at.key(kind).key("url"), wrong.to_string());
        }
        let caption = Some(caption.to_owned()).filter(|text| !text.is_empty());
        Media { url: url.to_owned(), caption }
    };
    match content {
        message::Content::Text(text) => Some(Content::Text(text.clone())),
        message::Content::Image(it) => Some(Content::Image(media(&it.url, &it.caption, "image"))),
        message::Content::Audio(it) => Some(Content::Audio(media(&it.url, &it.caption, "audio"))),
        message::Content::Video(it) => Some(Content::Video(media(&it.url, &it.caption, "video"))),
        message::Content::File(it) => Some(Content::File(media(&it.url, &it.caption, "file"))),
        message::Content::Location(it) => location(it, at.key("location"), found),
        message::Content::Template(it) => {
            Some(Content::Template { name: it.name.clone(), parameters: it.parameters.clone() })
        }
        message::Content::Custom(it) => custom(it, at.key("custom"), found),
        message::Content::Code(it) => {
            let text = Some(it.text.clone()).filter(|text| !text.is_empty());
            Some(Content::Code { code: it.code.clone(), text })
        }
        message::Content::Masked(_) => {
            found.note(
                at.key("masked"),
                "must not be given: it stands in answers to callers who may not see what is said; give that itself",
            );
            None
        }
    }
}

fn location(given: &v1::Location, at: FieldAt<'_>, found: &mut Found) -> Option<Content> {
    let before = found.0.len();
    for (name, degrees, most) in
        [("latitude", given.latitude, 90.0), ("longitude", given.longitude, 180.0)]
    {
        // Said here, because neither NaN nor infinity has a decimal text.
        if !(-most..=most).contains(&degrees) {
            found.note(at.key(name), format!("must be a number of degrees from -{most} to {most}"));
        }
    }
    for (name, text) in [("name", &given.name), ("address", &given.address)] {
        if text.chars().count() > PLACE_MOST_CHARS {
            found.note(at.key(name), format!("must have at most {PLACE_MOST_CHARS} characters"));
        }
    }
    let text = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    (found.0.len() == before).then(|| Content::Location {
        latitude: decimal(given.latitude),
        longitude: decimal(given.longitude),
        name: text(&given.name),
        address: text(&given.address),
    })
}

/// The shortest decimal text that gives the number back; never with an exponent.
fn decimal(number: f64) -> String {
    // Minus zero is zero.
    if number == 0.0 { "0".to_owned() } else { number.to_string() }
}

/// The text of a JSON object. Its keys are in order and its numbers in one form, so that equal
/// objects have equal texts.
fn custom(given: &Struct, at: FieldAt<'_>, found: &mut Found) -> Option<Content> {
    match object(given) {
        Some(object) => Some(Content::Custom(serde_json::Value::Object(object).to_string())),
        None => {
            found.note(at, "must be a JSON object; NaN and infinity are not JSON");
            None
        }
    }
}

/// The object, if all that is in it is JSON.
pub(super) fn object(given: &Struct) -> Option<serde_json::Map<String, serde_json::Value>> {
    let mut object = serde_json::Map::new();
    for (key, value) in &given.fields {
        object.insert(key.clone(), json(value)?);
    }
    Some(object)
}

fn json(value: &Value) -> Option<serde_json::Value> {
    match value.kind.as_ref() {
        None | Some(Kind::NullValue(_)) => Some(serde_json::Value::Null),
        Some(Kind::BoolValue(truth)) => Some((*truth).into()),
        Some(Kind::StringValue(text)) => Some(text.as_str().into()),
        Some(Kind::NumberValue(number)) if number.fract() == 0.0 && number.abs() < WHOLE_MOST => {
            // A double is all that Struct has; a whole number is written as one.
            Some(serde_json::Value::Number(Number::from(*number as i64)))
        }
        Some(Kind::NumberValue(number)) => Number::from_f64(*number).map(Into::into),
        Some(Kind::ListValue(list)) => list.values.iter().map(json).collect(),
        Some(Kind::StructValue(inner)) => object(inner).map(serde_json::Value::Object),
    }
}
