//! Reads the answer to a send. Both versions of the API answer alike.
//!
//! The HTTP status decides first whether the message may have gone out; a code in the body only
//! says more about a refusal. (An internal error carries code 1000 in the published examples, the
//! code for throttling; taken by its code it would be sent twice.)

use std::borrow::Cow;

use dispatch_contract::{Accepted, AdapterError, ErrorKind, Fault, Recall, Retry};

use super::errors::{CodeSource, meaning};
use dispatch_kit::{
    codes::Codes,
    http::HttpResponse,
    json::Json,
    refusal::{CodeMeaning, REFUSED, by_status, unnamed},
};

/// The longest provider id taken; Vonage's are UUIDs.
const MAX_ID_BYTES: usize = 128;

const WRONG_ADDRESS: &str =
    "there is no Messages API at this address; check the account's base_url and api_version";

/// How many of the fields that Vonage found wrong are named in an error.
const MAX_FIELDS: usize = 5;

/// What became of a recall. 422 says that the message is none that can be taken back any more.
///
/// # Errors
/// Whatever else was answered: nobody knows then whether the person will see it.
pub(super) fn decode_recall(answer: &HttpResponse) -> Result<Recall, AdapterError> {
    match answer.status {
        200..=299 => Ok(Recall::Recalled),
        422 => Ok(Recall::TooLate(None)),
        status => Err(AdapterError::new(
            ErrorKind::ProviderFailure,
            Fault::Provider,
            Retry::Unknown,
            format!("the provider answered a recall with HTTP {status}"),
        )),
    }
}

/// What became of a send.
///
/// # Errors
/// By status, and within refusals by the table of codes.
///
/// | status | error |
/// |---|---|
/// | 2xx without an id | Unknown |
/// | 301, 302, 307, 308, 404, 405 | Permanent, the account's: its base URL is wrong |
/// | 401, 403 | Permanent, the account's |
/// | 402 | Permanent, the account's: no money |
/// | 408, 409, 425 | Temporary |
/// | 429 | Temporary, after `Retry-After` |
/// | other 4xx, and each 4xx with a code that the account names | by code; without one Permanent, the content's |
/// | 5xx and everything else | Unknown |
pub fn decode(answer: &HttpResponse, codes: Codes<'_>) -> Result<Accepted, AdapterError> {
    let body = Json::of(&answer.body);
    if (200..300).contains(&answer.status) {
        return match body.read("message_uuid", id) {
            Some(provider_id) => Ok(Accepted::under(provider_id)),
            None => Err(unnamed()),
        };
    }
    let code = problem_code(body);
    let error = refusal(answer, code.as_deref(), body, codes);
    Err(match code {
        Some(code) => error.with_code(code),
        None => error,
    })
}

fn refusal(
    answer: &HttpResponse,
    code: Option<&str>,
    body: Json<'_>,
    codes: Codes<'_>,
) -> AdapterError {
    let known = code.and_then(|code| codes.meaning(code, meaning(code, CodeSource::SendResponse)));
    let is_named = code.is_some_and(|code| codes.has(code));
    match (answer.status, known) {
        (400..=499, Some(known)) if is_named => known.error(answer),
        (401 | 403, Some(known)) if known.fault == Fault::Account => {
            CodeMeaning { retry: Retry::Permanent, ..known }.error(answer)
        }
        (402, _) => AdapterError::new(
            ErrorKind::InsufficientFunds,
            Fault::Account,
            Retry::Permanent,
            "the account's balance is too low",
        ),
        (_, known) => by_status(answer, WRONG_ADDRESS).unwrap_or_else(|| {
            let mut error = known.unwrap_or(REFUSED).error(answer);
            error.detail.push_str(&wrong_fields(body));
            error
        }),
    }
}

/// The code of a problem object, in an answer or in a status webhook: a bare number as `title`, or
/// what follows the `#` of its `type`.
pub(super) fn problem_code(problem: Json<'_>) -> Option<String> {
    let title = problem.read("title", |title| title.scalar().filter(|title| is_number(title)));
    if let Some(title) = title {
        return Some(title.into_owned());
    }
    problem.read("type", |kind| {
        let kind = kind.text()?;
        let (_, fragment) = kind.rsplit_once('#')?;
        is_code(fragment).then(|| fragment.to_owned())
    })
}

