//! What a person wrote.

use super::{
    number,
    spec::{address, content, masked},
    timestamp,
};
use crate::{
    api::{Showing, ShownContent},
    engine::ReceivedMessage,
    pb::v1,
};

/// A message, for a reader of the tenant `own` who is shown contents so.
pub(crate) fn inbound_message(
    message: &ReceivedMessage,
    own: &str,
    showing: Showing,
) -> v1::InboundMessage {
    let said = |part| match showing.content(part) {
        ShownContent::Whole(part) => content(part),
        ShownContent::Masked(outline) => masked(outline),
    };
    let (quoted, step) = (
        message.quoted.as_ref().map(|it| &it.attempt),
        message.quoted.map_or(0, |it| number(it.step)),
    );
    v1::InboundMessage {
        message_id: message.id.to_string(),
        tenant: if *message.tenant == *own { String::new() } else { message.tenant.to_string() },
        from_address: Some(address(&message.channel, &showing.address(&message.from))),
        to_address: Some(address(&message.channel, &message.to)),
        content: message
            .content
            .iter()
            .map(|part| v1::Message { content: Some(said(part)), ..v1::Message::default() })
            .collect(),
        workflow_id: quoted.map(|it| it.workflow.to_string()).unwrap_or_default(),
        step,
        attempt_id: quoted.map(ToString::to_string).unwrap_or_default(),
        account: message.account.to_string(),
        provider_message_id: message.provider_id.clone(),
        quoted_provider_message_id: message.quoted_id.clone().unwrap_or_default(),
        provider_time: message.provider_time.map(timestamp),
        create_time: Some(timestamp(message.create_time)),
        contents: showing.state() as i32,
    }
}
