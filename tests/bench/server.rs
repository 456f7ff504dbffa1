//! The service that is measured: a child process, the `dispatch` beside this program, or one that runs elsewhere.
//!
//! The child is `dispatch serve` as anybody would start it: a configuration file, a data folder on
//! the disk, every durability on. Nothing in it knows that it is being measured.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use tonic::{service::interceptor::InterceptedService, transport::Endpoint};

use super::usage::{self, Usage};
use crate::CommandFailure;
use dispatch::{
    cli::undo::{TempFolder, Undo},
    client::{Credential, Known},
};

/// The name of the account at the provider that plays along, and of the key that the bench calls with.
pub(super) const API_KEY: &str = "abcd1234";
/// How long a service may take until it serves.
const TIMEOUT: Duration = Duration::from_secs(300);

/// A service to be measured.
pub(super) struct Server {
    /// Kills it.
    child: Option<Undo>,
    pids: Vec<u32>,
    folder: Folder,
    /// As in `http://127.0.0.1:50051`.
    pub(super) grpc: String,
    /// Where its webhooks arrive, if it is ours.
    pub(super) webhooks: String,
    internal: Option<SocketAddr>,
    /// What webhooks are signed with.
    pub(super) secret: String,
}

impl Server {
    /// Starts one whose messages go to `provider`, with its data in a new folder under `within`, or in the `postgres` that
    /// this connects to.
    pub(super) async fn start(
        within: &Path,
        postgres: Option<&str>,
        provider: SocketAddr,
        route_concurrency: u32,
    ) -> Result<Server, CommandFailure> {
        let folder = Folder::new(within).map_err(|error| {
            CommandFailure::new(format!("cannot make a folder in {}: {error}", within.display()))
        })?;
        let secret = uuid::Uuid::new_v4().simple().to_string();
        let text = config(provider, &secret, route_concurrency, postgres);
        std::fs::write(folder.config(), text).map_err(|error| {
            CommandFailure::new(format!("cannot write a configuration: {error}"))
        })?;
        let mut server = Server {
            child: None,
            pids: Vec::new(),
            folder,
            grpc: String::new(),
            webhooks: String::new(),
            internal: None,
            secret,
        };
        server.launch().await?;
        Ok(server)
    }

    /// One that runs already and is another system: only receipts go there from here.
    pub(super) fn elsewhere(
        within: &Path,
        receipts: String,
        pids: Vec<u32>,
    ) -> Result<Server, CommandFailure> {
        let folder = Folder::new(within).map_err(|error| {
            CommandFailure::new(format!("cannot make a folder in {}: {error}", within.display()))
        })?;
        Ok(Server {
            child: None,
            pids,
            folder,
            grpc: String::new(),
            webhooks: receipts,
            internal: None,
            secret: uuid::Uuid::new_v4().simple().to_string(),
        })
    }

    /// Kills it, as a crash would, starts it again, and tells how long it took until it served.
    pub(super) async fn restart(&mut self) -> Result<Duration, CommandFailure> {
        self.child = None;
        let began = Instant::now();
        self.launch().await?;
        Ok(began.elapsed())
    }

    async fn launch(&mut self) -> Result<(), CommandFailure> {
        let failed =
            |error: std::io::Error| CommandFailure::new(format!("cannot start a service: {error}"));
        let program = std::env::current_exe().map_err(failed)?.with_file_name("dispatch");
        let mut child = Command::new(program)
            .arg("serve")
            .arg("--config")
            .arg(self.folder.config())
            .arg("--data")
            .arg(self.folder.data())
            .args(["--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0"])
            .args(["--internal-http", "127.0.0.1:0"])
            .env(MASTER_KEY, BASE64_STANDARD.encode([7; 32]))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let out = child.stdout.take();
        self.pids = vec![child.id()];
        self.child = Some(Undo::new(move || {
            // Gone already is as good.
            let _ = child.kill();
            let _ = child.wait();
        }));
        let banner = tokio::task::spawn_blocking(move || out.and_then(read_banner));
        let banner = tokio::time::timeout(TIMEOUT, banner).await;
        let Ok(Ok(Some(Banner { grpc, http, internal }))) = banner else {
            return Err(CommandFailure::new("the service that was to be measured did not start"));
        };
        self.grpc = format!("http://{grpc}");
        self.webhooks = format!("http://{http}/receipts/vonage/bench");
        self.internal = Some(internal);
        Ok(())
    }

    /// So many connections, set up as any client would.
    pub(super) async fn connect(&self, connections: usize) -> Result<Vec<Known>, CommandFailure> {
        let failed = |error: tonic::transport::Error| CommandFailure {
            code: 6,
            text: format!("cannot reach {}: {error}", self.grpc),
        };
        // Ours asks for a key, as every service does that really sends.
        let credential = Credential::key(&format!("{API_KEY}:{}", self.secret)).unwrap_or_default();
        let mut channels = Vec::new();
        for _ in 0..connections.max(1) {
            let endpoint = Endpoint::from_shared(self.grpc.clone()).map_err(failed)?;
            let channel = endpoint.tcp_nodelay(true).connect().await.map_err(failed)?;
            channels.push(InterceptedService::new(channel, credential.clone()));
        }
        Ok(channels)
    }

    /// What it has used so far, if it is known which process it is.
    pub(super) fn usage(&self) -> Option<Usage> {
        (!self.pids.is_empty()).then(|| usage::of_all(&self.pids))
    }

