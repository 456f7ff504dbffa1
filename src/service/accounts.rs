//! Joins the external accounts that access keeps to the engine that sends with them.

use std::{collections::BTreeSet, path::PathBuf, sync::Arc};

use dispatch_contract::{Account, Channel, ChannelSender, Endpoint, ExternalFields};
use uuid::Uuid;

use super::StartError;
use crate::{
    access::{
        Access, Accounts, Applications, LimitsByTenant, MasterKey, MasterKeys, Rotation,
        SealedElsewhere, SealedHolders, Vault,
    },
    config::{Config, ConfigError, SecretSource, StoreKind, resolve_secret},
    engine::Senders,
    http::ExternalAccounts,
    store::{KeyFolder, Settings},
};

/// The senders with an external account of their own.
pub(super) struct OwnAccounts(pub(super) Arc<Accounts>);

impl Senders for OwnAccounts {
    fn account(
        &self,
        base: &Account,
        fields: ExternalFields,
        tenant: &str,
        channel: &Channel,
        sender: &Endpoint,
    ) -> Result<Option<Account>, String> {
        let over = self.0.over(base, fields, tenant, channel, sender.value());
        over.map_err(|error| error.to_string())
    }

    fn owner(&self, channel: &Channel, sender: &Endpoint) -> Option<Arc<str>> {
        self.0.owner(channel, sender.value())
    }

    fn application(&self, tenant: &str, sender: &ChannelSender) -> Option<Uuid> {
        self.0.linked_application(tenant, sender)
    }
}

impl ExternalAccounts for OwnAccounts {
    fn of_sender(
        &self,
        base: &Account,
        fields: ExternalFields,
        sender: &ChannelSender,
    ) -> Result<Vec<(Arc<str>, Account)>, String> {
        self.0.all_over(base, fields, sender).map_err(|error| error.to_string())
    }
}

/// What is sealed, and the master key's changes.
pub(super) struct SecretStores {
    pub(super) applications: Arc<Applications>,
    pub(super) accounts: Arc<Accounts>,
    pub(super) rotation: Arc<Rotation>,
}

/// What seals, and where its keys are kept.
pub(super) struct OpenedVault {
    pub(super) vault: Arc<Vault>,
    keys: MasterKeys,
    /// `None` if the configuration gives them.
    file: Option<PathBuf>,
}

/// The vault that the configuration says, or the file of the data folder.
pub(super) fn open_vault(
    config: &Config,
    content_keys: Option<&dyn KeyFolder>,
) -> Result<OpenedVault, StartError> {
    let wrong =
        |problem: String| StartError::Config(ConfigError(format!("access.master_key: {problem}")));
    let given = |setting: &str, at: &SecretSource| {
        let key = MasterKey::parse(&resolve_secret(at).map_err(StartError::Config)?);
        let told = |problem| StartError::Config(ConfigError(format!("{setting}: {problem}")));
        key.map_err(told)
    };
    let (keys, file) = if !config.access.master_key.is_empty() {
        (MasterKeys::one(given("access.master_key", &config.access.master_key)?), None)
    } else {
        let file = config.store.data.join(MasterKeys::FILE);
        match config.store.kind {
            StoreKind::Sled if file.exists() || !config.store.read_only => {
                let has_contents =
                    content_keys.is_some_and(|keys| !matches!(keys.names(), Ok(None)));
                let has_previous = !config.access.master_key_previous.is_empty();
                if !file.exists() && has_contents && !has_previous {
                    return Err(wrong(format!(
                        "{} is missing, and the keys of contents are encrypted with it: put it back (a \
                         restored folder needs that of the one its backup was taken of), give the key \
                         in the configuration, or look at the timelines with --read-only",
                        file.display()
                    )));
                }
                (MasterKeys::kept_in(&file).map_err(wrong)?, Some(file))
            }
            // Each process of several must have the same one.
            StoreKind::Postgres => {
                return Err(wrong(
                    "a store on PostgreSQL needs a master key that is the same for all its processes: make one with \
                     `openssl rand -base64 32`, and say env:NAME or file:/path"
                        .to_owned(),
                ));
            }
            // Nothing is made in a folder that is only read.
            StoreKind::Sled | StoreKind::Memory => {
                // Goes with what it locks up.
                let key = MasterKey::random().map_err(|error| wrong(error.to_string()))?;
                (MasterKeys::one(key), None)
            }
        }
    };
    let mut previous = keys.previous.clone();
    if !config.access.master_key_previous.is_empty() {
        let at = &config.access.master_key_previous;
        previous.push(given("access.master_key_previous", at)?);
    }
    let vault = Vault::with(&keys.current, &previous).map_err(|error| wrong(error.to_string()))?;
    Ok(OpenedVault { vault: Arc::new(vault), keys, file })
}

/// The applications and accounts of a store, and the changes of what seals them and what is sealed `elsewhere`;
/// `channels` are those whose providers take accounts.
pub(super) fn open(
    OpenedVault { vault, keys, file }: OpenedVault,
    access: &Access,
    settings: &Arc<dyn Settings>,
    limits: &LimitsByTenant,
    channels: BTreeSet<Channel>,
    elsewhere: Option<Arc<dyn SealedElsewhere>>,
) -> Result<SecretStores, StartError> {
    let applications = Applications::open(Arc::clone(settings), Arc::clone(&vault), limits.clone());
    let applications = Arc::new(applications.map_err(StartError::Store)?);
    let (held, told, limits) = (Arc::clone(settings), Arc::clone(&applications), limits.clone());
    let accounts = Accounts::open(held, Arc::clone(&vault), told, limits);
    let accounts = Arc::new(accounts.map_err(StartError::Store)?.with_channels(channels));
    let holders = SealedHolders {
        applications: Arc::clone(&applications),
        accounts: Arc::clone(&accounts),
        elsewhere,
    };
    let rotation = Arc::new(Rotation::new(vault, holders, access.clone(), file, keys));
    Ok(SecretStores { applications, accounts, rotation })
}
