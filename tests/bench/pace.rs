//! An open loop's timetable: when each operation should start, whatever became of those before it.
//! Latency is measured from there, so that a stall of the service counts for all whom it made wait.

use std::time::Duration;

#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    per_second: f64,
    count: u64,
}

impl Pace {
    /// So many a second, `count` in all.
    pub(super) fn new(per_second: f64, count: u64) -> Self {
        Pace { per_second: per_second.max(f64::MIN_POSITIVE), count }
    }

    /// When the operation `index` should start.
    pub(super) fn start_of(&self, index: u64) -> Duration {
        Duration::try_from_secs_f64(index as f64 / self.per_second).unwrap_or(Duration::MAX)
    }

    /// How many should have started by then.
    pub(super) fn due(&self, elapsed: Duration) -> u64 {
        ((elapsed.as_secs_f64() * self.per_second) as u64).saturating_add(1).min(self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_is_what_should_have_started() {
        let pace = Pace::new(1000.0, 10_000);
        assert_eq!(pace.due(Duration::ZERO), 1);
        for index in [1, 7, 999, 9_999] {
            let start = pace.start_of(index);
            assert_eq!(start, Duration::from_millis(index));
            assert_eq!(pace.due(start + Duration::from_micros(1)), index + 1);
            assert_eq!(pace.due(start - Duration::from_micros(1)), index);
        }
    }

    #[test]
    fn a_pace_ends() {
        let pace = Pace::new(3.0, 5);
        assert_eq!(pace.due(Duration::from_secs(3600)), 5);
        assert_eq!(Pace::new(3.0, 0).due(Duration::from_secs(1)), 0);
        assert_eq!(Pace::new(0.0, 9).start_of(1), Duration::MAX);
    }
}
