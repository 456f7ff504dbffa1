//! What this program brings along: the only file that names concrete providers.
//!
//! Another binary adds its own, and is one line long: see [`main!`](crate::main).

mod over_http;
mod remote_adapters;

pub use over_http::over_http;
pub use remote_adapters::{RemoteAdapters, with_remote};

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use dispatch_contract::{Account, Clock, Provider, RegistrationError, Registry, UnixMillis};
use dispatch_kit::conformance::{ConformanceSubject, Subjects};
use dispatch_sandbox::{
    ProviderConfig, SandboxProvider, SandboxSubject, Script, SimulatedProvider,
};

use crate::{
    config::{Config, ConfigError},
    engine::{Route, RouteTable, TestClock},
    grpc::{Sandbox, Sent},
    service::{
        Components, ServiceClock,
        configured::{accounts, routes, usual_route},
    },
};

/// The name of the sandbox, and of its one account.
const SANDBOX: &str = SandboxProvider::NAME;

/// The providers of a program, and what proves their adapters.
#[derive(Default)]
pub struct Providers {
    /// The providers.
    pub registry: Registry,
    proofs: Vec<Subjects>,
}

impl Providers {
    /// Adds a provider.
    ///
    /// # Errors
    /// As [`Registry::add`].
    pub fn add(&mut self, provider: impl Provider + 'static) -> Result<(), RegistrationError> {
        self.registry.add(provider)
    }

    /// Adds a provider with what proves its adapters, for `dispatch adapter check`.
    ///
    /// # Errors
    /// As [`Registry::add`].
    pub fn add_proven(
        &mut self,
        provider: impl Provider + 'static,
        subjects: Subjects,
    ) -> Result<(), RegistrationError> {
        self.add(provider)?;
        self.proofs.push(subjects);
        Ok(())
    }

    /// What proves the adapters that came with it, and the sandbox in place of them.
    pub fn subjects(&self) -> Vec<Box<dyn ConformanceSubject>> {
        let real = || self.proofs.iter().flat_map(|subjects| subjects());
        let mut found: Vec<_> = real().collect();
        // As where it is registered: in place of the adapter of each channel that was added first.
        let mut stood_in: Vec<_> = real().collect();
        let mut seen = BTreeSet::new();
        stood_in.retain(|subject| seen.insert(subject.adapter().channel().clone()));
        let simulated = stood_in.into_iter().filter_map(|it| SandboxSubject::in_place_of(it, None));
        found.extend(simulated.map(|subject| Box::new(subject) as _));
        found
    }
}

/// Adds the providers that this program brings along.
///
/// # Errors
/// If their names are taken.
pub fn add(providers: &mut Providers) -> Result<(), RegistrationError> {
    // First, and so the sandbox goes by its rules.
    providers.add_proven(dispatch_vonage::provider(), dispatch_vonage::subjects)?;
    providers.add_proven(dispatch_meta::provider(), dispatch_meta::subjects)?;
    providers.add_proven(dispatch_twilio::provider(), dispatch_twilio::subjects)?;
    providers
        .add_proven(dispatch_telegram::gateway::provider(), dispatch_telegram::gateway::subjects)?;
    providers.add_proven(dispatch_telegram::bot::provider(), dispatch_telegram::bot::subjects)
}

/// [`parts_of`] with the providers that this program brings along.
///
/// # Errors
/// As [`parts_of`].
pub fn parts(config: &Config, clock: &ServiceClock) -> Result<Components, ConfigError> {
    let mut providers = Providers::default();
    add(&mut providers).map_err(unregistered)?;
    parts_of(&providers.registry, config, clock)
}

/// The providers and beside them the sandbox, and the accounts and routes that the configuration asks for.
/// Without any routes, the sandbox serves every channel that the providers have.
///
/// # Errors
/// If an account or a route is not right; the text says what would be.
pub fn parts_of(
    providers: &Registry,
    config: &Config,
    clock: &ServiceClock,
) -> Result<Components, ConfigError> {
    let provider = sandbox_provider(config, clock.contract_clock())?;
    let registry = with_sandbox(providers, &provider)?;
    let accounts = accounts(config, &registry, sandbox_account())?;
    let routes = if config.routes.is_empty() {
        sandbox_routes(&registry, &accounts)
    } else {
        routes(config, &registry, &accounts)?
    };
    let is_sandbox = |route: &Route| route.adapter.provider() == SANDBOX;
    let uses_sandbox = routes.iter().any(is_sandbox);
    let is_simulated = config.accounts.is_empty() && routes.iter().all(is_sandbox);
    let sandbox =
        uses_sandbox.then(|| Arc::new(RemoteControl::new(provider, clock)) as Arc<dyn Sandbox>);
    Ok(Components { registry, accounts, routes, sandbox, is_simulated })
}

