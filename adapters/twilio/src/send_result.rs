//! Reads the answer to a send, and to a recall.
//!
//! The HTTP status decides first whether the message may have gone out; the code in the body only says
//! more about a refusal.

use std::borrow::Cow;

use dispatch_contract::{Accepted, AdapterError, ErrorKind, Fault, Recall, Retry, Status};
use dispatch_kit::{
    codes::Codes,
    http::HttpResponse,
    json::Json,
    refusal::{CodeMeaning, REFUSED, by_status, unnamed},
};

use super::errors::meaning;

/// The longest id taken; Twilio's have 34 characters.
const MAX_ID_BYTES: usize = 64;
/// The message can not be canceled any more.
const TOO_LATE: u32 = 30_409;

const WRONG_ADDRESS: &str =
    "there are no messages at this address; check the account's base_url and account_sid";

/// What became of a send.
///
/// # Errors
/// By status, and within refusals by the table of codes.
///
/// | status | error |
/// |---|---|
/// | 2xx without an id | Unknown |
/// | 2xx that says at once that it failed | by code |
/// | 301, 302, 307, 308, 404, 405 | Permanent, the account's: its URL or its SID is wrong |
/// | 401, 403 | Permanent, the account's |
/// | 408, 409, 425 | Temporary |
/// | 429 | Temporary, after `Retry-After` |
/// | other 4xx, and each 4xx with a code that the account names | by code; without one Permanent, the content's |
/// | 5xx and everything else | Unknown |
pub fn decode(answer: &HttpResponse, codes: Codes<'_>) -> Result<Accepted, AdapterError> {
    let body = Json::of(&answer.body);
    if (200..300).contains(&answer.status) {
        let has_failed = body.read("status", |status| status.text()).is_some_and(|status| {
            // No webhook tells of the status that the answer holds.
            matches!(&*status, "failed" | "undelivered")
        });
        return match body.read("sid", id) {
            Some(_) if has_failed => Err(refused(body.read("error_code", code), answer, codes)),
            Some(provider_id) => Ok(Accepted::under(provider_id)),
            None => Err(unnamed()),
        };
    }
    Err(refusal(answer, body.read("code", code), codes))
}

/// What became of a recall.
///
/// # Errors
/// Whatever else was answered: nobody knows then whether the person will see it.
pub(crate) fn decode_recall(answer: &HttpResponse) -> Result<Recall, AdapterError> {
    let body = Json::of(&answer.body);
    let unknown = || {
        AdapterError::new(
            ErrorKind::ProviderFailure,
            Fault::Provider,
            Retry::Unknown,
            format!("the provider answered a recall with HTTP {}", answer.status),
        )
    };
    match answer.status {
        200..=299 => match body.read("status", |status| status.text()).as_deref() {
            Some("canceled") => Ok(Recall::Recalled),
            Some("delivered") => Ok(Recall::TooLate(Some(Status::Delivered))),
            Some("read") => Ok(Recall::TooLate(Some(Status::Read))),
            Some(_) => Ok(Recall::TooLate(None)),
            None => Err(unknown()),
        },
        400..=499 if body.read("code", code) == Some(TOO_LATE) => Ok(Recall::TooLate(None)),
        409 => Ok(Recall::TooLate(None)),
        _ => Err(unknown()),
    }
}

fn refusal(answer: &HttpResponse, code: Option<u32>, codes: Codes<'_>) -> AdapterError {
    let is_named = code.is_some_and(|code| codes.has(&code.to_string()));
    let error = match (answer.status, code.and_then(|code| known(code, codes))) {
        (400..=499, Some(known)) if is_named => known.error(answer),
        (401 | 403, Some(known)) if known.fault == Fault::Account => {
            CodeMeaning { retry: Retry::Permanent, ..known }.error(answer)
        }
        _ => match by_status(answer, WRONG_ADDRESS) {
            Some(error) => error,
            None => return refused(code, answer, codes),
        },
    };
    coded(error, code)
}

