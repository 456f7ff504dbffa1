//! The embedded default: sled 0.34.7 in an append-only layout.
//!
//! A transition is one journal row, written once. What is open is held in memory and rebuilt from
//! the journal at start. A workflow that ends gets one closing row with its whole timeline, so that
//! reading it needs no journal. Retention moves the journal's left edge; what is still open there
//! is carried to the right.
//!
//! What the keys are stands in [`keys`], what sled must be protected from in [`tree`]. That nothing
//! kept is missing is looked at when the folder is opened: [`folder`], [`mark`], [`rebuild`].

mod check;
mod checkpoint;
mod folder;
mod keys;
mod mark;
mod read;
mod rebuild;
mod restore;
mod settings;
mod sweep;
mod tree;
mod watch;

use std::{
    collections::{HashMap, hash_map::Entry},
    path::PathBuf,
    sync::{
        Arc, Mutex, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
};

use dispatch_contract::{AttemptId, UnixMillis};
use serde::{Deserialize, Serialize};

use super::{
    Batch, Change, Cursor, DueRow, Held, Incarnation, Parked, Reader, Row, Settings, Store,
    StoreError, Swept,
    open::{OpenSet, is_over},
    types::attempt_id,
};
use crate::machine::{Fingerprint, Workflow, WorkflowId};
use mark::Mark;
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
    held: Option<Held>,
    folder: PathBuf,
    /// How many rows a start would replay.
    replayed: u64,
    checkpoint_rows: u64,
    checkpointing: Option<JoinHandle<()>>,
}

/// A checkpoint is due after so many rows, or a quarter of the open workflows if that is more: what
/// it writes is then never much more than what the journal wrote.
const CHECKPOINT_ROWS: u64 = 100_000;
/// So many rows are replayed in no time: a clean stop writes no checkpoint for them.
const REPLAY_QUICK: u64 = 1000;

/// What the writer and the readers have in common.
struct Shared {
    tree: Tree,
    incarnation: Incarnation,
    open: RwLock<OpenSet>,
    /// The newest durable row: readers look no further.
    durable: AtomicU64,
    edge: AtomicU64,
    /// How many durable changes of settings there were.
    setting_changes: Mutex<u64>,
    /// None in a folder that is only looked at.
    mark: Option<Mark>,
}

impl Shared {
    /// Notes that everything up to `newest` is durable.
    fn note(&self, newest: Cursor) -> Result<(), StoreError> {
        self.mark.as_ref().map_or(Ok(()), |mark| mark.note(newest))
    }
}

/// A journal row as it is kept.
#[derive(Serialize, Deserialize)]
pub(crate) enum Kept {
    /// A transition. `previous` is the row of the same workflow before it, 0 if there is none.
    Row { previous: Cursor, row: Row, messages: Vec<Vec<u8>> },
    /// The timeline of an old open workflow, carried to the right by retention. No transition.
    /// `at` is when it was carried.
    Carried { workflow: WorkflowId, at: UnixMillis, rows: Vec<Row>, messages: Vec<Vec<u8>> },
}

/// The timeline of an ended workflow, with the index rows that must go when it goes.
#[derive(Serialize, Deserialize)]
pub(crate) struct Closing {
    rows: Vec<Row>,
    messages: Vec<Vec<u8>>,
}

/// Where a restored store came from.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Origin {
    /// The life of the store that the backup was taken of.
    taken_of: Incarnation,
    /// The newest row that came from the backup.
    newest: Cursor,
}

impl SledStore {
    /// Writes a checkpoint after so many rows at least, instead of the usual 100,000.
    pub fn checkpoint_after(&mut self, rows: u64) {
        self.checkpoint_rows = rows;
    }

    /// Makes writes durable. After a failure nothing more is written, no checkpoint either.
    fn keep(&mut self, writes: Writes) -> Result<(), StoreError> {
        let kept = self.shared.tree.commit(writes);
        if kept.is_err() {
            self.replayed = 0;
        }
        kept
    }

    /// Writes a checkpoint on a thread of its own, when enough has happened since the last.
    fn checkpoint_some_time(&mut self) {
        let due = self.checkpoint_rows.max(self.open_count() as u64 / 4);
        if self.replayed < due || self.checkpointing.as_ref().is_some_and(|it| !it.is_finished()) {
            return;
        }
        self.replayed = 0;
        let (shared, folder) = (Arc::clone(&self.shared), self.folder.clone());
        let (from, last_time) = (self.newest, self.last_time);
        let write = move || {
            if let Err(error) = checkpoint::write(&shared, &folder, from, last_time) {
                tracing::warn!(%error, "the next start will take longer, and nothing else");
            }
        };
        let thread = std::thread::Builder::new().name("dispatch-checkpoint".to_owned());
        self.checkpointing = thread.spawn(write).ok();
    }
}

impl Drop for SledStore {
    fn drop(&mut self) {
        // It holds the files, and the next who opens them would wait.
        if let Some(thread) = self.checkpointing.take() {
            let _ = thread.join();
        }
        if self.replayed > REPLAY_QUICK && !std::thread::panicking() {
            let (from, last_time) = (self.newest, self.last_time);
            if let Err(error) = checkpoint::write(&self.shared, &self.folder, from, last_time) {
                tracing::warn!(%error, "the next start will take longer, and nothing else");
            }
        }
    }
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
            (None, Some(open)) => Some((open.last, open.sequence)),
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
        let entry = match pending.entry(id) {
            Entry::Vacant(new) => {
                let (rows, messages) = (vec![Arc::clone(&row)], messages);
                new.insert(Pending { state: change.state, rows, messages })
            }
            Entry::Occupied(known) => {
                let entry = known.into_mut();
                entry.state = change.state;
                entry.rows.push(Arc::clone(&row));
                entry.messages.extend(messages);
                entry
            }
        };
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
        if batch.release {
            self.shared.tree.remove(&mut writes, keys::HELD.to_vec())?;
        }
        self.keep(writes)?;
        self.shared.note(newest)?;

        // Durable: now it may be seen.
        self.newest = newest;
        self.last_time = rows.iter().map(|row| row.at).fold(self.last_time, UnixMillis::max);
        self.parked.extend(batch.park.into_iter().map(|parked| (parked.key, parked)));
        for key in batch.unpark {
            self.parked.remove(&key);
        }
        if batch.release {
            self.held = None;
        }
        let mut open = self.shared.open_mut();
        for Pending { state, rows, .. } in pending.into_values() {
            let last = rows.last().map_or(Cursor(0), |row| row.cursor);
            open.put(&state, last);
        }
        drop(open);
        self.shared.durable.store(newest.0, Ordering::Release);
        self.replayed += rows.len() as u64;
        self.checkpoint_some_time();
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

    fn held(&self) -> Option<Held> {
        self.held
    }

    fn last_time(&self) -> UnixMillis {
        self.last_time
    }

    fn reader(&self) -> Arc<dyn Reader> {
        Arc::clone(&self.shared) as Arc<dyn Reader>
    }

    fn settings(&self) -> Arc<dyn Settings> {
        Arc::clone(&self.shared) as Arc<dyn Settings>
    }
}
