//! The other side of the crash contract: what was promised, and whether it was kept.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use dispatch::{
    client::{Client, Watch},
    pb::v1::{
        CreateWorkflowRequest, Event, EventKind, ListWorkflowsRequest, Workflow, WorkflowState,
    },
};
use dispatch_sandbox::SentMessage;
use futures_util::StreamExt;
use tonic::Code;

use crate::world::{Dice, eventually, messenger_sms, request};

/// How long the end of everything may take: the provider repeats a webhook that found nobody after
/// 5, 10, 20, 40, 80 s.
const TIMEOUT: Duration = Duration::from_secs(150);

/// What the service was asked for and what it acknowledged.
#[derive(Default)]
pub struct Promised {
    /// Every create, by request id, whether acknowledged or not.
    pub asked: BTreeMap<String, CreateWorkflowRequest>,
    /// The acknowledged ones' workflows, by request id.
    pub created: BTreeMap<String, String>,
    /// Attempts that had started when the cancel was acknowledged, by workflow.
    pub canceled: BTreeMap<String, BTreeSet<String>>,
    /// The longest timeline that was ever shown, by workflow: each event's sequence and sentence.
    pub shown: BTreeMap<String, Vec<(u32, String)>>,
}

/// What was found when everything had ended.
#[derive(Debug, Default)]
pub struct Kept {
    pub workflows: u64,
    pub acknowledged: u64,
    pub unacknowledged_kept: u64,
    pub cancels: u64,
    pub sent: u64,
    pub planned: u64,
    pub unknown: u64,
    pub repeated: u64,
    pub possible_doubles: u64,
    pub doubles: u64,
    pub watched: u64,
}

/// Creates, cancels and looks, until told to stop or the service is gone.
pub async fn customer(
    client: Client,
    promised: Arc<Mutex<Promised>>,
    stop: Arc<AtomicBool>,
    name: String,
    mut dice: Dice,
) {
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        number += 1;
        let request_id = format!("{name}-{number}");
        let asked = request(&request_id, messenger_sms(&format!("person-{request_id}")));
        promised.lock().unwrap().asked.insert(request_id.clone(), asked.clone());
        let Ok(created) = client.create(asked).await else { return };
        let id = created.workflow.unwrap().workflow_id;
        promised.lock().unwrap().created.insert(request_id, id.clone());
        if dice.one_in(4) {
            match client.cancel(&id).await {
                Ok(canceled) => {
                    let started = canceled.started_attempt_ids.into_iter().collect();
                    promised.lock().unwrap().canceled.insert(id.clone(), started);
                }
                Err(status) if status.code() == Code::FailedPrecondition => {}
                Err(_) => return,
            }
        }
        if dice.one_in(3) {
            let Ok(workflow) = client.get(&id).await else { return };
            promised.lock().unwrap().shown.insert(id, timeline(&workflow));
        }
        // Paced, so that a round is about kills and not about volume.
        tokio::time::sleep(Duration::from_millis(dice.below(20))).await;
    }
}

/// Follows everything from now on, across kills; returns once the first event came through.
pub async fn watch(client: &Client) -> Arc<Mutex<Vec<Event>>> {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (watching, sees) = (client.clone(), Arc::clone(&seen));
    tokio::spawn(async move {
        let mut resume_token = None;
        // Whoever is away for a minute on a machine that is much too busy is asked again.
        loop {
            let from = resume_token.clone();
            let see = |event: Event| {
                resume_token = Some(event.resume_token.clone());
                sees.lock().unwrap().push(event);
                true
            };
            match watching.watch(Watch::All, from, true, see).await {
                Err(status) if is_outage(status.code()) => {}
                ended => return println!("nobody watches any more: {ended:?}"),
            }
        }
    });
    let begun = eventually(Duration::from_secs(10), || async {
        client.create(request("", messenger_sms("the first"))).await.unwrap();
        !seen.lock().unwrap().is_empty()
    });
    assert!(begun.await, "nothing is streamed");
    // From the middle of a workflow: only those that begin from here on are compared.
    seen
}

fn is_outage(code: Code) -> bool {
    [Code::Unavailable, Code::Unknown, Code::Cancelled, Code::Internal].contains(&code)
}

