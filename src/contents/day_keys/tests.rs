use dispatch_contract::Channel;
use uuid::Uuid;

use super::*;
use crate::{
    contents::{ContentsKeeper, MemoryKeys, damaged::DamagedReader, newest_row_slot},
    machine::{Moment, WorkflowId},
    shared::{engines, plans},
    store::{MemoryStore, Store},
};

fn page() -> ChannelSender {
    ChannelSender { channel: Channel::MESSENGER, id: "page".to_owned() }
}

fn person(id: &str) -> Endpoint {
    Endpoint::Id(id.to_owned())
}

fn at(day: u64, ms: u64) -> UnixMillis {
    UnixMillis(day * DAY_MS + ms)
}

fn open(keys: &MemoryKeys, store: &MemoryStore) -> DayKeys {
    let keeper = ContentsKeeper::new(Arc::new(keys.clone()));
    DayKeys::open(store.settings(), keeper.rows(Family::Day)).unwrap()
}

/// An open workflow that was created then is kept from now on.
fn create(store: &mut MemoryStore, created: UnixMillis) -> WorkflowId {
    let id = WorkflowId(Uuid::from_u128(u128::from(created.0) << 80));
    let request = plans::request(plans::plan(vec![plans::step(Channel::SMS, None)]), "x");
    let record = plans::sealed(&plans::KEEPER, id, Moment::both(created), request, None);
    engines::create(store, record, true);
    id
}

#[test]
fn a_conversation_is_called_otherwise_each_day_and_found_on_all_that_are_kept() {
    let (keys, store) = (MemoryKeys::new([5; 32]), MemoryStore::new());
    let (days, ann) = (open(&keys, &store), person("ann"));
    assert_eq!(days.known(&page(), &ann, at(9, 0)), None, "no day has a key yet");
    let first = days.of_call(&page(), &ann, at(9, DAY_MS - 1)).unwrap();
    let next = days.of_call(&page(), &ann, at(10, 0)).unwrap();
    assert_ne!(first.stored, next.stored);
    assert_eq!(first.remembered, next.remembered);
    let bob = days.of_call(&page(), &person("bob"), at(10, 0)).unwrap();
    assert!(bob.stored != next.stored && bob.remembered != next.remembered);
    for days in [&days, &open(&keys, &store)] {
        assert_eq!(days.known(&page(), &ann, at(9, 5)), Some(first));
        let any = days.of_any(&page(), &ann);
        let on = |of: &StoredOnDay| (of.from, of.until, of.hash);
        let stored: Vec<_> = any.stored.iter().map(on).collect();
        let both = [(at(10, 0), at(11, 0), next.stored), (at(9, 0), at(10, 0), first.stored)];
        assert_eq!((any.remembered, stored), (first.remembered, both.into()));
    }
    let newest = newest_row_slot(&*store.settings(), Family::Day);
    assert_eq!(newest, Ok(Some(KeySlot(1))), "a start knows");
}

/// The answer of a call that began before midnight may come behind a watermark that was told after it, and that is to
/// find it.
#[test]
fn right_after_midnight_a_watermark_is_looked_for_on_both_days() {
    let (keys, store) = (MemoryKeys::new([5; 32]), MemoryStore::new());
    let (days, ann) = (open(&keys, &store), person("ann"));
    let told = at(10, LONGEST_CALL.as_millis() as u64);
    assert!(!days.has_those_of_calls_out(told));
    days.make_those_of_calls_out(told).unwrap();
    assert_eq!(days.tables()[0].1, 1, "no call began the day before");
    days.make_those_of_calls_out(at(10, 5)).unwrap();
    assert!(days.has_those_of_calls_out(at(10, 5)));
    let any = days.of_any(&page(), &ann);
    let answered = days.of_call(&page(), &ann, at(9, DAY_MS - 1)).unwrap();
    assert_eq!(any.stored.last().map(|day| day.hash), Some(answered.stored));
}

#[test]
fn a_day_s_key_is_destroyed_once_nothing_is_kept_of_it_and_not_before() {
    let (keys, names_them) = (MemoryKeys::new([5; 32]), MemoryStore::new());
    let (days, ann) = (open(&keys, &names_them), person("ann"));
    for day in [501, 502, 509] {
        days.of_call(&page(), &ann, at(day, 7)).unwrap();
    }
    let trim = |store: &MemoryStore, now| days.trim(&*store.reader(), now);
    let mut store = MemoryStore::new();
    create(&mut store, at(501, 5));
    assert_eq!(trim(&store, at(560, 0)), Ok(0), "who is open may wait for what is told of it");
    let mut store = MemoryStore::new();
    create(&mut store, at(502, 8));
    assert_eq!(trim(&store, at(509, 9)), Ok(1), "the last that was of it is gone");
    assert_eq!((days.tables()[0].1, keys.destroyed()), (2, 1));
    assert_eq!(days.known(&page(), &ann, at(501, 7)), None);
    assert_eq!(open(&keys, &names_them).tables()[0].1, 2);
    let store = MemoryStore::new();
    assert_eq!(trim(&store, at(509, 10)), Ok(1), "today's stays, although nothing is kept");
    assert_eq!((trim(&store, at(509, 11)), trim(&store, at(510, 0))), (Ok(0), Ok(1)));
    assert_eq!((days.tables()[0].1, keys.destroyed()), (0, 3));
}

#[test]
fn a_key_that_is_older_than_whatever_is_waited_for_goes_whatever_is_kept_or_damaged() {
    let (keys, mut store) = (MemoryKeys::new([5; 32]), MemoryStore::new());
    let (days, ann) = (open(&keys, &store), person("ann"));
    let damaged = create(&mut store, at(500, 0));
    for day in [500, 501] {
        days.of_call(&page(), &ann, at(day, 7)).unwrap();
    }
    let reader = DamagedReader { inner: store.reader(), damaged };
    for (now, gone) in [(500 + MOST_DAYS, 0), (501 + MOST_DAYS, 1), (502 + MOST_DAYS, 1)] {
        assert_eq!(days.trim(&reader, at(now, 0)), Ok(gone), "{now}");
    }
}

/// What was sent on a day whose key is lost is not found; what is sent from now on is, and the lost one is destroyed in its
/// time, if it can be.
#[test]
fn a_day_whose_key_is_lost_gets_another_and_the_others_go_on() {
    let (keys, store) = (MemoryKeys::new([5; 32]), MemoryStore::new());
    let ann = person("ann");
    let first = open(&keys, &store).of_call(&page(), &ann, at(9, 0)).unwrap();

    let keys = MemoryKeys::new([6; 32]);
    let days = open(&keys, &store);
    assert_eq!(days.known(&page(), &ann, at(9, 0)), None);
    assert_eq!(days.of_any(&page(), &ann).stored, []);
    assert!(!days.has_those_of_calls_out(at(9, 0)));
    let again = days.of_call(&page(), &ann, at(9, 5)).unwrap();
    assert_ne!(again.stored, first.stored);
    assert_eq!(open(&keys, &store).known(&page(), &ann, at(9, 0)), Some(again));

    let days = open(&MemoryKeys::new([7; 32]), &store);
    assert_eq!(days.tables()[0].1, 1, "it is still known where it was");
    assert_eq!(days.trim(&*store.reader(), at(10, 0)), Ok(1));
}
