use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use dispatch_contract::{Channel, ChannelSender, Content, Endpoint, InboundMessage, UnixMillis};

use super::*;
use crate::{
    contents::{
        ContentKeys, ContentsKeeper, Family, LastingKey, MemoryKeys, OwnerId, PersonTag, SlotError,
        SlotKey, newest_row_slot,
    },
    shared::plans,
    store::{KeyAndValue, MemoryStore, Store},
};

const NOW: Moment = at(1000);

/// The wall clock is wrong by years, and nothing hangs on it.
const fn at(engine_s: u64) -> Moment {
    Moment { engine: UnixMillis(engine_s * 1000), wall: UnixMillis(1_800_000_000_000) }
}

fn settings() -> Arc<dyn Settings> {
    MemoryStore::new().settings()
}

fn open(settings: &Arc<dyn Settings>, most: u64) -> InboundMessages {
    sealed_by(&plans::KEEPER, settings, most)
}

fn sealed_by(keys: &ContentsKeeper, settings: &Arc<dyn Settings>, most: u64) -> InboundMessages {
    let retention = Duration::from_secs(60);
    let options = InboundOptions { tenant: Arc::from("default"), retention, most };
    let keys = keys.rows(Family::Inbound);
    InboundMessages::open(Arc::clone(settings), keys, options).unwrap()
}

fn heard(tenant: &str, id: &str, content: Vec<Content>) -> HeardMessage {
    let number = |text: &str| Endpoint::Number(text.to_owned());
    HeardMessage {
        tenant: Arc::from(tenant),
        applications: Vec::new(),
        account: Arc::from("sandbox/main"),
        former_accounts: Vec::new(),
        to: number("447700900000"),
        quoted: None,
        message: InboundMessage {
            id: id.to_owned(),
            from: number("447700900001"),
            to: ChannelSender { channel: Channel::SMS, id: "447700900000".to_owned() },
            content,
            quoted_id: None,
            quoted_attempt: None,
            provider_time: None,
        },
    }
}

fn text(tenant: &str, id: &str) -> HeardMessage {
    heard(tenant, id, vec![Content::Text(format!("text {id}"))])
}

/// How many are kept, by their numbers.
fn count(messages: &InboundMessages) -> u64 {
    let KeptNumbers { gone, last } = *messages.kept().borrow();
    last - gone
}

/// The provider's ids of a tenant's messages behind a number.
fn ids(messages: &InboundMessages, whose: Option<&str>, after: u64) -> Vec<String> {
    let page = messages.after(whose, after, 100).unwrap();
    page.messages.into_iter().map(|(_, message)| message.provider_id).collect()
}

#[test]
fn a_message_is_kept_once_however_often_it_is_told_across_a_restart_too() {
    let settings = settings();
    let messages = open(&settings, 100);
    assert_eq!(
        messages.keep(vec![text("a", "1"), text("a", "2"), text("a", "1")], NOW),
        Ok((2, 1))
    );
    assert_eq!(messages.keep(vec![text("a", "2")], NOW), Ok((0, 1)));
    let again = open(&settings, 100);
    assert_eq!(again.keep(vec![text("a", "1"), text("a", "3")], NOW), Ok((1, 1)));
    assert_eq!(ids(&again, Some("a"), 0), ["1", "2", "3"]);
    assert_eq!(count(&again), 3);
    // The same id of another tenant's or another account's is another message.
    let elsewhere = HeardMessage { account: Arc::from("sandbox/other"), ..text("a", "1") };
    assert_eq!(again.keep(vec![text("b", "1"), elsewhere], NOW), Ok((2, 0)));
    // Its account was renamed meanwhile.
    let renamed = |former: &str| HeardMessage {
        account: Arc::from("sandbox/new"),
        former_accounts: vec![Arc::from(former)],
        ..text("a", "3")
    };
    assert_eq!(again.keep(vec![renamed("sandbox/main")], NOW), Ok((0, 1)));
    assert_eq!(again.keep(vec![renamed("sandbox/third")], NOW), Ok((1, 0)));
}

