//! Refusals, as the old API wrote them: RFC 7807 problem objects.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use uuid::Uuid;

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The HTTP status.
    #[serde(skip)]
    pub status: StatusCode,
    /// A URL that names the kind.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// A few words.
    pub title: &'static str,
    /// What is wrong, and what would be right.
    pub detail: String,
    /// Names this very answer, for whoever asks about it.
    #[serde(serialize_with = "uuid::serde::simple::serialize")]
    pub instance: Uuid,
    /// What is wrong with which parameter.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub invalid_parameters: Vec<InvalidParameter>,
    /// When it is worth asking again, in seconds.
    #[serde(skip)]
    pub retry_after_s: Option<u64>,
}

/// What is wrong with a parameter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InvalidParameter {
    /// Its path: `workflow[1].failover.expiry_time`.
    pub name: String,
    /// What would be right.
    pub reason: String,
}

impl Problem {
    /// Of this kind, with a fresh instance.
    pub fn new(
        status: StatusCode,
        kind: &'static str,
        title: &'static str,
        detail: String,
    ) -> Self {
        let instance = Uuid::new_v4();
        let (invalid_parameters, retry_after_s) = (Vec::new(), None);
        Problem { status, kind, title, detail, instance, invalid_parameters, retry_after_s }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let kind = [(header::CONTENT_TYPE, "application/json")];
        let mut response = (self.status, kind, body).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            // RFC 9110 asks for it; the two kinds of credential there are.
            for scheme in ["Basic realm=\"dispatch\", charset=\"UTF-8\"", "Bearer"] {
                let headers = response.headers_mut();
                headers.append(header::WWW_AUTHENTICATE, HeaderValue::from_static(scheme));
            }
        }
        if let Some(seconds) = self.retry_after_s {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
