//! What keeps strangers out, from the configuration: keys, limits, TLS, and the refusal to listen
//! without them.

use std::{net::SocketAddr, path::Path, sync::Arc};

use crate::{
    access::{Access, AccessOptions, ConfiguredKey, KeyId, NewKey, TenantLimits, TokenRules},
    config::{self, Config, ConfigError, TlsListener},
    store::StoreError,
    tls::{Tls, TlsFiles},
};

/// The shortest secret that a configuration may give a key, in bytes: as long as the old API's.
const SECRET_LEAST: usize = 16;

/// How callers are known.
///
/// # Errors
/// If a key is not right, or its secret is not there.
pub(super) fn access_options(config: &config::Access) -> Result<AccessOptions, ConfigError> {
    let keys: Result<Vec<_>, _> = config.keys.iter().map(configured_key).collect();
    let limits = |it: &config::TenantLimits| TenantLimits {
        creates_per_s: it.creates_per_s,
        creates_burst: it.creates_burst,
        open_workflows: it.open_workflows,
    };
    Ok(AccessOptions {
        keys: keys?,
        tokens: TokenRules { tolerance_s: config.token_tolerance_s, is_once: config.token_once },
        limits: TenantLimits {
            creates_per_s: config.creates_per_s,
            creates_burst: config.creates_burst,
            open_workflows: config.open_workflows,
        },
        tenants: config.tenants.iter().map(|(name, it)| (name.clone(), limits(it))).collect(),
    })
}

fn configured_key(key: &config::AccessKey) -> Result<ConfiguredKey, ConfigError> {
    let id = KeyId::parse(&key.id).ok_or_else(|| {
        ConfigError("access.keys.id must be 1 to 32 letters, digits, `-` and `_`".to_owned())
    })?;
    let new = NewKey::parse(&key.tenant, &key.name, &key.scopes).map_err(|wrong| {
        ConfigError(format!("{} of access key {id} {}", wrong.field, wrong.wanted))
    })?;
    let secret = config::resolve_secret(&key.secret)?;
    if secret.len() < SECRET_LEAST {
        return Err(ConfigError(format!(
            "the secret of access key {id} must have at least {SECRET_LEAST} characters; \
             `openssl rand -base64 32` makes a good one"
        )));
    }
    Ok(ConfiguredKey::new(id, new, &secret))
}

/// The TLS of a listener, if it speaks it.
///
/// # Errors
/// If a file is not right.
pub(super) fn tls(
    config: &config::Tls,
    listener: TlsListener,
) -> Result<Option<Arc<Tls>>, ConfigError> {
    if !config.is_of(listener) {
        return Ok(None);
    }
    let (protocol, client_ca): (&[u8], _) = match listener {
        TlsListener::Grpc => {
            (b"h2", Some(&config.client_ca).filter(|path| **path != *Path::new("")))
        }
        TlsListener::Http => (b"http/1.1", None),
    };
    let files = TlsFiles {
        certificate: config.certificate.clone(),
        key: config.key.clone(),
        client_ca: client_ca.cloned(),
    };
    let tls = Tls::load(files, protocol)
        .map_err(|problem| ConfigError(format!("listen.tls: {problem}")))?;
    Ok(Some(Arc::new(tls)))
}

/// What gRPC lacks to be reached from elsewhere at `address`.
///
/// # Errors
/// If the store cannot be read.
pub(super) fn exposed(
    config: &Config,
    address: SocketAddr,
    access: &Access,
) -> Result<Option<Exposed>, StoreError> {
    let has_tls = config.listen.tls.is_of(TlsListener::Grpc);
    let has_key = access.has_key()?;
    let is_open = !address.ip().is_loopback() && !config.listen.insecure;
    Ok((is_open && !(has_tls && has_key)).then_some(Exposed { address, has_key, has_tls }))
}

/// Whether strangers reach the public listener: through its address, or through what stands before it.
pub(super) fn is_public(config: &Config, http: SocketAddr) -> bool {
    let is_reached = !http.ip().is_loopback() || !config.listen.public_url.is_empty();
    is_reached && !config.listen.insecure
}

/// gRPC would be reached from elsewhere by anybody, or by anybody's eyes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exposed {
    /// Where.
    pub address: SocketAddr,
    /// Whether there is a key.
    pub has_key: bool,
    /// Whether it speaks TLS.
    pub has_tls: bool,
}

impl std::fmt::Display for Exposed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (lacks, mut right) = match (self.has_key, self.has_tls) {
            (false, false) => ("neither a key nor TLS", Vec::new()),
            (false, true) => ("no key", Vec::new()),
            (true, false) | (true, true) => ("no TLS", Vec::new()),
        };
        if !self.has_key {
            right.push(
                "make a key while it listens on 127.0.0.1 (`dispatch keys create`) or set \
                 [[access.keys]]",
            );
        }
        if !self.has_tls {
            right.push("set listen.tls.certificate and listen.tls.key");
        }
        write!(
            f,
            "will not listen on {} (listen.grpc), which other machines reach: there is {lacks}. Right \
             would be: {}. Where something else keeps strangers out, set listen.insecure = true",
            self.address,
            right.join("; and ")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<(), String> {
        let config = Config::parse(text).map_err(|error| error.0)?;
        access_options(&config.access).map(|_| ()).map_err(|error| error.0)
    }

    #[test]
    fn a_key_that_is_not_right_is_refused_with_what_would_be_and_its_secret_is_not_shown() {
        let key = |id: &str, secret: &str, more: &str| {
            format!("[[access.keys]]\nid = \"{id}\"\nsecret = \"{secret}\"\n{more}")
        };
        let good = "scopes = [\"read\"]";
        let long = "0123456789abcdef";
        assert_eq!(parsed(&key("abcd1234", long, good)), Ok(()));
        let cases = [
            (key("a:b", long, good), "access.keys.id must be"),
            (key("abcd1234", "hunter2", good), "at least 16 characters"),
            (key("abcd1234", "env:NOT_SET_ANYWHERE", good), "NOT_SET_ANYWHERE is not set"),
            (key("abcd1234", long, "scopes = []"), "must name at least one of create"),
            (key("abcd1234", long, "scopes = [\"write\"]"), "scopes of access key abcd1234"),
            (
                key("abcd1234", long, "scopes = [\"read\"]\ntenant = \"a b\""),
                "tenant of access key",
            ),
            (key("abcd1234", long, ""), "scopes"),
            (
                "[access]\ncreates_burst = 3".to_owned(),
                "access.creates_burst needs a creates_per_s",
            ),
            ("[access]\ntoken_tolerance_s = 9999".to_owned(), "must be 0 to 3600"),
            ("[access.tenants]\nacme = { creates = 3 }".to_owned(), "did you mean `creates_"),
            ("[listen.tls]\nserves = [\"internal\"]".to_owned(), "unknown variant"),
        ];
        for (text, wanted) in cases {
            let told = parsed(&text).unwrap_err();
            assert!(told.contains(wanted), "{told}");
            assert!(!told.contains(long) && !told.contains("hunter2"), "{told}");
        }
    }

    #[test]
    fn strangers_reach_what_is_not_on_loopback_or_has_a_public_address() {
        let mut config = Config::default();
        let (loopback, elsewhere) = (([127, 0, 0, 1], 1).into(), ([10, 0, 0, 1], 1).into());
        assert!(!is_public(&config, loopback) && is_public(&config, elsewhere));
        config.listen.public_url = "https://dispatch.example.com".to_owned();
        assert!(is_public(&config, loopback));
        config.listen.insecure = true;
        assert!(!is_public(&config, loopback) && !is_public(&config, elsewhere));
    }
}
