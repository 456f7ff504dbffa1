//! What the tests share: a service in this process, and one as a process of its own.

use std::{
    net::SocketAddr,
    path::Path,
    process::Stdio,
    sync::atomic::{AtomicU16, Ordering},
    time::Duration,
};

use dispatch::{
    builtin,
    client::Client,
    config::{Config, StoreKind},
    pb::v1::{
        AdvanceClockRequest, Event, EventKind, ListSentMessagesRequest, SentMessage,
        SetScriptRequest, Workflow, WorkflowSpec, sandbox_service_client::SandboxServiceClient,
    },
    service::{Service, ServiceClock},
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::TcpListener,
    process::{Child, Command},
};
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tonic_types::RpcStatusExt;

use crate::no_recipient;
pub use crate::shared::{
    requests::{messenger_sms, request},
    waits::eventually,
};

/// A port that the system chooses.
pub const FREE: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// A service in this process.
pub struct Running {
    pub service: Service,
    pub client: Client,
    pub sandbox: SandboxServiceClient<Channel>,
    clock: ServiceClock,
    stop: CancellationToken,
}

/// Everything in memory, on a clock that moves on demand.
pub fn in_memory() -> Config {
    let mut config = Config::default();
    config.listen.grpc = FREE;
    config.listen.http = FREE;
    config.listen.internal_http = FREE;
    config.store.kind = StoreKind::Memory;
    config.sandbox.virtual_clock = true;
    // Many tests try wrong credentials, and all come from one address.
    config.access.failed_logins = 0;
    config
}

impl Running {
    /// With the sandbox in process.
    pub async fn start(config: &Config) -> Running {
        let mut kept = None;
        let started = no_recipient::start(config, |clock, _| {
            kept = Some(clock.clone());
            builtin::parts(config, clock)
        });
        let started = started.await.unwrap();
        Running::around(started, kept.unwrap()).await
    }

    /// With the real adapters, over HTTP to the sandbox.
    pub async fn over_http(config: &Config) -> Running {
        let listener = TcpListener::bind(FREE).await.unwrap();
        let stop = CancellationToken::new();
        let mut kept = None;
        let started = no_recipient::start(config, |clock, http| {
            kept = Some(clock.clone());
            builtin::over_http(config, clock, http, listener, stop.clone())
        });
        let started = started.await.unwrap();
        let mut running = Running::around(started, kept.unwrap()).await;
        running.stop = stop;
        running
    }

    async fn around(service: Service, clock: ServiceClock) -> Running {
        let address = format!("http://{}", service.grpc);
        let client = Client::connect(address.clone()).await.unwrap();
        let sandbox = SandboxServiceClient::connect(address).await.unwrap();
        Running { service, client, sandbox, clock, stop: CancellationToken::new() }
    }

    /// Goes on by another configuration, with the sandbox in process.
    pub async fn reload(&self, config: &Config) {
        let parts = builtin::parts(config, &self.clock).unwrap();
        self.service.reload(config, parts).await.unwrap();
    }

    pub async fn stop(self) {
        self.stop.cancel();
        no_recipient::stop(self.service).await;
    }

    pub async fn script(&self, recipient: &str, script: &str) {
        let request =
            SetScriptRequest { recipient: recipient.to_owned(), script: script.to_owned() };
        self.sandbox.clone().set_script(request).await.unwrap();
    }

    pub async fn advance(&self, by: Duration) {
        let request = AdvanceClockRequest { by: Some(by.try_into().unwrap()) };
        self.sandbox.clone().advance_clock(request).await.unwrap();
    }

    pub async fn sent(&self) -> Vec<SentMessage> {
        let request = ListSentMessagesRequest { page_size: 1000, ..Default::default() };
        self.sandbox.clone().list_sent_messages(request).await.unwrap().into_inner().messages
    }

    pub async fn create(&self, spec: WorkflowSpec) -> String {
        let created = self.client.create(request(spec)).await.unwrap();
        created.workflow.unwrap().workflow_id
    }

