//! Starting: the journal is replayed into memory.
//!
//! Whatever keeps the bytes may have lost some without an error (sled skips what it cannot read of its log). The
//! journal has a row for each cursor from its edge on, and a workflow that ended its small row; whatever else is found
//! is refused, and nothing is repaired. Where there is a checkpoint, all this is looked at behind it; `dispatch check`
//! looks at everything.

use std::collections::HashSet;

use super::{
    JournalEntry, LowWaterMark, Previous, RestoreOrigin,
    checkpoint::Checkpoint,
    chunk::{self, Chunk},
    keys,
};
use crate::{
    machine::{Moment, WorkflowId},
    store::{
        Cursor, Incarnation, LabelFilter, RequirementInterner, StoreError,
        active::{ActiveIndex, Chain, is_over, replay},
        backend::{Backend, chunk_place},
    },
};

/// So many bytes of chunks are read at once.
const REPLAYED_BYTES: usize = 1024 * 1024;

/// What the journal comes to.
pub(in crate::store) struct Rebuilt {
    pub(super) open: ActiveIndex,
    pub(in crate::store) newest: Cursor,
    pub(super) last_time: Moment,
    /// How many rows were read for it.
    pub(super) replayed: u64,
}

/// The lives that this one goes on from, oldest first.
pub(super) fn former_lives(backend: &dyn Backend) -> Result<Vec<Incarnation>, StoreError> {
    let origin = backend.decode::<RestoreOrigin>(keys::ORIGIN)?;
    let lost: Option<Vec<Incarnation>> = backend.decode(keys::FORMER)?;
    Ok(origin.map(|origin| origin.taken_of).into_iter().chain(lost.into_iter().flatten()).collect())
}

pub(super) fn edge(backend: &dyn Backend) -> Result<LowWaterMark, StoreError> {
    Ok(backend.decode(keys::LOW_WATER_MARK)?.unwrap_or_default())
}

/// What is open: from the checkpoint and the journal behind it, else from the whole journal.
///
/// # Errors
/// If something cannot be read, or is not there.
pub(in crate::store) fn rebuild(
    backend: &dyn Backend,
    checkpoint: Option<Checkpoint>,
) -> Result<Rebuilt, StoreError> {
    let edge = edge(backend)?.swept;
    let origin = backend.decode::<RestoreOrigin>(keys::ORIGIN)?;
    let newest = chunk::newest(backend)?.map_or(edge, |last| last.max(edge));
    let mut rebuilt =
        Rebuilt { open: ActiveIndex::default(), newest, last_time: Moment::default(), replayed: 0 };
    let mut before = edge;
    // If retention went past it, what it leaves to the journal is not all there.
    let usable = |checkpoint: &Checkpoint| (edge..=newest).contains(&checkpoint.from);
    if let Some(checkpoint) = checkpoint.filter(usable) {
        before = checkpoint.from;
        rebuilt.last_time = checkpoint.last_time;
        rebuilt.open = ActiveIndex::of(checkpoint.dictionary, checkpoint.states)?;
    }
    let mut replay = Replay {
        backend,
        edge,
        needs: RequirementInterner::default(),
        rebuilt,
        ended: HashSet::new(),
        over: Vec::new(),
    };
    while before < newest {
        let mut entries = Vec::new();
        for raw in backend.chunks(Cursor(before.0 + 1), REPLAYED_BYTES)? {
            for entry in Chunk::of(&raw)?.entries() {
                let (cursor, entry) = entry?;
                if cursor <= before {
                    continue;
                }
                if !follows(before, cursor, origin) {
                    return Err(StoreError::Corrupt {
                        place: chunk_place(raw.first),
                        problem: format!("row {} should come next; restore a backup", before.0 + 1),
                    });
                }
                before = cursor;
                entries.push((cursor, entry));
            }
        }
        if entries.is_empty() {
            return Err(StoreError::Corrupt {
                place: "the journal's end".to_owned(),
                problem: format!("row {} should come next; restore a backup", before.0 + 1),
            });
        }
        replay.some(entries)?;
    }
    Ok(replay.rebuilt)
}

/// Whether no row is missing between two. A restored journal has gaps up to where it was restored:
/// its source kept rows there that are no transitions.
pub(super) fn follows(before: Cursor, cursor: Cursor, origin: Option<RestoreOrigin>) -> bool {
    let restored = origin.map_or(0, |origin| origin.newest.0);
    cursor.0 == before.0 + 1 || (before.0 < restored && cursor.0 <= restored + 1)
}

