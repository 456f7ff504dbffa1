//! An erasure while a message is out: what was sent is named, and nothing of what is told of it is kept.

use super::*;
use dispatch::engine::MarkedErased;

fn erase(numbers: &[u128], told: &Arc<Mutex<Vec<MarkedErased>>>) -> Command {
    let told = Arc::clone(told);
    Command::Erase {
        erasure: Uuid::from_u128(77),
        workflows: numbers.iter().map(|number| WorkflowId(Uuid::from_u128(*number))).collect(),
        reply: Box::new(move |marked| told.lock().unwrap().push(marked.unwrap())),
    }
}

fn receipt(attempt: Option<AttemptId>, provider_id: &str, report: Report) -> Command {
    let receipt = Receipt {
        attempt,
        provider_id: Some(provider_id.to_owned()),
        report,
        provider_time: None,
        code: Some("447700900001".to_owned()),
        detail: Some("447700900001 is nobody".to_owned()),
        usage: None,
    };
    Command::Inbound {
        provider: Arc::from("sandbox"),
        account: Arc::from("main"),
        scope: None,
        items: vec![InboundReport::Receipt(receipt)],
        reply: Box::new(|taken| assert!(taken.is_ok(), "it is answered as any other")),
    }
}

fn accepted(order: &SendOrder, provider_id: &str) -> Command {
    Command::SendResult {
        attempt: order.attempt,
        call: order.call,
        route: Arc::clone(&order.route),
        answer: SendResult::Accepted { provider_ids: vec![provider_id.to_owned()] },
        took_ms: 1,
        conversation: None,
    }
}

#[test]
fn a_call_that_is_out_is_named_and_its_answer_and_receipts_are_not_kept() {
    let routes = routes(1);
    let mut store = MemoryStore::new();
    let mut processor = Processor::new(&store, Arc::clone(&routes), no_grace(0));
    // The third waits for the place that the first has; the second is not there.
    let out = processor.run(&store, at(0), vec![create(1), create(3)]).unwrap();
    let (_, sends) = settle(&mut store, out);
    let [sent] = &sends[..] else { panic!("{sends:?}") };
    assert_eq!(sent.attempt.workflow, Uuid::from_u128(1));

    let told = Arc::default();
    let out = processor.run(&store, at(1), vec![erase(&[1, 2, 3], &told)]).unwrap();
    assert!(told.lock().unwrap().is_empty(), "nobody is told of what is not durable");
    let (facts, more) = settle(&mut store, out);
    assert!(more.is_empty(), "the third is not sent");
    let count = facts.iter().filter(|fact| matches!(fact, Fact::ContentsErased { .. })).count();
    assert_eq!(count, 2);
    let marked = MarkedErased { canceled: 2, may_arrive: vec![sent.attempt] };
    assert_eq!(*told.lock().unwrap(), [marked]);

    // A receipt before the answer, one behind it, and by the id that was not kept.
    let delivered = || Report::Reached(Status::Delivered);
    for (ms, command, counted) in [
        (2, receipt(Some(sent.attempt), "447700900001", delivered()), 1),
        (3, accepted(sent, "447700900001"), 0),
        (4, receipt(Some(sent.attempt), "447700900001", Report::Reached(Status::Read)), 1),
    ] {
        let out = processor.run(&store, at(ms), vec![command]).unwrap();
        assert_eq!(out.after_erasure, counted, "at {ms}");
        assert!(out.change_set.hold_receipts.is_empty());
        let changed = format!("{:?}", out.change_set.changes);
        assert!(!changed.contains("447700900001"), "{changed}");
        assert!(out.change_set.changes.iter().all(|change| change.messages.is_empty()));
        let (facts, _) = settle(&mut store, out);
        assert_eq!(facts.is_empty(), counted == 1, "{facts:?}");
    }
    let found = store.find_message("sandbox/main", "447700900001").unwrap();
    assert_eq!(found, None);

    // Once more, as the next start does: nothing is canceled twice.
    let out = processor.run(&store, at(5), vec![erase(&[1, 3], &told)]).unwrap();
    let (facts, _) = settle(&mut store, out);
    assert_eq!(facts, []);
    assert_eq!(told.lock().unwrap()[1], MarkedErased::default());
}

#[test]
fn who_ended_and_was_not_answered_is_named_as_well() {
    let mut store = MemoryStore::new();
    let mut processor = Processor::new(&store, routes(1), no_grace(0));
    let out = processor.run(&store, at(0), vec![create(1)]).unwrap();
    let (_, sends) = settle(&mut store, out);
    let cancel = Command::Cancel {
        tenant: Arc::from("default"),
        id: WorkflowId(Uuid::from_u128(1)),
        reply: Box::new(|canceled| assert!(canceled.is_ok())),
    };
    let told = Arc::default();
    let out = processor.run(&store, at(1), vec![cancel, erase(&[1], &told)]).unwrap();
    settle(&mut store, out);
    let marked = MarkedErased { canceled: 0, may_arrive: vec![sends[0].attempt] };
    assert_eq!(*told.lock().unwrap(), [marked]);
}

#[test]
fn what_was_erased_stays_so_after_a_restart() {
    let mut store = MemoryStore::new();
    let mut processor = Processor::new(&store, routes(1), no_grace(0));
    let out = processor.run(&store, at(0), vec![create(1)]).unwrap();
    let (_, sends) = settle(&mut store, out);
    let out = processor.run(&store, at(1), vec![erase(&[1], &Arc::default())]).unwrap();
    settle(&mut store, out);
    let mut processor = Processor::new(&store, routes(1), no_grace(2));
    let out = processor.run(&store, at(2), Vec::new()).unwrap();
    settle(&mut store, out);
    let read = receipt(Some(sends[0].attempt), "x", Report::Reached(Status::Read));
    let out = processor.run(&store, at(3), vec![read]).unwrap();
    assert_eq!((out.after_erasure, out.change_set.changes.len()), (1, 0));
}

#[test]
fn a_receipt_of_a_part_is_not_held_either() {
    let routes = by_adapter(Channel::SMS, |can| can.parts = true);
    let mut store = MemoryStore::new();
    let mut processor = Processor::new(&store, Arc::new(routes), no_grace(0));
    let out = processor.run(&store, at(0), vec![create(1)]).unwrap();
    let (_, sends) = settle(&mut store, out);
    let out = processor.run(&store, at(1), vec![erase(&[1], &Arc::default())]).unwrap();
    settle(&mut store, out);
    // Which part it is about only the answer would tell.
    let read = receipt(Some(sends[0].attempt), "part-2", Report::Reached(Status::Delivered));
    let out = processor.run(&store, at(2), vec![read]).unwrap();
    assert_eq!((out.after_erasure, out.change_set.hold_receipts.len()), (1, 0));
}
