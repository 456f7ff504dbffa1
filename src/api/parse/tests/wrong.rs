//! What is wrong, where the real adapters cannot show it. Everything else that can be wrong with a workflow
//! stands in one table, which is asked over a socket: `tests/it/bad_requests/spoiled.rs`.

use super::{Fakes, NOW, good, id, number, only, parse_spec, seconds, step, told};
use crate::pb::v1::{self, WorkflowSpec, message::Content};

fn rule(spec: &mut WorkflowSpec) -> &mut v1::Failover {
    spec.steps[0].failover.as_mut().unwrap()
}

fn to(spec: &mut WorkflowSpec, step: usize) -> &mut v1::Address {
    spec.steps[step].recipient.as_mut().unwrap()
}

#[test]
fn a_sender_without_a_route_is_told_which_senders_have_one() {
    let mut spec = good();
    spec.steps[0].sender.as_mut().unwrap().endpoint = Some(id("1"));
    let found = told(&parse_spec(&spec, &Fakes::new(), NOW).unwrap_err());
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].0, "steps[0].sender");
    assert!(found[0].1.contains("those on messenger are 107083064136738"), "{found:?}");
}

#[test]
fn a_condition_must_be_told_by_an_adapter_that_also_sends_the_content() {
    // Two adapters serve this sender: one tells delivered, the other sends pictures.
    let mut spec = only(step(
        "sms",
        number("447700900009"),
        number("447700900000"),
        Content::Image(v1::Image {
            url: "https://example.org/a.png".to_owned(),
            ..Default::default()
        }),
    ));
    let rule = |status: &str| {
        Some(v1::Failover { expiry_time: Some(seconds(60)), condition_status: status.to_owned() })
    };
    spec.steps[0].failover = rule("delivered");
    let found = parse_spec(&spec, &Fakes::new(), NOW).unwrap_err();
    let found = told(&found);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].0, "steps[0].failover.condition_status");
    assert_eq!(found[0].1, "must be one of submitted, read, which sms tells, for image");
    spec.steps[0].failover = rule("read");
    assert!(parse_spec(&spec, &Fakes::new(), NOW).is_ok());
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let mut spec = good();
    spec.priority = 9;
    rule(&mut spec).condition_status = "seen".into();
    rule(&mut spec).expiry_time = Some(seconds(-1));
    to(&mut spec, 1).endpoint = Some(number("+44"));
    spec.client_ref = "x".repeat(200);
    let found = parse_spec(&spec, &Fakes::new(), NOW).unwrap_err();
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
    let found = parse_spec(&spec, &Fakes::new(), NOW).unwrap_err();
    assert!(told(&found).iter().all(|(_, text)| !text.contains("7700900000")), "{found:?}");
}
