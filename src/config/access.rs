//! `[access]`: how secrets are kept and shown.

use serde::Deserialize;

use super::{ConfigError, secret::Hidden};

/// `[access]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Access {
    /// Where the master key is: `env:NAME` or `file:/path`. Empty: in the data folder.
    pub master_key: Hidden,
    /// Whether tokens of external accounts are shown in clear to whoever may administer them.
    pub show_tokens: bool,
}

impl Access {
    /// Checks what can be checked by itself.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if self.master_key.is_empty() || self.master_key.is_elsewhere() {
            return Ok(());
        }
        // Beside what it locks up it would be no lock.
        let problem = "access.master_key must be env:NAME or file:/path: the key itself does not \
                       belong in the configuration";
        Err(ConfigError(problem.to_owned()))
    }
}

impl Default for Access {
    fn default() -> Self {
        Access { master_key: Hidden::from(""), show_tokens: false }
    }
}
