//! A store of which one workflow is damaged, for tests.

use std::sync::Arc;

use crate::{
    machine::{Workflow, WorkflowId},
    store::{
        Cursor, Entry, ExistingRequest, Filter, HeldReceipt, Incarnation, Page, Reader, Record,
        Row, StoreError, WorkflowEnd,
    },
};

/// Reads what `inner` does, but for one workflow.
pub(super) struct DamagedReader {
    pub(super) inner: Arc<dyn Reader>,
    pub(super) damaged: WorkflowId,
}

impl DamagedReader {
    fn look(&self, id: WorkflowId) -> Result<&dyn Reader, StoreError> {
        let (place, problem) = (format!("workflow {id}"), "damaged".to_owned());
        let is_sound = id != self.damaged;
        is_sound.then_some(&*self.inner).ok_or(StoreError::Corrupt { place, problem })
    }
}

impl Reader for DamagedReader {
    fn incarnation(&self) -> Incarnation {
        self.inner.incarnation()
    }
    fn former_incarnations(&self) -> Vec<Incarnation> {
        self.inner.former_incarnations()
    }
    fn record(&self, id: WorkflowId) -> Result<Option<Arc<Record>>, StoreError> {
        self.look(id)?.record(id)
    }
    fn workflow(&self, id: WorkflowId) -> Result<Option<Workflow>, StoreError> {
        self.look(id)?.workflow(id)
    }
    fn timeline(&self, id: WorkflowId) -> Result<Vec<Arc<Row>>, StoreError> {
        self.look(id)?.timeline(id)
    }
    fn after(&self, cursor: Cursor, limit: usize) -> Result<Vec<Arc<Row>>, StoreError> {
        self.inner.after(cursor, limit)
    }
    fn newest(&self) -> Cursor {
        self.inner.newest()
    }
    fn oldest(&self) -> Cursor {
        self.inner.oldest()
    }
    fn list(
        &self,
        filter: &Filter,
        after: Option<WorkflowId>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        self.inner.list(filter, after, limit)
    }
    fn entries(&self, after: Option<WorkflowId>, limit: usize) -> Result<Vec<Entry>, StoreError> {
        let entries = self.inner.entries(after, limit)?;
        if let Some(entry) = entries.iter().find(|entry| entry.record.id == self.damaged) {
            self.look(entry.record.id)?;
        }
        Ok(entries)
    }
    fn end_of(&self, id: WorkflowId) -> Result<WorkflowEnd, StoreError> {
        self.look(id)?.end_of(id)
    }
    fn requested(
        &self,
        tenant: &str,
        request_id: &str,
    ) -> Result<Option<ExistingRequest>, StoreError> {
        self.inner.requested(tenant, request_id)
    }
    fn open_of(&self, tenant: &str) -> usize {
        self.inner.open_of(tenant)
    }
    fn open_by_tenant(&self) -> Vec<(Arc<str>, usize)> {
        self.inner.open_by_tenant()
    }
    fn held_receipts(&self) -> Result<Vec<HeldReceipt>, StoreError> {
        self.inner.held_receipts()
    }
}
