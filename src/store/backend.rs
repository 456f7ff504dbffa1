//! The seam below the journal: what keeps the bytes, and knows nothing of what they mean.
//!
//! Above it, in [`journal`](super::journal), everything that a store promises exists once: the journal and its
//! indexes, what is open in memory, retention, the checkpoint, check, backup and restore. Below it is sled.
//!
//! # The contract
//!
//! - A commit is atomic, and durable when it returns; its error is fatal, because after a failed sync nobody
//!   knows what the disk holds.
//! - Reads come in batches: each call is one round trip to whatever keeps the bytes, however much it asks
//!   for. Who wants many rows asks for them at once.
//! - A write needs no read of its own, and a chunk never changes once it is written.
//! - Calls may block: none is made on the runtime's own threads.

use std::ops::Range;

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use super::{ClockNote, Cursor, StoreError, codec};
use crate::machine::Partition;

/// A row: its key and its value.
pub(super) type KeyedRow = (Vec<u8>, Bytes);

/// Entries of the journal that follow one another.
pub(super) struct RawChunk {
    /// The cursor of its first entry.
    pub(super) first: Cursor,
    /// The entries of each partition that has some; all of them in one part where the backend does not keep
    /// partitions [apart](Backend::is_partitioned).
    pub(super) parts: Vec<ChunkPart>,
}

/// Some entries of a chunk in one value.
pub(super) struct ChunkPart {
    /// Whose they are; `None`: of all partitions.
    pub(super) partition: Option<Partition>,
    /// As [`codec::BatchEncoder`] makes it: each entry's number is how far behind the chunk's first it stands.
    pub(super) bytes: Bytes,
}

/// Where an entry of the journal is looked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct EntryPlace {
    /// The partition of the workflow that it is of.
    pub(super) partition: Partition,
    /// Its cursor.
    pub(super) cursor: Cursor,
}

/// From which end of a range rows are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RangeEnd {
    /// From the least key on.
    First,
    /// From the greatest key back.
    Last,
}

/// What a [check](Backend::scan) is shown.
pub(super) enum Scanned {
    /// A chunk of the journal.
    Chunk(RawChunk),
    /// A row beside it.
    Row(KeyedRow),
    /// Something that cannot be read.
    Unreadable(StoreError),
}

/// What is written at once or not at all.
#[derive(Default)]
pub(super) struct Writes {
    /// New chunks.
    pub(super) chunks: Vec<RawChunk>,
    /// Rows under their keys, or nothing any more.
    pub(super) rows: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    /// The journal's entries up to this one go.
    pub(super) trim_to: Option<Cursor>,
    bytes: usize,
}

/// What keeps a journal and the rows beside it.
pub(super) trait Backend: Send + Sync {
    /// Whether it keeps what partitions have in the journal apart, so that one can be had without the others.
    fn is_partitioned(&self) -> bool;

    /// Whether each question is a round trip to somebody else.
    fn is_remote(&self) -> bool;

    /// Whether what is written may still be.
    ///
    /// # Errors
    /// If another process has taken over.
    fn check_owned(&self) -> Result<(), StoreError>;

    /// The values under these keys, in their order.
    ///
    /// # Errors
    /// If one of them cannot be read.
    fn get(&self, keys: &[Vec<u8>]) -> Result<Vec<Option<Bytes>>, StoreError>;

    /// Up to `limit` rows with keys of `range`, in the order in which `from` comes to them.
    ///
    /// # Errors
    /// If one of them cannot be read.
    fn page(
        &self,
        range: Range<Vec<u8>>,
        from: RangeEnd,
        limit: usize,
    ) -> Result<Vec<KeyedRow>, StoreError>;

    /// The last chunk that does not begin behind entry `from`, and those that follow, in order, until they are `bytes`
    /// or a little more. The first may hold no entry from `from` on; another that does is with it, if there is one.
    ///
    /// # Errors
    /// If one of them cannot be read.
    fn chunks(&self, from: Cursor, bytes: usize) -> Result<Vec<RawChunk>, StoreError>;

    /// The chunks that have these entries, if there are such, which are in the order of their cursors: each once, in
    /// order, and with the parts that were asked for at least. There may be others with them.
    ///
    /// # Errors
    /// If one of them cannot be read.
    fn chunks_with(&self, places: &[EntryPlace]) -> Result<Vec<RawChunk>, StoreError>;

    /// Makes `writes` durable. `newest` is the newest entry that is durable with them.
    ///
    /// # Errors
    /// Fatal, see the contract above.
    fn commit(&self, writes: Writes, newest: Cursor) -> Result<(), StoreError>;

