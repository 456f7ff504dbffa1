//! The file `index`: what holds for all segments.
//!
//! ```text
//! "dispatch index\n" · version (1) · generation (8) · incarnation (16) · cursor (8) · next segment of each family (4 × 4)
//! · length of what is sealed (2) · sealed · CRC-32 of all before it (4)
//! ```
//!
//! Numbers are little-endian. Two copies in sectors of their own take turns. It is synced whenever a segment is
//! made, before one of its slots is given out: so no number is used for two. The cursor, up to which owners
//! and traces are complete, is written without a sync: after a power cut it says a little less.

use std::io;

use aws_lc_rs::rand;
use uuid::Uuid;

use super::{
    SlotError, Wrap, WrapError, segment_file::SegmentFile, segment_header::SEALED_BYTES,
    slot_key::KEY_BYTES,
};
use crate::store::{Cursor, FileAccess, Incarnation, KeyFolder};

pub(super) const NAME: &str = "index";
const PLACE: &str = "contents/index";
const SECTOR: usize = 512;
const MAGIC: &[u8] = b"dispatch index\n";
const VERSION: u8 = 1;
const FAMILIES: usize = super::Family::ALL.len();
const SEALED_AT: usize = MAGIC.len() + 1 + 8 + 16 + 8 + 4 * FAMILIES + 2;

/// The keys that last, of opt-outs and of pseudonyms.
pub(super) type LastingKeys = [[u8; KEY_BYTES]; 2];

/// The file, open for overwriting.
pub(super) struct IndexFile {
    file: SegmentFile,
    /// What it is called in messages.
    place: String,
    state: IndexState,
    /// Whether all that was written is durable.
    is_synced: bool,
}

/// What it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct IndexState {
    generation: u64,
    pub(super) incarnation: Incarnation,
    /// Up to where in the journal all owners and traces are written.
    pub(super) cursor: Cursor,
    /// The number of the next segment, by [`Family::position`](super::Family::position).
    pub(super) next: [u32; FAMILIES],
    sealed: Vec<u8>,
}

impl IndexFile {
    /// A new one, durable when this returns.
    pub(super) fn create(
        folder: &dyn KeyFolder,
        incarnation: Incarnation,
        wrap: &dyn Wrap,
    ) -> Result<(IndexFile, LastingKeys), SlotError> {
        let place = folder.place_of(NAME);
        let mut keys = [0; 2 * KEY_BYTES];
        rand::fill(&mut keys).map_err(|_| SlotError::sealed(&place, WrapError::Failed))?;
        let mut made = None;
        wrap.seal(PLACE, &keys, &mut |sealed| {
            let state = IndexState {
                generation: 0,
                incarnation,
                cursor: Cursor(0),
                next: [0; FAMILIES],
                sealed: sealed.to_vec(),
            };
            let copy =
                state.encode().ok_or_else(|| SlotError::sealed(&place, WrapError::Failed))?;
            let file = SegmentFile::put(folder, NAME, &[copy, copy].concat())
                .map_err(|error| SlotError::io("cannot make", &place, &error))?;
            made = Some(IndexFile { file, place: place.clone(), state, is_synced: true });
            Ok(())
        })?;
        let file = made.ok_or_else(|| SlotError::sealed(&place, WrapError::Failed))?;
        Ok((file, lasting(&keys)))
    }

    /// The one that there is; `None` if there is none.
    ///
    /// # Errors
    /// If it cannot be read, or its keys do not open.
    pub(super) fn open(
        folder: &dyn KeyFolder,
        wrap: &dyn Wrap,
        access: FileAccess,
    ) -> Result<Option<(IndexFile, LastingKeys)>, SlotError> {
        let place = folder.place_of(NAME);
        let failed = |error: io::Error| SlotError::io("cannot read", &place, &error);
        let file = match SegmentFile::open(folder, NAME, access) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let bytes = file.read_up_to(2 * SECTOR, 0).map_err(failed)?;
        let copies = bytes.chunks(SECTOR).filter_map(IndexState::decode);
        let state = copies.max_by_key(|state| state.generation).ok_or_else(|| {
            SlotError::damaged(&place, "neither of its two copies can be read; restore a backup")
        })?;
        let keys = wrap.open(PLACE, &state.sealed).map_err(|why| SlotError::sealed(&place, why))?;
        let keys = keys
            .as_slice()
            .try_into()
            .map_err(|_| SlotError::damaged(&place, "its keys have another length"))?;
        Ok(Some((IndexFile { file, place, state, is_synced: true }, lasting(keys))))
    }

    pub(super) fn state(&self) -> &IndexState {
        &self.state
    }

