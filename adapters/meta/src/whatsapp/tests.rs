use std::time::Duration;

use dispatch_contract::{
    Channel, ChannelAdapter, ContentKind, Fault, Field, Options, Retry, UnixMillis,
};
use dispatch_kit::{
    conformance::{ConformanceSubject, assert_conforms},
    golden::{GoldenMessage, assert_golden},
};

use super::*;
use crate::MetaSubject;

fn subject() -> MetaSubject {
    MetaSubject::usual(&Channel::WHATSAPP).expect("one of Meta's")
}

fn sample(kind: ContentKind) -> Message {
    subject().sample(kind).expect("a sample")
}

fn fields(message: &Message) -> Vec<Field> {
    let found = adapter(&Arc::default()).check(message, UnixMillis(0));
    found.into_iter().map(|it| it.field).collect()
}

fn template(name: &str) -> Message {
    let content = Content::Template { name: name.to_owned(), parameters: Vec::new() };
    Message { content, ..sample(ContentKind::Template) }
}

#[tokio::test]
async fn it_keeps_what_it_declares() {
    assert_conforms(&subject()).await;
}

#[tokio::test]
async fn what_leaves_is_as_its_golden_file_has_it() {
    use ContentKind::{Audio, Code, Custom, File, Image, Location, Template, Text, Video};

    let usual = |name, kind| GoldenMessage::new(name, sample(kind));
    let id = |id: &str| Endpoint::Id(id.to_owned());
    let with = |name, kind, options: WhatsAppOptions| {
        let message = Message { options: Options::of(&options), ..sample(kind) };
        GoldenMessage::new(name, message)
    };
    let plain = WhatsAppOptions::default;
    let messages = [
        usual("text", Text),
        usual("image", Image),
        usual("audio", Audio),
        usual("video", Video),
        usual("file", File),
        usual("location", Location),
        usual("template", Template),
        usual("code", Code),
        usual("custom", Custom),
        GoldenMessage::new("template-without-parameters", template("welcome")),
        with(
            "text-that-answers",
            Text,
            WhatsAppOptions { reply_to: Some("wamid.1".to_owned()), ..plain() },
        ),
        with(
            "file-with-a-name",
            File,
            WhatsAppOptions { file_name: Some("menu.pdf".to_owned()), ..plain() },
        ),
        GoldenMessage::new(
            "text-to-a-person-s-id",
            Message { to: id("US.13491208655302741918"), ..sample(Text) },
        ),
        GoldenMessage::new(
            "text-from-a-number-s-id",
            Message { from: id("106540352242923"), ..sample(Text) },
        )
        .of_use_for(Duration::from_secs(600)),
    ];
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/golden");
    assert_golden(&subject(), folder, &["authorization", "content-type"], &messages).await;
}

#[test]
fn a_sender_is_a_number_or_the_id_that_meta_gave_it() {
    let from = |from| Message { from, ..sample(ContentKind::Text) };
    assert_eq!(fields(&from(Endpoint::Id("106540352242922".to_owned()))), []);
    for wrong in ["", "123456", "106540352242922/messages", "AcmeShop"] {
        assert_eq!(fields(&from(Endpoint::Id(wrong.to_owned()))), [Field::From], "{wrong}");
    }
}

#[test]
fn a_template_is_named_without_its_namespace() {
    assert_eq!(fields(&template("order_1")), []);
    for wrong in ["9b6b4fcb_da19:verify", "Order", "order-1"] {
        assert_eq!(fields(&template(wrong)), [Field::Within("template.name")], "{wrong}");
    }
    let code = |name: &str| {
        let options = WhatsAppOptions {
            locale: Some("en".to_owned()),
            code_template: Some(name.to_owned()),
            ..WhatsAppOptions::default()
        };
        Message { options: Options::of(&options), ..sample(ContentKind::Code) }
    };
    assert_eq!(fields(&code("one_time_code")), []);
    assert_eq!(fields(&code("ns:one_time_code")), [Field::Option("code_template")]);
}

#[tokio::test]
async fn a_number_that_the_account_does_not_know_sends_nothing() {
    use dispatch_kit::conformance::{Behaviour, NOW, PlayedProvider, attempt, stub::Stub};

    let subject = subject();
    let stub = Stub::start(Behaviour::Answer(subject.accepted("w"))).expect("a socket");
    let account = subject.account(&stub.url());
    let context = SendContext {
        attempt: attempt(),
        account: &account,
        callback_url: None,
        useful_for: None,
        now: NOW,
        timeout: Duration::from_secs(5),
    };
    let from = Endpoint::Number("447700900009".to_owned());
    let message = Message { from, ..sample(ContentKind::Text) };
    let error = subject.adapter().send(&context, &message).await.expect_err("refused");
    assert_eq!((error.fault, error.retry), (Fault::Account, Retry::Permanent));
    assert!(error.detail.contains("phone_numbers") && !error.detail.contains("4477"), "{error}");
    assert!(stub.requests().is_empty());
}