    /// Shows all chunks and rows, also those that cannot be read.
    fn scan(&self, show: &mut dyn FnMut(Scanned));

    /// Notes how the clocks stand, see [`Store::note_clock`](super::Store::note_clock).
    ///
    /// # Errors
    /// If it could not be written.
    fn note_clock(&self, note: ClockNote) -> Result<(), StoreError>;

    /// Puts a checkpoint in place of the last, which stays if anything fails.
    ///
    /// # Errors
    /// The first that the blocks come with, or if they cannot be written.
    fn write_checkpoint(
        &self,
        blocks: &mut dyn Iterator<Item = Result<Vec<u8>, StoreError>>,
    ) -> Result<(), StoreError>;

    /// The blocks of the last checkpoint, fewer where it is torn.
    fn checkpoint(&self) -> Box<dyn Iterator<Item = Vec<u8>> + '_>;

    /// How many bytes may still be written, if that is bounded and known.
    fn free_bytes(&self) -> Option<u64>;
}

impl dyn Backend + '_ {
    /// The value under a key, decoded.
    ///
    /// # Errors
    /// If it cannot be read, or is of another type.
    pub(super) fn decode<T: DeserializeOwned>(&self, key: &[u8]) -> Result<Option<T>, StoreError> {
        let mut found = self.decode_all(&[key.to_vec()])?;
        Ok(found.pop().flatten())
    }

    /// The values under these keys, decoded.
    ///
    /// # Errors
    /// If one cannot be read, or is of another type.
    pub(super) fn decode_all<T: DeserializeOwned>(
        &self,
        keys: &[Vec<u8>],
    ) -> Result<Vec<Option<T>>, StoreError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let values = self.get(keys)?;
        let decoded = keys.iter().zip(values).map(|(key, value)| {
            value.map(|value| codec::decode(&value, || place(key))).transpose()
        });
        decoded.collect()
    }

    /// All rows with keys of `range`, in order, read some at a time. It ends with the first error.
    pub(super) fn rows(
        &self,
        range: Range<Vec<u8>>,
    ) -> impl Iterator<Item = Result<KeyedRow, StoreError>> + '_ {
        const ROWS: usize = 256;
        let (mut range, mut is_last) = (range, false);
        let mut some = Vec::new().into_iter();
        std::iter::from_fn(move || {
            if some.len() == 0 && !is_last {
                match self.page(range.clone(), RangeEnd::First, ROWS) {
                    Ok(rows) => {
                        is_last = rows.len() < ROWS;
                        if let Some((key, _)) = rows.last() {
                            range.start = behind(key);
                        }
                        some = rows.into_iter();
                    }
                    Err(error) => {
                        is_last = true;
                        return Some(Err(error));
                    }
                }
            }
            some.next().map(Ok)
        })
    }
}

impl RawChunk {
    /// Of a backend that keeps all partitions together.
    pub(super) fn whole(first: Cursor, bytes: Bytes) -> RawChunk {
        RawChunk { first, parts: vec![ChunkPart { partition: None, bytes }] }
    }

    /// How many bytes its parts are.
    pub(super) fn bytes(&self) -> usize {
        self.parts.iter().map(|part| part.bytes.len()).sum()
    }
}

impl Writes {
    /// Puts a value under a key.
    ///
    /// # Errors
    /// If it cannot be told in the format.
    pub(super) fn put<T: Serialize>(&mut self, key: Vec<u8>, value: &T) -> Result<(), StoreError> {
        let row = codec::encode(value)?;
        self.bytes += row.len();
        self.rows.push((key, Some(row)));
        Ok(())
    }

    /// Removes what stands under a key.
    pub(super) fn remove(&mut self, key: Vec<u8>) {
        self.rows.push((key, None));
    }

    /// Puts a chunk of the journal.
    pub(super) fn put_chunk(&mut self, chunk: RawChunk) {
        self.bytes += chunk.bytes();
        self.chunks.push(chunk);
    }

    /// How many bytes are put.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// The least key behind another.
pub(super) fn behind(key: &[u8]) -> Vec<u8> {
    [key, &[0]].concat()
}

/// A key, readable.
pub(super) fn place(key: &[u8]) -> String {
    let kind = key.first().map_or('?', |kind| char::from(*kind));
    let rest: String = key.iter().skip(1).map(|byte| format!("{byte:02x}")).collect();
    format!("key {kind}:{rest}")
}

/// Where a chunk of the journal stands, readable.
pub(super) fn chunk_place(first: Cursor) -> String {
    place(&[b"j", &first.0.to_be_bytes()[..]].concat())
}
