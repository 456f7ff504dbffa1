//! Services that nobody is asked for a key at: health and reflection.
//!
//! So what they hold is bounded by who calls, as far as an address tells, and a call that is quiet for
//! too long is over.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::future::Either;
use tonic::{
    body::Body,
    codegen::{Service, http},
    server::NamedService,
};

use super::calls::{AdmittedCall, Held, refused};
use crate::{
    access::Exceeded,
    api::Error,
    engine::Engine,
    fair::{Connection, Peer, Shares},
};

/// Lets calls through to `S` from whoever makes them, so many at once.
#[derive(Clone, Debug)]
pub struct Unguarded<S> {
    service: S,
    engine: Engine,
    under_way: Shares<Option<Peer>>,
    quiet: Option<Duration>,
}

impl<S> Unguarded<S> {
    /// In front of `service`: at most `most` calls in all. One at which nothing is answered for `quiet` is
    /// over, if that is given.
    pub fn new(service: S, engine: Engine, most: usize, quiet: Option<Duration>) -> Self {
        Unguarded { service, engine, under_way: Shares::new(most), quiet }
    }
}

impl<S, B> Service<http::Request<B>> for Unguarded<S>
where
    S: Service<http::Request<B>, Response = http::Response<Body>, Error = Infallible>,
    S::Future: Unpin,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Either<Ready<Result<Self::Response, Infallible>>, AdmittedCall<S::Future>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let connection = request.extensions().get::<Arc<Connection>>();
        let peer = connection.map(|connection| Peer::from(connection.address()));
        let Some(call) = self.under_way.take(&peer, usize::MAX) else {
            let answer = refused(&self.engine, Error::Exceeded(Exceeded::Calls));
            return Either::Left(ready(Ok(answer)));
        };
        let held = Held::Unknown { _call: call };
        let making = self.service.call(request);
        let answer = AdmittedCall::new(making, self.engine.clone(), held);
        Either::Right(match self.quiet {
            Some(quiet) => answer.within(quiet),
            None => answer,
        })
    }
}

impl<S: NamedService> NamedService for Unguarded<S> {
    const NAME: &'static str = S::NAME;
}
