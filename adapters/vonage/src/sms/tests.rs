use std::time::Duration;

use dispatch_contract::{
    Channel, ChannelAdapter, Content, Endpoint, Field, Message, Options, UnixMillis,
};
use dispatch_kit::{
    conformance::assert_parts,
    golden::{GoldenMessage, assert_golden},
};
use dispatch_sms::{SmsEncoding, SmsOptions};
use serde_json::json;

use super::*;
use crate::{ApiVersion, VonageSubject, wire, wire_of_use};

const ATTEMPT: &str = "0198c0ffee007000800000000000beef.7";

fn text(from: &str, options: Options) -> Message {
    Message {
        channel: Channel::SMS,
        from: Endpoint::Number(from.to_owned()),
        to: Endpoint::Number("447700900000".to_owned()),
        content: Content::Text("Hello from Acme!".to_owned()),
        options,
    }
}

fn encoded_as(encoding: SmsEncoding) -> Options {
    Options::of(&SmsOptions { encoding: Some(encoding), ttl_s: None, ..SmsOptions::default() })
}

#[tokio::test]
async fn it_keeps_what_it_declares() {
    for version in [ApiVersion::V1, ApiVersion::V01] {
        let subject = VonageSubject::usual(&Channel::SMS, version).expect("one of Vonage's");
        assert_parts(&subject, subject.parts()).await;
    }
}

#[tokio::test]
async fn what_leaves_is_as_its_golden_file_has_it() {
    let subject = VonageSubject::usual(&Channel::SMS, ApiVersion::V1).expect("one of Vonage's");
    let plain = |name| GoldenMessage::new(name, text("Acme", Options::default()));
    let messages = [
        plain("text"),
        plain("text-of-use-for-ten-minutes").of_use_for(Duration::from_secs(600)),
        GoldenMessage::new(
            "text-as-unicode",
            text("447700900001", encoded_as(SmsEncoding::Unicode)),
        ),
    ];
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/golden");
    assert_golden(&subject, folder, &["authorization", "content-type"], &messages).await;
}

#[test]
fn a_text_is_flat_in_v1_and_nested_in_v0_1() {
    let wire = wire(&text("Acme", Options::default()));
    assert_eq!(
        wire.v1.expect("sayable"),
        json!({
            "channel": "sms",
            "message_type": "text",
            "to": "447700900000",
            "from": "Acme",
            "text": "Hello from Acme!",
            "client_ref": ATTEMPT,
            "webhook_version": "v1",
            "webhook_url": "https://example.com/status",
        })
    );
    assert_eq!(
        wire.v01.expect("sayable"),
        json!({
            "to": { "type": "sms", "number": "447700900000" },
            "from": { "type": "sms", "number": "Acme" },
            "message": { "content": { "type": "text", "text": "Hello from Acme!" } },
            "client_ref": ATTEMPT,
        })
    );
}

#[test]
fn the_encoding_has_a_place_in_v1_only() {
    for (encoding, name) in [
        (SmsEncoding::Auto, "auto"),
        (SmsEncoding::Text, "text"),
        (SmsEncoding::Unicode, "unicode"),
    ] {
        let wire = wire(&text("Acme", encoded_as(encoding)));
        assert_eq!(wire.v1.expect("sayable")["sms"], json!({ "encoding_type": name }));
        // What v0.1 does by itself it need not be told; the rest goes through v1.
        assert_eq!(wire.v01.is_some(), encoding == SmsEncoding::Auto, "{name}");
    }
}

fn living(ttl_s: Option<u32>) -> Options {
    Options::of(&SmsOptions { encoding: Some(SmsEncoding::Auto), ttl_s, ..SmsOptions::default() })
}

