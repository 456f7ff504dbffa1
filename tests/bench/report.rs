//! What a run found: a table for people, JSON for scripts.

use std::time::Duration;

use serde::Serialize;

use super::{latency::Quantiles, load::Outcome, usage::Usage};

/// All that a run found.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) scenario: &'static str,
    pub(super) version: &'static str,
    /// What was measured.
    pub(super) rows: Vec<Row>,
    /// What the machine can do at best, measured in between.
    pub(super) ceilings: Vec<Row>,
    pub(super) figures: Vec<Figure>,
    pub(super) ratios: Vec<Figure>,
    /// How many operations failed in all.
    pub(super) errors: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) first_error: Option<String>,
}

/// One measurement.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) operations: u64,
    pub(super) errors: u64,
    pub(super) seconds: f64,
    pub(super) per_second: f64,
    #[serde(flatten)]
    pub(super) latency: Option<Quantiles>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) server_cpu_us_per_operation: Option<f64>,
}

/// A figure that is no throughput.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Figure {
    pub(super) name: String,
    pub(super) value: f64,
    pub(super) unit: &'static str,
}

impl Report {
    pub(super) fn new(scenario: &'static str) -> Report {
        Report {
            scenario,
            version: env!("CARGO_PKG_VERSION"),
            rows: Vec::new(),
            ceilings: Vec::new(),
            figures: Vec::new(),
            ratios: Vec::new(),
            errors: 0,
            first_error: None,
        }
    }

    /// Adds a measurement. `used` is what the server had used before and after.
    pub(super) fn measured(
        &mut self,
        name: impl Into<String>,
        outcome: Outcome,
        used: Option<(Usage, Usage)>,
    ) -> Row {
        let row = self.row(name, outcome, used);
        self.rows.push(row.clone());
        row
    }

    /// Adds a ceiling.
    pub(super) fn ceiling(
        &mut self,
        name: impl Into<String>,
        outcome: Outcome,
        used: Option<(Usage, Usage)>,
    ) -> Row {
        let row = self.row(name, outcome, used);
        self.ceilings.push(row.clone());
        row
    }

    pub(super) fn figure(&mut self, name: impl Into<String>, value: f64, unit: &'static str) {
        self.figures.push(Figure { name: name.into(), value, unit });
    }

    pub(super) fn ratio(&mut self, name: impl Into<String>, value: f64) {
        self.ratios.push(Figure { name: name.into(), value, unit: "x" });
    }

    /// Counts what failed beside the measured operations.
    pub(super) fn failed(&mut self, count: u64, why: impl Into<String>) {
        if count > 0 {
            self.errors += count;
            self.first_error.get_or_insert(why.into());
        }
    }

    /// What the process has in memory.
    pub(super) fn memory(&mut self, used: Option<Usage>) {
        if let Some(used) = used {
            self.figure("server memory, RSS", mib(used.rss_bytes), "MiB");
            self.figure("server memory, PSS", mib(used.pss_bytes), "MiB");
        }
    }

    fn row(
        &mut self,
        name: impl Into<String>,
        outcome: Outcome,
        used: Option<(Usage, Usage)>,
    ) -> Row {
        let Outcome { latencies, errors, first_error, elapsed } = outcome;
        self.failed(errors, first_error.unwrap_or_default());
        let operations = latencies.len() as u64;
        let seconds = elapsed.as_secs_f64();
        let cpu = used.map(|(before, after)| after.cpu.saturating_sub(before.cpu));
        Row {
            name: name.into(),
            operations,
            errors,
            seconds,
            per_second: if seconds > 0.0 { operations as f64 / seconds } else { 0.0 },
            latency: latencies.quantiles(),
            server_cpu_us_per_operation: cpu
                .filter(|_| operations > 0)
                .map(|cpu| each(cpu, operations)),
        }
    }

