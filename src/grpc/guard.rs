//! Who may call what: asked before a call reaches its service.
//!
//! One table says it for every method. What does not stand there is answered by nobody; health and
//! reflection are served without a guard.

use std::{
    convert::Infallible,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::future::Either;
use tonic::{
    Request, Status,
    body::Body,
    codegen::{Service, http},
    server::NamedService,
};

use super::errors::Error;
use crate::{
    access::{Access, Caller, Denied, Scope},
    engine::Engine,
};

/// How often a stream's caller is looked at again.
const LOOK_AGAIN_EVERY: Duration = Duration::from_secs(5);

/// What a method asks of its caller.
#[derive(Clone, Copy)]
enum Right {
    /// A scope, for the caller's own tenant.
    Scope(Scope),
    /// To run the service: it concerns every tenant.
    Operator,
}

/// By path.
const RIGHTS: &[(&str, Right)] = &[
    ("/dispatch.v1.DispatchService/CreateWorkflow", Right::Scope(Scope::Create)),
    ("/dispatch.v1.DispatchService/BatchCreateWorkflows", Right::Scope(Scope::Create)),
    ("/dispatch.v1.DispatchService/GetWorkflow", Right::Scope(Scope::Read)),
    ("/dispatch.v1.DispatchService/StreamStatus", Right::Scope(Scope::Read)),
    ("/dispatch.v1.DispatchService/ListWorkflows", Right::Scope(Scope::Read)),
    ("/dispatch.v1.DispatchService/ListChannels", Right::Scope(Scope::Read)),
    ("/dispatch.v1.DispatchService/CancelWorkflow", Right::Scope(Scope::Cancel)),
    ("/dispatch.v1.AccessService/CreateKey", Right::Scope(Scope::Admin)),
    ("/dispatch.v1.AccessService/ListKeys", Right::Scope(Scope::Admin)),
    ("/dispatch.v1.AccessService/RotateKey", Right::Scope(Scope::Admin)),
    ("/dispatch.v1.AccessService/RevokeKey", Right::Scope(Scope::Admin)),
    ("/dispatch.v1.AccessService/ListAudit", Right::Scope(Scope::Admin)),
    ("/dispatch.v1.ApplicationService/CreateApplication", Right::Scope(Scope::Admin)),
    ("/dispatch.v1.ApplicationService/GetApplication", Right::Scope(Scope::Admin)),
    ("/dispatch.v1.ApplicationService/ListApplications", Right::Scope(Scope::Admin)),
    ("/dispatch.v1.ApplicationService/UpdateApplication", Right::Scope(Scope::Admin)),
    ("/dispatch.v1.ApplicationService/DeleteApplication", Right::Scope(Scope::Admin)),
    ("/dispatch.v1.ApplicationService/GetCallbackSecret", Right::Scope(Scope::Admin)),
    ("/dispatch.v1.AccountService/CreateAccount", Right::Scope(Scope::Admin)),
    ("/dispatch.v1.AccountService/GetAccount", Right::Scope(Scope::Admin)),
    ("/dispatch.v1.AccountService/ListAccounts", Right::Scope(Scope::Admin)),
    ("/dispatch.v1.AccountService/UpdateAccount", Right::Scope(Scope::Admin)),
    ("/dispatch.v1.AccountService/DeleteAccount", Right::Scope(Scope::Admin)),
    ("/dispatch.v1.AccountService/LinkApplication", Right::Scope(Scope::Admin)),
    ("/dispatch.v1.AccountService/UnlinkApplication", Right::Scope(Scope::Admin)),
    ("/dispatch.v1.AdminService/Backup", Right::Operator),
    ("/dispatch.v1.AdminService/Resume", Right::Operator),
    ("/dispatch.v1.SandboxService/AdvanceClock", Right::Operator),
    ("/dispatch.v1.SandboxService/SetScript", Right::Operator),
    ("/dispatch.v1.SandboxService/ListScripts", Right::Operator),
    ("/dispatch.v1.SandboxService/ListSentMessages", Right::Operator),
];

/// Lets calls through to `S` whose caller may make them, and hands it the caller.
#[derive(Clone, Debug)]
pub struct Guarded<S> {
    service: S,
    access: Access,
    engine: Engine,
}

impl<S> Guarded<S> {
    /// In front of `service`.
    pub fn new(service: S, access: Access, engine: Engine) -> Self {
        Guarded { service, access, engine }
    }

    /// Whose call it is, if it may be made.
    fn admit<B>(&self, request: &http::Request<B>) -> Result<Caller, Error> {
        let authorization = authorization(request.headers())?;
        let caller = self.access.authenticate(authorization, self.engine.clock().wall())?;
        let path = request.uri().path();
        match RIGHTS.iter().find(|(of, _)| *of == path) {
            Some((_, Right::Scope(scope))) if caller.may(*scope) => Ok(caller),
            Some((_, Right::Scope(scope))) => Err(Denied::Forbidden(*scope).into()),
            Some((_, Right::Operator)) if caller.is_operator() => Ok(caller),
            Some((_, Right::Operator)) if caller.may(Scope::Admin) => Err(Error::OperatorOnly),
            Some((_, Right::Operator)) => Err(Denied::Forbidden(Scope::Admin).into()),
            None => Err(Error::NoSuchMethod),
        }
    }
}

/// The one `authorization` there may be.
pub(super) fn authorization(headers: &http::HeaderMap) -> Result<Option<&str>, Denied> {
    let mut all = headers.get_all(http::header::AUTHORIZATION).iter();
    match (all.next(), all.next()) {
        (None, _) => Ok(None),
        (Some(one), None) => one.to_str().map(Some).map_err(|_| {
            Denied::Invalid("the authorization metadata must be printable ASCII on one line")
        }),
        (Some(_), Some(_)) => {
            Err(Denied::Invalid("there must be one authorization metadata, and there are several"))
        }
    }
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
        match access.stands(&caller, authorization.as_deref(), engine.clock().wall()) {
            Ok(()) => {}
            // What cannot be read now is looked at again.
            Err(Denied::TooMany { .. }) => {}
            Err(denied @ (Denied::Missing | Denied::Invalid(_) | Denied::Forbidden(_))) => {
                return denied;
            }
        }
    }
}

impl<S, B> Service<http::Request<B>> for Guarded<S>
where
    S: Service<http::Request<B>, Response = http::Response<Body>, Error = Infallible>,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Either<std::future::Ready<Result<Self::Response, Infallible>>, S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, mut request: http::Request<B>) -> Self::Future {
        match self.admit(&request) {
            Ok(caller) => {
                request.extensions_mut().insert(caller);
                Either::Right(self.service.call(request))
            }
            Err(error) => {
                self.engine.metrics().refused(super::code_name(error.code()));
                Either::Left(std::future::ready(Ok(Status::from(error).into_http())))
            }
        }
    }
}

impl<S: NamedService> NamedService for Guarded<S> {
    const NAME: &'static str = S::NAME;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_of_ours_stands_in_the_table_once() {
        let pool = prost_reflect::DescriptorPool::decode(crate::pb::DESCRIPTORS).unwrap();
        let services = pool.services().filter(|service| service.package_name() == "dispatch.v1");
        let mut methods: Vec<_> = services
            .flat_map(|service| service.methods().collect::<Vec<_>>())
            .map(|method| format!("/{}/{}", method.parent_service().full_name(), method.name()))
            .collect();
        let mut known: Vec<_> = RIGHTS.iter().map(|(path, _)| (*path).to_owned()).collect();
        methods.sort();
        known.sort();
        assert_eq!(methods, known);
    }
}
