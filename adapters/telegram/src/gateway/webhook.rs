//! Reads what the Gateway reports of a message, and tells genuine reports from forged ones.
//!
//! `X-Request-Signature` is HMAC-SHA256, in hexadecimal digits, over the header `X-Request-Timestamp`, a line feed and
//! the raw body; its key is the SHA-256 of the account's token. How old a report may be is not judged: Telegram
//! repeats one that was not taken up to ten times, and a repeated receipt is harmless.

use std::borrow::Cow;

use dispatch_contract::{
    Account, Failure, Inbound, Receipt, Report, Status, UnixMillis, Usage, WebhookOutcome,
    WebhookRequest,
};
use dispatch_kit::{
    json::Json,
    signature::{SignatureScheme, sha256},
};

use super::{account::signing_tokens, send_result::id};

/// The header of the signature, in lower case.
pub const SIGNATURE: &str = "x-request-signature";
/// The header of the time at which it was signed, in lower case.
pub const TIMESTAMP: &str = "x-request-timestamp";

/// The longest time taken for one, in bytes.
const MAX_TIMESTAMP_BYTES: usize = 32;

/// The signature of a report at a time, as its header has it, under an account's token.
pub fn signature(token: &str, timestamp: &str, body: &[u8]) -> String {
    SignatureScheme::Sha256Hex.sign(&sha256(token.as_bytes()), &signed(timestamp, body))
}

/// Checks and reads one call of Telegram's: a report.
pub fn read(request: &WebhookRequest<'_>, account: &Account) -> WebhookOutcome {
    if !is_genuine(request, account) {
        return WebhookOutcome::forged();
    }
    let mut inbound = Vec::new();
    let mut is_understood = false;
    for report in Json::items(request.body) {
        let Some(request_id) = report.read("request_id", id) else { continue };
        let delivery = report.read("delivery_status", delivery);
        // How a person's code was judged is no delivery.
        is_understood |= delivery.is_some() || report.read("verification_status", status).is_some();
        inbound.extend(delivery.map(|told| Inbound::Receipt(receipt(report, request_id, told))));
    }
    match is_understood {
        true => WebhookOutcome::understood(inbound),
        false => WebhookOutcome::not_understood(),
    }
}

/// A message's status, as its word, what that means, and for a failure one sentence; and when it reached it.
struct Delivery {
    word: String,
    report: Report,
    detail: Option<&'static str>,
    at: Option<UnixMillis>,
}

fn delivery(told: Json<'_>) -> Option<Delivery> {
    let word = told.read("status", Json::text)?.trim().to_ascii_lowercase();
    let failed = Report::Failed(Failure::Undeliverable);
    let (report, detail) = match word.as_str() {
        "sent" => (Report::Reached(Status::Submitted), None),
        "delivered" => (Report::Reached(Status::Delivered), None),
        "read" => (Report::Reached(Status::Read), None),
        "expired" => (failed, Some("it was not delivered in its time, and deleted")),
        "revoked" => (failed, Some("it was taken back")),
        _ => return None,
    };
    Some(Delivery { word, report, detail, at: told.read("updated_at", seconds) })
}

/// The word of a status of any kind.
fn status(told: Json<'_>) -> Option<Cow<'_, str>> {
    told.read("status", Json::text)
}

fn receipt(told: Json<'_>, request_id: String, delivery: Delivery) -> Receipt {
    let Delivery { word, report, detail, at } = delivery;
    Receipt {
        attempt: told.read("payload", |ours| ours.text()?.trim().parse().ok()),
        provider_id: Some(request_id),
        report,
        provider_time: at,
        code: detail.map(|_| word),
        detail: detail.map(str::to_owned),
        usage: usage(told),
    }
}

/// What the request costs: nothing, where the fee was given back.
fn usage(report: Json<'_>) -> Option<Usage> {
    let is_price = |text: &&str| {
        text.len() <= 20 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
    };
    let price = match report.read("is_refunded", Json::flag) {
        Some(true) => "0",
        Some(false) | None => report.read("request_cost", |cost| cost.number().filter(is_price))?,
    };
    Some(Usage { currency: "USD".to_owned(), price: price.to_owned() })
}

/// Seconds since 1970. It decides nothing, so what cannot be read is left out.
fn seconds(value: Json<'_>) -> Option<UnixMillis> {
    let seconds: u64 = value.scalar()?.parse().ok()?;
    seconds.checked_mul(1_000).map(UnixMillis)
}

fn is_genuine(request: &WebhookRequest<'_>, account: &Account) -> bool {
    let headers = request.header(SIGNATURE).zip(request.header(TIMESTAMP));
    let Some((signature, timestamp)) = headers else { return false };
    if timestamp.len() > MAX_TIMESTAMP_BYTES {
        return false;
    }
    let signed = signed(timestamp, request.body);
    signing_tokens(account).any(|token| {
        let key = sha256(token.as_bytes());
        SignatureScheme::Sha256Hex.is_genuine(&key, &signed, signature.trim())
    })
}

fn signed(timestamp: &str, body: &[u8]) -> Vec<u8> {
    [timestamp.as_bytes(), b"\n", body].concat()
}
