//! Retention: the journal's left edge moves to the right, a chunk at a time.
//!
//! An ended workflow goes when the edge comes to a row of it and its newest row is past retention. If
//! that is younger, the edge waits, for up to a tenth of the retention: few live longer than that, and
//! nothing of the others is written twice. Rows of it may lie behind the edge still: they are past
//! retention, and who has not seen them is told so. What must stay in spite of the edge, open or ended, is
//! carried: its record and timeline are written once more at the right end, in the same batch that
//! drops the chunk, so that a replay from the edge always finds all of it.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, atomic::Ordering},
};

use dispatch_contract::UnixMillis;

use super::{Appender, Ended, Kept, SledStore, journal::Chunk, keys, read::Story, tree::Writes};
use crate::{
    machine::WorkflowId,
    store::{BATCH_BYTES, Cursor, StoreError, Swept},
};

/// What the edge does to a workflow that it comes to.
enum Fate {
    /// It goes, with all that leads to it.
    Forget(Ended),
    /// It stays, and is written once more.
    Carry(Option<Ended>),
}

/// What becomes of a chunk that goes.
struct Verdict {
    /// Its last cursor, and how many rows it has.
    last: Cursor,
    rows: usize,
    /// The last that is a transition.
    transition: Option<Cursor>,
    /// Of its workflows but those that were decided before.
    fates: HashMap<WorkflowId, Fate>,
}

/// Which rows are past.
struct Past {
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
        let past = Past { before, waits };
        let shared = Arc::clone(&self.shared);
        let mut swept = Swept::default();
        let mut writes = Writes::default();
        let mut appender = Appender::behind(self.newest);
        let mut edge = self.edge;
        let mut decided = HashSet::new();
        let mut moved = Vec::new();
        // What is read is dropped again, but takes its time as well.
        let mut read_bytes = 0;
        for chunk in shared.tree.chunks(Cursor(edge.swept.0 + 1))? {
            let chunk = chunk?;
            let Some(verdict) = self.decide(&chunk, &past, &decided)? else { break };
            for (id, fate) in verdict.fates {
                decided.insert(id);
                // Never passed over: its rows are about to go.
                let story = shared.story(id)?.ok_or_else(|| StoreError::Corrupt {
                    place: format!("workflow {id}"),
                    problem: "its rows are not where they should be; restore a backup".to_owned(),
                })?;
                match fate {
                    Fate::Forget(ended) => {
                        self.forget(id, story, &mut writes)?;
                        edge.gone = edge.gone.max(ended.newest);
                        swept.forgotten.push(id);
                    }
                    Fate::Carry(ended) => {
                        let carried = appender.next();
                        let Story { record, rows, messages } = story;
                        let kept = Kept::Carried { workflow: id, at: now, record, rows, messages };
                        appender.put(&kept, &mut writes)?;
                        match ended {
                            Some(ended) => {
                                let ended = Ended { first: carried, last: carried, ..ended };
                                writes.put(keys::ended(id), &ended)?;
                            }
                            None => moved.push((id, carried)),
                        }
                        swept.carried += 1;
                    }
                }
            }
            shared.tree.remove(&mut writes, keys::journal(chunk.first))?;
            edge.swept = verdict.last;
            edge.gone = edge.gone.max(verdict.transition.unwrap_or_default());
            swept.rows += verdict.rows;
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
        writes.put(keys::EDGE.to_vec(), &edge)?;
        // Readers must neither look for a workflow where it is no longer, nor read over the gap
        // without noticing; if the commit fails, the process ends.
        let mut open = shared.open_mut();
        shared.gone.store(edge.gone.0, Ordering::Release);
        self.keep(writes)?;
        self.shared.note(newest)?;
        (self.newest, self.edge) = (newest, edge);
        if swept.carried > 0 {
            self.last_time = self.last_time.at_least(now);
        }
        for (id, carried) in moved {
            open.move_chain(id, carried, carried);
        }
        shared.durable.store(newest.0, Ordering::Release);
        drop(open);
        Ok(swept)
    }

    /// `None` if the chunk stays where it is.
    fn decide(
        &self,
        chunk: &Chunk,
        past: &Past,
        decided: &HashSet<WorkflowId>,
    ) -> Result<Option<Verdict>, StoreError> {
        let mut fates = HashMap::new();
        let (mut last, mut rows, mut transition) = (chunk.first, 0, None);
        for kept in chunk.rows() {
            let (cursor, kept) = kept?;
            let (id, at, is_transition) = match kept {
                Kept::Row { row, .. } => (row.workflow, row.at.engine, true),
                Kept::Carried { workflow, at, .. } => (workflow, at, false),
            };
            if at >= past.before {
                return Ok(None);
            }
            (last, rows) = (cursor, rows + 1);
            if is_transition {
                transition = Some(cursor);
            }
            if decided.contains(&id) || fates.contains_key(&id) {
                continue;
            }
            let open = self.shared.open().get(id).map(|open| open.first);
            if let Some(first) = open {
                // A row from before it was carried is not needed.
                if cursor >= first {
                    fates.insert(id, Fate::Carry(None));
                }
                continue;
            }
            let Some(ended) = self.shared.tree.decode::<Ended>(&keys::ended(id))? else { continue };
            // A start finds it ended by its small row, as long as it finds a beginning of it.
            let needs = cursor >= ended.first;
            if ended.at < past.before && (needs || cursor >= ended.newest) {
                fates.insert(id, Fate::Forget(ended));
            } else if needs {
                if at >= past.waits {
                    return Ok(None);
                }
                fates.insert(id, Fate::Carry(Some(ended)));
            }
        }
        Ok(Some(Verdict { last, rows, transition, fates }))
    }

    /// Drops all that leads to a workflow.
    fn forget(&self, id: WorkflowId, story: Story, writes: &mut Writes) -> Result<(), StoreError> {
        let tree = &self.shared.tree;
        for message in story.messages {
            tree.remove(writes, keys::found_by(message))?;
        }
        if let Some(request_id) = &story.record.request_id {
            tree.remove(writes, keys::request(&story.record.tenant, request_id))?;
        }
        tree.remove(writes, keys::ended(id))
    }
}
