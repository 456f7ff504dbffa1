//! Chance that can be repeated.

use std::time::Duration;

use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Where ids and jitter come from: each is a hash of the seed and of what it is for, so that it
/// stays the same across runs, machines and versions of the compiler.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seed(pub(crate) u64);

impl Seed {
    /// An id that looks like a random one.
    ///
    /// `count` makes it new with each message. The `parts` are what else the message is known by:
    /// they keep a provider that restarted under its old seed from giving an old id to another
    /// message.
    pub(crate) fn id(self, count: u64, parts: &[&str]) -> Uuid {
        let hash = self.hash("id", count, parts);
        uuid::Builder::from_random_bytes(head(&hash)).into_uuid()
    }

    /// A time from zero to `most`, to the millisecond, for the receipt at place `count` of a message.
    pub(crate) fn jitter(self, count: u64, provider_id: &str, most: Duration) -> Duration {
        let hash = self.hash("jitter", count, &[provider_id]);
        let steps = most.as_millis() + 1;
        // The remainder is no longer than `most`, and that was checked when the script was read.
        Duration::from_millis((u128::from_be_bytes(head(&hash)) % steps) as u64)
    }

    fn hash(self, what: &str, count: u64, parts: &[&str]) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(self.0.to_be_bytes());
        hash.update(count.to_be_bytes());
        for part in std::iter::once(&what).chain(parts) {
            // The length keeps ("ab", "c") apart from ("a", "bc").
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
        hash.finalize().into()
    }
}

fn head(hash: &[u8; 32]) -> [u8; 16] {
    std::array::from_fn(|at| hash[at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_ids_for_ever() {
        let id = Seed(7).id(1, &["a.1", "447700900001"]);
        assert_eq!(id, Seed(7).id(1, &["a.1", "447700900001"]));
        assert_eq!(id.get_version_num(), 4);
        assert_ne!(id, Seed(8).id(1, &["a.1", "447700900001"]));
        assert_ne!(id, Seed(7).id(2, &["a.1", "447700900001"]));
        assert_ne!(id, Seed(7).id(1, &["a.14", "47700900001"]));
    }

    #[test]
    fn jitter_stays_within_its_bounds_and_reaches_them() {
        let most = Duration::from_millis(3);
        let seen: std::collections::BTreeSet<_> =
            (0..100).map(|count| Seed(1).jitter(count, "id", most)).collect();
        assert_eq!(seen, (0..=3).map(Duration::from_millis).collect());
        assert_eq!(Seed(1).jitter(0, "id", Duration::ZERO), Duration::ZERO);
    }
}
