//! Retention: the journal's left edge moves to the right, a chunk at a time.
//!
//! An ended workflow goes when the edge comes to a row of it and its newest row is past retention. If
//! that is younger, the edge waits, for up to a tenth of the retention: few live longer than that, and
//! nothing of the others is written twice. Rows of it may lie behind the edge still: they are past
//! retention, and who has not seen them is told so. What must stay in spite of the edge, open or ended, is
//! compacted: its record and timeline are written once more at the right end, in the same batch that
//! drops the chunk, so that a replay from the edge always finds all of it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::{Arc, PoisonError, atomic::Ordering},
};

use dispatch_contract::UnixMillis;

use super::{
    Appender, EndedLocation, JournalEntry, JournalStore, LowWaterMark,
    chunk::Chunk,
    keys,
    read::{History, JournalReader},
};
use crate::{
    machine::WorkflowId,
    store::{BATCH_BYTES, Cursor, StoreError, Swept, backend::Writes},
};

/// So many bytes of chunks are read at once, and where their workflows have ended is asked for all of them.
const SWEPT_BYTES: usize = 256 * 1024;

/// What the edge does to a workflow that it comes to.
enum RetentionAction {
    /// It goes, with all that leads to it.
    Forget(EndedLocation),
    /// It stays, and is written once more.
    Compact(Option<EndedLocation>),
}

/// What becomes of a chunk that goes.
struct ChunkDecision {
    /// Its last cursor, and how many rows it has.
    last: Cursor,
    rows: usize,
    /// The last that is a transition.
    transition: Option<Cursor>,
    /// Of its workflows but those that were decided before.
    actions: BTreeMap<WorkflowId, RetentionAction>,
}

/// A chunk all of whose rows are past retention.
struct Looked {
    /// How many bytes its rows are.
    bytes: usize,
    /// Its last cursor.
    last: Cursor,
    /// The last that is a transition.
    transition: Option<Cursor>,
    /// Its rows: whose they are, and when that was.
    entries: Vec<(Cursor, WorkflowId, UnixMillis)>,
}

/// Which rows are past retention.
struct Cutoff {
    /// Those of before this.
    before: UnixMillis,
    /// The edge waits for what ended later, unless a row is from before this.
    waits: UnixMillis,
}

/// A sweep under way: what it is to write, and what is so once that is durable.
struct Sweep {
    now: UnixMillis,
    edge: LowWaterMark,
    swept: Swept,
    writes: Writes,
    appender: Appender,
    /// Open workflows that stand elsewhere from then on.
    moved: Vec<(WorkflowId, Cursor)>,
}

impl JournalStore {
    pub(super) fn sweep_some(
        &mut self,
        now: UnixMillis,
        before: UnixMillis,
        budget: usize,
    ) -> Result<Swept, StoreError> {
        let grace = now.since(before) / 10;
        let waits = UnixMillis(before.0.saturating_sub(grace.as_millis() as u64));
        let cutoff = Cutoff { before, waits };
        let shared = Arc::clone(&self.shared);
        let mut sweep = Sweep {
            now,
            edge: self.edge,
            swept: Swept::default(),
            writes: Writes::default(),
            appender: self.appender(),
            moved: Vec::new(),
        };
        let mut decided = HashSet::new();
        // What is read is dropped again, but takes its time as well.
        let mut read_bytes = 0;
        'swept: loop {
            let from = Cursor(sweep.edge.swept.0 + 1);
            let (mut past, mut is_last) = (Vec::new(), false);
            for raw in shared.backend.chunks(from, SWEPT_BYTES)? {
                let chunk = Chunk::of(&raw)?;
                if chunk.end() <= from {
                    continue;
                }
                let Some(looked) = Looked::at(&chunk, cutoff.before)? else {
                    // What is behind it stays as well, and is not looked at.
                    is_last = true;
                    break;
                };
                past.push(looked);
            }
            is_last |= past.is_empty();
            let ended = ended_of(&shared, &past, &decided)?;
            for looked in past {
                let bytes = looked.bytes;
                let decision = self.decide(looked, &ended, &cutoff, &decided);
                let Some(decision) = decision else { break 'swept };
                sweep.chunk(&shared, decision, &mut decided)?;
                read_bytes += bytes;
                if sweep.swept.rows >= budget || read_bytes + sweep.writes.bytes() >= BATCH_BYTES {
                    sweep.swept.has_more = true;
                    break 'swept;
                }
            }
            if is_last {
                break;
            }
        }
        self.keep_sweep(sweep)
    }

    /// Makes a sweep durable, and has it seen.
    fn keep_sweep(&mut self, sweep: Sweep) -> Result<Swept, StoreError> {
        let Sweep { now, edge, swept, mut writes, appender, moved } = sweep;
        let shared = Arc::clone(&self.shared);
        if swept.rows == 0 {
            return Ok(swept);
        }
        let newest = appender.finish(&mut writes);
        writes.trim_to = Some(edge.swept);
        writes.put(keys::LOW_WATER_MARK.to_vec(), &edge)?;
        // Whoever reads over the gap notices; whoever looks for a workflow where it is no longer waits, and looks again. If
        // the commit fails, the process ends.
        let sweeping = shared.sweeping.write().unwrap_or_else(PoisonError::into_inner);
        shared.gone.store(edge.gone.0, Ordering::Release);
        self.keep(writes, newest)?;
        (self.newest, self.edge) = (newest, edge);
        if swept.compacted > 0 {
            self.last_time = self.last_time.at_least(now);
        }
        let mut open = shared.active_mut();
        for (id, compacted) in moved {
            open.move_chain(id, compacted);
        }
        shared.durable.store(newest.0, Ordering::Release);
        drop(open);
        drop(sweeping);
        Ok(swept)
    }

