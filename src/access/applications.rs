//! The applications of all tenants, over the settings they are kept in.
//!
//! A tenant sees its own only; another's is not there. Private keys are given out once and not kept;
//! callback secrets are kept sealed. What comes in is parsed already, and who may ask was decided by
//! the edges. Blocking: a change waits for the disk, and a key pair takes a tenth of a second.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use aws_lc_rs::rand;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use dispatch_contract::{Secret, UnixMillis};
use uuid::{ContextV7, Timestamp, Uuid};

use super::{
    Application, ApplicationError, ApplicationSpec, KeyPair, LimitsByTenant, MessagesCapability,
    MessagesSpec, Name, ReturnedSecrets, Sealing, Vault, VaultError, Written, limits::is_full,
    receiver, rsa::belongs,
};
use crate::store::{Kind, SettingChange, Settings, StoreError, decode, encode};

/// How many rows are read at once.
const ROWS: usize = 256;
/// The length of a callback secret, in bytes before base64.
const SECRET_BYTES: usize = 32;

/// The applications.
pub struct Applications {
    settings: Arc<dyn Settings>,
    vault: Arc<Vault>,
    limits: LimitsByTenant,
    /// The ids by tenant, so that a list costs what it shows, whatever others have.
    ids: RwLock<HashMap<String, BTreeSet<Uuid>>>,
    /// One change at a time, so that none is lost under another.
    changing: Mutex<()>,
    /// Ids sort as applications were made, also within a millisecond.
    id_context: Mutex<ContextV7>,
}

impl Applications {
    /// How many entries its tables in memory have.
    pub fn tables(&self) -> Vec<(&'static str, usize)> {
        let ids = self.ids.read().unwrap_or_else(PoisonError::into_inner);
        vec![("applications", ids.values().map(BTreeSet::len).sum())]
    }

