//! What a call to Graph and its answer have alike on every channel.
//!
//! What Graph says by a code counts more than the HTTP status, which differs for one code from call to call.
//! But a code of its own failures under a status of a failed server says nothing of the message: it may have
//! gone out.

use std::borrow::Cow;

use dispatch_contract::{
    Accepted, AdapterError, ErrorKind, Fault, Media, Retry, UnixMillis, UrlRules, check_url,
};
use dispatch_kit::{
    codes::Codes,
    http::HttpResponse,
    json::Json,
    refusal::{CodeMeaning, REFUSED, by_status, unnamed},
};

use crate::errors::GraphCode;

/// The longest provider id taken. WhatsApp's are of about 60 bytes, Messenger's of about 130.
const MAX_ID_BYTES: usize = 512;

const WRONG_ADDRESS: &str =
    "there is no Graph API at this address; check the account's base_url and graph_version";

/// What became of a send.
///
/// # Errors
/// By Graph's code, and by the HTTP status where it has none that is known.
///
/// | status | error |
/// |---|---|
/// | 2xx without an id | Unknown |
/// | a code that is known | by code; but 5xx with a failure of the platform's is Unknown |
/// | 429 | Temporary, after `Retry-After` |
/// | 401, 403 | Permanent, the account's |
/// | 301, 302, 307, 308, 404, 405 | Permanent, the account's: its base URL or version is wrong |
/// | 408, 409, 425 | Temporary |
/// | other 4xx | Permanent, the content's |
/// | 5xx and everything else | Unknown |
pub fn decode(answer: &HttpResponse, codes: Codes<'_>) -> Result<Accepted, AdapterError> {
    let body = Json::of(&answer.body);
    if (200..300).contains(&answer.status) {
        return match accepted_id(body) {
            Some(provider_id) => {
                Ok(Accepted { provider_time: answer.date(), ..Accepted::under(provider_id) })
            }
            None => Err(unnamed()),
        };
    }
    Err(refusal(answer, codes))
}

/// Messenger's `message_id`, or WhatsApp's `messages[0].id`, also of a message that is held until its template's
/// quality is known.
fn accepted_id(body: Json<'_>) -> Option<String> {
    let of_whatsapp = body.read("messages", |messages| messages.elements().next()?.read("id", id));
    of_whatsapp.or_else(|| body.read("message_id", id))
}

/// Where the provider finds a file, in the form that every client reads alike: the scheme and the host in lower
/// case, names beyond ASCII encoded.
pub(crate) fn link(media: &Media) -> String {
    let url = check_url(&media.url, UrlRules::PUBLIC);
    url.map_or_else(|_| media.url.clone(), String::from)
}

/// Why a message that was never checked is not sent.
pub(crate) fn inexpressible(problem: &str) -> AdapterError {
    AdapterError::new(ErrorKind::InvalidRequest, Fault::Content, Retry::Permanent, problem)
}

/// A message's id there.
pub(crate) fn id(value: Json<'_>) -> Option<String> {
    value.scalar().filter(|id| (1..=MAX_ID_BYTES).contains(&id.len())).map(Cow::into_owned)
}

/// Seconds since 1970, in a text. It decides nothing, so what cannot be read is left out.
pub(crate) fn seconds(value: Json<'_>) -> Option<UnixMillis> {
    let seconds: u64 = value.scalar()?.parse().ok()?;
    seconds.checked_mul(1_000).map(UnixMillis)
}

/// Milliseconds since 1970; what cannot be read is left out.
pub(crate) fn milliseconds(value: Json<'_>) -> Option<UnixMillis> {
    value.scalar()?.parse().ok().map(UnixMillis)
}

/// What an answer that is no success says.
pub(crate) fn refusal(answer: &HttpResponse, codes: Codes<'_>) -> AdapterError {
    let code = Json::of(&answer.body).read("error", GraphCode::read);
    // What a failed server did nobody can say beforehand.
    let codes = if (400..500).contains(&answer.status) { codes } else { Codes::default() };
    let known = code.and_then(|code| code.meaning_to(codes));
    let error = match known {
        Some(known) if !is_in_doubt(known, answer.status) => known.error(answer),
        Some(_) | None => by_status(answer, WRONG_ADDRESS).unwrap_or_else(|| REFUSED.error(answer)),
    };
    match code {
        Some(code) => error.with_code(code.to_string()),
        None => error,
    }
}

