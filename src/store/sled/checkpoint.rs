//! The file of the checkpoint: its blocks, each behind its length (u32, little-endian).

use std::{
    fs::{self, File},
    io::{self, BufReader, BufWriter, Read, Write},
    path::{Path, PathBuf},
};

use crate::{owned_files, store::StoreError};

const FILE: &str = "checkpoint";
/// No block is larger: a length beyond it is torn.
const BLOCK_MOST: usize = 64 * 1024 * 1024;

/// Writes another in place of the last, which stays if anything fails.
pub(super) fn write(
    folder: &Path,
    blocks: &mut dyn Iterator<Item = Result<Vec<u8>, StoreError>>,
) -> Result<(), StoreError> {
    let unfinished = folder.join("checkpoint.new");
    let failed = |error: io::Error| StoreError::Io(format!("cannot write a checkpoint: {error}"));
    let mut file = BufWriter::new(owned_files::replace(&unfinished).map_err(failed)?);
    for block in blocks {
        let block = block?;
        file.write_all(&(block.len() as u32).to_le_bytes()).map_err(failed)?;
        file.write_all(&block).map_err(failed)?;
    }
    let file = file.into_inner().map_err(|error| failed(error.into_error()))?;
    file.sync_all().map_err(failed)?;
    fs::rename(&unfinished, path(folder)).map_err(failed)?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)
}

/// The blocks of the last, as far as they are there.
pub(super) fn blocks(folder: &Path) -> impl Iterator<Item = Vec<u8>> + use<> {
    let mut file = File::open(path(folder)).ok().map(BufReader::new);
    std::iter::from_fn(move || block(file.as_mut()?))
}

fn block(file: &mut impl Read) -> Option<Vec<u8>> {
    let mut length = [0; 4];
    file.read_exact(&mut length).ok()?;
    let length = u32::from_le_bytes(length) as usize;
    if length > BLOCK_MOST {
        return None;
    }
    let mut row = vec![0; length];
    file.read_exact(&mut row).ok()?;
    Some(row)
}

pub(super) fn path(folder: &Path) -> PathBuf {
    folder.join(FILE)
}
