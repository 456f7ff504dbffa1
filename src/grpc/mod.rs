//! The gRPC edge: parse, ask the engine, render. It never sees the store but through its reader.

mod access;
mod accounts;
mod admin;
mod applications;
mod authenticate;
mod callbacks;
mod calls;
mod errors;
mod guard;
mod mask;
mod paging;
pub(crate) mod parse;
mod preface;
mod reads;
mod refusal;
pub(crate) mod render;
mod rendered;
mod resume_vector;
mod sandbox;
mod service;
mod stream;
pub(crate) mod token;
mod unguarded;
pub(crate) mod unread;

pub use access::AccessService;
pub use accounts::AccountService;
pub use admin::AdminService;
pub use applications::ApplicationService;
pub(crate) use authenticate::authenticate;
pub use callbacks::CallbackService;
pub use calls::Calls;
pub(crate) use errors::Error;
pub use guard::Guarded;
pub(crate) use guard::count_denied;
pub use preface::Preface;
pub(crate) use reads::read_for_caller;
pub use sandbox::{Sandbox, SandboxService, Sent};
pub use service::DispatchService;
pub use unguarded::Unguarded;
pub use unread::Explained;

use std::sync::Arc;

use tonic::Code;

use crate::{
    access::{Access, Caller},
    engine::{Canceled, Engine, EngineError},
    fair::DiskTurns,
    machine::WorkflowId,
};

/// The plan that a request of the tenant `default` asks for, as CreateWorkflow takes it.
///
/// # Errors
/// Everything that is wrong with it.
pub fn parse_create(
    request: &crate::pb::v1::CreateWorkflowRequest,
    routes: &crate::engine::RouteTable,
    now: dispatch_contract::UnixMillis,
) -> Result<crate::machine::Plan, Vec<tonic_types::FieldViolation>> {
    let rules = parse::TenantRoutes::only(routes, crate::access::DEFAULT_TENANT);
    parse::create_request(request, &rules, now)
}

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
async fn note(
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

/// A code's name, for metrics.
pub(crate) fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
