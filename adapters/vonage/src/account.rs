//! What an account at Vonage has to hold: its form, and the check of what needs each other.
//!
//! A name that is not in the form is refused: a misspelt `signature_secret` would otherwise show only as
//! receipts that never arrive.

use std::{fmt, time::Duration};

use dispatch_contract::{Account, Setting, SettingRule, SettingsForm};
use dispatch_kit::codes::CODES;

use super::auth;

/// The form, as people read it.
pub(crate) const FORM: SettingsForm = SettingsForm(&[
    Setting::plain("application_id", "the application to act as; with secret private_key, calls carry its token"),
    Setting::secret("private_key", "the application's RSA private key, PEM"),
    Setting::plain("api_key", "the account's key; with secret api_secret, calls carry both as Basic credentials")
        .of(SettingRule::Custom {
            wanted: "the account's key, without a colon",
            admits: |key| !key.is_empty() && !key.contains(':'),
        }),
    Setting::secret("api_secret", "belongs to api_key"),
    Setting::secret("signature_secret", "what Vonage signs webhooks with, as its dashboard shows it"),
    Setting::secret(
        "signature_secret_next",
        "a second one, taken as well while secrets are being changed",
    ),
    Setting::plain(
        "unsigned_webhooks",
        "takes webhooks unverified, and only where no signature secret is given",
    )
    .of(SettingRule::OneOf(&["accept"])),
    Setting::plain(
        "webhook_tolerance_s",
        "the oldest signature of a webhook that is taken, in seconds; left out: any age. Vonage repeats a \
         webhook for 24 hours, signed as it was at first",
    )
    .of(SettingRule::AtLeast(RETRY_HORIZON.as_secs() as u32)),
    Setting::plain(
        "api_version",
        "the version of the Messages API: v0.1 is for accounts that are still set to it, and a message that \
         it has no words for goes through v1 all the same",
    )
    .or("v1")
    .of(SettingRule::OneOf(&["v1", "v0.1"])),
    CODES,
    Setting::plain("base_url", "where the API is").or(DEFAULT_BASE_URL).of(SettingRule::Url),
]);

const DEFAULT_BASE_URL: &str = "https://api.nexmo.com";

/// Vonage repeats an unanswered webhook for 24 h, with the signature it had at first. A shorter
/// tolerance would lose receipts after an outage.
const RETRY_HORIZON: Duration = Duration::from_secs(24 * 60 * 60);

/// A typed view of an [`Account`] for sending.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct VonageAccount<'a> {
    /// Without a trailing slash.
    pub base_url: &'a str,
    /// Which version of the API to speak.
    pub version: ApiVersion,
    /// What calls are authorised with.
    pub credential: ProviderCredential<'a>,
}

/// A version of the Messages API.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ApiVersion {
    /// `v0.1`, for accounts that are still set to it. A message that v0.1 has no words for goes
    /// through v1 all the same: both take the same credentials, and the webhooks of both are read.
    V01,
    /// `v1`.
    #[default]
    V1,
}

/// What calls are authorised with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum ProviderCredential<'a> {
    /// A token of the application's, signed with its key: `Bearer`, RS256.
    Application {
        /// The application.
        application_id: &'a str,
        /// Its RSA private key, PEM.
        private_key: &'a str,
    },
    /// Key and secret of the account: `Basic`. The account's own webhook URLs apply then, unless
    /// the message names one.
    Key {
        /// The account.
        api_key: &'a str,
        /// Its secret.
        api_secret: &'a str,
    },
}

/// A typed view of an [`Account`] for judging webhooks. It never fails: what
/// [`VonageAccount::check`] would refuse here counts as not given.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookKeys<'a> {
    /// What a genuine webhook may be signed with: none, one, or two while they are being changed.
    pub secrets: Vec<&'a str>,
    /// Whether webhooks are taken unverified, there being no secret.
    pub accept_unsigned: bool,
    /// How old a signature may be.
    pub tolerance: Option<Duration>,
    /// What the signature's claim of that name must be, if both are known.
    pub api_key: Option<&'a str>,
    /// What the signature's claim of that name must be, if both are known.
    pub application_id: Option<&'a str>,
}

impl<'a> VonageAccount<'a> {
    /// Reads what sending needs.
    ///
    /// # Errors
    /// One sentence that says what would be right. It names settings and never shows a value.
    pub fn read(account: &'a Account) -> Result<Self, String> {
        Ok(VonageAccount {
            base_url: base_url(account)?,
            version: version(account)?,
            credential: credential(account)?,
        })
    }

