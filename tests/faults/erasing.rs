//! An erasure that SIGKILL cuts off, anywhere between its steps and in the middle of each: what was answered is done,
//! what was begun the next start ends, and nobody else is forgotten.

use std::time::Duration;

use dispatch::{
    client::Client,
    pb::v1::{
        ContentsState, EraseRequest, ErasureCertificate, ListAuditRequest, PersonToErase,
        VerifyErasureRequest, erase_request::Subject,
    },
};

use crate::{
    report,
    server::Place,
    shared::waits::eventually,
    shim::Faults,
    world::{Dice, config_without_provider, messenger_sms, request, setting},
};

/// Where the process ends, each with how often it may be passed before: while the erasure is written down, while the
/// writer marks it, while keys are overwritten, while it is certified.
const POINTS: &[(&str, u64)] = &[
    ("write/db", 30),
    ("sync/db", 16),
    ("synced/db", 16),
    ("write/contents/w.", 8),
    ("sync/contents/w.", 3),
    ("synced/contents/w.", 3),
];
const PERSON: &str = "person-of-theirs";
const OTHERS: &str = "person-of-others";
/// How many workflows each of them has.
const WORKFLOWS: usize = 12;
/// A start ends what was begun in this time.
const PATIENCE: Duration = Duration::from_secs(30);
/// By then it would have begun to.
const A_WHILE: Duration = Duration::from_millis(300);

#[derive(Default)]
struct Rounds {
    /// How often the process ended before the answer.
    unanswered: u64,
    /// How often the next start had something to end.
    ended_by_start: u64,
    erased: u64,
}

/// Workflows of two people, every third of them ended.
async fn created(client: &Client) -> [Vec<String>; 2] {
    let mut ids = [Vec::new(), Vec::new()];
    for number in 0..WORKFLOWS {
        for (place, person) in [PERSON, OTHERS].iter().enumerate() {
            let asked = request(&format!("{place}-{number}"), messenger_sms(person));
            let id = client.create(asked).await.unwrap().workflow.unwrap().workflow_id;
            if number.is_multiple_of(3) {
                client.cancel(&id).await.unwrap();
            }
            ids[place].push(id);
        }
    }
    ids
}

async fn erase(client: &Client) -> Option<ErasureCertificate> {
    let person = Subject::Person(PersonToErase { recipients: vec![PERSON.to_owned()] });
    let asked = EraseRequest { subject: Some(person), ..EraseRequest::default() };
    client.erasures().erase(asked).await.ok()?.into_inner().certificate
}

/// Of how many of these the contents are erased; of the others they are shown.
async fn erased(client: &Client, ids: &[String]) -> usize {
    let mut count = 0;
    for id in ids {
        match client.get(id).await.unwrap().contents() {
            ContentsState::Erased => count += 1,
            ContentsState::Shown => {}
            other => panic!("{id}: {other:?}"),
        }
    }
    count
}

/// Whether an erasure has come to its end: it stands in the audit log with its certificate's digest.
async fn is_certified(client: &Client) -> bool {
    let listed = client.access().list_audit(ListAuditRequest::default()).await.unwrap();
    listed.into_inner().entries.iter().any(|entry| entry.action == "contents.erased")
}

async fn round(faults: Option<Faults>, delay: Duration, rounds: &mut Rounds) {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::new(folder.path(), &config_without_provider()).await;
    let first = place.start().await;
    let [theirs, others] = created(&first.client().await).await;
    first.kill().await;

    let mut answered = None;
    // It may be killed before it serves.
    if let Ok(server) = place.start_with(faults.as_ref(), &[]).await {
        if let Ok(client) = Client::connect(format!("http://{}", server.grpc)).await {
            let asked = tokio::spawn(async move { erase(&client).await });
            tokio::time::sleep(delay).await;
            server.kill().await;
            answered = asked.await.unwrap();
        } else {
            server.kill().await;
        }
    }
    rounds.unanswered += u64::from(answered.is_none());

    let server = place.start().await;
    let client = server.client().await;
    let before = erased(&client, &theirs).await;
    if answered.is_some() {
        assert_eq!(before, WORKFLOWS, "what was answered is done");
    } else {
        // Of what was begun all is done in a while; of what was not, nothing is.
        let is_begun = || async { erased(&client, &theirs).await > 0 };
        if before > 0 || eventually(A_WHILE, is_begun).await {
            let is_ended = || async {
                is_certified(&client).await && erased(&client, &theirs).await == WORKFLOWS
            };
            assert!(eventually(PATIENCE, is_ended).await, "what was begun is not ended: {before}");
            rounds.ended_by_start += 1;
        }
    }
    // To ask again is no harm, and then it is done and can be looked up, whatever was before.
    let again = erase(&client).await.unwrap();
    for certificate in answered.into_iter().chain([again]) {
        let named = certificate.workflows.len();
        let asked = VerifyErasureRequest { certificate: Some(certificate) };
        let told = client.erasures().verify_erasure(asked).await.unwrap().into_inner();
        let is_destroyed = told.destroyed_count as usize == named && told.remaining.is_empty();
        assert!(told.is_genuine && is_destroyed, "{told:?}");
    }
    assert_eq!(erased(&client, &theirs).await, WORKFLOWS);
    assert_eq!(erased(&client, &others).await, 0, "nobody else is forgotten");
    rounds.erased += WORKFLOWS as u64;
    assert_eq!(server.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erasure_that_a_kill_cuts_off_is_ended_by_the_next_start() {
    let seed = Dice::seed();
    let mut dice = Dice::new(seed, 9);
    let count = setting("DISPATCH_KILL_ROUNDS").unwrap_or(8).min(40);
    let mut rounds = Rounds::default();
    for _ in 0..count {
        let faults = (!dice.one_in(4)).then(|| {
            let (point, most) = dice.pick(POINTS);
            Faults::kill(format!("{point} {}", 1 + dice.below(most)))
        });
        // At random it ends in the middle of it; at a point, when it came there.
        let delay = match &faults {
            Some(_) => Duration::from_millis(400),
            None => Duration::from_millis(dice.below(40)),
        };
        round(faults, delay, &mut rounds).await;
    }
    report::row(&report::Tried {
        name: "32-erasing",
        what: "SIGKILL in the middle of an erasure, at random and between any two of its steps",
        counts: vec![
            (count, "erasures"),
            (rounds.unanswered, "that were not answered"),
            (rounds.ended_by_start, "of those that the next start ended"),
            (rounds.erased, "workflows erased"),
        ],
        found: "what was answered is done, what was begun is ended, nobody else is forgotten"
            .to_owned(),
        seed: format!("DISPATCH_SEED={seed}"),
    });
}
