//! How long the provider goes on trying: the time to live of one message.
//!
//! What the caller asked for, and never longer than the message is of use: an SMS that stays alive at a
//! carrier after the next step was sent would arrive beside it. What is left is told only where it
//! shortens the provider's own time, because a long one is the carrier's to choose.

use std::ops::RangeInclusive;

use dispatch_contract::{Channel, Message, SendContext};
use dispatch_mms::MmsOptions;
use dispatch_rcs::RcsOptions;
use dispatch_sms::SmsOptions;
use dispatch_viber::ViberOptions;

/// Seconds, where a channel knows a time to live. MMS, Viber and RCS as the OpenAPI document 1.11.0 bounds
/// them. It bounds SMS not at all: 72 h are what Vonage tries by itself, and 20 s is the shortest that
/// its older SMS API takes.
fn bounds(channel: &Channel) -> Option<RangeInclusive<u32>> {
    match channel {
        _ if *channel == Channel::SMS => Some(20..=259_200),
        _ if *channel == Channel::MMS => Some(300..=259_200),
        _ if *channel == Channel::VIBER => Some(30..=259_200),
        _ if *channel == Channel::RCS => Some(300..=2_592_000),
        _ => None,
    }
}

/// The time to live to ask the provider for, in seconds.
pub(super) fn ttl_s(context: &SendContext<'_>, message: &Message) -> Option<u32> {
    let bounds = bounds(&message.channel)?;
    let left = context.useful_for.map(|left| u32::try_from(left.as_secs()).unwrap_or(u32::MAX));
    let left = left.filter(|left| left < bounds.end()).map(|left| left.max(*bounds.start()));
    let asked = asked(message);
    asked.into_iter().chain(left).min()
}

/// What the caller asked for, in seconds.
fn asked(message: &Message) -> Option<u32> {
    let (channel, options) = (&message.channel, &message.options);
    match channel {
        _ if *channel == Channel::SMS => options.read::<SmsOptions>()?.ttl_s,
        _ if *channel == Channel::MMS => options.read::<MmsOptions>()?.ttl_s,
        _ if *channel == Channel::VIBER => options.read::<ViberOptions>()?.ttl_s,
        _ if *channel == Channel::RCS => options.read::<RcsOptions>()?.ttl_s,
        _ => None,
    }
}
