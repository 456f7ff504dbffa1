//! Senders, recipients, and the channel between them.

use dispatch_contract::{Channel, Endpoint};

use super::{FieldAt, Found, Rules, Wanted};
use crate::api::violation::Phrase;
use crate::pb::v1::{Address, address};

/// The channel of a step, said by its recipient.
pub(super) fn channel(
    recipient: Option<&Address>,
    sender: Option<&Address>,
    step: FieldAt<'_>,
    rules: &dyn Rules,
    found: &mut Found,
) -> Option<Channel> {
    let recipient = recipient?;
    if let Some(sender) = sender
        && !sender.channel.is_empty()
        && sender.channel != recipient.channel
    {
        found.note(
            step.key("sender").key("channel"),
            Wanted::of([
                Phrase::text("must be the same as "),
                Phrase::Field("recipient.channel".into()),
                Phrase::text(", or left empty: a step uses one channel"),
            ]),
        );
    }
    if !rules.judge() {
        return recipient.channel.parse().ok();
    }
    let known = rules.channels();
    let channel = known.iter().find(|channel| channel.as_str() == recipient.channel);
    if channel.is_none() {
        found.note(step.key("recipient").key("channel"), one_of(&known, &recipient.channel));
    }
    channel.cloned()
}

/// Says which channels there are, and which of them `given` looks like.
fn one_of(known: &[Channel], given: &str) -> Wanted {
    let mut phrases = vec![Phrase::text("must be a channel of this service, which has ")];
    if known.is_empty() {
        phrases.push(Phrase::text("none for this tenant: a route in its configuration adds one"));
    }
    for (index, channel) in known.iter().enumerate() {
        if index > 0 {
            phrases.push(Phrase::text(", "));
        }
        phrases.push(Phrase::Channel(channel.clone()));
    }
    let nearest = known
        .iter()
        .map(|channel| (strsim::jaro_winkler(channel.as_str(), given), channel))
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|(a, _), (b, _)| a.total_cmp(b));
    if let Some((_, channel)) = nearest {
        phrases.push(Phrase::text("; did you mean "));
        phrases.push(Phrase::Channel(channel.clone()));
        phrases.push(Phrase::text("?"));
    }
    Wanted::of(phrases)
}

/// A sender or recipient. Its form is the channel's affair and not looked at here.
pub(super) fn endpoint(
    given: Option<&Address>,
    field: FieldAt<'_>,
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