/// A message's id there.
pub(super) fn id(value: Json<'_>) -> Option<String> {
    value.scalar().filter(|id| (1..=MAX_ID_BYTES).contains(&id.len())).map(Cow::into_owned)
}

/// Whether `text` looks like one of Vonage's codes: a number of up to 6 digits or a name
/// (`low-balance`). Anything else may be a phone number or a person's words.
pub(super) fn is_code(text: &str) -> bool {
    let is_name = (1..=64).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|b| b.is_ascii_alphabetic() || b == b'-' || b == b'_');
    is_number(text) || is_name
}

fn is_number(text: &str) -> bool {
    (1..=6).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
}

/// The names of the fields that Vonage found wrong. Names only: its reasons may repeat a value.
fn wrong_fields(body: Json<'_>) -> String {
    let is_name = |name: &Cow<'_, str>| {
        (1..=64).contains(&name.len())
            && name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.bytes().all(|b| b.is_ascii_lowercase() || b"._[]".contains(&b))
    };
    let names = body.read("invalid_parameters", |parameters| {
        let names = parameters
            .elements()
            .filter_map(|parameter| parameter.read("name", |name| name.text().filter(is_name)));
        let names: Vec<_> = names.take(MAX_FIELDS).collect();
        (!names.is_empty()).then(|| format!("; wrong: {}", names.join(", ")))
    });
    names.unwrap_or_default()
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
        let settings = [("codes".to_owned(), "1170 = temporary provider".to_owned())].into();
        let (name, secrets) = ("main".to_owned(), [].into());
        let account = Account { name, revision: 1, settings, secrets };
        let again = Retry::Temporary { after: None };
        for (status, retry) in [(422, again), (404, again), (500, Retry::Unknown)] {
            let refused = super::decode(&answer(status, &problem("1170")), Codes::of(&account));
            let error = refused.expect_err("refused");
            assert_eq!((error.fault, error.retry), (Fault::Provider, retry), "{status}");
        }
    }

    fn answer(status: u16, body: &Value) -> HttpResponse {
        HttpResponse::new(status, body.to_string())
    }

    fn problem(code: &str) -> Value {
        json!({
            "type": format!("https://developer.vonage.com/api-errors/messages#{code}"),
            "title": "Some title", "detail": "447700900000 is wrong", "instance": "x",
        })
    }

    #[test]
    fn an_accepted_message_has_the_provider_s_id() {
        let accepted = decode(&answer(202, &json!({ "message_uuid": "u-1", "workflow_id": "w" })));
        assert_eq!(accepted.expect("accepted").provider_ids, ["u-1"]);
    }

    #[test]
    fn a_success_without_a_usable_id_is_an_unknown_outcome() {
        for body in
            [json!({}), json!([]), json!({ "message_uuid": "" }), json!({ "message_uuid": null })]
        {
            let error = decode(&answer(202, &body)).expect_err("no id");
            assert_eq!(error.retry, Retry::Unknown, "{body}");
        }
        let cut = HttpResponse::new(200, "{\"message_uuid\":\"u");
        assert_eq!(decode(&cut).expect_err("cut").retry, Retry::Unknown);
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
            (402, ErrorKind::InsufficientFunds, Fault::Account, permanent),
            (403, ErrorKind::Forbidden, Fault::Account, permanent),
            (404, ErrorKind::InvalidRequest, Fault::Account, permanent),
            (408, ErrorKind::ProviderFailure, Fault::Provider, temporary),
            (422, ErrorKind::InvalidRequest, Fault::Content, permanent),
            (425, ErrorKind::ProviderFailure, Fault::Provider, temporary),
            (429, ErrorKind::Throttled, Fault::Provider, temporary),
            (500, ErrorKind::ProviderFailure, Fault::Provider, Retry::Unknown),
            (503, ErrorKind::ProviderFailure, Fault::Provider, Retry::Unknown),
        ] {
            let error = decode(&answer(status, &json!({}))).expect_err("refused");
            assert_eq!((error.kind, error.fault, error.retry), (kind, fault, retry), "{status}");
        }
    }

    #[test]
    fn a_refusal_s_code_says_more() {
        for (status, code, kind, fault) in [
            (422, "1120", ErrorKind::Forbidden, Fault::Account),
            (422, "110", ErrorKind::InvalidRecipient, Fault::Recipient),
            (422, "1430", ErrorKind::InvalidRecipient, Fault::Recipient),
            (400, "InvalidParams", ErrorKind::InvalidRequest, Fault::Content),
            (401, "unprovisioned", ErrorKind::Forbidden, Fault::Account),
            (402, "low-balance", ErrorKind::InsufficientFunds, Fault::Account),
        ] {
            let error = decode(&answer(status, &problem(code))).expect_err("refused");
            assert_eq!((error.kind, error.fault), (kind, fault), "{code}");
            assert_eq!(error.code.as_deref(), Some(code));
            assert_eq!(error.retry, Retry::Permanent, "{code}");
            assert!(!error.to_string().contains("4477"), "{error}");
        }
    }

    #[test]
    fn throttling_is_temporary_by_status_and_by_code() {
        let wait = Some(Duration::from_secs(3));
        for (status, code) in [(429, "1010"), (422, "1000")] {
            let answer = HttpResponse { retry_after: wait, ..answer(status, &problem(code)) };
            let error = decode(&answer).expect_err("refused");
            assert_eq!(error.kind, ErrorKind::Throttled);
            assert_eq!(error.retry, Retry::Temporary { after: wait });
        }
    }

    #[test]
    fn what_is_odd_beside_the_code_or_the_id_does_not_lose_it() {
        let kind = "https://developer.vonage.com/api-errors/messages#1000";
        for odd in [
            &br#""Throttled: hi \ud83d""#[..],
            b"\"Throttled: hi M\xfc\nxi\"",
            b"1e999999",
            &[[b'['; 500], [b']'; 500]].concat(),
        ] {
            let body = |rest: &str| [b"{\"detail\":", odd, b",", rest.as_bytes(), b"}"].concat();
            let body_of = |status, rest: &str| HttpResponse::new(status, body(rest));
            let refused = decode(&body_of(422, &format!(r#""type":"{kind}","title":"1000""#)));
            let error = refused.expect_err("refused");
            assert_eq!((error.kind, error.code.as_deref()), (ErrorKind::Throttled, Some("1000")));
            assert_eq!(error.retry, Retry::Temporary { after: None });
            let accepted = decode(&body_of(202, r#""message_uuid":"u-1""#)).expect("accepted");
            assert_eq!(accepted.provider_ids, ["u-1"]);
        }
        let mut cut = br#"{"message_uuid":"u-1","detail":""#.to_vec();
        cut.resize(dispatch_kit::http::MAX_ANSWER_BYTES, b'x');
        let accepted = decode(&HttpResponse::new(202, cut));
        assert_eq!(accepted.expect("it stood whole").provider_ids, ["u-1"]);
    }

    #[test]
    fn an_internal_error_with_the_throttling_code_is_still_unknown() {
        let error = decode(&answer(500, &problem("1000"))).expect_err("refused");
        assert_eq!(error.retry, Retry::Unknown);
    }

    #[test]
    fn a_phone_number_is_not_taken_for_a_code() {
        for body in [
            json!({ "title": "447700900000", "type": "x#447700900000" }),
            json!({ "title": 447_700_900_000_u64 }),
            json!({ "type": "x#to447700900000" }),
        ] {
            assert_eq!(decode(&answer(422, &body)).expect_err("refused").code, None, "{body}");
        }
    }

    #[test]
    fn wrong_fields_are_named_without_their_values() {
        let mut body = problem("1150");
        body["invalid_parameters"] = json!([
            { "name": "image.url", "reason": "`447700900000` is no URL" },
            { "name": "447700900000", "reason": "?" },
            7,
        ]);
        let error = decode(&answer(422, &body)).expect_err("refused");
        assert!(error.detail.ends_with("; wrong: image.url"), "{error}");
    }
}
