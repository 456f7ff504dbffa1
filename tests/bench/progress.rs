//! One line that is rewritten while something goes on; on a terminal only.

use std::{
    io::{IsTerminal, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::task::JoinHandle;

/// Counts what is done, and shows it until it is dropped.
pub(super) struct Progress {
    done: Arc<AtomicU64>,
    shown: Option<JoinHandle<()>>,
}

/// Counts for a [`Progress`].
#[derive(Clone, Debug)]
pub(super) struct Counter(Arc<AtomicU64>);

impl Progress {
    /// Shows `what` from now on.
    pub(super) fn of(what: impl Into<String>) -> Progress {
        let what = what.into();
        let done = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&done);
        let shown = std::io::stderr().is_terminal().then(|| {
            tokio::spawn(async move {
                let began = Instant::now();
                loop {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    let count = counted.load(Ordering::Relaxed);
                    let seconds = began.elapsed().as_secs_f64();
                    write(&format!(
                        "\r\x1b[2K{what}  {seconds:.1} s  {count}  {:.0}/s",
                        count as f64 / seconds
                    ));
                }
            })
        });
        Progress { done, shown }
    }

    pub(super) fn counter(&self) -> Counter {
        Counter(Arc::clone(&self.done))
    }
}

impl Counter {
    pub(super) fn one(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(shown) = self.shown.take() {
            shown.abort();
            write("\r\x1b[2K");
        }
    }
}

fn write(text: &str) {
    let mut err = std::io::stderr().lock();
    // A measurement does not depend on anybody watching it.
    let _ = err.write_all(text.as_bytes()).and_then(|()| err.flush());
}
