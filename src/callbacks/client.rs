//! The HTTP client of callbacks: one POST, to a destination that a stranger chose.
//!
//! It follows no redirect, knows no proxy of the environment and no cookie, and connects only to
//! addresses that the configuration admits: its resolver sorts out the others, so that what was
//! checked is what is connected to. An address in the URL itself passes no resolver; it is checked by
//! [`check_url`] just before.
//!
//! Why no response came is reported twice: as a [`DeliveryFailure`], which tenants see and which does
//! not say whether a name leads into a private network, and as a cause for the operator's log.

use std::{error::Error, fmt, net::SocketAddr, sync::Arc, time::Duration};

use dispatch_contract::{UnixMillis, retry_after};
use dispatch_kit::connect;
use reqwest::{
    Client, Response,
    dns::{Addrs, Name, Resolve, Resolving},
    header::{CONTENT_TYPE, RETRY_AFTER},
    redirect, retry,
};

use super::DeliveryFailure;
use crate::access::{Destinations, RefusedUrl, check_url};

/// For how long an idle connection is kept: below the 60 s after which load balancers usually close it.
const IDLE: Duration = Duration::from_secs(50);
/// How much of a response's body is read, so that its connection can be used again.
const RESPONSE_BYTES: usize = 64 * 1024;
/// How long that may take.
const RESPONSE_BODY_TIMEOUT: Duration = Duration::from_secs(1);

/// Posts callbacks.
pub(super) struct CallbackClient {
    client: Client,
    destinations: Arc<Destinations>,
}

/// The TLS library did not let a client be built.
#[derive(Debug)]
pub struct CallbackClientUnavailable(reqwest::Error);

/// Why no response came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoResponse {
    /// For the tenant.
    pub(super) failure: DeliveryFailure,
    /// For the operator, from a closed list.
    pub(super) cause: &'static str,
}

/// What a receiver answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CallbackResponse {
    pub(super) status: u16,
    /// How long it asked to wait.
    pub(super) retry_after: Option<Duration>,
}

impl CallbackClient {
    #[expect(
        clippy::disallowed_methods,
        reason = "a receiver is no provider: where it may be is judged at every call"
    )]
    pub(super) fn new(
        destinations: Arc<Destinations>,
        timeout: Duration,
    ) -> Result<Self, CallbackClientUnavailable> {
        let client = Client::builder()
            .user_agent(concat!("dispatch/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .no_proxy()
            .referer(false)
            .https_only(!destinations.allow_http)
            .timeout(timeout)
            // Shorter, so that who cannot be reached is told apart from who does not answer.
            .connect_timeout(timeout.mul_f32(0.6))
            .pool_idle_timeout(IDLE)
            .dns_resolver(Arc::new(PublicResolver(Arc::clone(&destinations))))
            .build()
            .map_err(CallbackClientUnavailable)?;
        Ok(CallbackClient { client, destinations })
    }

    /// Posts one body. `now` is the raw wall clock, for a `Retry-After` that is a date.
    ///
    /// # Errors
    /// If no response came.
    pub(super) async fn post(
        &self,
        url: &str,
        headers: Vec<(&'static str, String)>,
        body: Vec<u8>,
        now: UnixMillis,
    ) -> Result<CallbackResponse, NoResponse> {
        let url = check_url(url, &self.destinations).map_err(|why| NoResponse {
            failure: DeliveryFailure::NotAllowed,
            cause: why.as_str(),
        })?;
        let mut request = self.client.post(url).header(CONTENT_TYPE, "application/json").body(body);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let response = request.send().await.map_err(|error| no_response(&error))?;
        let answered = CallbackResponse {
            status: response.status().as_u16(),
            retry_after: response
                .headers()
                .get(RETRY_AFTER)
                .and_then(|value| retry_after(value.to_str().ok()?, now)),
        };
        // Whatever comes of it: the status is known.
        let _ = tokio::time::timeout(RESPONSE_BODY_TIMEOUT, drain(response)).await;
        Ok(answered)
    }
}

async fn drain(mut response: Response) {
    let mut read = 0;
    while let Ok(Some(chunk)) = response.chunk().await {
        read += chunk.len();
        if read > RESPONSE_BYTES {
            return;
        }
    }
}

/// What went wrong, without the address: that may carry a secret of the receiver's.
fn no_response(error: &reqwest::Error) -> NoResponse {
    let mut source = error.source();
    while let Some(cause) = source {
        if cause.is::<NothingPublic>() {
            return NoResponse {
                failure: DeliveryFailure::NotAllowed,
                cause: RefusedUrl::NotPublic.as_str(),
            };
        }
        source = cause.source();
    }
    let (failure, cause) = if error.is_builder() {
        (DeliveryFailure::NotAllowed, "unusable_url")
    } else if error.is_connect() {
        (DeliveryFailure::Unreachable, connect::cause(error).as_str())
    } else if error.is_timeout() {
        (DeliveryFailure::TimedOut, "answer_timeout")
    } else {
        (DeliveryFailure::Broken, "connection_broke")
    };
    NoResponse { failure, cause }
}

/// Knows of a name only those addresses that may be connected to.
struct PublicResolver(Arc<Destinations>);

/// A name has addresses, and none of them may be connected to.
#[derive(Debug)]
struct NothingPublic;

impl Resolve for PublicResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let destinations = Arc::clone(&self.0);
        Box::pin(async move {
            let mut admitted: Vec<SocketAddr> = connect::lookup(&name).await?;
            admitted.retain(|address| destinations.admits(address.ip()));
            if admitted.is_empty() {
                return Err(NothingPublic.into());
            }
            Ok(Box::new(admitted.into_iter()) as Addrs)
        })
    }
}

