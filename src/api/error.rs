//! Every error that a caller is told of, on whichever edge: one enum, and one total function each for its
//! reason (with its gRPC code and HTTP status), its text, when to ask again, and what it is about.
//!
//! An edge adds only its form: gRPC a status with `google.rpc` details, REST a problem object. No text holds a
//! number, an address, a secret or a message's text.

mod reason;

use std::time::Duration;

use tonic::Code;

pub(crate) use reason::ErrorReason;

use super::violation::{FieldPath, RequestViolation, Wanted};
use crate::{
    access::{AccountError, ApplicationError, Denied, Exceeded, KeyError, RotationError, WrongKey},
    contents::SlotError,
    engine::{EngineError, ErasureError},
    fair::NotDone,
    machine::WorkflowId,
    store::StoreError,
};

/// Why a call was not answered with what it asked for.
#[derive(Clone, Debug)]
pub(crate) enum Error {
    /// The request is wrong; each violation names a field and says what would be right.
    Invalid(Vec<RequestViolation>),
    /// The engine did not do it.
    Engine(EngineError),
    /// The store could not be read.
    Store(StoreError),
    /// Whoever was to answer panicked: a bug.
    Panicked,
    /// A resume token past retention.
    TokenTooOld { oldest: String },
    /// A resume token of another life of the store.
    TokenForeign,
    /// The reader of a stream takes nothing.
    ReaderStuck,
    /// Nothing was asked, or nothing to answer, for too long.
    Quiet,
    /// The server runs on the real clock.
    RealClock,
    /// The caller is not let in.
    Denied(Denied),
    /// There is no such method, or nobody may call it.
    NoSuchMethod,
    /// The caller's tenant asks too much.
    Exceeded(Exceeded),
    /// A key was not changed.
    Key(KeyError),
    /// So many of the workflows that were to be erased are open, and that was to be refused.
    StillOpen { open: usize },
    /// There is no callback of that id.
    NoCallback,
    /// There is no such entry on the list of opt-outs.
    NoOptOut,
    /// The tenant's list of opt-outs would be longer than it may be.
    TooManyOptOuts { most: usize },
    /// The master key was not changed.
    Rotation(RotationError),
    /// Nothing was done with an application.
    Application(ApplicationError),
    /// Nothing was done with an external account.
    Account(AccountError),
}

impl Error {
    /// One violation.
    pub(crate) fn invalid(field: impl Into<FieldPath>, wanted: impl Into<Wanted>) -> Error {
        Error::Invalid(vec![RequestViolation::new(field, wanted)])
    }

    /// Why, for the caller's program; with it its gRPC code and its HTTP status.
    pub(crate) fn reason(&self) -> ErrorReason {
        match self {
            Error::Invalid(_) => ErrorReason::InvalidRequest,
            Error::Engine(error) => of_engine(error),
            Error::Store(_) => ErrorReason::StoreFailed,
            Error::Panicked => ErrorReason::HandlerPanicked,
            Error::TokenTooOld { .. } => ErrorReason::ResumeTokenTooOld,
            Error::TokenForeign => ErrorReason::ResumeTokenForeign,
            Error::ReaderStuck => ErrorReason::ReaderStuck,
            Error::Quiet => ErrorReason::Quiet,
            Error::RealClock => ErrorReason::RealClock,
            Error::Denied(denied) => of_denied(denied),
            Error::NoSuchMethod => ErrorReason::NoSuchMethod,
            Error::Exceeded(exceeded) => of_exceeded(exceeded),
            Error::Key(error) => of_key(error),
            Error::StillOpen { .. } => ErrorReason::WorkflowsOpen,
            Error::NoCallback => ErrorReason::CallbackNotFound,
            Error::NoOptOut => ErrorReason::OptOutNotFound,
            Error::TooManyOptOuts { .. } => ErrorReason::TooManyOptOuts,
            Error::Rotation(RotationError::Configured) => ErrorReason::MasterKeyConfigured,
            Error::Rotation(
                RotationError::File(_) | RotationError::Elsewhere(_) | RotationError::Vault(_),
            ) => ErrorReason::MasterKeyFailed,
            Error::Rotation(RotationError::Store(_)) => ErrorReason::StoreFailed,
            Error::Application(error) => of_application(error),
            Error::Account(error) => of_account(error),
        }
    }

