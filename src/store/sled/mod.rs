//! The embedded default: sled 0.34.7 in an append-only layout.
//!
//! A transition is one journal row, written once. What is open is held in memory and rebuilt from
//! the journal at start. A workflow that ends gets one closing row with its whole timeline, so that
//! reading it needs no journal. Retention moves the journal's left edge; what is still open there
//! is carried to the right.
//!
//! What the keys are stands in [`keys`], what sled must be protected from in [`tree`].

mod keys;
mod read;
mod sweep;
mod tree;

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use dispatch_contract::{AttemptId, UnixMillis};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    Batch, Change, Cursor, DueRow, Incarnation, Needs, Parked, Reader, Record, Row, Store,
    StoreError, Swept,
    open::{OpenSet, is_over, replay},
    types::attempt_id,
};
use crate::machine::{Fact, Fingerprint, Workflow, WorkflowId};
use tree::{Tree, Writes};

/// Where and how the store keeps its files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SledOptions {
    /// The folder; made if it is not there. One process at a time.
    pub folder: PathBuf,
    /// How much of it may be cached in memory, in bytes. Starving the cache makes sled both
    /// slower and larger; 256 MiB is a good size.
    pub cache_bytes: u64,
}

/// The store on sled.
pub struct SledStore {
    shared: Arc<Shared>,
    newest: Cursor,
    last_time: UnixMillis,
    parked: HashMap<u64, Parked>,
}

/// What the writer and the readers have in common.
struct Shared {
    tree: Tree,
    incarnation: Incarnation,
    open: RwLock<OpenSet>,
    /// The newest durable row: readers look no further.
    durable: AtomicU64,
    edge: AtomicU64,
}

/// A journal row as it is kept.
#[derive(Serialize, Deserialize)]
enum Kept {
    /// A transition. `previous` is the row of the same workflow before it, 0 if there is none.
    Row { previous: Cursor, row: Row, messages: Vec<Vec<u8>> },
    /// The timeline of an old open workflow, carried to the right by retention. No transition.
    /// `at` is when it was carried.
    Carried { workflow: WorkflowId, at: UnixMillis, rows: Vec<Row>, messages: Vec<Vec<u8>> },
}

/// The timeline of an ended workflow, with the index rows that must go when it goes.
#[derive(Serialize, Deserialize)]
struct Closing {
    rows: Vec<Row>,
    messages: Vec<Vec<u8>>,
}

impl SledStore {
    /// Opens the folder, and rebuilds what is held in memory.
    ///
    /// # Errors
    /// If it is in use, cannot be read, or was written by something else.
    pub fn open(options: &SledOptions) -> Result<Self, StoreError> {
        let tree = Tree::open(&options.folder, options.cache_bytes)?;
        let incarnation = match tree.decode(keys::INCARNATION)? {
            Some(incarnation) => incarnation,
            None => {
                let new = Incarnation(Uuid::now_v7());
                let mut writes = Writes::default();
                writes.put(keys::INCARNATION.to_vec(), &new)?;
                tree.commit(writes)?;
                new
            }
        };
        let edge = tree.decode::<Cursor>(keys::EDGE)?.unwrap_or_default();
        let mut parked = HashMap::new();
        for row in tree.range(vec![b'k'], vec![b'k' + 1]) {
            let (key, value) = row?;
            let receipt: Parked = super::codec::decode(&value, || tree::place(&key))?;
            parked.insert(receipt.key, receipt);
        }
        let shared = Shared {
            tree,
            incarnation,
            open: RwLock::default(),
            durable: AtomicU64::new(0),
            edge: AtomicU64::new(edge.0),
        };
        let mut store =
            SledStore { shared: Arc::new(shared), newest: edge, last_time: UnixMillis(0), parked };
        store.rebuild()?;
        Ok(store)
    }

