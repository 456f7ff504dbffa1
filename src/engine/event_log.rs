//! Logs what an operator should know: sparingly, and without personal data.
//!
//! Only of what is durable. How often a line may come is the [`LogLimit`]'s affair, and counts are the
//! metrics'.

use std::sync::Arc;

use dispatch_contract::{ErrorKind, Fault};
use tracing::Level;

use super::{ForeignReceipts, RouteQueue, receipt_monitor::SilentAccount};
use crate::{
    machine::{CallFailure, EndState, Fact, Reason, RecallResult, WorkflowId, describe},
    telemetry::{About, LogLimit},
};

/// Logs durable facts.
#[derive(Debug)]
pub(super) struct EventLog {
    pub(super) limit: Arc<LogLimit>,
}

impl EventLog {
    /// Logs a fact, if an operator should know of it.
    pub(super) fn log_fact(&self, id: WorkflowId, fact: &Fact, about: &About) {
        let route = about.route.as_deref().unwrap_or_default();
        let channel = about.channel.as_ref().map_or("", |channel| channel.as_str());
        match fact {
            Fact::AttemptRejected { failure, .. } if failure.fault == Fault::Account => {
                if self.admits(Level::ERROR, "account", route, &cause(failure)) {
                    let (error, code) = (failure.kind.as_str(), failure.code.as_deref());
                    tracing::error!(
                        workflow = %id, route, error, provider_code = code,
                        "the provider refuses because of the account or its configuration: {}",
                        failure.detail
                    );
                }
            }
            Fact::AttemptUnknown { failure, .. } | Fact::AttemptRepeated { failure, .. } => {
                let cause = failure.as_ref().map_or("stopped".to_owned(), cause);
                if self.admits(Level::WARN, "unknown", route, &cause) {
                    tracing::warn!(workflow = %id, route, cause, "{}", describe(fact));
                }
            }
            Fact::AttemptRetryScheduled { failure, .. } => {
                let cause = cause(failure);
                if self.admits(Level::WARN, "deferred", route, &cause) {
                    let error = failure.kind.as_str();
                    tracing::warn!(workflow = %id, route, error, cause, "{}", describe(fact));
                }
            }
            Fact::RecallEnded { result: RecallResult::Failed(failure), .. } => {
                let cause = cause(failure);
                if self.admits(Level::WARN, "recall", route, &cause) {
                    let error = failure.kind.as_str();
                    tracing::warn!(workflow = %id, route, error, cause, "{}", describe(fact));
                }
            }
            Fact::StepFailed { reason, .. } => self.log_failed_step(id, fact, channel, *reason),
            Fact::StepExpired { .. } => self.log_failed_step(id, fact, channel, Reason::Expired),
            Fact::Ended(outcome) if is_bad(outcome.state) => {
                let (state, reason) = (outcome.state.as_str(), outcome.reason.as_str());
                if self.admits(Level::WARN, "ended", state, reason) {
                    tracing::warn!(workflow = %id, state, reason, "{}", outcome.detail);
                }
            }
            _ => tracing::debug!(workflow = %id, route, "{}", describe(fact)),
        }
    }

    /// Logs that creates were refused because a route could not have started them in time.
    pub(super) fn log_saturated_route(&self, route: &str, creates: u64) {
        if self.admits(Level::WARN, "saturated", route, "") {
            tracing::warn!(
                route,
                creates,
                "the route is saturated: creates that it could not start within send_within are refused"
            );
        }
    }

    /// Logs receipts that came by another account than their attempt's.
    pub(super) fn log_foreign_receipts(&self, foreign: &ForeignReceipts) {
        let ForeignReceipts { count, reported_by, started_under } = foreign;
        if self.admits(Level::WARN, "foreign", reported_by, started_under) {
            tracing::warn!(
                %reported_by, %started_under, count,
                "receipts name attempts that were started under another account, and change nothing; \
                 does a webhook URL name the wrong account, or was one renamed without `formerly`?"
            );
        }
    }

    /// Logs a queue whose oldest message waits too long.
    pub(super) fn log_slow_queue(&self, queue: &RouteQueue) {
        let route = &*queue.route;
        if self.admits(Level::WARN, "queue", route, "") {
            let (waiting, oldest_s, why) = (queue.waiting, queue.age.as_secs(), queue.why());
            tracing::warn!(
                route,
                waiting,
                oldest_s,
                "messages wait for a permit of the route: {why}"
            );
        }
    }

    /// Logs an account from which no receipts come.
    pub(super) fn log_silent_account(&self, silent: &SilentAccount) {
        let SilentAccount { account, sends, for_s } = silent;
        tracing::warn!(
            %account, accepted = sends, for_s,
            "accepted {sends} sends, and no receipt for {for_s} s: do the account's webhooks reach \
             /receipts/{account}? Until they do, every message counts as unread and fails over"
        );
    }

    fn log_failed_step(&self, id: WorkflowId, fact: &Fact, channel: &str, reason: Reason) {
        if self.admits(Level::INFO, "left", channel, reason.as_str()) {
            tracing::info!(workflow = %id, channel, "{}", describe(fact));
        }
    }

    fn admits(&self, level: Level, kind: &'static str, of: &str, cause: &str) -> bool {
        self.limit.admits(level, kind, of, cause)
    }
}

/// What distinguishes failures of calls: why no connection came about, or what the provider
/// said and under which code.
fn cause(failure: &CallFailure) -> String {
    match (failure.kind, failure.cause, &failure.code) {
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
