//! Whether a request without a credential comes from this machine and means it.
//!
//! That the listener is on loopback says less than it seems: a browser on the machine sends what any web
//! page asks for, under a name that the page's owner may have pointed at 127.0.0.1 (DNS rebinding), and
//! a proxy passes on what strangers ask. So what such a request was addressed to is looked at too, and
//! what browsers and proxies say of themselves.

use std::net::IpAddr;

use super::Denied;

/// What a request says of where it comes from and where to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Arrival<'a> {
    /// The host and port that it is addressed to: `Host`, or HTTP/2's `:authority`.
    pub host: Option<&'a str>,
    /// The web page that sends it, in a browser.
    pub origin: Option<&'a str>,
    /// How that page stands to the host: `Sec-Fetch-Site`.
    pub fetch_site: Option<&'a str>,
    /// Whether a proxy says that it passed it on.
    pub is_forwarded: bool,
}

impl Arrival<'_> {
    /// Whether it comes from this machine, from a program or a page of the service's own.
    ///
    /// # Errors
    /// [`Denied::Elsewhere`]: which part speaks against it, without repeating what stood there.
    pub fn check(&self) -> Result<(), Denied> {
        let host = self.host.unwrap_or_default();
        if !is_loopback(host) {
            return Err(Denied::Elsewhere(
                "be addressed to localhost, 127.0.0.0/8 or [::1], and this one names another host",
            ));
        }
        let is_own = |site: &str| matches!(site, "same-origin" | "none");
        let is_same = |origin: &str| {
            let at = origin.split_once("://").map_or("", |(_, at)| at);
            at.eq_ignore_ascii_case(host)
        };
        if !self.fetch_site.is_none_or(is_own) || !self.origin.is_none_or(is_same) {
            return Err(Denied::Elsewhere(
                "not come from another site's page, and a browser says that this one does",
            ));
        }
        if self.is_forwarded {
            return Err(Denied::Elsewhere(
                "come straight from this machine, and a proxy says that it passed this one on",
            ));
        }
        Ok(())
    }
}

/// Whether a host, with or without a port, is this machine whatever a name server says.
fn is_loopback(host: &str) -> bool {
    let name = name(host);
    name.eq_ignore_ascii_case("localhost") || address(name).is_some_and(|it| it.is_loopback())
}

/// Whether a host, with or without a port, is no name that a name server could point anywhere.
pub fn is_no_foreign_name(host: &str) -> bool {
    is_loopback(host) || address(name(host)).is_some()
}

/// A host without its port.
fn name(host: &str) -> &str {
    let end = match host.strip_prefix('[') {
        Some(_) => host.find(']').map(|at| at + 1),
        None => host.find(':'),
    };
    let (name, port) = host.split_at(end.unwrap_or(host.len()));
    let is_port = |it: &str| !it.is_empty() && it.bytes().all(|byte| byte.is_ascii_digit());
    if port.is_empty() || port.strip_prefix(':').is_some_and(is_port) { name } else { "" }
}

fn address(name: &str) -> Option<IpAddr> {
    let bare = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let address: IpAddr = match bare {
        Some(bare) => IpAddr::V6(bare.parse().ok()?),
        None => IpAddr::V4(name.parse().ok()?),
    };
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_known_by_its_names_and_addresses_alone() {
        for host in [
            "localhost",
            "LOCALHOST:8080",
            "127.0.0.1",
            "127.0.0.1:50051",
            "127.8.9.1:1",
            "[::1]",
            "[::1]:8080",
            "[::ffff:127.0.0.1]:80",
        ] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "evil.example:8080",
            "127.0.0.1.evil.example",
            "localhost.evil.example:8080",
            "localhost.",
            "127.1",
            "2130706433",
            "0.0.0.0:8080",
            "10.0.0.1",
            "::1",
            "[::1",
            "[::1]8080",
            "[::2]:80",
            "localhost:80:80",
            "localhost:",
            "localhost:x",
            "a@localhost",
            "localhost/",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
        for (host, is_none) in [
            ("10.0.0.1:9090", true),
            ("[fd00::1]:9090", true),
            ("localhost", true),
            ("evil.example", false),
            ("metrics", false),
            ("", false),
        ] {
            assert_eq!(is_no_foreign_name(host), is_none, "{host}");
        }
    }

    #[test]
    fn what_a_browser_or_a_proxy_says_of_a_request_counts() {
        let plain = Arrival { host: Some("127.0.0.1:8080"), ..Arrival::default() };
        let own = Some("http://127.0.0.1:8080");
        for good in [
            plain,
            Arrival { fetch_site: Some("none"), ..plain },
            Arrival { fetch_site: Some("same-origin"), origin: own, ..plain },
        ] {
            assert_eq!(good.check(), Ok(()), "{good:?}");
        }
        for (bad, says) in [
            (Arrival { host: None, ..plain }, "another host"),
            (Arrival { host: Some("evil.example"), ..plain }, "another host"),
            (Arrival { fetch_site: Some("cross-site"), ..plain }, "page"),
            (Arrival { fetch_site: Some("same-site"), ..plain }, "page"),
            (Arrival { origin: Some("https://evil.example"), ..plain }, "page"),
            (Arrival { origin: Some("http://127.0.0.1:3000"), ..plain }, "page"),
            (Arrival { origin: Some("null"), ..plain }, "page"),
            (Arrival { is_forwarded: true, ..plain }, "proxy"),
        ] {
            let told = bad.check().unwrap_err().to_string();
            assert!(told.contains(says) && !told.contains("evil"), "{bad:?}: {told}");
        }
    }
}
