//! The channels as a whole: the suite, and what leaves.

use std::time::Duration;

use dispatch_contract::{
    Account, Channel, Content, Endpoint, Field, Media, Message, Options, Probe, Provider, Secret,
    UnixMillis,
};
use dispatch_kit::{
    conformance::{
        ConformanceSubject, StubAnswer, assert_conforms,
        stub::{Behaviour, Stub},
    },
    golden::{GoldenMessage, assert_golden},
};
use dispatch_sms::SmsOptions;
use serde_json::{Value, json};

use crate::{TwilioSubject, samples::TEMPLATE};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/golden");

fn subject(channel: &Channel) -> TwilioSubject {
    TwilioSubject::usual(channel).expect("one of Twilio's")
}

fn message(channel: &Channel, content: Content) -> Message {
    let from = match channel {
        _ if *channel == Channel::RCS => Endpoint::Id("acme_agent".to_owned()),
        _ => Endpoint::Number("447700900001".to_owned()),
    };
    let to = Endpoint::Number("447700900000".to_owned());
    Message { channel: channel.clone(), from, to, content, options: Options::default() }
}

fn text() -> Content {
    Content::Text("Ваш стол готов & 50 % + 1.\nПриходите! 🎉".to_owned())
}

fn code() -> Content {
    let text = Some("Your code is {code}.".to_owned());
    Content::Code { code: "271828".to_owned(), text }
}

fn media(file: &str, caption: Option<&str>) -> Media {
    let url = format!("https://example.com/{file}?a=1&b=2");
    Media { url, caption: caption.map(str::to_owned) }
}

fn options(document: &Value) -> Options {
    Options::document(document.as_object().expect("an object").clone())
}

#[tokio::test]
async fn every_channel_keeps_what_it_declares() {
    for channel in [Channel::SMS, Channel::MMS, Channel::WHATSAPP, Channel::RCS] {
        assert_conforms(&subject(&channel)).await;
    }
}

#[tokio::test]
async fn sms_leaves_as_its_golden_files_have_it() {
    let sms = |content| message(&Channel::SMS, content);
    let from = |sender: &str| {
        let from = Endpoint::Number(sender.to_owned());
        Message { from, ..sms(Content::Text("Hello".to_owned())) }
    };
    let timed = SmsOptions { ttl_s: Some(120), ..SmsOptions::default() };
    let timed = Message { options: Options::of(&timed), ..sms(text()) };
    let messages = [
        GoldenMessage::new("text", sms(text())),
        GoldenMessage::new("code", sms(code())),
        GoldenMessage::new("from-a-name", from("Acme Ltd")),
        GoldenMessage::new("from-a-short-code", from("62226")),
        GoldenMessage::new("of-use-for-a-while", sms(text()))
            .of_use_for(Duration::from_millis(90_500)),
        GoldenMessage::new("of-use-for-a-moment", sms(text()))
            .of_use_for(Duration::from_millis(10)),
        GoldenMessage::new("of-use-for-a-day", sms(text())).of_use_for(Duration::from_secs(86_400)),
        GoldenMessage::new("timed", timed.clone()),
        GoldenMessage::new("timed-and-of-less-use", timed).of_use_for(Duration::from_secs(60)),
    ];
    let headers = ["authorization", "content-type"];
    assert_golden(&subject(&Channel::SMS), FOLDER, &headers, &messages).await;
}

#[tokio::test]
async fn mms_leaves_as_its_golden_files_have_it() {
    let mms = |content| message(&Channel::MMS, content);
    let messages = [
        GoldenMessage::new("text", mms(text())),
        GoldenMessage::new("code", mms(code())),
        GoldenMessage::new("image", mms(Content::Image(media("a.jpg", Some("Look"))))),
        GoldenMessage::new("file", mms(Content::File(media("a.pdf", None)))),
    ];
    assert_golden(&subject(&Channel::MMS), FOLDER, &[], &messages).await;
}

#[tokio::test]
async fn whatsapp_leaves_as_its_golden_files_have_it() {
    let whatsapp = |content| message(&Channel::WHATSAPP, content);
    let template = |parameters: &[&str]| {
        let parameters = parameters.iter().map(|text| (*text).to_owned()).collect();
        whatsapp(Content::Template { name: TEMPLATE.to_owned(), parameters })
    };
    let bare = Content::Code { code: "271828".to_owned(), text: None };
    let coded = options(&json!({ "code_template": TEMPLATE }));
    let named = options(&json!({ "parameter_names": ["first_name", "table"] }));
    let place = |name: Option<&str>, address: Option<&str>| Content::Location {
        latitude: "51.5074".to_owned(),
        longitude: "-0.1278".to_owned(),
        name: name.map(str::to_owned),
        address: address.map(str::to_owned),
    };
    let messages = [
        GoldenMessage::new("text", whatsapp(text())),
        GoldenMessage::new("image", whatsapp(Content::Image(media("a.jpg", Some("Look"))))),
        GoldenMessage::new("file", whatsapp(Content::File(media("a.pdf", None)))),
        GoldenMessage::new("template", template(&["Ada \"the\" 1st", "ten"])),
        GoldenMessage::new("template-without-parameters", template(&[])),
        GoldenMessage::new(
            "template-with-names",
            Message { options: named, ..template(&["Ada", "ten"]) },
        ),
        GoldenMessage::new("location", whatsapp(place(Some("Acme"), Some("1 High Street")))),
        GoldenMessage::new("location-without-a-name", whatsapp(place(None, None))),
        GoldenMessage::new("code", Message { options: coded, ..whatsapp(bare) }),
    ];
    assert_golden(&subject(&Channel::WHATSAPP), FOLDER, &[], &messages).await;
}

