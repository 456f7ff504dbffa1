//! The Telegram Gateway and a bot on Telegram, as one uses them: the program itself with accounts, against simulated
//! servers over HTTP.

use std::{ffi::OsStr, ops::Deref, path::Path, time::Duration};

use dispatch::{
    client::{Client, Credential},
    pb::v1::{OpenWorkflows, RecallResult, StepState},
};
use dispatch_contract::Secret;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::{
    at_providers::{AtProviders, KEY, PATIENCE, ProvidersServer, recall, simulated_twilio, states},
    node,
    support::{FREE, Process, eventually},
};

const TOKEN: &str = "AAGG-a-token-of-the-tests";
const BOT_TOKEN: &str = "123456789:AA-a-token-of-the-tests";
const SECRET_TOKEN: &str = "a-secret_of-the-tests";
const TWILIO: &str = "AC0123456789abcdef0123456789abcdef";

/// The program with accounts at Telegram, and at Twilio for what does not reach anybody there.
struct TelegramWorld(AtProviders);

impl Deref for TelegramWorld {
    type Target = AtProviders;

    fn deref(&self) -> &AtProviders {
        &self.0
    }
}

impl TelegramWorld {
    async fn start() -> TelegramWorld {
        let twilio = simulated_twilio(TWILIO, "another token");
        let configured = |server: &str| {
            format!(
                r#"
[[accounts]]
name = "main"
provider = "telegram"
settings = {{ base_url = "{server}", check_send_ability = "yes" }}
secrets = {{ access_token = "{TOKEN}" }}
[[routes]]
name = "telegram"
adapter = "telegram-gateway"
account = "main"
[[accounts]]
name = "main"
provider = "telegram_bot"
settings = {{ base_url = "{server}", sender = "acme_bot" }}
secrets = {{ bot_token = "{BOT_TOKEN}", secret_token = "{SECRET_TOKEN}" }}
[[routes]]
name = "bot"
adapter = "telegram-bot"
account = "main"
[[accounts]]
name = "main"
provider = "twilio"
settings = {{ base_url = "{server}", account_sid = "{TWILIO}" }}
secrets = {{ auth_token = "another token" }}
[[routes]]
name = "sms"
adapter = "twilio-sms"
account = "main"
"#
            )
        };
        let served = AtProviders::start(
            |it, _| {
                let it = it.with_twilio(&twilio).with_telegram(&Secret::new(TOKEN));
                it.with_telegram_bot(&Secret::new(BOT_TOKEN))
            },
            configured,
        );
        TelegramWorld(served.await)
    }

    /// A code by Telegram, to reach `status` within `expiry`; else by SMS.
    async fn create(&self, number: &str, status: &str, expiry: &str) -> String {
        self.create_yaml(&format!(
            "
steps:
  - sender: {{ channel: telegram, id: VerificationCodes }}
    recipient: {{ channel: telegram, number: '{number}' }}
    message: {{ code: {{ code: '271828' }} }}
    failover: {{ expiry_time: {expiry}, condition_status: {status} }}
  - sender: {{ channel: sms, number: 'Dispatch' }}
    recipient: {{ channel: sms, number: '447700900000' }}
    message: {{ code: {{ code: '271828' }} }}
"
        ))
        .await
    }

    /// Two texts by the bot to a chat, the second once the first has not reached `status` in time; else by SMS.
    async fn create_by_bot(&self, chat: &str, status: &str, expiry: &str) -> String {
        let by_bot = format!(
            "
  - sender: {{ channel: telegram_bot, id: acme_bot }}
    recipient: {{ channel: telegram_bot, id: '{chat}' }}
    message: {{ text: 'Your table is ready.' }}
    failover: {{ expiry_time: {expiry}, condition_status: {status} }}"
        );
        self.create_yaml(&format!(
            "
steps:{by_bot}{by_bot}
  - sender: {{ channel: sms, number: 'Dispatch' }}
    recipient: {{ channel: sms, number: '447700900000' }}
    message: {{ text: 'Your table is ready.' }}
"
        ))
        .await
    }

    fn bot_webhooks(&self) -> String {
        format!("http://{}/receipts/telegram_bot/main", self.process.http)
    }

