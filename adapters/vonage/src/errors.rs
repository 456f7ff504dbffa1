//! What Vonage's codes mean: the one table.
//!
//! The codes come from the published lists of the Messages API v0.1 and v1; who is at fault and
//! whether to try again is our judgement of their descriptions. Sentences are our own: Vonage's may
//! repeat a number or a text, so they are never passed on.

use dispatch_contract::{ErrorKind, Fault, Retry};
use dispatch_kit::refusal::CodeMeaning;

/// Where a code was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeSource {
    /// In the response to a send.
    SendResponse,
    /// In a status webhook.
    Receipt,
}

/// What `code` means, a number or the name at the end of a problem's `type`; `None` if this table
/// does not know it.
///
/// The same number may mean different things in an answer and in a receipt: the published
/// examples of answers still carry an older list (1100 is "unsupported channel" there, and
/// "communication failed" in receipts). Read as a receipt's, an answer's 1100 would be retried for
/// ever.
pub fn meaning(code: &str, told: CodeSource) -> Option<CodeMeaning> {
    use CodeSource::{Receipt, SendResponse};
    use ErrorKind as K;
    use Fault::{Account, Content, Provider, Recipient};

    const NO: Retry = Retry::Permanent;
    const YES: Retry = Retry::Temporary { after: None };

    let (kind, fault, retry, sentence) = match (code, told) {
        ("110", SendResponse) => {
            (K::InvalidRecipient, Recipient, NO, "the recipient is not valid for this channel")
        }
        ("1060", SendResponse) => {
            (K::InvalidRequest, Content, NO, "the client reference is not valid")
        }
        ("1100", SendResponse) => (K::InvalidRequest, Account, NO, "the channel is not supported"),
        ("1110" | "1150", SendResponse) => {
            (K::InvalidRequest, Content, NO, "a parameter is not valid")
        }
        ("1120", SendResponse) => {
            (K::Forbidden, Account, NO, "the sender is not valid for this channel")
        }
        ("1140", SendResponse) => {
            (K::InvalidRequest, Content, NO, "this kind of message is not valid on this channel")
        }
        ("unauthorized" | "unathorized", _) => {
            (K::Unauthorized, Account, NO, "the account's credential was not accepted")
        }
        ("unprovisioned", _) => {
            (K::Forbidden, Account, NO, "the account has no access to this product")
        }
        ("low-balance", _) => {
            (K::InsufficientFunds, Account, NO, "the account's balance is too low")
        }
        ("invalid-json" | "InvalidParams", _) => {
            (K::InvalidRequest, Content, NO, "the request did not validate")
        }

        ("1000", _) => (K::Throttled, Provider, YES, "too many messages at a time"),
        ("1010", _) => (K::InvalidRequest, Content, NO, "a parameter is missing"),
        ("1020", _) => (K::InvalidRequest, Content, NO, "a parameter is not valid"),
        ("1021", _) => (K::InvalidRequest, Content, NO, "the message tag is not valid"),
        ("1022", _) => {
            (K::ContentRejected, Content, NO, "the template or its parameters are not valid")
        }
        ("1030", _) => (K::ProviderFailure, Provider, YES, "an error inside the platform"),
        ("1040", _) => (K::ContentRejected, Content, NO, "the message could not be processed"),
        ("1050", _) => (K::Unreached, Recipient, NO, "the number is barred from messages"),
        ("1060", Receipt) => (K::Forbidden, Account, NO, "the account is barred"),
        ("1070", _) => (K::InsufficientFunds, Account, NO, "the account's credit is used up"),
        ("1080", _) => (K::Forbidden, Account, NO, "the account may not use this API"),
        ("1090", _) => (K::ContentRejected, Content, NO, "the message is too long"),
        ("1100", Receipt) => {
            (K::ProviderFailure, Provider, YES, "communication with the carrier failed")
        }
        ("1110", Receipt) => (K::Unauthorized, Account, NO, "the signature was not accepted"),
        ("1120", Receipt) => (K::Forbidden, Account, NO, "the sender is not allowed"),
        ("1130", _) => (K::InvalidRequest, Content, NO, "the time to live is not valid"),
        ("1140", Receipt) => (K::Forbidden, Account, NO, "the account may not use this facility"),
        ("1150", Receipt) => (K::InvalidRequest, Content, NO, "the message class is not valid"),
        ("1160", _) => {
            (K::Forbidden, Account, NO, "the account may send only to numbers on its list")
        }
        ("1170", _) => (K::InvalidRecipient, Recipient, NO, "the number is missing or not valid"),
        ("1180", _) => (K::Unreached, Recipient, YES, "the person is absent for the moment"),
        ("1190", _) => (K::Unreached, Recipient, NO, "the person is no longer on the network"),
        ("1200", _) => (K::Unreached, Recipient, NO, "the number moved to another carrier"),
        ("1210", _) => (K::ContentRejected, Content, NO, "the carrier took it for spam"),
        ("1220", _) => (K::Unreached, Recipient, YES, "the handset is busy"),
        ("1230", _) => (K::ProviderFailure, Provider, YES, "an error in the network"),
        ("1240", _) => (K::OptedOut, Recipient, NO, "the person wants no messages from the sender"),
        ("1241", _) => (K::Throttled, Provider, YES, "too many requests to send"),
        ("1250" | "1251", _) => (K::ProviderFailure, Provider, NO, "no route to the number"),
        ("1260", _) => (K::Unreached, Recipient, NO, "the number could not be reached"),
        ("1270", _) => (K::Unreached, Recipient, NO, "blocked for the person's age"),
        ("1280", _) => (K::Unreached, Recipient, NO, "blocked by the carrier"),
        ("1282", _) => (K::Unreached, Recipient, NO, "blocked by the channel"),
        ("1290", _) => (K::Unreached, Recipient, NO, "the person's prepaid account is empty"),
        ("1300", _) => (K::InvalidRecipient, Recipient, NO, "the person is not on this channel"),
        ("1310", _) => (K::Unreached, Recipient, NO, "the device cannot receive the message"),
        ("1320", _) => (K::InvalidRequest, Content, NO, "the message was already sent"),
        ("1330", _) => (K::ProviderFailure, Provider, NO, "an error that the carrier did not name"),
        ("1331", _) => (K::ProviderFailure, Provider, YES, "the channel does not respond"),
        ("1340", _) => {
            (K::OutsideWindow, Recipient, NO, "the person did not write recently enough")
        }
        ("1350", _) => (K::Forbidden, Account, NO, "the fee for matching numbers is not paid"),
        ("1360", _) => (K::Unreached, Recipient, NO, "not delivered within its time to live"),
        ("1370", _) => (K::Unauthorized, Account, NO, "the channel's access token expired"),
        ("1380", _) => (K::ContentRejected, Content, NO, "the file's URL is not valid"),
        ("1381", _) => (K::ContentRejected, Content, NO, "the file is too large"),
        ("1382", _) => (K::ContentRejected, Content, NO, "the file is of a wrong type"),
        ("1400", _) => (K::InvalidRequest, Account, NO, "the channel is not supported"),
        ("1410", _) => (K::InvalidRequest, Content, NO, "an option of the channel is not valid"),
        ("1420", _) => (K::Forbidden, Account, NO, "the sender is not valid for this channel"),
        ("1430", _) => {
            (K::InvalidRecipient, Recipient, NO, "the recipient is not valid for this channel")
        }
        ("1440", _) => {
            (K::InvalidRequest, Content, NO, "this kind of message is not valid on this channel")
        }
        ("1450", _) => (K::InvalidRequest, Content, NO, "the client reference is not valid"),
        ("1451", _) => (K::InvalidRequest, Content, NO, "the quoted message is not valid"),
        ("1460", _) => (K::Throttled, Account, YES, "the day's limit for this sender is reached"),
        ("1461", _) => (K::Throttled, Provider, YES, "the channel limits this kind of message"),
        ("1470", _) => (K::Forbidden, Account, NO, "blocked by the account's fraud rules: prefix"),
        ("1472", _) => (K::Throttled, Account, YES, "blocked by the account's fraud rules: burst"),
        ("1473", _) => (K::Forbidden, Account, NO, "blocked as artificially inflated traffic"),
        ("1480", _) => (K::Forbidden, Account, NO, "the registered entity does not match"),
        ("1481", _) => (K::Forbidden, Account, NO, "the registered sender header does not match"),
        ("1482", _) => (K::ContentRejected, Content, NO, "the registered content does not match"),
        ("1483", _) => (K::OptedOut, Recipient, NO, "the person did not consent"),
        ("1484", _) => (K::Forbidden, Account, NO, "a regulation does not allow it"),
        _ => return None,
    };
    Some(CodeMeaning { kind, fault, retry, sentence })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every code of the published lists of v0.1 and v1.
    const PUBLISHED: [u16; 64] = [
        1000, 1010, 1020, 1021, 1022, 1030, 1040, 1050, 1060, 1070, 1080, 1090, 1100, 1110, 1120,
        1130, 1140, 1150, 1160, 1170, 1180, 1190, 1200, 1210, 1220, 1230, 1240, 1241, 1250, 1251,
        1260, 1270, 1280, 1282, 1290, 1300, 1310, 1320, 1330, 1331, 1340, 1350, 1360, 1370, 1380,
        1381, 1382, 1400, 1410, 1420, 1430, 1440, 1450, 1451, 1460, 1461, 1470, 1472, 1473, 1480,
        1481, 1482, 1483, 1484,
    ];

    #[test]
    fn every_published_code_has_a_meaning_in_answers_and_receipts() {
        for code in PUBLISHED {
            for told in [CodeSource::SendResponse, CodeSource::Receipt] {
                assert!(meaning(&code.to_string(), told).is_some(), "{code} in {told:?}");
            }
        }
    }

    #[test]
    fn only_what_passes_by_itself_is_tried_again() {
        let again: Vec<_> = PUBLISHED
            .iter()
            .filter(|code| {
                meaning(&code.to_string(), CodeSource::Receipt)
                    .is_some_and(|meaning| matches!(meaning.retry, Retry::Temporary { .. }))
            })
            .collect();
        assert_eq!(
            again,
            [&1000, &1030, &1100, &1180, &1220, &1230, &1241, &1331, &1460, &1461, &1472]
        );
    }

    #[test]
    fn an_answer_s_1100_is_not_a_receipt_s_1100() {
        let answer = meaning("1100", CodeSource::SendResponse).expect("known");
        let receipt = meaning("1100", CodeSource::Receipt).expect("known");
        assert_eq!((answer.retry, answer.fault), (Retry::Permanent, Fault::Account));
        assert_eq!(receipt.retry, Retry::Temporary { after: None });
    }

    #[test]
    fn an_opted_out_person_is_never_tried_again() {
        for code in ["1240", "1483"] {
            let meaning = meaning(code, CodeSource::Receipt).expect("known");
            assert_eq!((meaning.kind, meaning.retry), (ErrorKind::OptedOut, Retry::Permanent));
        }
    }

    #[test]
    fn what_is_not_in_the_table_has_no_meaning() {
        for code in ["", "110", "999999", "1000 ", "not-found"] {
            assert_eq!(meaning(code, CodeSource::Receipt), None, "{code:?}");
        }
    }
}
