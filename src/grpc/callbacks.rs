//! `CallbackService`: callbacks that are kept, and sending them once more.

use std::sync::Arc;

use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{guard::caller, render::timestamp};
use crate::{
    access::Access,
    api::{
        Error, PageSize, Pages, note,
        token::{Tokens, audience},
    },
    callbacks::{Callback, CallbackFilter, CallbackId, CallbackQueries, DeliveryState, Subject},
    engine::Engine,
    fair::DiskTurns,
    machine::Moment,
    pb::v1::{
        self, CallbackState, CallbackSubject, ListCallbacksRequest, ListCallbacksResponse,
        ResendCallbackRequest, ResendCallbackResponse, callback_service_server,
        resend_callback_request,
    },
    store::StoreError,
};

/// The service, in front of what is kept.
#[derive(Clone, Debug)]
pub struct CallbackService {
    queries: CallbackQueries,
    access: Access,
    engine: Engine,
    turns: DiskTurns,
}

impl CallbackService {
    /// In front of `queries`. `access` has the key of page tokens and writes down what is resent; `engine`
    /// has the store that they are of.
    pub fn new(queries: CallbackQueries, access: Access, engine: Engine, turns: DiskTurns) -> Self {
        CallbackService { queries, access, engine, turns }
    }

    /// Works beside the runtime's own threads, in its caller's turn: it may wait for the disk.
    async fn blocking<T: Send + 'static>(
        &self,
        own: &Arc<str>,
        whose: &Option<Arc<str>>,
        work: impl FnOnce(&CallbackQueries, Option<&str>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Error> {
        let (queries, whose) = (self.queries.clone(), whose.clone());
        self.turns
            .change(own, move || work(&queries, whose.as_deref()))
            .await?
            .map_err(Error::Store)
    }
}

#[tonic::async_trait]
impl callback_service_server::CallbackService for CallbackService {
    async fn list_callbacks(
        &self,
        request: Request<ListCallbacksRequest>,
    ) -> Result<Response<ListCallbacksResponse>, Status> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let (which, limit) = parse(&request)?;
        let tenant = caller.view(&request.tenant).map_err(Error::from)?;
        let key = self.access.token_key().map_err(Error::Store)?;
        let tokens = Tokens::new(key, self.engine.reader().incarnation());
        let filter =
            ListCallbacksRequest { page_size: 0, page_token: String::new(), ..request.clone() };
        let pages = Pages::of(tokens, audience(&tenant), &filter);
        let after = pages.after(&request.page_token, callback_of)?;
        let found = self
            .blocking(&caller.tenant, &tenant, move |queries, tenant| {
                queries.list(tenant, which, after, limit)
            })
            .await?;
        let now = self.queries.now();
        let callbacks =
            found.callbacks.iter().map(|(id, callback)| shown(*id, callback, now)).collect();
        let next_page_token = pages.next(found.next.map(behind_callback));
        Ok(Response::new(ListCallbacksResponse { callbacks, next_page_token }))
    }

    async fn resend_callback(
        &self,
        request: Request<ResendCallbackRequest>,
    ) -> Result<Response<ResendCallbackResponse>, Status> {
        let caller = caller(&request)?;
        let tenant = caller.view("").map_err(Error::from)?;
        let (target, count, whose) = match request.into_inner().which {
            Some(resend_callback_request::Which::CallbackId(id)) => {
                let id: CallbackId = id.parse().map_err(|_| {
                    Error::invalid(
                        "callback_id",
                        "must be a callback's id, as ListCallbacks tells it",
                    )
                })?;
                let resent = self.blocking(&caller.tenant, &tenant, move |queries, tenant| {
                    queries.resend(tenant, id)
                });
                let Some(whose) = resent.await? else { return Err(Error::NoCallback.into()) };
                (id.to_string(), 1, Some(whose))
            }
            Some(resend_callback_request::Which::ApplicationId(id)) => {
                let id = uuid("application_id", &id)?;
                let resent = self.blocking(&caller.tenant, &tenant, move |queries, tenant| {
                    queries.resend_dead_lettered(tenant, id)
                });
                let (count, whose) = resent.await?;
                (id.to_string(), count, whose)
            }
            None => {
                let wanted = "must be given, or application_id";
                return Err(Error::invalid("callback_id", wanted).into());
            }
        };
        if let Some(whose) = whose {
            let caller = caller.at(&whose);
            note(&self.turns, &self.engine, &self.access, caller, "callback.resent", target)
                .await?;
        }
        Ok(Response::new(ResendCallbackResponse { resent: count as u64 }))
    }
}

fn parse(request: &ListCallbacksRequest) -> Result<(CallbackFilter, usize), Error> {
    let mut filter = CallbackFilter::default();
    if !request.workflow_id.is_empty() {
        let wanted = "must be empty, or the id of a workflow or an inbound message";
        let id = Uuid::try_parse(&request.workflow_id);
        filter.about = Some(id.map_err(|_| Error::invalid("workflow_id", wanted))?);
    }
    if !request.application_id.is_empty() {
        filter.application = Some(uuid("application_id", &request.application_id)?);
    }
    filter.is_dead_lettered = match CallbackState::try_from(request.state) {
        Ok(CallbackState::Unspecified) => None,
        Ok(CallbackState::Waiting) => Some(false),
        Ok(CallbackState::DeadLettered) => Some(true),
        Err(_) => return Err(Error::invalid("state", "must be a CallbackState")),
    };
    let limit = PageSize::OF_MANY.of(request.page_size)?;
    Ok((filter, limit))
}

/// The place behind a callback, in a list of them.
fn behind_callback(last: CallbackId) -> Vec<u8> {
    [&last.about.as_bytes()[..], &last.sequence.to_be_bytes()].concat()
}

/// The callback that a place is behind.
fn callback_of(place: &[u8]) -> Option<CallbackId> {
    let (about, sequence) = place.split_at_checked(16)?;
    let sequence = u32::from_be_bytes(sequence.try_into().ok()?);
    Some(CallbackId { about: Uuid::from_slice(about).ok()?, sequence })
}

fn uuid(field: &'static str, text: &str) -> Result<Uuid, Error> {
    Uuid::try_parse(text).map_err(|_| Error::invalid(field, "must be an application's id, a UUID"))
}

fn shown(id: CallbackId, callback: &Callback, now: Moment) -> v1::Callback {
    let timestamp = |at| timestamp(now.wall_at(at));
    let (state, next_try_at, given_up_at) = match callback.state {
        DeliveryState::Waiting(at) => (CallbackState::Waiting, Some(timestamp(at)), None),
        DeliveryState::DeadLettered(at) => (CallbackState::DeadLettered, None, Some(timestamp(at))),
    };
    let (of_workflow, of_message) = match callback.subject {
        Subject::Status | Subject::Report => (id.about.to_string(), String::new()),
        Subject::Inbound => (String::new(), id.about.to_string()),
    };
    let subject = match callback.subject {
        Subject::Status => CallbackSubject::MessageStatus,
        Subject::Report => CallbackSubject::FinalReport,
        Subject::Inbound => CallbackSubject::InboundMessage,
    };
    v1::Callback {
        callback_id: id.to_string(),
        workflow_id: of_workflow,
        message_id: of_message,
        application_id: callback.application.to_string(),
        subject: subject as i32,
        state: state as i32,
        create_time: Some(timestamp(callback.create_time)),
        attempt_count: callback.attempt_count,
        next_attempt_time: next_try_at,
        dead_letter_time: given_up_at,
        tenant: callback.tenant.to_string(),
        last_error: callback.last_failure.map(|failure| failure.to_string()).unwrap_or_default(),
    }
}
