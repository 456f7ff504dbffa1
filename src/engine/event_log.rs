//! Tells the log what an operator should hear of: sparingly, and without personal data.
//!
//! Only of what is durable. How often a line may come is the [`LogLimit`]'s affair, and counts are the
//! metrics'.

use std::sync::Arc;

use dispatch_contract::{ErrorKind, Fault};
use tracing::Level;

use super::{Foreign, RouteQueue, silence::Silent};
use crate::{
    machine::{EndState, Fact, Reason, Rejection, WorkflowId, describe},
    telemetry::{About, LogLimit},
};

/// Who tells.
#[derive(Debug)]
pub(super) struct EventLog {
    pub(super) limit: Arc<LogLimit>,
}

impl EventLog {
    /// Tells a fact, if an operator should hear of it.
    pub(super) fn tell(&self, id: WorkflowId, fact: &Fact, about: &About) {
        let route = about.route.as_deref().unwrap_or_default();
        let channel = about.channel.as_ref().map_or("", |channel| channel.as_str());
        match fact {
            Fact::AttemptRejected { rejection, .. } if rejection.fault == Fault::Account => {
                if self.may_tell(Level::ERROR, "account", route, &cause(rejection)) {
                    let (error, code) = (rejection.kind.as_str(), rejection.code.as_deref());
                    tracing::error!(
                        workflow = %id, route, error, provider_code = code,
                        "the provider refuses because of the account or its configuration: {}",
                        rejection.detail
                    );
                }
            }
            Fact::AttemptUnknown { rejection, .. } | Fact::AttemptRepeated { rejection, .. } => {
                let cause = rejection.as_ref().map_or("stopped".to_owned(), cause);
                if self.may_tell(Level::WARN, "unknown", route, &cause) {
                    tracing::warn!(workflow = %id, route, cause, "{}", describe(fact));
                }
            }
            Fact::AttemptRetryScheduled { rejection, .. } => {
                let cause = cause(rejection);
                if self.may_tell(Level::WARN, "deferred", route, &cause) {
                    let error = rejection.kind.as_str();
                    tracing::warn!(workflow = %id, route, error, cause, "{}", describe(fact));
                }
            }
            Fact::StepFailed { reason, .. } => self.left(id, fact, channel, *reason),
            Fact::StepExpired { .. } => self.left(id, fact, channel, Reason::Expired),
            Fact::Ended(outcome) if is_bad(outcome.state) => {
                let (state, reason) = (outcome.state.as_str(), outcome.reason.as_str());
                if self.may_tell(Level::WARN, "ended", state, reason) {
                    tracing::warn!(workflow = %id, state, reason, "{}", outcome.detail);
                }
            }
            _ => tracing::debug!(workflow = %id, route, "{}", describe(fact)),
        }
    }

    /// Tells that creates were refused because a route could not have started them in time.
    pub(super) fn tell_saturated(&self, route: &str, creates: u64) {
        if self.may_tell(Level::WARN, "saturated", route, "") {
            tracing::warn!(
                route,
                creates,
                "the route is saturated: creates that it could not start within send_within are refused"
            );
        }
    }

    /// Tells of receipts that another account sent.
    pub(super) fn foreign(&self, foreign: &Foreign) {
        let Foreign { count, told_by, started_under } = foreign;
        if self.may_tell(Level::WARN, "foreign", told_by, started_under) {
            tracing::warn!(
                %told_by, %started_under, count,
                "receipts name attempts that were started under another account, and change nothing; \
                 does a webhook URL name the wrong account, or was one renamed without `formerly`?"
            );
        }
    }

    /// Tells that some have waited for a route for long.
    pub(super) fn tell_queue(&self, queue: &RouteQueue) {
        let route = &*queue.route;
        if self.may_tell(Level::WARN, "queue", route, "") {
            let (waiting, oldest_s, why) = (queue.waiting, queue.age.as_secs(), queue.why());
            tracing::warn!(
                route,
                waiting,
                oldest_s,
                "messages wait for a permit of the route: {why}"
            );
        }
    }

    /// Tells of an account that says nothing.
    pub(super) fn silent(&self, silent: &Silent) {
        let Silent { account, sends, for_s } = silent;
        tracing::warn!(
            %account, accepted = sends, for_s,
            "accepted {sends} sends, and no receipt for {for_s} s: do the account's webhooks reach \
             /receipts/{account}? Until they do, every message counts as unread and fails over"
        );
    }

    fn left(&self, id: WorkflowId, fact: &Fact, channel: &str, reason: Reason) {
        if self.may_tell(Level::INFO, "left", channel, reason.as_str()) {
            tracing::info!(workflow = %id, channel, "{}", describe(fact));
        }
    }

    fn may_tell(&self, level: Level, kind: &'static str, of: &str, cause: &str) -> bool {
        self.limit.admits(level, kind, of, cause)
    }
}

/// What tells one failure of a call from another: why no connection came about, or what the provider
/// said and under which code.
fn cause(rejection: &Rejection) -> String {
    match (rejection.kind, rejection.cause, &rejection.code) {
        (ErrorKind::Unreachable, Some(cause), _) => cause.as_str().to_owned(),
        (kind, _, Some(code)) => format!("{kind} {code}"),
        (kind, _, None) => kind.as_str().to_owned(),
    }
}

fn is_bad(state: EndState) -> bool {
    match state {
        EndState::Failed | EndState::Unconfirmed => true,
        EndState::Succeeded | EndState::Canceled => false,
    }
}
