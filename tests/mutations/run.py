#!/usr/bin/env python3
"""Plants faults, one at a time, and shows that the test named for each fails.

    tests/mutations/run.py                     all of them
    tests/mutations/run.py NAME...             those of a row, of a file, or with this in their name
    tests/mutations/run.py --random 3 [--seed S]
    tests/mutations/run.py --suite lib         those that this suite must catch
    tests/mutations/run.py --mixed             many at once, in several mixes: some ten times as quick
    tests/mutations/run.py --list              what there is
    tests/mutations/run.py --check             only that each still applies, exactly once
    tests/mutations/run.py --record            also writes what came of it to results.md

A mutation is a table in one of the TOML files beside this one; README.md says what it holds. All
happens in a copy of the tree with a target folder of its own, under target/mutations: the checkout
is never touched, and a run that is killed leaves nothing that the next would not put right.

Exits with 1 unless every mutation was caught. Python's standard library is all it needs (3.11).
"""

import argparse
import collections
import fcntl
import itertools
import math
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
WORK = ROOT / "target" / "mutations"
TREE = WORK / "tree"
RESULTS = HERE / "results.md"
# What takes longer, built and run, has not failed; it counts as caught only where the mutation says `hangs`.
LIMIT_S = 600

CAUGHT, HANGS = "caught", "caught: hangs"
SURVIVED, UNCLEAR, TOO_LONG = "SURVIVED", "FAILS FOR OTHERS", "TOO LONG"
NO_MATCH, NO_BUILD, NO_TEST = "DOES NOT APPLY", "DOES NOT COMPILE", "TEST FAILS WITHOUT IT"

Suite = collections.namedtuple("Suite", "package suite env")


class Mutation:
    """One fault, and the tests of which at least one must fail."""

    KEYS = {"name", "row", "breaks", "at", "old", "new", "package", "suite", "tests", "env", "hangs"}

    def __init__(self, room, table):
        unknown = set(table) - self.KEYS
        if unknown:
            sys.exit(f"{room}.toml: {table.get('name')}: unknown {', '.join(sorted(unknown))}")
        self.room = room
        self.name = table["name"]
        self.row = table.get("row", "")
        self.breaks = table["breaks"]
        self.at = table["at"]
        self.old = table["old"].strip("\n")
        self.new = table["new"].strip("\n")
        env = tuple(sorted(table.get("env", {}).items()))
        self.suite = Suite(table.get("package", "dispatch"), table["suite"], env)
        self.tests = table["tests"]
        self.hangs = table.get("hangs", False)

    def places(self, root):
        """The files with the text that is replaced, each as often as it stands there."""
        at = root / self.at
        files = sorted(at.rglob("*.rs")) if at.is_dir() else [at] if at.exists() else []
        return [file for file in files for _ in range(file.read_text().count(self.old))]


def mutations():
    found = []
    for file in sorted(HERE.glob("*.toml")):
        tables = tomllib.loads(file.read_text())["mutation"]
        found += [Mutation(file.stem, table) for table in tables]
    twice = [name for name, n in collections.Counter(m.name for m in found).items() if n > 1]
    if twice:
        sys.exit(f"two mutations of one name: {', '.join(twice)}")
    return found


