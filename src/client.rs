//! A small client for other Rust programs: create, get, list, cancel, and a watch that resumes.
//!
//! It is the generated client with a few conveniences; [`Client::raw`] gives that itself.

mod credential;

use std::time::Duration;

pub use credential::Credential;
use tonic::{
    Code, Status,
    service::interceptor::InterceptedService,
    transport::{Channel, Endpoint},
};

use crate::pb::v1::{
    self, BackupRequest, BackupResponse, CancelWorkflowRequest, CancelWorkflowResponse,
    CreateWorkflowRequest, CreateWorkflowResponse, Event, GetWorkflowRequest, ListChannelsRequest,
    ListWorkflowsRequest, ListWorkflowsResponse, OpenWorkflows, ResumeRequest, ResumeResponse,
    StreamInboundRequest, StreamInboundResponse, StreamStart, StreamStatusRequest, Workflow,
    WorkflowView, access_service_client::AccessServiceClient,
    account_service_client::AccountServiceClient, admin_service_client::AdminServiceClient,
    application_service_client::ApplicationServiceClient,
    callback_service_client::CallbackServiceClient, dispatch_service_client::DispatchServiceClient,
    erasure_service_client::ErasureServiceClient, inbound_service_client::InboundServiceClient,
    opt_out_service_client::OptOutServiceClient, stream_inbound_request as inbound,
    stream_status_request, stream_status_response::Kind,
};

/// A connection to a Dispatch service, with what says who calls. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    channel: Channel,
    credential: Credential,
    tenant: String,
}

/// A connection on which every call carries the credential.
pub type Known = InterceptedService<Channel, Credential>;

/// What a watch follows.
#[derive(Clone, Debug, PartialEq)]
pub enum Watch {
    /// One workflow, from its beginning to its end.
    Workflow(String),
    /// Every workflow with these labels, from now on.
    Labels(std::collections::BTreeMap<String, String>),
    /// Every workflow, from now on.
    All,
}

/// How long a lost watch tries to come back.
const RECONNECT_FOR: Duration = Duration::from_secs(60);

/// How often the service is asked whether it still lives, and how long it may take to say so. A
/// connection may die without a word, and a watch that hears nothing cannot tell that from peace.
const KEEP_ALIVE: Duration = Duration::from_secs(20);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// Since when a stream is lost.
#[derive(Default)]
struct Outage(Option<tokio::time::Instant>);

impl Outage {
    /// Waits a moment before the next try to come back.
    ///
    /// # Errors
    /// `lost`, if the stream will not come back, or stays away for too long.
    async fn wait(&mut self, lost: Status, has_moved: bool) -> Result<(), Status> {
        // It was back in between: this is another outage.
        if has_moved {
            self.0 = None;
        }
        let since = *self.0.get_or_insert_with(tokio::time::Instant::now);
        let may_come_back = matches!(
            lost.code(),
            Code::Unavailable | Code::Unknown | Code::Cancelled | Code::Internal
        );
        if !may_come_back || since.elapsed() > RECONNECT_FOR {
            return Err(lost);
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        Ok(())
    }
}

impl Client {
    /// Connects to an address as in `http://127.0.0.1:50051`.
    ///
    /// # Errors
    /// If the address is none, or nobody listens there.
    pub async fn connect(address: impl Into<String>) -> Result<Client, tonic::transport::Error> {
        Ok(Client::over(Client::endpoint(address)?.connect().await?))
    }

    /// An address with the settings of [`connect`](Self::connect), for those who change one, or
    /// connect in a way of their own. With others a watch may not notice that its connection died.
    ///
    /// # Errors
    /// If the address is none.
    pub fn endpoint(address: impl Into<String>) -> Result<Endpoint, tonic::transport::Error> {
        Ok(Endpoint::from_shared(address.into())?
            .connect_timeout(Duration::from_secs(5))
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            // Else the call after a quiet time is the one that finds out.
            .keep_alive_while_idle(true)
            .tcp_nodelay(true))
    }

    /// A client over a channel that is there already.
    pub fn over(channel: Channel) -> Client {
        Client { channel, credential: Credential::none(), tenant: String::new() }
    }

    /// The same connection, with another credential.
    pub fn with(self, credential: Credential) -> Client {
        Client { credential, ..self }
    }

