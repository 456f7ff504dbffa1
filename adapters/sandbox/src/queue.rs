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
    state: Mutex<QueueEntries<T>>,
    changed: Notify,
}

struct QueueEntries<T> {
    entries: BTreeMap<(UnixMillis, u64), T>,
    added: u64,
    /// Whether somebody waits: else what is left in `holds` would stop a test clock for good.
    attended: bool,
    holds: Vec<Busy>,
}

/// Held by the one that waits.
pub(crate) struct Attendance<'a, T> {
    queue: &'a Queue<T>,
    /// Keeps a test clock from jumping, from the end of one sleep into the next.
    busy: Vec<Busy>,
}

impl<T> Queue<T> {
    pub(crate) fn new() -> Self {
        Queue {
            state: Mutex::new(QueueEntries {
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

    /// Takes away the entries of which `is_gone` says so.
    pub(crate) fn remove(&self, is_gone: impl Fn(&T) -> bool) {
        self.lock().entries.retain(|_, entry| !is_gone(entry));
        self.changed.notify_one();
    }

    /// Declares that the caller waits, until the answer is dropped.
    pub(crate) fn attend(&self) -> Attendance<'_, T> {
        self.lock().attended = true;
        Attendance { queue: self, busy: Vec::new() }
    }

    fn lock(&self) -> MutexGuard<'_, QueueEntries<T>> {
        // No code of others runs under this lock, so a panic cannot have left it half-changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Attendance<'_, T> {
    /// The next entries that are due, in order, as soon as there are any.
    ///
    /// Whoever asks again says that the last ones are done with: a test clock stands still until
    /// then, and until it knows what is due next. Nothing is lost if this future is dropped.
    pub(crate) async fn due(&mut self, clock: &dyn Clock) -> Vec<T> {
        let queue = self.queue;
        loop {
            let next = {
                let mut state = queue.lock();
                self.busy.append(&mut state.holds);
                state.entries.first_key_value().map(|((due, _), _)| *due)
            };
            let Some(next) = next else {
                self.busy.clear();
                queue.changed.notified().await;
                continue;
            };
            let mut sleep = clock.sleep_until(next);
            let polled = poll_fn(|context| Poll::Ready(sleep.as_mut().poll(context))).await;
            // From here on the clock knows of this sleep.
            self.busy.clear();
            let busy = match polled {
                Poll::Ready(busy) => busy,
                Poll::Pending => tokio::select! {
                    busy = &mut sleep => busy,
                    () = queue.changed.notified() => {
                        // It may tell of an entry that was seen already: nobody else holds the clock
                        // between this sleep and the next.
                        self.busy.push(clock.sleep_until(clock.now()).await);
                        continue;
                    }
                },
            };
            self.busy.push(busy);
            return queue.take(clock.now());
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
        let mut state = self.queue.lock();
        state.attended = false;
        let left = (std::mem::take(&mut state.entries), std::mem::take(&mut state.holds));
        drop(state);
        // Dropped outside the lock: a `Busy` runs code of the clock's. The entries go too, because
        // somebody may wait for one of them, and nobody delivers it any more.
        drop(left);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        pin::pin,
        sync::{
            Arc,
            atomic::{AtomicU64, AtomicUsize, Ordering},
        },
    };

    use async_trait::async_trait;

    use super::*;

    /// Counts how often nothing held it: then it might have jumped anywhere.
    #[derive(Default)]
    struct Watched {
        now: AtomicU64,
        holds: Arc<AtomicUsize>,
        jumps: Arc<AtomicUsize>,
    }

    impl Watched {
        fn hold(&self) -> Busy {
            self.holds.fetch_add(1, Ordering::SeqCst);
            let (holds, jumps) = (Arc::clone(&self.holds), Arc::clone(&self.jumps));
            Busy::tracked(move || {
                if holds.fetch_sub(1, Ordering::SeqCst) == 1 {
                    jumps.fetch_add(1, Ordering::SeqCst);
                }
            })
        }
    }

    #[async_trait]
    impl Clock for Watched {
        fn now(&self) -> UnixMillis {
            UnixMillis(self.now.load(Ordering::SeqCst))
        }

        fn wall(&self) -> UnixMillis {
            self.now()
        }

        async fn sleep_until(&self, at: UnixMillis) -> Busy {
            // A sleep that the clock knows of holds it at its time.
            let hold = self.hold();
            poll_fn(|_| if self.now() < at { Poll::Pending } else { Poll::Ready(()) }).await;
            hold
        }
    }

    #[tokio::test]
    async fn a_clock_is_never_let_go_of_while_anything_is_still_to_come() {
        let (clock, queue) = (Watched::default(), Queue::new());
        let mut attendance = queue.attend();
        // More than once: which of two ready futures is taken is a matter of chance.
        for round in 0..32_u64 {
            let at = |offset| UnixMillis(10 * round + offset);
            queue.add(&clock, [(at(3), "first"), (at(6), "second")]).await;
            clock.jumps.store(0, Ordering::SeqCst);
            for (now, entry) in [(3, "first"), (6, "second")] {
                let mut due = pin!(attendance.due(&clock));
                let early = poll_fn(|context| Poll::Ready(due.as_mut().poll(context))).await;
                assert_eq!(early, Poll::Pending);
                clock.now.store(at(now).0, Ordering::SeqCst);
                assert_eq!(due.await, [entry]);
            }
            assert_eq!(clock.jumps.load(Ordering::SeqCst), 0, "round {round}");
        }
    }
}
