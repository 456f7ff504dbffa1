//! Waits for receipts that were over while the service was down.
//!
//! They are given a while longer after a start, because the receipts may be on their way: an outage is
//! not a mass failover. A service that dies again and again must not give that while again and again.
//! So how much was given is kept, a second at a time and each second in advance; all lives together give
//! at most twice the grace until one of them has given its share to the end.

use std::time::Duration;

use dispatch_contract::UnixMillis;

/// How much is charged at once, in milliseconds: a life is charged that much, however short it is.
const CHARGE_MS: u64 = 1000;

/// For how long waits for receipts that were over before a start are held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grace {
    /// What was due before this engine time came due while the service was down.
    pub started_at: UnixMillis,
    /// Until when it waits, in engine time.
    pub until: UnixMillis,
}

/// How much grace was given since a life last gave its share to the end.
#[derive(Clone, Copy, Debug)]
pub(super) struct GraceBudget {
    /// By the lives before this one, in milliseconds.
    before_ms: u64,
    /// The same with what this life is charged so far.
    charged_ms: u64,
}

impl Grace {
    /// The grace of a life that starts now, after others gave `given_ms` and died.
    pub fn new(started_at: UnixMillis, grace: Duration, given_ms: u64) -> Grace {
        let twice = grace.saturating_mul(2);
        let rest = twice.saturating_sub(Duration::from_millis(given_ms));
        Grace { started_at, until: started_at.plus(grace.min(rest)) }
    }

    fn length_ms(&self) -> u64 {
        self.until.0.saturating_sub(self.started_at.0)
    }
}

impl GraceBudget {
    pub(super) fn new(before_ms: u64) -> Self {
        GraceBudget { before_ms, charged_ms: before_ms }
    }

    /// That of a life that begins to hold anew.
    pub(super) fn anew(self) -> Self {
        GraceBudget::new(self.charged_ms)
    }

    /// When more is charged, or all is given.
    pub(super) fn next_charge(&self, grace: &Grace) -> UnixMillis {
        let charged_ms = self.charged_ms.saturating_sub(self.before_ms);
        grace.until.min(grace.started_at.plus(Duration::from_millis(charged_ms)))
    }

    /// Charges this life while the grace defers something; at the end of the grace all is forgotten. The
    /// new sum of all lives, if it is another one.
    pub(super) fn charge(
        &mut self,
        grace: &Grace,
        now: UnixMillis,
        defers_any: impl FnOnce() -> bool,
    ) -> Option<u64> {
        let given_ms = if now >= grace.until {
            0
        } else if now >= self.next_charge(grace) && defers_any() {
            let charges = now.0.saturating_sub(grace.started_at.0) / CHARGE_MS + 1;
            let of_this_life = charges.saturating_mul(CHARGE_MS).min(grace.length_ms());
            self.before_ms.saturating_add(of_this_life)
        } else {
            return None;
        };
        let is_new = given_ms != self.charged_ms;
        self.charged_ms = given_ms;
        is_new.then_some(given_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lives_that_die_give_at_most_twice_the_grace_together() {
        let grace = Duration::from_secs(60);
        for life_ms in [1, 100, 1000, 2500, 10_000, 59_999] {
            let (mut given_ms, mut held_ms) = (0_u64, 0);
            loop {
                let Grace { started_at, until } = Grace::new(UnixMillis(1000), grace, given_ms);
                let length_ms = until.0 - started_at.0;
                held_ms += length_ms.min(life_ms);
                assert!(held_ms <= 120_000, "lives of {life_ms} ms hold for {held_ms} ms");
                if length_ms <= life_ms {
                    break;
                }
                given_ms += (life_ms / CHARGE_MS + 1) * CHARGE_MS;
            }
        }
        assert_eq!(Grace::new(UnixMillis(5), Duration::ZERO, 0).until, UnixMillis(5));
    }
}
