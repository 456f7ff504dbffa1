//! The ready workflow files under `docs/workflows/` are good.

use super::{Fakes, NOW, parse_spec};
use crate::pb::{from_yaml, v1::WorkflowSpec};

#[test]
fn every_ready_workflow_file_parses() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/workflows");
    let mut seen = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let spec: WorkflowSpec =
            from_yaml(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let asked = parse_spec(&spec, &Fakes::new(), NOW);
        let asked = asked.unwrap_or_else(|found| panic!("{}: {found:?}", path.display()));
        let channels: Vec<_> =
            asked.plan.steps.iter().map(|step| step.channel.to_string()).collect();
        seen.push(channels.join(" "));
    }
    seen.sort();
    let wanted = [
        "messenger sms",
        "messenger viber_service_msg sms",
        "mms sms",
        "viber_service_msg sms",
        "whatsapp sms",
    ];
    assert_eq!(seen, wanted);
}

#[test]
fn the_old_documentations_three_steps_wait_600_s_to_be_read_twice() {
    let text = include_str!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/docs/workflows/messenger-viber-sms.yaml"
    ));
    let spec: WorkflowSpec = from_yaml(text).unwrap();
    let plan = parse_spec(&spec, &Fakes::new(), NOW).unwrap().plan;
    let rules: Vec<_> = plan.steps.iter().map(|step| step.failover).collect();
    let read = |rule: Option<crate::machine::FailoverCondition>| {
        rule.map(|rule| (rule.condition.to_string(), rule.expiry_ms))
    };
    assert_eq!(
        rules.into_iter().map(read).collect::<Vec<_>>(),
        [Some(("read".to_owned(), Some(600_000))), Some(("read".to_owned(), Some(600_000))), None]
    );
}
