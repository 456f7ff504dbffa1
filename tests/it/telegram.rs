//! The Telegram Gateway, as one uses it: the program itself with an account, against the simulated Gateway over HTTP.

use std::{ops::Deref, path::Path};

use dispatch::pb::v1::{RecallResult, StepState};
use dispatch_contract::Secret;
use tokio::process::Command;

use crate::{
    at_providers::{AtProviders, ProvidersServer, recall, simulated_twilio, states},
    node,
};

const TOKEN: &str = "AAGG-a-token-of-the-tests";
const BOT_TOKEN: &str = "123456789:AA-a-token-of-the-tests";
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
settings = {{ base_url = "{server}" }}
secrets = {{ bot_token = "{BOT_TOKEN}" }}
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
