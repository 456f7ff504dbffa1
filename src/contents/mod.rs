//! What is personal of a workflow: who is reached, what is said, and where callbacks go.
//!
//! The machine decides by a [`Plan`](crate::machine::Plan), which is kept in clear; what is personal stands
//! beside it as [`Contents`], and the store keeps that as bytes it cannot read
//! ([`SealedContents`](crate::store::SealedContents)). Only a [`ContentsKeeper`] makes the one of the other, so
//! whoever needs what is personal can be found by who opens it.
//!
//! Each workflow's contents are sealed with a key of their own, and that lies in a *key segment*, a file of fixed
//! places beside the store (or rows: [`KeyFolder`](crate::store::KeyFolder)), under the number of its slot. Keys are made beforehand: a slot is durable before it
//! is given out. To forget is to overwrite slots with zeros, or the secret of a whole segment. What providers say
//! of a message stands in clear beside it, so [`scrub`] keeps out of that what was sealed. Why:
//! [docs/decisions/personal-data.md](../../docs/decisions/personal-data.md).

mod age;
mod content_keys;
#[allow(clippy::module_inception, reason = "the room is called after what it is about")]
mod contents;
#[cfg(test)]
mod damaged;
mod day_keys;
mod erasure_rows;
mod family;
mod index_file;
mod keeper;
mod key_backup;
mod key_ring;
mod key_segment;
mod key_stock;
mod memory_keys;
mod owners;
mod person_tag;
mod phrases;
mod request;
mod row_keeper;
pub mod scrub;
mod seal;
mod segment_file;
mod segment_header;
mod slot_error;
mod slot_key;
#[cfg(test)]
mod tests;
mod wrap;

pub use age::{AgePass, AgedOut, ContentsRetention};
pub use content_keys::{ContentKeys, LastingKey};
pub use contents::{Contents, StepContents};
pub use day_keys::{
    AnyConversation, CallConversation, DayKeys, LONGEST_CALL, StoredOnDay, day_key_slots,
};
pub use erasure_rows::{
    AllUntil, ErasedSlot, Erasure, ErasureAuthor, ErasureExtent, PersonTraces, Unreadable,
    erasure_done, erasures, forget_erasures, keep_erasure, kept_erasure,
};
pub use family::Family;
pub use keeper::{ContentsKeeper, FreshKey, Unopened};
pub use key_ring::{KeyFigures, KeyRing, OpenedKeys, UnreadableKeys};
pub use key_segment::OwnerId;
pub use memory_keys::MemoryKeys;
pub use owners::{FoundOwners, NoteError};
pub use person_tag::{PersonTag, names, normal_form};
pub use request::{RequestDigest, WorkflowRequest};
pub use row_keeper::{KeyState, RowKeeper, newest_row_slot};
pub use seal::{SEALED, SealError, TEXT_BYTES, open_row, seal_row};
#[cfg(any(test, fuzzing))]
pub(crate) use seal::{open, seal, unpacked};
#[cfg(any(test, fuzzing))]
pub(crate) use segment_header::{header_again, header_of};
pub use slot_error::SlotError;
pub use slot_key::SlotKey;
pub use wrap::{LookOnly, Wrap, WrapError};
