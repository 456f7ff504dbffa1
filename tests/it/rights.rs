//! Each method and each path against each scope, over the real edges, from the one table that both use.

use dispatch::{access::all_rights, client::Credential, config::AccessKeyConfig};
use reqwest::Method;
use serde_json::{Value, json};
use tonic::{
    Code, Request, client::Grpc, codegen::http::uri::PathAndQuery,
    service::interceptor::InterceptedService, transport::Channel,
};
use tonic_prost::ProstCodec;

use crate::{
    access::{House, MISSING, SECRET, holder, key},
    facade::messenger_sms,
    no_recipient,
    support::in_memory,
};

const SCOPES: [&str; 6] = ["create", "read", "cancel", "admin", "operator", "contents"];

fn keys() -> Vec<AccessKeyConfig> {
    SCOPES.map(|scope| key(scope, "acme", &[scope])).into()
}

/// Whether a key that has one scope may do what needs another.
fn may(has: &str, needs: &str) -> bool {
    has == needs || has == "operator" && needs != "create"
}

/// An empty request to any method of ours, whatever it answers.
pub async fn call(channel: &Channel, who: &str, method: &str) -> Code {
    let credential = if who.is_empty() { Credential::none() } else { holder(who) };
    let mut grpc = Grpc::new(InterceptedService::new(channel.clone(), credential));
    grpc.ready().await.unwrap();
    let path = PathAndQuery::try_from(format!("/dispatch.v1.{method}")).unwrap();
    let codec: ProstCodec<(), ()> = ProstCodec::default();
    match grpc.server_streaming(Request::new(()), path, codec).await {
        Ok(_) => Code::Ok,
        Err(status) => status.code(),
    }
}

/// The method and path of a line of the table, with ids that nobody has.
pub fn request_of(line: &str, house: &House) -> (Method, String) {
    let (method, pattern) = line.split_once(' ').unwrap();
    let path = pattern
        .replace("{id}", MISSING)
        .replace("{application}", MISSING)
        .replace("{provider}", "messenger")
        .replace("{external_id}", "1000");
    (method.parse().unwrap(), format!("http://{}{path}", house.service.http))
}

async fn status(house: &House, who: &str, line: &str) -> u16 {
    let (method, url) = request_of(line, house);
    let call = reqwest::Client::new().request(method, url).basic_auth(who, Some(SECRET));
    let call = call.header("content-type", "application/json").body("{}");
    call.send().await.unwrap().status().as_u16()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_method_and_every_path_asks_for_its_scope() {
    let mut config = in_memory();
    config.access.keys = keys();
    let house = House::new(&config).await;
    for (needs, method, requests) in all_rights() {
        for has in SCOPES {
            let may = may(has, needs.as_str());
            let code = call(&house.channel, has, method).await;
            assert_eq!(code != Code::PermissionDenied, may, "{has} at {method}: {code:?}");
            assert!(!matches!(code, Code::Unauthenticated | Code::Unimplemented), "{method}");
            for line in requests {
                let status = status(&house, has, line).await;
                assert_eq!(status != 403, may, "{has} at {line}: {status}");
                assert!(!matches!(status, 401 | 405), "{has} at {line}: {status}");
            }
        }
    }
    no_recipient::stop(house.service).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_cancel_and_not_read_is_told_no_more_than_that_it_is_done() {
    let mut config = in_memory();
    config.access.keys = keys();
    config.access.keys.push(key("all", "acme", &SCOPES));
    let house = House::new(&config).await;
    let ask = async |who: &str, method: Method, path: &str, body: Option<Value>| -> Value {
        let url = format!("http://{}{path}", house.service.http);
        let call = reqwest::Client::new().request(method, url).basic_auth(who, Some(SECRET));
        let call = call.header("content-type", "application/json");
        let body = body.map_or(String::new(), |body| body.to_string());
        let text = call.body(body).send().await.unwrap().text().await.unwrap();
        serde_json::from_str(&text).unwrap()
    };
    let mut asked = messenger_sms();
    asked["client_ref"] = json!("order-4711");
    for path in ["/v0.1/dispatch", "/workflows"] {
        let made = ask("all", Method::POST, "/v0.1/dispatch", Some(asked.clone())).await;
        let id = made["dispatch_uuid"].as_str().unwrap();
        let one = format!("{path}/{id}");
        let told = ask("cancel", Method::DELETE, &one, None).await;
        let names: Vec<_> = told.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(names, ["dispatch_uuid", "may_still_arrive", "state"], "{told}");
        assert_eq!(told["state"], "CANCELED");
        let whole = ask("all", Method::DELETE, &one, None).await;
        assert!(whole["timeline"].is_array() && whole["workflow"].is_array(), "{whole}");
    }
    no_recipient::stop(house.service).await;
}
