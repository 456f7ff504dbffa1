//! What an account at Twilio has to hold: its form, and the check of what needs each other.

use std::fmt;

use dispatch_contract::{Account, Setting, SettingRule, SettingsForm};
use dispatch_kit::codes::CODES;

const DEFAULT_BASE_URL: &str = "https://api.twilio.com";
/// Twilio itself repeats a status once, and only where no connection came about; a service that starts
/// anew would miss the rest.
const DEFAULT_OVERRIDES: &str = "rc=5&rp=all";

/// The form, as people read it.
pub(crate) const FORM: SettingsForm = SettingsForm(&[
    Setting::plain("account_sid", "the account whose messages they are").required().of(
        SettingRule::Custom {
            wanted: "the account's SID: AC and 32 hexadecimal digits",
            admits: |sid| is_sid(sid, "AC"),
        },
    ),
    Setting::secret(
        "auth_token",
        "the account's primary auth token: what webhooks are signed with, and what calls carry where there is no \
         API key",
    )
    .required(),
    Setting::secret(
        "auth_token_next",
        "a second one, by which webhooks are taken as well while tokens are being changed",
    ),
    Setting::plain("api_key_sid", "with secret api_key_secret: calls carry this key in place of the auth token")
        .of(SettingRule::Custom {
            wanted: "the key's SID: SK and 32 hexadecimal digits",
            admits: |sid| is_sid(sid, "SK"),
        }),
    Setting::secret("api_key_secret", "belongs to api_key_sid"),
    Setting::plain(
        "messaging_service_sid",
        "a messaging service that messages go out by; their sender is one of its pool",
    )
    .of(SettingRule::Custom {
        wanted: "the service's SID: MG and 32 hexadecimal digits",
        admits: |sid| is_sid(sid, "MG"),
    }),
    Setting::plain(
        "webhook_overrides",
        "how Twilio repeats a status webhook that was not taken, as its connection overrides have it (what \
         stands behind the # of the URL); none: as Twilio does by itself, hardly at all",
    )
    .or(DEFAULT_OVERRIDES)
    .of(SettingRule::Custom {
        wanted: "connection overrides such as rc=5&rp=all, of rc (0 to 5), rp (ct, rt, 4xx, 5xx, all), ct, rt and \
                 tt (milliseconds) and e (edges); or none",
        admits: is_overrides,
    }),
    CODES,
    Setting::plain("base_url", "where the API is").or(DEFAULT_BASE_URL).of(SettingRule::Url),
]);

/// A typed view of an [`Account`] for sending.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TwilioAccount<'a> {
    /// Without a trailing slash.
    pub base_url: &'a str,
    /// Whose messages they are: `AC…`.
    pub account_sid: &'a str,
    /// Who calls: the account, or a key of it.
    pub user: &'a str,
    /// What belongs to [`user`](Self::user).
    pub password: &'a str,
    /// By which messages go out, if by one: `MG…`.
    pub messaging_service_sid: Option<&'a str>,
    /// What stands behind the `#` of the URL for statuses; empty: nothing does.
    pub webhook_overrides: &'a str,
}

impl<'a> TwilioAccount<'a> {
    /// Reads what sending needs.
    ///
    /// # Errors
    /// One sentence that says what would be right. It names settings and never shows a value.
    pub fn read(account: &'a Account) -> Result<Self, String> {
        let account_sid = sid(account, "account_sid", "AC")?
            .ok_or_else(|| "setting account_sid is missing".to_owned())?;
        let (user, password) = match sid(account, "api_key_sid", "SK")? {
            Some(key) => match present(account.secret("api_key_secret")) {
                Some(secret) => (key, secret),
                None => {
                    return Err(
                        "setting api_key_sid needs secret api_key_secret beside it".to_owned()
                    );
                }
            },
            None if account.secret("api_key_secret").is_some() => {
                return Err("secret api_key_secret needs setting api_key_sid beside it".to_owned());
            }
            None => match present(account.secret("auth_token")) {
                Some(token) => (account_sid, token),
                None => return Err("secret auth_token is missing".to_owned()),
            },
        };
        let base_url = account.setting("base_url").unwrap_or(DEFAULT_BASE_URL);
        if !SettingRule::Url.admits(base_url) {
            return Err(format!("setting base_url must be {}", SettingRule::Url));
        }
        let overrides = account.setting("webhook_overrides").unwrap_or(DEFAULT_OVERRIDES);
        Ok(TwilioAccount {
            base_url: base_url.trim().trim_end_matches('/'),
            account_sid,
            user,
            password,
            messaging_service_sid: sid(account, "messaging_service_sid", "MG")?,
            webhook_overrides: if overrides == "none" { "" } else { overrides },
        })
    }

