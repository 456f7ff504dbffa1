//! `ApplicationService`: the applications of a tenant, as `/v2/applications` serves them too.

use std::sync::Arc;

use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{guard::caller, render::timestamp};
use crate::{
    access::{
        Access, Accounts, Application, ApplicationError, ApplicationSpec, Applications, Caller,
        Destinations, MessagesSpec, Name, PayloadVersion, PublicKey, Signing, Webhook, Written,
        check_url,
    },
    api::{Error, Mask, PageSize, Pages, RequestViolation, change_for_caller, token::Tokens},
    current::Current,
    engine::Engine,
    fair::DiskTurns,
    pb::v1::{
        self, CallbackPayloadVersion, CallbackSigning, CreateApplicationRequest,
        CreateApplicationResponse, DeleteApplicationRequest, DeleteApplicationResponse,
        GetApplicationRequest, GetApplicationResponse, GetCallbackSecretRequest,
        GetCallbackSecretResponse, ListApplicationsRequest, ListApplicationsResponse,
        RotateCallbackSecretRequest, RotateCallbackSecretResponse, RotateKeyPairRequest,
        RotateKeyPairResponse, UpdateApplicationRequest, UpdateApplicationResponse,
        application_service_server,
    },
};

/// The fields of an application's messages capability, as an update mask names them.
const MESSAGES_FIELDS: [&str; 4] =
    ["messages.inbound_url", "messages.status_url", "messages.payload_version", "messages.signing"];
/// Where a request says whither statuses go.
const STATUS_URL: &str = "application.messages.status_url";

/// The service.
#[derive(Clone)]
pub struct ApplicationService {
    engine: Engine,
    access: Access,
    applications: Arc<Applications>,
    accounts: Arc<Accounts>,
    destinations: Arc<Current<Destinations>>,
    turns: DiskTurns,
}

impl ApplicationService {
    /// In front of `applications`; what is linked to one is in `accounts`, and `destinations` says
    /// where one may be told of statuses.
    pub fn new(
        engine: Engine,
        access: Access,
        applications: Arc<Applications>,
        accounts: Arc<Accounts>,
        destinations: Arc<Current<Destinations>>,
        turns: DiskTurns,
    ) -> Self {
        ApplicationService { engine, access, applications, accounts, destinations, turns }
    }

    /// What is asked for, if its statuses may go where they are to.
    fn spec(&self, given: Option<v1::ApplicationSpec>) -> Result<ApplicationSpec, Error> {
        let spec = parse(given)?;
        let checked = spec.check_status_url(&self.destinations.get());
        checked
            .map_err(|why| Error::invalid("application.messages.status_url", why.to_string()))?;
        Ok(spec)
    }

    /// The caller, who may administer, and what it asks.
    fn admin<T>(&self, request: Request<T>) -> Result<(Caller, T), Status> {
        let caller = caller(&request)?;
        Ok((caller, request.into_inner()))
    }

    /// Does a change beside the runtime, and writes down who did it.
    async fn change<T: Send + 'static>(
        &self,
        caller: Caller,
        what: &'static str,
        target: String,
        change: impl FnOnce(&str) -> Result<T, ApplicationError> + Send + 'static,
    ) -> Result<T, Error> {
        let (access, now) = (self.access.clone(), self.engine.clock().wall());
        let tenant = Arc::clone(&caller.tenant);
        let change =
            move || access.audited(&caller, (what, &target), now, || change(&caller.tenant));
        change_for_caller(&self.turns, &tenant, change).await
    }
}

#[tonic::async_trait]
impl application_service_server::ApplicationService for ApplicationService {
    async fn create_application(
        &self,
        request: Request<CreateApplicationRequest>,
    ) -> Result<Response<CreateApplicationResponse>, Status> {
        let (caller, request) = self.admin(request)?;
        let spec = self.spec(request.application)?;
        let now = self.engine.clock().wall();
        let applications = Arc::clone(&self.applications);
        let name = spec.name.as_str().to_owned();
        let create = move |tenant: &str| applications.create(tenant, spec, now);
        let written = self.change(caller, "application.created", name, create).await?;
        let (application, private_key, callback_secret) = shown(written);
        Ok(Response::new(CreateApplicationResponse { application, private_key, callback_secret }))
    }

