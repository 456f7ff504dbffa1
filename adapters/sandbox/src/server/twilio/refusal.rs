//! What callers are refused with, in Twilio's words.

use std::time::Duration;

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::Response,
};
use dispatch_contract::ErrorKind;
use dispatch_kit::refusal::CodeMeaning;
use serde_json::json;

use crate::{
    codes::refusal,
    server::shared::{UnreadBody, json_response},
};

/// An answer other than 2xx.
#[derive(Debug)]
pub(super) struct TwilioRefusal {
    status: StatusCode,
    code: u32,
    message: String,
    /// In seconds.
    retry_after: Option<u64>,
}

impl TwilioRefusal {
    /// A refusal under a code, whose message never repeats what the caller wrote.
    pub(super) fn new(status: StatusCode, code: u32, message: impl Into<String>) -> Self {
        TwilioRefusal { status, code, message: message.into(), retry_after: None }
    }

    pub(super) fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, 20_003, "Authenticate")
    }

    pub(super) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, 20_404, "The requested resource was not found")
    }

    /// A parameter is missing or wrong.
    pub(super) fn invalid(name: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, 20_001, format!("The parameter {name} is not valid"))
    }

    pub(super) fn body(unread: UnreadBody) -> Self {
        let status = match unread {
            UnreadBody::TooLong => StatusCode::PAYLOAD_TOO_LARGE,
            UnreadBody::TooSlow => StatusCode::REQUEST_TIMEOUT,
        };
        Self::new(status, 20_001, "The body was not read")
    }

    pub(super) fn too_late() -> Self {
        Self::new(StatusCode::CONFLICT, 30_409, "This message cannot be canceled")
    }

    /// Refused by script.
    pub(super) fn scripted(code: u16) -> Self {
        Self::new(StatusCode::BAD_REQUEST, refused_as(refusal(code)), "Refused by script")
    }

    /// Turned away by script.
    pub(super) fn throttled(after: Option<Duration>) -> Self {
        // The header knows whole seconds only; rounded up, nobody comes back too early.
        let retry_after = after.map(|after| after.as_millis().div_ceil(1000) as u64);
        let refusal = Self::new(StatusCode::TOO_MANY_REQUESTS, 20_429, "Too Many Requests");
        TwilioRefusal { retry_after, ..refusal }
    }

    /// A failure of the provider's, by script.
    pub(super) fn failed() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, 20_500, "Internal Server Error")
    }

    pub(super) fn into_response(self) -> Response {
        let TwilioRefusal { status, code, message, retry_after } = self;
        let body = json!({
            "code": code,
            "message": message,
            "more_info": format!("https://www.twilio.com/docs/errors/{code}"),
            "status": status.as_u16(),
        });
        let mut response = json_response(status, &body);
        if let Some(seconds) = retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// What Twilio says where a script has another provider say `known`, in an answer.
fn refused_as(known: CodeMeaning) -> u32 {
    match known.kind {
        ErrorKind::InvalidRecipient => 21_211,
        ErrorKind::OptedOut => 21_610,
        ErrorKind::OutsideWindow => 63_016,
        ErrorKind::Unreached | ErrorKind::Timeout | ErrorKind::Unreachable => 21_612,
        ErrorKind::ContentRejected => 21_617,
        ErrorKind::InvalidRequest => 21_619,
        ErrorKind::Unauthorized => 20_003,
        ErrorKind::Forbidden => 21_606,
        ErrorKind::InsufficientFunds => 20_005,
        ErrorKind::Throttled => 21_611,
        ErrorKind::ProviderFailure => 21_730,
    }
}
