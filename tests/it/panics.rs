//! A panic of whoever answers a gRPC call is a bug, and costs one answer: not the connection, and never
//! an answer that looks whole.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use dispatch::{
    access::Access,
    config,
    engine::{Engine, EngineOptions, LaneLimits, RouteTable, Senders, SpaceLimits, SystemClock},
    grpc::{AdminService, Calls, Guarded, Unguarded},
    machine::{ClockKind, Fingerprint, Moment, Terms, Workflow, WorkflowId},
    pb::v1::{
        BackupRequest, GetWorkflowRequest, ListChannelsRequest, ListWorkflowsRequest, StreamStart,
        StreamStatusRequest,
        admin_service_client::AdminServiceClient,
        admin_service_server::AdminServiceServer,
        dispatch_service_client::DispatchServiceClient,
        stream_status_request::{From, Target},
    },
    service::grpc_edge,
    store::{
        Batch, ClockNote, Cursor, DueRow, Entry, Filter, Held, Incarnation, MemoryStore, Page,
        Parked, Reader, Record, Row, Settings, Store, StoreError, Swept,
    },
    telemetry::Metrics,
};
use dispatch_contract::{Account, AttemptId, Channel, Endpoint, UnixMillis};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse,
    health_client::HealthClient,
    health_server::{Health, HealthServer},
};

use crate::support::FREE;

/// A store whose reader panics when it is told so, wherever callers read.
struct Clumsy {
    inner: MemoryStore,
    panics: Arc<AtomicBool>,
}

struct ClumsyReader {
    inner: Arc<dyn Reader>,
    panics: Arc<AtomicBool>,
}

impl ClumsyReader {
    fn inner(&self) -> &dyn Reader {
        assert!(!self.panics.load(Ordering::SeqCst), "in a read");
        &*self.inner
    }
}

impl Reader for ClumsyReader {
    fn incarnation(&self) -> Incarnation {
        self.inner.incarnation()
    }
    fn record(&self, id: WorkflowId) -> Result<Option<Arc<Record>>, StoreError> {
        self.inner().record(id)
    }
    fn workflow(&self, id: WorkflowId) -> Result<Option<Workflow>, StoreError> {
        self.inner().workflow(id)
    }
    fn timeline(&self, id: WorkflowId) -> Result<Vec<Arc<Row>>, StoreError> {
        self.inner().timeline(id)
    }
    fn after(&self, cursor: Cursor, limit: usize) -> Result<Vec<Arc<Row>>, StoreError> {
        self.inner().after(cursor, limit)
    }
    fn newest(&self) -> Cursor {
        // A row that is not read yet: a stream has something to read.
        Cursor(self.inner.newest().0 + 1)
    }
    fn oldest(&self) -> Cursor {
        self.inner.oldest()
    }
    fn list(
        &self,
        filter: &Filter,
        after: Option<WorkflowId>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        self.inner().list(filter, after, limit)
    }
    fn entries(&self, after: Option<WorkflowId>, limit: usize) -> Result<Vec<Entry>, StoreError> {
        self.inner().entries(after, limit)
    }
    fn requested(
        &self,
        tenant: &str,
        request_id: &str,
    ) -> Result<Option<(WorkflowId, Fingerprint)>, StoreError> {
        self.inner().requested(tenant, request_id)
    }
    fn open_of(&self, tenant: &str) -> usize {
        self.inner.open_of(tenant)
    }
    fn open_by_tenant(&self) -> Vec<(Arc<str>, usize)> {
        self.inner.open_by_tenant()
    }
    fn parked(&self) -> Result<Vec<Parked>, StoreError> {
        self.inner.parked()
    }
}

impl Store for Clumsy {
    fn load(&self, id: WorkflowId) -> Result<Option<Workflow>, StoreError> {
        self.inner.load(id)
    }
    fn find_request(
        &self,
        tenant: &str,
        request_id: &str,
    ) -> Result<Option<(WorkflowId, Fingerprint)>, StoreError> {
        self.inner.find_request(tenant, request_id)
    }
    fn find_message(&self, account: &str, id: &str) -> Result<Option<AttemptId>, StoreError> {
        self.inner.find_message(account, id)
    }
    fn due(
        &self,
        clock: ClockKind,
        after: Option<(UnixMillis, WorkflowId)>,
        until: UnixMillis,
        limit: usize,
    ) -> Vec<DueRow> {
        self.inner.due(clock, after, until, limit)
    }
    fn next_due(
        &self,
        clock: ClockKind,
        after: Option<(UnixMillis, WorkflowId)>,
    ) -> Option<UnixMillis> {
        self.inner.next_due(clock, after)
    }
    fn open_ids(&self, after: Option<WorkflowId>, limit: usize) -> Vec<WorkflowId> {
        self.inner.open_ids(after, limit)
    }
    fn open_count(&self) -> usize {
        self.inner.open_count()
    }
    fn parked(&self) -> Vec<Parked> {
        Store::parked(&self.inner)
    }
    fn commit(&mut self, batch: Batch) -> Result<Vec<Arc<Row>>, StoreError> {
        self.inner.commit(batch)
    }
    fn sweep(
        &mut self,
        now: UnixMillis,
        before: UnixMillis,
        budget: usize,
    ) -> Result<Swept, StoreError> {
        self.inner.sweep(now, before, budget)
    }
    fn held(&self) -> Option<Held> {
        self.inner.held()
    }
    fn last_time(&self) -> Moment {
        self.inner.last_time()
    }
    fn clock(&self) -> Option<ClockNote> {
        self.inner.clock()
    }
    fn note_clock(&mut self, note: ClockNote) -> Result<(), StoreError> {
        self.inner.note_clock(note)
    }
    fn grace_given_ms(&self) -> u64 {
        self.inner.grace_given_ms()
    }
    fn reader(&self) -> Arc<dyn Reader> {
        let (inner, panics) = (self.inner.reader(), Arc::clone(&self.panics));
        Arc::new(ClumsyReader { inner, panics })
    }
    fn settings(&self) -> Arc<dyn Settings> {
        self.inner.settings()
    }
}

