//! Connections for gRPC, with TLS or without.

use std::{io, sync::Arc, time::Duration};

use futures_util::StreamExt;
use tokio::{net::TcpListener, time::timeout};
use tokio_stream::Stream;
use tonic::transport::server::TcpIncoming;

use crate::{
    grpc::Prompt,
    tls::{Tls, Wire},
};

/// How many may shake hands at once; what is more waits to be accepted.
const HANDSHAKES: usize = 256;
/// How long a handshake may take. Shorter than for what comes after: it holds one of few places.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(5);

/// Connections of a listener. What does not begin within `patience` is closed.
pub(super) fn incoming(
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    patience: Duration,
) -> impl Stream<Item = io::Result<Prompt>> {
    TcpIncoming::from(listener)
        .with_nodelay(Some(true))
        .map(move |accepted| {
            let tls = tls.clone();
            async move {
                let wire = match (accepted, tls) {
                    (Err(error), _) => return Some(Err(error)),
                    (Ok(stream), None) => Wire::Plain(stream),
                    (Ok(stream), Some(tls)) => {
                        // No TLS, no certificate, or too slow: there is nobody to tell.
                        let shaken = timeout(HANDSHAKE_PATIENCE, tls.accept(stream)).await;
                        let Ok(Ok(wire)) = shaken else { return None };
                        wire
                    }
                };
                Some(Ok(Prompt::new(wire, patience)))
            }
        })
        .buffer_unordered(HANDSHAKES)
        .filter_map(std::future::ready)
}
