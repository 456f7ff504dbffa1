//! Bad workflows: everything but what a message says.

use super::{Case, Fakes, NOW, ahead, each_is_refused, good, id, number, seconds, told};
use crate::pb::v1::{self, WorkflowSpec};

fn rule(spec: &mut WorkflowSpec) -> &mut v1::Failover {
    spec.steps[0].failover.as_mut().unwrap()
}

fn to(spec: &mut WorkflowSpec, step: usize) -> &mut v1::Address {
    spec.steps[step].recipient.as_mut().unwrap()
}

fn from(spec: &mut WorkflowSpec, step: usize) -> &mut v1::Address {
    spec.steps[step].sender.as_mut().unwrap()
}

fn garbage(seconds: i64, nanos: i32) -> Option<prost_types::Duration> {
    Some(prost_types::Duration { seconds, nanos })
}

const STEPS: &[Case] = &[
    ("no steps", |s| s.steps.clear(), "steps", "1 to 20 steps, and holds 0"),
    (
        "21 steps",
        |s| s.steps = vec![s.steps[0].clone(); 21],
        "steps",
        "1 to 20 steps, and holds 21",
    ),
    (
        "a rule missing before the last step",
        |s| s.steps[0].failover = None,
        "steps[0].failover",
        "every step but the last",
    ),
    (
        "no condition in a rule",
        |s| rule(s).condition_status.clear(),
        "steps[0].failover.condition_status",
        "one of delivered, read, which messenger tells",
    ),
    (
        "a condition there is not",
        |s| rule(s).condition_status = "seen".into(),
        "steps[0].failover.condition_status",
        "one of delivered, read, which messenger tells",
    ),
    (
        "a condition in capitals",
        |s| rule(s).condition_status = "READ".into(),
        "steps[0].failover.condition_status",
        "one of delivered, read",
    ),
    (
        "a condition the channel does not declare",
        |s| rule(s).condition_status = "replied".into(),
        "steps[0].failover.condition_status",
        "one of delivered, read",
    ),
    (
        "pending as a condition",
        |s| rule(s).condition_status = "pending".into(),
        "steps[0].failover.condition_status",
        "one of delivered, read",
    ),
    (
        "read on SMS",
        |s| {
            s.steps[1].failover =
                Some(v1::Failover { expiry_time: None, condition_status: "read".into() });
        },
        "steps[1].failover.condition_status",
        "must be delivered, the one status that sms tells",
    ),
    (
        "an expiry of nothing",
        |s| rule(s).expiry_time = garbage(0, 0),
        "steps[0].failover.expiry_time",
        "1 s to 30 days",
    ),
    (
        "an expiry just under a second",
        |s| rule(s).expiry_time = garbage(0, 999_999_999),
        "steps[0].failover.expiry_time",
        "1 s to 30 days",
    ),
    (
        "an expiry over 30 days",
        |s| rule(s).expiry_time = garbage(30 * 86_400, 1),
        "steps[0].failover.expiry_time",
        "1 s to 30 days",
    ),
    (
        "a negative expiry",
        |s| rule(s).expiry_time = garbage(-600, 0),
        "steps[0].failover.expiry_time",
        "1 s to 30 days",
    ),
    (
        "an expiry with too many nanoseconds",
        |s| rule(s).expiry_time = garbage(5, 1_000_000_000),
        "steps[0].failover.expiry_time",
        "0 to 999,999,999 nanoseconds",
    ),
    (
        "an expiry with nanoseconds of the other sign",
        |s| rule(s).expiry_time = garbage(5, -1),
        "steps[0].failover.expiry_time",
        "0 to 999,999,999 nanoseconds",
    ),
    (
        "the longest expiry there can be",
        |s| rule(s).expiry_time = garbage(i64::MAX, i32::MAX),
        "steps[0].failover.expiry_time",
        "1 s to 30 days",
    ),
    (
        "expiries over 90 days together",
        |s| {
            rule(s).expiry_time = garbage(30 * 86_400, 0);
            let step = s.steps[0].clone();
            s.steps = [vec![step; 4], s.steps[1..].to_vec()].concat();
        },
        "steps",
        "at most 90 days together",
    ),
];

