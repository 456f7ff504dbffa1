//! One suite, run over every store. The in-memory store is the model: what it does, all do.

mod beside;
mod compaction;
mod folder;
mod postgres;
mod retention;

use std::{collections::BTreeMap, path::Path, sync::Arc};

use dispatch::{
    contents::WorkflowRequest,
    machine::{
        self, ClockKind, Event, Fact, FailoverCondition, Moment, Plan, RouteCandidate,
        RouteProperties, Router, SendResult, Update, Workflow, WorkflowId,
    },
    store::{
        Backup, Change, ChangeSet, Cursor, Filter, FoundMessage, HeldReceipt, JournalStore, Kind,
        MemoryStore, MessagePart, NameHash, PostgresOptions, ReceiptKey, Record,
        RequirementInterner, Row, SettingChange, SledOptions, Store, StoreError, VALUE_BYTES,
        check_backup, encode,
    },
};
use dispatch_contract::{AttemptId, Channel, Endpoint, Report, Status, UnixMillis};
use uuid::Uuid;

use crate::shared::plans;

use retention::*;

const START: u64 = 1_700_000_000_000;

struct OneRoute;

impl Router for OneRoute {
    fn candidates(&self, _: &machine::RouteRequirement) -> Vec<RouteCandidate> {
        let properties = RouteProperties {
            idempotent_for_ms: None,
            correlates_receipts: false,
            reports_delivered: true,
            recalls: false,
            in_parts: false,
            watermarks: false,
        };
        vec![RouteCandidate { route: Arc::from("only"), account: Arc::from("p/main"), properties }]
    }
}

fn plan() -> Plan {
    let rule = FailoverCondition { condition: Status::Read, expiry_ms: Some(60_000) };
    Plan {
        labels: BTreeMap::from([("team".to_owned(), "blue".to_owned())]),
        ..plans::plan(vec![
            plans::step(Channel::WHATSAPP, Some(rule)),
            plans::step(Channel::SMS, None),
        ])
    }
}

fn request_id(number: u128) -> String {
    format!("request-{number}")
}

/// The id of a workflow of `default`, in the order of the numbers and in the partition of its request.
fn id(number: u128) -> WorkflowId {
    WorkflowId::new(Uuid::from_u128(number << 8), "default", Some(&request_id(number)))
}

/// The conversation that all messages stand in.
const CONVERSATION: NameHash = [7; 16];

/// By what receipts find the messages that these facts say were accepted.
fn named(id: WorkflowId, facts: &[Fact], at: Moment) -> Vec<(ReceiptKey, MessagePart)> {
    let mut named = Vec::new();
    for fact in facts {
        let Fact::AttemptAccepted { attempt, provider_ids, .. } = fact else { continue };
        let first = u16::from(provider_ids.len() > 1);
        for (part, provider_id) in (first..).zip(provider_ids) {
            let key = ReceiptKey::provider_id("p/main", provider_id);
            named.push((key, MessagePart { attempt: *attempt, part }));
        }
        let key = ReceiptKey::Conversation(CONVERSATION, at.engine, id, *attempt);
        named.push((key, MessagePart { attempt: *attempt, part: 0 }));
    }
    named
}

/// Drives workflows through a store, and remembers every row for itself.
struct Driver {
    store: Box<dyn Store>,
    needs: RequirementInterner,
    now: u64,
    rows: Vec<Arc<Row>>,
}

impl Driver {
    fn new(store: Box<dyn Store>) -> Driver {
        Driver { store, needs: RequirementInterner::default(), now: START, rows: Vec::new() }
    }

    /// Now. Somebody sets the wall clock by an hour again and again.
    fn at(&self) -> Moment {
        Moment::skewed(UnixMillis(self.now), if self.now % 5 < 3 { -7 } else { 3_600_000 })
    }

    fn create(&mut self, number: u128, text: &str) -> WorkflowId {
        self.create_of(number, plans::request(plan(), text))
    }

