//! Joins the external accounts that access keeps to the engine that sends with them.

use std::sync::Arc;

use dispatch_contract::{Account, Channel, Endpoint};

use super::StartError;
use crate::{
    access::{Accounts, Applications, LimitsByTenant, MasterKey, Vault},
    config::{Config, ConfigError, StoreKind, resolve_secret},
    engine::Senders,
    store::Settings,
};

/// The file in the data folder that holds the master key, unless the configuration says where one is.
const MASTER_KEY: &str = "master.key";

/// The senders with an external account of their own.
pub(super) struct OwnAccounts(pub(super) Arc<Accounts>);

impl Senders for OwnAccounts {
    fn account(
        &self,
        base: &Account,
        tenant: &str,
        channel: &Channel,
        sender: &Endpoint,
    ) -> Result<Option<Account>, String> {
        self.0.over(base, tenant, channel, sender.value()).map_err(|error| error.to_string())
    }

    fn owner(&self, channel: &Channel, sender: &Endpoint) -> Option<Arc<str>> {
        self.0.owner(channel, sender.value())
    }
}

/// The applications and accounts of a store.
pub(super) fn open(
    config: &Config,
    settings: &Arc<dyn Settings>,
    limits: &LimitsByTenant,
) -> Result<(Arc<Applications>, Arc<Accounts>), StartError> {
    let wrong =
        |problem: String| StartError::Config(ConfigError(format!("access.master_key: {problem}")));
    let key = if !config.access.master_key.is_empty() {
        let text = resolve_secret(&config.access.master_key).map_err(StartError::Config)?;
        MasterKey::parse(&text).map_err(wrong)?
    } else {
        match config.store.kind {
            StoreKind::Sled => {
                MasterKey::kept_in(&config.store.data.join(MASTER_KEY)).map_err(wrong)?
            }
            // Goes with what it locks up.
            StoreKind::Memory => MasterKey::random().map_err(|error| wrong(error.to_string()))?,
        }
    };
    let vault = Arc::new(Vault::new(&key).map_err(|error| wrong(error.to_string()))?);
    let applications = Applications::open(Arc::clone(settings), Arc::clone(&vault), limits.clone());
    let applications = Arc::new(applications.map_err(StartError::Store)?);
    let (settings, limits) = (Arc::clone(settings), limits.clone());
    let accounts = Accounts::open(settings, vault, Arc::clone(&applications), limits);
    Ok((applications, Arc::new(accounts.map_err(StartError::Store)?)))
}
