//! URLs that a caller names: one function for all of them, told what is allowed at the place.
//!
//! They are parsed as the WHATWG standard has it, so that upper case, IPv6 and names beyond ASCII are
//! judged by what they mean. What that standard mends without a word (a missing slash, a backslash, a
//! tab within) is refused: whoever fetches it may read it otherwise.

use std::{cell::Cell, fmt};

use url::{ParseError, SyntaxViolation, Url};

use crate::is_invisible;

/// What is allowed at a place where a URL stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UrlRules {
    /// Whether plain `http` is taken beside `https`.
    pub http: bool,
    /// Whether it may have a fragment (`#…`), which is never sent to a server.
    pub fragment: bool,
    /// The longest, in bytes.
    pub most_bytes: usize,
}

impl UrlRules {
    /// For what a provider fetches or a person opens.
    pub const PUBLIC: UrlRules = UrlRules { http: true, fragment: true, most_bytes: usize::MAX };
}

/// Why a text is no such URL. `Display` says what would be right, and shows nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WrongUrl {
    /// It is no absolute URL.
    Malformed,
    /// It is longer than so many bytes.
    TooLong(usize),
    /// It holds a blank, a line break or something invisible.
    Blank,
    /// Its scheme is another; `http` tells whether that would do.
    Scheme {
        /// Whether plain `http` is taken.
        http: bool,
    },
    /// It names no host that there could be.
    Host,
    /// Its port is none.
    Port,
    /// It carries a user or a password.
    Credentials,
    /// It carries a fragment.
    Fragment,
}

/// `text` as a URL that `rules` allow. Where it leads is not looked at.
///
/// # Errors
/// If it is none; the error says what would be right.
pub fn check_url(text: &str, rules: UrlRules) -> Result<Url, WrongUrl> {
    if text.len() > rules.most_bytes {
        return Err(WrongUrl::TooLong(rules.most_bytes));
    }
    if text.chars().any(|c| c.is_whitespace() || c.is_control() || is_invisible(c)) {
        return Err(WrongUrl::Blank);
    }
    let is_bent = Cell::new(false);
    let notice = |violation: SyntaxViolation| {
        if matches!(violation, SyntaxViolation::Backslash | SyntaxViolation::ExpectedDoubleSlash) {
            is_bent.set(true);
        }
    };
    let parsed = Url::options().syntax_violation_callback(Some(&notice)).parse(text);
    let url = parsed.map_err(|error| match error {
        ParseError::InvalidPort => WrongUrl::Port,
        ParseError::EmptyHost
        | ParseError::IdnaError
        | ParseError::InvalidIpv4Address
        | ParseError::InvalidIpv6Address
        | ParseError::InvalidDomainCharacter => WrongUrl::Host,
        _ => WrongUrl::Malformed,
    })?;
    match url.scheme() {
        "https" => {}
        "http" if rules.http => {}
        _ => return Err(WrongUrl::Scheme { http: rules.http }),
    }
    if is_bent.get() {
        return Err(WrongUrl::Malformed);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(WrongUrl::Credentials);
    }
    if url.port() == Some(0) {
        return Err(WrongUrl::Port);
    }
    if url.fragment().is_some() && !rules.fragment {
        return Err(WrongUrl::Fragment);
    }
    Ok(url)
}

impl fmt::Display for WrongUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WrongUrl::Malformed => {
                f.write_str("must be an absolute URL with a host, such as https://example.com/a")
            }
            WrongUrl::TooLong(most) => write!(f, "must have at most {most} bytes"),
            WrongUrl::Blank => f.write_str(
                "must hold no blank, line break or invisible character; a blank in a path is %20",
            ),
            WrongUrl::Scheme { http: true } => f.write_str("must begin with https:// or http://"),
            WrongUrl::Scheme { http: false } => f.write_str("must begin with https://"),
            WrongUrl::Host => f.write_str(
                "must name a host: a domain name, an IPv4 address, or an IPv6 address in brackets",
            ),
            WrongUrl::Port => f.write_str("must have a port of 1 to 65535, or none"),
            WrongUrl::Credentials => f.write_str("must not carry a user or a password"),
            WrongUrl::Fragment => {
                f.write_str("must not carry a fragment (#…): it would never be sent")
            }
        }
    }
}

impl std::error::Error for WrongUrl {}

#[cfg(test)]
mod tests {
    use super::*;

    const CALLED: UrlRules = UrlRules { http: false, fragment: false, most_bytes: 2_000 };

    #[test]
    fn a_url_is_judged_by_what_it_means() {
        for text in [
            "https://example.com/a.png",
            "HTTPS://EXAMPLE.COM/A.PNG",
            "https://example.com",
            "https://example.com:8443/a?b=c",
            "https://example.com:443/",
            "https://[2001:db8::1]:8443/a",
            "https://8.8.8.8/",
            "https://bücher.example/ä.png",
            "https://xn--bcher-kva.example/",
            "https://example.com/a%20b",
        ] {
            assert!(check_url(text, CALLED).is_ok(), "{text}");
            assert!(check_url(text, UrlRules::PUBLIC).is_ok(), "{text}");
        }
        for text in ["http://example.com/a.png", "Http://example.com/", "https://example.com/#top"]
        {
            assert!(check_url(text, CALLED).is_err(), "{text}");
            assert!(check_url(text, UrlRules::PUBLIC).is_ok(), "{text}");
        }
    }

    #[test]
    fn what_is_none_is_refused_with_what_is_wrong_with_it() {
        let long = format!("https://example.com/{}", "a".repeat(2_000));
        for (text, why) in [
            ("", WrongUrl::Malformed),
            ("example.com/status", WrongUrl::Malformed),
            ("/status", WrongUrl::Malformed),
            ("https:example.com", WrongUrl::Malformed),
            ("https:/example.com", WrongUrl::Malformed),
            ("https:\\\\example.com\\a", WrongUrl::Malformed),
            ("https://", WrongUrl::Host),
            ("https://[::1/a.jpg", WrongUrl::Host),
            ("https://1.2.3.4.5/", WrongUrl::Host),
            ("https://a%00b/", WrongUrl::Host),
            ("https://example.com:99999/", WrongUrl::Port),
            ("https://example.com:0/", WrongUrl::Port),
            ("https://example.com:a/", WrongUrl::Port),
            ("http://example.com/", WrongUrl::Scheme { http: false }),
            ("ftp://example.com/", WrongUrl::Scheme { http: false }),
            ("file:///etc/passwd", WrongUrl::Scheme { http: false }),
            ("javascript:alert(1)", WrongUrl::Scheme { http: false }),
            ("example.com:443/a", WrongUrl::Scheme { http: false }),
            ("https://user@example.com/", WrongUrl::Credentials),
            ("https://:secret@example.com/", WrongUrl::Credentials),
            ("https://example.com/#top", WrongUrl::Fragment),
            ("https://example.com/a b", WrongUrl::Blank),
            (" https://example.com/", WrongUrl::Blank),
            ("https://exam\tple.com/", WrongUrl::Blank),
            ("https://example.com/\u{202e}gpj.exe", WrongUrl::Blank),
            (&*long, WrongUrl::TooLong(2_000)),
        ] {
            assert_eq!(check_url(text, CALLED), Err(why), "{text}");
        }
    }

    #[test]
    fn plain_http_is_recommended_only_where_it_is_taken() {
        let said = |rules| check_url("ftp://example.com/", rules).unwrap_err().to_string();
        assert_eq!(said(CALLED), "must begin with https://");
        assert_eq!(said(UrlRules::PUBLIC), "must begin with https:// or http://");
    }
}
