//! What is kept beside workflows: rows in place, few and small, changed by any thread.
//!
//! Keys, applications, accounts, the audit log, and the callbacks that are still to be delivered. A row
//! is whatever its room makes of it (see [`encode`](super::encode)); the store knows its kind and its
//! key.

use super::StoreError;

/// The largest value of a row, in bytes.
pub const VALUE_BYTES: usize = 64 * 1024;

/// What a row is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// An API key.
    Key,
    /// An application.
    Application,
    /// An account of an application's at a chat provider.
    ExternalAccount,
    /// What an administrator did.
    Audit,
    /// A callback that is still to be delivered, or was given up.
    Callback,
    /// How far the journal was looked through for callbacks.
    CallbackState,
    /// Which application a tenant's callbacks belong to where the caller names none.
    DefaultApplication,
    /// What the service keeps for itself.
    Service,
    /// A token that was used, until it expires.
    UsedToken,
    /// A person who wants no messages.
    OptOut,
    /// What a person wrote, under its number.
    InboundMessage,
    /// The number of what a person wrote, under its id.
    InboundId,
    /// What was erased, and how far that is.
    Erasure,
}

/// A row: its key, unique within its kind, and what it is.
pub type KeyAndValue = (Vec<u8>, Vec<u8>);

/// One row's change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingChange {
    /// What it is about.
    pub kind: Kind,
    /// Unique within its kind.
    pub key: Vec<u8>,
    /// What it is from now on; `None` removes it.
    pub value: Option<Vec<u8>>,
}

/// Rows in place.
pub trait Settings: Send + Sync {
    /// One row.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn get(&self, kind: Kind, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// Up to `limit` rows behind `after`, in the order of their keys.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn list(
        &self,
        kind: Kind,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<KeyAndValue>, StoreError>;

    /// Makes all of `changes` or none of them, durably.
    ///
    /// # Errors
    /// If a value is larger than [`VALUE_BYTES`], or the disk failed: then nothing further is written.
    fn write(&self, changes: Vec<SettingChange>) -> Result<(), StoreError>;

    /// The same, durable with whatever is made durable next: for what may be done twice.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    fn note(&self, changes: Vec<SettingChange>) -> Result<(), StoreError>;
}

/// All rows of a kind, in the order of their keys, read some at a time. It ends with the first error.
pub fn all_rows(
    settings: &dyn Settings,
    kind: Kind,
) -> impl Iterator<Item = Result<KeyAndValue, StoreError>> {
    const ROWS: usize = 64;
    let (mut some, mut after, mut is_last) = (Vec::new().into_iter(), None, false);
    std::iter::from_fn(move || {
        if some.len() == 0 && !is_last {
            let rows = match settings.list(kind, after.as_deref(), ROWS) {
                Ok(rows) => rows,
                Err(error) => {
                    is_last = true;
                    return Some(Err(error));
                }
            };
            is_last = rows.len() < ROWS;
            after = rows.last().map(|(key, _)| key.clone());
            some = rows.into_iter();
        }
        some.next().map(Ok)
    })
}

impl Kind {
    /// All of them, in the order in which a backup reads them.
    pub const ALL: [Kind; 13] = [
        Kind::InboundId,
        Kind::InboundMessage,
        Kind::Key,
        Kind::Application,
        Kind::ExternalAccount,
        Kind::Audit,
        Kind::Callback,
        Kind::CallbackState,
        Kind::DefaultApplication,
        Kind::UsedToken,
        Kind::OptOut,
        Kind::Erasure,
        // Behind the rows that it counts: a backup reads them one after the other while others are written.
        Kind::Service,
    ];

    /// Stands before the key of a stored row; never changed.
    pub(super) fn byte(self) -> u8 {
        match self {
            Kind::Key => b'k',
            Kind::Application => b'a',
            Kind::ExternalAccount => b'e',
            Kind::Audit => b'u',
            Kind::Callback => b'c',
            Kind::CallbackState => b's',
            Kind::DefaultApplication => b'd',
            Kind::Service => b'o',
            Kind::UsedToken => b't',
            Kind::OptOut => b'x',
            Kind::InboundMessage => b'm',
            Kind::InboundId => b'n',
            Kind::Erasure => b'r',
        }
    }
}

impl SettingChange {
    /// A row that is there from now on.
    pub fn put(kind: Kind, key: impl Into<Vec<u8>>, value: Vec<u8>) -> Self {
        SettingChange { kind, key: key.into(), value: Some(value) }
    }

    /// A row that is gone from now on.
    pub fn remove(kind: Kind, key: impl Into<Vec<u8>>) -> Self {
        SettingChange { kind, key: key.into(), value: None }
    }

    /// The key as it is stored.
    pub(super) fn stored_key(&self) -> Vec<u8> {
        stored_key(self.kind, &self.key)
    }

    /// Whether it may be stored.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        match &self.value {
            Some(value) if value.len() > VALUE_BYTES => Err(StoreError::Io(format!(
                "a setting of {} bytes is larger than the {VALUE_BYTES} that are kept",
                value.len()
            ))),
            Some(_) | None => Ok(()),
        }
    }
}

pub(super) fn stored_key(kind: Kind, key: &[u8]) -> Vec<u8> {
    [&[kind.byte()], key].concat()
}

/// From where to where the rows of `kind` behind `after` are stored.
pub(super) fn stored_range(kind: Kind, after: Option<&[u8]>) -> (Vec<u8>, Vec<u8>) {
    let from = match after {
        // The least key behind it.
        Some(after) => [&stored_key(kind, after)[..], &[0]].concat(),
        None => vec![kind.byte()],
    };
    (from, vec![kind.byte() + 1])
}
