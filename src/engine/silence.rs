//! Notices accounts that take messages and never tell what became of them: their webhooks go somewhere
//! else, most often, and then every message counts as unread and the next step is sent too.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use dispatch_contract::UnixMillis;

use super::FormerNames;
use crate::{
    machine::{AcceptedBy, Fact, Workflow},
    telemetry::Metrics,
};

/// For how long an account may say nothing, after how many sends.
const PATIENCE: Duration = Duration::from_secs(5 * 60);
const SENDS: u64 = 3;
/// How often it is said of the same account.
const PAUSE: Duration = Duration::from_secs(10 * 60);

/// What was accepted under each account since it last told anything.
#[derive(Debug, Default)]
pub(super) struct Silence {
    accounts: BTreeMap<Arc<str>, Unheard>,
}

#[derive(Debug, Default)]
struct Unheard {
    sends: u64,
    since: UnixMillis,
    said_at: Option<UnixMillis>,
}

/// An account that says nothing.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Silent {
    pub(super) account: Arc<str>,
    pub(super) sends: u64,
    pub(super) for_s: u64,
}

impl Silence {
    /// How many accounts are listened to.
    pub(super) fn len(&self) -> usize {
        self.accounts.len()
    }

    /// Notes what a fact of `workflow` says about its account.
    pub(super) fn fact(
        &mut self,
        now: UnixMillis,
        fact: &Fact,
        workflow: &Workflow,
        names: &FormerNames,
    ) {
        let is_told = match fact {
            Fact::AttemptAccepted { by: AcceptedBy::Response, .. }
            | Fact::LateSendResult { provider_id: Some(_), .. } => false,
            Fact::AttemptAccepted { by: AcceptedBy::Receipt, .. }
            | Fact::StatusReached { .. }
            | Fact::StatusFailed { .. }
            | Fact::LateStatus { .. }
            | Fact::LateFailure { .. } => true,
            _ => return,
        };
        let attempt = fact.attempt().and_then(|number| workflow.attempt(number));
        let Some(attempt) = attempt else { return };
        let Some(account) = attempt.account.as_ref().map(|account| names.present(account)) else {
            return;
        };
        if !self.accounts.contains_key(account) {
            self.accounts.insert(Arc::clone(account), Unheard::default());
        }
        let Some(unheard) = self.accounts.get_mut(account) else { return };
        if is_told {
            *unheard = Unheard::default();
        } else if attempt.properties.reports_delivered {
            if unheard.sends == 0 {
                unheard.since = now;
            }
            unheard.sends += 1;
        }
    }

    /// The accounts of which it is time to say that they say nothing.
    pub(super) fn look(&mut self, now: UnixMillis, metrics: &Metrics) -> Vec<Silent> {
        let mut silent = Vec::new();
        for (account, unheard) in &mut self.accounts {
            metrics.sends_unheard(account, unheard.sends);
            let is_long = unheard.sends >= SENDS && now.since(unheard.since) >= PATIENCE;
            if is_long && unheard.said_at.is_none_or(|at| now.since(at) >= PAUSE) {
                unheard.said_at = Some(now);
                let for_s = now.since(unheard.since).as_secs();
                silent.push(Silent { account: Arc::clone(account), sends: unheard.sends, for_s });
            }
        }
        silent
    }
}

#[cfg(test)]
mod tests {
    use dispatch_contract::Status;

    use super::*;
    use crate::{
        machine::{
            Attempt, AttemptState, Phase, PolicySnapshot, Priority, RouteProperties, WorkflowId,
        },
        machine::{OnLateSuccess, OnUnknown},
    };

    fn workflow(reports_delivered: bool) -> Workflow {
        let properties = RouteProperties {
            idempotent_for_ms: None,
            correlates_receipts: true,
            reports_delivered,
        };
        let attempt = Attempt {
            step: 0,
            route: Arc::from("sms"),
            properties,
            state: AttemptState::Accepted,
            calls: 1,
            started_at: None,
            account: Some(Arc::from("vonage/old")),
            status: Status::Submitted,
            failure: None,
            possible_duplicate: false,
            is_uncertain: false,
        };
        Workflow {
            id: WorkflowId(uuid::Uuid::nil()),
            created_at: crate::machine::Moment::default(),
            send_at: None,
            valid_until: None,
            send_within_ms: None,
            on_late_success: OnLateSuccess::Stop,
            on_unknown: OnUnknown::WaitReceipt,
            priority: Priority::Normal,
            policy: PolicySnapshot::default(),
            phase: Phase::Running(0),
            steps: Vec::new(),
            attempts: vec![attempt],
            sequence: 0,
            updated_at: crate::machine::Moment::default(),
            ended_at: None,
        }
    }

    #[test]
    fn an_account_that_accepts_and_tells_nothing_is_named_until_it_tells_something() {
        let metrics = Metrics::new();
        let names = FormerNames::new([(Arc::from("vonage/main"), Arc::from("vonage/old"))]);
        let mut silence = Silence::default();
        let minute = |minutes: u64| UnixMillis(minutes * 60_000);
        let accepted = Fact::AttemptAccepted {
            attempt: 1,
            provider_id: "m1".to_owned(),
            by: AcceptedBy::Response,
        };
        for _ in 0..2 {
            silence.fact(minute(1), &accepted, &workflow(true), &names);
        }
        assert_eq!(silence.look(minute(9), &metrics), [], "too few to say anything");
        silence.fact(minute(9), &accepted, &workflow(true), &names);
        let silent = |sends, for_s| [Silent { account: Arc::from("vonage/main"), sends, for_s }];
        assert_eq!(silence.look(minute(9), &metrics), silent(3, 480));
        assert_eq!(silence.look(minute(10), &metrics), [], "it was just said");
        assert_eq!(silence.look(minute(19), &metrics), silent(3, 1080));
        let gauge = |sends: u64| {
            let line = format!("dispatch_sends_without_receipt{{account=\"vonage/main\"}} {sends}");
            assert!(metrics.render().lines().any(|found| found == line), "{}", metrics.render());
        };
        gauge(3);
        let told = Fact::StatusReached {
            attempt: 1,
            status: Status::Delivered,
            provider_time: None,
            usage: None,
        };
        silence.fact(minute(20), &told, &workflow(true), &names);
        assert_eq!(silence.look(minute(60), &metrics), []);
        gauge(0);
        for _ in 0..9 {
            silence.fact(minute(60), &accepted, &workflow(false), &names);
        }
        assert_eq!(silence.look(minute(90), &metrics), [], "its channel tells nothing");
    }
}
