//! The real clients of the time, from npm, against the real program.

use std::path::Path;

use tokio::process::Command;

use crate::{
    node,
    support::{FREE, Process},
};

/// With the key that the script has.
const CONFIG: &str = r#"
[log]
level = "warn"
[[access.keys]]
id = "abcd1234"
secret = "abcdefghij123456"
scopes = ["admin"]
"#;

#[tokio::test]
async fn the_old_node_client_creates_reads_updates_and_deletes_applications() {
    if !node::is_here("node", &["nexmo"]).await {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("dispatch.toml");
    std::fs::write(&config, CONFIG).unwrap();
    let process = Process::serve(&config, &folder.path().join("data"), FREE, FREE).await;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/clients/applications.js");
    let (host, port) = (process.http.ip().to_string(), process.http.port().to_string());
    let mut node = Command::new("node");
    node.arg(script).args([host, port]).env("NODE_PATH", node::packages()).kill_on_drop(true);
    let ran = node.output().await.unwrap();
    let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success() && out.contains("all calls answered"), "{out}{err}");
    assert_eq!(process.terminate().await, Some(0));
}
