//! Tells genuine webhooks from forged ones: `X-Twilio-Signature`.
//!
//! HMAC-SHA1 under the account's auth token, in base64, over the URL as Twilio called it and the form
//! behind it: each field's name and value, sorted, with nothing between. Where the query carries
//! `bodySHA256` the body is no form: then the URL alone is signed, and the body must have that hash.
//!
//! - The URL is the public one, as it is configured: behind a proxy no header tells it truly.
//! - Twilio signs it now with its port, now without: both are taken.
//! - There is no time in it, so a webhook may be repeated for ever; a repeated receipt is harmless.

use dispatch_contract::WebhookRequest;
use dispatch_kit::signature::{SignatureScheme, is_sha256_of};

use super::form::Form;

/// The field of the query that holds the hash of a body that is no form.
pub(crate) const BODY_HASH: &str = "bodySHA256";
/// The header.
pub(crate) const HEADER: &str = "x-twilio-signature";

/// How Twilio signs.
pub(crate) const SCHEME: SignatureScheme = SignatureScheme::Sha1Base64;

/// Whether `request` was signed under one of `tokens`.
pub(crate) fn is_genuine(request: &WebhookRequest<'_>, tokens: &[&str]) -> bool {
    let Some(signature) = request.header(HEADER) else { return false };
    let form = match body_hash(request.query) {
        None => Form::of(request.body),
        Some(hash) if is_sha256_of(request.body, &hash) => Form::default(),
        Some(_) => return false,
    };
    let texts: Vec<_> = spellings(request.url).iter().map(|url| text(url, &form)).collect();
    tokens.iter().any(|token| {
        let is_of = |text: &String| SCHEME.is_genuine(token.as_bytes(), text.as_bytes(), signature);
        texts.iter().any(is_of)
    })
}

/// Whether the body is no form, by what the query says.
pub(crate) fn body_hash(query: &str) -> Option<String> {
    Form::of(query.as_bytes()).get(BODY_HASH).map(str::to_owned)
}

/// What is signed for a `POST` to `url`, without a fragment, of this body.
pub fn signed_text(url: &str, body: &[u8]) -> String {
    let (url, _) = url.split_once('#').unwrap_or((url, ""));
    let query = url.split_once('?').map_or("", |(_, query)| query);
    let form = if body_hash(query).is_some() { Form::default() } else { Form::of(body) };
    text(url, &form)
}

fn text(url: &str, form: &Form<'_>) -> String {
    let mut text = url.to_owned();
    for (name, value) in form.sorted() {
        text.push_str(name);
        text.push_str(value);
    }
    text
}

/// The URL as it stands, and with its port where it has none, or without where it has one.
fn spellings(url: &str) -> Vec<String> {
    let mut spellings = vec![url.to_owned()];
    let Some((scheme, rest)) = url.split_once("://") else { return spellings };
    let at = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(at);
    // A colon within brackets is an IPv6 address's.
    let port = authority.rsplit_once(':').filter(|(_, port)| !port.contains(']'));
    let usual = match scheme {
        "https" => Some("443"),
        "http" => Some("80"),
        _ => None,
    };
    match (port, usual) {
        (Some((host, _)), _) => spellings.push(format!("{scheme}://{host}{path}")),
        (None, Some(port)) => spellings.push(format!("{scheme}://{authority}:{port}{path}")),
        (None, None) => {}
    }
    spellings
}

#[cfg(test)]
mod tests {
    use dispatch_kit::signature::sha256_hex;

    use super::*;

    const TOKEN: &str = "12345";

    fn genuine(url: &str, body: &[u8], signature: &str) -> bool {
        let headers = [(HEADER.to_owned(), signature.as_bytes().to_vec())];
        let query = url.split_once('?').map_or("", |(_, query)| query);
        let request = WebhookRequest { method: "POST", url, query, headers: &headers, body };
        is_genuine(&request, &["another", TOKEN])
    }

    fn signature(text: &str) -> String {
        SCHEME.sign(TOKEN.as_bytes(), text.as_bytes())
    }

