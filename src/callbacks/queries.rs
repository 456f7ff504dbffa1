//! What administrators may do: look, and send once more.

use std::{fmt, sync::Arc};

use uuid::Uuid;

use super::{Callback, CallbackId, DeliveryState, callback_store::CallbackStore, row::readable};
use crate::{
    machine::Moment,
    store::{Kind, StoreError},
};

/// How many rows one call looks at.
const SCAN: usize = 2000;
/// How many rows are read at once.
const ROWS: usize = 500;

/// What administrators may ask of callbacks: list them, resend them. Cheap to clone.
#[derive(Clone)]
pub struct CallbackQueries(Arc<CallbackStore>);

/// Which callbacks are listed: those that every given field admits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallbackFilter {
    /// Of this workflow, or this inbound message.
    pub about: Option<Uuid>,
    /// Of this application.
    pub application: Option<Uuid>,
    /// Only dead letters, or only those that wait.
    pub is_dead_lettered: Option<bool>,
}

/// One page of the callbacks that a filter admits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallbackPage {
    /// In the order of their ids: of workflows the older first.
    pub callbacks: Vec<(CallbackId, Callback)>,
    /// Where to go on; `None` at the end.
    pub next: Option<CallbackId>,
}

impl CallbackQueries {
    pub(super) fn new(store: Arc<CallbackStore>) -> Self {
        CallbackQueries(store)
    }

    /// How many entries the tables in memory have.
    pub fn tables(&self) -> Vec<(&'static str, usize)> {
        self.0.tables()
    }

    /// Up to `limit` of a tenant's callbacks, or of every tenant's for `None`, behind `after`. Looks at a
    /// bounded number of rows: a page may be short or empty and still have a `next`.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn list(
        &self,
        tenant: Option<&str>,
        filter: CallbackFilter,
        after: Option<CallbackId>,
        limit: usize,
    ) -> Result<CallbackPage, StoreError> {
        let settings = &self.0.context.settings;
        // Every callback of a workflow is behind its bare id.
        let begin = filter.about.map(|id| id.as_bytes().to_vec());
        let mut after = after.map(CallbackId::to_key).max(begin);
        let mut found = CallbackPage::default();
        let mut looked_at = 0;
        loop {
            let rows = settings.list(Kind::Callback, after.as_deref(), ROWS)?;
            for (id, callback) in readable(&rows) {
                if filter.about.is_some_and(|about| about != id.about) {
                    found.next = None;
                    return Ok(found);
                }
                if tenant.is_none_or(|tenant| *callback.tenant == *tenant)
                    && filter.admits(&callback)
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
        self.0.context.clock.moment()
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

    /// Resends the dead letters of an application, and returns how many there were and whose.
    ///
    /// # Errors
    /// If the store failed: some may have been resent.
    pub fn resend_dead_lettered(
        &self,
        tenant: Option<&str>,
        application: Uuid,
    ) -> Result<(usize, Option<Arc<str>>), StoreError> {
        let filter = CallbackFilter {
            application: Some(application),
            is_dead_lettered: Some(true),
            ..CallbackFilter::default()
        };
        let (mut count, mut whose, mut after) = (0, None, None);
        loop {
            let CallbackPage { callbacks, next } = self.list(tenant, filter, after, ROWS)?;
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

impl CallbackFilter {
    fn admits(&self, callback: &Callback) -> bool {
        let is_dead_lettered = matches!(callback.state, DeliveryState::DeadLettered(_));
        self.application.is_none_or(|application| callback.application == application)
            && self.is_dead_lettered.is_none_or(|wanted| wanted == is_dead_lettered)
    }
}

impl fmt::Debug for CallbackQueries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CallbackQueries")
    }
}
