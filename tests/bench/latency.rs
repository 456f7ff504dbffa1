//! Latencies, kept one by one: a run has at most some millions, and nothing is rounded away.

use std::time::Duration;

use serde::Serialize;

/// What was measured, in microseconds.
#[derive(Clone, Debug, Default)]
pub(super) struct Latencies(Vec<u32>);

/// Where the measured latencies lie, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Quantiles {
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    #[serde(rename = "p99_9_ms")]
    pub(super) p999_ms: f64,
    pub(super) max_ms: f64,
}

impl Latencies {
    pub(super) fn record(&mut self, latency: Duration) {
        // An hour and more is all the same.
        self.0.push(u32::try_from(latency.as_micros()).unwrap_or(u32::MAX));
    }

    pub(super) fn merge(&mut self, other: Latencies) {
        self.0.extend(other.0);
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// `None` if nothing was measured.
    pub(super) fn quantiles(mut self) -> Option<Quantiles> {
        self.0.sort_unstable();
        let at = |per_mille| rank(self.0.len(), per_mille).map(|rank| ms(self.0[rank]));
        Some(Quantiles { p50_ms: at(500)?, p99_ms: at(990)?, p999_ms: at(999)?, max_ms: at(1000)? })
    }
}

/// The nearest rank: the smallest of `count` sorted values that at least so many per mille of them
/// do not exceed.
fn rank(count: usize, per_mille: usize) -> Option<usize> {
    (count * per_mille).div_ceil(1000).max(1).checked_sub(1).filter(|rank| *rank < count)
}

fn ms(micros: u32) -> f64 {
    f64::from(micros) / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(micros: impl IntoIterator<Item = u64>) -> Option<Quantiles> {
        let mut latencies = Latencies::default();
        micros.into_iter().for_each(|micros| latencies.record(Duration::from_micros(micros)));
        latencies.quantiles()
    }

    #[test]
    fn quantiles_are_values_that_were_measured() {
        let all = of((1..=1000).rev().map(|ms| ms * 1000)).unwrap();
        assert_eq!(all, Quantiles { p50_ms: 500.0, p99_ms: 990.0, p999_ms: 999.0, max_ms: 1000.0 });
        let two = of([1000, 9000]).unwrap();
        assert_eq!((two.p50_ms, two.p99_ms), (1.0, 9.0));
    }

    #[test]
    fn one_slow_of_a_hundred_is_beyond_p99_and_one_of_ninety_nine_is_not() {
        let with_one_slow = |fast: u64| of((0..fast).map(|_| 1).chain([1_000_000])).unwrap();
        assert_eq!(with_one_slow(99).p99_ms, 0.001);
        assert_eq!(with_one_slow(98).p99_ms, 1000.0);
        assert_eq!(with_one_slow(99).max_ms, 1000.0);
    }

    #[test]
    fn nothing_measured_has_no_quantiles_and_an_eternity_fits() {
        assert_eq!(of([]), None);
        assert_eq!(of([u64::MAX]).unwrap().max_ms, f64::from(u32::MAX) / 1000.0);
    }
}
