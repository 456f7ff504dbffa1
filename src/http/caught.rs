//! A handler that panics is a bug, and costs one answer: not the connection, and not without a word.

use std::{panic::AssertUnwindSafe, sync::Arc};

use axum::{
    Router,
    extract::{Request, State},
    http::StatusCode,
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
};
use futures_util::FutureExt;

use super::rarely::Rarely;
use crate::engine::Engine;

struct Caught {
    engine: Engine,
    told: Rarely,
}

/// `router`, whose handlers answer 500 where they panic.
pub fn caught(router: Router, engine: Engine) -> Router {
    let caught = Arc::new(Caught { engine, told: Rarely::default() });
    router.layer(from_fn_with_state(caught, answer))
}

async fn answer(State(caught): State<Arc<Caught>>, request: Request, next: Next) -> Response {
    match AssertUnwindSafe(next.run(request)).catch_unwind().await {
        Ok(response) => response,
        Err(_) => {
            caught.engine.metrics().handler_panicked();
            if let Some(kept_back) = caught.told.may_tell() {
                tracing::error!(kept_back, "a handler of HTTP requests panicked; answered 500");
            }
            (StatusCode::INTERNAL_SERVER_ERROR, "an error of this service\n").into_response()
        }
    }
}
