//! How many messages each chat has: Telegram numbers them from 1 in each.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// So many chats are remembered.
const MOST_CHATS: usize = 65_536;

/// How many messages there are in each.
#[derive(Default)]
pub(super) struct Chats(Mutex<BTreeMap<i64, u64>>);

impl Chats {
    /// The next message's number.
    pub(super) fn number(&self, chat: i64) -> u64 {
        let mut chats = self.lock();
        if chats.len() >= MOST_CHATS && !chats.contains_key(&chat) {
            chats.pop_first();
        }
        let count = chats.entry(chat).or_default();
        *count += 1;
        *count
    }

    /// Whether there is a message of this number.
    pub(super) fn has(&self, chat: i64, number: u64) -> bool {
        self.lock().get(&chat).is_some_and(|count| (1..=*count).contains(&number))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<i64, u64>> {
        // What a panic elsewhere left here is a whole map.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
