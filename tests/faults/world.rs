//! What the tests have around the program: chance, a provider that outlives it, and requests.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use dispatch::{
    client::Credential,
    engine::SystemClock,
    pb::v1::{CreateWorkflowRequest, WorkflowSpec},
};
use dispatch_contract::Secret;
use dispatch_sandbox::{ProviderConfig, SandboxServer, ServerConfig, SimulatedProvider};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::shared::requests;
pub use crate::shared::waits::eventually;

/// The name of the account, and of the key that the tests call with.
const KEY: &str = "abcd1234";
const SECRET: &str = "a secret of thirty-two characters";

/// Everything random, from one seed (splitmix64).
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// The seed of this run, printed; `DISPATCH_SEED` sets it.
    pub fn seed() -> u64 {
        let of_the_time = || {
            let since = std::time::UNIX_EPOCH.elapsed().unwrap();
            since.as_micros() as u64 & 0xFFFF_FFFF
        };
        let seed = setting("DISPATCH_SEED").unwrap_or_else(of_the_time);
        println!("DISPATCH_SEED={seed}");
        seed
    }

    /// Its own dice for each use, so that one use more does not change the others.
    pub fn new(seed: u64, use_of_it: u64) -> Dice {
        let mut dice = Dice(seed ^ use_of_it.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        dice.next();
        dice
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to `sides`, without it.
    pub fn below(&mut self, sides: u64) -> u64 {
        self.next() % sides
    }

    pub fn one_in(&mut self, sides: u64) -> bool {
        self.below(sides) == 0
    }

    pub fn pick<T: Copy>(&mut self, among: &[T]) -> T {
        among[self.below(among.len() as u64) as usize]
    }
}

/// A number from the environment.
pub fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| {
        text.parse().unwrap_or_else(|_| panic!("{name} must be a number, and is {text}"))
    })
}

/// A provider that outlives the service, and remembers what it really sent. Every call is a new
/// message to it, as with those that are shipped.
pub async fn provider(
    script: &str,
    stop: &CancellationToken,
) -> (Arc<SimulatedProvider>, SocketAddr) {
    provider_that(script, None, stop).await
}

/// The same; a call that is repeated under the same id within `idempotent_for` sends nothing.
pub async fn provider_that(
    script: &str,
    idempotent_for: Option<Duration>,
    stop: &CancellationToken,
) -> (Arc<SimulatedProvider>, SocketAddr) {
    let script = script.parse().unwrap();
    let config = ProviderConfig { default_script: script, idempotent_for, ..Default::default() };
    provider_of(config, stop).await
}

/// One as it is configured, with a long memory.
pub async fn provider_of(
    config: ProviderConfig,
    stop: &CancellationToken,
) -> (Arc<SimulatedProvider>, SocketAddr) {
    let clock = Arc::new(SystemClock::new());
    let config = ProviderConfig { log_limit: 4_000_000, ..config };
    let provider = Arc::new(SimulatedProvider::new(clock, config));
    let server = ServerConfig {
        api_key: "abcd1234".to_owned(),
        api_secret: Some(Secret::new(SECRET)),
        signature_secret: Some(Secret::new(SECRET)),
        ..ServerConfig::default()
    };
    let server = SandboxServer::new(Arc::clone(&provider), server).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(server.serve(listener, stop.clone()));
    (provider, address)
}

/// Messenger and SMS through `provider`; its webhooks come to `http`. The SMS route is narrow, so
/// that attempts wait PLANNED.
pub fn config(provider: SocketAddr, http: SocketAddr) -> String {
    format!(
        r#"
[listen]
public_url = "http://{http}"
[store]
retention_s = 86400
[engine]
recovery_grace_s = 0
unknown_wait_s = 1
unconfirmed_after_s = 20
[log]
level = "warn"
[[access.keys]]
id = "{KEY}"
secret = "{SECRET}"
scopes = ["create", "read", "cancel", "admin", "operator"]
[[accounts]]
name = "main"
provider = "vonage"
settings = {{ base_url = "http://{provider}", api_key = "{KEY}" }}
secrets = {{ api_secret = "{SECRET}", signature_secret = "{SECRET}" }}
[[routes]]
name = "messenger"
adapter = "vonage-messenger"
account = "main"
[[routes]]
name = "sms"
adapter = "vonage-sms"
account = "main"
concurrency = 2
"#
    )
}

/// What brings the key; where there is none, it is as good as nothing.
pub fn credential() -> Credential {
    Credential::key(&format!("{KEY}:{SECRET}")).unwrap()
}

/// Nobody to call: for stores that only have to hold.
pub fn config_without_provider() -> String {
    "[sandbox]\ndefault_script = \"accept; never\"\n[log]\nlevel = \"warn\"\n".to_owned()
}

pub fn request(request_id: &str, spec: WorkflowSpec) -> CreateWorkflowRequest {
    CreateWorkflowRequest { request_id: request_id.to_owned(), ..requests::request(spec) }
}

/// Messenger to `person`, to be read within a second, else an SMS.
pub fn messenger_sms(person: &str) -> WorkflowSpec {
    requests::messenger_sms(person, "447700900001", "1s")
}

pub fn messenger_sms_saying(person: &str, text: &str) -> WorkflowSpec {
    requests::messenger_sms_saying(person, "447700900001", "1s", text)
}
