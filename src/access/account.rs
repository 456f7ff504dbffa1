//! An external account: a tenant's own page, service or number at a chat provider.

use std::fmt;

use dispatch_contract::{Channel, Secret};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A chat provider whose accounts people bring along.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ChatProvider {
    /// Facebook Messenger; an account is a page.
    Messenger,
    /// Viber Business Messages; an account is a service.
    ViberServiceMsg,
    /// WhatsApp Business; an account is a number.
    WhatsApp,
}

/// What a chat provider knows an account by, and what a message names as its sender: a page's id, a
/// service's id, a number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ExternalId(String);

/// A chat provider's access token: 1 to 4,096 visible ASCII characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountToken(Secret);

/// An external account. Kept as a setting of
/// [`Kind::ExternalAccount`](crate::store::Kind), under its tenant, provider and external id.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExternalAccount {
    /// Whose it is.
    pub tenant: String,
    /// Where it is.
    pub provider: ChatProvider,
    /// What it is called there.
    pub external_id: ExternalId,
    /// For people; may be empty.
    pub name: String,
    /// The application that is told of messages to it.
    pub application: Option<Uuid>,
    /// The provider's access token, sealed.
    pub token: Option<Vec<u8>>,
    /// Grows with every change, beginning at the time it was made: one made anew has another.
    pub revision: u64,
    /// When it was made, in milliseconds of the Unix epoch.
    pub create_time_ms: u64,
}

impl ChatProvider {
    /// All of them.
    pub const ALL: [ChatProvider; 3] =
        [ChatProvider::Messenger, ChatProvider::ViberServiceMsg, ChatProvider::WhatsApp];

    /// Its name, on the wire and in the CLI: that of the channel.
    pub fn as_str(self) -> &'static str {
        match self {
            ChatProvider::Messenger => "messenger",
            ChatProvider::ViberServiceMsg => "viber_service_msg",
            ChatProvider::WhatsApp => "whatsapp",
        }
    }

    /// The one of that name.
    pub fn named(name: &str) -> Option<ChatProvider> {
        ChatProvider::ALL.into_iter().find(|provider| provider.as_str() == name)
    }

    /// The one that serves a channel, if people bring accounts for it.
    pub fn of(channel: &Channel) -> Option<ChatProvider> {
        ChatProvider::named(channel.as_str())
    }

    /// Stands in a row's key; never changed.
    pub(super) fn byte(self) -> u8 {
        match self {
            ChatProvider::Messenger => b'm',
            ChatProvider::ViberServiceMsg => b'v',
            ChatProvider::WhatsApp => b'w',
        }
    }
}

impl ExternalId {
    /// Reads what a provider of that kind knows an account by.
    ///
    /// # Errors
    /// If it is none; the text says what would be right.
    pub fn parse(provider: ChatProvider, text: &str) -> Result<ExternalId, &'static str> {
        let is_word = |text: &str| {
            (1..=50).contains(&text.len())
                && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
        };
        let is_number = |text: &str| {
            (7..=15).contains(&text.len())
                && text.bytes().all(|b| b.is_ascii_digit())
                && !text.starts_with('0')
        };
        let (fits, wanted) = match provider {
            ChatProvider::Messenger => {
                (is_word(text), "must be the page's id: 1 to 50 letters, digits, - _ .")
            }
            ChatProvider::ViberServiceMsg => {
                (is_word(text), "must be the Viber service's id: 1 to 50 letters, digits, - _ .")
            }
            ChatProvider::WhatsApp => (
                is_number(text),
                "must be the WhatsApp number in E.164 without +: 7 to 15 digits, no leading 0",
            ),
        };
        if fits { Ok(ExternalId(text.to_owned())) } else { Err(wanted) }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl AccountToken {
    /// How a token is shown to whoever need not see it.
    pub const REDACTED: &'static str = "***";

    /// Reads a token.
    ///
    /// # Errors
    /// If it is none; the text says what would be right, and shows nothing of it.
    pub fn parse(text: &str) -> Result<AccountToken, &'static str> {
        // It would replace the token by what hides it.
        if text == AccountToken::REDACTED {
            return Err(
                "is how a token is shown; give the token itself, or leave it out to keep it",
            );
        }
        // It travels in headers: nothing in it may end one.
        let fits = (1..=4096).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        if fits {
            Ok(AccountToken(Secret::new(text)))
        } else {
            Err(
                "must be the provider's access token: 1 to 4096 visible ASCII characters, no spaces",
            )
        }
    }

    /// The token.
    pub(super) fn secret(&self) -> &Secret {
        &self.0
    }
}

/// The key of a tenant's rows: no other tenant's begins with it.
pub(super) fn tenant_key(tenant: &str) -> Vec<u8> {
    [&(tenant.len() as u32).to_be_bytes()[..], tenant.as_bytes()].concat()
}

/// The key of an account's row.
pub(super) fn row_key(tenant: &str, provider: ChatProvider, external_id: &str) -> Vec<u8> {
    [&tenant_key(tenant)[..], &[provider.byte()], external_id.as_bytes()].concat()
}

/// Where a token is sealed for.
pub(super) fn place(key: &[u8]) -> Vec<u8> {
    [b"account/", key].concat()
}

impl fmt::Debug for ExternalAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExternalAccount")
            .field("tenant", &self.tenant)
            .field("provider", &self.provider)
            .field("revision", &self.revision)
            .finish_non_exhaustive()
    }
}
