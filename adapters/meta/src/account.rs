//! What an account at Meta has to hold: an app, and a token that sends for its numbers.

use std::fmt;

use dispatch_contract::{Account, Endpoint, Setting, SettingRule, SettingsForm};
use dispatch_kit::{codes::CODES, signature::SignatureScheme};

/// The form, as people read it.
pub(crate) const FORM: SettingsForm = SettingsForm(&[
    Setting::secret(
        "access_token",
        "a system user's token that does not expire, with whatsapp_business_messaging; or a page's, with \
         pages_messaging. A sender with an account of its own sends under that one's",
    )
    .required(),
    Setting::secret(
        "app_secret",
        "the app's secret, as its basic settings show it: Meta signs webhooks with it",
    )
    .required(),
    Setting::secret(
        "app_secret_next",
        "a second one, taken for webhooks as well while the secret is being changed",
    ),
    Setting::secret(
        "verify_token",
        "a text of your own, which Meta repeats when it makes sure of the webhook's URL",
    )
    .required(),
    Setting::plain(
        "phone_numbers",
        "the ids that Meta gave to the numbers that messages name as their sender; a sender that is such an \
         id itself need not stand here",
    )
    .of(SettingRule::Custom {
        wanted: "numbers with their ids, as in 447700900001=106540352242922, 447700900002=106540352242923",
        admits: |text| numbers(text).is_some(),
    }),
    Setting::plain(
        "appsecret_proof",
        "whether calls carry a proof of the app's secret; leave_out is for tokens of another app",
    )
    .or("send")
    .of(SettingRule::OneOf(&["send", "leave_out"])),
    Setting::plain("graph_version", "the version of the Graph API")
        .or(DEFAULT_VERSION)
        .of(SettingRule::Custom { wanted: "a version, such as v26.0", admits: is_version }),
    CODES,
    Setting::plain("base_url", "where the API is").or(DEFAULT_BASE_URL).of(SettingRule::Url),
]);

const DEFAULT_BASE_URL: &str = "https://graph.facebook.com";
const DEFAULT_VERSION: &str = "v26.0";

/// A typed view of an [`Account`] that fits the form.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct MetaAccount<'a> {
    account: &'a Account,
    access_token: &'a str,
}

impl<'a> MetaAccount<'a> {
    /// Reads what sending needs. `None` if there is no token to send under.
    pub fn read(account: &'a Account) -> Option<Self> {
        let access_token = account.secret("access_token").filter(|token| !token.is_empty())?;
        Some(MetaAccount { account, access_token })
    }

    /// The `Authorization` header of every call.
    pub fn authorization(&self) -> String {
        format!("Bearer {}", self.access_token)
    }

    /// The URL of `path`, with the proof that whoever calls has the app's secret.
    pub fn url(&self, path: &str) -> String {
        let setting = |name, default| self.account.setting(name).unwrap_or(default);
        let base = setting("base_url", DEFAULT_BASE_URL).trim().trim_end_matches('/');
        let version = setting("graph_version", DEFAULT_VERSION);
        let url = format!("{base}/{version}/{path}");
        let secret = self.account.secret("app_secret").filter(|secret| !secret.is_empty());
        match (setting("appsecret_proof", "send"), secret) {
            ("send", Some(secret)) => {
                let scheme = SignatureScheme::Sha256Hex;
                let proof = scheme.sign(secret.as_bytes(), self.access_token.as_bytes());
                format!("{url}?appsecret_proof={proof}")
            }
            _ => url,
        }
    }

    /// What Meta calls the sender that a message names: the page or number itself, where that is an id, or the id
    /// that Meta gave to the number. `None` for a number that the account does not know.
    pub fn sender_id(&self, sender: &'a Endpoint) -> Option<&'a str> {
        match sender {
            Endpoint::Id(id) => Some(id),
            Endpoint::Number(number) => {
                let known = numbers(self.account.setting("phone_numbers")?)?;
                known.into_iter().find_map(|(own, id)| (own == number).then_some(id))
            }
        }
    }
}

impl fmt::Debug for MetaAccount<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MetaAccount({})", self.account.name)
    }
}

/// The number that Meta gave this id to, as the account lists it.
pub(crate) fn number_of<'a>(account: &'a Account, id: &str) -> Option<&'a str> {
    let known = numbers(account.setting("phone_numbers")?)?;
    known.into_iter().find_map(|(number, of)| (of == id).then_some(number))
}

