//! Few open files, and crowds that would take them all.

use std::time::Duration;

use dispatch::client::Client;

use super::{Crowd, ELSEWHERE, HERE, PREFACE, ask_for, http_answers};
use crate::{ALONE, overload::raise_open_files, support::Process};

/// As few as some systems give, and fewer than a crowd has connections.
const FILES: u64 = 256;
const CROWD: u64 = 300;
const LONG: Duration = Duration::from_secs(1);
const BOUND: Duration = Duration::from_secs(4);

/// The real program: with its files gone, it accepted nobody, and could not open those of its store.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_few_files_no_listener_takes_those_of_another() {
    let _alone = ALONE.lock().await;
    raise_open_files(4096);
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("dispatch.toml");
    std::fs::write(&config, "[log]\nlevel = \"warn\"\n").unwrap();
    let process = Process::serve_with_files(FILES, &config, &folder.path().join("data")).await;
    let (grpc, http, inside) = (process.grpc, process.http, process.internal_http);
    // Some of each from the address of those who ask, and some from another.
    let mut crowds = Vec::new();
    for from in [HERE, ELSEWHERE] {
        crowds.push(Crowd::gather(CROWD, from, grpc, PREFACE).await);
        crowds.push(Crowd::gather(CROWD, from, http, b"POST /receipts/x/y HTTP/1.1\r\na: ").await);
    }
    let open = std::fs::read_dir(format!("/proc/{}/fd", process.child.id().unwrap()));
    let open = open.unwrap().count() as u64;
    println!("{open} of {FILES} files open");
    assert!(open < FILES, "{open} of {FILES} files are open");
    for (what, to, path) in [("health", inside, "/healthz"), ("webhooks", http, "/receipts/x/y")] {
        let (answers, waited) = ask_for(LONG, || http_answers(to, path)).await;
        println!("{what}: {answers} answers, {waited:?} at most");
        assert!(waited < BOUND, "{what}: an answer after {waited:?}");
    }
    let (answers, waited) = ask_for(LONG, || async {
        let Ok(client) = Client::connect(format!("http://{grpc}")).await else { return false };
        client.create(crate::support::request(crate::overload::sms("447700900001"))).await.is_ok()
    })
    .await;
    println!("gRPC: {answers} creates, {waited:?} at most");
    assert!(waited < BOUND, "gRPC: an answer after {waited:?}");
    drop(crowds);
    assert_eq!(process.terminate().await, Some(0));
}
