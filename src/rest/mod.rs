//! The REST edge, in the words of the old Dispatch API and its neighbours: parse, ask, render.

mod accounts;
mod applications;
mod caller;
mod problem;
mod request;

use std::{sync::Arc, time::Duration};

use axum::Router;
pub use problem::{InvalidParameter, Problem};

use crate::{
    access::{Access, Accounts, Applications},
    engine::Engine,
};

/// What the REST edge needs.
pub struct Rest {
    /// Where requests go.
    pub engine: Engine,
    /// Who may ask.
    pub access: Arc<Access>,
    /// The tenants' applications.
    pub applications: Arc<Applications>,
    /// The tenants' external accounts.
    pub accounts: Arc<Accounts>,
    /// Whether tokens of external accounts are shown in clear.
    pub show_tokens: bool,
    /// How long a body may take to arrive.
    pub patience: Duration,
}

/// The paths.
pub fn router(rest: Arc<Rest>) -> Router {
    Router::new().merge(applications::routes()).merge(accounts::routes()).with_state(rest)
}
