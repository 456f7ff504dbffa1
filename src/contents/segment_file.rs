//! The one hand that writes a segment's file: at places, and synced when that is said.
//!
//! A test sees what was written and synced, in order, and makes of it every file that a power cut could leave.

use std::{fs::File, io, os::unix::fs::FileExt, path::Path, sync::Arc};

#[cfg(test)]
use std::sync::Mutex;

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileAccess {
    /// To be read, on a disk that may take nothing.
    Read,
    /// To be overwritten.
    Overwrite,
}

impl FileAccess {
    pub(super) fn open(self, path: &Path) -> io::Result<SegmentFile> {
        let writes = self == FileAccess::Overwrite;
        File::options().read(true).write(writes).open(path).map(SegmentFile::new)
    }
}

/// An open file, read and written at places.
#[derive(Clone)]
pub(super) struct SegmentFile {
    file: Arc<File>,
    #[cfg(test)]
    written: Arc<Mutex<Vec<WriteStep>>>,
}

/// What was done to a file.
#[cfg(test)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum WriteStep {
    /// Bytes, at a place.
    At(u64, Vec<u8>),
    /// All before it is durable.
    Synced,
}

impl SegmentFile {
    pub(super) fn new(file: File) -> SegmentFile {
        SegmentFile {
            file: Arc::new(file),
            #[cfg(test)]
            written: Arc::default(),
        }
    }

    /// Fails if the file ends before `bytes` are full.
    pub(super) fn read(&self, bytes: &mut [u8], at: u64) -> io::Result<()> {
        self.file.read_exact_at(bytes, at)
    }

    /// As many bytes as there are, up to so many.
    pub(super) fn read_up_to(&self, most: usize, at: u64) -> io::Result<Vec<u8>> {
        let (mut bytes, mut filled) = (vec![0; most], 0);
        while filled < most {
            match self.file.read_at(&mut bytes[filled..], at + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        bytes.truncate(filled);
        Ok(bytes)
    }

    pub(super) fn write(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        #[cfg(test)]
        self.noted(WriteStep::At(at, bytes.to_vec()));
        self.file.write_all_at(bytes, at)
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()?;
        #[cfg(test)]
        self.noted(WriteStep::Synced);
        Ok(())
    }

    pub(super) fn length(&self) -> io::Result<u64> {
        self.file.metadata().map(|found| found.len())
    }

    #[cfg(test)]
    fn noted(&self, written: WriteStep) {
        self.written.lock().unwrap().push(written);
    }

    /// What was done since the last time this was asked.
    #[cfg(test)]
    pub(super) fn take_written(&self) -> Vec<WriteStep> {
        std::mem::take(&mut self.written.lock().unwrap())
    }
}
