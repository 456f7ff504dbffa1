//! `dispatch-bench` itself: it measures something, nothing fails, and it leaves nothing behind.

use std::{net::SocketAddr, process::Stdio, sync::Arc, time::Duration};

use axum::{Router, body::Bytes, extract::Path, routing::post};
use serde_json::{Value, json};
use tokio::{net::TcpListener, process::Command, sync::mpsc};

/// Runs a scenario, and returns what it printed as JSON.
async fn bench(arguments: &[&str]) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_dispatch-bench"))
        .args(arguments)
        .arg("--json")
        .arg("--folder")
        .arg(folder.path())
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{err}\n{}", String::from_utf8_lossy(&output.stdout));
    assert!(!err.contains('\r'), "a progress line where there is no terminal: {err}");
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["errors"], 0, "{told:#}");
    told
}

/// The row or figure of that name.
fn named<'a>(list: &'a Value, name: &str) -> &'a Value {
    let found = list.as_array().unwrap().iter().find(|row| row["name"] == name);
    found.unwrap_or_else(|| panic!("there is no {name} in {list:#}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn creates_are_measured_beside_their_ceilings() {
    let told = bench(&["create", "--seconds", "1", "--in-flight", "4"]).await;
    assert_eq!(told["scenario"], "create");
    let row = named(&told["rows"], "create, 4 in flight");
    assert!(row["operations"].as_u64().unwrap() > 10, "{row}");
    let at = |name: &str| row[name].as_f64().unwrap_or_else(|| panic!("no {name} in {row}"));
    assert!(at("per_second") > 10.0);
    assert!(0.0 < at("p50_ms") && at("p50_ms") <= at("p99_ms"));
    assert!(at("p99_ms") <= at("p99_9_ms") && at("p99_9_ms") <= at("max_ms"));
    assert!(at("server_cpu_us_per_operation") > 0.0);
    let ceilings = &told["ceilings"];
    assert!(named(ceilings, "empty RPC, 4 in flight")["per_second"].as_f64().unwrap() > 10.0);
    assert!(named(ceilings, "provider directly, 64 in flight")["errors"] == 0);
    let ratio = named(&told["ratios"], "create / empty RPC, 4 in flight")["value"].as_f64();
    assert!(ratio.unwrap() > 0.0);
    assert!(named(&told["figures"], "server memory, PSS")["value"].as_f64().unwrap() > 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_are_created_whole() {
    let told = bench(&["batch", "--seconds", "1", "--in-flight", "2", "--count", "20"]).await;
    let name = "batches of 20, 2 in flight";
    let row = named(&told["rows"], name);
    let figure =
        |what: &str| named(&told["figures"], &format!("{what}, {name}"))["value"].as_f64().unwrap();
    let batches = row["per_second"].as_f64().unwrap();
    assert!((figure("creates per second") / batches - 20.0).abs() < 0.01, "{row}");
    assert!(figure("server CPU per create") > 0.0 && figure("load CPU per create") > 0.0);
    let ratio = named(&told["ratios"], &format!("creates / append and sync, {name}"));
    assert!(ratio["value"].as_f64().unwrap() > 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lives_end_and_none_is_lost() {
    let told = bench(&["life", "--count", "40", "--expiry-s", "1", "--in-flight", "4"]).await;
    assert_eq!(named(&told["rows"], "whole lives")["operations"], 40);
    assert_eq!(named(&told["rows"], "lateness of the second message")["operations"], 40);
    assert!(named(&told["figures"], "disk per life")["value"].as_f64().unwrap() > 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_alone_is_measured_beside_a_bare_file() {
    let told = bench(&["store", "--count", "300", "--in-flight", "16", "--seconds", "1"]).await;
    for (what, commits) in [("create", 18), ("cancel", 18)] {
        let row = named(&told["rows"], &format!("commit of 16 {what}s, 300 open"));
        assert_eq!(row["operations"], commits, "{row}");
        let ratio = named(&told["ratios"], &format!("{what}s / append and sync"))["value"].as_f64();
        assert!(ratio.unwrap() > 0.0);
    }
}

/// A system of a few lines, which keeps nothing, in place of the service.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_system_lives_under_the_same_load() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    // An address of this process alone: what is free there stays free until the bench listens.
    let [high, low] = (std::process::id() as u16).to_be_bytes();
    let free = TcpListener::bind(SocketAddr::from(([127, 77, high, low], 0))).await.unwrap();
    let provider = free.local_addr().unwrap();
    drop(free);
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let send = move |channel: &'static str, to: String, client_ref: String| {
        let message = json!({ "channel": channel, "to": to, "client_ref": client_ref });
        client.post(format!("http://{provider}/v1/messages")).body(message.to_string()).send()
    };
    let (receipts, mut received) = mpsc::unbounded_channel();
    let receipts = Arc::new(receipts);
    let create = move |Path(id): Path<String>, body: Bytes| async move {
        let asked: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((asked["id"].as_str(), asked["expiry_ms"].as_u64()), (Some(&*id), Some(1000)));
        tokio::spawn(async move {
            send("messenger", format!("1{id}"), format!("{id}.1")).await.unwrap();
            tokio::time::sleep(Duration::from_millis(1000)).await;
            send("sms", format!("44{id}"), format!("{id}.2")).await.unwrap();
        });
    };
    let receipt = move |body: Bytes| async move {
        receipts.send(serde_json::from_slice::<Value>(&body).unwrap()).unwrap();
    };
    let router = Router::new().route("/create/{id}", post(create)).route("/receipt", post(receipt));
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });

    let pid = std::process::id().to_string();
    let told = bench(&[
        "life",
        "--count",
        "20",
        "--expiry-s",
        "1",
        "--peer-creates",
        &format!("http://{address}/create/{{id}}"),
        "--peer-receipts",
        &format!("http://{address}/receipt"),
        "--peer-pids",
        &pid,
        "--provider",
        &provider.to_string(),
    ])
    .await;
    assert_eq!(named(&told["rows"], "whole lives")["operations"], 20);
    assert_eq!(named(&told["rows"], "lateness of the second message")["operations"], 20);
    assert!(named(&told["figures"], "server memory, PSS")["value"].as_f64().unwrap() > 1.0);
    for _ in 0..20 {
        let receipt = received.recv().await.unwrap();
        assert_eq!((&receipt["status"], &receipt["channel"]), (&json!("delivered"), &json!("sms")));
        assert!(receipt["client_ref"].as_str().unwrap().ends_with(".2"), "{receipt}");
    }
}
