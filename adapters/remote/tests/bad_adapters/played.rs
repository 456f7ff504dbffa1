//! An adapter that does what a test wants of it.

use std::{
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use dispatch_remote::pb::{
    self,
    adapter_service_server::{AdapterService, AdapterServiceServer},
};
use tokio::{net::TcpListener, sync::Notify, task::JoinHandle};
use tokio_stream::{Stream, StreamExt, wrappers::TcpListenerStream};
use tonic::{Request, Response, Status, Streaming, transport::Server};

pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
pub(crate) const SHORT: Duration = Duration::from_millis(400);

/// What one does with a message.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    Accept,
    /// Says that it failed at once: an exception in the middle of the call.
    Fail,
    Hang,
    /// Answers, but after [`SHORT`].
    Late,
    /// Knows another token.
    Stranger,
    /// An answer of a later minor.
    Nothing,
    /// An answer in a compression that nobody asked for.
    Compressed,
}

/// An adapter.
pub(crate) struct PlayedAdapter {
    pub(crate) manner: Manner,
    pub(crate) described: pb::DescribeResponse,
    pub(crate) sends: Arc<Mutex<Vec<String>>>,
    /// How often it was asked what it is.
    pub(crate) asked: Arc<Mutex<u32>>,
    /// What it reads in a webhook.
    pub(crate) reads: pb::ReadWebhookResponse,
    /// What it tells on each stream, until that is acknowledged.
    pub(crate) tells: Vec<pb::ListenResponse>,
    /// Whether it breaks the first stream before it reads an acknowledgement.
    pub(crate) loses_first: bool,
    /// Whether it begins no answer before it has something to tell.
    pub(crate) holds_back: bool,
    pub(crate) streams: Arc<Mutex<u32>>,
    pub(crate) acknowledged: Arc<Mutex<Vec<u64>>>,
    pub(crate) came: Arc<Notify>,
}

type Told = Pin<Box<dyn Stream<Item = Result<pb::ListenResponse, Status>> + Send>>;

#[async_trait]
impl AdapterService for PlayedAdapter {
    async fn describe(
        &self,
        _: Request<pb::DescribeRequest>,
    ) -> Result<Response<pb::DescribeResponse>, Status> {
        *self.asked.lock().unwrap() += 1;
        Ok(Response::new(self.described.clone()))
    }

    async fn probe(
        &self,
        _: Request<pb::ProbeRequest>,
    ) -> Result<Response<pb::ProbeResponse>, Status> {
        Err(Status::unimplemented("none"))
    }

    async fn send(
        &self,
        request: Request<pb::SendRequest>,
    ) -> Result<Response<pb::SendResponse>, Status> {
        self.sends.lock().unwrap().push(request.into_inner().attempt_id);
        self.came.notify_one();
        match self.manner {
            Manner::Accept => {}
            Manner::Fail => return Err(Status::unknown("Exception calling application: secret")),
            Manner::Hang => std::future::pending().await,
            Manner::Late => tokio::time::sleep(SHORT * 2).await,
            Manner::Stranger => return Err(Status::unauthenticated("who?")),
            Manner::Nothing => return Ok(Response::new(pb::SendResponse { result: None })),
            Manner::Compressed => {
                let mut answer = Response::new(pb::SendResponse { result: None });
                answer.metadata_mut().insert("grpc-encoding", "gzip".parse().unwrap());
                return Ok(answer);
            }
        }
        let accepted =
            pb::Accepted { provider_message_ids: vec!["one".to_owned()], provider_time: None };
        let result = Some(pb::send_response::Result::Accepted(accepted));
        Ok(Response::new(pb::SendResponse { result }))
    }

    async fn recall(
        &self,
        _: Request<pb::RecallRequest>,
    ) -> Result<Response<pb::RecallResponse>, Status> {
        Err(Status::unimplemented("none"))
    }

