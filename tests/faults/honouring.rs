//! A program whose provider honours our id: a call that is repeated under it sends nothing.
//!
//! No adapter that is shipped may say so of its provider, and the sandbox's own dies with the
//! process. So this test binary, started once more, serves with the shipped adapters in a disguise
//! that declares it; the simulated provider, outside, keeps the promise.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use dispatch::{
    builtin,
    config::Config,
    engine::{Route, RouteTable},
    service::{Components, Service},
};
use dispatch_contract::{
    Accepted, AdapterError, Capabilities, Channel, ChannelAdapter, Message, SendContext,
};
use tokio::signal::unix::{SignalKind, signal};

/// How long the provider remembers.
pub const FOR: Duration = Duration::from_secs(3600);

/// What makes this binary the program below.
pub const ARGUMENTS: &[&str] = &["--exact", "honouring::the_program", "--nocapture"];

struct Honouring {
    inner: Arc<dyn ChannelAdapter>,
    capabilities: Capabilities,
}

#[async_trait]
impl ChannelAdapter for Honouring {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn provider(&self) -> &str {
        self.inner.provider()
    }

    fn channel(&self) -> &Channel {
        self.inner.channel()
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn send(
        &self,
        context: &SendContext<'_>,
        message: &Message,
    ) -> Result<Accepted, AdapterError> {
        self.inner.send(context, message).await
    }
}

fn in_disguise(route: &Route) -> Route {
    let inner = Arc::clone(&route.adapter);
    let capabilities = Capabilities { idempotent_for: Some(FOR), ..inner.capabilities().clone() };
    Route { adapter: Arc::new(Honouring { inner, capabilities }), ..route.clone() }
}

/// Not a test but a process: it serves where `Place` told it to, and does nothing where nobody did.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_program() {
    let told = |name: &str| std::env::var(name).ok();
    let Some(file) = told("DISPATCH_CONFIG") else { return };
    let address = |name: &str| -> SocketAddr { told(name).unwrap().parse().unwrap() };
    let mut config = Config::read(Path::new(&file)).unwrap();
    config.store.data = told("DISPATCH_DATA").unwrap().into();
    config.listen.grpc = address("DISPATCH_GRPC");
    config.listen.http = address("DISPATCH_HTTP");
    config.listen.internal_http = address("DISPATCH_INTERNAL_HTTP");
    let mut terminate = signal(SignalKind::terminate()).unwrap();
    let service = Service::start(&config, |clock, _| {
        let parts = builtin::parts(&config, clock)?;
        let routes = RouteTable::new(parts.routes.iter().map(in_disguise).collect());
        Ok(Components { routes, ..parts })
    });
    let service = service.await.unwrap();
    // On a line of its own, whatever the harness has begun to say.
    println!("\n  gRPC  {}", service.grpc);
    println!("  health  http://{}/healthz", service.internal_http);
    terminate.recv().await;
    service.stop().await.unwrap();
}
