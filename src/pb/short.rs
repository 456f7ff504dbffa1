//! What callers of the generated types would otherwise write again and again.

use super::v1::{self, event::Attributes};

macro_rules! short_names {
    ($($name:ident: $prefix:literal),*) => {$(
        impl v1::$name {
            /// The value's name without its enum's: what people are shown.
            pub fn short_name(self) -> &'static str {
                let name = self.as_str_name();
                name.strip_prefix($prefix).unwrap_or(name)
            }
        }
    )*};
}

short_names!(
    WorkflowState: "WORKFLOW_STATE_",
    StepState: "STEP_STATE_",
    EventKind: "EVENT_KIND_",
    OutcomeReason: "OUTCOME_REASON_",
    MessageFailure: "MESSAGE_FAILURE_",
    CallErrorKind: "CALL_ERROR_KIND_",
    Fault: "FAULT_",
    DeadlineKind: "DEADLINE_KIND_",
    Scope: "SCOPE_",
    ContentsState: "CONTENTS_STATE_"
);

impl v1::Event {
    /// The status that a message reached, or had reached when its step expired; empty for other kinds.
    pub fn status(&self) -> &str {
        match &self.attributes {
            Some(Attributes::StatusReport(report)) => &report.status,
            Some(Attributes::StepEnd(end)) => &end.last_status,
            _ => "",
        }
    }

    /// The provider's ids of the message, if this event brought them; else none.
    pub fn provider_message_ids(&self) -> &[String] {
        match &self.attributes {
            Some(Attributes::Acceptance(acceptance)) => &acceptance.provider_message_ids,
            _ => &[],
        }
    }

    /// Whether it plans an attempt whose message may be the person's second.
    pub fn possible_duplicate(&self) -> bool {
        matches!(&self.attributes, Some(Attributes::AttemptPlan(plan)) if plan.possible_duplicate)
    }

    /// Why a call did not come back with an acceptance, if it tells that.
    pub fn call_failure(&self) -> Option<&v1::CallFailure> {
        match &self.attributes {
            Some(Attributes::CallFailure(failure)) => Some(failure),
            _ => None,
        }
    }

    /// How far a message came, if it tells that.
    pub fn status_report(&self) -> Option<&v1::StatusReport> {
        match &self.attributes {
            Some(Attributes::StatusReport(report)) => Some(report),
            _ => None,
        }
    }

    /// How a message failed, if it tells that.
    pub fn failure_report(&self) -> Option<&v1::FailureReport> {
        match &self.attributes {
            Some(Attributes::FailureReport(report)) => Some(report),
            _ => None,
        }
    }
}