    async fn read_webhook(
        &self,
        _: Request<pb::ReadWebhookRequest>,
    ) -> Result<Response<pb::ReadWebhookResponse>, Status> {
        match self.described.reads_webhooks && self.reads.verdict != 0 {
            true => Ok(Response::new(self.reads.clone())),
            false => Err(Status::unimplemented("none")),
        }
    }

    type ListenStream = Told;

    async fn listen(
        &self,
        request: Request<Streaming<pb::ListenRequest>>,
    ) -> Result<Response<Told>, Status> {
        let number = {
            let mut streams = self.streams.lock().unwrap();
            *streams += 1;
            *streams
        };
        if self.holds_back {
            std::future::pending::<()>().await;
        }
        let told = tokio_stream::iter(self.tells.clone()).map(Ok);
        if self.loses_first && number == 1 {
            // What it told is taken, and it never hears so.
            return Ok(Response::new(Box::pin(told)));
        }
        let acknowledged = Arc::clone(&self.acknowledged);
        let mut requests = request.into_inner();
        tokio::spawn(async move {
            while let Ok(Some(request)) = requests.message().await {
                if let Some(pb::listen_request::Request::Acknowledgement(it)) = request.request {
                    acknowledged.lock().unwrap().push(it.batch_id);
                }
            }
        });
        Ok(Response::new(Box::pin(told.chain(tokio_stream::pending()))))
    }
}

impl PlayedAdapter {
    pub(crate) fn new(manner: Manner) -> PlayedAdapter {
        PlayedAdapter {
            manner,
            described: described(),
            sends: Arc::default(),
            asked: Arc::default(),
            reads: Default::default(),
            tells: Vec::new(),
            loses_first: false,
            holds_back: false,
            streams: Arc::default(),
            acknowledged: Arc::default(),
            came: Arc::default(),
        }
    }

    /// Serves at a port of the system's, or at this one.
    pub(crate) async fn serve(self, at: Option<SocketAddr>) -> (SocketAddr, JoinHandle<()>) {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = TcpListener::bind(at.unwrap_or(any)).await.unwrap();
        let at = listener.local_addr().unwrap();
        let served = Server::builder()
            .add_service(AdapterServiceServer::new(self))
            .serve_with_incoming(TcpListenerStream::new(listener));
        // Connections are tasks of their own: a runtime of its own dies with all of them.
        (at, tokio::spawn(async move { served.await.unwrap() }))
    }
}

/// The same as a process that can be killed: every connection of it ends at once.
pub(crate) struct Mortal {
    pub(crate) at: SocketAddr,
    pub(crate) runtime: Option<tokio::runtime::Runtime>,
}

impl Mortal {
    pub(crate) async fn serve(played: PlayedAdapter, at: Option<SocketAddr>) -> Mortal {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let (at, _) = runtime.spawn(played.serve(at)).await.unwrap();
        Mortal { at, runtime: Some(runtime) }
    }

    pub(crate) fn kill(&mut self) {
        self.runtime.take().unwrap().shutdown_background();
    }
}

impl Drop for Mortal {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

pub(crate) fn described() -> pb::DescribeResponse {
    let number =
        pb::AddressForm { form: Some(pb::address_form::Form::Common(pb::CommonForm::E164.into())) };
    let channel = pb::Channel {
        name: "fax".to_owned(),
        condition_statuses: vec![pb::Status::Submitted.into(), pb::Status::Delivered.into()],
        content_kinds: vec![pb::ContentKind::Text.into()],
        max_text_chars: 100,
        sender_forms: vec![number.clone()],
        recipient_forms: vec![number],
        correlates_by_attempt_id: true,
        ..Default::default()
    };
    let setting = pb::Setting {
        name: "base_url".to_owned(),
        description: "where the gateway is".to_owned(),
        ..Default::default()
    };
    pb::DescribeResponse {
        provider: "fax".to_owned(),
        channels: vec![channel],
        settings: vec![setting],
        listens: true,
        ..Default::default()
    }
}
