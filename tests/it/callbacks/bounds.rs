//! What is bounded stays so, and a service that is killed delivers all the same.

use std::{collections::BTreeMap, path::Path, time::Duration};

use dispatch::{
    access::{PayloadVersion, Signing},
    client::Client,
    config::{Config, StoreKind},
    pb::v1::{
        CallbackState, ListCallbacksRequest, ResendCallbackRequest, resend_callback_request::Which,
    },
    store::{ApiDialect, Cursor, Kind, SettingChange, SledOptions, Store, encode},
};

use super::{
    HOUR,
    helper::{MASTER_KEY, Told, allowing, app, statuses},
    receiver::{Answer, Receiver},
};
use crate::support::{FREE, Process, eventually, in_memory};

fn on_disk(folder: &Path) -> Config {
    let mut config = allowing(in_memory());
    config.store.kind = StoreKind::Sled;
    config.store.data = folder.join("data");
    config.engine.recovery_grace_s = 0;
    config
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_not_wait_is_dead_at_once_and_the_oldest_of_the_dead_are_dropped() {
    let receiver = Receiver::start().await;
    receiver.always(Answer::status(500));
    let mut config = allowing(in_memory());
    config.callbacks.waiting_per_application = 5;
    config.callbacks.dead_letters_per_application = 3;
    let told = Told::start(&config).await;
    let [full, other] = [0, 1].map(|_| {
        let application = app(&receiver.url("/status"), PayloadVersion::V01, Signing::Jwt);
        told.keep(&application);
        application.id
    });
    for _ in 0..3 {
        told.create(ApiDialect::DispatchV01, Some(full), None, "600s").await;
        told.advance(Duration::from_secs(60)).await;
    }
    told.create(ApiDialect::DispatchV01, Some(other), None, "600s").await;
    told.advance(Duration::from_secs(60)).await;
    let kept = told.list(None).await;
    let of = |application: uuid::Uuid, state| {
        let application = application.to_string();
        kept.iter().filter(|it| it.application_id == application && it.state() == state).count()
    };
    // Of its twelve five wait, seven had to go, and three of those are kept.
    assert_eq!(of(full, CallbackState::Waiting), 5);
    assert_eq!(of(full, CallbackState::DeadLettered), 3);
    assert_eq!(of(other, CallbackState::Waiting), 4, "another's share is its own");
    let metrics = told.metrics().await;
    for line in [
        "dispatch_callbacks_total{outcome=\"made\"} 16",
        "dispatch_callbacks_total{outcome=\"dead_lettered\"} 7",
        "dispatch_callbacks_total{outcome=\"dropped\"} 4",
        "dispatch_callbacks_waiting 9",
        "dispatch_callbacks_dead_lettered 3",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} is missing in:\n{metrics}");
    }
    told.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_retention_was_faster_it_goes_on_behind_it_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = on_disk(folder.path());
    config.store.retention_s = 60;
    let receiver = Receiver::start().await;
    let told = Told::start(&config).await;
    let application = app(&receiver.url("/status"), PayloadVersion::V01, Signing::Jwt);
    told.keep(&application);
    told.create(ApiDialect::DispatchV01, Some(application.id), None, "600s").await;
    told.advance(HOUR).await;
    // A second one, so that the writer wakes and sweeps the first away.
    told.create(ApiDialect::DispatchV01, Some(application.id), None, "600s").await;
    told.advance(HOUR).await;
    told.stop().await;

    // As if the follower had been away since the beginning.
    let options = SledOptions { folder: config.store.data.clone(), cache_bytes: 64 * 1024 * 1024 };
    let store = options.open().unwrap();
    assert!(store.reader().oldest() > Cursor(0), "nothing was swept");
    let start = encode(&Cursor(0)).unwrap();
    let change = SettingChange::put(Kind::CallbackState, *b"cursor", start);
    store.settings().write(vec![change]).unwrap();
    drop(store);

    let before = receiver.received().len();
    let told = Told::start(&config).await;
    told.create(ApiDialect::DispatchV01, Some(application.id), None, "600s").await;
    told.advance(HOUR).await;
    let got = receiver.received();
    let ends = statuses(&got[before..]).iter().filter(|it| **it == "completed").count();
    assert!(ends >= 1, "{ends}");
    let metrics = told.metrics().await;
    let missed =
        metrics.lines().find_map(|it| it.strip_prefix("dispatch_callback_rows_missed_total "));
    assert!(missed.is_some_and(|count| count != "0"), "{metrics}");
    told.stop().await;
}

