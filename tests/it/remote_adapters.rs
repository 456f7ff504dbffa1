//! Adapters in programs of their own, as one runs them: the examples of `adapters/remote/examples`, configured as
//! they come, on a channel that this program has never heard of.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    extract::{RawQuery, State},
    http::{HeaderMap, StatusCode},
    routing::{get, post},
};
use dispatch::{
    client::{Client, Credential},
    pb::v1::{StepState, Workflow, WorkflowState},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    net::{TcpListener, TcpStream},
    process::{Child, Command},
};

use crate::{
    node,
    support::{FREE, Process, eventually, free_port, request},
};

const KEY: &str = "me:a secret of the tests";
const TOKEN: &str = "a token of the gateway";
const PATIENCE: Duration = Duration::from_secs(20);
/// Whom the example's workflow is written to; and of others, what becomes of their faxes.
const RECIPIENT: &str = "442079460001";
const REFUSED: &str = "442079460002";
const GIVEN_UP: &str = "442079460003";

/// The fax gateway of the house: what it was asked to fax, and what it tells of that.
#[derive(Default)]
struct FaxGateway {
    faxes: Vec<Value>,
    receipts: Vec<Value>,
    /// It tells nothing for the time being.
    is_silent: bool,
}

type Gateway = Arc<Mutex<FaxGateway>>;

fn is_known(headers: &HeaderMap) -> bool {
    headers["authorization"] == *format!("Bearer {TOKEN}")
}

async fn gateway() -> (Gateway, String) {
    async fn fax(
        State(gateway): State<Gateway>,
        headers: HeaderMap,
        body: String,
    ) -> (StatusCode, String) {
        if !is_known(&headers) {
            return (StatusCode::UNAUTHORIZED, String::new());
        }
        let fax: Value = serde_json::from_str(&body).unwrap();
        let state = match fax["to"].as_str().unwrap() {
            REFUSED => return (StatusCode::NOT_FOUND, String::new()),
            GIVEN_UP => "given_up",
            _ => "arrived",
        };
        let mut gateway = gateway.lock().unwrap();
        let number = gateway.receipts.len() + 1;
        let receipt = json!({ "number": number, "reference": fax["reference"], "state": state });
        gateway.receipts.push(receipt);
        gateway.faxes.push(fax);
        (StatusCode::CREATED, json!({ "id": format!("fax-{number}") }).to_string())
    }
    async fn receipts(
        State(gateway): State<Gateway>,
        RawQuery(query): RawQuery,
        headers: HeaderMap,
    ) -> (StatusCode, String) {
        if !is_known(&headers) {
            return (StatusCode::UNAUTHORIZED, String::new());
        }
        let after: usize = query.unwrap().strip_prefix("after=").unwrap().parse().unwrap();
        let gateway = gateway.lock().unwrap();
        let told = if gateway.is_silent { 0 } else { gateway.receipts.len() };
        let after = gateway.receipts.iter().take(told).skip(after).cloned().collect();
        (StatusCode::OK, Value::Array(after).to_string())
    }
    let gateway = Gateway::default();
    let socket = TcpListener::bind(FREE).await.unwrap();
    let url = format!("http://{}", socket.local_addr().unwrap());
    let router = Router::new()
        .route("/faxes", post(fax))
        .route("/receipts", get(receipts))
        .with_state(Arc::clone(&gateway));
    tokio::spawn(async move { axum::serve(socket, router).await });
    (gateway, url)
}

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("adapters/remote/examples").join(name)
}

/// The adapter's program, once it listens.
async fn started(mut program: Command, at: SocketAddr) -> Child {
    let child = program.arg(at.to_string()).kill_on_drop(true).spawn().unwrap();
    let listens = async || TcpStream::connect(at).await.is_ok();
    assert!(eventually(PATIENCE, listens).await, "the adapter does not listen");
    child
}

