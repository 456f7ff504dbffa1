//! `AccessService`: keys, and the log of administrative acts.

use std::sync::Arc;

use dispatch_contract::UnixMillis;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{guard::caller, render};
use crate::{
    access::{
        Access, AuditEntry, AuditFilter, AuditPage, Caller, KeyError, KeyView, NewKey, Rotation,
        RotationProgress,
    },
    api::{Error, FieldAt, PageSize, Pages, code_name, token::Tokens},
    engine::Engine,
    fair::DiskTurns,
    pb::v1::{
        self, ApiKey, CreateKeyRequest, CreateKeyResponse, GetMasterKeyRotationRequest,
        GetMasterKeyRotationResponse, ListAuditRequest, ListAuditResponse, ListKeysRequest,
        ListKeysResponse, MasterKeyRotation, RevokeKeyRequest, RevokeKeyResponse, RotateKeyRequest,
        RotateKeyResponse, RotateMasterKeyRequest, RotateMasterKeyResponse, access_service_server,
    },
};

/// The service, in front of what knows the callers.
#[derive(Clone, Debug)]
pub struct AccessService {
    access: Access,
    engine: Engine,
    rotation: Arc<Rotation>,
    turns: DiskTurns,
}

impl AccessService {
    /// `engine` has the clock, and counts what is refused; `rotation` changes the master key.
    pub fn new(access: Access, engine: Engine, rotation: Arc<Rotation>, turns: DiskTurns) -> Self {
        AccessService { access, engine, rotation, turns }
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
            self.turns.change(&tenant, move || act(&access, &caller, request, now)).await?
        };
        acted.await.map(Response::new).map_err(|error| {
            self.engine.metrics().refused(code_name(error.reason().code()));
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
            let usual = access.usual_scopes()?.iter().copied().map(render::scope);
            let scopes = match scopes.as_slice() {
                [] => usual.collect(),
                scopes => parse_scopes(scopes)?,
            };
            let scopes = scopes.iter().map(|scope| scope.short_name().to_ascii_lowercase());
            let application = match application_id.as_str() {
                "" => None,
                // What is no id is the id of none.
                id => Some(Uuid::try_parse(id).map_err(|_| KeyError::NoApplication)?),
            };
            let new = NewKey { application, ..NewKey::parse(tenant, &name, scopes)? };
            let (view, secret) = access.create_key(caller, new, now)?;
            Ok(CreateKeyResponse { key: Some(shown(view)), secret: secret.expose().to_owned() })
        })
        .await
    }

    async fn list_keys(
        &self,
        request: Request<ListKeysRequest>,
    ) -> Result<Response<ListKeysResponse>, Status> {
        let incarnation = self.engine.reader().incarnation();
        self.act(request, move |access, caller, request, _| {
            let size = PageSize::OF_SMALL.of(request.page_size)?;
            let whose = caller.view(&request.tenant)?;
            let tokens = Tokens::new(access.token_key()?, incarnation);
            let list =
                ListKeysRequest { page_size: 0, page_token: String::new(), ..request.clone() };
            let pages = Pages::of(tokens, &caller.tenant, &list);
            let read = |place: &[u8]| String::from_utf8(place.to_vec()).ok();
            let after = pages.after(&request.page_token, read)?;
            let mut keys = access.keys(caller)?;
            keys.retain(|view| whose.as_ref().is_none_or(|it| **it == *view.key.tenant));
            keys.retain(|view| after.as_ref().is_none_or(|after| view.id.to_string() > *after));
            let has_more = keys.len() > size;
            keys.truncate(size);
            let last = keys.last().filter(|_| has_more).map(|view| view.id.to_string());
            let next_page_token = pages.next(last);
            Ok(ListKeysResponse { keys: keys.into_iter().map(shown).collect(), next_page_token })
        })
        .await
    }

    async fn rotate_key(
        &self,
        request: Request<RotateKeyRequest>,
    ) -> Result<Response<RotateKeyResponse>, Status> {
        self.act(request, |access, caller, RotateKeyRequest { key_id: id, end_others }, now| {
            let (view, secret) = access.rotate_key(caller, &id, end_others, now)?;
            Ok(RotateKeyResponse { key: Some(shown(view)), secret: secret.expose().to_owned() })
        })
        .await
    }

    async fn revoke_key(
        &self,
        request: Request<RevokeKeyRequest>,
    ) -> Result<Response<RevokeKeyResponse>, Status> {
        self.act(request, |access, caller, RevokeKeyRequest { key_id: id }, now| {
            access.revoke_key(caller, &id, now)?;
            Ok(RevokeKeyResponse {})
        })
        .await
    }

    async fn rotate_master_key(
        &self,
        request: Request<RotateMasterKeyRequest>,
    ) -> Result<Response<RotateMasterKeyResponse>, Status> {
        let rotation = Arc::clone(&self.rotation);
        self.act(request, move |_, caller, RotateMasterKeyRequest {}, now| {
            let progress = rotation.begin(caller, now)?;
            // On a thread of its own: it takes as long as there are secrets.
            tokio::task::spawn_blocking(move || {
                if let Err(error) = rotation.run(now) {
                    tracing::error!(%error, "secrets could not be encrypted anew; both master keys are kept");
                }
            });
            Ok(RotateMasterKeyResponse { rotation: Some(told(progress)) })
        })
        .await
    }

    async fn get_master_key_rotation(
        &self,
        request: Request<GetMasterKeyRotationRequest>,
    ) -> Result<Response<GetMasterKeyRotationResponse>, Status> {
        let rotation = Arc::clone(&self.rotation);
        self.act(request, move |_, _, GetMasterKeyRotationRequest {}, _| {
            Ok(GetMasterKeyRotationResponse { rotation: Some(told(rotation.progress())) })
        })
        .await
    }

    async fn list_audit(
        &self,
        request: Request<ListAuditRequest>,
    ) -> Result<Response<ListAuditResponse>, Status> {
        let incarnation = self.engine.reader().incarnation();
        self.act(request, move |access, caller, request, _| {
            let size = PageSize::OF_SMALL.of(request.page_size)?;
            let filter = filter(caller, &request)?;
            let tokens = Tokens::new(access.token_key()?, incarnation);
            let list =
                ListAuditRequest { page_size: 0, page_token: String::new(), ..request.clone() };
            let pages = Pages::of(tokens, &caller.tenant, &list);
            let before = pages.after(&request.page_token, |place| place.try_into().ok())?;
            let AuditPage { entries, next } = access.audit_page(&filter, before, size)?;
            Ok(ListAuditResponse {
                entries: entries.into_iter().map(entry).collect(),
                next_page_token: pages.next(next),
            })
        })
        .await
    }
}

