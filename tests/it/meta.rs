//! Meta, as one uses it: the program itself with an account, against Meta's simulated server over HTTP.

use std::{ops::Deref, path::Path, time::Duration};

use dispatch::{
    client::Credential,
    pb::v1::{
        AdvanceClockRequest, StepProgress, StepState, Workflow, WorkflowState,
        sandbox_service_client::SandboxServiceClient,
    },
};
use dispatch_contract::Secret;
use dispatch_sandbox::MetaApp;
use tokio::process::Command;
use tonic::{service::interceptor::InterceptedService, transport::Channel};

use crate::{
    at_providers::{AtProviders, KEY, ProvidersServer, simulated_twilio},
    node,
    support::free_port,
};

/// Another tenant's.
pub const ACME_KEY: &str = "acme:a secret of acme's";
const HOUSE: &str = "token-of-the-house";
const APP_SECRET: &str = "app-secret";
const NUMBER_ID: &str = "106540352242922";
const PAGE: &str = "107083064136738";
/// A tenant's, who brings them along, and the token that sends for them.
pub const OWN_NUMBER_ID: &str = "106540352242923";
pub const OWN_PAGE: &str = "107083064136739";
pub const OWN_TOKEN: &str = "token-of-the-tenant";
/// By which what Meta's messages do not reach goes on.
const TWILIO: &str = "AC0123456789abcdef0123456789abcdef";
const TWILIO_TOKEN: &str = "an auth token of the tests";

/// The program with accounts at Meta and Twilio.
pub struct World {
    at: AtProviders,
    sandbox: SandboxServiceClient<InterceptedService<Channel, Credential>>,
}

impl Deref for World {
    type Target = AtProviders;

    fn deref(&self) -> &AtProviders {
        &self.at
    }
}

impl World {
    pub async fn start() -> World {
        let twilio = simulated_twilio(TWILIO, TWILIO_TOKEN);
        let configured = |server: &str| {
            format!(
                r#"
[sandbox]
virtual_clock = true
[[access.keys]]
id = "acme"
secret = "a secret of acme's"
tenant = "acme"
scopes = ["create", "read", "admin"]
[[accounts]]
name = "main"
provider = "meta"
settings = {{ base_url = "{server}", phone_numbers = "447700900001={NUMBER_ID}" }}
secrets = {{ access_token = "{HOUSE}", app_secret = "{APP_SECRET}", verify_token = "v" }}
[[routes]]
name = "whatsapp"
adapter = "meta-whatsapp"
account = "main"
[[routes]]
name = "messenger"
adapter = "meta-messenger"
account = "main"
tenants = ["default", "acme"]
[[accounts]]
name = "main"
provider = "twilio"
settings = {{ base_url = "{server}", account_sid = "{TWILIO}" }}
secrets = {{ auth_token = "{TWILIO_TOKEN}" }}
[[routes]]
name = "sms"
adapter = "twilio-sms"
account = "main"
# Who has none of the sandbox's may not set its clock.
[[routes]]
name = "mms"
adapter = "sandbox-mms"
account = "sandbox"
"#
            )
        };
        let served = AtProviders::start(
            |it, http| it.with_meta(app(format!("{http}/receipts/meta/main"))).with_twilio(&twilio),
            configured,
        );
        let at = served.await;
        let channel = Channel::from_shared(format!("http://{}", at.process.grpc)).unwrap();
        let key = Credential::key(KEY).unwrap();
        let sandbox = SandboxServiceClient::with_interceptor(channel.connect().await.unwrap(), key);
        World { at, sandbox }
    }

    /// A message by Meta, to reach `status`, else an SMS.
    pub async fn create(&self, sender: &str, recipient: &str, status: &str) -> String {
        self.create_yaml(&format!(
            "
steps:
  - sender: {sender}
    recipient: {recipient}
    message: {{ text: 'Your table is ready.' }}
    failover: {{ expiry_time: 600s, condition_status: {status} }}
  - sender: {{ channel: sms, number: 'Dispatch' }}
    recipient: {{ channel: sms, number: '447700900000' }}
    message: {{ text: 'Your table is ready.' }}
"
        ))
        .await
    }

    /// WhatsApp to a number, to be read.
    async fn whatsapp(&self, number: &str) -> String {
        let recipient = format!("{{ channel: whatsapp, number: '{number}' }}");
        self.create("{ channel: whatsapp, number: '447700900001' }", &recipient, "read").await
    }

    /// Waits until the first step is over, and for how it ended.
    pub async fn first_step(&self, id: &str) -> StepProgress {
        let is_over =
            |it: &Workflow| !matches!(it.steps[0].state(), StepState::Waiting | StepState::Active);
        self.until(id, is_over).await.steps.swap_remove(0)
    }

    async fn advance(&self, by: Duration) {
        let request = AdvanceClockRequest { by: Some(by.try_into().unwrap()) };
        self.sandbox.clone().advance_clock(request).await.unwrap();
    }

    pub async fn stop(self) {
        self.at.stop().await;
    }
}

/// The app, which tells what became of messages at this URL.
fn app(webhook_url: String) -> MetaApp {
    let of_house = [(NUMBER_ID, HOUSE), (PAGE, HOUSE)];
    let of_tenant = [(OWN_NUMBER_ID, OWN_TOKEN), (OWN_PAGE, OWN_TOKEN)];
    let senders = [of_house, of_tenant].concat();
    let senders = senders.iter().map(|(id, token)| ((*id).to_owned(), Secret::new(*token)));
    MetaApp {
        senders: senders.collect(),
        app_secret: Secret::new(APP_SECRET),
        webhook_url: Some(webhook_url),
    }
}

