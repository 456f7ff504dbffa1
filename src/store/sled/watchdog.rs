//! Wakes who waits for a log that has failed.
//!
//! sled 0.34.7 wakes the caller of `flush` when a write of its log fails, except where the last one
//! to leave a sealed buffer began that write (`exit_reservation`): there the error is only noted, and
//! the writer would wait for ever in a service that neither acknowledges nor ends. Whoever calls
//! `flush` after that finds the noted error first, and wakes all who wait. That is what this does.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

/// How long a failed log may go unnoticed.
const EVERY: Duration = Duration::from_millis(250);

/// Looks after one store until it is dropped.
pub(super) struct Watchdog {
    over: Arc<StopSignal>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct StopSignal {
    is_over: Mutex<bool>,
    changed: Condvar,
}

impl Watchdog {
    /// Begins to look after `db`, which was opened from `config`.
    pub(super) fn begin(config: sled::Config, db: sled::Db) -> std::io::Result<Watchdog> {
        let over = Arc::new(StopSignal::default());
        let told = Arc::clone(&over);
        let thread = std::thread::Builder::new().name("dispatch-watch".to_owned());
        let thread = thread.spawn(move || {
            while !told.wait() {
                if config.global_error().is_err() {
                    // It returns the noted error, which those that it wakes will tell.
                    let _ = db.flush();
                    // sled must not be dropped after a failure; see `SledTree::commit`.
                    std::mem::forget(db);
                    return;
                }
            }
        })?;
        Ok(Watchdog { over, thread: Some(thread) })
    }
}

impl Drop for Watchdog {
    /// Returns when the store is no longer held.
    fn drop(&mut self) {
        *self.over.lock() = true;
        self.over.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl StopSignal {
    /// Waits a while, and says whether it is over.
    fn wait(&self) -> bool {
        let waited = self.changed.wait_timeout_while(self.lock(), EVERY, |is_over| !*is_over);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn lock(&self) -> MutexGuard<'_, bool> {
        self.is_over.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