/// A replay under way.
struct Replay<'a> {
    backend: &'a dyn Backend,
    edge: Cursor,
    needs: RequirementInterner,
    rebuilt: Rebuilt,
    /// Of what begins in the entries that are being replayed: what has ended.
    ended: HashSet<WorkflowId>,
    /// What they end: their small rows must be there.
    over: Vec<WorkflowId>,
}

impl Replay<'_> {
    /// Replays entries that follow one another, with two questions about all of them.
    fn some(&mut self, entries: Vec<(Cursor, JournalEntry)>) -> Result<(), StoreError> {
        let begins = entries.iter().filter_map(|(_, entry)| match entry {
            JournalEntry::Row { previous: Previous::Start(record), .. } => Some(record.id),
            JournalEntry::Row { previous: Previous::Row(_), .. } => None,
            JournalEntry::Compacted { workflow, .. } => Some(*workflow),
        });
        let begins: Vec<_> = begins.collect();
        let has_ended = self.have_ended(&begins)?;
        let ended = begins.into_iter().zip(has_ended).filter(|(_, has_ended)| *has_ended);
        self.ended = ended.map(|(id, _)| id).collect();
        for (cursor, entry) in entries {
            self.one(cursor, entry)?;
        }
        let over = std::mem::take(&mut self.over);
        let has_ended = self.have_ended(&over)?;
        if let Some((id, _)) = over.iter().zip(has_ended).find(|(_, has_ended)| !has_ended) {
            return Err(StoreError::Corrupt {
                place: format!("workflow {id}"),
                problem: "it has ended, and nothing says where its rows are; restore a backup"
                    .to_owned(),
            });
        }
        Ok(())
    }

    /// Of each whether there is a small row that says so.
    fn have_ended(&self, ids: &[WorkflowId]) -> Result<Vec<bool>, StoreError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let keys: Vec<_> = ids.iter().map(|id| keys::ended(*id)).collect();
        Ok(self.backend.get(&keys)?.iter().map(Option::is_some).collect())
    }

    fn one(&mut self, cursor: Cursor, entry: JournalEntry) -> Result<(), StoreError> {
        let Rebuilt { open, last_time, replayed, .. } = &mut self.rebuilt;
        *replayed += 1;
        let (record, row) = match entry {
            JournalEntry::Row { previous: Previous::Start(record), row, .. } => (Some(record), row),
            JournalEntry::Row { previous: Previous::Row(_), row, .. } => (None, row),
            JournalEntry::Compacted { workflow: id, at, record, rows, .. } => {
                let newest = rows.last().map_or(*last_time, |row| last_time.later(row.at));
                *last_time = newest.at_least(at);
                if !self.ended.contains(&id) {
                    let rows = rows.iter().map(|row| (row.at, row.facts.as_slice()));
                    let labels = LabelFilter::of(&record);
                    let chain = Chain { first: cursor, last: cursor, labels };
                    open.put(&replay(&mut self.needs, &record, rows), chain);
                    open.move_chain(id, cursor);
                }
                return Ok(());
            }
        };
        *last_time = last_time.later(row.at);
        let id = row.workflow;
        let known = open.get(id).map(|open| open.chain);
        let begun = match (known, record) {
            // The checkpoint took it after this row.
            (Some(chain), _) if chain.last >= cursor => None,
            (Some(chain), _) => open.state(id)?.map(|state| (state, chain)),
            (None, Some(record)) if !self.ended.contains(&id) => {
                let labels = LabelFilter::of(&record);
                let chain = Chain { first: cursor, last: cursor, labels };
                Some((self.needs.workflow(&record), chain))
            }
            // One that has ended, or whose beginning retention has taken.
            (None, _) => None,
        };
        let Some((mut state, chain)) = begun else { return Ok(()) };
        for fact in &row.facts {
            state.apply(row.at, fact);
        }
        // A checkpoint may be of before retention came to a workflow, and then forgot it.
        let is_forgotten = known.is_some_and(|chain| chain.first <= self.edge);
        if is_over(&state) && !is_forgotten {
            self.over.push(id);
        }
        open.put(&state, Chain { last: cursor, ..chain });
        Ok(())
    }
}