/// Whether Meta took it, under an id of its own: what stands for that is shown.
pub fn went_by_meta(step: &StepProgress) -> bool {
    let id = step.attempts[0].provider_message_ids.concat();
    id.starts_with('~') && id.len() == 23
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_meta_tells_is_verified_and_counts_and_what_is_not_read_in_time_leads_on() {
    let world = World::start().await;
    world
        .server
        .provider
        .set_script("447700900010", "accept; deliver 0s; read 0s".parse().unwrap());
    world.server.provider.set_script("447700900011", "accept; deliver 0s".parse().unwrap());
    world.server.provider.set_script("447700900012", "reject 1340".parse().unwrap());

    let read = world.whatsapp("447700900010").await;
    let step = world.first_step(&read).await;
    assert_eq!((step.state(), &*step.status), (StepState::Met, "read"));
    assert!(went_by_meta(&step), "{step:?}");

    let unread = world.whatsapp("447700900011").await;
    world.until(&unread, |it| it.steps[0].status == "delivered").await;
    world.advance(Duration::from_secs(600)).await;
    assert_eq!(world.first_step(&unread).await.state(), StepState::Expired);
    // By Twilio, whose receipts count as Meta's do.
    let workflow = world.until(&unread, |it| it.steps[1].status == "delivered").await;
    assert_eq!(workflow.state(), WorkflowState::Succeeded);
    assert!(workflow.steps[1].attempts[0].provider_message_ids.concat().starts_with("SM"));

    // Whoever did not write within 24 hours.
    let outside = world.whatsapp("447700900012").await;
    let step = world.first_step(&outside).await;
    assert_eq!((step.state(), went_by_meta(&step)), (StepState::Failed, false));
    let workflow = world.until(&outside, |it| !it.steps[1].attempts.is_empty()).await;
    assert!(format!("{:?}", workflow.timeline).contains("\"131047\""), "{workflow:?}");

    // A page's deliveries come by ids.
    let person = "{ channel: messenger, id: '2384965291561984' }";
    let page = format!("{{ channel: messenger, id: '{PAGE}' }}");
    world.server.provider.set_script("2384965291561984", "accept; deliver 0s".parse().unwrap());
    let delivered = world.create(&page, person, "delivered").await;
    let step = world.first_step(&delivered).await;
    assert_eq!((step.state(), &*step.status), (StepState::Met, "delivered"));
    assert!(went_by_meta(&step), "{step:?}");

    // What was read is told only as a time until which all was.
    let unread = world.create(&page, person, "read").await;
    world.until(&unread, |it| it.steps[0].status == "delivered").await;
    world
        .server
        .provider
        .set_script("2384965291561984", "accept; deliver 0s; read 2s".parse().unwrap());
    for read in [&world.create(&page, person, "read").await, &unread] {
        let workflow = world.until(read, |it| it.steps[0].state() == StepState::Met).await;
        assert_eq!(workflow.steps[0].status, "read");
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_quotes_a_message_has_answered_it_on_whatsapp_and_on_messenger() {
    let world = World::start().await;
    let whatsapp = "{ channel: whatsapp, number: '447700900001' }";
    let page = format!("{{ channel: messenger, id: '{PAGE}' }}");
    for (sender, channel, named, answers, silent) in [
        (whatsapp, "whatsapp", "number", "447700900010", "447700900011"),
        // Who hides the number.
        (whatsapp, "whatsapp", "id", "GB.13491208655302741918", "GB.13491208655302741919"),
        (&page, "messenger", "id", "2384965291561984", "2384965291561985"),
    ] {
        world.script(answers, "accept; submitted 0s; deliver 0s; reply 1s");
        world.script(silent, "accept; deliver 0s");
        let recipient = |it: &str| format!("{{ channel: {channel}, {named}: '{it}' }}");
        let answered = world.create(sender, &recipient(answers), "replied").await;
        let step = world.first_step(&answered).await;
        assert_eq!((step.state(), &*step.status), (StepState::Met, "replied"), "{step:?}");
        assert!(went_by_meta(&step), "{step:?}");

        let silent = world.create(sender, &recipient(silent), "replied").await;
        world.until(&silent, |it| it.steps[0].status == "delivered").await;
        world.advance(Duration::from_secs(600)).await;
        assert_eq!(world.first_step(&silent).await.state(), StepState::Expired);
    }
    world.stop().await;
}

/// pywa is WhatsApp's client for Python: it sends to our server, and verifies and reads what that tells.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_client_is_served_and_takes_what_it_is_told() {
    let Some(python) = node::python_with("pywa").await else { return };
    let receiver = free_port().await;
    let meta = ProvidersServer::start(|it| it.with_meta(app(format!("http://{receiver}/")))).await;
    meta.provider.set_default("accept; deliver 0s; read 0s".parse().unwrap());
    meta.provider.set_script("447700900012", "reject 1340".parse().unwrap());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/clients/meta.py");
    let mut run = Command::new(python);
    run.arg(script).args([meta.url.clone(), receiver.port().to_string()]);
    let ran = run.args([NUMBER_ID, HOUSE, APP_SECRET]).kill_on_drop(true).output().await.unwrap();
    let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success() && out.contains("all told"), "{out}{err}");
}
