//! Texts of callers reach an operator's terminal: nothing in them may command it, or look like a line of
//! ours.

use std::{collections::BTreeMap, process::Output, sync::Arc};

use dispatch::{
    access::Application,
    client::{Client, Credential},
    pb::v1::{ApplicationSpec, CreateApplicationRequest, WorkflowSpec},
    store::{Kind, Requester, SettingChange, encode},
};
use tokio::process::Command;

use crate::support::{Running, in_memory, messenger_sms, request};

/// Moves the cursor, sets the title, begins a C1 command, turns the direction, hides a character, and
/// forges a line.
const NASTY: &str =
    "x\u{1b}[2K\u{1b}]0;owned\u{7}\u{9b}31m\u{202e}\u{200b}\u{7f}\r\nIt ended SUCCEEDED";

async fn run(arguments: &[&str], server: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dispatch"));
    command.args(arguments).args(["--server", server]).output().await.unwrap()
}

fn is_harmless(output: &Output) -> bool {
    let shown = [&output.stdout[..], &output.stderr[..]].concat();
    let shown = String::from_utf8(shown).unwrap();
    let is_bad = |c: char| {
        (c.is_control() && c != '\n') || matches!(c, '\u{202e}' | '\u{200b}' | '\u{7f}' | '\u{9b}')
    };
    !shown.contains(is_bad) && !shown.lines().any(|line| line.starts_with("It ended SUCCEEDED"))
}

/// Creates a workflow with a nasty label. The edges refuse such a one: it is from before they did.
async fn create_as_before(running: &Running, spec: WorkflowSpec) -> String {
    let engine = &running.service.engine;
    let now = engine.clock().wall();
    let mut asked = dispatch::grpc::parse_create(&request(spec), &engine.routes(), now).unwrap();
    asked.plan.labels = BTreeMap::from([("note".to_owned(), NASTY.to_owned())]);
    let tenant = Arc::from("default");
    engine.create(tenant, asked, None, Requester::default()).await.unwrap().id.to_string()
}

/// Gives an application such a name, likewise.
fn rename_as_before(running: &Running, id: &str, name: &str) {
    let application = Application {
        id: id.parse().unwrap(),
        tenant: "default".to_owned(),
        name: name.to_owned(),
        public_key: None,
        messages: None,
        other_capabilities: "{}".to_owned(),
        improve_ai: false,
        create_time_ms: 0,
    };
    let row = encode(&application).unwrap();
    let change = SettingChange::put(Kind::Application, *application.id.as_bytes(), row);
    running.service.engine.settings().write(vec![change]).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_callers_wrote_never_commands_the_terminal_that_shows_it() {
    let running = Running::start(&in_memory()).await;
    let server = format!("http://{}", running.service.grpc);
    let id = create_as_before(&running, messenger_sms("someone", "447700900000", "600s")).await;

    for arguments in [&["why", &id][..], &["get", &id], &["list"], &["channels"]] {
        let shown = run(arguments, &server).await;
        assert!(shown.status.success() && is_harmless(&shown), "{arguments:?}: {shown:?}");
    }
    let why = run(&["why", &id], &server).await;
    let why = String::from_utf8_lossy(&why.stdout).into_owned();
    assert!(why.contains(r"note=x\u{1b}[2K\u{1b}]0;owned\u{7}"), "{why}");

    // JSON says the same, and commands nothing either.
    let json = run(&["get", &id, "--output", "json"], &server).await;
    assert!(is_harmless(&json), "{json:?}");
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["spec"]["labels"]["note"], NASTY);

    // What was asked for stands in errors.
    let missing = run(&["get", NASTY], &server).await;
    assert!(!missing.status.success() && is_harmless(&missing), "{missing:?}");
    running.stop().await;
}

/// A service that is not ours, or not what it was: what it answers is a text as any other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_that_turn_the_direction_of_writing_are_shown_as_what_they_are() {
    let running = Running::start(&in_memory()).await;
    let server = format!("http://{}", running.service.grpc);
    let client = Client::connect(server.clone()).await.unwrap().with(Credential::none());
    let turned = "shop\u{202e}nimda\u{2066}\u{200d}";
    let application = ApplicationSpec { name: turned.to_owned(), ..ApplicationSpec::default() };
    let request = CreateApplicationRequest { application: Some(application) };
    let refused = client.applications().create_application(request).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::InvalidArgument);
    let application = ApplicationSpec { name: "shop".to_owned(), ..ApplicationSpec::default() };
    let request = CreateApplicationRequest { application: Some(application) };
    let made = client.applications().create_application(request).await.unwrap().into_inner();
    rename_as_before(&running, &made.application.unwrap().application_id, turned);
    let shown = run(&["apps", "list"], &server).await;
    assert!(shown.status.success() && is_harmless(&shown), "{shown:?}");
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains(r"shop\u{202e}nimda\u{2066}\u{200d}"), "{shown}");
    running.stop().await;
}
