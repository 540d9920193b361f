"""What the benchmarks share: a private daemon, timing of whole commands, medians.

Every benchmark measures its peer in the same run, alternating with ours, and prints ratios: absolute times on a shared
machine mean little. Times are milliseconds of wall clock from spawn to reaped exit.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Callable, Sequence


class Connection(http.client.HTTPConnection):
    """To a daemon's socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("runner")
        self.path = str(path)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)


class Daemon:
    """A `runnerd` on a private home; `with` stops it and removes the home."""

    def __init__(self, binaries: Path, parallel: int = 1) -> None:
        self.binaries = binaries
        # Not below /tmp when that is a tmpfs: overlayfs and fsync should cost what they cost a user.
        self.root = Path(tempfile.mkdtemp(prefix="runner-bench-", dir=os.environ.get("RUNNER_BENCH_DIR")))
        self.home = self.root / "home"
        self.source = self.root / "source"
        self.source.mkdir()
        config = self.root / "config" / "runner"
        config.mkdir(parents=True)
        (config / "config.toml").write_text(f"parallel = {parallel}\n")
        self.environment = {
            **os.environ,
            "RUNNER_HOME": str(self.home),
            "XDG_CONFIG_HOME": str(self.root / "config"),
        }

    def __enter__(self) -> "Daemon":
        subprocess.run([self.runner, "daemon", "start"], env=self.environment, check=True, stdout=subprocess.DEVNULL)
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run([self.runner, "daemon", "stop", "--cancel-runs"], env=self.environment, check=False,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        shutil.rmtree(self.root, ignore_errors=True)

    @property
    def runner(self) -> str:
        return str(self.binaries / "runner")

    def pid(self) -> int:
        return int(self.json("daemon", "status")["pid"])

    def json(self, *arguments: str) -> dict:
        done = subprocess.run([self.runner, *arguments, "--json"], env=self.environment, cwd=self.source, check=True,
                              stdout=subprocess.PIPE)
        return json.loads(done.stdout)

    def submit_detached(self, *command: str, options: Sequence[str] = ("--python", "/usr/bin/python3")) -> str:
        done = subprocess.run([self.runner, "submit", "--detach", *options, "--command", *command],
                              env=self.environment, cwd=self.source, check=True, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, text=True)
        return done.stdout.strip()

    def wait_for_file(self, path: Path, seconds: float = 10) -> None:
        deadline = time.monotonic() + seconds
        while not path.exists():
            if time.monotonic() > deadline:
                raise TimeoutError(f"no {path}")
            time.sleep(0.005)

    def wait_for_absence(self, path: Path, seconds: float = 20) -> None:
        deadline = time.monotonic() + seconds
        while path.exists():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{path} is still there")
            time.sleep(0.01)


def status_value(pid: int, key: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1])
    raise KeyError(key)


def context_switches(pid: int) -> int:
    """Voluntary and involuntary switches of all threads: each is a wake-up."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        for line in (task / "status").read_text().splitlines():
            if "ctxt_switches" in line:
                total += int(line.split()[1])
    return total


def milliseconds(command: Sequence[str], environment: dict, directory: Path) -> float:
    """Wall-clock time of one command, output discarded; raises when it fails."""
    quiet = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in (0, 1, 2)]
    previous = os.getcwd()
    os.chdir(directory)
    try:
        begin = time.perf_counter_ns()
        pid = os.posix_spawnp(command[0], list(command), environment, file_actions=quiet)
        _, status = os.waitpid(pid, 0)
        end = time.perf_counter_ns()
    finally:
        os.chdir(previous)
    if os.waitstatus_to_exitcode(status) != 0:
        raise RuntimeError(f"failed with {os.waitstatus_to_exitcode(status)}: {' '.join(command)}")
    return (end - begin) / 1e6


def alternate(repetitions: int, contenders: dict[str, Callable[[], float]]) -> dict[str, list[float]]:
    """Every contender once per round, so that the machine's moods hit all of them alike."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for measure in contenders.values():
        measure()  # warm up
    for _ in range(repetitions):
        for name, measure in contenders.items():
            times[name].append(measure())
    return times


def report(title: str, times: dict[str, list[float]]) -> dict[str, float]:
    medians = {name: statistics.median(values) for name, values in times.items()}
    print(title)
    for name, values in times.items():
        ordered = sorted(values)
        tail = ordered[min(len(ordered) - 1, int(len(ordered) * 0.9))]
        print(f"  {name:34s} median {medians[name]:8.2f} ms   p90 {tail:8.2f} ms   n={len(values)}")
    return medians


def verdict(name: str, value: float, bound: float, unit: str = "×", least: bool = False) -> None:
    met = value >= bound if least else value <= bound
    print(f"  {name}: {value:.2f} {unit}  (bar: {'≥' if least else '≤'} {bound:g} {unit}) {'met' if met else 'MISSED'}")


def arguments(description: str, *more: Callable[[argparse.ArgumentParser], object]) -> argparse.Namespace:
    """The options of every benchmark; `more` add those of one."""
    parser = argparse.ArgumentParser(description=description)
    for add in more:
        add(parser)
    parser.add_argument("--bin", type=Path, default=os.environ.get("RUNNER_BIN_DIR"), help="directory of the built programs")
    parser.add_argument("-n", type=int, default=40, help="repetitions per contender")
    parsed = parser.parse_args()
    if parsed.bin is None:
        found = shutil.which("runner")
        if not found:
            sys.exit("no programs: give --bin DIR or set RUNNER_BIN_DIR")
        parsed.bin = Path(found).resolve().parent
    parsed.bin = Path(parsed.bin).resolve()
    return parsed
