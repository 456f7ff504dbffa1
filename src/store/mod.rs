//! What is kept, and the contract of keeping it.
//!
//! A store appends batches of changes, atomically and durably, and answers from what it keeps. It
//! decides nothing: states come in ready-made from the machine, and its indexes (what is open,
//! what is due, who has which request id) are projections of them, written in the same commit and
//! never read back by the machine.
//!
//! # The contract
//!
//! - [`Store::commit`] is atomic, and durable when it returns: after `kill -9` or a power cut
//!   either the whole batch is there or nothing of it. An error from it is fatal: the caller stops,
//!   because after a failed sync nobody knows what the disk holds.
//! - A change carries the sequence number it was decided on. A store that several nodes share
//!   refuses a change whose workflow has moved on ([`StoreError::Conflict`]); with one writer that
//!   cannot happen, and it is a fault.
//! - Readers see only what is durable.
//! - Cursors number the journal's rows in commit order, without repeats. They belong to one
//!   [`Incarnation`] of the store.
//!
//! The traits are synchronous: the engine's writer has a thread of its own, and a store that talks
//! to a server may block it.

mod active;
mod backend;
mod backup;
mod check;
pub(crate) mod codec;
mod journal;
mod key_files;
mod key_folder;
mod label_filter;
mod memory;
mod packed;
mod postgres;
mod read_only;
mod settings;
mod settings_mirror;
mod sled;
mod types;

pub use active::RequirementInterner;
pub use backup::{Backup, BackupFile, Summary};
pub use check::{CheckReport, Finding, check_backup};
pub(crate) use codec::weight;
pub use codec::{decode, encode};
pub use journal::JournalStore;
#[cfg(any(test, fuzzing))]
pub(crate) use journal::{EndedLocation, JournalEntry};
pub use key_files::{KEY_FILE_BYTES, KEY_FOLDER, KeyFiles};
#[cfg(test)]
pub(crate) use key_folder::tests::{TriedFolder, file_bytes, over_each_folder};
pub use key_folder::{FileAccess, KEY_BLOCK, KeyFolder, KeyFolderOnDisk, OpenKeyFile};
pub(crate) use label_filter::LabelFilter;
pub use memory::MemoryStore;
pub use postgres::{PostgresOptions, StoreAndKeys};
pub use read_only::ReadOnlyStore;
pub use settings::{KeyAndValue, Kind, SettingChange, Settings, VALUE_BYTES, all_rows};
pub use sled::SledOptions;
pub(crate) use types::BATCH_BYTES;
pub(crate) use types::conversation;
pub use types::{
    ApiDialect, Change, ChangeSet, ClockNote, Cursor, DueWorkflow, Entry, ExistingRequest, Filter,
    Fingerprint, FoundMessage, HeldReceipt, Incarnation, KeySlot, MessagePart, NameHash, Page,
    ReceiptKey, Record, RequestKey, Requester, RestoreLock, Row, SealedContents, StoreError,
    StoreLives, Swept, TenantTag, WorkflowEnd,
};

use std::sync::Arc;

use dispatch_contract::{AttemptId, UnixMillis};

use crate::machine::{ClockKind, Moment, Workflow, WorkflowId};

/// What a store is about to be asked for.
#[derive(Clone, Debug)]
pub enum Question<'a> {
    /// [`Store::find_request`].
    Request {
        /// Whose it is.
        tenant: &'a str,
        /// What the caller calls it.
        request_id: &'a str,
    },
    /// [`Store::find_message`].
    Message {
        /// The account, as `provider/name`.
        account: Arc<str>,
        /// What that calls it.
        provider_id: &'a str,
    },
}

/// The writing half; one owner.
pub trait Store: Send {
    /// The workflow's state, open or ended; `None` if there is none of that id.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn load(&self, id: WorkflowId) -> Result<Option<Workflow>, StoreError>;

