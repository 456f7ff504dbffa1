//! sled as this store needs it: safe against power cuts, and never with a value too large.
//!
//! Four traps of sled 0.34.7, each measured:
//!
//! 1. Its flush is not an fsync (`sync_file_range` on Linux): [`SledTree::commit`] adds `sync_data`.
//! 2. A page over a quarter of `segment_size` becomes a file in `blobs/` that is never synced.
//!    A leaf holds up to 16 rows, whatever their size: segments are 8 MiB here, values larger
//!    than [`PIECE`] are cut, and a folder with a blob in it is refused (by [`super::folder`]).
//! 3. A batch is atomic per tree only: there is one tree.
//! 4. It does not group commits: there is one writer, with batches of its own.
//!
//! A fifth, found by `tests/faults`: a failed write may wake nobody; see [`super::watchdog`].
//!
//! What it does with damaged files is held in check by [`super::folder`] and [`super::high_water_mark`].

use std::{
    fs::File,
    ops::Range,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

use bytes::Bytes;
use sled::IVec;

use super::{
    files::{SEGMENT, io_failed},
    folder::{Lock, while_in_use},
    watchdog::Watchdog,
};
use crate::store::{
    BATCH_BYTES, Cursor, StoreError,
    backend::{KeyedRow, RawChunk, Scanned, Writes, place},
};

/// The largest value in one row: 17 of them stay under a quarter of a segment.
const PIECE: usize = 64 * 1024;
/// Begins a value that was cut: no format version of the codec is this.
const CUT: u8 = 0xFF;
/// What the key of a chunk begins with, and that of a piece.
const CHUNK: u8 = b'j';
const PIECE_OF: u8 = b'x';

/// The one tree, and the file it lives in.
pub(super) struct SledTree {
    tree: sled::Tree,
    settings: sled::Tree,
    db: sled::Db,
    file: File,
    /// A write or sync failed, on whatever thread: none is tried again.
    has_failed: AtomicBool,
    _watch: Watchdog,
    _lock: Lock,
}

/// Rows as sled has them: values in pieces where they are large.
#[derive(Default)]
struct PiecedRows(Vec<(Vec<u8>, Option<Vec<u8>>)>);

impl SledTree {
    /// Opens a folder that is held, and that [`super::folder::prepare`] found right.
    pub(super) fn open(folder: &Path, cache_bytes: u64, lock: Lock) -> Result<Self, StoreError> {
        let config = sled::Config::new()
            .path(folder)
            .cache_capacity(cache_bytes)
            .segment_size(SEGMENT)
            .flush_every_ms(None);
        let shown = folder.display().to_string();
        let db = while_in_use(|| config.open().map_err(|error| refusal(&shown, &error)))?;
        // sled makes its files for everybody whom the umask allows. What cannot be changed was said when the
        // folder was looked at.
        let _ = super::folder::tighten(folder);
        let watch = Watchdog::begin(config, db.clone())
            .map_err(|error| StoreError::Io(format!("cannot start a thread: {error}")))?;
        let tree = db.open_tree("dispatch").map_err(|error| failed(&error))?;
        let settings = db.open_tree("settings").map_err(|error| failed(&error))?;
        let file = folder.join("db");
        let file = File::open(&file).map_err(|error| io_failed("cannot open", &file, &error))?;
        // sled's settings and the folder's entries too must survive a power cut.
        for path in [&*folder.join("conf"), folder] {
            File::open(path)
                .and_then(|file| file.sync_all())
                .map_err(|error| io_failed("cannot sync", path, &error))?;
        }
        let has_failed = AtomicBool::new(false);
        Ok(SledTree { tree, settings, db, file, has_failed, _watch: watch, _lock: lock })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.tree.is_empty()
    }

    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        match self.tree.get(key).map_err(|error| failed(&error))? {
            Some(value) => self.whole(key, value).map(Some),
            None => Ok(None),
        }
    }

    /// The rows of a range, in order.
    pub(super) fn range(
        &self,
        range: Range<Vec<u8>>,
    ) -> impl DoubleEndedIterator<Item = Result<KeyedRow, StoreError>> + '_ {
        self.tree.range(range).map(|row| {
            let (key, value) = row.map_err(|error| failed(&error))?;
            let value = self.whole(&key, value)?;
            Ok((key.to_vec(), value))
        })
    }

    /// The last chunk that does not begin behind `cursor`; nothing if it does not begin behind `known` either.
    pub(super) fn chunk_with(
        &self,
        cursor: Cursor,
        known: Option<Cursor>,
    ) -> Result<Option<RawChunk>, StoreError> {
        let behind = chunk_key(Cursor(cursor.0.saturating_add(1)));
        match self.tree.get_lt(behind).map_err(|error| failed(&error))? {
            Some((key, value)) if key.first() == Some(&CHUNK) => {
                if known.is_some_and(|known| *key <= *chunk_key(known)) {
                    return Ok(None);
                }
                let value = self.whole(&key, value)?;
                chunk(&key, value).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// The chunks from the one that begins at `first` on, in order.
    pub(super) fn chunks(
        &self,
        first: Cursor,
    ) -> impl Iterator<Item = Result<RawChunk, StoreError>> + '_ {
        let rows = self.range(chunk_key(first)..vec![CHUNK + 1]);
        rows.map(|row| row.and_then(|(key, value)| chunk(&key, value)))
    }

    /// Shows all there is, but for settings.
    pub(super) fn scan(&self, show: &mut dyn FnMut(Scanned)) {
        for row in &self.tree {
            let (key, value) = match row {
                Ok((key, _)) if key.first() == Some(&PIECE_OF) => continue,
                Ok(row) => row,
                // It cannot be read further.
                Err(error) => return show(Scanned::Unreadable(failed(&error))),
            };
            let is_chunk = key.first() == Some(&CHUNK);
            let row = self.whole(&key, value).and_then(|value| match is_chunk {
                true => chunk(&key, value).map(Scanned::Chunk),
                false => Ok(Scanned::Row((key.to_vec(), value))),
            });
            show(row.unwrap_or_else(Scanned::Unreadable));
        }
    }

    /// Durable when it returns.
    pub(super) fn commit(&self, writes: Writes) -> Result<(), StoreError> {
        let rows = self.pieced(writes)?;
        self.once(|| self.apply(rows).map_err(|error| failed(&error)))?;
        self.sync()
    }

    fn pieced(&self, writes: Writes) -> Result<PiecedRows, StoreError> {
        let mut rows = PiecedRows::default();
        for chunk in writes.chunks {
            for part in chunk.parts {
                rows.put(chunk_key(chunk.first), part.bytes.into());
            }
        }
        for (key, value) in writes.rows {
            match value {
                Some(value) => rows.put(key, value),
                None => self.remove(&mut rows, key)?,
            }
        }
        if let Some(last) = writes.trim_to {
            let behind = chunk_key(Cursor(last.0.saturating_add(1)));
            for key in self.tree.range(vec![CHUNK]..behind).keys() {
                self.remove(&mut rows, key.map_err(|error| failed(&error))?.to_vec())?;
            }
        }
        Ok(rows)
    }

    fn apply(&self, PiecedRows(writes): PiecedRows) -> sled::Result<()> {
        // sled marks the end of a batch with a write of its own, which one value alone can do without.
        if let [(key, Some(value))] = &*writes {
            return self.tree.insert(key, value.as_slice()).map(drop);
        }
        let mut batch = sled::Batch::default();
        for (key, value) in writes {
            match value {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        }
        self.tree.apply_batch(batch)
    }

    /// Makes durable whatever was written.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        self.once(|| {
            self.db.flush().map_err(|error| failed(&error))?;
            self.file.sync_data().map_err(|error| StoreError::Io(format!("sync failed: {error}")))
        })
    }

    pub(super) fn setting(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let value = self.settings.get(key).map_err(|error| failed(&error))?;
        Ok(value.map(|value| value.to_vec()))
    }

    pub(super) fn settings(
        &self,
        from: Vec<u8>,
        to: Vec<u8>,
    ) -> impl Iterator<Item = Result<(Vec<u8>, Vec<u8>), StoreError>> + '_ {
        self.settings.range(from..to).map(|row| {
            let (key, value) = row.map_err(|error| failed(&error))?;
            Ok((key.to_vec(), value.to_vec()))
        })
    }

    /// Durable after the next [`sync`](Self::sync).
    pub(super) fn apply_settings(&self, writes: sled::Batch) -> Result<(), StoreError> {
        self.once(|| self.settings.apply_batch(writes).map_err(|error| failed(&error)))
    }

    /// How many bytes all rows are; `None` if they are more than `most`.
    pub(super) fn bytes_up_to(&self, most: u64) -> Result<Option<u64>, StoreError> {
        let mut bytes = 0;
        for row in self.tree.iter().chain(self.settings.iter()) {
            let (key, value) = row.map_err(|error| failed(&error))?;
            bytes += (key.len() + value.len()) as u64;
            if bytes > most {
                return Ok(None);
            }
        }
        Ok(Some(bytes))
    }

    /// Puts every row into another tree, durably.
    pub(super) fn copy_into(&self, other: &SledTree) -> Result<(), StoreError> {
        for (from, to) in [(&self.tree, &other.tree), (&self.settings, &other.settings)] {
            let (mut batch, mut bytes) = (sled::Batch::default(), 0);
            for row in from {
                let (key, value) = row.map_err(|error| failed(&error))?;
                bytes += key.len() + value.len();
                batch.insert(key, value);
                if bytes >= BATCH_BYTES {
                    to.apply_batch(std::mem::take(&mut batch)).map_err(|error| failed(&error))?;
                    bytes = 0;
                }
            }
            to.apply_batch(batch).map_err(|error| failed(&error))?;
        }
        other.sync()
    }

    /// Whether another tree has the same rows, and no others.
    pub(super) fn is_same(&self, other: &SledTree) -> Result<bool, StoreError> {
        for (one, other) in [(&self.tree, &other.tree), (&self.settings, &other.settings)] {
            let (mut rows, mut others) = (one.iter(), other.iter());
            loop {
                let row = rows.next().transpose().map_err(|error| failed(&error))?;
                if row != others.next().transpose().map_err(|error| failed(&error))? {
                    return Ok(false);
                }
                if row.is_none() {
                    break;
                }
            }
        }
        Ok(true)
    }

    /// Writes, unless that has ever failed: nobody knows then what the disk holds. sled, when dropped,
    /// would write and sync once more as if nothing had happened: it is never dropped.
    fn once(&self, write: impl FnOnce() -> Result<(), StoreError>) -> Result<(), StoreError> {
        if self.has_failed.load(Ordering::Acquire) {
            return Err(StoreError::Io("an earlier write or sync failed".to_owned()));
        }
        let done = write();
        if done.is_err() {
            self.has_failed.store(true, Ordering::Release);
            std::mem::forget((self.tree.clone(), self.db.clone()));
        }
        done
    }

    fn whole(&self, key: &[u8], value: IVec) -> Result<Bytes, StoreError> {
        if value.first() != Some(&CUT) {
            return Ok(Bytes::from_owner(value));
        }
        let corrupt = || StoreError::Corrupt {
            place: place(key),
            problem: "a piece of it is missing".to_owned(),
        };
        let count = value.get(1..5).and_then(|bytes| bytes.try_into().ok()).map(u32::from_le_bytes);
        let mut whole = Vec::new();
        for number in 0..count.ok_or_else(corrupt)? {
            let piece = self.tree.get(piece_key(key, number)).map_err(|error| failed(&error))?;
            whole.extend_from_slice(&piece.ok_or_else(corrupt)?);
        }
        Ok(whole.into())
    }

    /// Removes a value with its pieces.
    fn remove(&self, rows: &mut PiecedRows, key: Vec<u8>) -> Result<(), StoreError> {
        let value = self.tree.get(&key).map_err(|error| failed(&error))?;
        if let Some(value) = value
            && value.first() == Some(&CUT)
            && let Some(count) = value.get(1..5).and_then(|bytes| bytes.try_into().ok())
        {
            for number in 0..u32::from_le_bytes(count) {
                rows.0.push((piece_key(&key, number), None));
            }
        }
        rows.0.push((key, None));
        Ok(())
    }
}

