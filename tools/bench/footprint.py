#!/usr/bin/python3
"""What is there when nothing happens: start of the command, the idle daemon, one shim.

Bars: `runner --version` ≤ 5 ms; idle daemon ≤ 20 MB resident, no wake-ups; a shim's own memory (RssAnon) ≤ 2 MB.
The lag of `logs -f` is printed beside them (a line must be visible within 100 ms).
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import time

from bench_support import Daemon, alternate, arguments, context_switches, milliseconds, report, status_value, verdict

IDLE_SECONDS = 10


def log_lag(daemon: Daemon, lines: int = 50) -> float:
    """Median milliseconds from a print in the script to its arrival at a follower, both on this clock."""
    script = ("import time\n"
              f"for _ in range({lines}):\n"
              "    print(time.clock_gettime_ns(time.CLOCK_MONOTONIC), flush=True)\n"
              "    time.sleep(0.02)\n")
    follower = subprocess.Popen(
        [daemon.runner, "submit", "--python", "/usr/bin/python3", "--command", "/usr/bin/python3", "-c", script],
        env=daemon.environment, cwd=daemon.source, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert follower.stdout is not None
    lags = []
    for line in iter(follower.stdout.readline, b""):
        lags.append((time.clock_gettime_ns(time.CLOCK_MONOTONIC) - int(line)) / 1e6)
    follower.wait()
    return statistics.median(lags)


def main() -> None:
    options = arguments(__doc__)
    with Daemon(options.bin) as daemon:
        times = alternate(options.n, {
            "runner --version": lambda: milliseconds([daemon.runner, "--version"], daemon.environment, daemon.root),
            "git --version": lambda: milliseconds(["git", "--version"], dict(os.environ), daemon.root),
        })
        medians = report("start of a command", times)
        verdict("runner --version", medians["runner --version"], 5.0, "ms")

        pid = daemon.pid()
        print("idle daemon, fresh")
        verdict("resident", status_value(pid, "VmRSS") / 1024, 20, "MB")
        for _ in range(20):
            milliseconds([daemon.runner, "submit", "--python", "/usr/bin/python3", "--command", "true"], daemon.environment,
                         daemon.source)
        time.sleep(1)  # the last collection and its threads come to rest
        before = context_switches(pid)
        time.sleep(IDLE_SECONDS)
        print("idle daemon, after 20 runs")
        verdict("resident", status_value(pid, "VmRSS") / 1024, 20, "MB")
        verdict(f"wake-ups in {IDLE_SECONDS} s", context_switches(pid) - before, 0, "")

        run = daemon.submit_detached("sleep", "600")
        directory = daemon.home / "runs" / run
        daemon.wait_for_file(directory / "start.json")
        shim = json.loads((directory / "claim.json").read_text())["shim"]["pid"]
        print("one shim")
        verdict("own memory (RssAnon)", status_value(shim, "RssAnon") / 1024, 2, "MB")
        daemon.json("cancel", run)
        daemon.wait_for_absence(directory)
        print("following a log")
        verdict("lag, median", log_lag(daemon), 100, "ms")


if __name__ == "__main__":
    main()
