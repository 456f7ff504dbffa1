//! Webhooks over real HTTP: forged, repeated, truncated, oversize, unknown, early.

use std::time::Duration;

use dispatch::pb::v1::WorkflowState;

use crate::support::{Running, in_memory, messenger_sms};

const PERSON: &str = "1000000000000001";
const NUMBER: &str = "447700900001";

async fn metric(running: &Running, line: &str) -> bool {
    let url = format!("http://{}/metrics", running.service.internal_http);
    let text = reqwest::get(url).await.unwrap().text().await.unwrap();
    text.lines().any(|found| found == line)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_that_nobody_signed_changes_nothing() {
    let running = Running::over_http(&in_memory()).await;
    running.script(PERSON, "accept; never").await;
    let id = running.create(messenger_sms(PERSON, NUMBER, "600s")).await;
    running.advance(Duration::from_secs(1)).await;
    let attempt = running.sent().await[0].attempt_id.clone();
    let before = running.get(&id).await;
    let url = format!("http://{}/receipts/vonage/sandbox", running.service.http);
    let body = format!(
        r#"{{"message_uuid":"x","channel":"messenger","to":"1","from":"2","timestamp":"2026-01-01T00:00:00Z","status":"read","client_ref":"{attempt}"}}"#
    );
    let client = reqwest::Client::new();
    // None, not a token, "alg": "none", and HS256 with a key that is not ours.
    let forged = [
        None,
        Some("Bearer x"),
        Some("Bearer eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.eyJpc3MiOiJWb25hZ2UifQ."),
        Some(
            "Bearer eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJWb25hZ2UifQ.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        ),
    ];
    for authorization in forged {
        let mut call =
            client.post(&url).header("content-type", "application/json").body(body.clone());
        if let Some(value) = authorization {
            call = call.header("authorization", value);
        }
        assert_eq!(call.send().await.unwrap().status(), 401, "{authorization:?}");
    }
    assert_eq!(running.get(&id).await, before);
    assert!(
        metric(&running, r#"dispatch_webhooks_total{adapter="vonage",verdict="forged"} 4"#).await
    );
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_webhook_is_refused_plainly() {
    let running = Running::over_http(&in_memory()).await;
    let base = format!("http://{}", running.service.http);
    let client = reqwest::Client::new();
    let large = vec![b' '; 300 * 1024];
    let cases = [
        ("/receipts/vonage/sandbox", large, 413),
        ("/receipts/nobody/sandbox", Vec::new(), 404),
        ("/receipts/vonage/nobody", Vec::new(), 404),
        ("/receipts/vonage", b"{}".to_vec(), 401),
        ("/receipts/vonage/sandbox", b"\xff\xfe not json".to_vec(), 401),
        ("/elsewhere", Vec::new(), 404),
    ];
    for (path, body, status) in cases {
        let answer = client.post(format!("{base}{path}")).body(body).send().await.unwrap();
        assert_eq!(answer.status(), status, "{path}");
    }
    running.stop().await;
}

/// Doubled, early, out of order, and unsigned at first: over real HTTP, the end is the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signed_receipts_count_once_however_they_come() {
    for oddity in ["twice", "early", "out-of-order", "unsigned first"] {
        let running = Running::over_http(&in_memory()).await;
        running.script(PERSON, &format!("accept; deliver 1s; read 2s; {oddity}")).await;
        let id = running.create(messenger_sms(PERSON, NUMBER, "600s")).await;
        running.advance(Duration::from_secs(120)).await;
        let workflow = running.get(&id).await;
        assert_eq!(workflow.state(), WorkflowState::Succeeded, "{oddity}");
        let mut seen: Vec<_> = workflow
            .timeline
            .iter()
            .filter(|event| {
                !event.status.is_empty() && event.kind().as_str_name().contains("STATUS")
            })
            .map(|event| event.status.clone())
            .collect();
        let count = seen.len();
        seen.dedup();
        assert_eq!(seen.len(), count, "{oddity}: a status twice on the timeline");
        assert_eq!(running.sent().await.len(), 1, "{oddity}");
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unsigned_receipts_are_refused_and_the_message_counts_as_unread() {
    let running = Running::over_http(&in_memory()).await;
    running.script(PERSON, "accept; deliver 1s; read 2s; unsigned").await;
    let id = running.create(messenger_sms(PERSON, NUMBER, "600s")).await;
    running.advance(Duration::from_secs(1200)).await;
    assert_eq!(running.sent().await.len(), 2, "the SMS went out");
    assert_eq!(running.get(&id).await.state(), WorkflowState::Succeeded);
    running.stop().await;
}
