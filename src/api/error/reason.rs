//! The reasons for which a call is refused, and how each is answered: one line a reason, for all edges.

use axum::http::StatusCode;
use tonic::Code;

/// Why a call is refused, for the caller's program: the word in `ErrorInfo`. Words may be added; what one of
/// them means does not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ErrorReason {
    // The request.
    /// A field is wrong; the violations say which, and what would be right.
    InvalidRequest,
    /// There is no such method, or nobody may call it.
    NoSuchMethod,
    /// There is no such workflow that the caller sees.
    WorkflowNotFound,
    /// The `request_id` belongs to a workflow that asks for something else.
    RequestIdReused,
    /// The workflow has ended, and cannot be canceled.
    WorkflowEnded,
    /// Some of the workflows that are to be erased are open, and that was to be refused.
    WorkflowsOpen,
    /// There is no such callback.
    CallbackNotFound,
    /// The list of opt-outs has no such entry that the caller may change.
    OptOutNotFound,
    /// What the token goes on from is past retention.
    ResumeTokenTooOld,
    /// The token is of another life of the store.
    ResumeTokenForeign,
    /// The service runs on the real clock, which nobody moves.
    RealClock,
    // The caller.
    /// The call brought no credential.
    CredentialsMissing,
    /// The credential is not good.
    CredentialsInvalid,
    /// There is no key yet, and without one nobody is let in.
    NoKeyYet,
    /// Without a credential only callers on this machine are let in.
    NotLocal,
    /// The caller's key lacks the scope.
    ScopeMissing,
    /// Only an operator may.
    OperatorOnly,
    /// Too many credentials from this address were wrong.
    TooManyFailedLogins,
    // Its tenant's share.
    /// The tenant's creates come too fast.
    RateLimited,
    /// The tenant has as many open workflows as it may have.
    QuotaExceeded,
    /// The tenant has as many status streams as it may have.
    TooManyStreams,
    /// The tenant has as many calls under way as it may have.
    TooManyCalls,
    // The service.
    /// There is too much to do.
    Overloaded,
    /// No route could start the first step in time.
    RouteSaturated,
    /// There is hardly room left on the store's disk.
    DiskFull,
    /// The service was started only to be read.
    ReadOnly,
    /// The store was restored from a backup, and waits for a resume.
    RestoreLocked,
    /// There is no restore lock to release.
    NotRestoreLocked,
    /// The service is stopping.
    Stopping,
    /// The system gave no randomness for a secret.
    NoRandomness,
    /// The reader of a stream took nothing for too long.
    ReaderStuck,
    /// Nothing was asked, or nothing to answer, for too long.
    Quiet,
    /// The store could not be read or written.
    StoreFailed,
    /// Whoever was to answer panicked: a bug.
    HandlerPanicked,
    /// A secret could not be sealed or opened.
    VaultFailed,
    /// The master key could not be changed.
    MasterKeyFailed,
    /// The configuration gives the master key.
    MasterKeyConfigured,
    // Keys, applications, external accounts.
    /// There is no such key that the caller sees.
    KeyNotFound,
    /// The key stands in the configuration.
    KeyConfigured,
    /// Without this key nobody could make another.
    LastOperatorKey,
    /// The first key must be able to make the others.
    FirstKeyNotOperator,
    /// The tenant has as many keys as it may have.
    TooManyKeys,
    /// There is no such application of the tenant.
    ApplicationNotFound,
    /// The tenant has as many applications as it may have.
    TooManyApplications,
    /// There is no such external account of the tenant.
    AccountNotFound,
    /// The tenant has an external account of this id.
    AccountExists,
    /// The tenant has as many external accounts as it may have.
    TooManyAccounts,
    /// The tenant's list of opt-outs would be longer than it may be.
    TooManyOptOuts,
    /// There is no such application, or it does nothing with messages.
    CannotLink,
    /// The external account is linked to an application already.
    AlreadyLinked,
    /// The external account is not linked to this application.
    NotLinked,
}