    fn create_plan(&mut self, number: u128, plan: Plan) -> WorkflowId {
        self.create_of(number, plans::request(plan, "x"))
    }

    fn create_of(&mut self, number: u128, request: WorkflowRequest) -> WorkflowId {
        let id = id(number);
        let record = plans::named(id, self.at(), request, &request_id(number));
        let mut state = self.needs.workflow(&record);
        let facts = machine::create(&mut state, self.at(), &OneRoute);
        self.commit(Some(record), 0, facts, state, Vec::new());
        id
    }

    fn tell(&mut self, id: WorkflowId, event: Event) {
        let mut state = self.store.load(id).unwrap().expect("it is there");
        let expected = state.sequence;
        let facts = machine::handle(&mut state, self.at(), event, &OneRoute);
        if !facts.is_empty() {
            let messages = named(id, &facts, self.at());
            self.commit(None, expected, facts, state, messages);
        }
    }

    fn commit(
        &mut self,
        record: Option<Record>,
        expected: u32,
        facts: Vec<Fact>,
        state: Workflow,
        messages: Vec<(ReceiptKey, MessagePart)>,
    ) {
        let change = Change {
            record: record.map(Arc::new),
            tenant: Arc::from("default"),
            at: self.at(),
            expected,
            facts,
            state,
            messages,
        };
        let rows =
            self.store.commit(ChangeSet { changes: vec![change], ..ChangeSet::default() }).unwrap();
        self.rows.extend(rows);
        self.now += 1;
    }

    /// Accepted by the provider under an id made of the workflow's.
    fn accept(&mut self, id: WorkflowId) {
        let state = self.store.load(id).unwrap().unwrap();
        let attempt = state.wants_permit().unwrap();
        self.tell(id, Event::PermitGranted { attempt });
        let provider_id = format!("p-{}-{attempt}", id.0.as_u128() >> 8);
        self.answered(id, vec![provider_id]);
    }

    /// Its first attempt starts.
    fn start(&mut self, id: WorkflowId) {
        self.tell(id, Event::PermitGranted { attempt: 1 });
    }

    /// Its newest attempt is accepted under these ids.
    fn answered(&mut self, id: WorkflowId, provider_ids: Vec<String>) {
        let attempt = self.store.load(id).unwrap().unwrap().attempts.len() as u16;
        let result = SendResult::Accepted { provider_ids };
        self.tell(id, Event::SendResult { attempt, call: 1, result });
    }

    fn reach(&mut self, id: WorkflowId, status: Status) {
        let (update, up_since) = (Update::plain(status, None), UnixMillis(0));
        self.tell(id, Event::Update { attempt: 1, update, up_since });
    }

    fn timeline(&self, id: WorkflowId) -> Vec<Row> {
        self.store.reader().timeline(id).unwrap().iter().map(|row| Row::clone(row)).collect()
    }

    /// What the store should tell of `id`, from what this driver remembers.
    fn remembered(&self, id: WorkflowId) -> Vec<Row> {
        self.rows.iter().filter(|row| row.workflow == id).map(|row| Row::clone(row)).collect()
    }
}

fn what_was_committed_is_told(mut driver: Driver) {
    let first = driver.create(1, "one");
    let second = driver.create(2, "two");
    driver.accept(first);
    driver.accept(second);
    driver.reach(first, Status::Read);
    for id in [first, second] {
        assert_eq!(driver.timeline(id), driver.remembered(id));
        let record = driver.store.reader().record(id).unwrap().unwrap();
        assert_eq!(record.id, id);
    }
    let ended = driver.store.load(first).unwrap().unwrap();
    assert!(ended.has_ended());
    assert_eq!(driver.store.open_count(), 1);
    let reader = driver.store.reader();
    assert_eq!((reader.open_of("default"), reader.open_of("another")), (1, 0));
    assert_eq!(reader.open_by_tenant(), [(Arc::from("default"), 1)]);
    assert_eq!(driver.store.open_ids(None, 10), [second]);
    let journal = driver.store.reader().after(Cursor(0), 100).unwrap();
    assert_eq!(journal, driver.rows);
    let rest = driver.store.reader().after(driver.rows[2].cursor, 2).unwrap();
    assert_eq!(rest, driver.rows[3..5]);
    assert_eq!(driver.store.load(id(9)).unwrap(), None);
    assert!(driver.timeline(id(9)).is_empty());
}

