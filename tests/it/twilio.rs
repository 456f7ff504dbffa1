//! Twilio, as one uses it: the program itself with an account, against Twilio's simulated server over HTTP.

use std::{ops::Deref, path::Path};

use dispatch::pb::v1::{
    EventKind, ListOptOutsRequest, OptOutSource, RecallResult, StepState, StreamInboundResponse,
    StreamStart, Workflow, stream_inbound_request::Start,
};
use dispatch_kit::signature::SignatureScheme;
use dispatch_sandbox::{SandboxServer, SimulatedTwilio};
use tokio::process::Command;

use crate::{
    at_providers::{AtProviders, PATIENCE, recall, simulated_twilio, states},
    node,
    support::eventually,
};

const ACCOUNT: &str = "AC0123456789abcdef0123456789abcdef";
const TOKEN: &str = "an auth token of the tests";

/// The program with an account at Twilio.
struct TwilioWorld(AtProviders);

impl Deref for TwilioWorld {
    type Target = AtProviders;

    fn deref(&self) -> &AtProviders {
        &self.0
    }
}

impl TwilioWorld {
    async fn start() -> TwilioWorld {
        let routes = ["sms", "mms", "whatsapp", "rcs"].map(|channel| {
            format!(
                "[[routes]]\nname = \"{channel}\"\nadapter = \"twilio-{channel}\"\naccount = \"main\"\n"
            )
        });
        let configured = |server: &str| {
            format!(
                r#"
[[accounts]]
name = "main"
provider = "twilio"
settings = {{ base_url = "{server}", account_sid = "{ACCOUNT}" }}
secrets = {{ auth_token = "{TOKEN}" }}
{}"#,
                routes.concat()
            )
        };
        let served = |it: SandboxServer, http: &str| {
            let inbound_url = Some(format!("{http}/receipts/twilio/main"));
            it.with_twilio(&SimulatedTwilio { inbound_url, ..simulated_twilio(ACCOUNT, TOKEN) })
        };
        TwilioWorld(AtProviders::start(served, configured).await)
    }

    /// WhatsApp to a number, to reach `status` within `expiry`; else an SMS, to be delivered.
    async fn create(&self, number: &str, status: &str, expiry: &str) -> String {
        self.create_yaml(&format!(
            "
steps:
  - sender: {{ channel: whatsapp, number: '447700900001' }}
    recipient: {{ channel: whatsapp, number: '{number}' }}
    message: {{ text: 'Your table is ready & warm.' }}
    failover: {{ expiry_time: {expiry}, condition_status: {status} }}
  - sender: {{ channel: sms, number: 'Dispatch' }}
    recipient: {{ channel: sms, number: '447700900000' }}
    message: {{ text: 'Your table is ready.' }}
    failover: {{ expiry_time: 30s, condition_status: delivered }}
"
        ))
        .await
    }

    fn webhooks(&self) -> String {
        format!("http://{}/receipts/twilio/main", self.process.http)
    }

    /// The same with another meaning of codes, once the program has taken that up.
    async fn with_codes(&self, codes: &str) {
        let text = std::fs::read_to_string(&self.config).unwrap();
        let sid = format!("account_sid = \"{ACCOUNT}\"");
        let text = text.replace(&sid, &format!("{sid}, codes = \"{codes}\""));
        std::fs::write(&self.config, text).unwrap();
        self.process.reload();
    }

