//! What an adapter answers and tells, as the contract has it. What is not understood is refused, with its name.

use std::time::Duration;

use dispatch_contract::{
    Accepted, AdapterError, AttemptId, ChannelSender, Content, Endpoint, ErrorKind, Failure, Fault,
    Inbound, InboundMessage, Media, OptOut, Probe, Recall, Receipt, Report, Retry, Status,
    UnixMillis, Usage, Verdict, Watermark, WebhookOutcome,
};
use dispatch_kit::inbound::{PART_BYTES, place, within_bounds};
use prost_types::Timestamp;
use serde_json::{Map, Value};

use crate::{
    description,
    pb::{self, content, endpoint, inbound, recall_response, receipt, send_response},
};

/// The most items that are told together.
pub(crate) const MOST_ITEMS: usize = 1_000;
const DETAIL_CHARS: usize = 300;
const ID_BYTES: usize = 1_024;
const ADDRESS_BYTES: usize = 1_024;
const WEBHOOK_BODY_BYTES: usize = 64 * 1024;

/// What a call came to.
pub(crate) fn sent(told: pb::SendResponse) -> Result<Accepted, AdapterError> {
    match told.result {
        Some(send_response::Result::Accepted(accepted)) => Ok(Accepted {
            // What cannot be used of them the engine leaves out.
            provider_ids: accepted.provider_message_ids,
            provider_time: accepted.provider_time.as_ref().and_then(time),
        }),
        Some(send_response::Result::Failure(failure)) => Err(call_failure(failure)),
        None => Err(unknown("the adapter's answer says nothing that is known here")),
    }
}

/// What a recall came to.
pub(crate) fn recalled(told: pb::RecallResponse) -> Result<Recall, AdapterError> {
    match told.result {
        Some(recall_response::Result::Recalled(_)) => Ok(Recall::Recalled),
        Some(recall_response::Result::TooLate(late)) => {
            Ok(Recall::TooLate(description::status(late.status())))
        }
        Some(recall_response::Result::Failure(failure)) => Err(call_failure(failure)),
        None => Err(unknown("the adapter's answer says nothing that is known here")),
    }
}

fn unknown(detail: &str) -> AdapterError {
    AdapterError::new(ErrorKind::ProviderFailure, Fault::Provider, Retry::Unknown, detail)
}

fn call_failure(told: pb::CallFailure) -> AdapterError {
    let detail = match sentence(&told.detail) {
        detail if detail.is_empty() => "the adapter gave no reason".to_owned(),
        detail => detail,
    };
    // A kind or a fault that is not known here decides nothing; whether it may be made again does.
    let retry = match pb::Retry::try_from(told.retry) {
        Ok(pb::Retry::Permanent) => Retry::Permanent,
        Ok(pb::Retry::Temporary) => Retry::Temporary {
            after: told.retry_after.and_then(|after| Duration::try_from(after).ok()),
        },
        Ok(pb::Retry::Unspecified | pb::Retry::Unknown) | Err(_) => Retry::Unknown,
    };
    let error = AdapterError::new(kind(told.kind()), fault(told.fault()), retry, detail);
    match told.code.as_str() {
        "" => error,
        code => error.with_code(printed(code)),
    }
}

fn kind(told: pb::FailureKind) -> ErrorKind {
    match told {
        pb::FailureKind::Unspecified | pb::FailureKind::ProviderFailure => {
            ErrorKind::ProviderFailure
        }
        pb::FailureKind::Throttled => ErrorKind::Throttled,
        pb::FailureKind::Unreachable => ErrorKind::Unreachable,
        pb::FailureKind::Timeout => ErrorKind::Timeout,
        pb::FailureKind::Unauthorized => ErrorKind::Unauthorized,
        pb::FailureKind::InsufficientFunds => ErrorKind::InsufficientFunds,
        pb::FailureKind::Forbidden => ErrorKind::Forbidden,
        pb::FailureKind::InvalidRequest => ErrorKind::InvalidRequest,
        pb::FailureKind::ContentRejected => ErrorKind::ContentRejected,
        pb::FailureKind::InvalidRecipient => ErrorKind::InvalidRecipient,
        pb::FailureKind::OptedOut => ErrorKind::OptedOut,
        pb::FailureKind::OutsideWindow => ErrorKind::OutsideWindow,
        pb::FailureKind::Unreached => ErrorKind::Unreached,
    }
}

