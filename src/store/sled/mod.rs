//! The embedded default: a journal's bytes in sled 0.34.7, in a folder.
//!
//! What sled must be protected from stands in [`tree`]. That nothing kept is missing is looked at when the folder is
//! opened: [`open`], [`folder`], [`high_water_mark`].
//!
//! The keys of the one tree are those of the journal's rows ([`journal`](super::journal)), and these two kinds:
//!
//! | first byte | then | holds |
//! |---|---|---|
//! | `j` | cursor | a chunk of the journal, under the cursor of its first entry |
//! | `x` | another key, number | a piece of a value too large for one row |

mod check;
mod checkpoint;
mod files;
mod folder;
mod high_water_mark;
mod open;
mod restore;
mod settings;
mod shrink;
mod swap;
mod tree;
mod watchdog;

use std::{
    ops::Range,
    path::{Path, PathBuf},
    sync::Mutex,
};

use bytes::Bytes;

use super::{
    ClockNote, Cursor, StoreError,
    backend::{Backend, EntryPlace, KeyedRow, RangeEnd, RawChunk, Scanned, Writes},
};
use high_water_mark::HighWaterMark;
use tree::SledTree;

/// Where and how a store on sled keeps its files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SledOptions {
    /// The folder; made if it is not there. One process at a time.
    pub folder: PathBuf,
    /// How much of it may be cached in memory, in bytes. Starving the cache makes sled both
    /// slower and larger; 256 MiB is a good size.
    pub cache_bytes: u64,
}

/// A folder with sled's files, and what lies beside them.
struct SledBackend {
    tree: SledTree,
    folder: PathBuf,
    /// How many durable changes of settings there were.
    setting_changes: Mutex<u64>,
    /// None in a folder that is only looked at, or is still being made.
    mark: Option<HighWaterMark>,
}

impl SledBackend {
    /// Of a folder whose high-water mark is left as it is.
    fn unmarked(tree: SledTree, folder: &Path) -> SledBackend {
        SledBackend {
            tree,
            folder: folder.to_owned(),
            setting_changes: Mutex::default(),
            mark: None,
        }
    }
}

impl Backend for SledBackend {
    fn is_partitioned(&self) -> bool {
        false
    }

    fn is_remote(&self) -> bool {
        false
    }

    /// Whoever opens a folder holds it.
    fn check_owned(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn get(&self, keys: &[Vec<u8>]) -> Result<Vec<Option<Bytes>>, StoreError> {
        keys.iter().map(|key| self.tree.get(key)).collect()
    }

    fn page(
        &self,
        range: Range<Vec<u8>>,
        from: RangeEnd,
        limit: usize,
    ) -> Result<Vec<KeyedRow>, StoreError> {
        let rows = self.tree.range(range);
        match from {
            RangeEnd::First => rows.take(limit).collect(),
            RangeEnd::Last => rows.rev().take(limit).collect(),
        }
    }

    fn chunks(&self, from: Cursor, bytes: usize) -> Result<Vec<RawChunk>, StoreError> {
        let mut chunks: Vec<_> = self.tree.chunk_with(from, None)?.into_iter().collect();
        let behind = chunks.first().map_or(from, |chunk| Cursor(chunk.first.0 + 1));
        let mut read = chunks.first().map_or(0, |chunk| chunk.bytes());
        for chunk in self.tree.chunks(behind) {
            let chunk = chunk?;
            read += chunk.bytes();
            chunks.push(chunk);
            if read >= bytes {
                break;
            }
        }
        Ok(chunks)
    }

    fn chunks_with(&self, places: &[EntryPlace]) -> Result<Vec<RawChunk>, StoreError> {
        let mut chunks: Vec<RawChunk> = Vec::new();
        for place in places {
            let known = chunks.last().map(|last| last.first);
            chunks.extend(self.tree.chunk_with(place.cursor, known)?);
        }
        Ok(chunks)
    }

    fn commit(&self, writes: Writes, newest: Cursor) -> Result<(), StoreError> {
        self.tree.commit(writes)?;
        self.mark.as_ref().map_or(Ok(()), |mark| mark.note(newest))
    }

    fn scan(&self, show: &mut dyn FnMut(Scanned)) {
        self.tree.scan(show);
    }

    fn note_clock(&self, note: ClockNote) -> Result<(), StoreError> {
        self.mark.as_ref().map_or(Ok(()), |mark| mark.note_clock(note))
    }

    fn write_checkpoint(
        &self,
        blocks: &mut dyn Iterator<Item = Result<Vec<u8>, StoreError>>,
    ) -> Result<(), StoreError> {
        checkpoint::write(&self.folder, blocks)
    }

    fn checkpoint(&self) -> Box<dyn Iterator<Item = Vec<u8>> + '_> {
        Box::new(checkpoint::blocks(&self.folder))
    }

    fn free_bytes(&self) -> Option<u64> {
        folder::free_bytes(&self.folder)
    }
}
