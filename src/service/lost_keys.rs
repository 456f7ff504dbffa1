//! Keys of contents that are lost: files of them that should be there and are not, or that cannot be read.
//!
//! Whoever put a data folder together without some of its files is there when it is started, and can put them there. So
//! where open workflows wait for such keys the start is refused, before time runs out for what they are to send; it goes on
//! without them only where that was said. What has ended needs its contents to be shown, and no more: that is told.
//!
//! Where no file is lost this reads one workflow and two rows, however many there are.

use std::fmt;

use super::StartError;
use crate::{
    contents::{Family, SlotError, UnreadableKeys, day_key_slots},
    engine::{inbound_keys, opt_out_keys},
    machine::WorkflowId,
    store::{KeySlot, Reader, Store, StoreError},
};

/// How many ids are read at once.
const PAGE: usize = 1000;
/// So many files, and so many workflows, are named.
const NAMED: usize = 3;

/// What is done about keys that are lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OnLostKeys {
    /// Nothing is sent: without what is lost, open workflows would fail.
    Refuse,
    /// They fail, and all others go on.
    Accept,
    /// Nothing is sent anyway.
    OnlyRead,
}

/// Which keys are lost, and what waits for them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct LostKeys {
    /// Each file, and what is wrong with it.
    files: Vec<String>,
    /// How many open workflows were sealed with them.
    open: usize,
    /// The first of these.
    first: Vec<WorkflowId>,
    opt_outs: usize,
    inbound_messages: usize,
    /// Of how many days conversations are not found any more.
    days: usize,
}

/// Where the key is of the oldest workflow that is kept; keys are given out in the order of ids, but for what is made at
/// the same time.
pub(super) fn oldest_key(reader: &dyn Reader) -> Result<Option<KeySlot>, StoreError> {
    Ok(reader.entries(None, 1)?.first().map(|entry| entry.record.contents.slot))
}

/// From which number on all files of a family are kept: the newest before those of the oldest that is kept goes last.
pub(super) fn kept_from(oldest: KeySlot) -> u32 {
    oldest.segment().saturating_sub(1)
}

/// From which number on all files of each family should be there, as far as what is kept tells.
pub(super) fn expected(store: &dyn Store) -> Result<Vec<(Family, u32)>, StoreError> {
    let workflow = match oldest_key(&*store.reader()) {
        // What is damaged is told where it is asked for, and by `dispatch check`.
        Err(error @ StoreError::Corrupt { .. }) => {
            tracing::error!(%error, "whether files of keys are missing is not known");
            None
        }
        oldest => oldest?,
    };
    let settings = store.settings();
    let inbound = inbound_keys(&*settings).next().transpose()?;
    let day = day_key_slots(&*settings)?.into_iter().min();
    let kept = [(Family::Workflow, workflow), (Family::Inbound, inbound)];
    let kept = kept.into_iter().filter_map(|(family, oldest)| Some((family, kept_from(oldest?))));
    let day = day.map(|slot| (Family::Day, slot.segment()));
    // Files of opt-outs are never taken away.
    Ok(kept.chain(day).chain([(Family::OptOut, 0)]).collect())
}

/// Whether a start may go on where these files are lost; tells of them if it does. `has_key` says of a workflow's key
/// whether it is there.
///
/// # Errors
/// If it may not, in words for the operator, or if the store or the disk cannot be read.
pub(super) fn judge(
    store: &dyn Store,
    unreadable: &UnreadableKeys,
    has_key: impl Fn(KeySlot) -> Result<bool, SlotError>,
    on_lost: OnLostKeys,
) -> Result<(), StartError> {
    if unreadable.is_empty() {
        return Ok(());
    }
    let lost = LostKeys::find(store, unreadable, has_key).map_err(StartError::Store)?;
    let LostKeys { open, opt_outs, inbound_messages, days, .. } = lost;
    match on_lost {
        OnLostKeys::Refuse if open > 0 => {
            return Err(StartError::Store(StoreError::Refused(format!(
                "{lost}. Nothing is sent. Put the files back as they were, or restore a backup that has them; look at \
                 what is there with --read-only; or start with --accept-lost-keys to go on: what waits for them is not \
                 sent, and fails when its time is over, and all else goes on"
            ))));
        }
        OnLostKeys::Accept if open > 0 => tracing::error!(
            open_workflows = open,
            opt_outs,
            inbound_messages,
            days,
            "{lost}. They are gone on without (--accept-lost-keys): what waits for them is not sent, and fails when its \
             time is over"
        ),
        OnLostKeys::Refuse | OnLostKeys::Accept | OnLostKeys::OnlyRead => tracing::error!(
            open_workflows = open,
            opt_outs,
            inbound_messages,
            days,
            "{lost}. What they sealed is shown to nobody"
        ),
    }
    Ok(())
}

