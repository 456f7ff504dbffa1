//! Serves a router on a listener, with bounds on what a caller may hold.
//!
//! A head that does not arrive in time and a connection that asks nothing are closed; bodies are
//! bounded where they are read. So a slow caller costs one connection for a bounded time. There are
//! at most [`CONNECTIONS`] of them: what is more waits in the system's queue, and does not take the
//! files that gRPC and the store need.

use std::{io::ErrorKind, sync::Arc, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::sync::CancellationToken;

use crate::tls::{Tls, Wire};

/// How many connections one listener holds.
const CONNECTIONS: usize = 512;

/// Serves until `stop`; then what is under way is finished. A head may take `patience` to arrive, and
/// so may a handshake.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    router: Router,
    patience: Duration,
    stop: CancellationToken,
) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(patience);
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let graceful = GracefulShutdown::new();
    loop {
        let accepted = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (listener.accept().await, place)
        };
        let (accepted, place) = tokio::select! {
            accepted = accepted => accepted,
            () = stop.cancelled() => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            // The caller's trouble, and gone with it.
            Err(error) if is_callers(error.kind()) => continue,
            Err(error) => {
                // Out of files, most likely: some may be closed by then.
                tracing::error!(%error, "an HTTP connection could not be accepted");
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            }
        };
        // Answers are short; waiting for more to send would only delay them.
        let _ = stream.set_nodelay(true);
        let service = TowerToHyperService::new(router.clone());
        let (http, tls, watcher) = (http.clone(), tls.clone(), graceful.watcher());
        tokio::spawn(async move {
            let _place = place;
            let wire = match tls {
                Some(tls) => tokio::time::timeout(patience, tls.accept(stream)).await,
                None => Ok(Ok(Wire::Plain(stream))),
            };
            // No TLS, cut off, or too slow: there is nobody to tell.
            let Ok(Ok(wire)) = wire else { return };
            let _ = watcher.watch(http.serve_connection(TokioIo::new(wire), service)).await;
        });
    }
    drop(listener);
    graceful.shutdown().await;
}

fn is_callers(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::ConnectionRefused
    )
}
