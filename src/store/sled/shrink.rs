//! Files that are many times what they hold are given back at a start.
//!
//! sled 0.34.7 uses segments of its file again, and never makes the file shorter: it stays as large as the
//! most that was ever in it. So a start that finds a large file with little in it copies the rows into a
//! new one, looks whether they are all there, and puts it in place.
//!
//! A death at any moment leaves one whole store: [`super::swap`] says how. What lies beside sled's files (the
//! high-water mark, the checkpoint, keys) stays as it is: the rows are the same, under the same cursors.
//!
//! What it deliberately does not do: it does not look at a store with much in it, which a start would have to
//! read; a backup that is restored gives that back.

use std::{fs, path::Path};

use super::{
    SledOptions,
    files::{SEGMENT, io_failed, sync},
    folder::{self, Lock},
    swap::{COPY, WHOLE, discard, settle},
    tree::SledTree,
};
use crate::{owned_files, store::StoreError};

/// A smaller file is left as it is.
const LEAST: u64 = 8 * SEGMENT as u64;
/// So many times what it holds must a file be.
const TIMES: u64 = 8;
/// What holds more is left as it is.
const MOST: u64 = 64 * 1024 * 1024;

/// The tree, in smaller files where that is worth it.
///
/// # Errors
/// If neither those files nor the old ones can be opened.
pub(super) fn shrunk(
    tree: SledTree,
    lock: Lock,
    options: &SledOptions,
) -> Result<SledTree, StoreError> {
    let folder = &*options.folder;
    let (before, holds) = match worth(&tree, folder) {
        Ok(Some(sizes)) => sizes,
        Ok(None) => return Ok(tree),
        Err(error) => {
            tracing::warn!(%error, "cannot see whether the data folder could be smaller");
            return Ok(tree);
        }
    };
    if let Err(error) = copied(&tree, folder, options.cache_bytes) {
        tracing::warn!(%error, "the data folder stays as large as it is");
        discard(folder)?;
        return Ok(tree);
    }
    // Nothing of it may write where the copy is about to be.
    drop(tree);
    folder::wait_until_free(&folder.join("db"))?;
    let is_marked_whole = owned_files::replace(&folder.join(COPY).join(WHOLE))
        .and_then(|whole| whole.sync_all())
        .and_then(|()| sync(&folder.join(COPY)));
    match is_marked_whole {
        Ok(()) => settle(folder)?,
        Err(error) => {
            tracing::warn!(%error, "the data folder stays as large as it is");
            discard(folder)?;
        }
    }
    let tree = SledTree::open(folder, options.cache_bytes, lock)?;
    let after = fs::metadata(folder.join("db")).map_or(0, |file| file.len());
    tracing::info!(folder = %folder.display(), before, after, holds, "the data folder was made smaller");
    Ok(tree)
}

/// How large the file is and what it holds, in bytes, if that is worth a copy and there is room for one.
fn worth(tree: &SledTree, folder: &Path) -> Result<Option<(u64, u64)>, StoreError> {
    let db = folder.join("db");
    let size = fs::metadata(&db).map_err(|error| io_failed("cannot read", &db, &error))?.len();
    if size < LEAST {
        return Ok(None);
    }
    let Some(holds) = tree.bytes_up_to(MOST.min(size / TIMES))? else { return Ok(None) };
    // What sled writes to hold it may be several times as much for a while.
    let room = 4 * holds + 4 * SEGMENT as u64;
    Ok(folder::free_bytes(folder).is_none_or(|free| free > room).then_some((size, holds)))
}

/// A copy of all rows, whole and durable, that nobody has open.
fn copied(tree: &SledTree, folder: &Path, cache_bytes: u64) -> Result<(), StoreError> {
    let copy = &*folder.join(COPY);
    discard(folder)?;
    owned_files::make_folder(copy)
        .map_err(|error| io_failed("cannot make the folder", copy, &error))?;
    let new = SledTree::open(copy, cache_bytes, folder::lock(copy)?)?;
    tree.copy_into(&new)?;
    drop(new);
    folder::wait_until_free(&copy.join("db"))?;
    // Seen as a start will see it.
    folder::prepare(copy, None)?;
    let new = SledTree::open(copy, cache_bytes, folder::lock(copy)?)?;
    let is_same = tree.is_same(&new)?;
    new.sync()?;
    drop(new);
    folder::wait_until_free(&copy.join("db"))?;
    if is_same {
        return Ok(());
    }
    Err(StoreError::Io("sled did not copy every row".to_owned()))
}
