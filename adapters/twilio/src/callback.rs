//! Whether Twilio can report to the URL that each message names.
//!
//! There is no other place where this service looks for statuses: what a messaging service or a console names
//! carries no attempt, and is signed for a URL that this service does not know itself by.

use std::net::IpAddr;

use dispatch_contract::Account;
use url::{Host, Url};

use super::TwilioAccount;

/// The longest that Twilio takes, in bytes, and what our attempt and the overrides add to the URL at most.
const MOST_BYTES: usize = 4000;
const ADDED_BYTES: usize = 300;

/// What keeps statuses from coming to `url`, with what to set.
pub(crate) fn problem(account: &Account, url: Option<&str>) -> Option<String> {
    let Some(url) = url else {
        return Some(
            "Twilio learns with each message where its statuses go, and listen.public_url is empty: none \
             will come, and no message will count as delivered or read; set listen.public_url to the \
             address at which Twilio reaches this service"
                .to_owned(),
        );
    };
    let parsed = Url::parse(url).ok()?;
    let host = parsed.host()?;
    if url.len() + ADDED_BYTES > MOST_BYTES {
        return Some(format!(
            "listen.public_url is too long: with an attempt's id in it the URL for statuses must have at \
             most {MOST_BYTES} bytes, else Twilio refuses every message (21609)"
        ));
    }
    if host.to_string().contains('_') {
        return Some(
            "listen.public_url names a host with an underscore: Twilio takes no such URL for statuses and \
             refuses every message (21609); give the host a name without one"
                .to_owned(),
        );
    }
    // A server that stands in for Twilio may well be as near.
    let base = TwilioAccount::read(account).ok().and_then(|it| Url::parse(it.base_url).ok());
    let is_twilio_s_own = base.and_then(|base| base.host().map(|host| is_public(&host)));
    if is_twilio_s_own == Some(true) && !is_public(&host) {
        return Some(
            "listen.public_url names a host that Twilio cannot reach from outside: no status will come, and \
             no message will count as delivered or read; set it to the address at which Twilio reaches this \
             service"
                .to_owned(),
        );
    }
    None
}

/// Whether somebody elsewhere may reach it, as far as it shows.
fn is_public(host: &Host<&str>) -> bool {
    let address = match host {
        Host::Domain(name) => {
            let name = name.trim_end_matches('.');
            let ends = |end| name == end || name.ends_with(&format!(".{end}"));
            return name.contains('.') && !["localhost", "local", "internal"].into_iter().any(ends);
        }
        Host::Ipv4(address) => IpAddr::V4(*address),
        Host::Ipv6(address) => IpAddr::V6(*address).to_canonical(),
    };
    let is_private = match address {
        IpAddr::V4(v4) => v4.is_private() || v4.is_link_local() || v4.is_unspecified(),
        IpAddr::V6(v6) => v6.is_unique_local() || v6.is_unicast_link_local() || v6.is_unspecified(),
    };
    !address.is_loopback() && !is_private
}

#[cfg(test)]
mod tests {
    use dispatch_contract::Secret;

    use super::*;

    fn said(base_url: &str, url: Option<&str>) -> String {
        let settings =
            [("base_url", base_url), ("account_sid", "AC0123456789abcdef0123456789abcdef")];
        let account = Account {
            name: "main".to_owned(),
            revision: 1,
            settings: settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            secrets: [("auth_token".to_owned(), Secret::new("t0ken"))].into(),
        };
        problem(&account, url).unwrap_or_default()
    }

    #[test]
    fn where_twilio_cannot_report_that_is_said_with_what_to_set() {
        let long = format!("https://a.example/{}", "a".repeat(3_800));
        for (url, part) in [
            (None, "listen.public_url is empty: none will come"),
            (Some("https://dis_patch.example.com/receipts/twilio/main"), "an underscore"),
            (Some(&*long), "at most 4000 bytes"),
            (Some("http://127.0.0.1:8080/receipts/twilio/main"), "cannot reach from outside"),
            (Some("https://10.0.0.7/x"), "cannot reach"),
            (Some("https://[::1]:8443/x"), "cannot reach"),
            (Some("https://[fd00::1]/x"), "cannot reach"),
            (Some("https://[::ffff:192.168.0.1]/x"), "cannot reach"),
            (Some("https://localhost/x"), "cannot reach"),
            (Some("https://dispatch/x"), "cannot reach"),
            (Some("https://dispatch.svc.internal./x"), "cannot reach"),
        ] {
            let said = said("https://api.twilio.com", url);
            assert!(said.contains(part) && said.contains("listen.public_url"), "{url:?}: {said}");
        }
    }

    #[test]
    fn where_it_can_nothing_is_said() {
        for (base_url, url) in [
            ("https://api.twilio.com", "https://dispatch.example.com/receipts/twilio/main"),
            ("https://api.twilio.com", "http://203.0.113.7:8080/receipts/twilio/main"),
            ("https://api.twilio.com", "https://[2001:db8::1]/receipts/twilio/main"),
            ("http://127.0.0.1:4010", "http://127.0.0.1:8080/receipts/twilio/main"),
        ] {
            assert_eq!(said(base_url, Some(url)), "", "{url}");
        }
    }
}
