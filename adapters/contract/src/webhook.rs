//! A provider's call to us.

use crate::Inbound;

/// A provider's call as it arrived.
#[derive(Clone, Copy, Debug)]
pub struct WebhookRequest<'a> {
    /// `POST`, `GET`, …
    pub method: &'a str,
    /// The full public URL, query included, as the provider called it: some signatures cover it.
    pub url: &'a str,
    /// The query as it stands in the URL, without the `?`; empty if there is none.
    pub query: &'a str,
    /// Header names in lower case, with their raw values.
    pub headers: &'a [(String, Vec<u8>)],
    /// The raw body: signatures cover these bytes, not a parsed form of them.
    pub body: &'a [u8],
}

/// What the provider is answered, and what it told us.
///
/// The answer goes out only once `inbound` is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookOutcome {
    /// HTTP status.
    pub status: u16,
    /// Body of the answer; some handshakes need one.
    pub body: Vec<u8>,
    /// What became of the call.
    pub verdict: Verdict,
    /// What it told us, in order.
    pub inbound: Vec<Inbound>,
}

/// What became of a provider's call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Genuine and understood, in whole or in part.
    Understood,
    /// Genuine, but nothing in it could be understood: answered 2xx, counted, alarmed.
    NotUnderstood,
    /// Its signature is missing or wrong: answered 401, and nothing changes.
    Forged,
}

impl<'a> WebhookRequest<'a> {
    /// The first header of that name (lower case), if it is text.
    pub fn header(&self, name: &str) -> Option<&'a str> {
        let (_, value) = self.headers.iter().find(|(key, _)| key == name)?;
        std::str::from_utf8(value).ok()
    }
}

impl WebhookOutcome {
    /// 200, with what was understood.
    pub fn understood(inbound: Vec<Inbound>) -> Self {
        WebhookOutcome { status: 200, body: Vec::new(), verdict: Verdict::Understood, inbound }
    }

    /// 200, because a repeat would not be understood either.
    pub fn not_understood() -> Self {
        WebhookOutcome {
            status: 200,
            body: Vec::new(),
            verdict: Verdict::NotUnderstood,
            inbound: Vec::new(),
        }
    }

    /// 401.
    pub fn forged() -> Self {
        WebhookOutcome {
            status: 401,
            body: Vec::new(),
            verdict: Verdict::Forged,
            inbound: Vec::new(),
        }
    }
}
