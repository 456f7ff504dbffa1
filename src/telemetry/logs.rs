//! Logs, to standard error. A line is one line, and nothing in it commands a terminal: what callers and
//! providers sent may stand in an error.

use std::io::{self, IsTerminal, Write};

use tracing_subscriber::{
    EnvFilter, Registry,
    filter::LevelFilter,
    fmt,
    layer::SubscriberExt,
    reload::{self, Handle},
    util::SubscriberInitExt,
};

use crate::terminal;

/// Changes the level of the logs that were set up with it.
#[derive(Debug)]
pub struct LogLevel(Option<Handle<EnvFilter, Registry>>);

/// The libraries below speak up only when something is wrong; what was done by whom is always told.
const QUIET: &str = "warn,audit=info,dispatch=";

/// Sets logging up for the process: lines for people, or one JSON object a line. `level` is one of
/// off, error, warn, info, debug, trace (for Dispatch itself), or a filter as in
/// `dispatch=debug,h2=info`. Does nothing if logging is set up already, and then the level is not changed by
/// what it returns either.
///
/// # Errors
/// If `level` is neither; the text says what would be right.
pub fn init(json: bool, level: &str) -> Result<LogLevel, String> {
    let (filter, handle) = reload::Layer::new(filter(level)?);
    let registry = tracing_subscriber::registry().with(filter);
    let lines = fmt::layer().with_writer(move || LogWriter { is_json: json });
    let done = if json {
        registry.with(lines.json()).try_init()
    } else {
        registry.with(lines.with_ansi(std::io::stderr().is_terminal())).try_init()
    };
    // An error means that a test, or an embedding program, was first.
    Ok(LogLevel(done.is_ok().then_some(handle)))
}

impl LogLevel {
    /// Logs at another level from now on.
    ///
    /// # Errors
    /// As [`init`]; the level stays as it was then.
    pub fn set(&self, level: &str) -> Result<(), String> {
        let filter = filter(level)?;
        match &self.0 {
            Some(handle) => handle.reload(filter).map_err(|error| error.to_string()),
            None => Ok(()),
        }
    }
}

/// Whether `level` is one that [`init`] takes.
///
/// # Errors
/// If not; the text says what would be right.
pub fn check_level(level: &str) -> Result<(), String> {
    filter(level).map(|_| ())
}

fn filter(level: &str) -> Result<EnvFilter, String> {
    let is_one = level.parse::<LevelFilter>().is_ok();
    let filter = match is_one {
        true => EnvFilter::try_new(format!("{QUIET}{level}")),
        false => EnvFilter::try_new(level),
    };
    filter.ok().filter(|_| is_one || level.contains('=')).ok_or_else(|| {
        "must be off, error, warn, info, debug or trace, or a filter like dispatch=debug,h2=info"
            .to_owned()
    })
}

/// Takes a whole line with each write, as the layer gives them.
struct LogWriter {
    is_json: bool,
}

impl Write for LogWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        io::stderr().lock().write_all(harmless(line, self.is_json).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

fn harmless(line: &[u8], is_json: bool) -> String {
    let line = String::from_utf8_lossy(line);
    let text = line.strip_suffix('\n').unwrap_or(&line);
    let text = if is_json { terminal::json(text) } else { terminal::one_line(text) };
    format!("{text}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_caller_sent_neither_commands_a_terminal_nor_makes_a_line_of_its_own() {
        let line = "\u{1b}[33m WARN\u{1b}[0m it said: a\nINFO all is well\u{9b}2J\u{202e}\n";
        let shown = harmless(line.as_bytes(), false);
        let wanted = "\u{1b}[33m WARN\u{1b}[0m it said: a\\nINFO all is well\\u{9b}2J\\u{202e}\n";
        assert_eq!(shown, wanted);
        assert_eq!(harmless("{\"a\":\"\u{9b}\"}\n".as_bytes(), true), "{\"a\":\"\\u009b\"}\n");
    }
}
