//! Receipts that came before the answer that would have told whose they are.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use dispatch_contract::UnixMillis;

use crate::store::Parked;

/// How long a parked receipt waits for its attempt, in milliseconds.
const PARK_MS: u64 = 10 * 60 * 1000;
/// How many may wait.
const PARK_MOST: usize = 10_000;

/// The parked receipts, as the store keeps them, found by the provider's id.
#[derive(Debug, Default)]
pub(super) struct Parking {
    by_key: BTreeMap<u64, Parked>,
    by_name: HashMap<(Arc<str>, String), Vec<u64>>,
    next_key: u64,
}

impl Parking {
    pub(super) fn of(parked: Vec<Parked>) -> Self {
        let mut parking = Parking { next_key: 1, ..Parking::default() };
        for parked in parked {
            parking.next_key = parking.next_key.max(parked.key + 1);
            parking.put(parked);
        }
        parking
    }

    pub(super) fn is_full(&self) -> bool {
        self.by_key.len() >= PARK_MOST
    }

    /// Parks a receipt, and returns it as it is to be kept, under a key of its own.
    pub(super) fn park(&mut self, mut parked: Parked) -> Parked {
        parked.key = self.next_key;
        self.next_key += 1;
        self.put(parked.clone());
        parked
    }

    /// Those of one message, in the order in which they came; they wait no longer.
    pub(super) fn take(&mut self, account: &Arc<str>, provider_id: &str) -> Vec<Parked> {
        if self.by_key.is_empty() {
            return Vec::new();
        }
        let name = (Arc::clone(account), provider_id.to_owned());
        let keys = self.by_name.remove(&name).unwrap_or_default();
        keys.iter().filter_map(|key| self.by_key.remove(key)).collect()
    }

    /// The keys of those that waited long enough; they wait no longer. Nothing waited before `began`.
    pub(super) fn take_stale(&mut self, now: UnixMillis, began: UnixMillis) -> Vec<u64> {
        let mut stale = Vec::new();
        // Keys grow with time.
        while let Some(oldest) = self.by_key.first_entry()
            && oldest.get().at.max(began).0.saturating_add(PARK_MS) < now.0
        {
            let (key, parked) = oldest.remove_entry();
            let name = (parked.account, parked.provider_id);
            if let Some(keys) = self.by_name.get_mut(&name) {
                keys.retain(|other| *other != key);
                if keys.is_empty() {
                    self.by_name.remove(&name);
                }
            }
            stale.push(key);
        }
        stale
    }

    fn put(&mut self, parked: Parked) {
        let name = (Arc::clone(&parked.account), parked.provider_id.clone());
        self.by_name.entry(name).or_default().push(parked.key);
        self.by_key.insert(parked.key, parked);
    }
}
