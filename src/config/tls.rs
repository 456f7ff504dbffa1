//! `[listen.tls]`: which listeners speak TLS, and with which files.

use std::path::PathBuf;

use serde::Deserialize;

use super::ConfigError;

/// `[listen.tls]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TlsConfig {
    /// The certificate chain, a PEM file; empty is no TLS.
    pub certificate: PathBuf,
    /// Its private key, a PEM file.
    pub key: PathBuf,
    /// CA bundle (PEM) for client certificates; empty: no mutual TLS.
    pub client_ca: PathBuf,
    /// Which listeners speak it.
    pub serves: Vec<TlsListener>,
}

/// A listener that may speak TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TlsListener {
    /// gRPC.
    Grpc,
    /// Public HTTP.
    Http,
}

impl TlsConfig {
    /// Whether a listener speaks it.
    pub fn is_of(&self, listener: TlsListener) -> bool {
        !self.certificate.as_os_str().is_empty() && self.serves.contains(&listener)
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let [certificate, key, client_ca] = [&self.certificate, &self.key, &self.client_ca]
            .map(|path| !path.as_os_str().is_empty());
        if certificate != key {
            let problem = "listen.tls.certificate and listen.tls.key go together: set both or none";
            return Err(ConfigError(problem.to_owned()));
        }
        if client_ca && !self.is_of(TlsListener::Grpc) {
            let problem = "listen.tls.client_ca is for gRPC over TLS: set listen.tls.certificate and \
                           key, and name grpc in listen.tls.serves";
            return Err(ConfigError(problem.to_owned()));
        }
        Ok(())
    }
}

impl Default for TlsConfig {
    fn default() -> Self {
        TlsConfig {
            certificate: PathBuf::new(),
            key: PathBuf::new(),
            client_ca: PathBuf::new(),
            serves: vec![TlsListener::Grpc, TlsListener::Http],
        }
    }
}
