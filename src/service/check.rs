//! Whether a configuration is right, as far as that can be told without starting anything.

use super::security;
use crate::{
    access::MasterKey,
    config::{Config, ConfigError, TlsListener, resolve_secret},
};

/// All that is wrong with `config`: its values, the files and secrets that it names. What it says of
/// accounts and routes is judged by whoever makes the [parts](super::Components).
pub fn problems(config: &Config) -> Vec<ConfigError> {
    let mut problems = config.problems();
    for listener in [TlsListener::Grpc, TlsListener::Http] {
        problems.extend(security::tls(&config.listen.tls, listener).err());
    }
    problems.extend(security::access_options(&config.access).err());
    let key = &config.access.master_key;
    if !key.is_empty() {
        let wrong = |problem| ConfigError(format!("access.master_key: {problem}"));
        let read = resolve_secret(key).and_then(|text| MasterKey::parse(&text).map_err(wrong));
        problems.extend(read.err());
    }
    // Both listeners may be wrong in the same way.
    problems.dedup();
    problems
}
