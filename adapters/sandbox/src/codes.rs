//! What the provider's codes mean, as far as a script can name them.

use dispatch_contract::{ErrorKind, Fault};

/// What a code means.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CodeMeaning {
    pub(crate) kind: ErrorKind,
    pub(crate) fault: Fault,
    /// One sentence of the provider's.
    pub(crate) text: &'static str,
}

/// The meaning of a code of the Messages API; one that is not listed is the provider's own failure.
pub(crate) fn meaning(code: u16) -> CodeMeaning {
    use ErrorKind as K;
    use Fault as F;
    let (kind, fault, text) = match code {
        1000 => (K::Throttled, F::Provider, "Throttled - the send rate was exceeded"),
        1010 => (K::InvalidRequest, F::Content, "Missing params - the request was incomplete"),
        1020 => (K::InvalidRequest, F::Content, "Invalid params - a parameter was not understood"),
        1021 => (K::InvalidRequest, F::Content, "Invalid tag - the message tag is not allowed"),
        1022 => (K::ContentRejected, F::Content, "Invalid template - it was not found or filled"),
        1050 => (K::InvalidRecipient, F::Recipient, "Number barred - the recipient is blocked"),
        1060 | 1080 | 1140 => (K::Forbidden, F::Account, "Account barred - it may not do this"),
        1070 | 1350 => (K::InsufficientFunds, F::Account, "Quota exceeded - no credit is left"),
        1090 | 1380 | 1381 | 1382 => {
            (K::ContentRejected, F::Content, "Unsuitable content - too long, too large or unknown")
        }
        1120 | 1420 => (K::Forbidden, F::Account, "Illegal sender - it is not enabled"),
        1160 => (K::Forbidden, F::Account, "Destination not whitelisted - the account is a trial"),
        1170 | 1300 | 1310 | 1430 => {
            (K::InvalidRecipient, F::Recipient, "Invalid recipient - not known on this channel")
        }
        1180 | 1190 | 1220 | 1250 | 1251 | 1260 | 1290 => {
            (K::Unreached, F::Recipient, "Unreached - the recipient could not be reached")
        }
        1210 | 1480..=1482 => {
            (K::ContentRejected, F::Content, "Filtered - the content was taken for spam")
        }
        1240 | 1483 => (K::OptedOut, F::Recipient, "Opted out - the recipient refused messages"),
        1340 => {
            (K::OutsideWindow, F::Recipient, "Outside window - the recipient wrote too long ago")
        }
        1360 => (K::Unreached, F::Recipient, "TTL expired - the message was not delivered in time"),
        1370 => (K::Unauthorized, F::Account, "Access token expired - the channel was unlinked"),
        _ => (K::ProviderFailure, F::Provider, "Provider error - the message was not processed"),
    };
    CodeMeaning { kind, fault, text }
}
