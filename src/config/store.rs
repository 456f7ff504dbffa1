//! `[store]`: where workflows are kept, and for how long.

use std::path::PathBuf;

use serde::Deserialize;

use super::{ConfigError, Range, secret::SecretSource};

/// `[store]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StoreConfig {
    /// Which store.
    pub kind: StoreKind,
    /// The data folder.
    pub data: PathBuf,
    /// Where the database is, of a store on PostgreSQL: its connection string.
    pub connection: SecretSource,
    /// How many connections to it there may be at once.
    pub connections: u64,
    /// Cache, in MiB.
    pub cache_mib: u64,
    /// How long an ended workflow is kept, in seconds.
    pub retention_s: u64,
    /// How long its contents are kept after its end, in seconds: not longer than it is.
    pub contents_retention_s: u64,
    /// Below so much free space it is warned of, in MiB; 0 is off.
    pub warn_free_mib: u64,
    /// Below so much free space creates are refused, in MiB; 0 is off.
    pub reserve_mib: u64,
    /// How much room is kept on the disk for a start when it is full, in MiB; 0 is none.
    pub ballast_mib: u64,
    /// Whether it is only read. Said on the command line, each time anew.
    #[serde(skip)]
    pub read_only: bool,
    /// Whether to go on without rows that are lost. Said on the command line, each time anew.
    #[serde(skip)]
    pub accept_loss: bool,
    /// Whether to go on although open workflows wait for keys that are lost. Said on the command line, each time anew.
    #[serde(skip)]
    pub accept_lost_keys: bool,
}

/// Which store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StoreKind {
    /// In a folder.
    Sled,
    /// In a database, for processes of which one is active and others wait.
    Postgres,
    /// Nowhere.
    Memory,
}

impl StoreConfig {
    /// Checks what can be checked by itself.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let wrong = |problem: &str| Err(ConfigError(problem.to_owned()));
        match (self.kind, self.connection.is_empty()) {
            (StoreKind::Postgres, true) => wrong(
                "store.connection is missing: say where the database is, for example \
                 \"host=localhost user=dispatch dbname=dispatch\", or env:NAME or file:/path if it has a password",
            ),
            (StoreKind::Sled | StoreKind::Memory, false) => wrong(
                "store.connection is for store.kind = \"postgres\" alone: remove one, or change the other",
            ),
            (StoreKind::Postgres, false) if self.connection.has_password() => wrong(
                "store.connection has a password in it: put the whole text in a file or the environment, and say \
                 file:/path or env:NAME",
            ),
            (StoreKind::Postgres, false) | (StoreKind::Sled | StoreKind::Memory, true) => Ok(()),
        }
    }

    /// `retained_s`: the shortest retention.
    pub(super) fn ranges(&self, retained_s: u64) -> impl IntoIterator<Item = Range> {
        [
            ("store.cache_mib", self.cache_mib, 16, 65_536),
            ("store.connections", self.connections, 4, 64),
            ("store.retention_s", self.retention_s, retained_s, 10 * 365 * 86_400),
            ("store.contents_retention_s", self.contents_retention_s, 0, 10 * 365 * 86_400),
            ("store.warn_free_mib", self.warn_free_mib, 0, 1_048_576),
            ("store.reserve_mib", self.reserve_mib, 0, 1_048_576),
            ("store.ballast_mib", self.ballast_mib, 0, 1024),
        ]
    }
}

impl Default for StoreConfig {
    fn default() -> Self {
        StoreConfig {
            kind: StoreKind::Sled,
            data: PathBuf::from("data"),
            connection: SecretSource::from(""),
            connections: 8,
            cache_mib: 256,
            retention_s: 30 * 86_400,
            contents_retention_s: 7 * 86_400,
            warn_free_mib: 1024,
            reserve_mib: 64,
            ballast_mib: 32,
            read_only: false,
            accept_loss: false,
            accept_lost_keys: false,
        }
    }
}