impl LostKeys {
    fn find(
        store: &dyn Store,
        unreadable: &UnreadableKeys,
        has_key: impl Fn(KeySlot) -> Result<bool, SlotError>,
    ) -> Result<LostKeys, StoreError> {
        let file = |((family, segment), error): (&(Family, u32), &SlotError)| {
            format!("contents/{} ({})", family.file_name(*segment), error.problem())
        };
        let mut lost =
            LostKeys { files: unreadable.iter().map(file).collect(), ..LostKeys::default() };
        let is_lost = |family, slot: KeySlot| unreadable.contains_key(&(family, slot.segment()));
        let settings = store.settings();
        let of = |family, slot: Result<KeySlot, StoreError>| slot.map(|it| is_lost(family, it));
        lost.opt_outs = count(opt_out_keys(&*settings).map(|it| of(Family::OptOut, it)))?;
        lost.inbound_messages = count(inbound_keys(&*settings).map(|it| of(Family::Inbound, it)))?;
        lost.days =
            count(day_key_slots(&*settings)?.into_iter().map(|it| of(Family::Day, Ok(it))))?;
        if !unreadable.keys().any(|(family, _)| *family == Family::Workflow) {
            return Ok(lost);
        }
        let (reader, mut after) = (store.reader(), None);
        loop {
            let ids = store.open_ids(after, PAGE);
            let Some(last) = ids.last() else { return Ok(lost) };
            after = Some(*last);
            for id in ids {
                if waits(&*reader, id, &has_key)? {
                    lost.open += 1;
                    lost.first.extend((lost.first.len() < NAMED).then_some(id));
                }
            }
        }
    }
}

/// Whether something is still to be sent of a workflow whose key is not there.
fn waits(
    reader: &dyn Reader,
    id: WorkflowId,
    has_key: impl Fn(KeySlot) -> Result<bool, SlotError>,
) -> Result<bool, StoreError> {
    let slot = match (needs_contents(reader, id), reader.record(id)) {
        (Ok(true), Ok(Some(record))) => record.contents.slot,
        // What is damaged is told where it is asked for.
        (Ok(_), Ok(_))
        | (Err(StoreError::Corrupt { .. }), _)
        | (_, Err(StoreError::Corrupt { .. })) => return Ok(false),
        (Err(error), _) | (_, Err(error)) => return Err(error),
    };
    match has_key(slot) {
        Ok(is_there) => Ok(!is_there),
        Err(SlotError::Io(problem)) => Err(StoreError::Io(problem)),
        Err(_) => Ok(true),
    }
}

/// Whether something may still be sent of an open workflow: one that has ended may await an answer, and be erased.
pub(super) fn needs_contents(reader: &dyn Reader, id: WorkflowId) -> Result<bool, StoreError> {
    Ok(reader.workflow(id)?.is_some_and(|workflow| !workflow.has_ended()))
}

/// How many of them are so.
fn count(of: impl Iterator<Item = Result<bool, StoreError>>) -> Result<usize, StoreError> {
    let mut count = 0;
    for one in of {
        count += usize::from(one?);
    }
    Ok(count)
}

