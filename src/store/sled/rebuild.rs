//! Opening: the journal is replayed into memory, and what must be there is.
//!
//! sled skips what it cannot read of its log, so rows can be missing without an error. The journal
//! has a row for each cursor from its edge to what the mark says, and a workflow that ended its small
//! row; whatever else is found is refused, and nothing is repaired.
//! Where there is a checkpoint, all this is looked at behind it; `dispatch check` looks at everything.

use std::{
    panic::{self, AssertUnwindSafe},
    path::Path,
    sync::{Arc, Mutex, RwLock, atomic::AtomicU64},
};

use uuid::Uuid;

use super::{
    CHECKPOINT_ROWS, JournalEntry, LowWaterMark, Previous, RestoreOrigin, SledInner, SledOptions,
    SledStore,
    checkpoint::{self, Checkpoint},
    folder,
    high_water_mark::{HighWaterMark, Marked},
    journal::ChunkCache,
    keys, settings, shrink,
    tree::{self, SledTree, WriteBatch},
};
use crate::{
    machine::Moment,
    store::{
        Cursor, Incarnation, Reader, RequirementInterner, StoreError,
        active::{ActiveIndex, is_over, replay},
    },
};

/// So many lives before this one are remembered: what stands beside the store learns of each at the next start.
const FORMER_MOST: usize = 16;

/// What the journal comes to.
pub(super) struct Rebuilt {
    pub(super) open: ActiveIndex,
    pub(super) newest: Cursor,
    last_time: Moment,
    /// OpenMode many rows were read for it.
    replayed: u64,
}

/// OpenMode a folder is opened.
#[derive(Clone, Copy, Default)]
struct OpenMode {
    /// Goes on without rows that are lost.
    accepts_loss: bool,
    /// Gives back what the files have too much.
    shrinks: bool,
}

impl SledStore {
    /// Opens the folder, and rebuilds what is held in memory.
    ///
    /// # Errors
    /// If it is in use, cannot be read, lost something that was durable, or was written by
    /// something else.
    pub fn open(options: &SledOptions) -> Result<Self, StoreError> {
        open(options, OpenMode { shrinks: true, ..OpenMode::default() })
    }

    /// Opens the folder to read it, on a disk that may be full: it is left as large as it is.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_to_read(options: &SledOptions) -> Result<Self, StoreError> {
        open(options, OpenMode::default())
    }

    /// Opens a folder whose newest rows are lost, and goes on without them. It becomes another
    /// [`Incarnation`]: whoever followed the lost rows is told.
    ///
    /// # Errors
    /// As [`open`](Self::open), but for those rows.
    pub fn open_after_loss(options: &SledOptions) -> Result<Self, StoreError> {
        open(options, OpenMode { accepts_loss: true, ..OpenMode::default() })
    }
}

fn open(options: &SledOptions, how: OpenMode) -> Result<SledStore, StoreError> {
    folder::make(&options.folder)?;
    catch_panics(options, || try_open(options, how))
}

/// sled panics over some damage. Nothing of what was begun is used after that.
pub(super) fn catch_panics<T>(
    options: &SledOptions,
    look: impl FnOnce() -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    panic::catch_unwind(AssertUnwindSafe(look)).unwrap_or_else(|_| {
        Err(StoreError::Corrupt {
            place: options.folder.display().to_string(),
            problem: "sled panicked over what it found there; restore a backup".to_owned(),
        })
    })
}

