//! API keys: who holds one may do what its scopes say, for its tenant.

use std::fmt;

use dispatch_contract::is_printable;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    Caller, DEFAULT_TENANT, Scope,
    bootstrap::BOOTSTRAP,
    caller::ANONYMOUS,
    secret::{NoRandomness, SecretHash, random},
};

/// How many secrets of a key are valid at once: one to be replaced while the other is in use.
const SECRETS_MOST: usize = 2;
/// The length of an id that is made here, in bytes before they are written as hex.
const ID_BYTES: usize = 4;
/// The longest id, name and tenant, in bytes.
const ID_MOST: usize = 32;
const NAME_MOST: usize = 100;
const TENANT_MOST: usize = 64;

/// A key's id: eight hex digits, as the old API's `api_key`. One from the configuration may be any 1 to
/// 32 letters, digits, `-` and `_`, but for `anonymous` and `bootstrap`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(String);

/// A key. Kept as a setting of [`Kind::Key`](crate::store::Kind), under its id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// Whose data it opens.
    pub tenant: String,
    /// For people.
    pub name: String,
    /// What its holder may do, without repeats.
    pub scopes: Vec<Scope>,
    /// When it was made, in milliseconds of the Unix epoch.
    pub create_time_ms: u64,
    /// When it last got a new secret.
    pub rotated_at_ms: Option<u64>,
    /// The application that its holder speaks for: whose callbacks tell what becomes of its workflows.
    pub application: Option<Uuid>,
    /// The newest first.
    secrets: Vec<SecretHash>,
}

/// What a key is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewKey {
    /// Whose data it opens.
    pub tenant: String,
    /// For people; may be empty.
    pub name: String,
    /// What its holder may do.
    pub scopes: Vec<Scope>,
    /// The application that its holder speaks for, one of the tenant's.
    pub application: Option<Uuid>,
}

/// A field of a key that is not right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrongKey {
    /// Which.
    pub field: &'static str,
    /// What would be right.
    pub wanted: String,
}

impl KeyId {
    pub(super) fn random() -> Result<Self, NoRandomness> {
        let bytes = random::<ID_BYTES>()?;
        Ok(KeyId(bytes.iter().map(|byte| format!("{byte:02x}")).collect()))
    }

    /// The id that a text names; `None` if none can have that form.
    pub fn parse(text: &str) -> Option<Self> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        // What stands in the audit log for callers without a key is nobody's.
        let is_taken = [ANONYMOUS, BOOTSTRAP].contains(&text);
        let fits = (1..=ID_MOST).contains(&text.len()) && text.bytes().all(is_plain) && !is_taken;
        fits.then(|| KeyId(text.to_owned()))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether a tenant may have this name.
pub fn is_tenant(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=TENANT_MOST).contains(&name.len()) && name.bytes().all(is_plain)
}

impl NewKey {
    /// Parses what a request asks for: a tenant that is empty is `default`.
    ///
    /// # Errors
    /// The first field that is not right.
    pub fn parse(
        tenant: &str,
        name: &str,
        scopes: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Result<Self, WrongKey> {
        let tenant = if tenant.is_empty() { DEFAULT_TENANT } else { tenant };
        if !is_tenant(tenant) {
            let wanted = format!("must be 1 to {TENANT_MOST} letters, digits, `-`, `_` and `.`");
            return Err(WrongKey { field: "tenant", wanted });
        }
        if name.len() > NAME_MOST || !is_printable(name) {
            let wanted =
                format!("must have at most {NAME_MOST} bytes, all of printable characters");
            return Err(WrongKey { field: "name", wanted });
        }
        let mut wanted_scopes = Vec::new();
        for scope in scopes {
            let Some(scope) = Scope::from_name(scope.as_ref()) else {
                let wanted = format!("must each be one of {}", Scope::names());
                return Err(WrongKey { field: "scopes", wanted });
            };
            wanted_scopes.push(scope);
        }
        wanted_scopes.sort();
        wanted_scopes.dedup();
        if wanted_scopes.is_empty() {
            let wanted = format!("must name at least one of {}", Scope::names());
            return Err(WrongKey { field: "scopes", wanted });
        }
        let (tenant, name) = (tenant.to_owned(), name.to_owned());
        Ok(NewKey { tenant, name, scopes: wanted_scopes, application: None })
    }

    pub(super) fn with(self, secret: SecretHash, now_ms: u64) -> Key {
        Key {
            tenant: self.tenant,
            name: self.name,
            scopes: self.scopes,
            create_time_ms: now_ms,
            rotated_at_ms: None,
            application: self.application,
            secrets: vec![secret],
        }
    }
}

impl Key {
    /// How many secrets are valid: 1, or 2 while one is being replaced.
    pub fn valid_secrets(&self) -> usize {
        self.secrets.len()
    }

    /// Whether its holder runs the service; see [`Caller::is_operator`].
    pub fn is_operators(&self) -> bool {
        self.scopes.contains(&Scope::Operator)
    }

    /// Whether a secret is one of its own. Looks at all of them, whichever fits.
    pub(super) fn has(&self, secret: &SecretHash) -> bool {
        let fits = self.secrets.iter().map(|own| own.is_of_the_same(secret));
        fits.fold(false, |any, this| any | this)
    }

    /// Takes a new secret; the one before stays valid beside it, unless it is to end at once.
    pub(super) fn rotate(&mut self, secret: SecretHash, ends_others: bool, now_ms: u64) {
        self.secrets.insert(0, secret);
        self.secrets.truncate(if ends_others { 1 } else { SECRETS_MOST });
        self.rotated_at_ms = Some(now_ms);
    }

    pub(super) fn caller(&self, id: &KeyId) -> Caller {
        Caller {
            tenant: self.tenant.as_str().into(),
            scopes: self.scopes.clone(),
            application: self.application,
            name: id.as_str().into(),
            source: None,
        }
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
