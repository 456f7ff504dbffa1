//! A restored store is locked: what was open in the backup may long have been sent by the life that
//! went on after it. Receipts are taken and cancels are kept meanwhile; nothing is sent, and no
//! timer fires, until somebody says what is to become of what is open.

use std::collections::VecDeque;

use super::{BatchContext, MAX_DUE_PER_BATCH, Processor};
use crate::{
    engine::{EngineError, Responder, ResumePolicy},
    machine::{Event, WorkflowId},
    store::StoreError,
};

/// The restore lock, and whether it is being released.
pub(super) struct RestoreLockState {
    resuming: Option<Resuming>,
}

struct Resuming {
    /// How many were open.
    open: usize,
    to_cancel: VecDeque<WorkflowId>,
    reply: Responder<Result<usize, EngineError>>,
}

impl RestoreLockState {
    pub(super) fn new() -> Self {
        RestoreLockState { resuming: None }
    }

    /// Whether it is being released: nothing else may be handled until that is done.
    pub(super) fn is_resuming(&self) -> bool {
        self.resuming.is_some()
    }
}

impl Processor {
    /// Whether nothing may be sent.
    pub fn is_restore_locked(&self) -> bool {
        self.restore_lock.is_some()
    }
}

impl BatchContext<'_> {
    pub(super) fn resume(
        &mut self,
        what: ResumePolicy,
        reply: Responder<Result<usize, EngineError>>,
    ) {
        let Some(restore_lock) = &mut self.processor.restore_lock else {
            return reply(Err(EngineError::NotRestoreLocked));
        };
        if restore_lock.is_resuming() {
            return reply(Err(EngineError::NotRestoreLocked));
        }
        let open = self.store.open_count();
        let to_cancel = match what {
            ResumePolicy::Continue => VecDeque::new(),
            ResumePolicy::Cancel => self.store.open_ids(None, usize::MAX).into(),
        };
        restore_lock.resuming = Some(Resuming { open, to_cancel, reply });
    }

    /// Part of a release; after the last part the lock is gone.
    pub(super) fn release_restore_lock(&mut self) -> Result<(), StoreError> {
        let Some(resuming) = self
            .processor
            .restore_lock
            .as_mut()
            .and_then(|restore_lock| restore_lock.resuming.as_mut())
        else {
            return Ok(());
        };
        let count = resuming.to_cancel.len().min(MAX_DUE_PER_BATCH);
        let some: Vec<_> = resuming.to_cancel.drain(..count).collect();
        let is_last = resuming.to_cancel.is_empty();
        for id in some {
            self.event(id, Event::Cancel)?;
        }
        if !is_last {
            return Ok(());
        }
        self.effects.change_set.lift_restore_lock = true;
        let processor = &mut *self.processor;
        if let Some(Resuming { open, reply, .. }) =
            processor.restore_lock.take().and_then(|restore_lock| restore_lock.resuming)
        {
            self.effects.acks.push(Box::new(move || reply(Ok(open))));
        }
        // As if it had started now: permits are counted afresh, since no call is out.
        processor.recovery.restart(self.now.engine);
        processor.permits = processor.fresh_permits();
        processor.start_recovery(self.store);
        Ok(())
    }
}
