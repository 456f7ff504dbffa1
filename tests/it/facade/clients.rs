//! The real old clients, and today's, against the real program: nexmo's `dispatch.create` and
//! `channel.send`, the server SDK's `messages.send`, and curl as the old documentation has it.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use dispatch::{
    client::{Client, Credential},
    pb::v1::ListWorkflowsRequest,
};
use serde_json::{Value, json};
use tokio::process::Command;

use super::Answer;
use crate::{
    node,
    support::{FREE, Process, eventually},
};

/// Messenger refuses this person, and the SMS arrives.
const CONFIG: &str = r#"
[log]
level = "warn"
[[access.keys]]
id = "abcd1234"
secret = "a-secret-of-the-old-kind"
scopes = ["create", "read", "cancel", "admin"]
[sandbox]
default_script = "accept; deliver 50ms"
[sandbox.scripts]
"1000000000000001" = "reject 1340"
"#;

/// What a client says of itself.
struct Credentials {
    key: String,
    secret: String,
    application: String,
    private_key: String,
}

struct Server {
    process: Process,
    credentials: Credentials,
    _folder: tempfile::TempDir,
}

impl Server {
    async fn start() -> Server {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("dispatch.toml");
        std::fs::write(&config, CONFIG).unwrap();
        let process = Process::serve(&config, &folder.path().join("data"), FREE, FREE).await;
        let credentials = credentials(&process).await;
        Server { process, credentials, _folder: folder }
    }

    /// Runs a client, and returns what it was answered.
    async fn run(&self, program: &str, file: &str) -> Value {
        let (is_good, told) = self.run_with(program, file, &[]).await;
        assert!(is_good, "{file}: {told}");
        told
    }

    /// Runs a client, and returns whether it succeeded and what it said.
    async fn run_with(&self, program: &str, file: &str, arguments: &[&str]) -> (bool, Value) {
        let it = &self.credentials;
        let output = Command::new(program)
            .arg(folder().join(file))
            .args(arguments)
            .env("NODE_PATH", node::packages())
            .env("DISPATCH_HTTP", self.process.http.to_string())
            .env("API_KEY", &it.key)
            .env("API_SECRET", &it.secret)
            .env("APPLICATION_ID", &it.application)
            .env("PRIVATE_KEY", &it.private_key)
            .output()
            .await
            .unwrap();
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        let said = serde_json::from_str(&told);
        (output.status.success(), said.unwrap_or_else(|_| panic!("{file}: {told} {errors}")))
    }

    /// The newest workflow's id: some clients keep it to themselves.
    async fn newest(&self) -> String {
        let client = Client::connect(format!("http://{}", self.process.grpc)).await.unwrap();
        let key = format!("{}:{}", self.credentials.key, self.credentials.secret);
        let client = client.with(Credential::key(&key).unwrap());
        let listed = client.raw().list_workflows(ListWorkflowsRequest::default()).await.unwrap();
        listed.into_inner().workflows[0].workflow_id.clone()
    }

    /// Waits until the newest workflow's one message, which is called so, has arrived.
    async fn arrived(&self, message_uuid: &Value) {
        let shown = self.succeeded(&self.newest().await).await;
        let [step] = &shown["workflow"].as_array().unwrap()[..] else { panic!("{shown}") };
        assert_eq!((&step["message_uuid"], &step["channel"]), (message_uuid, &json!("sms")));
    }

    /// The workflow, once it has succeeded.
    async fn succeeded(&self, id: &str) -> Value {
        let url = format!("http://{}/v0.1/dispatch/{id}", self.process.http);
        let get = async || {
            let call = reqwest::Client::new().get(&url);
            let call = call.basic_auth(&self.credentials.key, Some(&self.credentials.secret));
            Answer::of(call.send().await.unwrap()).await
        };
        let is_done = eventually(Duration::from_secs(20), async || {
            get().await.body["state"] == json!("SUCCEEDED")
        });
        let is_done = is_done.await;
        let shown = get().await;
        assert!(is_done, "{shown:?}");
        shown.body
    }
}

