//! Why nothing was done with an application, an external account or a secret.

use std::fmt;

use crate::store::StoreError;

/// Why nothing was done with an application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApplicationError {
    /// The tenant has none of that id.
    NotFound,
    /// The tenant has as many as it may have.
    TooMany {
        /// How many that is.
        most: usize,
    },
    /// The store failed.
    Store(StoreError),
    /// A secret could not be made, sealed or opened.
    Vault(VaultError),
    /// A secret that was sent back is not the one that there is; which field holds it.
    OtherSecret(&'static str),
}

/// Why nothing was done with an external account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccountError {
    /// The tenant has none of that id.
    NotFound,
    /// The tenant has one of that id already.
    AlreadyExists,
    /// The tenant has as many as it may have.
    TooMany {
        /// How many that is.
        most: usize,
    },
    /// The tenant has no such application, or that does nothing with messages.
    CannotLink,
    /// It is linked to an application already, and there is room for one.
    AlreadyLinked,
    /// It is not linked to this application.
    NotLinked,
    /// The store failed.
    Store(StoreError),
    /// A token could not be sealed or opened.
    Vault(VaultError),
}

/// Why something could not be sealed or opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VaultError {
    /// It was sealed with another master key.
    OtherKey,
    /// It is damaged, or was sealed for another row.
    Damaged,
    /// The cryptographic library failed.
    Failed,
}

impl From<StoreError> for ApplicationError {
    fn from(error: StoreError) -> Self {
        ApplicationError::Store(error)
    }
}

impl From<VaultError> for ApplicationError {
    fn from(error: VaultError) -> Self {
        ApplicationError::Vault(error)
    }
}

impl fmt::Display for ApplicationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ApplicationError::NotFound => f.write_str("there is no such application"),
            ApplicationError::TooMany { most } => too_many(f, *most, "applications"),
            ApplicationError::Store(error) => error.fmt(f),
            ApplicationError::Vault(error) => write!(f, "a secret of an application: {error}"),
            ApplicationError::OtherSecret(_) => f.write_str(
                "is made by the service, and is another; send back the present one or leave it out",
            ),
        }
    }
}

impl std::error::Error for ApplicationError {}

impl From<StoreError> for AccountError {
    fn from(error: StoreError) -> Self {
        AccountError::Store(error)
    }
}

impl From<VaultError> for AccountError {
    fn from(error: VaultError) -> Self {
        AccountError::Vault(error)
    }
}

impl fmt::Display for AccountError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AccountError::NotFound => f.write_str("there is no such account"),
            AccountError::AlreadyExists => f.write_str(
                "there is an account of this provider and external id already; update that one",
            ),
            AccountError::TooMany { most } => too_many(f, *most, "accounts"),
            AccountError::CannotLink => f.write_str(
                "there is no such application, or it has no messages capability; give it one first",
            ),
            AccountError::AlreadyLinked => f.write_str(
                "the account is linked to an application already, and one is the most; unlink that one \
                 first",
            ),
            AccountError::NotLinked => f.write_str("the account is not linked to this application"),
            AccountError::Store(error) => error.fmt(f),
            AccountError::Vault(error) => write!(f, "the token of an external account: {error}"),
        }
    }
}

/// Says what may be done about it.
fn too_many(f: &mut fmt::Formatter<'_>, most: usize, what: &str) -> fmt::Result {
    write!(
        f,
        "this tenant has {most} {what}, and may have no more; delete those that are not used, or raise \
         most_{what} in [access], or in [access.tenants] for this tenant alone"
    )
}

impl std::error::Error for AccountError {}

impl fmt::Display for VaultError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            VaultError::OtherKey => {
                "it was encrypted with another master key; give that one as access.master_key, or as \
                 access.master_key_previous"
            }
            VaultError::Damaged => {
                "it does not decrypt: it is damaged, or access.master_key is not the one it was \
                 encrypted with"
            }
            VaultError::Failed => "the cryptographic library failed",
        })
    }
}

impl std::error::Error for VaultError {}
