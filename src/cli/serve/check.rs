//! `dispatch serve --check`.

use std::{process::ExitCode, sync::Arc, time::Duration};

use dispatch_contract::Registry;

use super::Read;
use crate::{
    builtin,
    cli::{CommandFailure, ServeArgs, show},
    config::{ConfigError, SettingValues},
    engine::SystemClock,
    service::{self, ServiceClock, configured::unheard_accounts},
    telemetry,
};

/// Says everything that is wrong, or what is not as by default.
pub(super) async fn run(
    args: &ServeArgs,
    providers: &Registry,
) -> Result<ExitCode, CommandFailure> {
    let failed = |error: ConfigError| CommandFailure::new(error.to_string());
    let read = Read::of(args).map_err(failed)?;
    let mut problems = service::problems(&read.config);
    if let Err(problem) = telemetry::check_log_level(&read.config.log.level) {
        problems.push(ConfigError(format!("log.level: {problem}")));
    }
    let clock = ServiceClock::System(Arc::new(SystemClock::new()));
    // Nobody is asked: what an adapter told last is held against it, if it ever did.
    let parts = match builtin::with_remote(providers, &read.config, Duration::ZERO).await {
        Ok((registry, _)) => builtin::parts_of(&registry, &read.config, &clock),
        Err(problem) => Err(problem),
    };
    let unheard = parts.as_ref().map(|it| unheard_accounts(&it.registry, &it.routes));
    problems.extend(parts.as_ref().err().cloned());
    if !problems.is_empty() {
        let lines: Vec<_> = problems
            .iter()
            .flat_map(|ConfigError(text)| text.lines())
            .map(|line| read.shown(&ConfigError(line.to_owned())))
            .collect();
        return Err(CommandFailure::new(lines.join("\ndispatch: ")));
    }

    let of = match &read.path {
        Some(path) => path.display().to_string(),
        None => "the default configuration".to_owned(),
    };
    show::line(&format!("{of}: right"));
    for (account, problem) in unheard.unwrap_or_default() {
        show::line(&format!("warning: account {account}: {problem}"));
    }
    let differences = SettingValues::of("").map_err(failed)?.differences(&read.settings);
    for (by_reload, title) in [
        (
            true,
            "Not as by default, and taken up by `kill -HUP` (so are secrets and certificates in files):",
        ),
        (false, "Not as by default, and taken up by a restart:"),
    ] {
        let some: Vec<_> = differences.iter().filter(|it| it.by_reload == by_reload).collect();
        if !some.is_empty() {
            show::line(&format!("\n{title}"));
            some.iter().for_each(|difference| show::line(&format!("  {}", difference.setting)));
        }
    }
    Ok(ExitCode::SUCCESS)
}
