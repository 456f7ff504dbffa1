//! The external accounts of all tenants: kept as settings, held in memory too.
//!
//! Sending asks at every attempt whose credential a sender has, and must not wait for the disk; there
//! are few accounts, and whatever changes one comes through here. A tenant sees its own only. Tokens
//! are kept sealed and opened when they are used. Changes block: they wait for the disk.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use dispatch_contract::{Account, Channel, ChannelSender, ExternalFields, Secret, UnixMillis};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{
    AccountError, AccountToken, ApplicationError, ApplicationLink, Applications, CHAT_CHANNELS,
    ExternalAccount, ExternalId, LimitsByTenant, Name, Sealing, Vault,
    account::{place, row_key, tenant_key},
    limits::is_full,
};
use crate::store::{Kind, SettingChange, Settings, StoreError, decode, encode};

/// How many rows are read at once.
const ROWS: usize = 256;
/// How many tenants' accounts of one sender are asked whether one of them verifies a webhook.
const MOST_ASKED: usize = 16;

/// The external accounts.
pub struct Accounts {
    settings: Arc<dyn Settings>,
    vault: Arc<Vault>,
    applications: Arc<Applications>,
    limits: LimitsByTenant,
    /// Where accounts may be.
    channels: BTreeSet<Channel>,
    /// What is durable.
    rows: RwLock<Rows>,
    /// One change at a time, so that none is lost under another.
    changing: Mutex<()>,
}

/// All accounts, by row key, and who was the first to register each.
#[derive(Default)]
struct Rows {
    by_key: BTreeMap<Vec<u8>, ExternalAccount>,
    /// By channel and external id.
    owners: BTreeMap<(Channel, String), Owners>,
}

/// When an account was registered by which tenant, the first before the others.
type Owners = BTreeSet<(u64, Arc<str>)>;

impl Rows {
    fn insert(&mut self, key: Vec<u8>, account: ExternalAccount) {
        let ExternalAccount { channel, external_id, create_time_ms, tenant, .. } = &account;
        let of = (channel.clone(), external_id.as_str().to_owned());
        let owner = (*create_time_ms, Arc::from(tenant.as_str()));
        self.owners.entry(of).or_default().insert(owner);
        self.by_key.insert(key, account);
    }

    fn remove(&mut self, key: &[u8]) {
        let Some(ExternalAccount { channel, external_id, create_time_ms, tenant, .. }) =
            self.by_key.remove(key)
        else {
            return;
        };
        let of = (channel, external_id.as_str().to_owned());
        if let Some(owners) = self.owners.get_mut(&of) {
            owners.remove(&(create_time_ms, Arc::from(tenant)));
            if owners.is_empty() {
                self.owners.remove(&of);
            }
        }
    }
}

/// What a new account is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewAccount {
    /// The channel that it is on.
    pub channel: Channel,
    /// What it is called there.
    pub external_id: ExternalId,
    /// For people.
    pub name: Option<Name>,
    /// The provider's access token.
    pub token: Option<AccountToken>,
    /// The application to link it to.
    pub application: Option<Uuid>,
}

/// What is to change of an account; what is `None` stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccountChange {
    /// For people; `Some(None)` takes it away.
    pub name: Option<Option<Name>>,
    /// The provider's access token.
    pub token: Option<AccountToken>,
    /// The application it is linked to; `Some(None)` unlinks it.
    pub application: Option<Option<Uuid>>,
}

impl Accounts {
    /// How many entries its tables in memory have.
    pub fn tables(&self) -> Vec<(&'static str, usize)> {
        vec![("external_accounts", self.read(BTreeMap::len))]
    }

