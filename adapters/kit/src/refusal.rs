//! What a refused call means: by the provider's own code where its table knows that, else by the HTTP status.
//!
//! Which codes there are, and which of the two counts more, is each provider's own. What a status says by itself is
//! the same of all that speak HTTP.

use dispatch_contract::{AdapterError, ErrorKind, Fault, Retry};

use crate::http::HttpResponse;

/// What a provider's code means: a row of its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodeMeaning {
    /// What happened.
    pub kind: ErrorKind,
    /// Whose fault it was.
    pub fault: Fault,
    /// Whether the same message may be tried again. A refusal that carries a code was certainly not
    /// processed, so that no table holds [`Retry::Unknown`]; a receipt is final all the same.
    pub retry: Retry,
    /// One sentence for a person, our own: a provider's may repeat a number or a text.
    pub sentence: &'static str,
}

/// What a refusal means whose code no table knows.
pub const REFUSED: CodeMeaning = CodeMeaning {
    kind: ErrorKind::InvalidRequest,
    fault: Fault::Content,
    retry: Retry::Permanent,
    sentence: "the provider refused the request",
};

impl CodeMeaning {
    /// The error that an answer with this code is. How long to wait is what the answer asks for, else what the
    /// table says.
    pub fn error(self, answer: &HttpResponse) -> AdapterError {
        let CodeMeaning { kind, fault, retry, sentence } = self;
        let retry = match retry {
            Retry::Temporary { after } => Retry::Temporary { after: answer.retry_after.or(after) },
            Retry::Permanent | Retry::Unknown => retry,
        };
        AdapterError::new(kind, fault, retry, sentence)
    }
}

/// What the HTTP status of an answer says that is no success. `None` for a refusal of the content, of which only a
/// code says more.
///
/// | status | error |
/// |---|---|
/// | 301, 302, 307, 308, 404, 405 | Permanent, the account's: `wrong_address` says so |
/// | 401, 403 | Permanent, the account's |
/// | 408, 409, 425 | Temporary, after `Retry-After` |
/// | 429 | Temporary, after `Retry-After` |
/// | other 4xx | `None` |
/// | 5xx and everything else | Unknown |
pub fn by_status(answer: &HttpResponse, wrong_address: &str) -> Option<AdapterError> {
    let again = Retry::Temporary { after: answer.retry_after };
    let account = |kind, detail| AdapterError::new(kind, Fault::Account, Retry::Permanent, detail);
    let provider =
        |kind, retry, detail: String| AdapterError::new(kind, Fault::Provider, retry, detail);
    Some(match answer.status {
        429 => {
            let detail = "the provider takes no more messages at the moment".to_owned();
            provider(ErrorKind::Throttled, again, detail)
        }
        401 => account(ErrorKind::Unauthorized, "the account's credential was not accepted"),
        403 => account(ErrorKind::Forbidden, "the account may not do this"),
        301 | 302 | 307 | 308 | 404 | 405 => account(ErrorKind::InvalidRequest, wrong_address),
        408 | 409 | 425 => {
            let detail =
                "the provider did not process the request and asks for it again".to_owned();
            provider(ErrorKind::ProviderFailure, again, detail)
        }
        400..=499 => return None,
        status => {
            let detail = format!(
                "the provider failed with HTTP status {status}; the message may have been sent"
            );
            provider(ErrorKind::ProviderFailure, Retry::Unknown, detail)
        }
    })
}

/// What a success without an id of the message is.
pub fn unnamed() -> AdapterError {
    AdapterError::new(
        ErrorKind::ProviderFailure,
        Fault::Provider,
        Retry::Unknown,
        "the provider accepted something without naming it; the message may have been sent",
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn every_status_but_a_refusal_of_the_content_means_something_by_itself() {
        const WAIT: Option<Duration> = Some(Duration::from_secs(7));
        let said = |status| {
            let answer = HttpResponse { retry_after: WAIT, ..HttpResponse::new(status, "") };
            by_status(&answer, "nothing is there").map(|it| (it.fault, it.retry))
        };
        for status in [400, 402, 406, 413, 422, 499] {
            assert_eq!(said(status), None, "{status}");
        }
        for status in [301, 302, 307, 308, 401, 403, 404, 405] {
            assert_eq!(said(status), Some((Fault::Account, Retry::Permanent)), "{status}");
        }
        for status in [408, 409, 425, 429] {
            let again = Retry::Temporary { after: WAIT };
            assert_eq!(said(status), Some((Fault::Provider, again)), "{status}");
        }
        for status in [100, 204, 300, 304, 500, 502, 503, 599, 700] {
            assert_eq!(said(status), Some((Fault::Provider, Retry::Unknown)), "{status}");
        }
    }

    #[test]
    fn an_answer_s_own_wait_counts_more_than_the_table_s() {
        let wait = |s| Retry::Temporary { after: Some(Duration::from_secs(s)) };
        let meaning = CodeMeaning { retry: wait(6), ..REFUSED };
        let answer = HttpResponse::new(400, "");
        assert_eq!(meaning.error(&answer).retry, wait(6));
        let answer = HttpResponse { retry_after: Some(Duration::from_secs(9)), ..answer };
        assert_eq!(meaning.error(&answer).retry, wait(9));
        assert_eq!(REFUSED.error(&answer).retry, Retry::Permanent);
    }
}
