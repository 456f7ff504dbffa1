//! Accounts and routes as the configuration asks for them, over whatever providers are registered.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use dispatch_contract::{Account, ChannelAdapter, Registry, Secret};

use crate::{
    access::is_tenant,
    config::{self, Config, ConfigError, resolve_secret},
    engine::{Route, RouteTable, RouteTenants, SenderMatch},
    http::AccountsByName,
};

const A_PATH_S_PART: &str = "an account's name stands in webhook URLs: use letters, digits, - _ .";

/// The accounts of the configuration, each checked by its provider, beside those in `accounts`.
///
/// # Errors
/// All that is wrong with any of them, a line each; the text says what would be right.
pub fn accounts(
    config: &Config,
    registry: &Registry,
    mut accounts: AccountsByName,
) -> Result<AccountsByName, ConfigError> {
    let mut problems = Vec::new();
    for given in &config.accounts {
        let wrong = |problem: &str| ConfigError(format!("account {}: {problem}", given.name));
        let (account, wrong_with_it) = account(given, registry);
        problems.extend(wrong_with_it.iter().map(|problem| wrong(problem)));
        if wrong_with_it.is_empty()
            && accounts.insert(key(given, &given.name), Arc::new(account)).is_some()
        {
            problems.push(wrong("there are two accounts of this name; names must be unique"));
        }
    }
    for given in &config.accounts {
        for before in &given.formerly {
            let wrong = |problem: &str| {
                ConfigError(format!("account {}: formerly {before}: {problem}", given.name))
            };
            if !is_a_path_s_part(before) {
                problems.push(wrong(A_PATH_S_PART));
                continue;
            }
            // What is wrong with it itself is told already.
            let account = accounts.get(&key(given, &given.name)).map(Arc::clone);
            let Some(account) = account else { continue };
            if accounts.insert(key(given, before), account).is_some() {
                problems.push(wrong(
                    "another account has this name, or had it; which one would be a guess",
                ));
            }
        }
    }
    together(problems).map_or(Ok(accounts), Err)
}

fn key(given: &config::AccountConfig, name: &str) -> (String, String) {
    (given.provider.clone(), name.to_owned())
}

/// An account as it is given, and all that is wrong with it.
fn account(given: &config::AccountConfig, registry: &Registry) -> (Account, Vec<String>) {
    let mut problems = Vec::new();
    let mut secrets = BTreeMap::new();
    for (name, source) in &given.secrets {
        match resolve_secret(source) {
            Ok(secret) => {
                secrets.insert(name.clone(), Secret::new(secret));
            }
            Err(ConfigError(problem)) => problems.push(format!("secret {name}: {problem}")),
        }
    }
    if !is_a_path_s_part(&given.name) {
        problems.push(A_PATH_S_PART.to_owned());
    }
    let (name, settings) = (given.name.clone(), given.settings.clone());
    let account = Account { name, revision: 1, settings, secrets };
    match registry.provider(&given.provider) {
        Some(_) if !problems.is_empty() => {}
        Some(provider) => {
            problems = provider.settings().problems(&account);
            if problems.is_empty() {
                problems = provider.check(&account);
            }
        }
        None => {
            let known: Vec<_> = registry.providers().map(|it| it.name()).collect();
            let (given, known) = (&given.provider, known.join(", "));
            problems.push(format!("provider {given} is not known; there are {known}"));
        }
    }
    (account, problems)
}

/// The routes of the configuration.
///
/// # Errors
/// As [`accounts`].
pub fn routes(
    config: &Config,
    registry: &Registry,
    accounts: &AccountsByName,
) -> Result<RouteTable, ConfigError> {
    let mut routes: Vec<Route> = Vec::new();
    let mut problems = Vec::new();
    for given in &config.routes {
        match route(given, registry, accounts, &config.listen.public_url) {
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
    accounts: &AccountsByName,
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
    let callback_url = callback_url(public_url, adapter.provider(), &account.name);
    Ok(Route {
        name: Arc::from(given.name.as_str()),
        tenants: tenants(&given.tenants).map_err(wrong)?,
        sender: match given.sender.as_str() {
            "*" => SenderMatch::Any,
            sender => SenderMatch::Exactly(sender.to_owned()),
        },
        concurrency: given.concurrency,
        timeout: Duration::from_secs(given.timeout_s),
        callback_url: callback_url.map(Arc::from),
        external_fields: registry.external_fields(&**adapter),
        ..usual_route(adapter, account)
    })
}

/// Where a provider is to call for an account. `None` without a public address.
pub(super) fn callback_url(public_url: &str, provider: &str, account: &str) -> Option<String> {
    let base = public_url.trim_end_matches('/');
    (!base.is_empty()).then(|| format!("{base}/receipts/{provider}/{account}"))
}

/// Accounts whose receipts cannot come as they are configured, as `provider/name`, each with what to set.
pub fn unheard_accounts(registry: &Registry, routes: &RouteTable) -> BTreeMap<String, String> {
    let unheard = |route: &Route| {
        let provider = registry.provider(route.adapter.provider())?;
        let url = route.callback_url.as_deref();
        let problem = provider.check_callback_url(&route.account, url)?;
        Some((format!("{}/{}", provider.name(), route.account.name), problem))
    };
    routes.iter().filter_map(unheard).collect()
}

/// A route for anybody, named after its adapter; no sender has an account of its own there.
pub fn usual_route(adapter: &Arc<dyn ChannelAdapter>, account: &Arc<Account>) -> Route {
    Route {
        name: Arc::from(adapter.name()),
        tenants: RouteTenants::All,
        sender: SenderMatch::Any,
        adapter: Arc::clone(adapter),
        account: Arc::clone(account),
        external_fields: None,
        concurrency: 64,
        timeout: Duration::from_secs(10),
        callback_url: None,
    }
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

/// Several problems as one, a line each.
fn together(problems: Vec<ConfigError>) -> Option<ConfigError> {
    let lines: Vec<_> = problems.into_iter().map(|ConfigError(problem)| problem).collect();
    (!lines.is_empty()).then(|| ConfigError(lines.join("\n")))
}

fn is_a_path_s_part(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}
