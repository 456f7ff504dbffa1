//! Receipts that came before the answer that would have told whose they are.
//!
//! There is room for so many; where it is full, the oldest of the account with the most goes, so that
//! one that other systems send much under does not take the room of the others.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use dispatch_contract::UnixMillis;

use crate::{engine::FormerNames, store::HeldReceipt};

/// How long a parked receipt waits for its attempt, in milliseconds.
const HOLD_MS: u64 = 10 * 60 * 1000;
/// How many may wait.
const MAX_HELD: usize = 10_000;

/// The parked receipts, as the store keeps them, found by the provider's id.
#[derive(Debug, Default)]
pub(super) struct HeldReceipts {
    by_key: BTreeMap<u64, HeldReceipt>,
    by_name: HashMap<(Arc<str>, String), Vec<u64>>,
    by_account: HashMap<Arc<str>, BTreeSet<u64>>,
    next_key: u64,
}

impl HeldReceipts {
    /// Those that the store kept; an account may have another name now.
    pub(super) fn of(parked: Vec<HeldReceipt>, names: &FormerNames) -> Self {
        let mut held_receipts = HeldReceipts { next_key: 1, ..HeldReceipts::default() };
        for mut parked in parked {
            held_receipts.next_key = held_receipts.next_key.max(parked.key + 1);
            parked.account = names.present_of_held(&parked.account);
            held_receipts.put(parked);
        }
        held_receipts
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Of how many messages.
    pub(super) fn messages(&self) -> usize {
        self.by_name.len()
    }

    /// Parks a receipt, and returns it as it is to be kept, under a key of its own; and the key of the
    /// one that had to go for it.
    pub(super) fn park(&mut self, mut parked: HeldReceipt) -> (HeldReceipt, Option<u64>) {
        let gone = if self.by_key.len() >= MAX_HELD { self.oldest_of_the_most() } else { None };
        if let Some(key) = gone {
            self.remove(key);
        }
        parked.key = self.next_key;
        self.next_key += 1;
        self.put(parked.clone());
        (parked, gone)
    }

    /// Those of one message, in the order in which they came; they wait no longer.
    pub(super) fn take(&mut self, account: &Arc<str>, provider_id: &str) -> Vec<HeldReceipt> {
        if self.by_key.is_empty() {
            return Vec::new();
        }
        let name = (Arc::clone(account), provider_id.to_owned());
        let keys = self.by_name.get(&name).cloned().unwrap_or_default();
        keys.into_iter().filter_map(|key| self.remove(key)).collect()
    }

    /// The keys of those that waited long enough; they wait no longer. Nothing waited before `began`.
    pub(super) fn take_expired(&mut self, now: UnixMillis, began: UnixMillis) -> Vec<u64> {
        let mut expired = Vec::new();
        // Keys grow with time.
        while let Some((key, oldest)) = self.by_key.first_key_value()
            && oldest.at.max(began).0.saturating_add(HOLD_MS) < now.0
        {
            let key = *key;
            self.remove(key);
            expired.push(key);
        }
        expired
    }

    fn oldest_of_the_most(&self) -> Option<u64> {
        self.by_account.values().max_by_key(|keys| keys.len())?.first().copied()
    }

    fn put(&mut self, parked: HeldReceipt) {
        let name = (Arc::clone(&parked.account), parked.provider_id.clone());
        self.by_account.entry(Arc::clone(&parked.account)).or_default().insert(parked.key);
        self.by_name.entry(name).or_default().push(parked.key);
        self.by_key.insert(parked.key, parked);
    }

    fn remove(&mut self, key: u64) -> Option<HeldReceipt> {
        let parked = self.by_key.remove(&key)?;
        if let Some(keys) = self.by_account.get_mut(&parked.account) {
            keys.remove(&key);
            if keys.is_empty() {
                self.by_account.remove(&parked.account);
            }
        }
        let name = (Arc::clone(&parked.account), parked.provider_id.clone());
        if let Some(keys) = self.by_name.get_mut(&name) {
            keys.retain(|other| *other != key);
            if keys.is_empty() {
                self.by_name.remove(&name);
            }
        }
        Some(parked)
    }
}

#[cfg(test)]
mod tests {
    use dispatch_contract::{Report, Status};

    use super::*;

    fn parked(account: &str, number: u64) -> HeldReceipt {
        HeldReceipt {
            key: 0,
            account: Arc::from(account),
            provider_id: format!("m{number}"),
            at: UnixMillis(number),
            report: Report::Reached(Status::Read).into(),
            provider_time: None,
            code: None,
            detail: None,
            usage: None,
        }
    }

    #[test]
    fn where_all_is_full_the_oldest_of_the_account_with_the_most_goes() {
        let mut held_receipts = HeldReceipts::default();
        let (_, none) = held_receipts.park(parked("p/ours", 0));
        assert_eq!(none, None);
        let most = MAX_HELD as u64;
        let gone: Vec<_> = (1..most + 100)
            .filter_map(|at| held_receipts.park(parked("p/crowded", at)).1)
            .collect();
        assert!(gone.into_iter().eq(1..=100), "keys are given in order, and ours is the first");
        assert_eq!(held_receipts.by_key.len(), MAX_HELD);
        assert_eq!(held_receipts.take(&Arc::from("p/ours"), "m0").len(), 1);
        assert_eq!(held_receipts.take(&Arc::from("p/crowded"), "m100").len(), 0);
        assert_eq!(held_receipts.take(&Arc::from("p/crowded"), "m101").len(), 1);
    }

    #[test]
    fn what_was_parked_under_a_former_name_is_found() {
        let names = FormerNames::new([(Arc::from("p/new"), Arc::from("p/old"))]);
        let mut held_receipts = HeldReceipts::of(vec![parked("p/old", 1)], &names);
        assert_eq!(held_receipts.take(&Arc::from("p/new"), "m1").len(), 1);
        assert!(held_receipts.by_account.is_empty() && held_receipts.by_name.is_empty());
    }
}
