//! `life`: whole lives. Created; the first message accepted and never confirmed; the time passes;
//! the second message accepted; its signed receipt; the end.
//!
//! A burst shows how much gets through; a pace (`--rate`) shows how late the second message is. The
//! lateness is seen from the provider: from the first message's arrival to the second's, less the
//! `expiry_time`. It holds the whole way: answer, commit, timer, commit, call.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::{sync::mpsc, task::JoinSet};

use super::{
    Bench, create,
    latency::Latencies,
    load::{self, Outcome, Until},
    pace::Pace,
    peer,
    progress::{Counter, Progress},
    provider::Arrival,
    report::each,
    webhooks::Webhooks,
    workflow::Shape,
};
use crate::CommandFailure;

/// The provider confirms a message so long after it took it.
const CONFIRM_AFTER: Duration = Duration::from_millis(5);
/// If nothing at all happens for so long, what is missing is lost.
const SILENCE: Duration = Duration::from_secs(30);

/// The service's time comes in whole milliseconds, so that what is in time may seem early by one.
const CLOCK: Duration = Duration::from_millis(1);

/// What was seen of one life.
#[derive(Clone, Copy, Default)]
struct Seen {
    created: Option<Instant>,
    first: Option<Instant>,
    second: Option<Instant>,
    ended: Option<Instant>,
}

/// What was seen of all.
#[derive(Default)]
struct Lives {
    seen: Vec<Seen>,
    ended: u64,
    doubled: u64,
    receipts: Outcome,
}

pub(super) async fn run(bench: &mut Bench) -> Result<(), CommandFailure> {
    let expiry = Duration::from_secs(bench.args.expiry_s);
    let shape = Shape { expiry, condition: "delivered", send_at: None };
    let in_flight = bench.in_flight();
    let count = match bench.args.rate {
        Some(rate) => (rate * bench.time().as_secs_f64()) as u64,
        None => bench.args.count.unwrap_or(10_000),
    };
    let (create, empty) = match bench.args.peer.peer_creates.clone() {
        Some(url) => (peer::creator(&url, expiry)?, None),
        None => {
            let channels = bench.channels(in_flight).await?;
            let empty = bench.empty_rpc(&channels, in_flight).await;
            (create::creator(&channels, &shape), Some(empty))
        }
    };
    let disk_before = bench.server.disk_bytes().unwrap_or_default();
    let before = bench.server.usage();

    let lives = Arc::new(Mutex::new(Lives {
        seen: vec![Seen::default(); count as usize],
        ..Lives::default()
    }));
    let what = "lives: created";
    let began = Instant::now();
    let noted = {
        let lives = Arc::clone(&lives);
        move |number: u64| {
            let (created, lives) = (create(number), Arc::clone(&lives));
            async move {
                created.await?;
                locked(&lives).seen[number as usize].created = Some(Instant::now());
                Ok(())
            }
        }
    };
    let creating = async {
        match bench.args.rate {
            Some(rate) => {
                load::open(what, Pace::new(rate, count), move |index, _| noted(index)).await
            }
            None => load::closed(what, in_flight, Until::Count(count), noted).await,
        }
    };
    let webhooks = Webhooks::new(&bench.server.webhooks, &bench.server.secret);
    let webhooks = webhooks.map_err(|error| CommandFailure::new(error.to_string()))?;
    let arrivals = &mut bench.provider.arrivals;
    let (created, ()) = tokio::join!(creating, follow(arrivals, webhooks, &lives, count));
    let used = before.zip(bench.server.usage());

    let Lives { seen, ended, doubled, receipts } = std::mem::take(&mut *locked(&lives));
    let ends: VecDeque<_> = sorted(seen.iter().filter_map(|life| life.ended));
    let elapsed = ends.back().map_or(Duration::ZERO, |last| last.duration_since(began));
    let made = created.latencies.len() as u64;
    bench.report.measured("create", created, None);
    let between = |from: fn(&Seen) -> Option<Instant>, to: fn(&Seen) -> Option<Instant>| {
        let mut latencies = Latencies::default();
        for (from, to) in seen.iter().filter_map(|life| from(life).zip(to(life))) {
            latencies.record(to.saturating_duration_since(from));
        }
        Outcome { latencies, elapsed, ..Outcome::default() }
    };
    let first = between(|life| life.created, |life| life.first);
    bench.report.measured("created to first message at the provider", first, None);
    let mut late = Latencies::default();
    let mut early = 0;
    for (first, second) in seen.iter().filter_map(|life| life.first.zip(life.second)) {
        let time = second.duration_since(first);
        late.record(time.saturating_sub(expiry));
        early += u64::from(time + CLOCK < expiry);
    }
    let late = Outcome { latencies: late, elapsed, ..Outcome::default() };
    bench.report.measured("lateness of the second message", late, None);
    bench.report.measured("receipt to its 2xx", Outcome { elapsed, ..receipts }, None);
    let whole = between(|life| life.created, |life| life.ended);
    let row = bench.report.measured("whole lives", whole, used);

    bench.report.failed(made - ended.min(made), "lives did not end");
    bench.report.failed(doubled, "messages came twice");
    bench.report.failed(early, "second messages came before their time");
    let succeeded = r#"dispatch_workflows_ended_total{state="SUCCEEDED""#;
    if let Some(told) = bench.server.metric(succeeded).await {
        bench.report.failed(made.abs_diff(told), "lives did not end SUCCEEDED");
    }
    if let Some((before, after)) = used {
        let cpu = each(after.cpu.saturating_sub(before.cpu), row.operations);
        bench.report.figure("server CPU per 1,000 lives", cpu / 1000.0, "s");
    }
    bench.report.figure("lives per second, first create to last end", row.per_second, "1/s");
    if let Some(rate) = middle(&ends) {
        bench.report.figure("lives per second, middle 80 % of the ends", rate, "1/s");
    }
    let Some(empty) = empty else { return Ok(()) };
    let grown = bench.server.disk_bytes().unwrap_or_default().saturating_sub(disk_before);
    let bytes = grown / row.operations.max(1);
    bench.report.figure("disk per life", bytes as f64, "bytes");
    let append = bench.append(in_flight, bytes).await;
    let provider = bench.provider_ceiling().await;
    bench.report.ratio("lives / empty RPC", row.per_second / empty.per_second);
    bench.report.ratio("lives / append and sync", row.per_second / append.per_second);
    if let Some(provider) = provider {
        let ratio = 2.0 * row.per_second / provider.per_second;
        bench.report.ratio("messages / provider directly", ratio);
    }
    Ok(())
}

