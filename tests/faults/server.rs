//! The program as a process of its own, perhaps with the shim under it.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    pin::pin,
    process::{ExitStatus, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU16, Ordering},
    },
    time::{Duration, Instant},
};

use dispatch::client::Client;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader, Lines},
    net::TcpListener,
    process::{Child, ChildStdout, Command},
    task::JoinHandle,
};

use crate::{
    shim::Faults,
    world::{credential, eventually},
};

/// How long anything that must come may take: a process that hangs is a finding.
pub const TIMEOUT: Duration = Duration::from_secs(60);
/// On a machine that is much too busy a start is waited for as much longer as it waits for a processor, up to this.
const STARVED_MOST: Duration = Duration::from_secs(600);

/// Which program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// `dispatch` as it is shipped.
    Real,
    /// The same service, with adapters whose provider honours our id: none that is shipped does.
    Honouring,
}

/// Where a service lives: the same for all its lives.
#[derive(Clone, Debug)]
pub struct Place {
    pub program: Program,
    pub config: PathBuf,
    pub data: PathBuf,
    pub grpc: SocketAddr,
    pub http: SocketAddr,
}

/// A running process.
pub struct Server {
    child: Child,
    pub grpc: SocketAddr,
    /// Health and metrics; known once it serves.
    pub internal_http: SocketAddr,
    said: Arc<Mutex<String>>,
    listening: Vec<JoinHandle<()>>,
}

/// A process that does not serve yet.
pub struct Starting {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    said: Arc<Mutex<String>>,
    errors: JoinHandle<()>,
    ports: (SocketAddr, SocketAddr),
}

/// How a process ended.
#[derive(Debug)]
pub struct Ended {
    pub status: ExitStatus,
    /// What it wrote to its standard error.
    pub said: String,
}

impl Place {
    /// In `folder`, with the configuration `text`.
    pub async fn new(folder: &Path, text: &str) -> Place {
        let config = folder.join("dispatch.toml");
        std::fs::write(&config, text).unwrap();
        let (grpc, http) = (free_port().await, free_port().await);
        Place { program: Program::Real, config, data: folder.join("data"), grpc, http }
    }

    /// Starts a process that is not tampered with.
    pub async fn start(&self) -> Server {
        self.start_with(None, &[]).await.unwrap_or_else(|ended| panic!("no start: {ended:?}"))
    }

    /// Starts a process; `Err` if it ends before it serves.
    pub async fn start_with(
        &self,
        faults: Option<&Faults>,
        flags: &[&str],
    ) -> Result<Server, Ended> {
        let environment = faults.map(|faults| faults.environment(&self.data));
        self.start_in(environment.unwrap_or_default(), flags).await
    }

