//! `DispatchService`: parse, ask the engine, render.

mod creates;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use prost::Message;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::{
    calls::Calls,
    guard::{caller, shut_out},
    render,
    rendered::{self, RenderedRows},
    stream::{
        self, StatusStream,
        follower::{StatusFollower, StatusTarget},
    },
};
use crate::{
    access::{Access, Caller, Scope},
    api::{
        Error, PageSize, Pages, ShownContents, authorization, cancel_for_caller, code_name, parse,
        read_for_caller,
        token::{self, Position, Tokens},
    },
    engine::{Engine, EngineError},
    fair::DiskTurns,
    machine::{Progress, WorkflowId},
    pb::v1::{
        self, BatchCreateResult, BatchCreateWorkflowsRequest, BatchCreateWorkflowsResponse,
        CancelWorkflowRequest, CancelWorkflowResponse, CreateWorkflowRequest,
        CreateWorkflowResponse, GetWorkflowRequest, GetWorkflowResponse, ListChannelsRequest,
        ListChannelsResponse, ListWorkflowsRequest, ListWorkflowsResponse, StreamStart,
        StreamStatusRequest, StreamStatusResponse, WorkflowView, batch_create_result,
        dispatch_service_server,
        stream_status_request::{self, Start},
    },
    store::{Cursor, Filter, Reader},
};

/// The most requests of a batch.
const BATCH_MOST: usize = 1000;

/// How much is shown of a workflow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum View {
    Summary,
    Basic,
    Full,
}

impl View {
    /// The view that a request names in its field `view`, or the one that is usual there.
    fn parse(given: i32, usual: View) -> Result<View, Error> {
        match WorkflowView::try_from(given) {
            Ok(WorkflowView::Unspecified) => Ok(usual),
            Ok(WorkflowView::Summary) => Ok(View::Summary),
            Ok(WorkflowView::Basic) => Ok(View::Basic),
            Ok(WorkflowView::Full) => Ok(View::Full),
            Err(_) => Err(Error::invalid(
                "view",
                "must be WORKFLOW_VIEW_ and one of SUMMARY, BASIC and FULL",
            )),
        }
    }
}

/// The service, in front of an engine.
#[derive(Clone, Debug)]
pub struct DispatchService {
    engine: Engine,
    access: Access,
    calls: Calls,
    reader_timeout: Duration,
    rendered: Arc<RenderedRows>,
    turns: DiskTurns,
}

impl DispatchService {
    /// For callers whom `access` knows: each sees its tenant's workflows, over as many streams as `calls`
    /// has for it. A stream waits for its reader for `reader_timeout`.
    pub fn new(
        engine: Engine,
        access: Access,
        calls: Calls,
        reader_timeout: Duration,
        turns: DiskTurns,
    ) -> Self {
        let rendered = Arc::default();
        DispatchService { engine, access, calls, reader_timeout, rendered, turns }
    }

    /// A refused request is counted; its status says why.
    fn refuse(&self, error: Error) -> Status {
        self.engine.metrics().refused(code_name(error.reason().code()));
        error.into()
    }

    fn tokens(&self) -> Result<Tokens, Error> {
        let key = self.access.token_key().map_err(Error::Store)?;
        Ok(Tokens::new(key, self.engine.reader().incarnation()))
    }

