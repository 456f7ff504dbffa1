//! Engine time, reckoned from what a machine's clocks show.
//!
//! Engine time is the clock that counts from the machine's boot and goes on while it sleeps. From one
//! life of the service to the next it goes on: within one boot by what that clock says, otherwise by what
//! the wall clock says that passed, and never back. Pure: the clocks are read elsewhere.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use dispatch_contract::UnixMillis;
use uuid::Uuid;

use crate::{machine::Moment, store::ClockNote};

/// Two clocks read one after the other, in whole milliseconds, seem to differ by this much more or less
/// from time to time.
const JITTER_MS: i64 = 2;

/// What a machine's clocks show.
#[derive(Clone, Copy, Debug)]
pub struct Readings {
    /// Which boot of the machine it is; `None` where that cannot be told.
    pub boot: Option<Uuid>,
    /// For how long it has run since then, its sleep included.
    pub since_boot: Duration,
    /// The wall clock.
    pub wall: UnixMillis,
}

/// Tells moments from readings.
#[derive(Debug)]
pub struct Timekeeper {
    /// Engine time at the boot; wraps, since it may have begun after that.
    engine_at_boot: u64,
    /// By how much the wall clock was ahead of engine time when it was last read, in milliseconds.
    skew_ms: AtomicI64,
}

impl Timekeeper {
    /// Goes on from what an earlier life noted, and from the newest moment in its journal, which counts
    /// where nothing was noted. If there was no earlier life both clocks show the same.
    pub fn go_on(now: Readings, noted: Option<ClockNote>, newest: Moment) -> Self {
        let since_boot_ms = whole_ms(now.since_boot);
        let is_same_boot = |noted: &ClockNote| {
            // A clock that went back since then is another's, whatever its name.
            noted.boot.is_some() && noted.boot == now.boot && noted.since_boot_ms <= since_boot_ms
        };
        let engine = match noted.filter(is_same_boot) {
            Some(noted) => {
                noted.at.engine.plus(Duration::from_millis(since_boot_ms - noted.since_boot_ms))
            }
            None => {
                let last = noted.map_or(newest, |noted| noted.at.later(newest));
                last.engine.plus(now.wall.since(last.wall))
            }
        };
        let engine = engine.max(newest.engine);
        let skew_ms = now.wall.0.wrapping_sub(engine.0) as i64;
        let engine_at_boot = engine.0.wrapping_sub(since_boot_ms);
        Timekeeper { engine_at_boot, skew_ms: AtomicI64::new(skew_ms) }
    }

    /// Engine time, so long after the boot.
    pub fn engine(&self, since_boot: Duration) -> UnixMillis {
        UnixMillis(self.engine_at_boot.wrapping_add(whole_ms(since_boot)))
    }

    /// The moment of a reading. The wall clock may be shown up to 3 ms late, and never early: so both
    /// clocks keep the same distance as long as nobody sets one.
    pub fn moment(&self, now: Readings) -> Moment {
        let engine = self.engine(now.since_boot);
        let seen = now.wall.0.wrapping_sub(engine.0) as i64;
        let kept = self.skew_ms.load(Ordering::Relaxed);
        if (kept..=kept.saturating_add(JITTER_MS)).contains(&seen) {
            return Moment::skewed(engine, kept);
        }
        // The least that was seen, so that no appointment comes early.
        let skew_ms = if seen < kept { seen } else { seen - 1 };
        self.skew_ms.store(skew_ms, Ordering::Relaxed);
        Moment::skewed(engine, skew_ms)
    }

    /// What the next life goes on from.
    pub fn note(&self, now: Readings) -> ClockNote {
        // As it was read: what passes until the next boot is reckoned from it.
        let at = Moment { engine: self.engine(now.since_boot), wall: now.wall };
        ClockNote { boot: now.boot, since_boot_ms: whole_ms(now.since_boot), at }
    }
}

