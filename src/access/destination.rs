//! Where a service may call out to on somebody's word.
//!
//! Whoever names a webhook makes this service send a request there. Unless the configuration says
//! otherwise it goes out over TLS, and never to an address that only this machine or its own network
//! can reach: else a caller could talk through us to what stands behind our firewall, such as a
//! cloud's metadata service.
//!
//! [`check_url`] looks at the text when it is set. That is not enough, because a name may come to
//! mean another address later: whoever connects asks [`Destinations::admits`] about the very address.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use dispatch_contract::{UrlRules, WrongUrl};
use ipnet::IpNet;
use reqwest::Url;

/// The longest URL taken, in bytes.
const URL_BYTES: usize = 2000;

/// Where calls may go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Destinations {
    /// Whether without TLS.
    pub allow_http: bool,
    /// Networks that are let through although they are not public.
    pub allow_networks: Vec<IpNet>,
}

/// Why a URL is not called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusedUrl {
    /// It is no URL that may be called: of another scheme than `https`, with a password, …
    Wrong(WrongUrl),
    /// Its address is not a public one.
    NotPublic,
}

/// What a URL may be that is called: `https`, and `http` where `http` says so.
pub(super) fn callback_rules(http: bool) -> UrlRules {
    UrlRules { http, fragment: false, most_bytes: URL_BYTES }
}

/// `text` as a URL that may be called.
///
/// # Errors
/// If it may not; the error says what would be right.
pub fn check_url(text: &str, destinations: &Destinations) -> Result<Url, RefusedUrl> {
    let url = dispatch_contract::check_url(text, callback_rules(destinations.allow_http))
        .map_err(RefusedUrl::Wrong)?;
    let host = url.host_str().unwrap_or_default();
    // The parser has brought every spelling of an address (`0x7f.1`, `2130706433`) to the usual one.
    match host.trim_start_matches('[').trim_end_matches(']').parse() {
        Ok(address) if !destinations.admits(address) => Err(RefusedUrl::NotPublic),
        Ok(_) | Err(_) => Ok(url),
    }
}

impl RefusedUrl {
    /// Its name in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            RefusedUrl::Wrong(
                WrongUrl::Malformed | WrongUrl::Blank | WrongUrl::Host | WrongUrl::Port,
            ) => "malformed_url",
            RefusedUrl::Wrong(WrongUrl::TooLong(_)) => "url_too_long",
            RefusedUrl::Wrong(WrongUrl::Scheme { .. }) => "not_https",
            RefusedUrl::Wrong(WrongUrl::Credentials) => "url_with_credentials",
            RefusedUrl::Wrong(WrongUrl::Fragment) => "url_with_fragment",
            RefusedUrl::NotPublic => "not_public",
        }
    }
}

impl Destinations {
    /// Whether a connection to `address` may be made.
    pub fn admits(&self, address: IpAddr) -> bool {
        let is_public = match address {
            IpAddr::V4(address) => is_public_v4(address),
            IpAddr::V6(address) => is_public_v6(address),
        };
        is_public || self.allow_networks.iter().any(|network| network.contains(&address))
    }
}

/// Networks that are not the public internet (the IANA special-purpose registry), and the one public
/// address that is a cloud's inside: Azure's 168.63.129.16.
const NOT_PUBLIC_V4: [([u8; 4], u8); 17] = [
    ([0, 0, 0, 0], 8),
    ([10, 0, 0, 0], 8),
    ([100, 64, 0, 0], 10),
    ([127, 0, 0, 0], 8),
    ([168, 63, 129, 16], 32),
    ([169, 254, 0, 0], 16),
    ([172, 16, 0, 0], 12),
    ([192, 0, 0, 0], 24),
    ([192, 0, 2, 0], 24),
    ([192, 31, 196, 0], 24),
    ([192, 88, 99, 0], 24),
    ([192, 168, 0, 0], 16),
    ([198, 18, 0, 0], 15),
    ([198, 51, 100, 0], 24),
    ([203, 0, 113, 0], 24),
    ([224, 0, 0, 0], 4),
    ([240, 0, 0, 0], 4),
];

