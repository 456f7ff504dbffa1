//! What anybody outside can cause is logged rarely, and counted by the metrics.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

const PAUSE: Duration = Duration::from_secs(10);

/// One kind of log line, at most once in ten seconds.
#[derive(Debug, Default)]
pub(super) struct Rarely(Mutex<Told>);

#[derive(Debug, Default)]
struct Told {
    at: Option<Instant>,
    kept_back: u64,
}

impl Rarely {
    /// How many lines were kept back, if it is time for one again.
    pub(super) fn may_tell(&self) -> Option<u64> {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if told.at.is_some_and(|at| at.elapsed() < PAUSE) {
            told.kept_back += 1;
            return None;
        }
        told.at = Some(Instant::now());
        Some(std::mem::take(&mut told.kept_back))
    }
}
