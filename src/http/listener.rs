//! Serves a router on a listener, with bounds on what a caller may hold.
//!
//! A head that does not arrive in time and a connection that asks nothing are closed; bodies are
//! bounded where they are read. So a slow caller costs one connection for a bounded time. There are
//! so many connections as its [`ConnectionPool`] has permits; when all are taken one is given up for whoever comes: what has
//! not arrived is cut off, what is worked on gets its answer, which says that it closes. Closed without
//! one, a connection that was just answered might lose a request that is on the way.

use std::{
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    Router,
    http::{HeaderValue, header::CONNECTION},
};
use hyper::{
    Request,
    body::{Body, Bytes, Frame, Incoming, SizeHint},
    server::conn::http1,
    service::{Service, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    fair::{Connection, ConnectionPool},
    tls::{Tls, TlsConnection},
};

/// How long a connection that is let go of may take to say so to the other end.
const FAREWELL: Duration = Duration::from_millis(100);

/// A listener, and how it serves.
pub struct Listener {
    /// Names it in the log.
    pub name: &'static str,
    /// Where connections come from.
    pub socket: TcpListener,
    /// How many it holds.
    pub pool: ConnectionPool,
    /// Its TLS, if it speaks it.
    pub tls: Option<Arc<Tls>>,
    /// How long a head may take to arrive, and so may a handshake, while there are permits enough.
    pub timeout: Duration,
}

/// Serves until `stop`; then what is under way is finished.
pub async fn serve(listener: Listener, router: Router, stop: CancellationToken) {
    let Listener { name, socket, pool, tls, timeout } = listener;
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(timeout);
    let connections = TaskTracker::new();
    loop {
        let (stream, permit) = tokio::select! {
            accepted = pool.accept(&socket, name) => accepted,
            () = stop.cancelled() => break,
        };
        let (router, http, tls) = (router.clone(), http.clone(), tls.clone());
        let stop = stop.clone();
        connections.spawn(async move {
            // Answers are short; waiting for more to send would only delay them.
            let _ = stream.set_nodelay(true);
            let wire = match tls {
                Some(tls) => tokio::select! {
                    shaken = tokio::time::timeout(timeout, tls.accept(stream)) => shaken,
                    () = permit.connection().let_go() => return,
                },
                None => Ok(Ok(TlsConnection::Plain(stream))),
            };
            // No TLS, cut off, or too slow: there is nobody to tell.
            if let Ok(Ok(wire)) = wire {
                connection(wire, router, http, permit.connection(), stop).await;
            }
        });
    }
    drop(socket);
    connections.close();
    connections.wait().await;
}

/// Serves one connection until it ends, its place is another's, or all is to stop.
async fn connection(
    wire: TlsConnection,
    router: Router,
    http: http1::Builder,
    held: &Arc<Connection>,
    stop: CancellationToken,
) {
    held.arriving();
    let service = TowerToHyperService::new(router);
    let service = service_fn(|mut request: Request<Incoming>| {
        request.extensions_mut().insert(Arc::clone(held));
        if request.body().is_end_stream() {
            held.working();
        } else {
            held.arriving();
        }
        let answer =
            service.call(request.map(|body| ArrivingBody { body, held: Arc::clone(held) }));
        async move {
            let mut answer = answer.await;
            if let Ok(answer) = &mut answer {
                if answer.status().is_success() {
                    held.is_known();
                }
                if held.is_wanted() {
                    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
            }
            held.rested();
            answer
        }
    });
    let mut connection = pin!(http.serve_connection(TokioIo::new(wire), service));
    let is_let_go = tokio::select! {
        biased;
        // Cut off or too slow: there is nobody to tell.
        _ = &mut connection => return,
        () = held.let_go() => true,
        () = stop.cancelled() => false,
    };
    // What is under way is finished.
    connection.as_mut().graceful_shutdown();
    if !is_let_go {
        let _ = connection.await;
    } else if !held.is_arriving() {
        let answered = async {
            loop {
                tokio::time::sleep(FAREWELL).await;
                if !held.is_working() {
                    return;
                }
            }
        };
        tokio::select! {
            _ = connection => {}
            () = answered => {}
        }
    }
}

/// A body that is arriving; once it is here the request is worked on.
struct ArrivingBody {
    body: Incoming,
    held: Arc<Connection>,
}

impl Body for ArrivingBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        // Of a body in chunks only its end tells that it is over.
        if matches!(frame, Poll::Ready(None)) || self.body.is_end_stream() {
            self.held.arrived();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