    /// What becomes of a chunk; `None` if it stays where it is.
    fn decide(
        &self,
        looked: Looked,
        ended: &HashMap<WorkflowId, EndedLocation>,
        cutoff: &Cutoff,
        decided: &HashSet<WorkflowId>,
    ) -> Option<ChunkDecision> {
        let Looked { last, transition, entries, .. } = looked;
        let (rows, mut actions) = (entries.len(), BTreeMap::new());
        let active = self.shared.active();
        for (cursor, id, at) in entries {
            if decided.contains(&id) || actions.contains_key(&id) {
                continue;
            }
            if let Some(open) = active.get(id) {
                // A row from before it was compacted is not needed.
                if cursor >= open.chain.first {
                    actions.insert(id, RetentionAction::Compact(None));
                }
                continue;
            }
            let Some(ended) = ended.get(&id) else { continue };
            // A start finds it ended by its small row, as long as it finds a beginning of it.
            let needs = cursor >= ended.first;
            if ended.at < cutoff.before && (needs || cursor >= ended.newest) {
                actions.insert(id, RetentionAction::Forget(*ended));
            } else if needs {
                if at >= cutoff.waits {
                    return None;
                }
                actions.insert(id, RetentionAction::Compact(Some(*ended)));
            }
        }
        Some(ChunkDecision { last, rows, transition, actions })
    }
}

impl Looked {
    /// `None` if a row of the chunk is not from before `before`.
    fn at(chunk: &Chunk, before: UnixMillis) -> Result<Option<Looked>, StoreError> {
        let (bytes, last) = (chunk.bytes(), chunk.first);
        let mut looked = Looked { bytes, last, transition: None, entries: Vec::new() };
        for entry in chunk.entries() {
            let (cursor, entry) = entry?;
            let (id, at, is_transition) = match entry {
                JournalEntry::Row { row, .. } => (row.workflow, row.at.engine, true),
                JournalEntry::Compacted { workflow, at, .. } => (workflow, at, false),
            };
            if at >= before {
                return Ok(None);
            }
            looked.last = cursor;
            if is_transition {
                looked.transition = Some(cursor);
            }
            looked.entries.push((cursor, id, at));
        }
        Ok(Some(looked))
    }
}

/// Where the workflows of some chunks have ended, of those that have and are not decided.
fn ended_of(
    shared: &JournalReader,
    looked: &[Looked],
    decided: &HashSet<WorkflowId>,
) -> Result<HashMap<WorkflowId, EndedLocation>, StoreError> {
    let entries = looked.iter().flat_map(|looked| &looked.entries);
    let ids: BTreeSet<_> = entries.map(|(_, id, _)| *id).collect();
    let ids: Vec<_> = {
        let active = shared.active();
        let ids = ids.into_iter();
        ids.filter(|id| !decided.contains(id) && active.get(*id).is_none()).collect()
    };
    let ended = shared.all_ended(&ids)?;
    Ok(ids.into_iter().zip(ended).filter_map(|(id, ended)| Some((id, ended?))).collect())
}

impl Sweep {
    /// Does what was decided of a chunk.
    fn chunk(
        &mut self,
        shared: &JournalReader,
        decision: ChunkDecision,
        decided: &mut HashSet<WorkflowId>,
    ) -> Result<(), StoreError> {
        let ids: Vec<_> = decision.actions.keys().copied().collect();
        decided.extend(&ids);
        for ((id, action), history) in decision.actions.into_iter().zip(shared.histories(&ids)?) {
            // Never passed over: its rows are about to go.
            let history = history.ok_or_else(|| StoreError::Corrupt {
                place: format!("workflow {id}"),
                problem: "its rows are not where they should be; restore a backup".to_owned(),
            })?;
            match action {
                RetentionAction::Forget(ended) => self.forget(ended, id, history),
                RetentionAction::Compact(ended) => self.compact(ended, id, history)?,
            }
        }
        self.edge.swept = decision.last;
        self.edge.gone = self.edge.gone.max(decision.transition.unwrap_or_default());
        self.swept.rows += decision.rows;
        Ok(())
    }

    /// Drops all that leads to a workflow.
    fn forget(&mut self, ended: EndedLocation, id: WorkflowId, history: History) {
        for message in history.messages {
            self.writes.remove(keys::found_by(message));
        }
        if let Some(request_id) = history.record.request_id() {
            self.writes.remove(keys::request(&history.record.tenant, request_id));
        }
        self.writes.remove(keys::ended(id));
        self.edge.gone = self.edge.gone.max(ended.newest);
        self.swept.forgotten.push(id);
    }

    /// Writes a workflow once more, at the journal's right end. `ended` is where it stood, if it has ended.
    fn compact(
        &mut self,
        ended: Option<EndedLocation>,
        id: WorkflowId,
        history: History,
    ) -> Result<(), StoreError> {
        let compacted = self.appender.next();
        let History { record, rows, messages } = history;
        let entry = JournalEntry::Compacted { workflow: id, at: self.now, record, rows, messages };
        self.appender.put(&entry, &mut self.writes)?;
        match ended {
            Some(ended) => {
                let ended = EndedLocation { first: compacted, last: compacted, ..ended };
                self.writes.put(keys::ended(id), &ended)?;
            }
            None => self.moved.push((id, compacted)),
        }
        self.swept.compacted += 1;
        Ok(())
    }
}
