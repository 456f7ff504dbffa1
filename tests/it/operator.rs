//! An operator sees and stops everything of every tenant; an administrator of any tenant does not.

use std::time::Duration;

use dispatch::{
    client::{Client, Watch},
    config::{Config, StoreKind},
    pb::v1::{
        self, AdvanceClockRequest, CreateKeyRequest, ListAuditRequest, ListCallbacksRequest,
        ListKeysRequest, ListWorkflowsRequest, StreamStart, StreamStatusRequest,
        sandbox_service_client::SandboxServiceClient,
        stream_status_request::{Start, Target},
        stream_status_response::Kind,
    },
};
use tonic::{Code, Status, service::interceptor::InterceptedService};

use crate::{
    access::{ALL, House, holder, key, outcome, reason},
    no_recipient,
    support::{in_memory, messenger_sms, request},
};

fn config() -> Config {
    let mut config = in_memory();
    config.access.keys = vec![
        key("operator", "default", &["operator"]),
        key("default", "default", &ALL),
        key("acme", "acme", &ALL),
        key("beta", "beta", &ALL),
    ];
    config
}

async fn house() -> House {
    House::new(&config()).await
}

async fn create(client: &Client) -> String {
    let spec = messenger_sms("1000", "447700900001", "600s");
    client.create(request(spec)).await.unwrap().workflow.unwrap().workflow_id
}

async fn list(client: &Client, tenant: &str) -> Result<Vec<(String, String)>, Status> {
    let asked = ListWorkflowsRequest { tenant: tenant.to_owned(), ..Default::default() };
    let mut listed: Vec<_> = client
        .list(asked)
        .await?
        .workflows
        .into_iter()
        .map(|workflow| (workflow.tenant, workflow.workflow_id))
        .collect();
    listed.sort();
    Ok(listed)
}

/// The tenants of whose workflows a stream from the beginning tells first, as far as it says.
async fn told(
    client: &Client,
    tenant: &str,
    events: usize,
) -> Result<Vec<(String, String)>, Status> {
    let asked = StreamStatusRequest {
        target: Some(Target::All(Default::default())),
        start: Some(Start::Position(StreamStart::Beginning as i32)),
        tenant: tenant.to_owned(),
        ..Default::default()
    };
    let mut stream = client.raw().stream_status(asked).await?.into_inner();
    let mut seen = Vec::new();
    while seen.len() < events {
        if let Some(Kind::Event(event)) = stream.message().await?.unwrap().kind
            && event.sequence == 1
        {
            seen.push((event.tenant, event.workflow_id));
        }
    }
    seen.sort();
    Ok(seen)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_sees_and_cancels_what_is_any_tenant_s_and_it_is_written_down() {
    let house = house().await;
    let (operator, acme, beta) = (house.of("operator"), house.of("acme"), house.of("beta"));
    let (a, b) = (create(&acme).await, create(&beta).await);
    let of = |tenant: &str, id: &str| (tenant.to_owned(), id.to_owned());
    assert_eq!(list(&operator, "").await.unwrap(), [of("acme", &a), of("beta", &b)]);
    assert_eq!(list(&operator, "beta").await.unwrap(), [of("beta", &b)]);
    assert_eq!(list(&operator, "default").await.unwrap(), []);
    assert_eq!(told(&operator, "", 2).await.unwrap(), [of("acme", &a), of("beta", &b)]);
    assert_eq!(told(&operator, "acme", 1).await.unwrap(), [of("acme", &a)]);
    let shown = operator.get(&a).await.unwrap();
    assert_eq!((shown.tenant.as_str(), shown.workflow_id.as_str()), ("acme", a.as_str()));
    let watched =
        StreamStatusRequest { target: Some(Target::WorkflowId(a.clone())), ..Default::default() };
    let mut stream = operator.raw().stream_status(watched).await.unwrap().into_inner();
    assert!(matches!(stream.message().await.unwrap().unwrap().kind, Some(Kind::Event(_))));
    // What its stream carries takes that stream up again.
    let mut at = None;
    let seen = operator.watch(Watch::All, None, false, |event| {
        at = Some(event.resume_token);
        false
    });
    let (seen, _) = tokio::join!(seen, async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        create(&acme).await
    });
    seen.unwrap();
    let again = StreamStatusRequest {
        target: Some(Target::All(Default::default())),
        start: Some(Start::ResumeToken(at.unwrap())),
        ..Default::default()
    };
    operator.raw().stream_status(again.clone()).await.unwrap();
    let refused = acme.raw().stream_status(again).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "it is no tenant's");
    let canceled = operator.cancel(&a).await.unwrap().workflow.unwrap();
    assert_eq!(canceled.state().as_str_name(), "WORKFLOW_STATE_CANCELED");
    assert_eq!(acme.get(&a).await.unwrap().state(), canceled.state());
    // It sends for nobody.
    let spec = messenger_sms("1000", "447700900001", "600s");
    assert_eq!(operator.create(request(spec)).await.unwrap_err().code(), Code::PermissionDenied);

    // Over REST as well.
    let url = format!("http://{}/v0.1/dispatch/{b}", house.service.http);
    let ask = |method: reqwest::Method| {
        let call = reqwest::Client::new().request(method, &url);
        call.basic_auth("operator", Some(crate::access::SECRET)).send()
    };
    assert_eq!(ask(reqwest::Method::GET).await.unwrap().status().as_u16(), 200);
    assert_eq!(ask(reqwest::Method::DELETE).await.unwrap().status().as_u16(), 200);

    // Whose data it was sees what an operator did to it.
    for (tenant, id) in [("acme", &a), ("beta", &b)] {
        let asked = ListAuditRequest { page_size: 10, ..Default::default() };
        let entries =
            house.of(tenant).access().list_audit(asked).await.unwrap().into_inner().entries;
        assert_eq!(entries.len(), 1, "{entries:?}");
        let entry = &entries[0];
        assert_eq!(
            (entry.actor.as_str(), entry.action.as_str()),
            ("operator", "workflow.canceled")
        );
        assert_eq!((entry.tenant.as_str(), &entry.target), (tenant, id));
    }
    assert_eq!(operator.cancel(crate::access::MISSING).await.unwrap_err().code(), Code::NotFound);
    no_recipient::stop(house.service).await;
}