fn is_public_v4(address: Ipv4Addr) -> bool {
    let bits = address.to_bits();
    !NOT_PUBLIC_V4.iter().any(|(network, length)| {
        let network = Ipv4Addr::from(*network).to_bits();
        (bits ^ network) >> (32 - length) == 0
    })
}

/// Global unicast (2000::/3) without what is carved out of it: Teredo and its neighbours
/// (2001::/23), documentation (2001:db8::/32, 3fff::/20), and 6to4 (2002::/16), which wraps IPv4
/// addresses. Outside of it are loopback, link-local, unique local, multicast, IPv4-mapped and NAT64.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let [first, second, ..] = address.segments();
    let is_global = first & 0xe000 == 0x2000;
    let is_carved_out = match first {
        0x2001 => second < 0x0200 || second == 0x0db8,
        0x2002 => true,
        0x3fff => second < 0x1000,
        _ => false,
    };
    is_global && !is_carved_out
}

impl fmt::Display for RefusedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RefusedUrl::Wrong(wrong) => wrong.fmt(f),
            RefusedUrl::NotPublic => f.write_str(
                "must name a host on the public internet; callbacks.allow_networks lets others through",
            ),
        }
    }
}

impl std::error::Error for RefusedUrl {}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> Option<RefusedUrl> {
        check_url(text, &Destinations::default()).err()
    }

    #[test]
    fn a_public_https_address_is_taken() {
        for text in [
            "https://example.com/status",
            "HTTPS://example.com/status",
            "https://example.com:8443/a?b=c",
            "https://8.8.8.8/",
            "https://[2606:4700::1111]/",
        ] {
            assert_eq!(refused(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_no_such_address_is_refused_by_its_text() {
        for (text, why) in [
            ("example.com/status", WrongUrl::Malformed),
            ("http://example.com/", WrongUrl::Scheme { http: false }),
            ("https://example.com:99999/", WrongUrl::Port),
            ("https://user@example.com/", WrongUrl::Credentials),
            ("https://example.com/#top", WrongUrl::Fragment),
        ] {
            assert_eq!(refused(text), Some(RefusedUrl::Wrong(why)), "{text}");
        }
        let long = format!("https://example.com/{}", "a".repeat(URL_BYTES));
        assert_eq!(refused(&long), Some(RefusedUrl::Wrong(WrongUrl::TooLong(URL_BYTES))));
    }

    #[test]
    fn addresses_that_are_not_public_are_refused_in_every_spelling() {
        for host in [
            "127.0.0.1",
            "127.1",
            "0x7f.0.0.1",
            "2130706433",
            "0",
            "10.1.2.3",
            "100.64.0.1",
            "100.100.100.200",
            "169.254.169.254",
            "168.63.129.16",
            "172.31.255.255",
            "192.168.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "[::]",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:8.8.8.8]",
            "[::7f00:1]",
            "[64:ff9b::7f00:1]",
            "[2002:7f00:1::]",
            "[2001::1]",
            "[fc00::1]",
            "[fd00:ec2::254]",
            "[fe80::1]",
            "[ff02::1]",
        ] {
            assert_eq!(refused(&format!("https://{host}/")), Some(RefusedUrl::NotPublic), "{host}");
        }
        for host in ["9.255.255.255", "172.32.0.1", "100.128.0.1", "[2001:4860::8888]"] {
            assert_eq!(refused(&format!("https://{host}/")), None, "{host}");
        }
    }

    #[test]
    fn what_the_configuration_allows_is_let_through() {
        let loopback =
            Destinations { allow_http: true, allow_networks: vec!["127.0.0.0/8".parse().unwrap()] };
        assert!(check_url("http://127.0.0.1:1234/", &loopback).is_ok());
        assert!(check_url("http://10.0.0.1/", &loopback).is_err());
        assert!(check_url("http://[::1]/", &loopback).is_err());
    }
}
