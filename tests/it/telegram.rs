//! The Telegram Gateway, as one uses it: the program itself with an account, against the simulated Gateway over HTTP.

use std::{path::Path, sync::Arc, time::Duration};

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
use tokio::{net::TcpListener, process::Command};
use tokio_util::sync::CancellationToken;

use crate::{
    node,
    support::{FREE, Process, eventually, free_port, request},
};

const KEY: &str = "me:a secret of the tests";
const TOKEN: &str = "AAGG-a-token-of-the-tests";
const BOT_TOKEN: &str = "123456789:AA-a-token-of-the-tests";
const TWILIO: &str = "AC0123456789abcdef0123456789abcdef";
const PATIENCE: Duration = Duration::from_secs(20);

/// The program, and the server that it sends to.
struct TelegramWorld {
    process: Process,
    provider: Arc<SimulatedProvider>,
    server: String,
    client: Client,
    stop: CancellationToken,
    _folder: TempDir,
}

impl TelegramWorld {
    async fn start() -> TelegramWorld {
        let listener = TcpListener::bind(FREE).await.unwrap();
        let server = format!("http://{}", listener.local_addr().unwrap());
        let (provider, stop) = simulated(listener);
        let http = free_port().await;
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
scopes = ["create", "read", "admin", "operator"]
[[accounts]]
name = "main"
provider = "telegram"
settings = {{ base_url = "{server}", check_send_ability = "yes" }}
secrets = {{ access_token = "{TOKEN}" }}
[[routes]]
name = "telegram"
adapter = "telegram-gateway"
account = "main"
[[accounts]]
name = "main"
provider = "telegram_bot"
settings = {{ base_url = "{server}" }}
secrets = {{ bot_token = "{BOT_TOKEN}" }}
[[routes]]
name = "bot"
adapter = "telegram-bot"
account = "main"
[[accounts]]
name = "main"
provider = "twilio"
settings = {{ base_url = "{server}", account_sid = "{TWILIO}" }}
secrets = {{ auth_token = "another token" }}
[[routes]]
name = "sms"
adapter = "twilio-sms"
account = "main"
"#
        );
        std::fs::write(&config, text).unwrap();
        let process = Process::serve(&config, &folder.path().join("data"), FREE, http).await;
        let address = format!("http://{}", process.grpc);
        let client = Client::connect(address).await.unwrap().with(Credential::key(KEY).unwrap());
        TelegramWorld { process, provider, server, client, stop, _folder: folder }
    }

    fn script(&self, number: &str, script: &str) {
        self.provider.set_script(number, script.parse().unwrap());
    }

    /// A code by Telegram, to reach `status` within `expiry`; else by SMS.
    async fn create(&self, number: &str, status: &str, expiry: &str) -> String {
        let spec = dispatch::pb::from_yaml(&format!(
            "
steps:
  - sender: {{ channel: telegram, id: VerificationCodes }}
    recipient: {{ channel: telegram, number: '{number}' }}
    message: {{ code: {{ code: '271828' }} }}
    failover: {{ expiry_time: {expiry}, condition_status: {status} }}
  - sender: {{ channel: sms, number: 'Dispatch' }}
    recipient: {{ channel: sms, number: '447700900000' }}
    message: {{ code: {{ code: '271828' }} }}
"
        ));
        let created = self.client.create(request(spec.unwrap())).await.unwrap();
        created.workflow.unwrap().workflow_id
    }

    /// The workflow, once it has ended.
    async fn ended(&self, id: &str) -> Workflow {
        let get = async || self.client.get(id).await.unwrap();
        let has_ended = async || get().await.outcome.is_some();
        assert!(eventually(PATIENCE, has_ended).await, "{:?}", get().await);
        get().await
    }

    async fn stop(self) {
        self.stop.cancel();
        assert_eq!(self.process.terminate().await, Some(0));
    }
}

/// The simulated Gateway, on the machine's own clock.
fn simulated(listener: TcpListener) -> (Arc<SimulatedProvider>, CancellationToken) {
    let clock = ServiceClock::System(Arc::new(SystemClock::new())).contract_clock();
    let provider = Arc::new(SimulatedProvider::new(clock, ProviderConfig::default()));
    let twilio = SimulatedTwilio {
        account_sid: TWILIO.to_owned(),
        auth_token: Secret::new("another token"),
        api_key: None,
    };
    let server = SandboxServer::new(Arc::clone(&provider), ServerConfig::default()).unwrap();
    let server = server.with_twilio(&twilio).with_telegram(&Secret::new(TOKEN));
    let server = server.with_telegram_bot(&Secret::new(BOT_TOKEN));
    let stop = CancellationToken::new();
    tokio::spawn(server.serve(listener, stop.clone()));
    (provider, stop)
}

fn states(workflow: &Workflow) -> Vec<(StepState, &str)> {
    let state = |step: &StepProgress| step.state();
    workflow.steps.iter().map(|step| (state(step), step.status.as_str())).collect()
}