    /// Whether `account`, which fits the form, is complete and makes sense.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn check(account: &Account) -> Result<(), String> {
        TwilioAccount::read(account)?;
        match account.secret("auth_token_next") {
            Some("") => {
                Err("an empty auth_token_next would let anyone sign webhooks; leave it out"
                    .to_owned())
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Where the account's messages are, without `.json`.
    pub(crate) fn messages_url(&self) -> String {
        format!("{}/2010-04-01/Accounts/{}/Messages", self.base_url, self.account_sid)
    }
}

impl fmt::Debug for TwilioAccount<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TwilioAccount")
            .field("base_url", &self.base_url)
            .field("account_sid", &self.account_sid)
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// What a genuine webhook may be signed with.
pub(crate) fn signing_tokens(account: &Account) -> Vec<&str> {
    // An empty one would let anyone sign.
    let tokens = ["auth_token", "auth_token_next"].into_iter();
    tokens.filter_map(|name| present(account.secret(name))).collect()
}

/// Whether `text` names something at Twilio: two letters and 32 hexadecimal digits.
pub(crate) fn is_sid(text: &str, kind: &str) -> bool {
    let digits = text.strip_prefix(kind);
    digits.is_some_and(|it| it.len() == 32 && it.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

fn sid<'a>(account: &'a Account, name: &str, kind: &str) -> Result<Option<&'a str>, String> {
    match account.setting(name) {
        Some(text) if is_sid(text, kind) => Ok(Some(text)),
        Some(_) => Err(format!("setting {name} must be {kind} and 32 hexadecimal digits")),
        None => Ok(None),
    }
}

/// What is misspelt there Twilio ignores without a word.
fn is_overrides(text: &str) -> bool {
    let number = |text: &str, from: u32, to: u32| {
        text.bytes().all(|byte| byte.is_ascii_digit())
            && text.parse().is_ok_and(|number: u32| (from..=to).contains(&number))
    };
    let is_one = |field: &str| match field.split_once('=') {
        Some(("rc", retries)) => number(retries, 0, 5),
        Some(("rp", of)) => {
            of.split(',').all(|it| matches!(it, "ct" | "rt" | "4xx" | "5xx" | "all"))
        }
        Some(("ct", ms)) => number(ms, 100, 10_000),
        Some(("rt" | "tt", ms)) => number(ms, 100, 15_000),
        Some(("e", edges)) => edges.split(',').all(|edge| {
            !edge.is_empty() && edge.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        }),
        Some(_) | None => false,
    };
    text == "none" || (text.len() <= 200 && text.split('&').all(is_one))
}

fn present(value: Option<&str>) -> Option<&str> {
    value.filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use dispatch_contract::Secret;

    use super::*;

    const ACCOUNT: (&str, &str) = ("account_sid", "AC0123456789abcdef0123456789abcdef");
    const KEY: (&str, &str) = ("api_key_sid", "SK0123456789abcdef0123456789abcdef");
    const TOKEN: (&str, &str) = ("auth_token", "t0ken");

    fn account(settings: &[(&str, &str)], secrets: &[(&str, &str)]) -> Account {
        Account {
            name: "main".to_owned(),
            revision: 1,
            settings: settings.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            secrets: secrets.iter().map(|(k, v)| ((*k).to_owned(), Secret::new(*v))).collect(),
        }
    }

    #[test]
    fn sid_and_token_are_enough_and_the_rest_has_defaults() {
        let account = account(&[ACCOUNT], &[TOKEN]);
        assert!(FORM.problems(&account).is_empty());
        assert_eq!(TwilioAccount::check(&account), Ok(()));
        let view = TwilioAccount::read(&account).expect("a view");
        assert_eq!((view.user, view.password), (ACCOUNT.1, TOKEN.1));
        assert_eq!(view.webhook_overrides, "rc=5&rp=all");
        assert_eq!(
            view.messages_url(),
            "https://api.twilio.com/2010-04-01/Accounts/AC0123456789abcdef0123456789abcdef/Messages"
        );
        assert!(!format!("{view:?}").contains("t0ken"));
    }

    #[test]
    fn a_key_calls_in_the_account_s_place_and_the_token_still_signs() {
        let account = account(&[ACCOUNT, KEY], &[TOKEN, ("api_key_secret", "s3cret")]);
        let view = TwilioAccount::read(&account).expect("a view");
        assert_eq!((view.account_sid, view.user, view.password), (ACCOUNT.1, KEY.1, "s3cret"));
        assert_eq!(signing_tokens(&account), ["t0ken"]);
    }

    #[test]
    fn every_refusal_says_what_would_be_right_and_shows_no_secret() {
        let with = |setting| vec![ACCOUNT, setting];
        for (settings, secrets, part) in [
            (vec![], vec![TOKEN], "setting account_sid is missing"),
            (vec![("account_sid", "AC1")], vec![TOKEN], "AC and 32 hexadecimal digits"),
            (vec![ACCOUNT], vec![], "secret auth_token is missing"),
            (vec![ACCOUNT], vec![("auth_token", "")], "secret auth_token must be"),
            (with(KEY), vec![TOKEN], "api_key_sid needs secret api_key_secret"),
            (vec![ACCOUNT], vec![TOKEN, ("api_key_secret", "t0ken")], "needs setting api_key_sid"),
            (with(("api_key_sid", ACCOUNT.1)), vec![TOKEN], "SK and 32 hexadecimal digits"),
            (with(("messaging_service_sid", "MG")), vec![TOKEN], "MG and 32 hexadecimal digits"),
            (with(("webhook_overrides", "rc=5#rp")), vec![TOKEN], "or none"),
            (with(("base_url", "api.twilio.com")), vec![TOKEN], "base_url must be an http or"),
            (vec![ACCOUNT], vec![TOKEN, ("auth_token_next", "")], "auth_token_next"),
        ] {
            let account = account(&settings, &secrets);
            let beyond = TwilioAccount::check(&account).err();
            let found = FORM.problems(&account).into_iter().chain(beyond).next().expect("refused");
            assert!(found.contains(part), "{found:?} should contain {part:?}");
            assert!(!found.contains("t0ken"), "{found}");
        }
    }

    #[test]
    fn overrides_are_those_that_twilio_has() {
        for right in ["rc=0", "rc=5&rp=all", "rp=ct,5xx&ct=100&rt=15000&tt=15000", "e=ashburn,us-1"]
        {
            assert!(is_overrides(right), "{right}");
        }
        for wrong in [
            "",
            "rc",
            "rc=",
            "rc=6",
            "rc=+1",
            "retries=5",
            "rp=",
            "rp=6xx",
            "rp=all,",
            "ct=99",
            "rt=15001",
            "tt=x",
            "e=",
            "e=a,",
            "rc=5&",
            "rc=5#rp=all",
            "none&rc=5",
        ] {
            assert!(!is_overrides(wrong), "{wrong}");
        }
    }

    #[test]
    fn overrides_may_be_left_to_twilio() {
        let account = account(&[ACCOUNT, ("webhook_overrides", "none")], &[TOKEN]);
        assert_eq!(TwilioAccount::check(&account), Ok(()));
        assert_eq!(TwilioAccount::read(&account).expect("a view").webhook_overrides, "");
    }
}
