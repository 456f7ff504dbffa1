//! This program's providers, simulated over HTTP: their real adapters, to a server that speaks as they do and signs
//! as they sign.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use dispatch_contract::{Account, Channel, ChannelAdapter, Secret};
use dispatch_sandbox::{MetaApp, SandboxServer, ServerConfig, SimulatedTwilio};
use dispatch_telegram::{bot, gateway};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{Providers, RemoteControl, SANDBOX, add, sandbox_provider, unregistered, with_sandbox};
use crate::{
    config::{Config, ConfigError},
    engine::{Route, RouteTable, SenderMatch},
    grpc::Sandbox,
    service::{Components, ServiceClock, configured::usual_route},
};

/// The sender that goes by Meta's WhatsApp; any other goes by Vonage's.
const BY_META: &str = "15550783881";
/// What Meta calls it.
const META_ID: &str = "106540352242922";
/// The sender whose SMS goes by Twilio; any other goes by Vonage's.
const BY_TWILIO: &str = "15005550006";

/// Every channel through Vonage's adapters, over HTTP, to a sandbox that speaks the Vonage Messages API on
/// `listener`; beside them one WhatsApp number through Meta's and one SMS number through Twilio's, codes through the
/// Telegram Gateway's and a bot's texts, to the same sandbox. Their webhooks come back to `http`, signed.
///
/// # Errors
/// If a script of the configuration cannot be read.
pub fn over_http(
    config: &Config,
    clock: &ServiceClock,
    http: SocketAddr,
    listener: TcpListener,
    stop: CancellationToken,
) -> Result<Components, ConfigError> {
    let told = |error: &dyn std::fmt::Display| ConfigError(error.to_string());
    let address = listener.local_addr().map_err(|error| told(&error))?;
    let accounts = SimulatedAccounts::at(address);
    let webhooks = |provider: &str| format!("http://{http}/receipts/{provider}/{SANDBOX}");
    let provider = sandbox_provider(config, clock.contract_clock())?;
    let server = SandboxServer::new(
        Arc::clone(&provider),
        accounts.vonage_side(webhooks(dispatch_vonage::PROVIDER)),
    );
    let server = server
        .map_err(|error| told(&error))?
        .with_meta(accounts.meta_side(webhooks(dispatch_meta::PROVIDER)))
        .with_twilio(&accounts.twilio_side(webhooks(dispatch_twilio::PROVIDER)))
        .with_telegram(&accounts.secret())
        .with_telegram_bot(&accounts.bot_token());
    tokio::spawn(async move {
        if let Err(error) = server.serve(listener, stop).await {
            tracing::error!(%error, "the simulated providers stopped");
        }
    });

    let mut providers = Providers::default();
    add(&mut providers).map_err(unregistered)?;
    let registry = with_sandbox(&providers.registry, &provider)?;
    let [vonage, meta, twilio, telegram, telegram_bot] = accounts.accounts().map(Arc::new);
    let of = |account: &Arc<Account>, adapter: &Arc<dyn ChannelAdapter>| Route {
        callback_url: Some(Arc::from(webhooks(adapter.provider()))),
        ..usual_route(adapter, account)
    };
    // Whoever serves one sender is asked before whoever serves all.
    let (mut one, mut all) = (Vec::new(), Vec::new());
    for adapter in registry.iter() {
        let exactly = |sender: &str| SenderMatch::Exactly(sender.to_owned());
        let (meta_s, twilio_s) = (of(&meta, adapter), of(&twilio, adapter));
        match adapter.provider() {
            dispatch_vonage::PROVIDER => all.push(of(&vonage, adapter)),
            gateway::PROVIDER => all.push(of(&telegram, adapter)),
            bot::PROVIDER => all.push(of(&telegram_bot, adapter)),
            dispatch_meta::PROVIDER if *adapter.channel() == Channel::WHATSAPP => {
                one.push(Route { sender: exactly(BY_META), ..meta_s });
            }
            dispatch_twilio::PROVIDER if *adapter.channel() == Channel::SMS => {
                one.push(Route { sender: exactly(BY_TWILIO), ..twilio_s });
            }
            _ => {}
        }
    }
    let routes = RouteTable::new(one.into_iter().chain(all).collect());
    let providers = [
        dispatch_vonage::PROVIDER,
        dispatch_meta::PROVIDER,
        dispatch_twilio::PROVIDER,
        gateway::PROVIDER,
        bot::PROVIDER,
    ];
    let accounts = providers.into_iter().zip([vonage, meta, twilio, telegram, telegram_bot]);
    let accounts: BTreeMap<_, _> = accounts
        .map(|(provider, account)| ((provider.to_owned(), SANDBOX.to_owned()), account))
        .collect();
    let sandbox = Arc::new(RemoteControl::new(provider, clock)) as Arc<dyn Sandbox>;
    Ok(Components { registry, accounts, routes, sandbox: Some(sandbox), is_simulated: true })
}

/// An account at each of them, under a secret of this process's own: nobody else can sign for them.
struct SimulatedAccounts {
    base_url: String,
    secret: String,
}

impl SimulatedAccounts {
    const API_KEY: &str = "abcd1234";
    const ACCOUNT_SID: &str = "AC0123456789abcdef0123456789abcdef";

    fn at(address: SocketAddr) -> Self {
        let part = || uuid::Uuid::new_v4().simple().to_string();
        SimulatedAccounts { base_url: format!("http://{address}"), secret: part() + &part() }
    }

    fn secret(&self) -> Secret {
        Secret::new(self.secret.clone())
    }

    fn vonage_side(&self, inbound_url: String) -> ServerConfig {
        ServerConfig {
            api_key: Self::API_KEY.to_owned(),
            api_secret: Some(self.secret()),
            signature_secret: Some(self.secret()),
            inbound_url: Some(inbound_url),
            ..ServerConfig::default()
        }
    }

    fn meta_side(&self, webhook_url: String) -> MetaApp {
        MetaApp {
            senders: vec![(META_ID.to_owned(), self.secret())],
            app_secret: self.secret(),
            webhook_url: Some(webhook_url),
        }
    }

    fn twilio_side(&self, inbound_url: String) -> SimulatedTwilio {
        let account_sid = Self::ACCOUNT_SID.to_owned();
        SimulatedTwilio {
            account_sid,
            auth_token: self.secret(),
            api_key: None,
            inbound_url: Some(inbound_url),
        }
    }

    fn bot_token(&self) -> Secret {
        Secret::new(format!("123456789:{}", self.secret))
    }

    /// Ours: Vonage's, Meta's, Twilio's, the Telegram Gateway's, a bot's.
    fn accounts(&self) -> [Account; 5] {
        let numbers = format!("{BY_META}={META_ID}");
        [
            self.account(&[("api_key", Self::API_KEY)], &["api_secret", "signature_secret"]),
            self.account(
                &[("phone_numbers", &numbers)],
                &["access_token", "app_secret", "verify_token"],
            ),
            self.account(&[("account_sid", Self::ACCOUNT_SID)], &["auth_token"]),
            self.account(&[], &["access_token"]),
            Account {
                secrets: [("bot_token".to_owned(), self.bot_token())].into(),
                ..self.account(&[], &[])
            },
        ]
    }

    fn account(&self, settings: &[(&str, &str)], secrets: &[&str]) -> Account {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let base_url = ("base_url".to_owned(), self.base_url.clone());
        Account {
            name: SANDBOX.to_owned(),
            revision: 1,
            settings: settings.iter().map(owned).chain([base_url]).collect(),
            secrets: secrets.iter().map(|name| ((*name).to_owned(), self.secret())).collect(),
        }
    }
}
