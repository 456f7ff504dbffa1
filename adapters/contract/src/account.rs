//! Credentials, handed in with each call.

use std::{collections::BTreeMap, fmt};

/// An account at a provider: an immutable view of its settings and secrets.
///
/// Adapters are code and hold no secrets; accounts are data and may change while the service runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Our name for it; stands in webhook URLs.
    pub name: String,
    /// Another one with every change, and for every sender with a credential of its own, so that what
    /// is derived from secrets (a token) can be cached under `(name, revision)`.
    pub revision: u64,
    /// What is not secret: base URL, application id, API version, …
    pub settings: BTreeMap<String, String>,
    /// What is.
    pub secrets: BTreeMap<String, Secret>,
}

/// A text that never shows itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Account {
    /// A setting by name.
    pub fn setting(&self, name: &str) -> Option<&str> {
        self.settings.get(name).map(String::as_str)
    }

    /// A secret by name, in clear.
    pub fn secret(&self, name: &str) -> Option<&str> {
        self.secrets.get(name).map(Secret::expose)
    }
}

impl Secret {
    /// Hides `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Secret(text.into())
    }

    /// The text in clear. Keep it out of logs and errors.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}
