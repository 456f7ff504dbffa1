//! One row of the reliability report, written by the suite that earned it.
//!
//! A suite calls [`row`] once, after everything it checks has held: a row is never written by a run
//! that failed. `tests/reliability.sh` runs the suites and puts the rows together.

use std::{fmt::Display, fs, path::Path};

/// What one suite did.
#[derive(Debug)]
pub struct Tried {
    /// The suite, and where the row stands in the table: `20-exhaustive`.
    pub name: &'static str,
    /// What was tried, in words.
    pub what: &'static str,
    /// How often: each figure with its noun, `(100_000, "workflows")`. Counted, never typed.
    pub counts: Vec<(u64, &'static str)>,
    /// What was found; nothing, if the sentence says so.
    pub found: String,
    /// What replays it.
    pub seed: String,
}

/// Prints the row, and keeps it under `target/reliability/`.
pub fn row(tried: &Tried) {
    let counts: Vec<_> =
        tried.counts.iter().map(|(count, noun)| format!("{} {noun}", grouped(count))).collect();
    let line =
        format!("| {} | {} | {} | {} |", tried.what, counts.join(", "), tried.found, tried.seed);
    println!("{}: {line}", tried.name);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/reliability");
    fs::create_dir_all(&folder).expect("the target folder can be written");
    let file = folder.join(format!("{}.row", tried.name));
    fs::write(file, line + "\n").expect("the target folder can be written");
}

/// `1234567` as `1,234,567`.
fn grouped(number: &impl Display) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}
