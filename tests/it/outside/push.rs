//! LINE: HTTP push, without receipts.

use std::{
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::{get, post},
};
use dispatch::client::Client;
use dispatch_contract::{Account, Probe, Provider, Secret, UnixMillis};
use dispatch_kit::conformance::assert_conforms;
use serde_json::{Value, json};
use tokio::{net::TcpListener, process::Command};

use super::{assert_failed_over, built, by_itself, check, configuration, folder, in_process, sent};
use crate::{no_recipient, support::FREE};

/// Compiled here too, so that each run of this suite holds it to the contract.
#[path = "../../outside/line/src/line.rs"]
mod line;

const TOKEN: &str = "a token of the tests";
/// Whom its workflow is written to.
const FRIEND: &str = "Uaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const STRANGER: &str = "Ubbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

/// What LINE was asked: the retry key, and the body.
type Pushes = Arc<Mutex<Vec<(String, Value)>>>;

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

/// Its own configuration, with the stub for LINE.
fn at(base_url: &str) -> String {
    let secrets = format!("settings = {{ base_url = \"{base_url}\" }}\nsecrets = {{");
    let edits = [("secrets = {", secrets.as_str()), ("env:LINE_CHANNEL_ACCESS_TOKEN", TOKEN)];
    configuration("line", &edits)
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

#[tokio::test]
async fn what_it_declares_is_proven() {
    for subject in line::subjects() {
        assert_conforms(&*subject).await;
    }
}

/// A friend gets the text by LINE, a stranger an SMS.
async fn goes_out_or_fails_over(client: &Client, pushes: &Pushes) {
    let taken = sent(client, "line", FRIEND, FRIEND).await;
    assert_eq!(taken.steps[0].attempts[0].provider_message_ids, ["461230966842064897"]);
    assert!(taken.steps[1].attempts.is_empty());
    assert_failed_over(&sent(client, "line", FRIEND, STRANGER).await);
    let pushes = pushes.lock().unwrap();
    let [(one, body), (other, _)] = pushes.as_slice() else { panic!("{pushes:?}") };
    assert_ne!(one, other, "another attempt, another key");
    let text = json!([{ "type": "text", "text": "Your table is ready." }]);
    assert_eq!(*body, json!({ "to": FRIEND, "messages": text }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_is_registered_sends_and_fails_over_to_a_channel_of_ours() {
    let pushes = Pushes::default();
    let configuration = at(&stub(Arc::clone(&pushes)).await);
    let (service, client) = in_process(line::provider(), &configuration).await;
    goes_out_or_fails_over(&client, &pushes).await;
    no_recipient::stop(service).await;
}

/// Those of `adapters/README.md`, as they stand there, but for the build.
async fn every_command_of_the_guide_does_what_it_says(program: &Path) {
    let guide = include_str!("../../../adapters/README.md");
    let (_, commands) = guide.split_once("```sh\n").unwrap();
    let mut lines = commands.split("```").next().unwrap().lines();
    assert_eq!(lines.next(), Some("cargo build"));
    let mut told = Vec::new();
    for line in lines {
        let arguments = line.strip_prefix("target/debug/dispatch-with-line ").unwrap();
        let mut command = Command::new(program);
        command.args(arguments.split(' ')).current_dir(folder("line"));
        let output = command.env("LINE_CHANNEL_ACCESS_TOKEN", TOKEN).output().await.unwrap();
        assert!(output.status.success(), "{line}: {output:?}");
        told.push(String::from_utf8(output.stdout).unwrap());
    }
    let [page, check] = told.as_slice() else { panic!("{told:?}") };
    assert!(
        page.contains("`channel_access_token`") && page.contains("provider = \"line\""),
        "{page}"
    );
    assert!(check.starts_with("dispatch.toml: right"), "{check}");
}

pub async fn its_program_is_configured_as_ours_and_fails_over_to_a_channel_of_ours() {
    let program = built("line").await;
    let pushes = Pushes::default();
    let folder = tempfile::tempdir().unwrap();

    every_command_of_the_guide_does_what_it_says(&program).await;
    let proven = Command::new(&program).args(["adapter", "check", "line"]).output().await.unwrap();
    let told = String::from_utf8_lossy(&proven.stdout).into_owned();
    assert!(proven.status.success() && told.contains("| idempotence | proven"), "{told}");

    // What is wrong with its account is told as of ours, from the form that it declares.
    let wrong = at("ftp://a").replace("channel_access_token", "token");
    let told = check(&program, folder.path(), &wrong).await;
    for part in [
        "account main: there is no secret token; there are channel_access_token",
        "account main: secret channel_access_token is missing",
        "account main: setting base_url must be an http or https URL",
    ] {
        assert!(told.contains(part), "{told}");
    }
    assert!(!told.contains(TOKEN), "{told}");

    let base_url = stub(Arc::clone(&pushes)).await;
    let (process, client) = by_itself(&program, folder.path(), &at(&base_url)).await;
    goes_out_or_fails_over(&client, &pushes).await;
    assert_eq!(process.terminate().await, Some(0));
}