    /// The same of several, in their order, with as few questions to whatever keeps the bytes as may be.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn load_all(&self, ids: &[WorkflowId]) -> Result<Vec<Option<Workflow>>, StoreError> {
        ids.iter().map(|id| self.load(*id)).collect()
    }

    /// Looks up at once what is about to be asked for before the next commit, where each question by itself is a round
    /// trip to whatever keeps the bytes; else it does nothing.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn read_ahead(&self, _: &mut dyn Iterator<Item = Question<'_>>) -> Result<(), StoreError> {
        Ok(())
    }

    /// The workflow that was created under this request id.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn find_request(
        &self,
        tenant: &str,
        request_id: &str,
    ) -> Result<Option<ExistingRequest>, StoreError>;

    /// The message, or the part of one, that an account knows by this id.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn find_message(
        &self,
        account: &str,
        provider_id: &str,
    ) -> Result<Option<FoundMessage>, StoreError>;

    /// The attempts of a conversation that were accepted by a call that began behind `after` and at or before
    /// `until`, in engine time: up to `limit` of them, newest first.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn find_conversation(
        &self,
        conversation: NameHash,
        after_until: (UnixMillis, UnixMillis),
        limit: usize,
    ) -> Result<Vec<AttemptId>, StoreError>;

    /// Up to `limit` open workflows whose deadline on `clock` is at most `until`, earliest first,
    /// beginning behind `after`. A workflow may have one on either clock.
    fn due(
        &self,
        clock: ClockKind,
        after: Option<(UnixMillis, WorkflowId)>,
        until: UnixMillis,
        limit: usize,
    ) -> Vec<DueWorkflow>;

    /// The earliest deadline on `clock` behind `after`.
    fn next_due(
        &self,
        clock: ClockKind,
        after: Option<(UnixMillis, WorkflowId)>,
    ) -> Option<UnixMillis>;

    /// The ids of up to `limit` open workflows behind `after`, for recovery.
    fn open_ids(&self, after: Option<WorkflowId>, limit: usize) -> Vec<WorkflowId>;

    /// How many workflows are open.
    fn open_count(&self) -> usize;

    /// Receipts that wait for their attempt, oldest first.
    fn held_receipts(&self) -> Vec<HeldReceipt>;

    /// Keeps `batch`, and returns the journal rows it became: one for each change, in their order.
    ///
    /// # Errors
    /// Fatal, see the contract above.
    fn commit(&mut self, batch: ChangeSet) -> Result<Vec<Arc<Row>>, StoreError>;

    /// Drops journal rows older than `before`, and every ended workflow whose newest row is, until that
    /// were `budget` rows or a few more, or a few MiB: then there may be more to do. Open workflows are kept,
    /// however old; a store may wait a while with the rest for one that ended later. `now` is engine
    /// time.
    ///
    /// # Errors
    /// As [`commit`](Self::commit).
    fn sweep(
        &mut self,
        now: UnixMillis,
        before: UnixMillis,
        budget: usize,
    ) -> Result<Swept, StoreError>;

    /// Whether it was restored and waits for somebody to say what is to become of what was open.
    fn restore_lock(&self) -> Option<RestoreLock>;

    /// How many bytes may still be written, if that is bounded and known.
    fn free_bytes(&self) -> Option<u64> {
        None
    }

    /// The newest moment in the journal: engine time never falls behind it.
    fn last_time(&self) -> Moment;

    /// How the clocks stood when that was last noted; `None` if it never was, or is lost.
    fn clock(&self) -> Option<ClockNote>;

    /// Whether it may still be written.
    ///
    /// # Errors
    /// Fatal, as that of a commit: another process has taken over.
    fn check_owned(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Notes how the clocks stand. JournalEntry when the process dies; when the machine does, perhaps an
    /// earlier note, which is as good unless the wall clock was set in between.
    ///
    /// # Errors
    /// If it could not be written; then the earlier note stands, and nothing else is lost.
    fn note_clock(&mut self, note: ClockNote) -> Result<(), StoreError>;

    /// What [`ChangeSet::grace_given_ms`] was last.
    fn grace_given_ms(&self) -> u64;

    /// How many entries each of its tables in memory has: what grows here without end is a leak.
    fn tables(&self) -> Vec<(&'static str, usize)> {
        Vec::new()
    }

    /// The reading half, for any number of threads.
    fn reader(&self) -> Arc<dyn Reader>;

    /// What is kept beside workflows, for any number of threads.
    fn settings(&self) -> Arc<dyn Settings>;
}

/// The reading half.
pub trait Reader: Send + Sync {
    /// Which life of the store the cursors belong to.
    fn incarnation(&self) -> Incarnation;

    /// The lives that this one goes on from, if it does: that of the store which the backup was taken of that it
    /// was restored from, and those that ended with a loss. The newest of them.
    fn former_incarnations(&self) -> Vec<Incarnation>;

    /// What was asked for when the workflow was created.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn record(&self, id: WorkflowId) -> Result<Option<Arc<Record>>, StoreError>;

    /// The same of several, in their order, with as few questions to whatever keeps the bytes as may be.
    ///
    /// # Errors
    /// If one of them cannot be read.
    fn records(&self, ids: &[WorkflowId]) -> Result<Vec<Option<Arc<Record>>>, StoreError> {
        ids.iter().map(|id| self.record(*id)).collect()
    }

    /// The workflow's state, open or ended.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn workflow(&self, id: WorkflowId) -> Result<Option<Workflow>, StoreError>;

    /// All that happened to the workflow, in order; empty if there is none of that id.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn timeline(&self, id: WorkflowId) -> Result<Vec<Arc<Row>>, StoreError>;

    /// Up to `limit` journal rows behind `cursor`, in commit order.
    ///
    /// # Errors
    /// [`StoreError::Trimmed`] if rows behind `cursor` are gone, or a workflow that one of them is of.
    fn after(&self, cursor: Cursor, limit: usize) -> Result<Vec<Arc<Row>>, StoreError>;

    /// The newest durable row's cursor.
    fn newest(&self) -> Cursor;

    /// The cursor behind which all rows are kept, and the workflows that they are of.
    fn oldest(&self) -> Cursor;

    /// Workflows that match `filter`, newest first, beginning behind (older than) `after`. Looks
    /// at a bounded number of them, and of bytes: a page may be short or empty and still have a `next`. Those
    /// of other tenants and in other states than the filter's cost little.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn list(
        &self,
        filter: &Filter,
        after: Option<WorkflowId>,
        limit: usize,
    ) -> Result<Page, StoreError>;

    /// All that is kept of up to `limit` workflows behind `after`, in the order of their ids; of fewer where
    /// they are large, and of none only at the end.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn entries(&self, after: Option<WorkflowId>, limit: usize) -> Result<Vec<Entry>, StoreError>;

    /// Whether the workflow has ended, and when: cheap, no row of the journal is read.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn end_of(&self, id: WorkflowId) -> Result<WorkflowEnd, StoreError>;

    /// The workflow that was durably created under this request id.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn requested(
        &self,
        tenant: &str,
        request_id: &str,
    ) -> Result<Option<ExistingRequest>, StoreError>;

    /// How many workflows of a tenant are open.
    fn open_of(&self, tenant: &str) -> usize;

    /// How many workflows of each tenant are open that has any.
    fn open_by_tenant(&self) -> Vec<(Arc<str>, usize)>;

    /// Receipts that wait for their attempt, oldest first.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn held_receipts(&self) -> Result<Vec<HeldReceipt>, StoreError>;
}
