//! Backup, restore, check, resume: with the real program, and against planted damage.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Output,
    time::Duration,
};

use dispatch::{
    client::Client,
    pb::v1::{
        ListSentMessagesRequest, OpenWorkflows, StreamStart, StreamStatusRequest, Workflow,
        WorkflowState, sandbox_service_client::SandboxServiceClient, stream_status_request,
    },
    store::{SledOptions, Store, StoreError, check_backup},
};
use tokio::process::Command;
use tonic::Code;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_types::StatusExt;

use crate::support::{FREE, Process, eventually, messenger_sms, request};

const NUMBER: &str = "447700900001";

struct House {
    folder: tempfile::TempDir,
    config: PathBuf,
}

impl House {
    fn new() -> House {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("dispatch.toml");
        // What is not failed over from stays open, however long a test takes.
        let text = "[engine]\nrecovery_grace_s = 0\n[log]\nlevel = \"warn\"\n\
                    [sandbox]\ndefault_script = \"accept; deliver 1s\"\n";
        fs::write(&config, text).unwrap();
        House { folder, config }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    async fn serve(&self, data: &str) -> (Process, Client) {
        let process = Process::serve(&self.config, &self.path(data), FREE, FREE).await;
        let client = Client::connect(format!("http://{}", process.grpc)).await.unwrap();
        (process, client)
    }

    /// A service with ended and open workflows, and a backup of it taken while it ran.
    async fn with_backup(&self) -> (Process, Client, Vec<Workflow>) {
        let (process, client) = self.serve("data").await;
        for number in 0..5 {
            let long = messenger_sms(&format!("open-{number}"), NUMBER, "3600s");
            client.create(request(long)).await.unwrap();
            let short = messenger_sms(&format!("short-{number}"), NUMBER, "1s");
            let mut asked = request(short);
            asked.request_id = format!("request-{number}");
            client.create(asked).await.unwrap();
        }
        let has_ended = eventually(Duration::from_secs(20), || async {
            all(&client).await.iter().filter(|one| one.state() == WorkflowState::Succeeded).count()
                >= 5
        });
        assert!(has_ended.await);
        let backup = self.path("one.backup");
        let server = format!("http://{}", process.grpc);
        let output = run(&["backup", text(&backup), "--server", &server]).await;
        assert!(output.status.success(), "{output:?}");
        assert!(out(&output).contains("10 workflows, 5 of them open"), "{output:?}");
        let kept = all(&client).await;
        (process, client, kept)
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

async fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_dispatch")).args(arguments).output().await.unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Every workflow with its timeline, but for the tokens, which belong to one life of the store.
async fn all(client: &Client) -> Vec<Workflow> {
    let page = client.list(Default::default()).await.unwrap();
    let mut workflows = Vec::new();
    for found in page.workflows {
        let mut workflow = client.get(found.workflow_id).await.unwrap();
        workflow.timeline.iter_mut().for_each(|event| event.resume_token.clear());
        workflows.push(workflow);
    }
    workflows
}

async fn health(process: &Process) -> ServingStatus {
    let endpoint = Client::endpoint(format!("http://{}", process.grpc)).unwrap();
    let mut health = HealthClient::new(endpoint.connect().await.unwrap());
    let service = "dispatch.v1.DispatchService".to_owned();
    health.check(HealthCheckRequest { service }).await.unwrap().into_inner().status()
}

async fn sent(process: &Process) -> usize {
    let sandbox = SandboxServiceClient::connect(format!("http://{}", process.grpc)).await;
    let sent = sandbox.unwrap().list_sent_messages(ListSentMessagesRequest::default()).await;
    sent.unwrap().into_inner().messages.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_service_shows_all_there_was_and_sends_nothing_until_it_is_told_to() {
    let house = House::new();
    let (process, client, kept) = house.with_backup().await;
    let token = client.get(&kept[0].workflow_id).await.unwrap().timeline[0].resume_token.clone();
    // The life that goes on: what it does now is not in the backup.
    let later = client.create(request(messenger_sms("later", NUMBER, "3600s"))).await.unwrap();
    process.kill().await;

    let (backup, data) = (house.path("one.backup"), house.path("restored"));
    let checked = run(&["check", text(&backup)]).await;
    assert!(out(&checked).contains("sound; 10 workflows, 5 of them open"), "{checked:?}");
    let key = house.path("data/master.key").display().to_string();
    let elsewhere = house.path("no.key").display().to_string();
    let restore = ["restore", text(&backup), "--data", text(&data), "--master-key", &elsewhere];
    let refused = run(&restore).await;
    assert!(err(&refused).contains("there is no such file") && !data.exists());
    // As a shell completes it.
    let with_slash = format!("{}/", text(&data));
    let restored =
        run(&["restore", text(&backup), "--data", &with_slash, "--master-key", &key]).await;
    assert!(out(&restored).contains("It has a restore lock"), "{restored:?}");
    let nowhere = run(&["restore", text(&backup), "--data", "."]).await;
    assert!(!nowhere.status.success(), "{nowhere:?}");
    let checked = run(&["check", text(&data)]).await;
    assert!(out(&checked).contains("sound; 10 workflows, 5 of them open"), "{checked:?}");
    let again = run(&["restore", text(&backup), "--data", text(&data)]).await;
    assert!(err(&again).contains("is not empty"), "{again:?}");

    let (process, client) = house.serve("restored").await;
    assert_eq!(all(&client).await, kept, "nothing lost, nothing made up, nothing from later");
    let gone = client.get(later.workflow.unwrap().workflow_id).await.unwrap_err();
    assert_eq!(gone.code(), Code::NotFound);
    let from = Some(stream_status_request::Start::ResumeToken(token));
    let target = Some(stream_status_request::Target::WorkflowId(kept[0].workflow_id.clone()));
    let stream = StreamStatusRequest { target, start: from, ..Default::default() };
    let foreign = client.raw().stream_status(stream).await.unwrap_err();
    assert_eq!(foreign.code(), Code::FailedPrecondition, "a token of the other life");

    // Restore lock: refused with a reason, not ready, and quiet, although a step came due by now.
    let refused = client.create(request(messenger_sms("new", NUMBER, "3600s"))).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert_eq!(refused.get_details_error_info().unwrap().reason, "RESTORE_LOCKED");
    let mut known = request(messenger_sms("short-1", NUMBER, "1s"));
    known.request_id = "request-1".to_owned();
    assert!(client.create(known).await.unwrap().already_existed, "a repeat is answered as ever");
    let canceled = kept.iter().find(|one| one.state() == WorkflowState::Running).unwrap();
    client.cancel(&canceled.workflow_id).await.unwrap();
    assert_eq!(sent(&process).await, 0);
    // Killed meanwhile, it has its restore lock again.
    process.kill().await;
    let (process, client) = house.serve("restored").await;
    assert_eq!(health(&process).await, ServingStatus::NotServing);

    let server = format!("http://{}", process.grpc);
    let resumed = run(&["resume", "--open", "cancel", "--server", &server]).await;
    assert!(out(&resumed).contains("4 workflows were open and are canceled"), "{resumed:?}");
    assert_eq!(health(&process).await, ServingStatus::Serving);
    let states: Vec<_> = all(&client).await.iter().map(Workflow::state).collect();
    assert_eq!(states.iter().filter(|state| **state == WorkflowState::Canceled).count(), 5);
    assert_eq!(sent(&process).await, 0);
    let twice = run(&["resume", "--open", "cancel", "--server", &server]).await;
    assert!(err(&twice).contains("has no restore lock"), "{twice:?}");
    let created = client.create(request(messenger_sms("new", NUMBER, "3600s"))).await.unwrap();
    let id = created.workflow.unwrap().workflow_id;
    let all_events = StreamStatusRequest {
        target: Some(stream_status_request::Target::WorkflowId(id)),
        start: Some(stream_status_request::Start::Position(StreamStart::Beginning as i32)),
        ..Default::default()
    };
    client.raw().stream_status(all_events).await.unwrap();
    process.kill().await;
    let (process, client) = house.serve("restored").await;
    assert!(client.resume(OpenWorkflows::Cancel).await.is_err(), "let go for good");
    assert_eq!(process.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_open_goes_on_if_that_is_what_the_operator_says() {
    let house = House::new();
    let (process, client) = house.serve("data").await;
    let id = client.create(request(messenger_sms("a", NUMBER, "2s"))).await.unwrap();
    let id = id.workflow.unwrap().workflow_id;
    let is_out = eventually(Duration::from_secs(10), || async { sent(&process).await == 1 });
    assert!(is_out.await);
    let backup = house.path("one.backup");
    let server = format!("http://{}", process.grpc);
    assert!(run(&["backup", text(&backup), "--server", &server]).await.status.success());
    process.kill().await;
    let data = house.path("restored");
    let key = house.path("data/master.key");
    let restore = ["restore", text(&backup), "--data", text(&data), "--master-key", text(&key)];
    assert!(run(&restore).await.status.success());

    let (process, client) = house.serve("restored").await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(sent(&process).await, 0, "its two seconds are long over, and it has a restore lock");
    assert_eq!(client.resume(OpenWorkflows::Continue).await.unwrap().open_workflows, 1);
    let failed_over = eventually(Duration::from_secs(20), || async {
        client.get(&id).await.unwrap().state() == WorkflowState::Succeeded
    });
    assert!(failed_over.await, "{:#?}", client.get(&id).await);
    assert_eq!(sent(&process).await, 1, "the SMS, and nothing else");
    assert_eq!(process.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_that_is_not_whole_is_refused_and_leaves_nothing() {
    let house = House::new();
    let (process, client, _) = house.with_backup().await;
    drop(client);
    process.kill().await;
    let good = fs::read(house.path("one.backup")).unwrap();
    let bad = house.path("bad.backup");
    for cut in (0..good.len()).step_by(good.len() / 97) {
        fs::write(&bad, &good[..cut]).unwrap();
        assert!(!check_backup(&bad).is_sound(), "cut off at {cut}");
    }
    for at in (0..good.len()).step_by(good.len() / 97) {
        let mut flipped = good.clone();
        flipped[at] ^= 1;
        fs::write(&bad, &flipped).unwrap();
        assert!(!check_backup(&bad).is_sound(), "flipped at {at}");
    }
    let doubled = [good.as_slice(), good.as_slice()].concat();
    fs::write(&bad, doubled).unwrap();
    assert!(!check_backup(&bad).is_sound());
    let options = SledOptions { folder: house.path("none"), cache_bytes: 1 << 20 };
    assert!(options.restore(&bad).is_err());
    assert!(!options.folder.exists());
    let output = run(&["restore", text(&bad), "--data", text(&options.folder)]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(err(&output).contains("something follows its end"), "{output:?}");
    assert!(!options.folder.exists());
    let output = run(&["check", text(&house.config)]).await;
    assert!(err(&output).contains("is no backup"), "{output:?}");
    let output = run(&["backup", text(&house.config)]).await;
    assert!(err(&output).contains("is there already"), "{output:?}");
}

type Spoil = fn(&sled::Tree, sled::IVec, sled::IVec);

/// Opens the files below the store's feet, and spoils one row of a kind.
fn spoil(folder: &Path, kind: u8, how: impl Fn(&sled::Tree, sled::IVec, sled::IVec)) {
    let config = sled::Config::new().path(folder).segment_size(8 << 20);
    // Whoever had it open before lets go of it beside the program's end.
    let began = std::time::Instant::now();
    let db = loop {
        match config.open() {
            Ok(db) => break db,
            Err(error) if began.elapsed().as_secs() > 20 => panic!("{error}"),
            Err(_) => std::thread::sleep(std::time::Duration::from_millis(20)),
        }
    };
    let tree = db.open_tree("dispatch").unwrap();
    let (key, value) = tree.range(vec![kind]..vec![kind + 1]).next().unwrap().unwrap();
    how(&tree, key, value);
    db.flush().unwrap();
}

fn copy(from: &Path, to: &Path) {
    let copied = std::process::Command::new("cp").arg("-r").args([from, to]).status();
    assert!(copied.unwrap().success());
}

fn take(tree: &sled::Tree, key: sled::IVec, _: sled::IVec) {
    tree.remove(key).unwrap();
}

fn flip(tree: &sled::Tree, key: sled::IVec, value: sled::IVec) {
    let mut value = value.to_vec();
    *value.last_mut().unwrap() ^= 1;
    tree.insert(key, value).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_names_whatever_is_wrong_in_a_folder() {
    let house = House::new();
    let (process, client, kept) = house.with_backup().await;
    drop(client);
    let in_use = run(&["check", text(&house.path("data"))]).await;
    assert!(err(&in_use).contains("in use by another process"), "{in_use:?}");
    process.kill().await;
    let backup = house.path("one.backup");
    let spoils: [(&str, u8, Spoil, &str); 8] = [
        ("a journal row is gone", b'j', take, "before it are missing"),
        ("a journal row is rotten", b'j', flip, "its checksum does not fit"),
        ("an ended one's row is gone", b'e', take, "nothing says where its rows are"),
        ("an ended one's row is rotten", b'e', flip, "its checksum does not fit"),
        (
            "an ended one's row is another's",
            b'e',
            |tree, key, _| {
                let (_, other) = tree.get_gt(&key).unwrap().unwrap();
                drop(tree.insert(key, other));
            },
            "should stand there, and does not",
        ),
        ("a request id's row is gone", b'q', take, "its request_id does not lead to it"),
        ("a message id's row is rotten", b'p', flip, "its checksum does not fit"),
        (
            "what nobody knows is there",
            b'j',
            |tree, _, value| drop(tree.insert(b"zz", value)),
            "no such row",
        ),
    ];
    for (number, (what, kind, how, told)) in spoils.into_iter().enumerate() {
        let folder = house.path(&format!("spoiled-{number}"));
        copy(&house.path("data"), &folder);
        let options = SledOptions { folder, cache_bytes: 1 << 24 };
        assert_eq!(options.check().unwrap().findings, []);
        spoil(&options.folder, kind, how);
        let checked = options.check().unwrap();
        let found: Vec<_> = checked.findings.iter().map(ToString::to_string).collect();
        assert!(found.iter().any(|text| text.contains(told)), "{what}: {found:?}");
    }
    // A sound one opens, with everything in it.
    let options = SledOptions { folder: house.path("sound"), cache_bytes: 1 << 24 };
    let summary = options.restore(&backup).unwrap();
    assert_eq!(summary.workflows, kept.len() as u64);
    let store = options.open().unwrap();
    assert!(store.restore_lock().is_some());
    assert!(matches!(options.check(), Err(StoreError::InUse(_))));
}
