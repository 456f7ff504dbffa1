//! The command line against a running service: what people and scripts see.

use std::{
    path::Path,
    process::{Output, Stdio},
};

use tokio::{io::AsyncWriteExt, process::Command};

use crate::support::{FREE, Process};

const MISSING: &str = "0190a1b2-0000-7000-8000-000000000000";

/// A service, and the program to talk to it with.
struct Terminal {
    process: Process,
    server: String,
    _folder: tempfile::TempDir,
}

impl Terminal {
    async fn new() -> Terminal {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("dispatch.toml");
        std::fs::write(&config, "[log]\nlevel = \"warn\"\n").unwrap();
        let process = Process::serve(&config, &folder.path().join("data"), FREE, FREE).await;
        let server = format!("http://{}", process.grpc);
        Terminal { process, server, _folder: folder }
    }

    async fn run(&self, arguments: &[&str]) -> Output {
        run(&[arguments, &["--server", &self.server]].concat(), "").await
    }
}

async fn run(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_dispatch"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).await.unwrap();
    child.wait_with_output().await.unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn workflows() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/workflows");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path().display().to_string())
        .filter(|path| path.ends_with(".yaml"))
        .collect();
    files.sort();
    assert!(files.len() >= 5, "{files:?}");
    files
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_gets_along() {
    let terminal = Terminal::new().await;
    for file in workflows() {
        let created = terminal.run(&["create", "-f", &file]).await;
        assert!(created.status.success(), "{file}: {}", err(&created));
    }
    let listed = terminal.run(&["list"]).await;
    assert_eq!(out(&listed).lines().count(), workflows().len(), "{}", out(&listed));

    let file = workflows().into_iter().find(|file| file.contains("messenger-sms")).unwrap();
    let watched = terminal.run(&["create", "-f", &file, "--watch"]).await;
    let told = out(&watched);
    assert_eq!(watched.status.code(), Some(0), "{told}");
    assert!(told.contains("workflow SUCCEEDED, CONDITION_MET"), "{told}");
    assert!(!told.contains('\u{1b}'), "colours where there is no terminal");
    let id = told.lines().next().unwrap().to_owned();

    let why = out(&terminal.run(&["why", &id]).await);
    assert!(why.contains("It ended SUCCEEDED, CONDITION_MET"), "{why}");
    let got = out(&terminal.run(&["get", &id, "--output", "json"]).await);
    let json: serde_json::Value = serde_json::from_str(&got).unwrap();
    assert_eq!(json["workflow_id"], id.as_str());
    assert_eq!(json["state"], "WORKFLOW_STATE_SUCCEEDED");

    let canceled = terminal.run(&["cancel", &id]).await;
    assert_eq!(canceled.status.code(), Some(5));
    assert!(err(&canceled).contains("already ended"), "{}", err(&canceled));
    let missing = terminal.run(&["get", MISSING]).await;
    assert_eq!(missing.status.code(), Some(4), "{}", err(&missing));
    let channels = out(&terminal.run(&["channels"]).await);
    assert!(channels.contains("viber_service_msg"), "{channels}");
    assert_eq!(terminal.process.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_file_is_refused_with_what_would_be_right() {
    let terminal = Terminal::new().await;
    let cases = [
        ("steps: [", 3, "stdin", "-"),
        ("stepz: []", 3, "steps", "-"),
        ("{\"steps\": 3}", 3, "steps", "-"),
        ("steps: []", 3, "steps", "-"),
        ("x", 3, "no-such-file", "no-such-file.yaml"),
    ];
    for (text, code, named, file) in cases {
        let arguments = ["create", "-f", file, "--server", &terminal.server];
        let refused = run(&arguments, text).await;
        assert_eq!(refused.status.code(), Some(code), "{text}: {}", err(&refused));
        let told = err(&refused);
        let is_named = told.contains(named) || (named == "stdin" && told.contains('-'));
        assert!(is_named, "{text}: {told}");
    }
    assert_eq!(terminal.process.terminate().await, Some(0));
}

#[tokio::test]
async fn without_a_server_it_says_so_and_where_it_looked() {
    let refused = run(&["list", "--server", "http://127.0.0.1:9"], "").await;
    assert_eq!(refused.status.code(), Some(6));
    assert!(err(&refused).contains("dispatch serve"), "{}", err(&refused));
}

#[tokio::test]
async fn a_wrong_configuration_is_refused_before_anything_starts() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("dispatch.toml");
    let cases = [
        ("[listen]\ngprc = \"127.0.0.1:1\"", "did you mean `grpc`?"),
        ("[store]\ncache_mib = 1", "store.cache_mib must be 16 to 65536"),
        (
            "[[routes]]\nname = \"a\"\nadapter = \"vonage-fax\"\naccount = \"x\"",
            "there is no adapter vonage-fax",
        ),
        (
            "[[routes]]\nname = \"a\"\nadapter = \"vonage-sms\"\naccount = \"x\"",
            "there is no account x",
        ),
        (
            "[[accounts]]\nname = \"a\"\nprovider = \"vonage\"\nsecrets = { api_secret = \"env:NOT_SET_ANYWHERE\" }",
            "NOT_SET_ANYWHERE is not set",
        ),
        ("[sandbox]\ndefault_script = \"accpet\"", "sandbox.default_script"),
    ];
    for (text, wanted) in cases {
        std::fs::write(&file, text).unwrap();
        let (config, data) =
            (file.display().to_string(), folder.path().join("data").display().to_string());
        let arguments = [
            "serve",
            "--config",
            &config,
            "--data",
            &data,
            "--grpc",
            "127.0.0.1:0",
            "--http",
            "127.0.0.1:0",
            "--internal-http",
            "127.0.0.1:0",
        ];
        let refused = run(&arguments, "").await;
        assert!(!refused.status.success(), "{text}");
        assert!(err(&refused).contains(wanted), "{text}: {}", err(&refused));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_demo_shows_every_way_and_exits_zero() {
    let shown = run(&["demo"], "").await;
    let told = out(&shown);
    assert!(shown.status.success(), "{told}\n{}", err(&shown));
    assert!(told.contains("not read within 4 s; last status delivered"), "{told}");
    assert_eq!(told.matches("workflow SUCCEEDED, CONDITION_MET").count(), 3, "{told}");
    for route in ["vonage-sms", "meta-whatsapp", "twilio-sms"] {
        assert!(told.contains(&format!("planned by route {route}")), "{told}");
    }
    assert!(!told.contains('\u{1b}'), "colours where there is no terminal");
}

#[tokio::test]
async fn a_reader_that_leaves_ends_it_quietly() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_dispatch"))
        .arg("config")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Closed before a byte of it is read, as `| true` does.
    drop(child.stdout.take());
    let output = child.wait_with_output().await.unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    assert_eq!(err(&output), "");
}

#[tokio::test]
async fn help_and_completions_are_there() {
    let help = out(&run(&["--help"], "").await);
    for command in ["serve", "demo", "create", "get", "why", "watch", "list", "cancel", "channels"]
    {
        assert!(help.contains(command), "{help}");
    }
    for shell in ["bash", "zsh", "fish"] {
        assert!(out(&run(&["completions", shell], "").await).contains("dispatch"));
    }
    assert_eq!(out(&run(&["config"], "").await), dispatch::config::DEFAULT_TOML);
}

#[tokio::test]
async fn what_an_adapter_declares_is_proven_by_the_program_itself() {
    let proven = out(&run(&["adapter", "check", "vonage-sms"], "").await);
    for row in [
        "| promise | `vonage-sms` |",
        "| condition status delivered | proven |",
        "| condition status read | not declared |",
        "| content video | refused |",
        "| idempotence | not declared |",
        "| forgery | proven |",
        "| replay window | proven |",
    ] {
        assert!(proven.contains(row), "{row} in {proven}");
    }
    assert!(proven.contains("\n0 of "), "{proven}");
    let simulated = out(&run(&["adapter", "check", "sandbox"], "").await);
    for row in [
        " `sandbox-sms` |",
        " `sandbox-rcs` |",
        "- `sandbox-sms`: not tried: errors: a refused connection: it is in the same process, so there is no connection",
        "\n0 of ",
    ] {
        assert!(simulated.contains(row), "{row} in {simulated}");
    }
    let unknown = run(&["adapter", "check", "vonage-fax"], "").await;
    assert_eq!(unknown.status.code(), Some(1));
    assert!(err(&unknown).contains(", vonage-"), "{}", err(&unknown));
}

#[tokio::test]
async fn serve_tells_where_it_listens() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("dispatch.toml");
    std::fs::write(&config, "").unwrap();
    let process = Process::serve(&config, &folder.path().join("data"), FREE, FREE).await;
    let ask = |address, path| async move {
        reqwest::get(format!("http://{address}{path}")).await.unwrap().status().as_u16()
    };
    assert_eq!(ask(process.internal_http, "/readyz").await, 200);
    assert_eq!(ask(process.http, "/readyz").await, 404, "nothing of the inside is public");
    assert_eq!(process.terminate().await, Some(0));
}

/// What a command leaves in the temporary folder that it was given.
fn left_in(folder: &std::path::Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_demo_leaves_nothing_behind_however_it_ends() {
    use tokio::io::{AsyncBufReadExt, BufReader};
    for (end, code) in [("reader", 0), ("INT", 130), ("TERM", 143), ("HUP", 129)] {
        let temporary = tempfile::tempdir().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_dispatch"))
            .arg("demo")
            .env("TMPDIR", temporary.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.next_line().await.unwrap().unwrap().contains("is listening"));
        assert_eq!(left_in(temporary.path()).len(), 1, "its data are there while it runs");
        // `| head -1`, or a signal in the middle of it.
        if end == "reader" {
            drop(lines);
        } else {
            let id = child.id().unwrap().to_string();
            let sent = std::process::Command::new("kill").args([&format!("-{end}"), &id]).status();
            assert!(sent.unwrap().success());
        }
        let ended = tokio::time::timeout(std::time::Duration::from_secs(60), child.wait()).await;
        assert_eq!(ended.unwrap().unwrap().code(), Some(code), "{end}");
        assert_eq!(left_in(temporary.path()), Vec::<String>::new(), "{end}");
    }
}
