//! Reads what Meta tells: the statuses of messages and what people write, in batches of any size.
//!
//! One URL serves an app with all its numbers and pages, and the app's secret signs for all of them, over the raw bytes:
//! Meta escapes what is not ASCII, and signs it so. Nothing here can fail on a webhook that is genuine: a batch
//! is taken item by item, and what is not understood is answered 200, because a repeat would not be understood
//! either.
//!
//! What persons write is an [`InboundMessage`](dispatch_contract::InboundMessage), and the bare word STOP an opt-out
//! beside it, of the page or of the number that it was written to (`inbound.rs`).

use dispatch_contract::{
    Account, Channel, ChannelSender, Endpoint, Failure, Fault, Inbound, Receipt, Report, Status,
    Watermark, WebhookOutcome, WebhookRequest,
};
use dispatch_kit::{
    codes::Codes,
    json::Json,
    signature::{SignatureScheme, sha256_hex},
};
use url::form_urlencoded;

use crate::{
    account::app_secrets,
    errors::GraphCode,
    graph::{id, milliseconds, seconds},
    inbound::{Conversation, of_messenger, of_whatsapp},
};

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
    let mut told = Told::default();
    for envelope in Json::items(request.body) {
        let is_of_pages = envelope.read("object", Json::text).is_none_or(|of| of != "instagram");
        each(envelope, "entry", |entry| {
            each(entry, "changes", |change| changed(change, account, &mut told));
            each(entry, "messaging", |event| match is_of_pages {
                true => of_page(entry, event, &mut told),
                // Its people are no page's.
                false => told.understood = true,
            });
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
fn changed(change: Json<'_>, account: &Account, told: &mut Told) {
    let Some(field) = change.read("field", Json::text) else { return };
    if field != "messages" {
        told.understood = true;
        return;
    }
    let Some(value) = change.read("value", Some) else { return };
    each(value, "statuses", |status| {
        if let Some(receipt) = receipt(status, Codes::of(account)) {
            told.inbound.push(Inbound::Receipt(receipt));
            told.understood = true;
        }
    });
    let conversation = Conversation::of(value, account);
    each(value, "messages", |message| {
        told.understood |= message.read("id", id).is_some();
        told.inbound.extend(of_whatsapp(&conversation, message));
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
fn of_page(entry: Json<'_>, event: Json<'_>, told: &mut Told) {
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
    // Only what we sent has our attempt id.
    let echo = event.read("message", |message| {
        let attempt = message.read("metadata", |ours| ours.text()?.parse().ok())?;
        Some((attempt, message.read("mid", id)?))
    });
    match echo {
        Some((attempt, mid)) => told.inbound.push(receipt(Some(attempt), mid, Status::Submitted)),
        None => told.inbound.extend(of_messenger(entry, event)),
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

#[cfg(test)]
mod tests;
