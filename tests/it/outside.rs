//! A provider from outside: a workspace of its own under `tests/outside`, built as whoever wrote it would
//! build it, configured as our own are, and failing over to a channel of ours.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::{get, post},
};
use dispatch::{
    builtin,
    client::{Client, Credential},
    config::Config,
    pb::v1::{EventKind, Workflow, WorkflowState},
    service::Service,
};
use dispatch_contract::{Account, Probe, Provider, Registry, Secret, UnixMillis};
use serde_json::{Value, json};
use tokio::{net::TcpListener, process::Command};

use crate::support::{FREE, Process, eventually, request};

/// Compiled here too, so that each run of this suite holds it to the contract.
#[path = "../outside/line/src/line.rs"]
mod line;
mod pages;

const TOKEN: &str = "a token of the tests";
const KEY: &str = "line:a secret of the tests";
const FRIEND: &str = "Uaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const STRANGER: &str = "Ubbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

/// What LINE was asked: the retry key, and the body.
type Pushes = Arc<Mutex<Vec<(String, Value)>>>;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/outside/line")
}

/// The binary, built in the target folder of this one, and as it is: what both need is compiled by now
/// (`tests/outside/.cargo`, `tests/outside/as-tested`). Behind the other tests, whose patience is counted.
async fn built() -> PathBuf {
    let profile = Path::new(env!("CARGO_BIN_EXE_dispatch")).parent().unwrap();
    let built = Command::new("nice")
        .arg(env!("CARGO"))
        // That an example is asked for makes cargo choose features as for tests; there is none.
        .args(["build", "--quiet", "--locked", "--offline", "--bins", "--examples"])
        .args((!cfg!(debug_assertions)).then_some("--release"))
        .arg("--target-dir")
        .arg(profile.parent().unwrap())
        .current_dir(folder())
        .status();
    assert!(built.await.unwrap().success(), "it does not build");
    profile.join("dispatch-with-line")
}

/// LINE's push: takes what is for a friend, once a retry key.
async fn stub(pushes: Pushes) -> String {
    async fn push(
        State(pushes): State<Pushes>,
        headers: HeaderMap,
        body: String,
    ) -> (StatusCode, String) {
        let text = |name: &str| headers.get(name).unwrap().to_str().unwrap().to_owned();
        assert_eq!(text("authorization"), format!("Bearer {TOKEN}"));
        let body: Value = serde_json::from_str(&body).unwrap();
        let (key, to) = (text("x-line-retry-key"), body["to"].clone());
        pushes.lock().unwrap().push((key, body));
        let (status, answer) = match to == FRIEND {
            true => (StatusCode::OK, json!({ "sentMessages": [{ "id": "461230966842064897" }] })),
            false => (StatusCode::NOT_FOUND, json!({ "message": "Not found" })),
        };
        (status, answer.to_string())
    }
    let socket = TcpListener::bind(FREE).await.unwrap();
    let url = format!("http://{}", socket.local_addr().unwrap());
    let router = Router::new().route("/v2/bot/message/push", post(push)).with_state(pushes);
    tokio::spawn(async move { axum::serve(socket, router).await });
    url
}

fn configuration(base_url: &str) -> String {
    format!(
        r#"
[store]
kind = "memory"

[[access.keys]]
id = "line"
secret = "a secret of the tests"
scopes = ["create", "read"]

[[accounts]]
name = "main"
provider = "line"
settings = {{ base_url = "{base_url}" }}
secrets = {{ channel_access_token = "{TOKEN}" }}

[[routes]]
name = "line"
adapter = "line"
account = "main"

[[routes]]
name = "sms"
adapter = "sandbox-sms"
account = "sandbox"
"#
    )
}