fn a_late_row_follows_the_closing_row(mut driver: Driver) {
    let id = driver.create(1, "one");
    driver.accept(id);
    driver.tell(id, Event::Cancel);
    assert_eq!(driver.store.open_count(), 0);
    assert_eq!(driver.store.reader().open_of("default"), 0);
    driver.reach(id, Status::Delivered);
    driver.reach(id, Status::Read);
    driver.reach(id, Status::Read);
    assert_eq!(driver.timeline(id), driver.remembered(id));
    assert!(matches!(driver.timeline(id).last().unwrap().facts[..], [Fact::LateStatus { .. }]));
}

/// A cancel and two receipts that meet in one batch: the row of an ended workflow is written with each.
fn a_batch_may_tell_of_a_workflow_more_than_once(mut driver: Driver) {
    let id = driver.create(1, "one");
    driver.accept(id);
    let reached = |status| {
        let update = Update::plain(status, None);
        Event::Update { attempt: 1, update, up_since: UnixMillis(0) }
    };
    let mut state = driver.store.load(id).unwrap().unwrap();
    let at = driver.at();
    let mut change = |event| {
        let expected = state.sequence;
        let facts = machine::handle(&mut state, at, event, &OneRoute);
        Change {
            record: None,
            tenant: Arc::from("default"),
            at,
            expected,
            messages: named(id, &facts, at),
            facts,
            state: state.clone(),
        }
    };
    let changes =
        [Event::Cancel, reached(Status::Delivered), reached(Status::Read)].map(&mut change).into();
    driver.rows.extend(driver.store.commit(ChangeSet { changes, ..ChangeSet::default() }).unwrap());
    assert_eq!(driver.timeline(id), driver.remembered(id));
    assert_eq!(driver.store.load(id).unwrap(), Some(state));
    // What is held and let go of at once is not there.
    let (hold_receipts, release_receipts) = (vec![parked(1)], vec![1]);
    let both = ChangeSet { hold_receipts, release_receipts, ..ChangeSet::default() };
    driver.store.commit(both).unwrap();
    assert!(driver.store.reader().held_receipts().unwrap().is_empty());
}

fn deadlines_come_in_order_and_move(mut driver: Driver) {
    let ids: Vec<_> = (1..=5).map(|number| driver.create(number, "x")).collect();
    for id in &ids {
        driver.accept(*id);
    }
    let (engine, ever) = (ClockKind::Engine, UnixMillis(u64::MAX));
    let all = driver.store.due(engine, None, ever, 100);
    assert_eq!(all.iter().map(|row| row.id).collect::<Vec<_>>(), ids);
    assert_eq!(driver.store.next_due(engine, None), Some(all[0].at));
    for row in &all {
        let state = driver.store.load(row.id).unwrap().unwrap();
        assert_eq!(
            state.deadlines().timer.map(|deadline| (deadline.at, deadline.kind)),
            Some((row.at, row.kind))
        );
    }
    let behind = driver.store.due(engine, Some((all[1].at, all[1].id)), ever, 2);
    assert_eq!(behind, all[2..4]);
    assert!(driver.store.due(engine, None, UnixMillis(all[0].at.0 - 1), 9).is_empty());
    driver.tell(ids[0], Event::Cancel);
    assert_eq!(driver.store.next_due(engine, None), Some(all[1].at));
    assert_eq!(driver.store.next_due(ClockKind::Wall, None), None);

    // Two with an appointment, of which one waits for a place too, and so has both.
    let (send_at, valid_until) = (UnixMillis(START + 900), UnixMillis(START + 800));
    let scheduled = driver.create_plan(6, Plan { send_at: Some(send_at), ..plan() });
    let bounded = driver.create_plan(7, Plan { valid_until: Some(valid_until), ..plan() });
    let appointments = driver.store.due(ClockKind::Wall, None, ever, 100);
    let told: Vec<_> = appointments.iter().map(|row| (row.id, row.at, row.kind)).collect();
    let (send, late) = (machine::DeadlineKind::Send, machine::DeadlineKind::ValidUntil);
    assert_eq!(told, [(bounded, valid_until, late), (scheduled, send_at, send)]);
    let timers = driver.store.due(engine, None, ever, 100);
    assert!(
        timers.iter().any(|row| row.id == bounded) && timers.iter().all(|row| row.id != scheduled)
    );
    driver.tell(bounded, Event::Cancel);
    assert_eq!(driver.store.next_due(ClockKind::Wall, None), Some(send_at));
}