#[tokio::test]
async fn rcs_leaves_as_its_golden_files_have_it() {
    let rcs = |content| message(&Channel::RCS, content);
    let messages = [
        GoldenMessage::new("text", rcs(text())).of_use_for(Duration::from_secs(600)),
        GoldenMessage::new("code", rcs(code())),
        GoldenMessage::new("image", rcs(Content::Image(media("a.png", None)))),
    ];
    assert_golden(&subject(&Channel::RCS), FOLDER, &[], &messages).await;
}

#[test]
fn a_template_is_named_by_its_content_sid_and_asks_for_no_language() {
    let subject = subject(&Channel::WHATSAPP);
    let named = |name: &str| {
        let content = Content::Template { name: name.to_owned(), parameters: vec![] };
        subject.adapter().check(&message(&Channel::WHATSAPP, content), UnixMillis(0))
    };
    assert!(named(TEMPLATE).is_empty(), "{:?}", named(TEMPLATE));
    for wrong in ["order_ready", "HX", &TEMPLATE[1..], &format!("{TEMPLATE}0")] {
        let found = named(wrong);
        assert!(found.iter().any(|it| it.field == Field::Within("template.name")), "{wrong}");
    }
    let code = Content::Code { code: "271828".to_owned(), text: None };
    let code = message(&Channel::WHATSAPP, code);
    let asked = |document: Value| {
        let message = Message { options: options(&document), ..code.clone() };
        subject
            .adapter()
            .check(&message, UnixMillis(0))
            .into_iter()
            .map(|it| it.field)
            .collect::<Vec<_>>()
    };
    let names = |document: Value| {
        let content =
            Content::Template { name: TEMPLATE.to_owned(), parameters: vec!["a".to_owned(); 2] };
        let message = message(&Channel::WHATSAPP, content);
        let message = Message { options: options(&document), ..message };
        subject.adapter().check(&message, UnixMillis(0)).len()
    };
    assert_eq!(names(json!({ "parameter_names": ["first_name", "table"] })), 0);
    for wrong in [json!(["a"]), json!(["a", "a"]), json!(["a", "b c"]), json!("a, b"), json!([])] {
        assert_ne!(names(json!({ "parameter_names": wrong })), 0, "{wrong}");
    }
    let field = Field::Option("code_template");
    assert_eq!(asked(json!({})), [field]);
    assert_eq!(asked(json!({ "code_template": "one_time_code" })), [field]);
    assert_eq!(asked(json!({ "code_template": TEMPLATE })), []);
}

#[tokio::test]
async fn a_credential_works_is_refused_or_is_not_known_of_and_nothing_is_sent() {
    let http = |status: u16| format!("the provider answered HTTP {status}");
    let provider = crate::provider();
    let (now, timeout) = (UnixMillis(0), Duration::from_secs(2));
    for (status, wanted) in [
        (200, Probe::Works),
        (401, Probe::Refused(http(401))),
        (403, Probe::CannotBeAsked(http(403))),
        (500, Probe::CannotBeAsked(http(500))),
    ] {
        let stub = Stub::start(Behaviour::Answer(StubAnswer::new(status, "{}"))).expect("a socket");
        let account = keyed(&stub.url());
        assert_eq!(provider.probe(&account, now, timeout).await, wanted);
        let request = stub.request().expect("a request");
        let line = request.lines().next();
        let path =
            "/2010-04-01/Accounts/AC0123456789abcdef0123456789abcdef/Messages.json?PageSize=1";
        assert_eq!(line, Some(format!("GET {path} HTTP/1.1").as_str()));
        // `SK…:a key's secret`.
        let credential = "U0swMTIzNDU2Nzg5YWJjZGVmMDEyMzQ1Njc4OWFiY2RlZjphIGtleSdzIHNlY3JldA==";
        assert!(request.contains(&format!("Basic {credential}")), "{request}");
    }
}

/// An account with a key of its own for calls.
fn keyed(base_url: &str) -> Account {
    let mut account = subject(&Channel::SMS).account(base_url);
    let key = ("api_key_sid".to_owned(), "SK0123456789abcdef0123456789abcdef".to_owned());
    account.settings.extend([key]);
    account.secrets.insert("api_key_secret".to_owned(), Secret::new("a key's secret"));
    account
}