    /// Once the program has said where the bot's updates go.
    async fn is_heard(&self) {
        let info = format!("{}/bot{BOT_TOKEN}/getWebhookInfo", self.server.url);
        let known = async || {
            let info: Value = reqwest::get(&info).await.unwrap().json().await.unwrap();
            info["result"]["url"] == self.bot_webhooks()
                && info["result"]["allowed_updates"] == json!(["message", "callback_query"])
        };
        assert!(eventually(PATIENCE, known).await);
    }

    /// A person writes to the bot.
    async fn says(&self, chat: i64, text: &str, quoted: Option<u64>) {
        let mut message = json!({ "chat_id": chat, "text": text });
        if let Some(number) = quoted {
            message["reply_to_message_id"] = number.into();
        }
        let url = format!("{}/sandbox/telegram_bot/messages", self.server.url);
        let said = reqwest::Client::new().post(url).json(&message).send().await.unwrap();
        assert_eq!(said.status(), 200, "{}", said.text().await.unwrap());
    }

    /// The workflow, once its first step's message is out.
    async fn is_out(&self, id: &str) {
        self.until(id, |workflow| states(workflow)[0].1 == "submitted").await;
    }

    async fn stop(self) {
        self.0.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_telegram_reports_is_verified_and_what_fails_or_is_late_leads_on() {
    let world = TelegramWorld::start().await;
    world.script("447700900000", "accept; deliver 0s");
    world.script("447700900010", "accept; submitted 0s; deliver 0s; read 0s");
    world.script("447700900012", "reject 1340");
    world.script("447700900013", "accept; undeliverable 0s");
    world.script("447700900014", "accept; deliver 60s");
    world.script("447700900015", "accept; deliver 0s");

    let read = world.ended(&world.create("447700900010", "read", "30s").await).await;
    assert_eq!(states(&read)[0], (StepState::Met, "read"), "{read:?}");

    for (number, code) in
        [("447700900012", "\"PHONE_NUMBER_NOT_AVAILABLE\""), ("447700900013", "\"expired\"")]
    {
        let failed = world.ended(&world.create(number, "read", "30s").await).await;
        let [first, second] = states(&failed)[..] else { panic!("{failed:?}") };
        assert_eq!((first.0, second), (StepState::Failed, (StepState::Met, "delivered")));
        assert!(format!("{:?}", failed.timeline).contains(code), "{failed:?}");
    }

    // Nobody has it yet; and somebody has.
    for (number, result) in
        [("447700900014", RecallResult::Recalled), ("447700900015", RecallResult::TooLate)]
    {
        let late = world.ended(&world.create(number, "read", "1s").await).await;
        assert_eq!(recall(&late), Some(result), "{late:?}");
        assert_eq!(states(&late)[1], (StepState::Met, "delivered"), "{late:?}");
    }
    world.stop().await;
}

/// telegram-gateway-verification is a client for Python of somebody else's: it sends to our server and verifies what
/// that reports; what it signs, the program takes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_client_is_served_and_its_signatures_are_taken() {
    let Some(python) = node::python_with("telegram_gateway_verification, requests").await else {
        return;
    };
    let world = TelegramWorld::start().await;
    world.server.provider.set_default("accept; deliver 0s; read 0s".parse().unwrap());
    world.script("447700900012", "reject 1340");
    world.script("447700900013", "accept; undeliverable 0s");
    world.script("447700900014", "accept; deliver 60s");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/clients/telegram_gateway.py");
    let webhooks = format!("http://{}/receipts/telegram/main", world.process.http);
    let mut run = Command::new(python);
    run.arg(script).args([&*world.server.url, &*webhooks, TOKEN]);
    let ran = run.env("NO_PROXY", "*").kill_on_drop(true).output().await.unwrap();
    let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success() && out.contains("all told"), "{out}{err}");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bot_s_text_is_submitted_and_one_who_blocked_it_is_reached_otherwise() {
    let world = TelegramWorld::start().await;
    world.script("447700900000", "accept; deliver 0s");
    world.script("1", "reject 1340");
    for (chat, first) in
        [("2718281828", (StepState::Met, "submitted")), ("1", (StepState::Failed, "pending"))]
    {
        let spec = format!(
            "
steps:
  - sender: {{ channel: telegram_bot, id: acme_bot }}
    recipient: {{ channel: telegram_bot, id: '{chat}' }}
    message: {{ text: 'Your table is ready.' }}
    failover: {{ expiry_time: 30s, condition_status: submitted }}
  - sender: {{ channel: sms, number: 'Dispatch' }}
    recipient: {{ channel: sms, number: '447700900000' }}
    message: {{ text: 'Your table is ready.' }}
"
        );
        let workflow = world.ended(&world.create_yaml(&spec).await).await;
        assert_eq!(states(&workflow)[0], first, "{workflow:?}");
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_tells_the_bot_to_stop_is_sent_nothing_by_it_until_they_start_it_again() {
    let world = TelegramWorld::start().await;
    world.script("447700900000", "accept; deliver 0s");
    world.is_heard().await;
    let open = world.create_by_bot("2718281828", "replied", "2s").await;
    world.is_out(&open).await;
    world.says(2_718_281_828, "Stop.", None).await;
    let ended = world.ended(&open).await;
    let [first, second, third] = states(&ended)[..] else { panic!("{ended:?}") };
    assert_eq!((first, second.0), ((StepState::Expired, "submitted"), StepState::Failed));
    assert_eq!(third, (StepState::Met, "delivered"), "{ended:?}");
    assert!(format!("{:?}", ended.timeline).contains("OptedOut"), "{ended:?}");

    world.says(2_718_281_828, "/start again", None).await;
    let lifted = async || {
        let ended = world.ended(&world.create_by_bot("2718281828", "submitted", "30s").await).await;
        states(&ended)[0] == (StepState::Met, "submitted")
    };
    assert!(eventually(PATIENCE, lifted).await);
    world.stop().await;
}

/// Telegram numbers messages within their chat: the first ones of two chats are both 1.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_quotes_a_message_of_the_bot_s_is_that_message_s_and_no_other_chat_s() {
    let world = TelegramWorld::start().await;
    world.is_heard().await;
    let mut open = Vec::new();
    for chat in ["1001", "1002"] {
        let id = world.create_by_bot(chat, "replied", "600s").await;
        world.is_out(&id).await;
        open.push(id);
    }
    world.says(1002, "What about seven?", None).await;
    world.says(1002, "At eight, please.", Some(1)).await;
    let answered = world.ended(&open[1]).await;
    assert_eq!(states(&answered)[0], (StepState::Met, "replied"), "{answered:?}");
    assert_eq!(states(&world.get(&open[0]).await)[0], (StepState::Active, "submitted"));
    world.says(1001, "Thanks", Some(1)).await;
    let answered = world.ended(&open[0]).await;
    assert_eq!(states(&answered)[0], (StepState::Met, "replied"), "{answered:?}");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_scripted_to_answer_quotes_the_message_that_they_were_sent() {
    let world = TelegramWorld::start().await;
    world.script("447700900000", "accept; deliver 0s");
    world.script("1001", "accept; reply 1s; twice");
    world.is_heard().await;
    let other = world.create_by_bot("1002", "replied", "600s").await;
    world.is_out(&other).await;
    for _ in 0..2 {
        let answered = world.ended(&world.create_by_bot("1001", "replied", "30s").await).await;
        assert_eq!(states(&answered)[0], (StepState::Met, "replied"), "{answered:?}");
    }
    assert_eq!(states(&world.get(&other).await)[0], (StepState::Active, "submitted"));
    world.stop().await;
}

/// Its authors know what Telegram posts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_update_that_python_telegram_bot_wrote_is_understood() {
    let Some(python) = node::python_with("telegram").await else { return };
    let world = TelegramWorld::start().await;
    let id = world.create_by_bot("2718281828", "replied", "600s").await;
    world.is_out(&id).await;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/clients/telegram_update.py");
    let mut run = Command::new(python);
    let told = [&world.bot_webhooks(), SECRET_TOKEN, "123456789", "2718281828", "1"];
    run.arg(script).args(told);
    let ran = run.env("NO_PROXY", "*").kill_on_drop(true).output().await.unwrap();
    let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success() && out.contains("all told"), "{out}{err}");
    let answered = world.ended(&id).await;
    assert_eq!(states(&answered)[0], (StepState::Met, "replied"), "{answered:?}");
    world.stop().await;
}

/// python-telegram-bot is a client of somebody else's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_bot_is_served() {
    let Some(python) = node::python_with("telegram").await else { return };
    let server = ProvidersServer::start(|it| it.with_telegram_bot(&Secret::new(BOT_TOKEN))).await;
    for (chat, script) in [("1", "reject 1340"), ("2", "reject 1300"), ("3", "throttle 1 3s")] {
        server.provider.set_script(chat, script.parse().unwrap());
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/clients/telegram_bot.py");
    let mut run = Command::new(python);
    run.arg(script).args([&*server.url, BOT_TOKEN]);
    let ran = run.env("NO_PROXY", "*").kill_on_drop(true).output().await.unwrap();
    let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success() && out.contains("all told"), "{out}{err}");
}

