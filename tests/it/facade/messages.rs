//! One message without failover, as every old client's `channel.send` asks for it and today's
//! `messages.send`: a workflow of one step. And what the Messages API has beside: `ttl`,
//! `webhook_version`.

use std::time::Duration;

use dispatch::{
    machine::message_uuid, pb::v1::ListWorkflowsRequest, pb::v1::Workflow, store::ApiDialect,
};
use serde_json::{Value, json};

use super::{Answer, count, post, state, url, with};
use crate::support::{Running, in_memory};

/// As the old client sends it.
fn channel_send() -> Value {
    json!({
        "from": { "type": "sms", "number": "Dispatch" },
        "to": { "type": "sms", "number": "447700900000" },
        "message": { "content": { "type": "text", "text": "Your table is ready." } }
    })
}

/// As today's client sends it.
fn send() -> Value {
    json!({
        "channel": "sms", "message_type": "text", "from": "Dispatch", "to": "447700900000",
        "text": "Your table is ready."
    })
}

/// The workflow whose one message is called so.
async fn of_message(running: &Running, message: &Value) -> Workflow {
    let listed = running.client.list(ListWorkflowsRequest::default()).await.unwrap();
    let mut ids = listed.workflows.into_iter().map(|workflow| workflow.workflow_id);
    let is_it = |id: &String| *message == message_uuid(id.parse().unwrap(), 0).to_string();
    running.get(&ids.find(is_it).expect("a workflow")).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_of_the_old_api_is_a_workflow_of_one_step() {
    let running = Running::start(&in_memory()).await;
    let paths = [
        "/v0.1/messages",
        "/v0.1/messages?",
        "/v0.1/messages/",
        "/beta/messages",
        "/beta/messages?",
        "/beta/messages/",
    ];
    let mut ids = Vec::new();
    for path in paths {
        let answer = post(&running, path, &channel_send()).await;
        assert_eq!(answer.status, 202, "{path}: {answer:?}");
        assert_eq!(answer.warnings(), Vec::<String>::new(), "{path}");
        let keys: Vec<_> = answer.body.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["message_uuid"], "{path}");
        let workflow = of_message(&running, &answer.body["message_uuid"]).await;
        assert_eq!(workflow.steps.len(), 1);
        ids.push(workflow.workflow_id.clone());
        let id = workflow.workflow_id.parse().unwrap();
        let record = running.service.engine.reader().record(id).unwrap().unwrap();
        assert_eq!(record.requester.dialect, ApiDialect::MessagesV01);
    }
    running.advance(Duration::from_secs(60)).await;
    assert_eq!(running.sent().await.len(), paths.len());
    for id in ids {
        assert_eq!(state(&running.get(&id).await), "SUCCEEDED");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_of_the_old_api_is_refused_and_warned_of_under_its_own_names() {
    let running = Running::start(&in_memory()).await;
    let set = |pointer: &str, value: Value| with(channel_send(), pointer, value);
    for (body, name, reason) in [
        (set("/to/number", json!("+447700900000")), "to.number", "7 to 15 digits"),
        (set("/to", Value::Null), "to", "must be given"),
        (set("/from", json!("Dispatch")), "from", "must be an object"),
        (set("/message", Value::Null), "message.content", "must be given"),
        (set("/message/content/text", json!("")), "message.content.text", "1 to 1000 characters"),
        (set("/to/type", json!("fax")), "to.type", "must be a channel"),
        (set("/client_ref", json!("a\u{200b}b")), "client_ref", "printable characters only"),
        (set("/webhook_url", json!("http://example.org/")), "webhook_url", "begin with https://"),
        (json!([]), "body", "must be a JSON object"),
    ] {
        let answer = post(&running, "/v0.1/messages", &body).await;
        assert_eq!(answer.status, 400, "{answer:?}");
        let wrong = answer.wrong();
        assert!(wrong.iter().any(|(at, why)| at == name && why.contains(reason)), "{wrong:?}");
    }
    assert_eq!(count(&running).await, 0);
    for (body, warning) in [
        (set("/to/number", json!(447_700_900_000_u64)), "to.number is a JSON number"),
        (set("/failover", json!({ "expiry_time": 600 })), "the body has a key that means nothing"),
    ] {
        let answer = post(&running, "/v0.1/messages", &body).await;
        assert_eq!(answer.status, 202, "{answer:?}");
        assert!(answer.warnings()[0].starts_with(warning), "{answer:?}");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_under_an_idempotency_key_is_one_message() {
    let running = Running::start(&in_memory()).await;
    let call = async |path: &str, body: Value| {
        let call = reqwest::Client::new().post(url(&running, path));
        let call = call.header("content-type", "application/json");
        let call = call.header("idempotency-key", format!("order-17{}", path.replace('/', "-")));
        Answer::of(call.body(body.to_string()).send().await.unwrap()).await
    };
    // Of a ttl too: it is a time from the send on, not one of a day.
    for (path, body) in
        [("/v0.1/messages", channel_send()), ("/v1/messages/", with(send(), "/ttl", json!(60)))]
    {
        let first = call(path, body.clone()).await;
        running.advance(Duration::from_secs(5)).await;
        let again = call(path, body.clone()).await;
        assert_eq!((again.status, &again.body), (202, &first.body), "{path}");
        let other = if path.starts_with("/v0.1") { "/message/content/text" } else { "/text" };
        assert_eq!(call(path, with(body, other, json!("Another"))).await.status, 409, "{path}");
    }
    assert_eq!(count(&running).await, 2);
    running.stop().await;
}

/// A person whose number WhatsApp does not show is reached by the id that it gave them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_on_whatsapp_is_reached_by_id() {
    let running = Running::start(&in_memory()).await;
    let person = "US.13491208655302741918";
    let whatsapp = |to: &str| {
        let body = with(send(), "/channel", json!("whatsapp"));
        with(with(body, "/from", json!("447700900001")), "/to", json!(to))
    };
    let old = |to: Value| {
        let from = json!({ "type": "whatsapp", "number": "447700900001" });
        with(with(channel_send(), "/from", from), "/to", to)
    };
    let new = post(&running, "/v1/messages", &whatsapp(person)).await;
    let by_id = json!({ "type": "whatsapp", "id": person });
    let old_one = post(&running, "/v0.1/messages", &old(by_id)).await;
    for answer in [&new, &old_one] {
        assert_eq!((answer.status, answer.warnings()), (202, vec![]), "{answer:?}");
    }
    running.advance(Duration::from_secs(60)).await;
    let sent: Vec<_> = running.sent().await.into_iter().map(|sent| sent.recipient).collect();
    assert_eq!(sent, [person, person]);
    for (path, body, name) in [
        ("/v1/messages", whatsapp("US.1-2"), "to"),
        ("/v0.1/messages", old(json!({ "type": "whatsapp", "id": "Ada" })), "to.id"),
    ] {
        let answer = post(&running, path, &body).await;
        let [(at, why)] = &answer.wrong()[..] else { panic!("{answer:?}") };
        assert!(at == name && why.contains("an id that WhatsApp gave the person"), "{at}: {why}");
    }
    running.stop().await;
}

/// What the Messages API has for one channel alone goes out with the message.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_channel_alone_has_is_an_option_of_it() {
    let running = Running::start(&in_memory()).await;
    let on = |channel: &str, from: &str, rest: Value| {
        let mut body = with(with(send(), "/channel", json!(channel)), "/from", json!(from));
        body.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        body
    };
    let of_kind = |body: Value, kind: &str, payload: Value| {
        let mut body = with(with(body, "/message_type", json!(kind)), &format!("/{kind}"), payload);
        body.as_object_mut().unwrap().remove("text");
        body
    };
    let viber = |rest: Value| on("viber_service", "16273", rest);
    let whatsapp = |rest: Value| on("whatsapp", "447700900001", rest);
    let pdf = json!({ "url": "https://example.com/a.pdf", "name": "menu.pdf" });
    let film =
        json!({ "url": "https://example.com/a.mp4", "thumb_url": "https://example.com/a.png" });
    let video =
        |rest: Value| of_kind(viber(json!({ "viber_service": rest })), "video", film.clone());
    let sms =
        on("sms", "Dispatch", json!({ "sms": { "content_id": "1107", "entity_id": "1101" } }));
    let asked = [
        sms,
        of_kind(viber(json!({ "viber_service": { "type": "template" } })), "file", pdf.clone()),
        of_kind(whatsapp(json!({ "context": { "message_uuid": "u-1" } })), "file", pdf.clone()),
        video(json!({ "duration": "10", "file_size": "4" })),
        video(json!({ "duration": 10, "file_size": 4 })),
        {
            let both = json!({ "duration": "10", "file_size": "4" });
            let mut body = video(both.clone());
            body["video"].as_object_mut().unwrap().extend(both.as_object().unwrap().clone());
            body
        },
        {
            let mut body = with(video(json!({})), "/video/duration", json!("10"));
            body["video"]["file_size"] = json!("4");
            body
        },
    ];
    let mut said = Vec::new();
    for body in asked {
        let answer = post(&running, "/v1/messages", &body).await;
        assert_eq!((answer.status, answer.warnings()), (202, vec![]), "{body}: {answer:?}");
        let spec = super::workflow(&running, &answer).await.spec.unwrap();
        said.push(spec.steps[0].message.clone().unwrap());
    }
    let sms = said[0].sms.clone().unwrap();
    assert_eq!((&*sms.content_id, &*sms.entity_id), ("1107", "1101"));
    let viber = said[1].viber_service_msg.clone().unwrap();
    assert_eq!((&*viber.file_name, &*viber.r#type), ("menu.pdf", "template"));
    let whatsapp = said[2].whatsapp.clone().unwrap();
    assert_eq!((&*whatsapp.file_name, &*whatsapp.reply_to), ("menu.pdf", "u-1"));
    for said in &said[3..] {
        let video = said.viber_service_msg.clone().unwrap().video.unwrap();
        assert_eq!((video.duration.unwrap().seconds, video.size_mb), (10, 4));
        assert_eq!(video.preview_url, "https://example.com/a.png");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_channel_does_not_have_is_refused_in_its_words() {
    let running = Running::start(&in_memory()).await;
    let kind = |kind: &str| with(send(), "/message_type", json!(kind));
    let viber = |rest: Value| {
        let body = with(with(send(), "/channel", json!("viber_service")), "/from", json!("16273"));
        with(body, "/viber_service", rest)
    };
    let film = |thumb: Value, rest: Value| {
        let body = with(viber(rest), "/message_type", json!("video"));
        let mut body = with(body, "/video", json!({ "url": "https://example.com/a.mp4" }));
        if thumb.is_string() {
            body["video"]["thumb_url"] = thumb;
        }
        body.as_object_mut().unwrap().remove("text");
        body
    };
    let thumb = || json!("https://example.com/a.png");
    for (body, name, reason) in [
        (kind("sticker"), "message_type", "must be custom for a sticker"),
        (kind("reaction"), "message_type", "must not be reaction"),
        (kind("vcard"), "message_type", "must be image, audio, video or file"),
        (kind("content"), "message_type", "must be image, audio, video or file"),
        (film(json!(null), json!({})), "viber_service", "must be given with a video"),
        (
            film(json!(null), json!({ "duration": "10", "file_size": "4" })),
            "video.thumb_url",
            "must",
        ),
        (film(thumb(), json!({ "file_size": "4" })), "viber_service.duration", "1 to 600"),
        (film(thumb(), json!({ "duration": "10" })), "viber_service.file_size", "1 to 200"),
        (
            film(thumb(), json!({ "duration": "ten", "file_size": "4" })),
            "viber_service.duration",
            "must be a whole number",
        ),
        (viber(json!({ "type": "approved" })), "viber_service.type", "string or template"),
        (
            viber(json!({ "duration": "10", "file_size": "4" })),
            "viber_service",
            "belongs to a video",
        ),
    ] {
        let answer = post(&running, "/v1/messages", &body).await;
        assert_eq!(answer.status, 422, "{body}: {answer:?}");
        let wrong = answer.wrong();
        assert!(
            wrong.iter().any(|(at, why)| at == name && why.contains(reason)),
            "{body}: {wrong:?}"
        );
    }
    let named = with(with(send(), "/channel", json!("mms")), "/from", json!("447700900001"));
    let named = with(with(named, "/message_type", json!("file")), "/text", Value::Null);
    let named =
        with(named, "/file", json!({ "url": "https://example.com/a.pdf", "name": "a.pdf" }));
    for (body, warning) in [
        (named, "file.name has no effect here"),
        (with(send(), "/context", json!({ "message_uuid": "u-1" })), "context has no effect here"),
    ] {
        let answer = post(&running, "/v1/messages", &body).await;
        assert!(answer.warnings().iter().any(|it| it.starts_with(warning)), "{answer:?}");
    }
    running.stop().await;
}

/// The seconds that a step's message lives at the provider, as it was asked for.
fn ttl(workflow: &Workflow, step: usize) -> Option<i64> {
    let spec = workflow.spec.as_ref().unwrap();
    let message = spec.steps[step].message.as_ref().unwrap();
    let sms = message.sms.as_ref().and_then(|options| options.ttl);
    let mms = message.mms.as_ref().and_then(|options| options.ttl);
    let viber = message.viber_service_msg.as_ref().and_then(|options| options.ttl);
    let rcs = message.rcs.as_ref().and_then(|options| options.ttl);
    sms.or(mms).or(viber).or(rcs).map(|ttl| ttl.seconds)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ttl_goes_to_the_provider_and_is_the_time_to_be_delivered_in() {
    let running = Running::start(&in_memory()).await;
    running.script("447700900000", "accept; never").await;
    let message = |channel: &str, rest: Value| {
        let mut body = with(send(), "/channel", json!(channel));
        body["from"] = json!("447700900001");
        body.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        body
    };
    let sms = |rest: Value| message("sms", rest);
    let viber = |rest: Value| with(message("viber_service", rest), "/from", json!("16273"));
    let rcs = |rest: Value| with(message("rcs", rest), "/from", json!("Vonage"));
    let before =
        |body: Value| with(body, "/failover", json!([with(send(), "/to", json!("447700900002"))]));
    let expiry = |workflow: &Workflow| {
        let rule = workflow.spec.as_ref().unwrap().steps[0].failover.clone()?;
        assert_eq!(rule.condition_status, "delivered");
        rule.expiry_time.map(|time| time.seconds)
    };
    let within =
        |workflow: &Workflow| workflow.spec.as_ref().unwrap().send_within.map(|time| time.seconds);
    // What is asked for, the time to live, the rule's time, and how long it may wait to be sent.
    let cases = [
        (sms(json!({ "ttl": 90_000 })), Some(90_000), None, None),
        (sms(json!({ "ttl": 60 })), Some(60), None, Some(60)),
        (sms(json!({ "ttl": 60, "sms": { "encoding_type": "text" } })), Some(60), None, Some(60)),
        (message("mms", json!({ "ttl": 300 })), Some(300), None, Some(300)),
        (viber(json!({ "viber_service": { "ttl": 90 } })), Some(90), None, Some(90)),
        (rcs(json!({ "ttl": 300 })), Some(300), None, Some(300)),
        (before(rcs(json!({ "ttl": 2_592_000 }))), Some(2_592_000), Some(2_592_000), None),
        (before(sms(json!({ "ttl": 600 }))), Some(600), Some(600), None),
        (before(message("mms", json!({ "ttl": 600 }))), Some(600), Some(600), None),
        (before(viber(json!({ "viber_service": { "ttl": 600 } }))), Some(600), Some(600), None),
        (before(sms(json!({ "ttl": 60, "expiry_time": 600 }))), Some(60), Some(600), None),
    ];
    for (body, lives, expires, waits) in cases {
        let answer = post(&running, "/v1/messages", &body).await;
        assert_eq!(answer.warnings(), Vec::<String>::new(), "{body}");
        let workflow = super::workflow(&running, &answer).await;
        let told = (ttl(&workflow, 0), expiry(&workflow), within(&workflow));
        assert_eq!(told, (lives, expires, waits), "{body}");
    }
    for (body, warning) in [
        (before(sms(json!({ "ttl": 601, "expiry_time": 600 }))), "ttl is longer than expiry_time"),
        (sms(json!({ "ttl": "60" })), "ttl is a string and was taken as a number"),
        (viber(json!({ "ttl": 60 })), "ttl has no effect here"),
    ] {
        let answer = post(&running, "/v1/messages", &body).await;
        assert_eq!(answer.status, 202, "{answer:?}");
        let [told] = &answer.warnings()[..] else { panic!("{answer:?}") };
        assert!(told.starts_with(warning), "{told}");
    }
    for (body, name, reason) in [
        (sms(json!({ "ttl": 0 })), "ttl", "1 to 604800"),
        (sms(json!({ "ttl": 604_801 })), "ttl", "1 to 604800"),
        (message("mms", json!({ "ttl": 299 })), "ttl", "300 to 259200"),
        (viber(json!({ "viber_service": { "ttl": 29 } })), "viber_service.ttl", "30 to 259200"),
        (rcs(json!({ "ttl": 299 })), "ttl", "300 to 2592000"),
        (rcs(json!({ "ttl": 2_592_001 })), "ttl", "300 to 2592000"),
        (sms(json!({ "ttl": -1 })), "ttl", "whole number of seconds"),
    ] {
        let answer = post(&running, "/v1/messages", &body).await;
        assert_eq!(answer.status, 422, "{answer:?}");
        let [(at, why)] = &answer.wrong()[..] else { panic!("{answer:?}") };
        assert!(at == name && why.contains(reason), "{at}: {why}");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_words_of_callbacks_are_those_that_are_asked_for() {
    let running = Running::start(&in_memory()).await;
    let pair = with(send(), "/failover", json!([send()]));
    let set = |pointer: &str, value: &str| with(pair.clone(), pointer, json!(value));
    for (body, facade, warnings) in [
        (pair.clone(), ApiDialect::MessagesV1, 0),
        (set("/webhook_version", "v1"), ApiDialect::MessagesV1, 0),
        (set("/failover/0/webhook_version", "v1"), ApiDialect::MessagesV1, 0),
        (set("/webhook_version", "v0.1"), ApiDialect::MessagesV01, 0),
        (set("/failover/0/webhook_version", "v0.1"), ApiDialect::MessagesV1, 1),
        (with(send(), "/webhook_version", json!("v0.1")), ApiDialect::MessagesV01, 0),
    ] {
        let answer = post(&running, "/v1/messages", &body).await;
        assert_eq!(answer.warnings().len(), warnings, "{answer:?}");
        let id = super::workflow(&running, &answer).await.workflow_id.parse().unwrap();
        let record = running.service.engine.reader().record(id).unwrap().unwrap();
        assert_eq!(record.requester.dialect, facade, "{body}");
    }
    let answer = post(&running, "/v1/messages", &set("/webhook_version", "v2")).await;
    let [(name, reason)] = &answer.wrong()[..] else { panic!("{answer:?}") };
    assert!(name == "webhook_version" && reason == "must be v1 or v0.1", "{name}: {reason}");
    running.stop().await;
}
