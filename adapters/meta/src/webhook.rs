//! Reads what Meta tells: the statuses of messages and what people write, in batches of any size.
//!
//! One URL serves an app with all its numbers and pages, and the app's secret signs for all of them, over the raw bytes:
//! Meta escapes what is not ASCII, and signs it so. Nothing here can fail on a webhook that is genuine: a batch
//! is taken item by item, and what is not understood is answered 200, because a repeat would not be understood
//! either.
//!
//! A message that quotes one of ours is a [`Reply`]; any other is genuine, understood, and says nothing about an
//! attempt. The bare word STOP is an opt-out, of the page or of the number that it was written to.

use dispatch_contract::{
    Account, Channel, ChannelSender, Endpoint, Failure, Fault, Inbound, OptOut, Receipt, Reply,
    Report, Status, UnixMillis, Watermark, WebhookOutcome, WebhookRequest,
};
use dispatch_kit::{
    codes::Codes,
    json::Json,
    opt_out,
    signature::{SignatureScheme, sha256_hex},
};
use url::form_urlencoded;

use crate::{account::app_secrets, errors::GraphCode, graph::id};

/// What stands before the signature in its header.
const SCHEME: &str = "sha256=";
/// The longest challenge that is repeated; Meta's have some ten digits.
const MAX_CHALLENGE_BYTES: usize = 1_024;

/// What was understood of a call.
#[derive(Default)]
struct Told {
    inbound: Vec<Inbound>,
    /// Whether anything was, be it nothing for us.
    understood: bool,
}

/// Checks and reads one call of Meta's: GET is its question whether the URL is ours.
pub fn read(request: &WebhookRequest<'_>, account: &Account) -> WebhookOutcome {
    if request.method == "GET" {
        return handshake(request, account);
    }
    if !is_genuine(request, account) {
        return WebhookOutcome::forged();
    }
    let codes = Codes::of(account);
    let mut told = Told::default();
    for envelope in Json::items(request.body) {
        each(envelope, "entry", |entry| {
            each(entry, "changes", |change| changed(change, codes, &mut told));
            each(entry, "messaging", |event| of_page(event, &mut told));
        });
    }
    match told.understood {
        true => WebhookOutcome::understood(told.inbound),
        false => WebhookOutcome::not_understood(),
    }
}

/// Whoever knows the token that was told to Meta is answered with the challenge.
fn handshake(request: &WebhookRequest<'_>, account: &Account) -> WebhookOutcome {
    let field = |name: &str| {
        let mut fields = form_urlencoded::parse(request.query.as_bytes());
        fields.find_map(|(own, value)| (own == name).then_some(value))
    };
    let (mode, token) = (field("hub.mode"), field("hub.verify_token"));
    let token = token.unwrap_or_default();
    let known = account.secret("verify_token").filter(|known| !known.is_empty());
    // Hashed, so that what is compared is of one length and says nothing by the time it takes.
    let is_known = known.is_some_and(|known| {
        dispatch_kit::signature::is_sha256_of(token.as_bytes(), &sha256_hex(known.as_bytes()))
    });
    match field("hub.challenge") {
        Some(challenge)
            if is_known
                && mode.as_deref() == Some("subscribe")
                && challenge.len() <= MAX_CHALLENGE_BYTES =>
        {
            let body = challenge.into_owned().into_bytes();
            WebhookOutcome { body, ..WebhookOutcome::understood(Vec::new()) }
        }
        Some(_) | None => WebhookOutcome::forged(),
    }
}

fn is_genuine(request: &WebhookRequest<'_>, account: &Account) -> bool {
    let header = request.header("x-hub-signature-256");
    let Some(signature) = header.and_then(|header| header.trim().strip_prefix(SCHEME)) else {
        return false;
    };
    app_secrets(account).any(|secret| {
        SignatureScheme::Sha256Hex.is_genuine(secret.as_bytes(), request.body, signature)
    })
}

/// Hands over the elements of the array that is called `name`.
fn each<'a>(of: Json<'a>, name: &str, mut take: impl FnMut(Json<'a>)) {
    let elements = of.read(name, |array| {
        let elements: Vec<_> = array.elements().collect();
        (!elements.is_empty()).then_some(elements)
    });
    elements.into_iter().flatten().for_each(&mut take);
}