/// Whether a code says no more than that the platform failed, where the message may have gone out.
fn is_in_doubt(known: CodeMeaning, status: u16) -> bool {
    known.kind == ErrorKind::ProviderFailure && !(400..500).contains(&status)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use dispatch_contract::Account;
    use serde_json::json;

    use super::*;

    fn decode(answer: &HttpResponse) -> Result<Accepted, AdapterError> {
        super::decode(answer, Codes::default())
    }

    #[test]
    fn what_the_account_says_of_a_code_counts() {
        let text = "131049 = temporary; 999998 = unknown; 1 = permanent; 999997 = temporary; 131000 = throttled";
        let settings = [("codes".to_owned(), text.to_owned())].into();
        let account =
            Account { name: "main".to_owned(), revision: 1, settings, secrets: [].into() };
        for (status, code, retry) in [
            (400, 131_049, Retry::Temporary { after: None }),
            (403, 999_998, Retry::Unknown),
            (400, 1, Retry::Permanent),
            // Whether a failed server sent it nobody can say beforehand.
            (500, 1, Retry::Unknown),
            (500, 999_997, Retry::Unknown),
            (500, 131_000, Retry::Unknown),
        ] {
            let refused = super::decode(&answer(status, code), Codes::of(&account));
            let error = refused.expect_err("refused");
            assert_eq!((error.retry, error.code), (retry, Some(code.to_string())), "{status}");
        }
    }

    fn answer(status: u16, code: u32) -> HttpResponse {
        let error = json!({
            "message": "(#1) 447700900000", "type": "OAuthException", "code": code,
            "error_data": { "messaging_product": "whatsapp", "details": "447700900000" },
            "fbtrace_id": "A",
        });
        let body = json!({ "error": error }).to_string().into_bytes();
        HttpResponse::new(status, body)
    }

    #[test]
    fn a_message_that_is_held_is_accepted() {
        for status in [json!(null), json!("accepted"), json!("held_for_quality_assessment")] {
            let body = json!({
                "messaging_product": "whatsapp",
                "contacts": [{ "input": "447700900000", "wa_id": "447700900000" }],
                "messages": [{ "id": "wamid.1", "message_status": status }],
            });
            let body = body.to_string().into_bytes();
            let answer = HttpResponse::new(200, body);
            assert_eq!(decode(&answer).expect("accepted").provider_ids, ["wamid.1"]);
        }
    }

    #[test]
    fn a_code_counts_whatever_the_http_status_beside_it() {
        for status in [400, 404, 429, 500] {
            let error = decode(&answer(status, 130_429)).expect_err("refused");
            assert_eq!(error.kind, ErrorKind::Throttled, "{status}");
            assert_eq!(error.retry, Retry::Temporary { after: None }, "{status}");
        }
        for status in [400, 401, 403, 404, 500] {
            let error = decode(&answer(status, 131_047)).expect_err("refused");
            assert_eq!((error.kind, error.retry), (ErrorKind::OutsideWindow, Retry::Permanent));
            assert_eq!(error.code.as_deref(), Some("131047"));
            assert!(!error.to_string().contains("4477"), "{error}");
        }
        let waits =
            HttpResponse { retry_after: Some(Duration::from_secs(9)), ..answer(400, 131_056) };
        let after = Some(Duration::from_secs(9));
        assert_eq!(decode(&waits).expect_err("refused").retry, Retry::Temporary { after });
    }

    #[test]
    fn a_failure_of_the_platform_s_leaves_it_open_whether_the_message_went_out() {
        for code in [1, 2, 131_000, 131_016] {
            let open = decode(&answer(500, code)).expect_err("refused");
            assert_eq!(open.retry, Retry::Unknown, "{code}");
            assert_eq!(open.code, Some(code.to_string()));
            let refused = decode(&answer(400, code)).expect_err("refused");
            assert_eq!(refused.retry, Retry::Temporary { after: None }, "{code}");
        }
    }

    #[test]
    fn an_unknown_code_is_kept_and_read_by_its_status() {
        for (status, fault, retry) in [
            (400, Fault::Content, Retry::Permanent),
            (401, Fault::Account, Retry::Permanent),
            (404, Fault::Account, Retry::Permanent),
            (503, Fault::Provider, Retry::Unknown),
        ] {
            let error = decode(&answer(status, 999_998)).expect_err("refused");
            assert_eq!((error.fault, error.retry), (fault, retry), "{status}");
            assert_eq!(error.code.as_deref(), Some("999998"));
        }
    }
}
