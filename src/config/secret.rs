//! Secrets in a configuration: kept out of `Debug`, and best not in the file at all.

use std::fmt;

use serde::{Deserialize, Deserializer, de::Error};

use super::ConfigError;

/// A secret as it stands in the file.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretSource(String);

impl<'de> Deserialize<'de> for SecretSource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The usual complaint about a wrong type would quote what stands there.
        match toml::Value::deserialize(deserializer)? {
            toml::Value::String(text) => Ok(SecretSource(text)),
            _ => Err(D::Error::custom("a secret must be a text: put it in quotes")),
        }
    }
}

impl fmt::Debug for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretSource(…)")
    }
}

impl SecretSource {
    /// Whether nothing stands there.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it is a connection string that stands in the file itself, with a password.
    pub(super) fn has_password(&self) -> bool {
        let has_one = self.0.contains("password")
            || self.0.split_once("://").is_some_and(|(_, rest)| {
                rest.split_once('@').is_some_and(|(user, _)| user.contains(':'))
            });
        has_one && !self.is_elsewhere()
    }

    /// Whether the secret is not in the file, but where the file says.
    pub fn is_elsewhere(&self) -> bool {
        self.0.starts_with("env:") || self.0.starts_with("file:")
    }
}

impl From<&str> for SecretSource {
    fn from(text: &str) -> Self {
        SecretSource(text.to_owned())
    }
}

/// The secret itself: from the environment for `env:NAME`, from a file for `file:/path` (its final
/// line break is not part of it), else as it stands.
///
/// # Errors
/// If the variable is not set or the file cannot be read. The text names them, never the secret.
pub fn resolve(hidden: &SecretSource) -> Result<String, ConfigError> {
    if let Some(name) = hidden.0.strip_prefix("env:") {
        return std::env::var(name)
            .map_err(|_| ConfigError(format!("the environment variable {name} is not set")));
    }
    if let Some(path) = hidden.0.strip_prefix("file:") {
        return std::fs::read_to_string(path)
            .map(|text| text.strip_suffix('\n').unwrap_or(&text).to_owned())
            .map_err(|error| ConfigError(format!("cannot read the secret file {path}: {error}")));
    }
    Ok(hidden.0.clone())
}
