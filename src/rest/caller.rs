//! Who calls, and whether they may.

use std::sync::Arc;

use axum::{extract::MatchedPath, http::request::Parts};

use super::{Problem, Rest};
use crate::{
    access::{Caller, Denied, scope_of_rest},
    api::{authenticate, count_denied},
    fair::Connection,
};

/// The caller of a request, who may make it: the table of rights says which scope its method and path
/// need (`access/rights.rs`).
///
/// # Errors
/// If they are not let in, or may not; what does not stand in the table, nobody may.
pub(super) fn caller(rest: &Rest, head: &Parts) -> Result<Caller, Problem> {
    let from = head.extensions.get::<Arc<Connection>>().map(|held| held.address());
    let now = rest.engine.clock().real_wall();
    let caller = authenticate(&rest.access, &head.uri, &head.headers, from, now)
        .inspect_err(|denied| count_denied(&rest.engine, denied))?;
    let pattern = head.extensions.get::<MatchedPath>().map_or("", MatchedPath::as_str);
    match scope_of_rest(head.method.as_str(), pattern) {
        Some(scope) if caller.may(scope) => Ok(caller),
        Some(scope) => Err(Denied::Forbidden(scope).into()),
        None => Err(Problem::not_found("There is nothing at this path")),
    }
}
