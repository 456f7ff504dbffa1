//! The journal: what happened, in the order of the cursors.
//!
//! Rows are kept in chunks, up to a few hundred in one compressed value under the cursor of the
//! first: sled copies a node with every insert, and writes what it copied again and again, so that
//! few large values cost a fraction of many small ones. Nothing is ever changed in place, and no
//! chunk is added to.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dispatch_contract::UnixMillis;
use serde::{Deserialize, Serialize};

use super::{
    keys,
    tree::{self, SledTree, WriteBatch},
};
use crate::{
    machine::WorkflowId,
    store::{
        Cursor, ReceiptKey, Record, Row, StoreError,
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
        writes: &mut WriteBatch,
    ) -> Result<(), StoreError> {
        let overflow = self.values.add(entry, CHUNK)?;
        if let Some(full) = overflow {
            writes.put_row(keys::journal(self.first), full);
            self.first = self.next();
        }
        self.newest = self.next();
        Ok(())
    }

    /// The newest cursor there is now.
    pub(super) fn finish(self, writes: &mut WriteBatch) -> Cursor {
        if self.newest >= self.first {
            writes.put_row(keys::journal(self.first), self.values.row());
        }
        self.newest
    }
}

/// Some rows of the journal, still encoded.
pub(super) struct Chunk {
    /// The cursor of its first row.
    pub(super) first: Cursor,
    values: BatchDecoder,
}

impl Chunk {
    pub(super) fn of(key: &[u8], value: &[u8]) -> Result<Self, StoreError> {
        let first = keys::cursor_of(key).ok_or_else(|| StoreError::Corrupt {
            place: tree::place(key),
            problem: "it stands among the journal's rows and is none".to_owned(),
        })?;
        Ok(Chunk { first, values: BatchDecoder::of(value, || tree::place(key))? })
    }

    /// How many bytes its rows are.
    pub(super) fn bytes(&self) -> usize {
        self.values.bytes()
    }

    /// Its rows, in order.
    pub(super) fn rows(&self) -> impl Iterator<Item = Result<(Cursor, JournalEntry), StoreError>> {
        let cursors = (self.first.0..).map(Cursor);
        let values = self.values.iter(self.place());
        cursors.zip(values).map(|(cursor, value)| Ok((cursor, value?.decode()?)))
    }

    /// The row at a cursor; `None` if it is in another chunk.
    fn row(&self, cursor: Cursor) -> Result<Option<JournalEntry>, StoreError> {
        let Some(skipped) = cursor.0.checked_sub(self.first.0) else { return Ok(None) };
        let value = self.values.iter(self.place()).nth(skipped as usize);
        value.map(|value| value?.decode()).transpose()
    }

    fn place(&self) -> impl Fn() -> String + Clone + use<> {
        let first = self.first;
        move || tree::place(&keys::journal(first))
    }
}

impl SledTree {
    /// The chunks with the rows from `from` on; the first may begin before it.
    pub(super) fn chunks(
        &self,
        from: Cursor,
    ) -> Result<impl Iterator<Item = Result<Chunk, StoreError>> + '_, StoreError> {
        let first = self.chunk_with(from)?.map_or(from, |chunk| chunk.first);
        let rows = self.range(keys::journal(first), vec![b'j' + 1]);
        Ok(rows.map(|row| row.and_then(|(key, value)| Chunk::of(&key, &value))))
    }

    /// The last chunk that does not begin behind `cursor`.
    fn chunk_with(&self, cursor: Cursor) -> Result<Option<Chunk>, StoreError> {
        let to = keys::journal(Cursor(cursor.0.saturating_add(1)));
        match self.last_before(to, b'j')? {
            Some((key, value)) => Chunk::of(&key, &value).map(Some),
            None => Ok(None),
        }
    }

    /// The newest row's cursor.
    pub(super) fn newest(&self) -> Result<Option<Cursor>, StoreError> {
        let Some(last) = self.chunk_with(Cursor(u64::MAX - 1))? else { return Ok(None) };
        let mut newest = None;
        for row in last.rows() {
            newest = Some(row?.0);
        }
        Ok(newest)
    }
}

/// The chunk that was read last: who asks for one row often asks for its neighbours too. Chunks never
/// change, so that it is never stale.
#[derive(Default)]
pub(super) struct ChunkCache(Mutex<Option<Arc<Chunk>>>);

impl ChunkCache {
    /// The row at a cursor, read from `tree` unless its chunk is at hand.
    pub(super) fn row_at(
        &self,
        tree: &SledTree,
        cursor: Cursor,
    ) -> Result<JournalEntry, StoreError> {
        let recent = self.recent().clone();
        if let Some(chunk) = recent
            && let Some(entry) = chunk.row(cursor)?
        {
            return Ok(entry);
        }
        let chunk = tree.chunk_with(cursor)?;
        let entry = chunk.as_ref().map(|chunk| chunk.row(cursor)).transpose()?.flatten();
        *self.recent() = chunk.map(Arc::new);
        entry.ok_or_else(|| StoreError::Corrupt {
            place: format!("journal row {}", cursor.0),
            problem: "it is missing; restore a backup".to_owned(),
        })
    }

    // Whole whatever panicked.
    fn recent(&self) -> MutexGuard<'_, Option<Arc<Chunk>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
