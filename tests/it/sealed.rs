//! What is personal is sealed: nobody reads it in a data folder, and it opens for whoever has the keys.

use std::{fs, path::Path, time::Duration};

use dispatch::{
    builtin,
    config::{Config, StoreKind},
    engine::ResumePolicy,
    pb::v1::{ContentsState, Workflow, WorkflowState, message::Content},
    service::StartError,
    store::{SledOptions, StoreError},
};

use crate::{
    no_recipient::{self, stands_in},
    support::{Running, in_memory, messenger_sms},
};

const NUMBER: &str = "447700900871";
const PERSON: &str = "9123456780012345";
const CODE: &str = "zebra-quince-4711";

pub fn on(folder: &Path) -> Config {
    let mut config = in_memory();
    config.store.kind = StoreKind::Sled;
    config.store.data = folder.to_owned();
    config
}

/// One that failed over and ended, and one that is open.
async fn lives(running: &Running) -> [String; 2] {
    running.script(PERSON, "accept; deliver 1s").await;
    let mut spec = messenger_sms(PERSON, NUMBER, "60s");
    for step in &mut spec.steps {
        let text = format!("Your code is {CODE}.");
        step.message.as_mut().unwrap().content = Some(Content::Text(text));
    }
    // What contains the number is sealed without being called personal.
    spec.labels =
        [("who", NUMBER), ("note", CODE)].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    spec.personal_labels = vec!["note".to_owned()];
    spec.client_ref = format!("for +{NUMBER}");
    let ended = running.create(spec.clone()).await;
    running.advance(Duration::from_secs(600)).await;
    assert_eq!(running.get(&ended).await.state(), WorkflowState::Succeeded);
    for step in &mut spec.steps {
        if let Some(failover) = &mut step.failover {
            failover.expiry_time = Some(prost_types::Duration { seconds: 86_400, nanos: 0 });
        }
    }
    running.script(PERSON, "accept; deliver 1s").await;
    let open = running.create(spec).await;
    running.advance(Duration::from_secs(60)).await;
    assert_eq!(running.get(&open).await.state(), WorkflowState::Running);
    [ended, open]
}

fn is_shown(workflow: &Workflow) -> bool {
    let shown = dispatch::pb::to_json(workflow.spec.as_ref().unwrap());
    let is_shown = shown.contains(NUMBER) && shown.contains(CODE);
    assert_eq!(workflow.contents() == ContentsState::Shown, is_shown, "{shown}");
    is_shown
}

pub async fn refusal(config: &Config) -> String {
    match no_recipient::start(config, |clock, _| builtin::parts(config, clock)).await {
        Err(error @ (StartError::Config(_) | StartError::Store(StoreError::Refused(_)))) => {
            error.to_string()
        }
        Err(error) => panic!("{error:?}"),
        Ok(_) => panic!("it started"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_reads_in_a_data_folder_who_was_reached_and_what_was_said() {
    let folder = tempfile::tempdir().unwrap();
    let config = on(&folder.path().join("data"));
    let running = Running::start(&config).await;
    let ids = lives(&running).await;
    let mut backup = Vec::new();
    let taken = running.client.backup(Default::default(), |piece| -> Result<(), ()> {
        backup.extend_from_slice(piece);
        Ok(())
    });
    taken.await.unwrap().unwrap();
    let file = folder.path().join("one.backup");
    fs::write(&file, &backup).unwrap();
    assert!(is_shown(&running.get(&ids[0]).await), "whoever has the keys is shown it");
    running.stop().await;
    assert_eq!(stands_in(folder.path(), &[NUMBER, PERSON, CODE]), Vec::<String>::new());

    // After a restart, and in a restored store, it opens, and what was open goes on.
    let restored = folder.path().join("restored");
    let options = SledOptions { folder: restored.clone(), cache_bytes: 1 << 24 };
    options.restore(&file).unwrap();
    let other = on(&restored);
    let told = refusal(&other).await;
    assert!(told.contains("master.key is missing") && told.contains("--read-only"), "{told}");
    assert!(!restored.join("master.key").exists(), "none is made in its place");
    fs::copy(folder.path().join("data/master.key"), restored.join("master.key")).unwrap();
    for (config, is_restored) in [(&config, false), (&other, true)] {
        let running = Running::start(config).await;
        assert!(is_shown(&running.get(&ids[0]).await) && is_shown(&running.get(&ids[1]).await));
        if is_restored {
            let resumed = running.service.engine.resume(ResumePolicy::Continue).await;
            assert_eq!(resumed.unwrap(), 1);
            // Providers are heard again a moment later, and virtual time waits for nobody.
            tokio::time::sleep(Duration::from_secs(3)).await;
        }
        running.advance(Duration::from_secs(100_000)).await;
        assert_eq!(running.get(&ids[1]).await.state(), WorkflowState::Succeeded);
        let sent = running.sent().await;
        assert_eq!(sent.last().unwrap().recipient, NUMBER, "who is reached was opened");
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_its_keys_a_store_does_not_start_and_is_looked_at_without_contents() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let config = on(&data);
    let running = Running::start(&config).await;
    let [ended, _] = lives(&running).await;
    running.stop().await;

    // The keys are gone.
    let contents = data.join("contents");
    fs::rename(&contents, folder.path().join("aside")).unwrap();
    let told = refusal(&config).await;
    assert!(told.contains("contents is missing") && told.contains("put it back"), "{told}");
    assert!(!contents.exists(), "none are made in their place");
    let mut to_read = config.clone();
    to_read.store.read_only = true;
    let running = Running::start(&to_read).await;
    let shown = running.get(&ended).await;
    assert!(!is_shown(&shown) && !shown.steps.is_empty(), "{shown:?}");
    assert_eq!(shown.contents(), ContentsState::Unreadable);
    assert_eq!(shown.spec.unwrap().steps.len(), 2, "what is not personal is shown");
    running.stop().await;
    assert!(!contents.exists(), "to read makes nothing");
    fs::rename(folder.path().join("aside"), &contents).unwrap();

    // Another master key.
    let key = fs::read(data.join("master.key")).unwrap();
    let another = tempfile::tempdir().unwrap();
    let running = Running::start(&on(&another.path().join("data"))).await;
    running.stop().await;
    fs::copy(another.path().join("data/master.key"), data.join("master.key")).unwrap();
    let told = refusal(&config).await;
    assert!(told.contains("master_key") && told.contains("contents/index"), "{told}");
    fs::write(data.join("master.key"), key).unwrap();

    let running = Running::start(&config).await;
    assert!(is_shown(&running.get(&ended).await), "nothing was lost");
    running.stop().await;
}
