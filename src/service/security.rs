//! What keeps strangers out, from the configuration: keys, limits, TLS, and the refusal to listen
//! without it.

use std::{net::SocketAddr, path::Path, sync::Arc};

use super::Service;
use crate::{
    access::{
        AccessOptions, ConfiguredKey, KeyId, LimitsByTenant, NewKey, PersonalWords,
        PersonalWordsByTenant, TenantLimits, TokenRules,
    },
    config::{self, Config, ConfigError, TlsListener},
    store::{Kind, SettingChange, Settings, StoreError, decode, encode},
    tls::{Tls, TlsError, TlsFiles},
};

/// The shortest secret that a configuration may give a key, in bytes: as long as the old API's.
const SECRET_LEAST: usize = 16;

/// How callers are known.
///
/// # Errors
/// If a key is not right, or its secret is not there.
pub(super) fn access_options(config: &config::AccessConfig) -> Result<AccessOptions, ConfigError> {
    let keys: Result<Vec<_>, _> = config.keys.iter().map(configured_key).collect();
    let usual = TenantLimits {
        creates_per_s: config.creates_per_s,
        creates_burst: config.creates_burst,
        open_workflows: config.open_workflows,
        open_streams: config.open_streams,
        keys: config.most_keys,
        applications: config.most_applications,
        accounts: config.most_accounts,
        opt_outs: config.most_opt_outs,
    };
    let limits = |it: &config::TenantConfig| TenantLimits {
        creates_per_s: it.creates_per_s.unwrap_or(usual.creates_per_s),
        creates_burst: it.creates_burst.unwrap_or(usual.creates_burst),
        open_workflows: it.open_workflows.unwrap_or(usual.open_workflows),
        open_streams: it.open_streams.unwrap_or(usual.open_streams),
        keys: it.most_keys.unwrap_or(usual.keys),
        applications: it.most_applications.unwrap_or(usual.applications),
        accounts: it.most_accounts.unwrap_or(usual.accounts),
        opt_outs: it.most_opt_outs.unwrap_or(usual.opt_outs),
    };
    Ok(AccessOptions {
        keys: keys?,
        failed_logins: config.failed_logins,
        tokens: TokenRules { tolerance_s: config.token_tolerance_s, is_once: config.token_once },
        limits: LimitsByTenant::new(
            usual,
            config.tenants.iter().map(|(name, it)| (name.clone(), limits(it))).collect(),
        ),
        personal_words: personal_words(config),
    })
}

/// Which of each tenant's own words are personal without being said to be.
fn personal_words(config: &config::AccessConfig) -> PersonalWordsByTenant {
    let words = |labels: &[String], client_ref| PersonalWords {
        labels: labels.iter().cloned().collect(),
        client_ref,
    };
    let of = |it: &config::TenantConfig| {
        let labels = it.personal_labels.as_deref().unwrap_or(&config.personal_labels);
        words(labels, it.personal_client_ref.unwrap_or(config.personal_client_ref))
    };
    PersonalWordsByTenant::new(
        words(&config.personal_labels, config.personal_client_ref),
        config.tenants.iter().map(|(name, it)| (name.clone(), of(it))).collect(),
    )
}