#[test]
fn each_tenant_reads_its_own_in_order_and_goes_on_behind_what_it_has_seen() {
    let messages = open(&settings(), 100);
    for (tenant, id) in [("a", "1"), ("b", "2"), ("a", "3")] {
        messages.keep(vec![text(tenant, id)], NOW).unwrap();
    }
    assert_eq!(ids(&messages, Some("a"), 0), ["1", "3"]);
    assert_eq!(ids(&messages, Some("a"), 1), ["3"]);
    assert_eq!(ids(&messages, Some("b"), 2), [] as [&str; 0]);
    assert_eq!(ids(&messages, None, 0), ["1", "2", "3"]);
    // A page ends where its messages do, and not behind what it left out.
    let page = messages.after(Some("a"), 0, 1).unwrap();
    assert_eq!((page.messages.len(), page.until), (1, 1));
    assert_eq!(messages.after(Some("b"), 0, 100).unwrap().until, 3, "what was passed over is seen");
}

#[test]
fn what_is_too_old_or_too_many_goes_from_the_oldest_on_and_a_reader_is_told() {
    let settings = settings();
    let messages = open(&settings, 3);
    messages.keep(vec![text("a", "1")], NOW).unwrap();
    let later = at(1061);
    messages.keep((2..=5).map(|id| text("a", &id.to_string())).collect(), later).unwrap();
    messages.trim(NOW.engine).unwrap();
    assert_eq!(count(&messages), 3, "no more than three are kept");
    assert_eq!(messages.after(None, 0, 10).unwrap_err(), StoreError::Trimmed(Cursor(2)));
    assert_eq!(ids(&messages, None, 2), ["3", "4", "5"]);
    messages.trim(at(1121).engine).unwrap();
    assert_eq!(count(&messages), 3, "to the second they are not too old");
    messages.trim(at(1122).engine).unwrap();
    assert_eq!(count(&messages), 0);
    for kind in [Kind::InboundMessage, Kind::InboundId] {
        assert_eq!(settings.list(kind, None, 10).unwrap(), [], "{kind:?}");
    }
    // Numbers are never given out again.
    let again = open(&settings, 3);
    again.keep(vec![text("a", "6")], later).unwrap();
    assert_eq!(again.after(None, 5, 10).unwrap().until, 6);
}

#[test]
fn what_does_not_fit_is_left_out_from_its_end_and_a_name_that_is_none_is_not_kept() {
    let messages = open(&settings(), 100);
    let long = |letter: &str| Content::Text(letter.repeat(40_000));
    let content = vec![long("a"), long("b"), Content::Text("c".to_owned())];
    messages.keep(vec![heard("a", "1", content)], NOW).unwrap();
    let (_, kept) = messages.after(None, 0, 1).unwrap().messages.remove(0);
    assert_eq!(kept.content, [long("a")]);
    for id in [String::new(), "x".repeat(1025)] {
        assert_eq!(messages.keep(vec![text("a", &id)], NOW), Ok((0, 0)));
    }
    let shown = format!("{kept:?}");
    assert!(!shown.contains("447700900001") && !shown.contains("aaa"), "{shown}");
}

#[test]
fn a_message_is_found_by_its_id() {
    let messages = open(&settings(), 100);
    messages.keep(vec![text("a", "1")], NOW).unwrap();
    let (_, kept) = messages.after(None, 0, 1).unwrap().messages.remove(0);
    assert_eq!(messages.get(kept.id), Ok(Some(kept)));
    assert_eq!(messages.get(Uuid::nil()), Ok(None));
}

/// Rows whose next durable write fails after it can be seen, as on a disk that does not sync.
struct Unsynced(Arc<dyn Settings>, std::sync::atomic::AtomicBool);

impl Settings for Unsynced {
    fn get(&self, kind: Kind, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.0.get(kind, key)
    }