fn fault(told: pb::Fault) -> Fault {
    match told {
        pb::Fault::Unspecified | pb::Fault::Provider => Fault::Provider,
        pb::Fault::Recipient => Fault::Recipient,
        pb::Fault::Content => Fault::Content,
        pb::Fault::Account => Fault::Account,
    }
}

/// What a provider says of a credential.
pub(crate) fn probed(told: &pb::ProbeResponse) -> Probe {
    let why = match sentence(&told.detail) {
        why if why.is_empty() => "the adapter gave no reason".to_owned(),
        why => why,
    };
    match told.result() {
        pb::ProbeResult::Works => Probe::Works,
        pb::ProbeResult::Refused => Probe::Refused(why),
        pb::ProbeResult::Unspecified | pb::ProbeResult::CannotBeAsked => Probe::CannotBeAsked(why),
    }
}

/// What became of a provider's call; and why of what it told something is left out.
///
/// # Errors
/// If nothing is known of that; why.
pub(crate) fn webhook(
    told: pb::ReadWebhookResponse,
) -> Result<(WebhookOutcome, Vec<String>), String> {
    let verdict = match pb::Verdict::try_from(told.verdict) {
        Ok(pb::Verdict::Understood) => Verdict::Understood,
        Ok(pb::Verdict::NotUnderstood) => Verdict::NotUnderstood,
        Ok(pb::Verdict::Forged) => return Ok((WebhookOutcome::forged(), Vec::new())),
        Ok(pb::Verdict::Unspecified) | Err(_) => {
            return Err(format!("verdict {} is not known here", told.verdict));
        }
    };
    let status = match u16::try_from(told.http_status) {
        Ok(0) => 200,
        Ok(status @ 200..=599) => status,
        Ok(_) | Err(_) => return Err(format!("{} is no HTTP status", told.http_status)),
    };
    if told.body.len() > WEBHOOK_BODY_BYTES {
        return Err(format!("the answer has more than {WEBHOOK_BODY_BYTES} bytes"));
    }
    if told.inbound.len() > MOST_ITEMS {
        return Err(format!("it tells more than {MOST_ITEMS} items at once"));
    }
    let (inbound, refused) = items(told.inbound);
    Ok((WebhookOutcome { status, body: told.body, verdict, inbound }, refused))
}

/// What a provider told; and of what is not understood, which would not be a second time either, why.
pub(crate) fn items(told: Vec<pb::Inbound>) -> (Vec<Inbound>, Vec<String>) {
    let (mut inbound, mut refused) = (Vec::new(), Vec::new());
    for told in told {
        match item(told, &mut refused) {
            Ok(item) => inbound.extend(item),
            Err(why) => refused.push(why),
        }
    }
    (inbound, refused)
}

/// One thing that a provider told; and why of its parts some are left out. `None`: it is about somebody else's message.
fn item(told: pb::Inbound, left_out: &mut Vec<String>) -> Result<Option<Inbound>, String> {
    let item = match told.item {
        Some(inbound::Item::Receipt(it)) if is_foreign(&it.attempt_id, &it.provider_message_id) => {
            return Ok(None);
        }
        Some(inbound::Item::Receipt(it)) => Inbound::Receipt(receipt(it)?),
        Some(inbound::Item::Message(it)) => Inbound::Message(message(it, left_out)?),
        Some(inbound::Item::Watermark(it)) => Inbound::Watermark(watermark(it)?),
        Some(inbound::Item::OptOut(it)) => Inbound::OptOut(OptOut {
            sender: sender("an opt-out", &it.channel, it.sender)?,
            recipient: address(it.recipient).ok_or("an opt-out without a recipient")?,
            is_lifted: it.lifted,
        }),
        None => return Err("an item of a kind that is not known here".to_owned()),
    };
    Ok(Some(item))
}

