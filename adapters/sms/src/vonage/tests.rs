use dispatch_contract::{Content, Endpoint, Message, Options, SmsEncoding, SmsOptions};
use dispatch_kit::{
    conformance::assert_conforms,
    vonage::{ApiVersion, VonageSubject, wire},
};
use serde_json::json;

use super::*;

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
    Options { sms: Some(SmsOptions { encoding }), ..Options::default() }
}

#[tokio::test]
async fn it_keeps_what_it_declares() {
    for version in [ApiVersion::V1, ApiVersion::V01] {
        let client = HttpClient::new().expect("a client");
        let samples = vec![text("447700900001", Options::default())];
        assert_conforms(&VonageSubject::new(adapter(client), version, samples)).await;
    }
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