    async fn get_application(
        &self,
        request: Request<GetApplicationRequest>,
    ) -> Result<Response<GetApplicationResponse>, Status> {
        let (caller, request) = self.admin(request)?;
        let id = id(&request.application_id)?;
        let (applications, tenant) = (Arc::clone(&self.applications), Arc::clone(&caller.tenant));
        let found = change_for_caller(&self.turns, &tenant, move || {
            let found = applications.get(&caller.tenant, id)?;
            Ok::<_, ApplicationError>((found, applications.default_of(&caller.tenant)?))
        });
        let (found, default) = found.await?;
        let is_default = default == Some(found.id);
        Ok(Response::new(GetApplicationResponse { application: Some(render(found, is_default)) }))
    }

    async fn list_applications(
        &self,
        request: Request<ListApplicationsRequest>,
    ) -> Result<Response<ListApplicationsResponse>, Status> {
        let (caller, request) = self.admin(request)?;
        let size = PageSize::OF_FEW.of(request.page_size)?;
        let key = self.access.token_key().map_err(Error::Store)?;
        let tokens = Tokens::new(key, self.engine.reader().incarnation());
        let pages = Pages::of(tokens, &caller.tenant, &ListApplicationsRequest::default());
        let after = pages.after(&request.page_token, |place| Uuid::from_slice(place).ok())?;
        let applications = Arc::clone(&self.applications);
        let mut ids = applications.ids(&caller.tenant);
        ids.retain(|id| after.is_none_or(|after| *id > after));
        let is_last = ids.len() <= size;
        ids.truncate(size);
        let next_page_token = pages.next(ids.last().filter(|_| !is_last));
        let tenant = Arc::clone(&caller.tenant);
        let listed = change_for_caller(&self.turns, &tenant, move || {
            let shown = applications.of_ids(&caller.tenant, &ids)?;
            Ok::<_, ApplicationError>((shown, applications.default_of(&caller.tenant)?))
        });
        let (listed, default) = listed.await?;
        let shown = |application: Application| {
            let is_default = default == Some(application.id);
            render(application, is_default)
        };
        let applications = listed.into_iter().map(shown).collect();
        Ok(Response::new(ListApplicationsResponse { applications, next_page_token }))
    }

    async fn update_application(
        &self,
        request: Request<UpdateApplicationRequest>,
    ) -> Result<Response<UpdateApplicationResponse>, Status> {
        let (caller, request) = self.admin(request)?;
        let id = id(&request.application_id)?;
        let change = parse_change(request)?;
        let status = change.messages.as_ref().and_then(|messages| messages.status.as_ref());
        if let Some(status) = status {
            let checked = check_url(&status.address, &self.destinations.get());
            checked.map_err(|why| Error::invalid(STATUS_URL, why.to_string()))?;
        }
        let applications = Arc::clone(&self.applications);
        let update = move |tenant: &str| applications.change(tenant, id, |spec| change.apply(spec));
        let written = self.change(caller, "application.updated", id.to_string(), update).await?;
        let (application, _, callback_secret) = shown(written);
        Ok(Response::new(UpdateApplicationResponse { application, callback_secret }))
    }

    async fn rotate_key_pair(
        &self,
        request: Request<RotateKeyPairRequest>,
    ) -> Result<Response<RotateKeyPairResponse>, Status> {
        let (caller, request) = self.admin(request)?;
        let id = id(&request.application_id)?;
        let applications = Arc::clone(&self.applications);
        let rotate = move |tenant: &str| applications.rotate_key_pair(tenant, id);
        let action = "application.key_pair_rotated";
        let written = self.change(caller, action, id.to_string(), rotate).await?;
        let (application, private_key, _) = shown(written);
        Ok(Response::new(RotateKeyPairResponse { application, private_key }))
    }