    /// What the caller reads.
    pub(crate) fn message(&self) -> String {
        match self {
            Error::Invalid(violations) => {
                let told: Vec<_> = violations
                    .iter()
                    .take(3)
                    .map(|violation| format!("{}: {}", violation.field, violation.wanted))
                    .collect();
                let more = violations.len().saturating_sub(told.len());
                let more = if more == 0 { String::new() } else { format!("; and {more} more") };
                format!("{}{more}", told.join("; "))
            }
            Error::Engine(error) => error.to_string(),
            // What exactly failed is for the log.
            Error::Store(_) => {
                "the store could not be read or written; its operator finds why in the log"
                    .to_owned()
            }
            Error::Panicked => {
                "an error of this service, which its operator finds in the log; what was asked for \
                 may have been done"
                    .to_owned()
            }
            Error::TokenTooOld { oldest } => format!(
                "this resume token is past retention; what is kept begins at {oldest}: use that, or \
                 start from the beginning"
            ),
            Error::TokenForeign => "this resume token belongs to another life of this service's \
                store, which was restored or made new; start from the beginning or from now"
                .to_owned(),
            Error::ReaderStuck => "the reader took nothing for too long; go on behind the last \
                resume token"
                .to_owned(),
            Error::Quiet => "nothing was asked for too long; ask on a call of its own".to_owned(),
            Error::RealClock => {
                "this service runs on the real clock; set sandbox.virtual_clock for one \
                that moves on demand"
                    .to_owned()
            }
            Error::Denied(denied) => denied.to_string(),
            Error::NoSuchMethod => {
                "there is no such method; reflection lists those there are".to_owned()
            }
            Error::Exceeded(exceeded) => exceeded.to_string(),
            Error::Key(error) => error.to_string(),
            Error::Application(ApplicationError::Vault(_))
            | Error::Account(AccountError::Vault(_)) => {
                "a secret could not be kept or read; its operator finds why in the log".to_owned()
            }
            Error::Application(error) => error.to_string(),
            Error::Account(error) => error.to_string(),
            Error::Rotation(error @ RotationError::Configured) => error.to_string(),
            Error::Rotation(_) => {
                "the master key could not be changed; its operator finds why in the log".to_owned()
            }
            Error::NoOptOut => {
                "the tenant has no such opt-out of this person; one that counts for every tenant is \
                lifted by an operator (of_every_tenant), or by the person (START)"
                    .to_owned()
            }
            Error::TooManyOptOuts { most } => format!(
                "the tenant may have {most} opt-outs; raise most_opt_outs in [access] of the \
                configuration, or lift some"
            ),
            Error::StillOpen { open } => format!(
                "nothing was erased: {open} of the workflows are open; cancel them (open = CANCEL), or wait for \
                their end"
            ),
            Error::NoCallback => {
                "there is no callback of this id: it was delivered, or dropped with \
                its workflow, or there never was one"
                    .to_owned()
            }
        }
    }