    /// Replays the journal into memory.
    fn rebuild(&mut self) -> Result<(), StoreError> {
        let mut found: HashMap<WorkflowId, Found> = HashMap::new();
        let tree = &self.shared.tree;
        for row in tree.range(vec![b'j'], vec![b'j' + 1]) {
            let (key, value) = row?;
            let Some(cursor) = keys::cursor_of(&key) else { continue };
            self.newest = cursor;
            match super::codec::decode(&value, || tree::place(&key))? {
                Kept::Row { row, .. } => {
                    self.last_time = self.last_time.max(row.at);
                    let id = row.workflow;
                    let is_new = row.facts.contains(&Fact::Created);
                    let has_ended = row.facts.iter().any(|fact| matches!(fact, Fact::Ended(_)));
                    // A row of a workflow that is neither new nor known is a late one, or one whose
                    // beginning was carried to the right.
                    if is_new || found.contains_key(&id) {
                        let new = || Found { first: cursor, last: cursor, rows: Vec::new() };
                        let known = found.entry(id).or_insert_with(new);
                        known.last = cursor;
                        known.rows.push(row);
                    }
                    if has_ended && tree.has(&keys::closing(id))? {
                        found.remove(&id);
                    }
                }
                Kept::Carried { workflow, at, rows, .. } => {
                    self.last_time = self.last_time.max(at);
                    found.insert(workflow, Found { first: cursor, last: cursor, rows });
                }
            }
        }
        let mut needs = Needs::default();
        let mut open = OpenSet::default();
        for (id, Found { first, last, rows }) in found {
            if tree.has(&keys::closing(id))? {
                continue;
            }
            let record: Record =
                tree.decode(&keys::record(id))?.ok_or_else(|| StoreError::Corrupt {
                    place: format!("workflow {id}"),
                    problem: "its journal is there, its record is not".to_owned(),
                })?;
            let rows = rows.iter().map(|row| (row.at, row.facts.as_slice()));
            open.put(replay(&mut needs, &record, rows), last);
            open.move_chain(id, first, last);
        }
        *self.shared.open.write().unwrap_or_else(PoisonError::into_inner) = open;
        self.shared.durable.store(self.newest.0, Ordering::Release);
        Ok(())
    }
}

/// An open workflow in the journal.
struct Found {
    first: Cursor,
    last: Cursor,
    rows: Vec<Row>,
}

/// What a batch has of one workflow, before it is durable.
struct Pending {
    state: Workflow,
    rows: Vec<Arc<Row>>,
    messages: Vec<Vec<u8>>,
}

impl SledStore {
    fn write(
        &self,
        change: Change,
        cursor: Cursor,
        pending: &mut HashMap<WorkflowId, Pending>,
        writes: &mut Writes,
    ) -> Result<Arc<Row>, StoreError> {
        let id = change.state.id;
        let open = self.shared.open();
        let before = match (pending.get(&id), open.get(id)) {
            (Some(pending), _) => {
                pending.rows.last().map(|row| (row.cursor, pending.state.sequence))
            }
            (None, Some(open)) => Some((open.last, open.state.sequence)),
            (None, None) => None,
        };
        drop(open);
        let is_late = before.is_none() && change.record.is_none();
        let (previous, sequence) = match before {
            Some(before) => before,
            None if is_late => (Cursor(0), self.shared.closed_sequence(id)?),
            None => (Cursor(0), 0),
        };
        if sequence != change.expected {
            return Err(StoreError::Conflict(id));
        }
        let row = Row {
            cursor,
            tenant: change.tenant,
            workflow: id,
            at: change.at,
            sequence: change.expected + 1,
            facts: change.facts,
        };
        let mut messages = Vec::new();
        for (account, provider_id, number) in change.messages {
            let key = keys::message(&account, &provider_id);
            writes.put(key.clone(), &(id, number))?;
            messages.push(key);
        }
        if let Some(record) = change.record {
            if let Some(request_id) = &record.request_id {
                let key = keys::request(&record.tenant, request_id);
                writes.put(key, &(id, record.fingerprint))?;
            }
            writes.put(keys::record(id), &*record)?;
        }
        let kept = Kept::Row { previous, row, messages };
        writes.put(keys::journal(cursor), &kept)?;
        let (row, messages) = match kept {
            Kept::Row { row, messages, .. } => (Arc::new(row), messages),
            Kept::Carried { .. } => unreachable!("it was made three lines above"),
        };
        if is_late {
            writes.put(keys::late(id, cursor), &*row)?;
            return Ok(row);
        }
        let is_closing = is_over(&change.state);
        let entry = pending.entry(id).or_insert_with(|| Pending {
            state: change.state.clone(),
            rows: Vec::new(),
            messages: Vec::new(),
        });
        entry.state = change.state;
        entry.rows.push(Arc::clone(&row));
        entry.messages.extend(messages);
        if is_closing {
            let (mut rows, mut messages) = self.shared.chain(id)?;
            rows.extend(entry.rows.iter().map(|row| Row::clone(row)));
            messages.append(&mut entry.messages);
            writes.put(keys::closing(id), &Closing { rows, messages })?;
        }
        Ok(row)
    }
}

