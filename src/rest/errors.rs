//! An error as the old APIs told it: a problem object. Its status, its text and when to ask again are those of
//! the one table (`api/error.rs`); here are only the old APIs' own types, titles and sentences.

use axum::http::StatusCode;
use tonic::Code;

use super::{InvalidParameter, Problem};
use crate::{
    access::Denied,
    api::{Error, ErrorReason},
    engine::EngineError,
};

const INVALID: &str = "https://www.nexmo.com/messages/Errors#InvalidParams";
const INVALID_V1: &str = "https://developer.vonage.com/api-errors/messages#1150";
const UNAUTHORIZED: &str = "https://developer.nexmo.com/api-errors#unauthorized";
const FORBIDDEN: &str = "https://www.nexmo.com/messages/Errors#Forbidden";
const NOT_FOUND: &str = "https://developer.nexmo.com/api-errors#not-found";
const WRONG_VERB: &str = "https://developer.nexmo.com/api-errors#wrong-verb";
const ACCEPT: &str = "https://developer.nexmo.com/api-errors#accept-header";
const TIMEOUT: &str = "https://developer.nexmo.com/api-errors#timeout";
const CONFLICT: &str = "https://www.nexmo.com/messages/Errors#Conflict";
const TOO_LARGE: &str = "https://developer.nexmo.com/api-errors#too-large";
const CONTENT_TYPE: &str = "https://developer.nexmo.com/api-errors#content-type-header";
const INVALID_JSON: &str = "https://developer.nexmo.com/api-errors#invalid-json";
const RATE_LIMIT: &str = "https://developer.nexmo.com/api-errors/messages#1010";
const INTERNAL: &str = "https://developer.nexmo.com/api-errors/messages#1000";
const UNAVAILABLE: &str = "https://developer.nexmo.com/api-errors#unavailable";

impl From<Error> for Problem {
    fn from(error: Error) -> Problem {
        error.log();
        if let Error::Denied(denied) = &error {
            return denied.clone().into();
        }
        let reason = error.reason();
        let (kind, title) = form(reason);
        let mut problem = Problem::new(reason.status(), kind, title, error.message());
        problem.retry_after_s = error.retry_after().map(|delay| delay.as_secs().max(1));
        let told = error.violations().iter().map(|found| InvalidParameter {
            name: found.field.to_string(),
            reason: found.wanted.to_string(),
        });
        problem.invalid_parameters = told.collect();
        problem
    }
}

/// The `type` and the `title` of the problem for a reason, as the old API had them; those that have none of
/// their own go by their status.
fn form(reason: ErrorReason) -> (&'static str, &'static str) {
    match (reason, reason.status()) {
        (ErrorReason::RequestIdReused, _) => (CONFLICT, "Idempotency key in use"),
        (ErrorReason::WorkflowEnded, _) => (CONFLICT, "Workflow has ended"),
        (ErrorReason::AccountExists, _) => (CONFLICT, "Account conflict"),
        (ErrorReason::AlreadyLinked | ErrorReason::NotLinked, _) => {
            (CONFLICT, "Application conflict")
        }
        (ErrorReason::TooManyApplications | ErrorReason::TooManyAccounts, _) => {
            (RATE_LIMIT, "Quota exceeded")
        }
        (_, StatusCode::BAD_REQUEST) => (INVALID, "Your request parameters didn't validate."),
        (_, StatusCode::UNAUTHORIZED) => (UNAUTHORIZED, "Invalid credentials supplied"),
        (_, StatusCode::FORBIDDEN) => (FORBIDDEN, "Forbidden"),
        (_, StatusCode::NOT_FOUND) => (NOT_FOUND, "Not Found"),
        (_, StatusCode::REQUEST_TIMEOUT) => (TIMEOUT, "Request timeout"),
        (_, StatusCode::TOO_MANY_REQUESTS) => (RATE_LIMIT, "Rate Limit Hit"),
        (_, StatusCode::SERVICE_UNAVAILABLE) => (UNAVAILABLE, "Service unavailable"),
        (_, StatusCode::INTERNAL_SERVER_ERROR) => (INTERNAL, "Internal error"),
        (_, _) => (CONFLICT, "Not possible"),
    }
}

