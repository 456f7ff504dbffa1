//! What becomes of keys: made, listed, rotated, revoked. Each change stands in the audit log, in one
//! write with it.

use dispatch_contract::{Secret, UnixMillis};

use super::{
    Access, AuditEntry, AuditFilter, AuditPage, Author, Caller, Key, KeyId, NewKey, Scope, audit,
    limits::is_full,
    receiver,
    secret::{NoRandomness, SecretHash, random_secret},
};
use crate::store::{Kind, SettingChange, StoreError, decode, encode};

/// A key as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyView {
    /// Its id.
    pub id: KeyId,
    /// The rest.
    pub key: Key,
    /// Whether it stands in the configuration, and is changed there.
    pub is_configured: bool,
}

/// Why a key was not changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyError {
    /// There is none of that id that the caller may see.
    NotFound,
    /// It stands in the configuration.
    Configured,
    /// Without it nobody could make another.
    LastOperator,
    /// The first key must be able to make the others.
    FirstIsNoOperator,
    /// The caller may make keys of its own tenant only.
    OtherTenant,
    /// The key's tenant has no application of the id that it is to speak for.
    NoApplication,
    /// The caller may not give what it does not have itself.
    OperatorsScope,
    /// The tenant has as many as it may have.
    TooMany {
        /// How many that is.
        most: usize,
    },
    /// The system has no randomness to give.
    NoRandomness,
    /// The store failed.
    Store(StoreError),
}

impl Access {
    /// Makes a key. Its secret is in the answer, and nowhere else.
    ///
    /// # Errors
    /// [`KeyError::OtherTenant`], [`KeyError::NoApplication`], [`KeyError::OperatorsScope`],
    /// [`KeyError::FirstIsNoOperator`],
    /// [`KeyError::TooMany`], or if the store failed.
    pub fn create_key(
        &self,
        caller: &Caller,
        new: NewKey,
        now: UnixMillis,
    ) -> Result<(KeyView, Secret), KeyError> {
        if !caller.sees(&new.tenant) {
            return Err(KeyError::OtherTenant);
        }
        let is_there = |id| receiver::application(&*self.inner.settings, &new.tenant, id);
        if new.application.map(is_there).transpose()?.is_some_and(|found| found.is_none()) {
            return Err(KeyError::NoApplication);
        }
        let secret = random_secret()?;
        let key = new.with(SecretHash::of(secret.expose()), now.0);
        if key.is_operators() && !caller.is_operator() {
            return Err(KeyError::OperatorsScope);
        }
        let mut audit = self.writing();
        let keys = self.all_keys()?;
        if keys.is_empty() && !key.is_operators() {
            return Err(KeyError::FirstIsNoOperator);
        }
        // Each tenant for itself, and operators beside it: nobody's keys keep another from making one.
        let most = self.limits().of(&key.tenant).keys;
        let of_tenant = |view: &&KeyView| view.key.tenant == key.tenant && !view.key.is_operators();
        if !key.is_operators() && is_full(keys.iter().filter(of_tenant).count(), most) {
            return Err(KeyError::TooMany { most });
        }
        let id = loop {
            let id = KeyId::random()?;
            if keys.iter().all(|known| known.id != id) {
                break id;
            }
        };
        self.put(&mut audit, caller, &id, &key, "key.created", now)?;
        // There is a key now: what made the first opens nothing any more.
        *self.bootstrap() = None;
        Ok((KeyView { id, key, is_configured: false }, secret))
    }