    /// The applications in `settings`, their secrets in `vault`, and as many of a tenant as `limits` says.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn open(
        settings: Arc<dyn Settings>,
        vault: Arc<Vault>,
        limits: LimitsByTenant,
    ) -> Result<Self, StoreError> {
        let mut ids: HashMap<String, BTreeSet<Uuid>> = HashMap::new();
        let mut after: Option<Vec<u8>> = None;
        loop {
            let rows = settings.list(Kind::Application, after.as_deref(), ROWS)?;
            for (key, row) in &rows {
                let Application { id, tenant, .. } = read(key, row)?;
                ids.entry(tenant).or_default().insert(id);
            }
            match rows.into_iter().nth(ROWS - 1) {
                Some((key, _)) => after = Some(key),
                None => break,
            }
        }
        Ok(Applications {
            settings,
            vault,
            limits,
            ids: RwLock::new(ids),
            changing: Mutex::new(()),
            id_context: Mutex::new(ContextV7::new()),
        })
    }

    /// Makes one.
    ///
    /// # Errors
    /// [`ApplicationError::TooMany`], [`ApplicationError::Store`], [`ApplicationError::Vault`].
    pub fn create(
        &self,
        tenant: &str,
        spec: ApplicationSpec,
        now: UnixMillis,
    ) -> Result<Written, ApplicationError> {
        let blank = self.blank(tenant, now);
        let id = blank.id;
        self.reserve(tenant, id)?;
        self.write(blank, spec).inspect_err(|_| self.forget(tenant, id))
    }

    /// One of a tenant's.
    ///
    /// # Errors
    /// [`ApplicationError::NotFound`], [`ApplicationError::Store`].
    pub fn get(&self, tenant: &str, id: Uuid) -> Result<Application, ApplicationError> {
        receiver::application(&*self.settings, tenant, id)?.ok_or(ApplicationError::NotFound)
    }

    /// Which application is a tenant's default: its callbacks tell of workflows whose caller has no
    /// application of its own.
    ///
    /// # Errors
    /// [`ApplicationError::Store`].
    pub fn default_of(&self, tenant: &str) -> Result<Option<Uuid>, ApplicationError> {
        Ok(receiver::default_application(&*self.settings, tenant)?)
    }

    /// The tenant's default application, made now if there is none that does something with messages:
    /// a callback that a request asks for needs a secret to be signed with.
    ///
    /// # Errors
    /// [`ApplicationError::Store`], [`ApplicationError::Vault`].
    pub fn ensure_default(&self, tenant: &str, now: UnixMillis) -> Result<Uuid, ApplicationError> {
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.default_of(tenant)?;
        let before = before.map(|id| receiver::application(&*self.settings, tenant, id));
        let application = match before.transpose()?.flatten() {
            Some(application) if application.messages.is_some() => return Ok(application.id),
            Some(application) => application,
            None => Application { name: "default".to_owned(), ..self.blank(tenant, now) },
        };
        let sealing = self.vault.sealing();
        let (messages, _) = capability(&sealing, application.id, None, MessagesSpec::default())?;
        let application = Application { messages: Some(messages), ..application };
        self.put(&application, Some(true))?;
        // Beside the limit if need be: there is one of it, and a callback must be signed.
        let mut all = self.ids.write().unwrap_or_else(PoisonError::into_inner);
        all.entry(tenant.to_owned()).or_default().insert(application.id);
        Ok(application.id)
    }

    /// The ids of all of a tenant's, oldest first.
    pub fn ids(&self, tenant: &str) -> Vec<Uuid> {
        let ids = self.ids.read().unwrap_or_else(PoisonError::into_inner);
        ids.get(tenant).map(|ids| ids.iter().copied().collect()).unwrap_or_default()
    }

    /// Those of a tenant's with these ids, in their order; what is gone by now is left out.
    ///
    /// # Errors
    /// [`ApplicationError::Store`].
    pub fn of_ids(&self, tenant: &str, ids: &[Uuid]) -> Result<Vec<Application>, ApplicationError> {
        let found = ids.iter().map(|id| self.get(tenant, *id));
        found.filter(|found| !matches!(found, Err(ApplicationError::NotFound))).collect()
    }

    /// Makes one of a tenant's what `spec` says.
    ///
    /// # Errors
    /// [`ApplicationError::NotFound`], [`ApplicationError::Store`], [`ApplicationError::Vault`].
    pub fn update(
        &self,
        tenant: &str,
        id: Uuid,
        spec: ApplicationSpec,
    ) -> Result<Written, ApplicationError> {
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let application = self.get(tenant, id)?;
        self.write(application, spec)
    }

    /// Changes one of a tenant's: of what it is, `change` makes what it is to be, and nobody else changes it
    /// meanwhile.
    ///
    /// # Errors
    /// [`ApplicationError::NotFound`], [`ApplicationError::Store`], [`ApplicationError::Vault`].
    pub fn change(
        &self,
        tenant: &str,
        id: Uuid,
        change: impl FnOnce(&mut ApplicationSpec),
    ) -> Result<Written, ApplicationError> {
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let application = self.get(tenant, id)?;
        let mut spec = ApplicationSpec {
            name: Name::of(&application),
            public_key: None,
            renew_key: false,
            messages: application.messages.as_ref().map(|messages| MessagesSpec {
                inbound: messages.inbound.clone(),
                status: messages.status.clone(),
                payload_version: messages.payload_version,
                signing: messages.signing,
            }),
            other_capabilities: None,
            improve_ai: None,
            is_default: None,
        };
        change(&mut spec);
        self.write(application, spec)
    }

    /// Makes a new key pair in place of an application's key.
    ///
    /// # Errors
    /// As [`change`](Self::change).
    pub fn rotate_key_pair(&self, tenant: &str, id: Uuid) -> Result<Written, ApplicationError> {
        self.change(tenant, id, |spec| spec.renew_key = true)
    }

    /// Whether what was sent back of one of a tenant's is what there is: it cannot be set, and to pass
    /// over another would be taken for having set it.
    ///
    /// # Errors
    /// [`ApplicationError::OtherSecret`] if not; [`ApplicationError::NotFound`],
    /// [`ApplicationError::Store`], [`ApplicationError::Vault`].
    pub fn check_returned(
        &self,
        tenant: &str,
        id: Uuid,
        returned: &ReturnedSecrets,
    ) -> Result<(), ApplicationError> {
        let application = self.get(tenant, id)?;
        let public = application.public_key.as_deref().unwrap_or_default();
        if returned.private_key.as_ref().is_some_and(|key| !belongs(key, public)) {
            return Err(ApplicationError::OtherSecret("keys.private_key"));
        }
        if returned.callback_secret.is_some()
            && returned.callback_secret != self.callback_secret(&application)?
        {
            return Err(ApplicationError::OtherSecret("capabilities.messages.signing.secret"));
        }
        Ok(())
    }

    /// Takes one of a tenant's away, and its keys with it.
    ///
    /// # Errors
    /// [`ApplicationError::NotFound`], [`ApplicationError::Store`].
    pub fn delete(&self, tenant: &str, id: Uuid) -> Result<(), ApplicationError> {
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        self.get(tenant, id)?;
        let mut gone = vec![SettingChange::remove(Kind::Application, id.into_bytes())];
        if self.default_of(tenant)? == Some(id) {
            gone.push(SettingChange::remove(Kind::DefaultApplication, tenant));
        }
        self.settings.write(gone)?;
        self.forget(tenant, id);
        Ok(())
    }

    /// What an application's callbacks are signed with, if it has any. As HMAC key of a JWT it is
    /// taken as it stands; under Standard Webhooks what follows `whsec_` is decoded from base64.
    ///
    /// # Errors
    /// [`ApplicationError::Vault`].
    pub fn callback_secret(
        &self,
        application: &Application,
    ) -> Result<Option<Secret>, ApplicationError> {
        let Some(messages) = &application.messages else { return Ok(None) };
        Ok(Some(self.vault.open(&Application::secret_place(application.id), &messages.secret)?))
    }

    /// Gives an application's callbacks a new secret; the old one signs no longer.
    ///
    /// # Errors
    /// [`ApplicationError::NotFound`] also if it has no messages capability,
    /// [`ApplicationError::Store`], [`ApplicationError::Vault`].
    pub fn rotate_callback_secret(
        &self,
        tenant: &str,
        id: Uuid,
    ) -> Result<Secret, ApplicationError> {
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut application = self.get(tenant, id)?;
        let messages = application.messages.as_mut().ok_or(ApplicationError::NotFound)?;
        let secret = new_secret()?;
        // Held until it is durable.
        let sealing = self.vault.sealing();
        messages.secret = sealing.seal(&Application::secret_place(id), &secret)?;
        self.put(&application, None)?;
        Ok(secret)
    }

    /// How many sealed secrets there are.
    pub(super) fn sealed(&self) -> Result<u64, StoreError> {
        let mut count = 0;
        self.each(|application| {
            count += u64::from(application.messages.is_some());
            Ok(())
        })?;
        Ok(count)
    }

    /// Seals with the current master key what another sealed; tells of each secret whether it could be
    /// opened.
    pub(super) fn reseal(&self, tell: &dyn Fn(bool)) -> Result<(), StoreError> {
        self.each(|Application { id, tenant, .. }| {
            let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
            // As it is now; one that is gone needs nothing.
            let found = receiver::application(&*self.settings, &tenant, id)?;
            let Some(mut application) = found else { return Ok(()) };
            let Some(messages) = &mut application.messages else { return Ok(()) };
            let sealing = self.vault.sealing();
            let resealed = sealing.reseal(&Application::secret_place(id), &messages.secret);
            tell(resealed.is_ok());
            if let Ok(Some(secret)) = resealed {
                messages.secret = secret;
                let change =
                    SettingChange::put(Kind::Application, id.into_bytes(), encode(&application)?);
                self.settings.write(vec![change])?;
            }
            Ok(())
        })
    }

    /// Shows each to `see`, of all tenants.
    fn each(
        &self,
        mut see: impl FnMut(Application) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let rows = self.settings.list(Kind::Application, after.as_deref(), ROWS)?;
            for (key, row) in &rows {
                see(read(key, row)?)?;
            }
            match rows.into_iter().nth(ROWS - 1) {
                Some((key, _)) => after = Some(key),
                None => return Ok(()),
            }
        }
    }

    /// A tenant's new application, with nothing in it yet.
    fn blank(&self, tenant: &str, now: UnixMillis) -> Application {
        Application {
            id: self.new_id(now),
            tenant: tenant.to_owned(),
            name: String::new(),
            public_key: None,
            messages: None,
            other_capabilities: "{}".to_owned(),
            improve_ai: false,
            create_time_ms: now.0,
        }
    }

    fn new_id(&self, now: UnixMillis) -> Uuid {
        let (seconds, nanos) = (now.0 / 1000, (now.0 % 1000) as u32 * 1_000_000);
        let context = self.id_context.lock().unwrap_or_else(PoisonError::into_inner);
        Uuid::new_v7(Timestamp::from_unix(&*context, seconds, nanos))
    }

    /// Counts one that is about to be written.
    fn reserve(&self, tenant: &str, id: Uuid) -> Result<(), ApplicationError> {
        let most = self.limits.of(tenant).applications;
        let mut all = self.ids.write().unwrap_or_else(PoisonError::into_inner);
        let ids = all.entry(tenant.to_owned()).or_default();
        if is_full(ids.len(), most) {
            return Err(ApplicationError::TooMany { most });
        }
        ids.insert(id);
        Ok(())
    }

    /// One that is not there any more, or was not written.
    fn forget(&self, tenant: &str, id: Uuid) {
        let mut all = self.ids.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(ids) = all.get_mut(tenant) {
            ids.remove(&id);
            if ids.is_empty() {
                all.remove(tenant);
            }
        }
    }

    /// Makes `application` what `spec` says.
    fn write(
        &self,
        mut application: Application,
        spec: ApplicationSpec,
    ) -> Result<Written, ApplicationError> {
        let ApplicationSpec { name, public_key, renew_key, messages, is_default, .. } = spec;
        let mut private_key = None;
        application.name = name.into_text();
        match public_key {
            Some(key) => application.public_key = Some(key.into()),
            None if application.public_key.is_none() || renew_key => {
                let pair = KeyPair::generate()?;
                application.public_key = Some(pair.public.into());
                private_key = Some(pair.private);
            }
            None => {}
        }
        if let Some(given) = spec.other_capabilities {
            application.other_capabilities = given;
        }
        if let Some(given) = spec.improve_ai {
            application.improve_ai = given;
        }
        let mut callback_secret = None;
        // Held until it is durable. Not before: a key pair takes its time.
        let sealing = self.vault.sealing();
        application.messages = match messages {
            None => None,
            Some(spec) => {
                let (messages, made) =
                    capability(&sealing, application.id, application.messages, spec)?;
                callback_secret = made;
                Some(messages)
            }
        };
        self.put(&application, is_default)?;
        let is_default = self.default_of(&application.tenant)? == Some(application.id);
        Ok(Written { application, is_default, private_key, callback_secret })
    }

    /// Writes an application down, and whether it is its tenant's default if that is said.
    fn put(
        &self,
        application: &Application,
        is_default: Option<bool>,
    ) -> Result<(), ApplicationError> {
        let Application { id, tenant, .. } = application;
        let row = encode(application)?;
        let mut changes = vec![SettingChange::put(Kind::Application, id.into_bytes(), row)];
        match is_default {
            Some(true) => {
                changes.push(SettingChange::put(
                    Kind::DefaultApplication,
                    tenant.as_str(),
                    encode(id)?,
                ));
            }
            Some(false) if self.default_of(tenant)? == Some(*id) => {
                changes.push(SettingChange::remove(Kind::DefaultApplication, tenant.as_str()));
            }
            Some(false) | None => {}
        }
        Ok(self.settings.write(changes)?)
    }
}

