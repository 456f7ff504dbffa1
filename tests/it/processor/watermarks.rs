//! What is told of a conversation covers what was accepted and began before it.

use super::*;

/// The conversation with a person; one that is called the same on each day.
fn with(person: &str) -> AnyConversation {
    let mut hash = [0; 16];
    hash[..person.len()].copy_from_slice(person.as_bytes());
    let (from, until) = (UnixMillis(0), UnixMillis(u64::MAX));
    AnyConversation { remembered: hash, stored: vec![StoredOnDay { from, until, hash }] }
}

/// Where `order` stands, whose call began and was answered then: everybody writes to the same person.
fn answered_in(
    order: &SendOrder,
    (began, answered): (u64, u64),
    provider_time: Option<u64>,
) -> Command {
    let conversation = ConversationSend {
        conversation: CallConversation {
            remembered: with(PERSON).remembered,
            stored: with(PERSON).stored[0].hash,
        },
        began: at(began).engine,
        answered: at(answered).engine,
        provider_time: provider_time.map(|ms| at(ms).wall),
    };
    Command::SendResult {
        attempt: order.attempt,
        call: order.call,
        route: Arc::clone(&order.route),
        answer: SendResult::Accepted { provider_ids: vec![order.attempt.to_string()] },
        took_ms: 0,
        conversation: Some(Box::new(conversation)),
    }
}

fn watermark(account: &str, recipient: &str, status: Status, until: u64) -> Command {
    let until = at(until).wall;
    let watermark = ConversationWatermark { conversation: with(recipient), status, until };
    Command::Inbound {
        provider: Arc::from("sandbox"),
        account: Arc::from(account),
        scope: None,
        items: vec![InboundReport::Watermark(watermark)],
        reply: Box::new(|_| {}),
    }
}

/// The attempts' workflows whose messages reached a status, as numbers of [`create`], in order.
fn reached(rows: &[Arc<Row>], status: Status) -> Vec<u128> {
    let is_it = |fact: &Fact| match fact {
        Fact::StatusReached { status: reached, .. } | Fact::LateStatus { status: reached, .. } => {
            *reached == status
        }
        _ => false,
    };
    let rows = rows.iter().filter(|row| row.facts.iter().any(is_it));
    rows.map(|row| row.workflow.0.as_u128()).collect()
}

/// A processor with these workflows' calls out, each STARTED a second after the one before it.
fn calling(count: u128) -> (MemoryStore, Processor, Vec<SendOrder>) {
    let mut store = MemoryStore::new();
    let mut processor = Processor::new(&store, routes(100), no_grace(0));
    let sends = (1..=count).flat_map(|number| {
        let now = at(number as u64 * 1000);
        let out = processor.run(&store, now, vec![create(number)]).unwrap();
        settle(&mut store, out).1
    });
    let sends = sends.collect();
    (store, processor, sends)
}

const PERSON: &str = "447700900001";

#[test]
fn a_watermark_covers_what_was_accepted_and_began_before_it() {
    let (mut store, mut processor, sends) = calling(4);
    let ids: Vec<_> = sends.iter().map(|order| order.attempt.workflow.as_u128()).collect();
    let mut run = |ms: u64, commands: Vec<Command>| {
        let out = processor.run(&store, at(ms), commands).unwrap();
        store.commit(out.change_set).unwrap()
    };
    // The fourth has no answer, and the third began too late for the first watermark.
    run(
        5000,
        sends[..3].iter().zip(1..).map(|(it, n)| answered_in(it, (n * 1000, 5000), None)).collect(),
    );
    let rows = run(6000, vec![watermark("main", PERSON, Status::Delivered, 2999)]);
    assert_eq!(reached(&rows, Status::Delivered), [ids[1], ids[0]]);
    for (account, person) in [("other", PERSON), ("main", "447700900002")] {
        let rows = run(6000, vec![watermark(account, person, Status::Delivered, 9000)]);
        assert!(rows.is_empty(), "{account} {person}");
    }
    // They have ended, and what is told of them is noted; the one without an answer is not touched.
    let rows = run(7000, vec![watermark("main", PERSON, Status::Read, 9000)]);
    assert_eq!(reached(&rows, Status::Read), [ids[2], ids[1], ids[0]]);
    assert!(run(7000, vec![watermark("main", PERSON, Status::Read, 9000)]).is_empty());
}

