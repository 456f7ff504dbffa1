//! `receipts`: a signed webhook comes in, its decision is durable, and the next message goes out.
//!
//! Each workflow waits with its first message accepted; the provider gives that message up, and the
//! second must go out at once. First as fast as webhooks are taken, then at half that pace (or at
//! `--rate`): a service is not run at its limit.

use std::{
    ops::Range,
    sync::{Arc, OnceLock},
    time::Instant,
};

use super::{
    Bench,
    latency::Latencies,
    load::{self, Outcome, Until},
    pace::Pace,
    provider::Arrival,
    report::Row,
    waiting::{arrivals, waiting},
    webhooks::Webhooks,
};
use crate::CommandFailure;

/// What both halves need.
#[derive(Clone)]
struct Told {
    webhooks: Webhooks,
    waiting: Arc<Vec<Arrival>>,
    /// When each webhook was to be posted.
    asked: Arc<Vec<OnceLock<Instant>>>,
}

pub(super) async fn run(bench: &mut Bench) -> Result<(), CommandFailure> {
    let count = bench.args.count.unwrap_or(10_000).max(2);
    let waiting = Arc::new(waiting(bench, count).await?);
    let in_flight = bench.in_flight();
    let channels = bench.channels(in_flight).await?;
    let empty = bench.empty_rpc(&channels, in_flight).await;
    let webhooks = Webhooks::new(&bench.server.webhooks, &bench.server.secret);
    let webhooks = webhooks.map_err(|error| CommandFailure::new(error.to_string()))?;
    let asked = Arc::new((0..count).map(|_| OnceLock::new()).collect());
    let told = Told { webhooks, waiting, asked };

    let disk_before = bench.server.disk_bytes().unwrap_or_default();
    let full = half(bench, "full load", &told, 0..count / 2, None).await;
    let grown = bench.server.disk_bytes().unwrap_or_default().saturating_sub(disk_before);
    let pace = bench.args.rate.unwrap_or(full.per_second / 2.0);
    let name = format!("{pace:.0} a second");
    half(bench, &name, &told, count / 2..count, Some(pace)).await;

    let append = bench.append(in_flight, grown / full.operations.max(1)).await;
    let provider = bench.provider_ceiling().await;
    bench.report.ratio("receipts / empty RPC", full.per_second / empty.per_second);
    bench.report.ratio("receipts / append and sync", full.per_second / append.per_second);
    if let Some(provider) = provider {
        bench.report.ratio("messages / provider directly", full.per_second / provider.per_second);
    }
    Ok(())
}

/// Gives up the first messages of some workflows, and waits for their second ones.
async fn half(
    bench: &mut Bench,
    load_name: &str,
    told: &Told,
    numbers: Range<u64>,
    pace: Option<f64>,
) -> Row {
    let (first, count) = (numbers.start, numbers.end - numbers.start);
    let before = bench.server.usage();
    let began = Instant::now();
    let what = format!("receipts, {load_name}");
    let post = |told: Told| {
        move |index: u64, from: Instant| {
            let told = told.clone();
            async move {
                let number = (first + index) as usize;
                // Set once: each number is told once.
                let _ = told.asked[number].set(from);
                told.webhooks.tell(&told.waiting[number], "undeliverable").await
            }
        }
    };
    let post = post(told.clone());
    let in_flight = bench.in_flight();
    let posting = async {
        match pace {
            Some(rate) => load::open(&what, Pace::new(rate, count), post).await,
            None => {
                let now = move |index| post(index, Instant::now());
                load::closed(&what, in_flight, Until::Count(count), now).await
            }
        }
    };
    let seconds = arrivals(&mut bench.provider.arrivals, "second messages", count);
    let (posted, seconds) = tokio::join!(posting, seconds);
    let elapsed = began.elapsed();
    let used = before.zip(bench.server.usage());
    bench.report.measured(format!("webhook to its 2xx, {load_name}"), posted, None);
    let mut latencies = Latencies::default();
    for arrival in &seconds {
        if let (2, Some(asked)) = (arrival.step, told.asked[arrival.number as usize].get()) {
            latencies.record(arrival.at.saturating_duration_since(*asked));
        }
    }
    let missing = count.saturating_sub(latencies.len() as u64);
    bench.report.failed(missing, "second messages did not come");
    let out = Outcome { latencies, elapsed, ..Outcome::default() };
    bench.report.measured(format!("webhook to the next message out, {load_name}"), out, used)
}
