//! What goes wrong, in the provider's own words: problem objects of the Messages API.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::Response,
};
use serde_json::{Value, json};

use super::{MessagesVersion, request::Malformed};
use crate::codes::refusal;
use crate::server::shared::{UnreadBody, json_response};

/// Where the provider explains its errors.
const ERRORS: &str = "https://developer.vonage.com/api-errors";

/// An answer other than 202.
#[derive(Debug)]
pub(super) struct SandboxProblem {
    status: StatusCode,
    kind: String,
    title: String,
    detail: String,
    invalid_parameters: Vec<Value>,
    /// In seconds.
    retry_after: Option<u64>,
}

impl SandboxProblem {
    fn new(status: StatusCode, kind: String, title: &str, detail: &str) -> Self {
        SandboxProblem {
            status,
            kind,
            title: title.to_owned(),
            detail: detail.to_owned(),
            invalid_parameters: Vec::new(),
            retry_after: None,
        }
    }

    /// Without credentials, or with wrong ones.
    pub(super) fn unauthorized(detail: &str) -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            format!("{ERRORS}/#unathorized"),
            "You did not provide correct credentials.",
            detail,
        )
    }

    /// The body could not be received.
    pub(super) fn body(unread: UnreadBody) -> Self {
        let (status, detail) = match unread {
            UnreadBody::TooLong => {
                (StatusCode::PAYLOAD_TOO_LARGE, "It broke off, or is longer than 262144 bytes.")
            }
            UnreadBody::TooSlow => (StatusCode::REQUEST_TIMEOUT, "It took longer than 10 s."),
        };
        Self::new(status, format!("{ERRORS}#request-body"), "The request body was not read", detail)
    }

    /// The body was received, and is not what it should be.
    pub(super) fn malformed(version: MessagesVersion, malformed: &Malformed) -> Self {
        match (version, malformed) {
            (MessagesVersion::V1, Malformed::NotJson) => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                format!("{ERRORS}#invalid-json"),
                "The request body did not contain valid JSON",
                "The body must be one JSON object.",
            ),
            (MessagesVersion::V0_1, Malformed::NotJson) => Self::new(
                StatusCode::BAD_REQUEST,
                format!("{ERRORS}#invalid-json"),
                "The request body did not contain valid JSON",
                "The body must be one JSON object.",
            ),
            (MessagesVersion::V1, Malformed::Parameters(found)) => {
                let (fragment, title) = match found.as_slice() {
                    [(name, _)] => variant(name),
                    _ => ("1150", "Invalid params"),
                };
                let mut problem = Self::new(
                    StatusCode::UNPROCESSABLE_ENTITY,
                    format!("{ERRORS}/messages#{fragment}"),
                    title,
                    "The value of one or more parameters is invalid.",
                );
                problem.invalid_parameters = parameters(found);
                problem
            }
            (MessagesVersion::V0_1, Malformed::Parameters(found)) => {
                let mut problem = Self::new(
                    StatusCode::BAD_REQUEST,
                    "https://www.nexmo.com/messages/Errors#InvalidParams".to_owned(),
                    "Your request parameters didn't validate.",
                    &format!(
                        "Found errors validating {} of your submitted parameters.",
                        found.len()
                    ),
                );
                problem.invalid_parameters = parameters(found);
                problem
            }
        }
    }

    /// There is no such message.
    pub(super) fn not_found() -> Self {
        let detail = "There is no message of this id.";
        Self::new(StatusCode::NOT_FOUND, format!("{ERRORS}#not-found"), "Not found", detail)
    }

    /// The message cannot be changed so, or not any more.
    pub(super) fn unsupported() -> Self {
        let detail = "This message cannot be revoked.";
        let (status, kind) = (StatusCode::UNPROCESSABLE_ENTITY, format!("{ERRORS}#unsupported"));
        Self::new(status, kind, "Operation not supported", detail)
    }

    /// Refused by script.
    pub(super) fn rejected(version: MessagesVersion, code: u16) -> Self {
        let status = match version {
            MessagesVersion::V1 => StatusCode::UNPROCESSABLE_ENTITY,
            MessagesVersion::V0_1 => StatusCode::BAD_REQUEST,
        };
        Self::new(status, code_url(code), &code.to_string(), refusal(code).sentence)
    }

    /// Turned away by script.
    pub(super) fn throttled(after: Option<std::time::Duration>) -> Self {
        let mut problem = Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            code_url(1000),
            "Rate Limit Hit",
            "Please wait, then retry your request",
        );
        // The header knows whole seconds only; rounded up, nobody comes back too early.
        problem.retry_after = after.map(|after| after.as_millis().div_ceil(1000) as u64);
        problem
    }

    /// A failure of the provider's, by script.
    pub(super) fn failed() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            code_url(1000),
            "Internal error",
            "There was an error while processing your request in the Platform.",
        )
    }

    /// The answer; `instance` names this very problem.
    pub(super) fn into_response(self, instance: &str) -> Response {
        let mut body = json!({
            "type": self.kind,
            "title": self.title,
            "detail": self.detail,
            "instance": instance,
        });
        if !self.invalid_parameters.is_empty() {
            body["invalid_parameters"] = Value::Array(self.invalid_parameters);
        }
        let mut response = json_response(self.status, &body);
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// The address that stands for a code; the code is its fragment.
pub(super) fn code_url(code: u16) -> String {
    format!("{ERRORS}/messages#{code}")
}

/// The fragment and title that v1 uses when one parameter is wrong. `110` is the provider's spelling.
fn variant(name: &str) -> (&'static str, &'static str) {
    match name {
        "channel" => ("1100", "Unsupported channel"),
        "from" => ("1120", "Invalid sender"),
        "to" => ("110", "Invalid recipient"),
        "message_type" => ("1140", "Invalid message type"),
        "client_ref" => ("1060", "Invalid client reference"),
        _ => ("1150", "Invalid params"),
    }
}

fn parameters(found: &[(String, String)]) -> Vec<Value> {
    found.iter().map(|(name, reason)| json!({ "name": name, "reason": reason })).collect()
}