impl Store for SledStore {
    fn load(&self, id: WorkflowId) -> Result<Option<Workflow>, StoreError> {
        self.shared.workflow(id)
    }

    fn find_request(
        &self,
        tenant: &str,
        request_id: &str,
    ) -> Result<Option<(WorkflowId, Fingerprint)>, StoreError> {
        self.shared.tree.decode(&keys::request(tenant, request_id))
    }

    fn find_message(
        &self,
        account: &str,
        provider_id: &str,
    ) -> Result<Option<AttemptId>, StoreError> {
        let found = self.shared.tree.decode(&keys::message(account, provider_id))?;
        Ok(found.map(|(workflow, number)| attempt_id(workflow, number)))
    }

    fn due(
        &self,
        after: Option<(UnixMillis, WorkflowId)>,
        until: UnixMillis,
        limit: usize,
    ) -> Vec<DueRow> {
        self.shared.open().due(after, until, limit)
    }

    fn next_due(&self, after: Option<(UnixMillis, WorkflowId)>) -> Option<UnixMillis> {
        self.shared.open().next_due(after)
    }

    fn open_ids(&self, after: Option<WorkflowId>, limit: usize) -> Vec<WorkflowId> {
        self.shared.open().ids_after(after, limit)
    }

    fn open_count(&self) -> usize {
        self.shared.open().len()
    }

    fn parked(&self) -> Vec<Parked> {
        let mut parked: Vec<_> = self.parked.values().cloned().collect();
        parked.sort_unstable_by_key(|parked| parked.key);
        parked
    }

    fn commit(&mut self, batch: Batch) -> Result<Vec<Arc<Row>>, StoreError> {
        let mut writes = Writes::default();
        let mut pending = HashMap::new();
        let mut rows = Vec::with_capacity(batch.changes.len());
        let mut newest = self.newest;
        for change in batch.changes {
            newest = Cursor(newest.0 + 1);
            rows.push(self.write(change, newest, &mut pending, &mut writes)?);
        }
        for parked in &batch.park {
            writes.put(keys::parked(parked.key), parked)?;
        }
        for key in &batch.unpark {
            self.shared.tree.remove(&mut writes, keys::parked(*key))?;
        }
        self.shared.tree.commit(writes)?;

        // Durable: now it may be seen.
        self.newest = newest;
        self.last_time = rows.iter().map(|row| row.at).fold(self.last_time, UnixMillis::max);
        self.parked.extend(batch.park.into_iter().map(|parked| (parked.key, parked)));
        for key in batch.unpark {
            self.parked.remove(&key);
        }
        let mut open = self.shared.open_mut();
        for Pending { state, rows, .. } in pending.into_values() {
            let last = rows.last().map_or(Cursor(0), |row| row.cursor);
            open.put(state, last);
        }
        drop(open);
        self.shared.durable.store(newest.0, Ordering::Release);
        Ok(rows)
    }

    fn sweep(
        &mut self,
        now: UnixMillis,
        before: UnixMillis,
        budget: usize,
    ) -> Result<Swept, StoreError> {
        self.sweep_some(now, before, budget)
    }

    fn last_time(&self) -> UnixMillis {
        self.last_time
    }

    fn reader(&self) -> Arc<dyn Reader> {
        Arc::clone(&self.shared) as Arc<dyn Reader>
    }
}
