//! Callers and their rights.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::DEFAULT_TENANT;

/// What a caller may do. Stored by position: new ones go to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Scope {
    /// Create workflows.
    Create,
    /// Read workflows, streams, lists and callbacks.
    Read,
    /// Cancel workflows.
    Cancel,
    /// Change the tenant's applications, accounts and keys; for the tenant `default`, the whole
    /// service too: see [`Caller::is_operator`].
    Admin,
}

/// Whoever sent a request, known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Whose data it works with; no other's is visible to it.
    pub tenant: Arc<str>,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// The application it speaks for: its token's, or the one that its key was made for.
    pub application: Option<Uuid>,
    /// What stands in the audit log: the key's id, the application's, or `anonymous`.
    pub name: Arc<str>,
}

impl Scope {
    /// All of them.
    pub const ALL: [Scope; 4] = [Scope::Create, Scope::Read, Scope::Cancel, Scope::Admin];

    /// What an application may do: everything but change who may.
    pub const APPLICATION: [Scope; 3] = [Scope::Create, Scope::Read, Scope::Cancel];

    /// Its name, on the wire and in the CLI.
    pub fn as_str(self) -> &'static str {
        match self {
            Scope::Create => "create",
            Scope::Read => "read",
            Scope::Cancel => "cancel",
            Scope::Admin => "admin",
        }
    }

    /// The scope of that name.
    pub fn from_name(name: &str) -> Option<Scope> {
        Scope::ALL.into_iter().find(|scope| scope.as_str() == name)
    }
}

impl Caller {
    /// Anybody, while no key is configured: the service is on loopback then.
    pub fn anonymous() -> Self {
        Caller {
            tenant: Arc::from(DEFAULT_TENANT),
            scopes: Scope::ALL.to_vec(),
            application: None,
            name: Arc::from("anonymous"),
        }
    }

    /// Whether it may.
    pub fn may(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }

    /// Whether it runs the service: an administrator of the tenant `default`. What concerns every
    /// tenant (backups, the simulated provider, other tenants' keys) is the operator's alone.
    pub fn is_operator(&self) -> bool {
        self.may(Scope::Admin) && *self.tenant == *DEFAULT_TENANT
    }
}
