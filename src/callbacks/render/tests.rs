//! What receivers get, whole.

use std::sync::Arc;

use dispatch_contract::{
    Channel, Content, ContentKind, Endpoint, Failure, Status, UnixMillis, Usage,
};
use serde_json::{Value, json};
use uuid::Uuid;

use super::*;
use crate::{
    callbacks::notification::notifications,
    engine::ReceivedMessage,
    machine::{
        AcceptedBy, Fact, FailoverCondition, Moment, Reason, RouteProperties, StepPlan, WorkflowId,
    },
    shared::plans,
    store::{Cursor, Requester, Row},
};

const ID: &str = "0190a1b2-0000-7000-8000-000000000001";
const AT: UnixMillis = UnixMillis(1_577_887_200_000);

fn contents(of: &Record) -> Contents {
    let mut contents = plans::request(of.plan.clone(), "Your table is ready.").contents;
    for step in &mut contents.steps {
        step.recipient = Endpoint::Number("447700900001".to_owned());
    }
    contents
}

/// Viber to be read in 600 s, else an SMS.
fn record(dialect: ApiDialect) -> Record {
    let step = |channel, sender, failover| StepPlan {
        channel,
        sender,
        content: ContentKind::Text,
        failover,
    };
    let rule = Some(FailoverCondition { condition: Status::Read, expiry_ms: Some(600_000) });
    let plan = plans::plan(vec![
        step(Channel::VIBER, Endpoint::Id("16273".to_owned()), rule),
        step(Channel::SMS, Endpoint::Number("Dispatch".to_owned()), None),
    ]);
    Record {
        requester: Requester { application: Some(Uuid::nil()), dialect },
        ..plans::record(WorkflowId(ID.parse().unwrap()), Moment::both(AT), plan)
    }
}

fn planned(attempt: u16, step: u8) -> Fact {
    let properties = RouteProperties {
        idempotent_for_ms: None,
        correlates_receipts: true,
        reports_delivered: true,
        recalls: false,
        in_parts: false,
        watermarks: false,
    };
    Fact::AttemptPlanned {
        attempt,
        step,
        route: Arc::from("main"),
        properties,
        possible_duplicate: false,
    }
}

fn accepted(attempt: u16) -> Fact {
    Fact::AttemptAccepted { attempt, provider_ids: vec!["p".to_owned()], by: AcceptedBy::Response }
}

fn reached(attempt: u16, status: Status, price: Option<&str>) -> Fact {
    let usage = price.map(|price| Usage { currency: "EUR".to_owned(), price: price.to_owned() });
    Fact::StatusReached { attempt, status, provider_time: None, usage }
}

fn ended(state: EndState, reason: Reason) -> Fact {
    Fact::Ended(Outcome { state, reason, code: None, detail: String::new() })
}

/// The bodies that these facts mean, one row a fact.
fn told(record: &Record, version: PayloadVersion, facts: Vec<Fact>) -> Vec<Value> {
    let rows: Vec<_> = (1_u32..)
        .zip(facts)
        .map(|(number, fact)| Row {
            cursor: Cursor(number.into()),
            tenant: Arc::clone(&record.tenant),
            workflow: record.id,
            at: Moment::both(UnixMillis(AT.0 + u64::from(number) * 1000)),
            sequence: number,
            facts: vec![fact],
        })
        .collect();
    let notifications = notifications(record, &rows);
    let bodies = notifications
        .iter()
        .map(|notification| body(record, &contents(record), notification, version).unwrap());
    bodies.map(|body| serde_json::from_slice(&body).unwrap()).collect()
}

/// The Viber message is delivered and not read; the SMS is.
fn failed_over() -> Vec<Fact> {
    vec![
        Fact::Created,
        Fact::StepStarted { step: 0 },
        planned(1, 0),
        Fact::AttemptStarted { attempt: 1, call: 1, account: "vonage/main".into() },
        accepted(1),
        reached(1, Status::Delivered, Some("0.0333")),
        Fact::StepExpired {
            step: 0,
            condition: Status::Read,
            expiry_ms: 600_000,
            last: Status::Delivered,
            last_after_ms: None,
            late_ms: 0,
            while_down: false,
        },
        Fact::StepStarted { step: 1 },
        planned(2, 1),
        Fact::AttemptStarted { attempt: 2, call: 1, account: "vonage/main".into() },
        accepted(2),
        reached(2, Status::Delivered, Some("0.05")),
        Fact::StepMet { step: 1 },
        ended(EndState::Succeeded, Reason::ConditionMet),
    ]
}