const ADDRESSES: &[Case] = &[
    (
        "no channel",
        |s| to(s, 1).channel.clear(),
        "steps[1].recipient.channel",
        "sms, mms, messenger, whatsapp, viber_service_msg",
    ),
    (
        "an unknown channel",
        |s| to(s, 1).channel = "telegram".into(),
        "steps[1].recipient.channel",
        "which has sms, mms, messenger, whatsapp, viber_service_msg",
    ),
    (
        "a mistyped channel",
        |s| to(s, 0).channel = "mesenger".into(),
        "steps[0].recipient.channel",
        "did you mean messenger?",
    ),
    (
        "a channel in capitals",
        |s| to(s, 1).channel = "SMS".into(),
        "steps[1].recipient.channel",
        "must be a channel of this service",
    ),
    (
        "two channels in one step",
        |s| from(s, 1).channel = "mms".into(),
        "steps[1].sender.channel",
        "the same as recipient.channel, or left empty",
    ),
    (
        "no recipient",
        |s| s.steps[0].recipient = None,
        "steps[0].recipient",
        "with an id or a number",
    ),
    (
        "no sender",
        |s| s.steps[0].sender = None,
        "steps[0].sender",
        "who sends, with an id or a number",
    ),
    (
        "a recipient without id or number",
        |s| to(s, 0).endpoint = None,
        "steps[0].recipient",
        "with an id or a number",
    ),
    (
        "a sender without id or number",
        |s| from(s, 0).endpoint = None,
        "steps[0].sender",
        "with an id or a number",
    ),
    (
        "a number with +",
        |s| to(s, 1).endpoint = Some(number("+447700900000")),
        "steps[1].recipient",
        "7 to 15 digits without + or leading 0",
    ),
    (
        "a number with 00",
        |s| to(s, 1).endpoint = Some(number("00447700900000")),
        "steps[1].recipient",
        "without + or leading 0",
    ),
    (
        "a number with spaces",
        |s| to(s, 1).endpoint = Some(number("44 7700 900000")),
        "steps[1].recipient",
        "7 to 15 digits",
    ),
    (
        "a number too short",
        |s| to(s, 1).endpoint = Some(number("447700")),
        "steps[1].recipient",
        "7 to 15",
    ),
    (
        "a number too long",
        |s| to(s, 1).endpoint = Some(number("4477009000001234")),
        "steps[1].recipient",
        "7 to 15",
    ),
    (
        "an empty number",
        |s| to(s, 1).endpoint = Some(number("")),
        "steps[1].recipient",
        "7 to 15 digits",
    ),
    (
        "an id where a number belongs",
        |s| to(s, 1).endpoint = Some(id("4477")),
        "steps[1].recipient",
        "E.164",
    ),
    (
        "a number where an id belongs",
        |s| to(s, 0).endpoint = Some(number("447700900000")),
        "steps[0].recipient",
        "an id of 1 to 50 characters",
    ),
    (
        "an empty id",
        |s| to(s, 0).endpoint = Some(id("")),
        "steps[0].recipient",
        "1 to 50 characters",
    ),
    (
        "an id too long",
        |s| to(s, 0).endpoint = Some(id(&"1".repeat(51))),
        "steps[0].recipient",
        "1 to 50 characters",
    ),
    (
        "a sender text too long",
        |s| from(s, 1).endpoint = Some(number("Dispatch Inc")),
        "steps[1].sender",
        "1 to 11 letters, digits and spaces",
    ),
    (
        "a sender without a route",
        |s| from(s, 0).endpoint = Some(id("1")),
        "steps[0].sender",
        "those on messenger are 107083064136738",
    ),
];

