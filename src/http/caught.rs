//! A handler that panics is a bug, and costs one answer: not the connection, and not without a word.

use std::panic::AssertUnwindSafe;

use axum::{
    Router,
    extract::{Request, State},
    http::StatusCode,
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
};
use futures_util::FutureExt;

use crate::telemetry::EdgeTelemetry;

/// `router`, whose handlers answer 500 where they panic.
pub fn caught(router: Router, telemetry: EdgeTelemetry) -> Router {
    router.layer(from_fn_with_state(telemetry, answer))
}

async fn answer(State(telemetry): State<EdgeTelemetry>, request: Request, next: Next) -> Response {
    match AssertUnwindSafe(next.run(request)).catch_unwind().await {
        Ok(response) => response,
        Err(_) => {
            telemetry.handler_panicked("http");
            (StatusCode::INTERNAL_SERVER_ERROR, "an error of this service\n").into_response()
        }
    }
}
