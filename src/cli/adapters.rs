//! `dispatch adapter …`: whether adapters keep what they declare.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Instant,
};

use clap::{Args, Subcommand};
use dispatch_contract::{ChannelAdapter, Secret};
use dispatch_kit::conformance::{ConformanceSubject, Findings, run as prove, table};
use dispatch_remote::{DialTarget, GivenAccount};
use serde::Deserialize;

use super::{CommandFailure, show};
use crate::config::{ConfigError, SecretSource, resolve_secret};

#[derive(Debug, Subcommand)]
pub(super) enum AdapterCommand {
    /// Prove what an adapter declares, or each adapter of a provider: every check of the conformance suite, with
    /// the provider played on a loopback socket. Nothing is sent, and no configuration is read. What a provider
    /// cannot be made to do is not tried, and named below the table.
    ///
    /// An adapter in a program of its own is named by where it listens, as in http://127.0.0.1:7400. Its settings
    /// that hold a URL lead to the played provider; what only somebody could tell who speaks the provider's API is
    /// not tried, and named.
    ///
    /// Exit codes: 0 all is proven; 1 something failed, or there is no such adapter.
    Check(AdapterCheckArgs),
}

#[derive(Debug, Args)]
pub(super) struct AdapterCheckArgs {
    /// The adapter's name, or the provider's; or where an adapter in a program of its own listens.
    #[arg(value_name = "NAME|ENDPOINT")]
    name: String,
    /// What an account at ENDPOINT holds, where the settings form is not enough: TOML with `settings` and `secrets`.
    /// `{provider}` in a setting is where the played provider is.
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
    /// What calls to ENDPOINT carry: env:NAME, file:/path, or the token itself.
    #[arg(long)]
    token: Option<String>,
    /// ENDPOINT may be on another machine without TLS: settings and secrets go there in clear.
    #[arg(long)]
    insecure: bool,
}

/// The file of `--settings`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct CheckSettings {
    settings: BTreeMap<String, String>,
    secrets: BTreeMap<String, SecretSource>,
}

pub(super) async fn run(
    command: AdapterCommand,
    subjects: &[Box<dyn ConformanceSubject>],
) -> Result<ExitCode, CommandFailure> {
    let AdapterCommand::Check(args) = command;
    if args.name.contains("://") {
        return check_endpoint(&args).await;
    }
    let name = &args.name;
    let named = subjects.iter().map(|subject| &**subject).filter(|subject| {
        let adapter = subject.adapter();
        adapter.name() == name || adapter.provider() == name
    });
    let meant: Vec<_> = named.collect();
    if meant.is_empty() {
        let known: Vec<_> = subjects.iter().map(|subject| subject.adapter().name()).collect();
        let known = known.join(", ");
        let text = format!("no adapter {name} came with what proves it; there are {known}");
        return Err(CommandFailure::new(text));
    }
    let begun = Instant::now();
    let mut found = Vec::new();
    for subject in meant {
        found.push((subject.adapter(), prove(subject).await));
    }
    Ok(told(&found, begun))
}

/// Of an adapter in a program of its own.
async fn check_endpoint(args: &AdapterCheckArgs) -> Result<ExitCode, CommandFailure> {
    let failed = |ConfigError(problem)| CommandFailure::new(problem);
    let token = args.token.as_deref().map(|token| resolve_secret(&SecretSource::from(token)));
    let token = token.transpose().map_err(failed)?.map(Secret::new);
    let target = DialTarget::new(&args.name, token, args.insecure).map_err(CommandFailure::new)?;
    let given = match &args.settings {
        Some(path) => given(path).map_err(failed)?,
        None => GivenAccount::default(),
    };
    let begun = Instant::now();
    let proven = dispatch_remote::prove(target, &given).await.map_err(CommandFailure::new)?;
    let found: Vec<_> = proven.iter().map(|(it, findings)| (&**it, findings.clone())).collect();
    Ok(told(&found, begun))
}

fn given(path: &Path) -> Result<GivenAccount, ConfigError> {
    let shown = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|error| ConfigError(format!("cannot read {shown}: {error}")))?;
    // What the parser says of a value shows it, and that may be a secret.
    let read: CheckSettings = toml::from_str(&text).map_err(|error: toml::de::Error| {
        let line = error.span().map_or(0, |span| text[..span.start].matches('\n').count()) + 1;
        ConfigError(format!(
            "{shown}: line {line} is wrong; it may hold settings and secrets, each value a text"
        ))
    })?;
    let mut secrets = BTreeMap::new();
    for (name, source) in &read.secrets {
        secrets.insert(name.clone(), Secret::new(resolve_secret(source)?));
    }
    Ok(GivenAccount { settings: read.settings, secrets })
}

/// Prints what was found.
fn told(found: &[(&dyn ChannelAdapter, Findings)], begun: Instant) -> ExitCode {
    show::line(&table(found));
    let checks: u32 = found.iter().map(|(_, findings)| findings.checks()).sum();
    let failed: usize = found.iter().map(|(_, findings)| findings.failures().len()).sum();
    let seconds = begun.elapsed().as_secs_f32();
    show::line(&format!("\n{failed} of {checks} checks failed, in {seconds:.1} s"));
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
