//! What a request for applications or accounts brings, a small JSON body and a query, and its answer.
//!
//! Bounded in size and time, so that a caller holds little and not for long.

use std::{collections::BTreeMap, time::Duration};

use axum::{
    body::Body,
    http::{HeaderMap, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use futures_util::StreamExt;
use serde_json::{Map, Value};
use tokio::sync::Semaphore;

use super::{InvalidParameter, Problem};

/// The largest body taken, in bytes: applications and accounts are small.
const BODY_BYTES: usize = 64 * 1024;
/// How much of a body is passed over, in bytes, so that its sender reads that it is too large.
const PASSED_OVER_BYTES: usize = 16 * 1024 * 1024;
/// How many faults an answer names: it is not to be much larger than its request.
const FAULTS_MOST: usize = 40;
/// How many changes may be under way: each has a thread, and waits for the disk.
static CHANGES: Semaphore = Semaphore::const_new(4);

/// An answer: JSON.
#[derive(Debug)]
pub(super) struct Answer(pub(super) StatusCode, pub(super) Value);

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let kind = [(header::CONTENT_TYPE, "application/json")];
        (self.0, kind, self.1.to_string()).into_response()
    }
}

/// What is wrong with a body, as far as it was read.
#[derive(Debug, Default)]
pub(super) struct Faults(pub(super) Vec<InvalidParameter>);

impl Faults {
    /// One more; of very many only the first are told.
    pub(super) fn add(&mut self, name: impl Into<String>, reason: impl Into<String>) {
        if self.0.len() < FAULTS_MOST {
            self.0.push(InvalidParameter { name: name.into(), reason: reason.into() });
        }
    }

    /// The value, or `None` and a fault.
    pub(super) fn take<T>(&mut self, name: &str, read: Result<T, &'static str>) -> Option<T> {
        read.map_err(|reason| self.add(name, reason)).ok()
    }

    /// The field as an object; an absent or null one is none.
    pub(super) fn object<'a>(
        &mut self,
        name: &str,
        value: Option<&'a Value>,
    ) -> Option<&'a Map<String, Value>> {
        match value {
            None | Some(Value::Null) => None,
            Some(Value::Object(object)) => Some(object),
            Some(_) => {
                self.add(name, "must be an object");
                None
            }
        }
    }

    /// The field as a text; an absent or null one is none.
    pub(super) fn text<'a>(&mut self, name: &str, value: Option<&'a Value>) -> Option<&'a str> {
        match value {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text),
            Some(_) => {
                self.add(name, "must be a string");
                None
            }
        }
    }
}

/// The JSON object that a request's body holds.
///
/// # Errors
/// 408, 413, 415 or 422, in the old API's words.
pub(super) async fn object(
    headers: &HeaderMap,
    body: Body,
    patience: Duration,
) -> Result<Map<String, Value>, Problem> {
    let kind = headers.get(header::CONTENT_TYPE).map(|kind| kind.to_str().unwrap_or(""));
    let is_json = |kind: &str| {
        kind.split(';')
            .next()
            .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
    };
    if !kind.is_none_or(is_json) {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "https://developer.nexmo.com/api-errors#content-type-header",
            "Unsupported Content-Type header",
            "Send the body as Content-Type: application/json".to_owned(),
        ));
    }
    let body = match tokio::time::timeout(patience, read(body)).await {
        Ok(Some(body)) => body,
        Ok(None) => {
            return Err(Problem::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "https://developer.nexmo.com/api-errors#payload-too-large",
                "Request body too large",
                format!("A body of at most {BODY_BYTES} bytes is taken"),
            ));
        }
        Err(_) => {
            return Err(Problem::new(
                StatusCode::REQUEST_TIMEOUT,
                "https://developer.nexmo.com/api-errors#timeout",
                "Request body too slow",
                "The body did not arrive in time; send it again".to_owned(),
            ));
        }
    };
    let wrong = |detail: String| {
        Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "https://developer.nexmo.com/api-errors#invalid-json",
            "The request body did not contain valid JSON",
            detail,
        )
    };
    // Some files of requests begin with a byte order mark.
    let text = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&body);
    match serde_json::from_slice(text) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(wrong("The body must be a JSON object".to_owned())),
        // Where it is wrong, and nothing of what stands there.
        Err(error) => {
            let (line, column) = (error.line(), error.column());
            Err(wrong(format!("It is wrong at line {line}, column {column}")))
        }
    }
}

/// The body, or `None` if it is too large or cut off on the way.
async fn read(body: Body) -> Option<Vec<u8>> {
    let (mut taken, mut length) = (Vec::new(), 0);
    let mut pieces = body.into_data_stream();
    while let Some(piece) = pieces.next().await {
        let piece = piece.ok()?;
        length += piece.len();
        match length {
            ..=BODY_BYTES => taken.extend_from_slice(&piece),
            // Whoever is cut off while it writes does not read why: the rest is passed over.
            ..=PASSED_OVER_BYTES => taken.clear(),
            _ => return None,
        }
    }
    (length <= BODY_BYTES).then_some(taken)
}

/// The parameters of a query; of two with one name the last counts.
pub(super) fn query(uri: &Uri) -> BTreeMap<String, String> {
    let query = format!("http://localhost/?{}", uri.query().unwrap_or(""));
    let url = reqwest::Url::parse(&query);
    url.map(|url| url.query_pairs().into_owned().collect()).unwrap_or_default()
}

/// A number of a query, from 1 to `most`; `usual` if it is not given.
pub(super) fn number(
    query: &BTreeMap<String, String>,
    name: &str,
    usual: usize,
    most: usize,
    faults: &mut Faults,
) -> usize {
    let Some(text) = query.get(name) else { return usual };
    match text.parse() {
        Ok(number) if (1..=most).contains(&number) => number,
        Ok(_) | Err(_) => {
            faults.add(name, format!("must be between 1 and {most}"));
            usual
        }
    }
}

/// Does what waits for the disk beside the runtime's own threads.
///
/// # Errors
/// 500 after a panic in it.
pub(super) async fn beside<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    // Never closed.
    let _place = CHANGES.acquire().await;
    tokio::task::spawn_blocking(work).await.map_err(|_| failed())
}

/// Something failed here; the log says what.
pub(super) fn failed() -> Problem {
    Problem::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "https://developer.nexmo.com/api-errors#internal-error",
        "Internal error",
        "There was an error while processing your request; the operator finds why in the log"
            .to_owned(),
    )
}

/// For what is asked with another method than there is.
pub(super) async fn wrong_verb(method: axum::http::Method) -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "https://developer.nexmo.com/api-errors#wrong-verb",
        "Request method not allowed",
        format!("Request method '{method}' is not supported here"),
    )
}
