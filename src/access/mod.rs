//! Who may do what: callers, their rights, and the applications they speak for.
//!
//! Edges ask [`Access`] once for each request, with what the request brought; from then on they hold a
//! [`Caller`]. Nothing here knows gRPC or HTTP, and nothing is cached that could be wrong: the rows of
//! keys and applications are read for each request, and what was parsed of a row is kept with the row.

mod account;
mod accounts;
mod application;
mod application_spec;
mod applications;
mod arrival;
mod audit;
mod bootstrap;
mod caller;
mod claims;
mod credential;
mod denied;
mod destination;
mod entrance;
mod errors;
mod key;
mod key_cache;
mod keys;
mod limits;
mod master_key;
mod personal_words;
mod receiver;
mod replay;
mod rights;
mod rotation;
mod rsa;
mod scope;
mod secret;
#[cfg(test)]
mod tests;
mod token;
mod token_key;
mod vault;
mod verified;

use std::{
    collections::BTreeMap,
    io,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

pub use account::{
    AccountToken, ApplicationLink, CHAT_CHANNELS, ExternalAccount, ExternalId, needs_token,
};
pub use accounts::{AccountChange, Accounts, NewAccount};
pub use application::{Application, MessagesCapability, PayloadVersion, Signing, Webhook};
pub use application_spec::{ApplicationSpec, MessagesSpec, Name, ReturnedSecrets, Written};
pub use applications::Applications;
pub use arrival::{Arrival, is_no_foreign_name};
pub use audit::{AUDIT_OF_TENANT, AUDIT_PAGE_MOST, AuditEntry, AuditFilter, AuditPage, Author};
use bootstrap::{BOOTSTRAP, Bootstrap};
pub use bootstrap::{BootstrapIn, bootstrap_key};
pub use caller::Caller;
use credential::Credential;
pub use denied::{Denied, Exceeded};
pub use destination::{Destinations, RefusedUrl, check_url};
use dispatch_contract::UnixMillis;
pub use entrance::WINDOW as REPORT_EVERY;
pub use errors::{AccountError, ApplicationError, VaultError};
pub use key::{Key, KeyId, NewKey, WrongKey, is_tenant};
pub use keys::{KeyError, KeyView};
pub use limits::{Admitted, LimitsByTenant, TenantLimits};
pub use master_key::{MasterKey, MasterKeys};
pub use personal_words::{PersonalWords, PersonalWordsByTenant};
pub use receiver::{Receiver, inbound_receiver};
pub use rights::{all_rights, scope_of_grpc, scope_of_rest};
pub use rotation::{Rotation, RotationError, RotationProgress, SealedElsewhere, SealedHolders};
pub use rsa::{KeyPair, PublicKey};
pub use scope::Scope;
pub use token::token;
pub use token_key::TokenKey;
use uuid::Uuid;
pub use vault::{Sealing, Vault};

use crate::{
    current::Current,
    store::{Kind, Reader, Settings, StoreError, decode},
};

/// The tenant of whoever calls while there is no key, and of keys that are made for no other.
pub const DEFAULT_TENANT: &str = "default";

/// Said of every key and secret that do not go together, whichever of them is wrong.
const WRONG: &str = "the key or its secret is not right";

/// Knows the callers. Cheap to clone.
#[derive(Clone)]
pub struct Access {
    inner: Arc<AccessInner>,
    knows_anonymous: bool,
}

/// What all clones share.
struct AccessInner {
    settings: Arc<dyn Settings>,
    configured: Current<BTreeMap<KeyId, Key>>,
    tokens: token::TokenVerifier,
    entrance: entrance::Entrance,
    limits: limits::Quotas,
    personal_words: Current<PersonalWordsByTenant>,
    /// What page and resume tokens are sealed with, once it was read.
    token_key: OnceLock<Arc<TokenKey>>,
    /// Held while keys or the log change, so that what is decided on is what is there.
    audit: Mutex<audit::AuditLog>,
    /// What makes the first key, while there is none and nobody is let in without one.
    bootstrap: Mutex<Option<Bootstrap>>,
}

/// How callers are known.
#[derive(Clone, Debug)]
pub struct AccessOptions {
    /// Keys from the configuration.
    pub keys: Vec<ConfiguredKey>,
    /// How tokens are judged.
    pub tokens: TokenRules,
    /// How many logins in a row may fail from one address before it waits; 0: as many as it likes.
    pub failed_logins: u32,
    /// How much each tenant may ask for, and have.
    pub limits: LimitsByTenant,
    /// Which of each tenant's own words are personal without being said to be.
    pub personal_words: PersonalWordsByTenant,
}

/// How tokens are judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenRules {
    /// How far another machine's clock may be off, in seconds.
    pub tolerance_s: u64,
    /// Whether each token is taken once only.
    pub is_once: bool,
}

