//! Receipts that come before the answer to the send, from a provider that does not echo our id.

use std::sync::Mutex;

use axum::{Router, extract::State, http::StatusCode, routing::post};

use super::*;

/// A provider that tells of a message before it answers that it took it, and names it by its own id
/// only.
struct Hasty {
    receipts: OnceLock<String>,
    told: Mutex<Vec<(String, u16)>>,
}

const STATUSES: [&str; 2] = ["delivered", "read"];

async fn take(State(hasty): State<Arc<Hasty>>, body: String) -> (StatusCode, String) {
    let number = hasty.told.lock().unwrap().len();
    let id = format!("0190a1b2-c3d4-4e5f-8a6b-{number:012}");
    let fails = body.contains("fails");
    for status in if fails { &["rejected"][..] } else { &STATUSES } {
        let receipt = json!({
            "message_uuid": id, "status": status, "timestamp": "2027-01-15T08:00:02Z",
            "error": { "title": "1050" }, "usage": { "currency": "EUR", "price": "0.0333" },
        });
        let receipt = receipt.to_string();
        let post = reqwest::Client::new().post(hasty.receipts.get().unwrap());
        let post = post.header("authorization", signed(receipt.as_bytes())).body(receipt);
        let answered = post.send().await.unwrap().status().as_u16();
        hasty.told.lock().unwrap().push((id.clone(), answered));
    }
    (StatusCode::ACCEPTED, json!({ "message_uuid": id }).to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_told_before_the_answer_is_held_and_counts_with_all_it_says() {
    let hasty = Arc::new(Hasty { receipts: OnceLock::new(), told: Mutex::default() });
    let listener = TcpListener::bind(FREE).await.unwrap();
    let base_url = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().route("/v1/messages", post(take)).with_state(Arc::clone(&hasty));
    let served = tokio::spawn(async move { axum::serve(listener, router).await });
    let told = Told::start_with(Shape::V1, in_memory(), |config| {
        config.accounts[0].settings.insert("base_url".to_owned(), base_url);
    });
    let told = told.await;
    let url = format!("http://{}/receipts/vonage/main", told.service.http);
    hasty.receipts.set(url).unwrap();

    for expiry in 600..609 {
        let spec = messenger_sms(PERSON, NUMBER, &format!("{expiry}s"));
        let created = told.client.create(request(spec)).await.unwrap();
        told.advance(1).await;
        let workflow = told.get(&created.workflow.unwrap().workflow_id).await;
        assert_eq!(workflow.state(), WorkflowState::Succeeded, "{workflow:#?}");
        assert_eq!(statuses(&workflow), STATUSES);
        let read = workflow.timeline.iter().find(|event| event.status() == "read").unwrap();
        let usage = read.status_report().unwrap().usage.as_ref();
        assert_eq!(usage.map(|usage| usage.price.as_str()), Some("0.0333"));
    }
    let mut spec = messenger_sms(PERSON, NUMBER, "600s");
    spec.steps.remove(0);
    let text = dispatch::pb::v1::message::Content::Text("fails".to_owned());
    spec.steps[0].message.as_mut().unwrap().content = Some(text);
    let created = told.client.create(request(spec)).await.unwrap();
    told.advance(1).await;
    let workflow = told.get(&created.workflow.unwrap().workflow_id).await;
    let failed = workflow.timeline.iter().find(|it| it.kind() == EventKind::StatusFailed).unwrap();
    let failed = failed.failure_report().unwrap();
    assert_eq!(failed.provider_code, "1050");
    assert_eq!(failed.detail, "the number is barred from messages");
    assert_eq!(failed.usage.as_ref().map(|usage| usage.price.as_str()), Some("0.0333"));

    let answered = hasty.told.lock().unwrap().iter().all(|(_, status)| *status == 200);
    assert!(answered, "each was taken");
    assert_eq!(told.count("dispatch_receipts_unmatched_total").await, 0);
    told.stop().await;
    served.abort();
}
