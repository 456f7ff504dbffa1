//! Where an adapter is, and by what it knows us.

use std::{fmt, net::IpAddr, time::Duration};

use dispatch_contract::Secret;
use tonic::transport::{ClientTlsConfig, Endpoint};
use url::{Host, Url};

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(3);

/// Where an adapter is dialled.
#[derive(Clone, PartialEq, Eq)]
pub struct DialTarget {
    url: Url,
    token: Option<Secret>,
}

impl DialTarget {
    /// The adapter at `endpoint`: `http://127.0.0.1:7400`, `https://fax.example:7400`. With a token, each call
    /// carries that.
    ///
    /// # Errors
    /// If it is no such URL; or not on this machine, without TLS, and nothing says that this is
    /// [meant](Self::is_in_clear) (`allows_clear`); or the token cannot stand in a header. The text says what
    /// would be right.
    pub fn new(
        endpoint: &str,
        token: Option<Secret>,
        allows_clear: bool,
    ) -> Result<DialTarget, String> {
        let wanted = || "endpoint must be http://HOST:PORT or https://HOST:PORT".to_owned();
        let url = Url::parse(endpoint).map_err(|_| wanted())?;
        let is_bare = matches!(url.path(), "" | "/")
            && url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none();
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() || !is_bare {
            return Err(wanted());
        }
        let is_text = |token: &Secret| {
            let text = token.expose();
            !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
        };
        if !token.as_ref().is_none_or(is_text) {
            return Err("token must be one or more printable ASCII characters, no blank".to_owned());
        }
        let target = DialTarget { url, token };
        if target.is_in_clear() && !allows_clear {
            return Err(format!(
                "{target} is not on this machine, and messages and secrets would go there in clear: use \
                 https://, or say that this is meant (insecure = true, or --insecure)"
            ));
        }
        Ok(target)
    }

    /// Whether messages and secrets go over the network in clear.
    pub fn is_in_clear(&self) -> bool {
        let is_here = match self.url.host() {
            Some(Host::Ipv4(address)) => IpAddr::from(address).is_loopback(),
            Some(Host::Ipv6(address)) => IpAddr::from(address).is_loopback(),
            Some(Host::Domain(name)) => name == "localhost",
            None => false,
        };
        self.url.scheme() == "http" && !is_here
    }

    /// What each call carries, if anything.
    pub(crate) fn authorization(&self) -> Option<String> {
        self.token.as_ref().map(|token| format!("Bearer {}", token.expose()))
    }

    /// How it is dialled.
    pub(crate) fn endpoint(&self) -> Result<Endpoint, String> {
        let told = |error: tonic::transport::Error| error.to_string();
        let endpoint = Endpoint::from_shared(self.url.as_str().to_owned()).map_err(told)?;
        let endpoint = endpoint.connect_timeout(CONNECT);
        match self.url.scheme() {
            "https" => {
                endpoint.tls_config(ClientTlsConfig::new().with_native_roots()).map_err(told)
            }
            _ => Ok(endpoint),
        }
    }
}

/// The endpoint, without the token.
impl fmt::Display for DialTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.url.as_str().trim_end_matches('/'))
    }
}

impl fmt::Debug for DialTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DialTarget({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(endpoint: &str) -> Result<String, String> {
        DialTarget::new(endpoint, None, false).map(|target| target.to_string())
    }

    #[test]
    fn an_endpoint_is_on_this_machine_or_speaks_tls_or_somebody_meant_it() {
        for right in [
            "http://127.0.0.1:7400",
            "http://[::1]:7400",
            "http://localhost:7400",
            "https://fax.example",
        ] {
            assert_eq!(target(right).as_deref(), Ok(right));
        }
        for wrong in ["", "127.0.0.1:7400", "ftp://127.0.0.1", "http://h:1/path", "https://u@h:1"] {
            assert!(target(wrong).is_err_and(|text| text.contains("must be http://")), "{wrong}");
        }
        let far = "http://fax.example:7400";
        assert!(target(far).is_err_and(|text| text.contains("insecure = true")));
        assert!(DialTarget::new(far, None, true).is_ok_and(|target| target.is_in_clear()));
    }

    #[test]
    fn a_token_is_shown_nowhere() {
        let token =
            |text: &str| DialTarget::new("http://127.0.0.1:1", Some(Secret::new(text)), false);
        let target = token("s3cret").unwrap();
        assert_eq!(target.authorization().as_deref(), Some("Bearer s3cret"));
        assert!(!format!("{target:?} {target}").contains("s3cret"));
        let wrong = token("two words").unwrap_err();
        assert!(wrong.contains("token must be") && !wrong.contains("two words"), "{wrong}");
    }
}
