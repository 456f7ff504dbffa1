//! A running service takes up its configuration anew.
//!
//! First everything is read and built, so that a mistake changes nothing; then it is put in place, each
//! at once for whoever comes next. What is under way ends as it began. What cannot be changed while the
//! service runs is left as it was; [`Settings::differences`](crate::config::SettingValues::differences)
//! names it.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use dispatch_contract::{Account, Registry};

use super::{
    Components, Service,
    options::{callback_options, contents_retention, destinations, policy, with_surroundings},
    providers::WatchedAccounts,
    rooms::Rooms,
    security,
};
use crate::{
    access::{Applications, Destinations},
    config::{self, Config, ConfigError, TlsListener},
    contents::ContentsRetention,
    current::Current,
    engine::{Route, RouteTable},
    grpc::Sandbox,
    http::AccountsByName,
    tls::Tls,
};

/// What a reload reaches.
pub(super) struct ReloadHandles {
    pub(super) registry: Registry,
    pub(super) accounts: Arc<WatchedAccounts>,
    pub(super) applications: Arc<Applications>,
    pub(super) destinations: Arc<Current<Destinations>>,
    pub(super) contents_retention: Arc<Current<ContentsRetention>>,
    pub(super) sandbox: Option<Arc<dyn Sandbox>>,
    pub(super) tls: Vec<(TlsListener, Arc<Tls>)>,
    /// Whether somebody is let in without a key, because nothing real is there.
    pub(super) is_open: bool,
    /// What `[sandbox]` says now.
    pub(super) script: Mutex<config::SandboxConfig>,
}

impl Service {
    /// Goes on by `config`, and by the accounts and routes of `parts`, which were made of it. The
    /// adapters stay those of the start.
    ///
    /// # Errors
    /// If something is not right. Nothing has changed then.
    pub async fn reload(&self, config: &Config, parts: Components) -> Result<(), ConfigError> {
        config.check()?;
        let reload_handles = &self.reload_handles;
        if reload_handles.is_open && !parts.is_simulated {
            let problem = "accounts and routes that really send need a restart: this service lets in \
                           whoever is on this machine";
            return Err(ConfigError(problem.to_owned()));
        }
        let mut certificates = Vec::new();
        for (listener, tls) in &reload_handles.tls {
            if config.listen.tls.is_of(*listener) {
                let files = security::tls_files(&config.listen.tls, *listener);
                certificates.push((tls, tls.prepare(files).map_err(security::tls_problem)?));
            }
        }
        let known = security::access_options(&config.access)?;
        security::keeps_a_key(self, &known)?;
        let telling = callback_options(&config.callbacks, &reload_handles.applications);
        let telling = self.callbacks.prepare(telling);
        let telling = telling.map_err(|error| ConfigError(error.to_string()))?;
        let accounts = renewed(parts.accounts, &reload_handles.accounts.accounts.get());
        let routes = rebound(&parts.routes, &reload_handles.registry, &accounts)?;
        let routes = with_surroundings(routes, &reload_handles.registry, config, &accounts);

        // From here on nothing fails but a service that is stopping.
        let stopping = |_| ConfigError("the service is stopping".to_owned());
        self.engine.reload(routes, policy(&config.engine)).await.map_err(stopping)?;
        reload_handles.accounts.set(accounts);
        for (tls, prepared) in certificates {
            tls.take(prepared);
        }
        self.access.reload(known);
        reload_handles.destinations.set(destinations(&config.callbacks));
        reload_handles.contents_retention.set(contents_retention(config));
        self.callbacks.apply(telling);
        *self.drain.lock().unwrap_or_else(PoisonError::into_inner) =
            Duration::from_secs(config.engine.drain_s);
        reload_handles.play(&config.sandbox);
        Ok(())
    }
}

impl ReloadHandles {
    pub(super) fn of(
        rooms: &Rooms,
        tls: Vec<(TlsListener, Arc<Tls>)>,
        script: &config::SandboxConfig,
    ) -> ReloadHandles {
        ReloadHandles {
            registry: rooms.registry.clone(),
            accounts: Arc::clone(&rooms.accounts),
            applications: Arc::clone(&rooms.applications),
            destinations: Arc::clone(&rooms.destinations),
            contents_retention: Arc::clone(&rooms.contents_retention),
            sandbox: rooms.sandbox.clone(),
            tls,
            is_open: rooms.is_open,
            script: Mutex::new(script.clone()),
        }
    }

    /// Gives the simulated provider the scripts of the configuration. Those that were set while it runs
    /// stay, unless the configuration names their recipients.
    fn play(&self, given: &config::SandboxConfig) {
        let mut before = self.script.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(sandbox) = &self.sandbox else { return };
        // Each was read when the parts were made.
        if given.default_script != before.default_script {
            let _ = sandbox.set_default_script(&given.default_script);
        }
        for (recipient, script) in &given.scripts {
            if before.scripts.get(recipient) != Some(script) {
                let _ = sandbox.set_script(recipient, Some(script));
            }
        }
        for recipient in before.scripts.keys() {
            if !given.scripts.contains_key(recipient) {
                let _ = sandbox.set_script(recipient, None);
            }
        }
        *before = given.clone();
    }
}

/// The accounts, each as another revision of the one of its name: what was derived from its secrets is
/// derived anew.
fn renewed(accounts: AccountsByName, before: &AccountsByName) -> AccountsByName {
    let newest = before.values().map(|account| account.revision).max().unwrap_or(0);
    let renew = |account: &Account| Arc::new(Account { revision: newest + 1, ..account.clone() });
    accounts.into_iter().map(|(name, account)| (name, renew(&account))).collect()
}

/// The same routes by the adapters that run, under the accounts as they are now.
fn rebound(
    routes: &RouteTable,
    registry: &Registry,
    accounts: &AccountsByName,
) -> Result<RouteTable, ConfigError> {
    let rebind = |route: &Route| {
        let name = route.adapter.name();
        let adapter = registry.get(name).ok_or_else(|| {
            ConfigError(format!("route {}: adapter {name} needs a restart", route.name))
        })?;
        let key = (adapter.provider().to_owned(), route.account.name.clone());
        let account = accounts.get(&key).unwrap_or(&route.account);
        let (adapter, account) = (Arc::clone(adapter), Arc::clone(account));
        Ok(Route { adapter, account, ..route.clone() })
    };
    Ok(RouteTable::new(routes.iter().map(rebind).collect::<Result<_, _>>()?))
}
