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
    machine::{Partition, WorkflowId},
    store::{
        Cursor, ReceiptKey, Record, Row, StoreError,
        backend::{Backend, ChunkPart, EntryPlace, RawChunk, Writes, chunk_place},
        codec::{self, BatchDecoder, BatchEncoder},
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
    /// Whether each partition has a part of its own.
    is_partitioned: bool,
    parts: BTreeMap<Option<Partition>, BatchEncoder>,
    /// How many bytes the entries of the chunk are.
    bytes: usize,
}

impl Appender {
    /// Behind `newest`.
    pub(super) fn behind(newest: Cursor, is_partitioned: bool) -> Self {
        let first = Cursor(newest.0 + 1);
        Appender { first, newest, is_partitioned, parts: BTreeMap::new(), bytes: 0 }
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
        let value = codec::bare(entry)?;
        if self.bytes + value.len() > CHUNK {
            self.close(writes);
        }
        let partition = self.is_partitioned.then(|| entry.workflow().partition());
        let number = (self.next().0 - self.first.0) as u32;
        self.parts.entry(partition).or_default().add(number, &value)?;
        self.bytes += value.len();
        self.newest = self.next();
        Ok(())
    }

    /// The newest cursor there is now.
    pub(super) fn finish(mut self, writes: &mut Writes) -> Cursor {
        self.close(writes);
        self.newest
    }

    /// What follows stands in another chunk.
    fn close(&mut self, writes: &mut Writes) {
        let parts = std::mem::take(&mut self.parts).into_iter();
        let parts: Vec<_> = parts
            .map(|(partition, values)| ChunkPart { partition, bytes: values.row().into() })
            .collect();
        if !parts.is_empty() {
            writes.put_chunk(RawChunk { first: self.first, parts });
        }
        (self.first, self.bytes) = (self.next(), 0);
    }
}

impl JournalEntry {
    /// Whose it is.
    pub(super) fn workflow(&self) -> WorkflowId {
        match self {
            JournalEntry::Row { row, .. } => row.workflow,
            JournalEntry::Compacted { workflow, .. } => *workflow,
        }
    }
}

/// Some entries of the journal, still encoded.
pub(super) struct Chunk {
    /// The cursor of its first entry.
    pub(super) first: Cursor,
    end: Cursor,
    parts: Vec<(Option<Partition>, BatchDecoder)>,
}

impl Chunk {
    pub(super) fn of(raw: &RawChunk) -> Result<Self, StoreError> {
        let first = raw.first;
        let place = || chunk_place(first);
        let (mut end, mut parts) = (first, Vec::with_capacity(raw.parts.len()));
        for part in &raw.parts {
            let values = BatchDecoder::of(&part.bytes, place)?;
            for value in values.iter(place) {
                end = end.max(Cursor(cursor(first, value?.number).0.saturating_add(1)));
            }
            parts.push((part.partition, values));
        }
        Ok(Chunk { first, end, parts })
    }

    /// The cursor behind its last entry.
    pub(super) fn end(&self) -> Cursor {
        self.end
    }

    /// How many bytes its entries are.
    pub(super) fn bytes(&self) -> usize {
        self.parts.iter().map(|(_, values)| values.bytes()).sum()
    }

    /// Its entries, in order.
    pub(super) fn entries(
        &self,
    ) -> impl Iterator<Item = Result<(Cursor, JournalEntry), StoreError>> {
        let values = self.parts.iter().flat_map(|(_, values)| values.iter(self.place()));
        // Those of one part are in order. What cannot be read comes first: nothing of the chunk is used then.
        let mut values: Vec<_> = values.collect();
        if self.parts.len() > 1 {
            values.sort_by_key(|value| value.as_ref().map_or(0, |value| value.number));
        }
        let first = self.first;
        values.into_iter().map(move |value| {
            let value = value?;
            Ok((cursor(first, value.number), value.decode()?))
        })
    }

