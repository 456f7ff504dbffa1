//! The REST edge, in the words of the old Dispatch API and its neighbours: parse, ask, render.
//!
//! A request becomes a `WorkflowSpec` and goes through the parser that gRPC's requests go through, so
//! that every rule stands once; what it finds is told in the old names. See
//! `docs/moving-from-nexmo-dispatch.md`.

mod accounts;
mod applications;
mod asked;
mod body;
mod body_drain;
mod caller;
mod content;
mod create;
mod diagnostics;
mod errors;
mod json;
mod json_cursor;
mod problem;
mod request;
mod v01;
mod v1;
mod workflow;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{Request, State},
    http::Method,
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::{get, post},
};
#[cfg(any(test, fuzzing))]
pub(crate) use create::asked_for;
pub use problem::{InvalidParameter, Problem};

use crate::{
    access::{Access, Accounts, Applications, Destinations},
    api::code_name,
    current::Current,
    engine::{Engine, EngineError},
    fair::DiskTurns,
};

/// What the REST edge needs.
pub struct Rest {
    /// Where requests go.
    pub engine: Engine,
    /// Turns at the disk.
    pub turns: DiskTurns,
    /// Who may ask.
    pub access: Arc<Access>,
    /// The tenants' applications.
    pub applications: Arc<Applications>,
    /// The tenants' external accounts.
    pub accounts: Arc<Accounts>,
    /// Whether tokens of external accounts are shown in clear.
    pub show_tokens: bool,
    /// Where callbacks may go.
    pub destinations: Arc<Current<Destinations>>,
    /// How long a body may take to arrive.
    pub body_timeout: Duration,
}

/// The paths.
pub fn router(rest: Arc<Rest>) -> Router {
    Router::new()
        .merge(applications::routes())
        .merge(accounts::routes())
        .route("/v0.1/dispatch", post(create::dispatch))
        .route("/v0.1/dispatch/", post(create::dispatch))
        .route("/v0.1/dispatch/{id}", get(workflow::get).delete(workflow::delete))
        .route("/beta/workflows", post(create::workflows))
        .route("/beta/workflows/", post(create::workflows))
        .route("/workflows/{id}", get(workflow::get).delete(workflow::delete))
        .route("/v0.1/messages", post(create::message))
        .route("/v0.1/messages/", post(create::message))
        .route("/beta/messages", post(create::message))
        .route("/beta/messages/", post(create::message))
        .route("/v1/messages", post(create::messages))
        .route("/v1/messages/", post(create::messages))
        // Last: it holds for the paths above it.
        .method_not_allowed_fallback(wrong_verb)
        .fallback(nowhere)
        .layer(from_fn_with_state(Arc::clone(&rest), refuse_writes))
        .layer(from_fn_with_state(Arc::clone(&rest), body_drain::read_out))
        .with_state(rest)
}

async fn wrong_verb(State(rest): State<Arc<Rest>>) -> Response {
    rest.answer(Err(Problem::wrong_verb()))
}

async fn nowhere(State(rest): State<Arc<Rest>>) -> Response {
    rest.answer(Err(Problem::not_found("There is nothing at this path")))
}

/// A service that was started only to be read answers nothing else.
async fn refuse_writes(State(rest): State<Arc<Rest>>, request: Request, next: Next) -> Response {
    let only_reads = [Method::GET, Method::HEAD].contains(request.method());
    if rest.engine.is_read_only() && !only_reads {
        return rest.answer(Err(EngineError::ReadOnly.into()));
    }
    next.run(request).await
}

impl Rest {
    /// The answer; a refused request is counted.
    fn answer(&self, answer: Result<Response, Problem>) -> Response {
        answer.unwrap_or_else(|problem| {
            self.engine.metrics().refused(code_name(problem.code()));
            problem.into_response()
        })
    }
}
