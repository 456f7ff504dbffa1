//! Time, injected.

use async_trait::async_trait;

use crate::UnixMillis;

/// The one source of time. The service hands it down, so that a test clock drives everything.
#[async_trait]
pub trait Clock: Send + Sync {
    /// Engine time: for durations. Never goes back, and does not follow a wall clock that is set.
    fn now(&self) -> UnixMillis;

    /// The wall clock: for what is shown, signed or told to others, never to wait for.
    fn wall(&self) -> UnixMillis;

    /// Returns once engine time is at or past `at`.
    ///
    /// Keep the [`Busy`] until what was due is done: a test clock does not move on before.
    async fn sleep_until(&self, at: UnixMillis) -> Busy;
}

/// Held while something that a clock woke is still at work.
#[must_use = "a test clock moves on as soon as this is dropped"]
pub struct Busy(Option<Box<dyn FnOnce() + Send>>);

impl Busy {
    /// For clocks that wait for nobody.
    pub fn untracked() -> Self {
        Busy(None)
    }

    /// Runs `done` when dropped.
    pub fn tracked(done: impl FnOnce() + Send + 'static) -> Self {
        Busy(Some(Box::new(done)))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        if let Some(done) = self.0.take() {
            done();
        }
    }
}

impl std::fmt::Debug for Busy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Busy")
    }
}
