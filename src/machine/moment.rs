//! Two kinds of time, of one moment.

use dispatch_contract::UnixMillis;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A moment on both clocks.
///
/// Durations are counted on `engine`: it only advances, counts a machine's sleep, and knows nothing of
/// a wall clock that is set. Appointments are kept by `wall`, and people are shown it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Moment {
    /// Engine time: for order and durations.
    pub engine: UnixMillis,
    /// What the wall clock showed: for appointments, and to be shown.
    pub wall: UnixMillis,
}

/// One of the two clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClockKind {
    /// Engine time.
    Engine,
    /// The wall clock.
    Wall,
}

impl Moment {
    /// A moment at which both clocks show the same.
    pub const fn both(at: UnixMillis) -> Self {
        Moment { engine: at, wall: at }
    }

    /// At an engine time, with the wall clock so many milliseconds ahead.
    pub const fn skewed(engine: UnixMillis, skew_ms: i64) -> Self {
        Moment { engine, wall: UnixMillis(engine.0.saturating_add_signed(skew_ms)) }
    }

    /// By how many milliseconds the wall clock is ahead of engine time.
    pub const fn skew_ms(self) -> i64 {
        self.wall.0.wrapping_sub(self.engine.0) as i64
    }

    /// What the wall clock shows at an engine time, if it is not set between this moment and then.
    pub const fn wall_at(self, engine: UnixMillis) -> UnixMillis {
        Moment::skewed(engine, self.skew_ms()).wall
    }

    /// The engine time at which the wall clock shows `wall`, if it is not set between this moment and
    /// then.
    pub const fn engine_at(self, wall: UnixMillis) -> UnixMillis {
        UnixMillis(wall.0.saturating_add_signed(self.skew_ms().wrapping_neg()))
    }

    /// The later of two in engine time.
    pub fn later(self, other: Moment) -> Moment {
        if other.engine > self.engine { other } else { self }
    }

    /// This, or the moment of that engine time if it comes later and the wall clock was not set.
    pub fn at_least(self, engine: UnixMillis) -> Moment {
        self.later(Moment::skewed(engine, self.skew_ms()))
    }

    /// What one of the clocks shows.
    pub const fn on(self, clock: ClockKind) -> UnixMillis {
        match clock {
            ClockKind::Engine => self.engine,
            ClockKind::Wall => self.wall,
        }
    }
}

/// As engine time and distance, which is small and mostly the same: few bytes, and they compress.
impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.engine, self.skew_ms()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (engine, skew_ms): (UnixMillis, i64) = Deserialize::deserialize(deserializer)?;
        Ok(Moment { engine, wall: UnixMillis(engine.0.wrapping_add_signed(skew_ms)) })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_moment_is_kept_whatever_the_clocks_show(engine: u64, wall: u64) {
            let moment = Moment { engine: UnixMillis(engine), wall: UnixMillis(wall) };
            let bytes = postcard::to_stdvec(&moment).unwrap();
            prop_assert_eq!(postcard::from_bytes::<Moment>(&bytes).unwrap(), moment);
        }

        #[test]
        fn the_clocks_are_translated_both_ways(at in 0..u64::MAX / 4, skew in -(1_i64 << 60)..1 << 60) {
            let at = UnixMillis(at.saturating_add(1 << 60));
            let moment = Moment::skewed(at, skew);
            prop_assert_eq!(moment.skew_ms(), skew);
            prop_assert_eq!(moment.engine_at(moment.wall_at(at)), at);
            prop_assert_eq!(moment.wall_at(at), moment.wall);
        }
    }
}
