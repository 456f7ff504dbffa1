//! What retention drops and what it keeps, and what goes with what has ended.

use super::*;

pub(super) fn retention_drops_what_ended_and_keeps_what_is_open(mut driver: Driver) {
    let old = driver.create(1, "ends");
    driver.accept(old);
    driver.reach(old, Status::Read);
    let open = driver.create(2, "stays");
    driver.accept(open);
    driver.now += 1_000_000;
    let new = driver.create(3, "new");
    let before = UnixMillis(driver.now - 500_000);
    while driver.store.sweep(UnixMillis(driver.now), before, 2).unwrap().rows > 0 {}

    let reader = driver.store.reader();
    assert_eq!(reader.record(old).unwrap(), None);
    assert!(reader.timeline(old).unwrap().is_empty());
    assert_eq!(driver.store.load(old).unwrap(), None);
    assert_eq!(driver.store.find_request("default", "request-1").unwrap(), None);
    assert_eq!(driver.store.find_message("p/main", "p-1-1").unwrap(), None);
    assert_eq!(
        driver.timeline(open),
        driver.remembered(open),
        "an open one keeps its whole timeline"
    );
    assert_eq!(driver.timeline(new), driver.remembered(new));
    let oldest = reader.oldest();
    assert_eq!(reader.after(Cursor(0), 10), Err(StoreError::Trimmed(oldest)));
    let kept = reader.after(oldest, 100).unwrap();
    assert_eq!(
        kept.iter().map(|row| row.workflow).collect::<Vec<_>>(),
        [new],
        "no transition twice"
    );

    driver.tell(open, Event::Wake { up_since: UnixMillis(0), hold: false });
    driver.accept(open);
    driver.tell(open, Event::Cancel);
    assert_eq!(driver.timeline(open), driver.remembered(open), "nor when it ends");
}

/// Whoever reads on from any row sees every later one together with the workflow that it is of, or is
/// told that some are gone: and then those are older than `before`.
fn nothing_is_missed_silently(driver: &Driver, before: UnixMillis) {
    let reader = driver.store.reader();
    for seen in (0..=driver.rows.len()).rev() {
        let from = driver.rows[..seen].last().map_or(Cursor(0), |row| row.cursor);
        match reader.after(from, 1000) {
            Ok(rows) => {
                assert_eq!(rows, driver.rows[seen..], "behind {from:?}");
                for row in rows {
                    let record = reader.record(row.workflow).unwrap();
                    assert!(record.is_some(), "{row:?}, and its workflow is gone");
                    assert!(driver.timeline(row.workflow).contains(&row), "{row:?}");
                }
            }
            Err(StoreError::Trimmed(oldest)) => {
                assert!(oldest > from, "{oldest:?} is named behind {from:?}");
                let gone = driver.rows[seen..].iter().take_while(|row| row.cursor <= oldest);
                let young = gone.clone().find(|row| row.at.engine >= before);
                assert_eq!(young, None, "it is gone before its time, behind {from:?}");
                assert_ne!(gone.count(), 0, "nothing was missed behind {from:?}");
            }
            Err(error) => panic!("{error}"),
        }
    }
}

pub(super) fn a_late_row_is_kept_with_its_workflow(mut driver: Driver) {
    let late = driver.create(1, "ends");
    driver.accept(late);
    driver.reach(late, Status::Read);
    driver.now += 857_000;
    driver.reach(late, Status::Replied);
    driver.now += 143_000;
    driver.create(2, "stays");
    for retention in [1_000_000, 500_000, 143_002] {
        let before = UnixMillis(driver.now - retention);
        while driver.store.sweep(UnixMillis(driver.now), before, 2).unwrap().rows > 0 {}
        assert_eq!(driver.timeline(late), driver.remembered(late));
        nothing_is_missed_silently(&driver, before);
    }
    // With its last row it goes.
    let before = UnixMillis(driver.now - 143_001);
    let swept = driver.store.sweep(UnixMillis(driver.now), before, 9).unwrap();
    assert_eq!((swept.forgotten, driver.timeline(late)), (vec![late], Vec::new()));
    nothing_is_missed_silently(&driver, before);
}

/// Rows of a forgotten workflow that lie behind the edge, which waits for another, are past retention.
pub(super) fn where_the_edge_waits_nothing_is_missed_silently(mut driver: Driver) {
    let gone = driver.create(1, "ends");
    let waited_for = driver.create(2, "ends later");
    driver.tell(gone, Event::Cancel);
    driver.now += 50_000;
    driver.tell(waited_for, Event::Cancel);
    let late = UnixMillis(driver.now + 1_000_000 - 10_000);
    let before = UnixMillis(late.0 - 1_000_000);
    for _ in 0..3 {
        driver.store.sweep(late, before, 1).unwrap();
        nothing_is_missed_silently(&driver, before);
    }
    assert_eq!(driver.timeline(waited_for), driver.remembered(waited_for));
}

/// What retention carries and drops again is no news: whoever has seen all has seen all.
pub(super) fn a_reader_that_has_seen_everything_is_never_too_old(mut driver: Driver) {
    for number in 1..=9 {
        let id = driver.create(number, "stays open");
        driver.accept(id);
    }
    let seen = driver.store.reader().newest();
    for _ in 0..3 {
        driver.now += 1_000_000;
        let before = UnixMillis(driver.now - 500_000);
        while driver.store.sweep(UnixMillis(driver.now), before, 2).unwrap().rows > 0 {}
        assert_eq!(driver.store.reader().after(seen, 9).unwrap(), [], "nothing was missed");
        nothing_is_missed_silently(&driver, before);
    }
    driver.tell(id(1), Event::Cancel);
    assert_eq!(driver.store.reader().after(seen, 9).unwrap(), driver.rows[driver.rows.len() - 1..]);
}

/// Callers make up senders: what only workflows that have ended had is not kept.
pub(super) fn what_no_open_workflow_has_any_more_is_forgotten(mut driver: Driver) {
    let from_somebody = |number: u128| {
        let mut plan = plan();
        let step = plan.steps[0].clone();
        plan.steps = vec![step; 20];
        for (index, step) in plan.steps.iter_mut().enumerate() {
            step.sender = Endpoint::Number(format!("S{number}-{index}"));
        }
        plan
    };
    let open: Vec<_> = (1..=3).map(|n| driver.create_plan(n, from_somebody(n))).collect();
    let before: Vec<_> = open.iter().map(|id| driver.store.load(*id).unwrap()).collect();
    let (mut most_common, mut most_needs) = (0, 0);
    for number in 10..700 {
        let id = driver.create_plan(number, from_somebody(number));
        driver.tell(id, Event::Cancel);
        let tables: BTreeMap<_, _> = driver.store.tables().into_iter().collect();
        assert_eq!(tables["open_workflows"], open.len());
        most_common = most_common.max(tables["open_dictionary"]);
        most_needs = most_needs.max(driver.needs.count());
    }
    // Twenty new ones each: 13,800 in all.
    assert!(most_common < 4_300, "{most_common} entries for three open workflows");
    assert!(most_needs < 12_400, "{most_needs} needs for three open workflows");
    let after: Vec<_> = open.iter().map(|id| driver.store.load(*id).unwrap()).collect();
    assert_eq!(before, after);
}