impl ErrorReason {
    /// Its word, its gRPC code and its HTTP status. Where a caller can do nothing but wait the status is 503:
    /// FAILED_PRECONDITION has no twin in HTTP.
    const fn row(self) -> (&'static str, Code, StatusCode) {
        use Code as G;
        use StatusCode as H;
        match self {
            ErrorReason::InvalidRequest => ("INVALID_REQUEST", G::InvalidArgument, H::BAD_REQUEST),
            ErrorReason::NoSuchMethod => ("NO_SUCH_METHOD", G::Unimplemented, H::NOT_FOUND),
            ErrorReason::WorkflowNotFound => ("WORKFLOW_NOT_FOUND", G::NotFound, H::NOT_FOUND),
            ErrorReason::RequestIdReused => ("REQUEST_ID_REUSED", G::AlreadyExists, H::CONFLICT),
            ErrorReason::WorkflowEnded => ("WORKFLOW_ENDED", G::FailedPrecondition, H::CONFLICT),
            ErrorReason::WorkflowsOpen => ("WORKFLOWS_OPEN", G::FailedPrecondition, H::CONFLICT),
            ErrorReason::OptOutNotFound => ("OPT_OUT_NOT_FOUND", G::NotFound, H::NOT_FOUND),
            ErrorReason::CallbackNotFound => ("CALLBACK_NOT_FOUND", G::NotFound, H::NOT_FOUND),
            ErrorReason::ResumeTokenTooOld => ("RESUME_TOKEN_TOO_OLD", G::OutOfRange, H::GONE),
            ErrorReason::ResumeTokenForeign => {
                ("RESUME_TOKEN_FOREIGN", G::FailedPrecondition, H::CONFLICT)
            }
            ErrorReason::RealClock => ("REAL_CLOCK", G::FailedPrecondition, H::CONFLICT),
            ErrorReason::CredentialsMissing => {
                ("CREDENTIALS_MISSING", G::Unauthenticated, H::UNAUTHORIZED)
            }
            ErrorReason::CredentialsInvalid => {
                ("CREDENTIALS_INVALID", G::Unauthenticated, H::UNAUTHORIZED)
            }
            ErrorReason::NoKeyYet => ("NO_KEY_YET", G::Unauthenticated, H::UNAUTHORIZED),
            ErrorReason::NotLocal => ("NOT_LOCAL", G::PermissionDenied, H::FORBIDDEN),
            ErrorReason::ScopeMissing => ("SCOPE_MISSING", G::PermissionDenied, H::FORBIDDEN),
            ErrorReason::OperatorOnly => ("OPERATOR_ONLY", G::PermissionDenied, H::FORBIDDEN),
            ErrorReason::TooManyFailedLogins => {
                ("TOO_MANY_FAILED_LOGINS", G::ResourceExhausted, H::TOO_MANY_REQUESTS)
            }
            ErrorReason::RateLimited => {
                ("RATE_LIMITED", G::ResourceExhausted, H::TOO_MANY_REQUESTS)
            }
            ErrorReason::QuotaExceeded => {
                ("QUOTA_EXCEEDED", G::ResourceExhausted, H::TOO_MANY_REQUESTS)
            }
            ErrorReason::TooManyStreams => {
                ("TOO_MANY_STREAMS", G::ResourceExhausted, H::TOO_MANY_REQUESTS)
            }
            ErrorReason::TooManyCalls => {
                ("TOO_MANY_CALLS", G::ResourceExhausted, H::TOO_MANY_REQUESTS)
            }
            ErrorReason::Overloaded => ("OVERLOADED", G::ResourceExhausted, H::TOO_MANY_REQUESTS),
            ErrorReason::RouteSaturated => {
                ("ROUTE_SATURATED", G::ResourceExhausted, H::TOO_MANY_REQUESTS)
            }
            ErrorReason::DiskFull => ("DISK_FULL", G::ResourceExhausted, H::SERVICE_UNAVAILABLE),
            ErrorReason::ReadOnly => ("READ_ONLY", G::FailedPrecondition, H::SERVICE_UNAVAILABLE),
            ErrorReason::RestoreLocked => {
                ("RESTORE_LOCKED", G::FailedPrecondition, H::SERVICE_UNAVAILABLE)
            }
            ErrorReason::NotRestoreLocked => {
                ("NOT_RESTORE_LOCKED", G::FailedPrecondition, H::SERVICE_UNAVAILABLE)
            }
            ErrorReason::Stopping => ("STOPPING", G::Unavailable, H::SERVICE_UNAVAILABLE),
            ErrorReason::NoRandomness => ("NO_RANDOMNESS", G::Unavailable, H::SERVICE_UNAVAILABLE),
            ErrorReason::ReaderStuck => ("READER_STUCK", G::Unavailable, H::SERVICE_UNAVAILABLE),
            ErrorReason::Quiet => ("QUIET", G::DeadlineExceeded, H::REQUEST_TIMEOUT),
            ErrorReason::StoreFailed => ("STORE_FAILED", G::Internal, H::INTERNAL_SERVER_ERROR),
            ErrorReason::HandlerPanicked => {
                ("HANDLER_PANICKED", G::Internal, H::INTERNAL_SERVER_ERROR)
            }
            ErrorReason::VaultFailed => ("VAULT_FAILED", G::Internal, H::INTERNAL_SERVER_ERROR),
            ErrorReason::MasterKeyFailed => {
                ("MASTER_KEY_FAILED", G::Internal, H::INTERNAL_SERVER_ERROR)
            }
            ErrorReason::MasterKeyConfigured => {
                ("MASTER_KEY_CONFIGURED", G::FailedPrecondition, H::CONFLICT)
            }
            ErrorReason::KeyNotFound => ("KEY_NOT_FOUND", G::NotFound, H::NOT_FOUND),
            ErrorReason::KeyConfigured => ("KEY_CONFIGURED", G::FailedPrecondition, H::CONFLICT),
            ErrorReason::LastOperatorKey => {
                ("LAST_OPERATOR_KEY", G::FailedPrecondition, H::CONFLICT)
            }
            ErrorReason::FirstKeyNotOperator => {
                ("FIRST_KEY_NOT_OPERATOR", G::FailedPrecondition, H::CONFLICT)
            }
            ErrorReason::TooManyKeys => {
                ("TOO_MANY_KEYS", G::ResourceExhausted, H::TOO_MANY_REQUESTS)
            }
            ErrorReason::ApplicationNotFound => {
                ("APPLICATION_NOT_FOUND", G::NotFound, H::NOT_FOUND)
            }
            ErrorReason::TooManyApplications => {
                ("TOO_MANY_APPLICATIONS", G::ResourceExhausted, H::TOO_MANY_REQUESTS)
            }
            ErrorReason::AccountNotFound => ("ACCOUNT_NOT_FOUND", G::NotFound, H::NOT_FOUND),
            ErrorReason::AccountExists => ("ACCOUNT_EXISTS", G::AlreadyExists, H::CONFLICT),
            ErrorReason::TooManyAccounts => {
                ("TOO_MANY_ACCOUNTS", G::ResourceExhausted, H::TOO_MANY_REQUESTS)
            }
            ErrorReason::TooManyOptOuts => {
                ("TOO_MANY_OPT_OUTS", G::ResourceExhausted, H::TOO_MANY_REQUESTS)
            }
            ErrorReason::CannotLink => ("CANNOT_LINK", G::FailedPrecondition, H::FORBIDDEN),
            ErrorReason::AlreadyLinked => ("ALREADY_LINKED", G::FailedPrecondition, H::CONFLICT),
            ErrorReason::NotLinked => ("NOT_LINKED", G::FailedPrecondition, H::CONFLICT),
        }
    }

