use crate::pb::{
    from_json, from_yaml, to_json,
    v1::{CreateWorkflowRequest, Event, WorkflowSpec},
};

const GOOD: &str = r#"
    priority: PRIORITY_HIGH
    send_within: 1.5s
    send_at: 2030-01-01T09:00:00Z
    labels: { shop: north }
    steps:
      - sender: { channel: sms, number: "Dispatch" }
        recipient: { channel: sms, number: "447700900000" }
        message: { text: hello }
        failover: { expiry_time: 600s, condition_status: delivered }
"#;

fn refused(yaml: &str) -> String {
    from_yaml::<WorkflowSpec>(yaml).map(|_| String::new()).unwrap_err()
}

#[test]
fn yaml_and_json_of_one_shape_are_the_same_message() {
    let from_file: WorkflowSpec = from_yaml(GOOD).unwrap();
    let json = to_json(&from_file);
    assert_eq!(from_json::<WorkflowSpec>(&json).unwrap(), from_file);
    assert!(json.contains(r#""send_within":"1.500s""#), "{json}");
    assert!(json.contains(r#""expiry_time":"600s""#), "{json}");
    assert!(json.contains(r#""send_at":"2030-01-01T09:00:00Z""#), "{json}");
    assert!(json.contains(r#""priority":"PRIORITY_HIGH""#), "{json}");
    assert!(!json.contains('\n'));
}

#[test]
fn camel_case_is_read_too() {
    let spec: WorkflowSpec = from_json(r#"{"sendWithin": "2s", "clientRef": "a"}"#).unwrap();
    assert_eq!(spec.send_within.unwrap().seconds, 2);
}

#[test]
fn an_unknown_field_is_refused_and_the_nearest_named() {
    let cases = [
        ("stepz: []", "stepz: there is no such field, did you mean steps?"),
        (
            "steps: [{ fail_over: { expiry_time: 600s } }]",
            "steps[0].fail_over: there is no such field, did you mean failover?",
        ),
        (
            "steps: [{}, { failover: { expiry: 600s } }]",
            "steps[1].failover.expiry: there is no such field, did you mean expiry_time?",
        ),
        (
            "steps: [{ message: { xyz: hello } }]",
            "steps[0].message.xyz: there is no such field. There are text, image, audio",
        ),
    ];
    for (yaml, wanted) in cases {
        let error = refused(yaml);
        assert!(error.starts_with(wanted), "{error}");
    }
}

#[test]
fn a_value_of_the_wrong_kind_is_refused_with_its_place_and_what_would_be_right() {
    let cases = [
        ("send_within: 10m", "send_within: must be a time span in seconds", "\"600s\""),
        ("send_within: 600", "send_within: must be a time span", "as a text with s"),
        ("send_at: tomorrow", "send_at: must be a time as RFC 3339", "2030-01-01T09:00:00Z"),
        ("priority: high", "priority: must be one of", "did you mean PRIORITY_HIGH?"),
        ("steps: 5", "steps: must be a list", ""),
        ("steps: [5]", "steps[0]: must be an object", "failover"),
        (
            "steps: [{ recipient: { number: 447700900000 } }]",
            "steps[0].recipient.number: must be a text",
            "quotes",
        ),
        ("labels: { a: 5 }", "labels: must be an object of texts", "quotes"),
        (
            "steps: [{ message: { location: { latitude: north } } }]",
            "steps[0].message.location.latitude: must be a number",
            "",
        ),
        (
            "steps: [{ recipient: { id: a, number: b } }]",
            "steps[0].recipient: may have only one of id and number",
            "",
        ),
        ("- a", "the document must be an object with template, steps", ""),
        ("a: [", "not YAML", ""),
    ];
    for (yaml, place, wanted) in cases {
        let error = refused(yaml);
        assert!(error.starts_with(place) && error.contains(wanted), "{yaml}: {error}");
    }
}

#[test]
fn an_error_does_not_repeat_a_number() {
    let error = refused("steps: [{ recipient: { number: 447700900000 } }]");
    assert!(!error.contains("4477"), "{error}");
}

#[test]
fn a_request_holds_its_spec() {
    let request: CreateWorkflowRequest =
        from_json(r#"{"workflow": {"steps": []}, "request_id": "a", "validate_only": true}"#)
            .unwrap();
    assert!(request.validate_only && request.workflow.is_some());
}

#[test]
fn what_is_not_given_is_left_out() {
    assert_eq!(to_json(&Event { sequence: 7, ..Event::default() }), r#"{"sequence":7}"#);
}

#[test]
fn numbers_and_texts_of_people_are_not_shown_by_debug() {
    let spec: WorkflowSpec = from_yaml(GOOD).unwrap();
    let shown = format!("{spec:?}");
    assert!(!shown.contains("4477") && !shown.contains("hello"), "{shown}");
}