/// The key of the configuration, and an application made with it.
async fn credentials(process: &Process) -> Credentials {
    let (key, secret) = ("abcd1234".to_owned(), "a-secret-of-the-old-kind".to_owned());
    let asked = json!({ "name": "The old client", "capabilities": {} });
    let call = reqwest::Client::new()
        .post(format!("http://{}/v2/applications", process.http))
        .basic_auth(&key, Some(&secret))
        .header("content-type", "application/json");
    let made = Answer::of(call.body(asked.to_string()).send().await.unwrap()).await;
    assert_eq!(made.status, 201, "{made:?}");
    let application = made.body["id"].as_str().unwrap().to_owned();
    let private_key = made.body["keys"]["private_key"].as_str().unwrap().to_owned();
    Credentials { key, secret, application, private_key }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/facade/clients")
}

/// Messenger was refused, the SMS arrived.
fn fell_over(body: &Value) {
    let steps = body["workflow"].as_array().unwrap();
    let told: Vec<_> = steps.iter().map(|step| [&step["channel"], &step["state"]]).collect();
    assert_eq!(told, [["messenger", "FAILED"], ["sms", "MET"]], "{body}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_old_client_dispatches() {
    if !node::is_here("node", &["nexmo"]).await {
        return;
    }
    let server = Server::start().await;
    let answer = server.run("node", "nexmo.js").await;
    let shown = server.succeeded(answer["dispatch_uuid"].as_str().unwrap()).await;
    fell_over(&shown);
    let (is_good, refused) = server.run_with("node", "nexmo.js", &["+447700900001"]).await;
    assert!(!is_good);
    assert_eq!(refused["error"]["statusCode"], 400, "{refused}");
    let wrong = &refused["error"]["body"]["invalid_parameters"][0]["name"];
    assert_eq!(wrong, "workflow[1].to.number");
    assert_eq!(server.process.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_client_of_2018_creates_a_workflow() {
    if !node::is_here("node", &["nexmo-2018"]).await {
        return;
    }
    let server = Server::start().await;
    let answer = server.run("node", "nexmo-workflows.js").await;
    let shown = server.succeeded(answer["workflow_uuid"].as_str().unwrap()).await;
    fell_over(&shown);
    assert_eq!(server.process.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn today_s_client_sends_with_failover() {
    if !node::is_here("node", &["@vonage/server-sdk"]).await {
        return;
    }
    let server = Server::start().await;
    let answer = server.run("node", "server-sdk.js").await;
    let shown = server.succeeded(&server.newest().await).await;
    assert_eq!(answer["messageUUID"], shown["workflow"][0]["message_uuid"]);
    fell_over(&shown);
    assert_eq!(server.process.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_old_documentation_s_script_dispatches() {
    if !node::is_here("curl", &[]).await {
        return;
    }
    let server = Server::start().await;
    let answer = server.run("bash", "dispatch.sh").await;
    let shown = server.succeeded(answer["dispatch_uuid"].as_str().unwrap()).await;
    fell_over(&shown);
    assert_eq!(server.process.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_old_clients_single_message_is_sent() {
    let packages = ["nexmo", "nexmo-2018"];
    if !node::is_here("node", &packages).await {
        return;
    }
    let server = Server::start().await;
    for package in packages {
        let script = "nexmo-channel.js";
        let (is_good, told) = server.run_with("node", script, &["447700900001", package]).await;
        assert!(is_good, "{package}: {told}");
        server.arrived(&told["message_uuid"]).await;
        let (is_good, told) = server.run_with("node", script, &["+447700900001", package]).await;
        assert!(!is_good);
        assert_eq!(told["error"]["statusCode"], 400, "{package}: {told}");
        assert_eq!(told["error"]["body"]["invalid_parameters"][0]["name"], "to.number");
    }
    assert_eq!(server.process.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn today_s_client_sends_a_single_message() {
    if !node::is_here("node", &["@vonage/server-sdk"]).await {
        return;
    }
    let server = Server::start().await;
    let answer = server.run("node", "server-sdk-single.js").await;
    server.arrived(&answer["messageUUID"]).await;
    assert_eq!(server.process.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_old_documentation_s_single_message_is_sent() {
    if !node::is_here("curl", &[]).await {
        return;
    }
    let server = Server::start().await;
    let answer = server.run("bash", "message.sh").await;
    server.arrived(&answer["message_uuid"]).await;
    assert_eq!(server.process.terminate().await, Some(0));
}
