//! Providers from outside: each a workspace of its own under `tests/outside`, built as whoever wrote it would
//! build it, configured as our own are, and failing over to a channel of ours.

mod mail;
mod pages;
mod push;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use dispatch::{
    builtin,
    client::{Client, Credential},
    config::Config,
    pb::v1::{EventKind, Workflow, WorkflowState},
    service::Service,
};
use dispatch_contract::Provider;
use tokio::process::Command;

use crate::{
    no_recipient,
    support::{FREE, Process, eventually, request},
};

/// The folders under `tests/outside`, each with a program `dispatch-with-NAME`.
const OUTSIDE: [&str; 2] = ["email", "line"];
const KEY: &str = "outside:a secret of the tests";

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/outside").join(name)
}

/// The program of one, built in the target folder of this one, and as it is: what both need is compiled by
/// now (`tests/outside/.cargo`, `tests/outside/as-tested`). Behind the other tests, whose patience is counted.
async fn built(name: &str) -> PathBuf {
    let profile = Path::new(env!("CARGO_BIN_EXE_dispatch")).parent().unwrap();
    let built = Command::new("nice")
        .arg(env!("CARGO"))
        // That an example is asked for makes cargo choose features as for tests; there is none.
        .args(["build", "--quiet", "--locked", "--offline", "--bins", "--examples"])
        .args((!cfg!(debug_assertions)).then_some("--release"))
        .arg("--target-dir")
        .arg(profile.parent().unwrap())
        .current_dir(folder(name))
        .status();
    assert!(built.await.unwrap().success(), "{name} does not build");
    profile.join(format!("dispatch-with-{name}"))
}

/// The configuration that it comes with, with these edits; a store that leaves nothing, and a key.
fn configuration(name: &str, edits: &[(&str, &str)]) -> String {
    let mut text = std::fs::read_to_string(folder(name).join("dispatch.toml")).unwrap();
    for (old, new) in edits {
        assert_eq!(text.matches(old).count(), 1, "{old} in {text}");
        text = text.replace(old, new);
    }
    let key = "[[access.keys]]\nid = \"outside\"\nsecret = \"a secret of the tests\"\n";
    format!("{text}\n{key}scopes = [\"create\", \"read\"]\n\n[store]\nkind = \"memory\"\n")
}

/// The workflow that it comes with, to this recipient, once it is over.
async fn sent(client: &Client, name: &str, recipient: &str, to: &str) -> Workflow {
    let text = std::fs::read_to_string(folder(name).join("workflow.yaml")).unwrap();
    assert_eq!(text.matches(recipient).count(), 1, "{text}");
    let spec = dispatch::pb::from_yaml(&text.replace(recipient, to)).unwrap();
    let created = client.create(request(spec)).await.unwrap();
    let id = created.workflow.unwrap().workflow_id;
    let is_over = async || client.get(&id).await.unwrap().state() == WorkflowState::Succeeded;
    assert!(eventually(Duration::from_secs(30), is_over).await, "{:?}", client.get(&id).await);
    client.get(&id).await.unwrap()
}

fn assert_failed_over(workflow: &Workflow) {
    let kinds: Vec<_> = workflow.timeline.iter().map(|event| event.kind()).collect();
    assert!(kinds.contains(&EventKind::AttemptRejected), "{kinds:?}");
    assert_eq!(workflow.steps[1].attempts.len(), 1);
}

/// A service of this process with the provider in it.
async fn in_process(provider: impl Provider + 'static, configuration: &str) -> (Service, Client) {
    let listen = "[listen]\ngrpc = \"127.0.0.1:0\"\nhttp = \"127.0.0.1:0\"\ninternal_http = \"127.0.0.1:0\"\n";
    let config = Config::parse(&format!("{configuration}{listen}")).unwrap();
    let mut providers = builtin::Providers::default();
    builtin::add(&mut providers).unwrap();
    providers.add(provider).unwrap();
    let parts = |clock: &_, _| builtin::parts_of(&providers.registry, &config, clock);
    let service = no_recipient::start(&config, parts).await.unwrap();
    let client = Client::connect(format!("http://{}", service.grpc)).await.unwrap();
    (service, client.with(Credential::key(KEY).unwrap()))
}

/// Its own program, with that configuration.
async fn by_itself(program: &Path, folder: &Path, configuration: &str) -> (Process, Client) {
    let config = folder.join("dispatch.toml");
    std::fs::write(&config, configuration).unwrap();
    let process = Process::serve_by(Command::new(program), &config, folder, FREE, FREE).await;
    let client = Client::connect(format!("http://{}", process.grpc)).await.unwrap();
    (process, client.with(Credential::key(KEY).unwrap()))
}

/// What its own program says of a configuration.
async fn check(program: &Path, folder: &Path, configuration: &str) -> String {
    let config = folder.join("dispatch.toml");
    std::fs::write(&config, configuration).unwrap();
    let mut check = Command::new(program);
    let told = check.args(["serve", "--check", "--config"]).arg(&config).output().await.unwrap();
    String::from_utf8_lossy(&[told.stdout, told.stderr].concat()).into_owned()
}

/// One test, so that the others are not kept waiting by two that build.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn their_programs_are_configured_as_ours_and_fail_over_to_a_channel_of_ours() {
    push::its_program_is_configured_as_ours_and_fails_over_to_a_channel_of_ours().await;
    mail::its_program_is_configured_as_ours_and_fails_over_to_a_channel_of_ours().await;
}

#[test]
fn they_are_built_of_the_versions_that_are_locked_here() {
    // Whose it is, what it is called, and which.
    let packages = |path: PathBuf| -> Vec<[Option<String>; 3]> {
        let lock: toml::Table = toml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let packages = lock["package"].as_array().unwrap().iter();
        let text = |package: &toml::Value, key| Some(package.get(key)?.as_str()?.to_owned());
        packages.map(|it| ["source", "name", "version"].map(|key| text(it, key))).collect()
    };
    let ours = packages(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.lock"));
    for package in OUTSIDE.into_iter().flat_map(|name| packages(folder(name).join("Cargo.lock"))) {
        let is_here = package[0].is_none() || ours.contains(&package);
        assert!(
            is_here,
            "{package:?}; copy Cargo.lock there, and `cargo metadata --offline` in it"
        );
    }
}

/// A crate of ours that is not named is compiled for speed, in twice the time.
#[test]
fn each_crate_of_ours_is_compiled_there_as_cheaply_as_here() {
    let profiles = std::fs::read_to_string(folder(".cargo/config.toml")).unwrap();
    let crates = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("adapters")).unwrap();
    for path in crates.map(|it| it.unwrap().path()).filter(|path| path.is_dir()) {
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(profiles.contains(&format!("[profile.dev.package.dispatch-{name}]\n")), "{name}");
    }
}

/// The binary of whoever adds a provider is as short as the documents say.
#[test]
fn each_binary_is_four_lines_long() {
    for name in OUTSIDE {
        let main = std::fs::read_to_string(folder(name).join("src/main.rs")).unwrap();
        assert!(main.lines().count() <= 4, "{main}");
    }
}