    #[test]
    fn what_others_signed_is_genuine() {
        for (url, body, signature) in [
            (
                "https://mycompany.com/myapp.php?foo=1&bar=2",
                "CallSid=CA1234567890ABCDE&Digits=1234&From=%2B14158675309&To=%2B18005551212&\
                 Caller=%2B14158675309",
                "RSOYDt4T1cUTdK1PDd93/VVr8B8=",
            ),
            (
                "https://hooks.example.com/wh/twilio/sms?ref=01J8Z&x=a%20b",
                "MessageSid=SM0123456789abcdef0123456789abcdef&\
                 SmsSid=SM0123456789abcdef0123456789abcdef&MessageStatus=delivered&\
                 SmsStatus=delivered&To=%2B15558675310&From=%2B15017122661&\
                 AccountSid=AC0123456789abcdef0123456789abcdef&ApiVersion=2010-04-01&\
                 RawDlrDoneDate=2611230640",
                "Dhc1hYdIUpkuuS7EJ9G02J2uddc=",
            ),
            (
                "https://hooks.example.com/wh/twilio/sms",
                "MessageSid=SM1&MessageStatus=failed&ErrorCode=30003&\
                 ErrorMessage=Za%C5%BC%C3%B3%C5%82%C4%87+%E2%80%93+%E6%BC%A2%E5%AD%97&Empty=",
                "h+zFfQrMWogkVr6FxT3vnCUR+g4=",
            ),
        ] {
            assert!(genuine(url, body.as_bytes(), signature), "{url}");
            assert!(!genuine(&url.replace("s://", "://"), body.as_bytes(), signature), "{url}");
            assert!(!genuine(url, format!("{body}&More=1").as_bytes(), signature), "{url}");
        }
    }

    #[test]
    fn a_port_may_be_signed_or_not() {
        for (called, signed) in [
            ("https://a.example/x?y=1", "https://a.example:443/x?y=1"),
            ("http://a.example/x", "http://a.example:80/x"),
            ("https://a.example:8443/x", "https://a.example/x"),
            ("https://[2001:db8::1]/x", "https://[2001:db8::1]:443/x"),
            ("https://[2001:db8::1]:8443/x", "https://[2001:db8::1]/x"),
        ] {
            let one = format!("{signed}A1");
            assert!(genuine(called, b"A=1", &signature(&one)), "{called}");
            assert!(genuine(called, b"A=1", &signature(&format!("{called}A1"))), "{called}");
        }
        let other = signature("https://a.example:444/xA1");
        assert!(!genuine("https://a.example/x", b"A=1", &other));
        assert!(!genuine("https://a.example:443/x", b"A=1", &other));
    }

    #[test]
    fn a_body_that_is_no_form_is_held_by_its_hash() {
        let body = br#"{"a":1}"#;
        let url = format!("https://a.example/x?bodySHA256={}&attempt=1", sha256_hex(body));
        let signature = signature(&url);
        assert!(genuine(&url, body, &signature));
        assert!(!genuine(&url, br#"{"a":2}"#, &signature));
        assert!(!genuine(&url.replace("attempt=1", "attempt=2"), body, &signature));
        // Whoever leaves the hash out has a form signed.
        assert!(!genuine("https://a.example/x?attempt=1", body, &signature));
    }

    #[test]
    fn fields_are_sorted_and_each_pair_counts_once() {
        let url = "https://a.example/x";
        let signature = signature("https://a.example/xA1A2B0");
        for body in ["A=1&A=2&B=0", "B=0&A=2&A=1", "A=1&A=2&A=1&B=0"] {
            assert!(genuine(url, body.as_bytes(), &signature), "{body}");
        }
        assert!(!genuine(url, b"A=1&B=0", &signature));
    }

    #[test]
    fn without_a_header_a_token_or_a_url_nothing_is_genuine() {
        let url = "https://a.example/x";
        let headers = [(HEADER.to_owned(), signature("https://a.example/xA1").into_bytes())];
        let request =
            |url, headers| WebhookRequest { method: "POST", url, query: "", headers, body: b"A=1" };
        assert!(is_genuine(&request(url, &headers), &[TOKEN]));
        assert!(!is_genuine(&request(url, &[]), &[TOKEN]));
        assert!(!is_genuine(&request(url, &headers), &[]));
        assert!(!is_genuine(&request(url, &headers), &[""]));
        assert!(!is_genuine(&request("", &headers), &[TOKEN]));
    }

    #[test]
    fn what_is_signed_leaves_a_fragment_out() {
        assert_eq!(
            signed_text("https://a.example/x?y=1#rc=5", b"B=2&A=1"),
            "https://a.example/x?y=1A1B2"
        );
        let hashed = "https://a.example/x?bodySHA256=00";
        assert_eq!(signed_text(hashed, b"{}"), hashed);
    }
}
