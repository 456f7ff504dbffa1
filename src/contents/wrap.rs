//! What the secrets of key files are sealed with: the master key, wherever it is kept.

use std::fmt;

use super::{SlotError, slot_key::KEY_BYTES};

/// Seals and opens the secrets of key files, each for its place: sealed for one, it opens for no other.
pub trait Wrap: Send + Sync {
    /// Seals `plain`, and hands it to `keep`, which makes it durable: until that has returned, the key that
    /// it was sealed with goes on being known.
    ///
    /// # Errors
    /// If it cannot be sealed, or what `keep` says.
    fn seal(
        &self,
        place: &str,
        plain: &[u8],
        keep: &mut dyn FnMut(&[u8]) -> Result<(), SlotError>,
    ) -> Result<(), SlotError>;

    /// What was sealed for `place`.
    ///
    /// # Errors
    /// If it does not open.
    fn open(&self, place: &str, sealed: &[u8]) -> Result<Vec<u8>, WrapError>;
}

/// Why something could not be sealed or opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WrapError {
    /// It was sealed with another master key.
    OtherKey,
    /// It is damaged, or was sealed for another place.
    Damaged,
    /// The cryptographic library failed.
    Failed,
}

/// Opens nothing: what is sealed is taken for zeros. Whoever has no master key sees with it whether files are there and
/// whole, and which keys were destroyed; of those that were not, none is the right one.
#[derive(Clone, Copy, Debug)]
pub struct LookOnly;

impl Wrap for LookOnly {
    fn seal(
        &self,
        place: &str,
        _: &[u8],
        _: &mut dyn FnMut(&[u8]) -> Result<(), SlotError>,
    ) -> Result<(), SlotError> {
        Err(SlotError::Sealed { place: place.to_owned(), why: WrapError::Failed })
    }

    fn open(&self, _: &str, _: &[u8]) -> Result<Vec<u8>, WrapError> {
        Ok(vec![0; 2 * KEY_BYTES])
    }
}

impl fmt::Display for WrapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            WrapError::OtherKey => {
                "it was encrypted with another master key; give that one as access.master_key, or as \
                 access.master_key_previous"
            }
            WrapError::Damaged => {
                "its secret does not decrypt: it is damaged, or access.master_key is not the one it was \
                 encrypted with"
            }
            WrapError::Failed => "the cryptographic library failed",
        })
    }
}

impl std::error::Error for WrapError {}
