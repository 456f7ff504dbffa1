//! Logs, to standard error.

use std::io::IsTerminal;

use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

/// Sets logging up for the process: lines for people, or one JSON object a line. `level` is a
/// filter as in `info` or `dispatch=debug,info`; one that cannot be read is taken for `info`.
///
/// Does nothing if logging is set up already.
pub fn init(json: bool, level: &str) {
    let filter = EnvFilter::try_new(level).unwrap_or_else(|_| EnvFilter::new("info"));
    let registry = tracing_subscriber::registry().with(filter);
    let lines = fmt::layer().with_writer(std::io::stderr);
    // An error means that a test, or an embedding program, was first.
    let _ = if json {
        registry.with(lines.json()).try_init()
    } else {
        registry.with(lines.with_ansi(std::io::stderr().is_terminal())).try_init()
    };
}
