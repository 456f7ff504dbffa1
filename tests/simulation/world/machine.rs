//! The machine that the service runs on, as far as it has clocks: the production clock reads them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use dispatch::{
    engine::{EngineClock, MachineClocks, SystemClock, Wake},
    machine::Moment,
    store::ClockNote,
};
use dispatch_contract::{Busy, Clock, UnixMillis};
use uuid::Uuid;

use super::*;

/// Goes on by the world's own time, which is the true one.
#[derive(Clone, Debug)]
pub struct Machine(Arc<Mutex<State>>);

#[derive(Clone, Copy, Debug)]
struct State {
    now: u64,
    boot: u128,
    booted_at: u64,
    wall_step: i64,
    times_set: u32,
    rewinds: u32,
}

/// How it was when the service noted the clocks.
#[derive(Clone, Copy, Debug)]
pub struct Noted {
    pub at: u64,
    boot: u128,
    times_set: u32,
    rewinds: u32,
}

impl Machine {
    pub fn new(now: u64) -> Machine {
        let (boot, booted_at) = (1, now - 1000);
        let (wall_step, times_set, rewinds) = (0, 0, 0);
        let state = State { now, boot, booted_at, wall_step, times_set, rewinds };
        Machine(Arc::new(Mutex::new(state)))
    }

    pub fn now(&self) -> u64 {
        self.state().now
    }

    pub fn set_now(&self, now: u64) {
        self.state().now = now;
    }

    pub fn goes_on(&self, ms: u64) {
        self.state().now += ms;
    }

    pub fn set_wall(&self, by_ms: i64) {
        let mut state = self.state();
        state.wall_step += by_ms;
        state.times_set += u32::from(by_ms != 0);
    }

    pub fn reboot(&self) {
        let mut state = self.state();
        state.boot += 1;
        state.booted_at = state.now;
    }

    /// It is put back to what it was so long ago, its wall clock excepted: that is set again at once.
    pub fn rewind(&self, by_ms: u64) {
        let mut state = self.state();
        state.booted_at = state.now.min(state.booted_at + by_ms);
        state.rewinds += u32::from(by_ms > 0);
    }

    /// How it is now, for a comparison with later.
    pub fn noted(&self) -> Noted {
        let State { now, boot, times_set, rewinds, .. } = *self.state();
        Noted { at: now, boot, times_set, rewinds }
    }

    /// How much time passed since then as the service can know it, and how exactly: within a boot, and
    /// over one if nobody set the wall clock; of a machine that was put back nothing is known.
    pub fn passed(&self, noted: &Noted) -> Option<(u64, u64)> {
        let State { now, boot, times_set, rewinds, .. } = *self.state();
        let is_known = noted.boot == boot || noted.times_set == times_set;
        let is_known = is_known && noted.rewinds == rewinds;
        // The journal's moments show the wall clock up to 3 ms late.
        let leeway_ms = if noted.boot == boot { 0 } else { 3 };
        is_known.then_some((now - noted.at, leeway_ms))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MachineClocks for Machine {
    fn boot(&self) -> Option<Uuid> {
        Some(Uuid::from_u128(self.state().boot))
    }

    fn since_boot(&self) -> Duration {
        let state = self.state();
        Duration::from_millis(state.now - state.booted_at)
    }

    fn wall(&self) -> UnixMillis {
        let state = self.state();
        UnixMillis(state.now.saturating_add_signed(state.wall_step))
    }
}

/// The production clock, and what it was told to wake the writer for.
#[derive(Debug)]
pub struct Watched {
    pub clock: SystemClock,
    alarm: Mutex<Wake>,
}

impl Watched {
    pub fn new(clock: SystemClock) -> Watched {
        Watched { clock, alarm: Mutex::default() }
    }

    pub fn alarm(&self) -> Wake {
        *self.alarm.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Clock for Watched {
    fn now(&self) -> UnixMillis {
        self.clock.now()
    }

    fn wall(&self) -> UnixMillis {
        self.clock.wall()
    }

    async fn sleep_until(&self, at: UnixMillis) -> Busy {
        self.clock.sleep_until(at).await
    }
}

impl EngineClock for Watched {
    fn moment(&self) -> Moment {
        self.clock.moment()
    }

    fn real_wall(&self) -> UnixMillis {
        self.clock.real_wall()
    }

    fn real_wait(&self, until: Wake) -> Option<Duration> {
        self.clock.real_wait(until)
    }

    fn set_alarm(&self, at: Wake) {
        *self.alarm.lock().unwrap_or_else(PoisonError::into_inner) = at;
    }

    fn busy(&self) -> Busy {
        self.clock.busy()
    }

    fn on_move(&self, poke: Box<dyn Fn() + Send + Sync>) {
        self.clock.on_move(poke);
    }

    fn note(&self) -> ClockNote {
        self.clock.note()
    }
}