    /// Writes to the log what is not for the caller, and for whoever wants to know, at level debug, what is.
    pub(crate) fn log(&self) {
        tracing::debug!(
            reason = self.reason().as_str(),
            message = %self.message(),
            violations = ?self.violations(),
            subject = ?self.subject(),
            "a request was refused"
        );
        match self {
            Error::Store(error)
            | Error::Key(KeyError::Store(error))
            | Error::Application(ApplicationError::Store(error))
            | Error::Account(AccountError::Store(error)) => {
                tracing::error!(%error, "the store could not be read or written");
            }
            Error::Rotation(error) => tracing::error!(%error, "the master key was not changed"),
            Error::Application(ApplicationError::Vault(error))
            | Error::Account(AccountError::Vault(error)) => {
                tracing::error!(%error, "a secret could not be kept or read");
            }
            Error::Invalid(_)
            | Error::Engine(_)
            | Error::Panicked
            | Error::TokenTooOld { .. }
            | Error::TokenForeign
            | Error::ReaderStuck
            | Error::Quiet
            | Error::RealClock
            | Error::Denied(_)
            | Error::NoSuchMethod
            | Error::Exceeded(_)
            | Error::Key(_)
            | Error::Application(_)
            | Error::Account(_)
            | Error::StillOpen { .. }
            | Error::NoCallback
            | Error::NoOptOut
            | Error::TooManyOptOuts { .. } => {}
        }
    }

    /// The violations, if it is about fields.
    pub(crate) fn violations(&self) -> &[RequestViolation] {
        match self {
            Error::Invalid(violations) => violations,
            Error::Engine(_)
            | Error::Store(_)
            | Error::Panicked
            | Error::TokenTooOld { .. }
            | Error::TokenForeign
            | Error::ReaderStuck
            | Error::Quiet
            | Error::RealClock
            | Error::Denied(_)
            | Error::NoSuchMethod
            | Error::Exceeded(_)
            | Error::Key(_)
            | Error::Rotation(_)
            | Error::Application(_)
            | Error::Account(_)
            | Error::StillOpen { .. }
            | Error::NoCallback
            | Error::NoOptOut
            | Error::TooManyOptOuts { .. } => &[],
        }
    }

    /// When it is worth asking again.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Error::Engine(
                EngineError::Overloaded { retry_after_ms }
                | EngineError::RouteSaturated { retry_after_ms, .. },
            ) => Some(Duration::from_millis(*retry_after_ms)),
            Error::Engine(EngineError::Unavailable) | Error::Key(KeyError::NoRandomness) => {
                Some(Duration::from_secs(1))
            }
            Error::Denied(
                Denied::Slowed { retry_after_ms } | Denied::TooMany { retry_after_ms },
            ) => Some(Duration::from_millis(*retry_after_ms)),
            Error::Exceeded(exceeded) => Some(Duration::from_millis(exceeded.retry_after_ms())),
            Error::Invalid(_)
            | Error::Engine(
                EngineError::NotFound(_)
                | EngineError::TooLate
                | EngineError::AlreadyExists(_)
                | EngineError::AlreadyEnded { .. }
                | EngineError::DiskFull
                | EngineError::ReadOnly
                | EngineError::RestoreLocked
                | EngineError::NotRestoreLocked,
            )
            | Error::Store(_)
            | Error::Panicked
            | Error::TokenTooOld { .. }
            | Error::TokenForeign
            | Error::ReaderStuck
            | Error::Quiet
            | Error::RealClock
            | Error::Denied(
                Denied::Missing
                | Denied::NoKey
                | Denied::Elsewhere(_)
                | Denied::Invalid(_)
                | Denied::Forbidden(_),
            )
            | Error::NoSuchMethod
            | Error::Key(
                KeyError::NotFound
                | KeyError::Configured
                | KeyError::LastOperator
                | KeyError::FirstIsNoOperator
                | KeyError::OtherTenant
                | KeyError::NoApplication
                | KeyError::OperatorsScope
                | KeyError::TooMany { .. }
                | KeyError::Store(_),
            )
            | Error::Rotation(_)
            | Error::Application(_)
            | Error::Account(_)
            | Error::StillOpen { .. }
            | Error::NoCallback
            | Error::NoOptOut
            | Error::TooManyOptOuts { .. } => None,
        }
    }

    /// What it is about, by name.
    pub(crate) fn subject(&self) -> Option<(&'static str, String)> {
        let of = |id: &WorkflowId| Some(("workflow_id", id.to_string()));
        match self {
            Error::Engine(
                EngineError::NotFound(id)
                | EngineError::AlreadyExists(id)
                | EngineError::AlreadyEnded { id, .. },
            ) => of(id),
            Error::Engine(EngineError::RouteSaturated { route, .. }) => {
                Some(("route", route.to_string()))
            }
            Error::Denied(Denied::Forbidden(scope)) => Some(("scope", scope.as_str().to_owned())),
            Error::TokenTooOld { oldest } => Some(("oldest_resume_token", oldest.clone())),
            Error::Invalid(_)
            | Error::Engine(
                EngineError::TooLate
                | EngineError::Overloaded { .. }
                | EngineError::DiskFull
                | EngineError::ReadOnly
                | EngineError::RestoreLocked
                | EngineError::NotRestoreLocked
                | EngineError::Unavailable,
            )
            | Error::Store(_)
            | Error::Panicked
            | Error::TokenForeign
            | Error::ReaderStuck
            | Error::Quiet
            | Error::RealClock
            | Error::Denied(
                Denied::Missing
                | Denied::NoKey
                | Denied::Elsewhere(_)
                | Denied::Invalid(_)
                | Denied::Slowed { .. }
                | Denied::TooMany { .. },
            )
            | Error::NoSuchMethod
            | Error::Exceeded(_)
            | Error::Key(_)
            | Error::Rotation(_)
            | Error::Application(_)
            | Error::Account(_)
            | Error::StillOpen { .. }
            | Error::NoCallback
            | Error::NoOptOut
            | Error::TooManyOptOuts { .. } => None,
        }
    }
}

