//! The REST edge, in the words of the old Dispatch API and its neighbours: parse, ask, render.

mod problem;

use std::sync::Arc;

use axum::Router;
pub use problem::{InvalidParameter, Problem};

use crate::{access::Access, engine::Engine};

/// What the REST edge needs.
pub struct Rest {
    /// Where requests go.
    pub engine: Engine,
    /// Who may ask.
    pub access: Arc<Access>,
}

/// The paths.
pub fn router(rest: Arc<Rest>) -> Router {
    Router::new().with_state(rest)
}
