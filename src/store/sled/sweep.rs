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
    Appender, EndedLocation, JournalEntry, SledStore, journal::Chunk, keys, read::History,
    tree::WriteBatch,
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
        let mut swept = Swept::default();
        let mut writes = WriteBatch::default();
        let mut appender = Appender::behind(self.newest);
        let mut edge = self.edge;
        let mut decided = HashSet::new();
        let mut moved = Vec::new();
        // What is read is dropped again, but takes its time as well.
        let mut read_bytes = 0;
        for chunk in shared.tree.chunks(Cursor(edge.swept.0 + 1))? {
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
                        self.forget(id, history, &mut writes)?;
                        edge.gone = edge.gone.max(ended.newest);
                        swept.forgotten.push(id);
                    }
                    RetentionAction::Compact(ended) => {
                        let compacted = appender.next();
                        let History { record, rows, messages } = history;
                        let entry = JournalEntry::Compacted {
                            workflow: id,
                            at: now,
                            record,
                            rows,
                            messages,
                        };
                        appender.put(&entry, &mut writes)?;
                        match ended {
                            Some(ended) => {
                                let ended =
                                    EndedLocation { first: compacted, last: compacted, ..ended };
                                writes.put(keys::ended(id), &ended)?;
                            }
                            None => moved.push((id, compacted)),
                        }
                        swept.compacted += 1;
                    }
                }
            }
            shared.tree.remove(&mut writes, keys::journal(chunk.first))?;
            edge.swept = decision.last;
            edge.gone = edge.gone.max(decision.transition.unwrap_or_default());
            swept.rows += decision.rows;
            read_bytes += chunk.bytes();
            if swept.rows >= budget || read_bytes + writes.bytes() >= BATCH_BYTES {
                swept.has_more = true;
                break;
            }
        }
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

    /// Drops all that leads to a workflow.
    fn forget(
        &self,
        id: WorkflowId,
        history: History,
        writes: &mut WriteBatch,
    ) -> Result<(), StoreError> {
        let tree = &self.shared.tree;
        for message in history.messages {
            tree.remove(writes, keys::found_by(message))?;
        }
        if let Some(request_id) = &history.record.request_id {
            tree.remove(writes, keys::request(&history.record.tenant, request_id))?;
        }
        tree.remove(writes, keys::ended(id))
    }
}
