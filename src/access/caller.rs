//! Callers and their rights.

use std::{net::IpAddr, sync::Arc};

use uuid::Uuid;

use super::{DEFAULT_TENANT, Denied, Scope};

/// What stands in the audit log for a caller that nobody knows. No key has it as its id.
pub(super) const ANONYMOUS: &str = "anonymous";

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
    /// The address that it came from, for the audit log; `None` if that is not known.
    pub source: Option<IpAddr>,
}

impl Caller {
    /// Anybody on this machine, while there is no key and nothing real can be sent or read. It may do everything, see
    /// contents included: they are simulated.
    pub fn anonymous() -> Self {
        Caller {
            tenant: Arc::from(DEFAULT_TENANT),
            scopes: Scope::ALL.to_vec(),
            application: None,
            name: Arc::from(ANONYMOUS),
            source: None,
        }
    }

    /// The same, come from an address.
    pub fn from(self, address: IpAddr) -> Caller {
        Caller { source: Some(address.to_canonical()), ..self }
    }

    /// Whether nobody knows who it is.
    pub fn is_anonymous(&self) -> bool {
        *self.name == *ANONYMOUS
    }

    /// Whether it may.
    pub fn may(&self, scope: Scope) -> bool {
        // A message goes out for the tenant that asked for it: an operator sends none by that alone. Nor does
        // whoever runs a service read what persons are told.
        let is_brought = match scope {
            Scope::Create | Scope::Contents => false,
            Scope::Read | Scope::Cancel | Scope::Admin | Scope::Operator => self.is_operator(),
        };
        is_brought || self.scopes.contains(&scope)
    }

    /// Whether it runs the service.
    pub fn is_operator(&self) -> bool {
        self.scopes.contains(&Scope::Operator)
    }

    /// Whether it may know what is a tenant's.
    pub fn sees(&self, tenant: &str) -> bool {
        self.is_operator() || *self.tenant == *tenant
    }

    /// Whose data a request is about that names a tenant, or none if `asked` is empty: `None` is
    /// everybody's, which is what an operator sees.
    ///
    /// # Errors
    /// If it names another tenant, and the caller is no operator.
    pub fn view(&self, asked: &str) -> Result<Option<Arc<str>>, Denied> {
        match (asked, self.is_operator()) {
            ("", true) => Ok(None),
            ("", false) => Ok(Some(Arc::clone(&self.tenant))),
            (asked, _) if self.sees(asked) => Ok(Some(Arc::from(asked))),
            (_, _) => Err(Denied::Forbidden(Scope::Operator)),
        }
    }

    /// The same caller at work on another tenant's data: what it does there is written down as that
    /// tenant's.
    pub fn at(&self, tenant: &Arc<str>) -> Caller {
        Caller { tenant: Arc::clone(tenant), ..self.clone() }
    }
}
