//! Keeps the log readable while something goes wrong a thousand times a second.
//!
//! A line is told at most once in [`WINDOW`] for what it speaks of and the cause it names. Another
//! cause is news, and told at once: who is out of money after a wrong credential must hear of both.
//! What was kept back is said when the window is over. Bounded: beyond [`LINES`] different lines at a
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

/// Which lines were told lately.
#[derive(Debug, Default)]
pub struct LogLimit(Mutex<HashMap<Line, Told>>);

/// A line, by what it tells.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Line {
    level: Level,
    kind: &'static str,
    of: String,
    cause: String,
}

#[derive(Debug)]
struct Told {
    at: Instant,
    kept_back: u64,
}

impl LogLimit {
    /// Whether a line may be told now. `kind` is from a closed list; `of` is what it speaks of (a route,
    /// a channel, an account) and `cause` why: neither holds personal data, as they stand in the log.
    pub fn admits(&self, level: Level, kind: &'static str, of: &str, cause: &str) -> bool {
        self.admits_at(Instant::now(), level, kind, of, cause)
    }

    /// Says what was kept back in windows that are over. Called every few seconds.
    pub fn say_kept_back(&self) {
        for (line, kept_back) in self.over(Instant::now()) {
            let Line { level, kind, of, cause } = line;
            macro_rules! say {
                ($say:ident) => {
                    tracing::$say!(
                        kind,
                        of,
                        cause,
                        kept_back,
                        "{kept_back} more of these were not logged"
                    )
                };
            }
            match level {
                Level::ERROR => say!(error),
                Level::WARN => say!(warn),
                _ => say!(info),
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
        let mut line = Line { level, kind, of: of.to_owned(), cause: cause.to_owned() };
        if lines.len() >= LINES && !lines.contains_key(&line) {
            line = Line { of: OTHERS.to_owned(), cause: OTHERS.to_owned(), ..line };
        }
        match lines.get_mut(&line) {
            Some(told) if now.saturating_duration_since(told.at) < WINDOW => {
                told.kept_back += 1;
                false
            }
            Some(told) => {
                // What its last window kept back is said with the next look at what is over.
                told.at = now;
                true
            }
            None => {
                lines.insert(line, Told { at: now, kept_back: 0 });
                true
            }
        }
    }

    /// The lines that something was kept back of, and whose window is over; they are forgotten.
    fn over(&self, now: Instant) -> Vec<(Line, u64)> {
        let mut over = Vec::new();
        self.lines().retain(|line, told| {
            let is_over = now.saturating_duration_since(told.at) >= WINDOW;
            if is_over && told.kept_back > 0 {
                over.push((line.clone(), told.kept_back));
            }
            !is_over
        });
        over
    }

    fn lines(&self) -> MutexGuard<'_, HashMap<Line, Told>> {
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
        let told = |(line, kept_back): (Line, u64)| (line.cause, kept_back);
        let over: Vec<_> = limit.over(after(10)).into_iter().map(told).collect();
        assert_eq!(over, [("401".to_owned(), 2)]);
        let over: Vec<_> = limit.over(after(12)).into_iter().map(told).collect();
        assert_eq!(over, [("402".to_owned(), 1)]);
        assert!(admits(13, "401") && admits(13, "402"));
        assert_eq!(limit.over(after(60)), [], "nothing was kept back since");
    }

    #[test]
    fn lines_of_a_kind_share_one_when_there_are_too_many() {
        let (limit, now) = (LogLimit::default(), Instant::now());
        let admitted = (0..5000).filter(|number| {
            limit.admits_at(now, Level::WARN, "unknown", &number.to_string(), "timeout")
        });
        assert_eq!(admitted.count(), LINES + 1);
        assert!(limit.admits_at(now, Level::WARN, "deferred", "a", "timeout"), "another kind");
        let kept_back: u64 =
            limit.over(now + WINDOW).into_iter().map(|(_, kept_back)| kept_back).sum();
        assert_eq!(kept_back, 5000 - LINES as u64 - 1);
    }
}