    /// The same, in an environment of its own.
    pub async fn start_in(
        &self,
        environment: Vec<(&'static str, String)>,
        flags: &[&str],
    ) -> Result<Server, Ended> {
        self.begin(environment, flags).serves(TIMEOUT).await
    }

    /// Starts a process, and does not wait until it serves.
    pub fn begin(&self, environment: Vec<(&'static str, String)>, flags: &[&str]) -> Starting {
        let mut command = match self.program {
            Program::Real => Command::new(env!("CARGO_BIN_EXE_dispatch")),
            Program::Honouring => Command::new(std::env::current_exe().unwrap()),
        };
        match self.program {
            Program::Real => command.arg("serve"),
            Program::Honouring => command.args(crate::honouring::ARGUMENTS),
        };
        command
            .env("DISPATCH_CONFIG", &self.config)
            .env("DISPATCH_DATA", &self.data)
            .env("DISPATCH_GRPC", self.grpc.to_string())
            .env("DISPATCH_HTTP", self.http.to_string())
            .env("DISPATCH_INTERNAL_HTTP", "127.0.0.1:0")
            .args(flags)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .envs(environment)
            .kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let said = Arc::new(Mutex::new(String::new()));
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let errors = tokio::spawn(hear(child.stderr.take().unwrap(), Arc::clone(&said)));
        Starting { child, lines, said, errors, ports: (self.grpc, self.http) }
    }
}

impl Starting {
    /// Waits until it says so on its standard error.
    pub async fn says(&self, what: &str) -> bool {
        eventually(TIMEOUT, || async { self.said.lock().unwrap().contains(what) }).await
    }

    /// Waits until it serves, for so long and for as long as it gets no processor; `Err` if it ends before.
    pub async fn serves(self, patience: Duration) -> Result<Server, Ended> {
        let Starting { child, mut lines, said, errors, ports } = self;
        let greeting = async {
            let mut grpc = None;
            while let Ok(Some(line)) = lines.next_line().await {
                let mut words = line.split_whitespace();
                match (words.next(), words.next()) {
                    (Some("gRPC"), Some(address)) => grpc = address.parse().ok(),
                    (Some("health"), Some(url)) => {
                        let address = url.strip_prefix("http://")?.strip_suffix("/healthz")?;
                        return Some((grpc?, address.parse().ok()?));
                    }
                    _ => {}
                }
            }
            None
        };
        let greeted = greeted(greeting, child.id(), patience).await.unwrap_or_else(|| {
            let said = said.lock().unwrap();
            panic!("it neither serves nor ends; threads:\n{}it said:\n{said}", threads(child.id()))
        });
        let Some((grpc, internal_http)) = greeted else {
            let (grpc, internal_http) = ports;
            let server = Server { child, grpc, internal_http, said, listening: vec![errors] };
            return Err(server.ended().await);
        };
        // Read on, so that the service never waits for a reader.
        let rest = tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(Server { child, grpc, internal_http, said, listening: vec![errors, rest] })
    }
}

impl Server {
    pub async fn client(&self) -> Client {
        Client::connect(format!("http://{}", self.grpc)).await.unwrap().with(credential())
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Kills it; says whether it had ended by itself.
    pub async fn kill(mut self) -> bool {
        let had_ended = self.has_ended();
        if !had_ended {
            self.child.start_kill().unwrap();
        }
        self.child.wait().await.unwrap();
        had_ended
    }

    /// The process's id.
    pub fn id(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    /// What it wrote to its standard error so far.
    pub fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    /// Sends a signal by its name.
    pub fn signal(&self, name: &str) {
        let id = self.id().to_string();
        let sent = std::process::Command::new("kill").args([&format!("-{name}"), &id]).status();
        assert!(sent.unwrap().success());
    }

    /// Waits until it has ended by itself.
    pub async fn ended(mut self) -> Ended {
        let status = tokio::time::timeout(TIMEOUT, self.child.wait()).await;
        let status = status.unwrap_or_else(|_| panic!("it hangs: {}", self.said.lock().unwrap()));
        for task in self.listening {
            task.await.unwrap();
        }
        let said = self.said.lock().unwrap().clone();
        Ended { status: status.unwrap(), said }
    }

    /// Sends SIGTERM and returns the exit code.
    pub async fn terminate(self) -> Option<i32> {
        self.signal("TERM");
        self.ended().await.status.code()
    }
}

/// What a start says in its time, in which waiting for a processor does not count.
async fn greeted<T>(
    greeting: impl Future<Output = T>,
    process: Option<u32>,
    patience: Duration,
) -> Option<T> {
    let (began, mut greeting) = (Instant::now(), pin!(greeting));
    loop {
        let heard = tokio::time::timeout(Duration::from_secs(1), &mut greeting).await;
        if let Ok(heard) = heard {
            return Some(heard);
        }
        if began.elapsed() > patience + starved(process).min(STARVED_MOST) {
            return None;
        }
    }
}

/// For how long the first thread of a process has waited for a processor.
fn starved(process: Option<u32>) -> Duration {
    let times = process.map(|id| std::fs::read_to_string(format!("/proc/{id}/schedstat")));
    let times = times.and_then(Result::ok).unwrap_or_default();
    let waited = times.split_whitespace().nth(1).and_then(|ns| ns.parse().ok());
    Duration::from_nanos(waited.unwrap_or(0))
}

/// What each thread of a process is doing: its state, where it waits, for how long it ran and for how long
/// it would have run had it been given a processor. A process that hangs is told from one that starves.
fn threads(process: Option<u32>) -> String {
    let Some(process) = process else { return "it has ended\n".to_owned() };
    let tasks = Path::new("/proc").join(process.to_string()).join("task");
    let threads = std::fs::read_dir(tasks).into_iter().flatten().filter_map(Result::ok);
    let told = threads.map(|thread| {
        let read =
            |name: &str| std::fs::read_to_string(thread.path().join(name)).unwrap_or_default();
        let (name, status, times) = (read("comm"), read("status"), read("schedstat"));
        let state = status.lines().find(|line| line.starts_with("State:")).unwrap_or_default();
        let mut times = times.split_whitespace().map(|ns| ns.parse().unwrap_or(0) / 1_000_000);
        let (ran, waited): (u64, u64) = (times.next().unwrap_or(0), times.next().unwrap_or(0));
        let (name, at) = (name.trim(), read("wchan"));
        format!("  {name}: {state}, at {at}, ran {ran} ms, waited {waited} ms for a processor\n")
    });
    told.collect()
}

async fn hear(stream: impl AsyncRead + Unpin, said: Arc<Mutex<String>>) {
    let mut lines = BufReader::new(stream).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let mut said = said.lock().unwrap();
        said.push_str(&line);
        said.push('\n');
    }
}

/// A port that was free a moment ago.
pub async fn free_port() -> SocketAddr {
    // Below those that the system gives to outgoing connections: a process that starts again must find
    // its port free.
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let offset = std::process::id() as u16 % 12_000;
    loop {
        let turn = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 18_000 + (offset + turn) % 12_000;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if TcpListener::bind(address).await.is_ok() {
            return address;
        }
    }
}
