//! Reads of the store and changes beside workflows, in their tenant's turn, with what a call answers if
//! they fail.

use std::sync::Arc;

use super::{errors::Error, refusal::Refusal};
use crate::{
    engine::{Engine, EngineError},
    fair::{DiskTurns, NotDone},
    store::{Reader, StoreError},
};

impl From<NotDone> for Error {
    fn from(_: NotDone) -> Self {
        EngineError::Unavailable.into()
    }
}

/// Reads for a tenant's call.
///
/// # Errors
/// If the store cannot be read, or the service is stopping.
pub(crate) async fn read_for_caller<T: Send + 'static>(
    turns: &DiskTurns,
    engine: &Engine,
    tenant: &Arc<str>,
    read: impl FnOnce(&dyn Reader) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, Error> {
    let reader = Arc::clone(engine.reader());
    turns.read(tenant, move || read(&*reader)).await?.map_err(Error::Store)
}

/// Reads for a tenant's stream.
///
/// # Errors
/// As [`read_for_caller`].
pub(super) async fn read_for_stream<T: Send + 'static>(
    turns: &DiskTurns,
    engine: &Engine,
    tenant: &Arc<str>,
    read: impl FnOnce(&dyn Reader) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, Error> {
    let reader = Arc::clone(engine.reader());
    turns.read_for_stream(tenant, move || read(&*reader)).await?.map_err(Error::Store)
}

/// Changes something for a tenant that may be refused.
pub(super) async fn change<T: Send + 'static, E: Into<Refusal> + Send + 'static>(
    turns: &DiskTurns,
    tenant: &Arc<str>,
    change: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, Refusal> {
    match turns.change(tenant, change).await {
        Ok(done) => done.map_err(Into::into),
        Err(NotDone) => Err(Refusal::Stopping),
    }
}
