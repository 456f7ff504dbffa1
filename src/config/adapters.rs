//! `[[adapters]]`: adapters in programs of their own.

use serde::Deserialize;

use super::{ConfigError, SecretSource};

/// `[[adapters]]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdapterConfig {
    /// The name of its provider, as accounts name it, and as it calls that itself.
    pub name: String,
    /// Where it is: `http://127.0.0.1:7400`, `https://fax.example:7400`.
    pub endpoint: String,
    /// What each call to it carries: `env:NAME`, `file:/path`, or the token itself.
    #[serde(default)]
    pub token: Option<SecretSource>,
    /// Whether it is called without TLS although it is on another machine.
    #[serde(default)]
    pub insecure: bool,
}

/// What is wrong with them together.
pub(super) fn problems(adapters: &[AdapterConfig]) -> Vec<ConfigError> {
    let is_part = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    let mut problems = Vec::new();
    for (at, given) in adapters.iter().enumerate() {
        let mut wrong = |problem: &str| {
            problems.push(ConfigError(format!("adapter {}: {problem}", given.name)))
        };
        if !((1..=32).contains(&given.name.len()) && given.name.bytes().all(is_part)) {
            wrong("its name must have 1 to 32 characters of a-z, 0-9, - and _");
        }
        if adapters[..at].iter().any(|other| other.name == given.name) {
            wrong("there are two adapters of this name; names must be unique");
        }
    }
    problems
}
