//! What only an adapter's author knows, as samples: the provider's calls, and its answers.

use std::fmt;

use dispatch_contract::{
    AttemptId, Channel, ContentKind, ErrorKind, Fault, Recall, Report, Retry, WebhookRequest,
};

/// Where the suite's webhooks go.
const URL: &str = "https://dispatch.example/receipts/conformance";
const FORM: &str = "application/x-www-form-urlencoded";

/// A whole request that a provider makes to us, to be signed by
/// [`sign`](super::ConformanceSubject::sign).
#[derive(Clone, PartialEq, Eq)]
pub struct SampleWebhook {
    /// `POST`, `GET`, …
    pub method: &'static str,
    /// The full URL as the provider calls it, query included.
    pub url: String,
    /// Header names in lower case, with their raw values.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The raw body.
    pub body: Vec<u8>,
}

impl SampleWebhook {
    /// A `POST` of JSON.
    pub fn json(body: impl ToString) -> Self {
        SampleWebhook::post("application/json", body.to_string())
    }

    /// A `POST` of a form, as it stands encoded: `MessageSid=SM1&MessageStatus=sent`.
    pub fn form(body: impl Into<Vec<u8>>) -> Self {
        SampleWebhook::post(FORM, body)
    }

    /// A `GET` with this query, as it stands encoded and without the `?`.
    pub fn get(query: &str) -> Self {
        let url = format!("{URL}?{query}");
        SampleWebhook { method: "GET", url, headers: Vec::new(), body: Vec::new() }
    }

    fn post(content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        SampleWebhook {
            method: "POST",
            url: URL.to_owned(),
            headers: Vec::new(),
            body: body.into(),
        }
        .with_header("content-type", content_type)
    }

    /// The same with one more header, whose name is in lower case.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// The query as it stands in the URL, without the `?`; empty if there is none.
    pub fn query(&self) -> &str {
        self.url.split_once('?').map_or("", |(_, query)| query)
    }

    /// As an adapter reads it.
    pub fn as_request(&self) -> WebhookRequest<'_> {
        WebhookRequest {
            method: self.method,
            url: &self.url,
            query: self.query(),
            headers: &self.headers,
            body: &self.body,
        }
    }

    pub(super) fn is_form(&self) -> bool {
        self.headers.iter().any(|(name, value)| name == "content-type" && value == FORM.as_bytes())
    }

    /// The same with another query.
    pub(super) fn with_query(&self, query: &str) -> Self {
        let bare = self.url.split_once('?').map_or(&*self.url, |(bare, _)| bare);
        SampleWebhook { url: format!("{bare}?{query}"), ..self.clone() }
    }
}

impl fmt::Debug for SampleWebhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SampleWebhook { method, url, headers, body } = self;
        write!(f, "{method} {url}, {} headers, {}", headers.len(), String::from_utf8_lossy(body))
    }
}

/// What of a webhook its signature covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignedPart {
    /// Nothing: the provider signs nothing. The checks against forgery are left out.
    Nothing,
    /// Nothing, but a secret is shown beside it: whoever knows that may say anything.
    ShownSecret,
    /// The whole body.
    Body,
    /// The whole URL, query included, and the whole body.
    UrlAndBody,
}

/// A request by which a provider makes sure of the URL, and the body that it waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handshake {
    /// The request. What proves it (a token that the account holds) stands in it.
    pub webhook: SampleWebhook,
    /// The body of the answer, whose status has to be 200.
    pub answer: Vec<u8>,
}

/// What a webhook must report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpectedReport {
    /// The attempt that it is about.
    pub attempt: AttemptId,
    /// The provider's id of its message.
    pub provider_id: String,
    /// The status or failure.
    pub report: Report,
}

/// What a provider makes of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnderstoodRequest {
    /// The channel that it names, if it names one.
    pub channel: Option<Channel>,
    /// Each kind of content in it.
    pub content: Vec<ContentKind>,
}

/// An answer that the suite gives in the provider's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StubAnswer {
    /// HTTP status, or the code that another protocol has in its place.
    pub status: u16,
    /// Headers beside those that frame the body.
    pub headers: Vec<(&'static str, String)>,
    /// Body, or the text behind the code.
    pub body: String,
}

/// An answer to a recall, and what it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecallSample {
    /// The provider's answer.
    pub answer: StubAnswer,
    /// What the adapter has to say became of the message.
    pub recall: Recall,
}

/// A refusal, and what it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusalSample {
    /// The provider's answer.
    pub answer: StubAnswer,
    /// What the adapter has to say happened.
    pub kind: ErrorKind,
    /// Whose fault it has to say it was.
    pub fault: Fault,
    /// Whether it has to say that it may be tried again.
    pub retry: Retry,
}

impl StubAnswer {
    /// An answer with a body and no further headers.
    pub fn new(status: u16, body: impl Into<String>) -> Self {
        StubAnswer { status, headers: Vec::new(), body: body.into() }
    }

    /// The same with one more header.
    #[must_use]
    pub fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}
