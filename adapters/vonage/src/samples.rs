//! A message of each kind that each channel takes, for the conformance suite.

use dispatch_contract::{Channel, Content, Endpoint, Media, Message, Options};
use dispatch_viber::{ViberAction, ViberCategory, ViberOptions, ViberVideo};
use dispatch_whatsapp::{WhatsAppOptions, WhatsAppPolicy};

/// The samples of a channel; none of one that is not here.
pub(crate) fn samples(channel: &Channel) -> Vec<Message> {
    match channel.as_str() {
        "sms" => sms(),
        "mms" => mms(),
        "messenger" => messenger(),
        "whatsapp" => whatsapp(),
        "viber_service_msg" => viber(),
        "rcs" => rcs(),
        _ => Vec::new(),
    }
}

fn sms() -> Vec<Message> {
    let (from, to) = (number("447700900001"), number("447700900000"));
    [text(), code()].map(|content| plain(Channel::SMS, &from, &to, content)).into()
}

fn mms() -> Vec<Message> {
    let (from, to) = (number("12025550100"), number("12025550123"));
    let media = |file| media(file, None);
    let contents = [
        text(),
        Content::Image(media("a.jpg")),
        Content::Audio(media("a.mp3")),
        Content::Video(media("a.mp4")),
        Content::File(media("a.pdf")),
        code(),
    ];
    contents.map(|content| plain(Channel::MMS, &from, &to, content)).into()
}

fn messenger() -> Vec<Message> {
    let (from, to) = (id("9876543210"), id("0123456789"));
    let media = |file| media(file, None);
    let contents = [
        text(),
        Content::Image(media("a.jpg")),
        Content::Audio(media("a.mp3")),
        Content::Video(media("a.mp4")),
        Content::File(media("a.pdf")),
        code(),
    ];
    contents.map(|content| plain(Channel::MESSENGER, &from, &to, content)).into()
}

fn whatsapp() -> Vec<Message> {
    let (from, to) = (number("447700900001"), number("447700900000"));
    let template = Content::Template {
        name: "9b6b4fcb_da19:verify".to_owned(),
        parameters: vec!["2526".to_owned()],
    };
    let contents = [
        text(),
        Content::Image(media("a.jpg", Some("Look"))),
        Content::Audio(media("a.mp3", None)),
        Content::Video(media("a.mp4", Some("Look"))),
        Content::File(media("a.pdf", Some("Read"))),
        template,
        Content::Custom(r#"{"type":"location","location":{"latitude":1}}"#.to_owned()),
        code(),
    ];
    let sample = |content: Content| {
        let is_code = matches!(content, Content::Code { .. });
        let options = Options::of(&WhatsAppOptions {
            policy: Some(WhatsAppPolicy::Deterministic),
            locale: Some("en-GB".to_owned()),
            code_template: is_code.then(|| "one_time_code".to_owned()),
            ..WhatsAppOptions::default()
        });
        Message { options, ..plain(Channel::WHATSAPP, &from, &to, content) }
    };
    contents.map(sample).into()
}

fn viber() -> Vec<Message> {
    let (from, to) = (id("9876543210"), number("447700900000"));
    let button = ViberAction {
        url: "https://example.com/page1.html".to_owned(),
        text: "Find out more".to_owned(),
    };
    let options = |ttl_s, action| {
        let category = Some(ViberCategory::Transaction);
        Options::of(&ViberOptions { category, ttl_s, action, ..ViberOptions::default() })
    };
    let of = |content, options| Message { options, ..plain(Channel::VIBER, &from, &to, content) };
    let preview_url = "https://example.com/a.png".to_owned();
    let video = Some(ViberVideo { preview_url, duration_s: 10, size_mb: 4 });
    let of_video = ViberOptions { video, ..ViberOptions::default() };
    let said =
        Content::Code { code: "271828".to_owned(), text: Some("Your code is {code}.".to_owned()) };
    vec![
        of(text(), options(Some(600), None)),
        of(Content::Image(media("a.jpg", Some("Look"))), options(None, Some(button))),
        of(Content::File(media("a.pdf", None)), Options::default()),
        of(said, Options::default()),
        of(Content::Video(media("a.mp4", Some("Watch"))), Options::of(&of_video)),
    ]
}

fn rcs() -> Vec<Message> {
    let (from, to) = (id("AcmeShop"), number("447700900000"));
    let card = r#"{"contentMessage":{"text":"Yes?","suggestions":[{"reply":{"text":"Yes"}}]}}"#;
    let media = |file| media(file, None);
    let contents = [
        text(),
        Content::Image(media("a.png")),
        Content::Video(media("a.mp4")),
        Content::File(media("a.pdf")),
        code(),
        Content::Custom(card.to_owned()),
    ];
    contents.map(|content| plain(Channel::RCS, &from, &to, content)).into()
}

fn plain(channel: Channel, from: &Endpoint, to: &Endpoint, content: Content) -> Message {
    let (from, to, options) = (from.clone(), to.clone(), Options::default());
    Message { channel, from, to, content, options }
}

fn text() -> Content {
    Content::Text("Hello from Acme!".to_owned())
}

fn code() -> Content {
    Content::Code { code: "271828".to_owned(), text: None }
}

fn media(file: &str, caption: Option<&str>) -> Media {
    Media { url: format!("https://example.com/{file}"), caption: caption.map(str::to_owned) }
}

fn id(id: &str) -> Endpoint {
    Endpoint::Id(id.to_owned())
}

fn number(number: &str) -> Endpoint {
    Endpoint::Number(number.to_owned())
}