def sync():
    """Makes the copy equal to the checkout. What is written anew is newer than all that was built."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout.split("\0")
    wanted = {name for name in listed if name and (ROOT / name).is_file()}
    is_new = not TREE.exists()
    for name in wanted:
        ours, copy = ROOT / name, TREE / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        if is_new:
            shutil.copy2(ours, copy)
        elif not copy.exists() or copy.read_bytes() != ours.read_bytes():
            shutil.copy(ours, copy)
    for folder, inner, files in os.walk(TREE):
        if folder == str(TREE):
            inner[:] = [name for name in inner if name != "target"]
        for file in files:
            path = pathlib.Path(folder, file)
            if str(path.relative_to(TREE)) not in wanted:
                path.unlink()
    # What .ci/run installed for the tests.
    tools = TREE / "target" / "tools"
    tools.parent.mkdir(exist_ok=True)
    if not tools.is_symlink():
        tools.symlink_to(ROOT / "target" / "tools")


def seed_target():
    """The first time, takes over the dependencies that the checkout has built. Not our own crates: they hold the
    paths of their tree."""
    target, built = WORK / "target" / "debug", ROOT / "target" / "debug"
    if target.exists() or not built.exists():
        return

    def ours(folder, names):
        is_deps = pathlib.Path(folder).name == "deps"
        return [
            name for name in names
            if name.removeprefix("lib").startswith("dispatch") or is_deps and "." not in name
        ]

    for name in [".fingerprint", "build", "deps"]:
        if (built / name).exists():
            shutil.copytree(built / name, target / name, ignore=ours)


def environment(extra):
    # How much suites try is theirs or the mutation's to say, not the caller's.
    env = {key: value for key, value in os.environ.items() if not key.startswith("DISPATCH_")}
    env |= {"CARGO_INCREMENTAL": "1", "CARGO_TERM_COLOR": "never", "RUST_BACKTRACE": "0"}
    return env | {"CARGO_TARGET_DIR": str(WORK / "target")} | dict(extra)


def run_tests(suite, tests, limit_s):
    """Builds and runs tests. The exit status, or None if it took too long, and what was said."""
    which = ["--lib"] if suite.suite == "lib" else ["--test", suite.suite]
    cargo = ["cargo", "test", "--locked", "-p", suite.package, *which]
    process = subprocess.Popen(
        [*cargo, "--", "--exact", *tests], cwd=TREE, env=environment(suite.env), text=True,
        errors="replace", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=limit_s)
        return process.returncode, output
    except subprocess.TimeoutExpired:
        return None, ""
    finally:
        try:
            # Also what a test started and left.
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()


def passed(output):
    return set(re.findall(r"^test (\S+) \.\.\. ok$", output, re.MULTILINE))


def sound(chosen):
    """Without any fault: the names of the tests that pass, by suite. Else being caught means nothing."""
    tests = collections.defaultdict(set)
    for mutation in chosen:
        tests[mutation.suite].update(mutation.tests)
    pass_by_suite = {}
    for suite, names in tests.items():
        code, output = run_tests(suite, sorted(names), None)
        pass_by_suite[suite] = passed(output)
        if code != 0 or names - pass_by_suite[suite]:
            print(output)
        for name in sorted(names - pass_by_suite[suite]):
            print(f"without any fault, this test of {suite.suite} did not run, or failed: {name}")
    return pass_by_suite


def groups(chosen, mixed):
    """What is tried together: each fault by itself, or all of a suite that share no place and no test."""
    if not mixed:
        return [[mutation] for mutation in sorted(chosen, key=lambda mutation: mutation.suite)]
    found = []
    for mutation in chosen:
        apart = [
            group for group in found
            if group[0].suite == mutation.suite
            and not any(set(other.tests) & set(mutation.tests) for other in group)
            and not any(other.old in mutation.old or mutation.old in other.old for other in group)
        ]
        if apart:
            apart[0].append(mutation)
        else:
            found.append([mutation])
    return found


def mixes(group):
    """Which faults of a group are planted at once, and how often: such that of any two each is once there without
    the other. Sperner: as many subsets of half the size, none of which holds another."""
    if len(group) == 1:
        return [group]
    size = next(size for size in itertools.count(2) if math.comb(size, size // 2) >= len(group))
    members = itertools.combinations(range(size), size // 2)
    member_of = list(zip(group, members))
    return [[mutation for mutation, of in member_of if mix in of] for mix in range(size)]


def plant(group):
    """Plants faults in the copy, and says what became of each: it is caught if its tests fail in every mix that it
    is in, and pass in every other."""
    outcomes = {mutation: CAUGHT for mutation in group}
    tests = sorted({test for mutation in group for test in mutation.tests})
    for mix in mixes(group):
        failure, ok = plant_mix(mix, tests)
        for mutation in group:
            is_noticed = not set(mutation.tests) <= ok
            if failure == TOO_LONG and mutation.hangs:
                outcomes[mutation] = HANGS
            elif failure:
                outcomes[mutation] = failure
            elif mutation in mix and not is_noticed:
                outcomes[mutation] = SURVIVED
            elif mutation not in mix and is_noticed:
                outcomes[mutation] = UNCLEAR
    return [outcomes[mutation] for mutation in group]


def plant_mix(mix, tests):
    """What went wrong, if these faults cannot be tried; else the tests that pass with them."""
    originals = {}
    try:
        for mutation in mix:
            places = mutation.places(TREE)
            if len(places) != 1:
                return NO_MATCH, set()
            text = places[0].read_text()
            originals.setdefault(places[0], text)
            places[0].write_text(text.replace(mutation.old, mutation.new))
        code, output = run_tests(mix[0].suite, tests, LIMIT_S)
    finally:
        # Written anew, and so newer than what was built from the faults.
        for file, text in originals.items():
            file.write_text(text)
    if code is None:
        return TOO_LONG, set()
    if not re.search(r"^running \d+ tests?$", output, re.MULTILINE):
        print(output)
        return NO_BUILD, set()
    # A process that died took all tests with it that had not passed.
    return None, passed(output)


def misplaced(chosen):
    """Says which do not apply any more, and how many those are."""
    wrong = [(mutation, len(mutation.places(ROOT))) for mutation in chosen]
    wrong = [(mutation, count) for mutation, count in wrong if count != 1]
    for mutation, count in wrong:
        print(f"{mutation.room}.toml: {mutation.name}: {count} places in {mutation.at}, not 1")
    return len(wrong)


def commit():
    asked = ["git", "rev-parse", "--short", "HEAD"]
    return subprocess.run(asked, cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


def row(mutation, outcome, at):
    by = ", ".join(f"`{test}`" for test in mutation.tests)
    suite = mutation.suite
    by += f" ({suite.suite})" if suite.package == "dispatch" else f" ({suite.package})"
    columns = [f"`{mutation.name}`", mutation.row, mutation.breaks, by, outcome, at]
    return f"| {' | '.join(columns)} |"


def record(everything, results):
    """Keeps what came of this run in results.md, beside what is there of the others."""
    rows = {mutation.name: row(mutation, "not run yet", "") for mutation in everything}
    if RESULTS.exists():
        for line in RESULTS.read_text().splitlines():
            name = re.match(r"\| `([^`]+)` \|", line)
            if name and name[1] in rows:
                rows[name[1]] = line
    for mutation, outcome in results:
        rows[mutation.name] = row(mutation, outcome, commit())
    RESULTS.write_text((HERE / "head.md").read_text() + "\n".join(rows.values()) + "\n")


def report(total, results, seed):
    """The row of the reliability report; only of a run in which every fault was caught."""
    folder = ROOT / "target" / "reliability"
    folder.mkdir(parents=True, exist_ok=True)
    what = "faults planted in the code, one at a time: does the test named for each fail?"
    counts = f"{len(results)} of {total} mutations"
    row = f"| {what} | {counts} | every one was caught | {seed} |\n"
    (folder / "95-mutations.row").write_text(row)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", help="parts of names, rows, or files")
    parser.add_argument("--random", type=int, metavar="N", help="so many of one suite, by chance")
    parser.add_argument("--seed", help="what chance goes by; else the commit")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--suite", help="only those that this suite must catch")
    parser.add_argument("--mixed", action="store_true", help="many at once, in several mixes")
    parser.add_argument("--record", action="store_true")
    asked = parser.parse_args()

    everything = mutations()
    chosen = [
        mutation for mutation in everything
        if not asked.names or any(n in mutation.name or n in (mutation.row, mutation.room) for n in asked.names)
    ]
    if asked.suite:
        chosen = [mutation for mutation in chosen if mutation.suite.suite == asked.suite]
    seed = "none: all of them" if chosen == everything else " ".join(asked.names)
    if asked.random is not None:
        seed = asked.seed or commit()
        # Of one suite, so that one binary is built: most of the time goes there.
        dice = random.Random(seed)
        by_suite = [mutation.suite for mutation in chosen]
        enough = [suite for suite in by_suite if by_suite.count(suite) >= asked.random]
        suite = dice.choice(enough or by_suite)
        chosen = [mutation for mutation in chosen if mutation.suite == suite]
        chosen = dice.sample(chosen, min(asked.random, len(chosen)))
        print(f"{len(chosen)} of {len(everything)} mutations; again with --random {asked.random} --seed {seed}")
        seed = f"`--random {asked.random} --seed {seed}`"
    if asked.list:
        for mutation in chosen:
            print(f"{mutation.room:10} {mutation.row:4} {mutation.name}: {mutation.breaks}")
        return 0
    if not chosen:
        sys.exit("no mutation of that name")
    if misplaced(chosen):
        return 1
    if asked.check:
        print(f"all {len(chosen)} apply")
        return 0

    # What is under way is ended and put back, whoever ends this.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    WORK.mkdir(parents=True, exist_ok=True)
    lock = open(WORK / "lock", "w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    sync()
    seed_target()
    began = time.monotonic()
    ok = sound(chosen)
    print(f"without any fault: {time.monotonic() - began:.0f} s", flush=True)
    results = []
    for group in groups(chosen, asked.mixed):
        began = time.monotonic()
        if all(set(mutation.tests) <= ok[mutation.suite] for mutation in group):
            outcomes = plant(group)
        else:
            outcomes = [NO_TEST] * len(group)
        took = (time.monotonic() - began) / len(group)
        for mutation, outcome in zip(group, outcomes):
            results.append((mutation, outcome))
            tests = ", ".join(mutation.tests)
            line = f"{outcome:16} {took:4.0f} s  {mutation.row:4}{mutation.name}  [{mutation.suite.suite}: {tests}]"
            print(line, flush=True)
        if asked.record:
            record(everything, results)
    missed = [mutation for mutation, outcome in results if outcome not in (CAUGHT, HANGS)]
    print(f"{len(results) - len(missed)} of {len(results)} caught")
    if missed:
        return 1
    report(len(everything), results, seed)
    return 0


if __name__ == "__main__":
    sys.exit(main())
