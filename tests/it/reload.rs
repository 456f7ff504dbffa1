//! `kill -HUP` and `serve --check`: a configuration that is read anew by the real process.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Arc, Mutex},
    time::Duration,
};

use dispatch::{
    client::{Client, Credential},
    engine::SystemClock,
    pb::v1::{Workflow, WorkflowState},
};
use dispatch_contract::Secret;
use dispatch_sandbox::{ProviderConfig, SandboxServer, ServerConfig, SimulatedProvider};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::TcpListener,
    process::{Child, Command},
};
use tokio_util::sync::CancellationToken;

use crate::support::{eventually, request};

const SECRET: &str = "a secret of thirty-two characters";
const TIMEOUT: Duration = Duration::from_secs(60);

/// A service whose log is read.
struct Served {
    child: Child,
    client: Client,
    http: SocketAddr,
    config: PathBuf,
    log: Arc<Mutex<String>>,
}

impl Served {
    async fn start(folder: &Path, text: &str) -> Served {
        let config = folder.join("dispatch.toml");
        std::fs::write(&config, text).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_dispatch"))
            .args(["serve", "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0"])
            .args(["--internal-http", "127.0.0.1:0", "--config"])
            .arg(&config)
            .arg("--data")
            .arg(folder.join("data"))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let (heard, mut lines) =
            (Arc::clone(&log), BufReader::new(child.stderr.take().unwrap()).lines());
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                heard.lock().unwrap().push_str(&(line + "\n"));
            }
        });
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (mut grpc, mut http) = (None, None);
        while http.is_none() {
            let line = lines.next_line().await.unwrap().expect("it serves");
            let mut words = line.split_whitespace();
            let (name, address) = (words.next(), words.next().unwrap_or_default());
            let address = address.trim_start_matches("http://").split('/').next().unwrap();
            match name {
                Some("gRPC") => grpc = Some(address.to_owned()),
                Some("webhooks") => http = Some(address.parse().unwrap()),
                _ => {}
            }
        }
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let client = Client::connect(format!("http://{}", grpc.unwrap())).await.unwrap();
        let client = client.with(Credential::key(&format!("abcd1234:{SECRET}")).unwrap());
        Served { child, client, http: http.unwrap(), config, log }
    }

    /// Writes the file anew, sends SIGHUP, and waits until the log says `wanted`.
    async fn reload(&self, text: &str, wanted: &str) {
        self.log.lock().unwrap().clear();
        std::fs::write(&self.config, text).unwrap();
        self.signal("HUP");
        let said = eventually(TIMEOUT, || async { self.log.lock().unwrap().contains(wanted) });
        assert!(said.await, "{wanted}: {}", self.log.lock().unwrap());
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().expect("it lives").to_string();
        let sent = std::process::Command::new("kill").args([&format!("-{name}"), &id]).status();
        assert!(sent.unwrap().success());
    }

    async fn create(&self) -> String {
        let spec = dispatch::pb::from_yaml(
            "
steps:
  - sender: { channel: sms, number: 'Dispatch' }
    recipient: { channel: sms, number: '447700900001' }
    message: { text: 'Your table is ready.' }
",
        );
        self.client.create(request(spec.unwrap())).await.unwrap().workflow.unwrap().workflow_id
    }

    async fn ended(&self, id: &str) -> Workflow {
        let has_ended = || async {
            let state = self.client.get(id).await.unwrap().state();
            !matches!(state, WorkflowState::Running | WorkflowState::Scheduled)
        };
        let is_over = eventually(TIMEOUT, has_ended).await;
        let workflow = self.client.get(id).await.unwrap();
        assert!(is_over, "it does not end: {workflow:?}");
        workflow
    }

    async fn webhook(&self, account: &str) -> u16 {
        let url = format!("http://{}/receipts/vonage/{account}", self.http);
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        client.post(url).body("{}").send().await.unwrap().status().as_u16()
    }
}

async fn provider(script: &str, stop: &CancellationToken) -> (Arc<SimulatedProvider>, SocketAddr) {
    let clock = Arc::new(SystemClock::new());
    let default_script = script.parse().unwrap();
    let provider = Arc::new(SimulatedProvider::new(
        clock,
        ProviderConfig { default_script, ..Default::default() },
    ));
    let server = ServerConfig {
        api_key: "abcd1234".to_owned(),
        api_secret: Some(Secret::new(SECRET)),
        ..ServerConfig::default()
    };
    let server = SandboxServer::new(Arc::clone(&provider), server).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(server.serve(listener, stop.clone()));
    (provider, address)
}