/// The lines of a tenant's metrics.
async fn metrics(house: &House) -> Vec<String> {
    let url = format!("http://{}/metrics", house.service.internal_http);
    let text = reqwest::get(url).await.unwrap().text().await.unwrap();
    text.lines().filter(|line| line.starts_with("dispatch_tenant_")).map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_say_what_each_tenant_does_across_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config();
    config.store.kind = StoreKind::Sled;
    config.store.data = folder.path().join("data");
    config.sandbox.default_script = "accept; deliver 1s".to_owned();
    config.sandbox.scripts = [("447700900001".to_owned(), "accept; never".to_owned())].into();
    let house = House::new(&config).await;
    let (first, _) = (create(&house.of("acme")).await, create(&house.of("acme")).await);
    create(&house.of("beta")).await;
    house.of("operator").cancel(&first).await.unwrap();
    // Beta's and acme's other are not read in time.
    let known = InterceptedService::new(house.channel.clone(), holder("operator"));
    let by = Some(Duration::from_secs(601).try_into().unwrap());
    SandboxServiceClient::new(known).advance_clock(AdvanceClockRequest { by }).await.unwrap();
    let told = metrics(&house).await;
    for line in [
        "dispatch_tenant_workflows_created_total{tenant=\"acme\"} 2",
        "dispatch_tenant_workflows_created_total{tenant=\"beta\"} 1",
        "dispatch_tenant_failovers_total{tenant=\"acme\"} 1",
        "dispatch_tenant_failovers_total{tenant=\"beta\"} 1",
        "dispatch_tenant_workflows_ended_total{tenant=\"acme\",state=\"CANCELED\"} 1",
        "dispatch_tenant_workflows_ended_total{tenant=\"beta\",state=\"CANCELED\"} 0",
        "dispatch_tenant_workflows_open{tenant=\"acme\"} 1",
        "dispatch_tenant_workflows_open{tenant=\"beta\"} 1",
    ] {
        assert!(told.iter().any(|it| it == line), "{line}: {told:#?}");
    }
    no_recipient::stop(house.service).await;
    let house = House::new(&config).await;
    let told = metrics(&house).await;
    let open = "dispatch_tenant_workflows_open{tenant=\"acme\"} 1".to_owned();
    assert!(told.contains(&open), "{told:#?}");
    no_recipient::stop(house.service).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_administrator_is_bounded_by_its_tenant_whatever_that_is_called() {
    let house = house().await;
    let a = create(&house.of("acme")).await;
    let default = house.of("default");
    assert_eq!(list(&default, "").await.unwrap(), []);
    assert_eq!(default.get(&a).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(default.cancel(&a).await.unwrap_err().code(), Code::NotFound);
    let denied = (Code::PermissionDenied, "SCOPE_MISSING".to_owned());
    let tenant = || "acme".to_owned();
    assert_eq!(outcome(list(&default, "acme").await), denied);
    assert_eq!(outcome(told(&default, "acme", 1).await), denied);
    let asked = ListKeysRequest { tenant: tenant(), ..Default::default() };
    assert_eq!(outcome(default.access().list_keys(asked).await), denied);
    let asked = ListAuditRequest { tenant: tenant(), page_size: 1, ..Default::default() };
    assert_eq!(outcome(default.access().list_audit(asked).await), denied);
    let asked = ListCallbacksRequest { tenant: tenant(), ..Default::default() };
    assert_eq!(outcome(default.callbacks().list_callbacks(asked).await), denied);
    let other = CreateKeyRequest { tenant: tenant(), ..Default::default() };
    let refused = default.access().create_key(other).await.unwrap_err();
    assert_eq!(reason(&refused), "OPERATOR_ONLY");
    let scopes = vec![v1::Scope::Operator as i32];
    let more = CreateKeyRequest { scopes, ..Default::default() };
    let refused = default.access().create_key(more.clone()).await.unwrap_err();
    assert_eq!(reason(&refused), "OPERATOR_ONLY");
    let usual = default.access().create_key(CreateKeyRequest::default()).await.unwrap();
    let usual = usual.into_inner().key.unwrap();
    let scopes: Vec<_> = usual.scopes().map(|it| it.short_name().to_ascii_lowercase()).collect();
    assert_eq!(scopes, ALL);
    let listed = default.access().list_keys(ListKeysRequest::default()).await.unwrap().into_inner();
    assert!(listed.keys.iter().all(|key| !key.scopes().any(|scope| scope == v1::Scope::Operator)));

    // An operator grants it, for any tenant, and lists everybody's.
    let operator = house.of("operator");
    let more = CreateKeyRequest { tenant: "acme".to_owned(), ..more };
    operator.access().create_key(more).await.unwrap();
    let all = async |tenant: &str| {
        let asked = ListKeysRequest { tenant: tenant.to_owned(), ..Default::default() };
        operator.access().list_keys(asked).await.unwrap().into_inner().keys.len()
    };
    assert_eq!((all("").await, all("acme").await, all("beta").await), (6, 2, 1));
    no_recipient::stop(house.service).await;
}
