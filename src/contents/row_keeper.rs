//! Seals rows beside the journal that name a person, each under a key of its own, and opens them.
//!
//! A row keeps a [`SealedContents`]: where its key is, and bytes that the store cannot read. To forget what it says is
//! to destroy the key; the row itself may stay.

use std::{fmt, sync::Arc};

use serde::{Serialize, de::DeserializeOwned};

use super::{ContentKeys, Family, LastingKey, OwnerId, SlotError, Unopened, open_row, seal_row};
use crate::store::{
    KeySlot, Kind, NameHash, SealedContents, SettingChange, Settings, StoreError, decode, encode,
};

/// What has become of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyState {
    /// It opens what it sealed.
    There,
    /// It was destroyed, or its file is not there.
    Gone,
    /// It cannot be read, and may come back.
    Unreadable,
}

/// Seals the rows of one family, and opens them.
#[derive(Clone)]
pub struct RowKeeper {
    pub(super) keys: Arc<dyn ContentKeys>,
    family: Family,
}

impl RowKeeper {
    /// One that has its keys there.
    pub fn new(keys: Arc<dyn ContentKeys>, family: Family) -> RowKeeper {
        RowKeeper { keys, family }
    }

    /// Seals what a row says of a person, for the place that `row` names. Waits for the disk where no key is at hand.
    ///
    /// # Errors
    /// If no key can be made, or it is longer than what is sealed.
    pub fn seal(&self, row: &[u8], said: &impl Serialize) -> Result<SealedContents, StoreError> {
        let plain = postcard::to_stdvec(said).map_err(|_| {
            StoreError::Io("what a row says of a person could not be encoded".to_owned())
        })?;
        let (slot, key) = self.keys.take(self.family).map_err(failed)?;
        let bytes = seal_row(&key, (self.family, slot), row, &plain)
            .map_err(|error| StoreError::Io(format!("a row could not be sealed: {error}")))?;
        Ok(SealedContents { slot, bytes })
    }

    /// What a row says of a person.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn open<T: DeserializeOwned>(
        &self,
        row: &[u8],
        sealed: &SealedContents,
    ) -> Result<T, Unopened> {
        let unreadable = |why: String| Unopened::Unreadable(why);
        let key = self.keys.key(self.family, sealed.slot);
        let key = key.map_err(|error| unreadable(error.to_string()))?.ok_or(Unopened::Gone)?;
        let plain = open_row(&key, (self.family, sealed.slot), row, &sealed.bytes)
            .map_err(|error| unreadable(error.to_string()))?;
        postcard::from_bytes(&plain)
            .map_err(|_| unreadable("it is of a form that this program does not know".to_owned()))
    }

    /// Notes whose a slot is, and under which addresses its row is found.
    pub fn note(&self, slot: KeySlot, owner: OwnerId, addresses: &[&str]) {
        match self.keys.tags(self.family, slot, addresses) {
            Ok(tags) => self.keys.note(self.family, slot, owner, tags),
            Err(error) => {
                tracing::error!(%error, "whose a key is could not be noted");
            }
        }
    }

    /// How many notes there was no room for, of whatever family.
    pub fn lost_notes(&self) -> u64 {
        self.keys.lost_notes()
    }

    /// The slots that were noted under one of these addresses, with whose they are; others may be among them.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn find(&self, addresses: &[&str]) -> Result<Vec<(KeySlot, OwnerId)>, StoreError> {
        self.keys.find(self.family, addresses).map_err(failed)
    }

    /// What has become of the key of a slot.
    pub fn state(&self, slot: KeySlot) -> KeyState {
        match self.keys.key(self.family, slot) {
            Ok(Some(_)) => KeyState::There,
            Ok(None) | Err(SlotError::Lost(..)) => KeyState::Gone,
            Err(_) => KeyState::Unreadable,
        }
    }

    /// How many files of keys cannot be read: no row is found by its address whose key is in one.
    pub fn unreadable_files(&self) -> usize {
        self.keys.unreadable_segments(self.family)
    }

    /// Destroys the keys of rows, durably when this returns. Keys that are lost with their file, or cannot be read, open
    /// nothing here; the log tells of them.
    ///
    /// # Errors
    /// If the disk fails, or keys are only read.
    pub fn destroy(&self, slots: &[KeySlot]) -> Result<(), StoreError> {
        if slots.is_empty() {
            return Ok(());
        }
        match self.keys.destroy(self.family, slots) {
            Ok(()) => Ok(()),
            Err(error @ (SlotError::Io(_) | SlotError::ReadOnly | SlotError::Closed)) => {
                Err(failed(error))
            }
            Err(error) => {
                tracing::error!(%error, "keys of rows could not be destroyed");
                Ok(())
            }
        }
    }

    /// A hash of names, under a key that lasts: without that nobody finds out by trying whom it is of.
    pub fn hash(&self, key: LastingKey, names: &[&str]) -> NameHash {
        hash(&*self.keys, key, names)
    }

    /// The change by which a start knows that this slot is used: to be written with the row.
    ///
    /// # Errors
    /// If it cannot be encoded.
    pub fn used(&self, slot: KeySlot) -> Result<SettingChange, StoreError> {
        Ok(SettingChange::put(Kind::Service, used_key(self.family), encode(&slot)?))
    }
}

/// The highest slot of a family that rows use: keys that lack it are older than the store beside them.
///
/// # Errors
/// If the store cannot be read.
pub fn newest_row_slot(
    settings: &dyn Settings,
    family: Family,
) -> Result<Option<KeySlot>, StoreError> {
    let row = settings.get(Kind::Service, &used_key(family))?;
    row.map(|row| decode(&row, || format!("the newest key of {family}"))).transpose()
}

fn used_key(family: Family) -> Vec<u8> {
    format!("row key {}", family.letter()).into_bytes()
}

/// The first 16 bytes of HMAC-SHA256 over the names.
pub(super) fn hash(keys: &dyn ContentKeys, key: LastingKey, names: &[&str]) -> NameHash {
    shortened(&keys.lasting_hash(key, &framed(names)))
}

/// Names, each behind its length: of no two lists are they the same.
pub(super) fn framed(names: &[&str]) -> Vec<u8> {
    let mut data = Vec::with_capacity(names.iter().map(|name| 8 + name.len()).sum());
    for name in names {
        data.extend_from_slice(&(name.len() as u64).to_be_bytes());
        data.extend_from_slice(name.as_bytes());
    }
    data
}

/// The first 16 bytes.
pub(super) fn shortened(hash: &[u8; 32]) -> NameHash {
    let mut short = NameHash::default();
    short.copy_from_slice(&hash[..size_of::<NameHash>()]);
    short
}

fn failed(error: SlotError) -> StoreError {
    StoreError::Io(error.to_string())
}

impl fmt::Debug for RowKeeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RowKeeper({})", self.family)
    }
}