fn uuids(record: &Record) -> [String; 2] {
    [0, 1].map(|step| message_uuid(record.id, step).to_string())
}

#[test]
fn the_old_shape_is_that_of_the_dispatch_api() {
    let record = record(ApiDialect::DispatchV01);
    let [viber, sms] = uuids(&record);
    let links =
        json!({ "workflow": { "dispatch_uuid": ID, "href": format!("/v0.1/dispatch/{ID}") } });
    let to_viber = json!({ "type": "viber_service_msg", "number": "447700900001" });
    let from_viber = json!({ "type": "viber_service_msg", "id": "16273" });
    let to_sms = json!({ "type": "sms", "number": "447700900001" });
    let from_sms = json!({ "type": "sms", "number": "Dispatch" });
    let wanted = [
        json!({
            "message_uuid": viber, "to": to_viber, "from": from_viber, "status": "submitted",
            "timestamp": "2020-01-01T14:00:05.000Z", "_links": links,
        }),
        json!({
            "message_uuid": viber, "to": to_viber, "from": from_viber, "status": "delivered",
            "timestamp": "2020-01-01T14:00:06.000Z", "_links": links,
            "usage": { "currency": "EUR", "price": "0.0333" },
        }),
        json!({
            "message_uuid": sms, "to": to_sms, "from": from_sms, "status": "submitted",
            "timestamp": "2020-01-01T14:00:11.000Z", "_links": links,
        }),
        json!({
            "message_uuid": sms, "to": to_sms, "from": from_sms, "status": "delivered",
            "timestamp": "2020-01-01T14:00:12.000Z", "_links": links,
            "usage": { "currency": "EUR", "price": "0.05" },
        }),
        json!({
            "dispatch_uuid": ID, "template": "failover", "status": "completed",
            "timestamp": "2020-01-01T14:00:14.000Z",
            "usage": { "currency": "EUR", "price": "0.0833" },
            "_links": { "messages": [
                {
                    "message_uuid": viber, "href": viber, "channel": "viber_service_msg",
                    "status": "delivered", "usage": { "currency": "EUR", "price": "0.0333" },
                },
                {
                    "message_uuid": sms, "href": sms, "channel": "sms",
                    "status": "delivered", "usage": { "currency": "EUR", "price": "0.05" },
                },
            ] },
        }),
    ];
    assert_eq!(told(&record, PayloadVersion::V01, failed_over()), wanted);
}

#[test]
fn the_other_shape_is_that_of_messages_v1() {
    let record = record(ApiDialect::MessagesV1);
    let [viber, _] = uuids(&record);
    let told = told(&record, PayloadVersion::V1, failed_over());
    let wanted = json!({
        "message_uuid": viber, "channel": "viber_service", "to": "447700900001", "from": "16273",
        "status": "delivered", "timestamp": "2020-01-01T14:00:06.000Z",
        "usage": { "currency": "EUR", "price": "0.0333" },
        "workflow": {
            "workflow_id": ID, "items_number": "1", "items_total": "2",
            "id": ID, "item_number": "1",
        },
    });
    assert_eq!(told[1], wanted);
    assert_eq!(told[2]["workflow"]["items_number"], "2");
    assert_eq!(told[4]["_links"]["messages"][0]["channel"], "viber_service");
}

#[test]
fn a_message_by_itself_is_told_as_messages_v0_1_told_it() {
    let mut record = record(ApiDialect::MessagesV01);
    let told_of_two = told(&record, PayloadVersion::V01, failed_over());
    assert_eq!(told_of_two[0]["_links"]["workflow"]["dispatch_uuid"], ID, "one of a failover");
    record.plan.steps.remove(0);
    let sent = failed_over().into_iter().take(5).collect();
    let [told, ..] = &told(&record, PayloadVersion::V01, sent)[..] else { panic!("nothing told") };
    let mut keys: Vec<_> = told.as_object().unwrap().keys().collect();
    keys.sort();
    assert_eq!(keys, ["from", "message_uuid", "status", "timestamp", "to"], "{told}");
    assert_eq!(told["to"], json!({ "type": "sms", "number": "447700900001" }));
}

