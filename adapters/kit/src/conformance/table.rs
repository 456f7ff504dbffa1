//! What was proven, as a table.

use std::fmt::Write;

use dispatch_contract::{ChannelAdapter, ContentKind, Correlation, Status};

use super::{Findings, Promise};

/// What the suite found of some adapters, in Markdown: a row a promise, a column an adapter, and below the table
/// what failed and what could not be tried.
pub fn table(found: &[(&dyn ChannelAdapter, Findings)]) -> String {
    let names: Vec<_> =
        found.iter().map(|(adapter, _)| format!(" `{}` |", adapter.name())).collect();
    let mut page = format!("| promise |{}\n|---|{}\n", names.concat(), "---|".repeat(found.len()));
    for promise in rows() {
        let cells = found
            .iter()
            .map(|(adapter, findings)| format!(" {} |", cell(*adapter, findings, promise)));
        // Writing to a text cannot fail.
        let _ = writeln!(page, "| {promise} |{}", cells.collect::<String>());
    }
    for (adapter, findings) in found {
        for failure in findings.failures() {
            let _ = write!(page, "\n- `{}`: {failure}", adapter.name());
        }
        for what in findings.not_tried_ones() {
            let _ = write!(page, "\n- `{}`: not tried: {what}", adapter.name());
        }
    }
    page
}

fn rows() -> Vec<Promise> {
    let statuses = [Status::Submitted, Status::Delivered, Status::Read, Status::Replied];
    let mut rows = vec![Promise::Declaration];
    rows.extend(statuses.map(Promise::Status));
    rows.extend([Promise::Failures, Promise::Correlation, Promise::Watermarks]);
    rows.extend([Promise::OptOuts, Promise::InboundMessages, Promise::Parts]);
    rows.extend(ContentKind::ALL.map(Promise::Content));
    rows.extend([
        Promise::Limits,
        Promise::Addresses,
        Promise::Options,
        Promise::Idempotence,
        Promise::Recall,
        Promise::Errors,
        Promise::Timeouts,
        Promise::Redirects,
        Promise::Discretion,
        Promise::Forgery,
        Promise::ReplayWindow,
        Promise::Handshakes,
        Promise::Reading,
    ]);
    rows
}

fn cell(adapter: &dyn ChannelAdapter, findings: &Findings, promise: Promise) -> String {
    let proof = findings.proofs.get(&promise);
    if proof.is_some_and(|proof| !proof.failures.is_empty()) {
        return "**failed**".to_owned();
    }
    let can = adapter.capabilities();
    let is_declared = match promise {
        Promise::Status(status) => can.tells(status),
        Promise::Content(kind) => can.sends(kind),
        Promise::Idempotence => can.idempotent_for.is_some(),
        Promise::Recall => can.recall,
        Promise::Watermarks => can.watermarks,
        Promise::Parts => can.parts,
        _ => true,
    };
    let is_proven = proof.is_some_and(|proof| proof.checks > 0);
    let in_part = proof.is_some_and(|proof| !proof.not_tried.is_empty());
    match (is_declared, is_proven, promise) {
        (false, true, Promise::Content(_)) => "refused".to_owned(),
        (false, _, _) => "not declared".to_owned(),
        // Accepting tells it.
        (true, false, Promise::Status(Status::Submitted)) => "proven".to_owned(),
        (true, false, _) if in_part => "not tried".to_owned(),
        (true, false, _) => "nothing to prove".to_owned(),
        (true, true, _) if in_part => "proven in part".to_owned(),
        (true, true, Promise::Correlation) => match can.correlation {
            Correlation::AttemptId => "proven, by our attempt id".to_owned(),
            Correlation::ProviderId => "proven, by the provider's id".to_owned(),
        },
        (true, true, Promise::Idempotence) => {
            let time = can.idempotent_for.unwrap_or_default();
            format!("proven, for {} s", time.as_secs())
        }
        (true, true, _) => "proven".to_owned(),
    }
}