/// A key from the configuration.
#[derive(Clone, Debug)]
pub struct ConfiguredKey(KeyId, Key);

impl ConfiguredKey {
    /// With this one secret.
    pub fn new(id: KeyId, new: NewKey, secret: &str) -> Self {
        ConfiguredKey(id, new.with(secret::SecretHash::of(secret), 0))
    }
}

impl Default for AccessOptions {
    fn default() -> Self {
        AccessOptions {
            keys: Vec::new(),
            tokens: TokenRules::default(),
            failed_logins: 20,
            limits: LimitsByTenant::default(),
            personal_words: PersonalWordsByTenant::default(),
        }
    }
}

impl Default for TokenRules {
    fn default() -> Self {
        TokenRules { tolerance_s: 60, is_once: false }
    }
}

impl Access {
    /// How many entries each of its tables in memory has.
    pub fn tables(&self) -> Vec<(&'static str, usize)> {
        let AccessInner { tokens, entrance, limits, audit, .. } = &*self.inner;
        let (failures, sources) = entrance.len();
        let (parsed, verified) = tokens.len();
        let audit = audit.lock().unwrap_or_else(PoisonError::into_inner).len();
        vec![
            ("failed_logins", failures),
            ("failed_login_sources", sources),
            ("limited_tenants", limits.len()),
            ("parsed_applications", parsed),
            ("verified_tokens", verified),
            ("used_tokens", tokens.replays().len()),
            ("audit_rows", audit),
        ]
    }

    /// Over the keys and applications in `settings`, with the usual options.
    pub fn new(settings: Arc<dyn Settings>) -> Self {
        Access::with(settings, AccessOptions::default())
    }

    /// Over the keys and applications in `settings`.
    pub fn with(settings: Arc<dyn Settings>, options: AccessOptions) -> Self {
        let configured = options.keys.into_iter().map(|ConfiguredKey(id, key)| (id, key));
        let inner = Arc::new(AccessInner {
            settings,
            configured: Current::new(configured.collect()),
            tokens: token::TokenVerifier::new(options.tokens),
            entrance: entrance::Entrance::new(options.failed_logins),
            limits: limits::Quotas::new(options.limits),
            personal_words: Current::new(options.personal_words),
            token_key: OnceLock::new(),
            audit: Mutex::default(),
            bootstrap: Mutex::default(),
        });
        Access { inner, knows_anonymous: true }
    }

    /// Knows callers by `options` from now on: what stands in the configuration may change while the
    /// service runs. What each tenant asked for lately stays counted.
    pub fn reload(&self, options: AccessOptions) {
        let configured = options.keys.into_iter().map(|ConfiguredKey(id, key)| (id, key));
        self.inner.configured.set(configured.collect::<BTreeMap<_, _>>());
        self.inner.tokens.reload(options.tokens);
        self.limits().reload(&options.limits);
        self.inner.personal_words.set(options.personal_words);
    }

