//! A restored store is held: what was open in the backup may long have been sent by the life that
//! went on after it. Receipts are taken and cancels are kept meanwhile; nothing is sent, and no
//! timer fires, until somebody says what is to become of what is open.

use std::collections::VecDeque;

use dispatch_contract::UnixMillis;

use super::{DUE_A_TURN, Grace, Reply, Turn, Work};
use crate::{
    engine::EngineError,
    machine::{ClockKind, Event, WorkflowId},
    store::{Store, StoreError},
};

/// What becomes of the workflows that are open when a held store is let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenWork {
    /// They go on as after a restart: what was STARTED and not answered is unknown, what is due is
    /// done. Some of it may have been sent after the backup was taken.
    Continue,
    /// They are canceled: nothing of them is sent any more.
    Cancel,
}

/// A turn's hold.
pub(super) struct Hold {
    resuming: Option<Resuming>,
}

struct Resuming {
    /// How many were open.
    open: usize,
    to_cancel: VecDeque<WorkflowId>,
    reply: Reply<Result<usize, EngineError>>,
}

impl Hold {
    pub(super) fn new() -> Self {
        Hold { resuming: None }
    }

    /// Whether it is being let go: nothing else may be handled until that is done.
    pub(super) fn is_resuming(&self) -> bool {
        self.resuming.is_some()
    }
}

impl Turn {
    /// Whether nothing may be sent.
    pub fn is_held(&self) -> bool {
        self.hold.is_some()
    }

    /// Begins to pay what a restart owes.
    pub(super) fn take_up(&mut self, store: &dyn Store) {
        let before = UnixMillis(self.grace.started_at.0.saturating_sub(1));
        let overdue = store.due(ClockKind::Engine, None, before, usize::MAX);
        self.overdue = overdue.into_iter().filter(|row| !row.due.awaits_receipt()).collect();
        self.owed = store.open_ids(None, usize::MAX).into();
        // They are told of the routes with it.
        self.unrouted.clear();
        // A drain gives out no place after it either.
        self.is_gathering = !self.is_draining;
        self.slots.pause(true);
    }
}

impl Work<'_> {
    pub(super) fn resume(&mut self, what: OpenWork, reply: Reply<Result<usize, EngineError>>) {
        let Some(hold) = &mut self.turn.hold else {
            return reply(Err(EngineError::NotHeld));
        };
        if hold.is_resuming() {
            return reply(Err(EngineError::NotHeld));
        }
        let open = self.store.open_count();
        let to_cancel = match what {
            OpenWork::Continue => VecDeque::new(),
            OpenWork::Cancel => self.store.open_ids(None, usize::MAX).into(),
        };
        hold.resuming = Some(Resuming { open, to_cancel, reply });
    }

    /// Some of what letting go asks for; at its end the store is held no longer.
    pub(super) fn let_go(&mut self) -> Result<(), StoreError> {
        let Some(resuming) = self.turn.hold.as_mut().and_then(|hold| hold.resuming.as_mut()) else {
            return Ok(());
        };
        let count = resuming.to_cancel.len().min(DUE_A_TURN);
        let some: Vec<_> = resuming.to_cancel.drain(..count).collect();
        let is_last = resuming.to_cancel.is_empty();
        for id in some {
            self.event(id, Event::Cancel)?;
        }
        if !is_last {
            return Ok(());
        }
        self.out.batch.release = true;
        let turn = &mut *self.turn;
        if let Some(Resuming { open, reply, .. }) = turn.hold.take().and_then(|hold| hold.resuming)
        {
            self.out.acks.push(Box::new(move || reply(Ok(open))));
        }
        // As if it had started now: places are counted afresh, since no call is out.
        let grace_ms = turn.grace.until.since(turn.grace.started_at);
        turn.grace = Grace { started_at: self.now.engine, until: self.now.engine.plus(grace_ms) };
        turn.given = turn.given.anew();
        turn.slots = turn.fresh_slots();
        turn.take_up(self.store);
        Ok(())
    }
}