    async fn delete_application(
        &self,
        request: Request<DeleteApplicationRequest>,
    ) -> Result<Response<DeleteApplicationResponse>, Status> {
        let (caller, request) = self.admin(request)?;
        let id = id(&request.application_id)?;
        let accounts = Arc::clone(&self.accounts);
        let delete = move |tenant: &str| accounts.delete_application(tenant, id);
        self.change(caller, "application.deleted", id.to_string(), delete).await?;
        Ok(Response::new(DeleteApplicationResponse {}))
    }

    async fn get_callback_secret(
        &self,
        request: Request<GetCallbackSecretRequest>,
    ) -> Result<Response<GetCallbackSecretResponse>, Status> {
        let (caller, request) = self.admin(request)?;
        let id = id(&request.application_id)?;
        let applications = Arc::clone(&self.applications);
        let action = "application.callback_secret_shown";
        let secret = self.change(caller, action, id.to_string(), move |tenant| {
            let application = applications.get(tenant, id)?;
            applications.callback_secret(&application)?.ok_or(ApplicationError::NotFound)
        });
        let callback_secret = secret.await?.expose().to_owned();
        Ok(Response::new(GetCallbackSecretResponse { callback_secret }))
    }

    async fn rotate_callback_secret(
        &self,
        request: Request<RotateCallbackSecretRequest>,
    ) -> Result<Response<RotateCallbackSecretResponse>, Status> {
        let (caller, request) = self.admin(request)?;
        let id = id(&request.application_id)?;
        let applications = Arc::clone(&self.applications);
        let rotate = move |tenant: &str| applications.rotate_callback_secret(tenant, id);
        let action = "application.callback_secret_rotated";
        let secret = self.change(caller, action, id.to_string(), rotate).await?;
        let callback_secret = secret.expose().to_owned();
        Ok(Response::new(RotateCallbackSecretResponse { callback_secret }))
    }
}

/// What is no id is the id of none.
fn id(text: &str) -> Result<Uuid, Error> {
    Uuid::try_parse(text).map_err(|_| ApplicationError::NotFound.into())
}

fn parse(given: Option<v1::ApplicationSpec>) -> Result<ApplicationSpec, Error> {
    let Some(given) = given else { return Err(Error::invalid("application", "is required")) };
    let mut violations = Vec::new();
    let name = name(&given.name, &mut violations);
    let public_key = match given.public_key.as_str() {
        "" => None,
        pem => public_key(pem, &mut violations),
    };
    let messages = given.messages.as_ref().map(|given| messages(given, &mut violations));
    match name {
        Some(name) if violations.is_empty() => Ok(ApplicationSpec {
            name,
            public_key,
            renew_key: false,
            messages,
            other_capabilities: None,
            improve_ai: None,
            is_default: given.tenant_default.then_some(true),
        }),
        Some(_) | None => Err(Error::Invalid(violations)),
    }
}

/// What an update changes.
struct ApplicationChange {
    mask: Mask,
    name: Option<Name>,
    public_key: Option<PublicKey>,
    /// As far as the mask names it or fields of it.
    messages: Option<MessagesSpec>,
    is_default: bool,
}

impl ApplicationChange {
    fn apply(self, spec: &mut ApplicationSpec) {
        let ApplicationChange { mask, name, public_key, messages, is_default } = self;
        if let Some(name) = name {
            spec.name = name;
        }
        spec.public_key = public_key;
        if mask.has("tenant_default") {
            spec.is_default = Some(is_default);
        }
        if mask.has("messages") {
            spec.messages = messages;
            return;
        }
        let given = messages.unwrap_or_default();
        for field in MESSAGES_FIELDS.iter().filter(|field| mask.has(field)) {
            let now = spec.messages.get_or_insert_default();
            match *field {
                "messages.inbound_url" => now.inbound = given.inbound.clone(),
                "messages.status_url" => now.status = given.status.clone(),
                "messages.payload_version" => now.payload_version = given.payload_version,
                // messages.signing
                _ => now.signing = given.signing,
            }
        }
    }
}

