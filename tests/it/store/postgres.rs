//! What only a store on PostgreSQL has to prove: that another process may take over at any moment, and that a broken
//! connection neither loses nor doubles anything.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use super::*;
use crate::shared::postgres::{Cluster, shared};

fn open_database(connection: &str) -> Box<dyn Store> {
    let (store, _) = postgres_options(connection.to_owned()).open().unwrap();
    Box::new(store)
}

/// Everything that the driver was told is there, once and in order.
fn assert_all_there(driver: &Driver) {
    let rows = driver.store.reader().after(Cursor(0), 100_000).unwrap();
    assert_eq!(rows, driver.rows);
    let ids: std::collections::BTreeSet<_> = rows.iter().map(|row| row.workflow).collect();
    for id in ids {
        assert_eq!(driver.timeline(id), driver.remembered(id));
    }
}

#[test]
fn what_was_committed_is_there_for_who_comes_next() {
    let Some(cluster) = shared() else { return };
    let database = cluster.database();
    let mut driver = Driver::new(open_database(&database));
    let settings = driver.store.settings();
    settings.write(vec![SettingChange::put(Kind::Audit, *b"a", encode(&7).unwrap())]).unwrap();
    for number in 1..=40 {
        let id = driver.create(number, "x");
        driver.accept(id);
        if number % 2 == 0 {
            driver.reach(id, Status::Read);
        }
    }
    driver
        .store
        .commit(ChangeSet { hold_receipts: vec![parked(3)], ..ChangeSet::default() })
        .unwrap();
    let (open, incarnation) = (driver.store.open_count(), driver.store.reader().incarnation());
    drop(settings);
    // A clean end gives the lease back: nobody waits for it.
    let began = Instant::now();
    driver.store = Box::new(MemoryStore::new());
    driver.store = open_database(&database);
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    assert_eq!(driver.store.open_count(), open);
    assert_eq!(driver.store.reader().incarnation(), incarnation);
    assert_eq!(driver.store.held_receipts(), [parked(3)]);
    let kept = driver.store.settings().get(Kind::Audit, b"a").unwrap();
    assert_eq!(kept, Some(encode(&7).unwrap()));
    assert_all_there(&driver);
}

#[test]
fn who_was_taken_over_from_writes_nothing_more() {
    let Some(cluster) = shared() else { return };
    let database = cluster.database();
    let mut first = Driver::new(open_database(&database));
    let id = first.create(1, "x");
    // As if it had been stopped for longer than its lease.
    let gone = "UPDATE dispatch.node SET lease_until = clock_timestamp() - interval '1 s'";
    assert_eq!(cluster.answer(&database, gone).as_deref(), Some(""));
    let mut second = Driver::new(open_database(&database));
    second.rows.clone_from(&first.rows);
    assert_eq!(second.store.open_count(), 1);
    let change = ChangeSet { hold_receipts: vec![parked(9)], ..ChangeSet::default() };
    for changes in [change, ChangeSet { lift_restore_lock: true, ..ChangeSet::default() }] {
        let refused = first.store.commit(changes);
        assert!(
            matches!(&refused, Err(StoreError::Database(why)) if why.contains("taken over")),
            "{refused:?}"
        );
    }
    let settings = first.store.settings();
    let put = SettingChange::put(Kind::Key, *b"a", encode(&7).unwrap());
    assert!(settings.write(vec![put]).is_err());
    second.now = first.now;
    second.accept(id);
    second.create(2, "y");
    assert_eq!(second.store.held_receipts(), []);
    assert_eq!(second.store.settings().get(Kind::Key, b"a").unwrap(), None);
    assert_all_there(&second);
    drop((settings, first));
    // And whoever leaves late takes nothing along.
    second.create(3, "z");
    assert_all_there(&second);
}