    async fn show(
        &self,
        caller: &Caller,
        id: WorkflowId,
        view: View,
    ) -> Result<v1::Workflow, Error> {
        let found = read_for_caller(&self.turns, &self.engine, &caller.tenant, move |reader| {
            // The state first: a timeline that is a little newer is better than one that is older.
            let Some(workflow) = reader.workflow(id)? else { return Ok(None) };
            let Some(record) = reader.record(id)? else { return Ok(None) };
            let rows = match view {
                View::Summary => Vec::new(),
                View::Basic | View::Full => reader.timeline(id)?,
            };
            Ok(Some((record, workflow, rows)))
        });
        match found.await? {
            Some((record, workflow, _)) if caller.sees(&record.tenant) && view == View::Summary => {
                let has_ended = workflow.has_ended();
                let contents = ShownContents::of(&self.engine, caller, &record, has_ended);
                Ok(render::summary(&record, &workflow, &contents))
            }
            Some((record, workflow, rows)) if caller.sees(&record.tenant) => {
                let (tokens, whose) = (self.tokens()?, caller.view("")?);
                let events = |row| {
                    let audience = token::audience(&whose);
                    rendered::events(row, &workflow, &tokens, audience)
                };
                let timeline = match view {
                    View::Full => rows.iter().map(|row| &**row).flat_map(events).collect(),
                    View::Basic | View::Summary => Vec::new(),
                };
                let progress = Progress::of(&workflow, rows.iter().flat_map(|row| &row.facts));
                let has_ended = workflow.has_ended();
                let contents = ShownContents::of(&self.engine, caller, &record, has_ended);
                Ok(render::workflow(&record, &contents, &progress, timeline))
            }
            Some(_) | None => Err(EngineError::NotFound(id).into()),
        }
    }

    async fn list(
        &self,
        caller: &Caller,
        request: ListWorkflowsRequest,
    ) -> Result<ListWorkflowsResponse, Error> {
        let limit = PageSize::OF_MANY.of(request.page_size)?;
        let tokens = self.tokens()?;
        let filter =
            ListWorkflowsRequest { page_size: 0, page_token: String::new(), ..request.clone() };
        let whose = caller.view(&request.tenant)?;
        let pages = Pages::of(tokens, token::audience(&whose), &filter);
        let after = pages.after(&request.page_token, token::workflow_of)?;
        let states = parse::states(&request.states).map_err(Error::Invalid)?;
        let filter = Filter {
            tenant: whose,
            states,
            labels: request.labels,
            client_ref: Some(request.client_ref).filter(|text| !text.is_empty()),
        };
        let (engine, reads) = (self.engine.clone(), caller.clone());
        let read = move |reader: &dyn Reader| {
            let page = reader.list(&filter, after, limit)?;
            let shown = page.workflows.iter().map(|(record, workflow)| {
                let has_ended = workflow.has_ended();
                let contents = ShownContents::of(&engine, &reads, record, has_ended);
                render::summary(record, workflow, &contents)
            });
            Ok((shown.collect(), page.next))
        };
        let read = read_for_caller(&self.turns, &self.engine, &caller.tenant, read);
        let (workflows, next) = read.await?;
        let next_page_token = pages.next(next.map(token::behind_workflow));
        Ok(ListWorkflowsResponse { workflows, next_page_token })
    }

    async fn follow(
        &self,
        caller: Caller,
        authorization: Option<String>,
        request: StreamStatusRequest,
    ) -> Result<mpsc::Receiver<Result<StreamStatusResponse, Status>>, Error> {
        let counted = self.calls.stream(&caller.tenant)?;
        let tokens = self.tokens()?;
        let whose = caller.view(&request.tenant)?;
        let audience = Arc::from(token::audience(&whose));
        let late = request.follow_late_receipts;
        let target = self.target(&caller, (request.target, late), whose).await?;
        let has_token = matches!(request.start, Some(Start::ResumeToken(_)));
        let reader = self.engine.reader();
        let now = Position::behind(reader.newest());
        let position = self.start(request.start, &target, now, (&tokens, &audience))?;
        // One place more, for the error that may end it.
        let (to, events) = mpsc::channel(stream::STREAM_AHEAD + 1);
        let error_slot = to.clone().try_reserve_owned().ok();
        // Where "now" was is told at once: a reader that is cut off before the first event could
        // not come back to it, and would miss what happened meanwhile.
        let is_now = matches!(target, StatusTarget::Many { .. }) && position == now && !has_token;
        let quiet = if is_now { Duration::ZERO } else { stream::BOOKMARK_EVERY };
        let (feed, reader) = (self.engine.feed(), Arc::clone(reader));
        let stream = StatusStream {
            engine: self.engine.clone(),
            own: Arc::clone(&caller.tenant),
            audience,
            tokens,
            follower: StatusFollower::new(feed, reader, target, position, stream::ROWS),
            to,
            error_slot,
            reader_timeout: self.reader_timeout,
            rendered: Arc::clone(&self.rendered),
            turns: self.turns.clone(),
            bookmark_at: tokio::time::Instant::now() + quiet,
            _counted: Box::new((counted, self.engine.metrics().stream())),
        };
        let shut_out = shut_out(self.access.clone(), self.engine.clone(), caller, authorization);
        let (engine, end) = (self.engine.clone(), stream.to.clone());
        stream::spawn(engine, self.reader_timeout, end, stream.run(), shut_out);
        Ok(events)
    }