fn try_open(options: &SledOptions, how: OpenMode) -> Result<SledStore, StoreError> {
    let OpenMode { accepts_loss, shrinks } = how;
    let lock = folder::lock(&options.folder)?;
    let marked = match HighWaterMark::read(&options.folder) {
        Err(StoreError::Corrupt { .. }) if accepts_loss => None,
        marked => marked?,
    };
    folder::prepare(&options.folder, marked)?;
    let tree = SledTree::open(&options.folder, options.cache_bytes, lock.clone())?;
    let entry: Option<Incarnation> = tree.decode(keys::INCARNATION)?;
    let is_other = marked.is_some_and(|marked| Some(marked.incarnation) != entry) && !accepts_loss;
    if is_other || (entry.is_none() && !tree.is_empty()) {
        return Err(StoreError::Corrupt {
            place: tree::place(keys::INCARNATION),
            problem: "the store's name is missing, or not that of dispatch.mark; restore a backup"
                .to_owned(),
        });
    }
    let checkpoint = checkpoint::of_this_life(&options.folder, entry);
    // It too has seen rows that were durable.
    let seen = checkpoint.as_ref().map_or(Cursor(0), Checkpoint::seen);
    let seen = marked.map_or(seen, |marked| seen.max(marked.newest));
    let checkpoint = checkpoint.filter(|_| !accepts_loss);
    let Rebuilt { open, newest, last_time, replayed } = rebuild(&tree, checkpoint)?;
    let lost = seen.0.saturating_sub(newest.0);
    let setting_changes = settings::changes(&tree)?;
    let lost_changes = marked.map_or(0, |marked| marked.settings.saturating_sub(setting_changes));
    if !accepts_loss {
        refuse_loss(&options.folder, lost, lost_changes)?;
    }
    let folder = options.folder.display();
    if lost > 0 {
        tracing::warn!(%folder, lost, newest = newest.0, "going on without the newest rows, as was said");
    } else if marked.is_none() && newest > Cursor(0) {
        tracing::warn!(%folder, "dispatch.mark is missing: whether rows were lost cannot be told");
    }
    // Without a mark nobody knows whether rows are missing: that, too, is another life.
    let is_whole = lost == 0 && !accepts_loss && (marked.is_some() || newest == Cursor(0));
    let incarnation = match entry.filter(|_| is_whole) {
        Some(incarnation) => incarnation,
        None => {
            // Before the new name is there: what noted the old life must not speak for the new one.
            folder::forget_notes(&options.folder)?;
            let new = Incarnation(Uuid::now_v7());
            let mut writes = WriteBatch::default();
            writes.put(keys::INCARNATION.to_vec(), &new)?;
            if let Some(before) = entry {
                writes.put(keys::FORMER.to_vec(), &with_former(&tree, before)?)?;
            }
            tree.commit(writes)?;
            new
        }
    };
    // Behind all that was looked at: what is lost is looked for in the files that lost it.
    let tree = if shrinks { shrink::shrunk(tree, lock, options)? } else { tree };
    let clock = marked.and_then(|marked| marked.clock);
    let noted = Marked { incarnation, newest, settings: setting_changes, clock };
    let mark = HighWaterMark::create(&options.folder, noted)?;
    let restore_lock = tree.decode(keys::RESTORE_LOCK)?;
    let grace_given_ms = tree.decode(keys::GRACE_GIVEN)?.unwrap_or_default();
    let edge = edge(&tree)?;
    let former = former_lives(&tree)?;
    let shared = Arc::new(SledInner {
        tree,
        chunks: ChunkCache::default(),
        incarnation,
        former,
        open: RwLock::new(open),
        durable: AtomicU64::new(newest.0),
        gone: AtomicU64::new(edge.gone.0),
        setting_changes: Mutex::new(setting_changes),
        mark: Some(mark),
    });
    let held_receipts =
        shared.held_receipts()?.into_iter().map(|receipt| (receipt.key, receipt)).collect();
    Ok(SledStore {
        shared,
        newest,
        edge,
        last_time,
        held_receipts,
        restore_lock,
        clock,
        grace_given_ms,
        folder: options.folder.clone(),
        replayed,
        checkpoint_rows: CHECKPOINT_ROWS,
        checkpointing: None,
    })
}

/// The lives before this one and `before`, which ends now.
fn with_former(tree: &SledTree, before: Incarnation) -> Result<Vec<Incarnation>, StoreError> {
    let mut former: Vec<Incarnation> = tree.decode(keys::FORMER)?.unwrap_or_default();
    former.push(before);
    let too_many = former.len().saturating_sub(FORMER_MOST);
    former.drain(..too_many);
    Ok(former)
}

/// The lives that this one goes on from, oldest first.
fn former_lives(tree: &SledTree) -> Result<Vec<Incarnation>, StoreError> {
    let origin = tree.decode::<RestoreOrigin>(keys::ORIGIN)?;
    let lost: Option<Vec<Incarnation>> = tree.decode(keys::FORMER)?;
    Ok(origin.map(|origin| origin.taken_of).into_iter().chain(lost.into_iter().flatten()).collect())
}

