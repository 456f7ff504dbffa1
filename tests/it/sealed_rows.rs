//! What is kept of persons beside the journal is sealed: nobody reads it in a data folder, and what counts of it counts
//! without the keys.

use std::{fs, path::Path, time::Duration};

use dispatch::{
    config::Config,
    engine::ResumePolicy,
    pb::v1::{
        Address, BatchCreateOptOutsRequest, DeleteOptOutsRequest, ListOptOutsRequest, OptOut,
        OutcomeReason, StreamStart, WorkflowSpec, address::Endpoint, stream_inbound_request::Start,
    },
    store::SledOptions,
};
use dispatch_contract::{Channel, ChannelSender, Content, Inbound, InboundMessage};

use crate::{
    no_recipient::stands_in,
    sealed::{on, refusal},
    support::{Running, messenger_sms},
};

const NUMBER: &str = "447700900872";
const PERSON: &str = "9123456780012346";
const TEXT: &str = "zebra-quince";

/// A backup of what runs, as a file, restored beside it under the master key of the one it was taken of.
async fn restored(running: &Running, data: &Path, folder: &Path) -> Config {
    let mut backup = Vec::new();
    let taken = running.client.backup(Default::default(), |piece| -> Result<(), ()> {
        backup.extend_from_slice(piece);
        Ok(())
    });
    taken.await.unwrap().unwrap();
    let (file, restored) = (folder.join("one.backup"), folder.join("restored"));
    fs::write(&file, &backup).unwrap();
    let options = SledOptions { folder: restored.clone(), cache_bytes: 1 << 24 };
    options.restore(&file).unwrap();
    fs::copy(data.join("master.key"), restored.join("master.key")).unwrap();
    on(&restored)
}

fn of_number() -> Address {
    let endpoint = Some(Endpoint::Number(NUMBER.to_owned()));
    Address { channel: "sms".to_owned(), endpoint }
}

async fn say_no(running: &Running) -> i32 {
    let opt_out = OptOut { recipient: Some(of_number()), ..OptOut::default() };
    let request = BatchCreateOptOutsRequest { opt_outs: vec![opt_out], tenant: String::new() };
    let made = running.client.opt_outs().batch_create_opt_outs(request).await.unwrap();
    made.into_inner().created_count
}

/// Who stands on the list, and whether nothing goes out to the person who said no.
async fn listed(running: &Running) -> (Vec<String>, bool) {
    running.script(PERSON, "accept; deliver 1s").await;
    let id = running.create(messenger_sms(PERSON, NUMBER, "60s")).await;
    running.advance(Duration::from_secs(200)).await;
    let reason = running.get(&id).await.outcome.unwrap().reason();
    let listed = running.client.opt_outs().list_opt_outs(ListOptOutsRequest::default()).await;
    let listed = listed.unwrap().into_inner().opt_outs;
    assert!(listed.iter().all(|it| it.recipient.as_ref().unwrap().channel == "sms"), "{listed:?}");
    let number = |it: &OptOut| match &it.recipient.as_ref().unwrap().endpoint {
        Some(Endpoint::Number(number)) => number.clone(),
        Some(Endpoint::Id(_)) => panic!("an id"),
        None => "forgotten".to_owned(),
    };
    let who = listed.iter().map(number).collect();
    let is_sent = running.sent().await.iter().any(|sent| sent.recipient == NUMBER);
    (who, reason == OutcomeReason::OptedOut && !is_sent)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_wants_no_messages_is_read_by_nobody_and_a_stop_outlives_the_keys() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let config = on(&data);
    let running = Running::start(&config).await;
    assert_eq!(say_no(&running).await, 1);
    let other = restored(&running, &data, folder.path()).await;
    running.stop().await;
    assert_eq!(stands_in(folder.path(), &[NUMBER]), Vec::<String>::new());

    let known = || vec![NUMBER.to_owned()];
    for (config, is_restored) in [(&config, false), (&other, true)] {
        let running = Running::start(config).await;
        if is_restored {
            running.service.engine.resume(ResumePolicy::Continue).await.unwrap();
            tokio::time::sleep(Duration::from_secs(3)).await;
        }
        assert_eq!(listed(&running).await, (known(), true), "restored: {is_restored}");
        assert_eq!(say_no(&running).await, 0, "it is there already");
        running.stop().await;
    }

    // The keys are lost of who stands there: nobody is shown it, and the word stands.
    fs::remove_file(data.join("contents/o.00000000")).unwrap();
    let running = Running::start(&config).await;
    assert_eq!(listed(&running).await, (vec!["forgotten".to_owned()], true));
    assert_eq!(say_no(&running).await, 0);
    let request = DeleteOptOutsRequest { recipient: Some(of_number()), ..Default::default() };
    let lifted = running.client.opt_outs().delete_opt_outs(request).await.unwrap().into_inner();
    assert_eq!((lifted.deleted_count, say_no(&running).await), (1, 1));
    assert_eq!(listed(&running).await, (known(), true), "under another key");
    running.stop().await;
}