impl fmt::Display for LostKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LostKeys { files, open, first, .. } = self;
        let named: Vec<_> = files.iter().take(NAMED).map(String::as_str).collect();
        write!(f, "keys of contents are lost: {}", named.join(", "))?;
        if files.len() > NAMED {
            write!(f, " and {} more files", files.len() - NAMED)?;
        }
        if *open > 0 {
            let first: Vec<_> = first.iter().map(ToString::to_string).collect();
            let more = if *open > first.len() { ", …" } else { "" };
            write!(f, "; open workflows that wait for them: {open} ({}{more})", first.join(", "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use dispatch_contract::{Channel, Endpoint, UnixMillis};
    use uuid::Uuid;

    use super::*;
    use crate::{
        contents::ContentsKeeper,
        engine::{Command, Grace, NewOptOut, OptOutSource, OptOuts, Processor},
        machine::Moment,
        shared::{engines, plans},
        store::MemoryStore,
    };

    const WORKFLOW: Family = Family::Workflow;

    /// An open workflow with its key in each of these segments, and one with its key in segment 9 that failed at once.
    fn store(segments: &[u32]) -> MemoryStore {
        let mut store = MemoryStore::new();
        let now = Moment::both(UnixMillis(1_800_000_000_000));
        let ended = [(9, false)].into_iter();
        let all = segments.iter().map(|segment| (*segment, true)).chain(ended);
        for (number, (segment, has_route)) in all.enumerate() {
            let plan = plans::plan(vec![plans::step(Channel::SMS, None)]);
            let mut record = plans::record(id(number), now, plan);
            record.contents.slot = KeySlot::new(segment, 7);
            engines::create(&mut store, record, has_route);
        }
        // One that was canceled while its call was out.
        let plan = plans::plan(vec![plans::step(Channel::SMS, None)]);
        let mut record = plans::record(id(90), now, plan);
        record.contents.slot = KeySlot::new(9, 8);
        let routes = Arc::new(engines::sms_route("sms", 2 + segments.len() as u32));
        let grace = Grace::new(now.engine, Duration::ZERO, 0);
        let mut processor = Processor::new(&store, routes, grace);
        let tenant = Arc::clone(&record.tenant);
        let create = Command::Create { record: Box::new(record), reply: Box::new(drop) };
        let cancel = Command::Cancel { tenant, id: id(90), reply: Box::new(drop) };
        for command in [create, cancel] {
            let effects = processor.run(&store, now, vec![command]).unwrap();
            store.commit(effects.change_set).unwrap();
        }
        assert_eq!(store.open_count(), segments.len() + 1);
        assert!(store.reader().workflow(id(90)).unwrap().unwrap().has_ended());
        store
    }

    fn id(number: usize) -> WorkflowId {
        WorkflowId(Uuid::from_u128(1 + number as u128))
    }

    fn missing(files: &[(Family, u32)]) -> UnreadableKeys {
        let lost = |(family, number): &(Family, u32)| {
            ((*family, *number), SlotError::Lost(*family, KeySlot::new(*number, 0)))
        };
        files.iter().map(lost).collect()
    }

    /// Why a start is refused where these files are lost, or that it is not.
    fn refusal(store: &dyn Store, unreadable: &UnreadableKeys, on_lost: OnLostKeys) -> String {
        let has_key = |slot: KeySlot| match unreadable.get(&(WORKFLOW, slot.segment())) {
            Some(error) => Err(error.clone()),
            // Destroyed, although it is needed.
            None => Ok(slot.segment() != 4),
        };
        match judge(store, unreadable, has_key, on_lost) {
            Ok(()) => String::new(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_start_is_refused_with_files_and_counts_only_where_something_open_waits_for_lost_keys() {
        let store = store(&[1, 2, 2, 4, 3]);
        let mut lost = missing(&[(WORKFLOW, 2), (WORKFLOW, 5), (WORKFLOW, 9)]);
        let (place, problem) = ("/data/contents/w.00000001".to_owned(), "it is torn".to_owned());
        lost.insert((WORKFLOW, 1), SlotError::Damaged { place, problem });
        let told = refusal(&store, &lost, OnLostKeys::Refuse);
        let files = "keys of contents are lost: contents/w.00000001 (it is torn), contents/w.00000002 (the file is not \
                     there), contents/w.00000005 (the file is not there) and 1 more files";
        assert!(told.starts_with(files), "{told}");
        let first = [0, 1, 2].map(|number| id(number).to_string()).join(", ");
        assert!(
            told.contains(&format!("wait for them: 4 ({first}, …). Nothing is sent")),
            "{told}"
        );
        assert!(told.contains("--accept-lost-keys") && told.contains("--read-only"), "{told}");
        for on_lost in [OnLostKeys::Accept, OnLostKeys::OnlyRead] {
            assert_eq!(refusal(&store, &lost, on_lost), "");
        }
        // Nothing that is open was sealed with these; and where all files are there, no key is looked at.
        for none in [missing(&[]), missing(&[(Family::OptOut, 1), (Family::Inbound, 2)])] {
            assert_eq!(refusal(&store, &none, OnLostKeys::Refuse), "");
        }
    }

    #[test]
    fn what_has_ended_and_what_is_no_workflow_s_keeps_no_start_from_going_on() {
        let store = store(&[1]);
        let settings = store.settings();
        let opt_outs = {
            let keeper = ContentsKeeper::in_memory([3; 32]);
            OptOuts::open(store.settings(), keeper.rows(Family::OptOut)).unwrap()
        };
        let no = NewOptOut {
            tenant: "acme".into(),
            channel: Channel::SMS,
            sender: None,
            recipient: Endpoint::Number("447700900001".to_owned()),
            account: None,
            source: OptOutSource::Caller,
            create_time: UnixMillis(0),
        };
        assert_eq!(opt_outs.add(vec![no], 0), Ok(Some(1)));
        assert_eq!(opt_out_keys(&*settings).collect::<Vec<_>>(), [Ok(KeySlot::new(0, 0))]);
        let lost = missing(&[(Family::OptOut, 0), (WORKFLOW, 9)]);
        assert_eq!(refusal(&store, &lost, OnLostKeys::Refuse), "");
        let has_key = |slot: KeySlot| Ok(slot.segment() == 1);
        let found = LostKeys::find(&store, &lost, has_key).unwrap();
        assert_eq!((found.open, found.opt_outs, found.inbound_messages), (0, 1, 0));
        // A disk that fails is no lost key.
        let has_key = |_| Err(SlotError::Io("the disk failed".to_owned()));
        let failed = judge(&store, &lost, has_key, OnLostKeys::Refuse);
        assert!(matches!(failed, Err(StartError::Store(StoreError::Io(_)))), "{failed:?}");
    }

    #[test]
    fn all_files_are_expected_from_one_before_that_of_the_oldest_that_is_kept() {
        let from = |segments: &[u32]| {
            let mut from = expected(&store(segments)).unwrap();
            from.sort();
            from
        };
        assert_eq!(from(&[6, 7]), [(WORKFLOW, 5), (Family::OptOut, 0)]);
        assert_eq!(from(&[0]), [(WORKFLOW, 0), (Family::OptOut, 0)]);
        assert_eq!(expected(&MemoryStore::new()), Ok(vec![(Family::OptOut, 0)]), "nothing is kept");
    }
}
