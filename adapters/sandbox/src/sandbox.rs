//! The sandbox as a provider within the process: an adapter for each channel.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use dispatch_contract::{
    Account, ChannelAdapter, Clock, InboundSink, Probe, Provider, ProviderAccounts, Registry,
    SettingsForm, Shutdown, UnixMillis,
};
use futures_util::future::join_all;
use tokio_util::sync::CancellationToken;

use crate::{SandboxAdapter, SimulatedProvider};

/// The simulated provider, as it is registered.
pub struct SandboxProvider {
    adapters: Vec<Arc<SandboxAdapter>>,
}

impl SandboxProvider {
    /// Its name, and that of its one account.
    pub const NAME: &'static str = "sandbox";

    pub(crate) fn of(adapters: Vec<Arc<SandboxAdapter>>) -> Self {
        SandboxProvider { adapters }
    }

    /// Stands in for every channel that `real` has, by the rules of the adapter of each that was added first.
    pub fn in_place_of(real: &Registry, provider: &Arc<SimulatedProvider>) -> Self {
        let simulated = real
            .first_of_each_channel()
            .map(|real| SandboxAdapter::in_place_of(Arc::clone(real), Arc::clone(provider)));
        SandboxProvider { adapters: simulated.map(Arc::new).collect() }
    }
}

#[async_trait]
impl Provider for SandboxProvider {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn settings(&self) -> SettingsForm {
        SettingsForm(&[])
    }

    fn check(&self, _account: &Account) -> Vec<String> {
        vec!["the sandbox has its account already; leave this one out".to_owned()]
    }

    fn channels(&self) -> Vec<Arc<dyn ChannelAdapter>> {
        self.adapters.iter().map(|adapter| Arc::clone(adapter) as _).collect()
    }

    async fn probe(&self, _account: &Account, _now: UnixMillis, _timeout: Duration) -> Probe {
        Probe::Works
    }

    async fn run(
        &self,
        _accounts: Arc<dyn ProviderAccounts>,
        sink: Arc<dyn InboundSink>,
        clock: Arc<dyn Clock>,
        mut shutdown: Shutdown,
    ) {
        let stop = CancellationToken::new();
        let all = self.adapters.iter().map(|adapter| {
            let stopped = stop.clone().cancelled_owned();
            adapter.run(Arc::clone(&sink), Arc::clone(&clock), Box::pin(stopped))
        });
        let mut running = std::pin::pin!(join_all(all));
        tokio::select! {
            _ = &mut running => return,
            () = &mut shutdown => stop.cancel(),
        }
        running.await;
    }
}
