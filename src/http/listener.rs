//! Serves a router on a listener, with bounds on what a caller may hold.
//!
//! A head that does not arrive in time and a connection that asks nothing are closed; bodies are
//! bounded where they are read. So a slow caller costs one connection for a bounded time. There are
//! at most [`CONNECTIONS`] of them, so that they do not take the files that gRPC and the store need.
//! Whoever comes when all places are taken waits in the system's queue until one of the others is
//! closed for it: with the answer to its next request, which says so, or once it has been idle for a
//! while. Closed at once, it might lose a request that is just on the way.

use std::{
    io::ErrorKind,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    http::{HeaderValue, header::CONNECTION},
};
use hyper::{
    server::conn::http1,
    service::{Service, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::TcpListener,
    sync::{Notify, OwnedSemaphorePermit, Semaphore, watch},
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::tls::{Tls, Wire};

/// How many connections one listener holds.
const CONNECTIONS: usize = 512;
/// How often another connection is asked for its place.
const ASK_EVERY: Duration = Duration::from_millis(5);
/// How long an idle connection is let be before it may be closed for another.
const LET_BE: Duration = Duration::from_secs(1);
/// How much longer if it has never asked anything: in a crowd its first packets may be lost, and TCP
/// repeats them after one second, and then after two.
const LET_BEGIN: Duration = Duration::from_secs(3);

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
    let crowded = Arc::new(Notify::new());
    let connections = TaskTracker::new();
    loop {
        let accepted = async {
            let accepted = listener.accept().await;
            (accepted, place(&places, &crowded).await)
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
        let (router, http, tls) = (router.clone(), http.clone(), tls.clone());
        let (crowded, stop) = (Arc::clone(&crowded), stop.clone());
        connections.spawn(async move {
            // Answers are short; waiting for more to send would only delay them.
            let _ = stream.set_nodelay(true);
            let wire = match tls {
                Some(tls) => tokio::time::timeout(patience, tls.accept(stream)).await,
                None => Ok(Ok(Wire::Plain(stream))),
            };
            // No TLS, cut off, or too slow: there is nobody to tell.
            if let Ok(Ok(wire)) = wire {
                connection(wire, router, http, &crowded, stop).await;
            }
            drop(place);
        });
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

/// A place for a connection; where all are taken, the others are asked for one.
async fn place(places: &Arc<Semaphore>, crowded: &Notify) -> Option<OwnedSemaphorePermit> {
    let mut place = pin!(Arc::clone(places).acquire_owned());
    loop {
        match tokio::time::timeout(ASK_EVERY, place.as_mut()).await {
            // Never closed.
            Ok(place) => return place.ok(),
            // Whoever was asked before may be busy.
            Err(_) => crowded.notify_one(),
        }
    }
}

/// Serves one connection until it ends, its place is wanted, or all is to stop.
async fn connection(
    wire: Wire,
    router: Router,
    http: http1::Builder,
    crowded: &Notify,
    stop: CancellationToken,
) {
    let idle_since = watch::Sender::new(Some(Instant::now() + LET_BEGIN));
    let is_wanted = AtomicBool::new(false);
    let service = TowerToHyperService::new(router);
    let service = service_fn(|request| {
        idle_since.send_replace(None);
        let (answer, idle_since, is_wanted) = (service.call(request), &idle_since, &is_wanted);
        async move {
            let mut answer = answer.await;
            if is_wanted.load(Ordering::Relaxed)
                && let Ok(answer) = &mut answer
            {
                answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            idle_since.send_replace(Some(Instant::now()));
            answer
        }
    });
    let mut connection = pin!(http.serve_connection(TokioIo::new(wire), service));
    let idle_and_wanted = async {
        crowded.notified().await;
        is_wanted.store(true, Ordering::Relaxed);
        let mut idle = idle_since.subscribe();
        loop {
            let since = *idle.borrow_and_update();
            let rested = async {
                match since {
                    Some(since) => tokio::time::sleep_until(since + LET_BE).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = rested => return,
                _ = idle.changed() => {}
            }
        }
    };
    // Cut off or too slow: there is nobody to tell.
    tokio::select! {
        _ = &mut connection => return,
        () = idle_and_wanted => {}
        () = stop.cancelled() => {}
    }
    // What is under way is finished.
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}

fn is_callers(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::ConnectionRefused
    )
}
