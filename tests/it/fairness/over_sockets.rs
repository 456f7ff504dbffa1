//! A flood through the real service, in real time, with a provider that takes its time.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use dispatch::{
    builtin,
    client::{Client, Credential},
    config::{AccessKeyConfig, Config},
    engine::{Route, RouteTable},
    pb::v1::{
        BatchCreateWorkflowsRequest, CreateWorkflowRequest, Priority, WorkflowSpec,
        batch_create_result::Result::Created,
    },
    service::{Components, Service},
};
use dispatch_contract::{
    Accepted, AdapterError, Capabilities, Channel, ChannelAdapter, Message, SendContext,
};
use tonic::Code;
use tonic_types::StatusExt;

use crate::{
    no_recipient,
    support::{eventually, in_memory, request},
};

const SECRET: &str = "a secret of the tests";
const CALL: Duration = Duration::from_millis(200);
const BULK: usize = 2000;

/// Takes its time for each send.
struct Slow(Arc<dyn ChannelAdapter>);

#[async_trait]
impl ChannelAdapter for Slow {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn provider(&self) -> &str {
        self.0.provider()
    }

    fn channel(&self) -> &Channel {
        self.0.channel()
    }

    fn capabilities(&self) -> &Capabilities {
        self.0.capabilities()
    }

    async fn send(
        &self,
        context: &SendContext<'_>,
        message: &Message,
    ) -> Result<Accepted, AdapterError> {
        tokio::time::sleep(CALL).await;
        self.0.send(context, message).await
    }
}

fn config() -> Config {
    let mut config = in_memory();
    config.sandbox.virtual_clock = false;
    config.access.keys = ["bulk", "other"]
        .map(|tenant| AccessKeyConfig {
            id: tenant.to_owned(),
            secret: SECRET.into(),
            tenant: tenant.to_owned(),
            name: String::new(),
            scopes: ["create", "read"].map(str::to_owned).to_vec(),
        })
        .to_vec();
    config
}

async fn slow(config: &Config) -> Service {
    let slow = |route: &Route| Route {
        adapter: Arc::new(Slow(Arc::clone(&route.adapter))),
        concurrency: 4,
        ..route.clone()
    };
    let service = no_recipient::start(config, |clock, _| {
        let parts = builtin::parts(config, clock)?;
        let routes = RouteTable::new(parts.routes.iter().map(slow).collect());
        Ok(Components { routes, ..parts })
    });
    service.await.unwrap()
}

fn sms(priority: Priority, send_within: &str) -> CreateWorkflowRequest {
    let text = format!(
        "
send_within: {send_within}
steps:
  - sender: {{ channel: sms, number: 'Dispatch' }}
    recipient: {{ channel: sms, number: '447700900001' }}
    message: {{ text: 'Your code is 1234.' }}
"
    );
    let spec: WorkflowSpec = dispatch::pb::from_yaml(&text).unwrap();
    request(WorkflowSpec { priority: priority.into(), ..spec })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_is_sent_at_once_while_a_bulk_waits_and_a_refusal_names_the_route() {
    let service = slow(&config()).await;
    let client = async |tenant: &str| {
        let client = Client::connect(format!("http://{}", service.grpc)).await.unwrap();
        client.with(Credential::key(&format!("{tenant}:{SECRET}")).unwrap())
    };
    let (bulk, other) = (client("bulk").await, client("other").await);
    for _ in 0..BULK / 500 {
        let requests = vec![sms(Priority::Low, "3600s"); 500];
        let batch = BatchCreateWorkflowsRequest { requests };
        let results = bulk.raw().batch_create_workflows(batch).await.unwrap().into_inner().results;
        assert!(results.iter().all(|result| matches!(result.result, Some(Created(_)))));
    }

    // The bulk takes 100 s. The machine may be busy: what counts is that nobody waits for the bulk.
    for client in [&bulk, &other] {
        let asked = Instant::now();
        let created = client.create(sms(Priority::High, "60s")).await.unwrap();
        let id = created.workflow.unwrap().workflow_id;
        let is_out = || async {
            let steps = client.get(&id).await.unwrap().steps;
            steps[0].attempts.iter().any(|attempt| !attempt.provider_message_ids.is_empty())
        };
        assert!(eventually(Duration::from_secs(20), is_out).await, "it waits for the bulk");
        let took = asked.elapsed();
        println!("an urgent message was taken, sent and accepted in {took:?}");
    }
    other.create(sms(Priority::Low, "10s")).await.expect("another tenant's share is free");

    let refused = bulk.create(sms(Priority::Low, "5s")).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
    assert!(refused.message().contains("route sandbox-sms"), "{refused}");
    let info = refused.get_details_error_info().unwrap();
    assert_eq!(
        (info.reason.as_str(), info.metadata["route"].as_str()),
        ("ROUTE_SATURATED", "sandbox-sms")
    );
    assert!(refused.get_details_retry_info().is_some());

    let url = format!("http://{}/metrics", service.internal_http);
    let metrics = reqwest::get(url).await.unwrap().text().await.unwrap();
    let metric = |name: &str| -> f64 {
        let line = metrics.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_whitespace().last()?.parse().ok()).expect(name)
    };
    assert_eq!(metric(r#"dispatch_route_creates_refused_total{route="sandbox-sms"}"#), 1.0);
    assert!(metric(r#"dispatch_route_queue{route="sandbox-sms",priority="low"}"#) > 1000.0);
    assert_eq!(metric(r#"dispatch_route_queue{route="sandbox-sms",priority="high"}"#), 0.0);
    no_recipient::stop(service).await;
}