/// `log`, accounts and routes; more may stand before.
fn config(
    provider: SocketAddr,
    level: &str,
    secret: &str,
    accounts: &[&str],
    route: (&str, u32),
) -> String {
    let account = |name: &&str| {
        format!(
            r#"
[[accounts]]
name = "{name}"
provider = "vonage"
settings = {{ base_url = "http://{provider}", api_key = "abcd1234" }}
secrets = {{ api_secret = "{secret}", signature_secret = "{SECRET}" }}
"#
        )
    };
    let accounts: String = accounts.iter().map(account).collect();
    let (name, concurrency) = route;
    format!(
        r#"
[[access.keys]]
id = "abcd1234"
secret = "{SECRET}"
scopes = ["create", "read"]
[engine]
drain_s = 0
queue_warn_s = 1
[log]
level = "{level}"
{accounts}
[[routes]]
name = "{name}"
adapter = "vonage-sms"
account = "main"
concurrency = {concurrency}
timeout_s = 300
"#
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sighup_takes_up_secrets_accounts_and_levels_and_a_bad_file_changes_nothing() {
    let (folder, stop) = (tempfile::tempdir().unwrap(), CancellationToken::new());
    let (_, at) = provider("accept; deliver 10ms", &stop).await;
    let both = ["main", "other"];
    let wrong = config(at, "info", "the wrong secret", &both, ("sms", 4));
    let served = Served::start(folder.path(), &wrong).await;
    let refused = served.ended(&served.create().await).await;
    assert_eq!(refused.state(), WorkflowState::Failed, "{refused:?}");
    assert_eq!((served.webhook("main").await, served.webhook("other").await), (401, 401));

    // Neither a text that is none, nor one whose accounts are not right, nor a value out of range.
    let right = config(at, "debug", SECRET, &["main"], ("sms", 4));
    for (bad, why) in [
        ("[log".to_owned(), "line 1"),
        (right.replace("account = \"main\"", "account = \"nobody\""), "no account nobody"),
        (right.replace("concurrency = 4", "concurrency = 0"), "must be 1 to 10000"),
        (right.replace("\"debug\"", "\"loud\""), "log.level"),
    ] {
        served.reload(&bad, "nothing has changed").await;
        assert!(served.log.lock().unwrap().contains(why), "{why}: {}", served.log.lock().unwrap());
    }
    let refused = served.ended(&served.create().await).await;
    assert_eq!(refused.state(), WorkflowState::Failed, "the old secret is still in use");
    assert_eq!(served.webhook("other").await, 401, "the other account is still there");

    let further = format!("[listen]\nkeep_alive_s = 7\n{right}");
    served.reload(&further, "needs a restart: listen.keep_alive_s").await;
    let log = served.log.lock().unwrap().clone();
    for changed in ["accounts.main.secrets", "accounts.order", "log.level"] {
        assert!(log.contains(changed), "{changed}: {log}");
    }
    assert!(!log.contains(SECRET) && !log.contains("wrong secret"), "{log}");
    assert_eq!((served.webhook("main").await, served.webhook("other").await), (401, 404));
    let id = served.create().await;
    let sent = eventually(TIMEOUT, || async {
        let told = served.client.get(&id).await.unwrap();
        told.timeline.iter().any(|event| event.description.contains("accepted"))
    });
    assert!(sent.await, "the new secret is in use");
    assert!(served.log.lock().unwrap().contains("DEBUG"), "the new level is in use");
    stop.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sighup_widens_a_route_and_who_waits_on_one_that_is_gone_goes_by_another() {
    let (folder, stop) = (tempfile::tempdir().unwrap(), CancellationToken::new());
    let (provider, at) = provider("hang", &stop).await;
    let with = |route| config(at, "info", SECRET, &["main"], route);
    let served = Served::start(folder.path(), &with(("sms", 1))).await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(served.create().await);
    }
    let out = |count: usize| {
        let provider = Arc::clone(&provider);
        eventually(TIMEOUT, move || {
            let calls = provider.calls().len();
            async move { calls == count }
        })
    };
    assert!(out(1).await, "one place");
    let waits = "messages wait for a permit of the route: all 1 permits are in use";
    let said = eventually(TIMEOUT, || async {
        let log = served.log.lock().unwrap();
        log.contains(waits) && log.contains("waiting=4")
    });
    assert!(said.await, "{}", served.log.lock().unwrap());
    served.reload(&with(("sms", 3)), "routes.sms.concurrency").await;
    assert!(out(3).await, "those who waited found the new places: {}", provider.calls().len());
    served.reload(&with(("sms-b", 9)), "routes.order").await;
    assert!(out(5).await, "the others went by the new route: {}", provider.calls().len());
    let mut moved = 0;
    for id in &ids {
        let told = served.client.get(id).await.unwrap();
        let sentences = told.timeline.iter().map(|event| event.description.as_str());
        moved += usize::from(sentences.into_iter().any(|it| it.contains("by route sms-b")));
    }
    assert_eq!(moved, 2);
    stop.cancel();
}

async fn check(config: &Path) -> (bool, String) {
    let done = Command::new(env!("CARGO_BIN_EXE_dispatch"))
        .args(["serve", "--check", "--config"])
        .arg(config)
        .current_dir(config.parent().unwrap())
        .output()
        .await
        .unwrap();
    let said = [done.stdout, done.stderr].concat();
    (done.status.success(), String::from_utf8(said).unwrap())
}

#[tokio::test]
async fn check_says_every_problem_or_what_is_not_as_by_default() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("dispatch.toml");
    let at = "127.0.0.1:9".parse().unwrap();
    let right = config(at, "debug", SECRET, &["main"], ("sms", 4));
    std::fs::write(&file, format!("[listen]\nkeep_alive_s = 7\n{right}")).unwrap();
    let (is_right, said) = check(&file).await;
    assert!(is_right && said.contains("dispatch.toml: right"), "{said}");
    let (by_reload, by_restart) = said.split_once("by a restart").unwrap();
    assert!(by_reload.contains("kill -HUP") && by_reload.contains("log.level"), "{said}");
    assert!(by_restart.contains("listen.keep_alive_s") && !by_restart.contains("log.level"));
    assert!(!said.contains(SECRET), "{said}");
    assert!(!folder.path().join("data").exists(), "it is only looked at");

    let wrong = right
        .replace("drain_s = 0", "drain_s = 99999\nretry_base_ms = 0")
        .replace("account = \"main\"", "account = \"nobody\"")
        .replace("\"debug\"", "\"loud\"");
    std::fs::write(
        &file,
        wrong + "[[routes]]\nname = \"fax\"\nadapter = \"vonage-fax\"\naccount = \"main\"\n",
    )
    .unwrap();
    let (is_right, said) = check(&file).await;
    assert!(!is_right, "{said}");
    for problem in [
        "engine.drain_s must be 0 to 3600",
        "engine.retry_base_ms must be 1",
        "log.level",
        "no account nobody",
        "no adapter vonage-fax",
    ] {
        assert!(said.contains(problem), "{problem}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_whose_receipts_cannot_come_is_named_by_check_and_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("dispatch.toml");
    let config = format!(
        r#"
[[access.keys]]
id = "abcd1234"
secret = "{SECRET}"
scopes = ["create", "read"]
[[accounts]]
name = "spare"
provider = "twilio"
settings = {{ account_sid = "AC0123456789abcdef0123456789abcdef" }}
secrets = {{ auth_token = "{SECRET}" }}
[[routes]]
name = "sms"
adapter = "twilio-sms"
account = "spare"
"#
    );
    std::fs::write(&file, &config).unwrap();
    let wanted = "listen.public_url is empty: none will come";
    let (is_right, said) = check(&file).await;
    assert!(is_right && said.contains("warning: account twilio/spare:"), "{said}");
    assert!(said.contains(wanted), "{said}");
    let served = Served::start(folder.path(), &config).await;
    let warned = eventually(TIMEOUT, || async {
        let log = served.log.lock().unwrap();
        log.contains(wanted) && log.contains("twilio/spare")
    });
    assert!(warned.await, "{}", served.log.lock().unwrap());
    // A reload says it again of what it put in place.
    served.reload(&config.replace("spare", "main"), "twilio/main").await;

    let named = format!("[listen]\npublic_url = \"https://dispatch.example.com\"\n{config}");
    std::fs::write(&file, named).unwrap();
    let (is_right, said) = check(&file).await;
    assert!(is_right && !said.contains("warning"), "{said}");
}

/// What a restart with other routes makes of two messages, one of which the provider put off and one of
/// which waited for its place: their ends, and how often the provider was called after it.
async fn restarted_with(other: impl Fn(&str) -> String) -> (Vec<Workflow>, usize) {
    let (folder, stop) = (tempfile::tempdir().unwrap(), CancellationToken::new());
    let (provider, at) = provider("throttle 100 600s", &stop).await;
    let config = config(at, "info", SECRET, &["main"], ("sms", 1));
    let mut served = Served::start(folder.path(), &config).await;
    let ids = [served.create().await, served.create().await];
    for id in &ids {
        let is_put_off = || async {
            let told = served.client.get(id).await.unwrap();
            told.timeline.iter().any(|event| event.description.contains("will be retried"))
        };
        assert!(eventually(TIMEOUT, is_put_off).await, "{:?}", provider.calls());
    }
    served.child.kill().await.unwrap();

    provider.set_default("reject 1300".parse().unwrap());
    let served = Served::start(folder.path(), &other(&config)).await;
    let mut ended = Vec::new();
    for id in ids {
        ended.push(served.ended(&id).await);
    }
    stop.cancel();
    (ended, provider.calls().len() - 2)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_sends_what_waits_by_a_renamed_route_and_nothing_by_one_of_another_channel() {
    let reasons = |ended: &[Workflow]| -> Vec<String> {
        let outcomes = ended.iter().map(|workflow| workflow.outcome.clone().unwrap_or_default());
        outcomes.map(|outcome| outcome.reason().short_name().to_owned()).collect()
    };
    let renamed = |config: &str| config.replace("name = \"sms\"", "name = \"sms-b\"");
    let (ended, calls) = restarted_with(renamed).await;
    assert_eq!((reasons(&ended), calls), (vec!["REJECTED".to_owned(); 2], 2), "{ended:?}");

    let of_another = |config: &str| config.replace("vonage-sms", "vonage-messenger");
    let (ended, calls) = restarted_with(of_another).await;
    assert_eq!((reasons(&ended), calls), (vec!["NO_ROUTE".to_owned(); 2], 0), "{ended:?}");
}
