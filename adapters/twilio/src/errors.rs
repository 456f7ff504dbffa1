//! What Twilio's codes mean: the one table.
//!
//! The same code means the same in an answer and in a status webhook. Who is at fault and whether to try
//! again is our judgement of their descriptions, which Twilio says may change; a code that is not here is
//! judged by its range. Sentences are our own: Twilio's may repeat a number or a text, so they are never
//! passed on.

use dispatch_contract::{ErrorKind, Fault, Retry};
use dispatch_kit::refusal::{CodeMeaning, REFUSED};

/// The codes of carriers and of Twilio's own sending, which come once a message was taken.
const SENDING: std::ops::RangeInclusive<u32> = 30_000..=30_999;
/// The codes of channels beside SMS and MMS.
const CHANNELS: std::ops::RangeInclusive<u32> = 63_000..=63_999;

/// What `code` means; `None` if it is none of Twilio's for messages.
pub fn meaning(code: u32) -> Option<CodeMeaning> {
    let (kind, fault, retry, sentence) = request(code)
        .or_else(|| carrier(code))
        .or_else(|| channel(code))
        .or_else(|| range(code))?;
    Some(CodeMeaning { kind, fault, retry, sentence })
}

/// Whether a message that failed with this code had gone out before.
pub(crate) fn is_of_sending(code: u32) -> bool {
    SENDING.contains(&code)
}

