//! The one hand that writes a segment's file: at places, and synced when that is said.
//!
//! A test sees what was written and synced, in order, and makes of it every file that a power cut could leave.

use std::{
    io::{self, ErrorKind},
    sync::Arc,
};

#[cfg(test)]
use std::sync::Mutex;

use crate::store::{FileAccess, KeyFolder, OpenKeyFile};

/// An open file, read and written at places.
#[derive(Clone)]
pub(super) struct SegmentFile {
    file: Arc<dyn OpenKeyFile>,
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
    pub(super) fn open(
        folder: &dyn KeyFolder,
        name: &str,
        access: FileAccess,
    ) -> io::Result<SegmentFile> {
        folder.open(name, access).map(SegmentFile::new)
    }

    /// A new one that holds this, whole and durable when this returns.
    pub(super) fn put(folder: &dyn KeyFolder, name: &str, bytes: &[u8]) -> io::Result<SegmentFile> {
        folder.put(name, bytes).map(SegmentFile::new)
    }

    fn new(file: Arc<dyn OpenKeyFile>) -> SegmentFile {
        SegmentFile {
            file,
            #[cfg(test)]
            written: Arc::default(),
        }
    }

    /// Fails if the file ends before `bytes` are full.
    pub(super) fn read(&self, bytes: &mut [u8], at: u64) -> io::Result<()> {
        let is_full = self.file.read(bytes, at)? == bytes.len();
        if is_full { Ok(()) } else { Err(ErrorKind::UnexpectedEof.into()) }
    }

    /// As many bytes as there are, up to so many.
    pub(super) fn read_up_to(&self, most: usize, at: u64) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; most];
        let filled = self.file.read(&mut bytes, at)?;
        bytes.truncate(filled);
        Ok(bytes)
    }

    pub(super) fn write(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        #[cfg(test)]
        self.noted(WriteStep::At(at, bytes.to_vec()));
        self.file.write(bytes, at)
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync()?;
        #[cfg(test)]
        self.noted(WriteStep::Synced);
        Ok(())
    }

    pub(super) fn length(&self) -> io::Result<u64> {
        self.file.length()
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
