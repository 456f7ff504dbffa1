//! Why a call about applications or accounts was refused, told to its caller: one total function.
//!
//! As [`Error`] is for workflows: a code, a stable reason in `ErrorInfo`, and no secret in any text.

use std::collections::HashMap;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt};

use super::errors::Error;
use crate::{
    access::{AccountError, ApplicationError},
    engine::EngineError,
};

/// Why a call was not answered with what it asked for.
#[derive(Clone, Debug)]
pub(super) enum Refusal {
    /// The request is wrong; each violation names a field and says what would be right.
    Invalid(Vec<FieldViolation>),
    /// The request is wrong otherwise.
    Request(Error),
    /// About an application.
    Application(ApplicationError),
    /// About an external account.
    Account(AccountError),
    /// The service is stopping.
    Stopping,
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Refusal::Request(error)
    }
}

impl From<ApplicationError> for Refusal {
    fn from(error: ApplicationError) -> Self {
        Refusal::Application(error)
    }
}

impl From<AccountError> for Refusal {
    fn from(error: AccountError) -> Self {
        Refusal::Account(error)
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Status {
        match refusal {
            Refusal::Invalid(violations) => Error::Invalid(violations).into(),
            Refusal::Request(error) => error.into(),
            Refusal::Stopping => Error::Engine(EngineError::Unavailable).into(),
            Refusal::Application(error) => match error {
                ApplicationError::NotFound => {
                    status(Code::NotFound, "APPLICATION_NOT_FOUND", error.to_string())
                }
                ApplicationError::TooMany { .. } => {
                    status(Code::ResourceExhausted, "TOO_MANY_APPLICATIONS", error.to_string())
                }
                ApplicationError::Store(error) => Error::Store(error).into(),
                ApplicationError::Vault(_) => vault(&error),
                ApplicationError::OtherSecret(field) => {
                    Error::invalid(field, error.to_string()).into()
                }
            },
            Refusal::Account(error) => match error {
                AccountError::NotFound => {
                    status(Code::NotFound, "ACCOUNT_NOT_FOUND", error.to_string())
                }
                AccountError::AlreadyExists => {
                    status(Code::AlreadyExists, "ACCOUNT_EXISTS", error.to_string())
                }
                AccountError::TooMany { .. } => {
                    status(Code::ResourceExhausted, "TOO_MANY_ACCOUNTS", error.to_string())
                }
                AccountError::CannotLink => {
                    status(Code::FailedPrecondition, "CANNOT_LINK", error.to_string())
                }
                AccountError::AlreadyLinked => {
                    status(Code::FailedPrecondition, "ALREADY_LINKED", error.to_string())
                }
                AccountError::NotLinked => {
                    status(Code::FailedPrecondition, "NOT_LINKED", error.to_string())
                }
                AccountError::Store(error) => Error::Store(error).into(),
                AccountError::Vault(_) => vault(&error),
            },
        }
    }
}

/// What exactly failed is for the log.
fn vault(error: &dyn std::error::Error) -> Status {
    tracing::error!(%error, "a secret could not be kept or read");
    let message = "a secret could not be kept or read; its operator finds why in the log";
    status(Code::Internal, "VAULT_FAILED", message.to_owned())
}

fn status(code: Code, reason: &str, message: String) -> Status {
    Status::with_error_details(code, message, details(reason))
}

fn details(reason: &str) -> ErrorDetails {
    ErrorDetails::with_error_info(reason, super::errors::DOMAIN, HashMap::new())
}
