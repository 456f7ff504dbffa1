//! Why a call about applications or accounts was refused, told to its caller: one total function.
//!
//! As [`Error`] is for workflows: a code, a stable reason in `ErrorInfo`, and no secret in any text.

use std::{collections::HashMap, time::Duration};

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt};

use super::errors::Error;
use crate::{
    access::{AccountError, ApplicationError, Denied},
    engine::EngineError,
};

/// Why a call was not answered with what it asked for.
#[derive(Clone, Debug)]
pub(super) enum Refusal {
    /// The request is wrong; each violation names a field and says what would be right.
    Invalid(Vec<FieldViolation>),
    /// The caller is not let in, or may not do this.
    Denied(Denied),
    /// About an application.
    Application(ApplicationError),
    /// About an external account.
    Account(AccountError),
    /// The service is stopping.
    Stopping,
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
            Refusal::Stopping => Error::Engine(EngineError::Unavailable).into(),
            Refusal::Denied(denied) => self::denied(denied),
            Refusal::Application(error) => match error {
                ApplicationError::NotFound => {
                    status(Code::NotFound, "APPLICATION_NOT_FOUND", error.to_string())
                }
                ApplicationError::Store(error) => Error::Store(error).into(),
                ApplicationError::Vault(_) => vault(&error),
            },
            Refusal::Account(error) => match error {
                AccountError::NotFound => {
                    status(Code::NotFound, "ACCOUNT_NOT_FOUND", error.to_string())
                }
                AccountError::AlreadyExists => {
                    status(Code::AlreadyExists, "ACCOUNT_EXISTS", error.to_string())
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

fn denied(denied: Denied) -> Status {
    match denied {
        Denied::Missing => status(
            Code::Unauthenticated,
            "CREDENTIALS_MISSING",
            "no credentials were sent; send authorization: Basic or Bearer".to_owned(),
        ),
        Denied::Invalid(why) => status(
            Code::Unauthenticated,
            "CREDENTIALS_INVALID",
            format!("the credentials are not good: {why}"),
        ),
        Denied::Forbidden(scope) => status(
            Code::PermissionDenied,
            "RIGHT_MISSING",
            format!("these credentials lack the right: {}", scope.as_str()),
        ),
        Denied::TooMany { retry_after_ms } => {
            let message = format!("too many calls; ask again in {retry_after_ms} ms");
            let mut details = details("TOO_MANY_CALLS");
            details.set_retry_info(Some(Duration::from_millis(retry_after_ms)));
            Status::with_error_details(Code::ResourceExhausted, message, details)
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
