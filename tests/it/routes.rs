//! Which tenant reaches which route, and whose a sender is.

use std::time::Duration;

use dispatch::{
    builtin,
    config::{Config, RouteConfig, StoreKind},
    pb::v1::{
        AdvanceClockRequest, CreateAccountRequest, CreateWorkflowRequest, ListChannelsRequest,
        Workflow, WorkflowSpec, sandbox_service_client::SandboxServiceClient,
    },
    service::ServiceClock,
};
use serde_json::{Value, json};
use tonic::{Code, service::interceptor::InterceptedService};
use tonic_types::StatusExt;

use crate::{
    access::{ALL, House, SECRET, holder, key},
    no_recipient,
    support::{FREE, in_memory, request},
};

const PAGE: &str = "107083064136738";
const NUMBER: &str = "447700900009";

fn route(name: &str, adapter: &str, sender: &str, tenants: &[&str]) -> RouteConfig {
    RouteConfig {
        name: name.to_owned(),
        adapter: format!("sandbox-{adapter}"),
        account: "sandbox".to_owned(),
        tenants: tenants.iter().map(|&tenant| tenant.to_owned()).collect(),
        sender: sender.to_owned(),
        concurrency: 4,
        timeout_s: 1,
    }
}

fn config() -> Config {
    let mut config = in_memory();
    config.routes = vec![
        route("bank-sms", "sms", "BANK", &["bank"]),
        route("sms", "sms", "*", &["*"]),
        route("messenger", "messenger", "*", &["acme", "beta"]),
        route("whatsapp", "whatsapp", "*", &["default"]),
        route("whatsapp-bank", "whatsapp", NUMBER, &["bank"]),
        route("mms-bank", "mms", "*", &["bank"]),
    ];
    let tenants = ["acme", "beta", "bank", "default"];
    config.access.keys = tenants.map(|tenant| key(tenant, tenant, &ALL)).into();
    config.access.keys.push(key("operator", "default", &["operator"]));
    config
}

/// One message on a channel.
fn message(channel: &str, from: &str) -> WorkflowSpec {
    let kind = if channel == "messenger" { "id" } else { "number" };
    dispatch::pb::from_yaml(&format!(
        "
steps:
  - sender: {{ channel: {channel}, {kind}: '{from}' }}
    recipient: {{ channel: {channel}, {kind}: '447700900001' }}
    message: {{ text: 'Your table is ready.' }}
"
    ))
    .unwrap()
}

/// What a tenant is told of a create, or nothing if it is taken.
async fn create(house: &House, tenant: &str, channel: &str, from: &str) -> Option<String> {
    let asked = request(message(channel, from));
    let only = CreateWorkflowRequest { validate_only: true, ..asked.clone() };
    let checked = house.of(tenant).create(only).await.map(|_| ());
    let created = house.of(tenant).create(asked).await.map(|_| ());
    assert_eq!(checked.is_ok(), created.is_ok(), "a check says what a create does");
    let refused = created.err()?;
    assert_eq!(refused.code(), Code::InvalidArgument);
    let violations = refused.get_details_bad_request().unwrap().field_violations;
    Some(violations[0].description.clone())
}

