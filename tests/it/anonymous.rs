//! Who is let in without a key: programs on this machine, while nothing real can be sent or read. How
//! the first key is made where nobody is.

use dispatch::{
    access::all_rights,
    builtin,
    client::{Client, Credential},
    config::{AccountConfig, Config, RouteConfig, StoreKind},
    pb::v1::{self, CreateKeyRequest},
    service::{Service, StartError},
};
use tonic::{
    Code,
    transport::{Channel, Endpoint},
};

use crate::{
    access::{House, SECRET, key, outcome, reason},
    no_recipient,
    rights::{call, request_of},
    support::{FREE, Process, in_memory},
};

/// An account and a route that would really send, and no key.
fn real() -> Config {
    let mut config = in_memory();
    config.accounts.push(AccountConfig {
        name: "main".to_owned(),
        formerly: Vec::new(),
        provider: "vonage".to_owned(),
        settings: [("api_key".to_owned(), "abcd1234".to_owned())].into(),
        secrets: ["api_secret", "signature_secret"]
            .map(|name| (name.to_owned(), "a secret of thirty-two characters".into()))
            .into(),
    });
    config.routes.push(RouteConfig {
        name: "sms".to_owned(),
        adapter: "vonage-sms".to_owned(),
        account: "main".to_owned(),
        tenants: vec!["default".to_owned()],
        sender: "*".to_owned(),
        concurrency: 1,
        timeout_s: 1,
    });
    config
}

async fn rest(house: &House, line: &str, headers: &[(&str, &str)]) -> (u16, String) {
    let (method, url) = request_of(line, house);
    let mut call = reqwest::Client::new().request(method, url);
    for (name, value) in headers {
        call = call.header(*name, *value);
    }
    let answer = call.header("content-type", "application/json").body("{}").send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

/// Every method of ours.
fn methods() -> impl Iterator<Item = &'static str> {
    all_rights().map(|(_, method, _)| method)
}

/// A connection whose calls are addressed to another host than it leads to.
async fn addressed_to(house: &House, host: &str) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{}", house.service.grpc)).unwrap();
    endpoint.origin(format!("http://{host}").parse().unwrap()).connect().await.unwrap()
}

