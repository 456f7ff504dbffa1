//! An external account: a tenant's own page, service or number at a chat provider.

use std::fmt;

use dispatch_contract::{Channel, Secret};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The chat channels of the old API. Accounts on them are kept whoever serves them, because there they are
/// linked to applications too.
pub const CHAT_CHANNELS: [Channel; 3] = [Channel::MESSENGER, Channel::VIBER, Channel::WHATSAPP];

/// What a chat provider knows an account by, and what a message names as its sender: a page's id, a
/// service's id, a number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ExternalId(String);

/// A chat provider's access token: 1 to 4,096 visible ASCII characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountToken(Secret);

/// An external account. Kept as a setting of
/// [`Kind::ExternalAccount`](crate::store::Kind), under its tenant, channel and external id.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExternalAccount {
    /// Whose it is.
    pub tenant: String,
    /// The channel that it is on; the old API calls that its provider.
    pub channel: Channel,
    /// What it is called there.
    pub external_id: ExternalId,
    /// For people; may be empty.
    pub name: String,
    /// Which application it belongs to.
    pub link: ApplicationLink,
    /// The provider's access token, sealed.
    pub token: Option<Vec<u8>>,
    /// Grows with every change, beginning at the time it was made: one made anew has another.
    pub revision: u64,
    /// When it was made, in milliseconds of the Unix epoch.
    pub create_time_ms: u64,
}

/// Which application an external account belongs to. Stored by position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ApplicationLink {
    /// It was never linked: whatever its tenant sends goes out with its token.
    Never,
    /// This one, which is told of messages to it; its token is used as if it were never linked.
    To(Uuid),
    /// The one that it was linked to was taken away: its token is used for nothing until it is linked again.
    Undone,
}

impl ApplicationLink {
    /// The application, if it is linked to one.
    pub fn application(self) -> Option<Uuid> {
        match self {
            ApplicationLink::To(id) => Some(id),
            ApplicationLink::Never | ApplicationLink::Undone => None,
        }
    }

    /// Linked to this application, or to none any more.
    pub(super) fn changed_to(self, application: Option<Uuid>) -> Self {
        match (self, application) {
            (_, Some(id)) => ApplicationLink::To(id),
            (ApplicationLink::Never, None) => ApplicationLink::Never,
            (ApplicationLink::To(_) | ApplicationLink::Undone, None) => ApplicationLink::Undone,
        }
    }
}

impl ExternalAccount {
    /// Whether its token was put out of use by unlinking it.
    pub fn is_unlinked(&self) -> bool {
        self.link == ApplicationLink::Undone
    }
}

/// Whether an account on a channel must have a token. Viber's and WhatsApp's may be reached through a provider
/// that holds it.
pub fn needs_token(channel: &Channel) -> bool {
    ![Channel::VIBER, Channel::WHATSAPP].contains(channel)
}

impl ExternalId {
    /// Reads what accounts on a channel are known by.
    ///
    /// # Errors
    /// If it is none; the text says what would be right.
    pub fn parse(channel: &Channel, text: &str) -> Result<ExternalId, &'static str> {
        let is_word = (1..=50).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
        // A number, or what Meta calls it by: an id of as many digits, or some more.
        let is_number = (7..=32).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_digit())
            && !text.starts_with('0');
        let (fits, wanted) = if *channel == Channel::WHATSAPP {
            let wanted = "must be the WhatsApp number in E.164 without +, or the id that Meta gave to it: 7 to \
                          32 digits, no leading 0";
            (is_number, wanted)
        } else if *channel == Channel::MESSENGER {
            (is_word, "must be the page's id: 1 to 50 letters, digits, - _ .")
        } else if *channel == Channel::VIBER {
            (is_word, "must be the Viber service's id: 1 to 50 letters, digits, - _ .")
        } else {
            (is_word, "must be the sender's id there: 1 to 50 letters, digits, - _ .")
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
pub(super) fn row_key(tenant: &str, channel: &Channel, external_id: &str) -> Vec<u8> {
    // No channel's name has a NUL: none of its keys begins with another's.
    [&tenant_key(tenant)[..], channel.as_str().as_bytes(), &[0], external_id.as_bytes()].concat()
}

/// Where a token is sealed for.
pub(super) fn place(key: &[u8]) -> Vec<u8> {
    [b"account/", key].concat()
}

impl fmt::Debug for ExternalAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExternalAccount")
            .field("tenant", &self.tenant)
            .field("channel", &self.channel)
            .field("revision", &self.revision)
            .finish_non_exhaustive()
    }
}
