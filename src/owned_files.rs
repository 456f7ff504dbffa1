//! Files and folders that only their owner reads: 0600 and 0700, whatever the umask, and also where they
//! were there before with wider modes.
//!
//! Everything that holds texts, numbers, secrets or keys is made here: the data folder, backups, key files,
//! and copies in the temporary folder. What others make in the data folder (the database library) is made
//! under [`restrict_umask`], and tightened at each start by [`tighten`].

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, ErrorKind},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// Of a file: its owner reads and writes.
const FILE_MODE: u32 = 0o600;
/// Of a folder: its owner reads, writes and enters.
const FOLDER_MODE: u32 = 0o700;
/// A folder that everybody writes to, as `/tmp` is.
const STICKY: u32 = 0o1000;

/// Lets the whole process make files and folders for their owner alone, also those that libraries make.
/// For programs, at their start: the mask belongs to the process.
pub(crate) fn restrict_umask() {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
}

/// A new file, open for writing; there must be none of that name.
pub(crate) fn create_new(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(path)?;
    // The umask may have taken bits of the owner's.
    file.set_permissions(Permissions::from_mode(FILE_MODE))?;
    Ok(file)
}

/// A new file in the place of what there was: never the old file with its old mode, and not what a link
/// leads to.
pub(crate) fn replace(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    create_new(path)
}

/// Makes a folder and those above it that are missing; only the folder itself is surely its owner's alone.
pub(crate) fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(path)?;
    fs::set_permissions(path, Permissions::from_mode(FOLDER_MODE))
}

/// What [`tighten`] found wider than it should be.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tightened {
    /// What others could read, and can no longer.
    pub(crate) tightened: Vec<PathBuf>,
    /// What others can read still, and why.
    pub(crate) left: Vec<(PathBuf, String)>,
}

/// Takes others' rights away from a folder and from what `is_ours` names in it, folders in it included. A
/// folder that holds something else too is shared with it, and stays as it is; so does one for everybody.
///
/// # Errors
/// If the folder cannot be read.
pub(crate) fn tighten(folder: &Path, is_ours: &dyn Fn(&str) -> bool) -> io::Result<Tightened> {
    let mut found = Tightened::default();
    let mut is_shared = false;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        // A file system's own, which only root reads.
        if entry.file_name() == "lost+found" {
            continue;
        }
        let is_known = entry.file_name().to_str().is_some_and(is_ours);
        // A link's target may be anybody's; a link is not followed.
        let kind = entry.file_type()?;
        if !is_known || kind.is_symlink() {
            is_shared |= !is_known;
            continue;
        }
        if kind.is_dir() {
            let within = tighten(&entry.path(), &|_| true)?;
            found.tightened.extend(within.tightened);
            found.left.extend(within.left);
        } else if kind.is_file() {
            found.one(entry.path(), FILE_MODE);
        }
    }
    let mode = fs::metadata(folder)?.mode();
    let why_not = if mode & STICKY != 0 {
        Some("it is a folder for everybody; give the service one of its own")
    } else if is_shared && mode & 0o077 != 0 {
        Some("it holds other things too; give the service a folder of its own")
    } else {
        None
    };
    match why_not {
        Some(why) => found.left.push((folder.to_owned(), why.to_owned())),
        None => found.one(folder.to_owned(), FOLDER_MODE),
    }
    Ok(found)
}

impl Tightened {
    fn one(&mut self, path: PathBuf, wanted: u32) {
        let tightened = fs::metadata(&path).and_then(|found| {
            let is_wider = found.mode() & 0o077 != 0;
            if is_wider {
                fs::set_permissions(&path, Permissions::from_mode(wanted))?;
            }
            Ok(is_wider)
        });
        match tightened {
            Ok(true) => self.tightened.push(path),
            // What is gone meanwhile nobody reads.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => self.left.push((path, error.to_string())),
            Ok(false) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().mode() & 0o7777
    }

    fn wide(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn what_is_made_is_its_owners_also_in_the_place_of_something_wider() {
        let folder = tempfile::tempdir().unwrap();
        let (file, within) = (folder.path().join("file"), folder.path().join("a/b"));
        fs::write(&file, "old").unwrap();
        wide(&file, 0o666);
        assert!(create_new(&file).is_err(), "there is one");
        let before = File::open(&file).unwrap();
        replace(&file).unwrap().write_all(b"new").unwrap();
        assert_eq!((mode(&file), fs::read(&file).unwrap()), (0o600, b"new".to_vec()));
        let is_another = before.metadata().unwrap().ino() != fs::metadata(&file).unwrap().ino();
        assert!(is_another, "whoever had the old one open reads nothing of the new");
        make_folder(&within).unwrap();
        wide(&within, 0o777);
        make_folder(&within).unwrap();
        assert_eq!(mode(&within), 0o700);
    }

    #[test]
    fn a_link_in_the_place_of_a_file_is_replaced_and_never_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (target, link) = (folder.path().join("target"), folder.path().join("link"));
        fs::write(&target, "kept").unwrap();
        wide(&target, 0o644);
        std::os::unix::fs::symlink(&target, &link).unwrap();
        replace(&link).unwrap();
        assert_eq!((fs::read(&target).unwrap(), mode(&target)), (b"kept".to_vec(), 0o644));
        std::os::unix::fs::symlink(&target, folder.path().join("db")).unwrap();
        tighten(folder.path(), &|name| name == "db").unwrap();
        assert_eq!(mode(&target), 0o644);
    }

    #[test]
    fn what_is_ours_is_tightened_and_what_is_shared_is_left_and_said() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for name in ["db", "other"] {
            fs::write(path(name), "x").unwrap();
            wide(&path(name), 0o644);
        }
        make_folder(&path("blobs")).unwrap();
        wide(&path("blobs"), 0o755);
        wide(folder.path(), 0o755);
        let is_ours = &|name: &str| ["db", "blobs"].contains(&name);
        let found = tighten(folder.path(), is_ours).unwrap();
        assert_eq!(found.tightened.len(), 2, "{found:?}");
        assert_eq!(["db", "other", "blobs"].map(|name| mode(&path(name))), [0o600, 0o644, 0o700]);
        assert!(found.left[0].1.contains("other things"), "{found:?}");
        fs::remove_file(path("other")).unwrap();
        assert_eq!(tighten(folder.path(), is_ours).unwrap().tightened, [folder.path()]);
        assert_eq!(mode(folder.path()), 0o700);
        assert_eq!(tighten(folder.path(), is_ours).unwrap(), Tightened::default());
        wide(folder.path(), 0o1777);
        assert!(tighten(folder.path(), is_ours).unwrap().left[0].1.contains("everybody"));
        assert_eq!(mode(folder.path()), 0o1777, "/tmp stays /tmp");
    }
}
