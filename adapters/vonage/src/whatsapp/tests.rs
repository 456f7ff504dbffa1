use dispatch_contract::{
    Channel, ChannelAdapter, Content, Endpoint, Field, Media, Message, Options, UnixMillis,
};
use dispatch_kit::conformance::assert_parts;
use dispatch_whatsapp::{WhatsAppOptions, WhatsAppPolicy};
use serde_json::json;

use super::*;
use crate::{ApiVersion, VonageSubject, wire};

const ATTEMPT: &str = "0198c0ffee007000800000000000beef.7";

fn message(content: Content, locale: Option<&str>) -> Message {
    let is_code = matches!(content, Content::Code { .. });
    let whatsapp = locale.map(|locale| WhatsAppOptions {
        policy: Some(WhatsAppPolicy::Deterministic),
        locale: Some(locale.to_owned()),
        code_template: is_code.then(|| "one_time_code".to_owned()),
        ..WhatsAppOptions::default()
    });
    Message {
        channel: Channel::WHATSAPP,
        from: Endpoint::Number("447700900001".to_owned()),
        to: Endpoint::Number("447700900000".to_owned()),
        content,
        options: whatsapp.as_ref().map(Options::of).unwrap_or_default(),
    }
}

fn template(parameters: &[&str]) -> Content {
    Content::Template {
        name: "9b6b4fcb_da19:verify".to_owned(),
        parameters: parameters.iter().map(|text| (*text).to_owned()).collect(),
    }
}

fn media(file: &str, caption: Option<&str>) -> Media {
    Media { url: format!("https://example.com/{file}"), caption: caption.map(str::to_owned) }
}

#[tokio::test]
async fn it_keeps_what_it_declares() {
    for version in [ApiVersion::V1, ApiVersion::V01] {
        let subject = VonageSubject::usual(&Channel::WHATSAPP, version).expect("one of Vonage's");
        assert_parts(&subject, subject.parts()).await;
    }
}

#[test]
fn a_person_is_reached_by_the_id_that_whatsapp_gave_them() {
    let long = "a1".repeat(64);
    let id = |text: &str| Endpoint::Id(text.to_owned());
    let to = |to, content| Message { to, ..message(content, Some("en-GB")) };
    let text = || Content::Text("Hello from Acme!".to_owned());
    for id in ["US.13491208655302741918", "GB.ENT.1a", "DE.1", &format!("US.ENT.{long}")] {
        let message = to(Endpoint::Id(id.to_owned()), text());
        assert_eq!(check(&message), []);
        let wire = wire(&message);
        assert_eq!(wire.v1.expect("sayable")["to"], id);
        assert!(wire.v01.is_none(), "goes through v1");
    }
    for wrong in
        ["", "US.", "US", "us.1", "USA.1", "U.1", "US.ENT.", "US.1-2", "US.1.2", "447700900000"]
    {
        assert_eq!(check(&to(id(wrong), text())), [Field::To], "{wrong}");
    }
    assert_eq!(check(&to(id(&format!("US.{long}a")), text())), [Field::To]);
    let code = || Content::Code { code: "271828".to_owned(), text: None };
    assert_eq!(check(&to(id("US.1"), code())), [Field::To], "codes go to numbers");
    assert_eq!(check(&to(Endpoint::Number("447700900000".to_owned()), code())), []);
}

#[test]
fn a_code_goes_out_in_an_authentication_template() {
    let code = |text| Content::Code { code: "271828".to_owned(), text };
    let wire = wire(&message(code(None), Some("en-GB")));
    let v1 = wire.v1.expect("sayable");
    let parameters = json!([{ "type": "text", "text": "271828" }]);
    assert_eq!(v1["message_type"], "custom");
    assert_eq!(
        v1["custom"],
        json!({
            "type": "template",
            "template": {
                "name": "one_time_code",
                "language": { "policy": "deterministic", "code": "en_GB" },
                "components": [
                    { "type": "body", "parameters": parameters },
                    { "type": "button", "sub_type": "url", "index": "0", "parameters": parameters },
                ],
            },
        })
    );
    assert_eq!((v1.get("whatsapp"), wire.v01), (None, None));

    let adapter = adapter(&Arc::default());
    let fields = |message: &Message| -> Vec<Field> {
        adapter.check(message, UnixMillis(0)).into_iter().map(|it| it.field).collect()
    };
    assert_eq!(fields(&message(code(None), Some("en-GB"))), []);
    let needed = [Field::Option("locale"), Field::Option("code_template")];
    assert_eq!(fields(&message(code(None), None)), needed);
    let spoken = code(Some("Your code is {code}.".to_owned()));
    assert_eq!(fields(&message(spoken, Some("en-GB"))), [Field::Within("code.text")]);
    let options = message(code(None), Some("en-GB")).options;
    let text = Message { options, ..message(Content::Text("Hello".to_owned()), None) };
    assert_eq!(fields(&text), [Field::Option("code_template")]);
}

