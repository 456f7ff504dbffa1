//! What a fact speaks of.

use std::{sync::Arc, time::Duration};

use dispatch_contract::Channel;

use crate::machine::{Fact, Workflow};

/// The route and the channel that a fact concerns. Looked up in the workflow while a batch is made, so
/// that its facts can be counted and logged once they are durable, and not before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// Whose workflow it is; `None` of one without steps, which is never made.
    pub tenant: Option<Arc<str>>,
    /// The route of the attempt, or of the last attempt of a step that failed; `None` where it is about
    /// none.
    pub route: Option<Arc<str>>,
    /// The channel of the step; `None` where it is about none.
    pub channel: Option<Channel>,
    /// How long the workflow waited for its first call since it could be made, if this is that.
    pub waited: Option<Duration>,
}

impl About {
    /// Of `fact`, which is applied to `workflow` already.
    pub fn of(fact: &Fact, workflow: &Workflow) -> About {
        let attempt = match fact {
            Fact::StepFailed { step, .. } => {
                workflow.attempts_of(*step).last().map(|(_, attempt)| attempt)
            }
            _ => fact.attempt().and_then(|number| workflow.attempt(number)),
        };
        let step = fact.step().or(attempt.map(|attempt| attempt.step));
        let step = step.and_then(|step| workflow.steps.get(usize::from(step)));
        About {
            tenant: workflow.steps.first().map(|step| Arc::clone(&step.requirement.tenant)),
            route: attempt.map(|attempt| Arc::clone(&attempt.route)),
            channel: step.map(|step| step.requirement.channel.clone()),
            waited: match fact {
                Fact::AttemptStarted { attempt: 1, call: 1, .. } => Some(waited(workflow)),
                _ => None,
            },
        }
    }
}

/// Since `send_at`, or since its creation.
fn waited(workflow: &Workflow) -> Duration {
    let (created, now) = (workflow.created_at, workflow.updated_at);
    match workflow.send_at.filter(|at| *at > created.wall) {
        Some(at) => now.wall.since(at),
        None => now.engine.since(created.engine),
    }
}