impl PiecedRows {
    fn put(&mut self, key: Vec<u8>, row: Vec<u8>) {
        if row.len() <= PIECE {
            self.0.push((key, Some(row)));
            return;
        }
        let mut head = vec![CUT];
        head.extend((row.len().div_ceil(PIECE) as u32).to_le_bytes());
        for (number, piece) in (0..).zip(row.chunks(PIECE)) {
            self.0.push((piece_key(&key, number), Some(piece.to_vec())));
        }
        self.0.push((key, Some(head)));
    }
}

fn chunk_key(first: Cursor) -> Vec<u8> {
    [&[CHUNK], &first.0.to_be_bytes()[..]].concat()
}

fn piece_key(of: &[u8], number: u32) -> Vec<u8> {
    [&[PIECE_OF], of, &number.to_be_bytes()].concat()
}

fn chunk(key: &[u8], bytes: Bytes) -> Result<RawChunk, StoreError> {
    let first = key.strip_prefix(&[CHUNK]).and_then(|first| first.try_into().ok());
    let first = first.map(u64::from_be_bytes).map(Cursor).ok_or_else(|| StoreError::Corrupt {
        place: place(key),
        problem: "it stands among the journal's rows and is none".to_owned(),
    })?;
    Ok(RawChunk::whole(first, bytes))
}

