//! Reads what the Bot API answers: `{"ok": true, "result": …}`, or an error code that repeats the HTTP status with a
//! description, of which only its beginning is fixed.

use std::{borrow::Cow, time::Duration};

use dispatch_contract::{Accepted, AdapterError, ErrorKind, Fault, Retry};
use dispatch_kit::{
    codes::Codes,
    http::HttpResponse,
    json::Json,
    refusal::{CodeMeaning, REFUSED, by_status, unnamed},
};

use super::ids;

/// The longest wait that is believed.
const MOST_WAIT_S: u64 = 86_400;

const WRONG_ADDRESS: &str =
    "there is no bot of this token at this address; check the account's bot_token and base_url";

/// What became of a send.
///
/// # Errors
/// | answer | error |
/// |---|---|
/// | 2xx without a message's id | Unknown |
/// | 400 that says that the chat was not found, 403 | Permanent, the recipient's |
/// | 429 | Temporary, after `retry_after` |
/// | anything else | by its status |
pub(crate) fn decode(answer: &HttpResponse, codes: Codes<'_>) -> Result<Accepted, AdapterError> {
    let body = Json::of(&answer.body);
    if (200..300).contains(&answer.status) {
        return body.read("result", ids::message).map(Accepted::under).ok_or_else(unnamed);
    }
    let code = answer.status.to_string();
    let waits = HttpResponse { retry_after: wait(body).or(answer.retry_after), ..answer.clone() };
    let known = match answer.status {
        400..=499 => codes.meaning(&code, meaning(answer.status, body)),
        _ => None,
    };
    let error = match known {
        Some(known) => known.error(&waits),
        None => by_status(&waits, WRONG_ADDRESS).unwrap_or_else(|| REFUSED.error(&waits)),
    };
    Err(error.with_code(code))
}

/// What a refusal means that is not about the call alone.
fn meaning(status: u16, body: Json<'_>) -> Option<CodeMeaning> {
    let said = |part: &str| {
        let holds = |text: Cow<'_, str>| text.to_ascii_lowercase().contains(part);
        body.read("description", Json::text).is_some_and(holds)
    };
    let (kind, sentence) = match status {
        400 if said("chat not found") => (ErrorKind::InvalidRecipient, "there is no such chat"),
        403 if said("blocked") => (ErrorKind::Unreached, "the person blocked the bot"),
        403 if said("forbidden:") => (ErrorKind::Unreached, "the bot may not write to this chat"),
        _ => return None,
    };
    Some(CodeMeaning { kind, fault: Fault::Recipient, retry: Retry::Permanent, sentence })
}

fn wait(body: Json<'_>) -> Option<Duration> {
    let seconds =
        body.read("parameters", |it| it.read("retry_after", |it| it.number()?.parse().ok()))?;
    (seconds <= MOST_WAIT_S).then(|| Duration::from_secs(seconds))
}
