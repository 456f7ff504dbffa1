//! Senders, recipients, and the channel between them.

use dispatch_contract::{Channel, Endpoint};

use super::{Found, Rules};
use crate::pb::v1::{Address, address};

/// The channel of a step, said by its recipient.
pub(super) fn channel(
    recipient: Option<&Address>,
    sender: Option<&Address>,
    path: &str,
    rules: &dyn Rules,
    found: &mut Found,
) -> Option<Channel> {
    let recipient = recipient?;
    if let Some(sender) = sender
        && !sender.channel.is_empty()
        && sender.channel != recipient.channel
    {
        found.note(
            format!("{path}.sender.channel"),
            "must be the same as recipient.channel, or left empty: a step uses one channel",
        );
    }
    if !rules.judge() {
        return recipient.channel.parse().ok();
    }
    let known = rules.channels();
    let channel = known.iter().find(|channel| channel.as_str() == recipient.channel);
    if channel.is_none() {
        let names: Vec<_> = known.iter().map(Channel::as_str).collect();
        let nearest = names
            .iter()
            .map(|name| (strsim::jaro_winkler(name, &recipient.channel), name))
            .filter(|(likeness, _)| *likeness > 0.75)
            .max_by(|(a, _), (b, _)| a.total_cmp(b));
        let hint = nearest.map(|(_, name)| format!("; did you mean {name}?")).unwrap_or_default();
        let names = match names.as_slice() {
            [] => "none for this tenant: a route in its configuration adds one".to_owned(),
            names => names.join(", "),
        };
        found.note(
            format!("{path}.recipient.channel"),
            format!("must be a channel of this service, which has {names}{hint}"),
        );
    }
    channel.cloned()
}

/// A sender or recipient. Its form is the channel's affair and not looked at here.
pub(super) fn endpoint(
    given: Option<&Address>,
    field: &str,
    whose: &str,
    found: &mut Found,
) -> Option<Endpoint> {
    match given.and_then(|address| address.endpoint.as_ref()) {
        Some(address::Endpoint::Id(id)) => Some(Endpoint::Id(id.clone())),
        Some(address::Endpoint::Number(number)) => Some(Endpoint::Number(number.clone())),
        None => {
            found.note(field, format!("must be given: {whose}, with an id or a number"));
            None
        }
    }
}
