//! Enums of the API and their names.

use crate::{
    machine::{EndState, OnLateSuccess, OnUnknown, Priority, ProgressState, Template},
    pb::v1,
};

use super::{FieldAt, Found};

/// How an enum of the API becomes one of ours.
pub(super) trait Open: TryFrom<i32> {
    /// What it becomes.
    type Value;
    /// The values a caller may give, for the error text.
    const NAMES: &'static [&'static str];
    /// Its meaning; what is not given has one too.
    fn value(self) -> Self::Value;
}

/// Reads an enum. A number that this version does not know is refused, because to take it for the
/// default would do something that was not asked for.
pub(super) fn value<E: Open>(raw: i32, field: FieldAt<'_>, found: &mut Found) -> Option<E::Value> {
    match E::try_from(raw) {
        Ok(known) => Some(known.value()),
        Err(_) => {
            found.note(
                field,
                format!("must be one of {}; {raw} is none of them", E::NAMES.join(", ")),
            );
            None
        }
    }
}

/// The name of a state as lists filter by it.
pub(super) fn state_name(state: v1::WorkflowState) -> Option<&'static str> {
    match state {
        v1::WorkflowState::Unspecified => None,
        v1::WorkflowState::Scheduled => Some(ProgressState::Scheduled.as_str()),
        v1::WorkflowState::Running => Some(ProgressState::Running.as_str()),
        v1::WorkflowState::Succeeded => Some(EndState::Succeeded.as_str()),
        v1::WorkflowState::Failed => Some(EndState::Failed.as_str()),
        v1::WorkflowState::Unconfirmed => Some(EndState::Unconfirmed.as_str()),
        v1::WorkflowState::Canceled => Some(EndState::Canceled.as_str()),
    }
}

impl Open for v1::WorkflowTemplate {
    type Value = Template;
    const NAMES: &'static [&'static str] = &["WORKFLOW_TEMPLATE_FAILOVER"];

    fn value(self) -> Template {
        match self {
            v1::WorkflowTemplate::Unspecified | v1::WorkflowTemplate::Failover => {
                Template::Failover
            }
        }
    }
}

impl Open for v1::OnLateSuccess {
    type Value = OnLateSuccess;
    const NAMES: &'static [&'static str] = &["ON_LATE_SUCCESS_STOP", "ON_LATE_SUCCESS_CONTINUE"];

    fn value(self) -> OnLateSuccess {
        match self {
            v1::OnLateSuccess::Unspecified | v1::OnLateSuccess::Stop => OnLateSuccess::Stop,
            v1::OnLateSuccess::Continue => OnLateSuccess::Continue,
        }
    }
}

impl Open for v1::OnUnknown {
    type Value = OnUnknown;
    const NAMES: &'static [&'static str] =
        &["ON_UNKNOWN_WAIT_RECEIPT", "ON_UNKNOWN_RESEND", "ON_UNKNOWN_FAIL_OVER"];

    fn value(self) -> OnUnknown {
        match self {
            v1::OnUnknown::Unspecified | v1::OnUnknown::WaitReceipt => OnUnknown::WaitReceipt,
            v1::OnUnknown::Resend => OnUnknown::Resend,
            v1::OnUnknown::FailOver => OnUnknown::FailOver,
        }
    }
}

impl Open for v1::Priority {
    type Value = Priority;
    const NAMES: &'static [&'static str] = &["PRIORITY_HIGH", "PRIORITY_NORMAL", "PRIORITY_LOW"];

    fn value(self) -> Priority {
        match self {
            v1::Priority::Unspecified | v1::Priority::Normal => Priority::Normal,
            v1::Priority::High => Priority::High,
            v1::Priority::Low => Priority::Low,
        }
    }
}
