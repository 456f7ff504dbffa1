//! What an account at the Gateway has to hold.

use std::fmt;

use dispatch_contract::{Account, Setting, SettingRule, SettingsForm};
use dispatch_kit::codes::CODES;

/// The longest URL for reports that Telegram takes.
const CALLBACK_BYTES: usize = 256;
const DEFAULT_BASE_URL: &str = "https://gatewayapi.telegram.org";

/// The form, as people read it.
pub(crate) const FORM: SettingsForm = SettingsForm(&[
    Setting::secret(
        "access_token",
        "the account's API token: what calls carry, and what reports are signed with",
    )
    .required(),
    Setting::secret(
        "access_token_next",
        "a second one, by which reports are taken as well while tokens are being changed",
    ),
    Setting::plain(
        "check_send_ability",
        "whether Telegram is asked before each send whether the number can be reached; it charges for the answer \
         yes, and then not for the send",
    )
    .or("no")
    .of(SettingRule::OneOf(&["yes", "no"])),
    CODES,
    Setting::plain("base_url", "where the API is").or(DEFAULT_BASE_URL).of(SettingRule::Url),
]);

/// A typed view of an [`Account`] that fits the form.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TelegramAccount<'a> {
    /// Without a trailing slash.
    base_url: &'a str,
    access_token: &'a str,
    /// Whether it is asked first whether a number can be reached.
    pub(crate) checks_ability: bool,
}

impl<'a> TelegramAccount<'a> {
    /// Reads what sending needs. `None` if there is no token to send under.
    pub fn read(account: &'a Account) -> Option<Self> {
        let access_token = account.secret("access_token").filter(|token| !token.is_empty())?;
        let base_url = account.setting("base_url").unwrap_or(DEFAULT_BASE_URL);
        Some(TelegramAccount {
            base_url: base_url.trim().trim_end_matches('/'),
            access_token,
            checks_ability: account.setting("check_send_ability") == Some("yes"),
        })
    }

    /// Where a method is called.
    pub(crate) fn url(&self, method: &str) -> String {
        format!("{}/{method}", self.base_url)
    }

    /// The `Authorization` header of every call.
    pub(crate) fn authorization(&self) -> String {
        format!("Bearer {}", self.access_token)
    }
}

impl fmt::Debug for TelegramAccount<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TelegramAccount").field("base_url", &self.base_url).finish_non_exhaustive()
    }
}

/// What keeps reports from coming to `url`, with what to set.
pub(crate) fn callback_problem(account: &Account, url: Option<&str>) -> Option<String> {
    let is_telegram_s_own = account.setting("base_url").is_none_or(|url| url.starts_with("https"));
    match url {
        None => Some(
            "Telegram learns with each message where its reports go, and listen.public_url is empty: none will come, \
             and no message will count as delivered or read; set listen.public_url to the address at which Telegram \
             reaches this service"
                .to_owned(),
        ),
        Some(url) if url.len() > CALLBACK_BYTES => Some(format!(
            "listen.public_url is too long: the URL for reports must have at most {CALLBACK_BYTES} bytes"
        )),
        Some(url) if is_telegram_s_own && !url.starts_with("https://") => Some(
            "listen.public_url is no https address, and Telegram reports to no other; set it to one".to_owned(),
        ),
        Some(_) => None,
    }
}

/// What a genuine report may be signed under: one token, or two while they are being changed.
pub(crate) fn signing_tokens(account: &Account) -> impl Iterator<Item = &str> {
    // An empty one would let anyone sign.
    let tokens = ["access_token", "access_token_next"].into_iter();
    tokens.filter_map(|name| account.secret(name)).filter(|token| !token.is_empty())
}
