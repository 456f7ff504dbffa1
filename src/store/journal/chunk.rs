//! The journal: what happened, in the order of the cursors.
//!
//! Entries are kept in chunks, up to a few hundred in one compressed value under the cursor of the
//! first: few large values cost whatever keeps them a fraction of many small ones. (sled copies a node with
//! every insert, and writes what it copied again and again.) Nothing is ever changed in place, and no
//! chunk is added to.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use dispatch_contract::UnixMillis;
use serde::{Deserialize, Serialize};

use crate::{
    machine::WorkflowId,
    store::{
        Cursor, ReceiptKey, Record, Row, StoreError,
        backend::{Backend, RawChunk, Writes, chunk_place},
        codec::{BatchDecoder, BatchEncoder},
    },
};

/// A chunk is closed before it has more bytes than this, not yet compressed. That is more than most
/// batches have: they are one value, which sled keeps with half the writes of two. Reading one row
/// decompresses all of its chunk: some 30 µs for a full one.
const CHUNK: usize = 96 * 1024;

/// What stands at one cursor.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum JournalEntry {
    /// A transition. `messages` are the workflow's rows in the index of messages that came with it.
    Row { previous: Previous, row: Arc<Row>, messages: Vec<ReceiptKey> },
    /// A workflow that retention compacted: its record and its whole timeline so far. No
    /// transition. `at` is when it was compacted.
    Compacted {
        workflow: WorkflowId,
        at: UnixMillis,
        record: Arc<Record>,
        rows: Vec<Arc<Row>>,
        messages: Vec<ReceiptKey>,
    },
}

/// What there is of the workflow before a row.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Previous {
    /// Nothing: the row begins it, and this is what was asked for.
    Start(Arc<Record>),
    /// This row.
    Row(Cursor),
}

/// Appends to the journal, within one batch.
pub(super) struct Appender {
    first: Cursor,
    newest: Cursor,
    values: BatchEncoder,
}

impl Appender {
    /// Behind `newest`.
    pub(super) fn behind(newest: Cursor) -> Self {
        Appender { first: Cursor(newest.0 + 1), newest, values: BatchEncoder::default() }
    }

    /// The cursor that the next row will have.
    pub(super) fn next(&self) -> Cursor {
        Cursor(self.newest.0 + 1)
    }

    pub(super) fn put(
        &mut self,
        entry: &JournalEntry,
        writes: &mut Writes,
    ) -> Result<(), StoreError> {
        let overflow = self.values.add(entry, CHUNK)?;
        if let Some(full) = overflow {
            writes.put_chunk(self.first, full);
            self.first = self.next();
        }
        self.newest = self.next();
        Ok(())
    }

    /// The newest cursor there is now.
    pub(super) fn finish(self, writes: &mut Writes) -> Cursor {
        if self.newest >= self.first {
            writes.put_chunk(self.first, self.values.row());
        }
        self.newest
    }
}

/// Some entries of the journal, still encoded.
pub(super) struct Chunk {
    /// The cursor of its first entry.
    pub(super) first: Cursor,
    end: Cursor,
    values: BatchDecoder,
}

impl Chunk {
    pub(super) fn of(raw: &RawChunk) -> Result<Self, StoreError> {
        let first = raw.first;
        let values = BatchDecoder::of(&raw.bytes, || chunk_place(first))?;
        let mut end = first;
        for value in values.iter(|| chunk_place(first)) {
            value?;
            end.0 += 1;
        }
        Ok(Chunk { first, end, values })
    }

    /// The cursor behind its last entry.
    pub(super) fn end(&self) -> Cursor {
        self.end
    }

    /// How many bytes its entries are.
    pub(super) fn bytes(&self) -> usize {
        self.values.bytes()
    }

    /// Its entries, in order.
    pub(super) fn entries(
        &self,
    ) -> impl Iterator<Item = Result<(Cursor, JournalEntry), StoreError>> {
        let cursors = (self.first.0..).map(Cursor);
        let values = self.values.iter(self.place());
        cursors.zip(values).map(|(cursor, value)| Ok((cursor, value?.decode()?)))
    }

    /// The entry at a cursor; `None` if it is in another chunk.
    fn entry(&self, cursor: Cursor) -> Result<Option<JournalEntry>, StoreError> {
        if !(self.first..self.end).contains(&cursor) {
            return Ok(None);
        }
        let value = self.values.iter(self.place()).nth((cursor.0 - self.first.0) as usize);
        value.map(|value| value?.decode()).transpose()
    }

    fn place(&self) -> impl Fn() -> String + Clone + use<> {
        let first = self.first;
        move || chunk_place(first)
    }
}

/// The newest entry's cursor.
pub(super) fn newest(backend: &dyn Backend) -> Result<Option<Cursor>, StoreError> {
    let last = backend.chunks_with(&[Cursor(u64::MAX - 1)])?.pop();
    let last = last.map(|raw| Chunk::of(&raw)).transpose()?;
    Ok(last.and_then(|last| last.end.0.checked_sub(1)).map(Cursor))
}

/// The chunk that was read last: who asks for one entry often asks for its neighbours too. Chunks never
/// change, so that it is never stale.
#[derive(Default)]
pub(super) struct ChunkCache(Mutex<Option<Arc<Chunk>>>);

impl ChunkCache {
    /// Shows the entries that are wanted, each with what wants it, which may want another one further back. All
    /// that are wanted at once are read at once. Returns who wanted what is not there.
    ///
    /// # Errors
    /// If a chunk cannot be read, or `show` fails.
    pub(super) fn visit<W>(
        &self,
        backend: &dyn Backend,
        mut wanted: BTreeMap<Cursor, Vec<W>>,
        mut show: impl FnMut(W, JournalEntry) -> Result<Option<(Cursor, W)>, StoreError>,
    ) -> Result<BTreeMap<Cursor, Vec<W>>, StoreError> {
        let recent = self.recent().clone();
        if let Some(recent) = recent {
            show_of(&recent, &mut wanted, &mut show)?;
        }
        while !wanted.is_empty() {
            let cursors: Vec<_> = wanted.keys().copied().collect();
            let mut is_found = false;
            // Newest first: who wants more wants it further back, perhaps in one of these.
            for raw in backend.chunks_with(&cursors)?.iter().rev() {
                let chunk = Arc::new(Chunk::of(raw)?);
                is_found |= show_of(&chunk, &mut wanted, &mut show)?;
                *self.recent() = Some(chunk);
            }
            if !is_found {
                break;
            }
        }
        Ok(wanted)
    }

    // Whole whatever panicked.
    fn recent(&self) -> MutexGuard<'_, Option<Arc<Chunk>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Shows what is wanted of one chunk; whether there was anything.
fn show_of<W>(
    chunk: &Chunk,
    wanted: &mut BTreeMap<Cursor, Vec<W>>,
    show: &mut impl FnMut(W, JournalEntry) -> Result<Option<(Cursor, W)>, StoreError>,
) -> Result<bool, StoreError> {
    let mut is_found = false;
    while let Some((cursor, _)) = wanted.range(chunk.first..chunk.end).next_back() {
        let cursor = *cursor;
        for who in wanted.remove(&cursor).into_iter().flatten() {
            let Some(entry) = chunk.entry(cursor)? else { continue };
            is_found = true;
            if let Some((next, who)) = show(who, entry)? {
                wanted.entry(next).or_default().push(who);
            }
        }
    }
    Ok(is_found)
}
