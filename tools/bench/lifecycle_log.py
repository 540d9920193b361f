#!/usr/bin/python3
"""What a run prints, on its way into the log.

Throughput: a Python script in the sandbox that writes -n megabytes (1 024 by default) in pieces of 64 KiB to its standard output, against
the same script writing them to a file of its working directory; each times its own writing, so that a container's start does not count.
At its end at most the pipe's 1 MB is not in the log yet. With and without somebody who follows.
Lag: a script prints its clock 500 times, 5 ms apart; a follower (`runner logs -f`) notes when each line arrives.
"""

from __future__ import annotations

import statistics
import subprocess
import time
from pathlib import Path

from bench_support import Daemon, arguments, status_value, verdict

PIECE = 64 << 10
ROUNDS = 5
LINES = 500

WRITER = """\
import os, sys, time
where, megabytes = sys.argv[1], int(sys.argv[2])
out = 1 if where == "log" else os.open("big", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
piece = (b"step %09d loss 0.123456 accuracy 0.654321 lr 0.000100 time 12.345\\n" % 7 * 1000)[:65536]
begin = time.time()
for _ in range(megabytes * 16):
    written = 0
    while written < len(piece):
        written += os.write(out, piece[written:] if written else piece)
os.makedirs("outputs", exist_ok=True)
with open("outputs/times", "w") as file:
    file.write("%f %f" % (begin, time.time()))
"""

CLOCK = """\
import time
for _ in range(%d):
    time.sleep(0.005)
    print(time.time(), flush=True)
"""


def written(daemon: Daemon, where: str, megabytes: int, follow: bool = False) -> float:
    """Seconds."""
    run = subprocess.run([daemon.runner, "submit", "--detach", "--python", "/usr/bin/python3", "writer.py", where, str(megabytes)],
                         env=daemon.environment, cwd=daemon.source, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                         text=True).stdout.strip()
    follower = subprocess.Popen([daemon.runner, "logs", "-f", run], env=daemon.environment, stdout=subprocess.DEVNULL) if follow else None
    subprocess.run([daemon.runner, "wait", run], env=daemon.environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    if follower:
        follower.wait()
    target = daemon.root / "got"
    subprocess.run([daemon.runner, "run", "download", run, "outputs/times", "-d", str(target)], env=daemon.environment, check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    begin, end = map(float, (target / "outputs" / "times").read_text().split())
    (target / "outputs" / "times").unlink()
    return end - begin


def throughput(daemon: Daemon, megabytes: int) -> None:
    (daemon.source / "writer.py").write_text(WRITER)
    times: dict[str, list[float]] = {"a file of its own": [], "its log": [], "its log, followed": []}
    for _ in range(ROUNDS + 1):
        times["a file of its own"].append(written(daemon, "file", megabytes))
        times["its log"].append(written(daemon, "log", megabytes))
        times["its log, followed"].append(written(daemon, "log", megabytes, follow=True))
    print(f"{megabytes} MB written by a script")
    medians = {}
    for name, values in times.items():
        medians[name] = statistics.median(values[1:])
        print(f"  {name:20s} {megabytes / medians[name]:8.0f} MB/s   n={ROUNDS}")
    for name in ("its log", "its log, followed"):
        ratio = medians["a file of its own"] / medians[name]
        print(f"  {name} against a file: {ratio:.2f} ×  (bar: ≥ 0.8 ×) {'met' if ratio >= 0.8 else 'MISSED'}")
    print(f"  the daemon's memory at its peak: {status_value(daemon.pid(), 'VmHWM') / 1024:.0f} MB")


def lag(daemon: Daemon) -> None:
    (daemon.source / "clock.py").write_text(CLOCK % LINES)
    run = subprocess.run([daemon.runner, "submit", "--detach", "--python", "/usr/bin/python3", "clock.py"], env=daemon.environment,
                         cwd=daemon.source, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout.strip()
    follower = subprocess.Popen([daemon.runner, "logs", "-f", run], env=daemon.environment, stdout=subprocess.PIPE)
    lags = []
    assert follower.stdout is not None
    begin = time.time()
    for line in follower.stdout:
        now = time.time()
        if float(line) > begin:  # printed before anybody followed
            lags.append((now - float(line)) * 1000)
    follower.wait()
    lags.sort()
    print(f"from print() to `logs -f`, {len(lags)} lines")
    verdict("median", statistics.median(lags), 50, "ms")
    verdict("p99", lags[int(len(lags) * 0.99)], 50, "ms")


def measure(binaries: Path, megabytes: int) -> None:
    with Daemon(binaries) as daemon:
        throughput(daemon, megabytes)
        lag(daemon)


if __name__ == "__main__":
    options = arguments(__doc__ or "")
    measure(options.bin, options.n if options.n != 40 else 1024)
