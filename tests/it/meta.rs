//! Meta, as one uses it: the program itself with an account, against Meta's simulated server over HTTP.

use std::{path::Path, sync::Arc, time::Duration};

use dispatch::{
    client::{Client, Credential},
    engine::SystemClock,
    pb::v1::{
        AdvanceClockRequest, StepProgress, StepState, Workflow, WorkflowState,
        sandbox_service_client::SandboxServiceClient,
    },
    service::ServiceClock,
};
use dispatch_contract::Secret;
use dispatch_sandbox::{
    MetaApp, ProviderConfig, SandboxServer, ServerConfig, SimulatedProvider, SimulatedTwilio,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{net::TcpListener, process::Command};
use tokio_util::sync::CancellationToken;
use tonic::{service::interceptor::InterceptedService, transport::Channel};

use crate::{
    node,
    support::{FREE, Process, eventually, free_port, request},
};

const KEY: &str = "me:a secret of the tests";
const HOUSE: &str = "token-of-the-house";
const APP_SECRET: &str = "app-secret";
const NUMBER_ID: &str = "106540352242922";
/// A tenant's, who brings it along.
const OTHER_ID: &str = "106540352242923";
const PAGE: &str = "107083064136738";
/// By which what Meta's messages do not reach goes on.
const TWILIO: &str = "AC0123456789abcdef0123456789abcdef";
const TWILIO_TOKEN: &str = "an auth token of the tests";
const PATIENCE: Duration = Duration::from_secs(20);

/// The program, and the server that it sends to.
struct World {
    process: Process,
    meta: Arc<SimulatedProvider>,
    client: Client,
    sandbox: SandboxServiceClient<InterceptedService<Channel, Credential>>,
    stop: CancellationToken,
    _folder: TempDir,
}

impl World {
    async fn start() -> World {
        let listener = TcpListener::bind(FREE).await.unwrap();
        let server = format!("http://{}", listener.local_addr().unwrap());
        let http = free_port().await;
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("dispatch.toml");
        let text = format!(
            r#"
[store]
kind = "memory"
[sandbox]
virtual_clock = true
[listen]
public_url = "http://{http}"
[[access.keys]]
id = "me"
secret = "a secret of the tests"
scopes = ["create", "read", "admin", "operator"]
[[accounts]]
name = "main"
provider = "meta"
settings = {{ base_url = "{server}", phone_numbers = "447700900001={NUMBER_ID}" }}
secrets = {{ access_token = "{HOUSE}", app_secret = "{APP_SECRET}", verify_token = "v" }}
[[routes]]
name = "whatsapp"
adapter = "meta-whatsapp"
account = "main"
[[routes]]
name = "messenger"
adapter = "meta-messenger"
account = "main"
[[accounts]]
name = "main"
provider = "twilio"
settings = {{ base_url = "{server}", account_sid = "{TWILIO}" }}
secrets = {{ auth_token = "{TWILIO_TOKEN}" }}
[[routes]]
name = "sms"
adapter = "twilio-sms"
account = "main"
# Who has none of the sandbox's may not set its clock.
[[routes]]
name = "mms"
adapter = "sandbox-mms"
account = "sandbox"
"#
        );
        std::fs::write(&config, text).unwrap();
        let process = Process::serve(&config, &folder.path().join("data"), FREE, http).await;
        let webhooks = format!("http://{}/receipts/meta/main", process.http);
        let (meta, stop) = simulated(listener, webhooks);
        let address = format!("http://{}", process.grpc);
        let key = Credential::key(KEY).unwrap();
        let client = Client::connect(address.clone()).await.unwrap().with(key.clone());
        let channel = Channel::from_shared(address).unwrap().connect().await.unwrap();
        let sandbox = SandboxServiceClient::with_interceptor(channel, key);
        World { process, meta, client, sandbox, stop, _folder: folder }
    }

    /// A message by Meta, to reach `status`, else an SMS.
    async fn create(&self, sender: &str, recipient: &str, status: &str) -> String {
        let spec = dispatch::pb::from_yaml(&format!(
            "
steps:
  - sender: {sender}
    recipient: {recipient}
    message: {{ text: 'Your table is ready.' }}
    failover: {{ expiry_time: 600s, condition_status: {status} }}
  - sender: {{ channel: sms, number: 'Dispatch' }}
    recipient: {{ channel: sms, number: '447700900000' }}
    message: {{ text: 'Your table is ready.' }}
"
        ));
        let created = self.client.create(request(spec.unwrap())).await.unwrap();
        created.workflow.unwrap().workflow_id
    }

    /// WhatsApp to a number, to be read.
    async fn whatsapp(&self, number: &str) -> String {
        let recipient = format!("{{ channel: whatsapp, number: '{number}' }}");
        self.create("{ channel: whatsapp, number: '447700900001' }", &recipient, "read").await
    }

    /// Waits until this holds of a workflow.
    async fn until(&self, id: &str, holds: impl Fn(&Workflow) -> bool) -> Workflow {
        let has = async || holds(&self.get(id).await);
        assert!(eventually(PATIENCE, has).await, "{:?}", self.get(id).await);
        self.get(id).await
    }

    /// Waits until the first step is over, and for how it ended.
    async fn first_step(&self, id: &str) -> StepProgress {
        let is_over =
            |it: &Workflow| !matches!(it.steps[0].state(), StepState::Waiting | StepState::Active);
        self.until(id, is_over).await.steps.swap_remove(0)
    }

    async fn get(&self, id: &str) -> Workflow {
        self.client.get(id).await.unwrap()
    }

    async fn advance(&self, by: Duration) {
        let request = AdvanceClockRequest { by: Some(by.try_into().unwrap()) };
        self.sandbox.clone().advance_clock(request).await.unwrap();
    }

    async fn stop(self) {
        self.stop.cancel();
        assert_eq!(self.process.terminate().await, Some(0));
    }
}

/// Meta's simulated server, on the machine's own clock.
fn simulated(
    listener: TcpListener,
    webhook_url: String,
) -> (Arc<SimulatedProvider>, CancellationToken) {
    let clock = ServiceClock::System(Arc::new(SystemClock::new())).contract_clock();
    let meta = Arc::new(SimulatedProvider::new(clock, ProviderConfig::default()));
    let senders = [(NUMBER_ID, HOUSE), (PAGE, HOUSE), (OTHER_ID, "token-of-acme")];
    let app = MetaApp {
        senders: senders.map(|(id, token)| (id.to_owned(), Secret::new(token))).into(),
        app_secret: Secret::new(APP_SECRET),
        webhook_url: Some(webhook_url),
    };
    let server = SandboxServer::new(Arc::clone(&meta), ServerConfig::default()).unwrap();
    let stop = CancellationToken::new();
    let account = SimulatedTwilio {
        account_sid: TWILIO.to_owned(),
        auth_token: Secret::new(TWILIO_TOKEN),
        api_key: None,
    };
    let server = server.with_meta(app).with_twilio(&account);
    tokio::spawn(server.serve(listener, stop.clone()));
    (meta, stop)
}

/// Whether Meta took it, under an id of its own.
fn went_by_meta(step: &StepProgress) -> bool {
    let id = step.attempts[0].provider_message_ids.concat();
    id.starts_with("wamid.") || id.starts_with("m_")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_meta_tells_is_verified_and_counts_and_what_is_not_read_in_time_leads_on() {
    let world = World::start().await;
    world.meta.set_script("447700900010", "accept; deliver 0s; read 0s".parse().unwrap());
    world.meta.set_script("447700900011", "accept; deliver 0s".parse().unwrap());
    world.meta.set_script("447700900012", "reject 1340".parse().unwrap());

    let read = world.whatsapp("447700900010").await;
    let step = world.first_step(&read).await;
    assert_eq!((step.state(), &*step.status), (StepState::Met, "read"));
    assert!(went_by_meta(&step), "{step:?}");

    let unread = world.whatsapp("447700900011").await;
    world.until(&unread, |it| it.steps[0].status == "delivered").await;
    world.advance(Duration::from_secs(600)).await;
    assert_eq!(world.first_step(&unread).await.state(), StepState::Expired);
    // By Twilio, whose receipts count as Meta's do.
    let workflow = world.until(&unread, |it| it.steps[1].status == "delivered").await;
    assert_eq!(workflow.state(), WorkflowState::Succeeded);
    assert!(workflow.steps[1].attempts[0].provider_message_ids.concat().starts_with("SM"));

    // Whoever did not write within 24 hours.
    let outside = world.whatsapp("447700900012").await;
    let step = world.first_step(&outside).await;
    assert_eq!((step.state(), went_by_meta(&step)), (StepState::Failed, false));
    let workflow = world.until(&outside, |it| !it.steps[1].attempts.is_empty()).await;
    assert!(format!("{:?}", workflow.timeline).contains("\"131047\""), "{workflow:?}");

    // A page's deliveries come by ids.
    let person = "{ channel: messenger, id: '2384965291561984' }";
    let page = format!("{{ channel: messenger, id: '{PAGE}' }}");
    world.meta.set_script("2384965291561984", "accept; deliver 0s".parse().unwrap());
    let delivered = world.create(&page, person, "delivered").await;
    let step = world.first_step(&delivered).await;
    assert_eq!((step.state(), &*step.status), (StepState::Met, "delivered"));
    assert!(went_by_meta(&step), "{step:?}");

    // What was read is told only as a time until which all was.
    let unread = world.create(&page, person, "read").await;
    world.until(&unread, |it| it.steps[0].status == "delivered").await;
    world.meta.set_script("2384965291561984", "accept; deliver 0s; read 2s".parse().unwrap());
    for read in [&world.create(&page, person, "read").await, &unread] {
        let workflow = world.until(read, |it| it.steps[0].state() == StepState::Met).await;
        assert_eq!(workflow.steps[0].status, "read");
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_number_that_a_tenant_brings_sends_under_its_own_token_until_it_is_taken_away() {
    let world = World::start().await;
    let sender = format!("{{ channel: whatsapp, id: '{OTHER_ID}' }}");
    let recipient = "{ channel: whatsapp, number: '447700900010' }";
    world.meta.set_default("accept; deliver 0s; read 0s".parse().unwrap());
    let went = async || {
        let id = world.create(&sender, recipient, "read").await;
        let step = world.first_step(&id).await;
        went_by_meta(&step) && step.state() == StepState::Met
    };
    let call = async |method: &str, path: &str, body: Value| {
        let url = format!("http://{}/beta/chatapp-accounts/whatsapp{path}", world.process.http);
        let call = reqwest::Client::new().request(method.parse().unwrap(), url);
        let call = call.basic_auth("me", Some("a secret of the tests"));
        let call = call.header("content-type", "application/json").body(body.to_string());
        call.send().await.unwrap().status().as_u16()
    };
    assert!(!went().await, "the account's own token is not taken for it");
    let account = json!({ "external_id": OTHER_ID, "access_token": "token-of-acme" });
    assert_eq!(call("POST", "", account).await, 201);
    assert!(went().await, "it sends under its own token, and its receipts are taken");
    assert_eq!(call("DELETE", &format!("/{OTHER_ID}"), Value::Null).await, 204);
    assert!(!went().await);
    world.stop().await;
}

/// pywa is WhatsApp's client for Python: it sends to our server, and verifies and reads what that tells.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_client_is_served_and_takes_what_it_is_told() {
    let Some(python) = node::python_with("pywa").await else { return };
    let listener = TcpListener::bind(FREE).await.unwrap();
    let (server, receiver) = (listener.local_addr().unwrap(), free_port().await);
    let (meta, stop) = simulated(listener, format!("http://{receiver}/"));
    meta.set_default("accept; deliver 0s; read 0s".parse().unwrap());
    meta.set_script("447700900012", "reject 1340".parse().unwrap());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/clients/meta.py");
    let mut run = Command::new(python);
    run.arg(script).args([format!("http://{server}"), receiver.port().to_string()]);
    let ran = run.args([NUMBER_ID, HOUSE, APP_SECRET]).kill_on_drop(true).output().await.unwrap();
    let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success() && out.contains("all told"), "{out}{err}");
    stop.cancel();
}
