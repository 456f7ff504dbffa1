//! The real clients of the time, from npm, against the real program.
//!
//! `.ci/run` installs them to `target/tools`. Without them the tests are skipped with one loud line,
//! and fail where CI=true.

use std::path::{Path, PathBuf};

use tokio::process::Command;

use crate::support::{FREE, Process};

/// The folder of npm packages, if `package` is in it and there is a node to run it.
async fn packages(package: &str) -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/node_modules");
    let has_node = Command::new("node").arg("--version").output().await.is_ok();
    if has_node && folder.join(package).is_dir() {
        return Some(folder);
    }
    let must = std::env::var("CI").is_ok_and(|value| value == "true");
    assert!(!must, "CI needs node and {package} in {}", folder.display());
    println!("SKIPPED: there is no node, or no {package} in {}", folder.display());
    None
}

#[tokio::test]
async fn the_old_node_client_creates_reads_updates_and_deletes_applications() {
    let Some(packages) = packages("nexmo").await else { return };
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("dispatch.toml");
    std::fs::write(&config, "[log]\nlevel = \"warn\"\n").unwrap();
    let process = Process::serve(&config, &folder.path().join("data"), FREE, FREE).await;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/clients/applications.js");
    let (host, port) = (process.http.ip().to_string(), process.http.port().to_string());
    let mut node = Command::new("node");
    node.arg(script).args([host, port]).env("NODE_PATH", packages).kill_on_drop(true);
    let ran = node.output().await.unwrap();
    let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success() && out.contains("all calls answered"), "{out}{err}");
    assert_eq!(process.terminate().await, Some(0));
}
