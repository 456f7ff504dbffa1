//! Who may call what: asked before a call reaches its service.
//!
//! One table says it for every method, and for the REST API too: `access/rights.rs`. What does not stand
//! there is answered by nobody; health and reflection are served without a guard.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::future::Either;
use tonic::{
    Request,
    body::Body,
    codegen::{Service, http},
    server::NamedService,
};

use super::calls::{AdmittedCall, Calls, Held, refused};
use crate::{
    access::{Access, Caller, Denied, scope_of_grpc},
    api::{Error, authenticate, count_denied},
    engine::{Engine, EngineError},
    fair::Connection,
};

/// How often a stream's caller is looked at again.
const LOOK_AGAIN_EVERY: Duration = Duration::from_secs(5);

/// Lets calls through to `S` whose caller may make them, and hands it the caller.
#[derive(Clone, Debug)]
pub struct Guarded<S> {
    service: S,
    access: Access,
    engine: Engine,
    calls: Calls,
}

impl<S> Guarded<S> {
    /// In front of `service`; `calls` is what all guarded services share.
    pub fn new(service: S, access: Access, engine: Engine, calls: Calls) -> Self {
        Guarded { service, access, engine, calls }
    }

    /// Whose call it is, if it may be made.
    fn admit<B>(&self, request: &http::Request<B>) -> Result<Caller, Error> {
        let now = self.engine.clock().real_wall();
        let (uri, headers) = (request.uri(), request.headers());
        let from = request.extensions().get::<Arc<Connection>>();
        let from = from.map(|connection| connection.address());
        let caller = authenticate(&self.access, uri, headers, from, now)?;
        let path = request.uri().path();
        if self.engine.is_read_only() && !only_reads(path) {
            return Err(EngineError::ReadOnly.into());
        }
        match scope_of_grpc(path) {
            Some(scope) if caller.may(scope) => Ok(caller),
            Some(scope) => Err(Denied::Forbidden(scope).into()),
            None => Err(Error::NoSuchMethod),
        }
    }
}

/// Whether a method changes nothing, an audit log included.
fn only_reads(path: &str) -> bool {
    let method = path.rsplit('/').next().unwrap_or_default();
    let reads = ["List", "Get", "Stream"].iter().any(|verb| method.starts_with(verb));
    // Who looked at a secret is written down.
    reads && method != "GetCallbackSecret"
}

/// Whom the guard let through.
///
/// # Errors
/// If there was no guard: then nobody is let through.
pub(super) fn caller<T>(request: &Request<T>) -> Result<Caller, Error> {
    request.extensions().get::<Caller>().cloned().ok_or(Error::Denied(Denied::Missing))
}

/// Ready once whoever was let in as `caller` would be let in no longer: a key may be ended, and a stream
/// has no end of its own.
pub(super) async fn shut_out(
    access: Access,
    engine: Engine,
    caller: Caller,
    authorization: Option<String>,
) -> Denied {
    loop {
        tokio::time::sleep(LOOK_AGAIN_EVERY).await;
        match access.still_authorized(&caller, authorization.as_deref(), engine.clock().real_wall())
        {
            Ok(()) => {}
            // What cannot be read now is looked at again.
            Err(Denied::TooMany { .. } | Denied::Slowed { .. }) => {}
            Err(
                denied @ (Denied::Missing
                | Denied::NoKey
                | Denied::Elsewhere(_)
                | Denied::Invalid(_)
                | Denied::Forbidden(_)),
            ) => return denied,
        }
    }
}

impl<S, B> Service<http::Request<B>> for Guarded<S>
where
    S: Service<http::Request<B>, Response = http::Response<Body>, Error = Infallible>,
    S::Future: Unpin,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future =
        Either<std::future::Ready<Result<Self::Response, Infallible>>, AdmittedCall<S::Future>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, mut request: http::Request<B>) -> Self::Future {
        let admitted = self.admit(&request).and_then(|caller| {
            let call = self.calls.begin(&caller.tenant)?;
            Ok((caller, call))
        });
        match admitted {
            Ok((caller, call)) => {
                let connection = request.extensions().get::<Arc<Connection>>();
                let busy = connection.map(|connection| {
                    connection.is_known();
                    connection.busy()
                });
                request.extensions_mut().insert(caller);
                let held = Held::Known { _call: call, _busy: busy };
                Either::Right(AdmittedCall::new(
                    self.service.call(request),
                    self.engine.clone(),
                    held,
                ))
            }
            Err(error) => {
                if let Error::Denied(denied) = &error {
                    count_denied(&self.engine, denied);
                }
                Either::Left(std::future::ready(Ok(refused(&self.engine, error))))
            }
        }
    }
}

impl<S: NamedService> NamedService for Guarded<S> {
    const NAME: &'static str = S::NAME;
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_method_of_ours_stands_in_the_table_once() {
        let pool = prost_reflect::DescriptorPool::decode(crate::pb::DESCRIPTORS).unwrap();
        let services = pool.services().filter(|service| service.package_name() == "dispatch.v1");
        let mut methods: Vec<_> = services
            .flat_map(|service| service.methods().collect::<Vec<_>>())
            .map(|method| format!("/{}/{}", method.parent_service().full_name(), method.name()))
            .collect();
        let known = crate::access::all_rights();
        let mut known: Vec<_> = known.map(|(_, it, _)| format!("/dispatch.v1.{it}")).collect();
        methods.sort();
        known.sort();
        assert_eq!(methods, known);
    }
}
