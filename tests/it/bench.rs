//! `dispatch bench` itself: it measures something, nothing fails, and it leaves nothing behind.

use std::process::Stdio;

use serde_json::Value;
use tokio::process::Command;

/// Runs a scenario, and returns what it printed as JSON.
async fn bench(arguments: &[&str]) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_dispatch"))
        .arg("bench")
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
async fn lives_end_and_none_is_lost() {
    let told = bench(&["life", "--count", "40", "--expiry-s", "1", "--in-flight", "4"]).await;
    assert_eq!(named(&told["rows"], "whole lives")["operations"], 40);
    assert_eq!(named(&told["rows"], "lateness of the second message")["operations"], 40);
    assert!(named(&told["figures"], "disk per life")["value"].as_f64().unwrap() > 0.0);
}