    /// The accounts in `settings`, their tokens in `vault`, linked to `applications`, and as many of a
    /// tenant as `limits` says.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn open(
        settings: Arc<dyn Settings>,
        vault: Arc<Vault>,
        applications: Arc<Applications>,
        limits: LimitsByTenant,
    ) -> Result<Self, StoreError> {
        let mut rows = Rows::default();
        let mut after: Option<Vec<u8>> = None;
        loop {
            let some = settings.list(Kind::ExternalAccount, after.as_deref(), ROWS)?;
            let is_last = some.len() < ROWS;
            after = some.last().map(|(key, _)| key.clone());
            for (key, row) in some {
                let account = decode(&row, || "an external account".to_owned())?;
                rows.insert(key, account);
            }
            if is_last {
                break;
            }
        }
        let accounts = Accounts {
            settings,
            vault,
            applications,
            limits,
            channels: CHAT_CHANNELS.into(),
            rows: RwLock::new(rows),
            changing: Mutex::new(()),
        };
        accounts.warn_of_what_does_not_open();
        Ok(accounts)
    }

    /// The same, with accounts on these channels too: providers there take them.
    #[must_use]
    pub fn with_channels(mut self, channels: BTreeSet<Channel>) -> Self {
        self.channels.extend(channels);
        self
    }

    /// The channel of that name, if accounts may be there.
    ///
    /// # Errors
    /// What would be right.
    pub fn channel(&self, name: &str) -> Result<Channel, String> {
        let found = self.channels.iter().find(|channel| channel.as_str() == name);
        found.cloned().ok_or_else(|| {
            let known: Vec<_> = self.channels.iter().map(Channel::as_str).collect();
            format!("must be one of: {}", known.join(", "))
        })
    }

    /// Makes one.
    ///
    /// # Errors
    /// Each of [`AccountError`] but `NotFound`, `AlreadyLinked` and `NotLinked`.
    pub fn create(
        &self,
        tenant: &str,
        new: NewAccount,
        now: UnixMillis,
    ) -> Result<ExternalAccount, AccountError> {
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let key = row_key(tenant, &new.channel, new.external_id.as_str());
        if self.read(|rows| rows.contains_key(&key)) {
            return Err(AccountError::AlreadyExists);
        }
        let most = self.limits.of(tenant).accounts;
        if is_full(self.count(tenant), most) {
            return Err(AccountError::TooMany { most });
        }
        if let Some(application) = new.application {
            self.may_link(tenant, application)?;
        }
        // Behind all who have it, also where the clock stood still or was set back meanwhile.
        let newest = self.newest_owner_ms(&new.channel, new.external_id.as_str());
        let create_time_ms = newest.map_or(now.0, |newest| now.0.max(newest + 1));
        // Held until it is durable.
        let sealing = self.vault.sealing();
        self.put(ExternalAccount {
            tenant: tenant.to_owned(),
            channel: new.channel,
            external_id: new.external_id,
            name: new.name.map_or(String::new(), |name| name.as_str().to_owned()),
            link: ApplicationLink::Never.changed_to(new.application),
            token: sealed(&sealing, &key, new.token.as_ref())?,
            revision: create_time_ms,
            create_time_ms,
        })
    }

    /// One of a tenant's.
    ///
    /// # Errors
    /// [`AccountError::NotFound`].
    pub fn get(
        &self,
        tenant: &str,
        channel: &Channel,
        external_id: &str,
    ) -> Result<ExternalAccount, AccountError> {
        let key = row_key(tenant, channel, external_id);
        self.read(|rows| rows.get(&key).cloned()).ok_or(AccountError::NotFound)
    }

    /// All of a tenant's, or those on one channel, in the order of channel and external id.
    pub fn list(&self, tenant: &str, channel: Option<&Channel>) -> Vec<ExternalAccount> {
        let prefix = match channel {
            Some(channel) => row_key(tenant, channel, ""),
            None => tenant_key(tenant),
        };
        self.read(|rows| {
            let of_tenant =
                rows.range(prefix.clone()..).take_while(|(key, _)| key.starts_with(&prefix));
            of_tenant.map(|(_, account)| account.clone()).collect()
        })
    }

    fn count(&self, tenant: &str) -> usize {
        let prefix = tenant_key(tenant);
        self.read(|rows| {
            rows.range(prefix.clone()..).take_while(|(key, _)| key.starts_with(&prefix)).count()
        })
    }

    /// Changes one of a tenant's.
    ///
    /// # Errors
    /// Each of [`AccountError`] but `AlreadyExists`, `AlreadyLinked` and `NotLinked`.
    pub fn update(
        &self,
        tenant: &str,
        channel: &Channel,
        external_id: &str,
        change: AccountChange,
    ) -> Result<ExternalAccount, AccountError> {
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut account = self.get(tenant, channel, external_id)?;
        if let Some(application) = change.application {
            if let Some(wanted) = application {
                self.may_link(tenant, wanted)?;
            }
            account.link = account.link.changed_to(application);
        }
        if let Some(name) = change.name {
            account.name = name.map_or(String::new(), |name| name.as_str().to_owned());
        }
        let sealing = self.vault.sealing();
        if change.token.is_some() {
            let key = row_key(tenant, channel, external_id);
            account.token = sealed(&sealing, &key, change.token.as_ref())?;
        }
        self.put(account)
    }

    /// Takes one of a tenant's away.
    ///
    /// # Errors
    /// [`AccountError::NotFound`], [`AccountError::Store`].
    pub fn delete(
        &self,
        tenant: &str,
        channel: &Channel,
        external_id: &str,
    ) -> Result<(), AccountError> {
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        self.get(tenant, channel, external_id)?;
        let key = row_key(tenant, channel, external_id);
        self.settings.write(vec![SettingChange::remove(Kind::ExternalAccount, key.clone())])?;
        self.rows.write().unwrap_or_else(PoisonError::into_inner).remove(&key);
        Ok(())
    }

    /// Links one of a tenant's to one of its applications.
    ///
    /// # Errors
    /// [`AccountError::NotFound`], [`AccountError::CannotLink`], [`AccountError::AlreadyLinked`],
    /// [`AccountError::Store`].
    pub fn link(
        &self,
        tenant: &str,
        channel: &Channel,
        external_id: &str,
        application: Uuid,
    ) -> Result<ExternalAccount, AccountError> {
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut account = self.get(tenant, channel, external_id)?;
        self.may_link(tenant, application)?;
        match account.link.application() {
            Some(linked) if linked == application => Ok(account),
            Some(_) => Err(AccountError::AlreadyLinked),
            None => {
                account.link = ApplicationLink::To(application);
                self.put(account)
            }
        }
    }

    /// Unlinks one of a tenant's from an application: its token is used for nothing from now on.
    ///
    /// # Errors
    /// [`AccountError::NotFound`], [`AccountError::NotLinked`], [`AccountError::Store`].
    pub fn unlink(
        &self,
        tenant: &str,
        channel: &Channel,
        external_id: &str,
        application: Uuid,
    ) -> Result<ExternalAccount, AccountError> {
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut account = self.get(tenant, channel, external_id)?;
        if account.link.application() != Some(application) {
            return Err(AccountError::NotLinked);
        }
        account.link = ApplicationLink::Undone;
        self.put(account)
    }

    /// Takes one of a tenant's applications away, and its links to accounts before it.
    ///
    /// # Errors
    /// As [`Applications::delete`].
    pub fn delete_application(&self, tenant: &str, id: Uuid) -> Result<(), ApplicationError> {
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        self.applications.get(tenant, id)?;
        for mut account in self.list(tenant, None) {
            if account.link.application() == Some(id) {
                account.link = ApplicationLink::Undone;
                self.put(account).map_err(|error| match error {
                    AccountError::Store(error) => ApplicationError::Store(error),
                    AccountError::Vault(error) => ApplicationError::Vault(error),
                    AccountError::NotFound
                    | AccountError::AlreadyExists
                    | AccountError::TooMany { .. }
                    | AccountError::CannotLink
                    | AccountError::AlreadyLinked
                    | AccountError::NotLinked => ApplicationError::NotFound,
                })?;
            }
        }
        self.applications.delete(tenant, id)
    }

    /// An account's token, in clear; `None` if it has none.
    ///
    /// # Errors
    /// [`AccountError::Vault`].
    pub fn token(&self, account: &ExternalAccount) -> Result<Option<Secret>, AccountError> {
        let ExternalAccount { tenant, channel, external_id, token, .. } = account;
        let Some(sealed) = token else { return Ok(None) };
        let key = row_key(tenant, channel, external_id.as_str());
        Ok(Some(self.vault.open(&place(&key), sealed)?))
    }

    /// `base` with the token of a tenant's sender on a channel, where its provider wants it. `None` if the
    /// sender has no account of its own, or that has no token or was unlinked.
    ///
    /// The revision is one that no other account over `base` and no other version of this one has.
    ///
    /// # Errors
    /// [`AccountError::Vault`].
    pub fn over(
        &self,
        base: &Account,
        fields: ExternalFields,
        tenant: &str,
        channel: &Channel,
        sender: &str,
    ) -> Result<Option<Account>, AccountError> {
        let key = row_key(tenant, channel, sender);
        let own = self.read(|rows| rows.get(&key).cloned());
        let Some(own) = own.filter(|own| !own.is_unlinked()) else { return Ok(None) };
        let (Some(token), Some(sealed)) = (self.token(&own)?, &own.token) else { return Ok(None) };
        // No two tokens are sealed alike: one made anew is another, whatever the clock said.
        let revisions = [own.revision.to_be_bytes(), base.revision.to_be_bytes()].concat();
        let version = [&key[..], &revisions, sealed].concat();
        let digest: [u8; 32] = Sha256::digest(version).into();
        let [a, b, c, d, e, f, g, h, ..] = digest;
        Ok(Some(base.under(fields, token, u64::from_be_bytes([a, b, c, d, e, f, g, h]))))
    }

    /// `base` as each tenant that brought a sender uses it, those who were first before the others.
    ///
    /// # Errors
    /// [`AccountError::Vault`].
    pub fn all_over(
        &self,
        base: &Account,
        fields: ExternalFields,
        sender: &ChannelSender,
    ) -> Result<Vec<(Arc<str>, Account)>, AccountError> {
        let ChannelSender { channel, id } = sender;
        let tenants = self.owners(channel, id, MOST_ASKED);
        let mut all = Vec::new();
        for tenant in tenants {
            if let Some(account) = self.over(base, fields, &tenant, channel, id)? {
                all.push((tenant, account));
            }
        }
        Ok(all)
    }

    /// The application that a tenant's account of a sender is linked to.
    pub fn linked_application(&self, tenant: &str, sender: &ChannelSender) -> Option<Uuid> {
        let key = row_key(tenant, &sender.channel, &sender.id);
        self.read(|rows| rows.get(&key)?.link.application())
    }

    /// The tenant that registered a sender on a channel, the first if several did.
    pub fn owner(&self, channel: &Channel, sender: &str) -> Option<Arc<str>> {
        self.owners(channel, sender, 1).pop()
    }

    /// The tenants that registered a sender, the first `most` of them.
    fn owners(&self, channel: &Channel, sender: &str, most: usize) -> Vec<Arc<str>> {
        let rows = self.rows.read().unwrap_or_else(PoisonError::into_inner);
        if rows.owners.is_empty() {
            return Vec::new();
        }
        let owners = rows.owners.get(&(channel.clone(), sender.to_owned()));
        let tenants = owners.into_iter().flatten().map(|(_, tenant)| Arc::clone(tenant));
        tenants.take(most).collect()
    }

    /// When the last of those who have a sender registered it.
    fn newest_owner_ms(&self, channel: &Channel, sender: &str) -> Option<u64> {
        let rows = self.rows.read().unwrap_or_else(PoisonError::into_inner);
        let owners = rows.owners.get(&(channel.clone(), sender.to_owned()))?;
        owners.last().map(|(at, _)| *at)
    }

    /// Whether a tenant's account may be linked to an application.
    fn may_link(&self, tenant: &str, application: Uuid) -> Result<(), AccountError> {
        match self.applications.get(tenant, application) {
            Ok(found) if found.messages.is_some() => Ok(()),
            Ok(_) | Err(ApplicationError::NotFound) => Err(AccountError::CannotLink),
            Err(ApplicationError::TooMany { most }) => Err(AccountError::TooMany { most }),
            Err(ApplicationError::Store(error)) => Err(AccountError::Store(error)),
            Err(ApplicationError::Vault(error)) => Err(AccountError::Vault(error)),
            // Nothing was sent back here.
            Err(ApplicationError::OtherSecret(_)) => Err(AccountError::CannotLink),
        }
    }

    /// How many sealed tokens there are.
    pub(super) fn sealed(&self) -> u64 {
        self.read(|rows| rows.values().filter(|account| account.token.is_some()).count() as u64)
    }

    /// Seals with the current master key what another sealed; tells of each token whether it could be
    /// opened. Its revision stays: it is the same token.
    pub(super) fn reseal(&self, tell: &dyn Fn(bool)) -> Result<(), StoreError> {
        let keys: Vec<_> = self.read(|rows| rows.keys().cloned().collect());
        for key in keys {
            let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
            // As it is now; one that is gone needs nothing.
            let Some(mut account) = self.read(|rows| rows.get(&key).cloned()) else { continue };
            let Some(token) = &account.token else { continue };
            let sealing = self.vault.sealing();
            let resealed = sealing.reseal(&place(&key), token);
            tell(resealed.is_ok());
            if let Ok(Some(token)) = resealed {
                account.token = Some(token);
                let row = encode(&account)?;
                let change = SettingChange::put(Kind::ExternalAccount, key.clone(), row);
                self.settings.write(vec![change])?;
                self.rows.write().unwrap_or_else(PoisonError::into_inner).insert(key, account);
            }
        }
        Ok(())
    }

    /// Keeps an account, and has it seen once it is durable.
    fn put(&self, mut account: ExternalAccount) -> Result<ExternalAccount, AccountError> {
        account.revision += 1;
        let key = row_key(&account.tenant, &account.channel, account.external_id.as_str());
        let row = encode(&account)?;
        self.settings.write(vec![SettingChange::put(Kind::ExternalAccount, key.clone(), row)])?;
        self.rows.write().unwrap_or_else(PoisonError::into_inner).insert(key, account.clone());
        Ok(account)
    }

    fn read<T>(&self, look: impl FnOnce(&BTreeMap<Vec<u8>, ExternalAccount>) -> T) -> T {
        look(&self.rows.read().unwrap_or_else(PoisonError::into_inner).by_key)
    }

    /// A lost master key shows at the start, and not only when somebody's message does not go out.
    fn warn_of_what_does_not_open(&self) {
        let all: Vec<_> = self.read(|rows| rows.values().cloned().collect());
        let failed: Vec<_> = all.iter().filter_map(|account| self.token(account).err()).collect();
        if let Some(error) = failed.first() {
            let count = failed.len();
            tracing::error!(count, %error, "tokens of external accounts cannot be read");
        }
    }
}

fn sealed(
    sealing: &Sealing<'_>,
    key: &[u8],
    token: Option<&AccountToken>,
) -> Result<Option<Vec<u8>>, AccountError> {
    let sealed = token.map(|token| sealing.seal(&place(key), token.secret()));
    Ok(sealed.transpose()?)
}

impl fmt::Debug for Accounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Accounts")
    }
}