fn requests_and_messages_are_found(mut driver: Driver) {
    let id = driver.create(1, "one");
    let found = driver.store.find_request("default", "request-1").unwrap();
    let record = driver.store.reader().record(id).unwrap().unwrap();
    assert_eq!((found.map(|made| made.id), found), (Some(id), record.existing_request()));
    assert_eq!(driver.store.find_request("other", "request-1").unwrap(), None);
    driver.accept(id);
    let attempt = AttemptId { workflow: id.0, number: 1 };
    let found = Some(FoundMessage { attempt, part: None });
    assert_eq!(driver.store.find_message("p/main", "p-1-1").unwrap(), found);
    assert_eq!(driver.store.find_message("other", "p-1-1").unwrap(), None);
    driver.tell(id, Event::Cancel);
    assert_eq!(driver.store.find_message("p/main", "p-1-1").unwrap(), found, "for late receipts");
    let parts = driver.create(2, "two");
    driver.start(parts);
    driver.answered(parts, vec!["p-2-1".to_owned(), "p-2-2".to_owned()]);
    let attempt = AttemptId { workflow: parts.0, number: 1 };
    for part in 1..=2 {
        let found = driver.store.find_message("p/main", &format!("p-2-{part}")).unwrap();
        assert_eq!(found, Some(FoundMessage { attempt, part: Some(part) }));
    }
}

fn conversations_are_found_newest_first(mut driver: Driver) {
    let ids: Vec<_> = (1..=5).map(|number| driver.create(number, "one")).collect();
    let began = ids.iter().map(|id| {
        driver.accept(*id);
        UnixMillis(driver.now - 1)
    });
    let began: Vec<_> = began.collect();
    let attempt = |index: usize| AttemptId { workflow: ids[index].0, number: 1 };
    let find = |driver: &Driver, until, limit| {
        driver.store.find_conversation(CONVERSATION, (UnixMillis(0), until), limit).unwrap()
    };
    let last = began[4];
    assert_eq!(find(&driver, last, 50), [4, 3, 2, 1, 0].map(attempt));
    assert_eq!(find(&driver, last, 2), [4, 3].map(attempt));
    let until = began[2];
    assert_eq!(find(&driver, until, 50), [2, 1, 0].map(attempt));
    assert_eq!(find(&driver, UnixMillis(until.0 - 1), 50), [1, 0].map(attempt));
    assert_eq!(driver.store.find_conversation([8; 16], (UnixMillis(0), last), 50).unwrap(), []);
    let behind = |from: usize| {
        driver.store.find_conversation(CONVERSATION, (began[from], last), 50).unwrap()
    };
    assert_eq!((behind(2), behind(4)), ([4, 3].map(attempt).to_vec(), Vec::new()));
    driver.tell(ids[4], Event::Cancel);
    assert_eq!(find(&driver, last, 1), [attempt(4)], "for late receipts");
    let now = UnixMillis(driver.now + 1);
    while driver.store.sweep(now, now, 1000).unwrap().has_more {}
    assert_eq!(
        find(&driver, last, 50),
        [3, 2, 1, 0].map(attempt),
        "what is forgotten is not found"
    );
}