    /// Whether there would be a key with `options` in place of those in force.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn would_have_key(&self, options: &AccessOptions) -> Result<bool, StoreError> {
        Ok(!options.keys.is_empty() || has_any(&*self.inner.settings, Kind::Key)?)
    }

    /// The same, for an edge that strangers may reach: nobody is let in there while no key is there.
    pub fn without_anonymous(&self) -> Self {
        Access { inner: Arc::clone(&self.inner), knows_anonymous: false }
    }

    /// Has the first key made by whoever may read a folder: a file in it holds the secret to do so,
    /// until there is a key. Returns the folder; `None` if there is a key already, and then a file of
    /// an earlier life is removed.
    ///
    /// # Errors
    /// If the file cannot be written, or the store cannot be read.
    pub fn offer_first_key(&self, place: BootstrapIn<'_>) -> io::Result<Option<PathBuf>> {
        if self.has_key().map_err(|error| io::Error::other(error.to_string()))? {
            self.withdraw_first_key(place)?;
            return Ok(None);
        }
        // The one before first: it takes its file with it.
        *self.bootstrap() = None;
        let bootstrap = Bootstrap::write(place)?;
        let folder = bootstrap.folder().to_owned();
        *self.bootstrap() = Some(bootstrap);
        Ok(Some(folder))
    }

    /// Takes that offer back, one of an earlier life as well.
    ///
    /// # Errors
    /// If a file cannot be removed.
    pub fn withdraw_first_key(&self, place: BootstrapIn<'_>) -> io::Result<()> {
        *self.bootstrap() = None;
        match place {
            BootstrapIn::Data(folder) => bootstrap::remove(folder),
            BootstrapIn::NewFolder => Ok(()),
        }
    }

    /// Who brings this `Authorization` header. `now` is the raw wall clock.
    ///
    /// While there is no key, whoever brings no token is [anonymous](Caller::anonymous), and while
    /// there is no application either, whoever brings one; but only at an edge that knows such callers,
    /// and it must [look at more](Arrival) than the header then.
    ///
    /// # Errors
    /// If it is not let in.
    pub fn authenticate(
        &self,
        authorization: Option<&str>,
        now: UnixMillis,
    ) -> Result<Caller, Denied> {
        let brought = authorization.map(Credential::parse);
        let known = match &brought {
            None => Err(Denied::Missing),
            Some(Err(why)) => Err(Denied::Invalid(why)),
            Some(Ok(Credential::Key { id, secret })) => self.holder(id, secret),
            Some(Ok(Credential::Token(token))) => {
                self.inner.tokens.caller(&*self.inner.settings, token, now)
            }
        };
        let Err(denied) = known else { return known };
        let is_token = matches!(brought, Some(Ok(Credential::Token(_))));
        let is_known = || {
            Ok(self.has_key()? || is_token && has_any(&*self.inner.settings, Kind::Application)?)
        };
        match is_known() {
            Ok(true) => Err(denied),
            Ok(false) if self.knows_anonymous => Ok(Caller::anonymous()),
            Ok(false) => Err(Denied::NoKey),
            Err(error) => Err(token::unreadable(&error)),
        }
    }

    /// Whether whoever was let in as `caller` may go on: its secret is still valid, or its application
    /// still there. A token that was good when a call began is good until the call ends.
    ///
    /// # Errors
    /// If not.
    pub fn still_authorized(
        &self,
        caller: &Caller,
        authorization: Option<&str>,
        now: UnixMillis,
    ) -> Result<(), Denied> {
        let is_token =
            matches!(authorization.map(Credential::parse), Some(Ok(Credential::Token(_))));
        match caller.application {
            Some(id) if is_token => {
                self.inner.tokens.still_authorized(&*self.inner.settings, id, &caller.tenant)
            }
            Some(_) | None => self.authenticate(authorization, now).map(|_| ()),
        }
    }

    /// Whether there is a key.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn has_key(&self) -> Result<bool, StoreError> {
        Ok(!self.inner.configured.get().is_empty() || has_any(&*self.inner.settings, Kind::Key)?)
    }

    /// Lets one create of the caller's tenant through, within the tenant's limits. What is returned is
    /// kept until the create is answered. `now` is engine time.
    ///
    /// # Errors
    /// Which limit it would exceed.
    pub fn admit(
        &self,
        caller: &Caller,
        reader: &dyn Reader,
        now: UnixMillis,
    ) -> Result<Admitted, Exceeded> {
        let open = || reader.open_of(&caller.tenant) as u64;
        self.inner.limits.admit(&caller.tenant, now, open)
    }

    /// How much each tenant may ask for, and have.
    pub fn limits(&self) -> &LimitsByTenant {
        self.inner.limits.by_tenant()
    }

    /// Which of a tenant's own words are personal without being said to be.
    pub fn personal_words(&self, tenant: &str) -> Arc<PersonalWords> {
        self.inner.personal_words.get().of(tenant)
    }

    /// Who holds a key.
    fn holder(&self, id: &str, secret: &str) -> Result<Caller, Denied> {
        let given = secret::SecretHash::of(secret);
        if id == BOOTSTRAP {
            let fits = self.bootstrap().as_ref().is_some_and(|it| it.has(&given));
            return if fits { Ok(Bootstrap::caller()) } else { Err(Denied::Invalid(WRONG)) };
        }
        let id = KeyId::parse(id);
        let key = match &id {
            Some(id) => self.key(id).map_err(|error| token::unreadable(&error))?,
            None => None,
        };
        let fits = match &key {
            Some(key) => key.has(&given),
            // As long as for a key that is there.
            None => given.is_of_the_same(&secret::SecretHash::NONE),
        };
        match (id, key) {
            (Some(id), Some(key)) if fits => Ok(key.caller(&id)),
            (Some(_) | None, Some(_) | None) => Err(Denied::Invalid(WRONG)),
        }
    }

    fn key(&self, id: &KeyId) -> Result<Option<Key>, StoreError> {
        if let Some(key) = self.inner.configured.get().get(id) {
            return Ok(Some(key.clone()));
        }
        let row = self.inner.settings.get(Kind::Key, id.as_str().as_bytes())?;
        row.map(|row| decode(&row, || format!("key {id}"))).transpose()
    }

    fn bootstrap(&self) -> MutexGuard<'_, Option<Bootstrap>> {
        self.inner.bootstrap.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes durable what is remembered of used tokens, and forgets what has expired. To be called every
    /// second; blocks. `now` is the raw wall clock.
    ///
    /// # Errors
    /// If the store failed.
    pub fn tidy(&self, now: UnixMillis) -> Result<(), StoreError> {
        self.inner.tokens.replays().tidy(&*self.inner.settings, now.0 / 1000)
    }

    /// Writes down which logins failed, and removes the rows of used tokens that have expired. To be called
    /// every [`REPORT_EVERY`], and at the end; blocks. `now` is what acts are dated by, `real` the raw wall
    /// clock.
    ///
    /// # Errors
    /// If the store failed.
    pub fn report(&self, now: UnixMillis, real: UnixMillis) -> Result<(), StoreError> {
        self.report_failures(now)?;
        self.inner.tokens.replays().sweep(&*self.inner.settings, real.0 / 1000)
    }

    /// Whose an application is, if there is one of that id.
    fn tenant_of_application(&self, id: &str) -> Option<String> {
        let id = Uuid::parse_str(id).ok()?;
        let row = self.inner.settings.get(Kind::Application, id.as_bytes()).ok()??;
        let application: Application = decode(&row, || format!("application {id}")).ok()?;
        Some(application.tenant)
    }

    fn writing(&self) -> MutexGuard<'_, audit::AuditLog> {
        self.inner.audit.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn has_any(settings: &dyn Settings, kind: Kind) -> Result<bool, StoreError> {
    Ok(!settings.list(kind, None, 1)?.is_empty())
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Access")
    }
}
