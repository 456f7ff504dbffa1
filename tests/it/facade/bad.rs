//! Bad requests: each is refused with a problem object that names the place and says what would be
//! right, and nothing of it happens.

use serde_json::{Value, json};

use super::{Answer, count, delete, get, messenger_sms, post, url, with};
use crate::support::{Running, in_memory};

/// What a body has changed, where the answer finds it wrong, and what that says.
type Bad = (&'static str, Value, &'static str, &'static str);

/// So many steps.
fn many(count: usize) -> Value {
    let mut body = messenger_sms();
    let steps = body["workflow"].as_array_mut().unwrap();
    let first = steps[0].clone();
    steps.splice(0..1, vec![first; count - 1]);
    body
}

fn dispatches() -> Vec<Bad> {
    let set = |pointer: &str, value: Value| with(messenger_sms(), pointer, value);
    let secret = "private";
    vec![
        ("no object", json!([secret]), "body", "must be a JSON object, and is an array"),
        ("no workflow", set("/workflow", Value::Null), "workflow", "must be given"),
        (
            "a workflow that is no array",
            set("/workflow", json!({})),
            "workflow",
            "must be an array",
        ),
        (
            "no step",
            set("/workflow", json!([])),
            "workflow",
            "must hold 1 to 20 steps, and holds 0",
        ),
        (
            "only a null",
            set("/workflow", json!([null])),
            "workflow[0]",
            "must be an object, and is null",
        ),
        (
            "a step that is none",
            set("/workflow/0", json!(secret)),
            "workflow[0]",
            "must be an object, and is a string",
        ),
        ("another template", set("/template", json!(secret)), "template", "must be failover"),
        ("a template that is a number", set("/template", json!(1)), "template", "must be a string"),
        (
            "no sender",
            set("/workflow/0/from", Value::Null),
            "workflow[0].from",
            "must be given: who sends",
        ),
        (
            "no recipient",
            set("/workflow/1/to", Value::Null),
            "workflow[1].to",
            "must be given: who is reached",
        ),
        (
            "no type",
            set("/workflow/1/to/type", Value::Null),
            "workflow[1].to.type",
            "must be a channel",
        ),
        (
            "a mistyped channel",
            with(set("/workflow/1/to/type", json!("smss")), "/workflow/1/from/type", json!("smss")),
            "workflow[1].to.type",
            "did you mean sms?",
        ),
        (
            "two channels in a step",
            set("/workflow/1/from/type", json!("mms")),
            "workflow[1].from.type",
            "must be the same as to.type",
        ),
        (
            "no number",
            set("/workflow/1/to/number", Value::Null),
            "workflow[1].to",
            "with an id or a number",
        ),
        (
            "a number that is none",
            set("/workflow/1/to/number", json!("private")),
            "workflow[1].to.number",
            "7 to 15 digits",
        ),
        (
            "a number that is a list",
            set("/workflow/1/to/number", json!([1])),
            "workflow[1].to.number",
            "must be a string, and is an array",
        ),
        (
            "a number with a fraction",
            set("/workflow/1/to/number", json!(4477.5)),
            "workflow[1].to.number",
            "must be a string",
        ),
        (
            "a number below zero",
            set("/workflow/1/to/number", json!(-447_700_900_000_i64)),
            "workflow[1].to.number",
            "must be a string",
        ),
        (
            "a phone number on Messenger",
            set("/workflow/0/to", json!({ "type": "messenger", "number": "447700900123" })),
            "workflow[0].to.number",
            "must be an id",
        ),
        (
            "no message",
            set("/workflow/0/message", Value::Null),
            "workflow[0].message.content",
            "must be given",
        ),
        (
            "no content",
            set("/workflow/0/message/content", Value::Null),
            "workflow[0].message.content",
            "must be given",
        ),
        (
            "no content type",
            set("/workflow/0/message/content/type", Value::Null),
            "workflow[0].message.content.type",
            "must be given: one of text",
        ),
        (
            "another content type",
            set("/workflow/0/message/content/type", json!(secret)),
            "workflow[0].message.content.type",
            "must be one of text",
        ),
        (
            "a content type without content",
            set("/workflow/0/message/content", json!({ "type": "text" })),
            "workflow[0].message.content.text",
            "must be given",
        ),
        (
            "a text that is none",
            set("/workflow/0/message/content/text", json!({ "text": secret })),
            "workflow[0].message.content.text",
            "must be a string, and is an object",
        ),
        (
            "an empty text",
            set("/workflow/0/message/content/text", json!("")),
            "workflow[0].message.content.text",
            "1 to 640",
        ),
        (
            "a long text",
            set("/workflow/1/message/content/text", json!("x".repeat(1001))),
            "workflow[1].message.content.text",
            "1000",
        ),
        (
            "what an SMS cannot send",
            set(
                "/workflow/1/message/content",
                json!({ "type": "file", "file": { "url": "https://example.org/a" } }),
            ),
            "workflow[1].message.content.type",
            "this channel cannot send file; it sends text",
        ),
        (
            "a picture from nowhere",
            set(
                "/workflow/0/message/content",
                json!({ "type": "image", "image": { "url": "private" } }),
            ),
            "workflow[0].message.content.image.url",
            "must be an absolute URL with a host",
        ),
        (
            "a picture that is a text",
            set(
                "/workflow/0/message/content",
                json!({ "type": "image", "image": "https://example.org/a" }),
            ),
            "workflow[0].message.content.image",
            "must be an object, and is a string",
        ),
        (
            "another channel's options",
            set("/workflow/1/message/messenger", json!({})),
            "workflow[1].message.messenger",
            "belong to another channel",
        ),
        (
            "a category there is not",
            set("/workflow/0/message/messenger", json!({ "category": secret })),
            "workflow[0].message.messenger.category",
            "must be response or update or message_tag",
        ),
        (
            "a tag that is missing",
            set("/workflow/0/message/messenger", json!({ "category": "message_tag" })),
            "workflow[0].message.messenger.tag",
            "must name a message tag",
        ),
        (
            "no expiry_time",
            set("/workflow/0/failover/expiry_time", Value::Null),
            "workflow[0].failover.expiry_time",
            "must be given",
        ),
        (
            "an expiry_time of 14",
            set("/workflow/0/failover/expiry_time", json!(14)),
            "workflow[0].failover.expiry_time",
            "15 to 86400",
        ),
        (
            "an expiry_time of 86,401",
            set("/workflow/0/failover/expiry_time", json!(86_401)),
            "workflow[0].failover.expiry_time",
            "15 to 86400",
        ),
        (
            "a huge expiry_time",
            set("/workflow/0/failover/expiry_time", json!(1e300)),
            "workflow[0].failover.expiry_time",
            "15 to 86400",
        ),
        (
            "an expiry_time below zero",
            set("/workflow/0/failover/expiry_time", json!(-600)),
            "workflow[0].failover.expiry_time",
            "15 to 86400",
        ),
        (
            "half a second",
            set("/workflow/0/failover/expiry_time", json!(600.5)),
            "workflow[0].failover.expiry_time",
            "a whole number",
        ),
        (
            "a signed text",
            set("/workflow/0/failover/expiry_time", json!("+600")),
            "workflow[0].failover.expiry_time",
            "a whole number",
        ),
        (
            "no condition",
            set("/workflow/0/failover/condition_status", Value::Null),
            "workflow[0].failover.condition_status",
            "must be one of submitted, delivered, read",
        ),
        (
            "a condition there is not",
            set("/workflow/0/failover/condition_status", json!(secret)),
            "workflow[0].failover.condition_status",
            "must be one of submitted, delivered, read",
        ),
        (
            "a failover that is none",
            set("/workflow/0/failover", json!(600)),
            "workflow[0].failover",
            "must be an object, and is a number",
        ),
        (
            "a long client_ref",
            set("/client_ref", json!("x".repeat(101))),
            "client_ref",
            "at most 100",
        ),
        (
            "a callback to a file",
            set("/webhook_url", json!("file:///etc/passwd")),
            "webhook_url",
            "must begin with https://",
        ),
        ("21 steps", many(21), "workflow", "must hold 1 to 20 steps"),
    ]
}

fn messages() -> Vec<Bad> {
    let sms = || {
        json!({
            "channel": "sms", "message_type": "text", "text": "Your table is ready.",
            "from": "447700900001", "to": "447700900000"
        })
    };
    let two = || with(sms(), "/failover", json!([sms()]));
    let set = |pointer: &str, value: Value| with(two(), pointer, value);
    vec![
        ("no channel", set("/channel", Value::Null), "channel", "must be a channel"),
        (
            "a channel there is not",
            set("/channel", json!("kakao")),
            "channel",
            "which has messenger, mms, rcs, sms, telegram, telegram_bot, viber_service, whatsapp",
        ),
        (
            "a sender of RCS with a blank",
            with(set("/channel", json!("rcs")), "/from", json!("Acme Shop")),
            "from",
            "the registered sender",
        ),
        (
            "a category of RCS there is not",
            set("/rcs", json!({ "category": "offer" })),
            "rcs.category",
            "service-request",
        ),
        ("no recipient", set("/to", Value::Null), "to", "must be given: who is reached"),
        (
            "no sender",
            set("/failover/0/from", Value::Null),
            "failover[0].from",
            "must be given: who sends",
        ),
        (
            "a bad number",
            set("/failover/0/to", json!("+447700900000")),
            "failover[0].to",
            "7 to 15 digits",
        ),
        ("no message_type", set("/message_type", Value::Null), "message_type", "must be given"),
        (
            "a sticker",
            set("/message_type", json!("sticker")),
            "message_type",
            "must be custom for a sticker",
        ),
        (
            "a message_type there is not",
            set("/message_type", json!("hologram")),
            "message_type",
            "must be one of text",
        ),
        (
            "what an SMS cannot send",
            with(
                set("/message_type", json!("image")),
                "/image",
                json!({ "url": "https://example.org/a" }),
            ),
            "message_type",
            "this channel cannot send image",
        ),
        ("no text", set("/failover/0/text", Value::Null), "failover[0].text", "must be given"),
        ("failover to nothing", set("/failover", json!([])), "failover", "at least one message"),
        ("failover that is no list", set("/failover", sms()), "failover", "must be an array"),
        (
            "failover within failover",
            set("/failover/0/failover", json!([])),
            "failover[0].failover",
            "must not be given within",
        ),
        (
            "a rule on the last message",
            set("/failover/0/expiry_time", json!(60)),
            "failover[0].expiry_time",
            "nothing follows it",
        ),
        (
            "a rule on the only message",
            with(sms(), "/condition_status", json!("delivered")),
            "condition_status",
            "nothing follows it",
        ),
        ("an expiry_time of 1", set("/expiry_time", json!(1)), "expiry_time", "15 to 86400"),
        (
            "a condition that SMS does not tell",
            set("/condition_status", json!("replied")),
            "condition_status",
            "must be one of submitted, delivered",
        ),
        (
            "an encoding there is not",
            set("/sms", json!({ "encoding_type": "ebcdic" })),
            "sms.encoding_type",
            "must be text or unicode or auto",
        ),
        (
            "a callback to a file",
            set("/webhook_url", json!("file:///etc/passwd")),
            "webhook_url",
            "must begin with https://",
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_request_is_told_where_and_why_and_nothing_happens() {
    let running = Running::start(&in_memory()).await;
    let apis = [("/v0.1/dispatch", 400, dispatches()), ("/v1/messages", 422, messages())];
    for (path, status, cases) in apis {
        for (case, body, name, says) in cases {
            let answer = post(&running, path, &body).await;
            assert_eq!(answer.status, status, "{case}: {answer:?}");
            let [(found, reason)] = &answer.wrong()[..] else { panic!("{case}: {answer:?}") };
            assert_eq!(found, name, "{case}: {reason}");
            assert!(reason.contains(says), "{case}: {reason}");
            let text = answer.body.to_string();
            assert!(!text.contains("private") && !text.contains("4477009"), "{case}: {text}");
            for key in ["type", "title", "detail", "instance"] {
                assert!(answer.body[key].is_string(), "{case} has no {key}: {text}");
            }
            assert_eq!(answer.body["instance"].as_str().unwrap().len(), 32);
        }
    }
    assert_eq!(running.sent().await.len(), 0);
    assert_eq!(count(&running).await, 0);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_that_is_wrong_is_told_at_once() {
    let running = Running::start(&in_memory()).await;
    let body = with(messenger_sms(), "/workflow/0/failover/expiry_time", json!(1));
    let body = with(body, "/workflow/1/to/number", json!("x"));
    let body = with(body, "/workflow/1/message/content/text", json!(""));
    let answer = post(&running, "/v0.1/dispatch", &body).await;
    let names: Vec<_> = answer.wrong().into_iter().map(|(name, _)| name).collect();
    let wanted = [
        "workflow[0].failover.expiry_time",
        "workflow[1].to.number",
        "workflow[1].message.content.text",
    ];
    assert_eq!(names, wanted);
    assert_eq!(answer.body["detail"], "Found errors validating 3 of your submitted parameters.");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_not_there_is_told_in_the_same_shape() {
    let running = Running::start(&in_memory()).await;
    let nobody = "/v0.1/dispatch/0190a1b2-c3d4-7e5f-8a6b-0123456789ab";
    let client = reqwest::Client::new();
    let call = async |method: &str, path: &str, headers: &[(&str, &str)], body: &str| {
        let method = method.parse().unwrap();
        let mut call = client.request(method, url(&running, path)).body(body.to_owned());
        for (name, value) in headers {
            call = call.header(*name, *value);
        }
        Answer::of(call.send().await.unwrap()).await
    };
    let json_type = ("content-type", "application/json");
    let good = messenger_sms().to_string();
    let cases = [
        (get(&running, nobody).await, 404, "not-found"),
        (delete(&running, nobody).await, 404, "not-found"),
        (get(&running, "/v0.1/dispatch/private").await, 404, "not-found"),
        (get(&running, "/workflows/..%2f..%2fprivate").await, 404, "not-found"),
        (get(&running, "/private").await, 404, "not-found"),
        (get(&running, "/v0.1/dispatch").await, 405, "wrong-verb"),
        (call("PUT", "/v1/messages", &[json_type], &good).await, 405, "wrong-verb"),
        (call("POST", nobody, &[json_type], &good).await, 405, "wrong-verb"),
        (
            call("POST", "/v0.1/dispatch", &[json_type, ("accept", "text/html")], &good).await,
            406,
            "accept-header",
        ),
        (call("POST", "/v0.1/dispatch", &[], &good).await, 415, "content-type-header"),
        (
            call("POST", "/v0.1/dispatch", &[("content-type", "text/plain")], &good).await,
            415,
            "content-type-header",
        ),
        (
            call(
                "POST",
                "/v0.1/dispatch",
                &[("content-type", "application/x-www-form-urlencoded")],
                "a=b",
            )
            .await,
            415,
            "content-type-header",
        ),
        (call("POST", "/v0.1/dispatch", &[json_type], "").await, 422, "invalid-json"),
        (call("POST", "/v0.1/dispatch", &[json_type], "{\"private\":").await, 422, "invalid-json"),
        (call("POST", "/v1/messages", &[json_type], "private").await, 422, "invalid-json"),
    ];
    for (answer, status, kind) in cases {
        assert_eq!(answer.status, status, "{answer:?}");
        let named = answer.body["type"].as_str().unwrap();
        assert!(named.ends_with(kind), "{answer:?}");
        assert!(!answer.body.to_string().contains("private"), "{answer:?}");
        assert_eq!(answer.headers["content-type"], "application/json");
    }
    let allowed = get(&running, "/v0.1/dispatch").await;
    assert_eq!(allowed.headers["allow"], "POST");
    for accept in ["*/*", "application/json", "text/html, application/*;q=0.5"] {
        let headers = [("content-type", "application/json; charset=utf-8"), ("accept", accept)];
        assert_eq!(call("POST", "/v0.1/dispatch", &headers, &good).await.status, 202, "{accept}");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_stops_says_when_to_ask_again() {
    let running = Running::start(&in_memory()).await;
    running.service.engine.drain(std::time::Duration::from_secs(1)).await;
    let answer = post(&running, "/v0.1/dispatch", &messenger_sms()).await;
    assert_eq!(answer.status, 503, "{answer:?}");
    assert_eq!(answer.headers["retry-after"], "1");
    running.stop().await;
}

/// One create waits for the writer, the next has no room: none of them is lost without a word.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_has_no_room_says_so_before_it_promises_anything() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = in_memory();
    config.store.kind = dispatch::config::StoreKind::Sled;
    config.store.data = folder.path().join("data");
    config.engine.create_queue_capacity = 1;
    let running = Running::start(&config).await;
    let body = messenger_sms();
    let (mut taken, mut refused) = (0, 0);
    for _ in 0..50 {
        let rush = (0..32).map(|_| post(&running, "/v0.1/dispatch", &body));
        for answer in futures_util::future::join_all(rush).await {
            match answer.status {
                202 => taken += 1,
                429 => {
                    refused += 1;
                    assert_eq!(answer.headers["retry-after"], "1");
                    assert_eq!(answer.body["title"], "Rate Limit Hit");
                }
                _ => panic!("{answer:?}"),
            }
        }
        if refused > 0 {
            break;
        }
    }
    assert!(refused > 0, "{taken} were taken");
    assert_eq!(count(&running).await, taken.min(50));
    running.stop().await;
}
