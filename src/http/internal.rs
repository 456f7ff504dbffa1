//! Health and metrics, for the inside only.

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};

use crate::engine::Engine;

/// What health and metrics look at.
#[derive(Clone, Debug)]
pub struct Health {
    /// The engine.
    pub engine: Engine,
}

/// The internal listener's paths: `/healthz` (the process lives), `/readyz` (it takes work),
/// `/metrics` (Prometheus' text format).
pub fn router(health: Health) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(Arc::new(health))
}

async fn ready(State(health): State<Arc<Health>>) -> Response {
    if health.engine.is_draining() {
        return (StatusCode::SERVICE_UNAVAILABLE, "draining\n").into_response();
    }
    if health.engine.is_held() {
        let held = "held after a restore: `dispatch resume --open continue|cancel` says what becomes of what is open\n";
        return (StatusCode::SERVICE_UNAVAILABLE, held).into_response();
    }
    "ready\n".into_response()
}

async fn metrics(State(health): State<Arc<Health>>) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], health.engine.metrics().render()).into_response()
}