    pub async fn get(&self, id: &str) -> Workflow {
        self.client.get(id).await.unwrap()
    }
}

/// Why one request of a batch was rejected, for a program.
pub fn batch_reason(error: &tonic_types::Status) -> String {
    error.get_error_details().error_info().map(|info| info.reason.clone()).unwrap_or_default()
}

pub fn kinds(events: &[Event]) -> Vec<EventKind> {
    events.iter().map(Event::kind).collect()
}

/// The `dispatch` program as a process of its own.
#[allow(dead_code, reason = "each binary that shares this file uses a part of it")]
pub struct Process {
    pub child: Child,
    pub grpc: SocketAddr,
    pub http: SocketAddr,
    pub internal_http: SocketAddr,
    left: no_recipient::Left,
}

impl Process {
    /// Starts `dispatch serve`, and returns when it listens.
    pub async fn serve(config: &Path, data: &Path, grpc: SocketAddr, http: SocketAddr) -> Process {
        let program = Command::new(env!("CARGO_BIN_EXE_dispatch"));
        Process::serve_by(program, config, data, grpc, http).await
    }

    /// The same where it may have so many files open, on ports that the system chooses.
    #[allow(dead_code, reason = "each binary that shares this file uses a part of it")]
    pub async fn serve_with_files(most: u64, config: &Path, data: &Path) -> Process {
        let mut program = Command::new("sh");
        let limited = format!("ulimit -n {most}; exec \"$0\" \"$@\"");
        program.args(["-c", &limited, env!("CARGO_BIN_EXE_dispatch")]);
        Process::serve_by(program, config, data, FREE, FREE).await
    }

    /// The same by another program.
    #[allow(dead_code, reason = "each binary that shares this file uses a part of it")]
    pub async fn serve_by(
        mut program: Command,
        config: &Path,
        data: &Path,
        grpc: SocketAddr,
        http: SocketAddr,
    ) -> Process {
        let left = no_recipient::Left::of(&mut program, data);
        let mut child = program
            .arg("serve")
            .arg("--config")
            .arg(config)
            .arg("--data")
            .arg(data)
            .args(["--grpc", &grpc.to_string(), "--http", &http.to_string()])
            .args(["--internal-http", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut told = Vec::new();
        while let Some(line) = lines.next_line().await.unwrap() {
            let mut words = line.split_whitespace();
            let (Some("gRPC" | "webhooks" | "health"), Some(address)) =
                (words.next(), words.next())
            else {
                continue;
            };
            let address = address.rsplit("://").next().unwrap().split('/').next().unwrap();
            told.push(address.parse().unwrap());
            if let [grpc, http, internal_http] = told[..] {
                // Read on, so that the service never waits for a reader.
                tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
                return Process { child, grpc, http, internal_http, left };
            }
        }
        panic!("the service did not start: {:?}", child.wait().await);
    }

    /// Sends SIGHUP: the configuration is read again.
    #[allow(dead_code, reason = "each binary that shares this file uses a part of it")]
    pub fn reload(&self) {
        let id = self.child.id().unwrap().to_string();
        let sent = std::process::Command::new("kill").args(["-HUP", &id]).status().unwrap();
        assert!(sent.success());
    }

    pub async fn kill(mut self) {
        self.child.start_kill().unwrap();
        self.child.wait().await.unwrap();
        self.left.search().await;
    }

    /// Sends SIGTERM and returns the exit code.
    pub async fn terminate(mut self) -> Option<i32> {
        let id = self.child.id().unwrap().to_string();
        let sent = std::process::Command::new("kill").args(["-TERM", &id]).status().unwrap();
        assert!(sent.success());
        let code = self.child.wait().await.unwrap().code();
        self.left.search().await;
        code
    }
}

/// A port that was free a moment ago.
#[allow(dead_code, reason = "each binary that shares this file uses a part of it")]
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
