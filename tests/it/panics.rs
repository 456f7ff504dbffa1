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
    fair::DiskTurns,
    grpc::{AdminService, Calls, Guarded, Unguarded},
    machine::{Workflow, WorkflowId},
    pb::v1::{
        BackupRequest, GetWorkflowRequest, ListChannelsRequest, ListWorkflowsRequest, StreamStart,
        StreamStatusRequest,
        admin_service_client::AdminServiceClient,
        admin_service_server::AdminServiceServer,
        dispatch_service_client::DispatchServiceClient,
        stream_status_request::{Start, Target},
    },
    service::grpc_edge,
    store::{
        Cursor, Entry, ExistingRequest, Filter, HeldReceipt, Incarnation, Page, Reader, Record,
        Row, StoreError, WorkflowEnd,
    },
};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse,
    health_client::HealthClient,
    health_server::{Health, HealthServer},
};

use crate::{shared::engines::FrontedStore, support::FREE};

/// A reader that panics when it is told so, wherever callers read.
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
    fn former_incarnations(&self) -> Vec<Incarnation> {
        self.inner.former_incarnations()
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
    fn end_of(&self, id: WorkflowId) -> Result<WorkflowEnd, StoreError> {
        self.inner().end_of(id)
    }
    fn requested(
        &self,
        tenant: &str,
        request_id: &str,
    ) -> Result<Option<ExistingRequest>, StoreError> {
        self.inner().requested(tenant, request_id)
    }
    fn open_of(&self, tenant: &str) -> usize {
        self.inner.open_of(tenant)
    }
    fn open_by_tenant(&self) -> Vec<(Arc<str>, usize)> {
        self.inner.open_by_tenant()
    }
    fn held_receipts(&self) -> Result<Vec<HeldReceipt>, StoreError> {
        self.inner.held_receipts()
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grpc_handler_that_panics_costs_one_answer_and_no_stream_ends_as_if_it_were_whole() {
    let panics = Arc::new(AtomicBool::new(false));
    let mut store = FrontedStore::new();
    let inner = Arc::clone(&store.reader);
    store.reader = Arc::new(ClumsyReader { inner, panics: Arc::clone(&panics) });
    let access = Access::new(Arc::clone(&store.settings));
    let engine = store.start();
    let listen = config::ListenConfig::default();
    let calls = Calls::new(listen.calls, access.limits().clone());
    let (reporter, _) = tonic_health::server::health_reporter();
    let timeout = Duration::from_secs(5);
    let admin = AdminService::new(
        engine.clone(),
        access.clone(),
        reporter,
        timeout,
        DiskTurns::default(),
        None,
    );
    let admin =
        Guarded::new(AdminServiceServer::new(admin), access.clone(), engine.clone(), calls.clone());
    let health = Unguarded::new(HealthServer::new(ClumsyHealth), engine.clone(), 8, None);
    let socket = TcpListener::bind(FREE).await.unwrap();
    let address = format!("http://{}", socket.local_addr().unwrap());
    let stop = CancellationToken::new();
    let served = grpc_edge(&engine, &access, &calls, &DiskTurns::default(), &listen)
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
        start: Some(Start::Position(StreamStart::Beginning as i32)),
        ..Default::default()
    };
    let mut quiet = HealthClient::new(channel.clone());
    panics.store(true, Ordering::SeqCst);
    let mut found = Vec::new();
    found.push(quiet.check(HealthCheckRequest::default()).await.unwrap_err());
    found.push(quiet.watch(HealthCheckRequest::default()).await.unwrap_err());
    let get = GetWorkflowRequest { workflow_id: uuid::Uuid::now_v7().to_string(), view: 0 };
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
