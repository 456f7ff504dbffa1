//! `dispatch accounts probe`: whether providers take the credentials of the configuration's accounts.

use std::{panic::AssertUnwindSafe, path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use dispatch_contract::{Account, Probe, Provider, Registry, UnixMillis};
use futures_util::{FutureExt, future::join_all};

use super::Read;
use crate::{
    builtin,
    cli::{CommandFailure, ServeArgs, show},
    config::ConfigError,
    engine::SystemClock,
    service::{Components, ServiceClock},
};

/// How long one account's provider may take to answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How much longer it is waited for before it is left.
const LENIENCY: Duration = Duration::from_secs(2);

/// Asks for every account, or for those of one name, all at once, and prints a line for each. Fails if a
/// provider refused one: who cannot be asked refused nothing.
pub(in crate::cli) async fn run(
    config: Option<PathBuf>,
    name: Option<&str>,
    providers: &Registry,
) -> Result<ExitCode, CommandFailure> {
    let failed = |error: ConfigError| CommandFailure::new(error.to_string());
    let args = ServeArgs { config, ..ServeArgs::default() };
    let read = Read::of(&args).map_err(failed)?;
    let told = |error: ConfigError| CommandFailure::new(read.shown(&error));
    let clock = ServiceClock::System(Arc::new(SystemClock::new()));
    let (registry, _) =
        builtin::with_remote(providers, &read.config, TIMEOUT / 4).await.map_err(told)?;
    let parts = builtin::parts_of(&registry, &read.config, &clock).map_err(told)?;
    let Components { registry, accounts, .. } = parts;
    let now = clock.contract_clock().wall();
    let asked = accounts.iter().filter(|((_, known_as), account)| {
        *known_as == account.name && name.is_none_or(|name| name == account.name)
    });
    let probes: Vec<_> = asked
        .filter_map(|((provider, _), account)| Some((registry.provider(provider)?, account)))
        .map(async |(provider, account)| {
            (format!("{}/{}", provider.name(), account.name), probe(provider, account, now).await)
        })
        .collect();
    if probes.is_empty() {
        let text = format!("no account {} in the configuration", name.unwrap_or_default());
        return Err(CommandFailure { code: 4, text });
    }
    let mut is_refused = false;
    for (account, found) in join_all(probes).await {
        is_refused |= matches!(found, Probe::Refused(_));
        show::line(&format!("{account}: {found}"));
    }
    Ok(if is_refused { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// One account's, whatever its provider's code does.
async fn probe(provider: &Arc<dyn Provider>, account: &Account, now: UnixMillis) -> Probe {
    let asked = AssertUnwindSafe(provider.probe(account, now, TIMEOUT)).catch_unwind();
    match tokio::time::timeout(TIMEOUT + LENIENCY, asked).await {
        Ok(Ok(found)) => found,
        Ok(Err(_)) => Probe::CannotBeAsked("the provider's code panicked".to_owned()),
        Err(_) => {
            Probe::CannotBeAsked(format!("no answer within {} s", (TIMEOUT + LENIENCY).as_secs()))
        }
    }
}
