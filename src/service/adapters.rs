//! What adapters do by themselves, for as long as the service runs.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use dispatch_contract::{ChannelAdapter, Clock};
use futures_util::FutureExt;
use tokio_util::sync::CancellationToken;

use crate::engine::{Engine, EngineSink};

/// How long one that panicked rests before it is begun again; each time longer.
const REST: Duration = Duration::from_secs(1);
const LONGEST_REST: Duration = Duration::from_secs(60);

/// Runs an adapter until `stop`. One that panics is begun again: without it nothing more would be heard
/// of what it sent.
pub(super) async fn run(
    adapter: Arc<dyn ChannelAdapter>,
    engine: Engine,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
) {
    let provider = adapter.provider().to_owned();
    let sink = Arc::new(EngineSink { engine: engine.clone(), provider });
    let mut rest = REST;
    loop {
        let stopped = stop.clone();
        let shutdown = Box::pin(async move { stopped.cancelled().await });
        let run = adapter.run(Arc::clone(&sink) as _, Arc::clone(&clock), shutdown);
        if AssertUnwindSafe(run).catch_unwind().await.is_ok() {
            return;
        }
        engine.metrics().adapter_panicked(adapter.name(), "run");
        tracing::error!(adapter = adapter.name(), ?rest, "the adapter panicked; it is begun again");
        if stop.run_until_cancelled(tokio::time::sleep(rest)).await.is_none() {
            return;
        }
        rest = (rest * 2).min(LONGEST_REST);
    }
}