const WHOLE: &[Case] = &[
    (
        "an unknown template",
        |s| s.template = 7,
        "template",
        "WORKFLOW_TEMPLATE_FAILOVER; 7 is none",
    ),
    ("an unknown on_late_success", |s| s.on_late_success = 3, "on_late_success", "_STOP, ON_LATE"),
    ("an unknown on_unknown", |s| s.on_unknown = -1, "on_unknown", "ON_UNKNOWN_WAIT_RECEIPT"),
    ("an unknown priority", |s| s.priority = 99, "priority", "PRIORITY_HIGH, PRIORITY_NORMAL"),
    (
        "send_at more than 90 days ahead",
        |s| s.send_at = Some(ahead(90 * 86_400 + 1)),
        "send_at",
        "at most 90 days ahead",
    ),
    (
        "send_at with negative nanoseconds",
        |s| s.send_at = Some(prost_types::Timestamp { seconds: 5, nanos: -1 }),
        "send_at",
        "0 to 999,999,999 nanoseconds",
    ),
    (
        "send_at past the year 9999",
        |s| s.send_at = Some(prost_types::Timestamp { seconds: i64::MAX, nanos: 0 }),
        "send_at",
        "of the years 1 to 9999",
    ),
    (
        "valid_until before send_at",
        |s| {
            s.send_at = Some(ahead(60));
            s.valid_until = Some(ahead(60));
        },
        "valid_until",
        "must be after send_at",
    ),
    ("send_within too short", |s| s.send_within = garbage(0, 5), "send_within", "1 s to 30 days"),
    (
        "send_within too long",
        |s| s.send_within = Some(seconds(31 * 86_400)),
        "send_within",
        "1 s to 30 days",
    ),
    (
        "33 labels",
        |s| s.labels = (0..33).map(|n| (format!("k{n}"), String::new())).collect(),
        "labels",
        "at most 32 labels, and holds 33",
    ),
    (
        "a label without a key",
        |s| s.labels = [(String::new(), "v".into())].into(),
        "labels",
        "1 to 63 bytes, and one has 0",
    ),
    (
        "a label key of 64 bytes",
        |s| s.labels = [("ä".repeat(32), "v".into())].into(),
        "labels",
        "1 to 63 bytes, and one has 64",
    ),
    (
        "a label value of 256 bytes",
        |s| s.labels = [("k".into(), "v".repeat(256))].into(),
        "labels",
        "at most 255 bytes, and one has 256",
    ),
    ("a client_ref of 101", |s| s.client_ref = "ä".repeat(101), "client_ref", "100 characters"),
];

#[test]
fn a_bad_step_is_refused_with_its_field_and_what_would_be_right() {
    each_is_refused(STEPS);
}

#[test]
fn a_bad_address_is_refused_with_its_field_and_what_would_be_right() {
    each_is_refused(ADDRESSES);
}

#[test]
fn a_bad_workflow_is_refused_with_its_field_and_what_would_be_right() {
    each_is_refused(WHOLE);
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let mut spec = good();
    spec.priority = 9;
    rule(&mut spec).condition_status = "seen".into();
    rule(&mut spec).expiry_time = garbage(-1, 0);
    to(&mut spec, 1).endpoint = Some(number("+44"));
    spec.client_ref = "x".repeat(200);
    let found = super::parse_spec(&spec, &Fakes::new(), NOW).unwrap_err();
    let fields: Vec<_> = told(&found).into_iter().map(|(field, _)| field).collect();
    let wanted = [
        "steps[0].failover.condition_status",
        "steps[0].failover.expiry_time",
        "steps[1].recipient",
        "priority",
        "client_ref",
    ];
    assert_eq!(fields, wanted);
}

#[test]
fn no_text_repeats_what_may_be_a_persons() {
    let mut spec = good();
    to(&mut spec, 1).endpoint = Some(number("+447700900000"));
    spec.labels = [("k".into(), "+447700900000".repeat(30))].into();
    let found = super::parse_spec(&spec, &Fakes::new(), NOW).unwrap_err();
    assert!(told(&found).iter().all(|(_, text)| !text.contains("7700900000")), "{found:?}");
}
