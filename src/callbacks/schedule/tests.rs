//! Order, bounds and turns.

use super::*;

const NOW: UnixMillis = UnixMillis(1000);

fn schedule() -> Schedule {
    Schedule::new(ConcurrencyLimits { total: 8, per_destination: 4 })
}

fn id(workflow: u128, sequence: u32) -> CallbackId {
    CallbackId { about: Uuid::from_u128(workflow), sequence }
}

fn waiting(at: u64, destination: u64) -> QueuedCallback {
    let (at, create_time) = (UnixMillis(at), UnixMillis(at));
    QueuedCallback { at, create_time, destination, tenant: 0, owner: Uuid::nil() }
}

fn of_tenant(tenant: u64, destination: u64) -> QueuedCallback {
    QueuedCallback { tenant, ..waiting(0, destination) }
}

fn started(schedule: &mut Schedule) -> Vec<CallbackId> {
    std::iter::from_fn(|| schedule.start(NOW)).collect()
}

fn result(succeeded: bool, health: EndpointHealth, disposition: Disposition) -> AttemptResult {
    AttemptResult { succeeded, health, disposition }
}

#[test]
fn within_a_workflow_the_next_waits_for_the_one_before() {
    let mut schedule = schedule();
    schedule.put(id(1, 7), waiting(0, 1));
    schedule.put(id(1, 3), waiting(5, 1));
    assert_eq!(started(&mut schedule), [id(1, 3)]);
    schedule.finish(
        id(1, 3),
        result(false, EndpointHealth::Unknown, Disposition::RetryAt(UnixMillis(2000))),
    );
    assert_eq!(started(&mut schedule), [], "the first is not completed");
    assert_eq!(schedule.next_due(), Some(UnixMillis(2000)));
    assert_eq!(schedule.start(UnixMillis(2000)), Some(id(1, 3)));
    schedule.finish(id(1, 3), result(true, EndpointHealth::Healthy, Disposition::Completed));
    assert_eq!(started(&mut schedule), [id(1, 7)]);
    schedule.finish(id(1, 7), result(true, EndpointHealth::Healthy, Disposition::Completed));
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
fn one_destination_has_so_many_permits_once_it_has_succeeded() {
    let mut schedule = schedule();
    for workflow in 1..=20 {
        schedule.put(id(workflow, 1), waiting(0, 1));
    }
    let first = started(&mut schedule);
    assert_eq!(first.len(), 1, "on probation");
    schedule.finish(first[0], result(true, EndpointHealth::Healthy, Disposition::Completed));
    assert_eq!(started(&mut schedule).len(), 4);
}

#[test]
fn however_many_receivers_are_slow_or_new_the_others_find_room() {
    let mut schedule = schedule();
    let (later, again) = (UnixMillis(2000), Disposition::RetryAt(UnixMillis(2000)));
    for slow in 100..200 {
        schedule.put(id(u128::from(slow), 1), waiting(0, slow));
    }
    // One after the other they turn out to be slow.
    for _ in 0..100 {
        let id = schedule.start(NOW).unwrap();
        schedule.finish(id, result(false, EndpointHealth::Slow, again));
    }
    let in_flight = |schedule: &mut Schedule| -> Vec<_> {
        std::iter::from_fn(|| schedule.start(later)).collect()
    };
    assert_eq!(in_flight(&mut schedule).len(), 2, "a quarter of the permits");
    for new in 200..300 {
        schedule.put(id(u128::from(new), 1), waiting(0, new));
    }
    assert_eq!(in_flight(&mut schedule).len(), 4, "half of the permits");
    schedule.destinations.entry(1).or_default().health = EndpointHealth::Healthy;
    schedule.put(id(1, 1), waiting(0, 1));
    assert_eq!(in_flight(&mut schedule), [id(1, 1)]);
}

#[test]
fn a_slow_receiver_that_accepts_them_keeps_its_permits_within_its_share() {
    let mut schedule = Schedule::new(ConcurrencyLimits { total: 32, per_destination: 4 });
    for workflow in 1..=20 {
        schedule.put(id(workflow, 1), waiting(0, 1));
    }
    let first = schedule.start(NOW).unwrap();
    schedule.finish(first, result(true, EndpointHealth::Slow, Disposition::Completed));
    assert_eq!(started(&mut schedule).len(), 4);
}

#[test]
fn destinations_take_turns() {
    let mut schedule = Schedule::new(ConcurrencyLimits { total: 2, per_destination: 1 });
    for workflow in 1..=20 {
        schedule.put(id(workflow, 1), waiting(0, 1));
    }
    schedule.put(id(99, 1), waiting(0, 2));
    let mut order = Vec::new();
    while let Some(id) = schedule.start(NOW) {
        order.push(id);
        schedule.finish(id, result(true, EndpointHealth::Healthy, Disposition::Completed));
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

#[test]
fn a_tenant_with_thousands_of_slow_destinations_leaves_permits_for_another() {
    let mut schedule = Schedule::new(ConcurrencyLimits { total: 64, per_destination: 8 });
    for slow in 0..2000 {
        schedule.put(id(u128::from(slow) + 1, 1), of_tenant(1, 10_000 + slow));
    }
    let held = started(&mut schedule).len();
    assert_eq!(held, 26, "four fifths of the half that new destinations have");
    schedule.put(id(5000, 1), of_tenant(2, 1));
    assert_eq!(started(&mut schedule), [id(5000, 1)], "at once, though 1,974 came before it");
}

#[test]
fn tenants_take_turns_however_much_each_has() {
    let mut schedule = Schedule::new(ConcurrencyLimits { total: 2, per_destination: 1 });
    for many in 0..100 {
        schedule.put(id(u128::from(many) + 1, 1), of_tenant(1, 10_000 + many));
    }
    for few in 0..3 {
        schedule.put(id(u128::from(few) + 1000, 1), of_tenant(2, 20_000 + few));
    }
    let mut order = Vec::new();
    while let Some(id) = schedule.start(NOW) {
        order.push(id.about.as_u128() >= 1000);
        schedule.finish(id, result(true, EndpointHealth::Healthy, Disposition::Completed));
    }
    assert_eq!(order.len(), 103);
    let last_of_the_few = order.iter().rposition(|is_few| *is_few);
    assert!(last_of_the_few < Some(7), "each second turn: {last_of_the_few:?}");
}

/// Whatever comes and goes, permits are neither lost nor given twice, and all is delivered.
#[test]
fn permits_are_neither_lost_nor_given_twice() {
    let mut schedule = Schedule::new(ConcurrencyLimits { total: 16, per_destination: 3 });
    let mut random = 1_u64;
    let mut next = |most: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (random >> 33) % most
    };
    let (mut put, mut done, mut in_flight) = (0_u128, 0, Vec::new());
    for _ in 0..20_000 {
        match next(3) {
            0 if put < 4000 => {
                put += 1;
                let tenant = next(5);
                schedule.put(id(put, 1), of_tenant(tenant, tenant * 100 + next(40)));
            }
            1 => in_flight.extend(schedule.start(NOW)),
            _ if !in_flight.is_empty() => {
                let id = in_flight.swap_remove(next(in_flight.len() as u64) as usize);
                let accepts = next(4) > 0;
                let health = EndpointHealth::ALL[next(3) as usize];
                let disposition =
                    if accepts { Disposition::Completed } else { Disposition::RetryAt(NOW) };
                done += u128::from(accepts);
                schedule.finish(id, result(accepts, health, disposition));
            }
            _ => {}
        }
        assert!(in_flight.len() <= 16);
    }
    loop {
        in_flight.extend(std::iter::from_fn(|| schedule.start(NOW)));
        let Some(id) = in_flight.pop() else { break };
        done += 1;
        schedule.finish(id, result(true, EndpointHealth::Healthy, Disposition::Completed));
    }
    assert_eq!((done, schedule.len()), (put, 0));
}
