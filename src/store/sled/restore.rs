//! A new folder from a backup.
//!
//! The rows keep their cursors, so that retention goes on as before; the store gets a new life, so
//! that resume tokens of the old one are refused instead of showing another history. It is built
//! beside the folder and put in place at the end: a restore that dies leaves no half store.

use std::{fs, io, path::Path, sync::Arc};

use uuid::Uuid;

use super::{
    Appender, EndedLocation, JournalEntry, LowWaterMark, Previous, RestoreOrigin, SledOptions,
    files, folder,
    high_water_mark::{HighWaterMark, Marked},
    keys,
    tree::{SledTree, WriteBatch},
};
use crate::{
    owned_files,
    store::{
        BATCH_BYTES, BackupFile, Cursor, Entry, Incarnation, KEY_FOLDER, RequirementInterner,
        RestoreLock, StoreError, Summary, TenantTag,
        active::{is_over, replay},
        backup::SavedSetting,
    },
};

/// How many workflows one batch holds.
const BATCH: usize = 64;

impl super::SledStore {
    /// Makes a folder from a backup. The store in it is [`RestoreLock`].
    ///
    /// # Errors
    /// If the backup cannot be read or is not whole, or something is in the folder already.
    pub fn restore(backup: &Path, options: &SledOptions) -> Result<Summary, StoreError> {
        let folder = &options.folder;
        let is_taken = fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some());
        if is_taken || folder.is_file() {
            return Err(StoreError::Refused(format!(
                "{} is not empty; restore into a new folder, or move this one away first",
                folder.display()
            )));
        }
        // Read to its end first: nothing is built from a file that is not whole.
        let mut file = BackupFile::open(backup)?;
        while let Some(entry) = file.next() {
            entry?;
            file.take_settings();
        }
        let Some(summary) = file.summary() else {
            return Err(StoreError::Refused(format!("{} has no end", backup.display())));
        };
        if folder.file_name().is_none() {
            return Err(StoreError::Refused(format!(
                "{} has no name of its own; name the folder that is to be made",
                folder.display()
            )));
        }
        let building = &*folder::restoring(folder);
        let failed = |error: io::Error| {
            StoreError::Io(format!("cannot put {} in place: {error}", folder.display()))
        };
        // One that was broken off; not one that is at work.
        let held = building.exists().then(|| folder::lock(building)).transpose()?;
        match fs::remove_dir_all(building) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            Ok(()) | Err(_) => {}
        }
        drop(held);
        let built = build(backup, building, options.cache_bytes, &summary);
        if let Err(error) = built {
            // What is there takes room, and is good for nothing.
            let _ = fs::remove_dir_all(building);
            return Err(StoreError::Io(format!(
                "cannot restore into {}: {error}",
                folder.display()
            )));
        }
        fs::rename(building, folder).map_err(failed)?;
        let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty());
        let parent = fs::File::open(parent.unwrap_or(Path::new("."))).map_err(failed)?;
        parent.sync_all().map_err(failed)?;
        Ok(summary)
    }
}

fn build(
    backup: &Path,
    folder: &Path,
    cache_bytes: u64,
    summary: &Summary,
) -> Result<(), StoreError> {
    owned_files::make_folder(folder)
        .map_err(|error| files::io_failed("cannot make the folder", folder, &error))?;
    let lock = folder::lock(folder)?;
    folder::prepare(folder, None)?;
    let tree = SledTree::open(folder, cache_bytes, lock)?;
    let file = BackupFile::open(backup)?.with_keys_into(folder.join(KEY_FOLDER));
    let marked = fill(&tree, file, summary)?;
    drop(tree);
    files::sync(folder).map_err(|error| files::io_failed("cannot sync", folder, &error))?;
    HighWaterMark::create(folder, marked).map(drop)
}

fn fill(tree: &SledTree, mut file: BackupFile, summary: &Summary) -> Result<Marked, StoreError> {
    let mut writes = WriteBatch::default();
    for receipt in file.held_receipts() {
        writes.put(keys::held_receipt(receipt.key), receipt)?;
    }
    let mut put = RestoreWriter { summary, newest: summary.oldest, compacted: summary.newest };
    let mut count = 0;
    while let Some(entry) = file.next() {
        put.entry(&mut writes, entry?)?;
        count += 1;
        if count == BATCH || writes.bytes() >= BATCH_BYTES {
            count = 0;
            put_settings(tree, file.take_settings())?;
            tree.commit(std::mem::take(&mut writes))?;
        }
    }
    put_settings(tree, file.take_settings())?;
    let newest = put.newest;
    let origin = RestoreOrigin { taken_of: summary.taken_of, newest };
    writes.put(keys::ORIGIN.to_vec(), &origin)?;
    let restore_lock = RestoreLock { known_until: summary.last_time, taken_of: summary.taken_of };
    writes.put(keys::RESTORE_LOCK.to_vec(), &restore_lock)?;
    let edge = LowWaterMark { swept: summary.oldest, gone: summary.oldest };
    writes.put(keys::LOW_WATER_MARK.to_vec(), &edge)?;
    let incarnation = Incarnation(Uuid::now_v7());
    writes.put(keys::INCARNATION.to_vec(), &incarnation)?;
    tree.commit(writes)?;
    Ok(Marked { incarnation, newest, settings: 0, clock: None })
}

/// Durable with the next commit.
fn put_settings(tree: &SledTree, rows: Vec<SavedSetting>) -> Result<(), StoreError> {
    let mut batch = sled::Batch::default();
    for (key, value) in rows {
        batch.insert(key, value);
    }
    tree.apply_settings(batch)
}

struct RestoreWriter<'a> {
    summary: &'a Summary,
    /// The newest row that was put: the backup's newest may be of a workflow that is not in it.
    newest: Cursor,
    /// Rows that are compacted come behind all others.
    compacted: Cursor,
}

impl RestoreWriter<'_> {
    /// One workflow, as the store would have it.
    fn entry(&mut self, writes: &mut WriteBatch, entry: Entry) -> Result<(), StoreError> {
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
        let (mut first, mut last) = (oldest.cursor, newest.cursor);
        let sequence = newest.sequence + newest.facts.len() as u32 - 1;
        let (newest, at) = (last, newest.at.engine);
        let ended_at = state.ended_at.map_or(at, |ended| ended.engine);
        let tenant = TenantTag::of(&record.tenant);
        let record = Arc::new(record);
        let rows: Vec<_> = rows.into_iter().map(Arc::new).collect();
        let mut previous = if first > summary.oldest {
            Previous::Start(record)
        } else {
            self.compacted = Cursor(self.compacted.0 + 1);
            (first, last) = (self.compacted, self.compacted);
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
            writes.put(
                keys::ended(id),
                &EndedLocation { first, last, sequence, newest, tenant, at, ended_at },
            )?;
        }
        Ok(())
    }

    /// Each in a chunk of its own: they come workflow by workflow, not in the order of the journal.
    fn put(
        &mut self,
        writes: &mut WriteBatch,
        cursor: Cursor,
        entry: &JournalEntry,
    ) -> Result<(), StoreError> {
        self.newest = self.newest.max(cursor);
        let mut appender = Appender::behind(Cursor(cursor.0 - 1));
        appender.put(entry, writes)?;
        appender.finish(writes);
        Ok(())
    }
}
