//! Retention, as those who follow a stream see it.

use std::{path::Path, time::Duration};

use dispatch::{
    config::{Config, StoreKind},
    pb::v1::{
        Event, EventKind, LabelFilter, StreamStart, StreamStatusRequest, StreamStatusResponse,
        WorkflowSpec,
        stream_status_request::{Start, Target},
        stream_status_response::Kind,
    },
};
use tonic::{Code, Status, Streaming};

use crate::support::{Running, in_memory};

const PERSON: &str = "1000000000000001";
const HOUR: Duration = Duration::from_secs(3600);
const TIMEOUT: Duration = Duration::from_secs(60);

fn kept_for(retention: Duration, kind: StoreKind, folder: &Path) -> Config {
    let mut config = in_memory();
    config.store.kind = kind;
    config.store.data = folder.join("data");
    config.store.retention_s = retention.as_secs();
    config
}

/// Over as soon as it is delivered.
fn to_be_delivered() -> WorkflowSpec {
    dispatch::pb::from_yaml(&format!(
        "
labels: {{ team: blue }}
steps:
  - sender: {{ channel: messenger, id: '107083064136738' }}
    recipient: {{ channel: messenger, id: '{PERSON}' }}
    message: {{ text: 'Your table is ready.' }}
    failover: {{ expiry_time: 600s, condition_status: delivered }}
  - sender: {{ channel: sms, number: 'Dispatch' }}
    recipient: {{ channel: sms, number: '447700900001' }}
    message: {{ text: 'Your table is ready.' }}
"
    ))
    .unwrap()
}

fn all() -> Target {
    Target::All(Default::default())
}

fn blue() -> Target {
    let labels = [("team".to_owned(), "blue".to_owned())].into();
    Target::Labels(LabelFilter { labels })
}

async fn follow(
    running: &Running,
    target: Target,
    start: Start,
) -> Result<Streaming<StreamStatusResponse>, Status> {
    let (target, start) = (Some(target), Some(start));
    let asked =
        StreamStatusRequest { target, start, follow_late_receipts: true, ..Default::default() };
    Ok(running.client.raw().stream_status(asked).await?.into_inner())
}

async fn next(stream: &mut Streaming<StreamStatusResponse>) -> Result<Option<Kind>, Status> {
    let next = tokio::time::timeout(TIMEOUT, stream.message());
    Ok(next.await.expect("the stream is silent")?.and_then(|told| told.kind))
}

async fn next_event(stream: &mut Streaming<StreamStatusResponse>) -> Event {
    loop {
        match next(stream).await.unwrap() {
            Some(Kind::Event(event)) => return event,
            Some(Kind::Bookmark(_)) => {}
            None => panic!("the stream is over"),
        }
    }
}

/// The token that goes on from now.
async fn token(running: &Running) -> Start {
    let mut stream =
        follow(running, all(), Start::Position(StreamStart::Now as i32)).await.unwrap();
    match next(&mut stream).await.unwrap() {
        Some(Kind::Bookmark(bookmark)) => Start::ResumeToken(bookmark.resume_token),
        other => panic!("{other:?}"),
    }
}