fn parse_change(request: UpdateApplicationRequest) -> Result<ApplicationChange, Error> {
    let mut known = vec!["name", "public_key", "messages", "tenant_default"];
    known.extend(MESSAGES_FIELDS);
    let mask = Mask::parse(request.update_mask, &known)?;
    let given = request.application.unwrap_or_default();
    let mut violations = Vec::new();
    let name = mask.has("name").then(|| name(&given.name, &mut violations)).flatten();
    let public_key = match given.public_key.as_str() {
        "" if mask.has("public_key") => {
            let wanted = "must be given, as the mask names it; RotateKeyPair makes a new pair";
            violations.push(RequestViolation::new("application.public_key", wanted));
            None
        }
        pem if mask.has("public_key") => public_key(pem, &mut violations),
        _ => None,
    };
    let messages = given.messages.map(|mut given| {
        // What is not named is not looked at.
        let is_named = |field: &str| mask.has("messages") || mask.has(field);
        if !is_named("messages.inbound_url") {
            given.inbound_url.clear();
        }
        if !is_named("messages.status_url") {
            given.status_url.clear();
        }
        messages(&given, &mut violations)
    });
    if violations.is_empty() {
        let is_default = given.tenant_default;
        Ok(ApplicationChange { mask, name, public_key, messages, is_default })
    } else {
        Err(Error::Invalid(violations))
    }
}

fn name(given: &str, violations: &mut Vec<RequestViolation>) -> Option<Name> {
    let wrong = |why| violations.push(RequestViolation::new("application.name", why));
    Name::parse(given).map_err(wrong).ok()
}

fn public_key(pem: &str, violations: &mut Vec<RequestViolation>) -> Option<PublicKey> {
    let wrong = |why| violations.push(RequestViolation::new("application.public_key", why));
    PublicKey::parse(pem).map_err(wrong).ok()
}

fn messages(
    given: &v1::MessagesCapability,
    violations: &mut Vec<RequestViolation>,
) -> MessagesSpec {
    let mut webhook = |field: &'static str, address: &str| match address {
        "" => None,
        _ => {
            let parsed = Webhook::parse(address);
            parsed
                .map_err(|why| violations.push(RequestViolation::new(field, why.to_string())))
                .ok()
        }
    };
    MessagesSpec {
        inbound: webhook("application.messages.inbound_url", &given.inbound_url),
        status: webhook(STATUS_URL, &given.status_url),
        payload_version: match given.payload_version() {
            CallbackPayloadVersion::Unspecified | CallbackPayloadVersion::V01 => {
                PayloadVersion::V01
            }
            CallbackPayloadVersion::V1 => PayloadVersion::V1,
        },
        signing: match given.signing() {
            CallbackSigning::Unspecified | CallbackSigning::Jwt => Signing::Jwt,
            CallbackSigning::StandardWebhooks => Signing::StandardWebhooks,
        },
    }
}

fn shown(written: Written) -> (Option<v1::Application>, String, String) {
    let text = |secret: Option<dispatch_contract::Secret>| {
        secret.map_or(String::new(), |secret| secret.expose().to_owned())
    };
    let Written { application, is_default, private_key, callback_secret } = written;
    (Some(render(application, is_default)), text(private_key), text(callback_secret))
}

fn render(application: Application, is_default: bool) -> v1::Application {
    let Application { id, name, public_key, messages, create_time_ms, .. } = application;
    let address = |webhook: Option<Webhook>| webhook.map_or(String::new(), |it| it.address);
    v1::Application {
        application_id: id.to_string(),
        name,
        public_key: public_key.unwrap_or_default(),
        messages: messages.map(|messages| v1::MessagesCapability {
            inbound_url: address(messages.inbound),
            status_url: address(messages.status),
            payload_version: match messages.payload_version {
                PayloadVersion::V01 => CallbackPayloadVersion::V01 as i32,
                PayloadVersion::V1 => CallbackPayloadVersion::V1 as i32,
            },
            signing: match messages.signing {
                Signing::Jwt => CallbackSigning::Jwt as i32,
                Signing::StandardWebhooks => CallbackSigning::StandardWebhooks as i32,
            },
        }),
        create_time: Some(timestamp(dispatch_contract::UnixMillis(create_time_ms))),
        tenant_default: is_default,
    }
}

impl std::fmt::Debug for ApplicationService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ApplicationService")
    }
}
