//! Contents go by age: their time after a workflow's end nobody is shown them any more, and all else stays.

use std::{path::Path, time::Duration};

use dispatch::{
    config::{Config, StoreKind, TenantConfig},
    pb::v1::{Workflow, WorkflowState},
};

use crate::support::{Running, eventually, in_memory, messenger_sms};

const NUMBER: &str = "447700900872";
const PERSON: &str = "9123456780012346";
const DAY: Duration = Duration::from_secs(86_400);

fn on(folder: &Path) -> Config {
    let mut config = in_memory();
    config.store.kind = StoreKind::Sled;
    config.store.data = folder.to_owned();
    config
}

async fn delivered(running: &Running) -> String {
    running.script(PERSON, "accept; deliver 1s").await;
    let id = running.create(messenger_sms(PERSON, NUMBER, "60s")).await;
    running.advance(Duration::from_secs(600)).await;
    assert_eq!(running.get(&id).await.state(), WorkflowState::Succeeded);
    id
}

fn is_shown(workflow: &Workflow) -> bool {
    dispatch::pb::to_json(workflow.spec.as_ref().unwrap()).contains(NUMBER)
}

/// Until it is shown, or not: what tends keys comes by each second.
async fn becomes(running: &Running, id: &str, shown: bool) {
    let is = || async { is_shown(&running.get(id).await) == shown };
    assert!(eventually(Duration::from_secs(20), is).await, "it stays as it was");
}

/// Long enough for whatever tends keys to have come by.
async fn a_while() {
    tokio::time::sleep(Duration::from_secs(3)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn contents_are_gone_a_week_after_the_end_also_over_a_restart_and_the_story_stays() {
    let folder = tempfile::tempdir().unwrap();
    let config = on(folder.path());
    let running = Running::start(&config).await;
    let id = delivered(&running).await;
    running.advance(7 * DAY - Duration::from_secs(1200)).await;
    a_while().await;
    assert!(is_shown(&running.get(&id).await), "not before its time");
    running.stop().await;

    let running = Running::start(&config).await;
    assert!(is_shown(&running.get(&id).await));
    // The clock of a test goes on from the last that happened.
    running.advance(7 * DAY + DAY / 4).await;
    becomes(&running, &id, false).await;
    let shown = running.get(&id).await;
    assert_eq!(shown.state(), WorkflowState::Succeeded);
    assert_eq!((shown.steps.len(), shown.spec.unwrap().steps.len()), (2, 2));
    // Counted right behind.
    let counted = "dispatch_contents_destroyed_total{cause=\"age\"} 1";
    let is = || async { running.service.engine.metrics().render().contains(counted) };
    assert!(eventually(Duration::from_secs(20), is).await);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_has_a_time_of_its_own_and_a_reload_takes_it_up() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = on(folder.path());
    config.store.contents_retention_s = 30 * 86_400;
    let running = Running::start(&config).await;
    let id = delivered(&running).await;
    running.advance(DAY).await;
    a_while().await;
    assert!(is_shown(&running.get(&id).await));
    let hour = TenantConfig { contents_retention_s: Some(3600), ..TenantConfig::default() };
    config.access.tenants.insert("default".to_owned(), hour);
    running.reload(&config).await;
    becomes(&running, &id, false).await;
    running.stop().await;
}

/// What is told after the end is no reason to keep what was said.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_receipt_does_not_lengthen_the_life_of_contents() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(&on(folder.path())).await;
    running.script(PERSON, "accept; deliver 1s; read 432000s").await;
    let id = running.create(messenger_sms(PERSON, NUMBER, "60s")).await;
    running.advance(6 * DAY).await;
    let shown = running.get(&id).await;
    assert!(shown.state() == WorkflowState::Succeeded && is_shown(&shown));
    let told = dispatch::pb::to_json(&shown);
    assert!(told.contains("\"status\":\"read\""), "{told}");
    running.advance(2 * DAY).await;
    becomes(&running, &id, false).await;
    running.stop().await;
}
