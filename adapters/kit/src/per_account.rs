//! What is made of an account once and used for many calls: a token, a key that was read.
//!
//! One for each account name and revision: what was made under an account that changed is not used again, and a
//! tenant's own account on a sender has a revision of its own.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Mutex, PoisonError},
};

use dispatch_contract::Account;

/// Keeps a `T` for each account.
pub struct PerAccount<T>(Mutex<BTreeMap<(String, u64), T>>);

impl<T: Clone> PerAccount<T> {
    /// One that is empty.
    pub fn new() -> Self {
        PerAccount(Mutex::new(BTreeMap::new()))
    }

    /// What is kept for `account` as long as it `is_fresh`, else what `make` gives.
    ///
    /// Nobody else makes one meanwhile, so `make` must not wait. Whatever is not fresh any more is dropped then:
    /// the map stays as small as accounts are few.
    ///
    /// # Errors
    /// Those of `make`; nothing of it is kept.
    pub fn fresh<E>(
        &self,
        account: &Account,
        is_fresh: impl Fn(&T) -> bool,
        make: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        // What a panic elsewhere left here is a whole map: entries are only ever replaced.
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (account.name.clone(), account.revision);
        if let Some(known) = kept.get(&key).filter(|known| is_fresh(known)) {
            return Ok(known.clone());
        }
        let made = make()?;
        kept.retain(|_, other| is_fresh(other));
        kept.insert(key, made.clone());
        Ok(made)
    }
}

impl<T: Clone> Default for PerAccount<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> fmt::Debug for PerAccount<T> {
    /// What is kept may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PerAccount(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(name: &str, revision: u64) -> Account {
        Account { name: name.to_owned(), revision, settings: [].into(), secrets: [].into() }
    }

    #[test]
    fn each_account_and_revision_has_its_own_until_it_is_stale() {
        let kept = PerAccount::new();
        let get = |name, revision, now: u64, made: u64| {
            let is_fresh = |until: &u64| *until > now;
            kept.fresh(&account(name, revision), is_fresh, || Ok::<_, ()>(made)).unwrap()
        };
        assert_eq!(get("main", 1, 0, 10), 10);
        assert_eq!(get("main", 1, 9, 20), 10);
        assert_eq!(get("main", 2, 9, 20), 20, "a changed account");
        assert_eq!(get("other", 1, 9, 30), 30);
        assert_eq!(get("main", 1, 10, 40), 40);
        assert_eq!(kept.0.lock().unwrap().len(), 3);
        assert_eq!(get("other", 2, 35, 50), 50);
        assert_eq!(kept.0.lock().unwrap().len(), 2, "what is stale is dropped");
        let failed = kept.fresh(&account("bad", 1), |_| true, || Err::<u64, _>("no key"));
        assert_eq!(failed, Err("no key"));
        assert_eq!(kept.0.lock().unwrap().len(), 2);
    }
}
