//! How long a message may wait in Twilio's queue.
//!
//! What the caller asked for, and never longer than the message is of use: an SMS that waits while the
//! next step is sent would arrive beside it. What is left is told only where it is less than Twilio's own
//! time. What has left the queue is beyond it.

use dispatch_contract::{Channel, Message, SendContext};
use dispatch_mms::MmsOptions;
use dispatch_rcs::RcsOptions;
use dispatch_sms::SmsOptions;

use super::options::VALIDITY_S;

/// The validity period to ask for, in seconds.
pub(crate) fn validity_s(context: &SendContext<'_>, message: &Message) -> Option<u32> {
    let left = context.useful_for.map(|left| u32::try_from(left.as_secs()).unwrap_or(u32::MAX));
    let left =
        left.filter(|left| left < VALIDITY_S.end()).map(|left| left.max(*VALIDITY_S.start()));
    asked(message).into_iter().chain(left).min()
}

/// What the caller asked for, in seconds.
fn asked(message: &Message) -> Option<u32> {
    let (channel, options) = (&message.channel, &message.options);
    match channel {
        _ if *channel == Channel::SMS => options.read::<SmsOptions>()?.ttl_s,
        _ if *channel == Channel::MMS => options.read::<MmsOptions>()?.ttl_s,
        _ if *channel == Channel::RCS => options.read::<RcsOptions>()?.ttl_s,
        _ => None,
    }
}
