//! Bodies: those of requests bounded in size, in time and in depth, and those of answers.

use std::time::Duration;

use axum::{
    body::{Body, HttpBody},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use futures_util::StreamExt;
use serde_json::Value;

use super::{Problem, json};

/// The largest body taken, in KiB: a create as a whole has no more over gRPC either.
const MOST_KIB: usize = 256;

/// The JSON of a request's body, which may take `timeout` to arrive.
///
/// # Errors
/// If it is not said to be JSON, too large, too slow, or no JSON.
pub(super) async fn json(
    headers: &HeaderMap,
    body: Body,
    timeout: Duration,
) -> Result<Value, Problem> {
    // Also what keeps web pages out: a browser asks before it sends this type across origins.
    if !is_json(headers) {
        return Err(Problem::content_type());
    }
    // Whoever asks before sending is spared the sending.
    let is_announced = body.size_hint().lower() > (MOST_KIB * 1024) as u64;
    if is_announced && headers.contains_key(header::EXPECT) {
        return Err(Problem::too_large(MOST_KIB));
    }
    let read = tokio::time::timeout(timeout, read(body));
    let bytes = read.await.map_err(|_| Problem::timeout())??;
    json::read(&bytes).map_err(Problem::invalid_json)
}

async fn read(body: Body) -> Result<Vec<u8>, Problem> {
    let most = MOST_KIB * 1024;
    let mut bytes = Vec::new();
    let mut frames = body.into_data_stream();
    while let Some(frame) = frames.next().await {
        // Cut off: there is nobody to tell.
        let frame = frame.map_err(|_| Problem::timeout())?;
        if bytes.len() + frame.len() > most {
            return Err(Problem::too_large(MOST_KIB));
        }
        bytes.extend_from_slice(&frame);
    }
    Ok(bytes)
}

fn is_json(headers: &HeaderMap) -> bool {
    let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = given.and_then(|value| value.split(';').next()).unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("application/json")
}

/// Whether the caller takes JSON.
///
/// # Errors
/// If not.
pub(super) fn accepts_json(headers: &HeaderMap) -> Result<(), Problem> {
    let mut ranges = Vec::new();
    for value in headers.get_all(header::ACCEPT) {
        let text = value.to_str().map_err(|_| Problem::accept())?;
        ranges.extend(text.split(','));
    }
    let takes = |range: &&str| {
        let mut parts = range.split(';').map(str::trim);
        let named = parts.next().unwrap_or_default();
        let is_json = ["*/*", "application/*", "application/json"]
            .iter()
            .any(|wanted| wanted.eq_ignore_ascii_case(named));
        is_json && !parts.any(|part| matches!(part, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
    };
    if ranges.is_empty() || ranges.iter().any(takes) { Ok(()) } else { Err(Problem::accept()) }
}

/// JSON as an answer.
pub(super) fn answer(status: StatusCode, body: &Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}