/// Every path of the REST API.
fn paths() -> impl Iterator<Item = &'static str> {
    all_rights().flat_map(|(_, _, requests)| requests.iter().copied())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_something_real_every_method_and_path_asks_for_a_key_and_says_how_to_make_one() {
    let mut with_proxy = real();
    with_proxy.listen.public_url = "https://dispatch.example.com".to_owned();
    // A real account alone is enough: webhooks come by it.
    let mut account_only = real();
    account_only.routes.clear();
    for config in [real(), with_proxy, account_only] {
        let house = House::new(&config).await;
        // The sandbox is served where it serves.
        let is_served = |method: &&str| !method.starts_with("SandboxService/");
        for method in methods().filter(is_served) {
            let code = call(&house.channel, "", method).await;
            assert_eq!(code, Code::Unauthenticated, "{method}");
        }
        let refused = Client::over(house.channel.clone()).channels().await.unwrap_err();
        assert_eq!(reason(&refused), "NO_KEY_YET");
        assert!(refused.message().contains("dispatch keys create"), "{}", refused.message());
        let forwarded = [("x-forwarded-for", "127.0.0.1"), ("x-forwarded-host", "localhost")];
        for line in paths() {
            for headers in [&[][..], &forwarded] {
                let (status, told) = rest(&house, line, headers).await;
                assert_eq!(status, 401, "{line}: {told}");
                assert!(told.contains("dispatch keys create"), "{line}: {told}");
            }
        }
        no_recipient::stop(house.service).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_read_the_folder_makes_the_first_key_of_a_running_service_and_only_that() {
    // In memory, whatever is asked for: beside a data folder it is a folder that stays.
    let config = real();
    let started = Service::start(&config, |clock, _| builtin::parts(&config, clock)).await;
    let house = House::of_service(started.unwrap()).await;
    let folder = house.service.first_key.clone().unwrap();
    let key = dispatch::access::bootstrap_key(&folder).unwrap().unwrap();
    let bootstrap = house.client(&Credential::key(&key).unwrap());
    let asked = CreateKeyRequest { name: "me".to_owned(), ..Default::default() };
    let made = bootstrap.access().create_key(asked.clone()).await.unwrap().into_inner();
    let view = made.key.unwrap();
    let scopes: Vec<_> = view.scopes().map(v1::Scope::short_name).collect();
    assert_eq!(scopes, ["CREATE", "READ", "CANCEL", "ADMIN", "OPERATOR"]);
    assert!(!folder.exists(), "it is of use once");
    let again = outcome(bootstrap.access().create_key(asked).await);
    assert_eq!(again, (Code::Unauthenticated, "CREDENTIALS_INVALID".to_owned()));
    let me = house.client(&Credential::key(&format!("{}:{}", view.key_id, made.secret)).unwrap());
    assert_eq!(me.channels().await.unwrap().len(), 1);
    no_recipient::stop(house.service).await;
}

/// As the README has it: configure, serve, one command, go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newcomer_with_a_real_account_makes_a_key_by_one_command() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("dispatch.toml");
    let text = "[log]\nlevel = \"warn\"\n[[accounts]]\nname = \"main\"\nprovider = \"vonage\"\n\
                settings = { api_key = \"abcd1234\" }\nsecrets = { api_secret = \"0123456789abcdef\", \
                signature_secret = \"0123456789abcdef\" }\n[[routes]]\nname = \"sms\"\nadapter = \
                \"vonage-sms\"\naccount = \"main\"\n";
    let data = folder.path().join("data");
    std::fs::write(&file, format!("{text}[store]\ndata = \"{}\"\n", data.display())).unwrap();
    let process = Process::serve(&file, &data, FREE, FREE).await;
    let server = format!("http://{}", process.grpc);
    let run = async |arguments: &[&str], key: &str| {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_dispatch"));
        command.args(arguments).args(["--server", &server]).env_remove("DISPATCH_KEY");
        if !key.is_empty() {
            command.env("DISPATCH_KEY", key);
        }
        let output = command.current_dir(folder.path()).output().await.unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let shut = run(&["channels"], "").await;
    assert_eq!(shut.0, Some(7), "{shut:?}");
    assert!(shut.2.contains("dispatch keys create --name"), "{shut:?}");
    // In the folder that the service was started in the command needs nothing else.
    let (code, key, advice) = run(&["keys", "create", "--name", "me"], "").await;
    assert_eq!(code, Some(0), "{advice}");
    assert!(!data.join("bootstrap.key").exists());
    assert_eq!(run(&["channels"], &key).await.0, Some(0));
    assert_eq!(run(&["audit"], &key).await.1.matches("bootstrap").count(), 1);
    assert_eq!(run(&["keys", "create"], "").await.0, Some(7), "it made the first, and no other");
    assert_eq!(process.terminate().await, Some(0));

    // Elsewhere it says where the folder is.
    let data = folder.path().join("other");
    let process = Process::serve(&file, &data, FREE, FREE).await;
    let server = format!("http://{}", process.grpc);
    let made = tokio::process::Command::new(env!("CARGO_BIN_EXE_dispatch"))
        .args(["keys", "create", "--server", &server, "--data"])
        .arg(&data)
        .env_remove("DISPATCH_KEY")
        .output()
        .await
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    assert_eq!(process.terminate().await, Some(0));
}

/// A folder with real messages in it stays shut although its configuration is left out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_real_is_not_open_again_without_its_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let kept = |mut config: Config| {
        config.store.kind = StoreKind::Sled;
        config.store.data = folder.path().join("data");
        config
    };
    let with_key = {
        let mut config = in_memory();
        config.access.keys.push(key("me", "default", &["create", "operator"]));
        config
    };
    for was in [real(), with_key] {
        let house = House::new(&kept(was)).await;
        no_recipient::stop(house.service).await;
        let house = House::new(&kept(in_memory())).await;
        let (status, told) = rest(&house, "GET /v2/applications", &[]).await;
        assert_eq!(status, 401, "{told}");
        assert_eq!(
            call(&house.channel, "", "DispatchService/ListWorkflows").await,
            Code::Unauthenticated
        );
        no_recipient::stop(house.service).await;
        assert!(!folder.path().join("data/bootstrap.key").exists(), "it goes with the service");
        std::fs::remove_dir_all(folder.path().join("data")).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_needs_no_key_asks_this_machine_and_is_no_browser_s_page() {
    let mut config = in_memory();
    config.listen.public_url = "https://dispatch.example.com".to_owned();
    let house = House::new(&config).await;
    let port = house.service.http.port();
    let own = format!("127.0.0.1:{port}");
    let same_origin = format!("http://{own}");
    let local = format!("localhost:{port}");
    for headers in [
        &[][..],
        &[("host", "localhost")],
        &[("host", &local)],
        &[("host", "[::1]:8080")],
        &[("origin", &same_origin), ("sec-fetch-site", "same-origin")],
    ] {
        for line in paths() {
            let (status, told) = rest(&house, line, headers).await;
            assert!(!matches!(status, 401 | 403), "{line} {headers:?}: {status} {told}");
        }
    }
    for (headers, says) in [
        (&[("host", "evil.example")][..], "localhost, 127.0.0.0/8 or [::1]"),
        (&[("host", "127.0.0.1.evil.example:8080")], "localhost, 127.0.0.0/8 or [::1]"),
        (&[("host", "dispatch.example.com")], "localhost, 127.0.0.0/8 or [::1]"),
        (&[("origin", "https://evil.example")], "another site's page"),
        (&[("sec-fetch-site", "cross-site")], "another site's page"),
        (&[("x-forwarded-for", "203.0.113.9")], "proxy"),
    ] {
        for line in paths() {
            let (status, told) = rest(&house, line, headers).await;
            assert_eq!(status, 403, "{line} {headers:?}: {told}");
            assert!(told.contains(says) && !told.contains("evil"), "{line}: {told}");
        }
    }
    for host in ["evil.example:50051", "dispatch.example.com", "127.0.0.1.evil.example"] {
        let channel = addressed_to(&house, host).await;
        for method in methods() {
            let code = call(&channel, "", method).await;
            assert_eq!(code, Code::PermissionDenied, "{method} at {host}");
        }
        let refused = Client::over(channel).channels().await.unwrap_err();
        assert_eq!(reason(&refused), "NOT_LOCAL");
        assert!(refused.message().contains("localhost"), "{}", refused.message());
    }
    for host in ["localhost", "[::1]:50051", "127.0.0.1"] {
        let channel = addressed_to(&house, host).await;
        // After which nobody is without a key.
        for method in methods().filter(|method| *method != "AccessService/CreateKey") {
            let code = call(&channel, "", method).await;
            let is_refused = matches!(code, Code::PermissionDenied | Code::Unauthenticated);
            assert!(!is_refused, "{method} at {host}: {code:?}");
        }
    }

    // Nobody reads what concerns all of them under a name of somebody else's either.
    for (host, wanted) in [("evil.example", 403), ("127.0.0.1:9090", 200), ("localhost", 200)] {
        for path in ["/metrics", "/healthz", "/readyz"] {
            let url = format!("http://{}{path}", house.service.internal_http);
            let answer = reqwest::Client::new().get(url).header("host", host).send().await.unwrap();
            assert_eq!(answer.status().as_u16(), wanted, "{path} as {host}");
        }
    }
    no_recipient::stop(house.service).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_brings_a_key_may_call_the_service_what_it_likes() {
    let mut config = in_memory();
    config.access.keys.push(key("me", "default", &["create", "operator"]));
    let house = House::new(&config).await;
    let (_, url) = request_of("GET /v2/applications", &house);
    let answer = reqwest::Client::new()
        .get(url)
        .basic_auth("me", Some(SECRET))
        .header("host", "dispatch.example.com")
        .header("x-forwarded-for", "203.0.113.9");
    assert_eq!(answer.send().await.unwrap().status().as_u16(), 200);
    let named = addressed_to(&house, "dispatch.example.com").await;
    assert_eq!(call(&named, "me", "DispatchService/ListChannels").await, Code::Ok);
    no_recipient::stop(house.service).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_listens_in_clear_for_others_unless_told_so_and_then_asks_for_a_key_all_the_same() {
    let everywhere = "0.0.0.0:0".parse().unwrap();
    let start = async |config: &Config| {
        no_recipient::start(config, |clock, _| builtin::parts(config, clock)).await
    };
    let mut config = in_memory();
    config.listen.grpc = everywhere;
    let mut http = in_memory();
    http.listen.http = everywhere;
    for (config, setting) in [(&config, "listen.grpc"), (&http, "listen.http")] {
        let refused = start(config).await.unwrap_err();
        assert!(matches!(refused, StartError::InsecureListen(_)));
        let told = refused.to_string();
        for part in [setting, "without TLS", "listen.tls.certificate", "listen.insecure = true"] {
            assert!(told.contains(part), "{told}");
        }
    }
    config.listen.http = everywhere;
    config.listen.insecure = true;
    let service = start(&config).await.unwrap();
    let client =
        Client::connect(format!("http://127.0.0.1:{}", service.grpc.port())).await.unwrap();
    assert_eq!(reason(&client.channels().await.unwrap_err()), "NO_KEY_YET");
    let url = format!("http://127.0.0.1:{}/v2/applications", service.http.port());
    assert_eq!(reqwest::get(url).await.unwrap().status().as_u16(), 401);
    assert!(service.first_key.is_some());
    no_recipient::stop(service).await;
}
