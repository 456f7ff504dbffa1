//! Another system in place of the service, under the same load and with the same provider, so that
//! `life` can be compared.
//!
//! It takes a create as `POST {"id":"000000004711","expiry_ms":2000}` and answers 2xx once that is
//! durable. Its messages go to the provider at `--provider`, as Vonage's Messages API has them: to
//! `1` and the id by `messenger`, to `44` and the id by `sms`. What it gives as `client_ref` comes
//! back with the receipts. `{id}` in an address stands for the id. How some systems are taught that:
//! `tests/peers`.

use std::{borrow::Cow, net::SocketAddr, sync::Arc, time::Duration};

use clap::Args;

use super::create::Create;
use crate::CommandFailure;

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Another system in place of the service [life]")]
pub(super) struct PeerArgs {
    /// Where it takes creates.
    #[arg(long, value_name = "URL", requires_all = ["peer_receipts", "provider"])]
    pub(super) peer_creates: Option<String>,
    /// Where it takes receipts.
    #[arg(long, value_name = "URL", requires = "peer_creates")]
    pub(super) peer_receipts: Option<String>,
    /// Its processes, separated by commas; what they started counts too.
    #[arg(long, value_delimiter = ',', value_name = "PID", requires = "peer_creates")]
    pub(super) peer_pids: Vec<u32>,
    /// Where the provider listens, instead of on a free port.
    #[arg(long, value_name = "ADDRESS")]
    pub(super) provider: Option<SocketAddr>,
}

/// Creates the workflow of a number, by HTTP.
pub(super) fn creator(url: &str, expiry: Duration) -> Result<Create, CommandFailure> {
    let client = reqwest::Client::builder()
        .no_proxy()
        .tcp_nodelay(true)
        .pool_max_idle_per_host(512)
        .timeout(Duration::from_secs(30))
        .build()
        .map_err(|error| CommandFailure::new(error.to_string()))?;
    let (url, expiry_ms) = (url.to_owned(), expiry.as_millis());
    Ok(Arc::new(move |number| {
        let body = format!(r#"{{"id":"{number:012}","expiry_ms":{expiry_ms}}}"#);
        let post = client
            .post(&*addressed(&url, number))
            .header(reqwest::header::CONTENT_TYPE, "application/json");
        Box::pin(async move {
            let failed = |error: reqwest::Error| format!("a create: {error}");
            let posted = post.body(body).send().await.map_err(failed)?;
            let status = posted.status();
            // Read to its end, so that the connection is used again.
            let told = posted.text().await.map_err(failed)?;
            if status.is_success() { Ok(()) } else { Err(format!("a create: {status}: {told}")) }
        })
    }))
}

/// An address with the id of a number in it.
pub(super) fn addressed(url: &str, number: u64) -> Cow<'_, str> {
    if url.contains("{id}") {
        Cow::Owned(url.replace("{id}", &format!("{number:012}")))
    } else {
        Cow::Borrowed(url)
    }
}
