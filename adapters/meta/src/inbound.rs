//! Reads what persons write to a number on WhatsApp, or to a page on Messenger.
//!
//! WhatsApp names a file by an id that must be asked for, and a button by what was tapped: these are told in its words,
//! with the text that belongs to them beside. A reaction quotes nothing: a thumb beneath a message does not answer it,
//! and may be taken away again; which message is meant stands within. What it calls `system` and `request_welcome` is no
//! person's word. What it calls `unsupported` a person wrote, and it does not say what: it is told with nothing in it.
//! What is written in a group is not told: of a group no message of ours is.
//!
//! On Messenger what a page says is told as well (`is_echo`), and is no person's word either.

use std::borrow::Cow;

use dispatch_contract::{
    Account, Channel, ChannelSender, Content, Endpoint, Inbound, InboundMessage, Media, OptOut,
};
use dispatch_kit::{
    inbound::{custom, file, payload, place, text, told, words},
    json::Json,
    opt_out::{self, Said},
};

use crate::{
    account::number_of,
    graph::{id, milliseconds, seconds},
};

/// What the messages of a change on WhatsApp have in common: read once, however many they are.
pub(crate) struct Conversation {
    /// The number that was written to, as messages may name it; what those of the account name it by stands first.
    senders: Vec<ChannelSender>,
    /// The id of who wrote, where there is one person.
    only_contact: Option<String>,
}

impl Conversation {
    /// Of the `value` of a change.
    pub(crate) fn of(value: Json<'_>, account: &Account) -> Conversation {
        // Of several people it is not said here who wrote.
        let only = |contacts: Json<'_>| {
            let mut contacts = contacts.elements();
            let only = contacts.next().filter(|_| contacts.next().is_none())?;
            only.read("user_id", id)
        };
        Conversation {
            senders: senders(value, account),
            only_contact: value.read("contacts", only),
        }
    }
}

/// What a message on WhatsApp says, and what its writer wants of the number.
pub(crate) fn of_whatsapp(conversation: &Conversation, message: Json<'_>) -> Vec<Inbound> {
    let Some(kind) = message.read("type", words) else { return Vec::new() };
    if message.read("group_id", Some).is_some() {
        return Vec::new();
    }
    let content = said_on_whatsapp(message, &kind);
    let (persons, senders) = (persons(conversation, message), &conversation.senders);
    let how = match &*kind {
        "button" | "interactive" => Said::Tapped,
        _ => Said::Written,
    };
    let opt_outs = opt_outs(&persons, senders, &content, how);
    let quoted_id = || message.read("context", |context| context.read("id", id));
    let read = || {
        told(InboundMessage {
            id: message.read("id", id)?,
            from: persons.first()?.clone(),
            to: senders.first()?.clone(),
            content,
            quoted_id: quoted_id().filter(|_| kind != "reaction"),
            // WhatsApp names the message that is quoted by its own id only.
            quoted_attempt: None,
            provider_time: message.read("timestamp", seconds),
        })
    };
    let is_of_nobody =
        ["system", "request_welcome"].contains(&&*kind) || message.read("system", Some).is_some();
    let message = if is_of_nobody { None } else { read() };
    message.map(Inbound::Message).into_iter().chain(opt_outs).collect()
}

fn said_on_whatsapp(message: Json<'_>, kind: &str) -> Vec<Content> {
    let within = |name| message.read(kind, move |said| said.read(name, text));
    let tapped = |name| message.read(kind, |said| said.read(name, |it| it.read("title", text)));
    let known = match kind {
        "text" => within("body"),
        "location" => message.read(kind, place_of),
        _ => None,
    };
    if let Some(known) = known {
        return vec![known];
    }
    let (before, behind) = match kind {
        "system" | "unsupported" | "unknown" => return Vec::new(),
        "button" | "order" => (within("text"), None),
        "interactive" => (tapped("button_reply").or_else(|| tapped("list_reply")), None),
        _ => (None, within("caption")),
    };
    let whole = message.read(kind, payload);
    let whole = whole.and_then(|said| custom([("type", kind.into()), (kind, said)]));
    before.into_iter().chain(whole).chain(behind).collect()
}

fn place_of(said: Json<'_>) -> Option<Content> {
    let degrees = |name| said.read(name, Json::scalar);
    let (latitude, longitude) = (degrees("latitude")?, degrees("longitude")?);
    place(&latitude, &longitude, said.read("name", words), said.read("address", words))
}

/// Who wrote, in each way in which messages may name them; the one that WhatsApp uses stands first.
fn persons(conversation: &Conversation, message: Json<'_>) -> Vec<Endpoint> {
    let is_number = |from: &str| from.bytes().all(|byte| byte.is_ascii_digit());
    let mut persons = match message.read("from", id) {
        Some(from) if is_number(&from) => {
            spellings(&from).into_iter().map(Endpoint::Number).collect()
        }
        Some(from) => vec![Endpoint::Id(from)],
        None => Vec::new(),
    };
    let own_id = message.read("from_user_id", id).or_else(|| conversation.only_contact.clone());
    let own_id = own_id.map(Endpoint::Id).filter(|own_id| !persons.contains(own_id));
    persons.extend(own_id);
    persons
}

