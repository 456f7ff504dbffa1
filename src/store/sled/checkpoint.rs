//! What was open at some moment, in a file beside the journal, so that a start need not replay all
//! of it.
//!
//! Only ever a shortcut: without the file, or with one that is torn, the whole retained journal is
//! replayed. It is written while the writer goes on, a slice at a time, so it shows no single moment;
//! every state names the row it was taken after, and the journal behind [`Checkpoint::from`] brings
//! all of them up to date.
//!
//! It is also a witness, as the mark is: rows that it has seen were durable, and a journal that ends
//! before them has lost something. One of another life of the store says nothing.

use std::{
    fs::{self, File},
    io::{self, BufReader, BufWriter, Read, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::SledInner;
use crate::{
    machine::Moment,
    owned_files,
    store::{
        Cursor, Incarnation, StoreError,
        active::ActiveState,
        codec,
        packed::{Dictionary, DictionaryRow},
    },
};

const FILE: &str = "checkpoint";
/// How many states are taken at once: the writer waits for as long as that takes.
const SLICE: usize = 2048;
/// No block is larger: a length beyond it is torn.
const BLOCK_MOST: usize = 64 * 1024 * 1024;

/// A checkpoint, read.
pub(super) struct Checkpoint {
    /// The life of the store it belongs to.
    pub(super) incarnation: Incarnation,
    /// The newest row when it was begun: what is behind it must be replayed.
    pub(super) from: Cursor,
    /// The newest moment in the journal at `from`.
    pub(super) last_time: Moment,
    /// What the states have in common.
    pub(super) dictionary: Dictionary,
    /// The states, in the order of their ids.
    pub(super) states: Vec<ActiveState>,
}

/// A block of the file: `length (u32, little-endian) · row`, as the codec writes rows.
#[derive(Serialize, Deserialize)]
enum Block {
    Head {
        incarnation: Incarnation,
        from: Cursor,
        last_time: Moment,
    },
    States(Vec<ActiveState>),
    /// The end; without it the file is torn.
    Tail {
        states: u64,
        dictionary: DictionaryRow,
    },
}

/// WriteBatch a checkpoint of what was open at `from` and is open since. Nothing is lost if it fails or dies: the last one stays in place.
pub(super) fn write(
    shared: &SledInner,
    folder: &Path,
    from: Cursor,
    last_time: Moment,
) -> Result<(), StoreError> {
    let unfinished = folder.join("checkpoint.new");
    let failed = |error: io::Error| StoreError::Io(format!("cannot write a checkpoint: {error}"));
    let mut file = BufWriter::new(owned_files::replace(&unfinished).map_err(failed)?);
    let mut block = |block: &Block| -> Result<(), StoreError> {
        let row = codec::encode(block)?;
        file.write_all(&(row.len() as u32).to_le_bytes()).map_err(failed)?;
        file.write_all(&row).map_err(failed)
    };
    block(&Block::Head { incarnation: shared.incarnation, from, last_time })?;
    let (mut after, mut count) = (None, 0);
    loop {
        let states: Vec<_> = shared.active().slice(after, SLICE);
        let Some(last) = states.last() else { break };
        after = Some(last.id);
        count += states.len() as u64;
        block(&Block::States(states))?;
    }
    // Last: it only grows, so that it holds whatever the states name.
    let dictionary = shared.active().dictionary().row();
    block(&Block::Tail { states: count, dictionary })?;
    let file = file.into_inner().map_err(|error| failed(error.into_error()))?;
    file.sync_all().map_err(failed)?;
    fs::rename(&unfinished, path(folder)).map_err(failed)?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)
}

/// The last checkpoint of this life of the store.
pub(super) fn of_this_life(folder: &Path, life: Option<Incarnation>) -> Option<Checkpoint> {
    read(folder).filter(|checkpoint| Some(checkpoint.incarnation) == life)
}

impl Checkpoint {
    /// The newest row that was durable when it was written.
    pub(super) fn seen(&self) -> Cursor {
        self.states.iter().map(|state| state.last).fold(self.from, Cursor::max)
    }
}

/// The last checkpoint; `None` if there is none or it is torn, which a crash may do.
fn read(folder: &Path) -> Option<Checkpoint> {
    let mut file = BufReader::new(File::open(path(folder)).ok()?);
    let Block::Head { incarnation, from, last_time } = block(&mut file)? else { return None };
    let mut states = Vec::new();
    loop {
        match block(&mut file)? {
            Block::States(some) => states.extend(some),
            Block::Tail { states: count, dictionary } => {
                let is_whole = count == states.len() as u64;
                let dictionary = Dictionary::of(dictionary);
                let read = Checkpoint { incarnation, from, last_time, dictionary, states };
                return is_whole.then_some(read);
            }
            Block::Head { .. } => return None,
        }
    }
}

fn block(file: &mut impl Read) -> Option<Block> {
    let mut length = [0; 4];
    file.read_exact(&mut length).ok()?;
    let length = u32::from_le_bytes(length) as usize;
    if length > BLOCK_MOST {
        return None;
    }
    let mut row = vec![0; length];
    file.read_exact(&mut row).ok()?;
    codec::decode(&row, String::new).ok()
}

pub(super) fn path(folder: &Path) -> PathBuf {
    folder.join(FILE)
}