/// Whether only somebody else who sends by the same account at the provider can know what is meant.
fn is_foreign(attempt_id: &str, provider_message_id: &str) -> bool {
    !attempt_id.is_empty() && attempt(attempt_id).is_none() && provider_message_id.is_empty()
}

fn receipt(told: pb::Receipt) -> Result<Receipt, String> {
    let (attempt, provider_id) =
        (attempt(&told.attempt_id), id("provider_message_id", told.provider_message_id)?);
    if attempt.is_none() && provider_id.is_none() {
        return Err("a receipt that names neither an attempt nor a message".to_owned());
    }
    let report = match told.report {
        Some(receipt::Report::Reached(value)) => {
            let status = pb::Status::try_from(value).ok().and_then(description::status);
            Report::Reached(status.ok_or_else(|| format!("status {value} is not known here"))?)
        }
        Some(receipt::Report::Failed(value)) => match pb::MessageFailure::try_from(value) {
            Ok(pb::MessageFailure::Rejected) => Report::Failed(Failure::Rejected),
            Ok(pb::MessageFailure::Undeliverable) => Report::Failed(Failure::Undeliverable),
            Ok(pb::MessageFailure::Unspecified) | Err(_) => {
                return Err(format!("message failure {value} is not known here"));
            }
        },
        None => return Err("a receipt that says nothing that is known here".to_owned()),
    };
    let given = |text: String| Some(text).filter(|text| !text.is_empty());
    Ok(Receipt {
        attempt,
        provider_id,
        report,
        provider_time: told.provider_time.as_ref().and_then(time),
        code: given(printed(&told.code)),
        detail: given(sentence(&told.detail)),
        usage: told.usage.and_then(usage),
    })
}

/// A person wrote it, whatever it quotes: a part that is none is left out, and a quote of what is not ours.
fn message(told: pb::InboundMessage, left_out: &mut Vec<String>) -> Result<InboundMessage, String> {
    const WHAT: &str = "a person's message";
    let message_id = id("message_id", told.message_id)?;
    let parts = told.content.into_iter().filter_map(|it| match part(it) {
        Ok(part) => part,
        Err(why) => {
            left_out.push(format!("of {WHAT} {why}"));
            None
        }
    });
    Ok(InboundMessage {
        content: within_bounds(parts.collect()),
        id: message_id.ok_or_else(|| format!("{WHAT} without a message_id"))?,
        from: address(told.from_endpoint)
            .ok_or_else(|| format!("{WHAT} without a from_endpoint"))?,
        to: sender(WHAT, &told.channel, told.to_endpoint)?,
        quoted_id: id("quoted_provider_message_id", told.quoted_provider_message_id)?,
        quoted_attempt: attempt(&told.quoted_attempt_id),
        provider_time: told.provider_time.as_ref().and_then(time),
    })
}

