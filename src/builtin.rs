//! What this program brings along: the only file that names concrete adapters.
//!
//! Another binary writes its own [`Components`] and is four lines long:
//!
//! ```no_run
//! fn main() -> std::process::ExitCode {
//!     dispatch::cli::run(|config, clock| dispatch::builtin::parts(config, clock))
//! }
//! ```

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use dispatch_contract::{Account, ChannelAdapter, Clock, Registry, Secret, UnixMillis};
use dispatch_kit::{http::HttpClient, vonage::VonageAccount};
use dispatch_sandbox::{
    Provider, ProviderConfig, SandboxAdapter, SandboxServer, Script, ServerConfig,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    access::is_tenant,
    config::{self, Config, ConfigError, resolve_secret},
    engine::{Route, RouteTable, RouteTenants, SenderMatch, TestClock},
    grpc::{Sandbox, Sent},
    service::{Components, ServiceClock},
};

/// The name of the sandbox's one account.
const SANDBOX: &str = "sandbox";

/// The adapters of this program, and the routes that the configuration asks for. Without any, the
/// sandbox serves every channel.
///
/// # Errors
/// If an account or a route is not right; the text says what would be.
pub fn parts(config: &Config, clock: &ServiceClock) -> Result<Components, ConfigError> {
    let provider = sandbox_provider(config, clock.contract_clock())?;
    let registry = registry(&provider)?;
    let accounts = accounts(config)?;
    let routes = if config.routes.is_empty() {
        sandbox_routes(&registry, &accounts)
    } else {
        routes(config, &registry, &accounts, &config.listen.public_url)?
    };
    let is_sandbox = |route: &Route| route.adapter.provider() == SANDBOX;
    let uses_sandbox = routes.iter().any(is_sandbox);
    let is_simulated = config.accounts.is_empty() && routes.iter().all(is_sandbox);
    let sandbox =
        uses_sandbox.then(|| Arc::new(RemoteControl::new(provider, clock)) as Arc<dyn Sandbox>);
    Ok(Components { registry, accounts, routes, sandbox, is_simulated })
}

/// The same channels through the real adapters, over HTTP, to a sandbox that speaks the Vonage
/// Messages API on `listener`. Its webhooks come back to `http`, signed.
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
    const KEY: &str = "abcd1234";
    let told = |error: &dyn std::fmt::Display| ConfigError(error.to_string());
    let address = listener.local_addr().map_err(|error| told(&error))?;
    // A secret of this process's own: nobody else can sign for the simulated provider.
    let secret =
        uuid::Uuid::new_v4().simple().to_string() + &uuid::Uuid::new_v4().simple().to_string();
    let provider = sandbox_provider(config, clock.contract_clock())?;
    let server = ServerConfig {
        api_key: KEY.to_owned(),
        api_secret: Some(Secret::new(secret.clone())),
        signature_secret: Some(Secret::new(secret.clone())),
        ..ServerConfig::default()
    };
    let server = SandboxServer::new(Arc::clone(&provider), server).map_err(|error| told(&error))?;
    tokio::spawn(async move {
        if let Err(error) = server.serve(listener, stop).await {
            tracing::error!(%error, "the simulated provider stopped");
        }
    });

    let registry = registry(&provider)?;
    let account = Account {
        name: SANDBOX.to_owned(),
        revision: 1,
        settings: [("base_url", format!("http://{address}")), ("api_key", KEY.to_owned())]
            .map(|(name, value)| (name.to_owned(), value))
            .into(),
        secrets: ["api_secret", "signature_secret"]
            .map(|name| (name.to_owned(), Secret::new(secret.clone())))
            .into(),
    };
    let account = Arc::new(account);
    let vonage = registry.iter().filter(|adapter| adapter.provider() == "vonage");
    let callback: Arc<str> = Arc::from(format!("http://{http}/receipts/vonage/{SANDBOX}"));
    let routes = vonage.map(|adapter| Route {
        callback_url: Some(Arc::clone(&callback)),
        ..usual_route(adapter, &account)
    });
    let routes = RouteTable::new(routes.collect());
    let accounts = BTreeMap::from([(("vonage".to_owned(), SANDBOX.to_owned()), account)]);
    let sandbox = Arc::new(RemoteControl::new(provider, clock));
    Ok(Components { registry, accounts, routes, sandbox: Some(sandbox), is_simulated: true })
}