/// The example's configuration, with these edits, and a key.
fn configuration(name: &str, edits: &BTreeMap<&str, &str>) -> String {
    let mut text = std::fs::read_to_string(example(name).join("dispatch.toml")).unwrap();
    for (old, new) in edits {
        assert_eq!(text.matches(old).count(), 1, "{old} in {text}");
        text = text.replace(old, new);
    }
    let key = "[[access.keys]]\nid = \"me\"\nsecret = \"a secret of the tests\"\n";
    format!("{text}\n{key}scopes = [\"create\", \"read\"]\n")
}

/// The program with such a configuration.
struct World {
    process: Process,
    client: Client,
    folder: TempDir,
}

impl World {
    async fn start(configuration: &str) -> World {
        World::start_in(tempfile::tempdir().unwrap(), configuration).await
    }

    async fn start_in(folder: TempDir, configuration: &str) -> World {
        World::start_at(folder, configuration, FREE).await
    }

    /// The same with public HTTP there.
    async fn start_at(folder: TempDir, configuration: &str, http: SocketAddr) -> World {
        let config = folder.path().join("dispatch.toml");
        std::fs::write(&config, configuration).unwrap();
        let process = Process::serve(&config, &folder.path().join("data"), FREE, http).await;
        let client = Client::connect(format!("http://{}", process.grpc)).await.unwrap();
        let client = client.with(Credential::key(KEY).unwrap());
        World { process, client, folder }
    }

    async fn stop(self) -> TempDir {
        assert_eq!(self.process.terminate().await, Some(0));
        self.folder
    }

    /// The example's workflow, to this recipient.
    async fn create(&self, name: &str, to: &str) -> Result<String, String> {
        self.create_to(name, RECIPIENT, to).await
    }

    /// The example's workflow, to somebody else than it is written to.
    async fn create_to(&self, name: &str, recipient: &str, to: &str) -> Result<String, String> {
        let text = std::fs::read_to_string(example(name).join("workflow.yaml")).unwrap();
        assert_eq!(text.matches(recipient).count(), 1, "{text}");
        let spec = dispatch::pb::from_yaml(&text.replace(recipient, to)).unwrap();
        let created = self.client.create(request(spec)).await.map_err(|error| format!("{error:?}"));
        Ok(created?.workflow.unwrap().workflow_id)
    }

    async fn until(&self, id: &str, holds: impl Fn(&Workflow) -> bool) -> Workflow {
        let has = async || holds(&self.client.get(id).await.unwrap());
        assert!(eventually(PATIENCE, has).await, "{:?}", self.client.get(id).await);
        self.client.get(id).await.unwrap()
    }

    async fn over(&self, id: &str) -> Workflow {
        self.until(id, |workflow| workflow.state() == WorkflowState::Succeeded).await
    }
}

/// What `dispatch adapter check` prints of the adapter there, which keeps all that was tried.
async fn checked(at: SocketAddr) -> String {
    let mut check = Command::new(env!("CARGO_BIN_EXE_dispatch"));
    let ran = check.args(["adapter", "check", &format!("http://{at}")]).output().await.unwrap();
    let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{out}{err}");
    out.into_owned()
}