fn configured_key(key: &config::AccessKeyConfig) -> Result<ConfiguredKey, ConfigError> {
    let id = KeyId::parse(&key.id).ok_or_else(|| {
        ConfigError("access.keys.id must be 1 to 32 letters, digits, `-` and `_`, and neither anonymous nor bootstrap".to_owned())
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
    config: &config::TlsConfig,
    listener: TlsListener,
) -> Result<Option<Arc<Tls>>, ConfigError> {
    if !config.is_of(listener) {
        return Ok(None);
    }
    let protocol: &[u8] = match listener {
        TlsListener::Grpc => b"h2",
        TlsListener::Http => b"http/1.1",
    };
    let tls = Tls::load(tls_files(config, listener), protocol).map_err(tls_problem)?;
    Ok(Some(Arc::new(tls)))
}

/// Where a listener's certificates are.
pub(super) fn tls_files(config: &config::TlsConfig, listener: TlsListener) -> TlsFiles {
    let client_ca = match listener {
        TlsListener::Grpc => Some(&config.client_ca).filter(|path| **path != *Path::new("")),
        TlsListener::Http => None,
    };
    TlsFiles {
        certificate: config.certificate.clone(),
        key: config.key.clone(),
        client_ca: client_ca.cloned(),
    }
}

pub(super) fn tls_problem(problem: TlsError) -> ConfigError {
    ConfigError(format!("listen.tls: {problem}"))
}

/// The row that says that the store was one of a real service.
const REAL: &[u8] = b"real";

/// Whether something real can be sent, or may be read: a real account or route is configured, or once
/// was with this store. What served a real provider, or callers with configured keys, is never open
/// again to whoever has no key, although its configuration be left out.
///
/// # Errors
/// If the store cannot be read or written.
pub(super) fn is_real(
    config: &Config,
    is_simulated: bool,
    settings: &dyn Settings,
) -> Result<bool, StoreError> {
    let row = settings.get(Kind::Service, REAL)?;
    let was = row.is_some();
    let is = !is_simulated || !config.access.keys.is_empty();
    // An earlier version wrote a bare byte, which is no row that a backup may hold.
    let is_row = row.is_some_and(|row| decode::<bool>(&row, String::new).is_ok());
    if (is || was) && !is_row && !config.store.read_only {
        settings.write(vec![SettingChange::put(Kind::Service, REAL, encode(&true)?)])?;
    }
    Ok(was || is)
}

/// Whether a running service may go on with other keys in the configuration.
///
/// # Errors
/// If nobody's key would be left where other machines reach gRPC.
pub(super) fn keeps_a_key(service: &Service, known: &AccessOptions) -> Result<(), ConfigError> {
    let would = service.access.would_have_key(known);
    let would = would.map_err(|error| ConfigError(error.to_string()))?;
    let has = service.access.has_key().map_err(|error| ConfigError(error.to_string()))?;
    if has && !would {
        let problem = "the last key would be gone, and whoever reaches this service let in; keep one \
                       in [[access.keys]], or make one with `dispatch keys create`";
        return Err(ConfigError(problem.to_owned()));
    }
    Ok(())
}

/// The first listener that other machines would reach without TLS, and nobody said that this is meant.
pub(super) fn insecure_listen(
    config: &Config,
    grpc: SocketAddr,
    http: SocketAddr,
) -> Option<InsecureListen> {
    in_clear(config, grpc, http).into_iter().find(|_| !config.listen.insecure)
}

/// The listeners that other machines reach without TLS.
pub(super) fn in_clear(config: &Config, grpc: SocketAddr, http: SocketAddr) -> Vec<InsecureListen> {
    let listeners =
        [(TlsListener::Grpc, "listen.grpc", grpc), (TlsListener::Http, "listen.http", http)];
    let is_in_clear = |(listener, _, address): &(TlsListener, _, SocketAddr)| {
        !address.ip().is_loopback() && !config.listen.tls.is_of(*listener)
    };
    let in_clear = listeners.into_iter().filter(is_in_clear);
    in_clear.map(|(_, setting, address)| InsecureListen { setting, address }).collect()
}

/// A listener whose keys and messages others could read on their way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InsecureListen {
    /// Its setting.
    pub setting: &'static str,
    /// Where.
    pub address: SocketAddr,
}

impl std::fmt::Display for InsecureListen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let InsecureListen { setting, address } = self;
        write!(
            f,
            "will not listen on {address} ({setting}), which other machines reach, without TLS: keys and \
             messages would go over the network in clear. Set listen.tls.certificate and \
             listen.tls.key; or, where a TLS proxy stands before it or something else protects that \
             network, listen.insecure = true"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{MemoryStore, Store};

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
            ("[access]\npersonal_labels = [\"\"]".to_owned(), "access.personal_labels must be"),
            (
                "[access.tenants.acme]\npersonal_labels = [\"a\\nb\"]".to_owned(),
                "access.tenants.acme.personal_labels must be",
            ),
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
    fn what_listens_in_clear_where_others_reach_it_is_found_unless_it_is_meant() {
        let mut config = Config::default();
        let (loopback, elsewhere) = (([127, 0, 0, 1], 1).into(), ([10, 0, 0, 1], 1).into());
        let found =
            |config: &Config, grpc, http| insecure_listen(config, grpc, http).map(|it| it.setting);
        assert_eq!(found(&config, loopback, loopback), None);
        assert_eq!(found(&config, elsewhere, loopback), Some("listen.grpc"));
        assert_eq!(found(&config, loopback, elsewhere), Some("listen.http"));
        config.listen.public_url = "https://dispatch.example.com".to_owned();
        assert_eq!(found(&config, loopback, elsewhere), Some("listen.http"));
        config.listen.tls.certificate = "chain.pem".into();
        config.listen.tls.serves = vec![TlsListener::Http];
        assert_eq!(found(&config, loopback, elsewhere), None);
        assert_eq!(found(&config, elsewhere, elsewhere), Some("listen.grpc"));
        config.listen.insecure = true;
        assert_eq!(found(&config, elsewhere, elsewhere), None);
        assert_eq!(in_clear(&config, elsewhere, elsewhere).len(), 1);
    }

    #[test]
    fn what_was_real_once_stays_so() {
        let settings = MemoryStore::new().settings();
        let config = Config::default();
        assert_eq!(is_real(&config, true, &*settings), Ok(false));
        assert_eq!(is_real(&config, false, &*settings), Ok(true));
        assert_eq!(is_real(&config, true, &*settings), Ok(true));
    }
}
