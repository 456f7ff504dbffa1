//! What has to be done now and then beside the writer: make durable which tokens were used, write down what
//! failed at the entrance, take away inbound messages and keys that are past retention, and say how large tables in memory are
//! and which providers are down.

use std::{sync::Arc, time::Duration};

use dispatch_contract::Registry;
use tokio_util::sync::CancellationToken;

use super::contents;
use crate::{
    access::{Access, REPORT_EVERY},
    contents::KeyRing,
    engine::Engine,
};

/// How often used tokens are made durable.
const TIDY_EVERY: Duration = Duration::from_secs(1);
/// How often it is said how large tables are.
const COUNT_EVERY: Duration = Duration::from_secs(10);

/// How often the keys of what is past retention are taken away.
const RETIRE_EVERY: Duration = Duration::from_secs(3600);

/// Says how many entries the tables of a room have.
pub(super) struct TableSource {
    pub(super) room: &'static str,
    pub(super) count: Box<dyn Fn() -> Vec<(&'static str, usize)> + Send + Sync>,
}

/// Takes away what persons wrote too long ago, beside the runtime; what one round leaves the next one takes.
async fn trim_inbound(engine: &Engine) {
    if engine.is_read_only() {
        return;
    }
    let (messages, now) = (Arc::clone(engine.inbound_messages()), engine.clock().now());
    let trimmed = tokio::task::spawn_blocking(move || messages.trim(now));
    if let Ok(Err(error)) = trimmed.await {
        tracing::error!(%error, "what persons wrote too long ago could not be taken away");
    }
}

/// Takes away keys of what is past retention, beside the runtime.
async fn retire_keys(engine: &Engine, keys: &Arc<KeyRing>) {
    if engine.is_read_only() {
        return;
    }
    let (keys, reader) = (Arc::clone(keys), Arc::clone(engine.reader()));
    match tokio::task::spawn_blocking(move || contents::retire(&keys, &*reader)).await {
        Ok(Ok(0)) | Err(_) => {}
        Ok(Ok(files)) => tracing::info!(files, "keys of workflows past retention are taken away"),
        Ok(Err(error)) => {
            tracing::error!(error, "keys of workflows past retention could not be taken away");
        }
    }
}

/// Does it until `stop`, and a last time then. A store that failed ends the service elsewhere.
pub(super) async fn tend(
    access: Access,
    engine: Engine,
    tables: Vec<TableSource>,
    registry: Registry,
    content_keys: Option<Arc<KeyRing>>,
    stop: CancellationToken,
) {
    let mut reported = tokio::time::Instant::now();
    let mut counted = None;
    let mut retired = None;
    let mut is_over = false;
    while !is_over {
        tokio::select! {
            () = tokio::time::sleep(TIDY_EVERY) => {}
            () = stop.cancelled() => is_over = true,
        }
        for provider in registry.providers() {
            engine.metrics().provider_down(provider.name(), provider.down().is_some());
        }
        let now = tokio::time::Instant::now();
        if let Some(keys) = &content_keys
            && retired.is_none_or(|at| now.duration_since(at) >= RETIRE_EVERY)
        {
            retired = Some(now);
            retire_keys(&engine, keys).await;
        }
        if counted.is_none_or(|at| now.duration_since(at) >= COUNT_EVERY) {
            counted = Some(now);
            for TableSource { room, count } in &tables {
                engine.metrics().tables(room, count());
            }
            if !is_over {
                trim_inbound(&engine).await;
            }
        }
        let is_due = is_over || reported.elapsed() >= REPORT_EVERY;
        if is_due {
            reported = tokio::time::Instant::now();
        }
        let (access, clock) = (access.clone(), engine.clock());
        let (now, real) = (clock.wall(), clock.real_wall());
        let done = tokio::task::spawn_blocking(move || {
            access.tidy(real)?;
            if is_due { access.report(now, real) } else { Ok(()) }
        });
        if let Ok(Err(error)) = done.await {
            tracing::error!(%error, "failed logins or used tokens could not be kept");
        }
    }
}
