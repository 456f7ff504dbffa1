use std::{sync::Arc, time::Duration};

use dispatch_contract::{Channel, ChannelSender, Content, Endpoint, InboundMessage, UnixMillis};

use super::*;
use crate::store::{KeyAndValue, MemoryStore, Store};

const NOW: Moment = at(1000);

/// The wall clock is wrong by years, and nothing hangs on it.
const fn at(engine_s: u64) -> Moment {
    Moment { engine: UnixMillis(engine_s * 1000), wall: UnixMillis(1_800_000_000_000) }
}

fn settings() -> Arc<dyn Settings> {
    MemoryStore::new().settings()
}

fn open(settings: &Arc<dyn Settings>, most: u64) -> InboundMessages {
    let retention = Duration::from_secs(60);
    let options = InboundOptions { tenant: Arc::from("default"), retention, most };
    InboundMessages::open(Arc::clone(settings), options).unwrap()
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
