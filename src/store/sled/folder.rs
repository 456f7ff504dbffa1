//! Looks at a data folder before sled does, which repairs first and asks nobody.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};

use super::{
    files::{SEGMENT, io_failed},
    high_water_mark::Marked,
    swap,
};
use crate::{
    owned_files::{self, Tightened},
    store::{KEY_FOLDER, StoreError},
};

/// How long a folder that is in use is waited for: sled's own threads keep it a moment after a store
/// is dropped, and a supervisor may start the next process while the last one is still ending.
const LOCK_WAIT: Duration = Duration::from_secs(3);

/// The folder is held: no other process looks after it meanwhile, or takes anything away.
#[derive(Clone)]
pub(super) struct Lock(#[expect(dead_code, reason = "held, not read")] Option<Arc<File>>);

/// Holds the folder before anything in it is read or tidied up: sled locks its own file, and later. Where
/// the file system has no such locks for folders, that must do.
pub(super) fn lock(folder: &Path) -> Result<Lock, StoreError> {
    let file = File::open(folder).map_err(|error| io_failed("cannot open", folder, &error))?;
    while_in_use(|| match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Err(StoreError::InUse(folder.display().to_string())),
        Err(_) => Ok(false),
    })
    .map(|is_held| Lock(is_held.then(|| Arc::new(file))))
}

/// Returns once sled has let go of its file, which its threads keep a moment longer than the store.
pub(super) fn wait_until_free(db: &Path) -> Result<(), StoreError> {
    let file = File::open(db).map_err(|error| io_failed("cannot open", db, &error))?;
    while_in_use(|| match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(()),
        Err(_) => Err(StoreError::InUse(db.display().to_string())),
    })
}

/// Tries again for a while what is in use.
pub(super) fn while_in_use<T>(
    attempt: impl Fn() -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let began = Instant::now();
    loop {
        match attempt() {
            Err(StoreError::InUse(_)) if began.elapsed() < LOCK_WAIT => {
                std::thread::sleep(Duration::from_millis(20));
            }
            done => return done,
        }
    }
}

/// Makes the folder, if it is not there, so that a power cut does not take it away again.
pub(super) fn make(folder: &Path) -> Result<(), StoreError> {
    if folder.is_dir() {
        tell_what_others_could_read(folder);
        return Ok(());
    }
    if folder.exists() {
        return Err(StoreError::Refused(format!(
            "{} is a file, and the data folder must be a folder; choose another with --data",
            folder.display()
        )));
    }
    let unfinished = restoring(folder);
    if unfinished.exists() {
        return Err(StoreError::Refused(format!(
            "a restore into {} was not finished: run it again, or remove {} to begin with an empty \
             folder",
            folder.display(),
            unfinished.display()
        )));
    }
    tracing::info!(folder = %folder.display(), "a new, empty data folder");
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty());
    owned_files::make_folder(folder)
        .and_then(|()| File::open(parent.unwrap_or(Path::new(".")))?.sync_all())
        .map_err(|error| io_failed("cannot make the folder", folder, &error))
}

/// Takes others' rights away from an older folder, and says so.
fn tell_what_others_could_read(folder: &Path) {
    let shown = folder.display();
    match tighten(folder) {
        Ok(found) => {
            if let Some(first) = found.tightened.first() {
                let (count, first) = (found.tightened.len(), first.display());
                tracing::warn!(folder = %shown, count, %first, "others could read in the data folder; they no longer can");
            }
            for (path, why) in found.left {
                tracing::warn!(path = %path.display(), %why, "others can read this of the data folder");
            }
        }
        Err(error) => {
            tracing::warn!(folder = %shown, %error, "cannot see who can read the data folder")
        }
    }
}

/// Takes others' rights away from what is the store's.
pub(super) fn tighten(folder: &Path) -> io::Result<Tightened> {
    owned_files::tighten(folder, &|name| {
        ["db", "conf", "blobs", "ballast", "bootstrap.key", "adapters", KEY_FOLDER, swap::COPY]
            .contains(&name)
            || ["snap.", "checkpoint", "dispatch.mark", "master.key", "master.part"]
                .iter()
                .any(|beginning| name.starts_with(beginning))
    })
}

/// How many bytes may still be written below `folder`, if the system tells.
pub(super) fn free_bytes(folder: &Path) -> Option<u64> {
    let told = rustix::fs::statvfs(folder).ok()?;
    Some(told.f_bavail.saturating_mul(told.f_frsize))
}

/// Where a restore builds a folder before it is put in place.
pub(super) fn restoring(folder: &Path) -> PathBuf {
    let mut name = folder.file_name().unwrap_or_default().to_owned();
    name.push(".restoring");
    // Beside it, whatever the path ends with.
    folder.with_file_name(name)
}