    /// The same connection, for an operator who looks at one tenant: [`watch`](Self::watch) of many
    /// workflows and [`channels`](Self::channels) are that tenant's only. Empty: all that it may see.
    pub fn of_tenant(self, tenant: impl Into<String>) -> Client {
        Client { tenant: tenant.into(), ..self }
    }

    /// Creates a workflow. With a `request_id` the call may be repeated until it is answered.
    ///
    /// # Errors
    /// The server's status, with `google.rpc` details.
    pub async fn create(
        &self,
        request: CreateWorkflowRequest,
    ) -> Result<CreateWorkflowResponse, Status> {
        Ok(self.raw().create_workflow(request).await?.into_inner())
    }

    /// A workflow with its whole timeline.
    ///
    /// # Errors
    /// The server's status.
    pub async fn get(&self, id: impl Into<String>) -> Result<Workflow, Status> {
        let request =
            GetWorkflowRequest { workflow_id: id.into(), view: WorkflowView::Full as i32 };
        let response = self.raw().get_workflow(request).await?.into_inner();
        response.workflow.ok_or_else(|| Status::internal("the answer holds no workflow"))
    }

    /// A page of workflows, newest first.
    ///
    /// # Errors
    /// The server's status.
    pub async fn list(
        &self,
        request: ListWorkflowsRequest,
    ) -> Result<ListWorkflowsResponse, Status> {
        Ok(self.raw().list_workflows(request).await?.into_inner())
    }

    /// Cancels a workflow. Once this returns, nothing further of it starts.
    ///
    /// # Errors
    /// The server's status.
    pub async fn cancel(&self, id: impl Into<String>) -> Result<CancelWorkflowResponse, Status> {
        let request = CancelWorkflowRequest { workflow_id: id.into() };
        Ok(self.raw().cancel_workflow(request).await?.into_inner())
    }

    /// The channels that are served.
    ///
    /// # Errors
    /// The server's status.
    pub async fn channels(&self) -> Result<Vec<v1::Channel>, Status> {
        Ok(self
            .raw()
            .list_channels(ListChannelsRequest { tenant: self.tenant.clone() })
            .await?
            .into_inner()
            .channels)
    }

