//! The receivers' own libraries verify what is sent: `@vonage/jwt`, and the Standard Webhooks one.
//!
//! They come from npm. Without node or npm the test is skipped with one loud line, and fails where
//! CI=true.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use dispatch::{
    access::{Shape, Signing},
    store::Facade,
};
use serde_json::json;
use tokio::{io::AsyncWriteExt, process::Command};

use super::{
    helper::{SECRET, Told, allowing, app, statuses},
    receiver::{Received, Receiver},
};
use crate::support::{eventually, in_memory};

const PACKAGES: [&str; 2] = ["@vonage/jwt@1.17.1", "standardwebhooks@1.0.0"];
const STANDARD_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// Reads callbacks and a secret, and says of each whether it is genuine, and whether it would be with
/// another body or another secret.
const SCRIPT: &str = r#"
const { createHash } = require('crypto');
const { verifySignature } = require('@vonage/jwt');
const { Webhook } = require('standardwebhooks');
const input = JSON.parse(require('fs').readFileSync(0, 'utf8'));
const tried = (check) => { try { return check() !== false; } catch { return false; } };
const jwt = (headers, body, secret) => {
  const token = headers.authorization.replace(/^Bearer /, '');
  if (!verifySignature(token, secret)) return false;
  const claims = JSON.parse(Buffer.from(token.split('.')[1], 'base64url'));
  // As Vonage's own sample does: the parsed body, written anew.
  const written = JSON.stringify({ ...JSON.parse(body) });
  return claims.payload_hash === createHash('sha256').update(written).digest('hex');
};
const standard = (headers, body, secret) => { new Webhook(secret).verify(body, headers); return true; };
const check = input.kind === 'jwt' ? jwt : standard;
console.log(JSON.stringify(input.callbacks.map(({ headers, body }) => [
  tried(() => check(headers, body, input.secret)),
  tried(() => check(headers, body.replace('{', '{"x":1,'), input.secret)),
  tried(() => check(headers, body, input.other)),
])));
"#;

/// Where the packages are; `None` if they cannot be had here.
async fn packages() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("receivers");
    std::fs::create_dir_all(&folder).unwrap();
    let install = Command::new("npm")
        .args(["install", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"])
        .args(PACKAGES)
        .current_dir(&folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .await;
    if install.is_ok_and(|status| status.success()) {
        return Some(folder);
    }
    let must = std::env::var("CI").is_ok_and(|value| value == "true");
    assert!(!must, "CI needs node and npm, and {PACKAGES:?} from the registry");
    println!("SKIPPED: node and npm with {PACKAGES:?} are needed to verify callbacks");
    None
}

async fn verdicts(folder: &Path, kind: &str, secret: &str, received: &[Received]) -> String {
    let callbacks: Vec<_> = received
        .iter()
        .map(|callback| {
            let header = |name: &str| (name.to_owned(), callback.header(name));
            let names = ["authorization", "webhook-id", "webhook-timestamp", "webhook-signature"];
            let headers: std::collections::BTreeMap<_, _> = names.map(header).into();
            json!({ "headers": headers, "body": String::from_utf8_lossy(&callback.body) })
        })
        .collect();
    let other = "whsec_b3RoZXIgb3RoZXIgb3RoZXIgb3RoZXI=";
    let input = json!({ "kind": kind, "secret": secret, "other": other, "callbacks": callbacks });
    let mut node = Command::new("node")
        .args(["-e", SCRIPT])
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    node.stdin.take().unwrap().write_all(input.to_string().as_bytes()).await.unwrap();
    let output = node.wait_with_output().await.unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_official_libraries_verify_what_is_sent() {
    let Some(folder) = packages().await else { return };
    // The real clock: they look at the age.
    let mut config = allowing(in_memory());
    config.sandbox.virtual_clock = false;
    config.sandbox.default_script = "accept; deliver 0s; read 0s".to_owned();
    let told = Told::start(&config).await;
    for (signing, kind, secret) in
        [(Signing::Jwt, "jwt", SECRET), (Signing::StandardWebhooks, "standard", STANDARD_SECRET)]
    {
        let receiver = Receiver::start().await;
        let mut application = app(&receiver.url("/status"), Shape::V01, signing);
        application.messages.as_mut().unwrap().secret = secret.as_bytes().to_vec();
        told.keep(&application);
        told.create(Facade::DispatchV01, Some(application.id), None, "600s").await;
        let ended = || async { statuses(&receiver.received()).contains(&"completed") };
        assert!(eventually(Duration::from_secs(10), ended).await);
        let received = receiver.received();
        let wanted = vec!["[true,false,false]"; received.len()].join(",");
        assert_eq!(verdicts(&folder, kind, secret, &received).await, format!("[{wanted}]"));
        println!("{} callbacks verified as {kind}", received.len());
    }
    told.stop().await;
}
