//! What is due when, and a way to wait for it that a test clock cannot outrun.

use std::{
    collections::BTreeMap,
    future::poll_fn,
    sync::{Mutex, MutexGuard, PoisonError},
    task::Poll,
};

use dispatch_contract::{Busy, Clock, UnixMillis};
use tokio::sync::Notify;

/// Entries ordered by when they are due, and then by when they were added. Many add, one waits.
///
/// Between the adding of an entry and the moment the waiting side sleeps until it is due, a test
/// clock could jump past it. So whoever adds leaves a [`Busy`] with the entry, and the waiting side
/// drops it once it sleeps.
pub(crate) struct Queue<T> {
    state: Mutex<State<T>>,
    changed: Notify,
}

struct State<T> {
    entries: BTreeMap<(UnixMillis, u64), T>,
    added: u64,
    /// Whether somebody waits: else what is left in `holds` would stop a test clock for good.
    attended: bool,
    holds: Vec<Busy>,
}

/// Held by the one that waits.
pub(crate) struct Attendance<'a, T>(&'a Queue<T>);

impl<T> Queue<T> {
    pub(crate) fn new() -> Self {
        Queue {
            state: Mutex::new(State {
                entries: BTreeMap::new(),
                added: 0,
                attended: false,
                holds: Vec::new(),
            }),
            changed: Notify::new(),
        }
    }

    /// Adds entries; says whether anybody waits for them.
    pub(crate) async fn add(
        &self,
        clock: &dyn Clock,
        entries: impl IntoIterator<Item = (UnixMillis, T)>,
    ) -> bool {
        let hold = clock.sleep_until(clock.now()).await;
        let attended = {
            let mut state = self.lock();
            for (due, entry) in entries {
                let place = (due, state.added);
                state.added += 1;
                state.entries.insert(place, entry);
            }
            if state.attended {
                state.holds.push(hold);
            }
            state.attended
        };
        self.changed.notify_one();
        attended
    }

    /// Declares that the caller waits, until the answer is dropped.
    pub(crate) fn attend(&self) -> Attendance<'_, T> {
        self.lock().attended = true;
        Attendance(self)
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // No code of others runs under this lock, so a panic cannot have left it half-changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Attendance<'_, T> {
    /// The next entries that are due, in order, as soon as there are any.
    ///
    /// Keep the [`Busy`] until they are done with. Nothing is lost if this future is dropped.
    pub(crate) async fn due(&self, clock: &dyn Clock) -> (Vec<T>, Busy) {
        let queue = self.0;
        loop {
            let (next, holds) = {
                let mut state = queue.lock();
                let next = state.entries.first_key_value().map(|((due, _), _)| *due);
                (next, std::mem::take(&mut state.holds))
            };
            let Some(next) = next else {
                drop(holds);
                queue.changed.notified().await;
                continue;
            };
            let mut sleep = clock.sleep_until(next);
            let polled = poll_fn(|context| Poll::Ready(sleep.as_mut().poll(context))).await;
            // From here on the clock knows of this sleep.
            drop(holds);
            let busy = match polled {
                Poll::Ready(busy) => busy,
                Poll::Pending => tokio::select! {
                    busy = sleep => busy,
                    () = queue.changed.notified() => continue,
                },
            };
            return (queue.take(clock.now()), busy);
        }
    }
}

impl<T> Queue<T> {
    fn take(&self, now: UnixMillis) -> Vec<T> {
        let mut state = self.lock();
        let later = state.entries.split_off(&(UnixMillis(now.0.saturating_add(1)), 0));
        std::mem::replace(&mut state.entries, later).into_values().collect()
    }
}

impl<T> Drop for Attendance<'_, T> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.attended = false;
        let left = (std::mem::take(&mut state.entries), std::mem::take(&mut state.holds));
        drop(state);
        // Dropped outside the lock: a `Busy` runs code of the clock's. The entries go too, because
        // somebody may wait for one of them, and nobody delivers it any more.
        drop(left);
    }
}
