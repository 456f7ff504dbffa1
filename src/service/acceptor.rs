//! Connections for gRPC, with TLS or without.

use std::{io, sync::Arc, time::Duration};

use futures_util::{StreamExt, stream};
use tokio::net::TcpListener;
use tokio_stream::Stream;

use crate::{
    fair::Places,
    grpc::Prompt,
    tls::{Tls, TlsConnection},
};

/// How long a handshake may take, while there are places enough. Shorter than for what comes after: it
/// holds a place.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// Connections of a listener, as many as there are places. What does not begin within `timeout` is
/// closed.
pub(super) fn acceptor(
    listener: TcpListener,
    places: Places,
    tls: Option<Arc<Tls>>,
    timeout: Duration,
) -> impl Stream<Item = io::Result<Prompt>> {
    let most = places.most();
    let accepted = stream::unfold((listener, places), async |(listener, places)| {
        let accepted = places.accept(&listener, "gRPC").await;
        Some((accepted, (listener, places)))
    });
    accepted
        .map(move |(stream, place)| {
            let tls = tls.clone();
            async move {
                let _ = stream.set_nodelay(true);
                let wire = match tls {
                    None => TlsConnection::Plain(stream),
                    Some(tls) => tokio::select! {
                        // No TLS, no certificate, or too slow: there is nobody to tell.
                        shaken = tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)) => shaken.ok()?.ok()?,
                        () = place.connection().let_go() => return None,
                    },
                };
                Some(Ok(Prompt::new(wire, place, timeout)))
            }
        })
        // Each holds a place, and one more asks them for it: handshakes keep nobody from being accepted.
        .buffer_unordered(most + 1)
        .filter_map(std::future::ready)
}
