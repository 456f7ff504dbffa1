//! `AccessService`: keys, and the log of administrative acts.

use std::sync::Arc;

use dispatch_contract::UnixMillis;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{errors::Error, guard::caller, reads::change_for_caller, render};
use crate::{
    access::{AUDIT_MOST, Access, Act, Caller, KeyError, KeyView, NewKey},
    engine::Engine,
    pb::v1::{
        ApiKey, AuditEntry, CreateKeyRequest, CreateKeyResponse, ListAuditRequest,
        ListAuditResponse, ListKeysRequest, ListKeysResponse, RevokeKeyRequest, RevokeKeyResponse,
        RotateKeyRequest, RotateKeyResponse, access_service_server,
    },
};

/// How many acts are listed when no number is asked for.
const ACTS_USUAL: usize = 100;

/// The service, in front of what knows the callers.
#[derive(Clone, Debug)]
pub struct AccessService {
    access: Access,
    engine: Engine,
}

impl AccessService {
    /// `engine` has the clock, and counts what is refused.
    pub fn new(access: Access, engine: Engine) -> Self {
        AccessService { access, engine }
    }

    /// Does it beside the runtime's threads: it writes to the disk.
    async fn act<T, R: Send + 'static>(
        &self,
        request: Request<T>,
        act: impl FnOnce(&Access, &Caller, T, UnixMillis) -> Result<R, Error> + Send + 'static,
    ) -> Result<Response<R>, Status>
    where
        T: Send + 'static,
    {
        let acted = async {
            let caller = caller(&request)?;
            let (access, now) = (self.access.clone(), self.engine.clock().wall());
            let request = request.into_inner();
            let tenant = Arc::clone(&caller.tenant);
            change_for_caller(&tenant, move || act(&access, &caller, request, now)).await?
        };
        acted.await.map(Response::new).map_err(|error| {
            self.engine.metrics().refused(super::code_name(error.code()));
            error.into()
        })
    }
}

#[tonic::async_trait]
impl access_service_server::AccessService for AccessService {
    async fn create_key(
        &self,
        request: Request<CreateKeyRequest>,
    ) -> Result<Response<CreateKeyResponse>, Status> {
        self.act(request, |access, caller, request, now| {
            let CreateKeyRequest { tenant, name, scopes, application_id } = request;
            let tenant = if tenant.is_empty() { &*caller.tenant } else { &tenant };
            let usual: Vec<_> =
                access.usual_scopes()?.iter().map(|it| it.as_str().to_owned()).collect();
            let scopes = if scopes.is_empty() { usual } else { scopes };
            let application = match application_id.as_str() {
                "" => None,
                // What is no id is the id of none.
                id => Some(Uuid::try_parse(id).map_err(|_| KeyError::NoApplication)?),
            };
            let new = NewKey { application, ..NewKey::parse(tenant, &name, &scopes)? };
            let (view, secret) = access.create_key(caller, new, now)?;
            Ok(CreateKeyResponse { key: Some(shown(view)), secret: secret.reveal().to_owned() })
        })
        .await
    }

    async fn list_keys(
        &self,
        request: Request<ListKeysRequest>,
    ) -> Result<Response<ListKeysResponse>, Status> {
        self.act(request, |access, caller, ListKeysRequest { tenant }, _| {
            let whose = caller.view(&tenant)?;
            let mut keys = access.keys(caller)?;
            keys.retain(|view| whose.as_ref().is_none_or(|it| **it == *view.key.tenant));
            Ok(ListKeysResponse { keys: keys.into_iter().map(shown).collect() })
        })
        .await
    }

    async fn rotate_key(
        &self,
        request: Request<RotateKeyRequest>,
    ) -> Result<Response<RotateKeyResponse>, Status> {
        self.act(request, |access, caller, RotateKeyRequest { id, end_others }, now| {
            let (view, secret) = access.rotate_key(caller, &id, end_others, now)?;
            Ok(RotateKeyResponse { key: Some(shown(view)), secret: secret.reveal().to_owned() })
        })
        .await
    }

    async fn revoke_key(
        &self,
        request: Request<RevokeKeyRequest>,
    ) -> Result<Response<RevokeKeyResponse>, Status> {
        self.act(request, |access, caller, RevokeKeyRequest { id }, now| {
            access.revoke_key(caller, &id, now)?;
            Ok(RevokeKeyResponse {})
        })
        .await
    }

    async fn list_audit(
        &self,
        request: Request<ListAuditRequest>,
    ) -> Result<Response<ListAuditResponse>, Status> {
        self.act(request, |access, caller, ListAuditRequest { limit, tenant }, _| {
            let whose = caller.view(&tenant)?;
            let limit = match usize::try_from(limit) {
                Ok(0) => ACTS_USUAL,
                Ok(limit) if limit <= AUDIT_MOST => limit,
                Ok(_) | Err(_) => {
                    let wanted = format!("must be 0 (the usual {ACTS_USUAL}) or 1 to {AUDIT_MOST}");
                    return Err(Error::invalid("limit", wanted));
                }
            };
            let acts = access.acts(whose.as_deref(), limit)?;
            Ok(ListAuditResponse { entries: acts.into_iter().map(entry).collect() })
        })
        .await
    }
}

fn shown(KeyView { id, key, is_configured }: KeyView) -> ApiKey {
    let time = |ms| render::timestamp(UnixMillis(ms));
    ApiKey {
        id: id.to_string(),
        valid_secrets: key.valid_secrets() as u32,
        scopes: key.scopes.iter().map(|scope| scope.as_str().to_owned()).collect(),
        created_at: (!is_configured).then(|| time(key.created_at_ms)),
        rotated_at: key.rotated_at_ms.map(time),
        application_id: key.application.map_or(String::new(), |id| id.to_string()),
        tenant: key.tenant,
        name: key.name,
        configured: is_configured,
    }
}

fn entry(Act { at_ms, tenant, who, what, target }: Act) -> AuditEntry {
    AuditEntry { time: Some(render::timestamp(UnixMillis(at_ms))), who, tenant, what, target }
}
