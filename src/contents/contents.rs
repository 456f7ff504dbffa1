//! What is personal, as it is asked for and as it is opened.

use std::{collections::BTreeMap, fmt};

use dispatch_contract::{Content, Endpoint, Message, Options};
use serde::{Deserialize, Serialize};

use crate::machine::{FailoverCondition, StepPlan};

/// What is personal of a workflow. `Debug` shows how much there is, and nothing of it.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contents {
    /// Of each step of the plan, in order.
    #[serde(with = "stored_steps")]
    pub steps: Vec<StepContents>,
    /// Those of the caller's labels that are personal; the plan has the others.
    pub labels: BTreeMap<String, String>,
    /// The caller's own reference, if that is personal; else the plan has it.
    pub client_ref: Option<String>,
    /// Where the callbacks of this workflow go instead of to the application's status URL: it may hold a secret
    /// or a customer's number.
    pub webhook_url: Option<String>,
}

/// What is personal of a step. `Debug` shows the kind of what is said.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepContents {
    /// Who is reached.
    pub recipient: Endpoint,
    /// What is said.
    pub content: Content,
    /// What only its channel knows.
    pub options: Options,
}

/// Steps as they are stored: what is said as by the step before is not said again.
mod stored_steps {
    use serde::{Deserializer, Serializer, de::Error};

    use super::{Content, Deserialize, Endpoint, Options, Serialize, StepContents};

    pub(super) fn serialize<S: Serializer>(
        steps: &[StepContents],
        to: S,
    ) -> Result<S::Ok, S::Error> {
        let mut before = None;
        let stored = steps.iter().map(|StepContents { recipient, content, options }| {
            let said = (before.replace(content) != Some(content)).then_some(content);
            (recipient, said, options)
        });
        stored.collect::<Vec<_>>().serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Vec<StepContents>, D::Error> {
        let stored: Vec<(Endpoint, Option<Content>, Options)> = Vec::deserialize(from)?;
        let mut steps: Vec<StepContents> = Vec::with_capacity(stored.len());
        for (recipient, said, options) in stored {
            let before = || steps.last().map(|step| step.content.clone());
            let content =
                said.or_else(before).ok_or_else(|| D::Error::custom("nothing is said"))?;
            steps.push(StepContents { recipient, content, options });
        }
        Ok(steps)
    }
}

impl Contents {
    /// The message of the step at `index`, which `plan` is.
    pub fn into_message(mut self, plan: &StepPlan, index: u8) -> Option<Message> {
        let index = usize::from(index);
        if index >= self.steps.len() {
            return None;
        }
        Some(self.steps.swap_remove(index).into_message(plan))
    }

    /// The addresses of whoever is reached.
    pub fn addresses(&self) -> Vec<&str> {
        self.steps.iter().map(|step| step.recipient.value()).collect()
    }

    /// The caller's own words alone, without what is sent.
    pub fn words(&self) -> Contents {
        let (labels, client_ref) = (self.labels.clone(), self.client_ref.clone());
        Contents { labels, client_ref, ..Contents::default() }
    }

    /// Who the step at `index` reaches.
    pub fn recipient(&self, index: u8) -> Option<&Endpoint> {
        self.steps.get(usize::from(index)).map(|step| &step.recipient)
    }
}

impl StepContents {
    /// The message of the step that `plan` is.
    pub fn into_message(self, plan: &StepPlan) -> Message {
        Message {
            channel: plan.channel.clone(),
            from: plan.sender.clone(),
            to: self.recipient,
            content: self.content,
            options: self.options,
        }
    }

    /// A message as what of it is personal, and the step whose message it is.
    pub fn of(message: Message, failover: Option<FailoverCondition>) -> (StepPlan, Self) {
        let Message { channel, from: sender, to: recipient, content, options } = message;
        let plan = StepPlan { channel, sender, content: content.kind(), failover };
        (plan, StepContents { recipient, content, options })
    }
}

impl fmt::Debug for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Contents").field("steps", &self.steps).finish_non_exhaustive()
    }
}

impl fmt::Debug for StepContents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StepContents").field(&self.content.kind()).finish()
    }
}