fn of_engine(error: &EngineError) -> ErrorReason {
    match error {
        EngineError::TooLate => ErrorReason::InvalidRequest,
        EngineError::NotFound(_) => ErrorReason::WorkflowNotFound,
        EngineError::AlreadyExists(_) => ErrorReason::RequestIdReused,
        EngineError::AlreadyEnded { .. } => ErrorReason::WorkflowEnded,
        EngineError::Overloaded { .. } => ErrorReason::Overloaded,
        EngineError::RouteSaturated { .. } => ErrorReason::RouteSaturated,
        EngineError::DiskFull => ErrorReason::DiskFull,
        EngineError::ReadOnly => ErrorReason::ReadOnly,
        EngineError::RestoreLocked => ErrorReason::RestoreLocked,
        EngineError::NotRestoreLocked => ErrorReason::NotRestoreLocked,
        EngineError::Unavailable => ErrorReason::Stopping,
    }
}

fn of_denied(denied: &Denied) -> ErrorReason {
    match denied {
        Denied::Missing => ErrorReason::CredentialsMissing,
        Denied::NoKey => ErrorReason::NoKeyYet,
        Denied::Elsewhere(_) => ErrorReason::NotLocal,
        Denied::Invalid(_) => ErrorReason::CredentialsInvalid,
        Denied::Forbidden(_) => ErrorReason::ScopeMissing,
        Denied::Slowed { .. } => ErrorReason::TooManyFailedLogins,
        Denied::TooMany { .. } => ErrorReason::Overloaded,
    }
}

fn of_exceeded(exceeded: &Exceeded) -> ErrorReason {
    match exceeded {
        Exceeded::Rate { .. } => ErrorReason::RateLimited,
        Exceeded::Open { .. } => ErrorReason::QuotaExceeded,
        Exceeded::Streams { .. } => ErrorReason::TooManyStreams,
        Exceeded::Calls => ErrorReason::TooManyCalls,
    }
}

fn of_key(error: &KeyError) -> ErrorReason {
    match error {
        KeyError::NotFound => ErrorReason::KeyNotFound,
        KeyError::Configured => ErrorReason::KeyConfigured,
        KeyError::LastOperator => ErrorReason::LastOperatorKey,
        KeyError::FirstIsNoOperator => ErrorReason::FirstKeyNotOperator,
        KeyError::NoApplication => ErrorReason::ApplicationNotFound,
        KeyError::OtherTenant | KeyError::OperatorsScope => ErrorReason::OperatorOnly,
        KeyError::TooMany { .. } => ErrorReason::TooManyKeys,
        KeyError::NoRandomness => ErrorReason::NoRandomness,
        KeyError::Store(_) => ErrorReason::StoreFailed,
    }
}

