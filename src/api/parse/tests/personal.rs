//! Which of the caller's own words go to the contents.

use std::{collections::BTreeMap, sync::Arc};

use dispatch_contract::{Channel, ChannelAdapter, Endpoint};

use super::{
    super::{Rules, create_request, parse_spec},
    Fakes, NOW, good, parsed, told,
};
use crate::{
    contents::WorkflowRequest,
    pb::v1::{CreateWorkflowRequest, WorkflowSpec},
};

/// Who is reached by SMS in [`good`].
const NUMBER: &str = "447700900000";

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn asking(pairs: &[(&str, &str)], client_ref: &str) -> WorkflowSpec {
    WorkflowSpec { labels: labels(pairs), client_ref: client_ref.to_owned(), ..good() }
}

/// The keys of the labels in clear, those of the sealed ones, and where the reference is.
fn parted(asked: &WorkflowRequest) -> (Vec<&str>, Vec<&str>, [Option<&str>; 2]) {
    let WorkflowRequest { plan, contents } = asked;
    (
        plan.labels.keys().map(String::as_str).collect(),
        contents.labels.keys().map(String::as_str).collect(),
        [plan.client_ref.as_deref(), contents.client_ref.as_deref()],
    )
}

#[test]
fn words_are_personal_where_the_request_says_so() {
    let mut spec = asking(&[("kind", "reminder"), ("customer", "Ann")], "order-17");
    assert_eq!(
        parted(&parsed(&spec)),
        (vec!["customer", "kind"], vec![], [Some("order-17"), None])
    );
    spec.personal_labels = vec!["customer".to_owned()];
    spec.personal_client_ref = true;
    let asked = parsed(&spec);
    assert_eq!(parted(&asked), (vec!["kind"], vec!["customer"], [None, Some("order-17")]));
    assert_eq!(asked.contents.labels["customer"], "Ann");
    // There may be no reference that it could be.
    spec.client_ref.clear();
    assert_eq!(parted(&parsed(&spec)).2, [None, None]);
}

#[test]
fn what_contains_a_recipient_is_personal_without_being_said_to_be() {
    for text in [NUMBER, "for +44 7700 900000", "1234567890123456/7", "x00447700900000"] {
        let asked = parsed(&asking(&[("kind", "reminder"), ("who", text)], text));
        assert_eq!(parted(&asked), (vec!["kind"], vec!["who"], [None, Some(text)]), "{text}");
    }
    for text in ["44770090000", "order-1234567890", ""] {
        let asked = parsed(&asking(&[("who", text)], text));
        assert_eq!(parted(&asked).1, Vec::<&str>::new(), "{text}");
        assert_eq!(asked.contents.client_ref, None, "{text}");
    }
}

/// The words that a configuration calls personal.
struct Configured(Fakes);

impl Rules for Configured {
    fn channels(&self) -> Vec<Channel> {
        self.0.channels()
    }

    fn serving(&self, channel: &Channel, sender: &Endpoint) -> Vec<Arc<dyn ChannelAdapter>> {
        self.0.serving(channel, sender)
    }

    fn senders(&self, channel: &Channel) -> Vec<String> {
        self.0.senders(channel)
    }

    fn is_personal_label(&self, key: &str) -> bool {
        key == "customer"
    }

    fn is_client_ref_personal(&self) -> bool {
        true
    }
}

#[test]
fn words_are_personal_where_the_configuration_says_so_and_a_repeat_is_the_same_request() {
    let spec = asking(&[("kind", "reminder"), ("customer", "Ann")], "order-17");
    let asked = parse_spec(&spec, &Configured(Fakes::new()), NOW).unwrap();
    assert_eq!(parted(&asked), (vec!["kind"], vec!["customer"], [None, Some("order-17")]));
    assert!(asked.digest() == parsed(&spec).digest(), "whatever is configured by then");
}

#[test]
fn a_key_that_contains_a_recipient_is_refused() {
    let spec = asking(&[("of 44-7700-900000", "x")], "");
    let found = told(&parse_spec(&spec, &Fakes::new(), NOW).unwrap_err());
    assert_eq!((found.len(), &*found[0].0), (1, "labels"));
    assert!(found[0].1.contains("no key may contain a recipient"), "{found:?}");
    assert!(!found[0].1.contains("7700"), "{found:?}");
}

#[test]
fn a_request_id_that_contains_a_recipient_is_refused_with_what_would_be_right() {
    let asked = |request_id: &str| {
        let request = CreateWorkflowRequest {
            workflow: Some(good()),
            request_id: request_id.to_owned(),
            ..CreateWorkflowRequest::default()
        };
        create_request(&request, &Fakes::new(), NOW).map_err(|found| told(&found))
    };
    for wrong in [NUMBER, "sms:+447700900000:17", "44-7700-900000", "1234567890123456"] {
        let found = asked(wrong).unwrap_err();
        assert_eq!((found.len(), &*found[0].0), (1, "request_id"), "{wrong}");
        assert!(found[0].1.contains("an id of your own, as a UUID"), "{found:?}");
        assert!(!found[0].1.contains("7700"), "{found:?}");
    }
    for right in ["", "order-17", "44770090000", "0190a1b2-c3d4-7e5f-8a6b-0123456789ab"] {
        assert!(asked(right).is_ok(), "{right}");
    }
}
