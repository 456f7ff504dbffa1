//! The keys in memory, for engines without a folder: tests, and the simulator.
//!
//! Keys follow from a seed and the slot's number, so that two of the same seed give out the same.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use aws_lc_rs::{
    hmac::{self, HMAC_SHA256},
    rand,
};

use super::{
    ContentKeys, Family, LastingKey, PersonTag, SlotError, SlotKey,
    key_segment::{OwnerId, SlotNote},
    slot_key::mac,
};
use crate::store::{Cursor, KeySlot};

/// The keys in memory. A clone is the same ones: what a life left, the next finds.
#[derive(Clone)]
pub struct MemoryKeys {
    seed: hmac::Key,
    state: Arc<Mutex<GivenKeys>>,
}

#[derive(Default)]
struct GivenKeys {
    /// How many slots of each family were given out.
    taken: [u64; Family::ALL.len()],
    destroyed: BTreeSet<(Family, KeySlot)>,
    notes: BTreeMap<(Family, KeySlot), SlotNote>,
    through: Cursor,
}

impl GivenKeys {
    /// What was noted of a family's slots that are not destroyed.
    fn notes_of(&self, family: Family) -> impl Iterator<Item = &SlotNote> {
        self.notes.iter().filter(move |((of, _), _)| *of == family).map(|(_, note)| note)
    }
}

impl MemoryKeys {
    /// Those that follow from a seed.
    pub fn new(seed: [u8; 32]) -> MemoryKeys {
        MemoryKeys { seed: hmac::Key::new(HMAC_SHA256, &seed), state: Arc::default() }
    }

    /// Those that follow from nothing anybody knows.
    ///
    /// # Errors
    /// If the operating system has no randomness.
    pub fn random() -> Result<MemoryKeys, SlotError> {
        let mut seed = [0; 32];
        rand::fill(&mut seed)
            .map_err(|_| SlotError::Io("the operating system has no randomness".to_owned()))?;
        Ok(MemoryKeys::new(seed))
    }

    /// How many keys were destroyed.
    pub fn destroyed(&self) -> usize {
        self.state().destroyed.len()
    }

    fn of(&self, family: Family, slot: KeySlot) -> SlotKey {
        SlotKey::new(mac(&self.seed, &[b"slot", &[family.letter() as u8], &slot.0.to_le_bytes()]))
    }

    // Each change is one step.
    fn state(&self) -> MutexGuard<'_, GivenKeys> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ContentKeys for MemoryKeys {
    fn try_take(&self, family: Family) -> Option<(KeySlot, SlotKey)> {
        let slot = {
            let mut state = self.state();
            let taken = &mut state.taken[family.position()];
            *taken += 1;
            KeySlot(*taken - 1)
        };
        Some((slot, self.of(family, slot)))
    }

    fn take(&self, family: Family) -> Result<(KeySlot, SlotKey), SlotError> {
        self.try_take(family).ok_or(SlotError::Closed)
    }

    fn key(&self, family: Family, slot: KeySlot) -> Result<Option<SlotKey>, SlotError> {
        let state = self.state();
        if slot.0 >= state.taken[family.position()] {
            return Err(SlotError::NotGiven(family, slot));
        }
        let is_gone = state.destroyed.contains(&(family, slot));
        Ok((!is_gone).then(|| self.of(family, slot)))
    }

    fn destroy(&self, family: Family, slots: &[KeySlot]) -> Result<(), SlotError> {
        let mut state = self.state();
        let mut failed = Ok(());
        for slot in slots {
            if slot.0 >= state.taken[family.position()] {
                failed = Err(SlotError::NotGiven(family, *slot));
                continue;
            }
            state.destroyed.insert((family, *slot));
            state.notes.remove(&(family, *slot));
        }
        failed
    }

    fn tags(
        &self,
        _family: Family,
        _slot: KeySlot,
        addresses: &[&str],
    ) -> Result<Box<[PersonTag]>, SlotError> {
        let tags: BTreeSet<_> =
            addresses.iter().map(|address| PersonTag::of(&self.seed, address)).collect();
        Ok(tags.into_iter().collect())
    }

    fn note(&self, family: Family, slot: KeySlot, owner: OwnerId, tags: Box<[PersonTag]>) {
        let mut state = self.state();
        if !state.destroyed.contains(&(family, slot)) {
            state.notes.insert((family, slot), SlotNote { slot, owner, tags });
        }
    }

    fn noted_through(&self, cursor: Cursor) {
        let mut state = self.state();
        state.through = state.through.max(cursor);
    }

    fn noted(&self) -> Cursor {
        self.state().through
    }

    fn lost_notes(&self) -> u64 {
        0
    }

    fn segments(&self, family: Family) -> Vec<u32> {
        let state = self.state();
        let numbers: BTreeSet<_> = state.notes_of(family).map(|note| note.slot.segment()).collect();
        numbers.into_iter().collect()
    }

    fn owned(&self, family: Family, segment: u32) -> Result<Vec<(KeySlot, OwnerId)>, SlotError> {
        let state = self.state();
        let notes = state.notes_of(family).filter(|note| note.slot.segment() == segment);
        Ok(notes.map(|note| (note.slot, note.owner)).collect())
    }

    fn find(
        &self,
        family: Family,
        addresses: &[&str],
    ) -> Result<Vec<(KeySlot, OwnerId)>, SlotError> {
        let wanted = self.tags(family, KeySlot(0), addresses)?;
        let state = self.state();
        let named = |note: &&SlotNote| note.tags.iter().any(|tag| wanted.contains(tag));
        Ok(state.notes_of(family).filter(named).map(|note| (note.slot, note.owner)).collect())
    }

    fn lasting_hash(&self, key: LastingKey, data: &[u8]) -> [u8; 32] {
        let purpose: &[u8] = match key {
            LastingKey::OptOuts => b"opt-outs",
            LastingKey::Pseudonyms => b"pseudonyms",
        };
        mac(&self.seed, &[purpose, data])
    }
}