    fn list(
        &self,
        kind: Kind,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<KeyAndValue>, StoreError> {
        self.0.list(kind, after, limit)
    }

    fn write(&self, changes: Vec<SettingChange>) -> Result<(), StoreError> {
        self.0.write(changes)?;
        match self.1.swap(false, std::sync::atomic::Ordering::SeqCst) {
            true => Err(StoreError::Io("not synced".to_owned())),
            false => Ok(()),
        }
    }

    fn note(&self, changes: Vec<SettingChange>) -> Result<(), StoreError> {
        self.0.note(changes)
    }
}

#[test]
fn what_is_not_durable_is_neither_told_nor_taken_for_a_repeat() {
    let unsynced: Arc<dyn Settings> = Arc::new(Unsynced(settings(), true.into()));
    let messages = open(&unsynced, 100);
    assert!(messages.keep(vec![text("a", "1")], NOW).is_err());
    assert_eq!(ids(&messages, None, 0), [] as [&str; 0]);
    assert_eq!(messages.keep(vec![text("a", "1")], NOW), Ok((1, 0)), "it is told again");
    assert_eq!(ids(&messages, None, 0), ["1"]);
}

#[test]
fn an_id_whose_message_is_gone_takes_nothing_for_a_repeat() {
    let settings = settings();
    let messages = open(&settings, 100);
    messages.keep(vec![text("a", "1")], NOW).unwrap();
    // As in a backup: the ids are read first, and then retention takes the message.
    let ids_of = settings.list(Kind::InboundId, None, 10).unwrap();
    messages.trim(at(2000).engine).unwrap();
    let stay = |(key, value)| SettingChange::put(Kind::InboundId, key, value);
    settings.write(ids_of.into_iter().map(stay).collect()).unwrap();
    let restored = open(&settings, 100);
    assert_eq!(restored.keep(vec![text("a", "1")], at(2000)), Ok((1, 0)));
    assert_eq!(ids(&restored, None, 1), ["1"]);
}

#[test]
fn a_row_that_cannot_be_read_stands_in_nobody_s_way() {
    let settings = settings();
    let messages = open(&settings, 100);
    messages.keep(vec![text("a", "1"), text("a", "2")], NOW).unwrap();
    let junk = SettingChange::put(Kind::InboundMessage, 1_u64.to_be_bytes(), vec![0xff]);
    settings.write(vec![junk]).unwrap();
    assert_eq!(ids(&messages, None, 0), ["2"]);
    messages.trim(at(2000).engine).unwrap();
    assert_eq!(count(&messages), 0);
}

const ANN: &str = "447700900001";
const BOB: &str = "447700900002";

fn from(number: &str, heard: HeardMessage) -> HeardMessage {
    let from = Endpoint::Number(number.to_owned());
    HeardMessage { message: InboundMessage { from, ..heard.message }, ..heard }
}

/// All rows, keys and values.
fn stored(settings: &Arc<dyn Settings>) -> Vec<u8> {
    let rows = [Kind::InboundMessage, Kind::InboundId].into_iter();
    let rows = rows.flat_map(|kind| settings.list(kind, None, 100).unwrap());
    rows.flat_map(|(key, value)| [key, value].concat()).collect()
}

#[test]
fn a_row_says_nothing_of_who_wrote_and_what() {
    let settings = settings();
    let messages = open(&settings, 100);
    messages.keep(vec![text("acme", "the-provider-s-id")], NOW).unwrap();
    let stored = stored(&settings);
    let says = |what: &str| stored.windows(what.len()).any(|part| part == what.as_bytes());
    assert!(says("acme"));
    for personal in [ANN, "text the", "the-provider-s-id", "447700900000", "sandbox/main"] {
        assert!(!says(personal), "{personal}");
    }
    // By the id nobody without the key finds out which message it is.
    let id = |keys: &ContentsKeeper| {
        let keys = keys.rows(Family::Inbound);
        text("acme", "the-provider-s-id").id_under(&keys, "sandbox/main")
    };
    let kept = messages.after(None, 0, 1).unwrap().messages[0].1.id;
    assert_eq!(id(&plans::KEEPER), kept);
    assert_ne!(id(&ContentsKeeper::in_memory([77; 32])), kept);
}

#[test]
fn what_a_person_wrote_is_found_however_the_number_is_written_and_erased_for_good() {
    let settings = settings();
    let messages = open(&settings, 100);
    let by_bob = from(BOB, text("a", "3"));
    messages.keep(vec![text("a", "1"), text("b", "2"), by_bob, text("a", "4")], NOW).unwrap();
    let count = |whose, address: &str| messages.of_person(whose, &[address]).unwrap().ids.len();
    let written = ["+44 7700 900001", "00447700900001", ANN];
    assert_eq!(written.map(|address| count(Some("a"), address)), [2; 3]);
    assert_eq!((count(None, ANN), count(Some("c"), ANN), count(None, "447700900009")), (3, 0, 0));

    let of_ann = messages.of_person(Some("a"), &[ANN]).unwrap().ids;
    assert_eq!(messages.erase(&of_ann), Ok(2));
    assert_eq!(messages.erase(&of_ann), Ok(0), "done again");
    let [first, _] = of_ann[..] else { panic!() };
    for messages in [&messages, &open(&settings, 100)] {
        let mut left = ids(messages, None, 0);
        left.sort();
        assert_eq!(left, ["2", "3"]);
        assert_eq!(messages.after(None, 0, 100).unwrap().until, 4, "readers go on behind them");
        assert_eq!(messages.get(first), Ok(None));
        assert_eq!(messages.of_person(Some("a"), &[ANN]), Ok(Default::default()));
        assert_eq!(messages.keep(vec![text("a", "1")], NOW), Ok((0, 1)), "told again in vain");
    }
    messages.trim(at(2000).engine).unwrap();
    assert_eq!(stored(&settings), [] as [u8; 0]);
    assert_eq!(messages.keep(vec![text("a", "1")], at(2000)), Ok((1, 0)), "and later it is new");
}

#[test]
fn what_is_taken_away_nobody_opens_any_more() {
    let (keys, settings) = (MemoryKeys::new([3; 32]), settings());
    let keeper = ContentsKeeper::new(Arc::new(keys.clone()));
    let messages = sealed_by(&keeper, &settings, 2);
    for id in ["1", "2", "3"] {
        messages.keep(vec![text("a", id)], NOW).unwrap();
    }
    assert_eq!(newest_row_slot(&*settings, Family::Inbound), Ok(Some(KeySlot(2))), "a start knows");
    assert_eq!(messages.oldest_key(), Ok(Some(KeySlot(0))));
    let (_, row) = settings.list(Kind::InboundMessage, None, 1).unwrap().remove(0);
    let row = InboundRow::decode(&row).unwrap();
    assert!(messages.opened(&row).is_some());
    messages.trim(NOW.engine).unwrap();
    assert_eq!((keys.destroyed(), messages.opened(&row)), (1, None), "one too many");
    assert_eq!(messages.oldest_key(), Ok(Some(KeySlot(1))));
    messages.trim(at(2000).engine).unwrap();
    assert_eq!((keys.destroyed(), messages.oldest_key()), (3, Ok(None)), "too old");
}

/// Keys of which nothing is written down at first, and how many notes they say they lost.
struct Unwritten(MemoryKeys, AtomicU64);

impl ContentKeys for Unwritten {
    fn try_take(&self, family: Family) -> Option<(KeySlot, SlotKey)> {
        self.0.try_take(family)
    }

