//! HTTP between the service and a provider, through a proxy that spoils it: sends one way, receipts
//! the other.
//!
//! Real: sockets, HTTP, call timeouts. Virtual: the time of the engine and of the provider, which
//! moves on demand and waits for calls that are out; so what a fault leads to is seen in its place.
//!
//! `DISPATCH_NET_EXCHANGES` sets how many workflows each way has, at least 12;
//! `DISPATCH_NET_SEED` seeds which fault is whose.

mod receipts;
mod sends;
mod slow_callers;

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use dispatch::{
    builtin,
    client::Client,
    config::{AccountConfig, Config, RouteConfig},
    engine::TestClock,
    pb::v1::{Workflow, WorkflowSpec},
    service::{Components, Service, ServiceClock},
};
use dispatch_contract::Secret;
use dispatch_sandbox::{ProviderConfig, SandboxServer, ServerConfig, SimulatedProvider};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    proxy::Proxy,
    support::{FREE, in_memory, request},
};

const KEY: &str = "abcd1234";
const SECRET: &str = "a secret of thirty-two characters";

/// A service and a provider, and a proxy on either way.
struct Between {
    service: Service,
    client: Client,
    clock: Arc<TestClock>,
    provider: Arc<SimulatedProvider>,
    /// From the service to the provider.
    sends: Proxy,
    /// From the provider to the service.
    receipts: Proxy,
    stop: CancellationToken,
}

impl Between {
    async fn start(script: &str, change: impl FnOnce(&mut Config)) -> Between {
        let (sends, receipts) = (Proxy::start().await, Proxy::start().await);
        let mut config = in_memory();
        config.listen.public_url = format!("http://{}", receipts.address);
        config.accounts.push(AccountConfig {
            name: "main".to_owned(),
            provider: "vonage".to_owned(),
            settings: [
                ("base_url", format!("http://{}", sends.address)),
                ("api_key", KEY.to_owned()),
            ]
            .map(|(name, value)| (name.to_owned(), value))
            .into(),
            formerly: Vec::new(),
            secrets: ["api_secret", "signature_secret"]
                .map(|name| (name.to_owned(), SECRET.into()))
                .into(),
        });
        config.routes = ["vonage-messenger", "vonage-sms"]
            .map(|adapter| RouteConfig {
                name: adapter.to_owned(),
                adapter: adapter.to_owned(),
                account: "main".to_owned(),
                tenants: vec!["default".to_owned()],
                sender: "*".to_owned(),
                concurrency: 8,
                timeout_s: 1,
            })
            .into();
        change(&mut config);
        let listener = TcpListener::bind(FREE).await.unwrap();
        sends.lead_to(listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        let made = OnceLock::new();
        let started = Service::start(&config, |clock, http| {
            receipts.lead_to(http);
            let default_script = script.parse().unwrap();
            let provider = ProviderConfig { default_script, ..ProviderConfig::default() };
            let provider = Arc::new(SimulatedProvider::new(clock.contract_clock(), provider));
            let server = ServerConfig {
                api_key: KEY.to_owned(),
                api_secret: Some(Secret::new(SECRET)),
                signature_secret: Some(Secret::new(SECRET)),
                ..ServerConfig::default()
            };
            let server = SandboxServer::new(Arc::clone(&provider), server).unwrap();
            tokio::spawn(server.serve(listener, stop.clone()));
            let ServiceClock::Test(clock_of_test) = clock else { panic!("a real clock") };
            assert!(made.set((provider, Arc::clone(clock_of_test))).is_ok());
            // The provider is one of this test's own.
            Ok(Components { is_simulated: true, ..builtin::parts(&config, clock)? })
        });
        let service = started.await.unwrap();
        let (provider, clock) = made.into_inner().unwrap();
        let client = Client::connect(format!("http://{}", service.grpc)).await.unwrap();
        Between { service, client, clock, provider, sends, receipts, stop }
    }

    async fn create(&self, spec: WorkflowSpec) -> String {
        self.client.create(request(spec)).await.unwrap().workflow.unwrap().workflow_id
    }

    async fn get(&self, id: &str) -> Workflow {
        self.client.get(id).await.unwrap()
    }

    /// Moves time on, and returns when all that became due is done.
    async fn advance(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds)).await;
    }

    /// How many messages the provider sent for a workflow by a channel.
    fn sent(&self, id: &str, channel: &str) -> usize {
        let sent = self.provider.sent();
        let of_it = |sent: &&dispatch_sandbox::SentMessage| {
            let attempt = sent.attempt().expect("only this service sends");
            attempt.workflow.hyphenated().to_string() == id && sent.channel.as_str() == channel
        };
        sent.iter().filter(of_it).count()
    }

    async fn stop(self) {
        self.stop.cancel();
        self.service.stop().await.unwrap();
    }
}
