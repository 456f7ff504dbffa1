//! One service, beside the simulated network: it lives in real threads and on real files, and hosts
//! of the simulation serve its gRPC edge. A restart stops it, and opens the same folder again.

use std::{
    collections::BTreeMap,
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use dispatch::{
    access::Access,
    builtin,
    client::Client,
    config::{Config, StoreKind},
    engine::{Engine, TestClock},
    fair::DiskTurns,
    grpc::{Calls, Sandbox, Sent},
    pb::v1::{Event, ListWorkflowsRequest},
    service::{self, Service, ServiceClock},
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    runtime::Runtime,
};
use tonic::transport::{Uri, server::Connected};

use crate::support::FREE;

/// The service's host in the simulation.
pub const SERVER: &str = "server";
const PORT: u16 = 50051;

/// The service, and what outlives its restarts.
pub struct World {
    runtime: Runtime,
    folder: tempfile::TempDir,
    seed: u64,
    lives: Mutex<Lives>,
}

#[derive(Default)]
struct Lives {
    present: Option<Life>,
    /// What the simulated provider sent in earlier lives.
    sent: Vec<Sent>,
    /// The timelines, once it is over.
    kept: BTreeMap<String, Vec<Event>>,
}

struct Life {
    service: Service,
    clock: Arc<TestClock>,
    sandbox: Arc<dyn Sandbox>,
}

impl World {
    pub fn start(seed: u64) -> Arc<World> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let folder = tempfile::tempdir().unwrap();
        let world = World { runtime, folder, seed, lives: Mutex::default() };
        world.lives.lock().unwrap().present = Some(world.life());
        Arc::new(world)
    }

    fn config(&self) -> Config {
        let mut config = Config::default();
        config.listen.grpc = FREE;
        config.listen.http = FREE;
        config.listen.internal_http = FREE;
        config.store.kind = StoreKind::Sled;
        config.store.data = self.folder.path().join("data");
        config.store.cache_mib = 16;
        config.engine.drain_s = 0;
        config.engine.recovery_grace_s = 0;
        config.engine.unconfirmed_after_s = 20;
        config.sandbox.virtual_clock = true;
        config.sandbox.seed = self.seed;
        config.sandbox.default_script = "accept; deliver 800ms; read 2s; jitter 4s".to_owned();
        config
    }

    fn life(&self) -> Life {
        let mut made = None;
        let config = self.config();
        let service = self.runtime.block_on(Service::start(&config, |clock, _| {
            let parts = builtin::parts(&config, clock)?;
            let ServiceClock::Test(clock) = clock else { panic!("a real clock") };
            made = Some((Arc::clone(clock), parts.sandbox.clone().unwrap()));
            Ok(parts)
        }));
        let (clock, sandbox) = made.unwrap();
        Life { service: service.unwrap(), clock, sandbox }
    }

    /// A host's whole life in the simulation: accepts connections until it is crashed.
    pub fn serve(self: &Arc<Self>) -> impl Future<Output = turmoil::Result> + use<> {
        let engine = self.engine();
        let access = Access::new(Arc::clone(engine.settings()));
        let listen = self.config().listen;
        let calls = Calls::new(listen.calls, access.limits().clone());
        async move {
            let listener = turmoil::net::TcpListener::bind(("0.0.0.0", PORT)).await?;
            let incoming = futures_util::stream::unfold(listener, |listener| async move {
                let accepted = listener.accept().await.map(|(stream, _)| Accepted(stream));
                Some((accepted, listener))
            });
            service::grpc_edge(&engine, &access, &calls, &DiskTurns::default(), &listen)
                .serve_with_incoming(incoming)
                .await?;
            Ok(())
        }
    }

    fn engine(&self) -> Engine {
        self.lives.lock().unwrap().present.as_ref().unwrap().service.engine.clone()
    }

    /// Moves the engine's time on, and returns when all that became due is done.
    pub fn advance(&self, by: Duration) {
        let lives = self.lives.lock().unwrap();
        self.runtime.block_on(lives.present.as_ref().unwrap().clock.advance(by));
    }

    /// Stops the service and opens its folder again. Time goes on from the newest kept event.
    pub fn restart(&self) {
        self.end();
        let life = self.life();
        self.lives.lock().unwrap().present = Some(life);
    }

    fn end(&self) {
        let mut lives = self.lives.lock().unwrap();
        let Life { service, sandbox, .. } = lives.present.take().unwrap();
        lives.sent.extend(sandbox.sent());
        drop(sandbox);
        self.runtime.block_on(service.stop()).unwrap();
    }

    /// Reads what is kept, over a real connection, and stops.
    pub fn stop(&self) {
        let kept = self.runtime.block_on(self.read());
        self.lives.lock().unwrap().kept = kept;
        self.end();
    }

    async fn read(&self) -> BTreeMap<String, Vec<Event>> {
        let address = self.lives.lock().unwrap().present.as_ref().unwrap().service.grpc;
        let client = Client::connect(format!("http://{address}")).await.unwrap();
        let request = ListWorkflowsRequest { page_size: 500, ..Default::default() };
        let mut kept = BTreeMap::new();
        for workflow in client.list(request).await.unwrap().workflows {
            let timeline = client.get(&workflow.workflow_id).await.unwrap().timeline;
            kept.insert(workflow.workflow_id, timeline);
        }
        kept
    }

    /// The timelines that are kept, by workflow.
    pub fn kept(&self) -> BTreeMap<String, Vec<Event>> {
        self.lives.lock().unwrap().kept.clone()
    }

    /// What the simulated provider sent.
    pub fn sent(&self) -> Vec<Sent> {
        self.lives.lock().unwrap().sent.clone()
    }
}

/// The project's client, over the simulated network; tries until the service answers.
pub async fn connect() -> Client {
    let connector = tower::service_fn(|uri: Uri| async move {
        let host = uri.host().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
        let stream = turmoil::net::TcpStream::connect((host, PORT)).await?;
        Ok::<_, io::Error>(TokioIo::new(stream))
    });
    // Without a key the service wants to be asked as on its own machine.
    let endpoint = Client::endpoint(format!("http://{SERVER}:{PORT}")).unwrap();
    let endpoint = endpoint.origin(Uri::from_static("http://localhost"));
    loop {
        match endpoint.connect_with_connector(connector).await {
            Ok(channel) => return Client::over(channel),
            Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    }
}

/// A connection of the simulation, as tonic takes it.
struct Accepted(turmoil::net::TcpStream);

impl Connected for Accepted {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Accepted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Accepted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
