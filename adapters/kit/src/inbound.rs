//! What is the same of all that persons write, whichever provider tells it: what a part of it is, and how much of it is
//! kept.
//!
//! Who wrote to whom, and under which id, an adapter reads. It hands the whole through [`told`], so that no message is
//! larger than what is kept of one, and none is told that nobody could use. One of which a provider does not say what is in
//! it is told all the same: a person wrote.

use dispatch_contract::{Content, InboundMessage, Media};
use serde_json::{Map, Value};

use crate::json::Json;

/// The most parts of a message that are kept: its first ones.
pub const MOST_PARTS: usize = 16;
/// The most bytes of a text, or of an object in the provider's words.
pub const PART_BYTES: usize = 16 * 1024;
/// The most bytes of all parts of a message.
pub const MESSAGE_BYTES: usize = 64 * 1024;
/// The most bytes of a file's address: one that is cut leads nowhere.
pub const URL_BYTES: usize = 4 * 1024;
/// The most bytes of an id and of an address.
const NAME_BYTES: usize = 1_024;
/// How deep an object in the provider's words is read.
const DEPTH: usize = 16;

/// The message as it is told, [within bounds](within_bounds). `None` of one that nobody could use: whose id, person or
/// sender is missing or longer than any. What no person wrote at all an adapter keeps to itself.
pub fn told(message: InboundMessage) -> Option<InboundMessage> {
    let is_name = |text: &str| (1..=NAME_BYTES).contains(&text.len());
    let names = [&*message.id, message.from.value(), &message.to.id];
    let is_of_use = names.into_iter().all(is_name);
    let content = within_bounds(message.content);
    is_of_use.then_some(InboundMessage { content, ..message })
}

/// What is kept of a message's parts: a text is cut; a file whose address is too long, an object that is too large and
/// what is more than [`MOST_PARTS`] or [`MESSAGE_BYTES`] is left out.
pub fn within_bounds(parts: Vec<Content>) -> Vec<Content> {
    let mut bytes = 0;
    let fits = |part: &Content| {
        let with_it = bytes + weight(part);
        let fits = with_it <= MESSAGE_BYTES;
        bytes = if fits { with_it } else { bytes };
        fits
    };
    parts.into_iter().filter_map(bounded).filter(fits).take(MOST_PARTS).collect()
}

fn bounded(part: Content) -> Option<Content> {
    let file = |media: Media| {
        let caption = media.caption.map(cut);
        (media.url.len() <= URL_BYTES).then_some(Media { caption, ..media })
    };
    match part {
        Content::Text(text) => (!text.is_empty()).then(|| Content::Text(cut(text))),
        Content::Image(media) => file(media).map(Content::Image),
        Content::Audio(media) => file(media).map(Content::Audio),
        Content::Video(media) => file(media).map(Content::Video),
        Content::File(media) => file(media).map(Content::File),
        Content::Location { latitude, longitude, name, address } => Some(Content::Location {
            latitude: cut(latitude),
            longitude: cut(longitude),
            name: name.map(cut),
            address: address.map(cut),
        }),
        Content::Custom(object) => (object.len() <= PART_BYTES).then_some(Content::Custom(object)),
        // Persons send neither.
        Content::Template { .. } | Content::Code { .. } => None,
    }
}

fn cut(mut text: String) -> String {
    let end = (0..=PART_BYTES.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
    text.truncate(end.unwrap_or_default());
    text
}

fn weight(part: &Content) -> usize {
    let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    match part {
        Content::Text(text) | Content::Custom(text) => text.len(),
        Content::Image(media)
        | Content::Audio(media)
        | Content::Video(media)
        | Content::File(media) => media.url.len() + length(&media.caption),
        Content::Location { latitude, longitude, name, address } => {
            latitude.len() + longitude.len() + length(name) + length(address)
        }
        Content::Template { .. } | Content::Code { .. } => 0,
    }
}

/// A text with something in it.
pub fn words(value: Json<'_>) -> Option<String> {
    value.text().filter(|text| !text.is_empty()).map(|text| text.into_owned())
}

/// The same as a part.
pub fn text(value: Json<'_>) -> Option<Content> {
    words(value).map(Content::Text)
}

/// A file, by what the provider calls its kind: `image`, `audio`, `video`, or whatever else.
pub fn file(kind: &str, media: Media) -> Content {
    match kind {
        "image" => Content::Image(media),
        "audio" => Content::Audio(media),
        "video" => Content::Video(media),
        _ => Content::File(media),
    }
}

/// A place, if both are degrees.
pub fn place(
    latitude: &str,
    longitude: &str,
    name: Option<String>,
    address: Option<String>,
) -> Option<Content> {
    let degrees = |text: &str, most: f64| {
        let degrees: f64 = text.trim().parse().ok()?;
        // The shortest decimal text, as of the places that we send.
        (degrees.abs() <= most).then(|| degrees.to_string())
    };
    let (latitude, longitude) = (degrees(latitude, 90.0)?, degrees(longitude, 180.0)?);
    Some(Content::Location { latitude, longitude, name, address })
}

/// What has no kind of its own, in the provider's words: an object of these fields. `None` of no fields.
pub fn custom<'a>(fields: impl IntoIterator<Item = (&'a str, Value)>) -> Option<Content> {
    let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), value));
    let object: Map<_, _> = fields.collect();
    (!object.is_empty()).then(|| Content::Custom(Value::Object(object).to_string()))
}

