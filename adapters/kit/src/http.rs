//! The one HTTP client of all adapters.
//!
//! Its contract: a call that ends without an answer says whether the request may have left. Only a
//! failure *before* the request could be written (name not found, connection refused, TLS refused)
//! is [`Retry::Temporary`]; everything later is [`Retry::Unknown`], because the provider may have
//! acted on it. Such a failure names the host and the [`Cause`](dispatch_contract::Cause); no error text
//! holds more of a URL, nor a header or a body.
//!
//! What it deliberately does not do: it never follows a redirect and never repeats a request (who
//! sends twice is the engine's decision), and it does not judge an HTTP status (that is each
//! provider's error table). It honours the usual proxy variables of the environment.

use std::{fmt, time::Duration};

use reqwest::{
    Client, ClientBuilder, Response, Url,
    header::{CONTENT_TYPE, HeaderMap, HeaderValue},
    redirect, retry,
};

use dispatch_contract::{
    AdapterError, ErrorKind, Fault, Retry, SendContext, UnixMillis, http_date, retry_after,
};

use crate::connect;

pub use reqwest::Method;

/// How many bytes of an answer are kept. Providers answer a send with a few hundred; what is
/// longer is cut.
pub const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// How long name resolution, connecting and the TLS handshake may take together. Well below a
/// usual call timeout, so that a dead host is told apart from a silent one.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);

/// For how long an idle connection is kept: below the 60 s after which load balancers usually
/// close it, so that a request seldom meets a connection that is just being closed.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(50);

/// The variables that name a proxy for what is called here.
const PROXY_VARIABLES: [&str; 6] =
    ["https_proxy", "HTTPS_PROXY", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"];

/// A shared pool of connections. Cloning is cheap and shares the pool.
///
/// Making one cannot fail: where the TLS library cannot be set up, every call says so, and nothing leaves.
#[derive(Clone)]
pub struct HttpClient {
    client: Option<Client>,
    /// Whether the environment names a proxy: then who cannot be reached may be that one.
    has_proxy: bool,
}

/// One request.
pub struct HttpRequest<'a> {
    /// The method.
    pub method: Method,
    /// Where to.
    pub url: &'a str,
    /// The `Authorization` header, if any; kept out of traces.
    pub authorization: Option<&'a str>,
    /// The `Content-Type` header.
    pub content_type: &'a str,
    /// Further headers, names in lower case; kept out of traces.
    pub headers: &'a [(&'a str, &'a str)],
    /// The body.
    pub body: Vec<u8>,
    /// How long the whole call may take, connecting and reading the answer included.
    pub timeout: Duration,
    /// Raw wall clock, for a `Retry-After` that is a date.
    pub now: UnixMillis,
}

/// The server's response, whatever its status.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpResponse {
    /// HTTP status.
    pub status: u16,
    /// Its headers; names are found in any case.
    pub headers: HeaderMap,
    /// How long it asked to wait.
    pub retry_after: Option<Duration>,
    /// The body's first [`MAX_ANSWER_BYTES`], or as much of it as came.
    pub body: Vec<u8>,
}

impl<'a> HttpRequest<'a> {
    /// A JSON request to `url` as `context` allows: a POST, empty, without a credential and further headers.
    pub fn json(url: &'a str, context: &SendContext<'_>) -> Self {
        HttpRequest {
            method: Method::POST,
            url,
            authorization: None,
            content_type: "application/json",
            headers: &[],
            body: Vec::new(),
            timeout: context.timeout,
            now: context.now,
        }
    }
}

impl HttpClient {
    /// A client with an empty pool.
    pub fn new() -> Self {
        HttpClient::built(HttpClient::settings())
    }

