//! A message of each kind that each channel takes, for the conformance suite.

use dispatch_contract::{Channel, Content, Endpoint, Media, Message, Options};
use dispatch_whatsapp::WhatsAppOptions;

/// The samples of a channel; none of one that is not here.
pub(crate) fn samples(channel: &Channel) -> Vec<Message> {
    match channel.as_str() {
        "whatsapp" => whatsapp(),
        "messenger" => messenger(),
        _ => Vec::new(),
    }
}

fn whatsapp() -> Vec<Message> {
    let menu = r#"{"type":"interactive","interactive":{"type":"button","body":{"text":"Yes?"},
        "action":{"buttons":[{"type":"reply","reply":{"id":"yes","title":"Yes"}}]}}}"#;
    let contents = [
        Content::Text("Hello from Acme!".to_owned()),
        Content::Image(media("a.jpg", Some("Look"))),
        Content::Audio(media("a.mp3", None)),
        Content::Video(media("a.mp4", Some("Look"))),
        Content::File(media("a.pdf", Some("Read"))),
        Content::Location {
            latitude: "51.5074".to_owned(),
            longitude: "-0.1278".to_owned(),
            name: Some("Acme".to_owned()),
            address: Some("1 High Street, London".to_owned()),
        },
        Content::Template { name: "verify".to_owned(), parameters: vec!["2526".to_owned()] },
        Content::Code { code: "271828".to_owned(), text: None },
        Content::Custom(menu.to_owned()),
    ];
    let sample = |content: Content| {
        let is_code = matches!(content, Content::Code { .. });
        Message {
            channel: Channel::WHATSAPP,
            from: Endpoint::Number("447700900001".to_owned()),
            to: Endpoint::Number("447700900000".to_owned()),
            options: Options::of(&WhatsAppOptions {
                locale: Some("en-GB".to_owned()),
                code_template: is_code.then(|| "one_time_code".to_owned()),
                ..WhatsAppOptions::default()
            }),
            content,
        }
    };
    contents.map(sample).into()
}

fn messenger() -> Vec<Message> {
    let media = |file| media(file, None);
    let contents = [
        Content::Text("Hello from Acme!".to_owned()),
        Content::Image(media("a.jpg")),
        Content::Audio(media("a.mp3")),
        Content::Video(media("a.mp4")),
        Content::File(media("a.pdf")),
        Content::Code { code: "271828".to_owned(), text: Some("Your code is {code}.".to_owned()) },
    ];
    let sample = |content| Message {
        channel: Channel::MESSENGER,
        from: Endpoint::Id("107083064136738".to_owned()),
        to: Endpoint::Id("2384965291561984".to_owned()),
        options: Options::default(),
        content,
    };
    contents.map(sample).into()
}

fn media(file: &str, caption: Option<&str>) -> Media {
    Media { url: format!("https://example.com/{file}"), caption: caption.map(str::to_owned) }
}
