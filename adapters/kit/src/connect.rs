//! Why no connection came about, read from what the libraries below tell.
//!
//! They wrap one error into the next, each with a text that may hold the URL; here only the types are
//! looked at, so that what is told is one of a closed list of [`Cause`]s.

use std::{error::Error, fmt, io, sync::Arc};

use dispatch_contract::Cause;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use rustls::CertificateError;

/// Why a request found no connection. To be asked of an error that [is one of
/// connecting](reqwest::Error::is_connect).
pub fn cause(error: &reqwest::Error) -> Cause {
    let usual = if error.is_timeout() { Cause::TimedOut } else { Cause::Other };
    error.source().and_then(cause_of).unwrap_or(usual)
}

/// Why no connection came about, as an error of connecting tells it, or one within it. `None` if it does not.
pub fn cause_of(error: &(dyn Error + 'static)) -> Option<Cause> {
    let mut found = None;
    let mut next = Some(error);
    while let Some(error) = next {
        // The innermost knows best: those around it only say at what they failed.
        found = of(error).or(found);
        next = within(error);
    }
    found
}

/// The error inside another. One of the system that wraps a second does not name that as its source,
/// only what is behind it.
fn within<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(inner) => Some(inner),
        None => error.source(),
    }
}

fn of(error: &(dyn Error + 'static)) -> Option<Cause> {
    if error.is::<NotResolved>() {
        return Some(Cause::NameNotResolved);
    }
    if let Some(error) = error.downcast_ref::<rustls::Error>() {
        return Some(of_tls(error));
    }
    match error.downcast_ref::<io::Error>()?.kind() {
        io::ErrorKind::ConnectionRefused => Some(Cause::Refused),
        io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkUnreachable
        | io::ErrorKind::NetworkDown
        | io::ErrorKind::AddrNotAvailable => Some(Cause::NoWay),
        io::ErrorKind::TimedOut => Some(Cause::TimedOut),
        io::ErrorKind::UnexpectedEof
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe => Some(Cause::HungUp),
        _ => None,
    }
}

fn of_tls(error: &rustls::Error) -> Cause {
    match error {
        rustls::Error::InvalidCertificate(wrong) => match wrong {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                Cause::CertificateExpired
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                Cause::CertificateNotYetValid
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Cause::CertificateWrongName
            }
            CertificateError::UnknownIssuer => Cause::CertificateUnknownIssuer,
            CertificateError::Revoked => Cause::CertificateRevoked,
            _ => Cause::CertificateInvalid,
        },
        // What came first was no record of TLS: a server that speaks plain HTTP complains in text.
        rustls::Error::InvalidMessage(_) => Cause::NotTls,
        _ => Cause::TlsRefused,
    }
}

/// Resolves names as the system does, and says so where that is what failed.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemNames;

/// A name could not be resolved. It does not say which: the name may be a secret of somebody's.
#[derive(Debug)]
pub struct NotResolved(io::Error);

impl Resolve for SystemNames {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = lookup(&name).await?;
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// The addresses of a name.
///
/// # Errors
/// If there are none, or nobody could be asked.
pub async fn lookup(name: &Name) -> Result<Vec<std::net::SocketAddr>, NotResolved> {
    let found = tokio::net::lookup_host((name.as_str(), 0)).await.map_err(NotResolved)?;
    Ok(found.collect())
}

/// The resolver of a client.
pub(crate) fn names() -> Arc<SystemNames> {
    Arc::new(SystemNames)
}

impl fmt::Display for NotResolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name could not be resolved")
    }
}

impl Error for NotResolved {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

#[cfg(test)]
mod tests;
