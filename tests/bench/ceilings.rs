//! What this machine can do at best, measured beside every scenario: a rate means little without
//! them, because load and service share the processors and disks differ a hundredfold.
//!
//! - *empty RPC*: `grpc.health.v1.Health/Check` on the same server over the same connections, the
//!   cheapest unary call that it has: no parsing to speak of, no store.
//! - *append and sync*: as many bytes as so many workflows take, appended to a bare file in the
//!   same folder, then `fdatasync`: one operation is one workflow.
//! - *overwrite and sync*: the same in a file that has its size already. Where a growing file makes
//!   the file system write its own journal too, the difference is large.
//! - *provider*: the service's own adapter, HTTP client included, sending to the stub provider from
//!   this process.

use std::{
    fs::File,
    io::{Seek, Write},
    path::Path,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use dispatch_contract::{AttemptId, SendContext, UnixMillis};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use super::{
    latency::Latencies,
    load::{self, Outcome, Until},
};
use dispatch::{client::Known, engine::RouteTable};

/// Empty unary calls.
pub(super) async fn empty_rpc(channels: &[Known], in_flight: usize, time: Duration) -> Outcome {
    let clients: Arc<[_]> = channels.iter().cloned().map(HealthClient::new).collect();
    let call = move |index: u64| {
        let mut client = clients[index as usize % clients.len()].clone();
        async move {
            let request = HealthCheckRequest { service: String::new() };
            client.check(request).await.map(drop).map_err(|status| status.to_string())
        }
    };
    load::closed("empty RPC", in_flight, Until::Time(time), call).await
}

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Writing {
    /// It grows.
    Append,
    /// It has its size already.
    Overwrite,
}

/// How large a file is that has its size already.
const OVERWRITTEN_BYTES: u64 = 32 * 1024 * 1024;

/// Writes and syncs batches of `batch` times `bytes_each`. Latencies are those of whole batches;
/// the operations counted are single ones.
pub(super) async fn write(
    folder: &Path,
    writing: Writing,
    batch: u64,
    bytes_each: u64,
    time: Duration,
) -> (Outcome, u64) {
    let path = folder.join("ceiling");
    let written = tokio::task::spawn_blocking(move || {
        let result = write_for(&path, writing, (batch * bytes_each) as usize, time);
        // The folder goes in the end anyway.
        let _ = std::fs::remove_file(&path);
        result
    });
    match written.await {
        Ok(Ok(outcome)) => {
            let operations = outcome.latencies.len() as u64 * batch;
            (outcome, operations)
        }
        Ok(Err(error)) => (failed(error.to_string()), 0),
        Err(error) => (failed(error.to_string()), 0),
    }
}

fn write_for(
    path: &Path,
    writing: Writing,
    bytes: usize,
    time: Duration,
) -> std::io::Result<Outcome> {
    // Not zeros: some disks make nothing of those.
    let data: Vec<u8> = (0..bytes.max(1)).map(|at| (at * 31 % 251) as u8).collect();
    let mut file = File::create(path)?;
    if writing == Writing::Overwrite {
        let mut filled = 0;
        while filled < OVERWRITTEN_BYTES {
            file.write_all(&data)?;
            filled += data.len() as u64;
        }
        file.rewind()?;
    }
    file.sync_all()?;
    let mut latencies = Latencies::default();
    let mut written = 0;
    let began = Instant::now();
    while began.elapsed() < time {
        let asked = Instant::now();
        if writing == Writing::Overwrite && written + data.len() as u64 > OVERWRITTEN_BYTES {
            file.rewind()?;
            written = 0;
        }
        file.write_all(&data)?;
        file.sync_data()?;
        written += data.len() as u64;
        latencies.record(asked.elapsed());
    }
    Ok(Outcome { latencies, elapsed: began.elapsed(), ..Outcome::default() })
}

/// Sends by the route `sms`, as the service does it.
pub(super) async fn provider(
    routes: &Arc<RouteTable>,
    in_flight: usize,
    time: Duration,
) -> Outcome {
    let routes = Arc::clone(routes);
    let call = move |_| {
        let routes = Arc::clone(&routes);
        async move {
            let route = routes.get("sms").ok_or("there is no route sms")?;
            let message = super::workflow::sms();
            let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let context = SendContext {
                attempt: AttemptId { workflow: uuid::Uuid::now_v7(), number: 1 },
                account: &route.account,
                callback_url: None,
                useful_for: None,
                now: UnixMillis(wall.as_millis() as u64),
                timeout: route.timeout,
            };
            route.adapter.send(&context, &message).await.map(drop).map_err(|error| error.detail)
        }
    };
    load::closed("provider", in_flight, Until::Time(time), call).await
}

fn failed(error: String) -> Outcome {
    Outcome { errors: 1, first_error: Some(error), ..Outcome::default() }
}