/// What `spec` says, with the secret that there was, or a new one, which is returned too. `sealing` is to be
/// held until it is durable.
fn capability(
    sealing: &Sealing<'_>,
    id: Uuid,
    before: Option<MessagesCapability>,
    spec: MessagesSpec,
) -> Result<(MessagesCapability, Option<Secret>), ApplicationError> {
    let MessagesSpec { inbound, status, payload_version, signing } = spec;
    let (secret, made) = match before {
        Some(before) => (before.secret, None),
        None => {
            let secret = new_secret()?;
            (sealing.seal(&Application::secret_place(id), &secret)?, Some(secret))
        }
    };
    Ok((MessagesCapability { inbound, status, payload_version, signing, secret }, made))
}

/// In the form of the Standard Webhooks specification, which serves as the key of a JWT as well.
fn new_secret() -> Result<Secret, VaultError> {
    let mut bytes = [0; SECRET_BYTES];
    rand::fill(&mut bytes).map_err(|_| VaultError::Failed)?;
    Ok(Secret::new(format!("whsec_{}", BASE64_STANDARD.encode(bytes))))
}

fn read(key: &[u8], row: &[u8]) -> Result<Application, StoreError> {
    decode(row, || match Uuid::from_slice(key) {
        Ok(id) => format!("application {id}"),
        Err(_) => "an application whose key is no id".to_owned(),
    })
}

impl fmt::Debug for Applications {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Applications")
    }
}
