//! Logs, to standard error.

use std::io::IsTerminal;

use tracing_subscriber::{
    EnvFilter, filter::LevelFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt,
};

/// The libraries below speak up only when something is wrong.
const QUIET: &str = "warn,dispatch=";

/// Sets logging up for the process: lines for people, or one JSON object a line. `level` is one of
/// off, error, warn, info, debug, trace (for Dispatch itself), or a filter as in
/// `dispatch=debug,h2=info`. Does nothing if logging is set up already.
///
/// # Errors
/// If `level` is neither; the text says what would be right.
pub fn init(json: bool, level: &str) -> Result<(), String> {
    let is_one = level.parse::<LevelFilter>().is_ok();
    let filter = match is_one {
        true => EnvFilter::try_new(format!("{QUIET}{level}")),
        false => EnvFilter::try_new(level),
    };
    let filter = filter.ok().filter(|_| is_one || level.contains('=')).ok_or_else(|| {
        "must be off, error, warn, info, debug or trace, or a filter like dispatch=debug,h2=info"
            .to_owned()
    })?;
    let registry = tracing_subscriber::registry().with(filter);
    let lines = fmt::layer().with_writer(std::io::stderr);
    // An error means that a test, or an embedding program, was first.
    let _ = if json {
        registry.with(lines.json()).try_init()
    } else {
        registry.with(lines.with_ansi(std::io::stderr().is_terminal())).try_init()
    };
    Ok(())
}
