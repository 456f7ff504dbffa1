//! Calls that are under way, and what bounds them.
//!
//! A call is under way from the moment it is let in until the last byte of its answer is taken or its
//! caller is gone: a reader that reads nothing is counted too. No tenant has more of them than are left
//! free, so that whoever comes next finds room; and of what is served to those whom nobody knows, no
//! peer has.

use std::{
    convert::Infallible,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use hyper::body::{Bytes, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep};
use tonic::{Status, body::Body, codegen::http};

use crate::{
    access::{Exceeded, LimitsByTenant},
    api::{Error, code_name},
    engine::Engine,
    fair::{ActiveRequest, Peer, Share, Shares},
};

/// What all tenants' calls share. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Calls {
    under_way: Shares<Arc<str>>,
    streams: Shares<Arc<str>>,
    limits: LimitsByTenant,
}

impl Calls {
    /// So many calls under way in all, and as many streams of a tenant as `limits` says.
    pub fn new(most: usize, limits: LimitsByTenant) -> Self {
        // Streams are calls: their own bound is the tenant's alone.
        Calls { under_way: Shares::new(most), streams: Shares::new(usize::MAX), limits }
    }

    /// Counts a tenant's call.
    pub(super) fn begin(&self, tenant: &Arc<str>) -> Result<Share<Arc<str>>, Exceeded> {
        self.under_way.take(tenant, usize::MAX).ok_or(Exceeded::Calls)
    }

    /// Counts a tenant's status stream, beside the call that it is.
    pub(super) fn stream(&self, tenant: &Arc<str>) -> Result<Share<Arc<str>>, Exceeded> {
        let most = self.limits.of(tenant).open_streams;
        let own = if most == 0 { usize::MAX } else { most };
        self.streams.take(tenant, own).ok_or(Exceeded::Streams { most })
    }
}

/// What is held while a call is under way.
#[derive(Debug)]
pub(super) enum Held {
    /// A tenant's call, and that its connection is busy with it.
    Known { _call: Share<Arc<str>>, _busy: Option<ActiveRequest> },
    /// A call of somebody nobody knows.
    Unknown { _call: Share<Option<Peer>> },
}

/// An answer that is being made.
#[derive(Debug)]
pub struct AdmittedCall<F> {
    making: F,
    engine: Engine,
    held: Option<Held>,
    timer: Option<QuietTimer>,
}

/// How long a call may be quiet, and until when it may be now.
#[derive(Debug)]
struct QuietTimer {
    quiet: Duration,
    until: Pin<Box<Sleep>>,
}

impl<F> AdmittedCall<F> {
    /// `held` is held until the answer is over.
    pub(super) fn new(making: F, engine: Engine, held: Held) -> Self {
        AdmittedCall { making, engine, held: Some(held), timer: None }
    }

    /// The same, and it is over when nothing is answered for so long.
    pub(super) fn within(mut self, quiet: Duration) -> Self {
        self.timer = Some(QuietTimer { quiet, until: Box::pin(sleep(quiet)) });
        self
    }
}

impl<F> Future for AdmittedCall<F>
where
    F: Future<Output = Result<http::Response<Body>, Infallible>> + Unpin,
{
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // A panic costs this answer, and not the connection with all others on it.
        let making = AssertUnwindSafe(|| Pin::new(&mut self.making).poll(context));
        let Ok(made) = catch_unwind(making) else {
            return Poll::Ready(Ok(panicked(&self.engine).into_http()));
        };
        match made {
            Poll::Ready(made) => {
                let (held, timer) = (self.held.take(), self.timer.take());
                let answered = |body| Body::new(AdmittedBody { body, _held: held, timer });
                Poll::Ready(made.map(|answer| answer.map(answered)))
            }
            Poll::Pending if self.timer.as_mut().is_some_and(|it| it.is_over(context)) => {
                Poll::Ready(Ok(Status::from(Error::Quiet).into_http()))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

/// The body of an answer.
struct AdmittedBody {
    body: Body,
    _held: Option<Held>,
    timer: Option<QuietTimer>,
}

impl hyper::body::Body for AdmittedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        let Some(timer) = &mut self.timer else { return frame };
        if frame.is_ready() {
            timer.begin();
        } else if timer.is_over(context) {
            // Nothing comes behind the trailers.
            self.body = Body::empty();
            self.timer = None;
            let mut trailers = http::HeaderMap::new();
            Status::from(Error::Quiet).add_header(&mut trailers)?;
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
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

impl QuietTimer {
    fn begin(&mut self) {
        let until = Instant::now() + self.quiet;
        self.until.as_mut().reset(until);
    }

    fn is_over(&mut self, context: &mut Context<'_>) -> bool {
        self.until.as_mut().poll(context).is_ready()
    }
}

/// Counts a panic of whoever was to answer, and says so.
pub(super) fn panicked(engine: &Engine) -> Status {
    engine.telemetry().handler_panicked("grpc");
    Error::Panicked.into()
}

/// Counts a refused call, and tells its caller why.
pub(super) fn refused(engine: &Engine, error: Error) -> http::Response<Body> {
    engine.metrics().refused(code_name(error.reason().code()));
    Status::from(error).into_http()
}
