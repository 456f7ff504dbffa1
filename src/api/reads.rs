//! Reads of the store and changes beside workflows, in their tenant's turn, with what a call answers if
//! they fail.

use std::sync::Arc;

use super::Error;
use crate::{
    engine::Engine,
    fair::DiskTurns,
    store::{Reader, StoreError},
};

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
pub(crate) async fn read_for_stream<T: Send + 'static>(
    turns: &DiskTurns,
    engine: &Engine,
    tenant: &Arc<str>,
    read: impl FnOnce(&dyn Reader) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, Error> {
    let reader = Arc::clone(engine.reader());
    turns.read_for_stream(tenant, move || read(&*reader)).await?.map_err(Error::Store)
}

/// Changes something for a tenant that may be refused.
///
/// # Errors
/// As `change` refuses, or if the service is stopping.
pub(crate) async fn change_for_caller<T: Send + 'static, E: Into<Error> + Send + 'static>(
    turns: &DiskTurns,
    tenant: &Arc<str>,
    change: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, Error> {
    turns.change(tenant, change).await?.map_err(Into::into)
}
