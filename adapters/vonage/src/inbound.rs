//! Reads what persons write, in the shapes of v0.1 and v1: what v1 has flat stands within `message.content` in v0.1, and
//! is the same there.
//!
//! A message that was tapped or shared has the text that the person saw, if there is one, and beside it what Vonage says
//! of it. A reaction quotes nothing: a thumb beneath a message does not answer it, and may be taken away again; which
//! message is meant stands within. Of what Vonage calls `unsupported` it says no more than that a person wrote it.

use dispatch_contract::{
    Channel, ChannelSender, Content, Endpoint, Inbound, InboundMessage, Media, OptOut,
};
use dispatch_kit::{
    inbound::{custom, file, payload, place, text, told, words},
    json::Json,
    opt_out::{self, Said},
};

use super::{send_result::id, time};

/// A thumb beneath a message, set or taken away.
const REACTION: &str = "reaction";

/// What a person's message says, and what they want of the sender that they wrote to.
pub(super) fn from_person(value: Json<'_>) -> Vec<Inbound> {
    let Some((from, to)) = parties(value) else { return Vec::new() };
    let (content, kind) = content(value);
    let opt_outs = opt_outs(&from, &to, opt_out::is_lifted_by_content(&content, how(&kind)));
    let message = value.read("message_uuid", id).map(|id| InboundMessage {
        id,
        from,
        to,
        content,
        quoted_id: quoted(value).filter(|_| kind != REACTION),
        // Vonage names the message that is answered by its own id only.
        quoted_attempt: None,
        provider_time: value.read("timestamp", time::read),
    });
    message.and_then(told).map(Inbound::Message).into_iter().chain(opt_outs).collect()
}

/// The kinds of what was tapped, on a button or in a list.
fn how(kind: &str) -> Said {
    match kind {
        "reply" | "button" => Said::Tapped,
        _ => Said::Written,
    }
}

fn opt_outs(from: &Endpoint, to: &ChannelSender, is_lifted: Option<bool>) -> Vec<Inbound> {
    let Some(is_lifted) = is_lifted else { return Vec::new() };
    let of = |channel: Channel| {
        let sender = ChannelSender { channel, ..to.clone() };
        Inbound::OptOut(OptOut { sender, recipient: from.clone(), is_lifted })
    };
    // Who writes to a number, by either, writes to it as a sender of both.
    let by_number = [Channel::SMS, Channel::MMS];
    match by_number.contains(&to.channel) {
        true => by_number.map(of).into(),
        false => vec![of(to.channel.clone())],
    }
}

/// Who wrote, and to whom. v0.1 says of either side what it is there.
fn parties(value: Json<'_>) -> Option<(Endpoint, ChannelSender)> {
    let of_side = |side: Json<'_>| side.read("type", channel);
    let channel = value.read("channel", channel).or_else(|| value.read("to", of_side))?;
    let id = value.read("to", party)?;
    let person = value.read("from", party)?;
    let is_number = person.bytes().all(|byte| byte.is_ascii_digit());
    let has_id = channel == Channel::MESSENGER || (channel == Channel::WHATSAPP && !is_number);
    let from = if has_id { Endpoint::Id(person) } else { Endpoint::Number(person) };
    Some((from, ChannelSender { channel, id }))
}

fn channel(name: Json<'_>) -> Option<Channel> {
    match &*name.text()? {
        "viber_service" => Some(Channel::VIBER),
        own => own.parse().ok(),
    }
}

/// A side of a message, as messages name it.
fn party(side: Json<'_>) -> Option<String> {
    let within = || side.read("number", Json::text).or_else(|| side.read("id", Json::text));
    let id = side.text().or_else(within)?;
    let id = id.trim_start_matches('+');
    (!id.is_empty()).then(|| id.to_owned())
}

/// The id of the message that an inbound one quotes. v0.1 does not document where it stands, so
/// both likely places are looked at.
fn quoted(value: Json<'_>) -> Option<String> {
    let context =
        |value: Json<'_>| value.read("context", |context| context.read("message_uuid", id));
    context(value).or_else(|| value.read("message", context))
}