    /// Writes what has changed; with `is_durable` that is so when this returns, and what was changed before.
    pub(super) fn change(
        &mut self,
        is_durable: bool,
        change: impl FnOnce(&mut IndexState),
    ) -> Result<(), SlotError> {
        let mut changed = self.state.clone();
        change(&mut changed);
        if changed == self.state && (self.is_synced || !is_durable) {
            return Ok(());
        }
        self.write(is_durable, changed)
    }

    /// Seals the keys anew, in both copies, one after the other: cut off anywhere, one of them is whole.
    pub(super) fn seal_anew(&mut self, wrap: &dyn Wrap) -> Result<(), SlotError> {
        let opened = wrap.open(PLACE, &self.state.sealed);
        let keys = opened.map_err(|why| SlotError::sealed(&self.place, why))?;
        wrap.seal(PLACE, &keys, &mut |sealed| {
            self.write(true, IndexState { sealed: sealed.to_vec(), ..self.state.clone() })?;
            self.write(true, self.state.clone())
        })
    }

    fn write(&mut self, is_durable: bool, mut changed: IndexState) -> Result<(), SlotError> {
        changed.generation += 1;
        let copy =
            changed.encode().ok_or_else(|| SlotError::sealed(&self.place, WrapError::Failed))?;
        let at = changed.generation % 2 * SECTOR as u64;
        let written = self
            .file
            .write(&copy, at)
            .and_then(|()| if is_durable { self.file.sync() } else { Ok(()) });
        if let Err(error) = written {
            // The next one is newer than what this may have left, and stands in its place.
            self.state.generation += 2;
            return Err(SlotError::io("cannot write", &self.place, &error));
        }
        self.is_synced = is_durable;
        self.state = changed;
        Ok(())
    }
}

impl IndexState {
    fn encode(&self) -> Option<[u8; SECTOR]> {
        if self.sealed.len() > SEALED_BYTES {
            return None;
        }
        let mut bytes = Vec::with_capacity(SECTOR);
        bytes.extend_from_slice(MAGIC);
        bytes.push(VERSION);
        bytes.extend_from_slice(&self.generation.to_le_bytes());
        bytes.extend_from_slice(self.incarnation.0.as_bytes());
        bytes.extend_from_slice(&self.cursor.0.to_le_bytes());
        for next in self.next {
            bytes.extend_from_slice(&next.to_le_bytes());
        }
        bytes.extend_from_slice(&(self.sealed.len() as u16).to_le_bytes());
        bytes.extend_from_slice(&self.sealed);
        let sum = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&sum.to_le_bytes());
        let mut copy = [0; SECTOR];
        copy[..bytes.len()].copy_from_slice(&bytes);
        Some(copy)
    }

    fn decode(copy: &[u8]) -> Option<IndexState> {
        let length = u16::from_le_bytes(*copy.get(SEALED_AT - 2..)?.first_chunk()?);
        let (bytes, rest) = copy.split_at_checked(SEALED_AT + usize::from(length))?;
        if *rest.first_chunk()? != crc32fast::hash(bytes).to_le_bytes() {
            return None;
        }
        let rest = bytes.strip_prefix(MAGIC)?.strip_prefix(&[VERSION])?;
        let (generation, rest) = rest.split_first_chunk()?;
        let (incarnation, rest) = rest.split_first_chunk()?;
        let (cursor, rest) = rest.split_first_chunk()?;
        let (next, rest) = rest.split_first_chunk::<{ 4 * FAMILIES }>()?;
        let mut numbers = [0; FAMILIES];
        for (number, bytes) in numbers.iter_mut().zip(next.as_chunks().0) {
            *number = u32::from_le_bytes(*bytes);
        }
        Some(IndexState {
            generation: u64::from_le_bytes(*generation),
            incarnation: Incarnation(Uuid::from_bytes(*incarnation)),
            cursor: Cursor(u64::from_le_bytes(*cursor)),
            next: numbers,
            sealed: rest.get(2..)?.to_vec(),
        })
    }
}

/// The file as it stands.
pub(super) fn image(folder: &dyn KeyFolder) -> Result<Vec<u8>, SlotError> {
    let read = SegmentFile::open(folder, NAME, FileAccess::Read)
        .and_then(|file| file.read_up_to(2 * SECTOR, 0));
    read.map_err(|error| SlotError::io("cannot read", &folder.place_of(NAME), &error))
}

/// Those of a folder that is not there: nothing was ever made with them, and nothing will be.
pub(super) fn no_lasting_keys() -> Result<LastingKeys, SlotError> {
    let mut keys = [0; 2 * KEY_BYTES];
    rand::fill(&mut keys).map_err(|_| SlotError::sealed(PLACE, WrapError::Failed))?;
    Ok(lasting(&keys))
}

fn lasting(bytes: &[u8; 2 * KEY_BYTES]) -> LastingKeys {
    let mut keys = [[0; KEY_BYTES]; 2];
    for (key, bytes) in keys.iter_mut().zip(bytes.as_chunks().0) {
        *key = *bytes;
    }
    keys
}
