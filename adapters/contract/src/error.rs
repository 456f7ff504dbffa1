//! Why a call did not lead to an accepted message.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

/// A failed call to a provider. It answers three questions apart: what happened, whose fault it
/// was, and whether it may be tried again.
///
/// Each provider's answers are mapped here in one table in one function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdapterError {
    /// What happened.
    pub kind: ErrorKind,
    /// Whose fault it was.
    pub fault: Fault,
    /// Whether it may be tried again.
    pub retry: Retry,
    /// The provider's own code, as it wrote it: it is kept if it is up to 64 letters, digits and `._-/:`, and no number
    /// of more than seven digits.
    pub code: Option<String>,
    /// Why no connection came about, if that is what happened and it is known.
    pub cause: Option<Cause>,
    /// One sentence for a person. It never holds a number, an address or a message's text; one that may is not kept.
    pub detail: String,
}

/// Why no connection came about: a closed list, for metrics and for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Cause {
    /// The host's name was not found, or nobody could be asked for it.
    NameNotResolved,
    /// Nothing listens there.
    Refused,
    /// No way leads there: the network or the host is unreachable.
    NoWay,
    /// The other side did not answer in the time for connecting.
    TimedOut,
    /// The other side hung up before anything was said.
    HungUp,
    /// What answered speaks no TLS.
    NotTls,
    /// Both speak TLS and did not agree.
    TlsRefused,
    /// The certificate is past its end.
    CertificateExpired,
    /// The certificate is not valid yet; or the clock of this machine is slow.
    CertificateNotYetValid,
    /// The certificate is another host's.
    CertificateWrongName,
    /// Nobody that this machine trusts vouches for the certificate.
    CertificateUnknownIssuer,
    /// The certificate was revoked.
    CertificateRevoked,
    /// Something else is wrong with the certificate.
    CertificateInvalid,
    /// None of these.
    Other,
}

/// What happened: a closed list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ErrorKind {
    /// Too many calls; this one was not processed.
    Throttled,
    /// The provider could not be reached; the request did not leave.
    Unreachable,
    /// The request left, and no answer came in time.
    Timeout,
    /// The provider failed, or answered something that cannot be understood.
    ProviderFailure,
    /// The credential is missing, wrong or expired.
    Unauthorized,
    /// The account has no money or quota left.
    InsufficientFunds,
    /// The account may not do this: a sender, product or destination that is not enabled.
    Forbidden,
    /// The provider found the request malformed.
    InvalidRequest,
    /// The provider would not take the content: too long, a wrong template, a filtered word.
    ContentRejected,
    /// The address does not exist, or is not on this channel.
    InvalidRecipient,
    /// The person does not want messages from this sender, whatever they say: they go on the list of opt-outs. Who
    /// only wants no advertisements is none.
    OptedOut,
    /// The channel allows this message only after the person wrote, and that was too long ago.
    OutsideWindow,
    /// The person cannot be reached at the moment or at all: absent, barred, out of credit.
    Unreached,
}

/// Whose fault a failure was. Only the provider's own is worth trying another route of the channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Fault {
    /// The provider's.
    Provider,
    /// The recipient's.
    Recipient,
    /// The message's.
    Content,
    /// The account's, or its configuration's.
    Account,
}

/// Whether a failed call may be tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// No: it would fail again.
    Permanent,
    /// Yes: the call was certainly not processed.
    Temporary {
        /// How long the provider asked to wait, if it did.
        after: Option<Duration>,
    },
    /// Nobody knows: the message may have been sent.
    Unknown,
}

impl ErrorKind {
    /// The name used in timelines and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            ErrorKind::Throttled => "throttled",
            ErrorKind::Unreachable => "unreachable",
            ErrorKind::Timeout => "timeout",
            ErrorKind::ProviderFailure => "provider_failure",
            ErrorKind::Unauthorized => "unauthorized",
            ErrorKind::InsufficientFunds => "insufficient_funds",
            ErrorKind::Forbidden => "forbidden",
            ErrorKind::InvalidRequest => "invalid_request",
            ErrorKind::ContentRejected => "content_rejected",
            ErrorKind::InvalidRecipient => "invalid_recipient",
            ErrorKind::OptedOut => "opted_out",
            ErrorKind::OutsideWindow => "outside_window",
            ErrorKind::Unreached => "unreached",
        }
    }
}

impl Cause {
    /// The name used in metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Cause::NameNotResolved => "name_not_resolved",
            Cause::Refused => "connection_refused",
            Cause::NoWay => "no_way",
            Cause::TimedOut => "connect_timeout",
            Cause::HungUp => "hung_up",
            Cause::NotTls => "not_tls",
            Cause::TlsRefused => "tls_refused",
            Cause::CertificateExpired => "certificate_expired",
            Cause::CertificateNotYetValid => "certificate_not_yet_valid",
            Cause::CertificateWrongName => "certificate_wrong_name",
            Cause::CertificateUnknownIssuer => "certificate_unknown_issuer",
            Cause::CertificateRevoked => "certificate_revoked",
            Cause::CertificateInvalid => "certificate_invalid",
            Cause::Other => "other",
        }
    }

    /// What it means, for a sentence that names the host before it.
    pub const fn in_words(self) -> &'static str {
        match self {
            Cause::NameNotResolved => "its name could not be resolved",
            Cause::Refused => "the connection was refused",
            Cause::NoWay => "no way leads there",
            Cause::TimedOut => "it did not answer in the time for connecting",
            Cause::HungUp => "it hung up before TLS was agreed on",
            Cause::NotTls => "it speaks no TLS",
            Cause::TlsRefused => "TLS could not be agreed on",
            Cause::CertificateExpired => "its certificate has expired",
            Cause::CertificateNotYetValid => {
                "its certificate is not valid yet, or this machine's clock is slow"
            }
            Cause::CertificateWrongName => "its certificate is for another name",
            Cause::CertificateUnknownIssuer => {
                "its certificate's issuer is not one that this machine trusts"
            }
            Cause::CertificateRevoked => "its certificate was revoked",
            Cause::CertificateInvalid => "its certificate is not valid",
            Cause::Other => "no connection came about",
        }
    }
}

impl Fault {
    /// The name used in timelines and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Fault::Provider => "provider",
            Fault::Recipient => "recipient",
            Fault::Content => "content",
            Fault::Account => "account",
        }
    }
}

impl AdapterError {
    /// An error with no provider code.
    pub fn new(kind: ErrorKind, fault: Fault, retry: Retry, detail: impl Into<String>) -> Self {
        AdapterError { kind, fault, retry, code: None, cause: None, detail: detail.into() }
    }

    /// The same, with the reason why no connection came about.
    #[must_use]
    pub fn with_cause(mut self, cause: Cause) -> Self {
        self.cause = Some(cause);
        self
    }

    /// The same, with the provider's own code.
    #[must_use]
    pub fn with_code(mut self, code: impl Into<String>) -> Self {
        let mut code = code.into();
        code.truncate(
            (0..=64.min(code.len())).rev().find(|&at| code.is_char_boundary(at)).unwrap_or(0),
        );
        self.code = Some(code);
        self
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for AdapterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.detail)?;
        match &self.code {
            Some(code) => write!(f, " (provider code {code})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for AdapterError {}
