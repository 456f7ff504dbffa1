//! What the Gateway's errors mean: the one table.
//!
//! They are words (`PHONE_NUMBER_INVALID`), of which Telegram's page names but one; the others are those that its
//! users have met. Who is at fault and whether to try again is our judgement of the words.

use dispatch_contract::{ErrorKind, Fault, Retry};
use dispatch_kit::refusal::CodeMeaning;

/// What `error` means; `None` if it is not known.
pub fn meaning(error: &str) -> Option<CodeMeaning> {
    use ErrorKind as K;
    use Fault::{Account, Content, Provider, Recipient};

    const NO: Retry = Retry::Permanent;
    const YES: Retry = Retry::Temporary { after: None };
    // How long to wait may stand behind it: `FLOOD_WAIT_30`.
    let word = if error.starts_with("FLOOD_WAIT") { "FLOOD_WAIT" } else { error };
    let (kind, fault, retry, sentence) = match word {
        "ACCESS_TOKEN_INVALID" | "ACCESS_TOKEN_REQUIRED" => {
            (K::Unauthorized, Account, NO, "the account's token was not accepted")
        }
        "BALANCE_NOT_ENOUGH" => {
            (K::InsufficientFunds, Account, NO, "the account has no money left")
        }
        "CALLBACK_URL_INVALID" => {
            (K::InvalidRequest, Account, NO, "the URL for reports is not one that Telegram takes")
        }
        "SENDER_USERNAME_INVALID" => (K::Forbidden, Account, NO, "the sender is no channel"),
        "SENDER_NOT_VERIFIED" => {
            (K::Forbidden, Account, NO, "the sender is not a verified channel")
        }
        "SENDER_NOT_OWNED" => {
            (K::Forbidden, Account, NO, "the sender is not the account's channel")
        }
        "UNKNOWN_METHOD" => {
            (K::InvalidRequest, Account, NO, "there is no Gateway API at the account's base_url")
        }
        "CODE_INVALID" | "CODE_LENGTH_INVALID" | "CODE_LENGTH_REQUIRED" => {
            (K::ContentRejected, Content, NO, "the code is not one that Telegram takes")
        }
        "PAYLOAD_INVALID" | "TTL_INVALID" => {
            (K::InvalidRequest, Content, NO, "the provider found the request malformed")
        }
        "PHONE_NUMBER_INVALID" => {
            (K::InvalidRecipient, Recipient, NO, "the phone number is not valid")
        }
        "PHONE_NUMBER_NOT_FOUND" => {
            (K::InvalidRecipient, Recipient, NO, "nobody uses Telegram with this phone number")
        }
        "PHONE_NUMBER_NOT_AVAILABLE" => {
            (K::Unreached, Recipient, NO, "the phone number cannot be reached on Telegram")
        }
        "PHONE_NUMBER_MISMATCH"
        | "REQUEST_ID_INVALID"
        | "REQUEST_ID_REQUIRED"
        | "MESSAGE_ALREADY_SENT" => {
            (K::ProviderFailure, Provider, NO, "the provider lost the request that it had allowed")
        }
        "FLOOD_WAIT" => (K::Throttled, Provider, YES, "too many calls at a time"),
        _ => return None,
    };
    Some(CodeMeaning { kind, fault, retry, sentence })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All that are known of.
    const KNOWN: [(&str, Fault, ErrorKind); 19] = {
        use ErrorKind as K;
        use Fault::{Account, Content, Provider, Recipient};
        [
            ("ACCESS_TOKEN_INVALID", Account, K::Unauthorized),
            ("ACCESS_TOKEN_REQUIRED", Account, K::Unauthorized),
            ("BALANCE_NOT_ENOUGH", Account, K::InsufficientFunds),
            ("CALLBACK_URL_INVALID", Account, K::InvalidRequest),
            ("SENDER_USERNAME_INVALID", Account, K::Forbidden),
            ("SENDER_NOT_VERIFIED", Account, K::Forbidden),
            ("SENDER_NOT_OWNED", Account, K::Forbidden),
            ("UNKNOWN_METHOD", Account, K::InvalidRequest),
            ("CODE_INVALID", Content, K::ContentRejected),
            ("CODE_LENGTH_INVALID", Content, K::ContentRejected),
            ("CODE_LENGTH_REQUIRED", Content, K::ContentRejected),
            ("PAYLOAD_INVALID", Content, K::InvalidRequest),
            ("TTL_INVALID", Content, K::InvalidRequest),
            ("PHONE_NUMBER_INVALID", Recipient, K::InvalidRecipient),
            ("PHONE_NUMBER_NOT_FOUND", Recipient, K::InvalidRecipient),
            ("PHONE_NUMBER_NOT_AVAILABLE", Recipient, K::Unreached),
            ("PHONE_NUMBER_MISMATCH", Provider, K::ProviderFailure),
            ("REQUEST_ID_INVALID", Provider, K::ProviderFailure),
            ("MESSAGE_ALREADY_SENT", Provider, K::ProviderFailure),
        ]
    };

    #[test]
    fn every_known_error_says_whose_fault_it_was_and_only_a_flood_is_waited_for() {
        for (error, fault, kind) in KNOWN {
            let known = meaning(error).expect(error);
            assert_eq!((known.fault, known.kind, known.retry), (fault, kind, Retry::Permanent));
        }
        for flood in ["FLOOD_WAIT", "FLOOD_WAIT_30"] {
            let known = meaning(flood).expect(flood);
            let again = Retry::Temporary { after: None };
            assert_eq!((known.kind, known.retry), (ErrorKind::Throttled, again));
        }
        for unknown in ["", "phone_number_invalid", "SOMETHING_ELSE"] {
            assert_eq!(meaning(unknown), None);
        }
    }
}
