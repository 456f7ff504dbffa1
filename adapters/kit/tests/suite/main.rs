//! The conformance suite judged: honest adapters pass it whole, and each planted mistake fails it.

mod chat;
mod push;

use dispatch_contract::{ContentKind, Status};
use dispatch_kit::conformance::{ConformanceSubject, Findings, run};
use tokio::task::JoinHandle;

use self::{chat::Chat, push::Push};

/// What somebody may get wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mistake {
    KeyLeftOut,
    KeyAtRandom,
    KeyForAll,
    DuplicateRefused,
    DuplicateMadeUp,
    ThrottledForGood,
    RetryAfterDropped,
    FailureRetried,
    TimeoutRetried,
    BodyLeaked,
    TimeoutIgnored,
    RecipientLeftOut,
    TextLeftOut,
    RedirectFollowed,
    LimitInBytes,
    NothingChecked,
    EchoLeftOut,
    EchoNotRead,
    StatusNeverTold,
    AnySignature,
    PanicOnJunk,
    BadItemLosesOthers,
    UrlNotSigned,
    ReplayForTenYears,
    ReplyOfReceipt,
    ReplyOfAnything,
    ReplyOfJunk,
    HandshakeWithAnybody,
    HandshakeUnanswered,
}

async fn found(subject: impl ConformanceSubject) -> Findings {
    run(&subject).await
}

#[tokio::test]
async fn an_honest_adapter_with_receipts_passes_whole() {
    let findings = found(Push::with_receipts()).await;
    assert_eq!(findings.failures, Vec::<String>::new());
    assert!(findings.checks > 1_000, "{findings}");
}

#[tokio::test]
async fn an_honest_adapter_without_receipts_passes_whole() {
    let findings = found(Push::without_receipts()).await;
    assert_eq!(findings.failures, Vec::<String>::new());
}

#[tokio::test]
async fn an_honest_chat_with_replies_and_a_handshake_passes_whole() {
    let findings = found(Chat::honest()).await;
    assert_eq!(findings.failures, Vec::<String>::new());
}

#[tokio::test]
async fn what_is_declared_and_not_there_fails() {
    let mut push = Push::with_receipts();
    push.can.condition_statuses.push(Status::Replied);
    push.can.content.push(ContentKind::Video);
    push.can.recall = true;
    let failures = found(push).await.to_string();
    for promise in [
        "replied is declared, and no webhook tells it",
        "video is declared, and there is no sample",
        "recall is declared",
    ] {
        assert!(failures.contains(promise), "{promise} in {failures}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn each_planted_mistake_fails() {
    use Mistake as M;
    let planted = [
        (M::KeyLeftOut, "the request carries no key"),
        (M::KeyAtRandom, "two calls under one attempt carry different keys"),
        (M::KeyForAll, "calls of two attempts carry the same key"),
        (M::DuplicateRefused, "a repeated call's answer means the first message"),
        (M::DuplicateMadeUp, "a repeated call's answer means the first message"),
        (M::ThrottledForGood, "HTTP 429"),
        (M::RetryAfterDropped, "HTTP 429"),
        (M::FailureRetried, "HTTP 500"),
        (M::TimeoutRetried, "no answer in time"),
        (M::BodyLeaked, "repeats what the provider said"),
        (M::TimeoutIgnored, "no answer in time"),
        (M::RecipientLeftOut, "does not carry the recipient"),
        (M::TextLeftOut, "does not carry the text"),
        (M::RedirectFollowed, "is followed to another address"),
        (M::LimitInBytes, "of exactly 100 is refused"),
        (M::NothingChecked, "one more than the limit should be refused"),
        (M::NothingChecked, "an option that is not declared should be refused"),
        (M::EchoLeftOut, "does not carry it"),
        (M::EchoNotRead, "our attempt id is declared to come back"),
        (M::StatusNeverTold, "delivered is declared, and no webhook tells it"),
        (M::AnySignature, "a webhook changed in one bit is taken as"),
        (M::PanicOnJunk, "is answered 500"),
        (M::BadItemLosesOthers, "should be read as without what is odd"),
    ];
    let tried = planted.map(|(mistake, problem)| {
        let mut push = Push::with_receipts();
        push.mistake = Some(mistake);
        (mistake, problem, tokio::spawn(found(push)))
    });
    for planted in tried {
        fails(planted).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn each_planted_mistake_of_a_chat_fails() {
    use Mistake as M;
    let planted = [
        (M::UrlNotSigned, "a webhook changed in its URL is taken as"),
        (M::ReplayForTenYears, "repeated after its window is taken as"),
        (M::ReplyOfReceipt, "is read as Reached(Replied)"),
        (M::ReplyOfAnything, "concerns no attempt, and is"),
        (M::ReplyOfJunk, "something is made up"),
        (M::HandshakeWithAnybody, "with almost the secret is taken as"),
        (M::HandshakeUnanswered, "is answered 200 with []"),
    ];
    let tried = planted
        .map(|(mistake, problem)| (mistake, problem, tokio::spawn(found(Chat::with(mistake)))));
    for planted in tried {
        fails(planted).await;
    }
}

async fn fails((mistake, problem, findings): (Mistake, &str, JoinHandle<Findings>)) {
    let Ok(findings) = findings.await else { panic!("{mistake:?} ends the suite") };
    let findings = findings.to_string();
    assert!(findings.contains(problem), "{mistake:?} should fail with {problem}: {findings}");
}