fn parked(key: u64) -> HeldReceipt {
    HeldReceipt {
        key,
        account: Arc::from("p/main"),
        provider_id: format!("p-{key}"),
        at: UnixMillis(START),
        report: Report::Reached(Status::Read).into(),
        provider_time: None,
        code: None,
        detail: Some("x".to_owned()),
        usage: None,
    }
}

fn held_receipts_come_and_go(mut driver: Driver) {
    driver
        .store
        .commit(ChangeSet { hold_receipts: vec![parked(1), parked(2)], ..ChangeSet::default() })
        .unwrap();
    driver.store.commit(ChangeSet { release_receipts: vec![1], ..ChangeSet::default() }).unwrap();
    assert_eq!(driver.store.held_receipts(), [parked(2)]);
}

fn a_change_on_an_old_state_is_refused(mut driver: Driver) {
    let id = driver.create(1, "one");
    let state = driver.store.load(id).unwrap().unwrap();
    let change = Change {
        record: None,
        tenant: Arc::from("default"),
        at: Moment::both(UnixMillis(START)),
        expected: 1,
        facts: vec![Fact::StepSkipped { step: 1 }],
        state,
        messages: Vec::new(),
    };
    let refused = driver.store.commit(ChangeSet { changes: vec![change], ..ChangeSet::default() });
    assert_eq!(refused, Err(StoreError::Conflict(id)));
}

fn lists_are_newest_first_and_paged(mut driver: Driver) {
    let ids: Vec<_> = (1..=7).map(|number| driver.create(number, "x")).collect();
    driver.tell(ids[3], Event::Cancel);
    let reader = driver.store.reader();
    let filter = Filter { tenant: Some(Arc::from("default")), ..Filter::default() };
    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let page = reader.list(&filter, after, 3).unwrap();
        seen.extend(page.workflows.iter().map(|(record, _)| record.id));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen, ids.iter().rev().copied().collect::<Vec<_>>());
    let canceled = Filter { states: vec!["CANCELED"], ..filter.clone() };
    let found = reader.list(&canceled, None, 10).unwrap().workflows;
    assert_eq!(found.iter().map(|(record, _)| record.id).collect::<Vec<_>>(), [ids[3]]);
    let labels = BTreeMap::from([("team".to_owned(), "red".to_owned())]);
    assert!(reader.list(&Filter { labels, ..filter }, None, 10).unwrap().workflows.is_empty());
}

/// What others have does not make a tenant's list longer by pages.
fn a_list_reads_what_is_its_tenant_s(mut driver: Driver) {
    driver.create(1, "ours");
    for hundred in 1..=25 {
        let mut batch = ChangeSet::default();
        for number in 0..100 {
            let id = id(hundred * 100 + number);
            let tenant: Arc<str> = Arc::from("another");
            let record =
                Record { tenant: Arc::clone(&tenant), ..plans::record(id, driver.at(), plan()) };
            let mut state = driver.needs.workflow(&record);
            let mut facts = machine::create(&mut state, driver.at(), &OneRoute);
            // Some are open, and some have ended.
            if number % 2 == 0 {
                facts.extend(machine::handle(&mut state, driver.at(), Event::Cancel, &OneRoute));
            }
            let record = Some(Arc::new(record));
            let (at, messages) = (driver.at(), Vec::new());
            batch.changes.push(Change { record, tenant, at, expected: 0, facts, state, messages });
        }
        driver.store.commit(batch).unwrap();
    }
    let of = |tenant: &str| Filter { tenant: Some(Arc::from(tenant)), ..Filter::default() };
    let reader = driver.store.reader();
    let page = reader.list(&of("default"), None, 10).unwrap();
    assert_eq!(page.workflows.len(), 1, "not on the first page");
    assert_eq!(page.next, None);
    let page = reader.list(&of("another"), None, 2500).unwrap();
    assert_eq!(page.workflows.len(), 2000, "a page reads so many");
    assert!(page.next.is_some());
    assert_eq!(reader.list(&of("nobody"), None, 10).unwrap().workflows.len(), 0);
}