    /// What a key may do that is asked for without saying so: all within its tenant but to see contents, and the first
    /// key also what makes the others.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn usual_scopes(&self) -> Result<&'static [Scope], StoreError> {
        Ok(if self.has_key()? { &Scope::TENANT } else { &Scope::FIRST })
    }

    /// The keys that a caller may see, in the order of their ids: its tenant's but for those of
    /// operators, or for an operator all.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn keys(&self, caller: &Caller) -> Result<Vec<KeyView>, StoreError> {
        let mut keys = self.all_keys()?;
        keys.retain(|view| sees(caller, &view.key));
        Ok(keys)
    }

    /// Gives a key a new secret. The one before stays valid until the next time, unless
    /// `ends_others`: then only the new one is valid.
    ///
    /// # Errors
    /// [`KeyError::NotFound`], [`KeyError::Configured`], or if the store failed.
    pub fn rotate_key(
        &self,
        caller: &Caller,
        id: &str,
        ends_others: bool,
        now: UnixMillis,
    ) -> Result<(KeyView, Secret), KeyError> {
        let secret = random_secret()?;
        let mut audit = self.writing();
        let KeyView { id, mut key, .. } = find(self.keys(caller)?, id)?;
        key.rotate(SecretHash::of(secret.expose()), ends_others, now.0);
        self.put(&mut audit, caller, &id, &key, "key.rotated", now)?;
        Ok((KeyView { id, key, is_configured: false }, secret))
    }

    /// Ends a key: none of its secrets is valid any more.
    ///
    /// # Errors
    /// [`KeyError::NotFound`], [`KeyError::Configured`], [`KeyError::LastOperator`], or if the store
    /// failed.
    pub fn revoke_key(&self, caller: &Caller, id: &str, now: UnixMillis) -> Result<(), KeyError> {
        let mut audit = self.writing();
        let KeyView { id, key, .. } = find(self.keys(caller)?, id)?;
        let others = self.all_keys()?;
        if !others.iter().any(|other| other.id != id && other.key.is_operators()) {
            return Err(KeyError::LastOperator);
        }
        let entry = AuditEntry::done(caller, &key.tenant, ("key.revoked", id.as_str()), now);
        Ok(self.write_audited(
            &mut audit,
            &entry,
            [SettingChange::remove(Kind::Key, id.as_str())],
        )?)
    }

    /// Writes an administrative action to the audit log, durably: before it is done, so that none is missing.
    ///
    /// # Errors
    /// If the store failed: then it is not to be done.
    pub fn audit(
        &self,
        caller: &Caller,
        action: &'static str,
        target: &str,
        now: UnixMillis,
    ) -> Result<(), StoreError> {
        let entry = AuditEntry::done(caller, &caller.tenant, (action, target), now);
        self.write_audited(&mut self.writing(), &entry, None)
    }

    /// Writes to the audit log what came of an action, together with the change that says that it is done: both or
    /// neither, durably.
    ///
    /// # Errors
    /// If the store failed.
    pub fn audit_finished(
        &self,
        by: &Author<'_>,
        tenant: &str,
        (action, target): (&'static str, &str),
        result: String,
        now: UnixMillis,
        change: Option<SettingChange>,
    ) -> Result<(), StoreError> {
        let entry = AuditEntry::finished(by, tenant, (action, target), result, now);
        self.write_audited(&mut self.writing(), &entry, change)
    }

    /// Takes an administrative action, and writes it to the audit log if it was done. A crash in the moment
    /// between the two leaves it undocumented.
    ///
    /// # Errors
    /// What `act` says, or that the log could not be written.
    pub fn audited<T, E: From<StoreError>>(
        &self,
        caller: &Caller,
        (action, target): (&'static str, &str),
        now: UnixMillis,
        act: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let done = act()?;
        self.audit(caller, action, target, now)?;
        Ok(done)
    }

    /// Audit entries, newest first, behind the row `before`: at most `limit`, and of those that a bounded number of
    /// rows holds, so that a page may be short, or empty, and not the last.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn audit_page(
        &self,
        filter: &AuditFilter,
        before: Option<[u8; 12]>,
        limit: usize,
    ) -> Result<AuditPage, StoreError> {
        let settings = &*self.inner.settings;
        let rows = self.writing().newest(settings, filter, before)?;
        audit::page(settings, filter, rows, limit)
    }

    /// Writes an entry, durably.
    pub(super) fn note_entry(&self, entry: &AuditEntry) -> Result<(), StoreError> {
        self.write_audited(&mut self.writing(), entry, None)
    }

    /// Makes a change and writes its audit entry: both or neither.
    fn write_audited(
        &self,
        audit: &mut audit::AuditLog,
        entry: &AuditEntry,
        change: impl IntoIterator<Item = SettingChange>,
    ) -> Result<(), StoreError> {
        let mut changes = audit.changes(&*self.inner.settings, entry)?;
        changes.extend(change);
        self.inner.settings.write(changes)?;
        entry.log();
        Ok(())
    }

    fn put(
        &self,
        audit: &mut audit::AuditLog,
        caller: &Caller,
        id: &KeyId,
        key: &Key,
        action: &'static str,
        now: UnixMillis,
    ) -> Result<(), KeyError> {
        let entry = AuditEntry::done(caller, &key.tenant, (action, id.as_str()), now);
        Ok(self.write_audited(
            audit,
            &entry,
            [SettingChange::put(Kind::Key, id.as_str(), encode(key)?)],
        )?)
    }

    fn all_keys(&self) -> Result<Vec<KeyView>, StoreError> {
        let rows = self.inner.settings.list(Kind::Key, None, usize::MAX)?;
        let configured = self.inner.configured.get();
        let mut keys: Vec<_> = configured
            .iter()
            .map(|(id, key)| KeyView { id: id.clone(), key: key.clone(), is_configured: true })
            .collect();
        for (id, row) in rows {
            let id = String::from_utf8_lossy(&id).into_owned();
            let key = decode(&row, || format!("key {id}"))?;
            // One of the same name in the configuration goes first.
            if let Some(id) = KeyId::parse(&id)
                && !configured.contains_key(&id)
            {
                keys.push(KeyView { id, key, is_configured: false });
            }
        }
        keys.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(keys)
    }
}