#[test]
fn a_body_is_compact_and_the_same_each_time() {
    let record = record(ApiDialect::DispatchV01);
    let row = Row {
        cursor: Cursor(1),
        tenant: Arc::clone(&record.tenant),
        workflow: record.id,
        at: Moment::both(AT),
        sequence: 1,
        facts: failed_over(),
    };
    let notifications = notifications(&record, [&row]);
    for notification in &notifications {
        let contents = contents(&record);
        let body = body(&record, &contents, notification, PayloadVersion::V01).unwrap();
        assert_eq!(
            Some(&body),
            super::body(&record, &contents, notification, PayloadVersion::V01).as_ref()
        );
        let value: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body, serde_json::to_vec(&value).unwrap(), "JSON.stringify gives the same");
    }
}

#[test]
fn the_predecessor_called_it_workflow_uuid() {
    let record = record(ApiDialect::WorkflowsBeta);
    let told = told(&record, PayloadVersion::V01, failed_over());
    assert_eq!(told[0]["_links"]["workflow"]["workflow_uuid"], ID);
    assert_eq!(told[4]["workflow_uuid"], ID);
    assert_eq!(told[4].get("dispatch_uuid"), None);
}

/// Both messages are refused; an attempt by another route is nobody's business.
#[test]
fn a_refused_message_is_rejected_once_and_the_end_is_an_error_with_our_reason() {
    let failure = |code: &str| crate::machine::CallFailure {
        kind: dispatch_contract::ErrorKind::InvalidRecipient,
        fault: dispatch_contract::Fault::Recipient,
        code: Some(code.to_owned()),
        detail: "Not part of the provider network".to_owned(),
        cause: None,
    };
    let failed = |step, code: &str| Fact::StepFailed {
        step,
        reason: Reason::Rejected,
        code: Some(code.to_owned()),
        detail: "Not part of the provider network".to_owned(),
    };
    let facts = vec![
        Fact::Created,
        Fact::StepStarted { step: 0 },
        planned(1, 0),
        Fact::AttemptStarted { attempt: 1, call: 1, account: "vonage/main".into() },
        Fact::AttemptRejected { attempt: 1, failure: failure("1331") },
        planned(2, 0),
        Fact::AttemptStarted { attempt: 2, call: 1, account: "vonage/main".into() },
        Fact::AttemptRejected { attempt: 2, failure: failure("1300") },
        failed(0, "1300"),
        Fact::StepStarted { step: 1 },
        planned(3, 1),
        Fact::AttemptStarted { attempt: 3, call: 1, account: "vonage/main".into() },
        Fact::AttemptRejected { attempt: 3, failure: failure("30003") },
        failed(1, "30003"),
        ended(EndState::Failed, Reason::Rejected),
    ];
    let record = record(ApiDialect::DispatchV01);
    let [viber, sms] = uuids(&record);
    let v01 = told(&record, PayloadVersion::V01, facts.clone());
    let statuses: Vec<_> = v01.iter().map(|body| body["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["rejected", "rejected", "error"]);
    let detail = "Not part of the provider network";
    assert_eq!(v01[0]["error"], json!({ "code": 1300, "reason": detail }));
    assert_eq!(
        v01[1]["error"],
        json!({ "code": 1330, "reason": detail, "provider_code": "30003" })
    );
    assert_eq!(
        v01[2],
        json!({
            "dispatch_uuid": ID, "template": "failover", "status": "error", "reason": "REJECTED",
            "timestamp": "2020-01-01T14:00:15.000Z",
            "_links": { "messages": [
                { "message_uuid": viber, "href": viber, "channel": "viber_service_msg", "status": "rejected" },
                { "message_uuid": sms, "href": sms, "channel": "sms", "status": "rejected" },
            ] },
        })
    );
    let v1 = told(&record, PayloadVersion::V1, facts);
    assert_eq!(
        v1[0]["error"],
        json!({
            "type": "https://developer.vonage.com/api-errors/messages#1300", "title": "1300",
            "detail": detail, "instance": viber,
        })
    );
}

#[test]
fn every_end_but_success_is_an_error_with_its_reason() {
    let record = record(ApiDialect::DispatchV01);
    for (state, reason, wanted) in [
        (EndState::Failed, Reason::Expired, "EXPIRED"),
        (EndState::Unconfirmed, Reason::NoConfirmation, "NO_CONFIRMATION"),
        (EndState::Canceled, Reason::Canceled, "CANCELED"),
    ] {
        let told = told(&record, PayloadVersion::V01, vec![Fact::Created, ended(state, reason)]);
        assert_eq!((&told[0]["status"], &told[0]["reason"]), (&json!("error"), &json!(wanted)));
        assert_eq!(told[0]["_links"]["messages"], json!([]), "nothing was sent");
    }
}

#[test]
fn a_delivery_after_a_failure_and_a_reading_after_the_end_are_told() {
    let record = record(ApiDialect::DispatchV01);
    let mut facts = failed_over();
    facts.splice(
        6..6,
        [Fact::LateFailure {
            attempt: 1,
            failure: Failure::Undeliverable,
            code: None,
            provider_time: None,
            detail: None,
            usage: None,
        }],
    );
    let late = |attempt, status| Fact::LateStatus {
        attempt,
        status,
        provider_time: Some(UnixMillis(AT.0 - 1)),
        usage: None,
        unnecessary_failover: false,
    };
    facts.extend([late(1, Status::Read), late(1, Status::Replied)]);
    let told = told(&record, PayloadVersion::V01, facts);
    let statuses: Vec<_> = told.iter().map(|body| body["status"].as_str().unwrap()).collect();
    let wanted = ["submitted", "delivered", "submitted", "delivered", "completed", "read"];
    assert_eq!(statuses, wanted, "a failure of what was delivered is none; an answer is a reading");
    assert_eq!(told[5]["timestamp"], "2020-01-01T13:59:59.999Z", "the provider's own time");
}

#[test]
fn an_answer_behind_a_receipt_is_not_told_again() {
    let record = record(ApiDialect::DispatchV01);
    let by_receipt =
        Fact::AttemptAccepted { attempt: 1, provider_ids: Vec::new(), by: AcceptedBy::Receipt };
    let failed = Fact::StatusFailed {
        attempt: 1,
        failure: Failure::Undeliverable,
        code: None,
        detail: None,
        provider_time: None,
        usage: None,
    };
    for then in [reached(1, Status::Delivered, None), failed] {
        let facts = |last: Vec<Fact>| {
            let started = failed_over().into_iter().take(4);
            started.chain([by_receipt.clone(), then.clone()]).chain(last).collect()
        };
        let without = told(&record, PayloadVersion::V01, facts(vec![]));
        assert_eq!(without.len(), 2, "{without:?}");
        assert_eq!(told(&record, PayloadVersion::V01, facts(vec![accepted(1)])), without);
        let provider_ids = Some(vec!["p".to_owned()]);
        let late = Fact::LateSendResult { attempt: 1, provider_ids, unknown: false };
        assert_eq!(told(&record, PayloadVersion::V01, facts(vec![late])), without);
    }
}

#[test]
fn a_possible_double_is_one_message() {
    let record = record(ApiDialect::DispatchV01);
    let facts = vec![
        Fact::Created,
        Fact::StepStarted { step: 0 },
        planned(1, 0),
        Fact::AttemptStarted { attempt: 1, call: 1, account: "vonage/main".into() },
        Fact::AttemptUnknown { attempt: 1, failure: None, wait_until: AT },
        planned(2, 0),
        Fact::AttemptStarted { attempt: 2, call: 1, account: "vonage/main".into() },
        accepted(2),
        accepted(1),
        Fact::StatusFailed {
            attempt: 2,
            failure: Failure::Undeliverable,
            code: None,
            detail: None,
            provider_time: None,
            usage: None,
        },
        reached(1, Status::Read, None),
    ];
    let told = told(&record, PayloadVersion::V01, facts);
    let statuses: Vec<_> = told.iter().map(|body| body["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["submitted", "read"], "one of two failed, and the other was alive");
}

/// Canceled while one message was certainly not taken yet, and another may have been.
#[test]
fn the_report_names_what_may_have_gone_out_and_nothing_else() {
    let record = record(ApiDialect::DispatchV01);
    let throttled = crate::machine::CallFailure {
        kind: dispatch_contract::ErrorKind::Throttled,
        fault: dispatch_contract::Fault::Provider,
        code: None,
        detail: "Throttled".to_owned(),
        cause: None,
    };
    let begun = vec![
        Fact::Created,
        Fact::StepStarted { step: 0 },
        planned(1, 0),
        Fact::AttemptStarted { attempt: 1, call: 1, account: "vonage/main".into() },
    ];
    let deferred = Fact::AttemptRetryScheduled { attempt: 1, failure: throttled, retry_at: AT };
    let unknown = Fact::AttemptUnknown { attempt: 1, failure: None, wait_until: AT };
    for (fact, count) in [(deferred, 0), (unknown, 1)] {
        let mut facts = begun.clone();
        facts.extend([fact, ended(EndState::Canceled, Reason::Canceled)]);
        let report = told(&record, PayloadVersion::V01, facts).pop().unwrap();
        let messages = report["_links"]["messages"].as_array().unwrap();
        assert_eq!(messages.len(), count, "{report}");
        assert!(messages.iter().all(|message| message["status"] == "submitted"), "{report}");
    }
}

#[test]
fn the_dialect_decides_the_version_before_the_application_does() {
    assert_eq!(version_for(ApiDialect::MessagesV1, PayloadVersion::V01), PayloadVersion::V1);
    assert_eq!(version_for(ApiDialect::DispatchV01, PayloadVersion::V1), PayloadVersion::V1);
    assert_eq!(version_for(ApiDialect::DispatchV01, PayloadVersion::V01), PayloadVersion::V01);
    assert_eq!(version_for(ApiDialect::MessagesV01, PayloadVersion::V1), PayloadVersion::V01);
    assert!(!wants_report(ApiDialect::MessagesV01));
}

/// What a person wrote on WhatsApp, quoting what nobody here knows.
fn written(content: Vec<Content>, version: PayloadVersion) -> Value {
    let message = ReceivedMessage::of_a_person(content, Some("somebody-else-s".to_owned()));
    serde_json::from_slice(&inbound(&message, version).unwrap()).unwrap()
}

#[test]
fn what_a_person_writes_is_told_in_the_words_of_either_version() {
    let place = Content::Location {
        latitude: "51.5".to_owned(),
        longitude: "-0.1".to_owned(),
        name: Some("Here".to_owned()),
        address: None,
    };
    let text = || Content::Text("Yes".to_owned());
    let tapped = || Content::Custom(r#"{"button":{"payload":"yes"}}"#.to_owned());
    let v1 = written(vec![text(), place.clone()], PayloadVersion::V1);
    assert_eq!(v1["message_type"], "location");
    assert_eq!(v1["location"], json!({ "lat": 51.5, "long": -0.1, "name": "Here" }));
    assert_eq!(
        (&v1["channel"], &v1["context_status"]),
        (&json!("whatsapp"), &json!("unavailable"))
    );
    assert_eq!(v1["parts"][0], json!({ "type": "text", "text": "Yes" }));
    let v01 = written(vec![place], PayloadVersion::V01);
    let told = &v01["message"]["content"];
    assert_eq!(told["location"]["latitude"], "51.5");
    // What was tapped is told as people read it, and as its provider has it.
    let v1 = written(vec![text(), tapped()], PayloadVersion::V1);
    assert_eq!((&v1["message_type"], &v1["text"]), (&json!("text"), &json!("Yes")));
    assert_eq!(
        v1["parts"][1],
        json!({ "type": "unsupported", "custom": { "button": { "payload": "yes" } } })
    );
    for (content, version) in [(vec![], PayloadVersion::V1), (vec![tapped()], PayloadVersion::V1)] {
        assert_eq!(written(content, version)["message_type"], "unsupported");
    }
}

#[test]
fn a_personal_reference_is_named_to_whoever_gave_it() {
    let record = record(ApiDialect::DispatchV01);
    let sealed = Contents { client_ref: Some("for Ann".to_owned()), ..contents(&record) };
    let outcome = Outcome {
        state: EndState::Succeeded,
        reason: Reason::ConditionMet,
        code: None,
        detail: String::new(),
    };
    let status = NotificationKind::Status { step: 0, status: MessageStatus::Read, usage: None };
    let report = NotificationKind::Report { outcome, messages: Vec::new(), usage: None };
    for kind in [status, report] {
        let notification = Notification { sequence: 1, at: AT, kind };
        for version in [PayloadVersion::V01, PayloadVersion::V1] {
            let told = |contents| -> Value {
                let body = body(&record, contents, &notification, version).unwrap();
                serde_json::from_slice(&body).unwrap()
            };
            assert_eq!(told(&sealed)["client_ref"], "for Ann");
            assert_eq!(told(&contents(&record)).get("client_ref"), None);
        }
    }
}
