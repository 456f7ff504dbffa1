//! A callback that is still to be delivered, or was dead-lettered, as it is kept.
//!
//! Small, and without its body: that is rendered from the workflow's record and timeline when it is
//! sent, always the same. So no number and no text stands in it, a receiver that is away for a day
//! costs a hundred bytes a callback, and one that was dead-lettered because its application was set up
//! wrongly goes out rightly once that is mended.

use std::{fmt, str::FromStr, sync::Arc};

use dispatch_contract::UnixMillis;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::store::{self, Kind, SettingChange, StoreError};

/// Names a callback: its workflow, and the number of the fact that it reports; or the inbound message that it tells, and 0.
/// The same whenever it is made or repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallbackId {
    /// The workflow, or the inbound message.
    pub about: Uuid,
    /// The fact's number in the workflow, from 1.
    pub sequence: u32,
}

/// A callback.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Callback {
    /// The tenant that owns it.
    pub tenant: Arc<str>,
    /// The application that it goes to, and whose secret signs it.
    pub application: Uuid,
    /// What it reports.
    pub subject: Subject,
    /// Where it goes, hashed: callbacks to one destination share its limit.
    pub(super) destination: u64,
    /// In engine time.
    pub create_time: UnixMillis,
    /// From when it is attempted, in engine time: when it was created or resent.
    pub attempts_since: UnixMillis,
    /// How often it was attempted since then.
    pub attempt_count: u32,
    /// Whether it waits or was dead-lettered.
    pub state: DeliveryState,
    /// Why the last attempt failed.
    pub last_failure: Option<DeliveryFailure>,
}

/// What a callback reports. Stored by position: new ones go to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Subject {
    /// A message's status.
    Status,
    /// The final report.
    Report,
    /// What a person wrote.
    Inbound,
}

/// Whether a callback is still to be delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeliveryState {
    /// It is attempted from this engine time on, once those before it are completed.
    Waiting(UnixMillis),
    /// It was dead-lettered at this engine time.
    DeadLettered(UnixMillis),
}

/// Why an attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeliveryFailure {
    /// The receiver answered this HTTP status.
    Answered(u16),
    /// No connection came about.
    Unreachable,
    /// It took too long.
    TimedOut,
    /// The connection broke, or what came is no HTTP.
    Broken,
    /// The address is not admitted. Tenants read the same text as of [`Unreachable`](Self::Unreachable).
    NotAllowed,
    /// Too many of its application's wait already.
    TooMany,
}

impl CallbackId {
    pub(super) fn to_key(self) -> Vec<u8> {
        [self.about.as_bytes().as_slice(), &self.sequence.to_be_bytes()].concat()
    }

    pub(super) fn from_key(key: &[u8]) -> Option<CallbackId> {
        let (about, sequence) = key.split_at_checked(16)?;
        let about = Uuid::from_slice(about).ok()?;
        let sequence = u32::from_be_bytes(sequence.try_into().ok()?);
        Some(CallbackId { about, sequence })
    }
}

impl Callback {
    pub(super) fn put(&self, id: CallbackId) -> Result<SettingChange, StoreError> {
        Ok(SettingChange::put(Kind::Callback, id.to_key(), store::encode(self)?))
    }

    pub(super) fn decode(key: &[u8], value: &[u8]) -> Result<(CallbackId, Callback), StoreError> {
        let place = || format!("a callback under a key of {} bytes", key.len());
        let id = CallbackId::from_key(key).ok_or_else(|| StoreError::Corrupt {
            place: place(),
            problem: "the key has not the 20 bytes of a callback's".to_owned(),
        })?;
        Ok((id, store::decode(value, place)?))
    }
}

/// A tenant as a number, for tables of whose turn it is.
pub(super) fn tenant_number(tenant: &str) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&Sha256::digest(tenant)[..8]);
    u64::from_be_bytes(bytes)
}

/// The rows that can be read. One that cannot is left as it is, and logged: it must not stand in the way
/// of all others.
pub(super) fn readable(rows: &[(Vec<u8>, Vec<u8>)]) -> Vec<(CallbackId, Callback)> {
    let decoded = rows.iter().map(|(key, value)| Callback::decode(key, value));
    decoded
        .filter_map(|row| {
            row.inspect_err(|error| tracing::error!(%error, "a callback cannot be read")).ok()
        })
        .collect()
}

impl DeliveryFailure {
    /// Its name, in metrics and on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            DeliveryFailure::Answered(_) => "answered",
            DeliveryFailure::Unreachable => "unreachable",
            DeliveryFailure::TimedOut => "timed_out",
            DeliveryFailure::Broken => "broken",
            DeliveryFailure::NotAllowed => "not_allowed",
            DeliveryFailure::TooMany => "too_many",
        }
    }
}

impl fmt::Display for DeliveryFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeliveryFailure::Answered(status) => write!(f, "the receiver answered {status}"),
            // One text for both: else whoever names hosts learns which of them are inside.
            DeliveryFailure::Unreachable | DeliveryFailure::NotAllowed => f.write_str(
                "the receiver could not be reached: it must answer at a public address over https, unless \
                 [callbacks] in the configuration allows others",
            ),
            DeliveryFailure::TimedOut => f.write_str("the receiver did not answer in time"),
            DeliveryFailure::Broken => f.write_str("the connection broke before an answer"),
            DeliveryFailure::TooMany => f.write_str("too many callbacks of its application waited"),
        }
    }
}

impl fmt::Display for CallbackId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.about, self.sequence)
    }
}

impl FromStr for CallbackId {
    type Err = InvalidCallbackId;

    fn from_str(text: &str) -> Result<Self, InvalidCallbackId> {
        let (about, sequence) = text.split_once('.').ok_or(InvalidCallbackId)?;
        Ok(CallbackId {
            about: about.parse().map_err(|_| InvalidCallbackId)?,
            sequence: sequence.parse().map_err(|_| InvalidCallbackId)?,
        })
    }
}

/// A text that names no callback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidCallbackId;

impl fmt::Display for InvalidCallbackId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a callback's id is that of its workflow or message, a dot and a number")
    }
}

impl std::error::Error for InvalidCallbackId {}