impl From<EngineError> for Problem {
    fn from(error: EngineError) -> Problem {
        Error::from(error).into()
    }
}

impl From<Denied> for Problem {
    fn from(denied: Denied) -> Problem {
        let unauthorized = |detail: &str| {
            let title = "Invalid credentials supplied";
            Problem::new(StatusCode::UNAUTHORIZED, UNAUTHORIZED, title, detail.to_owned())
        };
        match denied {
            Denied::Missing => unauthorized("Request header 'Authorization' missing"),
            Denied::NoKey => unauthorized(&denied.to_string()),
            Denied::Invalid(why) => unauthorized(why),
            Denied::Elsewhere(_) => {
                Problem::new(StatusCode::FORBIDDEN, FORBIDDEN, "Forbidden", denied.to_string())
            }
            Denied::Forbidden(scope) => Problem::new(
                StatusCode::FORBIDDEN,
                FORBIDDEN,
                "Forbidden",
                format!("This needs a key with the scope `{}`", scope.as_str()),
            ),
            Denied::Slowed { retry_after_ms } | Denied::TooMany { retry_after_ms } => {
                let detail = "Please wait, then retry your request".to_owned();
                let status = StatusCode::TOO_MANY_REQUESTS;
                let mut problem = Problem::new(status, RATE_LIMIT, "Rate Limit Hit", detail);
                problem.retry_after_s = Some(retry_after_ms.div_ceil(1000).max(1));
                problem
            }
        }
    }
}

impl Problem {
    /// The parameters of a Dispatch workflow are wrong.
    pub(super) fn invalid(wrong: Vec<InvalidParameter>) -> Problem {
        let title = "Your request parameters didn't validate.";
        Problem::about(StatusCode::BAD_REQUEST, INVALID, title, wrong)
    }

    /// The parameters of a Messages API message are wrong.
    pub(super) fn invalid_v1(wrong: Vec<InvalidParameter>) -> Problem {
        Problem::about(StatusCode::UNPROCESSABLE_ENTITY, INVALID_V1, "Invalid params", wrong)
    }

    fn about(
        status: StatusCode,
        kind: &'static str,
        title: &'static str,
        wrong: Vec<InvalidParameter>,
    ) -> Problem {
        let count = wrong.len();
        let detail = format!("Found errors validating {count} of your submitted parameters.");
        Problem { invalid_parameters: wrong, ..Problem::new(status, kind, title, detail) }
    }

    /// Something failed here; the log says what.
    pub(super) fn internal() -> Problem {
        let detail = "There was an error while processing your request; the log says why";
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        Problem::new(status, INTERNAL, "Internal error", detail.to_owned())
    }

    /// There is nothing of that name, or it is another's.
    pub(super) fn not_found(detail: &str) -> Problem {
        Problem::new(StatusCode::NOT_FOUND, NOT_FOUND, "Not Found", detail.to_owned())
    }

    /// The path has other methods.
    pub(super) fn wrong_verb() -> Problem {
        let detail = "This path takes other methods; the Allow header lists them".to_owned();
        let title = "Request method not allowed";
        Problem::new(StatusCode::METHOD_NOT_ALLOWED, WRONG_VERB, title, detail)
    }

    /// The caller takes no JSON.
    pub(super) fn accept() -> Problem {
        let detail = "The Accept header must allow application/json".to_owned();
        Problem::new(StatusCode::NOT_ACCEPTABLE, ACCEPT, "Invalid Accept header", detail)
    }

    /// The body did not arrive in time.
    pub(super) fn timeout() -> Problem {
        let detail = "The request body took too long to arrive".to_owned();
        Problem::new(StatusCode::REQUEST_TIMEOUT, TIMEOUT, "Request timeout", detail)
    }