/// A folder that lost what was durable is not gone on with unasked.
fn refuse_loss(folder: &Path, lost: u64, lost_changes: u64) -> Result<(), StoreError> {
    let folder = folder.display();
    if lost_changes > 0 {
        return Err(StoreError::Refused(format!(
            "the newest {lost_changes} changes of keys, applications and accounts in {folder} are lost: the \
             disk damaged them, or the folder was copied in part. Restore a backup; or start once with \
             --accept-loss to go on without them"
        )));
    }
    if lost > 0 {
        return Err(StoreError::Refused(format!(
            "the newest {lost} rows of the journal in {folder} are lost: the disk damaged them, or the \
             folder was copied in part. Restore a backup; or start once with --accept-loss to go on \
             without them: workflows will be missing, and messages may be sent again"
        )));
    }
    Ok(())
}

pub(super) fn edge(tree: &SledTree) -> Result<LowWaterMark, StoreError> {
    Ok(tree.decode(keys::LOW_WATER_MARK)?.unwrap_or_default())
}

/// What is open: from the checkpoint and the journal behind it, else from the whole journal.
pub(super) fn rebuild(
    tree: &SledTree,
    checkpoint: Option<Checkpoint>,
) -> Result<Rebuilt, StoreError> {
    let edge = edge(tree)?.swept;
    let origin = tree.decode::<RestoreOrigin>(keys::ORIGIN)?;
    let newest = tree.newest()?.map_or(edge, |last| last.max(edge));
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
    let mut needs = RequirementInterner::default();
    for chunk in tree.chunks(Cursor(before.0 + 1))? {
        let chunk = chunk?;
        for entry in chunk.rows() {
            let (cursor, entry) = entry?;
            if cursor <= before {
                continue;
            }
            if !follows(before, cursor, origin) {
                return Err(StoreError::Corrupt {
                    place: tree::place(&keys::journal(chunk.first)),
                    problem: format!("row {} should come next; restore a backup", before.0 + 1),
                });
            }
            before = cursor;
            rebuilt.replay(tree, edge, &mut needs, cursor, entry)?;
        }
    }
    Ok(rebuilt)
}

/// Whether no row is missing between two. A restored journal has gaps up to where it was restored:
/// its source kept rows there that are no transitions.
pub(super) fn follows(before: Cursor, cursor: Cursor, origin: Option<RestoreOrigin>) -> bool {
    let restored = origin.map_or(0, |origin| origin.newest.0);
    cursor.0 == before.0 + 1 || (before.0 < restored && cursor.0 <= restored + 1)
}

impl Rebuilt {
    fn replay(
        &mut self,
        tree: &SledTree,
        edge: Cursor,
        needs: &mut RequirementInterner,
        cursor: Cursor,
        entry: JournalEntry,
    ) -> Result<(), StoreError> {
        self.replayed += 1;
        let (record, row) = match entry {
            JournalEntry::Row { previous: Previous::Start(record), row, .. } => (Some(record), row),
            JournalEntry::Row { previous: Previous::Row(_), row, .. } => (None, row),
            JournalEntry::Compacted { workflow: id, at, record, rows, .. } => {
                let newest = rows.last().map_or(self.last_time, |row| self.last_time.later(row.at));
                self.last_time = newest.at_least(at);
                if !tree.has(&keys::ended(id))? {
                    let rows = rows.iter().map(|row| (row.at, row.facts.as_slice()));
                    self.open.put(&replay(needs, &record, rows), cursor, cursor);
                    self.open.move_chain(id, cursor, cursor);
                }
                return Ok(());
            }
        };
        self.last_time = self.last_time.later(row.at);
        let id = row.workflow;
        let known = self.open.get(id).map(|open| open.last);
        let state = match known {
            // The checkpoint took it after this row.
            Some(last) if last >= cursor => None,
            Some(_) => self.open.state(id)?,
            None => match record {
                Some(record) if !tree.has(&keys::ended(id))? => Some(needs.workflow(&record)),
                // One that has ended, or whose beginning retention has taken.
                _ => None,
            },
        };
        let Some(mut state) = state else { return Ok(()) };
        for fact in &row.facts {
            state.apply(row.at, fact);
        }
        // A checkpoint may be of before retention came to a workflow, and then forgot it.
        let is_forgotten = |open: &ActiveIndex| open.get(id).is_some_and(|open| open.first <= edge);
        if is_over(&state) && !is_forgotten(&self.open) && !tree.has(&keys::ended(id))? {
            return Err(StoreError::Corrupt {
                place: format!("workflow {id}"),
                problem: "it has ended, and nothing says where its rows are; restore a backup"
                    .to_owned(),
            });
        }
        self.open.put(&state, cursor, cursor);
        Ok(())
    }
}