fn a_large_record_comes_back_whole(mut driver: Driver) {
    let text: String = (0..200_000).map(|at| char::from(b'a' + (at % 26) as u8)).collect();
    let ids: Vec<_> = (1..=40).map(|number| driver.create(number, &text)).collect();
    for id in ids {
        let record = driver.store.reader().record(id).unwrap().unwrap();
        let contents = plans::KEEPER.open(&record).unwrap();
        assert_eq!((&record.plan, contents), (&plan(), plans::request(plan(), &text).contents));
    }
}

/// However few rows that are: a workflow may weigh 256 KiB.
fn what_is_read_or_written_at_once_is_bounded_in_bytes(mut driver: Driver) {
    const MANY: u128 = 60;
    let large = plans::noise(200_000);
    let ids: Vec<_> = (1..=MANY).map(|number| driver.create(number, &large)).collect();
    let reader = driver.store.reader();
    let (mut after, mut found, mut most) = (None, Vec::new(), 0);
    loop {
        let page = reader.list(&Filter::default(), after, 500).unwrap();
        most = most.max(page.workflows.len());
        found.extend(page.workflows.iter().map(|(record, _)| record.id));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    found.reverse();
    assert_eq!(found, ids);
    // Twice as much, since a row has the text a second time.
    assert!((2..=12).contains(&most), "{most} at once");

    let (mut after, mut found, mut most) = (None, Vec::new(), 0);
    loop {
        let entries = reader.entries(after, 500).unwrap();
        let Some(last) = entries.last() else { break };
        after = Some(last.record.id);
        most = most.max(entries.len());
        found.extend(entries.iter().map(|entry| entry.record.id));
    }
    assert_eq!(found, ids);
    assert!((2..=12).contains(&most), "{most} at once");

    // In memory nothing is written, and so nothing is too much.
    let late = UnixMillis(driver.now + 1_000_000);
    let mut rounds = 0;
    loop {
        let swept = driver.store.sweep(late, late, 500).unwrap();
        assert!(swept.compacted <= 24, "{} at once", swept.compacted);
        rounds += 1;
        if !swept.has_more {
            break;
        }
    }
    assert!(rounds == 1 || rounds >= 3, "{rounds}");
    for id in ids {
        assert_eq!(driver.timeline(id), driver.remembered(id));
    }
}

fn a_backup_shows_one_moment_however_much_happens_while_it_is_taken(mut driver: Driver) {
    // Three pages and more, so that much of it is read after the moment.
    let ids: Vec<_> = (1..=200).map(|number| driver.create(number, "x")).collect();
    for id in &ids[..150] {
        driver.accept(*id);
    }
    for id in &ids[..50] {
        driver.reach(*id, Status::Read);
    }
    driver.now += 1_000_000;
    driver.create(201, "x");
    // Some rows are past retention already, and open workflows were carried.
    let before = UnixMillis(driver.now - 500_000);
    driver.store.sweep(UnixMillis(driver.now), before, 60).unwrap();
    let reader = driver.store.reader();
    let moment = driver.rows.len();
    let wanted: BTreeMap<_, _> = (1..=201)
        .map(id)
        .map(|id| (id, driver.timeline(id)))
        .filter(|(_, rows)| !rows.is_empty())
        .collect();

    let row = |kind, number: u32| {
        let value = encode(&number).unwrap();
        SettingChange::put(kind, number.to_be_bytes().to_vec(), value)
    };
    let settings = (0..200).map(|number| row(Kind::Callback, number)).chain([row(Kind::Key, 7)]);
    driver.store.settings().write(settings.collect()).unwrap();

    let mut frames = Backup::of(reader, driver.store.settings(), None).unwrap();
    let mut bytes = frames.next().unwrap().unwrap();
    for (number, frame) in frames.enumerate() {
        bytes.extend(frame.unwrap());
        // Whatever can happen to a workflow happens to some after the moment.
        match number {
            0..50 => {
                driver.create(1000 + number as u128, "later");
                driver.tell(ids[149 - number], Event::Cancel);
            }
            50..100 => driver.accept(ids[199 - (number - 50)]),
            100 => {
                driver.now += 100;
                driver.store.sweep(UnixMillis(driver.now), before, 60).unwrap();
            }
            _ => {}
        }
    }
    assert!(driver.rows.len() > moment + 150);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("one.backup");
    std::fs::write(&file, &bytes).unwrap();
    let checked = check_backup(&file);
    assert_eq!(checked.findings, []);

    let options = SledOptions { folder: folder.path().join("data"), cache_bytes: 1 << 24 };
    options.restore(&file).unwrap();
    assert_eq!(options.check().unwrap().findings, []);
    let restored = options.open().unwrap();
    for kind in Kind::ALL {
        let kept = |store: &dyn Store| store.settings().list(kind, None, 1000).unwrap();
        assert_eq!(kept(&restored), kept(&*driver.store), "{kind:?}");
    }
    let mut found = BTreeMap::new();
    for number in (1..=201).chain(1000..1050) {
        let id = id(number);
        let rows = restored.reader().timeline(id).unwrap();
        if !rows.is_empty() {
            found.insert(id, rows.iter().map(|row| Row::clone(row)).collect::<Vec<_>>());
        }
    }
    // Retention went on meanwhile: what it took may be missing, and nothing else.
    let oldest = driver.store.reader().oldest();
    let is_kept =
        |rows: &Vec<Row>| !has_ended(rows) || rows.last().is_some_and(|row| row.cursor > oldest);
    let wanted: BTreeMap<_, _> = wanted.into_iter().filter(|(_, rows)| is_kept(rows)).collect();
    assert_eq!(found, wanted);
    let attempt = AttemptId { workflow: id(60).0, number: 1 };
    assert_eq!(
        restored.find_message("p/main", "p-60-1").unwrap(),
        Some(FoundMessage { attempt, part: None })
    );
    let wanted_there = |store: &dyn Store| {
        store
            .find_conversation(CONVERSATION, (UnixMillis(0), UnixMillis(u64::MAX - 1)), 10_000)
            .unwrap()
    };
    assert!(!wanted_there(&restored).is_empty());
    for attempt in wanted_there(&restored) {
        assert!(found.contains_key(&WorkflowId(attempt.workflow)), "{attempt}");
    }
    let open: Vec<_> = restored.open_ids(None, 1000);
    assert_eq!(open.len(), wanted.values().filter(|rows| !has_ended(rows)).count());
}

fn has_ended(rows: &[Row]) -> bool {
    rows.iter().flat_map(|row| &row.facts).any(|fact| matches!(fact, Fact::Ended(_)))
}

fn settings_are_rows_in_place(driver: Driver) {
    let settings = driver.store.settings();
    let put = |kind, key: &[u8], value: &[u8]| SettingChange::put(kind, key, value.to_vec());
    settings
        .write(vec![
            put(Kind::Key, b"b", b"2"),
            put(Kind::Key, b"a", b"1"),
            put(Kind::Key, b"ba", b"3"),
            put(Kind::Application, b"a", b"another kind"),
        ])
        .unwrap();
    let all = settings.list(Kind::Key, None, 9).unwrap();
    let row = |key: &[u8], value: &[u8]| (key.to_vec(), value.to_vec());
    assert_eq!(all, [row(b"a", b"1"), row(b"b", b"2"), row(b"ba", b"3")]);
    assert_eq!(settings.list(Kind::Key, Some(b"a"), 1).unwrap(), [row(b"b", b"2")]);
    assert_eq!(settings.list(Kind::Key, Some(b"b"), 9).unwrap(), [row(b"ba", b"3")]);
    let changes = vec![SettingChange::remove(Kind::Key, b"b"), put(Kind::Key, b"a", b"4")];
    settings.note(changes).unwrap();
    assert_eq!(settings.get(Kind::Key, b"b").unwrap(), None);
    assert_eq!(settings.get(Kind::Key, b"a").unwrap(), Some(b"4".to_vec()));
    // All or nothing.
    let large = put(Kind::Key, b"c", &vec![0; VALUE_BYTES + 1]);
    assert!(settings.write(vec![put(Kind::Key, b"d", b"5"), large]).is_err());
    assert_eq!(settings.get(Kind::Key, b"d").unwrap(), None);
    assert!(settings.list(Kind::Audit, None, 9).unwrap().is_empty());
}

macro_rules! suite {
    ($($case:ident),* $(,)?) => {
        mod memory {
            use super::*;
            $(#[test] fn $case() { super::$case(Driver::new(Box::new(MemoryStore::new()))); })*
        }

        mod sled {
            use super::*;
            $(#[test] fn $case() {
                let folder = tempfile::tempdir().unwrap();
                super::$case(Driver::new(Box::new(open(folder.path()).unwrap())));
                let blobs = std::fs::read_dir(folder.path().join("blobs"));
                assert_eq!(blobs.map_or(0, |files| files.count()), 0, "a blob would not be synced");
            })*
        }

        mod in_postgres {
            use super::*;
            $(#[test] fn $case() {
                let Some(cluster) = crate::shared::postgres::shared() else { return };
                let (store, _) = postgres_options(cluster.database()).open().unwrap();
                super::$case(Driver::new(Box::new(store)));
            })*
        }
    };
}