    fn take(&self, family: Family) -> Result<(KeySlot, SlotKey), SlotError> {
        self.0.take(family)
    }

    fn key(&self, family: Family, slot: KeySlot) -> Result<Option<SlotKey>, SlotError> {
        self.0.key(family, slot)
    }

    fn destroy(&self, family: Family, slots: &[KeySlot]) -> Result<(), SlotError> {
        self.0.destroy(family, slots)
    }

    fn tags(
        &self,
        family: Family,
        slot: KeySlot,
        addresses: &[&str],
    ) -> Result<Box<[PersonTag]>, SlotError> {
        self.0.tags(family, slot, addresses)
    }

    fn note(&self, family: Family, slot: KeySlot, owner: OwnerId, tags: Box<[PersonTag]>) {
        if self.1.load(Ordering::Relaxed) > 0 {
            self.0.note(family, slot, owner, tags);
        }
    }

    fn noted_through(&self, _: Cursor) {}

    fn noted(&self) -> Cursor {
        self.0.noted()
    }

    fn lost_notes(&self) -> u64 {
        self.1.load(Ordering::Relaxed)
    }

    fn segments(&self, family: Family) -> Vec<u32> {
        self.0.segments(family)
    }

    fn owned(&self, family: Family, segment: u32) -> Result<Vec<(KeySlot, OwnerId)>, SlotError> {
        self.0.owned(family, segment)
    }

