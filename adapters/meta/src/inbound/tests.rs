use dispatch_contract::UnixMillis;
use serde_json::{Value, json};

use super::*;

const NUMBER_ID: &str = "106540352242922";
const PAGE: &str = "107083064136738";

fn account(phone_numbers: &str) -> Account {
    Account {
        name: "main".to_owned(),
        revision: 1,
        settings: [("phone_numbers".to_owned(), phone_numbers.to_owned())].into(),
        secrets: [].into(),
    }
}

/// The value of a change, with the only contact as WhatsApp shows them.
fn value(contact: Value) -> Value {
    json!({
        "metadata": { "display_phone_number": "+44 7700 900000", "phone_number_id": NUMBER_ID },
        "contacts": [contact],
    })
}

fn read_for(account: &Account, value: &Value, message: &Value) -> Vec<Inbound> {
    let (value, message) = (value.to_string(), message.to_string());
    let conversation = Conversation::of(Json::of(value.as_bytes()), account);
    of_whatsapp(&conversation, Json::of(message.as_bytes()))
}

fn read(message: &Value) -> Vec<Inbound> {
    read_for(&account(""), &value(json!({})), message)
}

/// A message of this kind on WhatsApp.
fn message(kind: &str, said: Value) -> Value {
    let mut message = json!({
        "from": "447700900001", "id": "wamid.in", "timestamp": "1577887200", "type": kind,
    });
    message[kind] = said;
    message
}

/// An event between a person and the page.
fn event(name: &str, what: Value) -> Value {
    let mut event = json!({
        "sender": { "id": "7777" }, "recipient": { "id": PAGE }, "timestamp": 1_577_887_200_000_u64,
    });
    event[name] = what;
    event
}

fn read_event(event: &Value) -> Vec<Inbound> {
    let (entry, event) = (json!({ "id": PAGE }).to_string(), event.to_string());
    of_messenger(Json::of(entry.as_bytes()), Json::of(event.as_bytes()))
}

fn only(told: &[Inbound]) -> InboundMessage {
    match told {
        [Inbound::Message(message)] => message.clone(),
        other => panic!("one message expected, not {other:?}"),
    }
}

fn text(text: &str) -> Content {
    Content::Text(text.to_owned())
}

fn custom_of(object: Value) -> Content {
    Content::Custom(object.to_string())
}

fn opt_out(channel: Channel, sender: &str, recipient: Endpoint, is_lifted: bool) -> Inbound {
    let sender = ChannelSender { channel, id: sender.to_owned() };
    Inbound::OptOut(OptOut { sender, recipient, is_lifted })
}

fn number(number: &str) -> Endpoint {
    Endpoint::Number(number.to_owned())
}

#[test]
fn who_wrote_to_which_number_and_what_is_quoted_is_read() {
    let mut said = message("text", json!({ "body": "yes" }));
    let wanted = InboundMessage {
        id: "wamid.in".to_owned(),
        from: number("447700900001"),
        to: ChannelSender { channel: Channel::WHATSAPP, id: NUMBER_ID.to_owned() },
        content: vec![text("yes")],
        quoted_id: None,
        quoted_attempt: None,
        provider_time: Some(UnixMillis(1_577_887_200_000)),
    };
    assert_eq!(only(&read(&said)), wanted);
    said["context"] = json!({ "from": "447700900000", "id": "w1" });
    let wanted = InboundMessage { quoted_id: Some("w1".to_owned()), ..wanted };
    assert_eq!(only(&read(&said)), wanted);
    // The account's messages name the number.
    let listed = account(&format!("447700900000={NUMBER_ID}"));
    let to = ChannelSender { id: "447700900000".to_owned(), ..wanted.to.clone() };
    let wanted = InboundMessage { to, ..wanted };
    assert_eq!(only(&read_for(&listed, &value(json!({})), &said)), wanted);
}

