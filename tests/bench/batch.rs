//! `batch`: durable creates by BatchCreateWorkflows, so many batches in flight, of workflows that rest for an hour.

use std::{sync::Arc, time::Duration};

use super::{
    Bench,
    load::{self, Outcome, Until},
    report::each,
    usage,
    workflow::{self, Shape},
};
use crate::CommandFailure;
use dispatch::{
    client::Known,
    pb::v1::{
        BatchCreateWorkflowsRequest, batch_create_result::Result as Created,
        dispatch_service_client::DispatchServiceClient,
    },
};

/// Creates in a batch, unless the command line says otherwise.
const BATCH: u64 = 500;
/// Batches in flight, unless the command line says otherwise: together they stay below the half of the lane of
/// creates that one tenant may have.
const LEVELS: [usize; 3] = [1, 4, 8];

pub(super) async fn run(bench: &mut Bench) -> Result<(), CommandFailure> {
    let levels = if bench.args.in_flight.is_empty() {
        LEVELS.to_vec()
    } else {
        bench.args.in_flight.clone()
    };
    let size = bench.args.count.unwrap_or(BATCH);
    let time = bench.time();
    let mut first = 0;
    for in_flight in levels {
        let channels = bench.channels(in_flight).await?;
        let disk_before = bench.server.disk_bytes();
        let before = bench.server.usage();
        let load_before = usage::of(std::process::id()).cpu;
        let outcome = batches(&channels, in_flight, size, Until::Time(time), first).await;
        let load = usage::of(std::process::id()).cpu.saturating_sub(load_before);
        let used = before.zip(bench.server.usage());
        first += (outcome.latencies.len() as u64 + outcome.errors) * size;
        let name = format!("batches of {size}, {in_flight} in flight");
        let row = bench.report.measured(&name, outcome, used);
        let creates = row.operations * size;
        let per_second = row.per_second * size as f64;
        bench.report.figure(format!("creates per second, {name}"), per_second, "1/s");
        if let Some((before, after)) = used {
            let cpu = each(after.cpu.saturating_sub(before.cpu), creates);
            bench.report.figure(format!("server CPU per create, {name}"), cpu, "µs");
        }
        bench.report.figure(format!("load CPU per create, {name}"), each(load, creates), "µs");
        let grown =
            disk_before.zip(bench.server.disk_bytes()).map(|(was, is)| is.saturating_sub(was));
        let bytes_each = grown.map_or(0, |grown| grown / creates.max(1));
        let append = bench.append(size as usize, bytes_each).await;
        let of_append = per_second / append.per_second.max(1.0);
        bench.report.ratio(format!("creates / append and sync, {name}"), of_append);
    }
    Ok(())
}

/// Batches of `size` creates, of workflows numbered from `first`. One that is not created whole has failed.
async fn batches(
    channels: &[Known],
    in_flight: usize,
    size: u64,
    until: Until,
    first: u64,
) -> Outcome {
    let clients: Arc<[_]> = channels.iter().cloned().map(DispatchServiceClient::new).collect();
    let shape = Shape::resting(Duration::from_secs(3600));
    let call = move |index: u64| {
        let mut client = clients[index as usize % clients.len()].clone();
        let from = first + index * size;
        let requests = (from..from + size).map(|number| workflow::request(number, &shape));
        let request = BatchCreateWorkflowsRequest { requests: requests.collect() };
        async move {
            let created = client.batch_create_workflows(request).await;
            let results = created.map_err(|status| format!("a batch: {status}"))?.into_inner();
            let created = |it: &Option<Created>| matches!(it, Some(Created::Created(_)));
            let whole = results.results.iter().filter(|it| created(&it.result)).count() as u64;
            if whole == size {
                return Ok(());
            }
            let error = results.results.into_iter().find_map(|it| match it.result {
                Some(Created::Error(status)) => Some(status.message),
                Some(Created::Created(_)) | None => None,
            });
            Err(format!("{} of a batch: {}", size - whole, error.unwrap_or_default()))
        }
    };
    load::closed("batches", in_flight, until, call).await
}
