//! Where receipts arrive: what nearly fits is taken, what does not is counted.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slash_too_many_is_taken_and_a_wrong_name_is_counted() {
    let told = Told::start(Shape::V1).await;
    let paths = [
        "/receipts/vonage/main/",
        "/receipts/vonage//main",
        "/receipts/vonage/main//",
        "/receipts/vonage-sms/main/",
        "/receipts/vonage",
        "/receipts/vonage/",
    ];
    for (path, expiry) in paths.iter().zip(600..) {
        let spec = messenger_sms(PERSON, NUMBER, &format!("{expiry}s"));
        let (id, attempt) = told.create(spec).await;
        let body = told.body(&attempt, "read").to_string();
        let signature = signed(body.as_bytes());
        assert_eq!(told.post_to(path, body, &signature).await, 200, "{path}");
        assert_eq!(told.get(&id).await.state(), WorkflowState::Succeeded, "{path}");
    }
    let astray = [
        ("account", "/receipts/vonage/mian"),
        ("account", "/receipts/vonage/mian/"),
        ("account", "/receipts/vonage/Main"),
        ("adapter", "/receipts/nexmo/main"),
        ("path", "/receipts/vonage/main/status"),
        ("path", "/receipts/"),
        ("path", "/receipts"),
    ];
    for (unknown, path) in astray {
        let name = format!("dispatch_webhooks_unknown_path_total{{unknown=\"{unknown}\"}}");
        let before = told.count(&name).await;
        assert_eq!(told.post_to(path, "{}", &signed(b"{}")).await, 404, "{path}");
        assert_eq!(told.count(&name).await, before + 1, "{path}");
    }
    told.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_that_accepts_and_never_tells_is_counted() {
    const UNHEARD: &str = "dispatch_sends_without_receipt{account=\"vonage/main\"}";
    let told = Told::start(Shape::V1).await;
    let mut attempts = Vec::new();
    for expiry in ["3600s", "3601s", "3602s"] {
        attempts.push(told.create(messenger_sms(PERSON, NUMBER, expiry)).await.1);
    }
    told.advance(60).await;
    told.create(messenger_sms(PERSON, NUMBER, "3603s")).await;
    assert_eq!(told.count(UNHEARD).await, 3);
    told.report(&attempts[0], "delivered").await;
    told.advance(60).await;
    told.report(&attempts[0], "read").await;
    assert_eq!(told.count(UNHEARD).await, 0);
    told.stop().await;
}
