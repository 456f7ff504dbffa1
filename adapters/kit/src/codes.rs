//! What an account says that its provider's codes mean, over the table of the provider's adapter.
//!
//! Providers document their codes in part, and change them; whose fault one is and whether the call is worth
//! making again is our judgement. Where an operator knows better, the setting [`CODES`] says so, code by code.
//! It is read here alone: by [`Codes::meaning`], for answers and for receipts.

use dispatch_contract::{Account, ErrorKind, Fault, Retry, Setting, SettingRule};

use crate::refusal::{CodeMeaning, REFUSED};

/// The field of a form, for providers with a table of codes. [`problems`] says what is wrong with it.
pub const CODES: Setting = Setting::plain(
    "codes",
    "what codes of the provider's mean to this account, where its adapter's table is not right: for each whether \
     the call is made again (permanent, temporary, unknown: the message may have gone out), whose fault it was \
     (provider, recipient, content, account), and what happened (throttled, opted_out, …)",
)
.of(SettingRule::Custom {
    wanted: "codes with what they mean, one a line or with ; between, as in 1234 = temporary provider",
    admits: |text| !text.trim().is_empty(),
});

const RETRIES: [(&str, Retry); 3] = [
    ("permanent", Retry::Permanent),
    ("temporary", Retry::Temporary { after: None }),
    ("unknown", Retry::Unknown),
];
const FAULTS: [(&str, Fault); 4] = [
    ("provider", Fault::Provider),
    ("recipient", Fault::Recipient),
    ("content", Fault::Content),
    ("account", Fault::Account),
];
/// All that a code may say.
const KINDS: [ErrorKind; 12] = [
    ErrorKind::Throttled,
    ErrorKind::Timeout,
    ErrorKind::ProviderFailure,
    ErrorKind::Unauthorized,
    ErrorKind::InsufficientFunds,
    ErrorKind::Forbidden,
    ErrorKind::InvalidRequest,
    ErrorKind::ContentRejected,
    ErrorKind::InvalidRecipient,
    ErrorKind::OptedOut,
    ErrorKind::OutsideWindow,
    ErrorKind::Unreached,
];
/// The longest code that an error repeats.
const SHOWN: usize = 64;

/// What one account says of its provider's codes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Codes<'a>(&'a str);

/// What is said of one code; what is not said stays as the table has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct CodeChange {
    retry: Option<Retry>,
    fault: Option<Fault>,
    kind: Option<ErrorKind>,
}

