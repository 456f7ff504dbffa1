//! Who sends a request, over gRPC as over HTTP: by its one credential, or, without one, because it comes
//! from this machine and means it.

use std::net::IpAddr;

use dispatch_contract::UnixMillis;
use tonic::codegen::http::{HeaderMap, Uri, header};

use crate::{
    access::{Access, Arrival, Caller, Denied},
    engine::Engine,
};

/// What proxies add to what they pass on.
const FORWARDED: [&str; 5] =
    ["forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-real-ip"];

/// Who sent the request with this target and these headers, from an address. `now` is the raw wall clock.
///
/// # Errors
/// If it is not let in.
pub(crate) fn authenticate(
    access: &Access,
    uri: &Uri,
    headers: &HeaderMap,
    from: Option<IpAddr>,
    now: UnixMillis,
) -> Result<Caller, Denied> {
    let caller = access.enter(authorization(headers)?, from, now)?;
    if caller.is_anonymous() {
        arrival(uri, headers).check()?;
    }
    Ok(caller)
}

/// The one `authorization` there may be.
pub(crate) fn authorization(headers: &HeaderMap) -> Result<Option<&str>, Denied> {
    let mut all = headers.get_all(header::AUTHORIZATION).iter();
    match (all.next(), all.next()) {
        (None, _) => Ok(None),
        (Some(one), None) => one.to_str().map(Some).map_err(|_| {
            Denied::Invalid("the Authorization header must be printable ASCII on one line")
        }),
        // Which of them counts would be a guess.
        (Some(_), Some(_)) => {
            Err(Denied::Invalid("there must be one Authorization header, and there are several"))
        }
    }
}

/// What tells where a request comes from. What cannot be read as text is taken for something foreign.
fn arrival<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Arrival<'a> {
    let text = |name: header::HeaderName| {
        let mut all = headers.get_all(name).iter().map(|value| value.to_str().unwrap_or("?"));
        let first = all.next();
        all.next().map_or(first, |_| Some("?"))
    };
    // HTTP/2 has it in the target (`:authority`), HTTP/1.1 in a header; a target that has it too wins.
    let host = uri.authority().map(|it| it.as_str()).or_else(|| text(header::HOST));
    Arrival {
        host,
        origin: text(header::ORIGIN),
        fetch_site: text(header::HeaderName::from_static("sec-fetch-site")),
        is_forwarded: FORWARDED.iter().any(|name| headers.contains_key(*name)),
    }
}

/// Counts a credential that was not taken.
pub(crate) fn count_denied(engine: &Engine, denied: &Denied) {
    match denied {
        Denied::Invalid(_) => engine.metrics().login_failed("wrong"),
        Denied::Slowed { .. } => engine.metrics().login_failed("slowed"),
        Denied::Missing
        | Denied::NoKey
        | Denied::Elsewhere(_)
        | Denied::Forbidden(_)
        | Denied::TooMany { .. } => {}
    }
}
