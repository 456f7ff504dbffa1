//! What Graph's codes mean: the one table, for answers and for the statuses of messages.
//!
//! WhatsApp tells most refusals either way, under one code, so both are read by it. Meta says to build on the
//! code and not on titles or HTTP statuses; a subcode counts only where one is listed. Who is at fault and
//! whether to try again is our judgement of their descriptions. Sentences are our own: Meta's may repeat a
//! number or a text, so they are never passed on.

use std::{fmt, time::Duration};

use dispatch_contract::{ErrorKind, Fault, Retry};
use dispatch_kit::{codes::Codes, json::Json, refusal::CodeMeaning};

/// WhatsApp lets a pair of numbers have about one message in so long.
const PAIR_RATE: Duration = Duration::from_secs(6);

/// A code as Graph writes it, with the subcode that some have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GraphCode {
    /// At most six digits: what is longer may be a phone number.
    pub code: u32,
    /// Only one that the table knows beside its code.
    pub subcode: Option<u32>,
}

impl GraphCode {
    /// The code of an error object: `code`, and `error_subcode` where the table knows it.
    pub(crate) fn read(error: Json<'_>) -> Option<GraphCode> {
        let digits = |value: Json<'_>, most: usize| {
            let text = value.scalar()?;
            let is_number = (1..=most).contains(&text.len());
            is_number.then(|| text.parse::<u32>().ok()).flatten()
        };
        let code = error.read("code", |code| digits(code, 6))?;
        let subcode = error.read("error_subcode", |subcode| digits(subcode, 7));
        let known = subcode.filter(|subcode| of_subcode(code, *subcode).is_some());
        Some(GraphCode { code, subcode: known })
    }

    /// What it means; `None` if the table does not know it.
    pub fn meaning(self) -> Option<CodeMeaning> {
        let by_subcode = self.subcode.and_then(|subcode| of_subcode(self.code, subcode));
        by_subcode.or_else(|| of_code(self.code))
    }

    /// What it means to an account: where that says something of the code with its subcode, or of the code.
    pub(crate) fn meaning_to(self, codes: Codes<'_>) -> Option<CodeMeaning> {
        let whole = self.to_string();
        let bare = self.code.to_string();
        let said = if codes.has(&whole) { whole } else { bare };
        codes.meaning(&said, self.meaning())
    }
}

/// Whether `text` may be one as it is shown.
pub(crate) fn is_code(text: &str) -> bool {
    let is_number = |text: &str, most| {
        (1..=most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
    };
    match text.split_once('/') {
        Some((code, subcode)) => is_number(code, 6) && is_number(subcode, 7),
        None => is_number(text, 6),
    }
}

/// `131047`, or `10/2018278`.
impl fmt::Display for GraphCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.subcode {
            Some(subcode) => write!(f, "{}/{subcode}", self.code),
            None => write!(f, "{}", self.code),
        }
    }
}

const NO: Retry = Retry::Permanent;
const YES: Retry = Retry::Temporary { after: None };

