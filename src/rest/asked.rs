//! What a request of an old API asks for, in the words of our own.

use super::{diagnostics::Diagnostics, json_cursor::JsonCursor};
use crate::{
    machine::MAX_STEPS,
    pb::v1::{Failover, WorkflowSpec},
    store::ApiDialect,
};

/// In how many seconds a condition may have to be reached; the old API's bounds.
pub(super) const EXPIRY_S: (u64, u64) = (15, 86_400);

/// What a request asks for.
#[derive(Debug)]
pub(super) struct Asked {
    /// The workflow.
    pub(super) spec: WorkflowSpec,
    /// Where its callbacks go, if not where the application says. Whether they may is not looked at.
    pub(super) webhook_url: Option<String>,
    /// The words it is told in, if not those that it was asked in.
    pub(super) dialect: Option<ApiDialect>,
}

/// A rule on the status that `cursor` names; the old samples ask an SMS to be read.
pub(super) fn rule(
    cursor: &JsonCursor<'_>,
    channel: &str,
    expiry_s: Option<u64>,
    usual: &str,
    diagnostics: &mut Diagnostics,
) -> Failover {
    let mut condition = cursor.text("condition_status", diagnostics).unwrap_or(usual);
    if condition == "read" && ["sms", "mms"].contains(&channel) {
        let name = cursor.name("condition_status");
        diagnostics
            .coerced(&name, "is read, which nobody tells of an SMS or MMS; taken as delivered");
        condition = "delivered";
    }
    Failover {
        expiry_time: expiry_s.map(super::content::seconds),
        condition_status: condition.to_owned(),
    }
}

/// The callback address under `webhook_url`.
pub(super) fn webhook_url(
    cursor: &JsonCursor<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<String> {
    cursor.text("webhook_url", diagnostics).map(str::to_owned)
}

/// Whether there are as many steps as a workflow may have at most. The parser judges that too; here
/// a flood of them is not even read.
pub(super) fn is_bounded(name: &str, steps: usize, diagnostics: &mut Diagnostics) -> bool {
    if steps > MAX_STEPS {
        diagnostics.wrong(name, format!("must hold 1 to {MAX_STEPS} steps, and holds {steps}"));
    }
    steps <= MAX_STEPS
}