/// A part of what a person wrote. `None`: of a later minor, or too large to be looked at.
fn part(told: pb::Content) -> Result<Option<Content>, &'static str> {
    let text = |text: String| Some(text).filter(|text| !text.is_empty());
    let file = |of: fn(Media) -> Content, told: pb::Media| match told.url.is_empty() {
        true => Err("a file that has no url"),
        false => Ok(Some(of(Media { url: told.url, caption: text(told.caption) }))),
    };
    match told.content {
        Some(content::Content::Text(text)) => Ok(Some(Content::Text(text))),
        Some(content::Content::Image(it)) => file(Content::Image, it),
        Some(content::Content::Audio(it)) => file(Content::Audio, it),
        Some(content::Content::Video(it)) => file(Content::Video, it),
        Some(content::Content::File(it)) => file(Content::File, it),
        Some(content::Content::Location(it)) => {
            let place = place(&it.latitude, &it.longitude, text(it.name), text(it.address));
            place.map(Some).ok_or("a location that has no degrees")
        }
        Some(content::Content::CustomJson(it)) if it.len() > PART_BYTES => Ok(None),
        Some(content::Content::CustomJson(it)) => {
            match serde_json::from_str::<Map<String, Value>>(&it) {
                Ok(_) => Ok(Some(Content::Custom(it))),
                Err(_) => Err("custom_json that is no JSON object"),
            }
        }
        Some(content::Content::Template(_) | content::Content::Code(_)) => {
            Err("a template or a code, which persons do not send")
        }
        None => Ok(None),
    }
}

fn watermark(told: pb::Watermark) -> Result<Watermark, String> {
    let status = description::status(told.status())
        .filter(|status| matches!(status, Status::Delivered | Status::Read));
    Ok(Watermark {
        sender: sender("a watermark", &told.channel, told.sender)?,
        recipient: address(told.recipient).ok_or("a watermark without a recipient")?,
        status: status.ok_or("a watermark tells delivered or read")?,
        until: told.until.as_ref().and_then(time).ok_or("a watermark without a time")?,
    })
}

fn sender(what: &str, channel: &str, told: Option<pb::Endpoint>) -> Result<ChannelSender, String> {
    let channel = channel.parse().map_err(|_| format!("{what} of no channel"))?;
    let sender = address(told).ok_or_else(|| format!("{what} without a sender"))?;
    Ok(ChannelSender { channel, id: sender.value().to_owned() })
}

fn address(told: Option<pb::Endpoint>) -> Option<Endpoint> {
    let endpoint = match told?.endpoint? {
        endpoint::Endpoint::Id(id) => Endpoint::Id(id),
        endpoint::Endpoint::Number(number) => Endpoint::Number(number),
    };
    (1..=ADDRESS_BYTES).contains(&endpoint.value().len()).then_some(endpoint)
}

/// What is no name of ours is somebody else's.
fn attempt(told: &str) -> Option<AttemptId> {
    told.parse().ok()
}

/// The id that stands in `field`.
fn id(field: &str, told: String) -> Result<Option<String>, String> {
    match told.len() {
        0 => Ok(None),
        1..=ID_BYTES => Ok(Some(told)),
        _ => Err(format!("a {field} of more than {ID_BYTES} bytes")),
    }
}

fn usage(told: pb::Usage) -> Option<Usage> {
    let is_currency =
        told.currency.len() == 3 && told.currency.bytes().all(|b| b.is_ascii_uppercase());
    let is_price = (1..=32).contains(&told.price.len())
        && told.price.bytes().all(|b| b.is_ascii_digit() || b".-".contains(&b));
    (is_currency && is_price).then_some(Usage { currency: told.currency, price: told.price })
}

fn time(told: &Timestamp) -> Option<UnixMillis> {
    let seconds = u64::try_from(told.seconds).ok()?;
    let millis = u64::try_from(told.nanos).ok()? / 1_000_000;
    Some(UnixMillis(seconds.checked_mul(1_000)?.checked_add(millis)?))
}

/// A foreign sentence, as it may stand in a timeline.
pub(crate) fn sentence(told: &str) -> String {
    told.trim().chars().filter(|c| !c.is_control()).take(DETAIL_CHARS).collect()
}

/// A foreign code: at most 64 bytes are kept.
fn printed(code: &str) -> String {
    let mut kept = String::new();
    for c in code.chars().filter(|c| !c.is_control()) {
        if kept.len() + c.len_utf8() > 64 {
            break;
        }
        kept.push(c);
    }
    kept
}