impl<'a> Codes<'a> {
    /// The account's. What [`problems`] would refuse counts as not said.
    pub fn of(account: &'a Account) -> Codes<'a> {
        Codes(account.setting(CODES.name).unwrap_or_default())
    }

    /// What `code` means to the account, where `of_table` is what it means by itself.
    pub fn meaning(self, code: &str, of_table: Option<CodeMeaning>) -> Option<CodeMeaning> {
        let Some(change) = self.change(code) else { return of_table };
        let table = of_table.unwrap_or(REFUSED);
        let is_throttled = change.kind == Some(ErrorKind::Throttled);
        let retry = match (change.retry, table.retry) {
            // How long to wait is not said here.
            (Some(Retry::Temporary { .. }), Retry::Temporary { after }) => {
                Retry::Temporary { after }
            }
            (Some(said), _) => said,
            (None, Retry::Permanent | Retry::Unknown) if is_throttled => {
                Retry::Temporary { after: None }
            }
            (None, own) => own,
        };
        let fault = if is_throttled { Fault::Provider } else { table.fault };
        Some(CodeMeaning {
            kind: change.kind.unwrap_or(table.kind),
            fault: change.fault.unwrap_or(fault),
            retry,
            sentence: table.sentence,
        })
    }

    /// Whether the account says anything of `code`. Then it counts more than the HTTP status of a refusal.
    pub fn has(self, code: &str) -> bool {
        self.change(code).is_some()
    }

    fn change(self, code: &str) -> Option<CodeChange> {
        let said = entries(self.0).filter_map(Result::ok).find(|(own, _)| *own == code);
        said.and_then(|(_, words)| change(words).ok())
    }
}

/// Everything that is wrong with the account's [`CODES`], each in one sentence that names the code and says
/// what would be right. `is_code` tells what may be a code of the provider's, `wanted` says so.
pub fn problems(account: &Account, is_code: fn(&str) -> bool, wanted: &str) -> Vec<String> {
    let mut seen: Vec<&str> = Vec::new();
    let mut problem = |entry| {
        let (code, words) = match entry {
            Ok(entry) => entry,
            Err(entry) => {
                let entry = shown(entry);
                return Some(format!("{entry:?} must be CODE = WORDS, as in 1234 = temporary"));
            }
        };
        if !is_code(code) {
            return Some(format!("{:?} must be {wanted}", shown(code)));
        }
        if seen.contains(&code) {
            return Some(format!("{code} stands twice; what it means would be a guess"));
        }
        seen.push(code);
        change(words).err().map(|wrong| format!("{code} {wrong}"))
    };
    let found = entries(Codes::of(account).0).filter_map(&mut problem);
    found.map(|problem| format!("setting {}: {problem}", CODES.name)).collect()
}

/// Each code with its words, or what is no such pair.
fn entries(text: &str) -> impl Iterator<Item = Result<(&str, &str), &str>> {
    let entries = text.split(['\n', ';']).map(str::trim).filter(|entry| !entry.is_empty());
    entries.map(|entry| {
        let pair = entry.split_once('=').ok_or(entry)?;
        Ok((pair.0.trim(), pair.1.trim()))
    })
}

/// What the words of one code say.
///
/// # Errors
/// What is wrong with them, behind the code, and which there are.
fn change(said_of_it: &str) -> Result<CodeChange, String> {
    let mut said = CodeChange::default();
    for word in
        said_of_it.split(|c: char| c == ',' || c.is_whitespace()).filter(|it| !it.is_empty())
    {
        let retry = RETRIES.into_iter().find_map(|(name, it)| (name == word).then_some(it));
        let fault = FAULTS.into_iter().find_map(|(name, it)| (name == word).then_some(it));
        let kind = KINDS.into_iter().find(|kind| kind.as_str() == word);
        let is_second = match (retry, fault, kind) {
            (Some(it), _, _) => said.retry.replace(it).is_some(),
            (_, Some(it), _) => said.fault.replace(it).is_some(),
            (_, _, Some(it)) => said.kind.replace(it).is_some(),
            (None, None, None) => {
                return Err(format!("cannot be {:?}; it may be {}", shown(word), words()));
            }
        };
        if is_second {
            return Err(format!("may be one only of each of {}", words()));
        }
    }
    match said == CodeChange::default() {
        true => Err(format!("must be one or more of {}", words())),
        false => Ok(said),
    }
}

/// The words that may stand behind a code: whether the call is made again; whose fault it was; what happened.
pub fn words() -> String {
    let (retries, faults) = (RETRIES.map(|(name, _)| name), FAULTS.map(|(name, _)| name));
    let kinds = KINDS.map(ErrorKind::as_str);
    format!("{}; {}; {}", retries.join(", "), faults.join(", "), kinds.join(", "))
}

fn shown(text: &str) -> &str {
    text.char_indices().nth(SHOWN).map_or(text, |(at, _)| &text[..at])
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const AGAIN: Retry = Retry::Temporary { after: None };
    const LATER: Retry = Retry::Temporary { after: Some(Duration::from_secs(6)) };

    fn row(kind: ErrorKind, fault: Fault, retry: Retry) -> CodeMeaning {
        CodeMeaning { kind, fault, retry, sentence: "a sentence" }
    }

    fn said(text: &str, code: &str, of_table: Option<CodeMeaning>) -> Option<CodeMeaning> {
        Codes(text).meaning(code, of_table)
    }

    #[test]
    fn what_is_said_of_a_code_counts_and_all_else_is_the_table_s() {
        use ErrorKind::{Forbidden, OptedOut, OutsideWindow, Throttled, Unreached};
        use Fault::{Account, Provider, Recipient};
        let table = row(Unreached, Recipient, Retry::Permanent);
        for (text, wanted) in [
            ("7 = temporary", row(Unreached, Recipient, AGAIN)),
            ("7=unknown", row(Unreached, Recipient, Retry::Unknown)),
            ("7 = account", row(Unreached, Account, Retry::Permanent)),
            ("7 = opted_out", row(OptedOut, Recipient, Retry::Permanent)),
            ("7 = throttled", row(Throttled, Provider, AGAIN)),
            ("7 = throttled permanent account", row(Throttled, Account, Retry::Permanent)),
            (
                "6 = permanent; 7 = temporary, provider,outside_window",
                row(OutsideWindow, Provider, AGAIN),
            ),
            (
                "\n 6 = account\n\n7 = forbidden\taccount \n",
                row(Forbidden, Account, Retry::Permanent),
            ),
            ("77 = temporary", table),
            ("", table),
        ] {
            assert_eq!(said(text, "7", Some(table)), Some(wanted), "{text}");
        }
    }

    #[test]
    fn the_table_s_wait_stays_and_a_code_without_a_row_is_a_refusal() {
        let pair = row(ErrorKind::Throttled, Fault::Provider, LATER);
        assert_eq!(said("7 = temporary account", "7", Some(pair)).unwrap().retry, LATER);
        assert_eq!(said("7 = permanent", "7", Some(pair)).unwrap().retry, Retry::Permanent);
        let unknown = said("7 = temporary", "7", None);
        assert_eq!(unknown, Some(CodeMeaning { retry: AGAIN, ..REFUSED }));
        assert_eq!(said("7 = temporary", "8", None), None);
        assert!(Codes("7 = temporary").has("7") && !Codes("7 = temporary").has("8"));
    }

    #[test]
    fn what_is_wrong_is_said_with_the_code_and_what_there_is() {
        let is_code = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let wrong = |text: &str| {
            let settings = [(CODES.name.to_owned(), text.to_owned())].into();
            let account =
                Account { name: "a".to_owned(), revision: 1, settings, secrets: [].into() };
            problems(&account, is_code, "digits").join("\n")
        };
        assert_eq!(wrong("7 = temporary; 8 = account\n9=opted_out permanent recipient"), "");
        for (text, part) in [
            ("7", r#""7" must be CODE = WORDS"#),
            (
                "131049 = permament",
                r#"131049 cannot be "permament"; it may be permanent, temporary"#,
            ),
            ("7 =", "7 must be one or more of permanent, temporary, unknown; provider, recipient"),
            ("7 = permanent temporary", "7 may be one only of each of permanent"),
            ("7 = Temporary", r#"7 cannot be "Temporary""#),
            ("x7 = temporary", r#""x7" must be digits"#),
            ("7 = temporary; 7 = permanent", "7 stands twice"),
        ] {
            let said = wrong(text);
            assert!(said.contains(part) && said.starts_with("setting codes: "), "{text}: {said}");
        }
        let long = format!("7 = {}", "x".repeat(1000));
        assert!(wrong(&long).len() < 500);
    }
}
