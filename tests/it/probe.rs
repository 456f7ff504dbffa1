//! `dispatch accounts probe`: whether providers take what is configured, asked over real sockets.

use std::{path::Path, sync::Arc};

use dispatch::{engine::SystemClock, service::ServiceClock};
use dispatch_contract::Secret;
use dispatch_sandbox::{ProviderConfig, SandboxServer, ServerConfig, SimulatedProvider};
use tokio::{net::TcpListener, process::Command};
use tokio_util::sync::CancellationToken;

use crate::support::{FREE, free_port};

const KEY: &str = "abcd1234";
const SECRET: &str = "a-secret-of-the-tests";

async fn vonage() -> (Arc<SimulatedProvider>, String) {
    let clock = ServiceClock::System(Arc::new(SystemClock::new())).contract_clock();
    let provider = Arc::new(SimulatedProvider::new(clock, ProviderConfig::default()));
    let server = ServerConfig {
        api_key: KEY.to_owned(),
        api_secret: Some(Secret::new(SECRET)),
        ..ServerConfig::default()
    };
    let server = SandboxServer::new(Arc::clone(&provider), server).unwrap();
    let socket = TcpListener::bind(FREE).await.unwrap();
    let url = format!("http://{}", socket.local_addr().unwrap());
    tokio::spawn(server.serve(socket, CancellationToken::new()));
    (provider, url)
}

fn account(name: &str, base_url: &str, secret: &str) -> String {
    format!(
        "[[accounts]]\nname = \"{name}\"\nprovider = \"vonage\"\n\
         settings = {{ base_url = \"{base_url}\", api_key = \"{KEY}\" }}\n\
         secrets = {{ api_secret = \"{secret}\", signature_secret = \"another-secret\" }}\n"
    )
}

/// The exit code, and all that was printed.
async fn probe(arguments: &[&str], config: &Path) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dispatch"));
    command.args(["accounts", "probe"]).args(arguments).arg("--config").arg(config);
    let told = command.output().await.unwrap();
    let text = [told.stdout, told.stderr].concat();
    (told.status.code(), String::from_utf8(text).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_account_works_is_refused_or_cannot_be_asked_and_nothing_is_sent_or_shown() {
    let (provider, url) = vonage().await;
    let nobody = free_port().await;
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("dispatch.toml");
    let accounts = [
        account("right", &url, SECRET),
        account("wrong", &url, "not-the-secret"),
        account("away", &format!("http://{nobody}"), SECRET),
    ];
    std::fs::write(&config, accounts.concat()).unwrap();

    let (code, told) = probe(&[], &config).await;
    let lines: Vec<_> = told.lines().collect();
    let [sandbox, away, right, wrong] = lines.as_slice() else { panic!("{told}") };
    assert_eq!(*sandbox, "sandbox/sandbox: works");
    let unreached = format!("vonage/away: cannot be asked: no connection to {nobody}");
    assert!(away.starts_with(&unreached), "{away}");
    assert_eq!(*right, "vonage/right: works");
    assert_eq!(*wrong, "vonage/wrong: refused: the provider answered HTTP 401");
    assert_eq!(code, Some(1), "one is refused");
    for secret in [SECRET, "not-the-secret", "another-secret"] {
        assert!(!told.contains(secret), "{told}");
    }
    assert_eq!(probe(&["right"], &config).await, (Some(0), "vonage/right: works\n".to_owned()));
    let (code, told) = probe(&["away"], &config).await;
    assert!(code == Some(0) && told.starts_with(&unreached), "nobody refused it: {told}");
    let (code, told) = probe(&["nobody"], &config).await;
    assert_eq!((code, told.contains("no account nobody")), (Some(4), true), "{told}");
    assert!(provider.sent().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_configuration_that_is_wrong_is_told_so() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("dispatch.toml");
    std::fs::write(&config, account("main", "ftp://a", SECRET)).unwrap();
    let (code, told) = probe(&[], &config).await;
    assert_eq!(code, Some(1));
    assert!(told.contains("account main: setting base_url must be an http or https URL"), "{told}");
    assert!(!told.contains(SECRET), "{told}");
}
