//! `timers`: so many workflows due every second, with many others armed. How late their first
//! messages are: from `send_at` to the provider, timer, commit and call.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{
    Bench, create,
    latency::Latencies,
    load::{self, Outcome, Until},
    pace::Pace,
    waiting::arrivals,
    workflow::{self, Shape},
};
use crate::CommandFailure;
use dispatch::pb::v1::dispatch_service_client::DispatchServiceClient;

/// In flight while workflows are created.
const IN_FLIGHT: usize = 256;

pub(super) async fn run(bench: &mut Bench) -> Result<(), CommandFailure> {
    let rate = bench.args.rate.unwrap_or(1000.0);
    let due = ((rate * bench.time().as_secs_f64()) as u64).max(1);
    let armed = bench.args.count.unwrap_or(10_000);
    let channels = bench.channels(IN_FLIGHT).await?;
    let empty = bench.empty_rpc(&channels, IN_FLIGHT).await;
    let resting = Shape::resting(Duration::from_secs(86_400));
    let disk_before = bench.server.disk_bytes().unwrap_or_default();
    // Numbered behind those that come due.
    let what = "timers: armed";
    let arming = create::creates(what, &channels, IN_FLIGHT, Until::Count(armed), due, &resting);
    let arming = bench_rate(arming.await, bench);

    // Late enough that all are created before the first is due.
    let lead = Duration::from_secs_f64(1.5 * due as f64 / arming.max(1.0)) + Duration::from_secs(2);
    let pace = Pace::new(rate, due);
    let first = SystemTime::now() + lead;
    let call = {
        let clients: Arc<[_]> = channels.iter().cloned().map(DispatchServiceClient::new).collect();
        move |number: u64| {
            let send_at = first + pace.start_of(number);
            let shape = Shape { send_at: Some(send_at), ..Shape::resting(Duration::ZERO) };
            let request = workflow::request(number, &shape);
            let mut client = clients[number as usize % clients.len()].clone();
            async move {
                let created = client.create_workflow(request).await;
                let is_ahead = SystemTime::now() < send_at;
                match created {
                    Ok(_) if is_ahead => Ok(()),
                    Ok(_) => Err("a timer was created after it was due".to_owned()),
                    Err(status) => Err(format!("a create: {status}")),
                }
            }
        }
    };
    let created = load::closed("timers: created", IN_FLIGHT, Until::Count(due), call).await;
    let made = created.latencies.len() as u64;
    bench.report.measured("create", created, None);
    let grown = bench.server.disk_bytes().unwrap_or_default().saturating_sub(disk_before);

    let before = bench.server.usage();
    let fired = arrivals(&mut bench.provider.arrivals, "timers: fired", made).await;
    let used = before.zip(bench.server.usage());
    let mut latencies = Latencies::default();
    let mut early = 0;
    for arrival in fired.iter().filter(|arrival| arrival.step == 1) {
        // The service keeps whole milliseconds.
        let send_at = whole_ms(first + pace.start_of(arrival.number));
        match arrival.wall.duration_since(send_at) {
            Ok(late) => latencies.record(late),
            Err(_) => early += 1,
        }
    }
    let last = fired.iter().map(|arrival| arrival.wall).max().unwrap_or(first);
    let elapsed = last.duration_since(first).unwrap_or_default();
    bench.report.failed(early, "timers fired early");
    bench.report.failed(made.saturating_sub(fired.len() as u64), "timers did not fire");
    let out = Outcome { latencies, elapsed, ..Outcome::default() };
    let row = bench.report.measured("lateness at the provider", out, used);
    bench.report.figure("armed beside them", armed as f64, "workflows");
    bench.append(1, grown / (armed + due).max(1)).await;
    let provider = bench.provider_ceiling().await;
    bench.report.ratio("fired / empty RPC", row.per_second / empty.per_second);
    if let Some(provider) = provider {
        bench.report.ratio("fired / provider directly", row.per_second / provider.per_second);
    }
    Ok(())
}

/// How fast they were created.
fn bench_rate(outcome: Outcome, bench: &mut Bench) -> f64 {
    if outcome.latencies.len() == 0 && outcome.errors == 0 {
        // None were asked for; a cautious guess.
        return 500.0;
    }
    bench.report.measured("create of those that rest", outcome, None).per_second
}

fn whole_ms(time: SystemTime) -> SystemTime {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    SystemTime::UNIX_EPOCH + Duration::from_millis(since.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_cut_to_what_the_service_keeps() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_micros(1_234_999);
        assert_eq!(whole_ms(at), SystemTime::UNIX_EPOCH + Duration::from_millis(1234));
    }
}
