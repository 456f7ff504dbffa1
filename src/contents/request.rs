//! What a caller asks for, parsed and parted.

use std::borrow::Cow;

use sha2::{Digest, Sha256};

use super::{Contents, StepContents};
use crate::machine::{Plan, StepPlan};

/// A workflow as a caller asks for it. The plan and the contents have the same steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkflowRequest {
    /// What the machine decides by.
    pub plan: Plan,
    /// What is personal.
    pub contents: Contents,
}

/// What a request asks for, hashed: equal for equal requests, in whatever words and order they came. It is
/// never kept, since who knows the sentence would find the number by trying them all.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RequestDigest(pub(super) [u8; 32]);

impl WorkflowRequest {
    /// The digest of what is asked for. Where callbacks go is not part of it, nor which of the caller's words are
    /// personal: that is configured too, and may be another by the time that a request is repeated.
    pub fn digest(&self) -> RequestDigest {
        let mut hash = Sha256::new();
        // Postcard is canonical for these types: ordered maps, no floats.
        hash.update(postcard::to_stdvec(&*self.plan_with_words()).unwrap_or_default());
        hash.update(postcard::to_stdvec(&self.contents.steps).unwrap_or_default());
        RequestDigest(hash.finalize().into())
    }

    /// The plan with all of the caller's words.
    fn plan_with_words(&self) -> Cow<'_, Plan> {
        let Contents { labels, client_ref, .. } = &self.contents;
        if labels.is_empty() && client_ref.is_none() {
            return Cow::Borrowed(&self.plan);
        }
        let mut plan = self.plan.clone();
        plan.labels.extend(labels.clone());
        plan.client_ref = plan.client_ref.or_else(|| client_ref.clone());
        Cow::Owned(plan)
    }

    /// Each step with what is personal of it.
    pub fn steps(&self) -> impl Iterator<Item = (&StepPlan, &StepContents)> {
        self.plan.steps.iter().zip(&self.contents.steps)
    }
}

#[cfg(test)]
mod tests {
    use dispatch_contract::{Channel, Content, Endpoint};

    use crate::shared::plans;

    #[test]
    fn another_text_recipient_or_plan_is_another_request_and_another_webhook_is_not() {
        let asked = || plans::request(plans::plan(vec![plans::step(Channel::SMS, None)]), "one");
        let mut others = [asked(), asked(), asked()];
        others[0].contents.steps[0].content = Content::Text("two".to_owned());
        others[1].contents.steps[0].recipient = Endpoint::Number("447700900009".to_owned());
        others[2].plan.client_ref = Some("two".to_owned());
        for (number, other) in others.iter().enumerate() {
            assert!(other.digest() != asked().digest(), "{number}");
        }
        let mut same = asked();
        same.contents.webhook_url = Some("https://example.org/two".to_owned());
        assert!(same.digest() == asked().digest());

        // What is said in the caller's words counts, and not where they stand.
        let label = |value: &str| [("customer".to_owned(), value.to_owned())].into();
        let (mut clear, mut sealed, mut other) = (asked(), asked(), asked());
        clear.plan.labels = label("Ann");
        clear.plan.client_ref = Some("order-17".to_owned());
        sealed.contents.labels = label("Ann");
        sealed.contents.client_ref = Some("order-17".to_owned());
        other.contents.labels = label("Ben");
        assert!(clear.digest() == sealed.digest());
        assert!(clear.digest() != asked().digest() && other.digest() != sealed.digest());
    }
}
