//! Notices accounts that take messages and never tell what became of them: their webhooks go somewhere
//! else, most often, and then every message counts as unread and the next step is sent too.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use dispatch_contract::{Status, UnixMillis};

use super::FormerNames;
use crate::{
    machine::{AcceptedBy, Fact, Workflow},
    telemetry::Metrics,
};

/// For how long an account may say nothing, after how many sends.
const SILENCE: Duration = Duration::from_secs(5 * 60);
const MIN_SENDS: u64 = 3;
/// How often it is said of the same account.
const LOG_INTERVAL: Duration = Duration::from_secs(10 * 60);

/// What was accepted under each account since it last told anything.
#[derive(Debug, Default)]
pub(super) struct ReceiptMonitor {
    accounts: BTreeMap<Arc<str>, UnreportedSends>,
}

#[derive(Debug, Default)]
struct UnreportedSends {
    sends: u64,
    since: UnixMillis,
    logged_at: Option<UnixMillis>,
}

/// An account that says nothing.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SilentAccount {
    pub(super) account: Arc<str>,
    pub(super) sends: u64,
    pub(super) for_s: u64,
}

impl ReceiptMonitor {
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
        let is_report = match fact {
            Fact::AttemptAccepted { by: AcceptedBy::Response, .. }
            | Fact::LateSendResult { provider_ids: Some(_), .. } => false,
            Fact::AttemptAccepted { by: AcceptedBy::Receipt, .. }
            | Fact::StatusReached { .. }
            | Fact::PartReached { .. }
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
            self.accounts.insert(Arc::clone(account), UnreportedSends::default());
        }
        let Some(unreported) = self.accounts.get_mut(account) else { return };
        // Of a message whose answer came last it has told already.
        let has_told = attempt.status > Status::Submitted || attempt.failure.is_some();
        if is_report {
            *unreported = UnreportedSends::default();
        } else if attempt.properties.reports_delivered && !has_told {
            if unreported.sends == 0 {
                unreported.since = now;
            }
            unreported.sends += 1;
        }
    }

    /// The accounts of which it is time to say that they say nothing.
    pub(super) fn look(&mut self, now: UnixMillis, metrics: &Metrics) -> Vec<SilentAccount> {
        let mut silent = Vec::new();
        for (account, unreported) in &mut self.accounts {
            metrics.sends_without_receipt(account, unreported.sends);
            let is_long = unreported.sends >= MIN_SENDS && now.since(unreported.since) >= SILENCE;
            if is_long && unreported.logged_at.is_none_or(|at| now.since(at) >= LOG_INTERVAL) {
                unreported.logged_at = Some(now);
                let for_s = now.since(unreported.since).as_secs();
                silent.push(SilentAccount {
                    account: Arc::clone(account),
                    sends: unreported.sends,
                    for_s,
                });
            }
        }
        silent
    }
}

#[cfg(test)]
mod tests {
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
            recalls: false,
            in_parts: false,
            watermarks: false,
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
            is_answered: true,
            parts: Vec::new(),
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
            is_erased: false,
        }
    }

    #[test]
    fn an_account_that_accepts_and_tells_nothing_is_named_until_it_tells_something() {
        let metrics = Metrics::new();
        let names = FormerNames::new([(Arc::from("vonage/main"), Arc::from("vonage/old"))]);
        let mut receipt_monitor = ReceiptMonitor::default();
        let minute = |minutes: u64| UnixMillis(minutes * 60_000);
        let accepted = Fact::AttemptAccepted {
            attempt: 1,
            provider_ids: vec!["m1".to_owned()],
            by: AcceptedBy::Response,
        };
        for _ in 0..2 {
            receipt_monitor.fact(minute(1), &accepted, &workflow(true), &names);
        }
        assert_eq!(receipt_monitor.look(minute(9), &metrics), [], "too few to say anything");
        receipt_monitor.fact(minute(9), &accepted, &workflow(true), &names);
        let silent =
            |sends, for_s| [SilentAccount { account: Arc::from("vonage/main"), sends, for_s }];
        assert_eq!(receipt_monitor.look(minute(9), &metrics), silent(3, 480));
        assert_eq!(receipt_monitor.look(minute(10), &metrics), [], "it was just said");
        assert_eq!(receipt_monitor.look(minute(19), &metrics), silent(3, 1080));
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
        receipt_monitor.fact(minute(20), &told, &workflow(true), &names);
        assert_eq!(receipt_monitor.look(minute(60), &metrics), []);
        gauge(0);
        let mut told_first = workflow(true);
        told_first.attempts[0].status = Status::Delivered;
        for _ in 0..9 {
            receipt_monitor.fact(minute(20), &accepted, &told_first, &names);
        }
        assert_eq!(
            receipt_monitor.look(minute(60), &metrics),
            [],
            "its receipts come before its answers"
        );
        for _ in 0..9 {
            receipt_monitor.fact(minute(60), &accepted, &workflow(false), &names);
        }
        assert_eq!(receipt_monitor.look(minute(90), &metrics), [], "its channel tells nothing");
    }
}
