//! The conformance suite judged: honest adapters pass it whole, and each planted mistake fails it.

mod chat;
mod mail;
mod pager;
mod push;

use dispatch_contract::{ContentKind, Status};
use dispatch_kit::conformance::{ConformanceSubject, Findings, Part, run, run_parts, table};
use tokio::task::JoinHandle;

use self::{chat::Chat, mail::Mail, pager::Pager, push::Push};

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
    TimeoutForEachByte,
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
    CutRetried,
    WrongChannel,
    ImageAsTextToo,
    SentTwice,
    SignatureBegun,
    AddressShown,
    AnythingAccepted,
    UrlNotSigned,
    ReplayForTenYears,
    MessageOfReceipt,
    MessageOfJunk,
    EchoTold,
    MessageTurnedRound,
    MessageIdLeftOut,
    MessageIdForAll,
    MessageTextLost,
    QuoteDropped,
    QuoteMadeUp,
    HandshakeWithAnybody,
    HandshakeUnanswered,
    RecallUndeclared,
    RecallOfNobody,
    RecallOfAnything,
    RecallAlways,
    IdMadeUp,
    HeardNever,
    HeardTwice,
    HeardAsDelivered,
    HeardForAnother,
    PartsLost,
    ClockNotTold,
    WatermarkNeverTold,
    WatermarkOfOthers,
    StopOfAnother,
    StopIsStart,
}

/// The part that has to find it runs by itself.
async fn found_by(part: Part, subject: impl ConformanceSubject) -> Findings {
    run_parts(&subject, &[part]).await
}

async fn found(subject: impl ConformanceSubject) -> Findings {
    run(&subject).await
}

#[tokio::test]
async fn an_honest_adapter_with_receipts_passes_whole() {
    let findings = found(Push::with_receipts()).await;
    assert_eq!(findings.failures(), Vec::<String>::new());
    assert!(findings.checks() > 1_000, "{findings}");
}

#[tokio::test]
async fn an_honest_adapter_without_receipts_passes_whole() {
    let findings = found(Push::without_receipts()).await;
    assert_eq!(findings.failures(), Vec::<String>::new());
}

#[tokio::test]
async fn an_honest_chat_with_messages_and_a_handshake_passes_whole() {
    let findings = found(Chat::honest()).await;
    assert_eq!(findings.failures(), Vec::<String>::new());
}

