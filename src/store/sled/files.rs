//! What is said of sled's files, and done with them, whoever does it.

use std::{fs::File, io, path::Path};

use crate::store::StoreError;

/// How many bytes of its file sled takes at once. A page over a quarter of that would become a file of its
/// own, which sled never syncs: trap 2 of [`super::tree`].
pub(super) const SEGMENT: usize = 8 * 1024 * 1024;

/// Makes a folder's entries durable.
pub(super) fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// A file or folder with which the operating system would not do what was asked.
pub(super) fn io_failed(what: &str, path: &Path, error: &io::Error) -> StoreError {
    StoreError::Io(format!("{what} {}: {error}", path.display()))
}
