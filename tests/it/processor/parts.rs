//! A message in several parts, each with receipts of its own.

use super::*;

#[test]
fn each_part_of_a_message_has_receipts_of_its_own() {
    let in_parts = || by_adapter(Channel::SMS, |can| can.parts = true);
    for receipt_first in [false, true] {
        let mut store = MemoryStore::new();
        let mut processor = Processor::new(&store, Arc::new(in_parts()), no_grace(0));
        let mut run = |ms: u64, commands: Vec<Command>| {
            let out = processor.run(&store, at(ms), commands).unwrap();
            settle(&mut store, out)
        };
        let (_, sends) = run(0, vec![create(1)]);
        let order = &sends[0];
        let attempt = Some(order.attempt);
        if receipt_first {
            // It says no more than that the message was accepted: nobody knows yet how many parts there are.
            let (facts, _) = run(1, vec![told("main", attempt, "b")]);
            assert!(matches!(facts[..], [Fact::AttemptAccepted { .. }]), "{facts:?}");
        }
        let answer = Command::SendResult {
            attempt: order.attempt,
            call: order.call,
            route: Arc::clone(&order.route),
            answer: SendResult::Accepted { provider_ids: vec!["a".to_owned(), "b".to_owned()] },
            took_ms: 1,
            conversation: None,
        };
        let (mut facts, _) = run(2, vec![answer]);
        if !receipt_first {
            // By the provider's id alone, and with ours beside it.
            facts.extend(run(3, vec![told("main", None, "b")]).0);
        }
        let part = |fact: &Fact| matches!(fact, Fact::PartReached { part: 2, .. });
        assert_eq!(facts.iter().filter(|fact| part(fact)).count(), 1, "{facts:?}");
        assert!(!facts.iter().any(|fact| matches!(fact, Fact::Ended(_))), "{facts:?}");
        let (facts, _) = run(4, vec![told("main", attempt, "a")]);
        assert!(facts.iter().any(|fact| matches!(fact, Fact::Ended(_))), "{facts:?}");
    }
}

/// What a message that may go out in parts has reached after these receipts, of which each names our attempt
/// and one of the provider's ids, before its answer or behind it.
fn reached_in_parts(before: &[&str], answer: SendResult, behind: &[&str]) -> Status {
    let routes = by_adapter(Channel::SMS, |can| can.parts = true);
    let mut store = MemoryStore::new();
    let mut processor = Processor::new(&store, Arc::new(routes), no_grace(0));
    let mut run = |commands: Vec<Command>| {
        let out = processor.run(&store, at(1), commands).unwrap();
        settle(&mut store, out).1
    };
    let order = run(vec![with_failover(create(1), None)]).remove(0);
    let SendOrder { attempt, call, route, .. } = order;
    let receipts = |ids: &[&str]| ids.iter().map(|id| told("main", Some(attempt), id)).collect();
    run(receipts(before));
    run(vec![Command::SendResult { attempt, call, route, answer, took_ms: 1, conversation: None }]);
    run(receipts(behind));
    store.load(WorkflowId(attempt.workflow)).unwrap().unwrap().attempts[0].status
}

#[test]
fn a_part_counts_once_it_is_known_how_many_there_are() {
    let accepted = |ids: &[&str]| SendResult::Accepted {
        provider_ids: ids.iter().map(|id| (*id).to_owned()).collect(),
    };
    let failure = CallFailure {
        kind: ErrorKind::Timeout,
        fault: Fault::Provider,
        code: None,
        detail: "no answer".to_owned(),
        cause: None,
    };
    let unknown = || SendResult::Unknown(failure.clone());
    for (before, answer, behind, reached) in [
        (&["a"][..], accepted(&["a"]), &[][..], Status::Delivered),
        (&[], accepted(&["a"]), &["a"], Status::Delivered),
        (&[], accepted(&["a"]), &["another of it"], Status::Delivered),
        (&["a"], accepted(&["a", "b"]), &[], Status::Submitted),
        (&["a"], accepted(&["a", "b"]), &["b"], Status::Delivered),
        (&[], accepted(&["a", "b"]), &["a", "a"], Status::Submitted),
        (&[], accepted(&["a", "b"]), &["a stranger's"], Status::Submitted),
        (&[], unknown(), &["a"], Status::Submitted),
    ] {
        let is = reached_in_parts(before, answer.clone(), behind);
        assert_eq!(is, reached, "{before:?}, {answer:?}, {behind:?}");
    }
}
