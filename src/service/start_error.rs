//! Why a service did not start.

use std::{fmt, io, net::SocketAddr};

use super::InsecureListen;
use crate::{callbacks, config::ConfigError, store::StoreError};

/// Why a service did not start.
#[derive(Debug)]
pub enum StartError {
    /// The configuration is not right.
    Config(ConfigError),
    /// The store did not open.
    Store(StoreError),
    /// It was told to stop while another process was active.
    GivenUp,
    /// Others could read what goes over a listener.
    InsecureListen(InsecureListen),
    /// The file that makes the first key could not be written.
    FirstKey(io::Error),
    /// The callbacks did not start.
    Callbacks(callbacks::CallbackStartError),
    /// An address could not be listened on.
    Listen {
        /// Which setting.
        what: &'static str,
        /// The address.
        address: SocketAddr,
        /// Why.
        error: io::Error,
    },
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Config(error) => error.fmt(f),
            StartError::Store(error) => error.fmt(f),
            StartError::GivenUp => f.write_str("stopped while another process was active"),
            StartError::InsecureListen(insecure_listen) => insecure_listen.fmt(f),
            StartError::FirstKey(error) => {
                write!(f, "cannot write the file that makes the first key: {error}")
            }
            StartError::Callbacks(error) => error.fmt(f),
            StartError::Listen { what, address, error } => {
                write!(
                    f,
                    "cannot listen on {address} ({what}): {error}; choose another with the flag or the file"
                )
            }
        }
    }
}

impl std::error::Error for StartError {}