#[tokio::test]
async fn an_honest_adapter_that_speaks_no_http_passes_whole() {
    let findings = found(Mail::honest()).await;
    assert_eq!(findings.failures(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn each_planted_mistake_without_http_fails() {
    use Mistake as M;
    let planted = [
        (Part::Errors, M::CutRetried, "a connection closed unanswered"),
        (Part::Errors, M::TimeoutIgnored, "no answer in time"),
        (Part::Errors, M::TimeoutForEachByte, "an answer that trickles in"),
        (Part::Errors, M::BodyLeaked, "repeats what the provider said"),
    ];
    let tried = planted.map(|(part, mistake, problem)| {
        (mistake, problem, tokio::spawn(found_by(part, Mail::with(mistake))))
    });
    for planted in tried {
        fails(planted).await;
    }
}

#[tokio::test]
async fn an_honest_adapter_that_is_told_by_run_passes_and_what_cannot_be_tried_is_named() {
    let pager = Pager::honest();
    let findings = found(pager).await;
    assert_eq!(findings.failures(), Vec::<String>::new());
    let not_tried = findings.not_tried_ones().join("\n");
    assert_eq!(
        not_tried,
        "content text: that what leaves is the message: nobody writes down what is said\n\
         errors: a refused connection: there is no connection\n\
         errors: a connection closed unanswered: there is no connection\n\
         timeouts: an answer that trickles in: there is no connection"
    );
    let table = table(&[(&Pager::honest(), findings)]);
    for row in [
        "| condition status delivered | proven |",
        "| failures | proven |",
        "| correlation | proven, by the provider's id |",
        "| content text | proven in part |",
        "| timeouts | proven in part |",
        "- `pager`: not tried: errors: a refused connection: there is no connection",
    ] {
        assert!(table.contains(row), "{row} in {table}");
    }
}

#[tokio::test]
async fn each_planted_mistake_of_what_is_heard_fails() {
    use Mistake as M;
    for (part, mistake, problem) in [
        (Part::Sending, M::IdMadeUp, "the sample is answered with success"),
        (Part::Heard, M::HeardNever, "run ended, although nobody stopped it"),
        (Part::Heard, M::HeardTwice, "gives no single report"),
        (Part::Heard, M::HeardAsDelivered, "is read as Reached(Delivered)"),
        (Part::Heard, M::HeardForAnother, "is told of account Some(\"another\")"),
    ] {
        let found = found_by(part, Pager::with(mistake)).await.to_string();
        assert!(found.contains(problem), "{mistake:?}: {problem} in {found}");
    }
    // A status that is declared, and told neither way.
    let failures = found(Pager::reading()).await.to_string();
    assert!(failures.contains("read is declared, and no webhook tells it"), "{failures}");
}

#[tokio::test]
async fn the_table_has_a_row_for_whatever_was_tried() {
    let (push, chat) = (Push::with_receipts(), Chat::honest());
    for subject in [&push as &dyn ConformanceSubject, &chat] {
        let findings = run(subject).await;
        let table = table(&[(subject.adapter(), findings.clone())]);
        for promise in findings.proofs.keys() {
            assert!(table.contains(&format!("\n| {promise} |")), "{promise} in {table}");
        }
        assert!(!table.contains("failed"), "{table}");
    }
}

#[tokio::test]
async fn whoever_asks_for_a_recall_that_is_not_declared_fails() {
    let mut push = Push::without_receipts();
    push.mistake = Some(Mistake::RecallUndeclared);
    let found = found_by(Part::Recall, push).await;
    assert!(found.to_string().contains("must fail for good and ask nobody"), "{found}");
}

#[tokio::test]
async fn what_is_declared_and_not_there_fails() {
    let mut push = Push::without_receipts();
    push.can.condition_statuses.push(Status::Replied);
    push.can.content.push(ContentKind::Video);
    let failures = found(push).await.to_string();
    for promise in [
        "replied is declared, and no webhook tells it",
        "video is declared, and there is no sample",
    ] {
        assert!(failures.contains(promise), "{promise} in {failures}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn each_planted_mistake_fails() {
    use Mistake as M;
    let planted = [
        (Part::Recall, M::RecallOfNobody, "does not say which message"),
        (Part::Recall, M::RecallOfAnything, "HTTP 500 takes nothing back"),
        (Part::Recall, M::RecallAlways, "409 with"),
        (Part::Sending, M::PartsLost, "three parts were accepted, and told is"),
        (Part::Idempotence, M::KeyLeftOut, "the request carries no key"),
        (Part::Idempotence, M::KeyAtRandom, "two calls under one attempt carry different keys"),
        (Part::Idempotence, M::KeyForAll, "calls of two attempts carry the same key"),
        (
            Part::Idempotence,
            M::DuplicateRefused,
            "a repeated call's answer means the first message",
        ),
        (Part::Idempotence, M::DuplicateMadeUp, "a repeated call's answer means the first message"),
        (Part::Errors, M::ThrottledForGood, "HTTP 429"),
        (Part::Errors, M::RetryAfterDropped, "HTTP 429"),
        (Part::Errors, M::FailureRetried, "HTTP 500"),
        (Part::Errors, M::TimeoutRetried, "no answer in time"),
        (Part::Errors, M::CutRetried, "a connection closed unanswered"),
        (Part::Sending, M::WrongChannel, "a message on sms goes out on mms"),
        (Part::Sending, M::ImageAsTextToo, "content image: the provider understands [Text, Image]"),
        (Part::Sending, M::SentTwice, "one message is one request, and 2 came"),
        (Part::Forgery, M::SignatureBegun, "with a header cut short"),
        (Part::Content, M::AddressShown, "a violation of recipient shows the address"),
        (Part::Errors, M::AnythingAccepted, "HTTP 200 with \"\""),
        (Part::Errors, M::BodyLeaked, "repeats what the provider said"),
        (Part::Errors, M::TimeoutIgnored, "no answer in time"),
        (Part::Sending, M::RecipientLeftOut, "does not carry the recipient"),
        (Part::Sending, M::TextLeftOut, "does not carry the text"),
        (Part::Errors, M::RedirectFollowed, "is followed to another address"),
        (Part::Content, M::LimitInBytes, "of exactly 100 is refused"),
        (Part::Content, M::NothingChecked, "one more than the limit should be refused"),
        (Part::Content, M::NothingChecked, "an option that is not declared should be refused"),
        (Part::Sending, M::EchoLeftOut, "does not carry it"),
        (Part::Webhooks, M::EchoNotRead, "our attempt id is declared to come back"),
        (Part::Webhooks, M::StatusNeverTold, "delivered is declared, and no webhook tells it"),
        (Part::Forgery, M::AnySignature, "a webhook changed in one bit is taken as"),
        (Part::Webhooks, M::PanicOnJunk, "is answered 500"),
        (Part::Webhooks, M::BadItemLosesOthers, "should be read as without what is odd"),
    ];
    let tried = planted.map(|(part, mistake, problem)| {
        let mut push = Push::with_receipts();
        push.mistake = Some(mistake);
        (mistake, problem, tokio::spawn(found_by(part, push)))
    });
    for planted in tried {
        fails(planted).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn each_planted_mistake_of_a_chat_fails() {
    use Mistake as M;
    let planted = [
        (Part::Forgery, M::UrlNotSigned, "a webhook changed in its URL is taken as"),
        (Part::Forgery, M::ReplayForTenYears, "repeated after its window is taken as"),
        (Part::Webhooks, M::WatermarkNeverTold, "no webhook tells one"),
        (Part::Webhooks, M::WatermarkNeverTold, "read is declared, and no webhook tells it"),
        (Part::Webhooks, M::WatermarkOfOthers, "the watermark Watermark"),
        (Part::Webhooks, M::StopOfAnother, "the opt-out OptOut"),
        (Part::Webhooks, M::StopIsStart, "the opt-out OptOut"),
        (Part::Sending, M::ClockNotTold, "the answer's Date is not told"),
        (Part::Webhooks, M::MessageOfReceipt, "is read as Reached(Replied)"),
        (Part::Webhooks, M::MessageTurnedRound, "who wrote of a person's message"),
        (Part::Webhooks, M::MessageTurnedRound, "whom they wrote to of a person's message"),
        (Part::Webhooks, M::MessageIdLeftOut, "the id of a person's message"),
        (Part::Webhooks, M::MessageIdForAll, "the id of a person's message"),
        (Part::Webhooks, M::MessageTextLost, "the text of a person's message"),
        (Part::Webhooks, M::QuoteDropped, "the quote of a person's message"),
        (Part::Webhooks, M::QuoteMadeUp, "the quote of a person's message"),
        (Part::Webhooks, M::EchoTold, "tells nothing of ours, and is"),
        (Part::Webhooks, M::MessageOfJunk, "something is made up"),
        (Part::Forgery, M::HandshakeWithAnybody, "with almost the secret is taken as"),
        (Part::Forgery, M::HandshakeUnanswered, "is answered 200 with []"),
    ];
    let tried = planted.map(|(part, mistake, problem)| {
        (mistake, problem, tokio::spawn(found_by(part, Chat::with(mistake))))
    });
    for planted in tried {
        fails(planted).await;
    }
}

async fn fails((mistake, problem, findings): (Mistake, &str, JoinHandle<Findings>)) {
    let Ok(findings) = findings.await else { panic!("{mistake:?} ends the suite") };
    let findings = findings.to_string();
    assert!(findings.contains(problem), "{mistake:?} should fail with {problem}: {findings}");
}
