//! Whose the keys are: noted as contents are sealed, and once more of what the journal holds where notes may be missing.
//!
//! Notes are how keys are found again, by a person's address or by age; nothing is opened with them. They wait in memory
//! for a second before they are on the disk, so what a killed process created last is noted by the next one, out of the
//! journal, behind the place up to which notes are known to be complete.

use std::{
    collections::BTreeSet,
    fmt,
    sync::{Mutex, PoisonError},
};

use super::{Contents, ContentsKeeper, Family, OwnerId, SlotError, Unopened};
use crate::{
    machine::WorkflowId,
    store::{Cursor, KeySlot, Reader, StoreError},
};

/// How many rows of the journal, or workflows, are read at once.
const PAGE: usize = 500;
/// How many workflows are remembered that could not be read; more are counted.
const MOST_UNREADABLE: usize = 10_000;

/// How far the journal is noted.
pub(super) struct JournalNotes(Mutex<NotesProgress>);

#[derive(Default)]
struct NotesProgress {
    /// Behind it notes may be missing; `None` if nowhere.
    missing_behind: Option<Cursor>,
    /// How many notes had been lost when that was last looked at.
    lost: u64,
    /// Workflows that could not be looked at: they are tried again by whoever looks for somebody.
    unreadable: BTreeSet<WorkflowId>,
    /// How many more of those there were room for.
    more_unreadable: usize,
}

/// What was found of a person, and what could not be looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FoundOwners {
    /// The slots, with whose they are. Others may be among them: to be opened, and compared.
    pub candidates: Vec<(KeySlot, WorkflowId)>,
    /// The workflows that could not be looked at.
    pub unreadable: BTreeSet<WorkflowId>,
    /// How many more that were.
    pub more_unreadable: usize,
    /// How many files of keys could not be.
    pub unreadable_files: usize,
}

/// Why the journal could not be noted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoteError {
    /// The store could not be read.
    Store(StoreError),
    /// The keys could not.
    Keys(SlotError),
}

impl JournalNotes {
    pub(super) fn behind(cursor: Cursor) -> JournalNotes {
        let missing_behind = Some(cursor);
        JournalNotes(Mutex::new(NotesProgress { missing_behind, ..NotesProgress::default() }))
    }
}

impl ContentsKeeper {
    /// Notes whose a workflow's key is, and whom its contents name.
    pub(super) fn note_owner(
        &self,
        id: WorkflowId,
        slot: KeySlot,
        contents: &Contents,
    ) -> Result<(), SlotError> {
        let tags = self.keys.tags(Family::Workflow, slot, &contents.addresses())?;
        self.keys.note(Family::Workflow, slot, owner(id), tags);
        Ok(())
    }

    /// Sees to it that all workflows in the journal are noted, and says so to the keys. Reads as much of the journal as was
    /// not: what a former life left, or what there was no room for. Waits for the disk.
    ///
    /// # Errors
    /// If store or keys cannot be read. What was noted stays so.
    pub fn note_journal(&self, reader: &dyn Reader) -> Result<(), NoteError> {
        let mut progress = self.journal_notes.0.lock().unwrap_or_else(PoisonError::into_inner);
        // First: a workflow that becomes durable later was noted before, or is among the lost.
        let newest = reader.newest();
        let lost = self.keys.lost_notes();
        if progress.lost != lost {
            progress.lost = lost;
            let noted = self.keys.noted();
            progress.missing_behind =
                Some(progress.missing_behind.map_or(noted, |it| it.min(noted)));
        }
        if let Some(from) = progress.missing_behind {
            self.note_behind(reader, from, &mut progress)?;
            progress.missing_behind = None;
        }
        self.keys.noted_through(newest);
        Ok(())
    }

    /// The workflows whose contents were noted under one of these addresses, with their slots: all of those that are in the
    /// journal and can be read, and perhaps others. Waits for the disk.
    ///
    /// # Errors
    /// If store or keys cannot be read.
    pub fn find(&self, reader: &dyn Reader, addresses: &[&str]) -> Result<FoundOwners, NoteError> {
        self.note_journal(reader)?;
        let (unreadable, more_unreadable) = self.note_unreadable(reader)?;
        let found = self.keys.find(Family::Workflow, addresses)?;
        let candidates = found.into_iter().map(|(slot, owner)| (slot, workflow(owner))).collect();
        let unreadable_files = self.keys.unreadable_segments(Family::Workflow);
        Ok(FoundOwners { candidates, unreadable, more_unreadable, unreadable_files })
    }

