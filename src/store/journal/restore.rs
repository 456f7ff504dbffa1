//! A new journal from a backup.
//!
//! The rows keep their cursors, so that retention goes on as before; the store gets a new life, so
//! that resume tokens of the old one are refused instead of showing another history.

use std::sync::Arc;

use uuid::Uuid;

use super::{Appender, EndedLocation, JournalEntry, LowWaterMark, Previous, RestoreOrigin, keys};
use crate::store::{
    BATCH_BYTES, BackupFile, Cursor, Entry, Incarnation, LabelFilter, RequirementInterner,
    RestoreLock, StoreError, Summary,
    active::{Chain, is_over, replay},
    backend::{Backend, Writes},
    backup::SavedSetting,
};

/// How many workflows one batch holds.
const BATCH: usize = 64;

/// What a restored journal is called, and where it ends.
pub(in crate::store) struct Restored {
    pub(in crate::store) incarnation: Incarnation,
    pub(in crate::store) newest: Cursor,
}

/// Fills an empty store. `put_settings` takes what is kept beside workflows, which is to be durable with the next commit.
///
/// # Errors
/// If the backup cannot be read, or the store not written.
pub(in crate::store) fn fill(
    backend: &dyn Backend,
    mut file: BackupFile,
    summary: &Summary,
    put_settings: impl Fn(Vec<SavedSetting>) -> Result<(), StoreError>,
) -> Result<Restored, StoreError> {
    let mut writes = Writes::default();
    for receipt in file.held_receipts() {
        writes.put(keys::held_receipt(receipt.key), receipt)?;
    }
    let mut put = RestoreWriter {
        summary,
        is_partitioned: backend.is_partitioned(),
        newest: summary.oldest,
        compacted: summary.newest,
    };
    let mut count = 0;
    while let Some(entry) = file.next() {
        put.entry(&mut writes, entry?)?;
        count += 1;
        if count == BATCH || writes.bytes() >= BATCH_BYTES {
            count = 0;
            put_settings(file.take_settings())?;
            backend.commit(std::mem::take(&mut writes), put.newest)?;
        }
    }
    put_settings(file.take_settings())?;
    let newest = put.newest;
    let origin = RestoreOrigin { taken_of: summary.taken_of, newest };
    writes.put(keys::ORIGIN.to_vec(), &origin)?;
    let restore_lock = RestoreLock { known_until: summary.last_time, taken_of: summary.taken_of };
    writes.put(keys::RESTORE_LOCK.to_vec(), &restore_lock)?;
    let edge = LowWaterMark { swept: summary.oldest, gone: summary.oldest };
    writes.put(keys::LOW_WATER_MARK.to_vec(), &edge)?;
    let incarnation = Incarnation(Uuid::now_v7());
    writes.put(keys::INCARNATION.to_vec(), &incarnation)?;
    backend.commit(writes, newest)?;
    Ok(Restored { incarnation, newest })
}

struct RestoreWriter<'a> {
    summary: &'a Summary,
    is_partitioned: bool,
    /// The newest row that was put: the backup's newest may be of a workflow that is not in it.
    newest: Cursor,
    /// Rows that are compacted come behind all others.
    compacted: Cursor,
}

impl RestoreWriter<'_> {
    /// One workflow, as the store would have it.
    fn entry(&mut self, writes: &mut Writes, entry: Entry) -> Result<(), StoreError> {
        let summary = self.summary;
        let Entry { record, rows, messages } = entry;
        let id = record.id;
        let facts = rows.iter().map(|row| (row.at, row.facts.as_slice()));
        let state = replay(&mut RequirementInterner::default(), &record, facts);
        let is_over = is_over(&state);
        let (Some(oldest), Some(newest)) = (rows.first(), rows.last()) else { return Ok(()) };
        if is_over && newest.cursor <= summary.oldest {
            // Past retention, which perhaps came to it while the backup was taken.
            return Ok(());
        }
        let mut index = Vec::new();
        for (key, part) in messages {
            writes.put(keys::found_by(key), &(id, part))?;
            index.push(key);
        }
        if let (Some(request_id), Some(made)) = (record.request_id(), record.existing_request()) {
            writes.put(keys::request(&record.tenant, request_id), &made)?;
        }
        let labels = LabelFilter::of(&record);
        let mut chain = Chain { first: oldest.cursor, last: newest.cursor, labels };
        let ended = EndedLocation::of(&state, chain, newest);
        let record = Arc::new(record);
        let rows: Vec<_> = rows.into_iter().map(Arc::new).collect();
        let mut previous = if chain.first > summary.oldest {
            Previous::Start(record)
        } else {
            self.compacted = Cursor(self.compacted.0 + 1);
            (chain.first, chain.last) = (self.compacted, self.compacted);
            let (at, rows, messages) =
                (summary.last_time, rows.clone(), std::mem::take(&mut index));
            let entry = JournalEntry::Compacted { workflow: id, at, record, rows, messages };
            self.put(writes, self.compacted, &entry)?;
            Previous::Row(self.compacted)
        };
        // Of one that was compacted they are kept for those alone who follow the journal.
        for row in rows.into_iter().filter(|row| row.cursor > summary.oldest) {
            let cursor = row.cursor;
            // The chain's index rows hang on its first row.
            let entry = JournalEntry::Row { previous, row, messages: std::mem::take(&mut index) };
            self.put(writes, cursor, &entry)?;
            previous = Previous::Row(cursor);
        }
        if is_over {
            let Chain { first, last, .. } = chain;
            writes.put(keys::ended(id), &EndedLocation { first, last, ..ended })?;
        }
        Ok(())
    }

    /// Each in a chunk of its own: they come workflow by workflow, not in the order of the journal.
    fn put(
        &mut self,
        writes: &mut Writes,
        cursor: Cursor,
        entry: &JournalEntry,
    ) -> Result<(), StoreError> {
        self.newest = self.newest.max(cursor);
        let mut appender = Appender::behind(Cursor(cursor.0 - 1), self.is_partitioned);
        appender.put(entry, writes)?;
        appender.finish(writes);
        Ok(())
    }
}