#[test]
fn who_hides_their_number_is_named_by_their_id() {
    let person = "US.13491208655302741918";
    let mut said = message("text", json!({ "body": "yes" }));
    said["from"].take();
    let contact = value(json!({ "user_id": person }));
    let of_contact = only(&read_for(&account(""), &contact, &said));
    assert_eq!(of_contact.from, Endpoint::Id(person.to_owned()));
    let mut two = contact;
    two["contacts"] = json!([{ "user_id": person }, { "user_id": "US.2" }]);
    assert_eq!(read_for(&account(""), &two, &said), [], "of two it is not said who wrote");
    said["from_user_id"] = person.into();
    assert_eq!(only(&read_for(&account(""), &two, &said)).from, Endpoint::Id(person.to_owned()));
}

#[test]
fn each_kind_on_whatsapp_has_its_parts() {
    let place = Content::Location {
        latitude: "37.44221496582".to_owned(),
        longitude: "-122.16165924072".to_owned(),
        name: Some("Philz Coffee".to_owned()),
        address: None,
    };
    let at = json!({ "latitude": 37.442_214_965_82, "longitude": -122.161_659_240_72, "name": "Philz Coffee" });
    assert_eq!(only(&read(&message("location", at))).content, [place]);
    for (kind, said, before, behind) in [
        ("image", json!({ "id": "1", "caption": "Look" }), None, Some("Look")),
        ("audio", json!({ "id": "1", "voice": true }), None, None),
        ("video", json!({ "id": "1" }), None, None),
        (
            "document",
            json!({ "id": "1", "filename": "a.pdf", "caption": "stop" }),
            None,
            Some("stop"),
        ),
        ("sticker", json!({ "id": "1", "animated": false }), None, None),
        ("contacts", json!([{ "name": { "formatted_name": "Ada" } }]), None, None),
        ("button", json!({ "payload": "b1", "text": "Agree" }), Some("Agree"), None),
        (
            "interactive",
            json!({ "type": "button_reply", "button_reply": { "id": "b", "title": "Yes" } }),
            Some("Yes"),
            None,
        ),
        (
            "interactive",
            json!({ "type": "list_reply", "list_reply": { "id": "l", "title": "9am" } }),
            Some("9am"),
            None,
        ),
        (
            "interactive",
            json!({ "type": "nfm_reply", "nfm_reply": { "response_json": "{}" } }),
            None,
            None,
        ),
        (
            "order",
            json!({ "catalog_id": "1", "text": "Quick, please" }),
            Some("Quick, please"),
            None,
        ),
        ("reaction", json!({ "message_id": "w1", "emoji": "👍" }), None, None),
        ("yet_unknown", json!({ "said": 1 }), None, None),
    ] {
        let mut whole = json!({ "type": kind });
        whole[kind] = said.clone();
        let whole = custom_of(whole);
        let parts: Vec<_> =
            before.map(text).into_iter().chain([whole]).chain(behind.map(text)).collect();
        let told = only(&read(&message(kind, said)));
        assert_eq!((told.content, told.quoted_id), (parts, None), "{kind}");
    }
}

#[test]
fn a_reaction_quotes_nothing_what_no_person_says_is_no_message_and_what_is_unknown_is_one() {
    let mut thumb = message("reaction", json!({ "message_id": "w1", "emoji": "👍" }));
    thumb["context"] = json!({ "id": "w1" });
    assert_eq!(only(&read(&thumb)).quoted_id, None);
    for kind in ["system", "request_welcome"] {
        assert_eq!(read(&message(kind, json!({ "body": "Ada changed her number" }))), [], "{kind}");
    }
    for kind in ["unsupported", "unknown"] {
        assert_eq!(only(&read(&message(kind, json!({ "type": "poll" })))).content, [], "{kind}");
    }
    assert_eq!(only(&read_event(&event("message", json!({ "mid": "m_in" })))).content, []);
}