/// A folder of keys from before: a key that it would give out again has sealed something.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_are_older_than_a_row_which_they_sealed_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let config = on(&data);
    Running::start(&config).await.stop().await;
    let (contents, before) = (data.join("contents"), folder.path().join("before"));
    fs::create_dir(&before).unwrap();
    for entry in fs::read_dir(&contents).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), before.join(entry.file_name())).unwrap();
    }
    let running = Running::start(&config).await;
    say_no(&running).await;
    running.stop().await;
    fs::remove_dir_all(&contents).unwrap();
    fs::rename(&before, &contents).unwrap();
    let told = refusal(&config).await;
    assert!(told.contains("older than the store") && told.contains("key at o"), "{told}");
}

/// WhatsApp from Meta, to be read; its ids hold the number.
fn whatsapp(number: &str) -> WorkflowSpec {
    let spec = format!(
        "
steps:
  - sender: {{ channel: whatsapp, number: '15550783881' }}
    recipient: {{ channel: whatsapp, number: '{number}' }}
    message: {{ text: 'Will you come?' }}
"
    );
    dispatch::pb::from_yaml(&spec).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_s_id_that_holds_a_number_is_kept_nowhere_and_finds_its_message() {
    let folder = tempfile::tempdir().unwrap();
    let config = on(&folder.path().join("data"));
    let running = Running::over_http(&config).await;
    running.script(NUMBER, "accept; deliver 1s; read 2s; reply 5s").await;
    let id = running.create(whatsapp(NUMBER)).await;
    running.advance(Duration::from_secs(60)).await;
    let workflow = running.get(&id).await;
    assert_eq!(workflow.steps[0].status, "replied", "{workflow:?}");
    let named = workflow.steps[0].attempts[0].provider_message_ids.concat();
    assert!(named.starts_with('~') && named.len() == 23, "{named}");
    assert!(!format!("{workflow:?}").contains("wamid"), "{workflow:?}");
    // Who answers quotes it by what stands for its id.
    let [answer] = &heard(&running).await[..] else { panic!("not one") };
    assert!(answer.contains(&named) && answer.contains(&id), "{answer}");
    running.stop().await;
    assert_eq!(stands_in(folder.path(), &[NUMBER]), Vec::<String>::new());
}

async fn hears(running: &Running, id: &str) {
    let message = InboundMessage {
        id: id.to_owned(),
        from: dispatch_contract::Endpoint::Number(NUMBER.to_owned()),
        to: ChannelSender { channel: Channel::SMS, id: "DISPATCH".to_owned() },
        content: vec![Content::Text(format!("{TEXT} {id}"))],
        quoted_id: None,
        quoted_attempt: None,
        provider_time: None,
    };
    let told = vec![Inbound::Message(message)];
    running.service.engine.inbound("sandbox", "sandbox", told).await.unwrap();
}

/// What persons wrote, as a reader is told it from the beginning.
async fn heard(running: &Running) -> Vec<String> {
    let start = Start::Position(StreamStart::Beginning as i32);
    let mut heard = Vec::new();
    let watched = running.client.watch_inbound(start, |response| {
        heard.extend(response.message.as_ref().map(dispatch::pb::to_json));
        !response.up_to_date
    });
    watched.await.unwrap();
    heard
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_person_wrote_is_read_by_nobody_without_the_keys() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let config = on(&data);
    let running = Running::start(&config).await;
    hears(&running, "one").await;
    let other = restored(&running, &data, folder.path()).await;
    running.stop().await;
    assert_eq!(stands_in(folder.path(), &[NUMBER, TEXT]), Vec::<String>::new());
    for config in [&config, &other] {
        let running = Running::start(config).await;
        let [message] = &heard(&running).await[..] else { panic!("not one") };
        assert!(message.contains(NUMBER) && message.contains(TEXT), "{message}");
        running.stop().await;
    }

    // The keys are lost of what was written: nobody is told it, and what comes then is told.
    fs::remove_file(data.join("contents/i.00000000")).unwrap();
    let running = Running::start(&config).await;
    hears(&running, "one").await;
    assert_eq!(heard(&running).await, [] as [&str; 0], "it is the same message");
    hears(&running, "two").await;
    assert!(heard(&running).await.concat().contains("quince two"));
    running.stop().await;
}
