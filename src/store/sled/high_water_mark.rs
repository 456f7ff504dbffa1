//! The mark: how far the journal had got, kept beside sled's log.
//!
//! sled takes damage at the end of its log for the last write before a crash, drops it, and opens
//! with less; junk it takes for an empty store. Both lose acknowledged work without a word. So after
//! each durable commit the newest cursor is noted in a file of its own, with how many changes were made
//! to what is kept beside workflows, and a start that finds less than was noted is refused. How the clocks
//! stood is noted there too, for the next life's engine time.
//!
//! The file is made durable once, when it is new. After that it is overwritten without a sync: it
//! costs microseconds, is exact after a kill, and after a power cut says at worst a little less than
//! was durable, never more. Two copies in sectors of their own take turns, so one is always whole.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Serialize};

use super::files::io_failed;
use crate::{
    owned_files,
    store::{ClockNote, Cursor, Incarnation, StoreError, codec},
};

const NAME: &str = "dispatch.mark";
/// One copy; a disk writes a sector whole or not at all.
const SECTOR: usize = 512;

/// What the journal held at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Marked {
    pub(super) incarnation: Incarnation,
    pub(super) newest: Cursor,
    /// How many durable changes of settings there were.
    pub(super) settings: u64,
    /// How the clocks stood last.
    pub(super) clock: Option<ClockNote>,
}

/// The file, open for overwriting; of the writer and of whoever changes settings.
#[derive(Clone)]
pub(super) struct HighWaterMark(Arc<Mutex<MarkFile>>);

struct MarkFile {
    file: File,
    path: PathBuf,
    marked: Marked,
    /// Which copy is overwritten next.
    turn: bool,
}

/// Where it is.
pub(super) fn path(folder: &Path) -> PathBuf {
    folder.join(NAME)
}

impl HighWaterMark {
    /// What an earlier life noted; `None` if there was none, or none that came so far.
    pub(super) fn read(folder: &Path) -> Result<Option<Marked>, StoreError> {
        let path = folder.join(NAME);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io_failed("cannot read", &path, &error)),
        };
        let place = || path.display().to_string();
        let copies = bytes.chunks(SECTOR).filter_map(|copy| {
            let (len, rest) = copy.split_first()?;
            codec::decode::<Marked>(rest.get(..usize::from(*len))?, place).ok()
        });
        let age = |marked: &Marked| {
            (marked.newest, marked.settings, marked.clock.map(|clock| clock.at.engine))
        };
        copies.max_by_key(age).map(Some).ok_or_else(|| StoreError::Corrupt {
            place: place(),
            problem: "neither of its two copies can be read; restore a backup".to_owned(),
        })
    }

    /// A new file in place of what there was, durable when this returns.
    pub(super) fn create(folder: &Path, marked: Marked) -> Result<HighWaterMark, StoreError> {
        let path = folder.join(NAME);
        let new = folder.join("dispatch.mark.new");
        let copy = copy(&marked)?;
        owned_files::replace(&new)
            .and_then(|mut file| {
                file.write_all(&[copy, copy].concat())?;
                file.sync_all()?;
                fs::rename(&new, &path)?;
                File::open(folder)?.sync_all()?;
                let open = MarkFile { file, path: path.clone(), marked, turn: false };
                Ok(HighWaterMark(Arc::new(Mutex::new(open))))
            })
            .map_err(|error| io_failed("cannot write", &path, &error))
    }

    /// Notes that everything up to `newest` is durable, which it must be.
    pub(super) fn note(&self, newest: Cursor) -> Result<(), StoreError> {
        self.active().put(|marked| marked.newest = newest)
    }

    /// Notes that so many changes of settings are durable, which they must be.
    pub(super) fn note_settings(&self, count: u64) -> Result<(), StoreError> {
        self.active().put(|marked| marked.settings = count)
    }

    /// Notes how the clocks stand.
    pub(super) fn note_clock(&self, clock: ClockNote) -> Result<(), StoreError> {
        self.active().put(|marked| marked.clock = Some(clock))
    }

    // Both copies are whole whatever panicked.
    fn active(&self) -> MutexGuard<'_, MarkFile> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MarkFile {
    fn put(&mut self, change: impl FnOnce(&mut Marked)) -> Result<(), StoreError> {
        let before = self.marked;
        change(&mut self.marked);
        if self.marked == before {
            return Ok(());
        }
        let place = if self.turn { SECTOR as u64 } else { 0 };
        self.turn = !self.turn;
        self.file
            .write_all_at(&copy(&self.marked)?, place)
            .map_err(|error| io_failed("cannot write", &self.path, &error))
    }
}

fn copy(marked: &Marked) -> Result<[u8; SECTOR], StoreError> {
    let row = codec::encode(marked)?;
    let mut copy = [0; SECTOR];
    copy[0] = row.len() as u8;
    copy[1..=row.len()].copy_from_slice(&row);
    Ok(copy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_survives_a_torn_copy_and_refuses_two() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(HighWaterMark::read(folder.path()), Ok(None));
        let incarnation = Incarnation(uuid::Uuid::from_u128(7));
        let mut marked = Marked { incarnation, newest: Cursor(3), settings: 0, clock: None };
        let mark = HighWaterMark::create(folder.path(), marked).unwrap();
        for newest in 4..300 {
            mark.note(Cursor(newest)).unwrap();
            marked.newest = Cursor(newest);
            assert_eq!(HighWaterMark::read(folder.path()), Ok(Some(marked)));
            mark.note_settings(newest / 3).unwrap();
            marked.settings = newest / 3;
            assert_eq!(HighWaterMark::read(folder.path()), Ok(Some(marked)));
        }
        let path = folder.path().join(NAME);
        let whole = fs::read(&path).unwrap();
        for at in [0, SECTOR] {
            let mut torn = whole.clone();
            torn[at + 9] ^= 1;
            fs::write(&path, &torn).unwrap();
            let newest = HighWaterMark::read(folder.path()).unwrap().unwrap().newest;
            assert!(newest == Cursor(299) || newest == Cursor(298));
            torn[(at + SECTOR) % (2 * SECTOR) + 9] ^= 1;
            fs::write(&path, &torn).unwrap();
            assert!(matches!(HighWaterMark::read(folder.path()), Err(StoreError::Corrupt { .. })));
        }
    }
}