fn recall(workflow: &Workflow) -> Option<RecallResult> {
    let ended = workflow.timeline.iter().find(|event| event.kind() == EventKind::RecallEnded)?;
    match ended.attributes.as_ref()? {
        Attributes::Recall(recall) => Some(recall.result()),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_telegram_reports_is_verified_and_what_fails_or_is_late_leads_on() {
    let world = TelegramWorld::start().await;
    world.script("447700900000", "accept; deliver 0s");
    world.script("447700900010", "accept; submitted 0s; deliver 0s; read 0s");
    world.script("447700900012", "reject 1340");
    world.script("447700900013", "accept; undeliverable 0s");
    world.script("447700900014", "accept; deliver 60s");
    world.script("447700900015", "accept; deliver 0s");

    let read = world.ended(&world.create("447700900010", "read", "30s").await).await;
    assert_eq!(states(&read)[0], (StepState::Met, "read"), "{read:?}");

    for (number, code) in
        [("447700900012", "\"PHONE_NUMBER_NOT_AVAILABLE\""), ("447700900013", "\"expired\"")]
    {
        let failed = world.ended(&world.create(number, "read", "30s").await).await;
        let [first, second] = states(&failed)[..] else { panic!("{failed:?}") };
        assert_eq!((first.0, second), (StepState::Failed, (StepState::Met, "delivered")));
        assert!(format!("{:?}", failed.timeline).contains(code), "{failed:?}");
    }

    // Nobody has it yet; and somebody has.
    for (number, result) in
        [("447700900014", RecallResult::Recalled), ("447700900015", RecallResult::TooLate)]
    {
        let late = world.ended(&world.create(number, "read", "1s").await).await;
        assert_eq!(recall(&late), Some(result), "{late:?}");
        assert_eq!(states(&late)[1], (StepState::Met, "delivered"), "{late:?}");
    }
    world.stop().await;
}

/// telegram-gateway-verification is a client for Python of somebody else's: it sends to our server and verifies what
/// that reports; what it signs, the program takes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_client_is_served_and_its_signatures_are_taken() {
    let Some(python) = node::python_with("telegram_gateway_verification, requests").await else {
        return;
    };
    let world = TelegramWorld::start().await;
    world.provider.set_default("accept; deliver 0s; read 0s".parse().unwrap());
    world.script("447700900012", "reject 1340");
    world.script("447700900013", "accept; undeliverable 0s");
    world.script("447700900014", "accept; deliver 60s");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/clients/telegram_gateway.py");
    let webhooks = format!("http://{}/receipts/telegram/main", world.process.http);
    let mut run = Command::new(python);
    run.arg(script).args([&*world.server, &*webhooks, TOKEN]);
    let ran = run.env("NO_PROXY", "*").kill_on_drop(true).output().await.unwrap();
    let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success() && out.contains("all told"), "{out}{err}");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bot_s_text_is_submitted_and_one_who_blocked_it_is_reached_otherwise() {
    let world = TelegramWorld::start().await;
    world.script("447700900000", "accept; deliver 0s");
    world.script("1", "reject 1340");
    for (chat, first) in
        [("2718281828", (StepState::Met, "submitted")), ("1", (StepState::Failed, "pending"))]
    {
        let spec = dispatch::pb::from_yaml(&format!(
            "
steps:
  - sender: {{ channel: telegram_bot, id: acme_bot }}
    recipient: {{ channel: telegram_bot, id: '{chat}' }}
    message: {{ text: 'Your table is ready.' }}
    failover: {{ expiry_time: 30s, condition_status: submitted }}
  - sender: {{ channel: sms, number: 'Dispatch' }}
    recipient: {{ channel: sms, number: '447700900000' }}
    message: {{ text: 'Your table is ready.' }}
"
        ));
        let created = world.client.create(request(spec.unwrap())).await.unwrap();
        let workflow = world.ended(&created.workflow.unwrap().workflow_id).await;
        assert_eq!(states(&workflow)[0], first, "{workflow:?}");
    }
    world.stop().await;
}

/// python-telegram-bot is a client of somebody else's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_bot_is_served() {
    let Some(python) = node::python_with("telegram").await else { return };
    let listener = TcpListener::bind(FREE).await.unwrap();
    let server = format!("http://{}", listener.local_addr().unwrap());
    let (provider, stop) = simulated(listener);
    for (chat, script) in [("1", "reject 1340"), ("2", "reject 1300"), ("3", "throttle 1 3s")] {
        provider.set_script(chat, script.parse().unwrap());
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/clients/telegram_bot.py");
    let mut run = Command::new(python);
    run.arg(script).args([&*server, BOT_TOKEN]);
    let ran = run.env("NO_PROXY", "*").kill_on_drop(true).output().await.unwrap();
    let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success() && out.contains("all told"), "{out}{err}");
    stop.cancel();
}
