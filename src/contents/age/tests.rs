use dispatch_contract::Channel;
use uuid::Uuid;

use super::*;
use crate::{
    contents::{Unopened, damaged::DamagedReader},
    machine::Moment,
    shared::{engines, plans},
    store::{MemoryStore, Record, Store},
};

const START: u64 = 1_800_000_000_000;
const HOUR: Duration = Duration::from_secs(3600);
const BUDGET: Duration = Duration::from_secs(60);

struct Kept {
    store: MemoryStore,
    keeper: ContentsKeeper,
    pass: AgePass,
    retention: ContentsRetention,
}

impl Kept {
    fn new(retention: ContentsRetention) -> Kept {
        let keeper = ContentsKeeper::in_memory([7; 32]);
        Kept { store: MemoryStore::new(), keeper, pass: AgePass::default(), retention }
    }

    fn sealed(&self, number: u128, at: UnixMillis) -> Record {
        let id = WorkflowId(Uuid::from_u128((u128::from(at.0) << 80) | number));
        let request = plans::request(plans::plan(vec![plans::step(Channel::SMS, None)]), "x");
        plans::sealed(&self.keeper, id, Moment::both(at), request, None)
    }

    /// A workflow that is open where it has a route, and has failed at once where it has none.
    fn create(&mut self, tenant: &str, number: u128, at: UnixMillis, has_route: bool) -> Record {
        let record = Record { tenant: Arc::from(tenant), ..self.sealed(number, at) };
        engines::create(&mut self.store, record.clone(), has_route);
        record
    }

    fn ended(&mut self, tenant: &str, number: u128, at: UnixMillis) -> Record {
        self.create(tenant, number, at, false)
    }

    /// How many keys a pass destroys then.
    fn pass(&mut self, now: UnixMillis) -> usize {
        let reader = self.store.reader();
        let aged = self.pass.run(&self.keeper, &*reader, now, &self.retention, BUDGET);
        assert!(!aged.has_more && aged.failed.is_none());
        aged.keys
    }

    fn opens(&self, record: &Record) -> bool {
        match self.keeper.open(record) {
            Ok(_) => true,
            Err(Unopened::Gone) => false,
            Err(error) => panic!("{error}"),
        }
    }
}

fn usual(usual: Duration) -> ContentsRetention {
    ContentsRetention { usual, tenants: BTreeMap::new() }
}

fn at(after: Duration) -> UnixMillis {
    UnixMillis(START).plus(after)
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn contents_go_their_time_after_the_end_and_not_before_and_those_of_what_is_open_stay() {
    let mut kept = Kept::new(usual(HOUR));
    let ended = kept.ended("default", 1, at(Duration::ZERO));
    let open = kept.create("default", 2, at(Duration::ZERO), true);
    let later = kept.ended("default", 3, at(HOUR / 2));
    assert_eq!(kept.pass(at(HOUR - SECOND)), 0);
    assert!(kept.opens(&ended));
    assert_eq!(kept.pass(at(HOUR + HOUR / 100)), 1);
    assert!(!kept.opens(&ended) && kept.opens(&later) && kept.opens(&open));
    assert_eq!(kept.pass(at(2 * HOUR)), 1);
    assert_eq!(kept.pass(at(10_000 * HOUR)), 0, "nothing is due of what has not ended");
    assert!(kept.opens(&open) && !kept.opens(&later));
    assert!(kept.keeper.keys.owned(Family::Workflow, 0).unwrap().len() == 1);
}

#[test]
fn a_tenant_has_a_time_of_its_own_and_another_time_holds_at_once() {
    let tenants = BTreeMap::from([(Arc::from("acme"), HOUR), (Arc::from("slow"), 100 * HOUR)]);
    let mut kept = Kept::new(ContentsRetention { usual: 10 * HOUR, tenants });
    let of = |kept: &mut Kept, tenant, number| kept.ended(tenant, number, at(Duration::ZERO));
    let [acme, slow, other] =
        [("acme", 1), ("slow", 2), ("other", 3)].map(|(it, number)| of(&mut kept, it, number));
    assert_eq!(kept.pass(at(2 * HOUR)), 1);
    assert!(!kept.opens(&acme) && kept.opens(&slow) && kept.opens(&other));
    assert_eq!(kept.pass(at(11 * HOUR)), 1);
    assert!(!kept.opens(&other) && kept.opens(&slow));
    // A reload: what it was to be looked at again for does not count.
    kept.retention = usual(11 * HOUR);
    assert_eq!(kept.pass(at(11 * HOUR)), 1);
    assert!(!kept.opens(&slow));
}

#[test]
fn what_no_journal_knows_goes_later_for_it_may_be_on_its_way() {
    let mut kept = Kept::new(usual(Duration::ZERO));
    let refused = kept.sealed(1, at(Duration::ZERO));
    assert_eq!(kept.pass(at(HOUR - SECOND)), 0);
    assert!(kept.opens(&refused));
    assert_eq!(kept.pass(at(HOUR)), 1);
    assert!(!kept.opens(&refused));
}

#[test]
fn each_file_is_looked_at_when_its_next_key_can_be_due_and_a_round_ends_in_time() {
    let mut kept = Kept::new(usual(HOUR));
    let first = kept.ended("default", 1, at(Duration::ZERO));
    // The next files begin.
    while kept.keeper.take().unwrap().slot.segment() < 3 {}
    let last = kept.ended("default", 2, at(HOUR / 2));
    let reader = kept.store.reader();
    let retention = kept.retention.clone();
    let run = |kept: &mut Kept, now, budget| {
        kept.pass.run(&kept.keeper, &*reader, now, &retention, budget)
    };
    assert_eq!(
        run(&mut kept, at(HOUR), Duration::ZERO),
        AgedOut { keys: 1, has_more: true, failed: None }
    );
    assert_eq!(run(&mut kept, at(HOUR), BUDGET), AgedOut::default());
    assert!(!kept.opens(&first));
    assert_eq!(run(&mut kept, at(2 * HOUR), BUDGET), AgedOut { keys: 1, ..AgedOut::default() });
    assert!(!kept.opens(&last));
}

/// One that is damaged keeps its own contents, and nobody else's.
#[test]
fn what_cannot_be_read_keeps_no_others_from_being_forgotten() {
    let mut kept = Kept::new(usual(HOUR));
    let damaged = kept.ended("default", 1, at(Duration::ZERO));
    let beside = kept.ended("default", 2, at(Duration::ZERO));
    while kept.keeper.take().unwrap().slot.segment() < 3 {}
    let later = kept.ended("default", 3, at(Duration::ZERO));
    let reader = DamagedReader { inner: kept.store.reader(), damaged: damaged.id };
    let aged = kept.pass.run(&kept.keeper, &reader, at(2 * HOUR), &kept.retention, BUDGET);
    assert!(aged.keys == 2 && matches!(aged.failed, Some(NoteError::Store(_))), "{aged:?}");
    assert!(kept.opens(&damaged) && !kept.opens(&beside) && !kept.opens(&later));
    // It is tried again, and goes as soon as it can be read.
    assert_eq!(kept.pass(at(4 * HOUR)), 1);
    assert!(!kept.opens(&damaged));
}
