//! Who calls over gRPC, and whether they may.

use tonic::{Status, metadata::MetadataMap};

use super::refusal::Refusal;
use crate::{
    access::{Access, Caller, Denied, Scope},
    engine::Engine,
};

/// Whoever made a call with this metadata, if they may do what `scope` says.
///
/// # Errors
/// `UNAUTHENTICATED`, `PERMISSION_DENIED` or `RESOURCE_EXHAUSTED`.
pub(super) fn caller(
    access: &Access,
    engine: &Engine,
    metadata: &MetadataMap,
    scope: Scope,
) -> Result<Caller, Status> {
    let given = metadata.get("authorization");
    // One that is no text is a wrong one, and not a missing one.
    let given = given.map(|value| value.to_str().unwrap_or(""));
    let caller = access.authenticate(given, engine.clock().wall()).map_err(Refusal::Denied)?;
    if caller.may(scope) {
        Ok(caller)
    } else {
        Err(Refusal::Denied(Denied::Forbidden(scope)).into())
    }
}
