//! Order, bounds and turns.

use super::*;

const NOW: UnixMillis = UnixMillis(1000);

fn schedule() -> Schedule {
    Schedule::new(Limits { total: 8, per_lane: 4 })
}

fn id(workflow: u128, sequence: u32) -> CallbackId {
    CallbackId { workflow: WorkflowId(Uuid::from_u128(workflow)), sequence }
}

fn waiting(at: u64, lane: u64) -> Waiting {
    let (at, made_at) = (UnixMillis(at), UnixMillis(at));
    Waiting { at, made_at, lane, owner: Uuid::nil() }
}

fn started(schedule: &mut Schedule) -> Vec<CallbackId> {
    std::iter::from_fn(|| schedule.start(NOW)).collect()
}

#[test]
fn within_a_workflow_the_next_waits_for_the_one_before() {
    let mut schedule = schedule();
    schedule.put(id(1, 7), waiting(0, 1));
    schedule.put(id(1, 3), waiting(5, 1));
    assert_eq!(started(&mut schedule), [id(1, 3)]);
    schedule.finish(id(1, 3), false, Standing::Unknown, Then::Again(UnixMillis(2000)));
    assert_eq!(started(&mut schedule), [], "the first is not settled");
    assert_eq!(schedule.next_due(), Some(UnixMillis(2000)));
    assert_eq!(schedule.start(UnixMillis(2000)), Some(id(1, 3)));
    schedule.finish(id(1, 3), true, Standing::Well, Then::Settled);
    assert_eq!(started(&mut schedule), [id(1, 7)]);
    schedule.finish(id(1, 7), true, Standing::Well, Then::Settled);
    assert_eq!((schedule.len(), schedule.oldest()), (0, None));
}

#[test]
fn nothing_goes_out_before_its_time() {
    let mut schedule = schedule();
    schedule.put(id(1, 1), waiting(1001, 1));
    assert_eq!(schedule.start(NOW), None);
    assert_eq!(schedule.start(UnixMillis(1001)), Some(id(1, 1)));
}

#[test]
fn one_destination_has_so_many_places_once_it_has_succeeded() {
    let mut schedule = schedule();
    for workflow in 1..=20 {
        schedule.put(id(workflow, 1), waiting(0, 1));
    }
    let first = started(&mut schedule);
    assert_eq!(first.len(), 1, "on probation");
    schedule.finish(first[0], true, Standing::Well, Then::Settled);
    assert_eq!(started(&mut schedule).len(), 4);
}

#[test]
fn however_many_receivers_are_slow_or_new_the_others_find_room() {
    let mut schedule = schedule();
    let (later, again) = (UnixMillis(2000), Then::Again(UnixMillis(2000)));
    for slow in 100..200 {
        schedule.put(id(u128::from(slow), 1), waiting(0, slow));
    }
    // One after the other they turn out to be slow.
    for _ in 0..100 {
        let id = schedule.start(NOW).unwrap();
        schedule.finish(id, false, Standing::Slow, again);
    }
    let out = |schedule: &mut Schedule| -> Vec<_> {
        std::iter::from_fn(|| schedule.start(later)).collect()
    };
    assert_eq!(out(&mut schedule).len(), 2, "a quarter of the places");
    for new in 200..300 {
        schedule.put(id(u128::from(new), 1), waiting(0, new));
    }
    assert_eq!(out(&mut schedule).len(), 4, "half of the places");
    schedule.lanes.entry(1).or_default().standing = Standing::Well;
    schedule.put(id(1, 1), waiting(0, 1));
    assert_eq!(out(&mut schedule), [id(1, 1)]);
}

#[test]
fn a_slow_receiver_that_takes_them_keeps_its_places_within_its_share() {
    let mut schedule = Schedule::new(Limits { total: 32, per_lane: 4 });
    for workflow in 1..=20 {
        schedule.put(id(workflow, 1), waiting(0, 1));
    }
    let first = schedule.start(NOW).unwrap();
    schedule.finish(first, true, Standing::Slow, Then::Settled);
    assert_eq!(started(&mut schedule).len(), 4);
}

#[test]
fn lanes_take_turns() {
    let mut schedule = Schedule::new(Limits { total: 2, per_lane: 1 });
    for workflow in 1..=20 {
        schedule.put(id(workflow, 1), waiting(0, 1));
    }
    schedule.put(id(99, 1), waiting(0, 2));
    let mut order = Vec::new();
    while let Some(id) = schedule.start(NOW) {
        order.push(id);
        schedule.finish(id, true, Standing::Well, Then::Settled);
    }
    assert!(order.iter().position(|it| *it == id(99, 1)) < Some(5), "{order:?}");
}

#[test]
fn one_that_is_put_again_counts_once() {
    let mut schedule = schedule();
    schedule.put(id(1, 1), waiting(5000, 1));
    schedule.put(id(1, 1), waiting(0, 1));
    assert_eq!(schedule.len(), 1);
    assert_eq!(schedule.waiting_of(Uuid::nil()), 1);
    assert_eq!(schedule.start(NOW), Some(id(1, 1)));
}