/// Twenty ended workflows whose eighty callbacks wait; the program is killed twice while it delivers
/// them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_kill_9_every_callback_arrives_at_least_once_and_in_order() {
    const WORKFLOWS: usize = 20;
    let folder = tempfile::tempdir().unwrap();
    let config = on_disk(folder.path());
    let receiver = Receiver::start().await;
    receiver.always(Answer::status(503));
    let told = Told::start(&config).await;
    let application = app(&receiver.url("/status"), PayloadVersion::V01, Signing::Jwt);
    told.keep(&application);
    for _ in 0..WORKFLOWS {
        told.create(ApiDialect::DispatchV01, Some(application.id), None, "600s").await;
    }
    // No longer than needed: the next life's clock begins at the last row of the journal.
    told.advance(Duration::from_millis(3500)).await;
    assert_eq!(told.list(None).await.len(), 4 * WORKFLOWS);
    // Due at once for whoever comes next.
    for callback in told.list(None).await {
        let request =
            ResendCallbackRequest { which: Some(Which::CallbackId(callback.callback_id)) };
        told.running.client.callbacks().resend_callback(request).await.unwrap();
    }
    told.stop().await;

    receiver.always(Answer::status(200).after(Duration::from_millis(100)));
    let file = folder.path().join("dispatch.toml");
    std::fs::write(
        &file,
        format!(
            "[log]\nlevel = \"warn\"\n[access]\nmaster_key = \"{MASTER_KEY}\"\n[callbacks]\n\
             allow_http = true\nallow_networks = [\"127.0.0.0/8\"]\nretry_base_ms = 100\n\
             retry_max_ms = 500\nper_destination = 2\n"
        ),
    )
    .unwrap();
    let before = receiver.received().len();
    let data = &config.store.data;
    for _ in 0..2 {
        let process = Process::serve(&file, data, FREE, FREE).await;
        let so_far = receiver.received().len();
        let some = || async { receiver.received().len() >= so_far + 15 };
        assert!(eventually(Duration::from_secs(60), some).await);
        process.kill().await;
    }
    let process = Process::serve(&file, data, FREE, FREE).await;
    let client = Client::connect(format!("http://{}", process.grpc)).await.unwrap();
    let none_waits = || async {
        let mut callbacks = client.callbacks();
        let listed = callbacks.list_callbacks(ListCallbacksRequest::default()).await;
        listed.unwrap().into_inner().callbacks.is_empty()
    };
    assert!(eventually(Duration::from_secs(120), none_waits).await);
    assert_eq!(process.terminate().await, Some(0));

    let mut seen: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    let mut repeats = 0;
    for callback in &receiver.received()[before..] {
        let id = callback.header("webhook-id");
        let (workflow, sequence) = id.split_once('.').unwrap();
        let (of, sequence) =
            (seen.entry(workflow.to_owned()).or_default(), sequence.parse().unwrap());
        if of.contains(&sequence) {
            repeats += 1;
        } else {
            of.push(sequence);
        }
    }
    assert_eq!(seen.len(), WORKFLOWS);
    for (workflow, sequences) in &seen {
        assert_eq!(sequences.len(), 4, "{workflow}: {sequences:?}");
        assert!(sequences.is_sorted(), "{workflow}: {sequences:?}");
    }
    println!("killed twice: {} callbacks arrived, {repeats} of them once more", 4 * WORKFLOWS);
}
