//! Whose callbacks tell what becomes of a workflow.
//!
//! Always an application's: its secret signs them, so that none goes out unsigned. The caller's own
//! comes first, by its token or its key; a caller without one, or whose application does nothing with
//! messages, leaves it to the tenant's *default* application.

use uuid::Uuid;

use super::{Access, Application, Caller};
use crate::store::{Kind, Settings, StoreError, decode};

/// Who is told what becomes of a workflow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Receiver {
    /// The application whose callbacks tell it, and whose secret signs them.
    pub application: Option<Uuid>,
    /// Whether that has a secret to sign with.
    pub has_secret: bool,
    /// Whether it has a status URL. Without one only a URL of the request's own is told.
    pub has_status_url: bool,
}

impl Access {
    /// Who is told of a workflow that `caller` creates now.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn receiver(&self, caller: &Caller) -> Result<Receiver, StoreError> {
        let settings = &*self.inner.settings;
        for id in [caller.application, default_application(settings, &caller.tenant)?] {
            let Some(id) = id else { continue };
            let Some(application) = application(settings, &caller.tenant, id)? else { continue };
            if let Some(messages) = application.messages {
                return Ok(Receiver {
                    application: Some(id),
                    has_secret: true,
                    has_status_url: messages.status.is_some(),
                });
            }
        }
        // It may be given the capability while the workflow is under way.
        Ok(Receiver { application: caller.application, ..Receiver::default() })
    }
}

/// Who is told of what a person wrote to a sender of a tenant's: the first of the applications that are `named`, and of the
/// tenant's default one, that has an inbound URL.
///
/// # Errors
/// If the store cannot be read.
pub fn inbound_receiver(
    settings: &dyn Settings,
    tenant: &str,
    named: &[Uuid],
) -> Result<Option<Application>, StoreError> {
    let is_told = |it: &Application| it.messages.as_ref().is_some_and(|it| it.inbound.is_some());
    for id in named.iter().copied().chain(default_application(settings, tenant)?) {
        if let Some(found) = application(settings, tenant, id)?.filter(is_told) {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// A tenant's default application, if it has one.
///
/// # Errors
/// If the store cannot be read.
pub(super) fn default_application(
    settings: &dyn Settings,
    tenant: &str,
) -> Result<Option<Uuid>, StoreError> {
    let row = settings.get(Kind::DefaultApplication, tenant.as_bytes())?;
    row.map(|row| decode(&row, || format!("the default application of {tenant}"))).transpose()
}

/// An application, if it is the tenant's.
pub(super) fn application(
    settings: &dyn Settings,
    tenant: &str,
    id: Uuid,
) -> Result<Option<Application>, StoreError> {
    let row = settings.get(Kind::Application, id.as_bytes())?;
    let found: Option<Application> =
        row.map(|row| decode(&row, || format!("application {id}"))).transpose()?;
    Ok(found.filter(|application| application.tenant == tenant))
}