#[test]
fn a_watermark_that_comes_before_the_answer_counts_once_that_is_there() {
    let (mut store, mut processor, sends) = calling(2);
    let ids: Vec<_> = sends.iter().map(|order| order.attempt.workflow.as_u128()).collect();
    let mut run = |ms: u64, commands: Vec<Command>| {
        let out = processor.run(&store, at(ms), commands).unwrap();
        store.commit(out.change_set).unwrap()
    };
    assert!(run(3000, vec![watermark("main", PERSON, Status::Read, 1500)]).is_empty());
    let rows = run(
        3100,
        sends.iter().zip(1..).map(|(it, n)| answered_in(it, (n * 1000, 3050), None)).collect(),
    );
    assert_eq!(reached(&rows, Status::Read), [ids[0]], "the other began after it");
    // In one batch too, whichever comes first.
    let (mut store, mut processor, sends) = calling(1);
    let both = vec![
        answered_in(&sends[0], (1000, 2000), None),
        watermark("main", PERSON, Status::Read, 1500),
    ];
    let out = processor.run(&store, at(3000), both).unwrap();
    assert_eq!(reached(&store.commit(out.change_set).unwrap(), Status::Read).len(), 1);
}

#[test]
fn a_watermark_says_nothing_of_a_call_that_began_after_it_whatever_the_clocks_say() {
    let (mut store, mut processor, sends) = calling(2);
    let id = sends[1].attempt.workflow.as_u128();
    let mut run = |ms: u64, commands: Vec<Command>| {
        let out = processor.run(&store, at(ms), commands).unwrap();
        store.commit(out.change_set).unwrap()
    };
    // Its clock is an hour ahead, and no answer has told that yet.
    let hour = 3_600_000;
    assert!(run(3000, vec![watermark("main", PERSON, Status::Read, hour)]).is_empty());
    // The second had been deferred, and was called again after that.
    let rows = run(
        9000,
        sends.iter().zip([1000, 8000]).map(|(it, n)| answered_in(it, (n, 9000), None)).collect(),
    );
    assert_eq!(reached(&rows, Status::Read).len(), 1, "{rows:?}");
    // Told again, it is of now, and counts for the other too.
    let rows = run(10_000, vec![watermark("main", PERSON, Status::Read, hour)]);
    assert_eq!(reached(&rows, Status::Read), [id]);
}

#[test]
fn a_watermark_settles_no_unknown_outcome() {
    let (mut store, mut processor, sends) = calling(1);
    let SendOrder { attempt, call, route, .. } = sends[0].clone();
    let failure = CallFailure {
        kind: ErrorKind::Timeout,
        fault: Fault::Provider,
        code: None,
        detail: "no answer".to_owned(),
        cause: None,
    };
    let answer = SendResult::Unknown(failure);
    let lost = Command::SendResult { attempt, call, route, answer, took_ms: 1, conversation: None };
    for command in [lost, watermark("main", PERSON, Status::Read, 9000)] {
        let out = processor.run(&store, at(5000), vec![command]).unwrap();
        let rows = store.commit(out.change_set).unwrap();
        assert!(reached(&rows, Status::Read).is_empty());
    }
}

#[test]
fn watermarks_go_by_the_provider_s_clock() {
    let (mut store, mut processor, sends) = calling(2);
    let mut run = |ms: u64, commands: Vec<Command>| {
        let out = processor.run(&store, at(ms), commands).unwrap();
        store.commit(out.change_set).unwrap()
    };
    // It is a minute behind, so that its watermarks seem to be of long ago.
    let minute = 60_000;
    let provider_time = |ms: u64| Some(ms + 120_000 - minute);
    run(122_000, vec![answered_in(&sends[0], (121_000, 121_000), provider_time(1000))]);
    let rows = run(123_000, vec![answered_in(&sends[1], (122_000, 122_000), provider_time(2000))]);
    assert!(reached(&rows, Status::Read).is_empty());
    // The calls began after 121 s and 122 s. Its clock is told to the second, and so well are they compared.
    let before = START + 121_000 - minute + 1400;
    let mut told = watermark("main", PERSON, Status::Read, 0);
    if let Command::Inbound { items, .. } = &mut told
        && let [InboundReport::Watermark(watermark)] = items.as_mut_slice()
    {
        watermark.until = UnixMillis(before);
    }
    assert_eq!(reached(&run(124_000, vec![told]), Status::Read).len(), 1);
}

