//! A message of each kind that each channel takes, for the conformance suite.

use dispatch_contract::{Channel, Content, Endpoint, Media, Message, Options};
use dispatch_whatsapp::WhatsAppOptions;

/// A template of the samples.
pub(crate) const TEMPLATE: &str = "HX0123456789abcdef0123456789abcdef";

/// The samples of a channel; none of one that is not here.
pub(crate) fn samples(channel: &Channel) -> Vec<Message> {
    match channel.as_str() {
        "sms" => sms(),
        "mms" => mms(),
        "whatsapp" => whatsapp(),
        "rcs" => rcs(),
        _ => Vec::new(),
    }
}

fn sms() -> Vec<Message> {
    let (from, to) = (number("447700900001"), number("447700900000"));
    let said =
        Content::Code { code: "271828".to_owned(), text: Some("Your code is {code}.".to_owned()) };
    [text(), said].map(|content| plain(Channel::SMS, &from, &to, content)).into()
}

fn mms() -> Vec<Message> {
    let (from, to) = (number("12025550100"), number("12025550123"));
    let contents = [
        text(),
        Content::Image(media("a.jpg", Some("Look"))),
        Content::Audio(media("a.mp3", None)),
        Content::Video(media("a.mp4", None)),
        Content::File(media("a.pdf", Some("Read"))),
        code(),
    ];
    contents.map(|content| plain(Channel::MMS, &from, &to, content)).into()
}

fn whatsapp() -> Vec<Message> {
    let (from, to) = (number("447700900001"), number("447700900000"));
    let template = Content::Template {
        name: TEMPLATE.to_owned(),
        parameters: vec!["2526".to_owned(), "Ada & Co".to_owned()],
    };
    let contents = [
        text(),
        Content::Image(media("a.jpg", Some("Look"))),
        Content::Audio(media("a.mp3", None)),
        Content::Video(media("a.mp4", Some("Look"))),
        Content::File(media("a.pdf", None)),
        Content::Location {
            latitude: "51.5074".to_owned(),
            longitude: "-0.1278".to_owned(),
            name: Some("Acme".to_owned()),
            address: Some("1 High Street, London".to_owned()),
        },
        template,
    ];
    let code_template = Some(TEMPLATE.to_owned());
    let options = Options::of(&WhatsAppOptions { code_template, ..WhatsAppOptions::default() });
    let code = Message { options, ..plain(Channel::WHATSAPP, &from, &to, code()) };
    let plain = contents.map(|content| plain(Channel::WHATSAPP, &from, &to, content));
    plain.into_iter().chain([code]).collect()
}

fn rcs() -> Vec<Message> {
    let (from, to) = (Endpoint::Id("acme_agent".to_owned()), number("447700900000"));
    let contents = [
        text(),
        Content::Image(media("a.png", None)),
        Content::Video(media("a.mp4", None)),
        Content::File(media("a.pdf", None)),
        code(),
    ];
    contents.map(|content| plain(Channel::RCS, &from, &to, content)).into()
}

fn plain(channel: Channel, from: &Endpoint, to: &Endpoint, content: Content) -> Message {
    let (from, to, options) = (from.clone(), to.clone(), Options::default());
    Message { channel, from, to, content, options }
}

fn text() -> Content {
    Content::Text("Hello from Acme & Söhne!".to_owned())
}

fn code() -> Content {
    Content::Code { code: "271828".to_owned(), text: None }
}

fn media(file: &str, caption: Option<&str>) -> Media {
    Media { url: format!("https://example.com/{file}"), caption: caption.map(str::to_owned) }
}

fn number(number: &str) -> Endpoint {
    Endpoint::Number(number.to_owned())
}
