//! The receivers' own libraries verify what is sent: `@vonage/jwt`, and the Standard Webhooks one.

use std::{process::Stdio, time::Duration};

use dispatch::{
    access::{PayloadVersion, Signing},
    store::ApiDialect,
};
use serde_json::json;
use tokio::{io::AsyncWriteExt, process::Command};

use super::{
    helper::{SECRET, Told, allowing, app, statuses},
    receiver::{Received, Receiver},
};
use crate::{
    node,
    support::{eventually, in_memory},
};

const PACKAGES: [&str; 2] = ["@vonage/jwt", "standardwebhooks"];
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

async fn verdicts(kind: &str, secret: &str, received: &[Received]) -> String {
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
    let mut child = Command::new("node")
        .args(["-e", SCRIPT])
        .env("NODE_PATH", node::packages())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.to_string().as_bytes()).await.unwrap();
    let output = child.wait_with_output().await.unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_official_libraries_verify_what_is_sent() {
    if !node::is_here("node", &PACKAGES).await {
        return;
    }
    // The real clock: they look at the age.
    let mut config = allowing(in_memory());
    config.sandbox.virtual_clock = false;
    config.sandbox.default_script = "accept; deliver 0s; read 0s".to_owned();
    let told = Told::start(&config).await;
    for (signing, kind, secret) in
        [(Signing::Jwt, "jwt", SECRET), (Signing::StandardWebhooks, "standard", STANDARD_SECRET)]
    {
        let receiver = Receiver::start().await;
        let mut application = app(&receiver.url("/status"), PayloadVersion::V01, signing);
        application.messages.as_mut().unwrap().secret = secret.as_bytes().to_vec();
        told.keep(&application);
        told.create(ApiDialect::DispatchV01, Some(application.id), None, "600s").await;
        let ended = || async { statuses(&receiver.received()).contains(&"completed") };
        assert!(eventually(Duration::from_secs(10), ended).await);
        let received = receiver.received();
        let wanted = vec!["[true,false,false]"; received.len()].join(",");
        assert_eq!(verdicts(kind, secret, &received).await, format!("[{wanted}]"));
        println!("{} callbacks verified as {kind}", received.len());
    }
    told.stop().await;
}
