//! What the sandbox declares in each channel's name is proven as of every other adapter, in its own words.

use std::time::Duration;

use dispatch_contract::ContentKind;
use dispatch_kit::conformance::{ConformanceSubject, Findings, Part, Promise, assert_parts, run};
use dispatch_sandbox::SandboxSubject;

fn in_place_of_each(idempotent_for: Option<Duration>) -> Vec<SandboxSubject> {
    let real = dispatch_vonage::subjects().into_iter();
    real.map(|real| SandboxSubject::in_place_of(real, idempotent_for).unwrap()).collect()
}

#[tokio::test]
async fn what_it_declares_is_proven_on_every_channel() {
    let subjects = in_place_of_each(None);
    assert_eq!(subjects.len(), 6);
    for subject in subjects {
        let found: Findings = run(&subject).await;
        assert!(found.failures().is_empty(), "{subject:?}: {found}");
        let can = subject.adapter().capabilities();
        for promise in can.condition_statuses.iter().skip(1).map(|it| Promise::Status(*it)) {
            assert!(found.proofs[&promise].checks > 0, "{subject:?}: {promise}");
        }
        assert_eq!(can.recall, found.proofs[&Promise::Recall].checks > 1, "{subject:?}");
    }
}

#[tokio::test]
async fn what_it_has_no_words_for_is_named() {
    let subject = in_place_of_each(None).remove(0);
    let found = run(&subject).await;
    let named = found.proofs.iter().filter(|(_, proof)| !proof.not_tried.is_empty());
    let named: Vec<_> = named.map(|(promise, _)| *promise).collect();
    let mut wanted: Vec<_> =
        subject.adapter().capabilities().content.iter().map(|it| Promise::Content(*it)).collect();
    assert!(wanted.contains(&Promise::Content(ContentKind::Text)));
    wanted.extend([Promise::Errors, Promise::Timeouts, Promise::Discretion]);
    wanted.sort();
    assert_eq!(named, wanted);
}

#[tokio::test]
async fn where_it_honours_references_a_repeat_is_no_second_message() {
    for subject in in_place_of_each(Some(Duration::from_secs(60))) {
        assert_parts(&subject, &[Part::Declared, Part::Idempotence]).await;
    }
}
