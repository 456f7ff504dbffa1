//! Reads what was left of a request's body when its answer is ready.
//!
//! A connection that is closed while its caller still sends is reset, and the caller sees that instead
//! of its answer. Old clients send a body with everything, and send it after the head.
//!
//! With DELETE they send one whose length they do not say (Node does not, for this method), so that it
//! stands where the next request should. No next one is let come.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::{Request, State},
    http::{HeaderValue, Method, header},
    middleware::Next,
    response::Response,
};
use futures_util::StreamExt;
use hyper::body::{Frame, SizeHint};

use super::Rest;

/// How much is read and thrown away, in bytes.
const MOST: usize = 32 * 1024 * 1024;
/// For how long. Whoever sends slower than that does not see its answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Lets the request be answered, and then reads the rest of it.
pub(super) async fn read_out(
    State(rest): State<Arc<Rest>>,
    request: Request,
    next: Next,
) -> Response {
    let (head, body) = request.into_parts();
    let is_delete = head.method == Method::DELETE;
    // Whoever asks before sending is told not to, by the answer.
    let asks_first = head.headers.contains_key(header::EXPECT);
    let body = SharedBody(Arc::new(Mutex::new(body)));
    let lent = Body::new(body.clone());
    let mut response = next.run(Request::from_parts(head, lent)).await;
    if !asks_first && !body.is_end_stream() {
        let timeout = TIMEOUT.min(rest.body_timeout);
        // Too much or too slow: there is nobody who would read.
        let _ = tokio::time::timeout(timeout, pass_over(Body::new(body))).await;
    }
    if is_delete {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

async fn pass_over(body: Body) {
    let mut came = 0;
    let mut frames = body.into_data_stream();
    while let Some(Ok(frame)) = frames.next().await {
        came += frame.len();
        if came > MOST {
            return;
        }
    }
}

/// A body that can be read on when whoever had it is done.
#[derive(Clone)]
struct SharedBody(Arc<Mutex<Body>>);

impl SharedBody {
    fn body(&self) -> MutexGuard<'_, Body> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HttpBody for SharedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut *self.body()).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body().is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body().size_hint()
    }
}