/// Its next commit has the very number that is the next one there.
#[test]
fn who_was_taken_over_from_writes_nothing_under_the_next_number_either() {
    let Some(cluster) = shared() else { return };
    let database = cluster.database();
    let last = || -> u64 {
        let last = "SELECT max(last_commit) FROM dispatch.partition WHERE number < 16";
        cluster.answer(&database, last).unwrap().parse().unwrap()
    };
    let mut first = Driver::new(open_database(&database));
    first.create(1, "x");
    let done = last();
    let gone = "UPDATE dispatch.node SET lease_until = clock_timestamp() - interval '1 s'";
    assert!(cluster.answer(&database, gone).is_some());
    let mut second = Driver::new(open_database(&database));
    second.rows.clone_from(&first.rows);
    second.now = first.now;
    for number in 2..2 + u128::from(done) {
        second.create(number, "y");
    }
    assert_eq!(last(), done);
    let receipt = ChangeSet { hold_receipts: vec![parked(9)], ..ChangeSet::default() };
    let refused = first.store.commit(receipt);
    assert!(
        matches!(&refused, Err(StoreError::Database(why)) if why.contains("taken over")),
        "{refused:?}"
    );
    second.create(100, "z");
    assert_eq!(second.store.reader().held_receipts().unwrap(), []);
    assert_all_there(&second);
}

/// A replica that lacked the last commits took the database's place.
#[test]
fn a_database_that_forgets_while_somebody_is_active_gets_no_gap() {
    let Some(cluster) = shared() else { return };
    let database = cluster.database();
    let mut driver = Driver::new(open_database(&database));
    driver.create(1, "x");
    driver.create(2, "x");
    let forget = "UPDATE dispatch.partition SET last_commit = last_commit - 1 \
                  WHERE last_commit = (SELECT max(last_commit) FROM dispatch.partition WHERE number < 16) AND number < 16; \
                  DELETE FROM dispatch.journal WHERE first = (SELECT max(first) FROM dispatch.journal)";
    assert!(cluster.answer(&database, forget).is_some());
    let receipt = ChangeSet { hold_receipts: vec![parked(9)], ..ChangeSet::default() };
    let refused = driver.store.commit(receipt.clone());
    assert!(
        matches!(&refused, Err(StoreError::Database(why)) if why.contains("lost what it acknowledged")),
        "{refused:?}"
    );
    assert!(driver.store.check_owned().is_err(), "the process is to end");
    assert!(driver.store.commit(receipt).is_err(), "nothing follows");
}

/// Whoever has nothing to write is to end too.
#[test]
fn who_was_taken_over_from_hears_of_it_without_writing() {
    let Some(cluster) = shared() else { return };
    let database = cluster.database();
    let first = open_database(&database);
    assert!(first.check_owned().is_ok());
    let gone = "UPDATE dispatch.node SET lease_until = clock_timestamp() - interval '1 s'";
    assert!(cluster.answer(&database, gone).is_some());
    let _second = open_database(&database);
    let until = Instant::now() + Duration::from_secs(20);
    while first.check_owned().is_ok() {
        assert!(Instant::now() < until, "it does not hear of it");
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn who_waits_disturbs_nobody_and_gives_up_when_it_is_told_to() {
    let Some(cluster) = shared() else { return };
    let database = cluster.database();
    let mut driver = Driver::new(open_database(&database));
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let waiting: Vec<_> = (0..3)
            .map(|_| {
                let options = postgres_options(database.clone());
                let is_over = &is_over;
                scope.spawn(move || options.open_unless(&|| is_over.load(Ordering::Relaxed)))
            })
            .collect();
        let over = OverAtTheEnd(&is_over);
        for number in 1..=300 {
            driver.create(number, "x");
        }
        drop(over);
        for waiting in waiting {
            assert!(waiting.join().unwrap().unwrap().is_none());
        }
    });
    let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    assert_eq!(cluster.answer(&database, deadlocks).as_deref(), Some("0"));
    assert_all_there(&driver);
}

/// Says that it is over when it goes, also with a panic: else whoever looks at it would never end.
struct OverAtTheEnd<'a>(&'a AtomicBool);

impl Drop for OverAtTheEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Ends every connection again and again, until it is told to stop.
fn disturb<T>(cluster: &Cluster, database: &str, work: impl FnOnce() -> T) -> (T, usize) {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let disturbing = scope.spawn(|| {
            let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                       WHERE application_name = 'dispatch' AND datname = current_database()";
            let mut ended = 0;
            while !is_over.load(Ordering::Relaxed) {
                let answer = cluster.answer(database, end).unwrap_or_default();
                ended += answer.parse().unwrap_or(0);
                thread::sleep(Duration::from_millis(15));
            }
            ended
        });
        let over = OverAtTheEnd(&is_over);
        let done = work();
        drop(over);
        (done, disturbing.join().unwrap())
    })
}