/// Checks every row of the crash contract once everything has ended. `sent`: what the provider has sent by now.
pub async fn check(
    client: &Client,
    sent: impl Fn() -> Vec<SentMessage>,
    promised: Promised,
    seen: Arc<Mutex<Vec<Event>>>,
) -> Kept {
    let mut kept = Kept::default();
    // A repeated create is answered with the workflow that there is; one that was never
    // acknowledged was either kept whole, or is new now.
    let every = promised.created.len() / 1000 + 1;
    for (number, (request_id, asked)) in promised.asked.iter().enumerate() {
        let acknowledged = promised.created.get(request_id);
        if acknowledged.is_some() && number % every > 0 {
            continue;
        }
        let again = client.create(asked.clone()).await;
        let again = again.unwrap_or_else(|status| panic!("{request_id} is not taken: {status}"));
        let id = again.workflow.unwrap().workflow_id;
        match acknowledged {
            Some(promised) => assert_eq!(*promised, id, "{request_id} was forgotten"),
            None => kept.unacknowledged_kept += u64::from(again.already_existed),
        }
    }
    let full = everything_ended(client, &sent).await;
    let sent = sent();
    for (request_id, id) in &promised.created {
        assert!(full.contains_key(id), "the acknowledged workflow of {request_id} is lost");
    }
    for id in promised.canceled.keys() {
        let state = full[id].state();
        assert_eq!(state, WorkflowState::Canceled, "the acknowledged cancel of {id} is lost");
    }
    timelines(&full, &promised);
    sends(&full, &promised, &sent, &mut kept);
    kept.workflows = full.len() as u64;
    kept.acknowledged = promised.created.len() as u64;
    kept.cancels = promised.canceled.len() as u64;
    kept.sent = sent.len() as u64;
    kept.watched = stream(&full, &seen).await;
    kept
}

/// Every workflow, once it has ended and every receipt of the provider's has come to it.
async fn everything_ended(
    client: &Client,
    sent: impl Fn() -> Vec<SentMessage>,
) -> BTreeMap<String, Workflow> {
    let full = Mutex::new(BTreeMap::new());
    let all = futures_util::stream::iter(all_ids(client).await);
    all.for_each_concurrent(8, async |id| {
        let whole = eventually(TIMEOUT, || async {
            let workflow = client.get(&id).await.unwrap();
            let has_ended =
                !matches!(workflow.state(), WorkflowState::Running | WorkflowState::Scheduled);
            full.lock().unwrap().insert(id.clone(), workflow);
            has_ended
        });
        assert!(whole.await, "a timer of {id} is lost: {:#?}", full.lock().unwrap()[&id]);
    })
    .await;
    // The provider told of every message that it was delivered, until it was heard.
    let mut told_of: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for message in sent() {
        let attempt = message.attempt().expect("only this service sends");
        let id = attempt.workflow.hyphenated().to_string();
        told_of.entry(id).or_default().push(attempt.to_string());
    }
    futures_util::stream::iter(told_of)
        .for_each_concurrent(8, async |(id, attempts)| {
            let is_known = full.lock().unwrap().contains_key(&id);
            assert!(is_known, "sent for {id}, which was never durable");
            let has_all = || {
                let full = full.lock().unwrap();
                let is_of = |name: &String| {
                    let mut events = full[&id].timeline.iter();
                    events.any(|event| event.attempt_id == *name && event.status() == "delivered")
                };
                attempts.iter().all(is_of)
            };
            let heard = eventually(TIMEOUT, || async {
                if !has_all() {
                    let workflow = client.get(&id).await.unwrap();
                    full.lock().unwrap().insert(id.clone(), workflow);
                }
                has_all()
            });
            let heard = heard.await;
            assert!(heard, "a receipt of {id} is lost: {:#?}", full.lock().unwrap()[&id]);
        })
        .await;
    full.into_inner().unwrap()
}

async fn all_ids(client: &Client) -> Vec<String> {
    let mut ids = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = ListWorkflowsRequest { page_size: 500, page_token, ..Default::default() };
        let page = client.list(request).await.unwrap();
        ids.extend(page.workflows.into_iter().map(|workflow| workflow.workflow_id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return ids;
        }
    }
}

/// Whole, without gaps, what was shown still there, and no timer early.
fn timelines(workflows: &BTreeMap<String, Workflow>, promised: &Promised) {
    for (id, workflow) in workflows {
        let told = timeline(workflow);
        let sequences: Vec<_> = told.iter().map(|(sequence, _)| *sequence).collect();
        assert_eq!(sequences, (1..=told.len() as u32).collect::<Vec<_>>(), "a gap in {id}");
        assert_eq!(workflow.timeline[0].kind(), EventKind::Created, "{id} has no beginning");
        if let Some(shown) = promised.shown.get(id) {
            assert!(told.starts_with(shown), "an event of {id} that was shown is lost");
        }
        let of_kind = |kinds: &'static [EventKind]| {
            workflow.timeline.iter().find(|e| e.step == 1 && kinds.contains(&e.kind())).map(millis)
        };
        let clock = of_kind(&[EventKind::AttemptAccepted, EventKind::AttemptUnknown]);
        if let (Some(clock), Some(expired)) = (clock, of_kind(&[EventKind::StepExpired])) {
            // What is shown are the wall clock's whole milliseconds, and the timer counts those of a clock
            // that is set by nobody: cut off in other places, and slewed apart by the system's timekeeping.
            let took = expired.saturating_sub(clock);
            assert!(took + 2 >= 1000, "a timer of {id} fired early: after {took} ms of 1000");
        }
    }
}

