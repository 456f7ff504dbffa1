//! Wakes a task that has something to do, and lets a test clock wait until it has done it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dispatch_contract::Busy;
use tokio::sync::Notify;

use crate::engine::EngineClock;

/// A bell with one listener.
pub(super) struct Bell {
    clock: Arc<dyn EngineClock>,
    notify: Notify,
    rung: Mutex<Rung>,
}

#[derive(Default)]
struct Rung {
    busy: Option<Busy>,
    is_off: bool,
}

impl Bell {
    pub(super) fn new(clock: Arc<dyn EngineClock>) -> Self {
        Bell { clock, notify: Notify::new(), rung: Mutex::default() }
    }

    /// Wakes the listener; the clock waits for it from now on.
    pub(super) fn ring(&self) {
        let mut rung = self.rung();
        if !rung.is_off {
            rung.busy.get_or_insert_with(|| self.clock.busy());
            self.notify.notify_one();
        }
    }

    /// Returns once it was rung. The clock waits until what this returns is dropped.
    pub(super) async fn heard(&self) -> Option<Busy> {
        self.notify.notified().await;
        self.rung().busy.take()
    }

    /// Nobody listens any more, and no clock waits.
    pub(super) fn off(&self) {
        let mut rung = self.rung();
        rung.is_off = true;
        rung.busy = None;
    }

    fn rung(&self) -> MutexGuard<'_, Rung> {
        self.rung.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
