//! Time for the engine.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;
use dispatch_contract::{Busy, Clock, UnixMillis};
use tokio::sync::{Notify, oneshot};

/// A clock that also knows how the engine waits.
pub trait EngineClock: Clock {
    /// The raw wall clock: for signatures and tokens, never for deadlines.
    fn wall(&self) -> UnixMillis;

    /// How long to wait, in real time, until engine time is `until`; `None` to wait for a poke.
    fn real_wait(&self, until: UnixMillis) -> Option<Duration>;

    /// The engine's next deadline, for clocks that jump to it.
    fn set_alarm(&self, at: Option<UnixMillis>);

    /// Held while something is under way that a test clock must not overtake.
    fn busy(&self) -> Busy;

    /// How to wake the engine when time has moved by itself.
    fn on_move(&self, poke: Box<dyn Fn() + Send + Sync>);
}

/// The wall clock at start, carried by the monotonic clock: a step of the wall clock moves no
/// deadline. Never below the time it is told at the start.
#[derive(Debug)]
pub struct SystemClock {
    began: Instant,
    began_at: UnixMillis,
}

impl SystemClock {
    /// A clock that is never below `floor`: the newest time in the journal.
    pub fn new(floor: UnixMillis) -> Self {
        SystemClock { began: Instant::now(), began_at: wall_now().max(floor) }
    }
}

fn wall_now() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis(since.as_millis() as u64)
}

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> UnixMillis {
        self.began_at.plus(self.began.elapsed())
    }

    async fn sleep_until(&self, at: UnixMillis) -> Busy {
        // A millisecond more, because timers may round down and nothing may fire early.
        while self.now() < at {
            tokio::time::sleep(at.since(self.now()) + Duration::from_millis(1)).await;
        }
        Busy::untracked()
    }
}

impl EngineClock for SystemClock {
    fn wall(&self) -> UnixMillis {
        wall_now()
    }

    fn real_wait(&self, until: UnixMillis) -> Option<Duration> {
        Some(until.since(self.now()))
    }

    fn set_alarm(&self, _: Option<UnixMillis>) {}

    fn busy(&self) -> Busy {
        Busy::untracked()
    }

    fn on_move(&self, _: Box<dyn Fn() + Send + Sync>) {}
}

/// A clock that moves only when told, and then from one due thing to the next, waiting at each
/// until all that it set off is done. A day passes in milliseconds, in the right order.
pub struct TestClock {
    now: AtomicU64,
    under_way: Arc<UnderWay>,
    waiting: Mutex<Waiting>,
    advancing: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct UnderWay {
    count: AtomicUsize,
    idle: Notify,
}

#[derive(Default)]
struct Waiting {
    sleepers: BTreeMap<(UnixMillis, u64), oneshot::Sender<Busy>>,
    next_sleeper: u64,
    alarm: Option<UnixMillis>,
    poke: Option<Box<dyn Fn() + Send + Sync>>,
}

impl TestClock {
    /// A clock that stands at `now`.
    pub fn new(now: UnixMillis) -> Self {
        TestClock {
            now: AtomicU64::new(now.0),
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
        let waiting = self.waiting();
        let sleeper = waiting.sleepers.keys().next().map(|(at, _)| *at);
        sleeper.into_iter().chain(waiting.alarm).min()
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

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Clock for TestClock {
    fn now(&self) -> UnixMillis {
        UnixMillis(self.now.load(Ordering::SeqCst))
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
    fn wall(&self) -> UnixMillis {
        self.now()
    }

    fn real_wait(&self, _: UnixMillis) -> Option<Duration> {
        None
    }

    fn set_alarm(&self, at: Option<UnixMillis>) {
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
}

impl std::fmt::Debug for TestClock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TestClock").field("now", &self.now()).finish_non_exhaustive()
    }
}
