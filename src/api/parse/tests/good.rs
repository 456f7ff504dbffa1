//! Good specs, and what becomes of them.

use dispatch_contract::{Channel, Content, Endpoint, Status, UnixMillis};

use serde_json::{Value, json};

use super::{NOW, PAGE, ahead, content_of, good, id, number, only, parsed, seconds, step, text};
use crate::{
    contents::WorkflowRequest,
    machine::{OnLateSuccess, OnUnknown, Plan, Priority},
    pb::v1::{self, WorkflowSpec, message},
};

/// One step on each channel, with all its options.
pub(super) fn rich() -> WorkflowSpec {
    let rule = |status: &str| {
        Some(v1::Failover {
            expiry_time: Some(prost_types::Duration { seconds: 1, nanos: 500_900_000 }),
            condition_status: status.to_owned(),
        })
    };
    let url = || "https://example.org/a.png".to_owned();
    let image = |caption: &str| {
        message::Content::Image(v1::Image { url: url(), caption: caption.to_owned() })
    };
    let person = || number("447700900000");
    let mut steps = vec![
        step("messenger", id(PAGE), id("1"), image("")),
        step("viber_service_msg", id("16273"), person(), text("hello")),
        step(
            "whatsapp",
            number("447700900001"),
            person(),
            message::Content::Template(v1::Template {
                name: "space:name".to_owned(),
                parameters: vec!["a".to_owned(), String::new()],
            }),
        ),
        step("mms", number("12015550123"), person(), image("a ticket")),
        step("sms", number("Dispatch"), person(), text("hello")),
    ];
    for (step, status) in steps.iter_mut().zip(["read", "read", "delivered", "delivered"]) {
        step.failover = rule(status);
    }
    let options = |step: usize, steps: &mut Vec<v1::Step>, change: fn(&mut v1::Message)| {
        change(steps[step].message.as_mut().unwrap());
    };
    options(0, &mut steps, |message| {
        message.messenger =
            Some(v1::MessengerOptions { category: 3, tag: "ACCOUNT_UPDATE".to_owned() });
    });
    options(1, &mut steps, |message| {
        message.viber_service_msg = Some(v1::ViberServiceMsgOptions {
            category: 2,
            ttl: Some(seconds(60)),
            action: Some(v1::ViberAction {
                url: "https://example.org".to_owned(),
                text: "More".to_owned(),
            }),
            video: None,
            file_name: String::new(),
            r#type: "template".to_owned(),
        });
    });
    options(2, &mut steps, |message| {
        message.whatsapp = Some(v1::WhatsAppOptions {
            policy: 1,
            locale: "en-GB".to_owned(),
            code_template: String::new(),
            reply_to: "u-1".to_owned(),
            file_name: String::new(),
            parameter_names: Vec::new(),
        });
    });
    options(4, &mut steps, |message| {
        message.sms = Some(v1::SmsOptions {
            encoding: 3,
            ttl: Some(seconds(600)),
            content_id: "1107".to_owned(),
            entity_id: "1101".to_owned(),
        })
    });
    WorkflowSpec {
        template: 1,
        steps,
        send_at: Some(ahead(3600)),
        valid_until: Some(ahead(7200)),
        send_within: Some(seconds(30)),
        on_late_success: 2,
        on_unknown: 2,
        priority: 1,
        labels: [("k", "v"), ("customer", "Ann")].map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
        client_ref: "order-17".to_owned(),
        personal_labels: vec!["customer".to_owned()],
        personal_client_ref: true,
    }
}

#[test]
fn what_is_not_given_has_its_documented_meaning() {
    let plan = parsed(&good()).plan;
    assert_eq!(plan.on_late_success, OnLateSuccess::Stop);
    assert_eq!(plan.on_unknown, OnUnknown::WaitReceipt);
    assert_eq!(plan.priority, Priority::Normal);
    assert_eq!((plan.send_at, plan.valid_until, plan.send_within_ms), (None, None, None));
    assert_eq!(plan.client_ref, None);
    assert_eq!(plan.steps[0].channel, Channel::MESSENGER);
    assert_eq!(plan.steps[0].sender, Endpoint::Id(PAGE.to_owned()));
    let rule = plan.steps[0].failover.unwrap();
    assert_eq!((rule.condition, rule.expiry_ms), (Status::Read, Some(600_000)));
    assert_eq!(plan.steps[1].failover, None);
}

