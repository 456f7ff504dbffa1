//! Wakes a task that has something to do, and lets a test clock wait until it has done it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dispatch_contract::Busy;
use tokio::sync::Notify;

use crate::engine::EngineClock;

/// A notification with one listener, which a test clock knows of.
pub(super) struct WakeSignal {
    clock: Arc<dyn EngineClock>,
    notify: Notify,
    state: Mutex<WakeState>,
}

#[derive(Default)]
struct WakeState {
    busy: Option<Busy>,
    is_closed: bool,
}

impl WakeSignal {
    pub(super) fn new(clock: Arc<dyn EngineClock>) -> Self {
        WakeSignal { clock, notify: Notify::new(), state: Mutex::default() }
    }

    /// Wakes the listener; the clock waits for it from now on.
    pub(super) fn notify(&self) {
        let mut state = self.state();
        if !state.is_closed {
            state.busy.get_or_insert_with(|| self.clock.busy());
            self.notify.notify_one();
        }
    }

    /// Returns once [notified](Self::notify). The clock waits until what this returns is dropped.
    pub(super) async fn notified(&self) -> Option<Busy> {
        self.notify.notified().await;
        self.state().busy.take()
    }

    /// Nobody listens any more, and no clock waits.
    pub(super) fn close(&self) {
        let mut state = self.state();
        state.is_closed = true;
        state.busy = None;
    }

    fn state(&self) -> MutexGuard<'_, WakeState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
