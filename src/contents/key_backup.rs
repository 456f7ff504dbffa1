//! The files of keys, as a backup takes them.
//!
//! They are taken as they stand there: secrets sealed, slots masked. What was not given out is left out, as
//! zeros: it may still seal what is created later, and whoever has the backup must not have the key of that.

use std::{collections::BTreeSet, io};

use super::{
    Family, KeyRing, SlotError, index_file, key_ring::FoundSegment, segment_file::SegmentFile,
};
use crate::store::{FileAccess, KEY_FILE_BYTES, KeyFiles, KeyFolder, StoreError};

impl KeyFiles for KeyRing {
    fn names(&self) -> Result<BTreeSet<String>, StoreError> {
        let folder = self.folder();
        let mut names = folder
            .names()
            .map_err(|error| failed(SlotError::io("cannot read", &folder.place(), &error)))?
            .unwrap_or_default();
        names.retain(|name| name == index_file::NAME || Family::of_file_name(name).is_some());
        Ok(names)
    }

    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        if name == index_file::NAME {
            return self.index_image().map(Some).map_err(failed);
        }
        let Some((family, number)) = Family::of_file_name(name) else { return Ok(None) };
        match self.found(family, number) {
            Some(FoundSegment::Open(segment)) => match segment.image(self.not_given(family)) {
                Ok(bytes) => Ok(Some(bytes)),
                Err(SlotError::Lost(..)) => Ok(None),
                Err(error) => Err(failed(error)),
            },
            // Perhaps somebody can read it, who has another key or another program.
            Some(FoundSegment::Unreadable(_)) => as_it_is(self.folder(), name),
            // It is being made: nothing of it was given out.
            None => Ok(None),
        }
    }
}

fn as_it_is(folder: &dyn KeyFolder, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
    let read = SegmentFile::open(folder, name, FileAccess::Read)
        .and_then(|file| file.read_up_to(KEY_FILE_BYTES, 0));
    match read {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(SlotError::io("cannot read", &folder.place_of(name), &error))),
    }
}

fn failed(error: SlotError) -> StoreError {
    StoreError::Io(format!("the keys of contents: {error}"))
}
