//! Reads what persons write, of a form: a text, files, a place, and what was tapped.
//!
//! What comes without a channel's name before its addresses came to a number. With a file it came by MMS, and the sender
//! that it was written to is the number as a sender of MMS; a text alone comes by SMS, whatever it answers. So each is
//! told of the channel whose routes could send it back. Who asks for no more messages, though, asks it of the number, and
//! is heard on both.

use dispatch_contract::{
    Channel, ChannelSender, Content, Endpoint, Inbound, InboundMessage, Media, OptOut,
};
use dispatch_kit::{
    inbound::{MOST_PARTS, custom, file, place, told},
    opt_out::{self, Said},
};

use super::{form::Form, send_result::is_id};

/// What stands beside a text that was tapped, on a button or in a list.
const TAPPED: [&str; 7] = [
    "ButtonText",
    "ButtonPayload",
    "ButtonType",
    "ListId",
    "ListTitle",
    "ListDescription",
    "InteractiveData",
];

/// What the message `id` of a person's says, and whether they want no more.
pub(crate) fn from_person(form: &Form<'_>, id: &str) -> Vec<Inbound> {
    let content = content(form);
    let is_lifted = match form.get("OptOutType") {
        Some("STOP") => Some(false),
        Some("START") => Some(true),
        // HELP, and whatever there may be.
        Some(_) => None,
        None => opt_out::is_lifted_by_content(&content, how(form)),
    };
    let (ours, person) = (form.get("To"), form.get("From"));
    let opt_outs = is_lifted.map(|is_lifted| opt_outs(ours, person, is_lifted));
    let parties = ours.and_then(|ours| sender(ours, &content)).zip(person.and_then(recipient));
    let message = parties.map(|(to, from)| InboundMessage {
        id: id.to_owned(),
        from,
        to,
        content,
        quoted_id: form.get("OriginalRepliedMessageSid").filter(|id| is_id(id)).map(str::to_owned),
        quoted_attempt: None,
        // Twilio tells none.
        provider_time: None,
    });
    let message = message.and_then(told).map(Inbound::Message);
    message.into_iter().chain(opt_outs.into_iter().flatten()).collect()
}

/// Whether there is anything that only stands beside what was tapped.
fn how(form: &Form<'_>) -> Said {
    match TAPPED.iter().any(|name| form.get(name).is_some()) {
        true => Said::Tapped,
        false => Said::Written,
    }
}

/// What a person said to one of our senders. Who writes to a number, writes to it as a sender of SMS and of MMS.
pub(crate) fn opt_outs(ours: Option<&str>, person: Option<&str>, is_lifted: bool) -> Vec<Inbound> {
    let told = ours.zip(person.and_then(recipient)).map(|(ours, recipient)| {
        let of = |channel| {
            let sender = ChannelSender { channel, id: bare(ours).to_owned() };
            Inbound::OptOut(OptOut { sender, recipient: recipient.clone(), is_lifted })
        };
        channels(ours).into_iter().map(of).collect()
    });
    told.unwrap_or_default()
}

/// The channels of an address of ours; none of one that is not known here.
fn channels(address: &str) -> Vec<Channel> {
    match address.split_once(':') {
        None => vec![Channel::SMS, Channel::MMS],
        Some(("whatsapp", _)) => vec![Channel::WHATSAPP],
        Some(("messenger", _)) => vec![Channel::MESSENGER],
        Some(("rcs", _)) => vec![Channel::RCS],
        Some(_) => Vec::new(),
    }
}

/// The sender that was written to.
fn sender(address: &str, content: &[Content]) -> Option<ChannelSender> {
    let is_by_mms = content.iter().any(|part| part.media().is_some());
    let channels = channels(address);
    let by = if is_by_mms { channels.last() } else { channels.first() };
    Some(ChannelSender { channel: by?.clone(), id: bare(address).to_owned() })
}

