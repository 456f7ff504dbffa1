//! A reserve on the disk for the day when it is full.
//!
//! The store writes when it opens, some MiB: on a full disk it could not even be opened to be read. So a
//! file that holds nothing takes that room beforehand, and is given up by a start with `--read-only`,
//! which needs it. It is made again by the first usual start that finds room.

use std::{
    fs::{self, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use rustix::fs::{FallocateFlags, fallocate};

/// What opening the store may take, and a little more, in bytes.
const NEEDED: u64 = 24 * 1024 * 1024;
/// There must be so many times its size free before it is made.
const ROOM: u64 = 4;

/// Gives the room up, if opening the store may need it.
pub(super) fn release(folder: &Path) {
    let path = path(folder);
    if !path.exists() || free(folder).is_none_or(|free| free >= NEEDED) {
        return;
    }
    match fs::remove_file(&path) {
        Ok(()) => {
            tracing::warn!(file = %path.display(), "the disk is full: its reserve is given up, to open the store");
        }
        Err(error) => {
            tracing::warn!(file = %path.display(), %error, "the reserve on the disk could not be given up");
        }
    }
}

/// Takes the room, `bytes` of it, if there is plenty; 0 gives it back.
pub(super) fn keep(folder: &Path, bytes: u64) {
    let path = path(folder);
    let kept = match bytes {
        0 => fs::remove_file(&path).or_else(|error| match error.kind() {
            io::ErrorKind::NotFound => Ok(()),
            _ => Err(error),
        }),
        _ if fs::metadata(&path).is_ok_and(|it| it.len() == bytes) => Ok(()),
        _ if free(folder).is_some_and(|free| free / ROOM > bytes) => take(&path, bytes),
        _ => Ok(()),
    };
    if let Err(error) = kept {
        tracing::info!(file = %path.display(), %error, "no reserve is kept on the disk: a start on a full one may fail");
    }
}

/// The blocks themselves, not only a length; not all file systems can promise them without writing.
fn take(path: &Path, bytes: u64) -> io::Result<()> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    fallocate(&file, FallocateFlags::empty(), 0, bytes).map_err(|error| {
        let _ = fs::remove_file(path);
        error.into()
    })
}

fn free(folder: &Path) -> Option<u64> {
    let told = rustix::fs::statvfs(folder).ok()?;
    Some(told.f_bavail.saturating_mul(told.f_frsize))
}

fn path(folder: &Path) -> PathBuf {
    folder.join("ballast")
}