#[test]
fn what_is_written_in_a_group_is_passed_over() {
    let mut said = message("text", json!({ "body": "STOP" }));
    assert_eq!(read(&said).len(), 3);
    said["group_id"] = "Y2FwaV9ncm91cDox".into();
    assert_eq!(read(&said), []);
}

#[test]
fn a_person_is_a_number_only_where_it_is_digits() {
    let mut said = message("text", json!({ "body": "yes" }));
    said["from"] = "US.13491208655302741918".into();
    let wanted = Endpoint::Id("US.13491208655302741918".to_owned());
    assert_eq!(only(&read(&said)).from, wanted);
    // Also where the same is said a second time.
    said["from_user_id"] = said["from"].clone();
    said["text"]["body"] = "STOP".into();
    assert_eq!(read(&said).len(), 3);
}

#[test]
fn who_writes_stop_is_heard_for_the_number_as_messages_name_it() {
    let said = message("text", json!({ "body": "stop" }));
    let senders = |listed: &str| {
        let told = read_for(&account(&format!("{listed}={NUMBER_ID}")), &value(json!({})), &said);
        let of = |told: &Inbound| match told {
            Inbound::OptOut(wish) => Some(wish.sender.id.clone()),
            _ => None,
        };
        told.iter().filter_map(of).collect::<Vec<_>>()
    };
    // Also where Meta shows another one, as of a test number.
    assert_eq!(senders("15550001111"), ["15550001111", NUMBER_ID, "447700900000"]);
    assert_eq!(senders("447700900000"), ["447700900000", NUMBER_ID]);
}

#[test]
fn who_taps_cancel_cancels_something_else_than_messages() {
    for (kind, said) in [
        ("button", json!({ "text": "Cancel" })),
        ("interactive", json!({ "button_reply": { "title": "End" } })),
        ("interactive", json!({ "list_reply": { "title": "Quit" } })),
    ] {
        assert_eq!(read(&message(kind, said)).len(), 1, "{kind}");
    }
    assert_eq!(read(&message("text", json!({ "body": "Cancel" }))).len(), 3);
    let quick = json!({ "mid": "m_in", "text": "Cancel", "quick_reply": { "payload": "c" } });
    assert_eq!(read_event(&event("message", quick)).len(), 1);
    let postback = json!({ "mid": "m_in", "title": "Cancel", "payload": "c" });
    assert_eq!(read_event(&event("postback", postback)).len(), 1);
    assert_eq!(read_event(&event("postback", json!({ "mid": "m_in", "title": "Stop" }))).len(), 2);
    assert_eq!(read_event(&event("message", json!({ "mid": "m", "text": "Cancel" }))).len(), 2);
}

#[test]
fn who_writes_or_taps_stop_wants_no_more_of_the_number_and_has_written_a_message() {
    let both = |recipient: &Endpoint| {
        [NUMBER_ID, "447700900000"]
            .map(|sender| opt_out(Channel::WHATSAPP, sender, recipient.clone(), false))
    };
    for (kind, said) in [
        ("text", json!({ "body": "stop" })),
        ("button", json!({ "text": "Stop" })),
        ("interactive", json!({ "button_reply": { "title": "Stop" } })),
    ] {
        let told = read(&message(kind, said));
        assert!(matches!(&told[0], Inbound::Message(_)), "{kind}: {told:?}");
        assert_eq!(told[1..], both(&number("447700900001")), "{kind}");
    }
    let mut hidden = message("text", json!({ "body": "stop" }));
    hidden["from"].take();
    let told = read_for(&account(""), &value(json!({ "user_id": "US.1349" })), &hidden);
    assert_eq!(told[1..], both(&Endpoint::Id("US.1349".to_owned())));
    // What stands beneath a picture asks for nothing.
    assert_eq!(read(&message("image", json!({ "id": "1", "caption": "stop" }))).len(), 1);
}

