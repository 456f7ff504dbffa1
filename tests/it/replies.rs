//! `replied` as a condition: a person quotes the message in time, or does not. What the simulated providers post of it
//! is what the real ones do, and the real adapters read it.

use std::time::Duration;

use dispatch::pb::v1::{StepState, StreamStart, WorkflowState, stream_inbound_request::Start};

use crate::{
    at_providers::states,
    support::{Running, in_memory},
};

const MINUTE: Duration = Duration::from_secs(60);
const ANSWERS: &str = "447700900010";
const ANSWERS_TOO_LATE: &str = "447700900011";
const ONLY_READS: &str = "447700900012";

/// By which channel and sender, and to which account that leads over HTTP.
const SENDERS: [(&str, &str, &str); 3] = [
    ("whatsapp", "number: '447700900001'", "vonage/sandbox"),
    ("whatsapp", "number: '15550783881'", "meta/sandbox"),
    ("viber_service_msg", "id: Acme", "vonage/sandbox"),
];

/// A message to be answered within ten minutes, else an SMS.
async fn create(running: &Running, (channel, sender): (&str, &str), number: &str) -> String {
    let spec = format!(
        "
steps:
  - sender: {{ channel: {channel}, {sender} }}
    recipient: {{ channel: {channel}, number: '{number}' }}
    message: {{ text: 'Will you come?' }}
    failover: {{ expiry_time: 600s, condition_status: replied }}
  - sender: {{ channel: sms, number: 'Dispatch' }}
    recipient: {{ channel: sms, number: '447700900000' }}
    message: {{ text: 'Will you come?' }}
"
    );
    running.create(dispatch::pb::from_yaml(&spec).unwrap()).await
}

/// Of each message that persons wrote: the workflow that it answers, and the account that heard it.
async fn heard(running: &Running) -> Vec<(String, String)> {
    let start = Start::Position(StreamStart::Beginning as i32);
    let mut heard = Vec::new();
    let watched = running.client.watch_inbound(start, |response| {
        let answer =
            |it: &dispatch::pb::v1::InboundMessage| (it.workflow_id.clone(), it.account.clone());
        heard.extend(response.message.as_ref().map(answer));
        !response.up_to_date
    });
    watched.await.unwrap();
    heard
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_quotes_a_message_in_time_ends_its_workflow_and_who_does_not_is_sent_the_next() {
    for over_http in [false, true] {
        let running = match over_http {
            false => Running::start(&in_memory()).await,
            true => Running::over_http(&in_memory()).await,
        };
        running.script(ANSWERS, "accept; deliver 1s; read 2s; reply 5s; twice").await;
        running.script(ANSWERS_TOO_LATE, "accept; deliver 1s; read 2s; reply 11m").await;
        running.script(ONLY_READS, "accept; deliver 1s; read 2s").await;
        for (channel, sender, account) in SENDERS {
            let place = format!("{channel} from {sender}, over HTTP: {over_http}");
            let sender = (channel, sender);
            let answered = create(&running, sender, ANSWERS).await;
            let late = create(&running, sender, ANSWERS_TOO_LATE).await;
            let read = create(&running, sender, ONLY_READS).await;
            running.advance(Duration::from_secs(4)).await;
            let workflow = running.get(&answered).await;
            assert_eq!(states(&workflow)[0], (StepState::Active, "read"), "{place}: {workflow:?}");
            running.advance(60 * MINUTE).await;

            let workflow = running.get(&answered).await;
            assert_eq!(workflow.state(), WorkflowState::Succeeded, "{place}: {workflow:?}");
            assert_eq!(states(&workflow)[0], (StepState::Met, "replied"), "{place}");
            assert!(workflow.steps[1].attempts.is_empty(), "{place}: {workflow:?}");
            for (id, status) in [(&late, "replied"), (&read, "read")] {
                let workflow = running.get(id).await;
                assert_eq!(workflow.state(), WorkflowState::Succeeded, "{place}: {workflow:?}");
                let [first, second] = states(&workflow)[..] else { panic!("{workflow:?}") };
                assert_eq!(first, (StepState::Expired, status), "{place}: {workflow:?}");
                assert_eq!(second, (StepState::Met, "delivered"), "{place}: {workflow:?}");
            }
            let account = if over_http { account } else { "sandbox/sandbox" };
            let heard = heard(&running).await;
            let newest: Vec<_> = heard.iter().rev().take(2).rev().collect();
            let of = |id: &String| (id.clone(), account.to_owned());
            assert_eq!(newest, [&of(&answered), &of(&late)], "{place}");
        }
        assert_eq!(heard(&running).await.len(), 2 * SENDERS.len(), "each is told once");
        running.stop().await;
    }
}
