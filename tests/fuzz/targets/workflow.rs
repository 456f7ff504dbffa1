//! Workflow files, from their text to a plan and back.

use std::sync::{Arc, LazyLock};

use dispatch::{
    builtin,
    config::Config,
    engine::{RouteTable, TestClock},
    fuzzing,
    machine::Plan,
    pb::{
        from_json, from_yaml, to_json,
        v1::{CreateWorkflowRequest, WorkflowSpec},
    },
    service::ServiceClock,
};
use dispatch_contract::UnixMillis;

pub(super) const NOW: UnixMillis = UnixMillis(1_893_456_000_000);

/// A person, wherever it stands as a value; no error may name them.
pub(super) const PERSON: &str = "447700900123";

/// A workflow file or a whole request, YAML or JSON.
pub fn workflow(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let is_json = text.trim_start().starts_with('{');
    let spec = if is_json { from_json::<WorkflowSpec>(text) } else { from_yaml(text) };
    let request = if is_json { from_json::<CreateWorkflowRequest>(text) } else { from_yaml(text) };
    let is_key = person_is_a_key(text, is_json);
    for problem in [spec.as_ref().err(), request.as_ref().err()].into_iter().flatten() {
        assert!(is_key || !problem.contains(PERSON), "{problem}");
    }
    let of_spec = spec.ok().map(|spec| CreateWorkflowRequest {
        workflow: Some(spec),
        ..CreateWorkflowRequest::default()
    });
    for request in of_spec.into_iter().chain(request.ok()) {
        parse(&request, is_key);
    }
}

fn parse(request: &CreateWorkflowRequest, is_key: bool) {
    // What is read is written as JSON, unless a time in it has none.
    let written = to_json(request);
    if written != "null" {
        assert_eq!(from_json::<CreateWorkflowRequest>(&written).as_ref(), Ok(request), "{written}");
    }
    match fuzzing::plan(request, &ROUTES, NOW) {
        Ok(asked) => {
            let shown = fuzzing::spec(&asked);
            let again =
                CreateWorkflowRequest { workflow: Some(shown), ..CreateWorkflowRequest::default() };
            let asked_again = fuzzing::plan(&again, &ROUTES, NOW);
            assert_eq!(asked_again.as_ref(), Ok(&asked), "what is shown is what was asked");
            assert!(asked_again.is_ok_and(|again| again.digest() == asked.digest()));
        }
        Err(violations) => {
            assert!(!violations.is_empty(), "a refusal says why");
            for (field, description) in violations {
                assert!(!field.is_empty() && !description.is_empty());
                assert!(is_key || !description.contains(PERSON), "{field}: {description}");
            }
        }
    }
}

/// Whether the person stands where a name should: then the caller is told that there is no such
/// name. Also where it cannot be known, the text being no document.
fn person_is_a_key(text: &str, is_json: bool) -> bool {
    let value = if is_json {
        serde_json::from_str::<serde_json::Value>(text).ok()
    } else {
        serde_saphyr::from_str::<serde_json::Value>(text).ok()
    };
    fn has(value: &serde_json::Value) -> bool {
        match value {
            serde_json::Value::Object(entries) => {
                entries.iter().any(|(key, value)| key.contains(PERSON) || has(value))
            }
            serde_json::Value::Array(items) => items.iter().any(has),
            _ => false,
        }
    }
    value.is_none_or(|value| has(&value))
}

/// A good plan.
pub fn sample() -> Plan {
    static SAMPLE: LazyLock<Plan> = LazyLock::new(|| {
        let text = include_str!("../../../docs/workflows/messenger-sms.yaml");
        let spec = from_yaml::<WorkflowSpec>(text).expect("a ready workflow file");
        let request = CreateWorkflowRequest { workflow: Some(spec), ..Default::default() };
        fuzzing::plan(&request, &ROUTES, NOW).expect("a ready workflow file").plan
    });
    SAMPLE.clone()
}

/// The sandbox on every channel: the real channels' rules.
pub(super) static ROUTES: LazyLock<RouteTable> = LazyLock::new(|| {
    let clock = ServiceClock::Test(Arc::new(TestClock::new(NOW)));
    builtin::parts(&Config::default(), &clock).expect("the defaults are right").routes
});