#[test]
fn a_template_carries_its_parameters_in_order_and_its_language() {
    let wire = wire(&message(template(&["Verification", "2526", "5"]), Some("en_US")));
    let content = json!({
        "name": "9b6b4fcb_da19:verify", "parameters": ["Verification", "2526", "5"],
    });
    assert_eq!(
        wire.v1.expect("sayable"),
        json!({
            "channel": "whatsapp",
            "message_type": "template",
            "to": "447700900000",
            "from": "447700900001",
            "template": content,
            "whatsapp": { "policy": "deterministic", "locale": "en_US" },
            "client_ref": ATTEMPT,
            "webhook_version": "v1",
            "webhook_url": "https://example.com/status",
        })
    );
    assert_eq!(
        wire.v01.expect("sayable"),
        json!({
            "to": { "type": "whatsapp", "number": "447700900000" },
            "from": { "type": "whatsapp", "number": "447700900001" },
            "message": {
                "content": { "type": "template", "template": content },
                "whatsapp": { "policy": "deterministic", "locale": "en_US" },
            },
            "client_ref": ATTEMPT,
        })
    );
}

#[test]
fn a_template_without_blanks_has_no_parameters() {
    let wire = wire(&message(template(&[]), Some("en-GB")));
    assert_eq!(wire.v1.expect("sayable")["template"], json!({ "name": "9b6b4fcb_da19:verify" }));
}

#[test]
fn a_language_goes_with_templates_only() {
    let wire = wire(&message(Content::Text("Hello".to_owned()), Some("en-GB")));
    assert_eq!(wire.v1.expect("sayable").get("whatsapp"), None);
    assert_eq!(wire.v01.expect("sayable")["message"].get("whatsapp"), None);
}

#[test]
fn custom_content_is_passed_through() {
    let custom = json!({ "type": "location", "location": { "latitude": -1.5, "name": "Café" } });
    let wire = wire(&message(Content::Custom(custom.to_string()), None));
    let v1 = wire.v1.expect("sayable");
    assert_eq!((&v1["message_type"], &v1["custom"]), (&json!("custom"), &custom));
    assert!(wire.v01.is_none(), "v0.1 has no word for it");
}

#[test]
fn a_film_s_caption_goes_through_v1() {
    let captioned = wire(&message(Content::Video(media("a.mp4", Some("Look"))), None));
    assert!(captioned.v01.is_none());
    assert_eq!(captioned.v1.expect("sayable")["video"]["caption"], "Look");
    assert!(wire(&message(Content::Video(media("a.mp4", None)), None)).v01.is_some());
}

#[test]
fn a_template_needs_a_language() {
    let adapter = adapter(&Arc::default());
    for (locale, right) in [
        (Some("en-GB"), true),
        (Some("en_GB"), true),
        (Some("zh-Hant-TW"), true),
        (Some("pt"), true),
        (Some(""), false),
        (Some("English (UK)"), false),
        (None, false),
    ] {
        let found = adapter.check(&message(template(&[]), locale), UnixMillis(0));
        assert_eq!(found.is_empty(), right, "{locale:?}");
        assert!(found.iter().all(|violation| violation.field == Field::Option("locale")));
    }
}

#[test]
fn a_parameter_has_the_form_that_whatsapp_takes() {
    let adapter = adapter(&Arc::default());
    let long = "ж".repeat(1_024);
    let longer = "ж".repeat(1_025);
    let endless = "a".repeat(100_000);
    for (text, right) in [
        ("20:00", true),
        ("four    blanks", true),
        (&*long, true),
        ("", false),
        ("  ", false),
        ("\u{200b}", false),
        ("two\nlines", false),
        ("two\r\nlines", false),
        ("a\ttab", false),
        ("five     blanks", false),
        ("a\0b", false),
        (&*longer, false),
        (&*endless, false),
    ] {
        let found = adapter.check(&message(template(&["one", text]), Some("en-GB")), UnixMillis(0));
        assert_eq!(found.is_empty(), right, "{text:.40}: {found:?}");
        assert!(found.iter().all(|violation| violation.field == Field::Parameter(1)), "{found:?}");
        let path = "message.template.parameters[1]";
        assert!(found.iter().all(|violation| violation.field.to_string() == path));
    }
}

fn check(message: &Message) -> Vec<Field> {
    let adapter = adapter(&Arc::default());
    adapter.check(message, UnixMillis(0)).into_iter().map(|violation| violation.field).collect()
}

#[test]
fn a_file_has_a_name_and_a_message_answers_another_through_v1() {
    let with = |content, options: &WhatsAppOptions| Message {
        options: Options::of(options),
        ..message(content, None)
    };
    let answer = WhatsAppOptions { reply_to: Some("u-1".to_owned()), ..Default::default() };
    let file = || Content::File(media("a.pdf", None));
    let wire_of = wire(&with(Content::Text("Yes.".to_owned()), &answer));
    let v1 = wire_of.v1.expect("sayable");
    assert_eq!((&v1["context"], v1.get("whatsapp")), (&json!({ "message_uuid": "u-1" }), None));
    assert!(wire_of.v01.is_none());

    let name = WhatsAppOptions { file_name: Some("menu.pdf".to_owned()), ..Default::default() };
    let wire_of = wire(&with(file(), &name));
    let v1 = wire_of.v1.expect("sayable");
    assert_eq!(v1["file"], json!({ "url": "https://example.com/a.pdf", "name": "menu.pdf" }));
    assert!(wire_of.v01.is_none());
    assert_eq!(check(&with(file(), &name)), []);
    let misplaced = with(Content::Image(media("a.png", None)), &name);
    assert_eq!(check(&misplaced), [Field::Option("file_name")]);
}
