//! The seam below the keys of contents: a folder of small files, wherever their bytes are kept.
//!
//! Above it, in [`contents`](crate::contents), are segments and their index: what stands where, and what is sealed
//! with what. Below it is a folder on the disk ([`KeyFolderOnDisk`]), or rows of a database.
//!
//! # The contract
//!
//! - What was written is durable once [`OpenKeyFile::sync`] has returned. Before that all of it, some or none may be, in
//!   any order: a disk does as it pleases, and who needs an order syncs between. Everybody in this process who reads
//!   the file sees it at once.
//! - [`KeyFolder::put`] is whole or nothing, and durable when it returns.
//! - A file that is open is that file, and not its name. Once it was removed, or another was put under its name, what is
//!   written to it is seen under no name; to read or to write it goes on as before, or is
//!   [`NotFound`](io::ErrorKind::NotFound). By no write does a file come back that was removed.
//! - `NotFound` says nothing else than that the file is not there. Every other error says that nothing is known of it.
//! - Calls may block. One of them is one round trip to whatever keeps the bytes; [`OpenKeyFile::write`] may be none.
//!
//! # As rows
//!
//! A backend of rows keeps a file in blocks of [`KEY_BLOCK`] bytes, the last of which may be shorter, and stages what is
//! written, for all who have the file open. A sync makes all that is staged of its file durable, in one transaction; of
//! other files nothing. What nobody synced is lost when nobody has the file open any more.
//!
//! What must not be torn lies within a block there: both copies of a header, and of the index, are in the first, slots (32
//! bytes) and owners (16) never straddle, and pages begin and end with a block. Traces (6 bytes) do straddle, which their
//! reader bears, as it does on a disk.
//!
//! # What is forgotten
//!
//! To forget is to write zeros, and to sync. On a disk they stand where the key stood. In rows they do in what
//! is read from then on; the row as it was lies in the table until that is vacuumed, and in the log for as long as
//! that, or an archive of it, is kept.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, ErrorKind, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::key_files::is_key_file;
use crate::owned_files;
pub(super) use in_rows::{KeyBlocks, KeyFolderInRows, KeyTables};

/// What a backend of rows keeps in one.
pub const KEY_BLOCK: usize = 4096;

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileAccess {
    /// To be read, where perhaps nothing can be written.
    Read,
    /// To be read and overwritten.
    Overwrite,
}

/// A folder of files of keys.
pub trait KeyFolder: Send + Sync {
    /// What it is called in messages.
    fn place(&self) -> String;

    /// What a file of it is called in messages.
    fn place_of(&self, name: &str) -> String {
        format!("{}/{name}", self.place())
    }

    /// The names of all files, and perhaps of what is none of ours; `None` if there is no folder. One of rows is there
    /// once it has a file.
    ///
    /// # Errors
    /// If it cannot be read.
    fn names(&self) -> io::Result<Option<BTreeSet<String>>>;

    /// Before anything is written: makes the folder if there is none, and takes away what was cut off while it was put.
    ///
    /// # Errors
    /// If it cannot be made.
    fn prepare(&self) -> io::Result<()>;

    /// A file that is there.
    ///
    /// # Errors
    /// `NotFound` if it is not, and others if it cannot be opened so.
    fn open(&self, name: &str, access: FileAccess) -> io::Result<Arc<dyn OpenKeyFile>>;

    /// A new file that holds this, in the place of what was there, open to be overwritten. After an error, and after a crash at
    /// any moment, the name leads to the new file or to what it led to before. It does not make the folder.
    ///
    /// # Errors
    /// If it could not be written.
    fn put(&self, name: &str, bytes: &[u8]) -> io::Result<Arc<dyn OpenKeyFile>>;

    /// Removes a file. After a crash it may be there again.
    ///
    /// # Errors
    /// `NotFound` if it is not there, and others if it may be there still.
    fn remove(&self, name: &str) -> io::Result<()>;
}