    /// Whether `account`, which fits the form, is complete and makes sense, down to a trial signature with
    /// its key; for when configuration is loaded.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn check(account: &Account) -> Result<(), String> {
        let view = VonageAccount::read(account)?;
        match view.credential {
            ProviderCredential::Application { application_id, private_key } => {
                auth::sign(application_id, private_key, 0)?;
            }
            ProviderCredential::Key { .. } => {}
        }
        webhook_settings(account)
    }
}

impl<'a> WebhookKeys<'a> {
    /// Reads what judging a webhook needs.
    pub fn read(account: &'a Account) -> Self {
        // An empty secret would let anyone sign.
        let secrets: Vec<_> = ["signature_secret", "signature_secret_next"]
            .into_iter()
            .filter_map(|name| present(account.secret(name)))
            .collect();
        WebhookKeys {
            accept_unsigned: secrets.is_empty()
                && account.setting("unsigned_webhooks") == Some("accept"),
            tolerance: tolerance(account).unwrap_or_default(),
            api_key: present(account.setting("api_key")),
            application_id: present(account.setting("application_id")),
            secrets,
        }
    }
}

impl fmt::Debug for VonageAccount<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VonageAccount")
            .field("base_url", &self.base_url)
            .field("version", &self.version)
            .field("credential", &self.credential)
            .finish()
    }
}

impl fmt::Debug for ProviderCredential<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProviderCredential::Application { application_id, .. } => {
                write!(f, "Application({application_id})")
            }
            ProviderCredential::Key { api_key, .. } => write!(f, "Key({api_key})"),
        }
    }
}

impl fmt::Debug for WebhookKeys<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookKeys")
            .field("secrets", &self.secrets.len())
            .field("accept_unsigned", &self.accept_unsigned)
            .field("tolerance", &self.tolerance)
            .finish_non_exhaustive()
    }
}

fn base_url(account: &Account) -> Result<&str, String> {
    let Some(text) = account.setting("base_url") else { return Ok(DEFAULT_BASE_URL) };
    if SettingRule::Url.admits(text) {
        Ok(text.trim().trim_end_matches('/'))
    } else {
        Err(format!("setting base_url must be {}", SettingRule::Url))
    }
}

fn version(account: &Account) -> Result<ApiVersion, String> {
    match account.setting("api_version") {
        None | Some("v1") => Ok(ApiVersion::V1),
        Some("v0.1") => Ok(ApiVersion::V01),
        Some(_) => Err("setting api_version must be v1 or v0.1".to_owned()),
    }
}

fn credential(account: &Account) -> Result<ProviderCredential<'_>, String> {
    let application_id = present(account.setting("application_id"));
    let api_key = present(account.setting("api_key"));
    if let Some(private_key) = present(account.secret("private_key")) {
        return match application_id {
            Some(application_id) => {
                Ok(ProviderCredential::Application { application_id, private_key })
            }
            None => Err("secret private_key needs setting application_id beside it".to_owned()),
        };
    }
    match (api_key, present(account.secret("api_secret"))) {
        (Some(api_key), Some(api_secret)) if !api_key.contains(':') => {
            Ok(ProviderCredential::Key { api_key, api_secret })
        }
        (Some(_), Some(_)) => Err("setting api_key must not contain a colon".to_owned()),
        (Some(_), None) => Err("setting api_key needs secret api_secret beside it".to_owned()),
        (None, Some(_)) => Err("secret api_secret needs setting api_key beside it".to_owned()),
        (None, None) => Err("a credential is missing: give setting application_id and secret \
             private_key (PEM), or setting api_key and secret api_secret"
            .to_owned()),
    }
}

fn webhook_settings(account: &Account) -> Result<(), String> {
    let has_secret =
        match (account.secret("signature_secret"), account.secret("signature_secret_next")) {
            (Some(""), _) | (_, Some("")) => {
                return Err(
                    "an empty signature secret would let anyone sign webhooks; leave it out \
                 or give the one shown in the dashboard's settings"
                        .to_owned(),
                );
            }
            (None, Some(_)) => {
                return Err("secret signature_secret_next needs secret signature_secret beside it"
                    .to_owned());
            }
            (secret, _) => secret.is_some(),
        };
    match account.setting("unsigned_webhooks") {
        // Sends would work, every receipt would be refused, and every message count as unread.
        None if !has_secret => {
            return Err("secret signature_secret is missing: without it every webhook would be \
                 refused; give it, or setting unsigned_webhooks = accept"
                .to_owned());
        }
        None => {}
        Some("accept") if has_secret => {
            return Err("setting unsigned_webhooks contradicts secret signature_secret; with a \
                 secret every webhook must be signed"
                .to_owned());
        }
        Some("accept") => {}
        Some(_) => {
            return Err("setting unsigned_webhooks must be accept, or be left out".to_owned());
        }
    }
    tolerance(account).map(|_| ())
}

