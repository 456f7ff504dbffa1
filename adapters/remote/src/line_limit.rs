//! How often a log line may come that an adapter can cause as often as it likes.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// How long nothing more comes of a kind.
const SILENCE: Duration = Duration::from_secs(60);

/// Lets a line of each kind through once a minute.
#[derive(Default)]
pub(crate) struct LineLimit(Mutex<BTreeMap<&'static str, HeldLines>>);

struct HeldLines {
    since: Instant,
    lines: u64,
}

impl LineLimit {
    /// How many lines of this kind were held back since the last one. `None`: this one is held back too.
    pub(crate) fn admits(&self, kind: &'static str) -> Option<u64> {
        self.admits_at(kind, Instant::now())
    }

    fn admits_at(&self, kind: &'static str, now: Instant) -> Option<u64> {
        let mut kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match kinds.get_mut(kind) {
            Some(held) if now.saturating_duration_since(held.since) < SILENCE => {
                held.lines += 1;
                None
            }
            held => {
                let lines = held.map_or(0, |held| held.lines);
                kinds.insert(kind, HeldLines { since: now, lines: 0 });
                Some(lines)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_a_kind_comes_once_a_minute_and_tells_how_many_did_not() {
        let (limit, start) = (LineLimit::default(), Instant::now());
        assert_eq!(limit.admits_at("one", start), Some(0));
        assert_eq!(limit.admits_at("one", start), None);
        assert_eq!(limit.admits_at("one", start + SILENCE / 2), None);
        assert_eq!(limit.admits_at("another", start), Some(0));
        assert_eq!(limit.admits_at("one", start + SILENCE), Some(2));
        assert_eq!(limit.admits_at("one", start + SILENCE), None);
    }
}
