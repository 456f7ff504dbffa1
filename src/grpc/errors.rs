//! Every error, told to a gRPC caller: one total function.
//!
//! A status carries `google.rpc` details: `ErrorInfo` with a stable reason, `BadRequest` with field
//! paths, `RetryInfo` where waiting helps. No text holds a number, an address or a message's text.

use std::{collections::HashMap, time::Duration};

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt};

use crate::{
    access::{Denied, Exceeded, KeyError, RotationError, WrongKey},
    engine::EngineError,
    machine::WorkflowId,
    store::StoreError,
};

/// The domain of every `ErrorInfo`.
pub(super) const DOMAIN: &str = "dispatch";

/// How many violations a status names: it travels in a trailer, and clients take about 16 KiB.
const VIOLATIONS_MOST: usize = 40;

/// Why a call was not answered with what it asked for.
#[derive(Clone, Debug)]
pub(crate) enum Error {
    /// The request is wrong; each violation names a field and says what would be right.
    Invalid(Vec<FieldViolation>),
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
    /// There is no callback of that id.
    NoCallback,
    /// The master key was not changed.
    Rotation(RotationError),
}

impl Error {
    /// One violation.
    pub(super) fn invalid(field: &str, description: impl Into<String>) -> Error {
        Error::Invalid(vec![FieldViolation::new(field, description)])
    }

