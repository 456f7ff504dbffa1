//! Too much work, for the real program in a process of its own: what is refused is refused early,
//! what is accepted is done, and memory stays bounded.
//!
//! The load comes from this process, over real gRPC, and shares the machine with the service: so
//! figures are those of a machine half as large. `DISPATCH_OVERLOAD_S` sets how long a storm lasts,
//! `DISPATCH_STREAMS` how many streams are opened, `DISPATCH_WAITING` how many workflows wait for a
//! provider that is down.

mod heavy;
mod provider_down;
mod reads;
mod sign;
mod storm;
mod streams;

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    path::PathBuf,
    time::{Duration, Instant},
};

use dispatch::{
    client::Client,
    pb::v1::{CreateWorkflowRequest, ListWorkflowsRequest, WorkflowSpec, WorkflowState},
};

use crate::support::{FREE, Process, request};

/// The program, with a folder of its own.
pub struct Server {
    pub process: Process,
    client: Client,
    _folder: tempfile::TempDir,
}

impl Server {
    /// With this configuration beside that of logs.
    pub async fn start(config: &str) -> Server {
        Server::start_at(config, FREE).await
    }

    /// The same, with webhooks at this address.
    async fn start_at(config: &str, http: SocketAddr) -> Server {
        let folder = tempfile::tempdir().unwrap();
        let file: PathBuf = folder.path().join("dispatch.toml");
        std::fs::write(&file, format!("[log]\nlevel = \"error\"\n{config}")).unwrap();
        let process = Process::serve(&file, &folder.path().join("data"), FREE, http).await;
        let client = Client::connect(format!("http://{}", process.grpc)).await.unwrap();
        let client = client.with(sign::credential());
        Server { process, client, _folder: folder }
    }

    /// A connection of its own.
    pub async fn connect(&self) -> Client {
        let client = Client::connect(format!("http://{}", self.process.grpc)).await.unwrap();
        client.with(sign::credential())
    }

    fn status(&self, name: &str) -> u64 {
        let path = format!("/proc/{}/status", self.process.child.id().unwrap());
        let status = std::fs::read_to_string(path).unwrap();
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// Memory it holds now, in MiB.
    pub fn rss_mib(&self) -> u64 {
        self.status("VmRSS:") / 1024
    }

    /// The most memory it ever held, in MiB.
    fn peak_mib(&self) -> u64 {
        self.status("VmHWM:") / 1024
    }

    /// A metric's value; 0 if it is not told yet.
    async fn metric(&self, name: &str) -> u64 {
        let url = format!("http://{}/metrics", self.process.internal_http);
        let text = reqwest::get(url).await.unwrap().text().await.unwrap();
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.map_or(0, |value| value.parse::<f64>().unwrap() as u64)
    }

    /// The ids of all workflows, and how many of them have not ended.
    async fn all(&self) -> (BTreeSet<String>, usize) {
        let (mut ids, mut open, mut page_token) = (BTreeSet::new(), 0, String::new());
        loop {
            let request = ListWorkflowsRequest { page_size: 500, page_token, ..Default::default() };
            let page = self.client.list(request).await.unwrap();
            for workflow in page.workflows {
                let state = workflow.state();
                open +=
                    usize::from(matches!(state, WorkflowState::Running | WorkflowState::Scheduled));
                ids.insert(workflow.workflow_id);
            }
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return (ids, open);
            }
        }
    }

    pub async fn stop(self) {
        assert_eq!(self.process.terminate().await, Some(0));
    }
}

/// One SMS.
pub fn sms(number: &str) -> WorkflowSpec {
    dispatch::pb::from_yaml(&format!(
        "
steps:
  - sender: {{ channel: sms, number: 'Dispatch' }}
    recipient: {{ channel: sms, number: '{number}' }}
    message: {{ text: 'Your table is ready.' }}
"
    ))
    .unwrap()
}

pub fn create_sms() -> CreateWorkflowRequest {
    request(sms("447700900001"))
}

/// Times, to be asked for their middle and their worst.
#[derive(Clone, Debug, Default)]
struct Times(Vec<Duration>);

impl Times {
    fn add(&mut self, since: Instant) {
        self.0.push(since.elapsed());
    }

    /// The time that so many in a hundred did not exceed.
    fn at(&mut self, percent: usize) -> Duration {
        self.0.sort_unstable();
        let last = self.0.len().saturating_sub(1);
        self.0.get(last * percent / 100).copied().unwrap_or_default()
    }

    fn p99_ms(&mut self) -> u64 {
        self.at(99).as_millis() as u64
    }
}

/// Lets this process and those that it starts have many files open.
pub fn raise_open_files(wanted: u64) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < wanted) {
        let most = limit.maximum.map_or(wanted, |maximum| maximum.min(wanted));
        let raised = Rlimit { current: Some(most), maximum: limit.maximum };
        setrlimit(Resource::Nofile, raised).expect("the soft limit may be raised to the hard one");
        assert_eq!(most, wanted, "raise the limit of open files to {wanted}: ulimit -n {wanted}");
    }
}
