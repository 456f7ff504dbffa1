//! How much may still be written, and what follows from that.
//!
//! A full disk ends the service: a commit that fails is fatal. So it is told of before, and below a
//! reserve creates are refused, while what was promised goes on: receipts, answers, cancels, timers.

use std::time::{Duration, Instant};

use crate::telemetry::Metrics;

/// How often the disk is asked.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often it is said again that there is little left.
const SAY_EVERY: Duration = Duration::from_secs(600);
/// How much more than the reserve there must be until creates are taken again, in bytes: so that it does
/// not go to and fro.
const SLACK: u64 = 1024 * 1024;

/// The bounds of free space, in bytes; 0 is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpaceLimits {
    /// Below this it is told of.
    pub warn: u64,
    /// Below this creates are refused.
    pub reserve: u64,
}

/// Watches the space.
#[derive(Debug)]
pub(super) struct Space {
    limits: SpaceLimits,
    looked: Option<Instant>,
    said: Option<(Level, Instant)>,
    level: Level,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Enough,
    Low,
    Short,
}

impl Space {
    pub(super) fn new(limits: SpaceLimits) -> Self {
        Space { limits, looked: None, said: None, level: Level::Enough }
    }

    /// Looks, if it is time to, and says whether creates are refused; `None` if it was not time.
    pub(super) fn look(
        &mut self,
        now: Instant,
        free: impl FnOnce() -> Option<u64>,
        metrics: &Metrics,
    ) -> Option<bool> {
        if self.looked.is_some_and(|at| now.saturating_duration_since(at) < LOOK_EVERY) {
            return None;
        }
        self.looked = Some(now);
        let free = free();
        self.level = self.level_of(free.unwrap_or(u64::MAX));
        let is_short = self.level == Level::Short;
        metrics.space(free, is_short);
        self.say(now, free.unwrap_or(u64::MAX));
        Some(is_short)
    }

    fn level_of(&self, free: u64) -> Level {
        let slack = if self.level == Level::Short { SLACK } else { 0 };
        if free < self.limits.reserve.saturating_add(slack) && self.limits.reserve > 0 {
            Level::Short
        } else if free < self.limits.warn {
            Level::Low
        } else {
            Level::Enough
        }
    }

    fn say(&mut self, now: Instant, free: u64) {
        let before = self.said.map_or(Level::Enough, |(level, _)| level);
        let is_old = |(_, at): (Level, Instant)| now.saturating_duration_since(at) >= SAY_EVERY;
        let is_news = self.level != before;
        if !is_news && (self.level == Level::Enough || !self.said.is_some_and(is_old)) {
            return;
        }
        self.said = Some((self.level, now));
        let free_mib = free / (1024 * 1024);
        match self.level {
            Level::Enough => tracing::info!(free_mib, "there is room on the store's disk again"),
            Level::Low => tracing::warn!(
                free_mib,
                "the store's disk is filling up: make room before it is full (store.warn_free_mib)"
            ),
            Level::Short => tracing::error!(
                free_mib,
                "the store's disk is nearly full: creates are refused until there is room; receipts \
                 and cancels are taken (store.reserve_mib)"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    #[test]
    fn creates_are_refused_below_the_reserve_and_taken_again_a_little_above_it() {
        let limits = SpaceLimits { warn: 100 * MIB, reserve: 10 * MIB };
        let (mut space, metrics, start) = (Space::new(limits), Metrics::new(), Instant::now());
        let mut look =
            |second, free| space.look(start + Duration::from_secs(second), || Some(free), &metrics);
        assert_eq!(look(0, 200 * MIB), Some(false));
        assert_eq!(look(0, 0), None, "not time yet");
        assert_eq!(look(1, 50 * MIB), Some(false));
        assert_eq!(look(2, 9 * MIB), Some(true));
        assert_eq!(look(3, 10 * MIB + 1), Some(true));
        assert_eq!(look(4, 12 * MIB), Some(false));
        assert!(metrics.render().contains("dispatch_store_free_bytes 12582912"));
    }

    #[test]
    fn what_is_not_known_or_not_bounded_refuses_nothing() {
        let metrics = Metrics::new();
        let bounded = SpaceLimits { warn: MIB, reserve: MIB };
        assert_eq!(Space::new(bounded).look(Instant::now(), || None, &metrics), Some(false));
        let unbounded = SpaceLimits::default();
        assert_eq!(Space::new(unbounded).look(Instant::now(), || Some(0), &metrics), Some(false));
    }
}
