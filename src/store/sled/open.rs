//! Opening a data folder: nothing that was durable is missing, or it is refused.
//!
//! sled skips what it cannot read of its log, so rows can be missing without an error. What was there at least
//! the high-water mark says, and the checkpoint; see also [`rebuild`].

use std::{
    panic::{self, AssertUnwindSafe},
    path::Path,
    sync::{Arc, Mutex},
};

use uuid::Uuid;

use super::{
    SledBackend, SledOptions, folder,
    high_water_mark::{HighWaterMark, Marked},
    settings, shrink,
    tree::SledTree,
};
use crate::store::{
    Cursor, Incarnation, JournalStore, StoreError,
    backend::{Backend, Writes, place},
    journal::{self, Checkpoint, rebuild},
};

/// So many lives before this one are remembered: what stands beside the store learns of each at the next start.
const FORMER_MOST: usize = 16;

/// How a folder is opened.
#[derive(Clone, Copy, Default)]
struct OpenMode {
    /// Goes on without rows that are lost.
    accepts_loss: bool,
    /// Gives back what the files have too much.
    shrinks: bool,
}

impl SledOptions {
    /// Opens the folder, and rebuilds what is held in memory.
    ///
    /// # Errors
    /// If it is in use, cannot be read, lost something that was durable, or was written by
    /// something else.
    pub fn open(&self) -> Result<JournalStore, StoreError> {
        open(self, OpenMode { shrinks: true, ..OpenMode::default() })
    }

    /// Opens the folder to read it, on a disk that may be full: it is left as large as it is.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_to_read(&self) -> Result<JournalStore, StoreError> {
        open(self, OpenMode::default())
    }

    /// Opens a folder whose newest rows are lost, and goes on without them. It becomes another
    /// [`Incarnation`]: whoever followed the lost rows is told.
    ///
    /// # Errors
    /// As [`open`](Self::open), but for those rows.
    pub fn open_after_loss(&self) -> Result<JournalStore, StoreError> {
        open(self, OpenMode { accepts_loss: true, ..OpenMode::default() })
    }
}

fn open(options: &SledOptions, how: OpenMode) -> Result<JournalStore, StoreError> {
    folder::make(&options.folder)?;
    catch_panics(options, || try_open(options, how))
}

/// sled panics over some damage. Nothing of what was begun is used after that.
pub(super) fn catch_panics<T>(
    options: &SledOptions,
    look: impl FnOnce() -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    panic::catch_unwind(AssertUnwindSafe(look)).unwrap_or_else(|_| {
        Err(StoreError::Corrupt {
            place: options.folder.display().to_string(),
            problem: "sled panicked over what it found there; restore a backup".to_owned(),
        })
    })
}

fn try_open(options: &SledOptions, how: OpenMode) -> Result<JournalStore, StoreError> {
    let OpenMode { accepts_loss, shrinks } = how;
    let lock = folder::lock(&options.folder)?;
    let marked = match HighWaterMark::read(&options.folder) {
        Err(StoreError::Corrupt { .. }) if accepts_loss => None,
        marked => marked?,
    };
    folder::prepare(&options.folder, marked)?;
    let tree = SledTree::open(&options.folder, options.cache_bytes, lock.clone())?;
    let is_empty = tree.is_empty();
    let files = SledBackend::unmarked(tree, &options.folder);
    let backend: &dyn Backend = &files;
    let noted: Option<Incarnation> = backend.decode(journal::INCARNATION)?;
    let is_other = marked.is_some_and(|marked| Some(marked.incarnation) != noted) && !accepts_loss;
    if is_other || (noted.is_none() && !is_empty) {
        return Err(StoreError::Corrupt {
            place: place(journal::INCARNATION),
            problem: "the store's name is missing, or not that of dispatch.mark; restore a backup"
                .to_owned(),
        });
    }
    let checkpoint = Checkpoint::of_this_life(backend, noted);
    // It too has seen rows that were durable.
    let seen = checkpoint.as_ref().map_or(Cursor(0), Checkpoint::seen);
    let seen = marked.map_or(seen, |marked| seen.max(marked.newest));
    let checkpoint = checkpoint.filter(|_| !accepts_loss);
    let rebuilt = rebuild(backend, checkpoint)?;
    let newest = rebuilt.newest;
    let lost = seen.0.saturating_sub(newest.0);
    let setting_changes = settings::changes(&files.tree)?;
    let lost_changes = marked.map_or(0, |marked| marked.settings.saturating_sub(setting_changes));
    if !accepts_loss {
        refuse_loss(&options.folder, lost, lost_changes)?;
    }
    let folder = options.folder.display();
    if lost > 0 {
        tracing::warn!(%folder, lost, newest = newest.0, "going on without the newest rows, as was said");
    } else if marked.is_none() && newest > Cursor(0) {
        tracing::warn!(%folder, "dispatch.mark is missing: whether rows were lost cannot be told");
    }
    // Without a mark nobody knows whether rows are missing: that, too, is another life.
    let is_whole = lost == 0 && !accepts_loss && (marked.is_some() || newest == Cursor(0));
    let incarnation = match noted.filter(|_| is_whole) {
        Some(incarnation) => incarnation,
        None => {
            // Before the new name is there: what noted the old life must not speak for the new one.
            folder::forget_notes(&options.folder)?;
            let new = Incarnation(Uuid::now_v7());
            let mut writes = Writes::default();
            writes.put(journal::INCARNATION.to_vec(), &new)?;
            if let Some(before) = noted {
                writes.put(journal::FORMER.to_vec(), &with_former(backend, before)?)?;
            }
            backend.commit(writes, newest)?;
            new
        }
    };
    // Behind all that was looked at: what is lost is looked for in the files that lost it.
    let tree = files.tree;
    let tree = if shrinks { shrink::shrunk(tree, lock, options)? } else { tree };
    let clock = marked.and_then(|marked| marked.clock);
    let noted = Marked { incarnation, newest, settings: setting_changes, clock };
    let files = Arc::new(SledBackend {
        mark: Some(HighWaterMark::create(&options.folder, noted)?),
        setting_changes: Mutex::new(setting_changes),
        ..SledBackend::unmarked(tree, &options.folder)
    });
    JournalStore::new(Arc::clone(&files) as _, files, incarnation, clock, rebuilt)
}

/// The lives before this one and `before`, which ends now.
fn with_former(backend: &dyn Backend, before: Incarnation) -> Result<Vec<Incarnation>, StoreError> {
    let mut former: Vec<Incarnation> = backend.decode(journal::FORMER)?.unwrap_or_default();
    former.push(before);
    let too_many = former.len().saturating_sub(FORMER_MOST);
    former.drain(..too_many);
    Ok(former)
}

/// A folder that lost what was durable is not gone on with unasked.
fn refuse_loss(folder: &Path, lost: u64, lost_changes: u64) -> Result<(), StoreError> {
    let folder = folder.display();
    if lost_changes > 0 {
        return Err(StoreError::Refused(format!(
            "the newest {lost_changes} changes of keys, applications and accounts in {folder} are lost: the \
             disk damaged them, or the folder was copied in part. Restore a backup; or start once with \
             --accept-loss to go on without them"
        )));
    }
    if lost > 0 {
        return Err(StoreError::Refused(format!(
            "the newest {lost} rows of the journal in {folder} are lost: the disk damaged them, or the \
             folder was copied in part. Restore a backup; or start once with --accept-loss to go on \
             without them: workflows will be missing, and messages may be sent again"
        )));
    }
    Ok(())
}
