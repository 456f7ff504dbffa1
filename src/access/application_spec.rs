//! What an application is to be, as its owner asks for it, and what the owner is told of it once.

use dispatch_contract::{Secret, is_printable};

use super::{
    Application, Destinations, PayloadVersion, PublicKey, RefusedUrl, Signing, Webhook, check_url,
};

/// What an application is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApplicationSpec {
    /// For people.
    pub name: Name,
    /// Its public key. `None` makes a pair for a new one, and leaves an older one's key as it is.
    pub public_key: Option<PublicKey>,
    /// Makes a new pair for an older one too, in place of its key.
    pub renew_key: bool,
    /// What it does with messages.
    pub messages: Option<MessagesSpec>,
    /// The JSON object of its capabilities that nothing here uses; `None` leaves it as it is.
    pub other_capabilities: Option<String>,
    /// Kept for whoever asks for it again; `None` leaves it as it is.
    pub improve_ai: Option<bool>,
    /// Whether it is the tenant's default, in place of the one before; `None` leaves it as it is.
    pub is_default: Option<bool>,
}

/// What an application is to do with messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MessagesSpec {
    /// Told of people's answers.
    pub inbound: Option<Webhook>,
    /// Told of statuses and final reports.
    pub status: Option<Webhook>,
    /// The version of the payloads that it is sent.
    pub payload_version: PayloadVersion,
    /// How it can tell that it is us.
    pub signing: Signing,
}

/// Secrets of an application that its owner returned with the rest of an earlier response.
#[derive(Clone, Debug, Default)]
pub struct ReturnedSecrets {
    /// The private key.
    pub private_key: Option<Secret>,
    /// The secret of its callbacks.
    pub callback_secret: Option<Secret>,
}

/// A name for people: 1 to 200 printable characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name(String);

/// An application as it now is, with what is told only now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The application.
    pub application: Application,
    /// Whether it is its tenant's default.
    pub is_default: bool,
    /// The private key, PKCS#8 PEM, if a pair was made. It is not kept.
    pub private_key: Option<Secret>,
    /// The secret of its callbacks, if one was made.
    pub callback_secret: Option<Secret>,
}

impl Name {
    /// Reads a name.
    ///
    /// # Errors
    /// If it is none; the text says what would be right.
    pub fn parse(text: &str) -> Result<Name, &'static str> {
        if (1..=200).contains(&text.chars().count()) && is_printable(text) {
            Ok(Name(text.to_owned()))
        } else {
            Err(
                "must be 1 to 200 printable characters: no line break, none that is invisible, no blank \
                 at its ends",
            )
        }
    }

    /// The name that an application has.
    pub(super) fn of(application: &Application) -> Name {
        Name(application.name.clone())
    }

    /// The text itself.
    pub(super) fn into_text(self) -> String {
        self.0
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl ApplicationSpec {
    /// Looks at the address that statuses go to, by the judgement that a callback meets when it goes
    /// out: what could never be reached is refused while somebody looks. Where a name leads is seen
    /// only then.
    ///
    /// # Errors
    /// If it may not be called; the error says what would be right.
    pub fn check_status_url(&self, destinations: &Destinations) -> Result<(), RefusedUrl> {
        let status = self.messages.as_ref().and_then(|messages| messages.status.as_ref());
        status.map_or(Ok(()), |status| check_url(&status.address, destinations).map(|_| ()))
    }
}
