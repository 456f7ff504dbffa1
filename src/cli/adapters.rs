//! `dispatch adapter …`: whether adapters keep what they declare.

use std::{process::ExitCode, time::Instant};

use clap::Subcommand;
use dispatch_kit::conformance::{ConformanceSubject, run as prove, table};

use super::{CommandFailure, show};

#[derive(Debug, Subcommand)]
pub(super) enum AdapterCommand {
    /// Prove what an adapter declares, or each adapter of a provider: every check of the conformance suite, with
    /// the provider played on a loopback socket. Nothing is sent, and no configuration is read. What a provider
    /// cannot be made to do is not tried, and named below the table.
    ///
    /// Exit codes: 0 all is proven; 1 something failed, or there is no such adapter.
    Check {
        /// The adapter's name, or the provider's.
        #[arg(value_name = "NAME")]
        name: String,
    },
}

pub(super) async fn run(
    command: AdapterCommand,
    subjects: &[Box<dyn ConformanceSubject>],
) -> Result<ExitCode, CommandFailure> {
    let AdapterCommand::Check { name } = command;
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
    show::line(&table(&found));
    let checks: u32 = found.iter().map(|(_, findings)| findings.checks()).sum();
    let failed: usize = found.iter().map(|(_, findings)| findings.failures().len()).sum();
    let seconds = begun.elapsed().as_secs_f32();
    show::line(&format!("\n{failed} of {checks} checks failed, in {seconds:.1} s"));
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