    /// What a stream is asked to follow.
    async fn target(
        &self,
        caller: &Caller,
        (asked, follow_late): (Option<stream_status_request::Target>, bool),
        tenant: Option<Arc<str>>,
    ) -> Result<StatusTarget, Error> {
        use stream_status_request::Target as Asked;
        match asked {
            Some(Asked::WorkflowId(id)) => {
                let id = parse::workflow_id("workflow_id", &id).map_err(Error::Invalid)?;
                // Said at once, not on a stream that stays silent.
                self.show(caller, id, View::Summary).await?;
                Ok(StatusTarget::Workflow { id, follow_late })
            }
            Some(Asked::Labels(filter)) if filter.labels.is_empty() => {
                let wanted = "must hold at least one label; to follow everything set `all`";
                Err(Error::invalid("labels.labels", wanted))
            }
            Some(Asked::Labels(filter)) => Ok(StatusTarget::Many { tenant, labels: filter.labels }),
            Some(Asked::All(_)) => Ok(StatusTarget::Many { tenant, labels: BTreeMap::new() }),
            None => {
                let wanted = "set one of workflow_id, labels and all";
                Err(Error::invalid("target", wanted))
            }
        }
    }

    /// Where a stream begins. `now` is behind the newest row.
    fn start(
        &self,
        start: Option<Start>,
        target: &StatusTarget,
        now: Position,
        (tokens, audience): (&Tokens, &str),
    ) -> Result<Position, Error> {
        let reader = self.engine.reader();
        match (start, target) {
            (Some(Start::ResumeToken(token)), _) => {
                let position = tokens.position(audience, &token)?;
                // A folder that was restored from a backup keeps its name, and has lost its newest.
                if position.cursor > reader.newest() {
                    return Err(Error::TokenForeign);
                }
                StatusFollower::resume(&**reader, target, position).map_err(|oldest| {
                    Error::TokenTooOld { oldest: tokens.resume(audience, oldest) }
                })
            }
            (Some(Start::Position(start)), _) if StreamStart::try_from(start).is_err() => {
                let wanted = "must be STREAM_START_NOW or STREAM_START_BEGINNING";
                Err(Error::invalid("position", wanted))
            }
            (Some(Start::Position(start)), _) if start == StreamStart::Now as i32 => Ok(now),
            // One workflow's stream starts with what already happened to it.
            (Some(Start::Position(_)) | None, StatusTarget::Workflow { .. }) => {
                Ok(Position { cursor: Cursor(0), seen: 0 })
            }
            (Some(Start::Position(start)), _) if start == StreamStart::Beginning as i32 => {
                Ok(Position::behind(reader.oldest()))
            }
            (Some(Start::Position(_)) | None, StatusTarget::Many { .. }) => Ok(now),
        }
    }
}

#[tonic::async_trait]
impl dispatch_service_server::DispatchService for DispatchService {
    async fn create_workflow(
        &self,
        request: Request<CreateWorkflowRequest>,
    ) -> Result<Response<CreateWorkflowResponse>, Status> {
        let created = async {
            let caller = caller(&request)?;
            self.create(&caller, request.into_inner()).await
        };
        created.await.map(Response::new).map_err(|error| self.refuse(error))
    }

    async fn get_workflow(
        &self,
        request: Request<GetWorkflowRequest>,
    ) -> Result<Response<GetWorkflowResponse>, Status> {
        let shown = async {
            let caller = caller(&request)?;
            let request = request.into_inner();
            let id =
                parse::workflow_id("workflow_id", &request.workflow_id).map_err(Error::Invalid)?;
            let view = View::parse(request.view, View::Basic)?;
            self.show(&caller, id, view).await
        };
        match shown.await {
            Ok(workflow) => Ok(Response::new(GetWorkflowResponse { workflow: Some(workflow) })),
            Err(error) => Err(self.refuse(error)),
        }
    }

