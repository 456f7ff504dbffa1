//! Those who read beside the writer: who follow the journal from one cursor to the next, across deaths,
//! whoever takes a backup, and, where there are files, one who reads while the writer writes.

use std::{
    collections::HashMap,
    io::Write,
    mem,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use dispatch::{
    machine::WorkflowId,
    store::{Backup, BackupFile, Cursor, Reader, Row, Settings, StoreError},
};

use crate::judge::{BACKUP, Broken, Fine, Judge, READERS};

/// A reader that remembers where it was.
pub struct Follower {
    /// It looks every so many batches.
    every: u64,
    /// And takes so many rows at once.
    most: usize,
    cursor: Cursor,
    /// How many rows of the journal lie behind it.
    passed: usize,
}

impl Follower {
    pub fn new(every: u64, most: usize) -> Follower {
        Follower { every, most, cursor: Cursor(0), passed: 0 }
    }

    /// Reads on. `journal` is all that ever was durable; what is older than `past` may be gone.
    pub fn look(
        &mut self,
        reader: &dyn Reader,
        journal: &[Arc<Row>],
        batch: u64,
        past: u64,
        all: bool,
    ) -> Fine {
        if !all && !batch.is_multiple_of(self.every) {
            return Ok(());
        }
        loop {
            let rows = match reader.after(self.cursor, self.most) {
                Ok(rows) => rows,
                Err(StoreError::Trimmed(oldest)) => {
                    let gone = journal[self.passed..].iter().take_while(|row| row.cursor <= oldest);
                    let young = gone.clone().find(|row| row.at.engine.0 >= past);
                    self.want(young.is_none(), || format!("{young:?} is gone before its time"))?;
                    self.passed += gone.count();
                    self.want(oldest > self.cursor, || format!("trimmed at {oldest:?}"))?;
                    self.cursor = oldest;
                    continue;
                }
                Err(error) => return Err(self.broken(error.to_string())),
            };
            let expected = &journal[self.passed..journal.len().min(self.passed + self.most)];
            self.want(rows == expected, || format!("{rows:?}, and it should be {expected:?}"))?;
            for row in &rows {
                let found =
                    reader.record(row.workflow).map_err(|error| self.broken(error.to_string()))?;
                self.want(found.is_some(), || format!("{row:?}, and its workflow is gone"))?;
            }
            self.passed += rows.len();
            let Some(last) = rows.last() else { return Ok(()) };
            self.cursor = last.cursor;
            if !all {
                return Ok(());
            }
        }
    }

    fn want(&self, holds: bool, detail: impl FnOnce() -> String) -> Fine {
        if holds { Ok(()) } else { Err(self.broken(detail())) }
    }

    fn broken(&self, detail: String) -> Broken {
        let detail = format!("behind {:?}: {detail}", self.cursor);
        Broken { rule: READERS, detail, workflow: None }
    }
}

fn want(holds: bool, detail: impl FnOnce() -> String) -> Fine {
    if holds {
        return Ok(());
    }
    Err(Broken { rule: READERS, detail: detail(), workflow: None })
}

/// Between how many batches a backup is begun, and how many pieces of it are read in one.
const BACKUP_EVERY: u64 = 500;
const PIECES: usize = 16;

/// Takes backups, some pieces in each batch, while the writer goes on.
#[derive(Default)]
pub struct Copier {
    taking: Option<Backup>,
    pieces: Vec<u8>,
}

impl Copier {
    /// Its connection is cut.
    pub fn stop(&mut self) {
        *self = Copier::default();
    }

    pub fn go_on(
        &mut self,
        reader: Arc<dyn Reader>,
        settings: Arc<dyn Settings>,
        judge: &Judge,
        batch: u64,
    ) -> Fine {
        let failed = |error: StoreError| backup_broken(&error);
        let Some(taking) = &mut self.taking else {
            if batch.is_multiple_of(BACKUP_EVERY) {
                self.taking = Some(Backup::of(reader, settings, None).map_err(failed)?);
            }
            return Ok(());
        };
        for _ in 0..PIECES {
            match taking.next() {
                Some(piece) => self.pieces.extend(piece.map_err(failed)?),
                None => {
                    self.taking = None;
                    return is_a_moment(&mem::take(&mut self.pieces), judge);
                }
            }
        }
        Ok(())
    }
}

/// Whether a backup holds all that had happened at its moment, but what was past retention.
fn is_a_moment(bytes: &[u8], judge: &Judge) -> Fine {
    let mut file = tempfile::NamedTempFile::new().map_err(|error| backup_broken(&error))?;
    file.write_all(bytes).map_err(|error| backup_broken(&error))?;
    let mut backup = BackupFile::open(file.path()).map_err(|error| backup_broken(&error))?;
    let mut entries = HashMap::new();
    for entry in backup.by_ref() {
        let entry = entry.map_err(|error| backup_broken(&error))?;
        entries.insert(entry.record.id, entry);
    }
    let Some(summary) = backup.summary() else { return Err(backup_broken(&"it has no end")) };
    let mut stories: HashMap<WorkflowId, Vec<&Row>> = HashMap::new();
    for row in judge.journal.iter().take_while(|row| row.cursor <= summary.newest) {
        stories.entry(row.workflow).or_default().push(row);
    }
    for (id, rows) in stories {
        let found = entries.remove(&id);
        let is_whole = match &found {
            Some(entry) => entry.rows.iter().eq(rows.iter().copied()),
            None => judge.may_be_gone(id),
        };
        if !is_whole {
            let detail = format!("it holds {found:?}, and there were {rows:?}");
            return Err(Broken { rule: BACKUP, detail, workflow: Some(id) });
        }
    }
    match entries.into_keys().next() {
        Some(id) => Err(backup_broken(&format!("{id} was not there then"))),
        None => Ok(()),
    }
}

fn backup_broken(error: &dyn std::fmt::Display) -> Broken {
    Broken { rule: BACKUP, detail: error.to_string(), workflow: None }
}

/// Does `work` while somebody reads what is kept, over and over: it finds all of the `journal` that it asks
/// for, or hears that it asked for too much.
pub fn beside<T>(
    reader: &dyn Reader,
    journal: &[Arc<Row>],
    may_be_gone: impl Fn(WorkflowId) -> bool + Sync,
    work: impl FnOnce() -> T,
) -> Result<T, Broken> {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let reading = scope.spawn(|| {
            let mut found = Ok(());
            while found.is_ok() && !is_over.load(Ordering::Relaxed) {
                found = all_is_there(reader, journal, &may_be_gone);
            }
            found
        });
        // Even if the work panics: the scope waits for whoever reads.
        let over = Over(&is_over);
        let done = work();
        drop(over);
        match reading.join() {
            Ok(found) => found.map(|()| done),
            Err(_) => want(false, || "a reader panicked".to_owned()).map(|()| done),
        }
    })
}

struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn all_is_there(
    reader: &dyn Reader,
    journal: &[Arc<Row>],
    may_be_gone: impl Fn(WorkflowId) -> bool,
) -> Fine {
    let oldest = reader.oldest();
    let behind = &journal[journal.partition_point(|row| row.cursor <= oldest)..];
    match reader.after(oldest, behind.len()) {
        Ok(rows) => {
            let is_whole = rows.iter().zip(behind).all(|(found, right)| found == right);
            want(is_whole && rows.len() == behind.len(), || {
                format!("behind {oldest:?} {rows:?}, and it should be {behind:?}")
            })?;
        }
        Err(StoreError::Trimmed(_)) => {}
        Err(error) => want(false, || error.to_string())?,
    }
    let Some(first) = behind.first() else { return Ok(()) };
    let id = first.workflow;
    let known: Vec<_> = journal.iter().filter(|row| row.workflow == id).collect();
    let found = reader.timeline(id).map_err(|error| {
        let detail = error.to_string();
        Broken { rule: READERS, detail, workflow: Some(id) }
    })?;
    let is_whole = found.len() >= known.len() && known.iter().zip(&found).all(|(a, b)| *a == b);
    want(is_whole || found.is_empty() && may_be_gone(id), || {
        format!("the timeline of {id} is {found:?}, and it should be {known:?}")
    })
}
