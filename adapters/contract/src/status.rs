//! How far a message got.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// How far a message is. It only advances, and a higher status implies the lower ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Status {
    /// Not yet accepted by a provider.
    Pending,
    /// A provider accepted it.
    Submitted,
    /// It reached the handset or the app.
    Delivered,
    /// The person opened it.
    Read,
    /// The person answered it.
    Replied,
}

/// Why a message will advance no further. It yields to any later status: providers do report
/// `delivered` after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Failure {
    /// The provider refused it.
    Rejected,
    /// The provider accepted it, and later gave up.
    Undeliverable,
}

/// A text that names no [`Status`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownStatus;

impl Status {
    /// Every status, lowest first.
    pub const ALL: [Status; 5] =
        [Status::Pending, Status::Submitted, Status::Delivered, Status::Read, Status::Replied];

    /// The name as it stands on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Status::Pending => "pending",
            Status::Submitted => "submitted",
            Status::Delivered => "delivered",
            Status::Read => "read",
            Status::Replied => "replied",
        }
    }
}

impl FromStr for Status {
    type Err = UnknownStatus;

    fn from_str(name: &str) -> Result<Self, UnknownStatus> {
        Status::ALL.into_iter().find(|status| status.as_str() == name).ok_or(UnknownStatus)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Failure {
    /// The name as it stands on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Failure::Rejected => "rejected",
            Failure::Undeliverable => "undeliverable",
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for UnknownStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no such message status")
    }
}

impl std::error::Error for UnknownStatus {}
