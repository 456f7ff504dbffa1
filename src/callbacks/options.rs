//! How callbacks are set up.

use std::{fmt, sync::Arc, time::Duration};

use dispatch_contract::Secret;

use crate::access::{Application, Destinations};

/// Looks up the secret that an application's callbacks are signed with. An error, for the log, makes
/// them wait.
pub type SigningSecretOf = Arc<dyn Fn(&Application) -> Result<Secret, String> + Send + Sync>;

/// How callbacks are set up.
#[derive(Clone)]
pub struct CallbackOptions {
    /// Which destinations are admitted.
    pub destinations: Arc<Destinations>,
    /// How many attempts may be in flight at once.
    pub concurrency: usize,
    /// How many of them to one destination.
    pub per_destination: usize,
    /// How long a receiver may take to answer. Real time, as all that concerns sockets.
    pub timeout: Duration,
    /// For how long a callback is retried.
    pub retry_for: Duration,
    /// The wait before the first retry; it doubles with each.
    pub retry_base: Duration,
    /// The longest wait before a retry.
    pub retry_max: Duration,
    /// How many of one application may wait; further ones are dead-lettered at once.
    pub waiting_per_application: usize,
    /// How many dead letters of one application are kept; the oldest are dropped.
    pub dead_letters_per_application: usize,
    /// Looks up what they are signed with.
    pub secret: SigningSecretOf,
}

impl Default for CallbackOptions {
    fn default() -> Self {
        CallbackOptions {
            destinations: Arc::default(),
            concurrency: 64,
            per_destination: 8,
            timeout: Duration::from_secs(10),
            retry_for: Duration::from_secs(24 * 3600),
            retry_base: Duration::from_secs(5),
            retry_max: Duration::from_secs(30 * 60),
            waiting_per_application: 100_000,
            dead_letters_per_application: 10_000,
            secret: Arc::new(|_| Err("there is no secret to sign with".to_owned())),
        }
    }
}

impl fmt::Debug for CallbackOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallbackOptions")
            .field("destinations", &self.destinations)
            .field("concurrency", &self.concurrency)
            .finish_non_exhaustive()
    }
}