    /// How many bytes its data take on the disk, if it is ours.
    pub(super) fn disk_bytes(&self) -> Option<u64> {
        self.child.as_ref().map(|_| usage::folder_bytes(&self.folder.data()))
    }

    /// A folder on the same disk.
    pub(super) fn folder(&self) -> &Path {
        self.folder.0.path()
    }

    /// The configuration it runs on, if it is ours.
    pub(super) fn config(&self) -> Option<PathBuf> {
        self.child.as_ref().map(|_| self.folder.config())
    }

    /// The sum of those of its metrics whose line begins so, if it is ours.
    pub(super) async fn metric(&self, beginning: &str) -> Option<u64> {
        let address = self.internal?;
        let client = reqwest::Client::builder().no_proxy().build().ok()?;
        let answer = client.get(format!("http://{address}/metrics")).send().await.ok()?;
        Some(sum(&answer.text().await.ok()?, beginning))
    }
}

fn config(provider: SocketAddr, secret: &str, concurrency: u32, postgres: Option<&str>) -> String {
    let (store, access) = match postgres {
        Some(connection) => (
            format!("kind = \"postgres\"\nconnection = {}", toml::Value::from(connection)),
            format!("[access]\nmaster_key = \"env:{MASTER_KEY}\""),
        ),
        None => (String::new(), String::new()),
    };
    format!(
        r#"
[store]
ballast_mib = 0
{store}
[engine]
recovery_grace_s = 0
[log]
level = "warn"
{access}
[[access.keys]]
id = "{API_KEY}"
secret = "{secret}"
scopes = ["create", "read", "cancel", "admin"]
[[accounts]]
name = "bench"
provider = "vonage"
settings = {{ base_url = "http://{provider}", api_key = "{API_KEY}" }}
secrets = {{ api_secret = "{secret}", signature_secret = "{secret}" }}
[[routes]]
name = "messenger"
adapter = "vonage-messenger"
account = "bench"
concurrency = {concurrency}
[[routes]]
name = "sms"
adapter = "vonage-sms"
account = "bench"
concurrency = {concurrency}
"#
    )
}

/// Where the service finds the master key of what it keeps in a database.
const MASTER_KEY: &str = "DISPATCH_BENCH_MASTER_KEY";

#[derive(Debug, PartialEq)]
struct Banner {
    grpc: SocketAddr,
    http: SocketAddr,
    internal: SocketAddr,
}

/// Reads where it listens; the rest of what it says is read and dropped, so that it never waits.
fn read_banner(out: impl std::io::Read + Send + 'static) -> Option<Banner> {
    let mut lines = BufReader::new(out).lines();
    let mut found = Vec::new();
    while found.len() < 3 {
        found.extend(listener(&lines.next()?.ok()?));
    }
    std::thread::spawn(move || lines.for_each(drop));
    let [grpc, http, internal] = found.try_into().ok()?;
    Some(Banner { grpc, http, internal })
}

/// The address in a line of the banner, in the order gRPC, webhooks, health.
fn listener(line: &str) -> Option<SocketAddr> {
    let mut words = line.split_whitespace();
    let name = words.next()?;
    let address = words.next()?;
    let address = address.strip_prefix("http://").unwrap_or(address).split('/').next()?;
    ["gRPC", "webhooks", "health"].contains(&name).then(|| address.parse().ok())?
}

/// Sums the lines of Prometheus' text format that begin so.
fn sum(text: &str, beginning: &str) -> u64 {
    let lines = text.lines().filter(|line| line.starts_with(beginning));
    lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok()).sum()
}

/// A folder of our own.
struct Folder(TempFolder);

impl Folder {
    fn new(within: &Path) -> std::io::Result<Folder> {
        TempFolder::new(within, "dispatch-bench").map(Folder)
    }

    fn config(&self) -> PathBuf {
        self.0.path().join("dispatch.toml")
    }

    fn data(&self) -> PathBuf {
        self.0.path().join("data")
    }
}

#[cfg(test)]
mod tests {
    use dispatch::config::{Config, StoreKind};

    use super::*;

    #[test]
    fn the_banner_of_serve_is_understood() {
        let told = "dispatch 0.1.0\n  gRPC           127.0.0.1:1\n  \
                    webhooks       http://127.0.0.1:2/receipts/{provider}/{account}\n  \
                    health         http://127.0.0.1:3/healthz /readyz /metrics\n  data  /x\n";
        let [grpc, http, internal] = [1, 2, 3].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        assert_eq!(read_banner(told.as_bytes()), Some(Banner { grpc, http, internal }));
        assert_eq!(read_banner(&b"dispatch: cannot listen\n"[..]), None);
    }

    #[test]
    fn the_configuration_is_one_that_the_service_takes() {
        let provider = SocketAddr::from(([127, 0, 0, 1], 9));
        let connection = "host=/tmp user=\"a b\" dbname=x";
        for (postgres, kind) in [(None, StoreKind::Sled), (Some(connection), StoreKind::Postgres)] {
            let config = Config::parse(&config(provider, "a secret", 256, postgres)).unwrap();
            assert_eq!(config.routes.len(), 2);
            assert_eq!(config.store.kind, kind);
        }
    }

    #[test]
    fn metrics_are_summed_over_their_labels() {
        let text = "# HELP x\nended_total{state=\"A\"} 2\nended_total{state=\"B\"} 3\nopen 7\n";
        assert_eq!(sum(text, "ended_total"), 5);
        assert_eq!(sum(text, "ended_total{state=\"B\""), 3);
        assert_eq!(sum(text, "open "), 7);
    }
}