async fn sent(client: &Client, to: &str) -> Workflow {
    let spec = dispatch::pb::from_yaml(&format!(
        "
steps:
  - sender: {{ channel: line, id: 'U00000000000000000000000000000001' }}
    recipient: {{ channel: line, id: '{to}' }}
    message: {{ text: 'Your table is ready.' }}
    failover: {{ expiry_time: 600s, condition_status: submitted }}
  - sender: {{ channel: sms, number: 'Dispatch' }}
    recipient: {{ channel: sms, number: '447700900001' }}
    message: {{ text: 'Your table is ready.' }}
"
    ));
    let created = client.create(request(spec.unwrap())).await.unwrap();
    let id = created.workflow.unwrap().workflow_id;
    let is_over = async || client.get(&id).await.unwrap().state() == WorkflowState::Succeeded;
    assert!(eventually(Duration::from_secs(30), is_over).await, "{:?}", client.get(&id).await);
    client.get(&id).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_tried_by_a_call_that_sends_nothing() {
    async fn info(headers: HeaderMap) -> StatusCode {
        let is_right = headers["authorization"] == *format!("Bearer {TOKEN}");
        if is_right { StatusCode::OK } else { StatusCode::UNAUTHORIZED }
    }
    let socket = TcpListener::bind(FREE).await.unwrap();
    let base_url = format!("http://{}", socket.local_addr().unwrap());
    let router = Router::new().route("/v2/bot/info", get(info));
    tokio::spawn(async move { axum::serve(socket, router).await });
    let probe = async |token: &str| {
        let account = Account {
            name: "main".to_owned(),
            revision: 1,
            settings: [("base_url".to_owned(), base_url.clone())].into(),
            secrets: [("channel_access_token".to_owned(), Secret::new(token))].into(),
        };
        line::provider().probe(&account, UnixMillis(1), Duration::from_secs(5)).await
    };
    assert_eq!(probe(TOKEN).await, Probe::Works);
    let refused = "the provider answered HTTP 401".to_owned();
    assert_eq!(probe("another").await, Probe::Refused(refused));
}

/// A friend gets the text by LINE, a stranger an SMS.
async fn goes_out_or_fails_over(client: &Client, pushes: &Pushes) {
    let taken = sent(client, FRIEND).await;
    assert_eq!(taken.steps[0].attempts[0].provider_message_id, "461230966842064897");
    assert!(taken.steps[1].attempts.is_empty());
    let failed_over = sent(client, STRANGER).await;
    let kinds: Vec<_> = failed_over.timeline.iter().map(|event| event.kind()).collect();
    assert!(kinds.contains(&EventKind::AttemptRejected), "{kinds:?}");
    assert_eq!(failed_over.steps[1].attempts.len(), 1);
    {
        let pushes = pushes.lock().unwrap();
        let [(one, body), (other, _)] = pushes.as_slice() else { panic!("{pushes:?}") };
        assert_ne!(one, other, "another attempt, another key");
        let text = json!([{ "type": "text", "text": "Your table is ready." }]);
        assert_eq!(*body, json!({ "to": FRIEND, "messages": text }));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_is_registered_sends_and_fails_over_to_a_channel_of_ours() {
    let pushes = Pushes::default();
    let text = configuration(&stub(Arc::clone(&pushes)).await);
    let listen = "[listen]\ngrpc = \"127.0.0.1:0\"\nhttp = \"127.0.0.1:0\"\ninternal_http = \"127.0.0.1:0\"\n";
    let config = Config::parse(&format!("{listen}{text}")).unwrap();
    let mut providers = Registry::new();
    builtin::add(&mut providers).unwrap();
    providers.add(line::provider()).unwrap();
    let parts = |clock: &_, _| builtin::parts_of(&providers, &config, clock);
    let service = Service::start(&config, parts).await.unwrap();
    let client = Client::connect(format!("http://{}", service.grpc)).await.unwrap();
    let client = client.with(Credential::key(KEY).unwrap());
    goes_out_or_fails_over(&client, &pushes).await;
    service.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_from_outside_is_configured_as_ours_and_fails_over_to_a_channel_of_ours() {
    let program = built().await;
    let pushes = Pushes::default();
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("dispatch.toml");

    // What is wrong with its account is told as of ours, from the form that it declares.
    let wrong = configuration("ftp://a").replace("channel_access_token", "token");
    std::fs::write(&config, wrong).unwrap();
    let mut check = Command::new(&program);
    let told = check.args(["serve", "--check", "--config"]).arg(&config).output().await.unwrap();
    let told = String::from_utf8_lossy(&[told.stdout, told.stderr].concat()).into_owned();
    for part in [
        "account main: there is no secret token; there are channel_access_token",
        "account main: secret channel_access_token is missing",
        "account main: setting base_url must be an http or https URL",
    ] {
        assert!(told.contains(part), "{told}");
    }
    assert!(!told.contains(TOKEN), "{told}");

    let base_url = stub(Arc::clone(&pushes)).await;
    std::fs::write(&config, configuration(&base_url)).unwrap();
    let process =
        Process::serve_by(Command::new(&program), &config, folder.path(), FREE, FREE).await;
    let client = Client::connect(format!("http://{}", process.grpc)).await.unwrap();
    let client = client.with(Credential::key(KEY).unwrap());

    goes_out_or_fails_over(&client, &pushes).await;
    assert_eq!(process.terminate().await, Some(0));
}

#[test]
fn it_is_built_of_the_versions_that_are_locked_here() {
    // Whose it is, what it is called, and which.
    let packages = |path: PathBuf| -> Vec<[Option<String>; 3]> {
        let lock: toml::Table = toml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let packages = lock["package"].as_array().unwrap().iter();
        let text = |package: &toml::Value, key| Some(package.get(key)?.as_str()?.to_owned());
        packages.map(|it| ["source", "name", "version"].map(|key| text(it, key))).collect()
    };
    let ours = packages(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.lock"));
    for package in packages(folder().join("Cargo.lock")) {
        let is_here = package[0].is_none() || ours.contains(&package);
        assert!(
            is_here,
            "{package:?}; copy Cargo.lock there, and `cargo metadata --offline` in it"
        );
    }
}

/// The binary of whoever adds a provider is as short as the documents say.
#[test]
fn the_binary_is_four_lines_long() {
    let main = std::fs::read_to_string(folder().join("src/main.rs")).unwrap();
    assert!(main.lines().count() <= 4, "{main}");
}
