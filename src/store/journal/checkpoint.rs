//! What was open at some moment, kept beside the journal, so that a start need not replay all
//! of it.
//!
//! Only ever a shortcut: without it, or with one that is torn, the whole retained journal is
//! replayed. It is written while the writer goes on, a slice at a time, so it shows no single moment;
//! every state names the row it was taken after, and the journal behind [`Checkpoint::from`] brings
//! all of them up to date.
//!
//! It is also a witness, as the mark is: rows that it has seen were durable, and a journal that ends
//! before them has lost something. One of another life of the store says nothing.

use serde::{Deserialize, Serialize};

use super::read::JournalReader;
use crate::{
    machine::{Moment, WorkflowId},
    store::{
        Cursor, Incarnation, StoreError,
        active::ActiveState,
        backend::Backend,
        codec,
        packed::{Dictionary, DictionaryRow},
    },
};

/// How many states are taken at once: the writer waits for as long as that takes.
const SLICE: usize = 2048;

/// A checkpoint, read.
pub(in crate::store) struct Checkpoint {
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

/// A block of it, as the codec writes rows.
#[derive(Serialize, Deserialize)]
enum Block {
    Head {
        incarnation: Incarnation,
        from: Cursor,
        last_time: Moment,
    },
    States(Vec<ActiveState>),
    /// The end; without it the checkpoint is torn.
    Tail {
        states: u64,
        dictionary: DictionaryRow,
    },
}

/// What of a checkpoint is written next.
enum NextBlock {
    Head,
    StatesBehind(Option<WorkflowId>),
    End,
}

/// Writes a checkpoint of what was open at `from` and is open since. Nothing is lost if it fails or dies: the last one
/// stays in place.
pub(super) fn write(
    shared: &JournalReader,
    from: Cursor,
    last_time: Moment,
) -> Result<(), StoreError> {
    let (mut next, mut count) = (NextBlock::Head, 0);
    let mut blocks = std::iter::from_fn(|| {
        let block = match next {
            NextBlock::Head => {
                next = NextBlock::StatesBehind(None);
                Block::Head { incarnation: shared.incarnation, from, last_time }
            }
            NextBlock::StatesBehind(after) => {
                let states: Vec<_> = shared.active().slice(after, SLICE);
                count += states.len() as u64;
                match states.last() {
                    Some(last) => {
                        next = NextBlock::StatesBehind(Some(last.id));
                        Block::States(states)
                    }
                    None => {
                        next = NextBlock::End;
                        // Last: it only grows, so that it holds whatever the states name.
                        let dictionary = shared.active().dictionary().row();
                        Block::Tail { states: count, dictionary }
                    }
                }
            }
            NextBlock::End => return None,
        };
        Some(codec::encode(&block))
    });
    shared.backend.write_checkpoint(&mut blocks)
}

impl Checkpoint {
    /// The last checkpoint of this life of the store; `None` if there is none or it is torn, which a crash may do.
    pub(in crate::store) fn of_this_life(
        backend: &dyn Backend,
        life: Option<Incarnation>,
    ) -> Option<Checkpoint> {
        read(backend).filter(|checkpoint| Some(checkpoint.incarnation) == life)
    }

    /// The newest row that was durable when it was written.
    pub(in crate::store) fn seen(&self) -> Cursor {
        self.states.iter().map(|state| state.chain.last).fold(self.from, Cursor::max)
    }
}

fn read(backend: &dyn Backend) -> Option<Checkpoint> {
    let mut blocks = backend.checkpoint().map_while(|row| codec::decode(&row, String::new).ok());
    let Some(Block::Head { incarnation, from, last_time }) = blocks.next() else { return None };
    let mut states = Vec::new();
    for block in blocks {
        match block {
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
    None
}