/// A provider may call two messages the same.
fn one_name_of_two_messages_is_the_later_one_s(mut driver: Driver) {
    let ids = [1, 2].map(|number| driver.create(number, "x"));
    ids.iter().for_each(|id| driver.start(*id));
    let changes = ids.map(|id| {
        let mut state = driver.store.load(id).unwrap().unwrap();
        let expected = state.sequence;
        let result = SendResult::Accepted { provider_ids: vec!["the same".to_owned()] };
        let event = Event::SendResult { attempt: 1, call: 1, result };
        let facts = machine::handle(&mut state, driver.at(), event, &OneRoute);
        let messages = named(id, &facts, driver.at());
        let (tenant, at) = (Arc::from("default"), driver.at());
        Change { record: None, tenant, at, expected, facts, state, messages }
    });
    let changes = ChangeSet { changes: changes.into(), ..ChangeSet::default() };
    driver.store.commit(changes).unwrap();
    let found = driver.store.find_message("p/main", "the same").unwrap();
    let attempt = AttemptId { workflow: ids[1].0, number: 1 };
    assert_eq!(found, Some(FoundMessage { attempt, part: None }));
}

suite!(
    one_name_of_two_messages_is_the_later_one_s,
    what_was_committed_is_told,
    what_no_open_workflow_has_any_more_is_forgotten,
    a_late_row_follows_the_closing_row,
    a_batch_may_tell_of_a_workflow_more_than_once,
    deadlines_come_in_order_and_move,
    requests_and_messages_are_found,
    conversations_are_found_newest_first,
    held_receipts_come_and_go,
    a_change_on_an_old_state_is_refused,
    lists_are_newest_first_and_paged,
    a_list_reads_what_is_its_tenant_s,
    retention_drops_what_ended_and_keeps_what_is_open,
    a_late_row_is_kept_with_its_workflow,
    where_the_edge_waits_nothing_is_missed_silently,
    a_reader_that_has_seen_everything_is_never_too_old,
    a_large_record_comes_back_whole,
    what_is_read_or_written_at_once_is_bounded_in_bytes,
    settings_are_rows_in_place,
    a_backup_shows_one_moment_however_much_happens_while_it_is_taken,
);

fn postgres_options(connection: String) -> PostgresOptions {
    PostgresOptions { connection, connections: 4, name: "test".to_owned() }
}

fn open(folder: &Path) -> Result<JournalStore, StoreError> {
    SledOptions { folder: folder.to_owned(), cache_bytes: 64 << 20 }.open()
}
