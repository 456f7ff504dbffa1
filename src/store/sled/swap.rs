//! A copy of sled's files takes their place, or is as if it had never been made.
//!
//! The copy is made in [`COPY`], a folder within the data folder. Until the file [`WHOLE`] in it is durable,
//! the copy is nothing, and is removed by the next who opens the folder; from then on it is the store, and
//! whoever opens the folder [finishes](settle) putting it in place before anything reads there. So a death at
//! any moment leaves one whole store.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::files::{io_failed, sync};
use crate::store::StoreError;

/// Where the copy is made.
pub(super) const COPY: &str = "compacted";
/// There once the copy is whole.
pub(super) const WHOLE: &str = "whole";

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

/// Removes the copy, whole or not.
pub(super) fn discard(folder: &Path) -> Result<(), StoreError> {
    let copy = folder.join(COPY);
    let removed = match fs::remove_dir_all(&copy) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => sync(folder),
    };
    removed.map_err(|error| io_failed("cannot remove", &copy, &error))
}

/// sled's snapshots in a folder, finished or not.
fn snapshots(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("snap.") {
            found.push(entry.path());
        }
    }
    Ok(found)
}
