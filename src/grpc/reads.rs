//! What waits for the disk, beside the runtime's own threads: each has a thread of its own, so there are
//! few at once, and tenants take turns at them.
//!
//! A caller that goes away leaves its read behind, which keeps its turn until it is over: however fast
//! calls are given up, there are no more threads.

use std::{
    num::NonZero,
    sync::{Arc, LazyLock},
    thread::available_parallelism,
};

use super::{errors::Error, refusal::Refusal};
use crate::{
    engine::{Engine, EngineError},
    fair::Turns,
    store::{Reader, StoreError},
};

/// Reads of callers, and of streams. Streams have their own, so that however many they are no caller
/// waits behind them.
static CALLERS: LazyLock<Turns> = LazyLock::new(|| Turns::new(few()));
static STREAMS: LazyLock<Turns> = LazyLock::new(|| Turns::new(few()));
/// Changes of keys, applications, accounts and callbacks, and lists of them.
static CHANGES: LazyLock<Turns> = LazyLock::new(|| Turns::new(few()));

/// Enough for some to wait for the disk while others compute, and not so many that whoever computes
/// much keeps the processors from all others.
fn few() -> usize {
    (available_parallelism().map_or(1, NonZero::get) * 4).clamp(8, 32)
}

/// Reads for a tenant's call.
///
/// # Errors
/// If the store cannot be read, or the service is stopping.
pub(crate) async fn read_for_caller<T: Send + 'static>(
    engine: &Engine,
    tenant: &Arc<str>,
    read: impl FnOnce(&dyn Reader) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, Error> {
    let reader = Arc::clone(engine.reader());
    beside(&CALLERS, tenant, move || read(&*reader).map_err(Error::Store)).await?
}

/// Reads for a tenant's stream.
///
/// # Errors
/// As [`read_for_caller`].
pub(super) async fn read_for_stream<T: Send + 'static>(
    engine: &Engine,
    tenant: &Arc<str>,
    read: impl FnOnce(&dyn Reader) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, Error> {
    let reader = Arc::clone(engine.reader());
    beside(&STREAMS, tenant, move || read(&*reader).map_err(Error::Store)).await?
}

/// Changes or lists something beside workflows for a tenant.
///
/// # Errors
/// Only at shutdown.
pub(crate) async fn change_for_caller<T: Send + 'static>(
    tenant: &Arc<str>,
    change: impl FnOnce() -> T + Send + 'static,
) -> Result<T, EngineError> {
    beside(&CHANGES, tenant, change).await
}

/// The same, for what may be refused.
pub(super) async fn change<T: Send + 'static, E: Into<Refusal> + Send + 'static>(
    tenant: &Arc<str>,
    change: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, Refusal> {
    match change_for_caller(tenant, change).await {
        Ok(done) => done.map_err(Into::into),
        Err(_) => Err(Refusal::Stopping),
    }
}

async fn beside<T: Send + 'static>(
    turns: &Turns,
    tenant: &Arc<str>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, EngineError> {
    let turn = turns.take(tenant).await;
    let work = move || {
        let _turn = turn;
        work()
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => Ok(done),
        // Its caller's edge catches it.
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(EngineError::Unavailable),
    }
}
