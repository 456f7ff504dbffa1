use std::collections::BTreeMap;

use proptest::{prelude::*, test_runner::FileFailurePersistence};

use super::*;

/// How often each tenant is granted in a round.
const WEIGHTS: [u32; 4] = [1, 1, 2, 5];

type TestQueue = FairQueue<usize, BTreeSet<u64>>;

/// What waits: by priority and tenant, the oldest first.
type Model = BTreeMap<(usize, usize), Vec<u64>>;

#[derive(Clone, Copy, Debug)]
enum Operation {
    Add(usize, usize),
    Take,
    /// Takes out one of those that wait.
    Remove(usize),
}

fn steps(most: usize) -> impl Strategy<Value = Vec<Operation>> {
    let step = prop_oneof![
        5 => (0..3usize, 0..4usize).prop_map(|(rank, tenant)| Operation::Add(rank, tenant)),
        3 => Just(Operation::Take),
        1 => (0..64usize).prop_map(Operation::Remove),
    ];
    prop::collection::vec(step, 0..most)
}

fn add(queue: &mut TestQueue, (rank, tenant): (usize, usize), item: u64) {
    queue.add(Priority::ALL[rank], &tenant, WEIGHTS[tenant], item);
}

fn whose(waiting: &Model, item: u64) -> Option<(usize, usize)> {
    waiting.iter().find(|(_, waitlist)| waitlist.contains(&item)).map(|(whose, _)| *whose)
}

/// A queue after `steps`, and what must be waiting in it.
fn after(steps: &[Operation]) -> (TestQueue, Model) {
    let (mut queue, mut waiting) = (TestQueue::default(), Model::new());
    for (item, step) in (0..).zip(steps) {
        match *step {
            Operation::Add(rank, tenant) => {
                add(&mut queue, (rank, tenant), item);
                waiting.entry((rank, tenant)).or_default().push(item);
            }
            Operation::Take => {
                if let Some(item) = queue.take() {
                    granted(&mut waiting, item);
                }
            }
            Operation::Remove(which) => {
                let found = waiting
                    .iter()
                    .flat_map(|(whose, waitlist)| waitlist.iter().map(|i| (*whose, *i)));
                let found = found.clone().nth(which % found.count().max(1));
                if let Some((of, item)) = found {
                    assert!(queue.remove(Priority::ALL[of.0], &of.1, &item));
                    assert!(!queue.remove(Priority::ALL[of.0], &of.1, &item), "gone is gone");
                    waiting.entry(of).or_default().retain(|other| *other != item);
                }
            }
        }
        let depths: [usize; 3] = std::array::from_fn(|rank| {
            waiting
                .iter()
                .filter(|((of, _), _)| *of == rank)
                .map(|(_, waitlist)| waitlist.len())
                .sum()
        });
        assert_eq!((queue.depths(), queue.len()), (depths, depths.iter().sum()));
    }
    (queue, waiting)
}

/// It waited, once, and nobody of its line waited longer.
fn granted(waiting: &mut Model, item: u64) -> (usize, usize) {
    let whose = whose(waiting, item).expect("it waits");
    let waitlist = waiting.get_mut(&whose).expect("it has a waitlist");
    assert_eq!(waitlist.remove(0), item, "the oldest of its waitlist");
    whose
}