/// A change of WhatsApp's field `messages`; of any other there is nothing for us.
fn changed(change: Json<'_>, codes: Codes<'_>, told: &mut Told) {
    let Some(field) = change.read("field", Json::text) else { return };
    if field != "messages" {
        told.understood = true;
        return;
    }
    let Some(value) = change.read("value", Some) else { return };
    each(value, "statuses", |status| {
        if let Some(receipt) = receipt(status, codes) {
            told.inbound.push(Inbound::Receipt(receipt));
            told.understood = true;
        }
    });
    each(value, "messages", |message| {
        told.understood |= message.read("id", id).is_some();
        told.inbound.extend(reply(message).map(Inbound::Reply));
        told.inbound.extend(stop(value, message));
    });
    // What is wrong with the account is told beside no message.
    each(value, "errors", |error| told.understood |= GraphCode::read(error).is_some());
}

fn receipt(status: Json<'_>, codes: Codes<'_>) -> Option<Receipt> {
    let attempt = status.read("biz_opaque_callback_data", |ours| ours.text()?.trim().parse().ok());
    let provider_id = status.read("id", id);
    if provider_id.is_none() && attempt.is_none() {
        return None;
    }
    let word = status.read("status", Json::text)?;
    let code = status.read("errors", |errors| errors.elements().find_map(GraphCode::read));
    let meaning = code.and_then(|code| code.meaning_to(codes));
    let report = match &*word.trim().to_ascii_lowercase() {
        "sent" => Report::Reached(Status::Submitted),
        "delivered" => Report::Reached(Status::Delivered),
        // A voice message that was listened to was opened.
        "read" | "played" => Report::Reached(Status::Read),
        "failed" => Report::Failed(match meaning.map(|meaning| meaning.fault) {
            Some(Fault::Content | Fault::Account) => Failure::Rejected,
            Some(Fault::Recipient | Fault::Provider) | None => Failure::Undeliverable,
        }),
        _ => return None,
    };
    let failed = matches!(report, Report::Failed(_));
    Some(Receipt {
        attempt,
        provider_id,
        report,
        provider_time: status.read("timestamp", seconds),
        code: code.filter(|_| failed).map(|code| code.to_string()),
        detail: meaning.filter(|_| failed).map(|meaning| meaning.sentence.to_owned()),
        usage: None,
    })
}

/// What is told of a page and a person on Messenger: which messages were delivered, until when all were delivered or
/// read, the echo of one of ours with our attempt id, or what the person wrote.
fn of_page(event: Json<'_>, told: &mut Told) {
    let is_event = |name| event.read(name, |party| party.read("id", id)).is_some();
    told.understood |= is_event("sender") || is_event("recipient");
    let provider_time = event.read("timestamp", milliseconds);
    let receipt = |attempt, provider_id, status| {
        let (report, provider_id) = (Report::Reached(status), Some(provider_id));
        let (code, detail, usage) = (None, None, None);
        Inbound::Receipt(Receipt {
            attempt,
            provider_id,
            report,
            provider_time,
            code,
            detail,
            usage,
        })
    };
    let delivered = event.read("delivery", |delivery| {
        let mids: Vec<_> = delivery.read("mids", |mids| Some(mids.elements().collect()))?;
        Some(mids)
    });
    let delivered = delivered.into_iter().flatten().filter_map(id);
    let told_by_id: Vec<_> = delivered.map(|mid| receipt(None, mid, Status::Delivered)).collect();
    if told_by_id.is_empty() {
        told.inbound.extend(watermark(event, "delivery", Status::Delivered));
    }
    told.inbound.extend(told_by_id);
    told.inbound.extend(watermark(event, "read", Status::Read));
    let Some(message) = event.read("message", Some) else { return };
    // Only what we sent has our attempt id.
    let attempt = message.read("metadata", |ours| ours.text()?.parse().ok());
    match (message.read("mid", id), attempt) {
        (Some(mid), Some(attempt)) => {
            told.inbound.push(receipt(Some(attempt), mid, Status::Submitted));
        }
        (Some(_) | None, _) => {
            let is_echo = message.read("is_echo", Json::flag) == Some(true);
            let is_lifted = message.read("text", opt_out::is_lifted_by_json).filter(|_| !is_echo);
            let party = |name| event.read(name, |party| party.read("id", id));
            if let (Some(is_lifted), Some(page), Some(person)) =
                (is_lifted, party("recipient"), party("sender"))
            {
                let sender = ChannelSender { channel: Channel::MESSENGER, id: page };
                let recipient = Endpoint::Id(person);
                told.inbound.push(Inbound::OptOut(OptOut { sender, recipient, is_lifted }));
            }
            let quoted = message.read("reply_to", |quoted| quoted.read("mid", id));
            told.inbound.extend(quoted.map(|mid| {
                let provider_id = Some(mid);
                Inbound::Reply(Reply { provider_id, attempt: None, provider_time })
            }));
        }
    }
}

