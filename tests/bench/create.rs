//! `create`: durable CreateWorkflow calls, so many in flight, of workflows that rest for an hour.

use std::{pin::Pin, sync::Arc, time::Duration};

use super::{
    Bench,
    load::{self, Outcome, Until},
    workflow::{self, Shape},
};
use crate::CommandFailure;
use dispatch::{client::Known, pb::v1::dispatch_service_client::DispatchServiceClient};

/// In flight, unless the command line says otherwise.
const LEVELS: [usize; 5] = [1, 8, 64, 256, 1024];

pub(super) async fn run(bench: &mut Bench) -> Result<(), CommandFailure> {
    let levels = if bench.args.in_flight.is_empty() {
        LEVELS.to_vec()
    } else {
        bench.args.in_flight.clone()
    };
    let time = bench.time();
    let shape = Shape::resting(Duration::from_secs(3600));
    let mut first = 0;
    for in_flight in levels {
        let channels = bench.channels(in_flight).await?;
        let empty = bench.empty_rpc(&channels, in_flight).await;
        let disk_before = bench.server.disk_bytes();
        let before = bench.server.usage();
        let what = format!("create, {in_flight} in flight");
        let outcome = creates(&what, &channels, in_flight, Until::Time(time), first, &shape).await;
        let used = before.zip(bench.server.usage());
        first += outcome.latencies.len() as u64 + outcome.errors;
        let row = bench.report.measured(what, outcome, used);
        let grown =
            disk_before.zip(bench.server.disk_bytes()).map(|(was, is)| is.saturating_sub(was));
        let bytes_each = grown.map_or(0, |grown| grown / row.operations.max(1));
        if let Some(grown) = grown.filter(|grown| *grown > 0) {
            let name = format!("disk per workflow, {in_flight} in flight");
            bench.report.figure(name, grown as f64 / row.operations.max(1) as f64, "bytes");
        }
        let append = bench.append(in_flight, bytes_each).await;
        let against = |ceiling: f64| row.per_second / ceiling.max(1.0);
        let of_rpc = against(empty.per_second);
        bench.report.ratio(format!("create / empty RPC, {in_flight} in flight"), of_rpc);
        if let Some((create, rpc)) =
            row.server_cpu_us_per_operation.zip(empty.server_cpu_us_per_operation)
        {
            let name = format!("server CPU of create / of empty RPC, {in_flight} in flight");
            bench.report.ratio(name, create / rpc.max(0.1));
        }
        let of_append = against(append.per_second);
        bench.report.ratio(format!("create / append and sync, {in_flight} in flight"), of_append);
        if let (Some(create), Some(rpc), Some(sync)) = (row.latency, empty.latency, append.latency)
        {
            // What is left of the p99 after two syncs, as a multiple of an empty call's.
            let left = (create.p99_ms - 2.0 * sync.p50_ms).max(0.0) / rpc.p99_ms;
            let name =
                format!("(p99 of create - two syncs) / p99 of empty RPC, {in_flight} in flight");
            bench.report.ratio(name, left);
        }
    }
    bench.provider_ceiling().await;
    Ok(())
}

/// Creates workflows numbered from `first`.
pub(super) async fn creates(
    what: &str,
    channels: &[Known],
    in_flight: usize,
    until: Until,
    first: u64,
    shape: &Shape,
) -> Outcome {
    let call = creator(channels, shape);
    load::closed(what, in_flight, until, move |index| call(first + index)).await
}

/// Creates the workflow of a number.
pub(super) type Create =
    Arc<dyn Fn(u64) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>> + Send + Sync>;

/// Creates it at the service.
pub(super) fn creator(channels: &[Known], shape: &Shape) -> Create {
    let clients: Arc<[_]> = channels.iter().cloned().map(DispatchServiceClient::new).collect();
    let shape = shape.clone();
    Arc::new(move |number| {
        let mut client = clients[number as usize % clients.len()].clone();
        let request = workflow::request(number, &shape);
        Box::pin(async move {
            let created = client.create_workflow(request).await;
            created.map(drop).map_err(|status| format!("a create: {status}"))
        })
    })
}