    /// Hands a backup to `write`, piece by piece. It is whole only if this returns `Ok(Ok(()))`.
    ///
    /// # Errors
    /// The server's status; within, the first error of `write`.
    pub async fn backup<E>(
        &self,
        request: BackupRequest,
        mut write: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<Result<(), E>, Status> {
        let mut pieces = self.admin().backup(request).await?.into_inner();
        while let Some(BackupResponse { piece }) = pieces.message().await? {
            if let Err(error) = write(&piece) {
                return Ok(Err(error));
            }
        }
        Ok(Ok(()))
    }

    /// Lifts the restore lock of a service.
    ///
    /// # Errors
    /// The server's status.
    pub async fn resume(&self, open: OpenWorkflows) -> Result<ResumeResponse, Status> {
        let request = ResumeRequest { open: open as i32 };
        Ok(self.admin().resume(request).await?.into_inner())
    }

    /// Hands each event to `see` until that returns `false` or the stream ends. A lost connection
    /// is taken up again behind the last event: no gap, no repeat.
    ///
    /// # Errors
    /// The server's status, if it refuses, or stays away for a minute.
    pub async fn watch(
        &self,
        what: Watch,
        resume_token: Option<String>,
        follow_late_receipts: bool,
        mut see: impl FnMut(Event) -> bool,
    ) -> Result<(), Status> {
        let mut resume_token = resume_token;
        let mut outage = Outage::default();
        loop {
            let behind = resume_token.clone();
            let lost =
                match self.follow(&what, &mut resume_token, follow_late_receipts, &mut see).await {
                    Ok(()) => return Ok(()),
                    Err(status) => status,
                };
            outage.wait(lost, resume_token != behind).await?;
        }
    }

    /// Hands what the stream of inbound messages tells to `see`, bookmarks too, until that returns `false`. A lost connection is taken up again behind the last: no gap, no
    /// repeat.
    ///
    /// # Errors
    /// The server's status, if it refuses, or stays away for a minute.
    pub async fn watch_inbound(
        &self,
        mut start: inbound::Start,
        mut see: impl FnMut(&StreamInboundResponse) -> bool,
    ) -> Result<(), Status> {
        let mut outage = Outage::default();
        loop {
            let (mut has_moved, from) = (false, start.clone());
            let told = |response: StreamInboundResponse| {
                let goes_on = see(&response);
                start = inbound::Start::ResumeToken(response.resume_token);
                has_moved = true;
                goes_on
            };
            match self.follow_inbound(from, told).await {
                Ok(()) => return Ok(()),
                Err(lost) => outage.wait(lost, has_moved).await?,
            }
        }
    }

    async fn follow_inbound(
        &self,
        start: inbound::Start,
        mut told: impl FnMut(StreamInboundResponse) -> bool,
    ) -> Result<(), Status> {
        let request = StreamInboundRequest { start: Some(start), tenant: self.tenant.clone() };
        let mut messages = self.inbound().stream_inbound(request).await?.into_inner();
        while let Some(response) = messages.message().await? {
            if !told(response) {
                return Ok(());
            }
        }
        Err(Status::unavailable("the stream was cut off"))
    }

    async fn follow(
        &self,
        what: &Watch,
        resume_token: &mut Option<String>,
        follow_late_receipts: bool,
        see: &mut impl FnMut(Event) -> bool,
    ) -> Result<(), Status> {
        use stream_status_request::{Start, Target};
        let target = match what {
            Watch::Workflow(id) => Target::WorkflowId(id.clone()),
            Watch::Labels(labels) => Target::Labels(v1::LabelFilter { labels: labels.clone() }),
            Watch::All => Target::All(v1::AllWorkflows {}),
        };
        let from = match (&*resume_token, what) {
            (Some(token), _) => Some(Start::ResumeToken(token.clone())),
            (None, Watch::Workflow(_)) => Some(Start::Position(StreamStart::Beginning as i32)),
            (None, Watch::Labels(_) | Watch::All) => Some(Start::Position(StreamStart::Now as i32)),
        };
        let tenant = self.tenant.clone();
        let request =
            StreamStatusRequest { target: Some(target), start: from, follow_late_receipts, tenant };
        let mut events = self.raw().stream_status(request).await?.into_inner();
        while let Some(response) = events.message().await? {
            match response.kind {
                Some(Kind::Event(event)) => {
                    *resume_token = Some(event.resume_token.clone());
                    if !see(event) {
                        return Ok(());
                    }
                }
                Some(Kind::Bookmark(bookmark)) => *resume_token = Some(bookmark.resume_token),
                None => {}
            }
        }
        match what {
            Watch::Workflow(_) => Ok(()),
            // These have no end of their own.
            Watch::Labels(_) | Watch::All => Err(Status::unavailable("the stream was cut off")),
        }
    }

    /// The generated client.
    pub fn raw(&self) -> DispatchServiceClient<Known> {
        DispatchServiceClient::new(self.known())
    }

    /// The generated client for applications.
    pub fn applications(&self) -> ApplicationServiceClient<Known> {
        ApplicationServiceClient::new(self.known())
    }

    /// The generated client for external accounts.
    pub fn accounts(&self) -> AccountServiceClient<Known> {
        AccountServiceClient::new(self.known())
    }

    /// The generated client of the keys' service.
    pub fn access(&self) -> AccessServiceClient<Known> {
        AccessServiceClient::new(self.known())
    }

    /// The generated client of callbacks.
    pub fn callbacks(&self) -> CallbackServiceClient<Known> {
        CallbackServiceClient::new(self.known())
    }

    /// The generated client of opt-outs.
    pub fn opt_outs(&self) -> OptOutServiceClient<Known> {
        OptOutServiceClient::new(self.known())
    }

    /// The generated client of inbound messages.
    pub fn inbound(&self) -> InboundServiceClient<Known> {
        InboundServiceClient::new(self.known())
    }

    /// The client of `ErasureService`.
    pub fn erasures(&self) -> ErasureServiceClient<Known> {
        ErasureServiceClient::new(self.known())
    }

    fn admin(&self) -> AdminServiceClient<Known> {
        AdminServiceClient::new(self.known())
    }

    fn known(&self) -> Known {
        InterceptedService::new(self.channel.clone(), self.credential.clone())
    }
}