/// Takes arrivals until every life has ended, or nothing happens any more.
async fn follow(
    arrivals: &mut mpsc::UnboundedReceiver<Arrival>,
    webhooks: Webhooks,
    lives: &Arc<Mutex<Lives>>,
    count: u64,
) {
    let progress = Progress::of("lives: ended");
    let mut receipts = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            Some(done) = receipts.join_next(), if !receipts.is_empty() => {
                if done.is_err() || locked(lives).ended >= count {
                    return;
                }
            }
            arrival = arrivals.recv() => {
                let Some(arrival) = arrival else { return };
                if note(&mut locked(lives), &arrival) && arrival.step == 2 {
                    let (webhooks, lives) = (webhooks.clone(), Arc::clone(lives));
                    receipts.spawn(confirm(webhooks, arrival, lives, progress.counter()));
                }
            }
            () = tokio::time::sleep(SILENCE) => return,
        }
    }
}

/// Whether the message came for the first time.
fn note(lives: &mut Lives, arrival: &Arrival) -> bool {
    let Some(life) = lives.seen.get_mut(arrival.number as usize) else { return false };
    let place = if arrival.step == 1 { &mut life.first } else { &mut life.second };
    if place.is_some() {
        lives.doubled += 1;
        return false;
    }
    *place = Some(arrival.at);
    true
}

async fn confirm(webhooks: Webhooks, arrival: Arrival, lives: Arc<Mutex<Lives>>, counter: Counter) {
    tokio::time::sleep(CONFIRM_AFTER).await;
    let asked = Instant::now();
    let told = webhooks.tell(&arrival, "delivered").await;
    let mut lives = locked(&lives);
    let is_told = told.is_ok();
    lives.receipts.take(told, asked.elapsed());
    if is_told {
        lives.ended += 1;
        lives.seen[arrival.number as usize].ended = Some(Instant::now());
        counter.one();
    }
}

fn locked(lives: &Mutex<Lives>) -> std::sync::MutexGuard<'_, Lives> {
    lives.lock().unwrap_or_else(PoisonError::into_inner)
}

fn sorted(instants: impl Iterator<Item = Instant>) -> VecDeque<Instant> {
    let mut all: Vec<_> = instants.collect();
    all.sort_unstable();
    all.into()
}

/// How many a second between the tenth and the ninetieth part of a hundred.
fn middle(sorted: &VecDeque<Instant>) -> Option<f64> {
    let (tenth, ninetieth) = (sorted.len() / 10, sorted.len() * 9 / 10);
    let time = sorted.get(ninetieth)?.duration_since(*sorted.get(tenth)?);
    (!time.is_zero()).then(|| (ninetieth - tenth) as f64 / time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_leaves_the_slow_ends_out() {
        let began = Instant::now();
        // A hundred a second, but for a first and a last that took their time.
        let steady = (0..100).map(|at| began + Duration::from_millis(5000 + at * 10));
        let ends = [began, began + Duration::from_secs(60)];
        let rate = middle(&sorted(steady.chain(ends))).unwrap();
        assert!((rate - 100.0).abs() < 2.0, "{rate}");
        assert_eq!(middle(&sorted([].into_iter())), None);
        assert_eq!(middle(&sorted([began].into_iter())), None);
    }

    #[test]
    fn a_message_that_comes_twice_is_counted_and_not_confirmed_again() {
        let mut lives = Lives { seen: vec![Seen::default(); 2], ..Lives::default() };
        let arrival = |number| Arrival {
            number,
            step: 2,
            at: Instant::now(),
            wall: std::time::SystemTime::now(),
            provider_id: uuid::Uuid::nil(),
            client_ref: String::new(),
        };
        assert!(note(&mut lives, &arrival(1)));
        assert!(!note(&mut lives, &arrival(1)));
        assert!(!note(&mut lives, &arrival(7)), "another run's");
        assert_eq!(lives.doubled, 1);
    }
}
