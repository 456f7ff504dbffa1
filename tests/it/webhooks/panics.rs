//! What panics is a bug, and costs one answer: it is counted, and the provider repeats.

use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use axum::{Router, routing::get};
use dispatch::{
    engine::{Route, RouteTable},
    fair::ConnectionPool,
    http,
    service::Components,
};
use dispatch_contract::{
    Accepted, Account, AdapterError, Capabilities, Channel, ChannelAdapter, Clock, InboundSink,
    Message, Provider, ProviderAccounts, Registry, SendContext, SettingsForm, Shutdown, UnixMillis,
    WebhookOutcome, WebhookRequest,
};

use super::*;

/// An adapter that panics wherever it is called.
struct Clumsy {
    can: Capabilities,
    runs: Arc<AtomicU64>,
}

#[async_trait]
impl ChannelAdapter for Clumsy {
    fn name(&self) -> &str {
        "clumsy"
    }

    fn provider(&self) -> &str {
        "sandbox"
    }

    fn channel(&self) -> &Channel {
        &Channel::SMS
    }

    fn capabilities(&self) -> &Capabilities {
        &self.can
    }

    async fn send(&self, _: &SendContext<'_>, _: &Message) -> Result<Accepted, AdapterError> {
        panic!("in send")
    }
}

/// Its provider, which is no better.
struct ClumsyProvider(Arc<Clumsy>);

#[async_trait]
impl Provider for ClumsyProvider {
    fn name(&self) -> &str {
        "sandbox"
    }

    fn settings(&self) -> SettingsForm {
        SettingsForm(&[])
    }

    fn channels(&self) -> Vec<Arc<dyn ChannelAdapter>> {
        vec![Arc::clone(&self.0) as _]
    }

    fn webhook(&self, _: &WebhookRequest<'_>, _: &Account, _: UnixMillis) -> WebhookOutcome {
        panic!("in webhook")
    }

    async fn run(
        &self,
        accounts: Arc<dyn ProviderAccounts>,
        _: Arc<dyn InboundSink>,
        _: Arc<dyn Clock>,
        shutdown: Shutdown,
    ) {
        let names: Vec<_> = accounts.now().iter().map(|account| account.name.clone()).collect();
        assert_eq!(names, ["sandbox"], "its accounts are there before anything is sent");
        assert!(self.0.runs.fetch_add(1, Ordering::SeqCst) > 0, "in run");
        shutdown.await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_adapter_that_panics_is_counted_and_answered_and_begun_again() {
    let config = in_memory();
    let runs = Arc::new(AtomicU64::new(0));
    let service = no_recipient::start(&config, |clock, _| {
        let Components { accounts, routes, sandbox, .. } = builtin::parts(&config, clock)?;
        let sms = routes.iter().find(|route| *route.adapter.channel() == Channel::SMS).unwrap();
        let can = sms.adapter.capabilities().clone();
        let adapter = Arc::new(Clumsy { can, runs: Arc::clone(&runs) });
        let mut registry = Registry::new();
        registry.add(ClumsyProvider(Arc::clone(&adapter))).unwrap();
        let routes = RouteTable::new(vec![Route { adapter, ..sms.clone() }]);
        Ok(Components { registry, accounts, routes, sandbox, is_simulated: true })
    });
    let service = service.await.unwrap();
    let counted = async |line: &str| told(&service).await.lines().any(|found| found == line);
    let panics = |of: &str, call: &str, count: u64| {
        format!("dispatch_adapter_panics_total{{adapter=\"{of}\",call=\"{call}\"}} {count}")
    };

    let client = reqwest::Client::builder().pool_max_idle_per_host(1).build().unwrap();
    for _ in 0..2 {
        let url = format!("http://{}/receipts/clumsy/sandbox", service.http);
        let answer = client.post(url).body("{}").send().await.unwrap();
        assert_eq!(answer.status(), 500);
    }
    assert!(counted(&panics("sandbox", "webhook", 2)).await);
    let verdict =
        "dispatch_webhooks_total{provider=\"sandbox\",account=\"sandbox\",verdict=\"panicked\"} 2";
    assert!(counted(verdict).await);

    let grpc = Client::connect(format!("http://{}", service.grpc)).await.unwrap();
    let mut spec = messenger_sms(PERSON, NUMBER, "600s");
    spec.steps.remove(0);
    let id = grpc.create(request(spec)).await.unwrap().workflow.unwrap().workflow_id;
    let is_unknown = async || {
        let workflow = grpc.get(&id).await.unwrap();
        workflow.timeline.iter().any(|event| event.kind() == EventKind::AttemptUnknown)
    };
    for _ in 0..100 {
        if is_unknown().await && runs.load(Ordering::SeqCst) > 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(is_unknown().await, "it may have been sent");
    assert!(counted(&panics("clumsy", "send", 1)).await);
    assert!(counted(&panics("sandbox", "run", 1)).await);
    assert_eq!(runs.load(Ordering::SeqCst), 2, "it was begun again");
    no_recipient::stop(service).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_panics_answers_500_on_a_connection_that_stays() {
    let config = in_memory();
    let service =
        no_recipient::start(&config, |clock, _| builtin::parts(&config, clock)).await.unwrap();
    async fn clumsy() -> &'static str {
        panic!("in a handler")
    }
    let router = Router::new().route("/", get(clumsy)).route("/well", get(async || "well"));
    let router = http::caught(router, service.engine.telemetry());
    let socket = TcpListener::bind(FREE).await.unwrap();
    let address = socket.local_addr().unwrap();
    let listener = http::Listener {
        name: "clumsy",
        socket,
        pool: ConnectionPool::new(8),
        tls: None,
        timeout: Duration::from_secs(5),
    };
    let stop = CancellationToken::new();
    let served = tokio::spawn(http::serve(listener, router, stop.clone()));
    let client = reqwest::Client::new();
    for (path, status) in [("", 500), ("well", 200), ("", 500)] {
        let answer = client.get(format!("http://{address}/{path}")).send().await.unwrap();
        assert_eq!(answer.status(), status, "/{path}");
    }
    let metrics = told(&service).await;
    assert!(metrics.lines().any(|line| line == "dispatch_handler_panics_total 2"), "{metrics}");
    stop.cancel();
    served.await.unwrap();
    no_recipient::stop(service).await;
}