    /// The entry at a cursor of a partition; `None` if it is in another chunk.
    fn entry(&self, place: EntryPlace) -> Result<Option<JournalEntry>, StoreError> {
        let Some((_, values)) = self.parts.iter().find(|part| has(part, place.partition)) else {
            return Ok(None);
        };
        for value in values.iter(self.place()) {
            let value = value?;
            if cursor(self.first, value.number) == place.cursor {
                return value.decode().map(Some);
            }
        }
        Ok(None)
    }

    /// Whether it has what there is of a partition.
    fn has(&self, partition: Partition) -> bool {
        self.parts.iter().any(|part| has(part, partition))
    }

    fn place(&self) -> impl Fn() -> String + Clone + use<> {
        let first = self.first;
        move || chunk_place(first)
    }
}

fn has((of, _): &(Option<Partition>, BatchDecoder), partition: Partition) -> bool {
    of.is_none_or(|of| of == partition)
}

/// The cursor of an entry in the chunk that begins at `first`.
fn cursor(first: Cursor, number: u32) -> Cursor {
    Cursor(first.0.saturating_add(u64::from(number)))
}

/// The newest entry's cursor.
pub(super) fn newest(backend: &dyn Backend) -> Result<Option<Cursor>, StoreError> {
    let last = backend.chunks(Cursor(u64::MAX - 1), 1)?.pop();
    let last = last.map(|raw| Chunk::of(&raw)).transpose()?;
    Ok(last.and_then(|last| last.end.0.checked_sub(1)).map(Cursor))
}

/// Entries that are looked for, each with who wants it. The workflows of one entry are of one partition.
pub(super) struct WantedEntries<W>(BTreeMap<Cursor, (Partition, Vec<W>)>);

impl<W> WantedEntries<W> {
    pub(super) fn new() -> WantedEntries<W> {
        WantedEntries(BTreeMap::new())
    }

    /// One more.
    pub(super) fn add(&mut self, place: EntryPlace, who: W) {
        self.0.entry(place.cursor).or_insert((place.partition, Vec::new())).1.push(who);
    }

    /// The first that is looked for.
    pub(super) fn first(&self) -> Option<Cursor> {
        self.0.keys().next().copied()
    }

    fn places(&self) -> Vec<EntryPlace> {
        let places = self.0.iter();
        places
            .map(|(cursor, (partition, _))| EntryPlace { partition: *partition, cursor: *cursor })
            .collect()
    }

    /// The last before a cursor that a chunk may have.
    fn take_last(&mut self, chunk: &Chunk, before: Cursor) -> Option<(EntryPlace, Vec<W>)> {
        let mut within = self.0.range(chunk.first.min(before)..before).rev();
        let cursor = *within.find(|(_, (partition, _))| chunk.has(*partition))?.0;
        let (partition, who) = self.0.remove(&cursor)?;
        Some((EntryPlace { partition, cursor }, who))
    }
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
        mut wanted: WantedEntries<W>,
        mut show: impl FnMut(W, JournalEntry) -> Result<Option<(EntryPlace, W)>, StoreError>,
    ) -> Result<WantedEntries<W>, StoreError> {
        let recent = self.recent().clone();
        if let Some(recent) = recent {
            show_of(&recent, &mut wanted, &mut show)?;
        }
        while wanted.first().is_some() {
            let mut is_found = false;
            // Newest first: who wants more wants it further back, perhaps in one of these.
            for raw in backend.chunks_with(&wanted.places())?.iter().rev() {
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
    wanted: &mut WantedEntries<W>,
    show: &mut impl FnMut(W, JournalEntry) -> Result<Option<(EntryPlace, W)>, StoreError>,
) -> Result<bool, StoreError> {
    let (mut is_found, mut before) = (false, chunk.end);
    while let Some((place, wants)) = wanted.take_last(chunk, before) {
        before = place.cursor;
        for who in wants {
            let Some(entry) = chunk.entry(place)? else { continue };
            is_found = true;
            if let Some((next, who)) = show(who, entry)? {
                wanted.add(next, who);
            }
        }
    }
    Ok(is_found)
}
