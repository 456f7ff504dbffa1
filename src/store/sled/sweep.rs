//! Retention: the journal's left edge moves to the right, a chunk at a time.
//!
//! An ended workflow goes when the edge comes to a row of it and its newest row is past retention. If
//! that is younger, the edge waits, for up to a tenth of the retention: few live longer than that, and
//! nothing of the others is written twice. Rows of it may lie behind the edge still: they are past
//! retention, and who has not seen them is told so. What must stay in spite of the edge, open or ended, is
//! compacted: its record and timeline are written once more at the right end, in the same batch that
//! drops the chunk, so that a replay from the edge always finds all of it.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, atomic::Ordering},
};

use dispatch_contract::UnixMillis;

use super::{
    Appender, EndedLocation, JournalEntry, LowWaterMark, SledStore,
    journal::Chunk,
    keys,
    read::History,
    tree::{SledTree, WriteBatch},
};
use crate::{
    machine::WorkflowId,
    store::{BATCH_BYTES, Cursor, StoreError, Swept},
};

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
    actions: HashMap<WorkflowId, RetentionAction>,
}

/// Which rows are cutoff.
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
    writes: WriteBatch,
    appender: Appender,
    /// Open workflows that stand elsewhere from then on.
    moved: Vec<(WorkflowId, Cursor)>,
}

impl SledStore {
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
            writes: WriteBatch::default(),
            appender: Appender::behind(self.newest),
            moved: Vec::new(),
        };
        let mut decided = HashSet::new();
        // What is read is dropped again, but takes its time as well.
        let mut read_bytes = 0;
        for chunk in shared.tree.chunks(Cursor(sweep.edge.swept.0 + 1))? {
            let chunk = chunk?;
            let Some(decision) = self.decide(&chunk, &cutoff, &decided)? else { break };
            for (id, action) in decision.actions {
                decided.insert(id);
                // Never passed over: its rows are about to go.
                let history = shared.history(id)?.ok_or_else(|| StoreError::Corrupt {
                    place: format!("workflow {id}"),
                    problem: "its rows are not where they should be; restore a backup".to_owned(),
                })?;
                match action {
                    RetentionAction::Forget(ended) => {
                        sweep.forget(&shared.tree, ended, id, history)?
                    }
                    RetentionAction::Compact(ended) => sweep.compact(ended, id, history)?,
                }
            }
            shared.tree.remove(&mut sweep.writes, keys::journal(chunk.first))?;
            sweep.edge.swept = decision.last;
            sweep.edge.gone = sweep.edge.gone.max(decision.transition.unwrap_or_default());
            sweep.swept.rows += decision.rows;
            read_bytes += chunk.bytes();
            if sweep.swept.rows >= budget || read_bytes + sweep.writes.bytes() >= BATCH_BYTES {
                sweep.swept.has_more = true;
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
        writes.put(keys::LOW_WATER_MARK.to_vec(), &edge)?;
        // Readers must neither look for a workflow where it is no longer, nor read over the gap
        // without noticing; if the commit fails, the process ends.
        let mut open = shared.active_mut();
        shared.gone.store(edge.gone.0, Ordering::Release);
        self.keep(writes)?;
        self.shared.note(newest)?;
        (self.newest, self.edge) = (newest, edge);
        if swept.compacted > 0 {
            self.last_time = self.last_time.at_least(now);
        }
        for (id, compacted) in moved {
            open.move_chain(id, compacted, compacted);
        }
        shared.durable.store(newest.0, Ordering::Release);
        drop(open);
        Ok(swept)
    }

    /// `None` if the chunk stays where it is.
    fn decide(
        &self,
        chunk: &Chunk,
        cutoff: &Cutoff,
        decided: &HashSet<WorkflowId>,
    ) -> Result<Option<ChunkDecision>, StoreError> {
        let mut actions = HashMap::new();
        let (mut last, mut rows, mut transition) = (chunk.first, 0, None);
        for entry in chunk.rows() {
            let (cursor, entry) = entry?;
            let (id, at, is_transition) = match entry {
                JournalEntry::Row { row, .. } => (row.workflow, row.at.engine, true),
                JournalEntry::Compacted { workflow, at, .. } => (workflow, at, false),
            };
            if at >= cutoff.before {
                return Ok(None);
            }
            (last, rows) = (cursor, rows + 1);
            if is_transition {
                transition = Some(cursor);
            }
            if decided.contains(&id) || actions.contains_key(&id) {
                continue;
            }
            let open = self.shared.active().get(id).map(|open| open.first);
            if let Some(first) = open {
                // A row from before it was compacted is not needed.
                if cursor >= first {
                    actions.insert(id, RetentionAction::Compact(None));
                }
                continue;
            }
            let Some(ended) = self.shared.tree.decode::<EndedLocation>(&keys::ended(id))? else {
                continue;
            };
            // A start finds it ended by its small row, as long as it finds a beginning of it.
            let needs = cursor >= ended.first;
            if ended.at < cutoff.before && (needs || cursor >= ended.newest) {
                actions.insert(id, RetentionAction::Forget(ended));
            } else if needs {
                if at >= cutoff.waits {
                    return Ok(None);
                }
                actions.insert(id, RetentionAction::Compact(Some(ended)));
            }
        }
        Ok(Some(ChunkDecision { last, rows, transition, actions }))
    }
}

impl Sweep {
    /// Drops all that leads to a workflow.
    fn forget(
        &mut self,
        tree: &SledTree,
        ended: EndedLocation,
        id: WorkflowId,
        history: History,
    ) -> Result<(), StoreError> {
        let writes = &mut self.writes;
        for message in history.messages {
            tree.remove(writes, keys::found_by(message))?;
        }
        if let Some(request_id) = history.record.request_id() {
            tree.remove(writes, keys::request(&history.record.tenant, request_id))?;
        }
        tree.remove(writes, keys::ended(id))?;
        self.edge.gone = self.edge.gone.max(ended.newest);
        self.swept.forgotten.push(id);
        Ok(())
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