/// The number that was written to: as the account lists it, by the id that Meta gave to it, and as it is shown.
fn senders(value: Json<'_>, account: &Account) -> Vec<ChannelSender> {
    let ours = ["phone_number_id", "display_phone_number"].into_iter().filter_map(|name| {
        let shown = value.read("metadata", |metadata| metadata.read(name, Json::text))?;
        let digits: String = shown.chars().filter(char::is_ascii_digit).collect();
        (!digits.is_empty()).then_some(digits)
    });
    let ours: Vec<_> = ours.collect();
    let listed = ours.first().and_then(|id| number_of(account, id)).map(str::to_owned);
    let others = ours.into_iter().filter(|id| Some(id) != listed.as_ref());
    let all: Vec<_> = listed.iter().cloned().chain(others).collect();
    all.into_iter().map(|id| ChannelSender { channel: Channel::WHATSAPP, id }).collect()
}

/// What a person who writes or taps STOP wants of each sender that they may mean.
fn opt_outs(
    persons: &[Endpoint],
    senders: &[ChannelSender],
    said: &[Content],
    how: Said,
) -> Vec<Inbound> {
    let Some(is_lifted) = opt_out::is_lifted_by_content(said, how) else { return Vec::new() };
    let said = senders.iter().flat_map(|sender| {
        let of = |recipient: &Endpoint| OptOut {
            sender: sender.clone(),
            recipient: recipient.clone(),
            is_lifted,
        };
        persons.iter().map(of).map(Inbound::OptOut).collect::<Vec<_>>()
    });
    said.collect()
}

/// A number, and as messages may name it too: WhatsApp writes some of Brazil, Mexico and Argentina with or without a
/// digit that people dial.
fn spellings(number: &str) -> Vec<String> {
    // Behind the country's code, and in Brazil the area's: the digit, and how many follow it.
    const EXTRA: [(&str, usize, &str, usize); 3] =
        [("55", 4, "9", 8), ("52", 2, "1", 10), ("54", 2, "9", 10)];
    let mut all = vec![number.to_owned()];
    for (country, at, digit, follow) in EXTRA {
        let Some((head, tail)) =
            number.split_at_checked(at).filter(|(it, _)| it.starts_with(country))
        else {
            continue;
        };
        match tail.strip_prefix(digit) {
            Some(bare) if bare.len() == follow => all.push(format!("{head}{bare}")),
            Some(_) | None if tail.len() == follow => all.push(format!("{head}{digit}{tail}")),
            Some(_) | None => {}
        }
    }
    all
}

/// What a person wrote to, or tapped on, the page that `entry` is of, and whether they want no more of it.
pub(crate) fn of_messenger(entry: Json<'_>, event: Json<'_>) -> Vec<Inbound> {
    let party = |name| event.read(name, |party| party.read("id", id));
    let (Some(person), Some(page)) = (party("sender"), party("recipient")) else {
        return Vec::new();
    };
    // What the page says has the page as its sender, and says so itself.
    let is_to_page = entry.read("id", id).is_none_or(|of| of == page);
    let is_echo = event.read("message", |message| message.read("is_echo", Json::flag));
    if !is_to_page || is_echo == Some(true) {
        return Vec::new();
    }
    let (from, to) =
        (Endpoint::Id(person), ChannelSender { channel: Channel::MESSENGER, id: page });
    let (message, postback) = (event.read("message", Some), event.read("postback", Some));
    let is_quick = |message: Json<'_>| message.read("quick_reply", Some).is_some();
    let (content, how) = match (message, postback) {
        (Some(message), _) if is_quick(message) => (said_on_messenger(message), Said::Tapped),
        (Some(message), _) => (said_on_messenger(message), Said::Written),
        (None, Some(postback)) => (tapped_on_messenger(postback), Said::Tapped),
        (None, None) => return Vec::new(),
    };
    let opt_outs = opt_outs(std::slice::from_ref(&from), std::slice::from_ref(&to), &content, how);
    let quoted = |message: Json<'_>| message.read("reply_to", |quoted| quoted.read("mid", id));
    let id = message.or(postback).and_then(|it| it.read("mid", id));
    let message = id.map(|id| InboundMessage {
        id,
        from,
        to,
        content,
        quoted_id: message.and_then(quoted),
        quoted_attempt: None,
        provider_time: event.read("timestamp", milliseconds),
    });
    message.and_then(told).map(Inbound::Message).into_iter().chain(opt_outs).collect()
}

/// A text, what was tapped to say it, and each file.
fn said_on_messenger(message: Json<'_>) -> Vec<Content> {
    let written = message.read("text", text);
    let tapped = message.read("quick_reply", payload).and_then(|it| custom([("quick_reply", it)]));
    let attachments = message.read("attachments", |attachments| {
        let parts: Vec<_> = attachments.elements().filter_map(attachment).collect();
        (!parts.is_empty()).then_some(parts)
    });
    let attachments = attachments.into_iter().flatten();
    written.into_iter().chain(tapped).chain(attachments).collect()
}

/// A button's text, and what stands behind it.
fn tapped_on_messenger(postback: Json<'_>) -> Vec<Content> {
    let whole = payload(postback).and_then(|it| custom([("postback", it)]));
    postback.read("title", text).into_iter().chain(whole).collect()
}

/// A file or a place; what is none is told in Messenger's words.
fn attachment(it: Json<'_>) -> Option<Content> {
    let kind = it.read("type", words)?;
    let known = it.read("payload", |of| match &*kind {
        "image" | "audio" | "video" | "file" => {
            Some(file(&kind, Media { url: of.read("url", words)?, caption: None }))
        }
        "location" => of.read("coordinates", |at| {
            let degrees = |name| at.read(name, Json::scalar);
            let (latitude, longitude): (Cow<'_, str>, _) = (degrees("lat")?, degrees("long")?);
            place(&latitude, &longitude, None, None)
        }),
        _ => None,
    });
    known.or_else(|| custom([("attachment", payload(it)?)]))
}

#[cfg(test)]
mod tests;
