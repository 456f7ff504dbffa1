//! Files that are many times what they hold are given back at a start.
//!
//! sled 0.34.7 uses segments of its file again, and never makes the file shorter: it stays as large as the
//! most that was ever in it. So a start that finds a large file with little in it copies the rows into a
//! new one, looks whether they are all there, and puts it in place.
//!
//! A death at any moment leaves one whole store. The copy is made in [`COPY`], a folder within the data
//! folder. Until the file [`WHOLE`] in it is durable, the copy is nothing, and is removed by the next who opens
//! the folder; from then on it is the store, and whoever opens the folder [finishes](settle) putting it in
//! place before anything reads there. What lies beside sled's files (the mark, the checkpoint, keys) stays
//! as it is: the rows are the same, under the same cursors.
//!
//! What it deliberately does not do: it does not look at a store with much in it, which a start would have to
//! read; a backup that is restored gives that back.

use std::{
    fs::{self, File},
    io,
    path::Path,
};

use super::{
    SledOptions,
    folder::{self, Lock},
    tree::{SEGMENT, Tree, io_failed},
};
use crate::{owned_files, store::StoreError};

/// Where the copy is made.
const COPY: &str = "compacted";
/// There once the copy is whole.
const WHOLE: &str = "whole";
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
pub(super) fn shrunk(tree: Tree, lock: Lock, options: &SledOptions) -> Result<Tree, StoreError> {
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
    let sealed = owned_files::replace(&folder.join(COPY).join(WHOLE))
        .and_then(|whole| whole.sync_all())
        .and_then(|()| sync(&folder.join(COPY)));
    match sealed {
        Ok(()) => settle(folder)?,
        Err(error) => {
            tracing::warn!(%error, "the data folder stays as large as it is");
            discard(folder)?;
        }
    }
    let tree = Tree::open(folder, options.cache_bytes, lock)?;
    let after = fs::metadata(folder.join("db")).map_or(0, |file| file.len());
    tracing::info!(folder = %folder.display(), before, after, holds, "the data folder was made smaller");
    Ok(tree)
}

/// Finishes, or clears away, what a death broke off.
///
/// # Errors
/// If a file cannot be moved: then nothing can be opened, and nothing is lost.
pub(super) fn settle(folder: &Path) -> Result<(), StoreError> {
    let copy = folder.join(COPY);
    if !copy.exists() {
        return Ok(());
    }
    if copy.join(WHOLE).exists() {
        put_in_place(&copy, folder)
            .map_err(|error| io_failed("cannot put in place", &copy, &error))?;
    }
    discard(folder)
}

/// Each step can be done again, from whatever a death left of the others.
fn put_in_place(copy: &Path, folder: &Path) -> io::Result<()> {
    if copy.join("db").exists() {
        // They are of the old file, and sled would believe them before the new one.
        for path in snapshots(folder)? {
            fs::remove_file(path)?;
        }
        sync(folder)?;
        fs::rename(copy.join("db"), folder.join("db"))?;
        sync(folder)?;
    }
    for path in snapshots(copy)?.into_iter().chain([copy.join("conf")]) {
        if let (true, Some(name)) = (path.exists(), path.file_name()) {
            fs::rename(&path, folder.join(name))?;
        }
    }
    sync(folder)
}

fn discard(folder: &Path) -> Result<(), StoreError> {
    let copy = folder.join(COPY);
    let removed = match fs::remove_dir_all(&copy) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => sync(folder),
    };
    removed.map_err(|error| io_failed("cannot remove", &copy, &error))
}

/// How large the file is and what it holds, in bytes, if that is worth a copy and there is room for one.
fn worth(tree: &Tree, folder: &Path) -> Result<Option<(u64, u64)>, StoreError> {
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
fn copied(tree: &Tree, folder: &Path, cache_bytes: u64) -> Result<(), StoreError> {
    let copy = &*folder.join(COPY);
    discard(folder)?;
    owned_files::make_folder(copy)
        .map_err(|error| io_failed("cannot make the folder", copy, &error))?;
    let new = Tree::open(copy, cache_bytes, folder::lock(copy)?)?;
    tree.copy_into(&new)?;
    drop(new);
    folder::wait_until_free(&copy.join("db"))?;
    // Seen as a start will see it.
    folder::prepare(copy, None)?;
    let new = Tree::open(copy, cache_bytes, folder::lock(copy)?)?;
    let is_same = tree.is_same(&new)?;
    new.sync()?;
    drop(new);
    folder::wait_until_free(&copy.join("db"))?;
    if is_same {
        return Ok(());
    }
    Err(StoreError::Io("sled did not copy every row".to_owned()))
}

/// sled's snapshots in a folder, finished or not.
fn snapshots(folder: &Path) -> io::Result<Vec<std::path::PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("snap.") {
            found.push(entry.path());
        }
    }
    Ok(found)
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