    #[expect(clippy::disallowed_methods, reason = "this is the client that all calls go out by")]
    pub(crate) fn settings() -> ClientBuilder {
        Client::builder()
            .user_agent(concat!("dispatch/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .referer(false)
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(POOL_IDLE_TIMEOUT)
            .tcp_keepalive(Duration::from_secs(30))
            .dns_resolver(connect::names())
    }

    pub(crate) fn built(settings: ClientBuilder) -> Self {
        let is_set = |name: &&str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let has_proxy = PROXY_VARIABLES.iter().any(is_set);
        HttpClient { client: settings.build().ok(), has_proxy }
    }

    /// Makes one call.
    ///
    /// # Errors
    /// Only if no HTTP status came back; see the head of this module for what they mean.
    pub async fn call(&self, call: HttpRequest<'_>) -> Result<HttpResponse, AdapterError> {
        let client = self.client.as_ref().ok_or_else(no_client)?;
        let mut request = client.request(call.method, call.url).timeout(call.timeout);
        if !call.body.is_empty() {
            request = request.header(CONTENT_TYPE, call.content_type).body(call.body);
        }
        let authorization = call.authorization.map(|value| ("authorization", value));
        for (name, value) in call.headers.iter().copied().chain(authorization) {
            let mut value = HeaderValue::from_str(value).map_err(|_| unusable_header())?;
            value.set_sensitive(true);
            request = request.header(name, value);
        }
        let sent = request.send().await;
        let mut response = sent.map_err(|error| self.no_answer(&error, call.url))?;
        let status = response.status().as_u16();
        let headers = std::mem::take(response.headers_mut());
        let body = bounded_body(response).await;
        let mut response = HttpResponse { headers, ..HttpResponse::new(status, body) };
        let wait = response.header("retry-after");
        response.retry_after = wait.and_then(|value| retry_after(value, call.now));
        Ok(response)
    }
}

impl HttpResponse {
    /// One without headers.
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        HttpResponse { status, headers: HeaderMap::new(), retry_after: None, body: body.into() }
    }

    /// The first header of this name, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The server's clock when it answered, to the second, where it says so.
    pub fn date(&self) -> Option<UnixMillis> {
        http_date(self.header("date")?)
    }
}

impl HttpClient {
    fn no_answer(&self, error: &reqwest::Error, url: &str) -> AdapterError {
        if error.is_builder() || !error.is_connect() {
            return no_answer_after(error);
        }
        let cause = connect::cause(error);
        let way = if self.has_proxy { " by way of the environment's proxy" } else { "" };
        let (host, why) = (host(url), cause.in_words());
        AdapterError::new(
            ErrorKind::Unreachable,
            Fault::Provider,
            Retry::Temporary { after: None },
            format!("no connection to {host}{way}: {why}; nothing was sent"),
        )
        .with_cause(cause)
    }
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HttpClient")
    }
}

impl fmt::Debug for HttpRequest<'_> {
    /// URL, credential and body are left out: each may hold what is secret or personal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpRequest").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

impl fmt::Debug for HttpResponse {
    /// The body is left out: providers repeat the recipient in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpResponse")
            .field("status", &self.status)
            .field("retry_after", &self.retry_after)
            .field("body_bytes", &self.body.len())
            .finish()
    }
}

impl Default for HttpClient {
    fn default() -> Self {
        HttpClient::new()
    }
}

fn no_client() -> AdapterError {
    AdapterError::new(
        ErrorKind::Unreachable,
        Fault::Provider,
        Retry::Temporary { after: None },
        "no HTTP client could be set up: the TLS library or the system's certificates; nothing was sent",
    )
}

/// The host of a URL, and its port if that is not the usual one.
fn host(url: &str) -> String {
    let url = Url::parse(url).ok();
    let host = url.as_ref().and_then(|url| Some((url.host_str()?, url.port())));
    match host {
        Some((host, Some(port))) => format!("{host}:{port}"),
        Some((host, None)) => host.to_owned(),
        None => "the provider".to_owned(),
    }
}

/// A body that breaks off is returned as far as it came: the status that precedes it counts by
/// itself, and a success that cannot be parsed is an unknown outcome anyway.
async fn bounded_body(mut response: Response) -> Vec<u8> {
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        let room = MAX_ANSWER_BYTES - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if chunk.len() >= room {
            break;
        }
    }
    body
}

