//! `pending`: many workflows that rest. How much memory and disk each takes, whether creates slow
//! down, and how long a restart takes after a crash.

use std::time::Duration;

use super::{
    Bench, create,
    load::Until,
    report::{Row, mib},
    workflow::Shape,
};
use crate::CommandFailure;

/// In flight, unless the command line says otherwise.
const IN_FLIGHT: usize = 256;

pub(super) async fn run(bench: &mut Bench) -> Result<(), CommandFailure> {
    let count = bench.args.count.unwrap_or(100_000).max(20);
    let in_flight = bench.args.in_flight.first().copied().unwrap_or(IN_FLIGHT);
    let shape = Shape::resting(Duration::from_secs(86_400));
    let channels = bench.channels(in_flight).await?;
    let empty = bench.empty_rpc(&channels, in_flight).await;
    let disk_before = bench.server.disk_bytes().unwrap_or_default();
    let before = bench.server.usage();

    let tenth = count / 10;
    let parts = [
        ("first tenth", 0, tenth),
        ("most", tenth, count - tenth),
        ("last tenth", count - tenth, count),
    ];
    let mut rows: Vec<Row> = Vec::new();
    for (name, from, to) in parts {
        let part_before = bench.server.usage();
        let what = format!("create, {name}");
        let until = Until::Count(to - from);
        let outcome = create::creates(&what, &channels, in_flight, until, from, &shape).await;
        let used = part_before.zip(bench.server.usage());
        rows.push(bench.report.measured(what, outcome, used));
    }
    if let Some((before, after)) = before.zip(bench.server.usage()) {
        let grown = |was: u64, is: u64| is.saturating_sub(was) as f64 / count as f64;
        let pss = grown(before.pss_bytes, after.pss_bytes);
        bench.report.figure("memory per open workflow, PSS", pss, "bytes");
        bench.report.figure("server memory with all open, PSS", mib(after.pss_bytes), "MiB");
        let written = grown(before.written_bytes, after.written_bytes);
        bench.report.figure("written per workflow", written, "bytes");
    }
    let grown = bench.server.disk_bytes().unwrap_or_default().saturating_sub(disk_before);
    bench.report.figure("disk per open workflow", grown as f64 / count as f64, "bytes");
    let append = bench.append(in_flight, grown / count).await;
    if let [first, most, last] = &rows[..] {
        bench.report.ratio("create / empty RPC", most.per_second / empty.per_second);
        bench.report.ratio("create / append and sync", most.per_second / append.per_second);
        bench.report.ratio("last tenth / first tenth", last.per_second / first.per_second);
    }
    bench.provider_ceiling().await;

    let created: u64 = rows.iter().map(|row| row.operations).sum();
    let took = bench.server.restart().await?;
    bench.report.figure("kill -9 to serving again", took.as_secs_f64(), "s");
    let channels = bench.channels(1).await?;
    let alive = super::ceilings::empty_rpc(&channels, 1, Duration::from_millis(200)).await;
    bench.report.failed(alive.errors, "it does not serve after the restart");
    // The gauge is set by the writer's first turn; a create makes it turn.
    let one = create::creates("after", &channels, 1, Until::Count(1), count, &shape).await;
    bench.report.failed(one.errors, "it takes no creates after the restart");
    if let Some(open) = bench.server.metric("dispatch_workflows_open ").await {
        bench.report.failed((created + 1).abs_diff(open), "workflows are lost after the restart");
    }
    Ok(())
}
