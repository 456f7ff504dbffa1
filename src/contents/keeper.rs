//! Turns contents into the bytes that are stored, and back.

use super::{Contents, RequestDigest};
use crate::store::{ExistingRequest, Fingerprint, KeySlot, SealedContents};

/// How contents are written: the first byte of what is stored. In clear.
const IN_CLEAR: u8 = 0;

/// Turns contents into the bytes that are stored, and back. Contents are not encrypted yet: these bytes are
/// readable by whoever reads the data folder.
#[derive(Debug, Default)]
pub struct ContentsKeeper(());

/// Why contents could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unopened {
    /// What is stored is damaged, or of a version that this program does not know.
    Unreadable,
}

impl ContentsKeeper {
    /// The contents as they are stored.
    pub fn seal(&self, contents: &Contents) -> SealedContents {
        let bytes = postcard::to_extend(contents, vec![IN_CLEAR]).unwrap_or_default();
        SealedContents { slot: KeySlot(0), bytes: bytes.into() }
    }

    /// What was sealed.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn open(&self, sealed: &SealedContents) -> Result<Contents, Unopened> {
        match sealed.bytes.split_first() {
            Some((&IN_CLEAR, bytes)) => {
                postcard::from_bytes(bytes).map_err(|_| Unopened::Unreadable)
            }
            Some(_) | None => Err(Unopened::Unreadable),
        }
    }

    /// By what a repeat of a request is known that was sealed under the key at `slot`.
    pub fn fingerprint(&self, _slot: KeySlot, digest: &RequestDigest) -> Fingerprint {
        let mut short = [0; 16];
        short.copy_from_slice(&digest.0[..16]);
        Fingerprint(short)
    }

    /// Whether an earlier request asked for what this digest is of.
    pub fn is_same(&self, existing: &ExistingRequest, digest: &RequestDigest) -> bool {
        self.fingerprint(existing.slot, digest) == existing.fingerprint
    }
}