/// Of an ended workflow something is told late; retention comes to its end, and not yet to that.
async fn what_came_late_is_told_to_whoever_comes_back(kind: StoreKind) {
    let folder = tempfile::tempdir().unwrap();
    let config = kept_for(100 * HOUR, kind, folder.path());
    let running = Running::start(&config).await;
    running.script(PERSON, "accept; deliver 1s; read 90h").await;
    let id = running.create(to_be_delivered()).await;
    running.advance(80 * HOUR).await;
    let seen_all = token(&running).await;
    running.advance(24 * HOUR).await;
    // Whatever happens lets the writer sweep.
    let other = running.create(to_be_delivered()).await;
    let start = Start::Position(StreamStart::Now as i32);
    let mut watching = follow(&running, Target::WorkflowId(id.clone()), start).await.unwrap();

    let mut running = running;
    for life in 0..2 {
        for target in [all(), blue()] {
            let mut stream = follow(&running, target, seen_all.clone()).await.unwrap();
            let event = next_event(&mut stream).await;
            let wanted = (&id, EventKind::LateStatus);
            assert_eq!((&event.workflow_id, event.kind()), wanted, "life {life}: {event:?}");
            assert_eq!(next_event(&mut stream).await.workflow_id, other);
        }
        if kind == StoreKind::Memory || life == 1 {
            break;
        }
        // What was rendered before is forgotten.
        running.stop().await;
        running = Running::start(&config).await;
        let start = Start::Position(StreamStart::Now as i32);
        watching = follow(&running, Target::WorkflowId(id.clone()), start).await.unwrap();
    }

    // Once that is past retention too, whoever has not seen it is told so.
    running.advance(100 * HOUR).await;
    running.create(to_be_delivered()).await;
    for target in [all(), blue()] {
        let told = follow(&running, target, seen_all.clone()).await.unwrap_err();
        assert_eq!(told.code(), Code::OutOfRange, "{told}");
    }
    // And whoever followed it to its end knows that no more will come.
    assert_eq!(next(&mut watching).await.unwrap(), None, "the stream of what is gone is over");
    running.stop().await;
}

/// The writer looks, and sweeps what is past retention; nothing happens.
async fn sweep(running: &Running) {
    let nobody = "01980000-0000-7000-8000-000000000000";
    let refused = running.client.cancel(nobody).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
}

/// Retention carries what is scheduled to the right again and again: no news for anybody.
async fn who_has_seen_everything_is_never_too_old(kind: StoreKind) {
    let folder = tempfile::tempdir().unwrap();
    let config = kept_for(100 * HOUR, kind, folder.path());
    let running = Running::start(&config).await;
    let send_at = prost_types::Timestamp::from(std::time::SystemTime::now() + 1500 * HOUR);
    for _ in 0..5 {
        running.create(WorkflowSpec { send_at: Some(send_at), ..to_be_delivered() }).await;
    }
    let mut quiet =
        follow(&running, all(), Start::Position(StreamStart::Now as i32)).await.unwrap();
    let Some(Kind::Bookmark(bookmark)) = next(&mut quiet).await.unwrap() else {
        panic!("no bookmark")
    };
    for _ in 0..3 {
        running.advance(101 * HOUR).await;
        sweep(&running).await;
    }
    let id = running.create(to_be_delivered()).await;
    let back = Start::ResumeToken(bookmark.resume_token);
    let mut came_back = follow(&running, all(), back).await.unwrap();
    for stream in [&mut quiet, &mut came_back] {
        let event = next_event(stream).await;
        assert_eq!((&event.workflow_id, event.kind()), (&id, EventKind::Created));
    }
    // Nor do callbacks miss anything, in this life or the next.
    running.advance(HOUR).await;
    running.stop().await;
    let running = Running::start(&config).await;
    for _ in 0..2 {
        running.advance(101 * HOUR).await;
        sweep(&running).await;
    }
    running.create(to_be_delivered()).await;
    running.advance(HOUR).await;
    let metrics = running.service.engine.metrics().render();
    assert!(
        metrics.lines().any(|line| line == "dispatch_callback_rows_missed_total 0"),
        "{metrics}"
    );
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_seen_everything_is_never_too_old_on_sled() {
    who_has_seen_everything_is_never_too_old(StoreKind::Sled).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_seen_everything_is_never_too_old_in_memory() {
    who_has_seen_everything_is_never_too_old(StoreKind::Memory).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_came_late_is_told_to_whoever_comes_back_on_sled() {
    what_came_late_is_told_to_whoever_comes_back(StoreKind::Sled).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_came_late_is_told_to_whoever_comes_back_in_memory() {
    what_came_late_is_told_to_whoever_comes_back(StoreKind::Memory).await;
}