    fn find(
        &self,
        family: Family,
        addresses: &[&str],
    ) -> Result<Vec<(KeySlot, OwnerId)>, SlotError> {
        self.0.find(family, addresses)
    }

    fn lasting_hash(&self, key: LastingKey, data: &[u8]) -> [u8; 32] {
        self.0.lasting_hash(key, data)
    }
}

#[test]
fn who_wrote_right_before_a_crash_is_found_after_it() {
    let (keys, settings) = (MemoryKeys::new([3; 32]), settings());
    let unwritten = Arc::new(Unwritten(keys.clone(), AtomicU64::new(0)));
    let before = ContentsKeeper::new(Arc::clone(&unwritten) as Arc<_>);
    let before = sealed_by(&before, &settings, 1000);
    let many = (0..200).map(|id| text("a", &id.to_string())).collect();
    before.keep(many, NOW).unwrap();
    assert_eq!(before.of_person(None, &[ANN]), Ok(Default::default()), "nothing was written down");
    let after = sealed_by(&ContentsKeeper::new(Arc::new(keys)), &settings, 1000);
    assert_eq!(after.of_person(None, &[ANN]).unwrap().ids.len(), 200);
}

#[test]
fn who_wrote_while_there_was_no_room_for_notes_is_found() {
    let keys = Arc::new(Unwritten(MemoryKeys::new([3; 32]), AtomicU64::new(0)));
    let keeper = ContentsKeeper::new(Arc::clone(&keys) as Arc<_>);
    let messages = sealed_by(&keeper, &settings(), 1000);
    messages.keep(vec![text("a", "1")], NOW).unwrap();
    assert_eq!(messages.of_person(None, &[ANN]), Ok(Default::default()));
    keys.1.store(1, Ordering::Relaxed);
    assert_eq!(messages.of_person(None, &[ANN]).unwrap().ids.len(), 1);
}

#[test]
fn a_tenant_s_messages_are_erased_some_at_a_time_and_none_of_another_s_or_that_came_later() {
    let settings = settings();
    let messages = open(&settings, 1_000_000);
    let many = MOST_TRIMMED + 2;
    messages.keep(vec![text("b", "b")], NOW).unwrap();
    let mine = (0..many).map(|at| text("a", &at.to_string()));
    messages.keep(mine.collect(), NOW).unwrap();
    messages.keep(vec![text("a", "later")], at(1001)).unwrap();
    let first = messages.count_some(Some("a"), NOW.engine, 0).unwrap();
    assert_eq!((first.count, first.unreadable), (MOST_TRIMMED - 1, 0), "one is another's");
    let erase = |after| messages.erase_some(Some("a"), NOW.engine, after).unwrap();
    assert_eq!(erase(0), first);
    let rest = erase(first.next.unwrap());
    assert_eq!((rest.count, rest.next), (3, None));
    assert_eq!(erase(0).count, 0, "done again");
    for messages in [&messages, &open(&settings, 1_000_000)] {
        let row = |number: u64| settings.get(Kind::InboundMessage, &number.to_be_bytes()).unwrap();
        let has_key =
            |number: &u64| InboundRow::decode(&row(*number).unwrap()).unwrap().slot().is_some();
        let kept: Vec<_> = (1..=messages.kept.borrow().last).filter(has_key).collect();
        assert_eq!(kept.len(), 2);
        assert!(kept.contains(&1) && kept.contains(&(many as u64 + 2)));
    }
}

/// A key that cannot be read just then may come back: its row is left as it is, to be erased later.
#[test]
fn a_message_whose_key_cannot_be_read_is_counted_and_left() {
    let settings = settings();
    let keeper = ContentsKeeper::in_memory([7; 32]);
    let messages = sealed_by(&keeper, &settings, 100);
    messages.keep(vec![text("a", "1")], NOW).unwrap();
    // Keys that know of none yet.
    let other = sealed_by(&ContentsKeeper::in_memory([7; 32]), &settings, 100);
    let left = ErasedSome { count: 0, unreadable: 1, next: None };
    assert_eq!(other.erase_some(Some("a"), NOW.engine, 0), Ok(left));
    assert_eq!(messages.erase_some(Some("a"), NOW.engine, 0).unwrap().count, 1);
}
