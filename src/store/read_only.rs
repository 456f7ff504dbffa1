//! A store that is only read: what would write is refused with words.
//!
//! For a start on a disk that is full, or to look without touching: nothing of it can be changed by
//! whoever holds this.

use std::sync::Arc;

use dispatch_contract::{AttemptId, UnixMillis};

use super::{
    ChangeSet, ClockNote, DueWorkflow, ExistingRequest, FoundMessage, HeldReceipt, KeyAndValue,
    Kind, NameHash, Reader, RestoreLock, Row, SettingChange, Settings, Store, StoreError, Swept,
};
use crate::machine::{ClockKind, Moment, Workflow, WorkflowId};

/// Reads through to another store.
pub struct ReadOnlyStore(pub Box<dyn Store>);

struct ReadOnlySettings(Arc<dyn Settings>);

fn refused<T>() -> Result<T, StoreError> {
    let why = "this service was started with --read-only: nothing is written";
    Err(StoreError::Refused(why.to_owned()))
}

impl Store for ReadOnlyStore {
    fn load(&self, id: WorkflowId) -> Result<Option<Workflow>, StoreError> {
        self.0.load(id)
    }

    fn find_request(
        &self,
        tenant: &str,
        request_id: &str,
    ) -> Result<Option<ExistingRequest>, StoreError> {
        self.0.find_request(tenant, request_id)
    }

    fn find_message(
        &self,
        account: &str,
        provider_id: &str,
    ) -> Result<Option<FoundMessage>, StoreError> {
        self.0.find_message(account, provider_id)
    }

    fn find_conversation(
        &self,
        conversation: NameHash,
        times: (UnixMillis, UnixMillis),
        limit: usize,
    ) -> Result<Vec<AttemptId>, StoreError> {
        self.0.find_conversation(conversation, times, limit)
    }

    fn due(
        &self,
        clock: ClockKind,
        after: Option<(UnixMillis, WorkflowId)>,
        until: UnixMillis,
        limit: usize,
    ) -> Vec<DueWorkflow> {
        self.0.due(clock, after, until, limit)
    }

    fn next_due(
        &self,
        clock: ClockKind,
        after: Option<(UnixMillis, WorkflowId)>,
    ) -> Option<UnixMillis> {
        self.0.next_due(clock, after)
    }

    fn open_ids(&self, after: Option<WorkflowId>, limit: usize) -> Vec<WorkflowId> {
        self.0.open_ids(after, limit)
    }

    fn open_count(&self) -> usize {
        self.0.open_count()
    }

    fn held_receipts(&self) -> Vec<HeldReceipt> {
        self.0.held_receipts()
    }

    fn commit(&mut self, _: ChangeSet) -> Result<Vec<Arc<Row>>, StoreError> {
        refused()
    }

    fn sweep(&mut self, _: UnixMillis, _: UnixMillis, _: usize) -> Result<Swept, StoreError> {
        refused()
    }

    fn restore_lock(&self) -> Option<RestoreLock> {
        self.0.restore_lock()
    }

    fn free_bytes(&self) -> Option<u64> {
        self.0.free_bytes()
    }

    fn last_time(&self) -> Moment {
        self.0.last_time()
    }

    fn clock(&self) -> Option<ClockNote> {
        self.0.clock()
    }

    fn note_clock(&mut self, _: ClockNote) -> Result<(), StoreError> {
        refused()
    }

    fn grace_given_ms(&self) -> u64 {
        self.0.grace_given_ms()
    }

    fn tables(&self) -> Vec<(&'static str, usize)> {
        self.0.tables()
    }

    fn reader(&self) -> Arc<dyn Reader> {
        self.0.reader()
    }

    fn settings(&self) -> Arc<dyn Settings> {
        Arc::new(ReadOnlySettings(self.0.settings()))
    }
}

impl Settings for ReadOnlySettings {
    fn get(&self, kind: Kind, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.0.get(kind, key)
    }

    fn list(
        &self,
        kind: Kind,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<KeyAndValue>, StoreError> {
        self.0.list(kind, after, limit)
    }

    fn write(&self, _: Vec<SettingChange>) -> Result<(), StoreError> {
        refused()
    }

    fn note(&self, _: Vec<SettingChange>) -> Result<(), StoreError> {
        refused()
    }
}
