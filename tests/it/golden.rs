//! Data folders and backups of every release open in every later one, and tell the same.
//!
//! `tests/golden/` holds, for each release, a data folder (`VERSION.tar.gz`), a backup of it
//! (`VERSION.backup`), and what they tell (`VERSION.txt`). At a release they are written by
//! `DISPATCH_GOLDEN=write cargo test --test it golden`; they are never changed afterwards.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use dispatch::{
    config::{Config, StoreKind},
    pb::v1::{CreateWorkflowRequest, Event, ListWorkflowsRequest, WorkflowSpec},
    store::{SledOptions, check_backup},
};

use crate::support::{Running, in_memory, messenger_sms};

fn golden(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(file)
}

fn on(folder: &Path) -> Config {
    let mut config = in_memory();
    config.store.kind = StoreKind::Sled;
    config.store.data = folder.to_owned();
    config
}

fn tar(arguments: &[&str], folder: &Path) {
    let done = Command::new("tar").args(arguments).current_dir(folder).status().unwrap();
    assert!(done.success(), "tar {arguments:?}");
}

/// Each workflow's timeline.
async fn told(running: &Running) -> BTreeMap<String, Vec<String>> {
    let request = ListWorkflowsRequest { page_size: 500, ..Default::default() };
    let mut told = BTreeMap::new();
    for found in running.client.list(request).await.unwrap().workflows {
        let workflow = running.get(&found.workflow_id).await;
        let spec = dispatch::pb::to_json(workflow.spec.as_ref().unwrap());
        let mut lines = vec![format!("request {:?} {spec}", workflow.request_id)];
        let events = workflow.timeline.iter();
        lines.extend(events.map(|event| {
            let event = Event {
                // The wording may get better, a token belongs to one life of the store.
                description: String::new(),
                resume_token: String::new(),
                ..event.clone()
            };
            dispatch::pb::to_json(&event)
        }));
        told.insert(found.workflow_id, lines);
    }
    told
}

/// What was told at the release is told still; what happened since may follow.
fn same(now: &BTreeMap<String, Vec<String>>, then: &str, what: &str) {
    let mut workflows = 0;
    for block in then.split("\n\n").filter(|block| !block.trim().is_empty()) {
        let (id, lines) = block.split_once('\n').unwrap();
        let lines: Vec<_> = lines.lines().map(str::to_owned).collect();
        let told = now.get(id).unwrap_or_else(|| panic!("{what}: {id} is lost"));
        assert!(told.starts_with(&lines), "{what}, {id}:\n{told:#?}\nand it was\n{lines:#?}");
        workflows += 1;
    }
    assert_eq!(now.len(), workflows, "{what}");
    assert!(workflows > 10, "{what} holds too little");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn data_of_every_release_opens_and_tells_the_same() {
    if std::env::var("DISPATCH_GOLDEN").is_ok_and(|what| what == "write") {
        write().await;
    }
    let mut releases = 0;
    for entry in fs::read_dir(golden("")).unwrap() {
        let path = entry.unwrap().path();
        let Some(release) = path.file_name().unwrap().to_str().unwrap().strip_suffix(".tar.gz")
        else {
            continue;
        };
        releases += 1;
        let then = fs::read_to_string(golden(&format!("{release}.txt"))).unwrap();
        let folder = tempfile::tempdir().unwrap();
        tar(&["-xzf", path.to_str().unwrap()], folder.path());
        let data = SledOptions { folder: folder.path().join("data"), cache_bytes: 1 << 24 };
        assert_eq!(data.check().unwrap().findings, [], "{release}");
        let running = Running::start(&on(&data.folder)).await;
        same(&told(&running).await, &then, release);
        running.stop().await;

        let backup = golden(&format!("{release}.backup"));
        assert_eq!(check_backup(&backup).findings, [], "{release}");
        let data = SledOptions { folder: folder.path().join("restored"), ..data };
        data.restore(&backup).unwrap();
        // No backup holds it.
        let kept = folder.path().join("data/master.key");
        fs::copy(kept, data.folder.join("master.key")).unwrap();
        assert_eq!(data.check().unwrap().findings, [], "{release}, restored");
        let running = Running::start(&on(&data.folder)).await;
        assert!(running.service.engine.is_restore_locked());
        same(&told(&running).await, &then, release);
        running.stop().await;
    }
    assert!(releases > 0);
}

/// Something of everything that a folder can hold.
async fn write() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(&on(&folder.path().join("data"))).await;
    let scripts = [
        ("reads", "accept; deliver 2s; read 5s"),
        ("never-reads", "accept; deliver 2s"),
        ("refused", "reject 1300"),
        ("busy", "throttle 2 1s; accept; deliver 1s"),
        ("silent", "hang"),
        ("fails", "accept; undeliverable 3s 1260"),
    ];
    let mut ids = Vec::new();
    for (person, script) in scripts {
        running.script(person, script).await;
        ids.push(running.create(messenger_sms(person, "447700900000", "60s")).await);
    }
    for entry in fs::read_dir(golden("../../docs/workflows")).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        let spec: WorkflowSpec = dispatch::pb::from_yaml(&text).unwrap();
        ids.push(running.create(spec).await);
    }
    let labels = BTreeMap::from([("team".to_owned(), "blue".to_owned())]);
    let labelled = WorkflowSpec { labels, ..messenger_sms("someone", "447700900000", "3600s") };
    let asked = CreateWorkflowRequest {
        workflow: Some(labelled),
        request_id: "request-1".to_owned(),
        ..Default::default()
    };
    running.client.create(asked).await.unwrap();
    running.advance(Duration::from_secs(100)).await;
    // A value in many pieces, a cancel, and what has just begun.
    let mut large = messenger_sms("someone", "447700900000", "3600s");
    large.labels.insert("large".to_owned(), "x".repeat(255));
    let step = large.steps[0].clone();
    large.steps = std::iter::repeat_n(step, 18).chain(large.steps.into_iter().skip(1)).collect();
    running.create(large).await;
    let canceled = running.create(messenger_sms("someone", "447700900000", "3600s")).await;
    running.client.cancel(&canceled).await.unwrap();
    running.create(messenger_sms("someone", "447700900000", "3600s")).await;
    let now = told(&running).await;
    let release = env!("CARGO_PKG_VERSION");
    fs::create_dir_all(golden("")).unwrap();
    let mut bytes = Vec::new();
    let taken = running.client.backup(Default::default(), |piece| -> Result<(), ()> {
        bytes.extend_from_slice(piece);
        Ok(())
    });
    taken.await.unwrap().unwrap();
    running.stop().await;
    fs::write(golden(&format!("{release}.backup")), bytes).unwrap();
    let blocks: Vec<_> =
        now.iter().map(|(id, lines)| format!("{id}\n{}\n", lines.join("\n"))).collect();
    fs::write(golden(&format!("{release}.txt")), blocks.join("\n")).unwrap();
    let archive = golden(&format!("{release}.tar.gz"));
    tar(&["-czf", archive.to_str().unwrap(), "data"], folder.path());
}
