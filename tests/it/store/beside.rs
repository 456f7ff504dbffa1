//! What readers see while the writer works.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

/// A sweep takes rows away under a reader that goes on from where it was. Either the next row is there,
/// or the reader is told: at no moment does it read over a gap.
#[test]
fn a_reader_beside_a_sweep_is_told_of_every_row_that_it_misses() {
    let folder = tempfile::tempdir().unwrap();
    let mut driver = Driver::new(Box::new(open(folder.path()).unwrap()));
    for number in 1..=150 {
        let id = driver.create(number, "x");
        driver.tell(id, Event::Cancel);
    }
    let newest = driver.store.reader().newest();
    let is_swept = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reads = |reader: Arc<dyn dispatch::store::Reader>| {
            let mut told = 0;
            while !is_swept.load(Ordering::Relaxed) {
                let at = reader.oldest();
                match reader.after(at, 1) {
                    Ok(rows) if at < newest => {
                        let next = rows.first().map(|row| row.cursor);
                        assert_eq!(next, Some(Cursor(at.0 + 1)), "read over a gap behind {at:?}");
                    }
                    Ok(_) => {}
                    Err(StoreError::Trimmed(_)) => told += 1,
                    Err(error) => panic!("{error}"),
                }
            }
            told
        };
        let readers: Vec<_> = (0..2)
            .map(|_| driver.store.reader())
            .map(|reader| scope.spawn(move || reads(reader)))
            .collect();
        let now = UnixMillis(driver.now + 1_000_000);
        // One chunk at a time, as each is a moment at which it could go wrong.
        while driver.store.sweep(now, now, 1).unwrap().rows > 0 {}
        is_swept.store(true, Ordering::Relaxed);
        for reader in readers {
            let told = reader.join().unwrap();
            println!("told {told} times");
        }
    });
    assert_eq!(driver.store.reader().oldest(), newest);
}

/// A row is in the tree before the disk has it. Until it has, nobody is shown the row: what a stream has
/// told must survive a power cut.
#[test]
fn a_reader_beside_the_writer_sees_only_what_is_durable() {
    let folder = tempfile::tempdir().unwrap();
    let mut driver = Driver::new(Box::new(open(folder.path()).unwrap()));
    let is_over = AtomicBool::new(false);
    let reader = driver.store.reader();
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| {
            let mut seen = 0;
            while !is_over.load(Ordering::Relaxed) {
                let rows = reader.after(reader.newest(), 10).unwrap();
                // Looked at afterwards: whatever was durable when the rows were read, is now.
                let durable = reader.newest();
                for row in rows {
                    assert!(
                        row.cursor <= durable,
                        "{:?} is seen, {durable:?} is durable",
                        row.cursor
                    );
                    seen += 1;
                }
            }
            seen
        });
        for number in 1..=300 {
            driver.create(number, "x");
        }
        is_over.store(true, Ordering::Relaxed);
        println!("{} rows were seen as they came", reading.join().unwrap());
    });
    assert_eq!(driver.store.reader().newest(), Cursor(300));
}