/// The same over REST.
async fn create_by_rest(house: &House, tenant: &str, channel: &str, from: &str) -> (u16, String) {
    let kind = if channel == "messenger" { "id" } else { "number" };
    let body = json!({"template": "failover", "workflow": [{
        "from": {"type": channel, kind: from},
        "to": {"type": channel, kind: "447700900001"},
        "message": {"content": {"type": "text", "text": "Your table is ready."}},
    }]});
    let url = format!("http://{}/v0.1/dispatch", house.service.http);
    let call = reqwest::Client::new().post(url).basic_auth(tenant, Some(SECRET));
    let call = call.header("content-type", "application/json").body(body.to_string());
    let answer = call.send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_reaches_the_routes_that_name_it_and_hears_nothing_of_the_others() {
    let house = House::new(&config()).await;
    for (tenant, channel, from) in [
        ("bank", "sms", "BANK"),
        ("bank", "sms", "Other"),
        ("beta", "sms", "Beta"),
        ("acme", "messenger", PAGE),
        ("default", "whatsapp", "447700900008"),
        ("bank", "whatsapp", NUMBER),
    ] {
        assert_eq!(create(&house, tenant, channel, from).await, None, "{tenant} {channel} {from}");
        let (status, told) = create_by_rest(&house, tenant, channel, from).await;
        assert_eq!(status, 202, "{tenant} {channel} {from}: {told}");
    }
    for (tenant, channel, from, says) in [
        // A route for any sender does not lend another's name, as a person reads it.
        ("beta", "sms", "BANK", "must be a sender with a route of this tenant; "),
        ("beta", "sms", "Bank", "must be a sender with a route of this tenant; "),
        ("beta", "sms", "B ANK", "must be a sender with a route of this tenant; "),
        ("default", "whatsapp", NUMBER, "must be a sender with a route of this tenant; "),
        ("bank", "whatsapp", "447700900008", "those on whatsapp are 447700900009"),
        ("beta", "whatsapp", "447700900008", "which has messenger, sms"),
        ("default", "messenger", PAGE, "which has sms, whatsapp"),
    ] {
        let told = create(&house, tenant, channel, from).await.expect(from);
        assert!(told.contains(says), "{tenant} {channel} {from}: {told}");
        assert!(!told.contains("BANK"), "{told}");
        let (status, told) = create_by_rest(&house, tenant, channel, from).await;
        assert_eq!(status, 400, "{tenant} {channel} {from}: {told}");
        assert!(!told.contains("bank"), "{told}");
    }

    let routes = async |who: &str, tenant: &str| {
        let asked = ListChannelsRequest { tenant: tenant.to_owned() };
        let listed = house.of(who).raw().list_channels(asked).await;
        let channels = listed.map_err(|status| status.code())?.into_inner().channels;
        let routes = channels.into_iter().flat_map(|channel| channel.routes);
        Ok(routes.map(|route| (route.name, route.tenants.join(","))).collect::<Vec<_>>())
    };
    let own = |names: &[&str]| {
        Ok(names.iter().map(|name| ((*name).to_owned(), String::new())).collect::<Vec<_>>())
    };
    assert_eq!(routes("beta", "").await, own(&["messenger", "sms"]));
    assert_eq!(
        routes("bank", "bank").await,
        own(&["mms-bank", "bank-sms", "sms", "whatsapp-bank"])
    );
    assert_eq!(routes("beta", "bank").await, Err(Code::PermissionDenied));
    let all = routes("operator", "").await.unwrap();
    assert_eq!(all.len(), 6);
    assert!(all.contains(&("messenger".to_owned(), "acme,beta".to_owned())), "{all:?}");
    let beta_s = routes("operator", "beta").await.unwrap();
    assert!(beta_s.contains(&("sms".to_owned(), "*".to_owned())) && beta_s.len() == 2);
    no_recipient::stop(house.service).await;
}

async fn register(house: &House, tenant: &str, provider: &str, id: &str) {
    let asked = CreateAccountRequest {
        provider: provider.to_owned(),
        external_id: id.to_owned(),
        access_token: "token".to_owned(),
        ..Default::default()
    };
    house.of(tenant).accounts().create_account(asked).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sender_that_one_tenant_registered_is_not_another_s_on_a_route_they_share() {
    let house = House::new(&config()).await;
    assert_eq!(create(&house, "beta", "messenger", PAGE).await, None, "nobody's so far");
    register(&house, "acme", "messenger", PAGE).await;
    assert_eq!(create(&house, "acme", "messenger", PAGE).await, None);
    let told = create(&house, "beta", "messenger", PAGE).await.unwrap();
    assert!(told.contains("of this tenant") && !told.contains("acme"), "{told}");
    assert_eq!(create_by_rest(&house, "beta", "messenger", PAGE).await.0, 400);
    // Nor by registering it too.
    register(&house, "beta", "messenger", PAGE).await;
    assert!(create(&house, "beta", "messenger", PAGE).await.is_some());
    assert_eq!(create(&house, "acme", "messenger", PAGE).await, None);

    // What a route says goes before what somebody registers, and takes nobody's own from it.
    register(&house, "beta", "whatsapp", NUMBER).await;
    assert!(create(&house, "beta", "whatsapp", NUMBER).await.is_some());
    assert_eq!(create(&house, "bank", "whatsapp", NUMBER).await, None);
    register(&house, "beta", "whatsapp", "447700900008").await;
    assert_eq!(create(&house, "default", "whatsapp", "447700900008").await, None);
    no_recipient::stop(house.service).await;
}

async fn advance(house: &House, seconds: u64) {
    let known = InterceptedService::new(house.channel.clone(), holder("operator"));
    let by = Some(Duration::from_secs(seconds).try_into().unwrap());
    SandboxServiceClient::new(known).advance_clock(AdvanceClockRequest { by }).await.unwrap();
}

/// In a minute of the service's clock.
async fn scheduled(house: &House, tenant: &str, mut spec: WorkflowSpec) -> String {
    let now = house.service.engine.clock().now().0 / 1000;
    spec.send_at = Some(prost_types::Timestamp { seconds: now as i64 + 60, nanos: 0 });
    house.of(tenant).create(request(spec)).await.unwrap().workflow.unwrap().workflow_id
}

fn end(workflow: &Workflow) -> (&'static str, String) {
    let state = workflow.state().as_str_name().trim_start_matches("WORKFLOW_STATE_");
    (state, workflow.outcome.clone().unwrap_or_default().reason().short_name().to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_goes_out_by_no_route_that_is_another_s_by_then() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config();
    config.store.kind = StoreKind::Sled;
    config.store.data = folder.path().join("data");
    let house = House::new(&config).await;
    // Registered while the message waits.
    let taken = scheduled(&house, "beta", message("messenger", PAGE)).await;
    register(&house, "acme", "messenger", PAGE).await;
    advance(&house, 61).await;
    let workflow = house.of("beta").get(&taken).await.unwrap();
    assert_eq!(end(&workflow).0, "FAILED", "{workflow:?}");
    let told = workflow.outcome.as_ref().unwrap().detail.clone();
    assert!(told.contains("no longer"), "{told}");

    // The route is another's after a restart.
    let gone = scheduled(&house, "beta", message("messenger", "1000")).await;
    let named = scheduled(&house, "beta", message("sms", "Shop")).await;
    no_recipient::stop(house.service).await;
    config.routes[2].tenants = vec!["acme".to_owned()];
    config.routes.push(route("shop", "sms", "Shop", &["acme"]));
    let house = House::new(&config).await;
    advance(&house, 120).await;
    for id in [gone, named] {
        let workflow = house.of("beta").get(&id).await.unwrap();
        assert_eq!(end(&workflow), ("FAILED", "NO_ROUTE".to_owned()), "{workflow:?}");
    }
    no_recipient::stop(house.service).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_serves_the_default_tenant_alone_unless_it_says_whom() {
    let text = |tenants: &str| {
        format!(
            "[[routes]]\nname = \"sms\"\nadapter = \"sandbox-sms\"\naccount = \"sandbox\"\n{tenants}"
        )
    };
    let parsed = Config::parse(&text("")).unwrap();
    assert_eq!(parsed.routes[0].tenants, ["default"]);
    for wrong in ["[]", "[\"*\", \"acme\"]", "[\"a b\"]", "[\"\"]"] {
        let mut config = Config::parse(&text(&format!("tenants = {wrong}"))).unwrap();
        config.store.kind = StoreKind::Memory;
        (config.listen.grpc, config.listen.http, config.listen.internal_http) = (FREE, FREE, FREE);
        let start =
            no_recipient::start(&config, |clock: &ServiceClock, _| builtin::parts(&config, clock));
        let told = start.await.unwrap_err().to_string();
        assert!(told.contains("route sms: tenants must name at least one"), "{wrong}: {told}");
    }
    // Without any route the sandbox serves every tenant.
    let mut config = in_memory();
    config.access.keys.push(key("acme", "acme", &ALL));
    let house = House::new(&config).await;
    assert_eq!(create(&house, "acme", "messenger", PAGE).await, None);
    let (status, told) = create_by_rest(&house, "acme", "sms", "Dispatch").await;
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(status, 202, "{told}");
    no_recipient::stop(house.service).await;
}
