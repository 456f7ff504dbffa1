//! What people and tests ask of the simulator itself, under `/sandbox`.

use std::sync::Arc;

use axum::{
    Router,
    extract::{DefaultBodyLimit, Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, put},
};
use serde_json::{Map, Value, json};

use super::shared::json_response;
use crate::{Script, SimulatedProvider};

/// The longest script text, in bytes.
const SCRIPT_LIMIT: usize = 16 * 1024;

/// - `GET /sandbox/messages`: what was really sent, oldest first.
/// - `GET /sandbox/scripts`: the scripts in force; `PUT`: sets the default one (body: its text);
///   `DELETE`: takes everybody's own away.
/// - `PUT /sandbox/scripts/{recipient}`: sets a recipient's own (body: its text); `DELETE`: takes it
///   away.
pub(super) fn routes(provider: Arc<SimulatedProvider>) -> Router {
    Router::new()
        .route("/sandbox/messages", get(messages))
        .route("/sandbox/scripts", get(scripts).put(set_default).delete(clear))
        .route("/sandbox/scripts/{recipient}", put(set_script).delete(clear_script))
        .layer(DefaultBodyLimit::max(SCRIPT_LIMIT))
        .with_state(provider)
}

async fn messages(State(provider): State<Arc<SimulatedProvider>>) -> Response {
    let messages: Vec<_> = provider
        .sent()
        .into_iter()
        .map(|sent| {
            json!({
                "message_uuid": sent.provider_id,
                "client_ref": sent.client_ref,
                "channel": sent.channel.as_str(),
                "to": sent.recipient.value(),
                "at_ms": sent.at.0,
            })
        })
        .collect();
    let body = json!({ "sent_count": provider.sent_count(), "messages": messages });
    json_response(StatusCode::OK, &body)
}

async fn scripts(State(provider): State<Arc<SimulatedProvider>>) -> Response {
    let scripts: Map<String, Value> = provider
        .scripts()
        .into_iter()
        .map(|(recipient, script)| (recipient, Value::String(script.to_string())))
        .collect();
    let body = json!({ "default": provider.default_script().to_string(), "scripts": scripts });
    json_response(StatusCode::OK, &body)
}

async fn set_default(State(provider): State<Arc<SimulatedProvider>>, text: String) -> Response {
    with_script(&text, |script| provider.set_default(script))
}

async fn set_script(
    State(provider): State<Arc<SimulatedProvider>>,
    Path(recipient): Path<String>,
    text: String,
) -> Response {
    with_script(&text, |script| provider.set_script(recipient, script))
}

async fn clear(State(provider): State<Arc<SimulatedProvider>>) -> StatusCode {
    provider.clear();
    StatusCode::NO_CONTENT
}

async fn clear_script(
    State(provider): State<Arc<SimulatedProvider>>,
    Path(recipient): Path<String>,
) -> StatusCode {
    if provider.clear_script(&recipient) { StatusCode::NO_CONTENT } else { StatusCode::NOT_FOUND }
}

fn with_script(text: &str, set: impl FnOnce(Script)) -> Response {
    match text.parse() {
        Ok(script) => {
            set(script);
            StatusCode::NO_CONTENT.into_response()
        }
        Err(error) => {
            json_response(StatusCode::BAD_REQUEST, &json!({ "detail": error.to_string() }))
        }
    }
}
