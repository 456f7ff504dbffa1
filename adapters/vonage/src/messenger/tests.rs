use dispatch_contract::{
    Channel, ChannelAdapter, Content, Endpoint, Field, Media, Message, Options, UnixMillis,
    Violation,
};
use dispatch_kit::conformance::assert_parts;
use dispatch_messenger::{MessengerCategory, MessengerOptions};
use serde_json::json;

use super::*;
use crate::{ApiVersion, VonageSubject, wire};

const NOW: UnixMillis = UnixMillis(1_800_000_000_000);
const ATTEMPT: &str = "0198c0ffee007000800000000000beef.7";

fn message(content: Content, options: Option<(MessengerCategory, Option<&str>)>) -> Message {
    let messenger = options.map(|(category, tag)| MessengerOptions {
        category: Some(category),
        tag: tag.map(str::to_owned),
    });
    Message {
        channel: Channel::MESSENGER,
        from: Endpoint::Id("9876543210".to_owned()),
        to: Endpoint::Id("0123456789".to_owned()),
        content,
        options: messenger.as_ref().map(Options::of).unwrap_or_default(),
    }
}

fn text() -> Content {
    Content::Text("Hello from Acme!".to_owned())
}

fn media(file: &str) -> Media {
    Media { url: format!("https://example.com/{file}"), caption: None }
}

#[tokio::test]
async fn it_keeps_what_it_declares() {
    for version in [ApiVersion::V1, ApiVersion::V01] {
        let subject = VonageSubject::usual(&Channel::MESSENGER, version).expect("one of Vonage's");
        assert_parts(&subject, subject.parts()).await;
    }
}

#[test]
fn a_tagged_text_keeps_category_and_tag_in_both_versions() {
    let options = Some((MessengerCategory::MessageTag, Some("HUMAN_AGENT")));
    let wire = wire(&message(text(), options));
    assert_eq!(
        wire.v1.expect("sayable"),
        json!({
            "channel": "messenger",
            "message_type": "text",
            "to": "0123456789",
            "from": "9876543210",
            "text": "Hello from Acme!",
            "messenger": { "category": "message_tag", "tag": "HUMAN_AGENT" },
            "client_ref": ATTEMPT,
            "webhook_version": "v1",
            "webhook_url": "https://example.com/status",
        })
    );
    assert_eq!(
        wire.v01.expect("sayable"),
        json!({
            "to": { "type": "messenger", "id": "0123456789" },
            "from": { "type": "messenger", "id": "9876543210" },
            "message": {
                "content": { "type": "text", "text": "Hello from Acme!" },
                "messenger": { "category": "message_tag", "tag": "HUMAN_AGENT" },
            },
            "client_ref": ATTEMPT,
        })
    );
}

#[test]
fn a_picture_is_named_like_its_kind() {
    let wire = wire(&message(Content::Image(media("image.jpg")), None));
    let v1 = wire.v1.expect("sayable");
    assert_eq!(v1["image"], json!({ "url": "https://example.com/image.jpg" }));
    assert_eq!(v1.get("messenger"), None);
    assert_eq!(
        wire.v01.expect("sayable")["message"],
        json!({ "content": {
            "type": "image", "image": { "url": "https://example.com/image.jpg" },
        } })
    );
}

#[test]
fn a_tag_is_given_exactly_with_category_message_tag() {
    use MessengerCategory::{MessageTag, Response, Update};

    let adapter = adapter(&Arc::default());
    for (category, tag, right) in [
        (MessageTag, Some("HUMAN_AGENT"), true),
        (MessageTag, Some(""), false),
        (MessageTag, Some("HUMAN\u{200b}AGENT"), false),
        (MessageTag, Some("human agent"), false),
        (MessageTag, None, false),
        (Response, None, true),
        (Response, Some("HUMAN_AGENT"), false),
        (Update, None, true),
        (Update, Some("HUMAN_AGENT"), false),
    ] {
        let found = adapter.check(&message(text(), Some((category, tag))), NOW);
        assert_eq!(found.is_empty(), right, "{category:?} {tag:?}");
        assert!(found.iter().all(|violation| violation.field == Field::Option("tag")));
    }
}

#[test]
fn a_tag_is_warned_of_before_the_day_it_ends_and_refused_from_then_on() {
    // 2026-04-27T00:00:00Z
    let day = UnixMillis(1_777_248_000_000);
    let adapter = adapter(&Arc::default());
    for tag in ["CONFIRMED_EVENT_UPDATE", "ACCOUNT_UPDATE", "POST_PURCHASE_UPDATE"] {
        let message = message(text(), Some((MessengerCategory::MessageTag, Some(tag))));
        let told = |found: Vec<Violation>| {
            let [Violation { field, problem }] = &found[..] else { panic!("{found:?}") };
            assert_eq!(*field, Field::Option("tag"));
            assert!(problem.contains("2026-04-27") && problem.contains("HUMAN_AGENT"), "{problem}");
        };
        let before = UnixMillis(day.0 - 1);
        assert_eq!(adapter.check(&message, before), []);
        told(adapter.warnings(&message, before));
        told(adapter.check(&message, day));
        assert_eq!(adapter.warnings(&message, day), []);
    }
    let living = message(text(), Some((MessengerCategory::MessageTag, Some("HUMAN_AGENT"))));
    assert_eq!(
        (adapter.check(&living, NOW), adapter.warnings(&living, UnixMillis(0))),
        (vec![], vec![])
    );
}
