//! What an answer to a harmless call says of the credential that it carried.

use std::time::Duration;

use dispatch_contract::{AdapterError, Probe, UnixMillis};

use crate::http::{HttpClient, HttpRequest, HttpResponse, Method};

/// Asks `url` by GET with a credential: 2xx says that it works, one of `refusals` (401, and 403 where that is
/// not about the path alone) that it does not.
pub async fn ask(
    client: &HttpClient,
    url: &str,
    authorization: &str,
    refusals: &[u16],
    now: UnixMillis,
    timeout: Duration,
) -> Probe {
    let call = HttpRequest {
        method: Method::GET,
        url,
        authorization: Some(authorization),
        content_type: "application/json",
        headers: &[],
        body: Vec::new(),
        timeout,
        now,
    };
    read(client.call(call).await, refusals)
}

fn read(answer: Result<HttpResponse, AdapterError>, refusals: &[u16]) -> Probe {
    match answer.map(|answer| answer.status) {
        Ok(200..=299) => Probe::Works,
        Ok(status) if refusals.contains(&status) => {
            Probe::Refused(format!("the provider answered HTTP {status}"))
        }
        Ok(status) => Probe::CannotBeAsked(format!("the provider answered HTTP {status}")),
        Err(error) => Probe::CannotBeAsked(error.detail),
    }
}
