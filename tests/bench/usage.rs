//! What a process has used, as Linux tells it under `/proc`.

use std::{fs, path::Path, time::Duration};

/// `/proc` counts time in these, whatever the kernel ticks by (`USER_HZ`).
const TICKS_A_SECOND: u32 = 100;

/// What a process has used so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Usage {
    /// On processors, user and system together.
    pub(super) cpu: Duration,
    /// Resident, shared pages counted whole.
    pub(super) rss_bytes: u64,
    /// Resident, shared pages counted by share.
    pub(super) pss_bytes: u64,
    /// Handed to the disk.
    pub(super) written_bytes: u64,
}

/// What the process `pid` has used; zeros where the system does not tell.
pub(super) fn of(pid: u32) -> Usage {
    let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
    Usage {
        cpu: cpu(&read("stat")).unwrap_or_default(),
        rss_bytes: kibibytes(&read("status"), "VmRSS:").unwrap_or_default() * 1024,
        pss_bytes: kibibytes(&read("smaps_rollup"), "Pss:").unwrap_or_default() * 1024,
        written_bytes: number(&read("io"), "write_bytes:").unwrap_or_default(),
    }
}

/// What processes have used, and those that they started and that still run.
pub(super) fn of_all(pids: &[u32]) -> Usage {
    let mut sum = Usage::default();
    let mut pids = pids.to_vec();
    while let Some(pid) = pids.pop() {
        let used = of(pid);
        sum.cpu += used.cpu;
        sum.rss_bytes += used.rss_bytes;
        sum.pss_bytes += used.pss_bytes;
        sum.written_bytes += used.written_bytes;
        for thread in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
            let started = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            pids.extend(started.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
        }
    }
    sum
}

/// How many bytes the files under `folder` take.
pub(super) fn folder_bytes(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(about) if about.is_dir() => folder_bytes(&entry.path()),
            Ok(about) => about.len(),
            Err(_) => 0,
        })
        .sum()
}

/// Fields 14 and 15. The second, the program's name, may hold spaces and brackets.
fn cpu(stat: &str) -> Option<Duration> {
    let (_, behind_name) = stat.rsplit_once(')')?;
    let mut fields = behind_name.split_whitespace().skip(11);
    let user: u32 = fields.next()?.parse().ok()?;
    let system: u32 = fields.next()?.parse().ok()?;
    Some(Duration::from_secs(1) * (user + system) / TICKS_A_SECOND)
}

fn kibibytes(text: &str, name: &str) -> Option<u64> {
    number(text, name)
}

fn number(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_s_name_does_not_shift_the_fields() {
        let stat = "42 (a (b) c) 9) S 1 42 42 0 -1 4194560 900 0 1 0 150 25 7 8 20 0 5 0 1 1 1";
        assert_eq!(cpu(stat), Some(Duration::from_millis(1750)));
        assert_eq!(cpu("42 (cut"), None);
        assert_eq!(cpu(""), None);
    }

    #[test]
    fn figures_are_found_by_their_whole_name() {
        let rollup = "55 ---p [rollup]\nRss:  900 kB\nPss_Dirty: 1 kB\nPss:    1234 kB\n";
        assert_eq!(kibibytes(rollup, "Pss:"), Some(1234));
        let io = "rchar: 1\ncancelled_write_bytes: 5\nwrite_bytes: 4096\n";
        assert_eq!(number(io, "write_bytes:"), Some(4096));
        assert_eq!(number(io, "no_such:"), None);
    }

    #[test]
    fn this_process_uses_something() {
        let used = of(std::process::id());
        assert!(used.rss_bytes > 100_000, "{used:?}");
        assert!(used.pss_bytes <= used.rss_bytes + 4096 * 1024, "{used:?}");
    }

    #[test]
    fn what_a_process_started_counts_too() {
        let mut shell = std::process::Command::new("sh");
        let mut shell = shell.args(["-c", "sleep 5; true"]).spawn().unwrap();
        let counts = || of_all(&[shell.id()]).rss_bytes > of(shell.id()).rss_bytes;
        let began = std::time::Instant::now();
        while !counts() && began.elapsed() < Duration::from_secs(4) {
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(counts());
        shell.kill().and_then(|()| shell.wait()).unwrap();
    }
}
