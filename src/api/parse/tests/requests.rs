//! What stands around a spec: ids, filters, the size of the whole.

use super::{
    super::{create_request, states, workflow_id},
    Fakes, NOW, good, told,
};
use crate::pb::v1::CreateWorkflowRequest;

#[test]
fn a_bad_request_around_a_spec_is_refused() {
    let request = |change: fn(&mut CreateWorkflowRequest)| {
        let mut request =
            CreateWorkflowRequest { workflow: Some(good()), ..CreateWorkflowRequest::default() };
        change(&mut request);
        create_request(&request, &Fakes::new(), NOW).map_err(|found| told(&found))
    };
    let refused = |change, field: &str, wanted: &str| {
        let found = request(change).unwrap_err();
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].0, field);
        assert!(found[0].1.contains(wanted), "{found:?}");
    };
    assert!(request(|_| {}).is_ok());
    assert!(request(|r| r.request_id = "order-17/2".repeat(12)).is_ok());
    refused(|r| r.workflow = None, "workflow", "must be given");
    refused(|r| r.request_id = "a".repeat(129), "request_id", "at most 128 printable");
    refused(|r| r.request_id = "a b".into(), "request_id", "no spaces");
    refused(|r| r.request_id = "zwölf".into(), "request_id", "printable ASCII");
    refused(
        |r| {
            let message = r.workflow.as_mut().unwrap().steps[1].message.as_mut().unwrap();
            message.content = Some(super::text(&"a".repeat(300 * 1024)));
        },
        "workflow",
        "at most 256 KiB in all",
    );
}

#[test]
fn a_state_there_is_not_is_no_filter() {
    assert_eq!(states(&[2, 6]).unwrap(), ["RUNNING", "CANCELED"]);
    let found = states(&[1, 0, 77]).unwrap_err();
    let fields: Vec<_> = told(&found).into_iter().map(|(field, _)| field).collect();
    assert_eq!(fields, ["states[1]", "states[2]"]);
}

#[test]
fn an_id_that_is_none_is_refused_with_its_field() {
    let found = told(&workflow_id("workflow_id", "47").unwrap_err());
    assert_eq!(found[0].0, "workflow_id");
    assert!(found[0].1.contains("a UUID"), "{found:?}");
    assert!(workflow_id("workflow_id", "0190a1b2-c3d4-7e5f-8a6b-0123456789ab").is_ok());
}
