//! Health and metrics, for the inside only.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Request, State},
    http::{StatusCode, header},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::get,
};

use crate::{access::is_no_foreign_name, telemetry::Metrics};

/// What health and metrics look at.
pub struct Health {
    /// Whether work is taken.
    pub readiness: Box<dyn Fn() -> Readiness + Send + Sync>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// Whether it listens on loopback: then a browser on this machine is kept out that was sent here
    /// under a name of somebody else's.
    pub is_on_loopback: bool,
}

/// Whether a service takes work, or why it does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// It does.
    Ready,
    /// It is stopping.
    Draining,
    /// It was started only to be looked at.
    ReadOnly,
    /// It was restored from a backup, and waits to be told what becomes of what was open.
    RestoreLocked,
}

/// The internal listener's paths: `/healthz` (the process lives), `/readyz` (it takes work),
/// `/metrics` (Prometheus' text format).
pub fn router(health: Health) -> Router {
    let health = Arc::new(health);
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .layer(from_fn_with_state(Arc::clone(&health), only_local))
        .with_state(health)
}

/// Refuses what was addressed to a name that a name server may point anywhere (DNS rebinding).
async fn only_local(State(health): State<Arc<Health>>, request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).map(|host| host.to_str().unwrap_or_default());
    if health.is_on_loopback && !host.is_none_or(is_no_foreign_name) {
        let wanted = "this listener is for this machine: ask localhost or its address\n";
        return (StatusCode::FORBIDDEN, wanted).into_response();
    }
    next.run(request).await
}

async fn ready(State(health): State<Arc<Health>>) -> Response {
    let why = match (health.readiness)() {
        Readiness::Ready => return "ready\n".into_response(),
        Readiness::Draining => "draining\n",
        Readiness::ReadOnly => "read only: started with --read-only, nothing is sent or taken\n",
        Readiness::RestoreLocked => {
            "restore lock: `dispatch resume --open continue|cancel` says what becomes of what is open\n"
        }
    };
    (StatusCode::SERVICE_UNAVAILABLE, why).into_response()
}

async fn metrics(State(health): State<Arc<Health>>) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], health.metrics.render()).into_response()
}
