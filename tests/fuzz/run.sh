#!/usr/bin/env bash
# Fuzzes every target for SECONDS, one after the other, and adds what was done to totals.md:
#   tests/fuzz/run.sh SECONDS [TARGET...]
#
# Needs stable Rust, a C++ compiler and `cargo install --locked cargo-fuzz`. It begins with the
# committed corpus; what is new and worth keeping is gathered under target/corpus, and what breaks a
# promise under artifacts. Both become regression tests by being copied to corpus/TARGET, named by
# their SHA-1: `replay.rs` replays that folder.
set -euo pipefail
cd "$(dirname "$0")"
seconds="${1:?how many seconds for each target}"
shift
targets=("$@")
if [ ${#targets[@]} = 0 ]; then mapfile -t targets < <(cargo fuzz list --fuzz-dir .); fi
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$PWD/target}"

broken=0
for target in "${targets[@]}"; do
    gathered="$CARGO_TARGET_DIR/corpus/$target"
    log="$CARGO_TARGET_DIR/$target.log"
    mkdir -p "$gathered"
    # No sanitizer: there is no unsafe code here to watch, and stable Rust is enough.
    # Five seconds for four kilobytes: what takes longer grows faster than its input.
    nice -n 10 cargo fuzz run --sanitizer none --fuzz-dir . "$target" "$gathered" "corpus/$target" -- \
        -max_total_time="$seconds" -max_len=4096 -timeout=5 -rss_limit_mb=1024 -print_final_stats=1 \
        2>&1 | tee "$log" | grep -E '^(stat::|==|thread|Test unit|artifact_prefix)|SUMMARY' || true
    if grep -q 'Test unit written' "$log"; then
        broken=1
        echo "$target broke: see artifacts/$target" >&2
    fi
    executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    python3 - "$target" "${executions:-0}" "$seconds" <<'PY'
import pathlib, re, sys

target, executions, seconds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
path = pathlib.Path("totals.md")
rows = {}
for line in path.read_text().splitlines() if path.exists() else []:
    if found := re.match(r"\| (\w+) \| ([\d,]+) \| ([\d,]+) \|", line):
        rows[found[1]] = [int(found[n].replace(",", "")) for n in (2, 3)]
before = rows.get(target, [0, 0])
rows[target] = [before[0] + executions, before[1] + seconds]
lines = [
    "# Fuzzing so far",
    "",
    "Written by `run.sh`, which adds what each run did.",
    "",
    "| target | executions | seconds |",
    "|---|---:|---:|",
    *(f"| {name} | {done:,} | {spent:,} |" for name, (done, spent) in sorted(rows.items())),
]
path.write_text("\n".join(lines) + "\n")
PY
done
exit $broken
