//! The gRPC edge: parse, ask the engine, render. It never sees the store but through its reader.

mod admin;
mod callbacks;
mod errors;
pub(crate) mod parse;
mod prompt;
pub(crate) mod render;
mod rendered;
mod sandbox;
mod service;
mod stream;
pub(crate) mod token;

pub use admin::AdminService;
pub use callbacks::CallbackService;
pub use prompt::Prompt;
pub use sandbox::{Sandbox, SandboxService, Sent};
pub use service::DispatchService;

use std::sync::Arc;

use tokio::sync::Semaphore;
use tonic::Code;

use crate::{
    engine::Engine,
    store::{Reader, StoreError},
};

/// How many reads of callers may be under way, and of streams: each has a thread, and a thread costs
/// about a megabyte. Streams have fewer and their own, so that however many they are no caller waits
/// behind them.
static CALLERS: Semaphore = Semaphore::const_new(16);
static STREAMS: Semaphore = Semaphore::const_new(8);

/// The plan that a request asks for, as CreateWorkflow takes it; for benchmarks.
///
/// # Errors
/// Everything that is wrong with it.
#[doc(hidden)]
pub fn parse_create(
    request: &crate::pb::v1::CreateWorkflowRequest,
    routes: &crate::engine::RouteTable,
    now: dispatch_contract::UnixMillis,
) -> Result<crate::machine::Plan, Vec<tonic_types::FieldViolation>> {
    parse::create_request(request, routes, now)
}

/// Reads beside the runtime's own threads: a read may wait for the disk.
async fn read<T: Send + 'static>(
    engine: &Engine,
    whose: &'static Semaphore,
    read: impl FnOnce(&dyn Reader) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, errors::Error> {
    let reader = Arc::clone(engine.reader());
    // Never closed.
    let _place = whose.acquire().await;
    match tokio::task::spawn_blocking(move || read(&*reader)).await {
        Ok(result) => result.map_err(errors::Error::Store),
        // Only at shutdown, or after a panic that is in the log.
        Err(_) => Err(crate::engine::EngineError::Unavailable.into()),
    }
}

/// A code's name, for metrics.
fn code_name(code: Code) -> &'static str {
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