/// The service whose store it is may still run, and hear what is written to the bot.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn telegram_is_not_told_by_who_only_reads_nor_under_a_restore_lock() {
    let server = ProvidersServer::start(|it| it.with_telegram_bot(&Secret::new(BOT_TOKEN))).await;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let config = path("dispatch.toml");
    let account = |secrets: &str| {
        format!(
            r#"
[listen]
public_url = "http://dispatch.example"
[[access.keys]]
id = "me"
secret = "a secret of the tests"
scopes = ["create", "read", "admin", "operator"]
[[accounts]]
name = "main"
provider = "telegram_bot"
settings = {{ base_url = "{}", sender = "acme_bot" }}
secrets = {{ bot_token = "{BOT_TOKEN}"{secrets} }}
[[routes]]
name = "bot"
adapter = "telegram-bot"
account = "main"
"#,
            server.url
        )
    };
    // The first life hears nobody, and is not to.
    std::fs::write(&config, account("")).unwrap();
    let process = Process::serve(&config, &path("data"), FREE, FREE).await;
    let (backup, restored) = (path("one.backup"), path("restored"));
    let operate = async |arguments: &[&OsStr]| {
        let mut run = Command::new(env!("CARGO_BIN_EXE_dispatch"));
        run.args(arguments).env("DISPATCH_KEY", KEY);
        let ran = run.kill_on_drop(true).output().await.unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    };
    let at = format!("http://{}", process.grpc);
    operate(&["backup".as_ref(), backup.as_ref(), "--server".as_ref(), at.as_ref()]).await;
    assert_eq!(process.terminate().await, Some(0));
    let key = path("data/master.key");
    let restore: [&OsStr; 6] = [
        "restore".as_ref(),
        backup.as_ref(),
        "--data".as_ref(),
        restored.as_ref(),
        "--master-key".as_ref(),
        key.as_ref(),
    ];
    operate(&restore).await;

    std::fs::write(&config, account(&format!(", secret_token = \"{SECRET_TOKEN}\""))).unwrap();
    let told = async || {
        let info = format!("{}/bot{BOT_TOKEN}/getWebhookInfo", server.url);
        let info: Value = reqwest::get(&info).await.unwrap().json().await.unwrap();
        info["result"]["url"].as_str().unwrap().to_owned()
    };
    let mut reading = Command::new("sh");
    let program = env!("CARGO_BIN_EXE_dispatch");
    reading.args(["-c", "exec \"$0\" \"$@\" --read-only", program]);
    let process = Process::serve_by(reading, &config, &path("data"), FREE, FREE).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(told().await, "", "it only reads");
    process.kill().await;

    let process = Process::serve(&config, &restored, FREE, FREE).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(told().await, "", "it has a restore lock");
    let client = Client::connect(format!("http://{}", process.grpc)).await.unwrap();
    let client = client.with(Credential::key(KEY).unwrap());
    client.resume(OpenWorkflows::Cancel).await.unwrap();
    let url = "http://dispatch.example/receipts/telegram_bot/main";
    assert!(eventually(PATIENCE, async || told().await == url).await);
    assert_eq!(process.terminate().await, Some(0));
}
