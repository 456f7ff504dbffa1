//! Keeps the log readable while something goes wrong a thousand times a second.
//!
//! A line is logged at most once in [`WINDOW`] for what it speaks of and the cause it names. Another
//! cause is news, and logged at once: who is out of money after a wrong credential must hear of both.
//! What was suppressed is logged when the window is over. Bounded: beyond [`LINES`] different lines at a
//! time those of a kind share one.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tracing::Level;

/// For how long a line is not repeated.
pub const WINDOW: Duration = Duration::from_secs(10);
/// How many different lines are remembered at a time.
const LINES: usize = 1024;
/// What a kind's lines are about when there are too many of them.
const OTHERS: &str = "others";

/// Which lines were logged lately.
#[derive(Debug, Default)]
pub struct LogLimit(Mutex<HashMap<LogKey, LogWindow>>);

/// A line, by its subject and cause.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct LogKey {
    level: Level,
    kind: &'static str,
    of: String,
    cause: String,
}

#[derive(Debug)]
struct LogWindow {
    at: Instant,
    suppressed: u64,
}

impl LogLimit {
    /// Whether a line may be logged now. `kind` is from a closed list; `of` is what it speaks of (a route,
    /// a channel, an account) and `cause` why: neither holds personal data, as they stand in the log.
    pub fn admits(&self, level: Level, kind: &'static str, of: &str, cause: &str) -> bool {
        self.admits_at(Instant::now(), level, kind, of, cause)
    }

    /// Logs what was suppressed in windows that are over. Called every few seconds.
    pub fn log_suppressed(&self) {
        for (line, suppressed) in self.over(Instant::now()) {
            let LogKey { level, kind, of, cause } = line;
            macro_rules! log {
                ($log:ident) => {
                    tracing::$log!(
                        kind,
                        of,
                        cause,
                        suppressed,
                        "{suppressed} more of these were not logged"
                    )
                };
            }
            match level {
                Level::ERROR => log!(error),
                Level::WARN => log!(warn),
                _ => log!(info),
            }
        }
    }

    fn admits_at(
        &self,
        now: Instant,
        level: Level,
        kind: &'static str,
        of: &str,
        cause: &str,
    ) -> bool {
        let mut lines = self.lines();
        let mut line = LogKey { level, kind, of: of.to_owned(), cause: cause.to_owned() };
        if lines.len() >= LINES && !lines.contains_key(&line) {
            line = LogKey { of: OTHERS.to_owned(), cause: OTHERS.to_owned(), ..line };
        }
        match lines.get_mut(&line) {
            Some(window) if now.saturating_duration_since(window.at) < WINDOW => {
                window.suppressed += 1;
                false
            }
            Some(window) => {
                // What its last window suppressed is said with the next look at what is over.
                window.at = now;
                true
            }
            None => {
                lines.insert(line, LogWindow { at: now, suppressed: 0 });
                true
            }
        }
    }

    /// The lines that something was suppressed of, and whose window is over; they are forgotten.
    fn over(&self, now: Instant) -> Vec<(LogKey, u64)> {
        let mut over = Vec::new();
        self.lines().retain(|line, window| {
            let is_over = now.saturating_duration_since(window.at) >= WINDOW;
            if is_over && window.suppressed > 0 {
                over.push((line.clone(), window.suppressed));
            }
            !is_over
        });
        over
    }

    fn lines(&self) -> MutexGuard<'_, HashMap<LogKey, LogWindow>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_cause_within_the_window_is_told_and_what_was_kept_back_is_counted() {
        let (limit, start) = (LogLimit::default(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        let admits =
            |at, cause| limit.admits_at(after(at), Level::ERROR, "account", "sms-main", cause);
        assert!(admits(0, "401"));
        assert!(!admits(1, "401"));
        assert!(admits(2, "402"), "the account ran out of money meanwhile");
        assert!(!admits(3, "401") && !admits(4, "402"));
        assert_eq!(limit.over(after(9)), []);
        let window = |(line, suppressed): (LogKey, u64)| (line.cause, suppressed);
        let over: Vec<_> = limit.over(after(10)).into_iter().map(window).collect();
        assert_eq!(over, [("401".to_owned(), 2)]);
        let over: Vec<_> = limit.over(after(12)).into_iter().map(window).collect();
        assert_eq!(over, [("402".to_owned(), 1)]);
        assert!(admits(13, "401") && admits(13, "402"));
        assert_eq!(limit.over(after(60)), [], "nothing was suppressed since");
    }

    #[test]
    fn lines_of_a_kind_share_one_when_there_are_too_many() {
        let (limit, now) = (LogLimit::default(), Instant::now());
        let admitted = (0..5000).filter(|number| {
            limit.admits_at(now, Level::WARN, "unknown", &number.to_string(), "timeout")
        });
        assert_eq!(admitted.count(), LINES + 1);
        assert!(limit.admits_at(now, Level::WARN, "deferred", "a", "timeout"), "another kind");
        let suppressed: u64 =
            limit.over(now + WINDOW).into_iter().map(|(_, suppressed)| suppressed).sum();
        assert_eq!(suppressed, 5000 - LINES as u64 - 1);
    }
}
