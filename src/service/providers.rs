//! What providers do by themselves, for as long as the service runs.

use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use dispatch_contract::{Account, Clock, Provider, ProviderAccounts};
use futures_util::FutureExt;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::configured;
use crate::{
    current::Current,
    engine::{Engine, EngineSink},
    http::AccountsByName,
};

/// How long one that panicked rests before it is begun again; each time longer.
const REST: Duration = Duration::from_secs(1);
const LONGEST_REST: Duration = Duration::from_secs(60);
/// How often it is looked whether there still is a restore lock.
const LOOK: Duration = Duration::from_millis(250);

/// The accounts in force, and who waits for others.
pub(super) struct WatchedAccounts {
    pub(super) accounts: Arc<Current<AccountsByName>>,
    changes: watch::Sender<()>,
    /// The service's public address; empty where it has none. Another one needs a restart.
    public_url: Arc<str>,
}

impl WatchedAccounts {
    pub(super) fn new(accounts: AccountsByName, public_url: &str) -> WatchedAccounts {
        let accounts = Arc::new(Current::new(accounts));
        WatchedAccounts { accounts, changes: watch::Sender::new(()), public_url: public_url.into() }
    }

    /// Puts others in their place, and tells those who wait.
    pub(super) fn set(&self, accounts: AccountsByName) {
        self.accounts.set(accounts);
        self.changes.send_replace(());
    }

    /// One provider's.
    pub(super) fn of(&self, provider: &str) -> Arc<dyn ProviderAccounts> {
        Arc::new(AccountsOfProvider {
            provider: provider.to_owned(),
            accounts: Arc::clone(&self.accounts),
            public_url: Arc::clone(&self.public_url),
            seen: Mutex::new(self.changes.subscribe()),
        })
    }
}

struct AccountsOfProvider {
    provider: String,
    accounts: Arc<Current<AccountsByName>>,
    public_url: Arc<str>,
    /// As of the last look.
    seen: Mutex<watch::Receiver<()>>,
}

#[async_trait]
impl ProviderAccounts for AccountsOfProvider {
    fn now(&self) -> Vec<Arc<Account>> {
        // Marked first: what changes in between is looked at once more.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).mark_unchanged();
        let accounts = self.accounts.get();
        let own = accounts.iter().filter(|((provider, name), account)| {
            *provider == self.provider && *name == account.name
        });
        own.map(|(_, account)| Arc::clone(account)).collect()
    }

    async fn changed(&self) {
        let mut changes = self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if changes.changed().await.is_err() {
            // Whoever could change them is gone.
            std::future::pending::<()>().await;
        }
    }

    fn callback_url(&self, account: &str) -> Option<String> {
        configured::callback_url(&self.public_url, &self.provider, account)
    }
}

/// Runs a provider until `stop`, once there is no restore lock: the service that the backup is of may still run, and hear
/// what a provider tells. One that panics is begun again: without it nothing more would be heard
/// of what it sent.
pub(super) async fn run(
    provider: Arc<dyn Provider>,
    accounts: Arc<dyn ProviderAccounts>,
    engine: Engine,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
) {
    let name = provider.name().to_owned();
    let sink = Arc::new(EngineSink { engine: engine.clone(), provider: name.clone() });
    let unlocked = unlocked(|| engine.is_restore_locked());
    if stop.run_until_cancelled(unlocked).await.is_none() {
        return;
    }
    let mut rest = REST;
    loop {
        let stopped = stop.clone();
        let shutdown = Box::pin(async move { stopped.cancelled().await });
        let (accounts, sink) = (Arc::clone(&accounts), Arc::clone(&sink) as _);
        let run = provider.run(accounts, sink, Arc::clone(&clock), shutdown);
        if AssertUnwindSafe(run).catch_unwind().await.is_ok() {
            return;
        }
        engine.metrics().adapter_panicked(&name, "run");
        tracing::error!(provider = name, ?rest, "the provider panicked; it is begun again");
        if stop.run_until_cancelled(tokio::time::sleep(rest)).await.is_none() {
            return;
        }
        rest = (rest * 2).min(LONGEST_REST);
    }
}

async fn unlocked(is_locked: impl Fn() -> bool) {
    while is_locked() {
        tokio::time::sleep(LOOK).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accounts(names: &[(&str, &str)]) -> AccountsByName {
        let account = |(provider, name): &(&str, &str)| {
            let account = Account {
                name: (*name).to_owned(),
                revision: 1,
                settings: Default::default(),
                secrets: Default::default(),
            };
            (((*provider).to_owned(), (*name).to_owned()), Arc::new(account))
        };
        names.iter().map(account).collect()
    }

    fn names(of: &dyn ProviderAccounts) -> Vec<String> {
        of.now().iter().map(|account| account.name.clone()).collect()
    }

    #[tokio::test]
    async fn a_provider_sees_its_own_accounts_and_each_change_of_them_once_it_has_looked() {
        let watched = WatchedAccounts::new(accounts(&[("line", "main"), ("vonage", "main")]), "");
        let line = watched.of("line");
        assert_eq!(names(&*line), ["main"]);
        assert!(line.changed().now_or_never().is_none(), "nothing has changed");
        // Whoever was not waiting just then is told all the same.
        watched.set(accounts(&[("line", "main"), ("line", "spare")]));
        assert!(line.changed().now_or_never().is_some());
        assert_eq!(names(&*line), ["main", "spare"]);
        assert!(line.changed().now_or_never().is_none(), "it has looked");
    }

    #[tokio::test]
    async fn an_account_s_former_name_is_no_second_account() {
        let mut all = accounts(&[("line", "main")]);
        let main = all.values().next().map(Arc::clone).expect("one");
        all.insert(("line".to_owned(), "before".to_owned()), main);
        assert_eq!(names(&*WatchedAccounts::new(all, "").of("line")), ["main"]);
    }

    #[test]
    fn where_an_account_s_webhooks_go_is_known_where_the_service_has_a_public_address() {
        let url = |public_url: &str| {
            let watched = WatchedAccounts::new(accounts(&[("line", "main")]), public_url);
            watched.of("line").callback_url("main")
        };
        assert_eq!(url(""), None);
        let told = Some("https://dispatch.example/receipts/line/main".to_owned());
        assert_eq!(url("https://dispatch.example"), told);
        assert_eq!(url("https://dispatch.example/"), told);
    }
}
