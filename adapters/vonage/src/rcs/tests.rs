use std::time::Duration;

use dispatch_contract::{
    Channel, ChannelAdapter, Content, Endpoint, Field, Media, Message, Options, UnixMillis,
};
use dispatch_kit::conformance::assert_parts;
use dispatch_rcs::{RcsCategory, RcsOptions};
use serde_json::json;

use super::*;
use crate::{ApiVersion, VonageSubject, wire, wire_of_use};

const ATTEMPT: &str = "0198c0ffee007000800000000000beef.7";

fn message(content: Content, rcs: RcsOptions) -> Message {
    Message {
        channel: Channel::RCS,
        from: Endpoint::Id("AcmeShop".to_owned()),
        to: Endpoint::Number("447700900000".to_owned()),
        content,
        options: Options::of(&rcs),
    }
}

fn text() -> Content {
    Content::Text("Hello from Acme!".to_owned())
}

fn media(file: &str, caption: Option<&str>) -> Media {
    Media { url: format!("https://example.com/{file}"), caption: caption.map(str::to_owned) }
}

fn card() -> Content {
    let card = json!({ "contentMessage": { "text": "Yes?", "suggestions": [{ "reply": { "text": "Yes" } }] } });
    Content::Custom(card.to_string())
}

fn ttl(ttl_s: u32) -> RcsOptions {
    RcsOptions { category: None, ttl_s: Some(ttl_s) }
}

fn check(message: &Message) -> Vec<Field> {
    let adapter = adapter(&Arc::default());
    adapter.check(message, UnixMillis(0)).into_iter().map(|violation| violation.field).collect()
}

#[tokio::test]
async fn it_keeps_what_it_declares() {
    for version in [ApiVersion::V1, ApiVersion::V01] {
        let subject = VonageSubject::usual(&Channel::RCS, version).expect("one of Vonage's");
        assert_parts(&subject, subject.parts()).await;
    }
}

#[test]
fn only_v1_knows_it_and_has_one_shape_of_webhooks() {
    let options = RcsOptions { category: Some(RcsCategory::ServiceRequest), ttl_s: Some(86_400) };
    let wire = wire(&message(text(), options));
    assert_eq!(
        wire.v1.expect("sayable"),
        json!({
            "channel": "rcs",
            "message_type": "text",
            "to": "447700900000",
            "from": "AcmeShop",
            "text": "Hello from Acme!",
            "rcs": { "category": "service-request" },
            "ttl": 86_400,
            "client_ref": ATTEMPT,
            "webhook_url": "https://example.com/status",
        })
    );
    assert!(wire.v01.is_none());
}

#[test]
fn a_card_is_passed_through_and_a_code_is_said() {
    let v1 = |content| wire(&message(content, RcsOptions::default())).v1.expect("sayable");
    let Content::Custom(given) = card() else { panic!("a card is custom content") };
    assert_eq!(v1(card())["custom"].to_string(), given);
    let said = Some("Your code is {code}.".to_owned());
    let code = v1(Content::Code { code: "271828".to_owned(), text: said });
    assert_eq!(
        (&code["message_type"], &code["text"]),
        (&json!("text"), &json!("Your code is 271828."))
    );
}

#[test]
fn what_rcs_does_not_know_is_refused() {
    let check = |content| check(&message(content, RcsOptions::default()));
    assert_eq!(check(Content::Text("ж".repeat(3_072))), []);
    assert_eq!(check(Content::Text("ж".repeat(3_073))), [Field::Within("text")]);
    assert_eq!(check(Content::Audio(media("a.mp3", None))), [Field::Content]);
    assert_eq!(
        check(Content::Image(media("a.png", Some("Look")))),
        [Field::Within("image.caption")]
    );
}

#[test]
fn a_sender_is_the_registered_one_without_a_blank() {
    let id = |text: &str| Endpoint::Id(text.to_owned());
    for (from, is_right) in [
        (id("Vonage"), true),
        (id("acme_shop-1.uk"), true),
        (id(&"a".repeat(50)), true),
        (id(&"a".repeat(51)), false),
        (id("Acme Shop"), false),
        (id("Łódź"), false),
        (id(""), false),
        (Endpoint::Number("447700900001".to_owned()), false),
    ] {
        let message = Message { from: from.clone(), ..message(text(), RcsOptions::default()) };
        let wrong = if is_right { vec![] } else { vec![Field::From] };
        assert_eq!(check(&message), wrong, "{from:?}");
    }
}

#[test]
fn the_time_to_live_is_five_minutes_to_thirty_days() {
    for (ttl_s, is_right) in [(299, false), (300, true), (2_592_000, true), (2_592_001, false)] {
        let found = check(&message(text(), ttl(ttl_s)));
        let wrong = if is_right { vec![] } else { vec![Field::Option("ttl_s")] };
        assert_eq!(found, wrong, "{ttl_s}");
    }
}

#[test]
fn what_is_of_use_for_a_while_only_lives_no_longer() {
    let ttl = |asked, seconds| {
        let wire = wire_of_use(&message(text(), asked), Some(Duration::from_secs(seconds)));
        wire.v1.expect("sayable").get("ttl").and_then(serde_json::Value::as_u64)
    };
    assert_eq!(ttl(RcsOptions::default(), 600), Some(600));
    assert_eq!(ttl(RcsOptions::default(), 5), Some(300), "the shortest there is");
    assert_eq!(ttl(RcsOptions::default(), 2_592_000), None, "as long as it is tried anyway");
    assert_eq!(ttl(self::ttl(86_400), 600), Some(600));
    assert_eq!(ttl(self::ttl(300), 600), Some(300));
}

#[test]
fn vonage_takes_rcs_back_and_no_other_channel_s() {
    use dispatch_contract::Provider;

    for adapter in crate::provider::vonage().channels() {
        assert_eq!(adapter.capabilities().recall, *adapter.channel() == Channel::RCS);
    }
}