#[test]
fn connections_that_are_ended_lose_nothing_and_double_nothing() {
    let Some(cluster) = shared() else { return };
    let database = cluster.database();
    let mut driver = Driver::new(open_database(&database));
    let settings = driver.store.settings();
    let (_, ended) = disturb(&cluster, &database, || {
        for number in 1..=150 {
            let id = driver.create(number, "x");
            driver.accept(id);
            let key = number.to_be_bytes();
            settings
                .write(vec![SettingChange::put(Kind::Audit, key, encode(&number).unwrap())])
                .unwrap();
        }
    });
    assert!(ended > 20, "only {ended} connections were ended");
    assert_all_there(&driver);
    assert_eq!(settings.list(Kind::Audit, None, 1000).unwrap().len(), 150);
    drop(settings);
    driver.store = Box::new(MemoryStore::new());
    driver.store = open_database(&database);
    assert_all_there(&driver);
}

#[test]
fn a_database_that_dies_and_comes_back_is_waited_for() {
    let Some(cluster) = Cluster::start() else { return };
    let database = cluster.database();
    let mut driver = Driver::new(open_database(&database));
    thread::scope(|scope| {
        let killing = scope.spawn(|| {
            for _ in 0..3 {
                thread::sleep(Duration::from_millis(200));
                cluster.kill_and_restart();
            }
        });
        for number in 1.. {
            let id = driver.create(number, "x");
            driver.accept(id);
            if killing.is_finished() {
                break;
            }
        }
    });
    assert_all_there(&driver);
}

#[test]
fn a_database_that_lost_what_was_acknowledged_is_refused() {
    let Some(cluster) = shared() else { return };
    let database = cluster.database();
    let mut driver = Driver::new(open_database(&database));
    driver.create(1, "x");
    driver.create(2, "x");
    drop(driver);
    let lose = "DELETE FROM dispatch.journal WHERE first = (SELECT max(first) FROM dispatch.journal); \
                DELETE FROM dispatch.checkpoint";
    assert!(cluster.answer(&database, lose).is_some());
    let refused = postgres_options(database).open().map(drop);
    let Err(StoreError::Database(why)) = refused else { panic!("{refused:?}") };
    assert!(why.contains("the newest 1 rows of the journal are lost"), "{why}");
}

#[test]
fn a_checkpoint_is_taken_and_one_that_was_cut_off_is_none() {
    let Some(cluster) = shared() else { return };
    let database = cluster.database();
    let (mut store, _) = postgres_options(database.clone()).open().unwrap();
    store.checkpoint_after(50);
    let mut driver = Driver::new(Box::new(store));
    for number in 1..=200 {
        driver.create(number, "x");
    }
    let blocks =
        || cluster.answer(&database, "SELECT count(*) FROM dispatch.current_checkpoint").unwrap();
    let until = Instant::now() + Duration::from_secs(10);
    while blocks() == "0" {
        assert!(Instant::now() < until, "none is written");
        driver.create(1000 + u128::from(driver.now % 1000), "x");
        thread::sleep(Duration::from_millis(10));
    }
    let open = driver.store.open_count();
    let rows = driver.rows.clone();
    drop(driver);
    // The beginning of another one.
    let torn = "INSERT INTO dispatch.checkpoint SELECT generation + 1, number, block FROM dispatch.checkpoint \
                WHERE number = 0";
    assert!(cluster.answer(&database, torn).is_some());
    let mut driver = Driver::new(open_database(&database));
    driver.rows = rows;
    assert_eq!(driver.store.open_count(), open);
    assert_all_there(&driver);
}

#[test]
fn nothing_dies_on_the_way_of_a_life() {
    let Some(cluster) = shared() else { return };
    let database = cluster.database();
    let mut driver = Driver::new(open_database(&database));
    for number in 1..=300 {
        let id = driver.create(number, "x");
        driver.accept(id);
        driver.reach(id, Status::Read);
    }
    let updates = "SELECT sum(n_tup_upd + n_tup_del) FROM pg_stat_user_tables \
                   WHERE relname IN ('journal', 'index_row', 'setting', 'key_file', 'key_block')";
    // What it counts comes a moment late.
    thread::sleep(Duration::from_millis(1500));
    assert_eq!(cluster.answer(&database, updates).as_deref(), Some("0"));
}