fn registry(provider: &Arc<Provider>) -> Result<Registry, ConfigError> {
    let client = HttpClient::new().map_err(|error| ConfigError(error.to_string()))?;
    let vonage = [
        dispatch_sms::vonage::adapter(client.clone()),
        dispatch_mms::vonage::adapter(client.clone()),
        dispatch_messenger::vonage::adapter(client.clone()),
        dispatch_whatsapp::vonage::adapter(client.clone()),
        dispatch_viber::vonage::adapter(client),
    ];
    let mut registry = Registry::new();
    for adapter in vonage {
        let adapter: Arc<dyn ChannelAdapter> = Arc::new(adapter);
        let simulated = SandboxAdapter::in_place_of(Arc::clone(&adapter), Arc::clone(provider));
        for adapter in [Arc::new(simulated), adapter] {
            registry.add(adapter).map_err(|error| ConfigError(error.to_string()))?;
        }
    }
    Ok(registry)
}

fn sandbox_provider(config: &Config, clock: Arc<dyn Clock>) -> Result<Arc<Provider>, ConfigError> {
    let read = |name: &str, script: &str| {
        script.parse::<Script>().map_err(|error| ConfigError(format!("{name}: {error}")))
    };
    let default_script = read("sandbox.default_script", &config.sandbox.default_script)?;
    let seed = config.sandbox.seed;
    let provider =
        Provider::new(clock, ProviderConfig { seed, default_script, ..ProviderConfig::default() });
    for (recipient, script) in &config.sandbox.scripts {
        provider.set_script(recipient, read(&format!("sandbox.scripts.{recipient}"), script)?);
    }
    Ok(Arc::new(provider))
}

fn accounts(config: &Config) -> Result<BTreeMap<(String, String), Arc<Account>>, ConfigError> {
    let sandbox = Account {
        name: SANDBOX.to_owned(),
        revision: 1,
        settings: BTreeMap::new(),
        secrets: BTreeMap::new(),
    };
    let key = |account: &Account, provider: &str| (provider.to_owned(), account.name.clone());
    let mut accounts = BTreeMap::from([(key(&sandbox, SANDBOX), Arc::new(sandbox))]);
    let mut problems = Vec::new();
    for given in &config.accounts {
        let wrong = |problem: &str| ConfigError(format!("account {}: {problem}", given.name));
        let account = account(given).and_then(|account| match given.provider.as_str() {
            "vonage" => match VonageAccount::check(&account) {
                Ok(()) => Ok(account),
                Err(problem) => Err(wrong(&problem)),
            },
            SANDBOX => Err(wrong("the sandbox has its account already; leave this one out")),
            other => Err(wrong(&format!("provider {other} is not known; there is: vonage"))),
        });
        match account {
            Ok(account) => {
                if accounts.insert(key(&account, &given.provider), Arc::new(account)).is_some() {
                    let problem = "there are two accounts of this name; names must be unique";
                    problems.push(wrong(problem));
                }
            }
            Err(problem) => problems.push(problem),
        }
    }
    for given in &config.accounts {
        let key = |name: &String| (given.provider.clone(), name.clone());
        for before in &given.formerly {
            let wrong = |problem: &str| {
                ConfigError(format!("account {}: formerly {before}: {problem}", given.name))
            };
            if !is_a_path_s_part(before) {
                problems.push(wrong(A_PATH_S_PART));
                continue;
            }
            // What is wrong with it itself is told already.
            let Some(account) = accounts.get(&key(&given.name)).map(Arc::clone) else { continue };
            if accounts.insert(key(before), account).is_some() {
                problems.push(wrong(
                    "another account has this name, or had it; which one would be a guess",
                ));
            }
        }
    }
    together(problems).map_or(Ok(accounts), Err)
}

/// Several problems as one, a line each.
fn together(problems: Vec<ConfigError>) -> Option<ConfigError> {
    let lines: Vec<_> = problems.into_iter().map(|ConfigError(problem)| problem).collect();
    (!lines.is_empty()).then(|| ConfigError(lines.join("\n")))
}

const A_PATH_S_PART: &str = "an account's name stands in webhook URLs: use letters, digits, - _ .";