/// A refusal, by its code.
fn refused(code: Option<u32>, answer: &HttpResponse, codes: Codes<'_>) -> AdapterError {
    coded(code.and_then(|code| known(code, codes)).unwrap_or(REFUSED).error(answer), code)
}

/// What a code means to the account.
pub(crate) fn known(code: u32, codes: Codes<'_>) -> Option<CodeMeaning> {
    codes.meaning(&code.to_string(), meaning(code))
}

fn coded(error: AdapterError, code: Option<u32>) -> AdapterError {
    match code {
        Some(code) => error.with_code(code.to_string()),
        None => error,
    }
}

/// A message's id there.
fn id(value: Json<'_>) -> Option<String> {
    value.text().filter(|text| is_id(text)).map(Cow::into_owned)
}

/// Whether `text` may be a message's id: it stands in paths, so nothing else is taken for one.
pub(crate) fn is_id(text: &str) -> bool {
    (1..=MAX_ID_BYTES).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// A code there, number or text: up to six digits. Anything else may be a phone number.
pub(crate) fn code(value: Json<'_>) -> Option<u32> {
    code_of(&value.scalar()?)
}

/// A code in a form.
pub(crate) fn code_of(text: &str) -> Option<u32> {
    let is_code = (1..=6).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|code| is_code && *code > 0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use dispatch_contract::Account;
    use serde_json::{Value, json};

    use super::*;

    fn decode(answer: &HttpResponse) -> Result<Accepted, AdapterError> {
        super::decode(answer, Codes::default())
    }

    #[test]
    fn what_the_account_says_of_a_code_counts_more_than_the_status_of_a_refusal() {
        let settings = [("codes".to_owned(), "21610 = temporary; 20003 = provider".to_owned())];
        let (name, settings) = ("main".to_owned(), settings.into());
        let account = Account { name, revision: 1, settings, secrets: [].into() };
        let codes = Codes::of(&account);
        let again = Retry::Temporary { after: None };
        for (status, code, fault, retry) in [
            (400, 21_610, Fault::Recipient, again),
            (201, 21_610, Fault::Recipient, again),
            (404, 21_610, Fault::Recipient, again),
            (401, 20_003, Fault::Provider, Retry::Permanent),
            // Whether a failed server sent it nobody can say beforehand.
            (500, 21_610, Fault::Provider, Retry::Unknown),
        ] {
            let body = match status {
                201 => json!({ "sid": "SM1", "status": "failed", "error_code": code }),
                _ => problem(code),
            };
            let error = super::decode(&answer(status, &body), codes).expect_err("refused");
            assert_eq!((error.fault, error.retry), (fault, retry), "{status} {code}");
            assert_eq!(error.code, Some(code.to_string()));
        }
    }

    fn answer(status: u16, body: &Value) -> HttpResponse {
        HttpResponse::new(status, body.to_string())
    }

    fn problem(code: u32) -> Value {
        json!({
            "code": code, "message": "The 'To' number +447700900000 is not valid.",
            "more_info": format!("https://www.twilio.com/docs/errors/{code}"), "status": 400,
        })
    }

    #[test]
    fn an_accepted_message_has_the_provider_s_id() {
        for status in ["queued", "accepted", "scheduled", "sent"] {
            let body = json!({ "sid": "SM1", "status": status, "error_code": null });
            assert_eq!(decode(&answer(201, &body)).expect("accepted").provider_ids, ["SM1"]);
        }
    }

    #[test]
    fn what_failed_at_once_is_no_acceptance() {
        let body = json!({ "sid": "SM1", "status": "failed", "error_code": 21610 });
        let error = decode(&answer(201, &body)).expect_err("failed");
        assert_eq!((error.kind, error.code.as_deref()), (ErrorKind::OptedOut, Some("21610")));
    }

    #[test]
    fn a_success_without_a_usable_id_is_an_unknown_outcome() {
        for sid in [json!(null), json!(""), json!("../x"), json!("a b"), json!(7), json!("é")] {
            let error = decode(&answer(201, &json!({ "sid": sid }))).expect_err("no id");
            assert_eq!(error.retry, Retry::Unknown, "{sid}");
        }
    }

    #[test]
    fn the_status_decides_whether_the_message_may_have_gone_out() {
        let permanent = Retry::Permanent;
        let temporary = Retry::Temporary { after: None };
        for (status, kind, fault, retry) in [
            (302, ErrorKind::InvalidRequest, Fault::Account, permanent),
            (303, ErrorKind::ProviderFailure, Fault::Provider, Retry::Unknown),
            (400, ErrorKind::InvalidRequest, Fault::Content, permanent),
            (401, ErrorKind::Unauthorized, Fault::Account, permanent),
            (403, ErrorKind::Forbidden, Fault::Account, permanent),
            (404, ErrorKind::InvalidRequest, Fault::Account, permanent),
            (409, ErrorKind::ProviderFailure, Fault::Provider, temporary),
            (429, ErrorKind::Throttled, Fault::Provider, temporary),
            (500, ErrorKind::ProviderFailure, Fault::Provider, Retry::Unknown),
            (503, ErrorKind::ProviderFailure, Fault::Provider, Retry::Unknown),
        ] {
            let error = decode(&answer(status, &json!({}))).expect_err("refused");
            assert_eq!((error.kind, error.fault, error.retry), (kind, fault, retry), "{status}");
        }
        // An error inside the platform has a code that could be tried again; the message may be out.
        assert_eq!(
            decode(&answer(500, &problem(20_500))).expect_err("failed").retry,
            Retry::Unknown
        );
    }

    #[test]
    fn a_refusal_s_code_says_more_and_its_words_are_not_passed_on() {
        for (code, kind, fault) in [
            (21_211, ErrorKind::InvalidRecipient, Fault::Recipient),
            (21_610, ErrorKind::OptedOut, Fault::Recipient),
            (21_606, ErrorKind::Forbidden, Fault::Account),
            (29_999, ErrorKind::InvalidRequest, Fault::Content),
        ] {
            let error = decode(&answer(400, &problem(code))).expect_err("refused");
            assert_eq!((error.kind, error.fault), (kind, fault), "{code}");
            assert_eq!(error.code, Some(code.to_string()));
            assert!(!error.to_string().contains("4477"), "{error}");
        }
    }

    #[test]
    fn throttling_is_temporary_by_status_and_by_code() {
        let wait = Some(Duration::from_secs(3));
        for (status, code) in [(429, 20_429), (400, 21_611)] {
            let answer = HttpResponse { retry_after: wait, ..answer(status, &problem(code)) };
            let error = decode(&answer).expect_err("refused");
            assert_eq!(error.kind, ErrorKind::Throttled);
            assert_eq!(error.retry, Retry::Temporary { after: wait });
        }
    }

    #[test]
    fn a_phone_number_is_not_taken_for_a_code() {
        for code in [json!("447700900000"), json!(447_700_900_000_u64), json!("+447"), json!(0)] {
            let error = decode(&answer(400, &json!({ "code": code }))).expect_err("refused");
            assert_eq!(error.code, None, "{code}");
        }
    }

    #[test]
    fn a_recall_is_done_too_late_or_not_known() {
        use Recall::{Recalled, TooLate};
        let message = |status: &str| json!({ "sid": "SM1", "status": status });
        for (status, body, wanted) in [
            (200, message("canceled"), Some(Recalled)),
            (200, message("sent"), Some(TooLate(None))),
            (200, message("delivered"), Some(TooLate(Some(Status::Delivered)))),
            (200, message("read"), Some(TooLate(Some(Status::Read)))),
            (200, json!({}), None),
            (400, problem(30_409), Some(TooLate(None))),
            (409, json!({}), Some(TooLate(None))),
            (400, problem(20_001), None),
            (401, problem(20_003), None),
            (404, problem(20_404), None),
            (500, json!({}), None),
        ] {
            assert_eq!(decode_recall(&answer(status, &body)).ok(), wanted, "{status} {body}");
        }
    }
}
