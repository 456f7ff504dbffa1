use std::time::Duration;

use dispatch_contract::{
    Channel, ChannelAdapter, Content, Endpoint, Field, Media, Message, Options, UnixMillis,
};
use dispatch_kit::conformance::assert_parts;
use dispatch_mms::MmsOptions;
use serde_json::json;

use super::*;
use crate::{ApiVersion, VonageSubject, wire, wire_of_use};

const ATTEMPT: &str = "0198c0ffee007000800000000000beef.7";

fn message(from: &str, content: Content) -> Message {
    Message {
        channel: Channel::MMS,
        from: Endpoint::Number(from.to_owned()),
        to: Endpoint::Number("12025550123".to_owned()),
        content,
        options: Options::default(),
    }
}

fn media(file: &str, caption: Option<&str>) -> Media {
    Media { url: format!("https://example.com/{file}"), caption: caption.map(str::to_owned) }
}

#[tokio::test]
async fn it_keeps_what_it_declares() {
    for (version, from) in [(ApiVersion::V1, "12025550100"), (ApiVersion::V01, "12345")] {
        let samples = [
            Content::Text("Hello from Acme!".to_owned()),
            Content::Image(media("a.jpg", None)),
            Content::Audio(media("a.mp3", None)),
            Content::Video(media("a.mp4", None)),
            Content::File(media("a.pdf", None)),
            Content::Code { code: "271828".to_owned(), text: None },
        ];
        let samples = samples.map(|content| message(from, content)).into();
        let subject = VonageSubject::new(&Channel::MMS, version, samples).expect("one of Vonage's");
        assert_parts(&subject, subject.parts()).await;
    }
}

#[test]
fn a_picture_from_a_short_code_has_words_in_both_versions() {
    let wire = wire(&message("12345", Content::Image(media("image.jpg", None))));
    assert_eq!(
        wire.v1.expect("sayable"),
        json!({
            "channel": "mms",
            "message_type": "image",
            "to": "12025550123",
            "from": "12345",
            "image": { "url": "https://example.com/image.jpg" },
            "client_ref": ATTEMPT,
            "webhook_version": "v1",
            "webhook_url": "https://example.com/status",
        })
    );
    assert_eq!(
        wire.v01.expect("sayable"),
        json!({
            "to": { "type": "mms", "number": "12025550123" },
            "from": { "type": "mms", "number": "12345" },
            "message": { "content": {
                "type": "image",
                "image": { "url": "https://example.com/image.jpg" },
            } },
            "client_ref": ATTEMPT,
        })
    );
}

#[test]
fn what_v0_1_does_not_know_goes_through_v1() {
    for (from, content) in [
        ("12025550100", Content::Image(media("a.jpg", None))),
        ("12345", Content::Text("Hello".to_owned())),
        ("12345", Content::Image(media("a.jpg", Some("Look")))),
        ("12345", Content::Video(media("a.mp4", None))),
    ] {
        let wire = wire(&message(from, content));
        assert!(wire.v01.is_none());
        assert_eq!(wire.v1.expect("sayable")["channel"], "mms");
    }
}

#[test]
fn its_life_is_300_s_to_3_days_and_no_longer_than_it_is_of_use() {
    let adapter = adapter(&Arc::default());
    let living = |ttl_s| {
        let content = Content::Image(media("a.jpg", None));
        let options = Options::of(&MmsOptions { ttl_s });
        Message { options, ..message("12345", content) }
    };
    for (ttl_s, right) in [(299, false), (300, true), (259_200, true), (259_201, false)] {
        let found = adapter.check(&living(Some(ttl_s)), UnixMillis(0));
        assert_eq!(found.is_empty(), right, "{ttl_s}");
        assert!(found.iter().all(|violation| violation.field == Field::Option("ttl_s")));
    }
    for (asked, seconds, ttl) in [
        (None, 600, Some(600)),
        (None, 60, Some(300)),
        (None, 259_200, None),
        (Some(900), 600, Some(600)),
        (Some(300), 600, Some(300)),
    ] {
        let wire = wire_of_use(&living(asked), Some(Duration::from_secs(seconds)));
        let told = wire.v1.expect("sayable").get("ttl").and_then(serde_json::Value::as_u64);
        assert_eq!(told, ttl, "{asked:?} {seconds}");
        assert_eq!(wire.v01.is_none(), ttl.is_some(), "v0.1 has no word for it");
    }
}