#[test]
fn a_number_is_known_by_both_of_its_spellings() {
    for (one, other) in [
        ("5511987654321", "551187654321"),
        ("5215512345678", "525512345678"),
        ("5491123456789", "541123456789"),
    ] {
        assert_eq!(spellings(one), [one, other]);
        assert_eq!(spellings(other), [other, one]);
        let mut said = message("text", json!({ "body": "yes" }));
        said["from"] = one.into();
        assert_eq!(only(&read(&said)).from, number(one), "as WhatsApp names it");
    }
    for alone in ["447700900001", "55", "551199999", "é"] {
        assert_eq!(spellings(alone), [alone]);
    }
}

#[test]
fn what_a_person_writes_to_a_page_is_read() {
    let quoting = json!({ "mid": "m_in", "text": "yes", "reply_to": { "mid": "m_1" } });
    let wanted = InboundMessage {
        id: "m_in".to_owned(),
        from: Endpoint::Id("7777".to_owned()),
        to: ChannelSender { channel: Channel::MESSENGER, id: PAGE.to_owned() },
        content: vec![text("yes")],
        quoted_id: Some("m_1".to_owned()),
        quoted_attempt: None,
        provider_time: Some(UnixMillis(1_577_887_200_000)),
    };
    assert_eq!(only(&read_event(&event("message", quoting))), wanted);
    let file = |kind: &str| json!({ "type": kind, "payload": { "url": "https://a.example/1" } });
    let media = || Media { url: "https://a.example/1".to_owned(), caption: None };
    let at =
        json!({ "type": "location", "payload": { "coordinates": { "lat": 1.5, "long": -2 } } });
    let place = Content::Location {
        latitude: "1.5".to_owned(),
        longitude: "-2".to_owned(),
        name: None,
        address: None,
    };
    let shared = json!({ "type": "fallback", "payload": { "title": "A page" } });
    let attachments =
        json!([file("image"), file("audio"), file("video"), file("file"), at, shared]);
    let said = json!({ "mid": "m_in", "text": "Look", "attachments": attachments });
    let parts = [
        text("Look"),
        Content::Image(media()),
        Content::Audio(media()),
        Content::Video(media()),
        Content::File(media()),
        place,
        custom_of(json!({ "attachment": shared })),
    ];
    assert_eq!(only(&read_event(&event("message", said))).content, parts);
}

#[test]
fn what_a_person_taps_on_a_page_is_read() {
    let quick = json!({ "mid": "m_in", "text": "Red", "quick_reply": { "payload": "red" } });
    let parts = [text("Red"), custom_of(json!({ "quick_reply": { "payload": "red" } }))];
    assert_eq!(only(&read_event(&event("message", quick))).content, parts);
    let postback = json!({ "mid": "m_in", "title": "Begin", "payload": "begin" });
    let message = only(&read_event(&event("postback", postback.clone())));
    let parts = vec![text("Begin"), custom_of(json!({ "postback": postback }))];
    assert_eq!((&*message.id, message.content), ("m_in", parts));
    assert_eq!(read_event(&event("postback", json!({ "title": "Begin" }))), [], "without an id");
}

#[test]
fn who_writes_stop_to_a_page_is_heard_and_what_the_page_says_is_not() {
    let start = json!({ "mid": "m_in", "text": "START" });
    let told = read_event(&event("message", start.clone()));
    let person = Endpoint::Id("7777".to_owned());
    assert_eq!(told[1..], [opt_out(Channel::MESSENGER, PAGE, person, true)]);
    let mut echo = start;
    echo["is_echo"] = true.into();
    assert_eq!(read_event(&event("message", echo)), []);
    let mut of_page = event("message", json!({ "mid": "m_out", "text": "STOP" }));
    (of_page["sender"], of_page["recipient"]) = (json!({ "id": PAGE }), json!({ "id": "7777" }));
    assert_eq!(read_event(&of_page), [], "also where it does not say that it is an echo");
}
