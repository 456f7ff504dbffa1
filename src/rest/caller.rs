//! Who calls, and whether they may.

use axum::http::{HeaderMap, header};

use super::{Problem, Rest};
use crate::access::{Caller, Denied, Scope};

/// The caller, who may do `scope`.
///
/// # Errors
/// If they are not let in, or may not.
pub(super) fn caller(rest: &Rest, headers: &HeaderMap, scope: Scope) -> Result<Caller, Problem> {
    let mut given = headers.get_all(header::AUTHORIZATION).iter();
    let authorization = match (given.next(), given.next()) {
        (None, _) => None,
        (Some(only), None) => {
            let text = only.to_str();
            Some(text.map_err(|_| Denied::Invalid("The Authorization header must be ASCII"))?)
        }
        // Which of them counts would be a guess.
        (Some(_), Some(_)) => return Err(Denied::Invalid("Give one Authorization header").into()),
    };
    let caller = rest.access.authenticate(authorization, rest.engine.clock().wall())?;
    if caller.may(scope) { Ok(caller) } else { Err(Denied::Forbidden(scope).into()) }
}
