//! Reads what the Gateway answers: `{"ok": true, "result": …}` or `{"ok": false, "error": "…"}`.
//!
//! An error's word counts more than the HTTP status beside it; but beside that of a failed server it says nothing of
//! the message, which may have gone out.

use std::borrow::Cow;

use dispatch_contract::{Accepted, AdapterError, ErrorKind, Fault, Recall, Retry, Status};
use dispatch_kit::{
    codes::Codes,
    http::HttpResponse,
    json::Json,
    refusal::{REFUSED, by_status, unnamed},
};

use super::errors::meaning;

/// The longest id taken, in bytes. Telegram's have about 20.
const MAX_ID_BYTES: usize = 128;
/// The longest error taken for one, in bytes.
const MAX_ERROR_BYTES: usize = 64;

const WRONG_ADDRESS: &str = "there is no Gateway API at this address; check the account's base_url";

/// The request's id, of an answer that grants it.
///
/// # Errors
/// | answer | error |
/// |---|---|
/// | a known error | by the table; beside a status of 500 and above Unknown |
/// | 2xx without an id and an error | Unknown |
/// | 2xx or 4xx with an unknown error | Permanent, the content's |
/// | anything else | by its status |
pub(crate) fn request_id(answer: &HttpResponse, codes: Codes<'_>) -> Result<String, AdapterError> {
    let body = Json::of(&answer.body);
    let is_granted = (200..300).contains(&answer.status);
    let granted = body.read("result", |result| result.read("request_id", id));
    match (granted, error(body)) {
        (Some(id), None) if is_granted => Ok(id),
        (_, Some(error)) => Err(refusal(answer, error, codes)),
        (_, None) if is_granted => Err(unnamed()),
        (_, None) => Err(by_status(answer, WRONG_ADDRESS).unwrap_or_else(|| REFUSED.error(answer))),
    }
}

/// What became of a send.
///
/// # Errors
/// As [`request_id`].
pub(crate) fn accepted(answer: &HttpResponse, codes: Codes<'_>) -> Result<Accepted, AdapterError> {
    let accepted = Accepted::under(request_id(answer, codes)?);
    Ok(Accepted { provider_time: answer.date(), ..accepted })
}

/// Whether a revocation was heard. What came of it the answer does not say.
///
/// # Errors
/// If it was not.
pub(crate) fn heard(answer: &HttpResponse) -> Result<(), AdapterError> {
    match error(Json::of(&answer.body)) {
        None if (200..300).contains(&answer.status) => Ok(()),
        Some(_) | None => Err(not_known(answer)),
    }
}

/// What became of a revocation, by the message's status behind it.
///
/// # Errors
/// If nobody can say whether the person will see the message: it may still be taken back.
pub(crate) fn recall(answer: &HttpResponse) -> Result<Recall, AdapterError> {
    let body = Json::of(&answer.body);
    let status = body.read("result", |result| {
        result.read("delivery_status", |delivery| delivery.read("status", Json::text))
    });
    match status.as_deref() {
        _ if !(200..300).contains(&answer.status) => Err(not_known(answer)),
        // What expired is deleted, too.
        Some("revoked" | "expired") => Ok(Recall::Recalled),
        Some("delivered") => Ok(Recall::TooLate(Some(Status::Delivered))),
        Some("read") => Ok(Recall::TooLate(Some(Status::Read))),
        Some(_) | None => Err(not_known(answer)),
    }
}

/// The error's word, if the answer is one.
pub(crate) fn error(body: Json<'_>) -> Option<Cow<'_, str>> {
    body.read("error", |error| {
        Some(error.text().filter(|text| is_error(text)).unwrap_or(Cow::Borrowed("")))
    })
}

/// Whether `text` may be an error's word. Anything else may hold a number.
pub(crate) fn is_error(text: &str) -> bool {
    (1..=MAX_ERROR_BYTES).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
}

/// A request's id there.
pub(crate) fn id(value: Json<'_>) -> Option<String> {
    value.scalar().filter(|id| (1..=MAX_ID_BYTES).contains(&id.len())).map(Cow::into_owned)
}

fn refusal(answer: &HttpResponse, error: Cow<'_, str>, codes: Codes<'_>) -> AdapterError {
    let known = codes.meaning(&error, meaning(&error)).filter(|_| answer.status < 500);
    let refused = match known {
        Some(known) => known.error(answer),
        None if (200..300).contains(&answer.status) => REFUSED.error(answer),
        None => by_status(answer, WRONG_ADDRESS).unwrap_or_else(|| REFUSED.error(answer)),
    };
    if error.is_empty() { refused } else { refused.with_code(error.into_owned()) }
}

fn not_known(answer: &HttpResponse) -> AdapterError {
    let detail = format!("the provider answered a recall with HTTP {}", answer.status);
    AdapterError::new(ErrorKind::ProviderFailure, Fault::Provider, Retry::Unknown, detail)
}