fn drained(mut queue: TestQueue) -> Vec<u64> {
    std::iter::from_fn(|| queue.take()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 512,
        failure_persistence: Some(Box::new(FileFailurePersistence::Off)),
        ..ProptestConfig::default()
    })]

    #[test]
    fn nothing_is_lost_or_granted_twice(steps in steps(200)) {
        let (queue, mut waiting) = after(&steps);
        drained(queue).into_iter().for_each(|item| {
            granted(&mut waiting, item);
        });
        prop_assert!(waiting.values().all(Vec::is_empty));
    }

    /// A newcomer is granted after no more than what it is told is ahead of it.
    #[test]
    fn no_more_goes_before_a_newcomer_than_is_foretold(
        steps in steps(200), rank in 0..3usize, tenant in 0..4usize,
    ) {
        let (mut queue, _) = after(&steps);
        let foretold = queue.ahead_of(Priority::ALL[rank], &tenant, WEIGHTS[tenant]);
        let newcomer = steps.len() as u64;
        add(&mut queue, (rank, tenant), newcomer);
        let before = drained(queue).into_iter().position(|item| item == newcomer);
        prop_assert!(before.is_some_and(|before| before as u64 <= foretold));
    }

    /// Whatever arrives meanwhile, each tenant of each priority is granted again after no more than its
    /// priority's reserve of rounds.
    #[test]
    fn nobody_waits_for_longer_than_a_round_and_the_reserve(steps in steps(400)) {
        let (mut queue, mut waiting) = (TestQueue::default(), Model::new());
        // How many of its own priority, and of all, were granted while it waited.
        let mut passed: BTreeMap<(usize, usize), (u64, u64)> = BTreeMap::new();
        for (item, step) in (0..).zip(&steps) {
            if let Operation::Add(rank, tenant) = *step {
                add(&mut queue, (rank, tenant), item);
                waiting.entry((rank, tenant)).or_default().push(item);
                continue;
            }
            let Some(item) = queue.take() else { continue };
            let served = granted(&mut waiting, item);
            for (of, waitlist) in &waiting {
                let (own, all) = passed.entry(*of).or_default();
                if *of == served || waitlist.is_empty() {
                    (*own, *all) = (0, 0);
                    continue;
                }
                *own += u64::from(of.0 == served.0);
                *all += 1;
                let round: u64 = (0..4).filter(|t| *t != of.1).map(|t| u64::from(WEIGHTS[t])).sum();
                prop_assert!(*own <= round, "{of:?} waits while {own} of its priority are granted");
                // Two priorities may have to be passed over for.
                prop_assert!(*all <= (round + 1) * (RESERVE + 1), "{of:?} waits for {all}");
            }
        }
    }

    /// The order is that of who waits, not of how they came.
    #[test]
    fn a_queue_built_again_from_what_waits_has_the_same_order(
        (steps, shuffled) in steps(200).prop_flat_map(|steps| {
            let adds: Vec<_> = (0..).zip(&steps).filter_map(|(item, step)| match *step {
                Operation::Add(rank, tenant) => Some(((rank, tenant), item)),
                Operation::Take | Operation::Remove(_) => None,
            }).collect();
            (Just(adds.clone()), Just(adds).prop_shuffle())
        }),
    ) {
        let build = |adds: &[((usize, usize), u64)]| {
            let mut queue = TestQueue::default();
            adds.iter().for_each(|(whose, item)| add(&mut queue, *whose, *item));
            drained(queue)
        };
        prop_assert_eq!(build(&steps), build(&shuffled));
    }
}

#[test]
fn a_higher_priority_goes_first_but_for_each_tenth() {
    let mut queue = TestQueue::default();
    for item in 0..100 {
        add(&mut queue, (0, 0), item);
        add(&mut queue, (1, 0), 1000 + item);
        add(&mut queue, (2, 0), 2000 + item);
    }
    let order: Vec<_> = drained(queue).into_iter().take(100).map(|item| item / 1000).collect();
    let of = |rank| order.iter().filter(|of| **of == rank).count();
    assert!(order[..9].iter().all(|rank| *rank == 0), "{order:?}");
    assert_eq!((of(0), of(1), of(2)), (81, 9, 10));
}

/// Those of the middle are gone before the lowest too, and bring its grants nearer.
#[test]
fn the_lowest_priority_s_reserve_counts_the_grants_of_the_middle() {
    let mut queue = TestQueue::default();
    for item in 0..1000 {
        add(&mut queue, (1, 0), 1000 + item);
        add(&mut queue, (2, 0), 2000 + item);
    }
    (0..810).for_each(|item| add(&mut queue, (0, 0), item));
    let foretold = queue.ahead_of(Priority::ALL[0], &0, 1);
    add(&mut queue, (0, 0), 999);
    let before = drained(queue).into_iter().position(|item| item == 999);
    assert_eq!((before, foretold), (Some(1000), 1002));
}

#[test]
fn tenants_take_turns_by_their_weights() {
    let mut queue = TestQueue::default();
    for item in 0..20 {
        add(&mut queue, (1, 0), item);
        add(&mut queue, (1, 2), 1000 + item);
    }
    let order: Vec<_> = drained(queue).into_iter().take(9).map(|item| item / 1000).collect();
    assert_eq!(order, [0, 1, 1, 0, 1, 1, 0, 1, 1]);
}

#[test]
fn a_newcomer_waits_for_a_round_and_not_for_the_crowd() {
    let mut queue = TestQueue::default();
    (0..2000).for_each(|item| add(&mut queue, (2, 0), item));
    add(&mut queue, (2, 1), 5000);
    add(&mut queue, (0, 0), 6000);
    assert_eq!(drained(queue)[..3], [6000, 0, 5000]);
}