    type StreamStatusStream = ReceiverStream<Result<StreamStatusResponse, Status>>;

    async fn stream_status(
        &self,
        request: Request<StreamStatusRequest>,
    ) -> Result<Response<Self::StreamStatusStream>, Status> {
        let events = async {
            let caller = caller(&request)?;
            let authorization = authorization(request.metadata().as_ref())?.map(str::to_owned);
            self.follow(caller, authorization, request.into_inner()).await
        };
        events
            .await
            .map(|events| Response::new(ReceiverStream::new(events)))
            .map_err(|error| self.refuse(error))
    }

    async fn list_workflows(
        &self,
        request: Request<ListWorkflowsRequest>,
    ) -> Result<Response<ListWorkflowsResponse>, Status> {
        let listed = async {
            let caller = caller(&request)?;
            self.list(&caller, request.into_inner()).await
        };
        listed.await.map(Response::new).map_err(|error| self.refuse(error))
    }

    async fn cancel_workflow(
        &self,
        request: Request<CancelWorkflowRequest>,
    ) -> Result<Response<CancelWorkflowResponse>, Status> {
        let canceled = async {
            let caller = caller(&request)?;
            let request = request.into_inner();
            let id =
                parse::workflow_id("workflow_id", &request.workflow_id).map_err(Error::Invalid)?;
            let canceled =
                cancel_for_caller(&self.turns, &self.engine, &self.access, &caller, id).await?;
            let workflow = if caller.may(Scope::Read) {
                self.show(&caller, id, View::Basic).await?
            } else {
                let state = v1::WorkflowState::Canceled as i32;
                v1::Workflow { workflow_id: id.to_string(), state, ..v1::Workflow::default() }
            };
            Ok(CancelWorkflowResponse {
                workflow: Some(workflow),
                started_attempt_ids: canceled.started.iter().map(ToString::to_string).collect(),
            })
        };
        canceled.await.map(Response::new).map_err(|error| self.refuse(error))
    }

    async fn batch_create_workflows(
        &self,
        request: Request<BatchCreateWorkflowsRequest>,
    ) -> Result<Response<BatchCreateWorkflowsResponse>, Status> {
        let caller = caller(&request).map_err(|error| self.refuse(error))?;
        let requests = request.into_inner().requests;
        if !(1..=BATCH_MOST).contains(&requests.len()) {
            let wanted =
                format!("must hold 1 to {BATCH_MOST} requests, and holds {}", requests.len());
            return Err(self.refuse(Error::invalid("requests", wanted)));
        }
        let results = self.create_all(&caller, requests).await;
        let results = results.map_err(|error| self.refuse(error))?;
        let results = results.into_iter().map(|result| BatchCreateResult {
            result: Some(match result {
                Ok(created) => batch_create_result::Result::Created(created),
                Err(error) => {
                    self.engine.metrics().refused(code_name(error.reason().code()));
                    batch_create_result::Result::Error(as_message(&error.into()))
                }
            }),
        });
        Ok(Response::new(BatchCreateWorkflowsResponse { results: results.collect() }))
    }

    async fn list_channels(
        &self,
        request: Request<ListChannelsRequest>,
    ) -> Result<Response<ListChannelsResponse>, Status> {
        let listed = caller(&request).and_then(|caller| {
            let whose = caller.view(&request.get_ref().tenant)?;
            let routes = self.engine.routes();
            Ok(render::channels(&routes, whose.as_deref(), caller.is_operator()))
        });
        let channels = listed.map_err(|error| self.refuse(error))?;
        Ok(Response::new(ListChannelsResponse { channels }))
    }
}

/// A status as a message of the API, with its details.
fn as_message(status: &Status) -> tonic_types::Status {
    // Ours are written by `Error`, and tonic keeps them encoded; one that cannot be read had none.
    tonic_types::Status::decode(status.details()).unwrap_or_else(|_| tonic_types::Status {
        code: status.code() as i32,
        message: status.message().to_owned(),
        details: Vec::new(),
    })
}