fn whole_ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000;
    const WALL: u64 = 1_800_000_000_000;

    fn reading(since_boot_ms: u64, wall: u64) -> Readings {
        Readings {
            boot: boot(1),
            since_boot: Duration::from_millis(since_boot_ms),
            wall: UnixMillis(wall),
        }
    }

    fn boot(number: u128) -> Option<Uuid> {
        Some(Uuid::from_u128(number))
    }

    /// A life that begins at one reading and is noted at another.
    fn life(
        boot: Option<Uuid>,
        noted: Option<ClockNote>,
        readings: [Readings; 2],
    ) -> (Moment, ClockNote) {
        let [from, to] = readings.map(|reading| Readings { boot, ..reading });
        let clock = Timekeeper::go_on(from, noted, Moment::default());
        (clock.moment(from), clock.note(to))
    }

    #[test]
    fn a_new_store_begins_with_both_clocks_alike() {
        let (began, _) = life(boot(1), None, [reading(7, WALL); 2]);
        assert_eq!(began, Moment::both(UnixMillis(WALL)));
    }

    #[test]
    fn within_a_boot_the_wall_clock_says_nothing_about_engine_time() {
        for step in [-(3 * HOUR as i64), -10_000, 0, 2 * HOUR as i64] {
            let (began, note) = life(boot(1), None, [reading(5, WALL), reading(1005, WALL + 1000)]);
            assert_eq!(note.at.engine, began.engine.plus(Duration::from_secs(1)));
            // Down for a minute; meanwhile the wall clock was set.
            let later = reading(61_005, (WALL + 61_000).saturating_add_signed(step));
            let (next, _) = life(boot(1), Some(note), [later; 2]);
            assert_eq!(next.engine, UnixMillis(WALL + 61_000), "{step}");
            assert_eq!(next.wall, later.wall, "{step}");
        }
    }

    #[test]
    fn over_a_boot_what_the_wall_clock_advanced_counts_and_never_less_than_nothing() {
        // Two hours fast.
        let fast = WALL + 2 * HOUR;
        let (_, note) = life(boot(1), None, [reading(5, fast), reading(1005, fast + 1000)]);
        let engine = note.at.engine;
        let (next, _) = life(boot(2), Some(note), [reading(0, WALL + 61_000); 2]);
        assert_eq!((next.engine, next.wall), (engine, UnixMillis(WALL + 61_000)));
        let (next, _) = life(boot(2), Some(note), [reading(0, fast + 61_000); 2]);
        assert_eq!(next.engine, engine.plus(Duration::from_secs(60)));
        // Set right while it ran, and noted after that: the downtime is told rightly.
        let (_, note) = life(boot(1), None, [reading(5, fast), reading(2005, WALL + 2000)]);
        let (next, _) = life(boot(2), Some(note), [reading(0, WALL + 62_000); 2]);
        assert_eq!(next.engine, note.at.engine.plus(Duration::from_secs(60)));
        // A boot of no name is never the same as another.
        let (_, note) = life(None, None, [reading(5, WALL), reading(1005, WALL + 1000)]);
        let (next, _) = life(None, Some(note), [reading(500_000, WALL + 2000); 2]);
        assert_eq!(next.engine, UnixMillis(WALL + 2000));
    }

    #[test]
    fn engine_time_is_never_before_the_journal() {
        let newest = Moment::skewed(UnixMillis(WALL + HOUR), -(HOUR as i64));
        let clock = Timekeeper::go_on(reading(5, WALL + 1000), None, newest);
        assert_eq!(clock.engine(Duration::from_millis(5)), UnixMillis(WALL + HOUR + 1000));
        let note =
            ClockNote { boot: boot(1), since_boot_ms: 0, at: Moment::both(UnixMillis(WALL)) };
        let clock = Timekeeper::go_on(reading(5, WALL), Some(note), newest);
        assert_eq!(clock.engine(Duration::from_millis(5)), newest.engine);
    }

    #[test]
    fn the_wall_clock_is_never_ahead_of_itself_and_stays_beside_engine_time() {
        let clock = Timekeeper::go_on(reading(0, WALL), None, Moment::default());
        let mut skews = std::collections::BTreeSet::new();
        for ms in 0..10_000_u64 {
            // The wall clock's milliseconds change at another instant than the others'.
            let reading = reading(ms, WALL + ms + ms % 2);
            let moment = clock.moment(reading);
            assert!(moment.wall <= reading.wall && reading.wall.0 - moment.wall.0 < 4);
            skews.insert(moment.skew_ms());
        }
        assert_eq!(skews.len(), 1, "{skews:?}");
        for (step, at) in [(2 * HOUR as i64, 20_000), (-(HOUR as i64), 30_000), (4, 40_000)] {
            let reading = reading(at, (WALL + at).saturating_add_signed(step));
            let moment = clock.moment(reading);
            assert!(moment.wall <= reading.wall && reading.wall.0 - moment.wall.0 < 4, "{step}");
            assert_eq!(moment.engine, UnixMillis(WALL + at), "{step}");
        }
    }
}