    /// As a table.
    pub(super) fn table(&self) -> String {
        let mut text = format!("dispatch-bench {} ({})\n", self.scenario, self.version);
        let head = [
            "",
            "done",
            "failed",
            "per second",
            "p50 ms",
            "p99 ms",
            "p99.9 ms",
            "max ms",
            "server CPU µs",
        ];
        for (title, rows) in [("measured", &self.rows), ("ceilings", &self.ceilings)] {
            let mut lines = vec![head.map(str::to_owned)];
            lines[0][0] = title.to_owned();
            lines.extend(rows.iter().map(Row::cells));
            text += "\n";
            text += &aligned(&lines);
        }
        for (title, figures) in [("figures", &self.figures), ("against the ceilings", &self.ratios)]
        {
            if !figures.is_empty() {
                let mut lines = vec![[title.to_owned(), String::new(), String::new()]];
                lines.extend(figures.iter().map(Figure::cells));
                text += "\n";
                text += &aligned(&lines);
            }
        }
        text.trim_end().to_owned()
    }
}

impl Row {
    fn cells(&self) -> [String; 9] {
        let [p50, p99, p999, max] = match self.latency {
            Some(at) => [at.p50_ms, at.p99_ms, at.p999_ms, at.max_ms].map(|ms| format!("{ms:.2}")),
            None => Default::default(),
        };
        let cpu = self.server_cpu_us_per_operation.map_or(String::new(), |cpu| format!("{cpu:.1}"));
        let per_second = grouped(self.per_second.round() as u64);
        let (done, failed) = (grouped(self.operations), grouped(self.errors));
        [self.name.clone(), done, failed, per_second, p50, p99, p999, max, cpu]
    }
}

impl Figure {
    fn cells(&self) -> [String; 3] {
        let value = match self.value {
            value if value >= 1000.0 => grouped(value.round() as u64),
            value => format!("{value:.3}"),
        };
        [self.name.clone(), value, self.unit.to_owned()]
    }
}

pub(super) fn mib(bytes: u64) -> f64 {
    bytes as f64 / 1024.0 / 1024.0
}

/// Microseconds for each of so many.
pub(super) fn each(time: Duration, count: u64) -> f64 {
    time.as_secs_f64() * 1e6 / count.max(1) as f64
}

/// The first column to the left, the others to the right.
fn aligned<const COLUMNS: usize>(lines: &[[String; COLUMNS]]) -> String {
    let width =
        |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; COLUMNS] = std::array::from_fn(width);
    let mut text = String::new();
    for line in lines {
        let cells =
            line.iter().zip(widths).enumerate().map(|(column, (cell, width))| match column {
                0 => format!("{cell:<width$}"),
                _ => format!("{cell:>width$}"),
            });
        let cells: Vec<_> = cells.collect();
        text += cells.join("  ").trim_end();
        text += "\n";
    }
    text
}

/// `1234567` as `1,234,567`.
fn grouped(number: u64) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::latency::Latencies;

    fn outcome(count: u64, errors: u64) -> Outcome {
        let mut latencies = Latencies::default();
        (0..count).for_each(|_| latencies.record(Duration::from_millis(2)));
        let first_error = (errors > 0).then(|| "no".to_owned());
        Outcome { latencies, errors, first_error, elapsed: Duration::from_secs(2) }
    }

    #[test]
    fn a_row_counts_what_succeeded_and_the_report_what_failed() {
        let mut report = Report::new("create");
        let busy = |ms| Usage { cpu: Duration::from_millis(ms), ..Usage::default() };
        let row = report.measured("8 in flight", outcome(5000, 2), Some((busy(100), busy(150))));
        assert_eq!((row.operations, row.errors, row.per_second), (5000, 2, 2500.0));
        assert_eq!(row.server_cpu_us_per_operation, Some(10.0));
        report.ceiling("nothing", outcome(0, 0), None);
        assert_eq!((report.errors, report.first_error.as_deref()), (2, Some("no")));
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["rows"][0]["p99_ms"], 2.0);
        assert_eq!(json["rows"][0]["p99_9_ms"], 2.0);
        assert!(json["ceilings"][0].get("p50_ms").is_none());
    }

    #[test]
    fn the_table_lines_up() {
        let mut report = Report::new("create");
        report.measured("8 in flight", outcome(5000, 0), None);
        report.figure("bytes on disk per workflow", 1234567.0, "bytes");
        let table = report.table();
        assert!(table.contains("8 in flight  5,000       0       2,500    2.00"), "{table}");
        assert!(table.contains("bytes on disk per workflow  1,234,567  bytes"), "{table}");
    }
}
