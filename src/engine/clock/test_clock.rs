//! A clock that moves on demand.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use dispatch_contract::{Busy, Clock, UnixMillis};
use tokio::sync::{Notify, oneshot};

use super::{EngineClock, Wake, system::wall_now};
use crate::{machine::Moment, store::ClockNote};

/// A clock that moves only when told, and then from one due thing to the next, waiting at each
/// until all that it set off is done. A day passes in milliseconds, in the right order. Its wall clock
/// goes along, and can be [set](Self::set_wall).
pub struct TestClock {
    now: AtomicU64,
    skew_ms: AtomicI64,
    under_way: Arc<UnderWay>,
    waiting: Mutex<TestClockWaiters>,
    advancing: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct UnderWay {
    count: AtomicUsize,
    idle: Notify,
}

#[derive(Default)]
struct TestClockWaiters {
    sleepers: BTreeMap<(UnixMillis, u64), oneshot::Sender<Busy>>,
    next_sleeper: u64,
    alarm: Wake,
    poke: Option<Box<dyn Fn() + Send + Sync>>,
}

impl TestClock {
    /// A clock that stands at `now`, as its wall clock does.
    pub fn new(now: UnixMillis) -> Self {
        TestClock::at(Moment::both(now))
    }

    /// A clock that stands at `now`.
    pub fn at(now: Moment) -> Self {
        TestClock {
            now: AtomicU64::new(now.engine.0),
            skew_ms: AtomicI64::new(now.skew_ms()),
            under_way: Arc::default(),
            waiting: Mutex::default(),
            advancing: tokio::sync::Mutex::default(),
        }
    }

    /// Moves time on by `by`, and returns when all that became due is done.
    pub async fn advance(&self, by: Duration) -> UnixMillis {
        let _one_at_a_time = self.advancing.lock().await;
        self.settle().await;
        let target = self.now().plus(by);
        loop {
            let next = self.next().filter(|next| *next <= target);
            let now = next.unwrap_or(target).max(self.now());
            self.now.store(now.0, Ordering::SeqCst);
            self.fire(now);
            self.settle().await;
            // Nothing here may keep the runtime from stopping.
            tokio::task::yield_now().await;
            if next.is_none() {
                return now;
            }
        }
    }

    /// Sets the wall clock, as an operator or a time server would, and returns when all that became
    /// due by that is done.
    pub async fn set_wall(&self, to: UnixMillis) {
        let _one_at_a_time = self.advancing.lock().await;
        self.settle().await;
        let now = self.now();
        self.skew_ms.store(Moment { engine: now, wall: to }.skew_ms(), Ordering::SeqCst);
        self.fire(now);
        self.settle().await;
    }

    /// Returns when nothing is under way.
    pub async fn settle(&self) {
        loop {
            let idle = self.under_way.idle.notified();
            if self.under_way.count.load(Ordering::SeqCst) == 0 {
                return;
            }
            idle.await;
        }
    }

    fn next(&self) -> Option<UnixMillis> {
        let now = self.moment();
        let waiting = self.waiting();
        let sleeper = waiting.sleepers.keys().next().map(|(at, _)| *at);
        sleeper.into_iter().chain(waiting.alarm.expected(now)).min()
    }

    fn fire(&self, now: UnixMillis) {
        let mut waiting = self.waiting();
        while let Some(entry) = waiting.sleepers.first_entry()
            && entry.key().0 <= now
        {
            // A sleeper that gave up drops its Busy at once.
            let _ = entry.remove().send(self.busy());
        }
        if let Some(poke) = &waiting.poke {
            poke();
        }
    }

    fn waiting(&self) -> MutexGuard<'_, TestClockWaiters> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Clock for TestClock {
    fn now(&self) -> UnixMillis {
        UnixMillis(self.now.load(Ordering::SeqCst))
    }

    fn wall(&self) -> UnixMillis {
        self.moment().wall
    }

    async fn sleep_until(&self, at: UnixMillis) -> Busy {
        let woken = {
            let mut waiting = self.waiting();
            if at <= self.now() {
                return self.busy();
            }
            let (wake, woken) = oneshot::channel();
            let number = waiting.next_sleeper;
            waiting.next_sleeper += 1;
            waiting.sleepers.insert((at, number), wake);
            woken
        };
        woken.await.unwrap_or_else(|_| Busy::untracked())
    }
}

impl EngineClock for TestClock {
    fn moment(&self) -> Moment {
        Moment::skewed(self.now(), self.skew_ms.load(Ordering::SeqCst))
    }

    fn real_wall(&self) -> UnixMillis {
        wall_now()
    }

    fn real_wait(&self, _: Wake) -> Option<Duration> {
        None
    }

    fn set_alarm(&self, at: Wake) {
        self.waiting().alarm = at;
    }

    fn busy(&self) -> Busy {
        self.under_way.count.fetch_add(1, Ordering::SeqCst);
        let under_way = Arc::clone(&self.under_way);
        Busy::tracked(move || {
            if under_way.count.fetch_sub(1, Ordering::SeqCst) == 1 {
                under_way.idle.notify_waiters();
            }
        })
    }

    fn on_move(&self, poke: Box<dyn Fn() + Send + Sync>) {
        self.waiting().poke = Some(poke);
    }

    fn note(&self) -> ClockNote {
        ClockNote { boot: None, since_boot_ms: 0, at: self.moment() }
    }
}

impl std::fmt::Debug for TestClock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TestClock").field("now", &self.now()).finish_non_exhaustive()
    }
}
