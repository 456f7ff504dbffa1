//! Good requests, and what becomes of them.

use std::time::Duration;

use dispatch::{
    pb::v1::{EventKind, address, message::Content},
    store::{ApiDialect, Requester},
};
use serde_json::{Value, json};

use super::{Answer, delete, get, is_ended, messenger_sms, post, state, url, with, workflow};
use crate::support::{Running, in_memory};

/// A request of the old API whose second step says this on that channel.
fn step(kind: &str, from: Value, to: Value, content: Value, options: Value) -> Value {
    let mut message = json!({ "content": content });
    if let Some(name) = options.as_object().and_then(|it| it.keys().next()) {
        message[name] = options[name].clone();
    }
    let mut step = json!({ "from": from, "to": to, "message": message });
    step["from"]["type"] = json!(kind);
    step["to"]["type"] = json!(kind);
    with(messenger_sms(), "/workflow/1", step)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_form_of_the_old_request_is_taken_without_a_warning() {
    let running = Running::start(&in_memory()).await;
    let text = || json!({ "type": "text", "text": "Your table is ready." });
    let number = |number: &str| json!({ "number": number });
    let url = "https://example.org/menu";
    let (us, them) = (|| number("447700900001"), || number("447700900000"));
    let image =
        |caption: &str| json!({ "type": "image", "image": { "url": url, "caption": caption } });
    let whatsapp = |content: Value| step("whatsapp", us(), them(), content, json!({}));
    let locale = json!({ "whatsapp": { "policy": "deterministic", "locale": "en-GB" } });
    let template = |parameters: Value| json!({ "type": "template", "template": { "name": "a:b", "parameters": parameters } });
    let viber = |content: Value, options: Value| {
        step("viber_service_msg", json!({ "id": "16273" }), them(), content, options)
    };
    let messenger = |options: Value| {
        let id = |id: &str| json!({ "id": id });
        step("messenger", id("107083064136738"), id("1234567890"), text(), options)
    };
    let cases = [
        ("Messenger, then SMS", messenger_sms()),
        ("one step", with(messenger_sms(), "/workflow/0", Value::Null)),
        (
            "the shortest expiry_time",
            with(messenger_sms(), "/workflow/0/failover/expiry_time", json!(15)),
        ),
        ("the longest", with(messenger_sms(), "/workflow/0/failover/expiry_time", json!(86_400))),
        ("a null where nothing is", with(messenger_sms(), "/workflow/1/failover", json!(null))),
        ("SMS", step("sms", us(), them(), text(), json!({}))),
        ("MMS", step("mms", us(), them(), image("Look"), json!({}))),
        ("Viber", viber(text(), json!({}))),
        (
            "Viber with options",
            viber(text(), json!({ "viber_service_msg": { "category": "promotion", "ttl": 30 } })),
        ),
        (
            "Messenger with a tag",
            messenger(json!({ "messenger": { "category": "message_tag", "tag": "HUMAN_AGENT" } })),
        ),
        ("WhatsApp", whatsapp(text())),
        ("a picture", whatsapp(image("Look"))),
        ("a sound", whatsapp(json!({ "type": "audio", "audio": { "url": url } }))),
        ("a film", whatsapp(json!({ "type": "video", "video": { "url": url } }))),
        ("a file", whatsapp(json!({ "type": "file", "file": { "url": url, "caption": "Menu" } }))),
        (
            "a template",
            step("whatsapp", us(), them(), template(json!(["2526", "5"])), locale.clone()),
        ),
        (
            "a template of objects",
            step("whatsapp", us(), them(), template(json!([{ "default": "2526" }])), locale),
        ),
        (
            "custom",
            whatsapp(
                json!({ "type": "custom", "custom": { "type": "text", "n": [1, 0.5, null, true] } }),
            ),
        ),
        ("our own client_ref", with(messenger_sms(), "/client_ref", json!("order-17"))),
    ];
    for (name, body) in cases {
        let answer = post(&running, "/v0.1/dispatch", &body).await;
        assert_eq!(answer.status, 202, "{name}: {answer:?}");
        assert_eq!(answer.warnings(), Vec::<String>::new(), "{name}");
        assert_eq!(answer.headers["content-type"], "application/json");
        let keys: Vec<_> = answer.body.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["dispatch_uuid"], "{name}");
        let steps = body["workflow"].as_array().unwrap().len();
        assert_eq!(workflow(&running, &answer).await.steps.len(), steps, "{name}");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_path_of_the_old_clients_leads_there() {
    let running = Running::start(&in_memory()).await;
    for (path, key) in [
        ("/v0.1/dispatch", "dispatch_uuid"),
        ("/v0.1/dispatch?", "dispatch_uuid"),
        ("/v0.1/dispatch/", "dispatch_uuid"),
        ("/v0.1/dispatch/?", "dispatch_uuid"),
        ("/beta/workflows", "workflow_uuid"),
        ("/beta/workflows?", "workflow_uuid"),
    ] {
        let answer = post(&running, path, &messenger_sms()).await;
        assert_eq!(answer.status, 202, "{path}: {answer:?}");
        let id = answer.body[key].as_str().unwrap();
        // The link of the old callbacks resolves, and tells the id under the name it was given.
        let shown = get(&running, &format!("/workflows/{id}")).await;
        assert_eq!((shown.status, &shown.body[key]), (200, &json!(id)), "{path}");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_asked_for_is_what_is_sent_and_shown() {
    let running = Running::start(&in_memory()).await;
    running.script("1234567890", "accept; deliver 1s").await;
    running.script("447700900000", "accept; deliver 1s").await;
    let answer = post(&running, "/v0.1/dispatch", &messenger_sms()).await;
    let asked = workflow(&running, &answer).await.spec.unwrap();
    let failover = asked.steps[0].failover.clone().unwrap();
    assert_eq!(failover.expiry_time.unwrap().seconds, 600);
    assert_eq!(failover.condition_status, "read");
    let sms = &asked.steps[1];
    let number = address::Endpoint::Number("447700900000".to_owned());
    assert!(sms.recipient.as_ref().unwrap().endpoint == Some(number));
    let said = Content::Text("Your table is ready.".to_owned());
    assert!(sms.message.as_ref().unwrap().content == Some(said));

    running.advance(Duration::from_secs(700)).await;
    let id = answer.body["dispatch_uuid"].as_str().unwrap();
    let shown = get(&running, &format!("/v0.1/dispatch/{id}")).await;
    assert_eq!(shown.status, 200, "{shown:?}");
    let body = &shown.body;
    assert_eq!(body["dispatch_uuid"], id);
    assert_eq!(body["state"], "SUCCEEDED", "{body}");
    assert_eq!(body["status"], "completed");
    assert_eq!(body["reason"], "CONDITION_MET");
    assert_eq!(body["template"], "failover");
    let steps = body["workflow"].as_array().unwrap();
    let told: Vec<_> = steps
        .iter()
        .map(|step| [&step["channel"], &step["state"], &step["status"], &step["reason"]])
        .collect();
    assert_eq!(told[0], ["messenger", "EXPIRED", "delivered", "EXPIRED"], "{body}");
    assert_eq!(told[1], ["sms", "MET", "delivered", "CONDITION_MET"], "{body}");
    let created = body["created_at"].as_str().unwrap();
    assert!(created.ends_with("Z") && created.len() == 24, "{created}");
    let workflow_id = id.parse().unwrap();
    for (index, step) in (0..).zip(steps) {
        let message = dispatch::machine::message_uuid(workflow_id, index).to_string();
        assert_eq!(step["message_uuid"], message);
    }
    let timeline = body["timeline"].as_array().unwrap();
    assert_eq!(timeline[0]["kind"], "CREATED");
    assert_eq!(timeline.last().unwrap()["kind"], "ENDED");
    assert!(timeline.iter().all(|event| event["description"].is_string()));
    let text = body.to_string();
    assert!(!text.contains("447700900000") && !text.contains("table"), "{text}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_workflow_is_canceled_by_deleting_it() {
    let running = Running::start(&in_memory()).await;
    running.script("1234567890", "accept; never").await;
    let answer = post(&running, "/v0.1/dispatch", &messenger_sms()).await;
    running.advance(Duration::from_secs(1)).await;
    let path = format!("/v0.1/dispatch/{}", answer.body["dispatch_uuid"].as_str().unwrap());
    let canceled = delete(&running, &path).await;
    assert_eq!(canceled.status, 200, "{canceled:?}");
    assert_eq!(canceled.body["state"], "CANCELED");
    assert_eq!(canceled.body["status"], "error");
    let first = &canceled.body["workflow"][0]["message_uuid"];
    assert_eq!(canceled.body["may_still_arrive"], json!([first]));
    assert_eq!(delete(&running, &path).await.status, 200, "once more is as good");

    let one = with(messenger_sms(), "/workflow/0", Value::Null);
    let ended = post(&running, "/v0.1/dispatch", &one).await;
    running.advance(Duration::from_secs(60)).await;
    let path = format!("/workflows/{}", ended.body["dispatch_uuid"].as_str().unwrap());
    let late = delete(&running, &path).await;
    assert_eq!(late.status, 409, "{late:?}");
    assert!(late.body["detail"].as_str().unwrap().contains("SUCCEEDED"), "{late:?}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idempotency_key_makes_a_repeat_the_same_request() {
    let running = Running::start(&in_memory()).await;
    let call = async |key: &str, body: Value| {
        let call = reqwest::Client::new().post(url(&running, "/v0.1/dispatch"));
        let call = call.header("content-type", "application/json").header("idempotency-key", key);
        Answer::of(call.body(body.to_string()).send().await.unwrap()).await
    };
    let first = call("order-17", messenger_sms()).await;
    assert_eq!(first.status, 202, "{first:?}");
    let again = call("order-17", messenger_sms()).await;
    assert_eq!((again.status, &again.body), (202, &first.body));
    let quoted = call("\"order-17\"", messenger_sms()).await;
    assert_eq!(quoted.body, first.body, "with the quotes of the header's draft");
    let other = with(messenger_sms(), "/workflow/1/message/content/text", json!("Another"));
    let refused = call("order-17", other.clone()).await;
    assert_eq!(refused.status, 409, "{refused:?}");
    assert_eq!(refused.body["title"], "Idempotency key in use");
    assert_ne!(call("order-18", other).await.body, first.body);
    let spaced = call("order 17", messenger_sms()).await;
    assert_eq!(spaced.status, 400);
    assert_eq!(spaced.wrong()[0].0, "Idempotency-Key");
    running.stop().await;
}

/// A message of the Messages API.
fn message(channel: &str, from: &str, to: &str) -> Value {
    json!({
        "channel": channel, "message_type": "text", "from": from, "to": to,
        "text": "Your table is ready."
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_without_failover_is_a_workflow_of_one_step() {
    let running = Running::start(&in_memory()).await;
    let body = message("sms", "447700900001", "447700900000");
    let answer = post(&running, "/v1/messages", &body).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    let keys: Vec<_> = answer.body.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["message_uuid", "workflow_id"]);
    running.advance(Duration::from_secs(60)).await;
    assert_eq!(running.sent().await.len(), 1);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failover_of_the_messages_api_follows_a_rejection_and_more_if_asked() {
    let running = Running::start(&in_memory()).await;
    running.script("447700900009", "reject 1300").await;
    running.script("447700900008", "accept; never").await;
    running.script("447700900007", "accept; deliver 1s").await;
    let sms = message("sms", "447700900001", "447700900000");
    let asked = |to: &str, rule: Value| {
        let mut body = message("viber_service", "16273", to);
        body.as_object_mut().unwrap().extend(rule.as_object().unwrap().clone());
        with(body, "/failover", json!([sms]))
    };
    let rejected = post(&running, "/v1/messages", &asked("447700900009", json!({}))).await;
    let silent = post(&running, "/v1/messages", &asked("447700900008", json!({}))).await;
    let rule = json!({ "expiry_time": 600, "condition_status": "read" });
    let unread = post(&running, "/v1/messages", &asked("447700900007", rule)).await;
    running.advance(Duration::from_secs(3600)).await;

    let first = workflow(&running, &rejected).await;
    assert_eq!(rejected.warnings(), Vec::<String>::new());
    assert_eq!(state(&first), "SUCCEEDED");
    assert_eq!(first.steps[0].reason().short_name(), "REJECTED");
    let id = rejected.body["workflow_id"].as_str().unwrap().parse().unwrap();
    let message = dispatch::machine::message_uuid(id, 0).to_string();
    assert_eq!(rejected.body["message_uuid"], message);

    let second = workflow(&running, &silent).await;
    assert!(!is_ended(&second), "silence is no rejection");
    let third = workflow(&running, &unread).await;
    assert_eq!((state(&third), third.steps[0].reason().short_name()), ("SUCCEEDED", "EXPIRED"));
    running.stop().await;
}

/// Vonage's own example of failover.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rcs_falls_back_to_sms() {
    let running = Running::start(&in_memory()).await;
    running.script("447700900009", "reject 1300").await;
    running.script("447700900007", "accept; deliver 1s; read 2s").await;
    running.script("447700900008", "accept; never").await;
    let sms = message("sms", "447700900001", "447700900000");
    let asked = |to: &str| {
        let body = with(message("rcs", "Vonage", to), "/failover", json!([sms]));
        with(body, "/rcs", json!({ "category": "transaction" }))
    };
    let rejected = post(&running, "/v1/messages", &asked("447700900009")).await;
    let mut rule = asked("447700900007");
    rule["expiry_time"] = json!(600);
    rule["condition_status"] = json!("read");
    let read = post(&running, "/v1/messages", &rule).await;
    assert_eq!((rejected.warnings(), read.warnings()), (vec![], vec![]));
    let silent = with(asked("447700900008"), "/expiry_time", json!(30));
    let silent = post(&running, "/v1/messages", &silent).await;
    running.advance(Duration::from_secs(60)).await;

    let third = workflow(&running, &silent).await;
    let kinds: Vec<_> = third.timeline.iter().map(|event| event.kind()).collect();
    assert!(kinds.contains(&EventKind::RecallEnded), "{kinds:?}");
    let first = workflow(&running, &rejected).await;
    assert_eq!((state(&first), first.steps.len()), ("SUCCEEDED", 2));
    assert_eq!(first.steps[0].reason().short_name(), "REJECTED");
    let shown = first.spec.unwrap().steps[0].message.clone().unwrap().rcs.unwrap();
    assert_eq!(shown.category().as_str_name(), "RCS_CATEGORY_TRANSACTION");
    let second = workflow(&running, &read).await;
    assert_eq!((state(&second), second.steps[0].status.as_str()), ("SUCCEEDED", "read"));
    let mut sent: Vec<_> = running.sent().await.into_iter().map(|sent| sent.channel).collect();
    sent.sort();
    assert_eq!(sent, ["rcs", "rcs", "sms", "sms"], "what was rejected was not sent");
    running.stop().await;
}

/// The samples that Vonage publishes with its API sandbox, as they are: with a byte order mark.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_published_samples_of_the_messages_api_are_accepted() {
    let running = Running::start(&in_memory()).await;
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/fixtures/vonage");
    let mut files: Vec<_> =
        std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|ending| ending == "json"));
    files.sort();
    assert_eq!(files.len(), 10);
    let mut warned = Vec::new();
    for path in files {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let body = std::fs::read(&path).unwrap();
        assert!(body.starts_with(b"\xef\xbb\xbf"), "{name} is as it was published");
        let call = reqwest::Client::new().post(url(&running, "/v1/messages")).body(body);
        let call = call.header("content-type", "application/json");
        let answer = Answer::of(call.send().await.unwrap()).await;
        assert_eq!(answer.status, 202, "{name}: {answer:?}");
        assert!(answer.body["workflow_id"].is_string(), "{name}");
        warned.extend(answer.warnings());
    }
    // All else that they ask for is done.
    assert!(warned.iter().all(|it| it.starts_with("messenger.tag belongs")), "{warned:?}");
    running.stop().await;
}

/// Callbacks answer in the words that were asked in, to the address that was given.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asked_and_in_whose_words_is_kept_with_the_workflow() {
    let running = Running::start(&in_memory()).await;
    let url = "https://example.org/callbacks";
    let dispatch = with(messenger_sms(), "/webhook_url", json!(url));
    let sms = message("sms", "447700900001", "447700900000");
    let messages = with(sms.clone(), "/failover", json!([sms]));
    let messages = with(messages, "/webhook_url", json!(url));
    let mut made = None;
    let told_as_before = with(messages.clone(), "/webhook_version", json!("v0.1"));
    for (path, body, facade) in [
        ("/v0.1/dispatch", &dispatch, ApiDialect::DispatchV01),
        ("/beta/workflows", &dispatch, ApiDialect::WorkflowsBeta),
        ("/v1/messages", &messages, ApiDialect::MessagesV1),
        ("/v1/messages", &told_as_before, ApiDialect::MessagesV01),
    ] {
        let answer = post(&running, path, body).await;
        let id = workflow(&running, &answer).await.workflow_id.parse().unwrap();
        let record = running.service.engine.reader().record(id).unwrap().unwrap();
        let contents = running.service.engine.contents().open(&record).unwrap();
        assert_eq!(contents.webhook_url.as_deref(), Some(url));
        // The default one of its tenant, made for this: something must sign what goes there.
        let application = record.requester.application;
        assert!(application.is_some());
        assert_eq!(record.requester, Requester { application, dialect: facade });
        assert!(made.replace(application).is_none_or(|before| before == application), "{path}");
        assert_eq!(&*record.tenant, "default");
    }
    running.stop().await;
}
