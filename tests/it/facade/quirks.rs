//! What real clients send although no document has it: taken with a warning where it has one clear
//! meaning, refused where it has none. The table in the documents is what the service answers.

use std::fmt::Write;

use serde_json::{Value, json};

use super::{messenger_sms, post, with};
use crate::support::{Running, in_memory};

/// What a request has changed, and whether it is taken.
struct Quirk {
    sent: &'static str,
    body: Value,
    is_taken: bool,
}

fn taken(sent: &'static str, body: Value) -> Quirk {
    Quirk { sent, body, is_taken: true }
}

fn refused(sent: &'static str, body: Value) -> Quirk {
    Quirk { sent, body, is_taken: false }
}

/// The first step on another channel.
fn first(kind: &str, from: Value, to: Value, content: Value) -> Value {
    let step = json!({
        "from": from, "to": to, "message": { "content": content },
        "failover": { "expiry_time": 600, "condition_status": "delivered" }
    });
    let mut body = with(messenger_sms(), "/workflow/0", step);
    for key in ["from", "to"] {
        if body["workflow"][0][key]["type"].is_null() {
            body["workflow"][0][key]["type"] = json!(kind);
        }
    }
    body
}

fn quirks() -> Vec<Quirk> {
    let set = |pointer: &str, value: Value| with(messenger_sms(), pointer, value);
    let text = || json!({ "type": "text", "text": "Your table is ready." });
    let number = |number: &str| json!({ "number": number });
    let viber = |to: Value| first("viber_service_msg", json!({ "id": "16273" }), to, text());
    let sms = |rule: &str| {
        let body = first("sms", number("447700900001"), number("447700900000"), text());
        with(body, "/workflow/0/failover/condition_status", json!(rule))
    };
    let mms = |kind: &str| {
        let content = json!({ "type": kind, "image": { "url": "https://example.org/a.png" } });
        first("mms", number("447700900001"), number("447700900000"), content)
    };
    let tag = json!({ "category": "response", "tag": "CONFIRMED_EVENT_UPDATE" });
    vec![
        taken(
            "a number as a JSON number: `\"number\": 447700900000`",
            set("/workflow/1/to/number", json!(447_700_900_000_u64)),
        ),
        taken(
            "an id as a JSON number: `\"id\": 1234567890`",
            set("/workflow/0/to/id", json!(1_234_567_890)),
        ),
        taken("`\"expiry_time\": \"600\"`", set("/workflow/0/failover/expiry_time", json!("600"))),
        taken("`\"type\": \"img\"` with `image`", mms("img")),
        taken(
            "`\"type\": \"viber_service_message\"`",
            viber(json!({ "type": "viber_service_message", "number": "447700900000" })),
        ),
        taken(
            "`\"type\": \"viber_service\"`, the Messages API's name",
            viber(json!({ "type": "viber_service", "number": "447700900000" })),
        ),
        taken("`to.id` with a phone number on Viber", viber(json!({ "id": "447700900000" }))),
        taken(
            "`null` after the last step, from a callback function within the array",
            set("/workflow/-", Value::Null),
        ),
        taken("`\"condition_status\": \"read\"` on an SMS or MMS", sms("read")),
        taken("no `template`", set("/template", Value::Null)),
        taken(
            "a `tag` with another category than `message_tag`",
            set("/workflow/0/message/messenger", tag),
        ),
        taken(
            "content of two types",
            set("/workflow/0/message/content/image", json!({ "url": "https://example.org/a.png" })),
        ),
        taken("a key that no document has", set("/workflow/0/priority", json!(1))),
        refused("`null` between two steps", {
            let mut body = messenger_sms();
            body["workflow"].as_array_mut().unwrap().insert(1, Value::Null);
            body
        }),
        refused(
            "`failover` on the last step",
            set(
                "/workflow/1/failover",
                json!({ "expiry_time": 600, "condition_status": "delivered" }),
            ),
        ),
        refused("no `failover` on an earlier step", set("/workflow/0/failover", Value::Null)),
        refused("a number with `+`", set("/workflow/1/to/number", json!("+447700900000"))),
        refused("both `id` and `number`", set("/workflow/0/to/number", json!("447700900000"))),
        refused("`\"expiry_time\": 10`", set("/workflow/0/failover/expiry_time", json!(10))),
        refused(
            "`\"expiry_time\": \"600s\"`, as gRPC has it",
            set("/workflow/0/failover/expiry_time", json!("600s")),
        ),
        refused(
            "`\"condition_status\": \"replied\"`",
            set("/workflow/0/failover/condition_status", json!("replied")),
        ),
        refused(
            "`\"policy\": \"fallback\"`, retired by WhatsApp in 2020",
            set("/workflow/0/message/whatsapp", json!({ "policy": "fallback" })),
        ),
        refused(
            "`\"channel\"` of the Messages API instead of `type`",
            set("/workflow/0/to", json!({ "channel": "messenger", "id": "1234567890" })),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_table_of_quirks_in_the_documents_is_what_the_service_answers() {
    let running = Running::start(&in_memory()).await;
    let mut table = String::from("| What is sent | Answer | What it says |\n|---|---|---|\n");
    for Quirk { sent, body, is_taken } in quirks() {
        let answer = post(&running, "/v0.1/dispatch", &body).await;
        let (status, said) = if is_taken {
            assert_eq!(answer.status, 202, "{sent}: {answer:?}");
            ("202, `Warning`", answer.warnings())
        } else {
            assert_eq!(answer.status, 400, "{sent}: {answer:?}");
            let told = answer.wrong().into_iter();
            ("400", told.map(|(name, reason)| format!("{name}: {reason}")).collect())
        };
        assert_eq!(said.len(), 1, "{sent}: {said:?}");
        assert!(!said[0].contains("447700900000"), "{said:?}");
        writeln!(table, "| {sent} | {status} | {} |", said[0].replace('|', "\\|")).unwrap();
    }
    let page = include_str!("../../../docs/moving-from-nexmo-dispatch.md");
    assert!(page.contains(&table), "docs/moving-from-nexmo-dispatch.md should hold:\n{table}");
    running.stop().await;
}

/// The workflow of a quirk is that of the well-written request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_taken_means_what_it_would_if_it_were_well_written() {
    let running = Running::start(&in_memory()).await;
    let set = |pointer: &str, value: Value| with(messenger_sms(), pointer, value);
    let alike = [
        set("/workflow/1/to/number", json!(447_700_900_000_u64)),
        set("/workflow/0/failover/expiry_time", json!("600")),
        set("/workflow/-", Value::Null),
        set("/template", Value::Null),
    ];
    let right = post(&running, "/v0.1/dispatch", &messenger_sms()).await;
    let right = super::workflow(&running, &right).await.spec;
    for body in alike {
        let answer = post(&running, "/v0.1/dispatch", &body).await;
        assert_eq!(super::workflow(&running, &answer).await.spec, right, "{body}");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_warnings_are_counted_and_not_all_told() {
    let running = Running::start(&in_memory()).await;
    let mut body = messenger_sms();
    let mut first = body["workflow"][0].clone();
    first["from"]["id"] = json!(107_083_064_136_738_u64);
    first["to"]["id"] = json!(1_234_567_890);
    first["failover"]["expiry_time"] = json!("600");
    let last = body["workflow"][1].clone();
    let mut steps = vec![first; 19];
    steps.push(last);
    body["workflow"] = json!(steps);
    let answer = post(&running, "/v0.1/dispatch", &body).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    let warnings = answer.warnings();
    assert_eq!(warnings.len(), 21);
    assert_eq!(warnings[20], "and 37 more such things");
    running.stop().await;
}
