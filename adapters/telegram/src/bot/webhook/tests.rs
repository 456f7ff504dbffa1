use dispatch_contract::{Secret, Verdict};
use serde_json::json;

use super::*;

const PERSON: i64 = 2_718_281_828;
const GROUP: i64 = -1_001_234_567_890;
const BOT: u64 = 123_456_789;

fn account() -> Account {
    let secret = |name: &str, text: &str| (name.to_owned(), Secret::new(text));
    Account {
        name: "main".to_owned(),
        revision: 1,
        settings: [("sender".to_owned(), "acme_bot".to_owned())].into(),
        secrets: [secret("bot_token", "123456789:AA-x"), secret("secret_token", "s3cret")].into(),
    }
}

fn called(account: &Account, shown: Option<&str>, update: &Value) -> WebhookOutcome {
    let shown = shown.map(|secret| (SECRET_HEADER.to_owned(), secret.as_bytes().to_vec()));
    let body = update.to_string();
    let request = WebhookRequest {
        method: "POST",
        url: "https://dispatch.example/receipts/telegram_bot/main",
        query: "",
        headers: &shown.into_iter().collect::<Vec<_>>(),
        body: body.as_bytes(),
    };
    read(&request, account)
}

/// What a genuine update tells.
fn told_by(kind: &str, what: Value) -> Vec<Inbound> {
    let outcome = called(&account(), Some("s3cret"), &json!({ "update_id": 7, kind: what }));
    assert_eq!((outcome.verdict, outcome.status), (Verdict::Understood, 200), "{kind}");
    outcome.inbound
}

/// What a person wrote to the bot, with these fields beside those that all messages have.
fn message(fields: Value) -> Value {
    let mut message = json!({
        "message_id": 42,
        "date": 1_700_000_000,
        "chat": { "id": PERSON, "type": "private" },
        "from": { "id": PERSON, "is_bot": false, "first_name": "Ana" },
    });
    for (name, value) in fields.as_object().expect("an object") {
        message[name] = value.clone();
    }
    message
}

/// The one message that was heard.
fn heard(inbound: &[Inbound]) -> &InboundMessage {
    match inbound {
        [Inbound::Message(message)] => message,
        other => panic!("{other:?}"),
    }
}

fn a_text(text: &str) -> Content {
    Content::Text(text.to_owned())
}

#[test]
fn a_person_s_message_has_who_wrote_to_whom_and_an_id_of_its_own() {
    let inbound = told_by("message", message(json!({ "text": "At eight, please." })));
    let expected = InboundMessage {
        id: "2718281828:42".to_owned(),
        from: Endpoint::Id("2718281828".to_owned()),
        to: ChannelSender { channel: TELEGRAM_BOT.clone(), id: "acme_bot".to_owned() },
        content: vec![a_text("At eight, please.")],
        quoted_id: None,
        quoted_attempt: None,
        provider_time: Some(UnixMillis(1_700_000_000_000)),
    };
    assert_eq!(heard(&inbound), &expected);
}

#[test]
fn what_a_message_holds_is_told_in_its_order() {
    let custom = |value: Value| Content::Custom(value.to_string());
    let place = |name: Option<&str>, address: Option<&str>| Content::Location {
        latitude: "51.5074".to_owned(),
        longitude: "-0.1278".to_owned(),
        name: name.map(str::to_owned),
        address: address.map(str::to_owned),
    };
    let at = json!({ "latitude": 51.5074, "longitude": -0.1278 });
    let photo = json!([{ "file_id": "AgAC", "file_unique_id": "AQAD", "width": 90, "height": 60 }]);
    let contact = json!({ "phone_number": "447700900000", "first_name": "Ana" });
    let venue = json!({ "location": at, "title": "The Table", "address": "1 High Street" });
    for (fields, content) in [
        (
            json!({ "photo": photo, "caption": "Ours" }),
            vec![custom(json!({ "photo": photo })), a_text("Ours")],
        ),
        (
            json!({ "voice": { "file_id": "AwAC", "duration": 3 } }),
            vec![custom(json!({ "voice": { "file_id": "AwAC", "duration": 3 } }))],
        ),
        (json!({ "contact": contact }), vec![custom(json!({ "contact": contact }))]),
        (json!({ "location": at }), vec![place(None, None)]),
        (
            json!({ "venue": venue, "location": at }),
            vec![place(Some("The Table"), Some("1 High Street"))],
        ),
    ] {
        let inbound = told_by("message", message(fields.clone()));
        assert_eq!(heard(&inbound).content, content, "{fields}");
    }
    // What Telegram notes in a chat was written by nobody.
    let pinned = message(json!({ "text": "Hello" }));
    assert_eq!(told_by("message", message(json!({ "pinned_message": pinned }))), []);
}

#[test]
fn a_quote_counts_where_the_bot_wrote_what_is_quoted() {
    for (author, quoted) in [(BOT, Some("2718281828:41")), (PERSON.unsigned_abs(), None)] {
        let mut earlier = message(json!({ "message_id": 41, "text": "Your table is ready." }));
        earlier["from"]["id"] = author.into();
        let answer = json!({ "text": "Thanks", "reply_to_message": earlier });
        let inbound = told_by("message", message(answer));
        assert_eq!(heard(&inbound).quoted_id.as_deref(), quoted, "{author}");
    }
}

