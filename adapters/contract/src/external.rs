//! A sender with a credential of its own: what it brings, and what that takes the place of.

use crate::{Account, Channel, Secret};

/// Which field of an [`Account`] a sender's own access token takes the place of.
///
/// A tenant brings an account of its own at a chat provider: a page, an official account, a number. What it
/// brings is always called the same; what a provider calls it stands in its settings form. So an adapter
/// reads one name, whosever credential stands there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExternalFields {
    /// The secret of the form that holds what calls are authorised with.
    pub access_token: &'static str,
}

/// A sender on a channel, as messages name it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelSender {
    /// The channel.
    pub channel: Channel,
    /// Its id or number there.
    pub id: String,
}

impl Account {
    /// This account as a sender with a credential of its own uses it.
    ///
    /// The name stays: webhook URLs and receipts go by it. `revision` must be one that nothing else of that
    /// name has.
    #[must_use]
    pub fn under(&self, fields: ExternalFields, access_token: Secret, revision: u64) -> Account {
        let mut own = Account { revision, ..self.clone() };
        own.secrets.insert(fields.access_token.to_owned(), access_token);
        own
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sender_s_own_token_stands_where_the_account_s_stood_and_all_else_stays() {
        let secret = |name: &str, text: &str| (name.to_owned(), Secret::new(text));
        let account = Account {
            name: "main".to_owned(),
            revision: 1,
            settings: [("base_url".to_owned(), "https://a.example".to_owned())].into(),
            secrets: [secret("token", "ours"), secret("signature_secret", "s")].into(),
        };
        let own = account.under(ExternalFields { access_token: "token" }, Secret::new("theirs"), 7);
        assert_eq!((own.name.as_str(), own.revision), ("main", 7));
        assert_eq!(own.settings, account.settings);
        assert_eq!(
            (own.secret("token"), own.secret("signature_secret")),
            (Some("theirs"), Some("s"))
        );
    }
}