fn tolerance(account: &Account) -> Result<Option<Duration>, String> {
    let Some(text) = account.setting("webhook_tolerance_s") else { return Ok(None) };
    match text.parse::<u32>().map(|seconds| Duration::from_secs(seconds.into())) {
        Ok(tolerance) if tolerance >= RETRY_HORIZON => Ok(Some(tolerance)),
        Ok(_) | Err(_) => Err(format!(
            "setting webhook_tolerance_s must be whole seconds, at least {}: Vonage repeats a \
             webhook for 24 hours",
            RETRY_HORIZON.as_secs()
        )),
    }
}

fn present(value: Option<&str>) -> Option<&str> {
    value.filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use dispatch_contract::Secret;

    use super::*;

    fn account(settings: &[(&str, &str)], secrets: &[(&str, &str)]) -> Account {
        Account {
            name: "main".to_owned(),
            revision: 1,
            settings: settings.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            secrets: secrets.iter().map(|(k, v)| ((*k).to_owned(), Secret::new(*v))).collect(),
        }
    }

    /// The first problem that the form or the check finds.
    fn refusal(settings: &[(&str, &str)], secrets: &[(&str, &str)]) -> String {
        let account = account(settings, secrets);
        let beyond = VonageAccount::check(&account).err();
        FORM.problems(&account).into_iter().chain(beyond).next().expect("refused")
    }

    #[test]
    fn key_and_secret_are_enough_and_the_rest_has_defaults() {
        let secrets = [("api_secret", "s3cret"), ("signature_secret", "s1gned")];
        let account = account(&[("api_key", "abcd1234")], &secrets);
        assert_eq!(VonageAccount::check(&account), Ok(()));
        let view = VonageAccount::read(&account).expect("a view");
        assert_eq!(view.base_url, "https://api.nexmo.com");
        assert_eq!(view.version, ApiVersion::V1);
        assert!(!format!("{view:?}").contains("s3cret"));
    }

    #[test]
    fn every_refusal_says_what_would_be_right() {
        let key = ("api_key", "abcd1234");
        let (secret, signed) = (("api_secret", "s3cret"), ("signature_secret", "s1gned"));
        let cases: [(String, &str); 14] = [
            (refusal(&[], &[]), "credential is missing"),
            (refusal(&[key], &[]), "needs secret api_secret"),
            (refusal(&[], &[secret]), "needs setting api_key"),
            (refusal(&[], &[("private_key", "x")]), "needs setting application_id"),
            (refusal(&[("application_id", "a")], &[("private_key", "x")]), "PEM"),
            (refusal(&[key, ("api_version", "v2")], &[secret]), "v1 or v0.1"),
            (refusal(&[key, ("base_url", "api.nexmo.com")], &[secret]), "http or https"),
            (refusal(&[key, ("base_url", "https://u:p@h")], &[secret]), "without user"),
            (refusal(&[key], &[secret]), "signature_secret is missing"),
            (refusal(&[key, ("webhook_tolerance_s", "300")], &[secret, signed]), "at least 86400"),
            (refusal(&[key, ("unsigned_webhooks", "yes")], &[secret]), "must be accept"),
            (
                refusal(&[key], &[secret, ("signature_secret", "")]),
                "signature_secret must be a text that is not empty",
            ),
            (refusal(&[key], &[secret, ("signature_secrt", "x")]), "no secret signature_secrt"),
            (refusal(&[key, ("api_secret", "x")], &[]), "move it to the secrets"),
        ];
        for (text, part) in cases {
            assert!(text.contains(part), "{text:?} should contain {part:?}");
            assert!(!text.contains("s3cret"), "{text:?} shows a secret");
        }
    }

    #[test]
    fn unsigned_webhooks_are_taken_only_where_there_is_no_secret() {
        let accept = ("unsigned_webhooks", "accept");
        assert!(WebhookKeys::read(&account(&[accept], &[])).accept_unsigned);
        let signed = account(&[accept], &[("signature_secret", "s")]);
        assert!(!WebhookKeys::read(&signed).accept_unsigned);
        assert!(!WebhookKeys::read(&account(&[], &[])).accept_unsigned);
    }

    #[test]
    fn an_empty_signature_secret_is_no_secret() {
        let account = account(&[], &[("signature_secret", ""), ("signature_secret_next", "n")]);
        assert_eq!(WebhookKeys::read(&account).secrets, ["n"]);
    }
}
