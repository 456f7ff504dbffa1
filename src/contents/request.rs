//! What a caller asks for, parsed and parted.

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
    /// The digest of what is asked for; where callbacks go is not part of it.
    pub fn digest(&self) -> RequestDigest {
        let mut hash = Sha256::new();
        // Postcard is canonical for these types: ordered maps, no floats.
        hash.update(postcard::to_stdvec(&self.plan).unwrap_or_default());
        hash.update(postcard::to_stdvec(&self.contents.steps).unwrap_or_default());
        RequestDigest(hash.finalize().into())
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
    }
}