fn said(
    (kind, fault, retry, sentence): (ErrorKind, Fault, Retry, &'static str),
) -> Option<CodeMeaning> {
    Some(CodeMeaning { kind, fault, retry, sentence })
}

/// Where the subcode says more than the code.
fn of_subcode(code: u32, subcode: u32) -> Option<CodeMeaning> {
    use ErrorKind as K;
    use Fault::{Account, Provider, Recipient};

    said(match (code, subcode) {
        (1, 99) => (K::Forbidden, Account, NO, "the account may not do this"),
        (2, 2_018_344) => (K::Forbidden, Account, NO, "the account may not do this"),
        (4, 2_018_354) | (9, 2_018_352) => {
            (K::Throttled, Provider, YES, "the person got too many messages of this kind")
        }
        (10, 2_018_278 | 2_534_022) => {
            (K::OutsideWindow, Recipient, NO, "the person did not write recently enough")
        }
        (10, 2_018_108) => (K::Unreached, Recipient, NO, "the person cannot receive messages"),
        (10, 1_893_063) => (K::Forbidden, Account, NO, "the page is restricted for a time"),
        (100, 2_018_001) => (K::InvalidRecipient, Recipient, NO, "there is no such person"),
        (190, 458 | 459 | 460 | 463 | 467) => {
            (K::Unauthorized, Account, NO, "the access token expired or was withdrawn")
        }
        (551, 1_545_041) => (K::Unreached, Recipient, NO, "the person is not available"),
        (613, 1_893_016) => (K::Throttled, Provider, YES, "too many messages at a time"),
        _ => return None,
    })
}

fn of_code(code: u32) -> Option<CodeMeaning> {
    match code {
        0..=999 => of_graph(code),
        _ => of_whatsapp(code),
    }
}

/// Graph's own, and Messenger's.
fn of_graph(code: u32) -> Option<CodeMeaning> {
    use ErrorKind as K;
    use Fault::{Account, Content, Provider, Recipient};

    said(match code {
        0 | 102 | 104 | 190 => {
            (K::Unauthorized, Account, NO, "the account's access token was not accepted")
        }
        1 | 2 => (K::ProviderFailure, Provider, YES, "an error inside the platform"),
        3 | 10 | 200..=299 => (K::Forbidden, Account, NO, "the account lacks the permission"),
        4 | 17 | 32 | 613 => (K::Throttled, Provider, YES, "too many calls at a time"),
        33 => (K::Forbidden, Account, NO, "the sender's number was deleted"),
        100 => (K::InvalidRequest, Content, NO, "a parameter is not valid"),
        341 => (K::Throttled, Account, NO, "the app reached a limit of the platform's"),
        368 => (K::Forbidden, Account, NO, "the account is blocked for breaking a policy"),
        470 => (K::OutsideWindow, Recipient, NO, "the person did not write recently enough"),
        551 => (K::Unreached, Recipient, NO, "the person is not available"),
        _ => return None,
    })
}

/// WhatsApp's, and what of Graph has as many digits.
fn of_whatsapp(code: u32) -> Option<CodeMeaning> {
    use ErrorKind as K;
    use Fault::{Account, Content, Provider, Recipient};

    const PAIR: Retry = Retry::Temporary { after: Some(PAIR_RATE) };
    const TEMPLATE: &str = "the template or its parameters are not valid";

    said(match code {
        1200 => (K::ProviderFailure, Provider, YES, "a temporary failure to send"),
        80_007 => (K::Throttled, Provider, YES, "too many calls for this business account"),
        130_429 => (K::Throttled, Provider, YES, "too many messages from this number at a time"),
        130_472 => {
            (K::Unreached, Recipient, NO, "the person is part of an experiment of the provider's")
        }
        130_497 => (K::Forbidden, Account, NO, "the account may not send to this country"),
        131_000 | 131_016 | 131_057 | 133_004 => {
            (K::ProviderFailure, Provider, YES, "an error inside the platform")
        }
        131_005 => (K::Forbidden, Account, NO, "the account lacks the permission"),
        131_008 | 131_009 => {
            (K::InvalidRequest, Content, NO, "a parameter is missing or not valid")
        }
        131_021 => (K::InvalidRecipient, Recipient, NO, "sender and recipient are one number"),
        131_026 => (K::Unreached, Recipient, NO, "the person cannot be reached on this channel"),
        131_030 => {
            (K::InvalidRecipient, Recipient, NO, "the recipient is not on the test number's list")
        }
        131_031 => (K::Forbidden, Account, NO, "the account is locked"),
        131_037 => (K::Forbidden, Account, NO, "the sender's display name is not approved"),
        131_042 => (K::InsufficientFunds, Account, NO, "the account's payment method fails"),
        131_045 => (K::Forbidden, Account, NO, "the sender's number is not registered"),
        131_047 => (K::OutsideWindow, Recipient, NO, "the person did not write recently enough"),
        131_048 => (K::Throttled, Account, NO, "limited because people took messages for spam"),
        131_049 => {
            (K::Unreached, Recipient, NO, "held back so that the person does not get too many")
        }
        131_050 => (
            K::ContentRejected,
            Recipient,
            NO,
            "the person wants no marketing messages from the sender",
        ),
        131_051 => (K::InvalidRequest, Content, NO, "this kind of message is not supported"),
        131_052 | 131_053 => (K::ContentRejected, Content, NO, "the file could not be taken"),
        131_056 => (K::Throttled, Provider, PAIR, "too many messages to this person at a time"),
        131_062 => {
            (K::InvalidRecipient, Recipient, NO, "this kind of message needs the person's number")
        }
        131_063 => (K::ContentRejected, Content, NO, "marketing templates are not taken here"),
        131_064 => (K::Forbidden, Account, NO, "limited for breaking the rules of templates"),
        132_000 | 132_001 | 132_005 | 132_008 | 132_012 => {
            (K::ContentRejected, Content, NO, TEMPLATE)
        }
        132_007 => (K::ContentRejected, Content, NO, "the template's content breaks a policy"),
        132_015 | 132_016 => {
            (K::ContentRejected, Content, NO, "the template is paused or disabled")
        }
        132_068 | 132_069 => (K::ContentRejected, Content, NO, "the flow is blocked or throttled"),
        133_016 => (K::Throttled, Provider, YES, "too many registrations of this number"),
        135_000 => (K::ProviderFailure, Provider, YES, "an error that the platform did not name"),
        137_000 => {
            (K::InvalidRecipient, Recipient, NO, "the person's identity is not the expected one")
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The codes that end a message for its recipient or its content.
    const MESSAGE: [u32; 28] = [
        100, 470, 551, 130_472, 131_008, 131_009, 131_021, 131_026, 131_030, 131_047, 131_049,
        131_050, 131_051, 131_052, 131_053, 131_062, 131_063, 132_000, 132_001, 132_005, 132_007,
        132_008, 132_012, 132_015, 132_016, 132_068, 132_069, 137_000,
    ];
    /// Those that end it for its account, and need somebody's hand.
    const ACCOUNT: [u32; 18] = [
        0, 3, 10, 33, 102, 104, 190, 200, 250, 299, 368, 130_497, 131_005, 131_031, 131_037,
        131_042, 131_045, 131_064,
    ];
    /// Those that pass by themselves.
    const PASSING: [u32; 8] = [1, 2, 1200, 131_000, 131_016, 131_057, 133_004, 135_000];
    /// Those that ask for patience.
    const THROTTLED: [u32; 8] = [4, 17, 32, 613, 80_007, 130_429, 131_056, 133_016];
    /// Limits that do not pass while a message is of use.
    const LIMITED: [u32; 2] = [341, 131_048];
    /// Those whose subcode says more.
    const SUBCODES: [(u32, u32, ErrorKind, Fault); 16] = {
        use ErrorKind::{
            Forbidden, InvalidRecipient, OutsideWindow, Throttled, Unauthorized, Unreached,
        };
        use Fault::{Account, Provider, Recipient};
        [
            (1, 99, Forbidden, Account),
            (2, 2_018_344, Forbidden, Account),
            (4, 2_018_354, Throttled, Provider),
            (9, 2_018_352, Throttled, Provider),
            (10, 2_018_278, OutsideWindow, Recipient),
            (10, 2_534_022, OutsideWindow, Recipient),
            (10, 2_018_108, Unreached, Recipient),
            (10, 1_893_063, Forbidden, Account),
            (100, 2_018_001, InvalidRecipient, Recipient),
            (190, 458, Unauthorized, Account),
            (190, 459, Unauthorized, Account),
            (190, 460, Unauthorized, Account),
            (190, 463, Unauthorized, Account),
            (190, 467, Unauthorized, Account),
            (551, 1_545_041, Unreached, Recipient),
            (613, 1_893_016, Throttled, Provider),
        ]
    };

    fn meaning(code: u32) -> CodeMeaning {
        let meaning = GraphCode { code, subcode: None }.meaning();
        meaning.unwrap_or_else(|| panic!("{code} is not in the table"))
    }

    #[test]
    fn a_message_s_fault_ends_the_message_and_accuses_no_account() {
        for code in MESSAGE {
            let CodeMeaning { fault, retry, .. } = meaning(code);
            assert_eq!(retry, Retry::Permanent, "{code}");
            assert!(matches!(fault, Fault::Recipient | Fault::Content), "{code}");
        }
    }

    #[test]
    fn an_account_s_fault_ends_the_message_and_is_the_account_s() {
        for code in ACCOUNT {
            let CodeMeaning { kind, fault, retry, .. } = meaning(code);
            assert_eq!((fault, retry), (Fault::Account, Retry::Permanent), "{code}");
            use ErrorKind::{Forbidden, InsufficientFunds, Unauthorized};
            assert!(matches!(kind, Unauthorized | Forbidden | InsufficientFunds), "{code}");
        }
    }

    #[test]
    fn only_what_passes_by_itself_is_tried_again() {
        for code in PASSING {
            let CodeMeaning { kind, fault, retry, .. } = meaning(code);
            assert_eq!((kind, fault), (ErrorKind::ProviderFailure, Fault::Provider), "{code}");
            assert_eq!(retry, YES, "{code}");
        }
        for code in THROTTLED {
            let CodeMeaning { kind, retry, .. } = meaning(code);
            assert_eq!(kind, ErrorKind::Throttled, "{code}");
            assert!(matches!(retry, Retry::Temporary { .. }), "{code}");
        }
        for code in LIMITED {
            let CodeMeaning { kind, retry, .. } = meaning(code);
            assert_eq!((kind, retry), (ErrorKind::Throttled, Retry::Permanent), "{code}");
        }
        assert_eq!(meaning(131_056).retry, Retry::Temporary { after: Some(PAIR_RATE) });
    }

    #[test]
    fn a_subcode_counts_where_it_is_listed() {
        for (code, subcode, kind, fault) in SUBCODES {
            let found = GraphCode { code, subcode: Some(subcode) }.meaning().expect("listed");
            assert_eq!((found.kind, found.fault), (kind, fault), "{code}/{subcode}");
        }
        let text = br#"{"code":10,"error_subcode":2018278,"message":"447700900000"}"#;
        let code = GraphCode::read(Json::of(text)).expect("a code");
        assert_eq!(code.to_string(), "10/2018278");
        let text = br#"{"code":131047,"error_subcode":4477009}"#;
        let code = GraphCode::read(Json::of(text)).expect("a code");
        assert_eq!(code.to_string(), "131047", "a subcode of no known code is left out");
    }

    #[test]
    fn what_is_no_code_is_not_taken_for_one() {
        for text in [r#"{"code":447700900000}"#, r#"{"code":"x"}"#, r#"{"code":-1}"#, "{}", ""] {
            assert_eq!(GraphCode::read(Json::of(text.as_bytes())), None, "{text}");
        }
        for code in [5, 300, 999, 131_999, 999_999] {
            assert_eq!(GraphCode { code, subcode: None }.meaning(), None, "{code}");
        }
    }
}