/// Removes the mark and the checkpoint, durably.
pub(super) fn forget_notes(folder: &Path) -> Result<(), StoreError> {
    for path in [super::high_water_mark::path(folder), super::checkpoint::path(folder)] {
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(io_failed("cannot remove", &path, &error));
            }
            Ok(()) | Err(_) => {}
        }
    }
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|error| io_failed("cannot sync", folder, &error))
}

/// Readies the folder for sled, or refuses it: what is not a store, what lost its store, and what
/// would not survive a power cut.
///
/// A folder that is new, or was left in its first moments, is none of these: until the mark is
/// there, nothing was acknowledged.
pub(super) fn prepare(folder: &Path, marked: Option<Marked>) -> Result<(), StoreError> {
    swap::settle(folder)?;
    refuse_blobs(folder)?;
    tidy_settings(folder)?;
    let has_snapshot = tidy_snapshots(folder)?;
    let db = folder.join("db");
    let found = look(&db).map_err(|error| io_failed("cannot read", &db, &error))?;
    let shown = db.display();
    match (found, marked) {
        (DbFile::Store, _) => Ok(()),
        (DbFile::Missing | DbFile::Foreign, Some(marked)) => Err(StoreError::Refused(format!(
            "{shown} is missing or damaged from its beginning, but dispatch.mark beside it says \
             that {} journal rows were kept there; restore a backup, or start with a new folder",
            marked.newest.0
        ))),
        (DbFile::Missing, None) if has_snapshot => Err(StoreError::Refused(format!(
            "{shown} is missing or empty, but files of an older life of it (snap.*) are there; \
             restore a backup, or start with a new folder"
        ))),
        (DbFile::Foreign, None) => Err(StoreError::Refused(format!(
            "{shown} is not a store of Dispatch, and is left alone; restore a backup, or start \
             with a new folder"
        ))),
        (DbFile::Missing, None) => Ok(()),
    }
}

/// sled writes its settings once, without a sync: a power cut soon after may leave zeros in their
/// place, which sled would refuse for good. Without the file it writes the same settings again.
fn tidy_settings(folder: &Path) -> Result<(), StoreError> {
    let conf = folder.join("conf");
    if fs::read(&conf).is_ok_and(|bytes| bytes.iter().all(|byte| *byte == 0)) {
        fs::remove_file(&conf).map_err(|error| io_failed("cannot remove", &conf, &error))?;
    }
    Ok(())
}

enum DbFile {
    /// No file, or one in which nothing but zeros was ever written.
    Missing,
    /// At least one segment of a log.
    Store,
    /// Something else.
    Foreign,
}

fn look(db: &Path) -> io::Result<DbFile> {
    let file = match File::open(db) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(DbFile::Missing),
        Err(error) => return Err(error),
    };
    let len = file.metadata()?.len();
    let mut is_zero = true;
    for at in (0..len).step_by(SEGMENT) {
        let mut head = [0; 20];
        let head = &mut head[..(len - at).min(20) as usize];
        file.read_exact_at(head, at)?;
        if is_segment(head) {
            return Ok(DbFile::Store);
        }
        is_zero &= head.iter().all(|byte| *byte == 0);
    }
    Ok(if is_zero { DbFile::Missing } else { DbFile::Foreign })
}

/// sled's segment header: an inverted CRC-32 of the two numbers that follow it.
fn is_segment(head: &[u8]) -> bool {
    head.split_first_chunk().is_some_and(|(sum, numbers)| {
        numbers.len() == 16 && !u32::from_le_bytes(*sum) == crc32fast::hash(numbers)
    })
}

/// Says whether there is a snapshot, and removes beginnings of one. sled 0.34.7 writes a snapshot
/// under another name and renames it; a beginning that a crash leaves behind it would take for the
/// newest, and refuse the folder for good. What matters is in the log until the rename.
fn tidy_snapshots(folder: &Path) -> Result<bool, StoreError> {
    let failed = |error| io_failed("cannot read", folder, &error);
    let mut has_snapshot = false;
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if !name.starts_with("snap.") {
            continue;
        }
        if name.ends_with(".generating") {
            fs::remove_file(&path).map_err(|error| io_failed("cannot remove", &path, &error))?;
        } else {
            has_snapshot = true;
        }
    }
    Ok(has_snapshot)
}

/// What lies in `blobs/` was never synced, and should not be there: trap 2 of [`super::tree`].
fn refuse_blobs(folder: &Path) -> Result<(), StoreError> {
    let blobs = folder.join("blobs");
    let is_empty = fs::read_dir(&blobs).map_or(true, |mut entries| entries.next().is_none());
    if is_empty {
        return Ok(());
    }
    Err(StoreError::Refused(format!(
        "{} holds files: this data folder was written with other settings, and would not survive a \
         power cut; restore a backup, or start with a new folder",
        blobs.display()
    )))
}