/// Nothing is sent.
struct NoSenders;

impl Senders for NoSenders {
    fn account(
        &self,
        _: &Account,
        _: &str,
        _: &Channel,
        _: &Endpoint,
    ) -> Result<Option<Account>, String> {
        Ok(None)
    }

    fn owner(&self, _: &Channel, _: &Endpoint) -> Option<Arc<str>> {
        None
    }
}

/// A service whose handlers panic.
struct ClumsyHealth;

#[tonic::async_trait]
impl Health for ClumsyHealth {
    type WatchStream = tokio_stream::Empty<Result<HealthCheckResponse, tonic::Status>>;

    async fn check(
        &self,
        _: tonic::Request<HealthCheckRequest>,
    ) -> Result<tonic::Response<HealthCheckResponse>, tonic::Status> {
        panic!("in a handler")
    }

    async fn watch(
        &self,
        _: tonic::Request<HealthCheckRequest>,
    ) -> Result<tonic::Response<Self::WatchStream>, tonic::Status> {
        panic!("in a handler")
    }
}

fn options() -> EngineOptions {
    EngineOptions {
        terms: Terms::default(),
        recovery_grace: Duration::ZERO,
        retention: Duration::from_secs(3600),
        space: SpaceLimits::default(),
        is_read_only: false,
        queue_warn: Duration::ZERO,
        lanes: LaneLimits::default(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grpc_handler_that_panics_costs_one_answer_and_no_stream_ends_as_if_it_were_whole() {
    let panics = Arc::new(AtomicBool::new(false));
    let store = Clumsy { inner: MemoryStore::new(), panics: Arc::clone(&panics) };
    let access = Access::new(store.settings());
    let engine = Engine::start(
        Box::new(store),
        Arc::new(RouteTable::new(Vec::new())),
        Arc::new(NoSenders),
        Arc::new(SystemClock::new()),
        Arc::new(Metrics::new()),
        &options(),
    );
    let listen = config::Listen::default();
    let calls = Calls::new(listen.calls, access.limits().clone());
    let (reporter, _) = tonic_health::server::health_reporter();
    let patience = Duration::from_secs(5);
    let admin = AdminService::new(engine.clone(), access.clone(), reporter, patience);
    let admin =
        Guarded::new(AdminServiceServer::new(admin), access.clone(), engine.clone(), calls.clone());
    let health = Unguarded::new(HealthServer::new(ClumsyHealth), engine.clone(), 8, None);
    let socket = TcpListener::bind(FREE).await.unwrap();
    let address = format!("http://{}", socket.local_addr().unwrap());
    let stop = CancellationToken::new();
    let served = grpc_edge(&engine, &access, &calls, &listen)
        .add_service(admin)
        .add_service(health)
        .serve_with_incoming_shutdown(
            TcpListenerStream::new(socket),
            stop.clone().cancelled_owned(),
        );
    let served = tokio::spawn(served);

    // One connection for all of it.
    let channel = tonic::transport::Endpoint::new(address).unwrap().connect().await.unwrap();
    let mut client = DispatchServiceClient::new(channel.clone());
    let labels = StreamStatusRequest {
        target: Some(Target::All(Default::default())),
        from: Some(From::Start(StreamStart::Beginning as i32)),
        ..Default::default()
    };
    let mut quiet = HealthClient::new(channel.clone());
    panics.store(true, Ordering::SeqCst);
    let mut found = Vec::new();
    found.push(quiet.check(HealthCheckRequest::default()).await.unwrap_err());
    found.push(quiet.watch(HealthCheckRequest::default()).await.unwrap_err());
    let get = GetWorkflowRequest { id: uuid::Uuid::now_v7().to_string(), view: 0 };
    found.push(client.get_workflow(get).await.unwrap_err());
    found.push(client.list_workflows(ListWorkflowsRequest::default()).await.unwrap_err());
    let mut stream = client.stream_status(labels).await.unwrap().into_inner();
    found.push(loop {
        match stream.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("a stream ended as if all were told"),
            Err(status) => break status,
        }
    });
    let backup = AdminServiceClient::new(channel.clone()).backup(BackupRequest::default()).await;
    let mut pieces = backup.unwrap().into_inner();
    found.push(loop {
        match pieces.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("a backup ended as if it were whole"),
            Err(status) => break status,
        }
    });
    let count = found.len();
    for status in found {
        assert_eq!(status.code(), Code::Internal, "{status:?}");
        assert!(status.message().contains("an error of this service"), "{status:?}");
    }
    // The connection is the same, and alive.
    client.list_channels(ListChannelsRequest::default()).await.unwrap();
    let text = engine.metrics().render();
    let line = format!("dispatch_handler_panics_total {count}");
    assert!(text.lines().any(|found| found == line), "{line}: {text}");
    stop.cancel();
    served.await.unwrap().unwrap();
}