/// What a provider says under a name, for [`custom`]. `None` of nothing; one that is too large is `null`, which says
/// that there was something.
pub fn payload(value: Json<'_>) -> Option<Value> {
    if value.size() > PART_BYTES {
        return Some(Value::Null);
    }
    Some(value.to_value(DEPTH)).filter(|value| match value {
        Value::Null | Value::Bool(_) => false,
        Value::Number(_) => true,
        Value::String(text) => !text.is_empty(),
        Value::Array(elements) => !elements.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
    })
}

#[cfg(test)]
mod tests {
    use dispatch_contract::{Channel, ChannelSender, Endpoint};

    use super::*;

    fn message(content: Vec<Content>) -> InboundMessage {
        InboundMessage {
            id: "in-1".to_owned(),
            from: Endpoint::Number("447700900000".to_owned()),
            to: ChannelSender { channel: Channel::SMS, id: "447700900001".to_owned() },
            content,
            quoted_id: None,
            quoted_attempt: None,
            provider_time: None,
        }
    }

    fn text_of(length: usize) -> Content {
        Content::Text("a".repeat(length))
    }

    fn media(url: &str) -> Media {
        Media { url: url.to_owned(), caption: None }
    }

    #[test]
    fn what_is_more_than_is_kept_is_cut_or_left_out() {
        let many = vec![Content::Text("a".to_owned()); MOST_PARTS + 1];
        assert_eq!(within_bounds(many).len(), MOST_PARTS);
        // The last character that would not fit whole is left out.
        let long = Content::Text(format!("{}é", "a".repeat(PART_BYTES - 1)));
        assert_eq!(within_bounds(vec![long]), [text_of(PART_BYTES - 1)]);
        let heavy = within_bounds(vec![text_of(PART_BYTES); 5]);
        assert_eq!(heavy.len(), MESSAGE_BYTES / PART_BYTES);
        let object = |length| Content::Custom("x".repeat(length));
        let short = Content::File(media("https://example.com/a.pdf"));
        let parts = vec![
            object(PART_BYTES + 1),
            Content::Image(media(&"a".repeat(URL_BYTES + 1))),
            Content::Code { code: "1234".to_owned(), text: None },
            object(PART_BYTES),
            short.clone(),
        ];
        assert_eq!(within_bounds(parts), [object(PART_BYTES), short]);
    }

    #[test]
    fn what_nobody_could_use_is_not_told() {
        let usual = message(vec![text_of(1)]);
        assert_eq!(told(usual.clone()), Some(usual.clone()));
        // A person wrote, whatever it was.
        assert_eq!(told(message(Vec::new())), Some(message(Vec::new())));
        let nobody = Endpoint::Id(String::new());
        let to = ChannelSender { channel: Channel::SMS, id: String::new() };
        for useless in [
            InboundMessage { id: String::new(), ..usual.clone() },
            InboundMessage { id: "x".repeat(NAME_BYTES + 1), ..usual.clone() },
            InboundMessage { from: nobody, ..usual.clone() },
            InboundMessage { to, ..usual },
        ] {
            assert_eq!(told(useless), None);
        }
        // What was said is too large: that something was is told all the same.
        let large = told(message(vec![Content::Custom("x".repeat(PART_BYTES + 1))]));
        assert_eq!(large, Some(message(Vec::new())));
    }

    #[test]
    fn a_place_has_degrees() {
        let at = |latitude, longitude| place(latitude, longitude, None, None);
        let right = at("51.50740", "-1278e-4");
        let is_shortest =
            |latitude: &str, longitude: &str| (latitude, longitude) == ("51.5074", "-0.1278");
        assert!(matches!(
            right,
            Some(Content::Location { latitude, longitude, .. }) if is_shortest(&latitude, &longitude)
        ));
        for wrong in ["", "91", "NaN", "inf", "north", "1.2.3"] {
            assert_eq!(at(wrong, "0"), None, "{wrong}");
        }
    }

    #[test]
    fn what_has_no_kind_of_its_own_is_told_in_the_provider_s_words() {
        let read = |text: &str| payload(Json::of(text.as_bytes()));
        let custom_of = |text: &str| custom(read(text).map(|it| ("it", it)));
        for (told, kept) in [
            (r#"{"id": "yes", "n": 1.50}"#, r#"{"it":{"id":"yes","n":1.5}}"#),
            (
                r#"{"name":"Ana \ud83d","odd":NaN,"no":null}"#,
                r#"{"it":{"name":"Ana �","no":null,"odd":null}}"#,
            ),
            (r#"[{"a":true}]"#, r#"{"it":[{"a":true}]}"#),
            ("7 ", r#"{"it":7}"#),
        ] {
            assert_eq!(custom_of(told), Some(Content::Custom(kept.to_owned())), "{told}");
        }
        for nothing in ["", "null", "true", "{}", "[]", "\"\""] {
            assert_eq!(custom_of(nothing), None, "{nothing}");
        }
        let large = format!("[{}]", "1,".repeat(PART_BYTES));
        assert_eq!(custom_of(&large), Some(Content::Custom(r#"{"it":null}"#.to_owned())));
        let deep = format!("{}7{}", "[".repeat(5_000), "]".repeat(5_000));
        let kept = format!("{{\"it\":{}null{}}}", "[".repeat(DEPTH), "]".repeat(DEPTH));
        assert_eq!(custom_of(&deep), Some(Content::Custom(kept)));
    }
}
