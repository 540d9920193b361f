#!/usr/bin/python3
"""Snapshots of generated trees of 1 000, 20 000 and 60 000 files (6 MB to 750 MB) against git on the same tree.

`runner snapshot create` is what is timed: a whole command against a running daemon, durable on return. Its peers are
`git add -A` (into an empty repository; git's default, which syncs nothing), `git status --porcelain` and
`git ls-files -co --exclude-standard`, alternating with ours. Both page caches are warm. The part about runs measures
from the submit's acknowledgement to the first instruction of the command, less what an empty directory's run takes.

  --sizes 1000,20000    other trees            --curve   first and unchanged up to 1 000 000 files, with the peak memory
  --skip-runs           without the part about runs

Bars: first ≤ 0.2 × git add -A, unchanged ≤ 1.0 × git status, one changed file within 10 % of that, listing ≤ 1.2 × git
ls-files, peak memory of the daemon ≤ 60 MB at 60 000 files; a seen snapshot ≤ 20 ms to the working directory, ten edited
files ≤ 50 ms, a new tree ≤ 1.2 × cp -r.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import statistics
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

from bench_support import Daemon, alternate, milliseconds, report, status_value, verdict

MEAN_BYTES = {1_000: 6_150, 20_000: 10_000, 60_000: 12_400}  # of a file: 6, 200 and 750 MB in all
FILES_IN_DIRECTORY = 29  # as in a source tree
POOL = 8 << 20


def make_tree(root: Path, files: int, mean: int) -> int:
    """Deterministic: two files in three are text, the third random bytes; returns the bytes written."""
    rng = random.Random(files)
    words = [bytes(rng.choices(b"abcdefghijklmnopqrstuvwxyz_", k=rng.randint(2, 11))) for _ in range(3000)]
    text = b"".join(rng.choice(words) + rng.choice((b" ", b" ", b"(", b", ", b":\n    ")) for _ in range(POOL // 8))
    noise = rng.randbytes(POOL)
    total = 0
    for number in range(files):
        if number % FILES_IN_DIRECTORY == 0:
            group = number // FILES_IN_DIRECTORY
            directory = root / f"d{group // 31}" / f"e{group % 31}"
            directory.mkdir(parents=True, exist_ok=True)
        size = min(int(rng.lognormvariate(0, 1) * mean / 1.6487), 30 * mean)
        pool = noise if number % 3 == 2 else text
        at = rng.randrange(len(pool) - size - 32)
        content = b"%d\n" % number + pool[at:at + size]
        (directory / f"f{number}.py").write_bytes(content)
        total += len(content)
    return total


def git(tree: Path, *arguments: str) -> None:
    subprocess.run(["git", "-C", str(tree), *arguments], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def fresh_repository(tree: Path) -> None:
    shutil.rmtree(tree / ".git", ignore_errors=True)
    git(tree, "init", "-q")


def settle() -> None:
    """Every contender starts with a disk at rest."""
    os.sync()


class Bench:
    def __init__(self, binaries: Path, repetitions: int) -> None:
        self.binaries = binaries
        self.repetitions = repetitions
        self.git_environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}

    def create(self, daemon: Daemon, tree: Path) -> float:
        return milliseconds([daemon.runner, "snapshot", "create"], daemon.environment, tree)

    def first(self, tree: Path, rounds: int) -> tuple[float, float, int]:
        """Medians of ours and git's, and the daemon's peak in kB."""
        ours, theirs, peak = [], [], 0
        for _ in range(rounds):
            fresh_repository(tree)
            settle()
            theirs.append(milliseconds(["git", "add", "-A"], self.git_environment, tree))
            with Daemon(self.binaries) as daemon:
                settle()
                ours.append(self.create(daemon, tree))
                peak = max(peak, status_value(daemon.pid(), "VmHWM"))
        return statistics.median(ours), statistics.median(theirs), peak

    def tree(self, tree: Path, files: int) -> None:
        first, add, peak = self.first(tree, 5 if files <= 1000 else 3 if files <= 20_000 else 2)
        print(f"  first snapshot, durable {first:.0f} ms, git add -A {add:.0f} ms")
        verdict("first / git add -A", first / add, 0.2)
        with Daemon(self.binaries) as daemon:
            self.create(daemon, tree)
            git(tree, "status")  # refreshes the index, so that git need not read the files again
            changing = tree / "d0" / "e0" / "f7.py"
            content, turn = changing.read_bytes(), 0

            def one_changed() -> float:
                nonlocal turn
                turn += 1
                changing.write_bytes(content + b"%d" % turn)
                return self.create(daemon, tree)

            def unchanged() -> float:
                return self.create(daemon, tree)

            def back_to_rest() -> float:  # a round ends with the tree that the next one starts with
                changing.write_bytes(content)
                self.create(daemon, tree)
                git(tree, "status")
                return 0.0

            times = alternate(self.repetitions, {
                "unchanged": unchanged,
                "git status --porcelain": lambda: milliseconds(["git", "status", "--porcelain"], self.git_environment, tree),
                "runner snapshot ls-files": lambda: milliseconds([daemon.runner, "snapshot", "ls-files"],
                                                                 daemon.environment, tree),
                "git ls-files -co": lambda: milliseconds(["git", "ls-files", "-co", "--exclude-standard"],
                                                         self.git_environment, tree),
                "one changed file": one_changed,
                "(rest)": back_to_rest,
            })
            del times["(rest)"]
            medians = report("  whole commands", times)
            verdict("unchanged / git status", medians["unchanged"] / medians["git status --porcelain"], 1.0)
            verdict("one changed / unchanged", medians["one changed file"] / medians["unchanged"], 1.1)
            extra = medians["one changed file"] - medians["unchanged"]
            if extra > 0.1 * medians["unchanged"]:
                print(f"    its {extra:.1f} ms more are the file read, one synced commit (a sync of this disk: "
                      f"{self.sync_milliseconds(tree):.1f} ms), and up to one clock tick (10 ms) until a file that was "
                      "written just now can be trusted")
            verdict("listing / git ls-files", medians["runner snapshot ls-files"] / medians["git ls-files -co"], 1.2)
            peak = max(peak, status_value(daemon.pid(), "VmHWM"))
        if files == 60_000:
            verdict("peak memory of the daemon", peak / 1000, 60, "MB")
        else:
            print(f"  peak memory of the daemon: {peak / 1000:.0f} MB")

    @staticmethod
    def sync_milliseconds(directory: Path) -> float:
        path = directory / ".git" / "bench-sync"
        times = []
        with open(path, "wb") as file:
            for _ in range(20):
                file.write(b"x" * 4096)
                file.flush()
                begin = time.perf_counter()
                os.fdatasync(file.fileno())
                times.append((time.perf_counter() - begin) * 1000)
        path.unlink()
        return statistics.mean(times)

    # Runs ------------------------------------------------------------------------------------------------------------

    def start_milliseconds(self, daemon: Daemon, source: Path) -> float:
        """From the acknowledgement (the run's creation) to the start of the command."""
        daemon.source = source
        run = daemon.submit_detached("/bin/true")
        daemon.json("wait", run)
        document = daemon.json("show", run)
        times = [datetime.fromisoformat(document[key].replace("Z", "+00:00")) for key in ("createdTimeUtc", "startTimeUtc")]
        return (times[1] - times[0]).total_seconds() * 1000

    def runs(self, tree: Path, files: int) -> None:
        with Daemon(self.binaries) as daemon:
            empty = daemon.root / "empty"
            empty.mkdir()
            for _ in range(3):
                self.start_milliseconds(daemon, empty)
            base = statistics.median(self.start_milliseconds(daemon, empty) for _ in range(9))
            copy = daemon.root / "copy"
            settle()
            copying = milliseconds(["cp", "-r", str(tree), str(copy)], dict(os.environ), daemon.root)
            shutil.rmtree(copy)
            settle()
            new = self.start_milliseconds(daemon, tree) - base
            seen = statistics.median(self.start_milliseconds(daemon, tree) for _ in range(9)) - base
            edited = []
            for turn in range(5):
                for number in range(10):
                    with open(tree / "d0" / "e0" / f"f{number}.py", "ab") as file:
                        file.write(b"# %d\n" % turn)
                edited.append(self.start_milliseconds(daemon, tree) - base)
        print(f"  from acknowledgement to the working directory, less an empty directory's run ({base:.0f} ms); "
              f"cp -r {copying:.0f} ms")
        verdict("new tree / cp -r", new / copying, 1.2)
        verdict("seen snapshot", seen, 20, "ms")
        verdict("ten edited files", statistics.median(edited), 50, "ms")

    def curve(self, root: Path) -> None:
        print("curve: small files (1 kB), milliseconds and microseconds a file")
        for files in (1_000, 10_000, 100_000, 300_000, 1_000_000):
            tree = root / f"curve-{files}"
            make_tree(tree, files, 1_000)
            with Daemon(self.binaries) as daemon:
                settle()
                first = self.create(daemon, tree)
                after_first = status_value(daemon.pid(), "VmHWM")
                unchanged = statistics.median(self.create(daemon, tree) for _ in range(3))
                peak = status_value(daemon.pid(), "VmHWM")
            print(f"  {files:9d} files   first {first:9.0f} ms ({first * 1000 / files:5.1f} µs)   unchanged {unchanged:8.1f} ms "
                  f"({unchanged * 1000 / files:4.2f} µs)   peak {after_first / 1000:.0f} MB, {peak / 1000:.0f} MB")
            shutil.rmtree(tree)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", type=Path, default=os.environ.get("RUNNER_BIN_DIR"), help="directory of the built programs")
    parser.add_argument("-n", type=int, default=15, help="repetitions per contender")
    parser.add_argument("--sizes", default="1000,20000,60000")
    parser.add_argument("--curve", action="store_true")
    parser.add_argument("--skip-runs", action="store_true")
    options = parser.parse_args()
    if options.bin is None:
        sys.exit("no programs: give --bin DIR or set RUNNER_BIN_DIR")
    bench = Bench(Path(options.bin).resolve(), options.n)
    with Daemon(bench.binaries) as scratch:  # for its directory
        for files in (int(size) for size in options.sizes.split(",") if size):
            tree = scratch.root / f"tree-{files}"
            total = make_tree(tree, files, MEAN_BYTES.get(files, 10_000))
            print(f"{files} files, {total / 1e6:.0f} MB")
            bench.tree(tree, files)
            if not options.skip_runs:
                bench.runs(tree, files)
            shutil.rmtree(tree)
        if options.curve:
            bench.curve(scratch.root)


if __name__ == "__main__":
    main()
