//! What a request of an old API asks for, in the words of our own.

use super::{notes::Notes, place::Place};
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
    pub(super) facade: Option<ApiDialect>,
}

/// A rule on the status that `place` names; the old samples ask an SMS to be read.
pub(super) fn rule(
    place: &Place<'_>,
    channel: &str,
    expiry_s: Option<u64>,
    usual: &str,
    notes: &mut Notes,
) -> Failover {
    let mut condition = place.text("condition_status", notes).unwrap_or(usual);
    if condition == "read" && ["sms", "mms"].contains(&channel) {
        let name = place.name("condition_status");
        notes.bent(&name, "is read, which nobody tells of an SMS or MMS; taken as delivered");
        condition = "delivered";
    }
    Failover {
        expiry_time: expiry_s.map(super::content::seconds),
        condition_status: condition.to_owned(),
    }
}

/// The callback address under `webhook_url`.
pub(super) fn webhook_url(place: &Place<'_>, notes: &mut Notes) -> Option<String> {
    place.text("webhook_url", notes).map(str::to_owned)
}

/// Whether there are as many steps as a workflow may have at most. The parser judges that too; here
/// a flood of them is not even read.
pub(super) fn is_bounded(name: &str, steps: usize, notes: &mut Notes) -> bool {
    if steps > MAX_STEPS {
        notes.wrong(name, format!("must hold 1 to {MAX_STEPS} steps, and holds {steps}"));
    }
    steps <= MAX_STEPS
}
