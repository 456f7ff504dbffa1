//! Which tokens were used, for services that take each once.
//!
//! In memory: after a restart a token that has not expired may be used once more.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use sha2::{Digest, Sha256};
use uuid::Uuid;

/// How many unexpired tokens of one application are remembered, and of how many applications.
const OF_ONE_MOST: usize = 50_000;
const APPLICATIONS_MOST: usize = 1024;

/// By application: the hash of a token's `jti`, and when the token ends, in seconds of the Unix epoch.
#[derive(Default)]
pub(super) struct Replays(Mutex<HashMap<Uuid, HashMap<[u8; 16], u64>>>);

impl Replays {
    /// Whether this is the first use of a token; `None` if there is no room to remember it. Only tokens
    /// whose signature fits come here, so that nobody fills another's room.
    pub(super) fn is_new(
        &self,
        application: Uuid,
        jti: &str,
        until_s: u64,
        now_s: u64,
    ) -> Option<bool> {
        let digest = Sha256::digest(jti.as_bytes());
        let hash: [u8; 16] = std::array::from_fn(|at| digest[at]);
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= APPLICATIONS_MOST && !all.contains_key(&application) {
            all.retain(|_, used| used.values().any(|until| *until > now_s));
            if all.len() >= APPLICATIONS_MOST {
                return None;
            }
        }
        let used = all.entry(application).or_default();
        if used.get(&hash).is_some_and(|until| *until > now_s) {
            return Some(false);
        }
        if used.len() >= OF_ONE_MOST {
            used.retain(|_, until| *until > now_s);
            if used.len() >= OF_ONE_MOST {
                return None;
            }
        }
        used.insert(hash, until_s);
        Some(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_new_once_and_its_place_is_given_on_after_its_end() {
        let (replays, one, other) = (Replays::default(), Uuid::new_v4(), Uuid::new_v4());
        assert_eq!(replays.is_new(one, "a", 100, 10), Some(true));
        assert_eq!(replays.is_new(one, "a", 100, 99), Some(false));
        assert_eq!(replays.is_new(other, "a", 100, 99), Some(true), "another application's");
        for at in 1..OF_ONE_MOST {
            assert_eq!(replays.is_new(one, &at.to_string(), 100, 99), Some(true));
        }
        assert_eq!(replays.is_new(one, "b", 100, 99), None, "nothing unexpired is forgotten");
        assert_eq!(replays.is_new(one, "b", 200, 100), Some(true), "all the others have ended");
    }
}
