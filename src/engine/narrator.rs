//! Tells the log what an operator should hear of: sparingly, and without personal data.
//!
//! Each kind of news is told at most once in ten seconds for a route or channel; how often it was
//! kept back stands on the next line of its kind. Counts are the metrics' affair.

use std::{collections::HashMap, time::Duration};

use dispatch_contract::{Fault, UnixMillis};

use super::{Foreign, silence::Silent};
use crate::machine::{EndState, Fact, Workflow, sentence};

const PAUSE: Duration = Duration::from_secs(10);

/// Who tells.
#[derive(Debug, Default)]
pub(super) struct Narrator {
    told: HashMap<(&'static str, String), Told>,
}

#[derive(Debug)]
struct Told {
    at: UnixMillis,
    kept_back: u64,
}

impl Narrator {
    /// Tells a fact, if an operator should hear of it.
    pub(super) fn tell(&mut self, now: UnixMillis, fact: &Fact, workflow: &Workflow) {
        let id = workflow.id;
        let attempt = fact.attempt().and_then(|number| workflow.attempt(number));
        let route = attempt.map_or("", |attempt| &*attempt.route);
        match fact {
            Fact::AttemptRefused { refusal, .. } if refusal.fault == Fault::Account => {
                if let Some(kept_back) = self.may_tell(now, "account", route) {
                    let (error, code) = (refusal.kind.as_str(), refusal.code.as_deref());
                    tracing::error!(
                        workflow = %id, route, error, provider_code = code, kept_back,
                        "the provider refuses because of the account or its configuration: {}",
                        refusal.detail
                    );
                }
            }
            Fact::AttemptUnknown { .. } | Fact::AttemptRepeated { .. } => {
                if let Some(kept_back) = self.may_tell(now, "unknown", route) {
                    tracing::warn!(workflow = %id, route, kept_back, "{}", sentence(fact));
                }
            }
            Fact::AttemptDeferred { refusal, .. } => {
                if let Some(kept_back) = self.may_tell(now, "deferred", route) {
                    let error = refusal.kind.as_str();
                    tracing::warn!(workflow = %id, route, error, kept_back, "{}", sentence(fact));
                }
            }
            Fact::StepFailed { step, .. } | Fact::StepExpired { step, .. } => {
                let step = workflow.steps.get(usize::from(*step));
                let channel = step.map_or("", |step| step.need.channel.as_str());
                if let Some(kept_back) = self.may_tell(now, "left", channel) {
                    tracing::info!(workflow = %id, channel, kept_back, "{}", sentence(fact));
                }
            }
            Fact::Ended(outcome) if is_bad(outcome.state) => {
                if let Some(kept_back) = self.may_tell(now, "ended", outcome.reason.as_str()) {
                    let (state, reason) = (outcome.state.as_str(), outcome.reason.as_str());
                    tracing::warn!(workflow = %id, state, reason, kept_back, "{}", outcome.detail);
                }
            }
            _ => tracing::debug!(workflow = %id, route, "{}", sentence(fact)),
        }
    }

    /// Tells that creates were refused because a route could not have started them in time.
    pub(super) fn tell_saturated(&mut self, now: UnixMillis, route: &str, creates: u64) {
        if let Some(kept_back) = self.may_tell(now, "saturated", route) {
            tracing::warn!(
                route,
                creates,
                kept_back,
                "the route is saturated: creates that it could not start within send_within are refused"
            );
        }
    }

    /// Tells of receipts that another account sent.
    pub(super) fn foreign(&mut self, now: UnixMillis, foreign: &Foreign) {
        let Foreign { count, told_by, started_under } = foreign;
        if let Some(kept_back) = self.may_tell(now, "foreign", told_by) {
            tracing::warn!(
                %told_by, %started_under, count, kept_back,
                "receipts name attempts that were started under another account, and change nothing; \
                 does a webhook URL name the wrong account, or was one renamed without `formerly`?"
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

    /// How many of its kind were kept back, if it is time to tell one again.
    fn may_tell(&mut self, now: UnixMillis, kind: &'static str, of: &str) -> Option<u64> {
        let never = || Told { at: UnixMillis(0), kept_back: 0 };
        let told = self.told.entry((kind, of.to_owned())).or_insert_with(never);
        if now.since(told.at) < PAUSE {
            told.kept_back += 1;
            return None;
        }
        told.at = now;
        Some(std::mem::take(&mut told.kept_back))
    }
}

fn is_bad(state: EndState) -> bool {
    match state {
        EndState::Failed | EndState::Unconfirmed => true,
        EndState::Succeeded | EndState::Canceled => false,
    }
}
