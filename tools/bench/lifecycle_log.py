#!/usr/bin/python3
"""What a run prints, on its way into the log.

Throughput: a Python script in the sandbox that writes to its standard output, against the same script writing the same bytes to a file of
its working directory, alternating; each times its own writing, so that a container's start does not count. Once a million lines of 70
bytes, a write(2) each, as scripts with PYTHONUNBUFFERED print; once 1 GB in pieces of 64 KiB, which is as fast as the page cache takes them.
At its end at most the pipe's 1 MB is not in the log yet. With and without somebody who follows.
Lag: a script prints its clock 500 times, 5 ms apart; a follower (`runner logs -f`) notes when each line arrives.
"""

from __future__ import annotations

import statistics
import subprocess
import time
from pathlib import Path

from bench_support import Daemon, arguments, status_value, verdict

ROUNDS = 5
LINES = 500
KINDS = {"lines": (71, 1_000_000), "pieces of 64 KiB": (65536, 16384)}  # bytes, how many

WRITER = """\
import os, sys, time
where, size, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
out = 1 if where == "log" else os.open("big", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
piece = (b"step 000000000 loss 0.123456 accuracy 0.654321 lr 0.000100 time 12.345\\n" * 1000)[:size]
write = os.write
begin = time.time()
for _ in range(count):
    written = write(out, piece)
    while written < size:
        written += write(out, piece[written:])
seconds = time.time() - begin
os.makedirs("outputs", exist_ok=True)
with open("outputs/seconds", "w") as file:
    file.write(str(seconds))
"""

CLOCK = """\
import time
for _ in range(%d):
    time.sleep(0.005)
    print(time.time(), flush=True)
"""


def submit(daemon: Daemon, *arguments: str) -> str:
    done = subprocess.run([daemon.runner, "submit", "--detach", "--python", "/usr/bin/python3", *arguments], env=daemon.environment,
                          cwd=daemon.source, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return done.stdout.strip()


def seconds_of(daemon: Daemon, where: str, size: int, count: int, follow: bool = False) -> float:
    """What the script needed for its writing."""
    run = submit(daemon, "writer.py", where, str(size), str(count))
    follower = subprocess.Popen([daemon.runner, "logs", "-f", run], env=daemon.environment, stdout=subprocess.DEVNULL) if follow else None
    subprocess.run([daemon.runner, "wait", run], env=daemon.environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    if follower:
        follower.wait()
    target = daemon.root / "got"
    subprocess.run([daemon.runner, "run", "download", run, "outputs/seconds", "-d", str(target)], env=daemon.environment, check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    found = target / "outputs" / "seconds"
    seconds = float(found.read_text())
    found.unlink()
    return seconds


def throughput(daemon: Daemon, kind: str, size: int, count: int) -> None:
    (daemon.source / "writer.py").write_text(WRITER)
    times: dict[str, list[float]] = {"a file of its own": [], "its log": [], "its log, followed": []}
    for _ in range(ROUNDS + 1):
        times["a file of its own"].append(seconds_of(daemon, "file", size, count))
        times["its log"].append(seconds_of(daemon, "log", size, count))
        times["its log, followed"].append(seconds_of(daemon, "log", size, count, follow=True))
    print(f"{size * count / 1e6:.0f} MB written by a script in {kind}")
    medians = {}
    for name, values in times.items():
        medians[name] = statistics.median(values[1:])
        print(f"  {name:20s} {size * count / 1e6 / medians[name]:8.0f} MB/s   n={ROUNDS}")
    for name in ("its log", "its log, followed"):
        ratio = medians["a file of its own"] / medians[name]
        print(f"  {name} against a file: {ratio:.2f} ×  (bar: ≥ 0.8 ×) {'met' if ratio >= 0.8 else 'MISSED'}")


def lag(daemon: Daemon) -> None:
    (daemon.source / "clock.py").write_text(CLOCK % LINES)
    run = submit(daemon, "clock.py")
    follower = subprocess.Popen([daemon.runner, "logs", "-f", run], env=daemon.environment, stdout=subprocess.PIPE)
    lags = []
    assert follower.stdout is not None
    begin = time.time()
    for line in follower.stdout:
        now = time.time()
        if float(line) > begin:  # else printed before anybody followed
            lags.append((now - float(line)) * 1000)
    follower.wait()
    lags.sort()
    print(f"from print() to `logs -f`, {len(lags)} lines")
    verdict("median", statistics.median(lags), 50, "ms")
    verdict("p99", lags[int(len(lags) * 0.99)], 50, "ms")


def measure(binaries: Path) -> None:
    with Daemon(binaries) as daemon:
        for kind, (size, count) in KINDS.items():
            throughput(daemon, kind, size, count)
        print(f"  the daemon's memory at its peak: {status_value(daemon.pid(), 'VmHWM') / 1024:.0f} MB")
        lag(daemon)


if __name__ == "__main__":
    measure(arguments(__doc__ or "").bin)
