//! The clocks of a machine.

use std::{
    fmt, fs,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;
use dispatch_contract::{Busy, Clock, UnixMillis};
use rustix::time::{ClockId, clock_gettime};
use uuid::Uuid;

use super::{EngineClock, Readings, Timekeeper, Wake};
use crate::{machine::Moment, store::ClockNote};

/// The longest sleep. No timer of the system's counts a machine's sleep and hears of a wall clock that is
/// set: so the clocks are looked at this often.
const NAP: Duration = Duration::from_secs(1);

/// What a machine shows of the time.
pub trait MachineClocks: Send + Sync + fmt::Debug {
    /// Which boot of the machine it is; `None` where that cannot be told.
    fn boot(&self) -> Option<Uuid>;

    /// For how long it has run since then, its sleep included.
    fn since_boot(&self) -> Duration;

    /// The wall clock.
    fn wall(&self) -> UnixMillis;
}

/// This machine: `CLOCK_BOOTTIME`, which counts a machine's sleep, is never set, and is slewed as the wall
/// clock is, by at most 0.05 % where the kernel does it; and `CLOCK_REALTIME`.
#[derive(Debug)]
struct ThisMachine;

/// Engine time and the wall clock, as a machine's clocks tell them.
#[derive(Debug)]
pub struct SystemClock {
    machine: Box<dyn MachineClocks>,
    boot: Option<Uuid>,
    keeper: Timekeeper,
}

impl SystemClock {
    /// Clocks of which nothing is known from before: both show the same.
    pub fn new() -> Self {
        SystemClock::go_on(None, Moment::default())
    }

    /// Goes on from what an earlier life noted, and from the newest moment in its journal.
    pub fn go_on(noted: Option<ClockNote>, newest: Moment) -> Self {
        SystemClock::of(Box::new(ThisMachine), noted, newest)
    }

    /// The same by the clocks of another machine, a simulated one. It only sleeps in real time.
    pub fn of(machine: Box<dyn MachineClocks>, noted: Option<ClockNote>, newest: Moment) -> Self {
        let boot = machine.boot();
        let keeper = Timekeeper::go_on(read(&*machine, boot), noted, newest);
        SystemClock { machine, boot, keeper }
    }

    fn read(&self) -> Readings {
        read(&*self.machine, self.boot)
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        SystemClock::new()
    }
}

fn read(machine: &dyn MachineClocks, boot: Option<Uuid>) -> Readings {
    // The wall clock first: if the thread is put aside in between, appointments are late, not early.
    let wall = machine.wall();
    Readings { boot, since_boot: machine.since_boot(), wall }
}

impl MachineClocks for ThisMachine {
    fn boot(&self) -> Option<Uuid> {
        let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        Uuid::try_parse(text.trim()).ok()
    }

    fn since_boot(&self) -> Duration {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        let clock = ClockId::Boottime;
        // There it counts the machine's sleep.
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        let clock = ClockId::Monotonic;
        let now = clock_gettime(clock);
        Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec as u32)
    }

    fn wall(&self) -> UnixMillis {
        wall_now()
    }
}

/// What the machine's wall clock shows.
#[expect(clippy::disallowed_methods, reason = "this is where the machine's clock is read")]
pub(super) fn wall_now() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> UnixMillis {
        self.keeper.engine(self.machine.since_boot())
    }

    fn wall(&self) -> UnixMillis {
        self.machine.wall()
    }

    async fn sleep_until(&self, at: UnixMillis) -> Busy {
        // A millisecond more, because timers may round down and nothing may fire early.
        while self.now() < at {
            let left = at.since(self.now()) + Duration::from_millis(1);
            tokio::time::sleep(left.min(NAP)).await;
        }
        Busy::untracked()
    }
}

impl EngineClock for SystemClock {
    fn moment(&self) -> Moment {
        self.keeper.moment(self.read())
    }

    fn real_wall(&self) -> UnixMillis {
        self.machine.wall()
    }

    fn real_wait(&self, until: Wake) -> Option<Duration> {
        until.left(self.moment()).map(|left| left.min(NAP))
    }

    fn set_alarm(&self, _: Wake) {}

    fn busy(&self) -> Busy {
        Busy::untracked()
    }

    fn on_move(&self, _: Box<dyn Fn() + Send + Sync>) {}

    fn note(&self) -> ClockNote {
        self.keeper.note(self.read())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleep_is_short_enough_to_notice_a_step_and_a_resume() {
        let clock = SystemClock::new();
        let day = Duration::from_secs(86_400);
        let far = clock.moment().engine.plus(day);
        assert_eq!(clock.real_wait(Wake::at(far)), Some(NAP));
        let far = Wake { engine: None, wall: Some(clock.moment().wall.plus(day)) };
        assert_eq!(clock.real_wait(far), Some(NAP));
        assert_eq!(clock.real_wait(Wake::at(UnixMillis(0))), Some(Duration::ZERO));
        assert_eq!(clock.real_wait(Wake::NEVER), None);
        // What the system calls it, and what it is here.
        let since_boot = || ThisMachine.since_boot();
        let (before, boot_time, after) =
            (since_boot(), clock_gettime(ClockId::Monotonic), since_boot());
        assert!(before <= after && boot_time.tv_sec as u64 <= after.as_secs(), "it counts sleep");
    }
}