    async fn stop(self) {
        self.0.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_twilio_tells_is_verified_and_what_is_not_read_in_time_leads_on() {
    let world = TwilioWorld::start().await;
    world.script("447700900000", "accept; submitted 0s; deliver 0s");
    world.script("447700900010", "accept; submitted 0s; deliver 0s; read 0s");
    world.script("447700900011", "accept; deliver 0s");
    world.script("447700900012", "reject 1340");
    world.script("447700900013", "accept; undeliverable 0s 1260");

    let read = world.ended(&world.create("447700900010", "read", "30s").await).await;
    assert_eq!(states(&read)[0], (StepState::Met, "read"), "{read:?}");

    let unread = world.ended(&world.create("447700900011", "read", "2s").await).await;
    let expected = [(StepState::Expired, "delivered"), (StepState::Met, "delivered")];
    assert_eq!(states(&unread), expected, "{unread:?}");
    assert_eq!(recall(&unread), Some(RecallResult::TooLate), "{unread:?}");

    for (number, code) in [("447700900012", "\"63016\""), ("447700900013", "\"30003\"")] {
        let failed = world.ended(&world.create(number, "read", "30s").await).await;
        let [first, second] = states(&failed)[..] else { panic!("{failed:?}") };
        assert_eq!((first.0, second), (StepState::Failed, (StepState::Met, "delivered")));
        assert!(format!("{:?}", failed.timeline).contains(code), "{failed:?}");
    }

    // Only what Twilio signed is believed.
    let sent = world.server.provider.sent();
    let attempt = sent[0].client_ref.as_deref().unwrap();
    let url = format!("{}?attempt={attempt}", world.webhooks());
    let forged = reqwest::Client::new().post(url).header("x-twilio-signature", "AAAA");
    let form = "MessageSid=SM1&MessageStatus=undelivered";
    let forged = forged.header("content-type", "application/x-www-form-urlencoded").body(form);
    assert_eq!(forged.send().await.unwrap().status().as_u16(), 401);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_quotes_a_message_on_whatsapp_has_answered_it() {
    let world = TwilioWorld::start().await;
    world.script("447700900000", "accept; deliver 0s");
    world.script("447700900010", "accept; deliver 0s; reply 1s");
    world.script("447700900011", "accept; deliver 0s; read 0s");
    let answered = world.ended(&world.create("447700900010", "replied", "30s").await).await;
    assert_eq!(states(&answered)[0], (StepState::Met, "replied"), "{answered:?}");
    assert!(answered.steps[1].attempts.is_empty(), "{answered:?}");
    let read = world.ended(&world.create("447700900011", "replied", "2s").await).await;
    assert_eq!(states(&read)[0], (StepState::Expired, "read"), "{read:?}");
    assert_eq!(states(&read)[1], (StepState::Met, "delivered"), "{read:?}");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_means_what_the_account_says_from_a_reload_on() {
    let world = TwilioWorld::start().await;
    world.script("447700900000", "accept; deliver 0s");
    world.script("447700900012", "reject 1340");
    let sent_again = |workflow: &Workflow| {
        let kinds = workflow.timeline.iter().map(|event| event.kind());
        kinds.into_iter().any(|kind| kind == EventKind::AttemptRetryScheduled)
    };
    // 63016: the person did not write recently enough.
    let failed = world.ended(&world.create("447700900012", "read", "30s").await).await;
    assert_eq!(states(&failed)[0].0, StepState::Failed, "{failed:?}");
    assert!(!sent_again(&failed), "{failed:?}");

    world.with_codes("63016 = temporary account").await;
    let is_taken_up = async || {
        let again = world.ended(&world.create("447700900012", "read", "2s").await).await;
        sent_again(&again) && format!("{:?}", again.timeline).contains("\"63016\"")
    };
    assert!(eventually(PATIENCE, is_taken_up).await);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_nobody_has_yet_is_canceled_before_the_next_goes_out() {
    let world = TwilioWorld::start().await;
    world.script("447700900000", "accept; deliver 0s");
    world.script("447700900010", "accept; deliver 60s");
    let workflow = world.ended(&world.create("447700900010", "delivered", "1s").await).await;
    assert_eq!(recall(&workflow), Some(RecallResult::Recalled), "{workflow:?}");
    assert_eq!(states(&workflow)[1], (StepState::Met, "delivered"), "{workflow:?}");
    let sent = world.server.provider.sent();
    let recalled: Vec<_> = sent.iter().map(|sent| sent.is_recalled).collect();
    assert_eq!(recalled, [true, false]);
    world.stop().await;
}

/// A person's message to one of our numbers, as Twilio posts and signs it.
async fn says(world: &TwilioWorld, person: &str, text: &str) -> u16 {
    let form = format!(
        "MessageSid=SM77&SmsStatus=received&NumMedia=0&From=%2B{person}&To=%2B447700900001&Body={text}"
    );
    let url = world.webhooks();
    let signed = dispatch_twilio::signed_text(&url, form.as_bytes());
    let signature = SignatureScheme::Sha1Base64.sign(TOKEN.as_bytes(), signed.as_bytes());
    let call = reqwest::Client::new().post(url).header("x-twilio-signature", signature);
    let call = call.header("content-type", "application/x-www-form-urlencoded").body(form);
    call.send().await.unwrap().status().as_u16()
}

/// WhatsApp, SMS to the same person, and then SMS to somebody else.
async fn to_two_people(world: &TwilioWorld, person: &str) -> String {
    world
        .create_yaml(&format!(
            "
steps:
  - sender: {{ channel: whatsapp, number: '447700900001' }}
    recipient: {{ channel: whatsapp, number: '{person}' }}
    message: {{ text: 'Your table is ready.' }}
    failover: {{ expiry_time: 2s, condition_status: read }}
  - sender: {{ channel: sms, number: '447700900001' }}
    recipient: {{ channel: sms, number: '{person}' }}
    message: {{ text: 'Your table is ready.' }}
    failover: {{ expiry_time: 600s, condition_status: delivered }}
  - sender: {{ channel: sms, number: '447700900001' }}
    recipient: {{ channel: sms, number: '447700900000' }}
    message: {{ text: 'They do not answer.' }}
    failover: {{ expiry_time: 30s, condition_status: delivered }}
"
        ))
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_s_stop_ends_what_was_planned_for_them_there_until_they_start_it_again() {
    let world = TwilioWorld::start().await;
    let (person, refusing) = ("447700900010", "447700900012");
    world.script(person, "accept; submitted 0s; deliver 0s");
    world.script("447700900000", "accept; submitted 0s; deliver 0s");
    let sent_to = |who: &str| {
        world.server.provider.sent().iter().filter(|sent| sent.recipient.value() == who).count()
    };

    let open = to_two_people(&world, person).await;
    assert_eq!(says(&world, person, "Stop").await, 200);
    let ended = world.ended(&open).await;
    let met = (StepState::Met, "delivered");
    let [first, second, third] = states(&ended)[..] else { panic!("{ended:?}") };
    assert_eq!((first.0, second.0, third), (StepState::Expired, StepState::Failed, met));
    assert!(format!("{:?}", ended.timeline).contains("OptedOut"), "{ended:?}");
    assert_eq!(sent_to(person), 1, "WhatsApp, of which they said nothing");

    assert_eq!(says(&world, person, "START").await, 200);
    let ended = world.ended(&to_two_people(&world, person).await).await;
    assert_eq!(states(&ended)[1], met, "{ended:?}");

    // Twilio knows of a STOP that was said elsewhere: its first refusal is remembered.
    world.script(refusing, "reject 1240");
    for _ in 0..2 {
        let ended = world.ended(&to_two_people(&world, refusing).await).await;
        assert_eq!(states(&ended)[2], met, "{ended:?}");
    }
    let listed = world.client.opt_outs().list_opt_outs(ListOptOutsRequest::default()).await;
    let listed = listed.unwrap().into_inner().opt_outs;
    let sources: Vec<_> = listed.iter().map(|it| (it.source(), it.account.as_str())).collect();
    assert_eq!(sources, [(OptOutSource::Provider, "twilio/main"); 2], "one a channel");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_person_writes_to_a_number_is_read_once_with_who_wrote_it() {
    let world = TwilioWorld::start().await;
    for _ in 0..2 {
        assert_eq!(says(&world, "447700900010", "On+my+way").await, 200);
    }
    let start = Start::Position(StreamStart::Beginning as i32);
    let mut told = Vec::new();
    let see = |response: &StreamInboundResponse| {
        told.extend(response.message.clone());
        !response.up_to_date
    };
    world.client.watch_inbound(start, see).await.unwrap();
    let [message] = &told[..] else { panic!("{}", told.len()) };
    let told: serde_json::Value = serde_json::from_str(&dispatch::pb::to_json(message)).unwrap();
    let address = |name: &str| told[name]["number"].as_str().unwrap_or_default().to_owned();
    assert_eq!(address("from_address"), "447700900010");
    assert_eq!(address("to_address"), "447700900001");
    assert_eq!(told["content"][0]["text"], "On my way");
    assert_eq!(
        (&told["account"], &told["provider_message_id"]),
        (&"twilio/main".into(), &"SM77".into())
    );
    world.stop().await;
}

/// Twilio's own client for Python sends to our server and verifies what that tells; what its validator signs,
/// the program takes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twilio_s_own_client_is_served_and_its_signatures_are_taken() {
    let Some(python) = node::python_with("twilio").await else { return };
    let world = TwilioWorld::start().await;
    world.server.provider.set_default("accept; submitted 0s; deliver 0s".parse().unwrap());
    world.script("447700900012", "reject 1300");
    world.script("447700900013", "accept; undeliverable 0s 1260");
    world.script("447700900014", "accept; deliver 60s");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/clients/twilio_client.py");
    let mut run = Command::new(python);
    run.arg(script).args([&*world.server.url, &*world.webhooks(), ACCOUNT, TOKEN]);
    let ran = run.env("NO_PROXY", "*").kill_on_drop(true).output().await.unwrap();
    let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success() && out.contains("all told"), "{out}{err}");
    world.stop().await;
}