    /// Tries once more to note what could not be read. Returns which cannot be still, and how many more.
    fn note_unreadable(
        &self,
        reader: &dyn Reader,
    ) -> Result<(BTreeSet<WorkflowId>, usize), NoteError> {
        let mut progress = self.journal_notes.0.lock().unwrap_or_else(PoisonError::into_inner);
        for id in progress.unreadable.clone() {
            if self.note_again(reader, id)? {
                progress.unreadable.remove(&id);
            }
        }
        Ok((progress.unreadable.clone(), progress.more_unreadable))
    }

    fn note_behind(
        &self,
        reader: &dyn Reader,
        from: Cursor,
        progress: &mut NotesProgress,
    ) -> Result<(), NoteError> {
        let newest = reader.newest();
        let mut cursor = from;
        while cursor < newest {
            match reader.after(cursor, PAGE) {
                Ok(rows) => {
                    let Some(last) = rows.last() else { break };
                    cursor = last.cursor;
                    for row in rows.iter().filter(|row| row.sequence == FIRST) {
                        self.note_or_remember(reader, row.workflow, progress)?;
                    }
                }
                // Some of what was not noted stands where only its workflow leads to.
                Err(StoreError::Trimmed(_)) => return self.note_all(reader, progress),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn note_all(&self, reader: &dyn Reader, progress: &mut NotesProgress) -> Result<(), NoteError> {
        let mut after = None;
        loop {
            let entries = reader.entries(after, PAGE)?;
            let Some(last) = entries.last() else { return Ok(()) };
            after = Some(last.record.id);
            for entry in entries {
                self.note_or_remember(reader, entry.record.id, progress)?;
            }
        }
    }

    fn note_or_remember(
        &self,
        reader: &dyn Reader,
        id: WorkflowId,
        progress: &mut NotesProgress,
    ) -> Result<(), NoteError> {
        if self.note_again(reader, id)? {
            return Ok(());
        }
        match progress.unreadable.len() < MOST_UNREADABLE {
            true => drop(progress.unreadable.insert(id)),
            false => progress.more_unreadable += 1,
        }
        Ok(())
    }

    /// Whether it is noted, or nothing is left of it to be found. If not, it could not be read.
    fn note_again(&self, reader: &dyn Reader, id: WorkflowId) -> Result<bool, NoteError> {
        let record = match reader.record(id) {
            Ok(Some(record)) => record,
            Ok(None) => return Ok(true),
            // It is told where it is asked for, and is not to keep all others from being noted.
            Err(StoreError::Corrupt { .. }) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let slot = record.contents.slot;
        if let Err(error @ SlotError::Io(_)) = self.keys.key(Family::Workflow, slot) {
            // It may be read the next time.
            return Err(error.into());
        }
        match self.open(&record) {
            Ok(contents) => {
                // A key that was lost since is found by nobody.
                let _ = self.note_owner(id, slot, &contents);
                Ok(true)
            }
            Err(Unopened::Gone) => Ok(true),
            Err(Unopened::Unreadable(_)) => Ok(false),
        }
    }
}

/// The number of a workflow's first fact.
const FIRST: u32 = 1;

/// By whose id a workflow's key is noted.
pub(super) fn owner(id: WorkflowId) -> OwnerId {
    *id.as_bytes()
}

/// The workflow that a key is noted as.
pub(super) fn workflow(owner: OwnerId) -> WorkflowId {
    WorkflowId(uuid::Uuid::from_bytes(owner))
}

impl From<StoreError> for NoteError {
    fn from(error: StoreError) -> NoteError {
        NoteError::Store(error)
    }
}

impl From<SlotError> for NoteError {
    fn from(error: SlotError) -> NoteError {
        NoteError::Keys(error)
    }
}

impl fmt::Display for NoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoteError::Store(error) => error.fmt(f),
            NoteError::Keys(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for NoteError {}

#[cfg(test)]
mod tests;