/// A person, as messages name their recipient.
fn recipient(address: &str) -> Option<Endpoint> {
    let person = bare(address).to_owned();
    let is_number = person.bytes().all(|byte| byte.is_ascii_digit());
    let has_id = address.starts_with("messenger:") || (address.contains(':') && !is_number);
    let recipient = if has_id { Endpoint::Id(person) } else { Endpoint::Number(person) };
    (!recipient.value().is_empty()).then_some(recipient)
}

/// Without what names the channel, and without the plus.
fn bare(address: &str) -> &str {
    let (_, bare) = address.split_once(':').unwrap_or(("", address));
    bare.strip_prefix('+').unwrap_or(bare)
}

/// A text first, then the files beside it.
fn content(form: &Form<'_>) -> Vec<Content> {
    let owned = |name: &str| form.get(name).map(str::to_owned);
    let said = ["Body", "ButtonText", "ListTitle"].into_iter().find_map(owned);
    let count: usize = form.get("NumMedia").and_then(|count| count.parse().ok()).unwrap_or(0);
    let files = (0..count.min(MOST_PARTS)).filter_map(|number| {
        let mime = owned(&format!("MediaContentType{number}")).unwrap_or_default();
        let (kind, _) = mime.split_once('/').unwrap_or_default();
        Some(file(kind, Media { url: owned(&format!("MediaUrl{number}"))?, caption: None }))
    });
    let degrees = form.get("Latitude").zip(form.get("Longitude"));
    let place = degrees.and_then(|(latitude, longitude)| {
        place(latitude, longitude, owned("Label"), owned("Address"))
    });
    let tapped = TAPPED.into_iter().filter_map(|name| Some((name, form.get(name)?.into())));
    said.map(Content::Text).into_iter().chain(files).chain(place).chain(custom(tapped)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(fields: &str) -> Vec<Inbound> {
        from_person(&Form::of(fields.as_bytes()), "SM2")
    }

    fn only_message(fields: &str) -> InboundMessage {
        match read(fields).as_slice() {
            [Inbound::Message(message)] => message.clone(),
            other => panic!("one message expected of {fields}, not {other:?}"),
        }
    }

    fn said(fields: &str) -> Vec<Content> {
        only_message(&format!(
            "From=whatsapp%3A%2B447700900001&To=whatsapp%3A%2B447700900000&{fields}"
        ))
        .content
    }

    fn text(text: &str) -> Content {
        Content::Text(text.to_owned())
    }

    fn media(url: &str) -> Media {
        Media { url: url.to_owned(), caption: None }
    }

    #[test]
    fn who_wrote_to_whom_and_what_is_quoted_is_read() {
        let fields =
            "From=whatsapp%3A%2B447700900001&To=whatsapp%3A%2B447700900000&Body=Yes&NumMedia=0";
        let message = InboundMessage {
            id: "SM2".to_owned(),
            from: Endpoint::Number("447700900001".to_owned()),
            to: ChannelSender { channel: Channel::WHATSAPP, id: "447700900000".to_owned() },
            content: vec![text("Yes")],
            quoted_id: None,
            quoted_attempt: None,
            provider_time: None,
        };
        assert_eq!(only_message(fields), message);
        let quoting = InboundMessage { quoted_id: Some("SM1".to_owned()), ..message };
        assert_eq!(only_message(&format!("{fields}&OriginalRepliedMessageSid=SM1")), quoting);
    }

    #[test]
    fn a_side_is_named_as_messages_name_it() {
        let id = |id: &str| Endpoint::Id(id.to_owned());
        let number = |number: &str| Endpoint::Number(number.to_owned());
        let file = "&NumMedia=1&MediaUrl0=https%3A%2F%2Fa.example%2F1";
        for (from, to, more, person, sender) in [
            ("%2B4477", "%2B4478", "", number("4477"), (Channel::SMS, "4478")),
            ("%2B4477", "12345", "", number("4477"), (Channel::SMS, "12345")),
            ("%2B4477", "%2B4478", file, number("4477"), (Channel::MMS, "4478")),
            (
                "whatsapp:%2B4477",
                "whatsapp:%2B4478",
                file,
                number("4477"),
                (Channel::WHATSAPP, "4478"),
            ),
            ("rcs:%2B4477", "rcs:brand_agent", "", number("4477"), (Channel::RCS, "brand_agent")),
            ("messenger:4477", "messenger:4478", "", id("4477"), (Channel::MESSENGER, "4478")),
        ] {
            let message = only_message(&format!("From={from}&To={to}&Body=Yes{more}"));
            assert_eq!(message.from, person, "{from}");
            assert_eq!((message.to.channel, &*message.to.id), sender);
        }
        for nobody in ["From=%2B4477", "To=%2B4478", "From=x:1&To=x:2", "From=%2B&To=%2B4478"] {
            assert_eq!(read(&format!("{nobody}&Body=Yes")), [], "{nobody}");
        }
    }

    #[test]
    fn files_stand_behind_the_text_each_by_its_type() {
        let file = |number: u32, kind: &str| {
            format!(
                "&MediaUrl{number}=https%3A%2F%2Fa.example%2F{number}&MediaContentType{number}={kind}"
            )
        };
        let kinds = ["image%2Fjpeg", "audio%2Fogg", "video%2Fmp4", "text%2Fx-vcard", "odd"];
        let files: String = (0..).zip(kinds).map(|(number, kind)| file(number, kind)).collect();
        let at = |number: u32| media(&format!("https://a.example/{number}"));
        let parts = [
            text("Look"),
            Content::Image(at(0)),
            Content::Audio(at(1)),
            Content::Video(at(2)),
            Content::File(at(3)),
            Content::File(at(4)),
        ];
        assert_eq!(said(&format!("Body=Look&NumMedia=5{files}")), parts);
        assert_eq!(said(&format!("Body=Look&NumMedia=1{files}")), parts[..2]);
        // What it counts and does not name is not there.
        assert_eq!(said("Body=Look&NumMedia=4000000000"), parts[..1]);
    }

    #[test]
    fn a_place_and_what_was_tapped_are_read() {
        let place = Content::Location {
            latitude: "51.5074".to_owned(),
            longitude: "-0.1278".to_owned(),
            name: Some("Acme".to_owned()),
            address: Some("1 High Street".to_owned()),
        };
        let fields =
            "Body=&NumMedia=0&Latitude=51.50740&Longitude=-0.1278&Label=Acme&Address=1+High+Street";
        assert_eq!(said(fields), [place]);
        let button =
            Content::Custom(r#"{"ButtonPayload":"yes","ButtonText":"Yes, please"}"#.to_owned());
        let fields = "ButtonText=Yes%2C+please&ButtonPayload=yes";
        assert_eq!(
            said(&format!("Body=Yes%2C+please&{fields}")),
            [text("Yes, please"), button.clone()]
        );
        assert_eq!(said(fields), [text("Yes, please"), button]);
        let list = Content::Custom(r#"{"ListId":"r1","ListTitle":"9am"}"#.to_owned());
        assert_eq!(said("ListId=r1&ListTitle=9am"), [text("9am"), list]);
    }

    #[test]
    fn who_taps_cancel_cancels_something_else_than_messages() {
        let lifted = |fields: &str| {
            let told = read(&format!("From=%2B4477&To=%2B4478&{fields}"));
            let is_lifted = |told: &Inbound| match told {
                Inbound::OptOut(wish) => Some(wish.is_lifted),
                _ => None,
            };
            told.iter().filter_map(is_lifted).collect::<Vec<_>>()
        };
        assert_eq!(lifted("Body=Cancel"), [false, false]);
        for tapped in [
            "Body=Cancel&ButtonText=Cancel",
            "Body=Cancel&ButtonPayload=c",
            "Body=&NumMedia=0&ListTitle=End",
        ] {
            assert!(lifted(tapped).is_empty(), "{tapped}");
        }
        assert_eq!(lifted("Body=Stop&ButtonText=Stop"), [false, false]);
    }
}
