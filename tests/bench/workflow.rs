//! The workflow that is measured: Messenger, then SMS, 160 characters each.
//!
//! Every workflow has a number, which its recipients carry, so that the provider knows whose
//! message it took.

use std::{
    sync::LazyLock,
    time::{Duration, SystemTime},
};

use dispatch_contract::{Channel, Content, Endpoint, Options};

use dispatch::pb::v1::{
    Address, CreateWorkflowRequest, Failover, Message, Step, WorkflowSpec, address, message,
};

/// How long a text is: a full SMS of the GSM alphabet.
const LENGTH: usize = 160;
/// What texts are made of: 64 words.
static WORDS: LazyLock<Vec<&str>> = LazyLock::new(|| {
    "your order is ready at our shop in the old town we keep it for seven days please bring \
code and something that shows name open daily until evening appointment tomorrow doctor \
delivery parcel neighbour station train late platform bill paid thank you reply stop \
account password changed from new device if this was not call us table reserved friday \
flight gate boarding soon"
        .split(' ')
        .collect()
});

/// The text of workflow `number`: no two are alike, because what repeats itself takes little room.
fn text(number: u64) -> String {
    let mut text = format!("{number} ");
    let mut state = number;
    while text.len() < LENGTH {
        state = shuffled(state);
        text.push_str(WORDS[(state >> 58) as usize]);
        text.push(' ');
    }
    text.truncate(LENGTH);
    text
}

/// The next of a sequence whose upper bits look like chance: Knuth's multiplier and increment.
pub(super) fn shuffled(state: u64) -> u64 {
    state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407)
}

const PAGE: &str = "107083064136738";
const SMS_SENDER: &str = "447700900000";

/// What differs from scenario to scenario.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    /// When the second step starts.
    pub(super) expiry: Duration,
    /// What the first message must reach.
    pub(super) condition: &'static str,
    pub(super) send_at: Option<SystemTime>,
}

impl Shape {
    /// Does nothing for so long.
    pub(super) fn resting(time: Duration) -> Shape {
        let send_at = Some(SystemTime::now() + time);
        Shape { expiry: Duration::from_secs(600), condition: "delivered", send_at }
    }
}

/// Whom workflow `number` reaches.
pub(super) fn recipients(number: u64) -> [String; 2] {
    [format!("1{number:012}"), format!("44{number:012}")]
}

/// The request for workflow `number`.
pub(super) fn request(number: u64, shape: &Shape) -> CreateWorkflowRequest {
    let text = text(number);
    let [person, phone] = recipients(number);
    let message =
        || Message { content: Some(message::Content::Text(text.clone())), ..Message::default() };
    let at =
        |channel: &str, endpoint| Address { channel: channel.to_owned(), endpoint: Some(endpoint) };
    let failover = Failover {
        expiry_time: shape.expiry.try_into().ok(),
        condition_status: shape.condition.to_owned(),
    };
    let messenger = Step {
        sender: Some(at("messenger", address::Endpoint::Id(PAGE.to_owned()))),
        recipient: Some(at("messenger", address::Endpoint::Id(person))),
        message: Some(message()),
        failover: Some(failover),
    };
    let sms = Step {
        sender: Some(at("sms", address::Endpoint::Number(SMS_SENDER.to_owned()))),
        recipient: Some(at("sms", address::Endpoint::Number(phone))),
        message: Some(message()),
        failover: None,
    };
    let spec = WorkflowSpec {
        steps: vec![messenger, sms],
        send_at: shape.send_at.map(Into::into),
        // A burst waits for places on its route; that is load, and no failure.
        send_within: Duration::from_secs(3600).try_into().ok(),
        ..WorkflowSpec::default()
    };
    CreateWorkflowRequest { workflow: Some(spec), ..CreateWorkflowRequest::default() }
}

/// The second step's message of workflow 0, as adapters see it.
pub(super) fn sms() -> dispatch_contract::Message {
    dispatch_contract::Message {
        channel: Channel::SMS,
        from: Endpoint::Number(SMS_SENDER.to_owned()),
        to: Endpoint::Number(format!("44{:012}", 0)),
        content: Content::Text(text(0)),
        options: Options::default(),
    }
}

/// The step and the number of the workflow whose recipient this is.
pub(super) fn recipient(channel: &str, to: &str) -> Option<(u8, u64)> {
    match channel {
        "messenger" => Some((1, to.strip_prefix('1')?.parse().ok()?)),
        "sms" => Some((2, to.strip_prefix("44")?.parse().ok()?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recipients_carry_their_workflow_s_number() {
        let spec = request(4711, &Shape::resting(Duration::ZERO)).workflow.unwrap();
        let told: Vec<_> = spec
            .steps
            .iter()
            .map(|step| match step.recipient.clone().unwrap() {
                Address { channel, endpoint: Some(address::Endpoint::Id(to)) }
                | Address { channel, endpoint: Some(address::Endpoint::Number(to)) } => {
                    recipient(&channel, &to)
                }
                Address { endpoint: None, .. } => None,
            })
            .collect();
        assert_eq!(told, [Some((1, 4711)), Some((2, 4711))]);
        assert_eq!(recipient("sms", "no number"), None);
    }

    #[test]
    fn the_texts_fill_an_sms() {
        assert_eq!(WORDS.len(), 64, "as many as six bits can name");
        assert_eq!((text(0).len(), text(u64::MAX).len()), (LENGTH, LENGTH));
        assert_ne!(text(1)[1..], text(2)[1..]);
    }
}