    /// The body is larger than this.
    pub(super) fn too_large(most_kib: usize) -> Problem {
        let detail = format!("The request body must have at most {most_kib} KiB");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, TOO_LARGE, "Request too large", detail)
    }

    /// The body is said to be something else than JSON.
    pub(super) fn content_type() -> Problem {
        let detail = "The Content-Type header must be application/json".to_owned();
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        Problem::new(status, CONTENT_TYPE, "Unsupported Content-Type header", detail)
    }

    /// The body is not JSON: why.
    pub(super) fn invalid_json(why: String) -> Problem {
        let title = "The request body did not contain valid JSON";
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, INVALID_JSON, title, why)
    }

    /// The nearest gRPC code, under which refusals are counted.
    pub(super) fn code(&self) -> Code {
        match self.status {
            StatusCode::UNAUTHORIZED => Code::Unauthenticated,
            StatusCode::FORBIDDEN => Code::PermissionDenied,
            StatusCode::NOT_FOUND => Code::NotFound,
            StatusCode::METHOD_NOT_ALLOWED => Code::Unimplemented,
            StatusCode::REQUEST_TIMEOUT => Code::DeadlineExceeded,
            StatusCode::CONFLICT => Code::FailedPrecondition,
            StatusCode::TOO_MANY_REQUESTS => Code::ResourceExhausted,
            StatusCode::INTERNAL_SERVER_ERROR => Code::Internal,
            StatusCode::SERVICE_UNAVAILABLE => Code::Unavailable,
            _ => Code::InvalidArgument,
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::{http::header, response::IntoResponse};

    use super::*;
    use crate::{
        access::Scope,
        machine::{EndState, Reason, WorkflowId},
        store::StoreError,
    };

    /// Both edges judge an error alike: the caller's fault here is the caller's fault there.
    #[test]
    fn every_error_has_a_status_that_fits_its_grpc_code() {
        let id = WorkflowId(uuid::Uuid::nil());
        let ended =
            EngineError::AlreadyEnded { id, state: EndState::Failed, reason: Reason::Rejected };
        let saturated =
            EngineError::RouteSaturated { route: "sms-main".into(), retry_after_ms: 1500 };
        let engine = |error| Error::Engine(error);
        let invalid = Error::invalid("id", "must be one");
        let table = [
            (invalid, 400, Code::InvalidArgument),
            (engine(EngineError::TooLate), 400, Code::InvalidArgument),
            (engine(EngineError::NotFound(id)), 404, Code::NotFound),
            (engine(EngineError::AlreadyExists(id)), 409, Code::AlreadyExists),
            (engine(ended), 409, Code::FailedPrecondition),
            (
                engine(EngineError::Overloaded { retry_after_ms: 1500 }),
                429,
                Code::ResourceExhausted,
            ),
            (engine(saturated), 429, Code::ResourceExhausted),
            (engine(EngineError::RestoreLocked), 503, Code::FailedPrecondition),
            (engine(EngineError::NotRestoreLocked), 503, Code::FailedPrecondition),
            (engine(EngineError::Unavailable), 503, Code::Unavailable),
            (Error::Store(StoreError::Io("/secret".to_owned())), 500, Code::Internal),
            (Error::TokenTooOld { oldest: String::new() }, 410, Code::OutOfRange),
            (Error::TokenForeign, 409, Code::FailedPrecondition),
            (Error::ReaderStuck, 503, Code::Unavailable),
            (Error::RealClock, 409, Code::FailedPrecondition),
        ];
        for (error, status, code) in table {
            assert_eq!(error.reason().code(), code, "{error:?}");
            let wait = error.retry_after();
            let problem = Problem::from(error.clone());
            assert_eq!(problem.status.as_u16(), status, "{error:?}");
            assert!(!problem.detail.is_empty() && !problem.detail.contains("secret"), "{error:?}");
            let is_asked =
                problem.clone().into_response().headers().contains_key(header::RETRY_AFTER);
            assert_eq!(is_asked, wait.is_some(), "{error:?}");
        }
    }

    #[test]
    fn whoever_is_not_let_in_is_told_why_and_no_more() {
        let cases = [
            (Denied::Missing, 401, "missing"),
            (Denied::Invalid("The token has expired"), 401, "expired"),
            (Denied::Forbidden(Scope::Cancel), 403, "`cancel`"),
            (Denied::TooMany { retry_after_ms: 1500 }, 429, "wait"),
        ];
        for (denied, status, says) in cases {
            let problem = Problem::from(denied);
            assert_eq!(problem.status.as_u16(), status);
            assert!(problem.detail.contains(says), "{problem:?}");
            let waits = problem.retry_after_s;
            assert_eq!(waits, (status == 429).then_some(2));
        }
    }
}
