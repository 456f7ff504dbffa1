//! What the engine asks of keys, wherever they are kept.

use super::{Family, PersonTag, SlotError, SlotKey, key_segment::OwnerId};
use crate::store::{Cursor, KeySlot};

/// The keys of what is personal, wherever they are kept: in files beside the store ([`KeyRing`](super::KeyRing)), or in
/// memory ([`MemoryKeys`](super::MemoryKeys)).
///
/// Promises: a slot is given out once, ever, whatever happens to the process or the machine. What was given
/// out is durable. What was destroyed is so when [`ContentKeys::destroy`] returns, durably.
pub trait ContentKeys: Send + Sync {
    /// The next slot with its key, if one is at hand; never waits for the disk.
    fn try_take(&self, family: Family) -> Option<(KeySlot, SlotKey)>;

    /// The next slot with its key. Waits for the disk where none is at hand.
    ///
    /// # Errors
    /// If none can be made, or the keys are being closed.
    fn take(&self, family: Family) -> Result<(KeySlot, SlotKey), SlotError>;

    /// The key of a slot that was given out; `None` if it was destroyed.
    ///
    /// # Errors
    /// If it is lost, damaged or was never made, or the disk fails.
    fn key(&self, family: Family, slot: KeySlot) -> Result<Option<SlotKey>, SlotError>;

    /// Destroys the keys of these slots with what was noted of them, durably when this returns. To be done
    /// again is no error, nor is a slot of a lost file.
    ///
    /// # Errors
    /// The first failure; the others were destroyed all the same.
    fn destroy(&self, family: Family, slots: &[KeySlot]) -> Result<(), SlotError>;

    /// The tags of addresses, as they are noted for a slot: of each once.
    ///
    /// # Errors
    /// If the slot's file is lost or damaged.
    fn tags(
        &self,
        family: Family,
        slot: KeySlot,
        addresses: &[&str],
    ) -> Result<Box<[PersonTag]>, SlotError>;

    /// Notes whose a slot is and whom it names, so that it is found. Is on the disk a second later; never waits for
    /// that. Where there is no room for it, it is lost, and counted.
    fn note(&self, family: Family, slot: KeySlot, owner: OwnerId, tags: Box<[PersonTag]>);

    /// Says that all workflows up to this place in the journal were noted.
    fn noted_through(&self, cursor: Cursor);

    /// Up to where in the journal all workflows' notes are on the disk: what a start need not note again.
    fn noted(&self) -> Cursor;

    /// How many notes there was no room for.
    fn lost_notes(&self) -> u64;

    /// The numbers of a family's segments, in order.
    fn segments(&self, family: Family) -> Vec<u32>;

    /// The slots of a segment that were noted as somebody's and are not destroyed, with whose they are.
    ///
    /// # Errors
    /// If the segment is lost or damaged, or the disk fails.
    fn owned(&self, family: Family, segment: u32) -> Result<Vec<(KeySlot, OwnerId)>, SlotError>;

    /// How many segments of a family cannot be read: nothing is found in them.
    fn unreadable_segments(&self, _family: Family) -> usize {
        0
    }

    /// The slots of a family that were noted under one of these addresses, with whose they are. Others may be
    /// among them: tags are short. To be opened, and compared.
    ///
    /// # Errors
    /// If the disk fails.
    fn find(
        &self,
        family: Family,
        addresses: &[&str],
    ) -> Result<Vec<(KeySlot, OwnerId)>, SlotError>;

    /// HMAC-SHA256 of `data` under a key that lasts as long as the store.
    fn lasting_hash(&self, key: LastingKey, data: &[u8]) -> [u8; 32];
}

/// A key that lasts as long as the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastingKey {
    /// Of opt-outs' hashes.
    OptOuts,
    /// Of what stands for providers' ids that hold a number.
    Pseudonyms,
}