/// What is said, and what Vonage calls its kind.
fn content(value: Json<'_>) -> (Vec<Content>, String) {
    let of_v01 = value.read("message", |message| message.read("content", non_empty));
    let (of, name) = of_v01.map_or((value, "message_type"), |content| (content, "type"));
    let kind = of.read(name, words).unwrap_or_else(|| "text".to_owned());
    // Of an MMS with several files each is told, the first a second time.
    let files = of.read("content", |files| {
        let files: Vec<_> = files.elements().filter_map(of_several).collect();
        (!files.is_empty()).then_some(files)
    });
    let Some(files) = files else { return (parts(of, name, &kind), kind) };
    let beside = of.read("text", text);
    let beside = beside.or_else(|| of.read(&kind, |first| first.read("caption", text)));
    (beside.into_iter().chain(files).collect(), kind)
}

fn non_empty(object: Json<'_>) -> Option<Json<'_>> {
    payload(object).map(|_| object)
}

/// One of several files: its kind and its address stand beside each other.
fn of_several(item: Json<'_>) -> Option<Content> {
    let known_part = item.read("type", |kind| known(&words(kind)?, item));
    known_part
        .or_else(|| item.read("type", words).and_then(|kind| custom([(&*kind, payload(item)?)])))
}

/// The parts of a message of this kind, which stands under its name. `name` is what the kind itself is called.
fn parts(of: Json<'_>, name: &str, kind: &str) -> Vec<Content> {
    if let Some(part) = of.read(kind, |said| known(kind, said)) {
        return vec![part];
    }
    let Some(said) = of.read(kind, payload) else { return Vec::new() };
    let tapped = of.read(kind, |it| it.read("text", text).or_else(|| it.read("title", text)));
    let beneath = of.read("context", payload).filter(|_| kind == REACTION);
    let fields = [(name, kind.into()), (kind, said)];
    let whole = custom(fields.into_iter().chain(beneath.map(|context| ("context", context))));
    tapped.into_iter().chain(whole).collect()
}

/// A part that has a kind of its own.
fn known(kind: &str, said: Json<'_>) -> Option<Content> {
    let degrees =
        |of_v1, of_v01| said.read(of_v1, Json::scalar).or_else(|| said.read(of_v01, Json::scalar));
    match kind {
        "text" => text(said),
        "image" | "audio" | "video" | "file" => {
            let caption = said.read("caption", words);
            Some(file(kind, Media { url: said.read("url", words)?, caption }))
        }
        "location" => {
            let (latitude, longitude) =
                (degrees("lat", "latitude")?, degrees("long", "longitude")?);
            place(&latitude, &longitude, said.read("name", words), said.read("address", words))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(value: &Value) -> Vec<Inbound> {
        from_person(Json::of(value.to_string().as_bytes()))
    }

    fn only_message(value: &Value) -> InboundMessage {
        match read(value).as_slice() {
            [Inbound::Message(message)] => message.clone(),
            other => panic!("one message expected of {value}, not {other:?}"),
        }
    }

    /// The same in both shapes: `said` stands under its kind.
    fn both(channel: &str, kind: &str, said: &Value) -> [Value; 2] {
        let mut v1 = json!({
            "channel": channel, "message_uuid": "in-1", "message_type": kind,
            "timestamp": "2020-01-01T14:00:00Z", "from": "447700900001", "to": "447700900000",
        });
        v1[kind] = said.clone();
        let mut content = json!({ "type": kind });
        content[kind] = said.clone();
        let side = |number| json!({ "type": channel, "number": number });
        let v01 = json!({
            "message_uuid": "in-1", "timestamp": "2020-01-01T14:00:00Z",
            "from": side("447700900001"), "to": side("447700900000"), "message": { "content": content },
        });
        [v1, v01]
    }

    fn text(text: &str) -> Content {
        Content::Text(text.to_owned())
    }

    fn media(url: &str, caption: Option<&str>) -> Media {
        Media { url: url.to_owned(), caption: caption.map(str::to_owned) }
    }

    #[test]
    fn who_wrote_to_whom_and_what_is_quoted_is_read_in_both_shapes() {
        let [mut v1, mut v01] = both("whatsapp", "text", &json!("Yes."));
        v1["context"] = json!({ "message_uuid": "u-1", "message_from": "447700900000" });
        v01["message"]["context"] = json!({ "message_uuid": "u-1" });
        let message = InboundMessage {
            id: "in-1".to_owned(),
            from: Endpoint::Number("447700900001".to_owned()),
            to: ChannelSender { channel: Channel::WHATSAPP, id: "447700900000".to_owned() },
            content: vec![text("Yes.")],
            quoted_id: Some("u-1".to_owned()),
            quoted_attempt: None,
            provider_time: Some(dispatch_contract::UnixMillis(1_577_887_200_000)),
        };
        for body in [v1, v01] {
            assert_eq!(only_message(&body), message, "{body}");
        }
    }

    #[test]
    fn a_side_is_named_as_messages_name_it() {
        let id = |id: &str| Endpoint::Id(id.to_owned());
        let number = |number: &str| Endpoint::Number(number.to_owned());
        for (channel, from, to, person, sender) in [
            ("messenger", "0123", "9876", id("0123"), (Channel::MESSENGER, "9876")),
            (
                "viber_service",
                "447700900001",
                "16273",
                number("447700900001"),
                (Channel::VIBER, "16273"),
            ),
            ("rcs", "+447700900001", "Acme", number("447700900001"), (Channel::RCS, "Acme")),
            ("whatsapp", "US.1349", "+4477", id("US.1349"), (Channel::WHATSAPP, "4477")),
            (
                "mms",
                "12025550123",
                "12025550100",
                number("12025550123"),
                (Channel::MMS, "12025550100"),
            ),
        ] {
            let [mut v1, _] = both(channel, "text", &json!("Yes."));
            (v1["from"], v1["to"]) = (from.into(), to.into());
            let message = only_message(&v1);
            assert_eq!(message.from, person, "{channel}");
            assert_eq!((message.to.channel, &*message.to.id), sender);
        }
    }

    #[test]
    fn each_kind_has_its_part() {
        let place = Content::Location {
            latitude: "40.34772".to_owned(),
            longitude: "-74.18847".to_owned(),
            name: Some("Acme".to_owned()),
            address: None,
        };
        let url = "https://example.com/a";
        for (kind, said, part) in [
            (
                "image",
                json!({ "url": url, "caption": "Look" }),
                Content::Image(media(url, Some("Look"))),
            ),
            ("audio", json!({ "url": url }), Content::Audio(media(url, None))),
            ("video", json!({ "url": url, "name": "a.mp4" }), Content::Video(media(url, None))),
            ("file", json!({ "url": url }), Content::File(media(url, None))),
            (
                "location",
                json!({ "lat": 40.34772, "long": -74.18847, "name": "Acme" }),
                place.clone(),
            ),
            (
                "location",
                json!({ "latitude": "40.34772", "longitude": "-74.18847", "name": "Acme" }),
                place,
            ),
        ] {
            for body in both("whatsapp", kind, &said) {
                assert_eq!(only_message(&body).content, std::slice::from_ref(&part), "{body}");
            }
        }
    }

    #[test]
    fn what_has_no_kind_of_its_own_is_told_in_vonage_s_words_behind_the_text_that_was_tapped() {
        for (kind, said, tapped) in [
            ("reply", json!({ "id": "r1", "title": "9am" }), Some("9am")),
            ("button", json!({ "payload": "b1", "text": "Agree" }), Some("Agree")),
            ("sticker", json!({ "url": "https://example.com/s" }), None),
            ("vcard", json!({ "url": "https://example.com/c.vcf" }), None),
            ("contacts", json!([{ "name": { "first_name": "Bob" } }]), None),
            ("order", json!({ "catalog_id": "1", "product_items": [] }), None),
            ("image", json!({ "id": "without a url" }), None),
            ("yet_unknown", json!("said"), None),
        ] {
            for (body, name) in both("whatsapp", kind, &said).iter().zip(["message_type", "type"]) {
                let mut whole = json!({ name: kind });
                whole[kind] = said.clone();
                let parts: Vec<_> = tapped
                    .map(text)
                    .into_iter()
                    .chain([Content::Custom(whole.to_string())])
                    .collect();
                assert_eq!(only_message(body).content, parts, "{body}");
            }
        }
    }

    #[test]
    fn a_reaction_quotes_nothing_and_says_which_message_it_is_beneath() {
        let [mut v1, _] =
            both("whatsapp", "reaction", &json!({ "action": "react", "emoji": "😀" }));
        v1["context"] = json!({ "message_uuid": "u-1" });
        let message = only_message(&v1);
        assert_eq!(message.quoted_id, None);
        let [Content::Custom(whole)] = message.content.as_slice() else { panic!("{message:?}") };
        let whole: Value = serde_json::from_str(whole).expect("JSON");
        assert_eq!(whole["context"]["message_uuid"], "u-1");
        assert_eq!(whole["reaction"]["emoji"], "😀");
    }

    #[test]
    fn each_of_several_files_is_told_behind_the_text() {
        let [mut v1, _] =
            both("mms", "image", &json!({ "url": "https://a.example/1", "caption": "Look" }));
        v1["content"] = json!([
            { "type": "image", "url": "https://a.example/1" },
            { "type": "vcard", "url": "https://a.example/2" },
        ]);
        let contact = Content::Custom(
            json!({ "vcard": { "type": "vcard", "url": "https://a.example/2" } }).to_string(),
        );
        let image = Content::Image(media("https://a.example/1", None));
        assert_eq!(only_message(&v1).content, [text("Look"), image, contact]);
    }

    #[test]
    fn who_writes_or_taps_stop_wants_no_more_of_the_sender_and_has_written_a_message() {
        let opt_out = |channel, sender: &str, recipient, is_lifted| {
            let sender = ChannelSender { channel, id: sender.to_owned() };
            Inbound::OptOut(OptOut { sender, recipient, is_lifted })
        };
        let person = || Endpoint::Number("447700900001".to_owned());
        let by_either = ["sms", "mms"].into_iter().flat_map(|it| both(it, "text", &json!("Stop")));
        for body in by_either {
            let told = read(&body);
            let both =
                [Channel::SMS, Channel::MMS].map(|it| opt_out(it, "447700900000", person(), false));
            assert!(matches!(&told[0], Inbound::Message(it) if it.content == [text("Stop")]));
            assert_eq!(told[1..], both, "{body}");
        }
        for (kind, said) in
            [("button", json!({ "text": "START" })), ("reply", json!({ "title": "start" }))]
        {
            let [v1, _] = both("whatsapp", kind, &said);
            assert_eq!(
                read(&v1)[1..],
                [opt_out(Channel::WHATSAPP, "447700900000", person(), true)]
            );
        }
        // On a button it is about something else.
        for (kind, said) in
            [("button", json!({ "text": "Cancel" })), ("reply", json!({ "title": "End" }))]
        {
            for body in both("whatsapp", kind, &said) {
                assert_eq!(read(&body).len(), 1, "{body}");
            }
        }
        let [mut page, _] = both("messenger", "text", &json!("stop"));
        (page["from"], page["to"]) = ("person".into(), "page".into());
        let of_page = opt_out(Channel::MESSENGER, "page", Endpoint::Id("person".to_owned()), false);
        assert_eq!(read(&page)[1..], [of_page]);
    }

    #[test]
    fn what_says_nothing_is_told_all_the_same_where_it_says_who_wrote_to_whom() {
        for body in both("whatsapp", "unsupported", &json!(null)) {
            assert_eq!(only_message(&body).content, [], "{body}");
        }
        for name in ["channel", "from", "to"] {
            let [mut v1, _] = both("whatsapp", "text", &json!("Yes."));
            v1.as_object_mut().expect("an object").remove(name);
            assert_eq!(read(&v1), [], "without {name}");
        }
    }
}
