//! The timeline in words: one description for each fact.
//!
//! Every edge shows these same texts. They hold no personal data.

use std::time::Duration;

use super::{CallFailure, Fact, RecallResult};

/// What `fact` says, for people: one sentence, in which steps are counted from 1.
pub fn describe(fact: &Fact) -> String {
    match fact {
        Fact::Created => "workflow created".to_owned(),
        Fact::StepStarted { step } => format!("step {} started", number(*step)),
        Fact::AttemptPlanned { attempt, route, possible_duplicate, .. } => {
            let double = if *possible_duplicate {
                "; a possible double, the earlier outcome is unknown"
            } else {
                ""
            };
            format!("attempt {attempt} planned by route {route}{double}")
        }
        Fact::AttemptStarted { attempt, call: 1, .. } => format!("attempt {attempt} started"),
        Fact::AttemptStarted { attempt, call, .. } => {
            format!("attempt {attempt} started, call {call}")
        }
        Fact::AttemptAccepted { attempt, by: super::AcceptedBy::Response, provider_ids } => {
            let parts = match provider_ids.len() {
                0 | 1 => String::new(),
                several => format!(", in {several} parts"),
            };
            format!("attempt {attempt} accepted by the provider{parts}")
        }
        Fact::AttemptAccepted { attempt, by: super::AcceptedBy::Receipt, .. } => {
            format!("attempt {attempt} accepted, as its receipt shows")
        }
        Fact::AttemptRejected { attempt, failure } => {
            format!("attempt {attempt} refused: {}", said(failure))
        }
        Fact::AttemptRetryScheduled { attempt, failure, .. } => {
            format!("attempt {attempt} not processed, will be retried: {}", said(failure))
        }
        Fact::AttemptUnknown { attempt, failure: Some(failure), .. } => {
            format!("outcome of attempt {attempt} unknown: {}", said(failure))
        }
        Fact::AttemptUnknown { attempt, failure: None, .. } => {
            format!("outcome of attempt {attempt} unknown: the service stopped before the answer")
        }
        Fact::AttemptRepeated { attempt, failure, .. } => {
            let why =
                failure.as_ref().map_or("the service stopped before the answer".to_owned(), said);
            format!(
                "outcome of attempt {attempt} unknown, will be repeated under the same id: {why}"
            )
        }
        Fact::AttemptDue { attempt } => format!("attempt {attempt} due again"),
        Fact::StatusReached { attempt, status, .. } => {
            format!("message of attempt {attempt} {status}")
        }
        Fact::PartReached { attempt, part, status, .. } => {
            format!("part {part} of the message of attempt {attempt} {status}")
        }
        Fact::StatusFailed { attempt, failure, code, detail, .. } => {
            let code =
                code.as_ref().map_or(String::new(), |code| format!(" (provider code {code})"));
            let detail = detail.as_ref().map_or(String::new(), |detail| format!(": {detail}"));
            format!("message of attempt {attempt} {failure}{detail}{code}")
        }
        Fact::StepMet { step } => format!("step {} met its condition", number(*step)),
        Fact::StepFailed { step, reason, code, detail } => {
            let code =
                code.as_ref().map_or(String::new(), |code| format!(" (provider code {code})"));
            format!("step {} failed, {reason}: {detail}{code}", number(*step))
        }
        Fact::StepExpired {
            condition,
            expiry_ms,
            last,
            last_after_ms,
            late_ms,
            while_down,
            ..
        } => {
            let mut text =
                format!("not {condition} within {}; last status {last}", span(*expiry_ms));
            if let Some(ms) = last_after_ms.filter(|ms| *ms > 0) {
                text.push_str(&format!(", {} after submission", span(ms)));
            }
            if *while_down {
                text.push_str(&format!("; decided {} late, the service was down", span(*late_ms)));
            }
            text
        }
        Fact::StepSkipped { step } => format!("step {} not tried", number(*step)),
        Fact::StepCanceled { step } => format!("step {} given up", number(*step)),
        Fact::LateSuccess { step, status, unnecessary_failover, .. } => {
            let unnecessary_failover = if *unnecessary_failover {
                "; a further message had been sent by then"
            } else {
                ""
            };
            format!(
                "step {} was {status} after it had been given up{unnecessary_failover}",
                number(*step)
            )
        }
        Fact::Ended(outcome) => {
            format!("workflow {}, {}: {}", outcome.state.as_str(), outcome.reason, outcome.detail)
        }
        Fact::LateStatus { attempt, status, .. } => {
            format!("message of attempt {attempt} {status}, after the end")
        }
        Fact::LateFailure { attempt, failure, .. } => {
            format!("message of attempt {attempt} {failure}, after the end")
        }
        Fact::LateSendResult { attempt, provider_ids: Some(_), .. } => {
            format!("attempt {attempt}, out when the workflow ended, was accepted")
        }
        Fact::LateSendResult { attempt, unknown: true, .. } => {
            format!("outcome of attempt {attempt}, out when the workflow ended, is unknown")
        }
        Fact::LateSendResult { attempt, .. } => {
            format!("attempt {attempt}, out when the workflow ended, was not accepted")
        }
        Fact::ContentsErased { .. } => "contents erased".to_owned(),
        Fact::RecallStarted { attempt, .. } => {
            format!("message of attempt {attempt} asked back, before the next step")
        }
        Fact::RecallEnded { attempt, result } => {
            let what = match result {
                RecallResult::Recalled => "recalled".to_owned(),
                RecallResult::TooLate(_) => "not recalled: it was too late".to_owned(),
                RecallResult::Failed(failure) => {
                    format!("asked back, and may be seen all the same: {}", said(failure))
                }
                RecallResult::Unanswered => "asked back, and no answer came in time".to_owned(),
            };
            format!("message of attempt {attempt} {what}")
        }
    }
}

/// Counted from 1; a journal may hold any.
fn number(step: u8) -> u16 {
    u16::from(step) + 1
}

fn said(failure: &CallFailure) -> String {
    match &failure.code {
        Some(code) => format!("{} (provider code {code})", failure.detail),
        None => failure.detail.clone(),
    }
}

/// `600 s`, `1.5 s`, `0.04 s`.
fn span(ms: u64) -> String {
    format!("{} s", Duration::from_millis(ms).as_secs_f64())
}