    /// The word that callers compare.
    pub(crate) const fn as_str(self) -> &'static str {
        self.row().0
    }

    /// The gRPC code.
    pub(crate) const fn code(self) -> Code {
        self.row().1
    }

    /// The HTTP status.
    pub(crate) const fn status(self) -> StatusCode {
        self.row().2
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::code_name;

    const ALL: &[ErrorReason] = &[
        ErrorReason::InvalidRequest,
        ErrorReason::NoSuchMethod,
        ErrorReason::WorkflowNotFound,
        ErrorReason::RequestIdReused,
        ErrorReason::WorkflowEnded,
        ErrorReason::WorkflowsOpen,
        ErrorReason::CallbackNotFound,
        ErrorReason::OptOutNotFound,
        ErrorReason::ResumeTokenTooOld,
        ErrorReason::ResumeTokenForeign,
        ErrorReason::RealClock,
        ErrorReason::CredentialsMissing,
        ErrorReason::CredentialsInvalid,
        ErrorReason::NoKeyYet,
        ErrorReason::NotLocal,
        ErrorReason::ScopeMissing,
        ErrorReason::OperatorOnly,
        ErrorReason::TooManyFailedLogins,
        ErrorReason::RateLimited,
        ErrorReason::QuotaExceeded,
        ErrorReason::TooManyStreams,
        ErrorReason::TooManyCalls,
        ErrorReason::Overloaded,
        ErrorReason::RouteSaturated,
        ErrorReason::DiskFull,
        ErrorReason::ReadOnly,
        ErrorReason::RestoreLocked,
        ErrorReason::NotRestoreLocked,
        ErrorReason::Stopping,
        ErrorReason::NoRandomness,
        ErrorReason::ReaderStuck,
        ErrorReason::Quiet,
        ErrorReason::StoreFailed,
        ErrorReason::HandlerPanicked,
        ErrorReason::VaultFailed,
        ErrorReason::MasterKeyFailed,
        ErrorReason::MasterKeyConfigured,
        ErrorReason::KeyNotFound,
        ErrorReason::KeyConfigured,
        ErrorReason::LastOperatorKey,
        ErrorReason::FirstKeyNotOperator,
        ErrorReason::TooManyKeys,
        ErrorReason::ApplicationNotFound,
        ErrorReason::TooManyApplications,
        ErrorReason::AccountNotFound,
        ErrorReason::AccountExists,
        ErrorReason::TooManyAccounts,
        ErrorReason::TooManyOptOuts,
        ErrorReason::CannotLink,
        ErrorReason::AlreadyLinked,
        ErrorReason::NotLinked,
    ];

    /// docs/errors.md has a line for each reason, and each line is right.
    #[test]
    fn the_page_of_errors_is_the_table() {
        let page = include_str!("../../../docs/errors.md");
        for reason in ALL {
            let (word, code, status) = reason.row();
            let row = format!("| `{word}` | {} | {} |", code_name(code), status.as_u16());
            assert!(page.contains(&row), "docs/errors.md has no {row}");
        }
        let rows = page.lines().filter(|line| line.starts_with("| `")).count();
        assert_eq!(rows, ALL.len(), "a line too many");
        // Every reason stands in the list above.
        let source = include_str!("reason.rs").split("#[cfg(test)]").next().unwrap_or_default();
        assert_eq!(
            source.matches("H::").count(),
            ALL.len(),
            "a reason that this test does not know"
        );
    }
}
