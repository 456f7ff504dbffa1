//! The adapters in programs of their own that a configuration names.

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use dispatch_contract::{Registry, Secret};
use dispatch_remote::{ConfiguredUse, DialTarget, RemoteHandle, RemoteProvider};
use futures_util::future::join_all;

use super::unregistered;
use crate::config::{AdapterConfig, Config, ConfigError, StoreKind, resolve_secret};

/// The folder, in the data folder, of what adapters told of themselves.
const KEPT: &str = "adapters";

/// Adapters in programs of their own, as they were dialled when the service started.
#[derive(Default)]
pub struct RemoteAdapters(Vec<(String, RemoteHandle)>);

/// `providers`, and beside them the adapters that the configuration names. Each is asked what it is, for as long as
/// `patience`, all at once; who does not answer costs no more than that.
///
/// # Errors
/// If what the configuration says of one is not right, or its name is taken; the text says what would be right.
pub async fn with_remote(
    providers: &Registry,
    config: &Config,
    patience: Duration,
) -> Result<(Registry, RemoteAdapters), ConfigError> {
    let mut registry = providers.clone();
    let targets = targets(config)?;
    let dialled = targets.into_iter().map(async |(given, target)| {
        let used = used(config, &given.name);
        RemoteProvider::dial(&given.name, target, kept(config, &given.name), &used, patience).await
    });
    let mut handles = Vec::new();
    for (provider, given) in join_all(dialled).await.into_iter().zip(&config.adapters) {
        handles.push((given.name.clone(), provider.handle()));
        registry.add(provider).map_err(unregistered)?;
    }
    Ok((registry, RemoteAdapters(handles)))
}

impl RemoteAdapters {
    /// Those that run are dialled where the configuration says now. Which there are needs a restart.
    ///
    /// # Errors
    /// As [`with_remote`]. Nothing has changed then; else the result does it.
    pub fn prepare(&self, config: &Config) -> Result<impl FnOnce() + use<>, ConfigError> {
        let handle = |name: &str| {
            let mut handles = self.0.iter();
            handles.find(|(known, _)| known == name).map(|(_, handle)| handle.clone())
        };
        let redialled: Vec<_> = targets(config)?
            .into_iter()
            .filter_map(|(given, target)| Some((handle(&given.name)?, target)))
            .collect();
        Ok(move || redialled.into_iter().for_each(|(handle, target)| handle.redial(target)))
    }
}

/// Where each of the configuration's adapters is.
///
/// # Errors
/// All that is wrong, a line each.
pub(super) fn targets(config: &Config) -> Result<Vec<(&AdapterConfig, DialTarget)>, ConfigError> {
    let (mut targets, mut problems) = (Vec::new(), Vec::new());
    for given in &config.adapters {
        let token = given.token.as_ref().map(resolve_secret).transpose();
        let token = token.map_err(|ConfigError(problem)| format!("token: {problem}"));
        let target = token.and_then(|token| {
            DialTarget::new(&given.endpoint, token.map(Secret::new), given.insecure)
        });
        match target {
            Ok(target) => targets.push((given, target)),
            Err(problem) => problems.push(format!("adapter {}: {problem}", given.name)),
        }
    }
    if problems.is_empty() { Ok(targets) } else { Err(ConfigError(problems.join("\n"))) }
}

fn used(config: &Config, name: &str) -> ConfiguredUse {
    let own = || config.accounts.iter().filter(|account| account.provider == name);
    let adapters: BTreeSet<_> = config.routes.iter().map(|route| route.adapter.clone()).collect();
    ConfiguredUse {
        settings: own().flat_map(|account| account.settings.keys().cloned()).collect(),
        secrets: own().flat_map(|account| account.secrets.keys().cloned()).collect(),
        adapters,
    }
}

fn kept(config: &Config, name: &str) -> Option<PathBuf> {
    match config.store.kind {
        StoreKind::Sled | StoreKind::Postgres if config.store.read_only => None,
        StoreKind::Sled | StoreKind::Postgres => {
            Some(config.store.data.join(KEPT).join(format!("{name}.description")))
        }
        StoreKind::Memory => None,
    }
}
