//! Checks that the declaration makes sense by itself.

use std::collections::BTreeSet;

use dispatch_contract::Status;

use super::{ConformanceSubject, Findings, Promise};

pub(super) fn check(subject: &dyn ConformanceSubject) -> Findings {
    let mut findings = Findings::default();
    let adapter = subject.adapter();
    let declared = adapter.capabilities();
    let mut say =
        |holds, problem: &str| findings.check(Promise::Declaration, holds, || problem.to_owned());

    say(!adapter.name().is_empty(), "the adapter has no name");
    say(adapter.provider() == subject.provider().name(), "the adapter names another provider");
    say(!declared.content.is_empty(), "no kind of content is declared");
    say(!declared.to.is_empty(), "no form of a recipient's address is declared");
    say(!declared.from.is_empty(), "no form of a sender's address is declared");
    say(
        declared.condition_statuses.is_sorted_by(|lower, higher| lower < higher),
        "condition_statuses must rise, each status once",
    );
    say(!declared.tells(Status::Pending), "no provider can tell pending");
    say(
        declared.content.iter().collect::<BTreeSet<_>>().len() == declared.content.len(),
        "a kind of content is declared twice",
    );
    say(
        declared.captions.iter().all(|kind| declared.sends(*kind)),
        "captions are declared for a kind of content that is not",
    );
    say(
        declared.captions.is_empty() || declared.limits.caption_chars > 0,
        "captions are declared, and none may have a character",
    );
    findings
}
