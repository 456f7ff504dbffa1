//! The name of a channel.

use std::{borrow::Cow, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A way to reach a person: `sms`, `messenger`, …
///
/// An open name, so that third parties add their own: 1 to 32 characters of `a-z`, `0-9` and `_`,
/// starting with a letter.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Channel(Cow<'static, str>);

/// A text that is no channel name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidChannel;

impl Channel {
    /// Short message service; receipts say `delivered` at best.
    pub const SMS: Channel = Channel(Cow::Borrowed("sms"));
    /// Multimedia messaging service.
    pub const MMS: Channel = Channel(Cow::Borrowed("mms"));
    /// Facebook Messenger.
    pub const MESSENGER: Channel = Channel(Cow::Borrowed("messenger"));
    /// WhatsApp Business.
    pub const WHATSAPP: Channel = Channel(Cow::Borrowed("whatsapp"));
    /// Viber Business Messages, addressed by phone number. The name is that of the old Dispatch API.
    pub const VIBER: Channel = Channel(Cow::Borrowed("viber_service_msg"));
    /// RCS Business Messaging, addressed by phone number.
    pub const RCS: Channel = Channel(Cow::Borrowed("rcs"));

    /// A channel of one's own: `const LINE: Channel = Channel::named("line");`.
    ///
    /// # Panics
    /// If it is no channel's name; for a constant, when it is compiled.
    pub const fn named(name: &'static str) -> Channel {
        assert!(
            is_name(name),
            "a channel name has 1 to 32 of a-z, 0-9 and _, and starts with a letter"
        );
        Channel(Cow::Borrowed(name))
    }

    /// The name as it stands on the wire.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

const fn is_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    if bytes.is_empty() || bytes.len() > 32 || !bytes[0].is_ascii_lowercase() {
        return false;
    }
    let mut at = 1;
    while at < bytes.len() {
        let byte = bytes[at];
        if !(byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_') {
            return false;
        }
        at += 1;
    }
    true
}

impl FromStr for Channel {
    type Err = InvalidChannel;

    fn from_str(name: &str) -> Result<Self, InvalidChannel> {
        if !is_name(name) {
            return Err(InvalidChannel);
        }
        let known = [
            Channel::SMS,
            Channel::MMS,
            Channel::MESSENGER,
            Channel::WHATSAPP,
            Channel::VIBER,
            Channel::RCS,
        ];
        // A known name is borrowed, so that open workflows do not each own a copy of "sms".
        Ok(known
            .into_iter()
            .find(|channel| channel.as_str() == name)
            .unwrap_or_else(|| Channel(Cow::Owned(name.to_owned()))))
    }
}

impl TryFrom<String> for Channel {
    type Error = InvalidChannel;

    fn try_from(name: String) -> Result<Self, InvalidChannel> {
        name.parse()
    }
}

impl From<Channel> for String {
    fn from(channel: Channel) -> String {
        channel.0.into_owned()
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for InvalidChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a channel name has 1 to 32 characters of a-z, 0-9 and _, and starts with a letter",
        )
    }
}

impl std::error::Error for InvalidChannel {}
