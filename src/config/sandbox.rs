//! `[sandbox]`: the simulated provider.

use std::collections::BTreeMap;

use serde::Deserialize;

/// `[sandbox]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SandboxConfig {
    /// Seeds message ids.
    pub seed: u64,
    /// For recipients without a script.
    pub default_script: String,
    /// Move only when told.
    pub virtual_clock: bool,
    /// By recipient.
    pub scripts: BTreeMap<String, String>,
}

impl Default for SandboxConfig {
    fn default() -> Self {
        SandboxConfig {
            seed: 1,
            default_script: "accept; deliver 1s; read 3s".to_owned(),
            virtual_clock: false,
            scripts: BTreeMap::new(),
        }
    }
}
