//! Connections for gRPC, with TLS or without.

use std::{io, sync::Arc, time::Duration};

use futures_util::{StreamExt, stream};
use tokio::net::TcpListener;
use tokio_stream::Stream;

use crate::{
    fair::ConnectionPool,
    grpc::Preface,
    tls::{Tls, TlsConnection},
};

/// How long a handshake may take, while there are permits enough. Shorter than for what comes after: it
/// holds a permit.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// Connections of a listener, as many as its pool has permits. What does not begin within `timeout` is
/// closed.
pub(super) fn acceptor(
    listener: TcpListener,
    pool: ConnectionPool,
    tls: Option<Arc<Tls>>,
    timeout: Duration,
) -> impl Stream<Item = io::Result<Preface>> {
    let most = pool.most();
    let accepted = stream::unfold((listener, pool), async |(listener, pool)| {
        let accepted = pool.accept(&listener, "gRPC").await;
        Some((accepted, (listener, pool)))
    });
    accepted
        .map(move |(stream, permit)| {
            let tls = tls.clone();
            async move {
                let _ = stream.set_nodelay(true);
                let wire = match tls {
                    None => TlsConnection::Plain(stream),
                    Some(tls) => tokio::select! {
                        // No TLS, no certificate, or too slow: there is nobody to tell.
                        shaken = tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)) => shaken.ok()?.ok()?,
                        () = permit.connection().let_go() => return None,
                    },
                };
                Some(Ok(Preface::new(wire, permit, timeout)))
            }
        })
        // Each holds a permit, and one more asks them for it: handshakes keep nobody from being accepted.
        .buffer_unordered(most + 1)
        .filter_map(std::future::ready)
}
