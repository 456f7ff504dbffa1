//! Which tokens were used, for services that take each once.
//!
//! Held in memory, and kept in the store until the token expires. A row is durable with whatever is made
//! durable next: what a token asked for is done, and known to be, after the row is there. So over a crash a
//! token may be used once more that asked to be shown something a moment before, and no token that changed
//! anything; [`UsedTokenStore::tidy`] bounds that moment. Times are the wall clock's, as a token's are.

use std::{
    collections::HashMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::store::{Kind, SettingChange, Settings, StoreError, decode, encode};

/// How many unexpired tokens of one application are remembered, and of how many applications.
const OF_ONE_MOST: usize = 50_000;
const APPLICATIONS_MOST: usize = 1024;
/// How many rows are read, or removed, at once.
const ROWS: usize = 1000;
const HASH_BYTES: usize = 16;

/// By application: the hash of a token's `jti`, and when the token ends, in seconds of the Unix epoch.
type UsedTokens = HashMap<Uuid, HashMap<[u8; HASH_BYTES], u64>>;

/// Which tokens were used, in memory and in the store.
#[derive(Default)]
pub(super) struct UsedTokenStore {
    /// Once it was read.
    used: Mutex<Option<UsedTokens>>,
    /// Whether rows were written that may not be durable.
    is_unsynced: AtomicBool,
}

impl UsedTokenStore {
    /// How many tokens are remembered.
    pub(super) fn len(&self) -> usize {
        self.lock().iter().flatten().map(|(_, of_one)| of_one.len()).sum()
    }

    /// Whether this is the first use of a token; `None` if there is no room to remember it. Only tokens
    /// whose signature fits come here, so that nobody fills another's room.
    pub(super) fn is_new(
        &self,
        settings: &dyn Settings,
        application: Uuid,
        jti: &str,
        until_s: u64,
        now_s: u64,
    ) -> Result<Option<bool>, StoreError> {
        let digest = Sha256::digest(jti.as_bytes());
        let hash: [u8; HASH_BYTES] = std::array::from_fn(|at| digest[at]);
        let mut all = self.lock();
        let all = read(&mut all, settings, now_s)?;
        if all.len() >= APPLICATIONS_MOST && !all.contains_key(&application) {
            all.retain(|_, used| used.values().any(|until| *until > now_s));
            if all.len() >= APPLICATIONS_MOST {
                return Ok(None);
            }
        }
        let used = all.entry(application).or_default();
        if used.get(&hash).is_some_and(|until| *until > now_s) {
            return Ok(Some(false));
        }
        if used.len() >= OF_ONE_MOST {
            used.retain(|_, until| *until > now_s);
            if used.len() >= OF_ONE_MOST {
                return Ok(None);
            }
        }
        let row = encode(&until_s)?;
        settings.note(vec![SettingChange::put(Kind::UsedToken, key(application, &hash), row)])?;
        self.is_unsynced.store(true, Ordering::Relaxed);
        used.insert(hash, until_s);
        Ok(Some(true))
    }

    /// Makes durable what was written since the last time, and forgets what has expired. To be called every
    /// second or so; blocks.
    pub(super) fn tidy(&self, settings: &dyn Settings, now_s: u64) -> Result<(), StoreError> {
        if self.is_unsynced.swap(false, Ordering::Relaxed) {
            settings.write(Vec::new())?;
        }
        let mut all = self.lock();
        let Some(all) = &mut *all else { return Ok(()) };
        for used in all.values_mut() {
            used.retain(|_, until| *until > now_s);
        }
        all.retain(|_, used| !used.is_empty());
        Ok(())
    }

    /// Removes the rows of tokens that have expired. Reads all rows: to be called every minute or so; blocks.
    pub(super) fn sweep(&self, settings: &dyn Settings, now_s: u64) -> Result<(), StoreError> {
        each_page(settings, |rows| {
            let expired = rows.iter().filter(|(_, row)| until(row).is_none_or(|it| it <= now_s));
            let gone: Vec<_> = expired
                .map(|(key, _)| SettingChange::remove(Kind::UsedToken, key.clone()))
                .collect();
            if gone.is_empty() { Ok(()) } else { settings.note(gone) }
        })
    }

    fn lock(&self) -> MutexGuard<'_, Option<UsedTokens>> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is in memory; at the first time, what an earlier life left in the store.
fn read<'a>(
    used: &'a mut Option<UsedTokens>,
    settings: &dyn Settings,
    now_s: u64,
) -> Result<&'a mut UsedTokens, StoreError> {
    if used.is_none() {
        let mut found = UsedTokens::new();
        each_page(settings, |rows| {
            for (key, row) in rows {
                let parts = key.split_first_chunk().and_then(|(application, hash)| {
                    Some((Uuid::from_bytes(*application), hash.try_into().ok()?, until(row)?))
                });
                if let Some((application, hash, until)) = parts
                    && until > now_s
                {
                    found.entry(application).or_default().insert(hash, until);
                }
            }
            Ok(())
        })?;
        *used = Some(found);
    }
    Ok(used.get_or_insert_default())
}