fn refusal(folder: &str, error: &sled::Error) -> StoreError {
    let text = error.to_string();
    if text.contains("could not acquire lock") {
        return StoreError::InUse(folder.to_owned());
    }
    match error {
        sled::Error::Corruption { .. } => StoreError::Corrupt {
            place: folder.to_owned(),
            problem: format!("sled cannot read it ({text}); restore a backup"),
        },
        sled::Error::CollectionNotFound(_)
        | sled::Error::Unsupported(_)
        | sled::Error::ReportableBug(_)
        | sled::Error::Io(_) => StoreError::Io(format!("cannot open {folder}: {text}")),
    }
}

fn failed(error: &sled::Error) -> StoreError {
    StoreError::Io(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_write_that_failed_none_is_tried() {
        let folder = tempfile::tempdir().unwrap();
        let lock = super::super::folder::lock(folder.path()).unwrap();
        let tree = SledTree::open(folder.path(), 1 << 20, lock).unwrap();
        assert!(tree.once(|| Ok(())).is_ok());
        let broken = || Err(StoreError::Io("the disk is gone".to_owned()));
        assert_eq!(tree.once(broken), Err(StoreError::Io("the disk is gone".to_owned())));
        let mut was_tried = false;
        let again = tree.once(|| {
            was_tried = true;
            Ok(())
        });
        assert_eq!(again, Err(StoreError::Io("an earlier write or sync failed".to_owned())));
        assert!(!was_tried);
    }
}