/// A fax arrives, one is refused, and one is given up: each of these goes on by SMS.
async fn goes_out_or_fails_over(name: &str, world: &World, gateway: &Gateway) {
    // Its adapter hears of a fax by itself, and may be quicker than the call: here it is not.
    gateway.lock().unwrap().is_silent = true;
    let id = world.create(name, RECIPIENT).await.unwrap();
    world.until(&id, |it| it.steps[0].status == "submitted").await;
    gateway.lock().unwrap().is_silent = false;
    let arrived = world.over(&id).await;
    let step = &arrived.steps[0];
    assert_eq!((step.state(), &*step.status), (StepState::Met, "delivered"));
    assert_eq!(step.attempts[0].provider_message_ids, ["fax-1"]);
    assert!(arrived.steps[1].attempts.is_empty());
    for (to, said) in [(REFUSED, "invalidrecipient"), (GIVEN_UP, "undeliverable")] {
        let failed = world.over(&world.create(name, to).await.unwrap()).await;
        assert_eq!(failed.steps[0].state(), StepState::Failed, "{failed:?}");
        assert_eq!(failed.steps[1].attempts.len(), 1);
        assert!(format!("{:?}", failed.timeline).to_lowercase().contains(said), "{failed:?}");
    }
    let gateway = gateway.lock().unwrap();
    let [fax, _] = gateway.faxes.as_slice() else { panic!("{:?}", gateway.faxes) };
    assert_eq!(fax["text"], "Your table is ready.");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_python_file_carries_a_channel_that_nobody_here_has_heard_of() {
    let Some(python) = node::python_with("grpc_tools").await else { return };
    let (gateway, base_url) = gateway().await;
    let at = free_port().await;
    let mut program = Command::new(python);
    program.arg(example("python").join("fax.py"));
    let _adapter = started(program, at).await;
    let endpoint = format!("http://{at}");
    let edits = BTreeMap::from([
        ("http://127.0.0.1:7400", &*endpoint),
        ("http://127.0.0.1:8400", &*base_url),
        ("env:FAX_GATEWAY_TOKEN", TOKEN),
    ]);
    let world = World::start(&configuration("python", &edits)).await;
    goes_out_or_fails_over("python", &world, &gateway).await;
    world.stop().await;

    let told = checked(at).await;
    for row in [
        "| promise | `fax` |",
        "| condition status delivered | not tried |",
        "| correlation | proven, by our attempt id |",
        "| content text | proven |",
        "| content image | refused |",
        "| timeouts | proven |",
        "| redirects | proven |",
        "`fax`: not tried: condition status delivered: only its provider can tell that",
    ] {
        assert!(told.contains(row), "{row} in {told}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_program_sends_and_reads_its_provider_s_signed_webhooks() {
    if !node::is_here("node", &["@grpc/grpc-js", "@grpc/proto-loader"]).await {
        return;
    }
    let base_url = push_service().await;
    let at = free_port().await;
    let mut program = Command::new("node");
    program.env("NODE_PATH", node::packages()).arg(example("node").join("push.js"));
    let _adapter = started(program, at).await;
    let http = free_port().await;
    let (endpoint, public_url) = (format!("http://{at}"), format!("http://{http}"));
    let edits = BTreeMap::from([
        ("http://127.0.0.1:7400", &*endpoint),
        ("http://127.0.0.1:8400", &*base_url),
        ("https://dispatch.example.com", &*public_url),
        ("env:PUSH_TOKEN", TOKEN),
        ("env:PUSH_SIGNATURE_SECRET", SIGNATURE_SECRET),
    ]);
    let folder = tempfile::tempdir().unwrap();
    let world = World::start_at(folder, &configuration("node", &edits), http).await;
    let create = async |to: &str| world.create_to("node", DEVICE, to).await.unwrap();

    let opened = world.over(&create(DEVICE).await).await;
    assert_eq!((opened.steps[0].state(), &*opened.steps[0].status), (StepState::Met, "read"));
    for to in ["dev_gone00000000", "dev_nobody000000"] {
        let failed = world.over(&create(to).await).await;
        assert_eq!(failed.steps[0].state(), StepState::Failed, "{failed:?}");
        assert_eq!(failed.steps[1].attempts.len(), 1);
    }
    let forged = reqwest::Client::new().post(format!("{public_url}/receipts/push/main"));
    let forged = forged.header("x-signature", "00").body("{}").send().await.unwrap();
    assert_eq!(forged.status(), 401);
    world.stop().await;
    let told = checked(at).await;
    for row in ["| recall | proven in part |", "| forgery | proven |", "| content code | proven |"]
    {
        assert!(told.contains(row), "{row} in {told}");
    }
}

/// Whom the example's workflow is written to.
const DEVICE: &str = "dev_0000000000aa";
const SIGNATURE_SECRET: &str = "a signature secret of the tests";

/// The push service of the house: takes what is for a device, and posts what becomes of it, signed.
async fn push_service() -> String {
    async fn push(headers: HeaderMap, body: String) -> (StatusCode, String) {
        if !is_known(&headers) {
            return (StatusCode::UNAUTHORIZED, String::new());
        }
        let push: Value = serde_json::from_str(&body).unwrap();
        let to = push["to"].as_str().unwrap().to_owned();
        if to.contains("nobody") {
            return (StatusCode::NOT_FOUND, String::new());
        }
        let states: &[&str] =
            if to.contains("gone") { &["gone"] } else { &["delivered", "opened"] };
        let url = push["callback_url"].as_str().unwrap().to_owned();
        let reference = push["reference"].clone();
        tokio::spawn(async move {
            for state in states {
                let told = json!({ "reference": reference, "state": state }).to_string();
                let key = aws_lc_rs::hmac::Key::new(
                    aws_lc_rs::hmac::HMAC_SHA256,
                    SIGNATURE_SECRET.as_bytes(),
                );
                let tag = aws_lc_rs::hmac::sign(&key, told.as_bytes());
                let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
                let call = reqwest::Client::new().post(&url).header("x-signature", hex).body(told);
                assert_eq!(call.send().await.unwrap().status(), 200);
            }
        });
        let id = format!("push-{}", push["reference"].as_str().unwrap());
        (StatusCode::CREATED, json!({ "id": id }).to_string())
    }
    let socket = TcpListener::bind(FREE).await.unwrap();
    let url = format!("http://{}", socket.local_addr().unwrap());
    let router = Router::new().route("/pushes", post(push));
    tokio::spawn(async move { axum::serve(socket, router).await });
    url
}

/// Never there at first, not there at a restart, and then somewhere else: nothing fails over for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_adapter_that_is_not_there_keeps_what_is_open_waiting_and_is_found_elsewhere() {
    let Some(python) = node::python_with("grpc_tools").await else { return };
    let (_gateway, base_url) = gateway().await;
    let (at, elsewhere) = (free_port().await, free_port().await);
    let adapter = async |at: SocketAddr| {
        let mut program = Command::new(&python);
        program.arg(example("python").join("fax.py"));
        started(program, at).await
    };
    let configured = |at: SocketAddr| {
        let endpoint = format!("http://{at}");
        configuration(
            "python",
            &BTreeMap::from([
                ("http://127.0.0.1:7400", &*endpoint),
                ("http://127.0.0.1:8400", &*base_url),
                ("env:FAX_GATEWAY_TOKEN", TOKEN),
            ]),
        )
    };
    let world = World::start(&configured(at)).await;
    let refused = world.create("python", RECIPIENT).await.unwrap_err();
    assert!(refused.contains(&format!("adapter fax at http://{at}")), "{refused}");
    let mut running = adapter(at).await;
    let is_known = async || world.create("python", RECIPIENT).await.is_ok();
    assert!(eventually(PATIENCE, is_known).await, "it is served once it answers");
    running.kill().await.unwrap();

    // Known by what it told the life before.
    let folder = world.stop().await;
    let world = World::start_in(folder, &configured(at)).await;
    let id = world.create("python", RECIPIENT).await.unwrap();
    world.until(&id, |it| format!("{:?}", it.timeline).contains("adapter fax")).await;
    let is_told = async || {
        let metrics = reqwest::get(format!("http://{}/metrics", world.process.internal_http));
        let metrics = metrics.await.unwrap().text().await.unwrap();
        metrics.contains("dispatch_provider_down{provider=\"fax\"} 1")
    };
    assert!(eventually(PATIENCE, is_told).await, "a metric says that it is down");

    let _running = adapter(elsewhere).await;
    std::fs::write(world.folder.path().join("dispatch.toml"), configured(elsewhere)).unwrap();
    world.process.reload();
    let workflow = world.over(&id).await;
    let step = &workflow.steps[0];
    assert_eq!((step.state(), &*step.status), (StepState::Met, "delivered"), "{workflow:?}");
    assert!(workflow.steps[1].attempts.is_empty());
    world.stop().await;
}

#[test]
fn the_python_file_has_fewer_than_sixty_lines() {
    let text = std::fs::read_to_string(example("python").join("fax.py")).unwrap();
    assert!(text.lines().count() < 60, "{}", text.lines().count());
    assert!(text.lines().all(|line| line.chars().count() <= 132));
}
