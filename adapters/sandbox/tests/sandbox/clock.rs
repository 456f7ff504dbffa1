//! A clock that tests move by hand.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use dispatch_contract::{Busy, Clock, UnixMillis};
use tokio::sync::{oneshot, watch};

/// When every test starts: 2023-11-14T22:13:20Z.
pub(crate) const START: UnixMillis = UnixMillis(1_700_000_000_000);

/// Moves only in [`advance`](ManualClock::advance), from one sleeper to the next, and waits until
/// each has dropped its [`Busy`]. So tests need neither real time nor luck.
pub(crate) struct ManualClock {
    state: Mutex<ClockState>,
    busy: watch::Sender<usize>,
}

struct ClockState {
    now: UnixMillis,
    registered: u64,
    sleepers: BTreeMap<(UnixMillis, u64), oneshot::Sender<Busy>>,
}

impl ManualClock {
    pub(crate) fn new() -> Arc<Self> {
        let state = ClockState { now: START, registered: 0, sleepers: BTreeMap::new() };
        Arc::new(ManualClock { state: Mutex::new(state), busy: watch::Sender::new(0) })
    }

    /// Moves on by `by`, and lets everything happen that is due by then.
    pub(crate) async fn advance(&self, by: Duration) {
        let end = self.now() + by;
        loop {
            self.busy.subscribe().wait_for(|busy| *busy == 0).await.unwrap();
            let mut state = self.state.lock().unwrap();
            match state.sleepers.first_entry() {
                Some(sleeper) if sleeper.key().0 <= end => {
                    let ((at, _), wake) = sleeper.remove_entry();
                    state.now = state.now.max(at);
                    drop(state);
                    // A sleeper that has gone hands its `Busy` back, which drops it.
                    let _ = wake.send(self.work());
                }
                Some(_) | None => {
                    state.now = end;
                    return;
                }
            }
        }
    }

    fn work(&self) -> Busy {
        self.busy.send_modify(|busy| *busy += 1);
        let busy = self.busy.clone();
        Busy::tracked(move || busy.send_modify(|busy| *busy -= 1))
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn now(&self) -> UnixMillis {
        self.state.lock().unwrap().now
    }

    fn wall(&self) -> UnixMillis {
        self.now()
    }

    async fn sleep_until(&self, at: UnixMillis) -> Busy {
        let woken = {
            let mut state = self.state.lock().unwrap();
            if at <= state.now {
                return self.work();
            }
            let (wake, woken) = oneshot::channel();
            let place = (at, state.registered);
            state.registered += 1;
            state.sleepers.insert(place, wake);
            woken
        };
        woken.await.expect("the clock outlives its sleepers")
    }
}

pub(crate) fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

pub(crate) fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}
