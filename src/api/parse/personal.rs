//! Which of the caller's own words are personal: those that the request or the tenant's configuration says are, and
//! those that contain a recipient. They are sealed with the contents; the others stand in clear.

use std::collections::BTreeSet;

use super::{FieldAt, Found, Rules};
use crate::{
    contents::{WorkflowRequest, names},
    pb::v1::WorkflowSpec,
};

/// Notes what is wrong with what a request says of its words.
pub(super) fn check(spec: &WorkflowSpec, found: &mut Found) {
    let (field, mut known) = (FieldAt::of("personal_labels"), BTreeSet::new());
    for (index, key) in spec.personal_labels.iter().enumerate() {
        let at = field.index(index);
        if !spec.labels.contains_key(key) {
            // Nothing more is told: what is none of the labels may be anything, and as many as fit in a request.
            found.note(at, "must be the key of one of `labels`");
            return;
        }
        if !known.insert(key) {
            found.note(at, "must not be named twice");
            return;
        }
    }
}

/// Moves what is personal from the plan to the contents.
pub(super) fn seal_words(
    asked: &mut WorkflowRequest,
    spec: &WorkflowSpec,
    rules: &dyn Rules,
    found: &mut Found,
) {
    let WorkflowRequest { plan, contents } = asked;
    let recipients: Vec<_> = contents.steps.iter().map(|step| step.recipient.value()).collect();
    let names_one = |text: &str| recipients.iter().any(|recipient| names(text, recipient));
    if plan.labels.keys().any(|key| names_one(key)) {
        found.note(
            "labels",
            "no key may contain a recipient: keys are shown to everybody who may read; let the value hold it",
        );
    }
    let is_personal = |key: &String, value: &String| {
        spec.personal_labels.contains(key) || rules.is_personal_label(key) || names_one(value)
    };
    let labels = std::mem::take(&mut plan.labels).into_iter();
    (contents.labels, plan.labels) = labels.partition(|(key, value)| is_personal(key, value));
    let is_sealed = |text: &mut String| {
        spec.personal_client_ref || rules.is_client_ref_personal() || names_one(text)
    };
    contents.client_ref = plan.client_ref.take_if(is_sealed);
}

/// Whether a request id contains a recipient of what it asks for: it is kept in clear, and for longer than contents.
pub(super) fn check_request_id(id: &str, asked: &WorkflowRequest, found: &mut Found) {
    if asked.contents.steps.iter().any(|step| names(id, step.recipient.value())) {
        found.note(
            "request_id",
            "must not contain a recipient: it is kept in clear, for longer than who was reached; name the request by \
             an id of your own, as a UUID",
        );
    }
}