/// A file of keys that is open, read and written at places. Where nothing was written before what was, there are zeros.
pub trait OpenKeyFile: Send + Sync {
    /// Fills `bytes` with what stands from `at` on, as far as the file goes. Returns how many that were.
    ///
    /// # Errors
    /// If it cannot be read.
    fn read(&self, bytes: &mut [u8], at: u64) -> io::Result<usize>;

    /// Writes at a place, also behind the end. See the contract above for when it is durable.
    ///
    /// # Errors
    /// If it cannot be written, or the file was opened to be read.
    fn write(&self, bytes: &[u8], at: u64) -> io::Result<()>;

    /// Makes all that was written to this file durable, whoever wrote it.
    ///
    /// # Errors
    /// If nobody knows whether it is.
    fn sync(&self) -> io::Result<()>;

    /// Where it ends, in bytes.
    ///
    /// # Errors
    /// If it cannot be told.
    fn length(&self) -> io::Result<u64>;
}

/// A folder of keys on the disk, for its owner alone.
pub struct KeyFolderOnDisk {
    path: PathBuf,
}

/// What the name of a file ends in until it is whole.
const UNFINISHED: &str = ".new";

impl KeyFolderOnDisk {
    /// The one at this path, whether it is there or not.
    pub fn at(path: impl Into<PathBuf>) -> Arc<dyn KeyFolder> {
        Arc::new(KeyFolderOnDisk { path: path.into() })
    }

    /// Under another name until it is whole, so that what has the name is.
    fn put_as(&self, name: &str, unfinished: &Path, bytes: &[u8]) -> io::Result<FileOnDisk> {
        let mut new = owned_files::replace(unfinished)?;
        let file = FileOnDisk::open(unfinished, FileAccess::Overwrite)?;
        new.write_all(bytes)?;
        new.sync_all()?;
        fs::rename(unfinished, self.path.join(name))?;
        File::open(&self.path)?.sync_all()?;
        Ok(file)
    }
}

impl KeyFolder for KeyFolderOnDisk {
    fn place(&self) -> String {
        self.path.display().to_string()
    }

    fn names(&self) -> io::Result<Option<BTreeSet<String>>> {
        let entries = match fs::read_dir(&self.path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut names = BTreeSet::new();
        for entry in entries {
            // One that is no text is none of ours.
            names.extend(entry?.file_name().into_string());
        }
        Ok(Some(names))
    }

    fn prepare(&self) -> io::Result<()> {
        if !self.path.is_dir() {
            let parent = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
            owned_files::make_folder(&self.path)?;
            File::open(parent.unwrap_or(Path::new(".")))?.sync_all()?;
        }
        for name in self.names()?.into_iter().flatten() {
            if name.strip_suffix(UNFINISHED).is_some_and(is_key_file) {
                fs::remove_file(self.path.join(name))?;
            }
        }
        Ok(())
    }

    fn open(&self, name: &str, access: FileAccess) -> io::Result<Arc<dyn OpenKeyFile>> {
        Ok(Arc::new(FileOnDisk::open(&self.path.join(name), access)?))
    }

    fn put(&self, name: &str, bytes: &[u8]) -> io::Result<Arc<dyn OpenKeyFile>> {
        let unfinished = self.path.join(format!("{name}{UNFINISHED}"));
        match self.put_as(name, &unfinished, bytes) {
            Ok(file) => Ok(Arc::new(file)),
            Err(error) => {
                // On a full disk each try would leave another; one that is not there is no error.
                let _ = fs::remove_file(unfinished);
                Err(error)
            }
        }
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }
}

struct FileOnDisk(File);

impl FileOnDisk {
    fn open(path: &Path, access: FileAccess) -> io::Result<FileOnDisk> {
        let writes = access == FileAccess::Overwrite;
        File::options().read(true).write(writes).open(path).map(FileOnDisk)
    }
}

impl OpenKeyFile for FileOnDisk {
    fn read(&self, bytes: &mut [u8], at: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < bytes.len() {
            match self.0.read_at(&mut bytes[filled..], at + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn write(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, at)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn length(&self) -> io::Result<u64> {
        self.0.metadata().map(|found| found.len())
    }
}

#[cfg(test)]
mod in_memory;
mod in_rows;
#[cfg(test)]
pub(crate) mod tests;