#[test]
fn every_channel_takes_its_own_options() {
    let WorkflowRequest { plan, contents } = parsed(&rich());
    let options = |step: usize| Value::Object(contents.steps[step].options.to_document());
    let action = json!({ "url": "https://example.org", "text": "More" });
    assert_eq!(
        options(1),
        json!({ "category": "promotion", "ttl_s": 60, "action": action, "type": "template" })
    );
    let answer = json!({ "policy": "deterministic", "locale": "en-GB", "reply_to": "u-1" });
    assert_eq!(options(2), answer);
    assert_eq!(options(0), json!({ "category": "message_tag", "tag": "ACCOUNT_UPDATE" }));
    assert_eq!(
        options(4),
        json!({ "encoding": "unicode", "ttl_s": 600, "content_id": "1107", "entity_id": "1101" })
    );
    assert_eq!(plan.send_at, Some(UnixMillis(NOW.0 + 3_600_000)));
    // Whole milliseconds, rounded down.
    assert_eq!(plan.steps[0].failover.unwrap().expiry_ms, Some(1500));
}

#[test]
fn a_channel_may_stand_in_both_addresses() {
    let mut spec = good();
    spec.steps[1].sender.as_mut().unwrap().channel = "sms".to_owned();
    assert_eq!(parsed(&spec), parsed(&good()));
}

#[test]
fn a_past_send_at_is_taken_as_given_so_that_a_repeated_request_is_the_same_plan() {
    let mut spec = good();
    for past in [ahead(0), ahead(-5), prost_types::Timestamp { seconds: -1, nanos: 0 }] {
        spec.send_at = Some(past);
        let plan = parsed(&spec).plan;
        assert!(plan.send_at.is_some());
        assert_eq!(Plan { send_at: None, ..plan }, parsed(&good()).plan);
    }
}

#[test]
fn the_bounds_themselves_are_within_bounds() {
    let mut spec = good();
    spec.send_at = Some(ahead(90 * 86_400));
    spec.send_within = Some(seconds(1));
    spec.client_ref = "ä".repeat(100);
    spec.labels = (0..32).map(|n| (format!("{n:063}"), "v".repeat(255))).collect();
    spec.steps[1].message.as_mut().unwrap().content = Some(text(&"ä".repeat(1000)));
    for expiry in [1, 30 * 86_400] {
        spec.steps[0].failover.as_mut().unwrap().expiry_time = Some(seconds(expiry));
        parsed(&spec);
    }
    spec.steps[0].failover.as_mut().unwrap().expiry_time = Some(seconds(4 * 86_400));
    spec.steps = [vec![spec.steps[0].clone(); 19], vec![spec.steps[1].clone()]].concat();
    assert_eq!(parsed(&spec).plan.steps.len(), 20);
}

#[test]
fn a_rule_without_an_expiry_fails_over_on_failure_only() {
    let mut spec = good();
    spec.steps[0].failover.as_mut().unwrap().expiry_time = None;
    assert_eq!(parsed(&spec).plan.steps[0].failover.unwrap().expiry_ms, None);
}

#[test]
fn a_last_step_may_have_a_rule() {
    let mut spec = good();
    let rule = v1::Failover { expiry_time: None, condition_status: "delivered".to_owned() };
    spec.steps[1].failover = Some(rule);
    assert_eq!(parsed(&spec).plan.steps[1].failover.unwrap().condition, Status::Delivered);
}

#[test]
fn degrees_become_the_shortest_decimal_text() {
    let at = |latitude, longitude| {
        let place = v1::Location { latitude, longitude, ..v1::Location::default() };
        let content = message::Content::Location(place);
        let step = step("whatsapp", number("447700900001"), number("447700900000"), content);
        match content_of(&only(step)) {
            Content::Location { latitude, longitude, .. } => (latitude, longitude),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(at(51.5, -0.0), ("51.5".to_owned(), "0".to_owned()));
    assert_eq!(at(-90.0, 0.000_000_1), ("-90".to_owned(), "0.0000001".to_owned()));
}

#[test]
fn an_object_in_the_providers_form_has_one_text() {
    let text = r#"{"b":[1,2.5,null,true],"a":{"z":"x","y":-3}}"#;
    let step: v1::Step = crate::pb::from_json(&format!(
        r#"{{"sender": {{"number": "447700900001"}},
             "recipient": {{"channel": "whatsapp", "number": "447700900000"}},
             "message": {{"custom": {text}}}}}"#
    ))
    .unwrap();
    let wanted = r#"{"a":{"y":-3,"z":"x"},"b":[1,2.5,null,true]}"#;
    assert_eq!(content_of(&only(step)), Content::Custom(wanted.to_owned()));
}
