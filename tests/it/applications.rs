//! Applications: over HTTP as the old API had them, over gRPC, by the command line, and as [`rows`].

mod rows;

use std::{os::unix::fs::PermissionsExt, path::Path};

use dispatch::{
    config::StoreKind,
    pb::v1::{
        self, CallbackPayloadVersion, CallbackSigning, CreateApplicationRequest,
        GetApplicationRequest, GetCallbackSecretRequest, ListApplicationsRequest,
        MessagesCapability, RotateCallbackSecretRequest, RotateKeyPairRequest,
        UpdateApplicationRequest,
    },
};
use reqwest::Method;
use serde_json::{Value, json};
use tonic::Code;
use tonic_types::StatusExt;

use crate::{
    rest::{Api, wrong},
    support::{FREE, Process, Running, in_memory},
};

const PATH: &str = "/v2/applications";

/// As the old documentation has it.
fn demo() -> Value {
    json!({
        "name": "Demo Application",
        "capabilities": { "messages": { "webhooks": {
            "inbound_url": { "address": "https://example.com/inbound", "http_method": "POST" },
            "status_url": { "address": "https://example.com/status", "http_method": "POST" },
        } } },
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_may_be_sent_back_as_it_is() {
    let running = Running::start(&in_memory()).await;
    let api = Api::of(&running);
    let (_, created) = api.post(PATH, demo()).await;
    let one = format!("{PATH}/{}", created["id"].as_str().unwrap());
    // With the secrets that are told only once, and without them.
    for answer in [created.clone(), api.get(&one).await.1] {
        let (status, updated) = api.put(&one, answer.clone()).await;
        assert_eq!(status, 200, "{updated}");
        assert_eq!(updated, api.get(&one).await.1, "no secret is made anew");
        for (pointer, told) in [
            ("/capabilities/messages/webhooks", "status_url"),
            ("/keys/public_key", "BEGIN PUBLIC KEY"),
            ("/name", "Demo Application"),
        ] {
            assert_eq!(updated.pointer(pointer), created.pointer(pointer));
            assert!(updated.pointer(pointer).unwrap().to_string().contains(told), "{updated}");
        }
    }
    let other = api.post(PATH, demo()).await.1;
    let secret = "capabilities.messages.signing.secret";
    for (pointer, value, name) in [
        ("/capabilities/messages/signing/secret", json!("whsec_mine"), secret),
        (
            "/capabilities/messages/signing/secret",
            other["capabilities"]["messages"]["signing"]["secret"].clone(),
            secret,
        ),
        ("/keys/private_key", json!("mine"), "keys.private_key"),
        ("/keys/private_key", other["keys"]["private_key"].clone(), "keys.private_key"),
    ] {
        let mut body = created.clone();
        *body.pointer_mut(pointer).unwrap() = value;
        let (status, problem) = api.put(&one, body).await;
        assert_eq!(status, 400, "{problem}");
        let told = wrong(&problem, "invalid_parameters");
        assert_eq!(told[0].0, name);
        assert!(told[0].1.contains("send back the present one or leave it out"), "{told:?}");
        assert!(!problem.to_string().contains("whsec_"), "{problem}");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_application_lives_its_life_over_http() {
    let running = Running::start(&in_memory()).await;
    let api = Api::of(&running);
    let (status, created) = api.post(PATH, demo()).await;
    assert_eq!(status, 201, "{created}");
    let id = created["id"].as_str().unwrap().to_owned();
    let private = created["keys"]["private_key"].as_str().unwrap();
    assert!(private.starts_with("-----BEGIN PRIVATE KEY-----\n"), "{private}");
    let messages = &created["capabilities"]["messages"];
    assert!(messages["signing"]["secret"].as_str().unwrap().starts_with("whsec_"));

    let one = format!("{PATH}/{id}");
    let (status, shown) = api.get(&one).await;
    assert_eq!(status, 200);
    let expected = json!({
        "id": id,
        "name": "Demo Application",
        "keys": { "public_key": created["keys"]["public_key"] },
        "capabilities": { "messages": {
            "webhooks": demo()["capabilities"]["messages"]["webhooks"],
            "version": "v0.1",
            "signing": { "method": "jwt" },
        } },
        "privacy": { "improve_ai": false },
        "_links": { "self": { "href": one } },
    });
    assert_eq!(shown, expected, "what was told once is told no more");

    let (status, listed) = api.get(PATH).await;
    assert_eq!(status, 200);
    assert_eq!(listed["_embedded"]["applications"], json!([expected]));
    assert_eq!((&listed["total_items"], &listed["total_pages"]), (&json!(1), &json!(1)));

    // What a client read is what it may write back.
    let mut changed = shown.clone();
    changed["name"] = json!("Another name");
    changed["capabilities"]["voice"] = json!({ "webhooks": { "answer_url": { "address": "x" } } });
    changed["capabilities"]["messages"]["version"] = json!("v1");
    changed["privacy"]["improve_ai"] = json!(true);
    let (status, updated) = api.put(&one, changed.clone()).await;
    assert_eq!((status, &updated), (200, &changed), "the key stays, and no secret is made");
    assert_eq!(api.get(&one).await, (200, changed));

    assert_eq!(api.delete(&one).await, (204, Value::Null));
    let (status, problem) = api.get(&one).await;
    assert_eq!(status, 404);
    assert_eq!(problem["type"], "https://developer.nexmo.com/api-errors#not-found");
    let gone = format!("ID '{id}' does not exist, or you do not have access");
    assert_eq!(problem["detail"], gone);
    assert_eq!(api.delete(&one).await.0, 404);
    assert_eq!(api.put(&one, demo()).await.0, 404);
    assert_eq!(api.get(&format!("{PATH}/nonsense")).await.0, 404);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_come_in_pages() {
    let running = Running::start(&in_memory()).await;
    let api = Api::of(&running);
    let key = api.post(PATH, demo()).await.1["keys"]["public_key"].clone();
    for number in 2..=5 {
        let body = json!({ "name": format!("app {number}"), "keys": { "public_key": key } });
        let (status, created) = api.post(PATH, body).await;
        assert_eq!(status, 201);
        assert_eq!(created["keys"], json!({ "public_key": key }), "no pair is made");
    }
    let (_, page) = api.get("/v2/applications?page_size=2&page=2").await;
    assert_eq!(page["page_size"], 2);
    assert_eq!((&page["total_items"], &page["total_pages"]), (&json!(5), &json!(3)));
    assert_eq!(page["_embedded"]["applications"].as_array().unwrap().len(), 2);
    let links = &page["_links"];
    assert_eq!(links["next"]["href"], "/v2/applications?page_size=2&page=3");
    assert_eq!(links["prev"]["href"], links["first"]["href"]);
    let (_, last) = api.get(links["last"]["href"].as_str().unwrap()).await;
    assert_eq!(last["_embedded"]["applications"][0]["name"], "app 5");
    let (_, beyond) = api.get("/v2/applications?page=9000000000000000000&page_size=100").await;
    assert_eq!(beyond["_embedded"]["applications"], json!([]));
    for (query, name) in
        [("page_size=0", "page_size"), ("page_size=101", "page_size"), ("page=x", "page")]
    {
        let (status, problem) = api.get(&format!("{PATH}?{query}")).await;
        let kind = "https://developer.nexmo.com/api-errors/application#list-validation";
        assert_eq!((status, &problem["type"]), (400, &json!(kind)));
        assert_eq!(wrong(&problem, "invalid_parameters")[0].0, name);
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_wrong_field_is_named_with_what_would_be_right() {
    let running = Running::start(&in_memory()).await;
    let api = Api::of(&running);
    let url = |address: &str| json!({ "address": address, "http_method": "POST" });
    let status_url = "/capabilities/messages/webhooks/status_url";
    let address = "capabilities.messages.webhooks.status_url.address";
    // Where, what, and then which name and a part of which reason.
    let cases = [
        ("/name", Value::Null, "name", "is required"),
        ("/name", json!(7), "name", "must be a string"),
        ("/name", json!(""), "name", "1 to 200"),
        ("/name", json!("a\nb"), "name", "printable characters"),
        ("/name", json!("a\u{202e}b"), "name", "printable characters"),
        ("/name", json!("x".repeat(201)), "name", "1 to 200"),
        ("/keys", json!("x"), "keys", "must be an object"),
        ("/keys", json!({ "public_key": 1 }), "keys.public_key", "must be a string"),
        ("/keys", json!({ "public_key": "x" }), "keys.public_key", "BEGIN PUBLIC KEY"),
        (
            "/keys",
            json!({ "public_key": "-----BEGIN PRIVATE KEY-----" }),
            "keys.public_key",
            "stays with you",
        ),
        ("/capabilities", json!([]), "capabilities", "must be an object"),
        ("/capabilities/voice", json!(1), "capabilities.voice", "must be an object"),
        ("/capabilities/rtc", json!({ "x": "y".repeat(17_000) }), "capabilities", "16 KiB"),
        ("/capabilities/messages", json!(true), "capabilities.messages", "must be an object"),
        (
            "/capabilities/messages/webhooks",
            json!("x"),
            "capabilities.messages.webhooks",
            "must be an object",
        ),
        (
            "/capabilities/messages/version",
            json!("v2"),
            "capabilities.messages.version",
            "must be one of: v0.1, v1",
        ),
        (
            "/capabilities/messages/signing",
            json!({ "method": "none" }),
            "capabilities.messages.signing.method",
            "jwt, standard_webhooks",
        ),
        (
            "/capabilities/messages/signing",
            json!({ "secret": "mine" }),
            "capabilities.messages.signing.secret",
            "made by the service",
        ),
        (
            "/capabilities/messages/authenticate_inbound_media",
            json!(true),
            "capabilities.messages.authenticate_inbound_media",
            "not offered",
        ),
        (
            status_url,
            json!({ "address": "https://a.example", "http_method": "GET" }),
            "capabilities.messages.webhooks.status_url.http_method",
            "must be one of: POST",
        ),
        (status_url, json!({ "http_method": "POST" }), address, "is required"),
        (status_url, url("example.com"), address, "an absolute URL"),
        (status_url, url("ftp://example.com"), address, "must begin with https://"),
        (status_url, url("https://[::1/a"), address, "must name a host"),
        (status_url, url("https://example.com:99999/"), address, "a port of 1 to 65535"),
        (status_url, url("https://u:p@example.com"), address, "a user or a password"),
        (status_url, url("http://example.com/"), address, "must begin with https://"),
        (status_url, url("https://127.0.0.1/"), address, "public internet"),
        (status_url, url("https://[::1]/"), address, "public internet"),
        (status_url, url("https://example.com/#x"), address, "fragment"),
        (status_url, url(&format!("https://example.com/{}", "x".repeat(2000))), address, "2000"),
        ("/privacy", json!({ "improve_ai": "yes" }), "privacy.improve_ai", "true or false"),
    ];
    for (place, value, name, reason) in cases {
        let mut body = demo();
        let (parent, field) = place.rsplit_once('/').unwrap();
        body.pointer_mut(parent).unwrap()[field] = value;
        let (status, problem) = api.post(PATH, body).await;
        assert_eq!(status, 400, "{place}: {problem}");
        let kind = "https://developer.nexmo.com/api-errors/application#payload-validation";
        assert_eq!(problem["type"], kind);
        assert_eq!(problem["title"], "Bad Request");
        let told = wrong(&problem, "invalid_parameters");
        assert_eq!(told.len(), 1, "{place}: {told:?}");
        assert_eq!(told[0].0, name, "{place}");
        assert!(told[0].1.contains(reason), "{place}: {told:?}");
    }
    let many: serde_json::Map<_, _> = (0..5000).map(|n| (n.to_string(), json!(0))).collect();
    let (_, problem) = api.post(PATH, json!({ "name": "x", "capabilities": many })).await;
    assert_eq!(wrong(&problem, "invalid_parameters").len(), 40, "the answer stays small");
    // All at once, and nothing was kept of any.
    let body = json!({ "keys": 1, "capabilities": { "messages": { "version": "v9" } } });
    let (_, problem) = api.post(PATH, body).await;
    assert_eq!(wrong(&problem, "invalid_parameters").len(), 3, "{problem}");
    assert_eq!(api.get(PATH).await.1["total_items"], 0);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_request_for_an_application_is_refused_and_changes_nothing() {
    let running = Running::start(&in_memory()).await;
    let api = Api::of(&running);
    let json = "application/json";
    let deep = ["[".repeat(50_000), "]".repeat(10_000)].concat();
    let cases = [
        (Method::POST, json, b"{".to_vec(), 422),
        (Method::POST, json, Vec::new(), 422),
        (Method::POST, json, b"[]".to_vec(), 422),
        (Method::POST, json, b"\xff\xfe".to_vec(), 422),
        (Method::POST, json, deep.into_bytes(), 422),
        (Method::POST, json, vec![b' '; 10 * 1024 * 1024], 413),
        (Method::POST, "text/plain", demo().to_string().into_bytes(), 415),
        (Method::POST, "application/x-www-form-urlencoded", b"name=x".to_vec(), 415),
        (Method::PUT, json, demo().to_string().into_bytes(), 405),
        (Method::TRACE, json, Vec::new(), 405),
    ];
    for (method, kind, body, expected) in cases {
        let (shown, length) = (method.to_string(), body.len());
        let (status, problem) = api.raw(method, PATH, kind, body).await;
        assert_eq!(status, expected, "{shown} {kind}, {length} bytes");
        assert!(problem["type"].is_string() && problem["instance"].is_string(), "{problem}");
    }
    // A byte order mark and a charset are no reason to refuse.
    let body = ["\u{feff}".as_bytes(), demo().to_string().as_bytes()].concat();
    let kind = "application/json; charset=utf-8";
    assert_eq!(api.raw(Method::POST, PATH, kind, body).await.0, 201);
    assert_eq!(api.get(PATH).await.1["total_items"], 1);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_does_not_arrive_is_waited_for_only_so_long() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut config = in_memory();
    config.listen.http_timeout_s = 1;
    let running = Running::start(&config).await;
    let mut slow = tokio::net::TcpStream::connect(running.service.http).await.unwrap();
    let head = format!(
        "POST {PATH} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         content-length: 1000\r\n\r\n{{"
    );
    slow.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 32];
    let read = tokio::time::timeout(std::time::Duration::from_secs(10), slow.read(&mut answer));
    let length = read.await.unwrap().unwrap();
    assert!(answer[..length].starts_with(b"HTTP/1.1 408 "));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_made_over_http_is_the_same_over_grpc() {
    let running = Running::start(&in_memory()).await;
    let api = Api::of(&running);
    let mut grpc = running.client.applications();
    let (_, created) = api.post(PATH, demo()).await;
    let id = created["id"].as_str().unwrap().to_owned();
    let request = GetApplicationRequest { application_id: id.clone() };
    let shown = grpc.get_application(request).await.unwrap().into_inner().application.unwrap();
    assert_eq!((&shown.application_id, shown.name.as_str()), (&id, "Demo Application"));
    assert_eq!(json!(shown.public_key), created["keys"]["public_key"]);
    let messages = shown.messages.unwrap();
    assert_eq!(messages.status_url, "https://example.com/status");
    assert_eq!(messages.payload_version(), CallbackPayloadVersion::V01);

    let secret = &created["capabilities"]["messages"]["signing"]["secret"];
    let request = GetCallbackSecretRequest { application_id: id.clone() };
    let told = grpc.get_callback_secret(request).await.unwrap().into_inner().callback_secret;
    assert_eq!(&json!(told), secret);
    let request = RotateCallbackSecretRequest { application_id: id.clone() };
    let rotated = grpc.rotate_callback_secret(request).await.unwrap().into_inner().callback_secret;
    assert_ne!(rotated, told);

    // Over gRPC, what only HTTP shows stays.
    let mut body = demo();
    body["capabilities"]["rtc"] = json!({ "webhooks": {} });
    assert_eq!(api.put(&format!("{PATH}/{id}"), body).await.0, 200);
    let request = UpdateApplicationRequest {
        application_id: id.clone(),
        application: Some(v1::ApplicationSpec {
            name: "From gRPC".to_owned(),
            public_key: String::new(),
            messages: Some(MessagesCapability {
                status_url: "https://example.com/grpc".to_owned(),
                payload_version: CallbackPayloadVersion::V1 as i32,
                signing: CallbackSigning::StandardWebhooks as i32,
                ..Default::default()
            }),
            tenant_default: false,
        }),
        update_mask: mask(&["name", "messages"]),
    };
    let updated = grpc.update_application(request).await.unwrap().into_inner();
    let request = RotateKeyPairRequest { application_id: id.clone() };
    let rotated = grpc.rotate_key_pair(request).await.unwrap().into_inner();
    assert!(rotated.private_key.starts_with("-----BEGIN PRIVATE KEY-----"));
    assert_ne!(rotated.application, updated.application, "it has another public key");
    assert_eq!(updated.callback_secret, "", "it has one already");
    let (_, shown) = api.get(&format!("{PATH}/{id}")).await;
    assert_ne!(shown["keys"], created["keys"]);
    assert_eq!(
        shown["capabilities"],
        json!({
            "rtc": { "webhooks": {} },
            "messages": {
                "webhooks": { "status_url": {
                    "address": "https://example.com/grpc", "http_method": "POST",
                } },
                "version": "v1",
                "signing": { "method": "standard_webhooks" },
            },
        })
    );

    let request = CreateApplicationRequest { application: Some(Default::default()) };
    let refused = grpc.create_application(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let violations = refused.get_details_bad_request().unwrap().field_violations;
    assert_eq!(violations[0].field, "application.name");
    let request = GetApplicationRequest { application_id: "nonsense".to_owned() };
    let refused = grpc.get_application(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
    assert_eq!(refused.get_details_error_info().unwrap().reason, "APPLICATION_NOT_FOUND");

    api.post(PATH, json!({ "name": "second" })).await;
    let request = ListApplicationsRequest { page_size: 1, ..Default::default() };
    let first = grpc.list_applications(request.clone()).await.unwrap().into_inner();
    let request = ListApplicationsRequest { page_token: first.next_page_token, ..request };
    let second = grpc.list_applications(request).await.unwrap().into_inner();
    assert_eq!(second.applications[0].name, "second");
    assert_eq!(second.next_page_token, "");
    running.stop().await;
}

fn files(folder: &Path, found: &mut Vec<(String, Vec<u8>)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else {
            found.push((path.display().to_string(), std::fs::read(&path).unwrap()));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_keeps_everything_and_no_secret_lies_in_the_data_folder() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = in_memory();
    config.store.kind = StoreKind::Sled;
    config.store.data = folder.path().join("data");
    config.store.cache_mib = 16;
    let token = "EAAJaTokenThatNobodyShouldFindAnywhere0123456789";

    let running = Running::start(&config).await;
    let api = Api::of(&running);
    let (_, created) = api.post(PATH, demo()).await;
    let account = json!({
        "external_id": "107083064136738",
        "access_token": token,
        "applications": [created["id"]],
    });
    assert_eq!(api.post("/beta/chatapp-accounts/messenger", account).await.0, 201);
    let (applications, accounts) =
        (api.get(PATH).await.1, api.get("/beta/chatapp-accounts").await.1);
    running.stop().await;

    let private = created["keys"]["private_key"].as_str().unwrap();
    // Any one line of it, in whatever encoding, would be too much.
    let line = private.lines().nth(10).unwrap();
    let secret = created["capabilities"]["messages"]["signing"]["secret"].as_str().unwrap();
    let public = created["keys"]["public_key"].as_str().unwrap().lines().nth(3).unwrap();
    let (_, bare) = secret.split_once('_').unwrap();
    use base64::Engine as _;
    let decode = |text: &str| base64::prelude::BASE64_STANDARD.decode(text).unwrap();
    let searched = [
        token.as_bytes().to_vec(),
        line.as_bytes().to_vec(),
        decode(line),
        bare.as_bytes().to_vec(),
        decode(bare),
    ];
    let mut found = Vec::new();
    files(&config.store.data, &mut found);
    let holds = |bytes: &[u8], part: &[u8]| bytes.windows(part.len()).any(|at| at == part);
    assert!(found.iter().any(|(_, bytes)| holds(bytes, public.as_bytes())), "the search searches");
    for (path, bytes) in &found {
        for part in &searched {
            assert!(!holds(bytes, part), "a secret lies in {path}");
        }
    }
    let key = config.store.data.join("master.key");
    assert_eq!(key.metadata().unwrap().permissions().mode() & 0o777, 0o600);

    config.access.show_tokens = true;
    let running = Running::start(&config).await;
    let api = Api::of(&running);
    assert_eq!(api.get(PATH).await.1, applications);
    let id = created["id"].as_str().unwrap().to_owned();
    let request = GetCallbackSecretRequest { application_id: id };
    let told = running.client.applications().get_callback_secret(request).await.unwrap();
    assert_eq!(told.into_inner().callback_secret, secret);
    let (_, mut again) = api.get("/beta/chatapp-accounts").await;
    assert_eq!(again["_embedded"][0]["access_token"], token);
    again["_embedded"][0]["access_token"] = json!("***");
    assert_eq!(again, accounts);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_line_writes_the_private_key_to_a_new_file_of_the_owner_s() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("dispatch.toml");
    std::fs::write(&config, "[log]\nlevel = \"warn\"\n").unwrap();
    let process = Process::serve(&config, &folder.path().join("data"), FREE, FREE).await;
    let server = format!("http://{}", process.grpc);
    let run = async |arguments: &[&str]| {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_dispatch"));
        let command = command.args(arguments).args(["--server", &server]);
        let output = command.current_dir(folder.path()).output().await.unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let status = "https://example.com/status";
    let create = ["apps", "create", "Demo", "--messages-status-url", status];
    let (code, told, problem) = run(&create).await;
    assert_eq!(code, Some(0), "{problem}");
    let id = told.split_whitespace().next().unwrap();
    let keyfile = folder.path().join("private.key");
    assert!(told.contains("private key: private.key") && !told.contains("BEGIN"), "{told}");
    assert_eq!(keyfile.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let key = std::fs::read_to_string(&keyfile).unwrap();
    assert!(key.starts_with("-----BEGIN PRIVATE KEY-----"));

    let (code, _, problem) = run(&create).await;
    assert_eq!(code, Some(2));
    assert!(problem.contains("is there already"), "{problem}");
    assert_eq!(std::fs::read_to_string(&keyfile).unwrap(), key, "and is left alone");
    let (_, listed, _) = run(&["apps", "list"]).await;
    assert_eq!(listed, format!("{id}  Demo\n"), "and nothing was created");

    let (code, _, problem) = run(&["apps", "create", "", "--keyfile", "other.key"]).await;
    assert_eq!(code, Some(3), "{problem}");
    assert!(!folder.path().join("other.key").exists(), "no key, no file");

    let (_, shown, _) = run(&["apps", "show", id]).await;
    let expected = format!("{id}  Demo\n  status   {status}\n  version  v0.1\n  signing  jwt\n");
    assert_eq!(shown, expected);
    let (code, shown, _) =
        run(&["apps", "update", id, "--name", "New", "--messages-version", "v1"]).await;
    assert_eq!((code, shown), (Some(0), expected.replace("Demo", "New").replace("v0.1", "v1")));
    let (_, secret, _) = run(&["apps", "secret", id]).await;
    assert!(secret.starts_with("whsec_"), "{secret}");
    let (code, told, _) = run(&["apps", "delete", id]).await;
    assert_eq!((code, told), (Some(0), format!("{id} is gone\n")));
    assert_eq!(run(&["apps", "show", id]).await.0, Some(4));
    assert_eq!(process.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_can_never_be_called_is_refused_while_somebody_looks() {
    let inside = "http://127.0.0.1:9/status";
    let create = |running: &Running, status_url: &str| {
        let messages = MessagesCapability {
            status_url: status_url.to_owned(),
            ..MessagesCapability::default()
        };
        let application = v1::ApplicationSpec {
            name: "inside".to_owned(),
            messages: Some(messages),
            ..v1::ApplicationSpec::default()
        };
        let request = CreateApplicationRequest { application: Some(application) };
        let mut applications = running.client.applications();
        async move { applications.create_application(request).await }
    };
    let running = Running::start(&in_memory()).await;
    for (url, why) in [(inside, "https://"), ("https://10.1.2.3/", "allow_networks")] {
        let refused = create(&running, url).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        let fields = refused.get_details_bad_request().unwrap().field_violations;
        assert_eq!(fields[0].field, "application.messages.status_url");
        assert!(fields[0].description.contains(why), "{fields:?}");
    }
    let made = create(&running, "https://example.com/").await.unwrap().into_inner();
    let update = UpdateApplicationRequest {
        application_id: made.application.unwrap().application_id,
        application: Some(v1::ApplicationSpec {
            name: "inside".to_owned(),
            messages: Some(MessagesCapability {
                status_url: inside.to_owned(),
                ..MessagesCapability::default()
            }),
            ..v1::ApplicationSpec::default()
        }),
        update_mask: mask(&["messages.status_url"]),
    };
    let refused = running.client.applications().update_application(update).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    running.stop().await;

    // Where the configuration lets callbacks go there, so does this.
    let mut config = in_memory();
    config.callbacks.allow_http = true;
    config.callbacks.allow_networks = vec!["127.0.0.0/8".to_owned()];
    let running = Running::start(&config).await;
    create(&running, inside).await.unwrap();
    running.stop().await;
}

fn mask(paths: &[&str]) -> Option<prost_types::FieldMask> {
    let paths = paths.iter().map(|&path| path.to_owned()).collect();
    Some(prost_types::FieldMask { paths })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_update_changes_what_its_mask_names_and_nothing_else() {
    let running = Running::start(&in_memory()).await;
    let mut grpc = running.client.applications();
    let messages = MessagesCapability {
        inbound_url: "https://example.com/in".to_owned(),
        status_url: "https://example.com/status".to_owned(),
        payload_version: CallbackPayloadVersion::V1 as i32,
        signing: CallbackSigning::StandardWebhooks as i32,
    };
    let spec = v1::ApplicationSpec {
        name: "Before".to_owned(),
        messages: Some(messages.clone()),
        tenant_default: true,
        ..v1::ApplicationSpec::default()
    };
    let request = v1::CreateApplicationRequest { application: Some(spec) };
    let created = grpc.create_application(request).await.unwrap().into_inner();
    let mut wanted = created.application.unwrap();
    // Everything is given and wrong, or other than it is: what is not named is not looked at.
    let given = v1::ApplicationSpec {
        name: "After".to_owned(),
        public_key: "no key".to_owned(),
        messages: Some(MessagesCapability {
            inbound_url: "no address".to_owned(),
            status_url: "https://example.com/other".to_owned(),
            ..MessagesCapability::default()
        }),
        tenant_default: false,
    };
    let application_id = wanted.application_id.clone();
    let update = |given: &v1::ApplicationSpec, paths: &[&str]| UpdateApplicationRequest {
        application_id: application_id.clone(),
        application: Some(given.clone()),
        update_mask: mask(paths),
    };
    let request = update(&given, &["name", "messages.status_url"]);
    let changed = grpc.update_application(request).await.unwrap().into_inner();
    assert_eq!(changed.callback_secret, "", "it had one");
    wanted.name = "After".to_owned();
    wanted.messages.as_mut().unwrap().status_url = "https://example.com/other".to_owned();
    assert_eq!(changed.application.as_ref(), Some(&wanted));

    let none = v1::ApplicationSpec::default();
    let request = update(&none, &["messages", "tenant_default"]);
    let changed = grpc.update_application(request).await.unwrap().into_inner();
    let plain = v1::Application { messages: None, tenant_default: false, ..wanted };
    assert_eq!(changed.application.as_ref(), Some(&plain));
    let request = update(&given, &["messages.status_url"]);
    let changed = grpc.update_application(request).await.unwrap().into_inner();
    assert!(changed.callback_secret.starts_with("whsec_"), "it has one again");

    let refused = [
        (update(&given, &[]), "update_mask", "must name what is to change: of name, public_key"),
        (
            update(&given, &["name", "keys"]),
            "update_mask.paths[1]",
            "must be one of name, public_key",
        ),
        (update(&none, &["name"]), "application.name", "must be 1 to 200"),
        (
            update(&none, &["public_key"]),
            "application.public_key",
            "RotateKeyPair makes a new pair",
        ),
        (update(&given, &["messages"]), "application.messages.inbound_url", "must hold no blank"),
    ];
    for (request, field, wanted) in refused {
        let refused = grpc.update_application(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{field}");
        let fields = refused.get_details_bad_request().unwrap().field_violations;
        assert_eq!(fields[0].field, field);
        assert!(fields[0].description.contains(wanted), "{fields:?}");
    }
    running.stop().await;
}
