//! The gRPC edge: parse, ask the engine, render. It never sees the store but through its reader.

mod errors;
mod parse;
mod render;
mod sandbox;
mod service;
mod stream;
mod token;

pub use sandbox::{Sandbox, SandboxService, Sent};
pub use service::DispatchService;

use std::sync::Arc;

use tonic::Code;

use crate::{
    engine::Engine,
    store::{Reader, StoreError},
};

/// Reads beside the runtime's own threads: a read may wait for the disk.
async fn read<T: Send + 'static>(
    engine: &Engine,
    read: impl FnOnce(&dyn Reader) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, errors::Error> {
    let reader = Arc::clone(engine.reader());
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