impl fmt::Display for NothingPublic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name has no public address")
    }
}

impl Error for NothingPublic {}

impl fmt::Display for CallbackClientUnavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the HTTP client of callbacks could not be set up")
    }
}

impl Error for CallbackClientUnavailable {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_retry_after_is_read_in_every_form() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};

        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let allow_networks = vec!["127.0.0.0/8".parse().unwrap()];
        let destinations = Destinations { allow_http: true, allow_networks };
        let client = CallbackClient::new(Arc::new(destinations), Duration::from_secs(5)).unwrap();
        for date in ["30", "Sunday, 06-Nov-94 08:50:07 GMT", "Sun Nov  6 08:50:07 1994"] {
            let response = format!(
                "HTTP/1.1 503 Busy\r\nRetry-After: {date}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            );
            let receiver = async {
                let (mut stream, _) = listener.accept().await.unwrap();
                let _ = stream.read(&mut [0; 4096]).await.unwrap();
                stream.write_all(response.as_bytes()).await.unwrap();
            };
            let post = client.post(&url, Vec::new(), Vec::new(), UnixMillis(784_111_777_000));
            let (response, ()) = tokio::join!(post, receiver);
            let retry_after = Some(Duration::from_secs(30));
            assert_eq!(response, Ok(CallbackResponse { status: 503, retry_after }), "{date}");
        }
    }

    #[tokio::test]
    async fn a_name_that_means_a_private_address_is_not_connected_to() {
        let destinations = Destinations { allow_http: true, ..Destinations::default() };
        let client = CallbackClient::new(Arc::new(destinations), Duration::from_secs(5)).unwrap();
        for url in ["http://localhost:9/", "http://127.0.0.1:9/", "http://[::1]:9/"] {
            let response = client.post(url, Vec::new(), Vec::new(), UnixMillis(0)).await;
            let refused = NoResponse { failure: DeliveryFailure::NotAllowed, cause: "not_public" };
            assert_eq!(response, Err(refused), "{url}");
        }
    }

    #[tokio::test]
    async fn the_log_hears_what_the_tenant_does_not() {
        let loopback =
            Destinations { allow_http: true, allow_networks: vec!["127.0.0.0/8".parse().unwrap()] };
        let reaching = CallbackClient::new(Arc::new(loopback), Duration::from_secs(5)).unwrap();
        let strict = Destinations { allow_http: true, ..Destinations::default() };
        let strict = CallbackClient::new(Arc::new(strict), Duration::from_secs(5)).unwrap();
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = closed.local_addr().unwrap().port();
        drop(closed);
        let mut seen = Vec::new();
        for (client, url, cause) in [
            // A name that leads inside, one that is none, and one where nobody listens.
            (&strict, "http://localhost:9/".to_owned(), "not_public"),
            (&strict, "http://no-such-host.invalid/".to_owned(), "name_not_resolved"),
            (&reaching, format!("http://127.0.0.1:{port}/"), "connection_refused"),
        ] {
            let response = client.post(&url, Vec::new(), Vec::new(), UnixMillis(0)).await;
            let refused = response.unwrap_err();
            assert_eq!(refused.cause, cause);
            seen.push(refused.failure.to_string());
        }
        seen.dedup();
        assert_eq!(seen.len(), 1, "told apart: {seen:?}");
    }
}
