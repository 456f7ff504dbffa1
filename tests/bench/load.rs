//! The two ways of asking: as fast as answers come, and at a given pace.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::task::JoinSet;

use super::{latency::Latencies, pace::Pace, progress::Progress};

/// When a closed loop ends.
#[derive(Clone, Copy, Debug)]
pub(super) enum Until {
    /// After so long.
    Time(Duration),
    /// After so many.
    Count(u64),
}

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Of what succeeded.
    pub(super) latencies: Latencies,
    /// How many failed.
    pub(super) errors: u64,
    /// What the first one said.
    pub(super) first_error: Option<String>,
    /// From the first start to the last end.
    pub(super) elapsed: Duration,
}

impl Outcome {
    pub(super) fn take(&mut self, result: Result<(), String>, latency: Duration) {
        match result {
            Ok(()) => self.latencies.record(latency),
            Err(error) => {
                self.errors += 1;
                self.first_error.get_or_insert(error);
            }
        }
    }

    fn merge(&mut self, other: Outcome) {
        self.latencies.merge(other.latencies);
        self.errors += other.errors;
        self.first_error = self.first_error.take().or(other.first_error);
    }
}

/// A closed loop: `in_flight` callers, each asking again as soon as it is answered.
pub(super) async fn closed<F, Fut>(what: &str, in_flight: usize, until: Until, call: F) -> Outcome
where
    F: Fn(u64) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = Result<(), String>> + Send,
{
    let progress = Progress::of(what);
    let next = Arc::new(AtomicU64::new(0));
    let began = Instant::now();
    let mut callers = JoinSet::new();
    for _ in 0..in_flight {
        let (next, call, counter) = (Arc::clone(&next), call.clone(), progress.counter());
        callers.spawn(async move {
            let mut outcome = Outcome::default();
            loop {
                let is_over = match until {
                    Until::Time(time) => began.elapsed() >= time,
                    Until::Count(_) => false,
                };
                let index = next.fetch_add(1, Ordering::Relaxed);
                if is_over || matches!(until, Until::Count(count) if index >= count) {
                    return outcome;
                }
                let asked = Instant::now();
                let result = call(index).await;
                outcome.take(result, asked.elapsed());
                counter.one();
            }
        });
    }
    all(callers, began).await
}

/// An open loop: each call starts at its time, and is measured from there.
pub(super) async fn open<F, Fut>(what: &str, pace: Pace, call: F) -> Outcome
where
    F: Fn(u64, Instant) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = Result<(), String>> + Send,
{
    let progress = Progress::of(what);
    let began = Instant::now();
    let mut calls = JoinSet::new();
    let mut outcome = Outcome::default();
    let mut started = 0;
    let mut tick = tokio::time::interval(Duration::from_millis(1));
    while started < pace.due(Duration::MAX) {
        tick.tick().await;
        let due = pace.due(began.elapsed());
        for index in started..due {
            let (call, counter) = (call.clone(), progress.counter());
            let intended = began + pace.start_of(index);
            calls.spawn(async move {
                let mut outcome = Outcome::default();
                let result = call(index, intended).await;
                outcome.take(result, intended.elapsed());
                counter.one();
                outcome
            });
        }
        started = due;
        while let Some(Ok(one)) = calls.try_join_next() {
            outcome.merge(one);
        }
    }
    outcome.merge(all(calls, began).await);
    outcome.elapsed = began.elapsed();
    outcome
}

async fn all(mut callers: JoinSet<Outcome>, began: Instant) -> Outcome {
    let mut outcome = Outcome::default();
    while let Some(one) = callers.join_next().await {
        match one {
            Ok(one) => outcome.merge(one),
            Err(error) => outcome.take(Err(error.to_string()), Duration::ZERO),
        }
    }
    outcome.elapsed = began.elapsed();
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_closed_loop_makes_exactly_so_many_calls() {
        let call =
            |index| async move { if index == 3 { Err("the fourth".to_owned()) } else { Ok(()) } };
        let outcome = closed("", 8, Until::Count(100), call).await;
        assert_eq!((outcome.latencies.len(), outcome.errors), (99, 1));
        assert_eq!(outcome.first_error.as_deref(), Some("the fourth"));
    }

    #[tokio::test]
    async fn an_open_loop_counts_the_wait_behind_a_stall() {
        // The first call blocks the only thread for 80 ms; those behind it did not ask late.
        let call = |index, _| async move {
            if index == 0 {
                std::thread::sleep(Duration::from_millis(80));
            }
            Ok(())
        };
        let outcome = open("", Pace::new(1000.0, 50), call).await;
        assert_eq!(outcome.latencies.len(), 50);
        let quantiles = outcome.latencies.quantiles().unwrap();
        assert!(quantiles.p50_ms > 30.0, "{quantiles:?}");
    }
}