#[test]
fn what_is_of_use_for_a_while_only_lives_no_longer() {
    let ttl = |asked, useful_for: Option<u64>| {
        let wire = wire_of_use(&text("Acme", living(asked)), useful_for.map(Duration::from_secs));
        let ttl = wire.v1.expect("sayable").get("ttl").and_then(serde_json::Value::as_u64);
        assert_eq!(wire.v01.is_none(), ttl.is_some(), "v0.1 has no word for it");
        ttl
    };
    assert_eq!(ttl(None, None), None);
    assert_eq!(ttl(Some(90_000), None), Some(90_000), "as it was asked for");
    assert_eq!(ttl(None, Some(600)), Some(600), "the next step goes out then");
    assert_eq!(ttl(None, Some(3)), Some(20), "the shortest there is");
    assert_eq!(ttl(None, Some(259_200)), None, "as long as Vonage tries by itself");
    assert_eq!(ttl(Some(90_000), Some(600)), Some(600));
    assert_eq!(ttl(Some(60), Some(600)), Some(60));
    assert_eq!(ttl(Some(604_800), Some(500_000)), Some(604_800), "nothing shortens it");
}

#[test]
fn a_text_that_is_to_be_gsm_is() {
    let adapter = adapter(&Arc::default());
    let found = |encoding, said: &str| {
        let content = Content::Text(said.to_owned());
        let message = Message { content, ..text("Acme", encoded_as(encoding)) };
        let found = adapter.check(&message, UnixMillis(0));
        found.into_iter().map(|violation| (violation.field, violation.problem)).collect::<Vec<_>>()
    };
    for said in ["Hello @ £5 {a} \\ ^ ~ [b] | €", "Åse, Ñandù, Ωmega\n"] {
        assert_eq!(found(SmsEncoding::Text, said), []);
    }
    for said in ["Ready 🎉", "Привет", "“quoted”", "a\tb", "c’est"] {
        let [(field, problem)] = &found(SmsEncoding::Text, said)[..] else { panic!("{said}") };
        assert_eq!(*field, Field::Option("encoding"));
        assert!(problem.starts_with("must be unicode or auto: character "), "{problem}");
        assert_eq!(found(SmsEncoding::Auto, said), []);
        assert_eq!(found(SmsEncoding::Unicode, said), []);
    }
}

#[test]
fn a_text_says_something_and_no_carrier_keeps_it_for_a_month() {
    let adapter = adapter(&Arc::default());
    for (said, right) in
        [("a", true), ("  ", false), ("\n", false), ("\u{2060}", false), ("a\0", false)]
    {
        let content = Content::Text(said.to_owned());
        let message = Message { content, ..text("Acme", Options::default()) };
        let found = adapter.check(&message, UnixMillis(0));
        assert_eq!(found.is_empty(), right, "{said:?}");
        assert!(found.iter().all(|violation| violation.field == Field::Within("text")));
    }
    for (ttl_s, right) in [(0, false), (1, true), (604_800, true), (604_801, false)] {
        let found = adapter.check(&text("Acme", living(Some(ttl_s))), UnixMillis(0));
        assert_eq!(found.is_empty(), right, "{ttl_s}");
        assert!(found.iter().all(|violation| violation.field == Field::Option("ttl_s")));
    }
}

#[test]
fn what_a_country_has_registered_goes_along_through_v1() {
    let registered = |content_id: Option<&str>, entity_id: Option<&str>| {
        let [content_id, entity_id] = [content_id, entity_id].map(|id| id.map(str::to_owned));
        let options = SmsOptions { content_id, entity_id, ..SmsOptions::default() };
        text("Dispatch", Options::of(&options))
    };
    let both = wire(&registered(Some("1107457532145798767"), Some("1101456324675322134")));
    let v1 = both.v1.expect("sayable");
    assert_eq!(
        v1["sms"],
        json!({ "content_id": "1107457532145798767", "entity_id": "1101456324675322134" })
    );
    assert!(both.v01.is_none());
    let one = wire(&registered(None, Some("1")));
    assert_eq!(one.v1.expect("sayable")["sms"], json!({ "entity_id": "1" }));
    assert!(one.v01.is_none());
}