type CodeRow = (ErrorKind, Fault, Retry, &'static str);

const NO: Retry = Retry::Permanent;
const YES: Retry = Retry::Temporary { after: None };

/// What is said of a request at once.
fn request(code: u32) -> Option<CodeRow> {
    use ErrorKind as K;
    use Fault::{Account, Content, Provider, Recipient};

    Some(match code {
        14_107 | 20_429 => (K::Throttled, Provider, YES, "too many calls at a time"),
        20_003 => (K::Unauthorized, Account, NO, "the account's credential was not accepted"),
        20_005 => (K::Forbidden, Account, NO, "the account is not active"),
        20_008 => (K::Forbidden, Account, NO, "test credentials may not do this"),
        20_500 | 20_503 => (K::ProviderFailure, Provider, YES, "an error inside the platform"),
        21_211 => (K::InvalidRecipient, Recipient, NO, "the recipient is not valid"),
        21_212 => (K::Forbidden, Account, NO, "the sender is not valid"),
        21_214 => (K::Unreached, Recipient, NO, "the number cannot be reached"),
        21_217 => (K::InvalidRecipient, Recipient, NO, "the number does not seem to be valid"),
        21_408 => (K::Forbidden, Account, NO, "the account may not send to this region"),
        21_601 | 21_606 => {
            (K::Forbidden, Account, NO, "the sender cannot send to this destination")
        }
        21_602 | 21_619 => (K::InvalidRequest, Content, NO, "the message has no content"),
        21_603 => (K::InvalidRequest, Content, NO, "the sender is missing"),
        21_604 => (K::InvalidRequest, Content, NO, "the recipient is missing"),
        21_608 => (K::Forbidden, Account, NO, "a trial account may send to verified numbers only"),
        21_609 => (K::InvalidRequest, Account, NO, "the URL for statuses is not valid"),
        21_610 => (K::OptedOut, Recipient, NO, "the person wants no messages from the sender"),
        21_611 => (K::Throttled, Provider, YES, "the sender's queue is full"),
        21_612 => (K::Unreached, Recipient, NO, "the number cannot be reached from this sender"),
        21_614 => (K::InvalidRecipient, Recipient, NO, "the number is no mobile number"),
        21_617 => (K::ContentRejected, Content, NO, "the message is too long"),
        21_620 => (K::ContentRejected, Content, NO, "the file's URL is not valid"),
        21_623 => (K::ContentRejected, Content, NO, "the message has too many files"),
        21_635 => (K::InvalidRecipient, Recipient, NO, "the number is a landline"),
        21_654..=21_656 => {
            (K::ContentRejected, Content, NO, "the template or its parameters are not valid")
        }
        21_703..=21_705 => {
            (K::Forbidden, Account, NO, "the messaging service cannot send this message")
        }
        21_730 => (K::ProviderFailure, Provider, YES, "the platform is being maintained"),
        _ => return None,
    })
}

/// What carriers say of SMS and MMS, and Twilio's own sending.
fn carrier(code: u32) -> Option<CodeRow> {
    use ErrorKind as K;
    use Fault::{Account, Content, Provider, Recipient};

    Some(match code {
        30_001 => (K::Throttled, Provider, YES, "the sender's queue is full"),
        30_002 => (K::Forbidden, Account, NO, "the account is suspended"),
        30_003 => (K::Unreached, Recipient, NO, "the handset cannot be reached"),
        30_004 => (K::Unreached, Recipient, NO, "blocked by the carrier"),
        30_005 => (K::Unreached, Recipient, NO, "the handset is not known"),
        30_006 => (K::Unreached, Recipient, NO, "a landline, or a carrier that is not reached"),
        30_007 => (K::ContentRejected, Content, NO, "the carrier took it for spam"),
        30_008 => (K::ProviderFailure, Provider, YES, "an error that the carrier did not name"),
        30_009 => (K::ProviderFailure, Provider, YES, "a part of the message was lost"),
        30_011 => (K::Unreached, Recipient, NO, "the carrier takes no MMS"),
        30_016 => {
            (K::InvalidRequest, Content, NO, "sender and recipient are of different channels")
        }
        30_017 => (K::ProviderFailure, Provider, YES, "the carrier is congested"),
        30_019 => (K::ContentRejected, Content, NO, "the file is too large"),
        30_020 | 30_021 => (K::ProviderFailure, Provider, YES, "an error inside the platform"),
        30_022 => (K::Throttled, Provider, YES, "the registered campaign sends too fast"),
        30_023 | 30_027 => {
            (K::Throttled, Account, NO, "the carrier's limit for the day is reached")
        }
        30_032 => (K::Forbidden, Account, NO, "the toll-free number is not verified"),
        30_034 => (K::Forbidden, Account, NO, "the number is not registered for messages (10DLC)"),
        30_036 => (K::Unreached, Recipient, NO, "not sent within its time"),
        // Twilio does not try again, so that nobody gets it twice.
        30_410 => (
            K::Timeout,
            Provider,
            Retry::Unknown,
            "the carrier did not answer; it may have arrived",
        ),
        30_450 => (K::Throttled, Account, NO, "blocked as inflated traffic"),
        _ => return None,
    })
}

/// What channels such as WhatsApp and RCS say.
fn channel(code: u32) -> Option<CodeRow> {
    use ErrorKind as K;
    use Fault::{Account, Content, Provider, Recipient};

    Some(match code {
        63_001 => (K::Unauthorized, Account, NO, "the channel did not accept the credential"),
        63_002 | 63_007 => (K::Forbidden, Account, NO, "the channel has no such sender"),
        63_008 => (K::Forbidden, Account, NO, "the channel is not set up as it should be"),
        63_003 => (K::InvalidRecipient, Recipient, NO, "the person is not on this channel"),
        63_005 | 63_006 | 63_021 | 63_030 => {
            (K::ContentRejected, Content, NO, "the channel does not take this content")
        }
        63_009 | 63_010 | 63_012 => {
            (K::ProviderFailure, Provider, YES, "an error of the channel's")
        }
        63_013 => (K::ContentRejected, Content, NO, "against the channel's policy"),
        // They may undo it without a word.
        63_014 => (K::Unreached, Recipient, NO, "the person blocked the sender"),
        63_016 => (K::OutsideWindow, Recipient, NO, "the person did not write recently enough"),
        63_017 => (K::Throttled, Provider, YES, "the account sends too fast"),
        63_018 => (K::Throttled, Provider, YES, "the channel limits this sender"),
        63_019 | 63_034 => (K::ContentRejected, Content, NO, "the file could not be used"),
        63_020 => (K::Forbidden, Account, NO, "the business manager has not been set up"),
        63_023 | 63_037 => {
            (K::ProviderFailure, Provider, YES, "an error that the channel did not name")
        }
        63_024 => (K::InvalidRecipient, Recipient, NO, "the recipient is not valid"),
        63_026 => (K::ContentRejected, Content, NO, "the channel took it for spam"),
        63_027..=63_029 | 63_040..=63_042 => {
            (K::ContentRejected, Content, NO, "the template cannot be used, or its parameters")
        }
        63_031 => (K::InvalidRequest, Content, NO, "sender and recipient are the same"),
        63_032 => (K::Unreached, Recipient, NO, "held back by an experiment of the channel's"),
        63_033 => (K::Unreached, Recipient, NO, "the person may not be written to"),
        63_035 => {
            (K::Forbidden, Account, NO, "the RCS sender is not launched, or not for this person")
        }
        63_036 => (K::Unreached, Recipient, NO, "the person cannot be reached by RCS"),
        63_038 => (K::Throttled, Account, NO, "the account's limit for the day is reached"),
        63_049 => (K::Unreached, Recipient, NO, "Meta chose not to deliver it"),
        63_051 => (K::Forbidden, Account, NO, "the WhatsApp Business account is locked"),
        _ => return None,
    })
}

/// What is said of a code that the table does not know.
fn range(code: u32) -> Option<CodeRow> {
    match code {
        10_000..=29_999 => Some((REFUSED.kind, REFUSED.fault, REFUSED.retry, REFUSED.sentence)),
        _ if SENDING.contains(&code) => {
            Some((ErrorKind::Unreached, Fault::Recipient, NO, "the message was not delivered"))
        }
        _ if CHANNELS.contains(&code) => {
            Some((ErrorKind::ProviderFailure, Fault::Provider, NO, "the channel did not take it"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(codes: &[u32]) -> impl Iterator<Item = (u32, CodeMeaning)> {
        codes.iter().map(|code| {
            let row = request(*code).or_else(|| carrier(*code)).or_else(|| channel(*code));
            assert!(row.is_some(), "{code} has no row of its own");
            (*code, meaning(*code).expect("known"))
        })
    }

    #[test]
    fn what_lies_with_the_person_or_the_message_is_not_tried_again() {
        for (code, meaning) in known(&[
            21_211, 21_214, 21_217, 21_602, 21_603, 21_604, 21_610, 21_612, 21_614, 21_617, 21_619,
            21_620, 21_623, 21_635, 21_654, 21_655, 21_656, 30_003, 30_004, 30_005, 30_006, 30_007,
            30_011, 30_016, 30_019, 30_036, 63_003, 63_005, 63_006, 63_013, 63_014, 63_016, 63_019,
            63_021, 63_024, 63_026, 63_027, 63_028, 63_029, 63_030, 63_031, 63_032, 63_033, 63_034,
            63_036, 63_040, 63_041, 63_042, 63_049,
        ]) {
            assert_eq!(meaning.retry, Retry::Permanent, "{code}");
            assert!(matches!(meaning.fault, Fault::Recipient | Fault::Content), "{code}");
        }
    }

    #[test]
    fn what_lies_with_the_account_is_not_tried_again_and_said_to_be_its() {
        for (code, meaning) in known(&[
            20_003, 20_005, 20_008, 21_212, 21_408, 21_601, 21_606, 21_608, 21_609, 21_703, 21_704,
            21_705, 30_002, 30_023, 30_027, 30_032, 30_034, 30_450, 63_001, 63_002, 63_007, 63_008,
            63_020, 63_035, 63_038, 63_051,
        ]) {
            assert_eq!(
                (meaning.fault, meaning.retry),
                (Fault::Account, Retry::Permanent),
                "{code}"
            );
        }
    }

    #[test]
    fn only_what_passes_by_itself_is_tried_again() {
        for (code, meaning) in known(&[
            14_107, 20_429, 20_500, 20_503, 21_611, 21_730, 30_001, 30_008, 30_009, 30_017, 30_020,
            30_021, 30_022, 63_009, 63_010, 63_012, 63_017, 63_018, 63_023, 63_037,
        ]) {
            let again = Retry::Temporary { after: None };
            assert_eq!((meaning.fault, meaning.retry), (Fault::Provider, again), "{code}");
        }
        for (code, meaning) in known(&[14_107, 20_429, 21_611, 30_001, 30_022, 63_017, 63_018]) {
            assert_eq!(meaning.kind, ErrorKind::Throttled, "{code}");
        }
    }

    #[test]
    fn what_may_have_arrived_is_of_unknown_outcome() {
        assert_eq!(meaning(30_410).expect("known").retry, Retry::Unknown);
    }

    #[test]
    fn who_opted_out_and_who_did_not_write_are_told_apart() {
        for (code, kind) in [
            (21_610, ErrorKind::OptedOut),
            (63_014, ErrorKind::Unreached),
            (63_016, ErrorKind::OutsideWindow),
        ] {
            assert_eq!(meaning(code).expect("known").kind, kind, "{code}");
        }
    }

    #[test]
    fn what_is_not_in_the_table_is_judged_by_its_range() {
        for (code, fault) in [
            (21_999, Some(Fault::Content)),
            (30_999, Some(Fault::Recipient)),
            (63_999, Some(Fault::Provider)),
            (1, None),
            (31_000, None),
            (4_477_009, None),
        ] {
            assert_eq!(meaning(code).map(|meaning| meaning.fault), fault, "{code}");
        }
    }
}
