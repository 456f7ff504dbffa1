//! For how long a service that dies again and again may hold what awaits a receipt.

use super::{BatchSeen, Broken, Fine, TWICE_THE_GRACE};

/// A life is charged by the second, and each second in advance: so much more than it lived.
const CHARGE_MS: u64 = 1000;

/// What lives that died within their grace gave of it, since one last gave all.
#[derive(Default)]
pub struct Graces {
    present: Option<BatchSeen>,
    /// How many there were, how long they lived together, and how long of that something was held.
    lives: u64,
    lived_ms: u64,
    held_ms: u64,
    held_since: Option<u64>,
}

impl Graces {
    pub(super) fn begun(&mut self, batch: &BatchSeen, grace_ms: u64) -> Fine {
        self.present = Some(*batch);
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

    /// The writer sleeps after a batch at `now`, and something is held or not.
    pub(super) fn sleeps(&mut self, now: u64, holds: bool) {
        self.held(now);
        let is_grace = self.present.is_some_and(|life| now < life.grace_until);
        self.held_since = (holds && is_grace).then_some(now);
    }

    /// Its last batch was at `last`, in engine time.
    pub(super) fn died(&mut self, last: u64) {
        let Some(life) = self.present.take() else { return };
        if last >= life.grace_until {
            *self = Graces::default();
        } else {
            self.held(last);
            self.lived_ms += last.saturating_sub(life.started_at);
            self.lives += 1;
        }
    }

    fn held(&mut self, until: u64) {
        if let Some(since) = self.held_since.take() {
            self.held_ms += until.saturating_sub(since);
        }
    }
}
