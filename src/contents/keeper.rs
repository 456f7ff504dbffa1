//! Turns contents into the bytes that are stored, and back.

use std::{fmt, sync::Arc};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{
    ContentKeys, Contents, Family, LastingKey, MemoryKeys, RequestDigest, RowKeeper, SealError,
    SlotError, SlotKey, owners::JournalNotes, row_keeper, seal,
};
use crate::{
    machine::WorkflowId,
    store::{ExistingRequest, Fingerprint, KeySlot, Record, SealedContents},
};

/// Turns contents into the bytes that are stored, and back: each workflow's under a key of its own.
pub struct ContentsKeeper {
    pub(super) keys: Arc<dyn ContentKeys>,
    pub(super) journal_notes: JournalNotes,
}

/// A key that was given out for one workflow, and sealed nothing yet.
#[derive(Debug)]
pub struct FreshKey {
    pub(super) slot: KeySlot,
    key: SlotKey,
}

/// Why contents could not be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unopened {
    /// Their key was destroyed: nobody can open them any more.
    Gone,
    /// Their key is lost, or they are damaged: one sentence, without a word of them.
    Unreadable(String),
}

impl ContentsKeeper {
    /// One that has its keys there.
    pub fn new(keys: Arc<dyn ContentKeys>) -> ContentsKeeper {
        let journal_notes = JournalNotes::behind(keys.noted());
        ContentsKeeper { keys, journal_notes }
    }

    /// One whose keys are in memory and follow from a seed: they go with it.
    pub fn in_memory(seed: [u8; 32]) -> ContentsKeeper {
        ContentsKeeper::new(Arc::new(MemoryKeys::new(seed)))
    }

    /// Seals rows beside the journal with the same keys.
    pub fn rows(&self, family: Family) -> RowKeeper {
        RowKeeper::new(Arc::clone(&self.keys), family)
    }

    /// What stands for a provider's id of a message that tells who it is for: the same for the same id, and nobody can
    /// tell from it which.
    pub fn pseudonym(&self, provider: &str, id: &str) -> String {
        let hash = row_keeper::hash(&*self.keys, LastingKey::Pseudonyms, &[provider, id]);
        format!("~{}", URL_SAFE_NO_PAD.encode(hash))
    }

    /// The keys: to find whose there are, and to destroy them.
    pub fn keys(&self) -> &Arc<dyn ContentKeys> {
        &self.keys
    }

    /// A key for one workflow's contents, if one is at hand; never waits for the disk.
    pub fn try_take(&self) -> Option<FreshKey> {
        self.keys.try_take(Family::Workflow).map(|(slot, key)| FreshKey { slot, key })
    }

    /// A key for one workflow's contents. Waits for the disk where none is at hand.
    ///
    /// # Errors
    /// If none can be made.
    pub fn take(&self) -> Result<FreshKey, SlotError> {
        self.keys.take(Family::Workflow).map(|(slot, key)| FreshKey { slot, key })
    }

    /// Seals the contents of this workflow, and notes whose key it was and whom they name. That is noted before the
    /// workflow is durable: so whatever the journal holds was noted.
    ///
    /// # Errors
    /// If they are larger than what is sealed, or the cryptographic library fails.
    pub fn seal(
        &self,
        FreshKey { slot, key }: FreshKey,
        id: WorkflowId,
        contents: &Contents,
    ) -> Result<SealedContents, SealError> {
        let plain = postcard::to_stdvec(contents).map_err(|_| SealError::Failed)?;
        let bytes = seal::seal(&key, slot, id, &plain)?;
        self.note_owner(id, slot, contents).map_err(|_| SealError::Failed)?;
        Ok(SealedContents { slot, bytes })
    }

    /// The contents of a workflow.
    ///
    /// # Errors
    /// If they cannot be opened.
    pub fn open(&self, record: &Record) -> Result<Contents, Unopened> {
        let SealedContents { slot, bytes } = &record.contents;
        let unreadable = |why: String| Unopened::Unreadable(why);
        let key = self.keys.key(Family::Workflow, *slot);
        let key = key.map_err(|error| unreadable(error.to_string()))?.ok_or(Unopened::Gone)?;
        let opened = seal::open(&key, *slot, record.id, bytes);
        let plain = opened.map_err(|error| unreadable(error.to_string()))?;
        postcard::from_bytes(&plain).map_err(|_| {
            unreadable("they are of a form that this program does not know".to_owned())
        })
    }

    /// Whether an earlier request asked for what this digest is of. Where its key is gone or lost nobody can tell, and it
    /// counts as the same: what is repeated makes nothing new, whatever it was.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn is_same(
        &self,
        existing: &ExistingRequest,
        digest: &RequestDigest,
    ) -> Result<bool, SlotError> {
        match self.keys.key(Family::Workflow, existing.slot) {
            Ok(Some(key)) => Ok(fingerprint(&key, digest) == existing.fingerprint),
            Ok(None)
            | Err(
                SlotError::Lost(..)
                | SlotError::NotGiven(..)
                | SlotError::Damaged { .. }
                | SlotError::Sealed { .. },
            ) => Ok(true),
            Err(error) => Err(error),
        }
    }
}

impl FreshKey {
    /// By what a repeat of a request with this digest is known.
    pub fn fingerprint(&self, digest: &RequestDigest) -> Fingerprint {
        fingerprint(&self.key, digest)
    }
}

fn fingerprint(key: &SlotKey, digest: &RequestDigest) -> Fingerprint {
    Fingerprint(seal::fingerprint(key, &digest.0))
}

impl fmt::Display for Unopened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unopened::Gone => f.write_str("its key was destroyed"),
            Unopened::Unreadable(why) => f.write_str(why),
        }
    }
}

impl fmt::Debug for ContentsKeeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ContentsKeeper")
    }
}
