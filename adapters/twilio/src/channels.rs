//! What of each channel goes through Twilio.

use dispatch_contract::{
    AddressForm, Capabilities, Channel, ContentKind, Correlation, Limits, OptionsForm, Status,
};

use super::options;

/// The longest `Body`, in characters: a text's, or what is said beside a file.
const BODY_CHARS: u32 = 1_600;

/// What of `can`, which is all that a channel has, goes through Twilio.
///
/// - Our attempt comes back in the query of the URL for statuses.
/// - A message is canceled as long as Twilio has not sent it; most are out within a second.
/// - Nothing makes a repeated call known as one.
pub(crate) fn capabilities(channel: &Channel, can: Capabilities) -> Capabilities {
    use ContentKind::{Audio, Code, File, Image, Location, Template, Text, Video};

    let limits = Limits {
        text_chars: can.limits.text_chars.min(BODY_CHARS),
        caption_chars: can.limits.caption_chars.min(BODY_CHARS),
        ..can.limits
    };
    let can = Capabilities { correlation: Correlation::AttemptId, recall: true, limits, ..can };
    match channel {
        _ if *channel == Channel::WHATSAPP => Capabilities {
            content: vec![Text, Image, Audio, Video, File, Location, Template, Code],
            // A document shows neither a text nor its name.
            captions: vec![Image, Video],
            to: vec![AddressForm::E164],
            options: options::WHATSAPP,
            ..can
        },
        _ if *channel == Channel::RCS => Capabilities {
            // Twilio promises `read` for WhatsApp alone.
            condition_statuses: vec![Status::Submitted, Status::Delivered],
            content: vec![Text, Image, Video, File, Code],
            options: options::TIMED,
            ..can
        },
        _ if [Channel::SMS, Channel::MMS].contains(channel) => {
            Capabilities { options: options::TIMED, ..can }
        }
        _ => Capabilities { options: OptionsForm::NONE, ..can },
    }
}