fn parse_scopes(scopes: &[i32]) -> Result<Vec<v1::Scope>, Error> {
    let parsed = scopes.iter().enumerate().map(|(index, scope)| {
        let known = v1::Scope::try_from(*scope).ok().filter(|it| *it != v1::Scope::Unspecified);
        known.ok_or_else(|| {
            let wanted = "must be SCOPE_ and one of CREATE, READ, CANCEL, ADMIN and OPERATOR";
            Error::invalid(FieldAt::of("scopes").index(index), wanted)
        })
    });
    parsed.collect()
}

fn shown(KeyView { id, key, is_configured }: KeyView) -> ApiKey {
    let time = |ms| render::timestamp(UnixMillis(ms));
    ApiKey {
        key_id: id.to_string(),
        valid_secrets: key.valid_secrets() as u32,
        scopes: key.scopes.iter().map(|scope| render::scope(*scope) as i32).collect(),
        create_time: (!is_configured).then(|| time(key.create_time_ms)),
        rotate_time: key.rotated_at_ms.map(time),
        application_id: key.application.map_or(String::new(), |id| id.to_string()),
        tenant: key.tenant,
        name: key.name,
        configured: is_configured,
    }
}

fn told(
    RotationProgress { is_under_way, done, total, unreadable }: RotationProgress,
) -> MasterKeyRotation {
    MasterKeyRotation { under_way: is_under_way, done, total, unreadable }
}

/// Which entries a caller asks for, of those that it may see: its tenant's, or for an operator all.
fn filter(caller: &Caller, request: &ListAuditRequest) -> Result<AuditFilter, Error> {
    let tenant = caller.view(&request.tenant)?;
    let actor = Some(request.actor.clone()).filter(|actor| !actor.is_empty());
    // What was before the epoch is everything.
    let since_ms = request.start_time.as_ref().map_or(0, |since| {
        let ms = i128::from(since.seconds) * 1000 + i128::from(since.nanos) / 1_000_000;
        u64::try_from(ms.max(0)).unwrap_or(u64::MAX)
    });
    Ok(AuditFilter { tenant, actor, since_ms })
}

fn entry(entry: AuditEntry) -> v1::AuditEntry {
    let AuditEntry { at_ms, tenant, actor, action, target, source, result, .. } = entry;
    let time = Some(render::timestamp(UnixMillis(at_ms)));
    v1::AuditEntry { time, actor, tenant, action, target, source, result }
}