fn of_application(error: &ApplicationError) -> ErrorReason {
    match error {
        ApplicationError::NotFound => ErrorReason::ApplicationNotFound,
        ApplicationError::TooMany { .. } => ErrorReason::TooManyApplications,
        ApplicationError::Store(_) => ErrorReason::StoreFailed,
        ApplicationError::Vault(_) => ErrorReason::VaultFailed,
        ApplicationError::OtherSecret(_) => ErrorReason::InvalidRequest,
    }
}

fn of_account(error: &AccountError) -> ErrorReason {
    match error {
        AccountError::NotFound => ErrorReason::AccountNotFound,
        AccountError::AlreadyExists => ErrorReason::AccountExists,
        AccountError::TooMany { .. } => ErrorReason::TooManyAccounts,
        AccountError::CannotLink => ErrorReason::CannotLink,
        AccountError::AlreadyLinked => ErrorReason::AlreadyLinked,
        AccountError::NotLinked => ErrorReason::NotLinked,
        AccountError::Store(_) => ErrorReason::StoreFailed,
        AccountError::Vault(_) => ErrorReason::VaultFailed,
    }
}

impl From<EngineError> for Error {
    fn from(error: EngineError) -> Self {
        if error == EngineError::TooLate {
            let wanted = "must lie ahead: after this time nothing would be sent";
            return Error::invalid("valid_until", wanted);
        }
        Error::Engine(error)
    }
}

impl From<ErasureError> for Error {
    fn from(error: ErasureError) -> Self {
        match error {
            ErasureError::Engine(error) => Error::from(error),
            ErasureError::Store(error) => Error::Store(error),
            ErasureError::Keys(SlotError::ReadOnly) => Error::Engine(EngineError::ReadOnly),
            ErasureError::Keys(SlotError::Closed) => Error::Engine(EngineError::Unavailable),
            ErasureError::Keys(error) => Error::Store(StoreError::Io(error.to_string())),
        }
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        Error::Store(error)
    }
}

impl From<Denied> for Error {
    fn from(denied: Denied) -> Self {
        Error::Denied(denied)
    }
}

impl From<Exceeded> for Error {
    fn from(exceeded: Exceeded) -> Self {
        Error::Exceeded(exceeded)
    }
}

impl From<KeyError> for Error {
    fn from(error: KeyError) -> Self {
        Error::Key(error)
    }
}

impl From<RotationError> for Error {
    fn from(error: RotationError) -> Self {
        Error::Rotation(error)
    }
}

impl From<WrongKey> for Error {
    fn from(WrongKey { field, wanted }: WrongKey) -> Self {
        Error::invalid(field, wanted)
    }
}

impl From<NotDone> for Error {
    fn from(_: NotDone) -> Self {
        Error::Engine(EngineError::Unavailable)
    }
}

impl From<ApplicationError> for Error {
    fn from(error: ApplicationError) -> Self {
        match error {
            ApplicationError::OtherSecret(field) => Error::invalid(field, error.to_string()),
            ApplicationError::Store(error) => Error::Store(error),
            ApplicationError::NotFound
            | ApplicationError::TooMany { .. }
            | ApplicationError::Vault(_) => Error::Application(error),
        }
    }
}

impl From<AccountError> for Error {
    fn from(error: AccountError) -> Self {
        match error {
            AccountError::Store(error) => Error::Store(error),
            AccountError::NotFound
            | AccountError::AlreadyExists
            | AccountError::TooMany { .. }
            | AccountError::CannotLink
            | AccountError::AlreadyLinked
            | AccountError::NotLinked
            | AccountError::Vault(_) => Error::Account(error),
        }
    }
}

/// A code's name, for metrics.
pub(crate) fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