fn unregistered(error: RegistrationError) -> ConfigError {
    ConfigError(error.to_string())
}

fn with_sandbox(
    providers: &Registry,
    provider: &Arc<SimulatedProvider>,
) -> Result<Registry, ConfigError> {
    let mut registry = providers.clone();
    let sandbox = SandboxProvider::in_place_of(providers, provider);
    registry.add(sandbox).map_err(unregistered)?;
    Ok(registry)
}

fn sandbox_provider(
    config: &Config,
    clock: Arc<dyn Clock>,
) -> Result<Arc<SimulatedProvider>, ConfigError> {
    let read = |name: &str, script: &str| {
        script.parse::<Script>().map_err(|error| ConfigError(format!("{name}: {error}")))
    };
    let default_script = read("sandbox.default_script", &config.sandbox.default_script)?;
    let seed = config.sandbox.seed;
    let provider = SimulatedProvider::new(
        clock,
        ProviderConfig { seed, default_script, ..ProviderConfig::default() },
    );
    for (recipient, script) in &config.sandbox.scripts {
        provider.set_script(recipient, read(&format!("sandbox.scripts.{recipient}"), script)?);
    }
    Ok(Arc::new(provider))
}

fn sandbox_account() -> BTreeMap<(String, String), Arc<Account>> {
    let account = Account {
        name: SANDBOX.to_owned(),
        revision: 1,
        settings: BTreeMap::new(),
        secrets: BTreeMap::new(),
    };
    BTreeMap::from([((SANDBOX.to_owned(), SANDBOX.to_owned()), Arc::new(account))])
}

fn sandbox_routes(
    registry: &Registry,
    accounts: &BTreeMap<(String, String), Arc<Account>>,
) -> RouteTable {
    let account = accounts.get(&(SANDBOX.to_owned(), SANDBOX.to_owned()));
    let simulated = registry.iter().filter(|adapter| adapter.provider() == SANDBOX);
    let routes = simulated.zip(account.into_iter().cycle());
    RouteTable::new(routes.map(|(adapter, account)| usual_route(adapter, account)).collect())
}

/// The sandbox, as `SandboxService` controls it.
struct RemoteControl {
    provider: Arc<SimulatedProvider>,
    clock: Option<Arc<TestClock>>,
}

impl RemoteControl {
    fn new(provider: Arc<SimulatedProvider>, clock: &ServiceClock) -> Self {
        let clock = match clock {
            ServiceClock::System(_) => None,
            ServiceClock::Test(clock) => Some(Arc::clone(clock)),
        };
        RemoteControl { provider, clock }
    }
}

#[async_trait]
impl Sandbox for RemoteControl {
    async fn advance(&self, by: Duration) -> Option<UnixMillis> {
        match &self.clock {
            Some(clock) => Some(clock.advance(by).await),
            None => None,
        }
    }

    fn set_script(&self, recipient: &str, script: Option<&str>) -> Result<(), String> {
        match script {
            Some(script) => {
                let script = script.parse::<Script>().map_err(|error| error.to_string())?;
                self.provider.set_script(recipient, script);
            }
            None => {
                self.provider.clear_script(recipient);
            }
        }
        Ok(())
    }

    fn set_default_script(&self, script: &str) -> Result<(), String> {
        self.provider.set_default(script.parse::<Script>().map_err(|error| error.to_string())?);
        Ok(())
    }

    fn scripts(&self) -> Vec<(String, String)> {
        let scripts = self.provider.scripts().into_iter();
        scripts.map(|(recipient, script)| (recipient, script.to_string())).collect()
    }

    fn words(&self) -> Vec<(String, String)> {
        let verbs = dispatch_sandbox::script::TABLE.iter();
        verbs.map(|verb| (verb.usage.to_owned(), verb.meaning.to_owned())).collect()
    }

    fn sent(&self) -> Vec<Sent> {
        let sent = self.provider.sent().into_iter();
        sent.map(|sent| Sent {
            at: sent.at,
            channel: sent.channel.to_string(),
            to: sent.recipient.value().to_owned(),
            provider_id: sent.provider_id,
            attempt_id: sent.client_ref.unwrap_or_default(),
        })
        .collect()
    }
}
