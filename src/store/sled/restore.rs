//! A new folder from a backup.
//!
//! It is built beside the folder and put in place at the end: a restore that dies leaves no half store.

use std::{fs, io, path::Path};

use super::{
    SledBackend, SledOptions, files, folder,
    high_water_mark::{HighWaterMark, Marked},
    tree::SledTree,
};
use crate::{
    owned_files,
    store::{
        BackupFile, KEY_FOLDER, StoreError, Summary,
        backup::SavedSetting,
        journal::{self, Restored},
    },
};

impl SledOptions {
    /// Makes a folder from a backup. The store in it has a [`RestoreLock`](crate::store::RestoreLock).
    ///
    /// # Errors
    /// If the backup cannot be read or is not whole, or something is in the folder already.
    pub fn restore(&self, backup: &Path) -> Result<Summary, StoreError> {
        let folder = &self.folder;
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
        let built = build(backup, building, self.cache_bytes, &summary);
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
    let backend = SledBackend::unmarked(tree, folder);
    let put_settings = |rows| put_settings(&backend.tree, rows);
    let Restored { incarnation, newest } = journal::fill(&backend, file, summary, put_settings)?;
    let marked = Marked { incarnation, newest, settings: 0, clock: None };
    drop(backend);
    files::sync(folder).map_err(|error| files::io_failed("cannot sync", folder, &error))?;
    HighWaterMark::create(folder, marked).map(drop)
}

/// Durable with the next commit.
fn put_settings(tree: &SledTree, rows: Vec<SavedSetting>) -> Result<(), StoreError> {
    let mut batch = sled::Batch::default();
    for (key, value) in rows {
        batch.insert(key, value);
    }
    tree.apply_settings(batch)
}