fn each_page(
    settings: &dyn Settings,
    mut see: impl FnMut(&[(Vec<u8>, Vec<u8>)]) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut after: Option<Vec<u8>> = None;
    loop {
        let rows = settings.list(Kind::UsedToken, after.as_deref(), ROWS)?;
        see(&rows)?;
        match rows.into_iter().nth(ROWS - 1) {
            Some((last, _)) => after = Some(last),
            None => return Ok(()),
        }
    }
}

fn key(application: Uuid, hash: &[u8; HASH_BYTES]) -> Vec<u8> {
    [&application.as_bytes()[..], hash].concat()
}

/// When a row's token ends.
fn until(row: &[u8]) -> Option<u64> {
    decode(row, || "a used token".to_owned()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{MemoryStore, Store};

    #[test]
    fn a_token_is_new_once_and_its_place_is_given_on_after_its_end() {
        let settings = MemoryStore::new().settings();
        let (replays, one, other) = (UsedTokenStore::default(), Uuid::new_v4(), Uuid::new_v4());
        let is_new = |of, jti: &str, until_s, now_s| {
            replays.is_new(&*settings, of, jti, until_s, now_s).unwrap()
        };
        assert_eq!(is_new(one, "a", 100, 10), Some(true));
        assert_eq!(is_new(one, "a", 100, 99), Some(false));
        assert_eq!(is_new(other, "a", 100, 99), Some(true), "another application's");
        for at in 1..OF_ONE_MOST {
            assert_eq!(is_new(one, &at.to_string(), 100, 99), Some(true));
        }
        assert_eq!(is_new(one, "b", 100, 99), None, "nothing unexpired is forgotten");
        assert_eq!(is_new(one, "b", 200, 100), Some(true), "all the others have ended");
    }

    #[test]
    fn a_restart_forgets_nothing_that_has_not_expired() {
        let settings = MemoryStore::new().settings();
        let app = Uuid::new_v4();
        for (jti, until_s) in [("early", 50), ("late", 100)] {
            let is_new = UsedTokenStore::default().is_new(&*settings, app, jti, until_s, 10);
            assert_eq!(is_new, Ok(Some(true)));
        }
        let later = UsedTokenStore::default();
        assert_eq!(later.is_new(&*settings, app, "late", 100, 60), Ok(Some(false)));
        let rows = || settings.list(Kind::UsedToken, None, 10).unwrap().len();
        assert_eq!(rows(), 2);
        later.sweep(&*settings, 60).unwrap();
        assert_eq!(rows(), 1, "what has expired takes no room");
        assert_eq!(later.is_new(&*settings, app, "early", 200, 60), Ok(Some(true)));
        later.tidy(&*settings, 100).unwrap();
        later.sweep(&*settings, 200).unwrap();
        assert_eq!(rows(), 0);
    }
}