    /// The stable reason of its `ErrorInfo`.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Error::Invalid(_) => "INVALID_REQUEST",
            Error::Engine(EngineError::TooLate) => "INVALID_REQUEST",
            Error::Engine(EngineError::NotFound(_)) => "WORKFLOW_NOT_FOUND",
            Error::Engine(EngineError::AlreadyExists(_)) => "REQUEST_ID_REUSED",
            Error::Engine(EngineError::AlreadyEnded { .. }) => "WORKFLOW_ENDED",
            Error::Engine(EngineError::Overloaded { .. }) => "OVERLOADED",
            Error::Engine(EngineError::RouteSaturated { .. }) => "ROUTE_SATURATED",
            Error::Engine(EngineError::DiskFull) => "DISK_FULL",
            Error::Engine(EngineError::ReadOnly) => "READ_ONLY",
            Error::Engine(EngineError::RestoreLocked) => "HELD",
            Error::Engine(EngineError::NotRestoreLocked) => "NOT_HELD",
            Error::Engine(EngineError::Unavailable) => "STOPPING",
            Error::Store(_) => "STORE_FAILED",
            Error::Panicked => "HANDLER_PANICKED",
            Error::TokenTooOld { .. } => "RESUME_TOKEN_TOO_OLD",
            Error::TokenForeign => "RESUME_TOKEN_FOREIGN",
            Error::ReaderStuck => "READER_STUCK",
            Error::Quiet => "QUIET",
            Error::RealClock => "REAL_CLOCK",
            Error::Denied(Denied::Missing) => "CREDENTIALS_MISSING",
            Error::Denied(Denied::NoKey) => "NO_KEY_YET",
            Error::Denied(Denied::Elsewhere(_)) => "NOT_LOCAL",
            Error::Denied(Denied::Invalid(_)) => "CREDENTIALS_INVALID",
            Error::Denied(Denied::Forbidden(_)) => "SCOPE_MISSING",
            Error::Denied(Denied::Slowed { .. }) => "TOO_MANY_FAILED_LOGINS",
            Error::Denied(Denied::TooMany { .. }) => "OVERLOADED",
            Error::NoSuchMethod => "NO_SUCH_METHOD",
            Error::Exceeded(Exceeded::Rate { .. }) => "RATE_LIMITED",
            Error::Exceeded(Exceeded::Open { .. }) => "QUOTA_EXCEEDED",
            Error::Exceeded(Exceeded::Streams { .. }) => "TOO_MANY_STREAMS",
            Error::Exceeded(Exceeded::Calls) => "TOO_MANY_CALLS",
            Error::Key(KeyError::NotFound) => "KEY_NOT_FOUND",
            Error::Key(KeyError::Configured) => "KEY_CONFIGURED",
            Error::Key(KeyError::LastOperator) => "LAST_OPERATOR_KEY",
            Error::Key(KeyError::FirstIsNoOperator) => "FIRST_KEY_NOT_OPERATOR",
            Error::Key(KeyError::NoApplication) => "APPLICATION_NOT_FOUND",
            Error::Key(KeyError::OtherTenant | KeyError::OperatorsScope) => "OPERATOR_ONLY",
            Error::Key(KeyError::TooMany { .. }) => "TOO_MANY_KEYS",
            Error::Key(KeyError::NoRandomness) => "NO_RANDOMNESS",
            Error::Key(KeyError::Store(_)) => "STORE_FAILED",
            Error::NoCallback => "CALLBACK_NOT_FOUND",
            Error::Rotation(RotationError::Configured) => "MASTER_KEY_CONFIGURED",
            Error::Rotation(RotationError::File(_) | RotationError::Vault(_)) => {
                "MASTER_KEY_FAILED"
            }
            Error::Rotation(RotationError::Store(_)) => "STORE_FAILED",
        }
    }

    /// Its gRPC code.
    pub(crate) fn code(&self) -> Code {
        match self {
            Error::Invalid(_) | Error::Engine(EngineError::TooLate) => Code::InvalidArgument,
            Error::Engine(EngineError::NotFound(_)) | Error::NoCallback => Code::NotFound,
            Error::Engine(EngineError::AlreadyExists(_)) => Code::AlreadyExists,
            Error::Engine(
                EngineError::AlreadyEnded { .. }
                | EngineError::RestoreLocked
                | EngineError::NotRestoreLocked
                | EngineError::ReadOnly,
            ) => Code::FailedPrecondition,
            Error::Engine(EngineError::DiskFull) => Code::ResourceExhausted,
            Error::Engine(EngineError::Overloaded { .. } | EngineError::RouteSaturated { .. }) => {
                Code::ResourceExhausted
            }
            Error::Engine(EngineError::Unavailable) | Error::ReaderStuck => Code::Unavailable,
            Error::Quiet => Code::DeadlineExceeded,
            Error::Store(_) | Error::Panicked => Code::Internal,
            Error::TokenTooOld { .. } => Code::OutOfRange,
            Error::TokenForeign | Error::RealClock => Code::FailedPrecondition,
            Error::Denied(Denied::Missing | Denied::NoKey | Denied::Invalid(_)) => {
                Code::Unauthenticated
            }
            Error::NoSuchMethod => Code::Unimplemented,
            Error::Denied(Denied::Forbidden(_) | Denied::Elsewhere(_))
            | Error::Key(KeyError::OtherTenant | KeyError::OperatorsScope) => {
                Code::PermissionDenied
            }
            Error::Denied(Denied::Slowed { .. } | Denied::TooMany { .. })
            | Error::Exceeded(_)
            | Error::Key(KeyError::TooMany { .. }) => Code::ResourceExhausted,
            Error::Key(KeyError::NotFound | KeyError::NoApplication) => Code::NotFound,
            Error::Key(
                KeyError::Configured | KeyError::LastOperator | KeyError::FirstIsNoOperator,
            ) => Code::FailedPrecondition,
            Error::Key(KeyError::NoRandomness) => Code::Unavailable,
            Error::Key(KeyError::Store(_)) => Code::Internal,
            Error::Rotation(RotationError::Configured) => Code::FailedPrecondition,
            Error::Rotation(_) => Code::Internal,
        }
    }

    /// What the caller reads.
    pub(crate) fn message(&self) -> String {
        match self {
            Error::Invalid(violations) => {
                let told: Vec<_> = violations
                    .iter()
                    .take(3)
                    .map(|violation| format!("{}: {}", violation.field, violation.description))
                    .collect();
                let more = violations.len().saturating_sub(told.len());
                let more = if more == 0 { String::new() } else { format!("; and {more} more") };
                format!("{}{more}", told.join("; "))
            }
            Error::Engine(error) => error.to_string(),
            // What exactly failed is for the log.
            Error::Store(_) => {
                "the store could not be read; its operator finds why in the log".to_owned()
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
            Error::Rotation(error @ RotationError::Configured) => error.to_string(),
            Error::Rotation(_) => {
                "the master key could not be changed; its operator finds why in the log".to_owned()
            }
            Error::NoCallback => {
                "there is no callback of this id: it was delivered, or dropped with \
                its workflow, or there never was one"
                    .to_owned()
            }
        }
    }

    /// The violations, if it is about fields.
    pub(crate) fn violations(&self) -> &[FieldViolation] {
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
            | Error::NoCallback => &[],
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
            | Error::NoCallback => None,
        }
    }

    fn metadata(&self) -> HashMap<String, String> {
        let of = |id: &WorkflowId| HashMap::from([("workflow_id".to_owned(), id.to_string())]);
        match self {
            Error::Engine(
                EngineError::NotFound(id)
                | EngineError::AlreadyExists(id)
                | EngineError::AlreadyEnded { id, .. },
            ) => of(id),
            Error::Engine(EngineError::RouteSaturated { route, .. }) => {
                HashMap::from([("route".to_owned(), route.to_string())])
            }
            Error::Denied(Denied::Forbidden(scope)) => {
                HashMap::from([("scope".to_owned(), scope.as_str().to_owned())])
            }
            Error::TokenTooOld { oldest } => {
                HashMap::from([("oldest_resume_token".to_owned(), oldest.clone())])
            }
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
            | Error::NoCallback => HashMap::new(),
        }
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

impl From<Error> for Status {
    fn from(error: Error) -> Status {
        if let Error::Store(problem) | Error::Key(KeyError::Store(problem)) = &error {
            tracing::error!(error = %problem, "a read failed");
        }
        if let Error::Rotation(problem) = &error {
            tracing::error!(error = %problem, "the master key was not changed");
        }
        let mut details = ErrorDetails::with_error_info(error.reason(), DOMAIN, error.metadata());
        if !error.violations().is_empty() {
            let told = error.violations().iter().take(VIOLATIONS_MOST).cloned();
            details.set_bad_request(told.collect::<Vec<_>>());
        }
        if let Some(delay) = error.retry_after() {
            details.set_retry_info(Some(delay));
        }
        Status::with_error_details(error.code(), error.message(), details)
    }
}
