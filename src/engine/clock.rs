//! Time for the engine.
//!
//! Durations are counted on engine time, which only advances and counts a machine's sleep.
//! Appointments are kept by the wall clock, which may be set at any moment, by hours, in either
//! direction. [`Clock::now`] is engine time.

mod system;
mod test_clock;
mod timekeeper;

use std::time::Duration;

use dispatch_contract::{Busy, Clock, UnixMillis};
pub use system::{MachineClocks, SystemClock};
pub use test_clock::TestClock;
pub use timekeeper::{Readings, Timekeeper};

use crate::{
    machine::{ClockKind, Moment},
    store::ClockNote,
};

/// A clock that also knows how the engine waits.
pub trait EngineClock: Clock {
    /// Now, on both clocks. The wall clock never shows more than it did.
    fn moment(&self) -> Moment;

    /// The machine's own wall clock, even where the others are virtual. Callers date their tokens by
    /// it, and judge the signatures of callbacks by it.
    fn real_wall(&self) -> UnixMillis;

    /// How long to sleep, in real time, before looking again whether it is time for `until`; `None` to
    /// wait for a poke. May be less than what is left: the wall clock can be set meanwhile.
    fn real_wait(&self, until: Wake) -> Option<Duration>;

    /// When something of the engine's is due next, for clocks that jump to it.
    fn set_alarm(&self, at: Wake);

    /// Held while something is under way that a test clock must not overtake.
    fn busy(&self) -> Busy;

    /// How to wake the engine when time has moved by itself.
    fn on_move(&self, poke: Box<dyn Fn() + Send + Sync>);

    /// How it stands, for the next life.
    fn note(&self) -> ClockNote;
}

/// When something is due next: whichever of the two comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wake {
    /// In engine time.
    pub engine: Option<UnixMillis>,
    /// By the wall clock.
    pub wall: Option<UnixMillis>,
}

impl Wake {
    /// Never by itself.
    pub const NEVER: Wake = Wake { engine: None, wall: None };

    /// Now or at an engine time.
    pub const fn at(engine: UnixMillis) -> Wake {
        Wake { engine: Some(engine), wall: None }
    }

    /// The same, or at an engine time if that comes first.
    #[must_use]
    pub fn or_at(self, engine: UnixMillis) -> Wake {
        Wake { engine: Some(self.engine.map_or(engine, |at| at.min(engine))), ..self }
    }

    /// Whether it is time.
    pub fn is_due(self, now: Moment) -> bool {
        self.left(now).is_some_and(|left| left.is_zero())
    }

    /// The engine time at which it is due, if the wall clock is not set after `now`.
    pub fn expected(self, now: Moment) -> Option<UnixMillis> {
        self.engine.into_iter().chain(self.wall.map(|at| now.engine_at(at))).min()
    }

    /// How long that is from now.
    fn left(self, now: Moment) -> Option<Duration> {
        let left = |clock: ClockKind, at: Option<UnixMillis>| at.map(|at| at.since(now.on(clock)));
        let both = [left(ClockKind::Engine, self.engine), left(ClockKind::Wall, self.wall)];
        both.into_iter().flatten().min()
    }
}