/// Until when all that the page sent the person was delivered, or read.
fn watermark(event: Json<'_>, name: &str, status: Status) -> Option<Inbound> {
    let until = event.read(name, |what| what.read("watermark", milliseconds))?;
    let party = |name| event.read(name, |party| party.read("id", id));
    let sender = ChannelSender { channel: Channel::MESSENGER, id: party("recipient")? };
    let recipient = Endpoint::Id(party("sender")?);
    Some(Inbound::Watermark(Watermark { sender, recipient, status, until }))
}

/// What a person who writes STOP wants of the number that they wrote to, which messages name by its id or by itself.
fn stop(value: Json<'_>, message: Json<'_>) -> Vec<Inbound> {
    let word = |text: Json<'_>| text.read("body", opt_out::is_lifted_by_json);
    let tapped = |reply: Json<'_>| reply.read("title", opt_out::is_lifted_by_json);
    let button = |button: Json<'_>| button.read("text", opt_out::is_lifted_by_json);
    let is_lifted = message.read("text", word).or_else(|| message.read("button", button));
    let is_lifted =
        is_lifted.or_else(|| message.read("interactive", |it| it.read("button_reply", tapped)));
    let Some(is_lifted) = is_lifted else { return Vec::new() };
    let numbers = message.read("from", id).map_or_else(Vec::new, |number| spellings(&number));
    let numbers = numbers.into_iter().map(Endpoint::Number);
    // Of several people it is not said who wrote.
    let contacts = |contacts: Json<'_>| {
        let mut contacts = contacts.elements();
        let only = contacts.next().filter(|_| contacts.next().is_none())?;
        only.read("user_id", id)
    };
    let own_id = value.read("contacts", contacts).map(Endpoint::Id);
    let person: Vec<_> = numbers.chain(own_id).collect();
    let ours = ["phone_number_id", "display_phone_number"].into_iter().filter_map(|name| {
        let shown = value.read("metadata", |metadata| metadata.read(name, Json::text))?;
        let digits: String = shown.chars().filter(char::is_ascii_digit).collect();
        (!digits.is_empty()).then_some(digits)
    });
    let senders = ours.map(|id| ChannelSender { channel: Channel::WHATSAPP, id });
    let said = senders.flat_map(|sender| {
        let of = |recipient: &Endpoint| OptOut {
            sender: sender.clone(),
            recipient: recipient.clone(),
            is_lifted,
        };
        person.iter().map(of).map(Inbound::OptOut).collect::<Vec<_>>()
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

/// A message that quotes another; whose that is, its id tells.
fn reply(message: Json<'_>) -> Option<Reply> {
    let quoted = message.read("context", |context| context.read("id", id))?;
    Some(Reply {
        provider_id: Some(quoted),
        // WhatsApp names the message that is answered by its own id only.
        attempt: None,
        provider_time: message.read("timestamp", seconds),
    })
}

/// Seconds since 1970, in a text. It decides nothing, so what cannot be read is left out.
fn seconds(value: Json<'_>) -> Option<UnixMillis> {
    let seconds: u64 = value.scalar()?.parse().ok()?;
    seconds.checked_mul(1_000).map(UnixMillis)
}

/// Milliseconds since 1970; what cannot be read is left out.
fn milliseconds(value: Json<'_>) -> Option<UnixMillis> {
    value.scalar()?.parse().ok().map(UnixMillis)
}

#[cfg(test)]
mod tests;