/// The texts are fixed, because the library's own hold the URL.
fn no_answer_after(error: &reqwest::Error) -> AdapterError {
    if error.is_builder() {
        AdapterError::new(
            ErrorKind::InvalidRequest,
            Fault::Account,
            Retry::Permanent,
            "the request could not be built; the account's base URL is not a usable URL",
        )
    } else if error.is_timeout() {
        AdapterError::new(
            ErrorKind::Timeout,
            Fault::Provider,
            Retry::Unknown,
            "the provider did not answer in time; the message may have been sent",
        )
    } else {
        AdapterError::new(
            ErrorKind::ProviderFailure,
            Fault::Provider,
            Retry::Unknown,
            "the connection broke before the provider answered; the message may have been sent",
        )
    }
}

fn unusable_header() -> AdapterError {
    AdapterError::new(
        ErrorKind::Unauthorized,
        Fault::Account,
        Retry::Permanent,
        "the account's credential has characters that no HTTP header may hold",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::{
        StubAnswer,
        stub::{Behaviour, Stub},
    };

    const NOON: UnixMillis = UnixMillis(784_111_777_000); // Sun, 06 Nov 1994 08:49:37 GMT

    #[test]
    fn debug_shows_neither_url_nor_credential_nor_body() {
        let call = HttpRequest {
            method: Method::POST,
            url: "https://example.com/447700900000",
            authorization: Some("Bearer secret"),
            content_type: "application/json",
            headers: &[],
            body: b"hello".to_vec(),
            timeout: Duration::from_secs(1),
            now: NOON,
        };
        assert_eq!(format!("{call:?}"), "HttpRequest { timeout: 1s, .. }");
        let answer = HttpResponse::new(202, b"447700900000");
        assert!(!format!("{answer:?}").contains("4477"));
    }

    async fn post_to(stub: &Stub) -> HttpResponse {
        let call = HttpRequest {
            method: Method::POST,
            url: &stub.url(),
            authorization: None,
            content_type: "application/json",
            headers: &[],
            body: b"{}".to_vec(),
            timeout: Duration::from_secs(5),
            now: NOON,
        };
        HttpClient::new().call(call).await.expect("an answer")
    }

    #[tokio::test]
    async fn a_redirect_is_an_answer_and_not_followed() {
        let elsewhere = StubAnswer::new(307, "").with_header("Location", "http://127.0.0.1:9/");
        let stub = Stub::start(Behaviour::Answer(elsewhere)).expect("a socket");
        assert_eq!(post_to(&stub).await.status, 307);
        let request = stub.request().expect("a request").to_ascii_lowercase();
        assert!(request.contains("\r\nuser-agent: dispatch/"), "{request}");
    }

    #[tokio::test]
    async fn a_retry_after_is_read_in_every_form() {
        for date in ["Sun, 06 Nov 1994 08:50:07 GMT", "Sunday, 06-Nov-94 08:50:07 GMT"] {
            let busy = StubAnswer::new(429, "").with_header("Retry-After", date);
            let stub = Stub::start(Behaviour::Answer(busy)).expect("a socket");
            assert_eq!(post_to(&stub).await.retry_after, Some(Duration::from_secs(30)), "{date}");
        }
    }

    #[tokio::test]
    async fn a_long_body_is_cut() {
        let long = StubAnswer::new(200, "x".repeat(MAX_ANSWER_BYTES * 3));
        let stub = Stub::start(Behaviour::Answer(long)).expect("a socket");
        assert_eq!(post_to(&stub).await.body.len(), MAX_ANSWER_BYTES);
    }

    #[tokio::test]
    async fn an_unusable_url_is_the_account_s_fault_and_not_shown() {
        let client = HttpClient::new();
        let call = HttpRequest {
            method: Method::POST,
            url: "not a url 447700900000",
            authorization: None,
            content_type: "application/json",
            headers: &[],
            body: Vec::new(),
            timeout: Duration::from_secs(1),
            now: NOON,
        };
        let error = client.call(call).await.expect_err("refused");
        assert_eq!((error.fault, error.retry), (Fault::Account, Retry::Permanent));
        assert!(!error.to_string().contains("4477"));
    }
}
