//! What a caller does to a workflow, and how that is written down.

use std::sync::Arc;

use super::{Error, read_for_caller};
use crate::{
    access::{Access, Caller},
    engine::{Canceled, Engine, EngineError},
    fair::DiskTurns,
    machine::WorkflowId,
};

/// Cancels a workflow that a caller may see: for an operator any, and what it does to another tenant's is
/// written down before.
///
/// # Errors
/// As [`Engine::cancel`], or if the store failed.
pub(crate) async fn cancel_for_caller(
    turns: &DiskTurns,
    engine: &Engine,
    access: &Access,
    caller: &Caller,
    id: WorkflowId,
) -> Result<Canceled, Error> {
    let own = engine.cancel(Arc::clone(&caller.tenant), id).await;
    if !(caller.is_operator() && matches!(own, Err(EngineError::NotFound(_)))) {
        return Ok(own?);
    }
    let record =
        read_for_caller(turns, engine, &caller.tenant, move |reader| reader.record(id)).await?;
    let Some(record) = record else { return Ok(own?) };
    note(turns, engine, access, caller.at(&record.tenant), "workflow.canceled", id.to_string())
        .await?;
    Ok(engine.cancel(Arc::clone(&record.tenant), id).await?)
}

/// Writes down what a caller is about to do, beside the runtime's own threads.
pub(crate) async fn note(
    turns: &DiskTurns,
    engine: &Engine,
    access: &Access,
    caller: Caller,
    what: &'static str,
    target: String,
) -> Result<(), Error> {
    let (access, now) = (access.clone(), engine.clock().wall());
    let tenant = Arc::clone(&caller.tenant);
    let written = move || access.audit(&caller, what, &target, now);
    turns.change(&tenant, written).await?.map_err(Error::Store)
}
