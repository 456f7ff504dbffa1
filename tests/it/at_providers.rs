//! The program itself, with accounts at providers that are simulated over HTTP: what the tests of each provider begin
//! with.

use std::{path::PathBuf, sync::Arc, time::Duration};

use dispatch::{
    client::{Client, Credential},
    engine::SystemClock,
    pb::v1::{EventKind, RecallResult, StepProgress, StepState, Workflow, event::Attributes},
    service::ServiceClock,
};
use dispatch_contract::Secret;
use dispatch_sandbox::{
    ProviderConfig, SandboxServer, ServerConfig, SimulatedProvider, SimulatedTwilio,
};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::support::{FREE, Process, eventually, free_port, request};

/// Who operates it, and is of the tenant `default`.
pub const KEY: &str = "me:a secret of the tests";
/// How long anything may take.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A server of simulated providers, on the machine's own clock, until it is dropped.
pub struct ProvidersServer {
    /// What all of them are, behind their servers.
    pub provider: Arc<SimulatedProvider>,
    /// Where they are.
    pub url: String,
    _stop: DropGuard,
}

impl ProvidersServer {
    /// With what `served` puts on it.
    pub async fn start(served: impl FnOnce(SandboxServer) -> SandboxServer) -> ProvidersServer {
        let listener = TcpListener::bind(FREE).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let clock = ServiceClock::System(Arc::new(SystemClock::new())).contract_clock();
        let provider = Arc::new(SimulatedProvider::new(clock, ProviderConfig::default()));
        let server = SandboxServer::new(Arc::clone(&provider), ServerConfig::default()).unwrap();
        let stop = CancellationToken::new();
        tokio::spawn(served(server).serve(listener, stop.clone()));
        ProvidersServer { provider, url, _stop: stop.drop_guard() }
    }
}

/// The program, and the server of its providers.
pub struct AtProviders {
    pub process: Process,
    pub server: ProvidersServer,
    pub client: Client,
    /// The configuration file.
    pub config: PathBuf,
    _folder: TempDir,
}

impl AtProviders {
    /// With the providers that `served` puts on a server, which is told where the program listens for them, and with
    /// the accounts and routes of `configured`, which is told where that server is.
    pub async fn start(
        served: impl FnOnce(SandboxServer, &str) -> SandboxServer,
        configured: impl FnOnce(&str) -> String,
    ) -> AtProviders {
        let http = free_port().await;
        let server = ProvidersServer::start(|it| served(it, &format!("http://{http}"))).await;
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("dispatch.toml");
        let text = format!(
            r#"
[store]
kind = "memory"
[listen]
public_url = "http://{http}"
[[access.keys]]
id = "me"
secret = "a secret of the tests"
scopes = ["create", "read", "admin", "operator", "contents"]
{}"#,
            configured(&server.url)
        );
        std::fs::write(&config, text).unwrap();
        let process = Process::serve(&config, &folder.path().join("data"), FREE, http).await;
        let address = format!("http://{}", process.grpc);
        let client = Client::connect(address).await.unwrap().with(Credential::key(KEY).unwrap());
        AtProviders { process, server, client, config, _folder: folder }
    }

    pub fn script(&self, recipient: &str, script: &str) {
        self.server.provider.set_script(recipient, script.parse().unwrap());
    }

    /// Creates a workflow of YAML, and returns its id.
    pub async fn create_yaml(&self, spec: &str) -> String {
        let spec = dispatch::pb::from_yaml(spec).unwrap();
        let created = self.client.create(request(spec)).await.unwrap();
        created.workflow.unwrap().workflow_id
    }

    pub async fn get(&self, id: &str) -> Workflow {
        self.client.get(id).await.unwrap()
    }

    /// The workflow, once this holds of it.
    pub async fn until(&self, id: &str, holds: impl Fn(&Workflow) -> bool) -> Workflow {
        let has = async || holds(&self.get(id).await);
        assert!(eventually(PATIENCE, has).await, "{:?}", self.get(id).await);
        self.get(id).await
    }

    /// The workflow, once it has ended.
    pub async fn ended(&self, id: &str) -> Workflow {
        self.until(id, |workflow| workflow.outcome.is_some()).await
    }

    pub async fn stop(self) {
        assert_eq!(self.process.terminate().await, Some(0));
    }
}

/// An account at Twilio, as its simulated server knows it.
pub fn simulated_twilio(account_sid: &str, auth_token: &str) -> SimulatedTwilio {
    SimulatedTwilio {
        account_sid: account_sid.to_owned(),
        auth_token: Secret::new(auth_token),
        api_key: None,
        inbound_url: None,
    }
}

pub fn states(workflow: &Workflow) -> Vec<(StepState, &str)> {
    let state = |step: &StepProgress| step.state();
    workflow.steps.iter().map(|step| (state(step), step.status.as_str())).collect()
}

/// What came of the first recall.
pub fn recall(workflow: &Workflow) -> Option<RecallResult> {
    let ended = workflow.timeline.iter().find(|event| event.kind() == EventKind::RecallEnded)?;
    match ended.attributes.as_ref()? {
        Attributes::Recall(recall) => Some(recall.result()),
        _ => None,
    }
}
