//! What administrators may do: look, and send once more.

use std::sync::Arc;

use uuid::Uuid;

use super::{Callback, CallbackId, Desk, State, row::readable};
use crate::{
    machine::{Moment, WorkflowId},
    store::{Kind, StoreError},
};

/// How many rows one call looks at.
const SCAN: usize = 2000;
/// How many rows are read at once.
const ROWS: usize = 500;

/// Which callbacks are meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Which {
    /// Of this workflow.
    pub workflow: Option<WorkflowId>,
    /// Of this application.
    pub application: Option<Uuid>,
    /// Dead ones, or those that wait.
    pub is_dead: Option<bool>,
}

/// Some of the callbacks that were meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// In the order of their ids: older workflows first.
    pub callbacks: Vec<(CallbackId, Callback)>,
    /// Where to go on; `None` at the end.
    pub next: Option<CallbackId>,
}

impl Desk {
    /// How many entries the tables in memory have.
    pub fn tables(&self) -> Vec<(&'static str, usize)> {
        self.0.tables()
    }

    /// Up to `limit` of a tenant's callbacks, or anybody's for none, behind `after`. Looks at a bounded number: a page may be
    /// short or empty and still have a `next`.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn list(
        &self,
        tenant: Option<&str>,
        which: Which,
        after: Option<CallbackId>,
        limit: usize,
    ) -> Result<Found, StoreError> {
        let settings = self.0.engine.settings();
        // Every callback of a workflow is behind its bare id.
        let begin = which.workflow.map(|id| id.as_bytes().to_vec());
        let mut after = after.map(CallbackId::to_key).max(begin);
        let mut found = Found::default();
        let mut looked_at = 0;
        loop {
            let rows = settings.list(Kind::Callback, after.as_deref(), ROWS)?;
            for (id, callback) in readable(&rows) {
                if which.workflow.is_some_and(|workflow| workflow != id.workflow) {
                    found.next = None;
                    return Ok(found);
                }
                if tenant.is_none_or(|tenant| *callback.tenant == *tenant)
                    && which.admits(&callback)
                {
                    found.callbacks.push((id, callback));
                }
                looked_at += 1;
                found.next = Some(id);
                if found.callbacks.len() >= limit || looked_at >= SCAN {
                    return Ok(found);
                }
            }
            if rows.len() < ROWS {
                found.next = None;
                return Ok(found);
            }
            after = rows.last().map(|(key, _)| key.clone());
        }
    }

    /// Now: callbacks are kept with engine times, and shown with those of the wall clock.
    pub fn now(&self) -> Moment {
        self.0.engine.clock().moment()
    }

    /// Sends one callback once more, or at once if it waits. Returns whose it is; `None` if the tenant,
    /// or anybody for none, has none of that id.
    ///
    /// # Errors
    /// If the store failed.
    pub fn resend(
        &self,
        tenant: Option<&str>,
        id: CallbackId,
    ) -> Result<Option<Arc<str>>, StoreError> {
        match self.0.get(id)? {
            Some(callback) if tenant.is_none_or(|tenant| *callback.tenant == *tenant) => {
                let whose = Arc::clone(&callback.tenant);
                self.0.resend(vec![(id, callback)])?;
                Ok(Some(whose))
            }
            Some(_) | None => Ok(None),
        }
    }

    /// Sends the dead callbacks of an application once more, and returns how many there were and whose.
    ///
    /// # Errors
    /// If the store failed: some may have been resent.
    pub fn resend_dead(
        &self,
        tenant: Option<&str>,
        application: Uuid,
    ) -> Result<(usize, Option<Arc<str>>), StoreError> {
        let which =
            Which { application: Some(application), is_dead: Some(true), ..Which::default() };
        let (mut count, mut whose, mut after) = (0, None, None);
        loop {
            let Found { callbacks, next } = self.list(tenant, which, after, ROWS)?;
            count += callbacks.len();
            whose = whose.or(callbacks.first().map(|(_, callback)| Arc::clone(&callback.tenant)));
            if !callbacks.is_empty() {
                self.0.resend(callbacks)?;
            }
            match next {
                Some(next) => after = Some(next),
                None => return Ok((count, whose)),
            }
        }
    }
}

impl Which {
    fn admits(&self, callback: &Callback) -> bool {
        let is_dead = matches!(callback.state, State::Dead(_));
        self.application.is_none_or(|application| callback.application == application)
            && self.is_dead.is_none_or(|wanted| wanted == is_dead)
    }
}