fn sees(caller: &Caller, key: &Key) -> bool {
    // Whoever could give an operator's key another secret would be one.
    caller.sees(&key.tenant) && (caller.is_operator() || !key.is_operators())
}

fn find(keys: Vec<KeyView>, id: &str) -> Result<KeyView, KeyError> {
    let found = keys.into_iter().find(|view| view.id.as_str() == id).ok_or(KeyError::NotFound)?;
    if found.is_configured {
        return Err(KeyError::Configured);
    }
    Ok(found)
}

impl From<StoreError> for KeyError {
    fn from(error: StoreError) -> Self {
        KeyError::Store(error)
    }
}

impl From<NoRandomness> for KeyError {
    fn from(_: NoRandomness) -> Self {
        KeyError::NoRandomness
    }
}

impl std::fmt::Display for KeyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            KeyError::TooMany { most } => {
                return write!(
                    f,
                    "this tenant has {most} keys, and may have no more; revoke those that are not used, \
                     or raise most_keys in [access], or in [access.tenants] for this tenant alone"
                );
            }
            KeyError::NotFound => "there is no such key",
            KeyError::Configured => {
                "this key stands in the configuration ([[access.keys]]); change it there"
            }
            KeyError::LastOperator => {
                "this is the last key with the scope operator: without it nobody could make another; make \
                 that first"
            }
            KeyError::FirstIsNoOperator => {
                "the first key must have the scope operator: from then on only such a key can make those of \
                 every tenant"
            }
            KeyError::OtherTenant => {
                "only a caller with the scope operator makes keys of other tenants"
            }
            KeyError::OperatorsScope => {
                "only a caller with the scope operator makes keys that have it"
            }
            KeyError::NoApplication => {
                "the key's tenant has no application of this id; `dispatch apps list` shows them"
            }
            KeyError::NoRandomness => "the system has no randomness to give; ask again",
            // What exactly failed is for the log.
            KeyError::Store(_) => "the store failed; its operator finds why in the log",
        })
    }
}