/// Nothing twice that is not counted, nothing after a cancel, nothing accepted that was not sent.
fn sends(
    workflows: &BTreeMap<String, Workflow>,
    promised: &Promised,
    sent: &[SentMessage],
    kept: &mut Kept,
) {
    let mut by_attempt: BTreeMap<String, u32> = BTreeMap::new();
    let mut by_step: BTreeMap<(String, String), u32> = BTreeMap::new();
    for message in sent {
        let attempt = message.attempt().expect("only this service sends");
        let id = attempt.workflow.hyphenated().to_string();
        let name = attempt.to_string();
        if let Some(started) = promised.canceled.get(&id) {
            assert!(started.contains(&name), "{name} started after the cancel was acknowledged");
        }
        *by_attempt.entry(name).or_default() += 1;
        *by_step.entry((id, message.channel.to_string())).or_default() += 1;
    }
    for (attempt, times) in &by_attempt {
        assert_eq!(*times, 1, "{attempt} was sent twice");
    }
    for (id, workflow) in workflows {
        let is = |kind| move |event: &&Event| event.kind() == kind;
        let events = || workflow.timeline.iter();
        for accepted in events().filter(is(EventKind::AttemptAccepted)) {
            let name = &accepted.attempt_id;
            assert!(by_attempt.contains_key(name), "{name} is accepted, and was never sent");
        }
        // What waited for a place when the process died was sent after all.
        let was_cut_short = workflow.state() == WorkflowState::Canceled
            || workflow.timeline.iter().any(|event| event.kind() == EventKind::LateSuccess);
        for planned in events().filter(is(EventKind::AttemptPlanned)) {
            kept.planned += 1;
            let name = &planned.attempt_id;
            let has_started = events()
                .filter(is(EventKind::AttemptStarted))
                .any(|started| started.attempt_id == *name);
            // A second send that waited for a place while a receipt told of the first.
            let was_needless = planned.possible_duplicate()
                && events().filter(is(EventKind::AttemptAccepted)).any(|accepted| {
                    accepted.step == planned.step && accepted.sequence > planned.sequence
                });
            assert!(
                has_started || was_cut_short || was_needless,
                "{name} never started: {:#?}",
                timeline(workflow)
            );
        }
        kept.unknown += events().filter(is(EventKind::AttemptUnknown)).count() as u64;
        kept.repeated += events().filter(is(EventKind::AttemptRepeated)).count() as u64;
        for channel in ["messenger", "sms"] {
            let times = by_step.get(&(id.clone(), channel.to_owned())).copied().unwrap_or(0);
            let counted = events()
                .filter(is(EventKind::AttemptPlanned))
                .filter(|event| event.possible_duplicate() && event.channel == channel)
                .count() as u32;
            assert!(times <= 1 + counted, "an uncounted double of {id} on {channel}");
            kept.possible_doubles += u64::from(counted);
            kept.doubles += u64::from(times.saturating_sub(1));
        }
    }
}

/// One watch over all lives saw every event once, and in order.
async fn stream(workflows: &BTreeMap<String, Workflow>, seen: &Arc<Mutex<Vec<Event>>>) -> u64 {
    let mut unseen = Vec::new();
    let all_seen = eventually(Duration::from_secs(20), || {
        let mut by_workflow: BTreeMap<String, Vec<Event>> = BTreeMap::new();
        for event in seen.lock().unwrap().iter() {
            by_workflow.entry(event.workflow_id.clone()).or_default().push(event.clone());
        }
        // The first was not watched from its beginning.
        by_workflow.retain(|_, events| events[0].sequence == 1);
        unseen = workflows
            .iter()
            .filter(|(id, workflow)| {
                let Some(events) = by_workflow.get(*id) else { return false };
                let in_order = (1..).zip(events).all(|(number, event)| event.sequence == number);
                !in_order || !events.starts_with(&workflow.timeline)
            })
            .map(|(id, _)| id.clone())
            .collect();
        let is_so = unseen.is_empty() && by_workflow.len() + 3 >= workflows.len();
        async move { is_so }
    })
    .await;
    let of = |id: &String| {
        let seen = seen.lock().unwrap();
        let seen: Vec<_> =
            seen.iter().filter(|it| it.workflow_id == *id).map(|it| it.sequence).collect();
        (id.clone(), seen, workflows[id].timeline.len())
    };
    let unseen: Vec<_> = unseen.iter().map(of).collect();
    assert!(all_seen, "the stream has a gap or a repeat (seen, and told of): {unseen:?}");
    seen.lock().unwrap().len() as u64
}

/// What is told of a workflow: each event's number and sentence.
pub fn timeline(workflow: &Workflow) -> Vec<(u32, String)> {
    workflow.timeline.iter().map(|event| (event.sequence, event.description.clone())).collect()
}

/// When it was, in milliseconds since 1970.
pub fn millis(event: &Event) -> i64 {
    let time = event.time.unwrap();
    time.seconds * 1000 + i64::from(time.nanos) / 1_000_000
}