fn is_a_path_s_part(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

fn account(given: &config::AccountConfig) -> Result<Account, ConfigError> {
    let mut secrets = BTreeMap::new();
    for (name, hidden) in &given.secrets {
        let secret = resolve_secret(hidden).map_err(|ConfigError(problem)| {
            ConfigError(format!("account {}, secret {name}: {problem}", given.name))
        })?;
        secrets.insert(name.clone(), Secret::new(secret));
    }
    if !is_a_path_s_part(&given.name) {
        return Err(ConfigError(format!("account {}: {A_PATH_S_PART}", given.name)));
    }
    Ok(Account { name: given.name.clone(), revision: 1, settings: given.settings.clone(), secrets })
}

fn routes(
    config: &Config,
    registry: &Registry,
    accounts: &BTreeMap<(String, String), Arc<Account>>,
    public_url: &str,
) -> Result<RouteTable, ConfigError> {
    let mut routes: Vec<Route> = Vec::new();
    let mut problems = Vec::new();
    for given in &config.routes {
        match route(given, registry, accounts, public_url) {
            Ok(route) if routes.iter().any(|other| other.name == route.name) => {
                let problem = "there are two routes of this name; names must be unique";
                problems.push(ConfigError(format!("route {}: {problem}", given.name)));
            }
            Ok(route) => routes.push(route),
            Err(problem) => problems.push(problem),
        }
    }
    together(problems).map_or(Ok(RouteTable::new(routes)), Err)
}

fn route(
    given: &config::RouteConfig,
    registry: &Registry,
    accounts: &BTreeMap<(String, String), Arc<Account>>,
    public_url: &str,
) -> Result<Route, ConfigError> {
    let wrong = |problem: String| ConfigError(format!("route {}: {problem}", given.name));
    let adapter = registry.get(&given.adapter).ok_or_else(|| {
        let known: Vec<_> = registry.iter().map(|adapter| adapter.name()).collect();
        wrong(format!("there is no adapter {}; there are {}", given.adapter, known.join(", ")))
    })?;
    let key = (adapter.provider().to_owned(), given.account.clone());
    let account = accounts.get(&key).ok_or_else(|| {
        wrong(format!(
            "there is no account {} at provider {}; add it under [[accounts]]",
            given.account,
            adapter.provider()
        ))
    })?;
    let base = public_url.trim_end_matches('/');
    let callback_url = (!base.is_empty())
        .then(|| Arc::from(format!("{base}/receipts/{}/{}", adapter.provider(), account.name)));
    Ok(Route {
        name: Arc::from(given.name.as_str()),
        tenants: tenants(&given.tenants).map_err(wrong)?,
        sender: match given.sender.as_str() {
            "*" => SenderMatch::Any,
            sender => SenderMatch::Exactly(sender.to_owned()),
        },
        concurrency: given.concurrency,
        timeout: Duration::from_secs(given.timeout_s),
        callback_url,
        ..usual_route(adapter, account)
    })
}

fn tenants(given: &[String]) -> Result<RouteTenants, String> {
    if given == ["*"] {
        return Ok(RouteTenants::All);
    }
    if given.is_empty() || !given.iter().all(|tenant| is_tenant(tenant)) {
        let problem = "tenants must name at least one, each with 1 to 64 letters, digits, `-`, `_` and \
                       `.`, or be [\"*\"]: every tenant";
        return Err(problem.to_owned());
    }
    Ok(RouteTenants::Only(given.iter().map(|tenant| Arc::from(tenant.as_str())).collect()))
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

fn usual_route(adapter: &Arc<dyn ChannelAdapter>, account: &Arc<Account>) -> Route {
    Route {
        name: Arc::from(adapter.name()),
        tenants: RouteTenants::All,
        sender: SenderMatch::Any,
        adapter: Arc::clone(adapter),
        account: Arc::clone(account),
        concurrency: 64,
        timeout: Duration::from_secs(10),
        callback_url: None,
    }
}

/// The sandbox, as `SandboxService` controls it.
struct RemoteControl {
    provider: Arc<Provider>,
    clock: Option<Arc<TestClock>>,
}

impl RemoteControl {
    fn new(provider: Arc<Provider>, clock: &ServiceClock) -> Self {
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