/// What a genuine webhook may be signed with: one secret, or two while they are being changed.
pub(crate) fn app_secrets(account: &Account) -> impl Iterator<Item = &str> {
    // An empty secret would let anyone sign.
    let secrets = ["app_secret", "app_secret_next"].into_iter();
    secrets.filter_map(|name| account.secret(name)).filter(|secret| !secret.is_empty())
}

/// `NUMBER=ID` separated by commas or blanks; no number twice.
fn numbers(text: &str) -> Option<Vec<(&str, &str)>> {
    let is_number = |text: &str, lengths: std::ops::RangeInclusive<usize>| {
        lengths.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
    };
    let mut known: Vec<(&str, &str)> = Vec::new();
    let pairs = text.split(|c: char| c == ',' || c.is_whitespace()).filter(|it| !it.is_empty());
    for pair in pairs {
        let (number, id) = pair.split_once('=')?;
        let is_new = known.iter().all(|(other, _)| *other != number);
        let is_right = is_number(number, 7..=15) && !number.starts_with('0') && is_id(id);
        if !is_right || !is_new {
            return None;
        }
        known.push((number, id));
    }
    (!known.is_empty()).then_some(known)
}

/// Whether `text` is an id as Graph gives them out: digits.
pub(crate) fn is_id(text: &str) -> bool {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    (7..=32).contains(&text.len()) && digits && !text.starts_with('0')
}

fn is_version(text: &str) -> bool {
    let number = |text: &str| {
        (1..=3).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
    };
    let parts = text.strip_prefix('v').and_then(|text| text.split_once('.'));
    parts.is_some_and(|(major, minor)| number(major) && number(minor))
}

#[cfg(test)]
mod tests {
    use dispatch_contract::Secret;

    use super::*;

    fn account(settings: &[(&str, &str)]) -> Account {
        let secret = |name: &str, text: &str| (name.to_owned(), Secret::new(text));
        Account {
            name: "main".to_owned(),
            revision: 1,
            settings: settings.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            secrets: [
                secret("access_token", "EAAG"),
                secret("app_secret", "s"),
                secret("verify_token", "v"),
            ]
            .into(),
        }
    }

    #[test]
    fn a_number_is_sent_from_by_the_id_that_meta_gave_it() {
        let account = account(&[("phone_numbers", "447700900001=1000001, 447700900002=1000002")]);
        let account = MetaAccount::read(&account).expect("a token");
        let number = |text: &str| Endpoint::Number(text.to_owned());
        assert_eq!(account.sender_id(&number("447700900002")), Some("1000002"));
        assert_eq!(account.sender_id(&number("447700900003")), None);
        assert_eq!(account.sender_id(&Endpoint::Id("1000003".to_owned())), Some("1000003"));
    }

    #[test]
    fn a_map_of_numbers_is_told_from_what_is_none() {
        for right in ["447700900001=1000001", " 447700900001=1000001\n447700900002=1000001 ,"] {
            assert_eq!(FORM.problems(&account(&[("phone_numbers", right)])), Vec::<String>::new());
        }
        for wrong in [
            "",
            ",",
            "447700900001",
            "+447700900001=1000001",
            "07700900001=1000001",
            "447700900001=1",
            "447700900001=1000001=1000002",
            "447700900001=1000001, 447700900001=1000002",
            "447700900001 = 10001",
        ] {
            assert_eq!(FORM.problems(&account(&[("phone_numbers", wrong)])).len(), 1, "{wrong}");
        }
    }

    #[test]
    fn a_call_carries_the_version_and_the_proof_that_are_asked_for() {
        let url = |settings: &[_]| {
            let account = account(settings);
            MetaAccount::read(&account).expect("a token").url("1/messages")
        };
        // HMAC-SHA256 of "EAAG" under "s".
        let proof = SignatureScheme::Sha256Hex.sign(b"s", b"EAAG");
        let usual = format!("https://graph.facebook.com/v26.0/1/messages?appsecret_proof={proof}");
        assert_eq!(url(&[]), usual);
        let settings = [
            ("appsecret_proof", "leave_out"),
            ("graph_version", "v25.0"),
            ("base_url", "http://127.0.0.1:1/x/"),
        ];
        assert_eq!(url(&settings), "http://127.0.0.1:1/x/v25.0/1/messages");
        for wrong in ["25.0", "v25", "v25.", "v25.0/../x", ""] {
            assert_eq!(FORM.problems(&account(&[("graph_version", wrong)])).len(), 1, "{wrong}");
        }
    }
}
