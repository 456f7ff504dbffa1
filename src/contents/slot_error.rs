//! Why a key could not be had, made or destroyed.

use std::{fmt, io};

use super::{Family, WrapError};
use crate::store::KeySlot;

/// Why a key could not be had, made or destroyed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SlotError {
    /// What keeps the files failed: the disk, or the database.
    Io(String),
    /// A file cannot be read: which, and what is wrong with it.
    Damaged {
        /// The file.
        place: String,
        /// What is wrong with it.
        problem: String,
    },
    /// What a file is sealed with does not open: which file, and why.
    Sealed {
        /// The file.
        place: String,
        /// Why.
        why: WrapError,
    },
    /// The file that held the key is not there.
    Lost(Family, KeySlot),
    /// No key was given out for this slot.
    NotGiven(Family, KeySlot),
    /// A folder that must not be used, and what to do.
    Refused(String),
    /// The keys were opened to be read.
    ReadOnly,
    /// The keys are being closed.
    Closed,
}

impl SlotError {
    /// What is wrong, without where: for whoever has named the file.
    pub fn problem(&self) -> String {
        match self {
            SlotError::Damaged { problem, .. } => problem.clone(),
            SlotError::Sealed { why, .. } => why.to_string(),
            SlotError::Lost(..) => "the file is not there".to_owned(),
            SlotError::Io(_)
            | SlotError::NotGiven(..)
            | SlotError::Refused(_)
            | SlotError::ReadOnly
            | SlotError::Closed => self.to_string(),
        }
    }

    /// A file or folder with which what keeps it would not do what was asked.
    pub(super) fn io(what: &str, place: &str, error: &io::Error) -> SlotError {
        SlotError::Io(format!("{what} {place}: {error}"))
    }

    /// A file whose secret could not be sealed or opened.
    pub(super) fn sealed(place: &str, why: WrapError) -> SlotError {
        SlotError::Sealed { place: place.to_owned(), why }
    }

    /// A file that is not what it should be.
    pub(super) fn damaged(place: &str, problem: impl Into<String>) -> SlotError {
        SlotError::Damaged { place: place.to_owned(), problem: problem.into() }
    }
}

impl fmt::Display for SlotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SlotError::Io(problem) | SlotError::Refused(problem) => f.write_str(problem),
            SlotError::Damaged { place, problem } => write!(f, "{place}: {problem}"),
            SlotError::Sealed { place, why } => write!(f, "{place}: {why}"),
            SlotError::Lost(family, slot) => write!(
                f,
                "the keys of contents/{} are lost: the file is not there",
                family.file_name(slot.segment())
            ),
            SlotError::NotGiven(family, slot) => {
                write!(f, "no key was given out at {} {}", family.letter(), slot.0)
            }
            SlotError::ReadOnly => f.write_str(
                "the keys are only read, as the store is: none is given out, and none destroyed",
            ),
            SlotError::Closed => f.write_str("the service is stopping"),
        }
    }
}

impl std::error::Error for SlotError {}