#[test]
fn a_reload_that_renames_the_account_forgets_neither_its_clock_nor_what_came_before_the_answer() {
    let (mut store, mut processor, sends) = calling(3);
    let ids: Vec<_> = sends.iter().map(|order| order.attempt.workflow.as_u128()).collect();
    let mut run = |ms: u64, commands: Vec<Command>| {
        let out = processor.run(&store, at(ms), commands).unwrap();
        store.commit(out.change_set).unwrap()
    };
    // Its clock is a minute behind, and the answers of two calls are still to come.
    run(62_000, vec![answered_in(&sends[0], (61_000, 61_000), Some(1000))]);
    let early = watermark("main", PERSON, Status::Read, 9000);
    run(70_000, vec![early, told("main", None, &sends[2].attempt.to_string())]);
    let mut route = sms_route("sms", 100).iter().next().unwrap().clone();
    route.account =
        Arc::new(Account { name: "other".to_owned(), ..Account::clone(&route.account) });
    let renamed = [(Arc::from("sandbox/other"), Arc::from("sandbox/main"))];
    let table = RouteTable::new(vec![route]).with_former_names(FormerNames::new(renamed));
    run(70_001, vec![reload(table)]);
    let rows = run(70_002, vec![answered_in(&sends[1], (62_000, 70_002), None)]);
    assert_eq!(reached(&rows, Status::Read), [ids[1]], "it came before the answer");
    let rows = run(70_003, vec![answered_in(&sends[2], (68_500, 70_003), None)]);
    assert_eq!(reached(&rows, Status::Delivered), [ids[2]], "its receipt was held");
    assert!(reached(&rows, Status::Read).is_empty(), "it began after what was read");
    // 10 s there is 70 s here, by its own clock still.
    let rows = run(71_000, vec![watermark("other", PERSON, Status::Read, 10_000)]);
    assert_eq!(reached(&rows, Status::Read), [ids[2]]);
}

#[test]
fn what_was_told_while_a_call_was_out_and_is_forgotten_does_not_hide_what_is_told_later() {
    let (mut store, mut processor, sends) = calling(2);
    let ids: Vec<_> = sends.iter().map(|order| order.attempt.workflow.as_u128()).collect();
    let mut run = |ms: u64, commands: Vec<Command>| {
        let out = processor.run(&store, at(ms), commands).unwrap();
        store.commit(out.change_set).unwrap()
    };
    run(3000, vec![watermark("main", PERSON, Status::Read, 2500)]);
    // The machine slept: the calls are out for longer than any should, and others are told of meanwhile.
    let hour = 3_600_000;
    run(hour, vec![watermark("main", "447700900002", Status::Read, 2500)]);
    let answers = sends.iter().zip([1000, 2000]);
    let rows =
        run(hour + 1, answers.map(|(it, began)| answered_in(it, (began, hour), None)).collect());
    assert!(reached(&rows, Status::Read).is_empty(), "it is forgotten: {rows:?}");
    let rows = run(hour + 2, vec![watermark("main", PERSON, Status::Read, 2600)]);
    assert_eq!(reached(&rows, Status::Read), [ids[1], ids[0]]);
}

#[test]
fn a_watermark_covers_what_was_sent_on_days_before_it_under_the_key_of_each() {
    const DAY: u64 = 24 * 3_600_000;
    let (mut store, mut processor, sends) = calling(3);
    let ids: Vec<_> = sends.iter().map(|order| order.attempt.workflow.as_u128()).collect();
    let mut run = |ms: u64, commands: Vec<Command>| {
        let out = processor.run(&store, at(ms), commands).unwrap();
        store.commit(out.change_set).unwrap()
    };
    // The second began after midnight, the third a day later.
    let days = [(0, DAY, [1; 16]), (DAY, 2 * DAY, [2; 16]), (2 * DAY, 3 * DAY, [3; 16])];
    let began = [DAY - 1, DAY, 2 * DAY + 5];
    let answers = sends.iter().zip(began).zip(days).map(|((order, began), (.., stored))| {
        let mut answer = answered_in(order, (began, 2 * DAY + 10), None);
        if let Command::SendResult { conversation: Some(sent), .. } = &mut answer {
            sent.conversation.stored = stored;
        }
        answer
    });
    run(2 * DAY + 10, answers.collect());
    let stored = |days: &[(u64, u64, [u8; 16])]| {
        let day = |(from, until, hash): &(u64, u64, [u8; 16])| StoredOnDay {
            from: at(*from).engine,
            until: at(*until).engine,
            hash: *hash,
        };
        days.iter().rev().map(day).collect::<Vec<_>>()
    };
    let mut told = |status: Status, until: u64, days: &[(u64, u64, [u8; 16])]| {
        let mut told = watermark("main", PERSON, status, until);
        if let Command::Inbound { items, .. } = &mut told
            && let [InboundReport::Watermark(watermark)] = items.as_mut_slice()
        {
            watermark.conversation.stored = stored(days);
        }
        reached(&run(2 * DAY + 20, vec![told]), status)
    };
    assert_eq!(told(Status::Delivered, 2 * DAY + 8, &days), [ids[2], ids[1], ids[0]]);
    assert_eq!(told(Status::Read, DAY - 1, &days), [ids[0]]);
    let gone = "of a day that is gone nothing is found";
    assert_eq!(told(Status::Read, 2 * DAY + 8, &days[..2]), [ids[1]], "{gone}");
}