#[test]
fn in_a_group_only_what_quotes_the_bot_is_heard_and_nobody_is_taken_off() {
    let chat = json!({ "id": GROUP, "type": "supergroup" });
    let mut ours = message(json!({ "message_id": 41, "chat": chat, "text": "Dinner at eight" }));
    ours["from"]["id"] = BOT.into();
    let stop = message(json!({ "chat": chat, "text": "STOP" }));
    assert_eq!(told_by("message", stop.clone()), []);
    let mut quoting = stop;
    quoting["reply_to_message"] = ours;
    let inbound = told_by("message", quoting);
    let said = heard(&inbound);
    assert_eq!((said.from.value(), said.id.as_str()), ("-1001234567890", "-1001234567890:42"));
    assert_eq!(said.quoted_id.as_deref(), Some("-1001234567890:41"));
}

#[test]
fn in_a_topic_that_the_bot_made_nothing_quotes_the_bot_by_being_there() {
    let chat = json!({ "id": GROUP, "type": "supergroup", "is_forum": true });
    let mut first = message(json!({ "message_id": 41, "chat": chat }));
    first["from"]["id"] = BOT.into();
    let mut said = message(json!({ "chat": chat, "text": "Who comes?", "is_topic_message": true }));
    said["reply_to_message"] = first.clone();
    assert!(heard(&told_by("message", said.clone())).quoted_id.is_some());
    first["forum_topic_created"] = json!({ "name": "Dinner", "icon_color": 7_322_096 });
    said["reply_to_message"] = first;
    assert_eq!(told_by("message", said), []);
}

#[test]
fn what_is_tapped_under_a_channel_s_post_is_of_no_person_s_chat() {
    let tapped = |kind: &str| {
        let under = json!({ "chat": { "id": GROUP, "type": kind }, "message_id": 41, "date": 0 });
        let from = json!({ "id": PERSON, "is_bot": false, "first_name": "Ana" });
        let query = json!({ "id": "4382", "from": from, "message": under, "data": "1" });
        told_by("callback_query", query).len()
    };
    assert_eq!(["private", "group", "supergroup", "channel"].map(tapped), [1, 1, 1, 0]);
}

#[test]
fn a_button_that_is_tapped_quotes_what_it_stands_under_and_is_told_in_telegram_s_words() {
    let from = json!({ "id": PERSON, "is_bot": false, "first_name": "Ana" });
    // Of an old message there is no more than this.
    let under = json!({ "chat": { "id": PERSON, "type": "private" }, "message_id": 41, "date": 0 });
    let query = json!({
        "id": "4382", "from": from, "message": under, "chat_instance": "-31", "data": "STOP",
    });
    let inbound = told_by("callback_query", query);
    let said = heard(&inbound);
    assert_eq!((said.id.as_str(), said.from.value()), ("callback_query:4382", "2718281828"));
    assert_eq!(said.quoted_id.as_deref(), Some("2718281828:41"));
    let told = json!({ "callback_query": { "id": "4382", "from": from, "data": "STOP" } });
    assert_eq!(said.content, [Content::Custom(told.to_string())]);
    // It stands in a chat that is not the bot's.
    let elsewhere = json!({ "id": "4383", "from": from, "inline_message_id": "x", "data": "1" });
    assert_eq!(told_by("callback_query", elsewhere), []);
}

#[test]
fn who_says_stop_or_sends_the_command_is_taken_off_and_who_starts_the_bot_is_back() {
    for (text, is_lifted) in [
        ("Stop", Some(false)),
        ("/stop", Some(false)),
        ("/STOP@acme_bot", Some(false)),
        ("START", Some(true)),
        ("/start", Some(true)),
        ("/start shop-17", Some(true)),
        ("/stop sending me this", None),
        ("/stopped", None),
        ("/help", None),
        ("Please stop by", None),
    ] {
        let inbound = told_by("message", message(json!({ "text": text })));
        assert!(matches!(inbound[0], Inbound::Message(_)), "{text}");
        let wishes = inbound.iter().filter_map(|told| match told {
            Inbound::OptOut(wish) => Some((wish.recipient.value(), wish.is_lifted)),
            _ => None,
        });
        let wishes: Vec<_> = wishes.collect();
        let expected: Vec<_> = is_lifted.map(|it| ("2718281828", it)).into_iter().collect();
        assert_eq!(wishes, expected, "{text}");
    }
    // What stands below a picture is about the picture.
    let captioned = message(json!({ "photo": [{ "file_id": "AgAC" }], "caption": "STOP" }));
    assert_eq!(told_by("message", captioned).len(), 1);
}

#[test]
fn only_who_shows_the_secret_is_believed_and_without_one_nobody() {
    let update = json!({ "update_id": 7, "message": message(json!({ "text": "STOP" })) });
    let verdict = |account: &Account, shown| called(account, shown, &update).verdict;
    let known = account();
    assert_eq!(verdict(&known, Some("s3cret")), Verdict::Understood);
    for wrong in [None, Some(""), Some("s3cre"), Some("s3crets"), Some("S3cret"), Some("s3cret ")] {
        assert_eq!(verdict(&known, wrong), Verdict::Forged, "{wrong:?}");
    }
    let without = |name: &str| {
        let mut account = account();
        account.secrets.remove(name);
        account.settings.remove(name);
        account
    };
    for missing in ["secret_token", "sender"] {
        for shown in [None, Some(""), Some("s3cret")] {
            assert_eq!(verdict(&without(missing), shown), Verdict::Forged, "{missing} {shown:?}");
        }
    }
}

#[test]
fn what_names_no_chat_is_not_understood() {
    for message in [json!({ "message_id": 42, "text": "STOP" }), json!({ "chat": { "id": 1 } })] {
        let update = json!({ "update_id": 7, "message": message });
        let outcome = called(&account(), Some("s3cret"), &update);
        assert_eq!((outcome.verdict, outcome.status), (Verdict::NotUnderstood, 200), "{message}");
    }
}
