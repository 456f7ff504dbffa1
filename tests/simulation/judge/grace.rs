//! For how long a service that dies again and again may hold what awaits a receipt.

use super::{BatchSeen, Broken, Fine, TWICE_THE_GRACE};

/// A life is charged by the second, and each second in advance: so much more than it lived.
const CHARGE_MS: u64 = 1000;

/// What lives that died within their grace gave of it, since one last gave all.
#[derive(Default)]
pub struct Graces {
    present: Option<BatchSeen>,
    /// The last durable batch of the present life, in engine time. What an earlier life came to is no measure:
    /// a machine that boots with its wall clock set back goes on at the time that was noted last.
    last: Option<u64>,
    /// How many there were, how long they lived together, and how long of that something was held.
    lives: u64,
    lived_ms: u64,
    held_ms: u64,
    held_since: Option<u64>,
}

impl Graces {
    pub(super) fn begun(&mut self, batch: &BatchSeen, grace_ms: u64) -> Fine {
        self.present = Some(*batch);
        self.last = None;
        let hold_ms = batch.grace_until - batch.started_at;
        // All together hold for no more than twice the grace, and one for less than all of it only if
        // the others gave the rest.
        let given_ms = self.lived_ms + self.lives * CHARGE_MS;
        let is_bounded = hold_ms <= grace_ms && self.held_ms + hold_ms <= 2 * grace_ms;
        let is_enough = hold_ms >= grace_ms.min((2 * grace_ms).saturating_sub(given_ms));
        if is_bounded && is_enough {
            return Ok(());
        }
        let detail = format!(
            "{hold_ms} of {grace_ms} ms, after {} lives that lasted {} ms and held for {} ms",
            self.lives, self.lived_ms, self.held_ms
        );
        Err(Broken { rule: TWICE_THE_GRACE, detail, workflow: None })
    }

    /// A batch at `now`, in engine time, is durable.
    pub(super) fn durable(&mut self, now: u64) {
        self.last = Some(now);
    }

    /// The writer sleeps after its last batch, and something is held or not.
    pub(super) fn sleeps(&mut self, holds: bool) {
        self.held();
        let is_grace = |now: &u64| self.present.is_some_and(|life| *now < life.grace_until);
        self.held_since = self.last.filter(|now| holds && is_grace(now));
    }

    /// The life is over.
    pub(super) fn died(&mut self) {
        let Some(life) = self.present.take() else { return };
        // One that gave all says so in its last batch, or has not said it.
        if self.last.is_some_and(|last| last >= life.grace_until) {
            *self = Graces::default();
        } else {
            self.held();
            self.lived_ms += self.last.map_or(0, |last| last.saturating_sub(life.started_at));
            self.lives += 1;
        }
    }

    fn held(&mut self) {
        if let (Some(since), Some(last)) = (self.held_since.take(), self.last) {
            self.held_ms += last.saturating_sub(since);
        }
    }
}
