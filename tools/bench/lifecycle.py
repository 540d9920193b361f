#!/usr/bin/python3
"""A full queue: what 10 000 waiting runs cost.

Submits -n times 250 runs (10 000 by default) to a paused queue over one connection, against as many durable inserts of a row in an SQLite
database of its own. Then: the daemon's memory a waiting run, a listing of the newest ten and of the whole queue, and wake-ups while
it waits. Then lifecycle_log.py, and lifecycle_kill.py: the end of a large tree.
"""

from __future__ import annotations

import json
import sqlite3
import subprocess
import time
from pathlib import Path

import lifecycle_kill
import lifecycle_log
import lifecycle_throughput
from bench_support import Connection, Daemon, alternate, arguments, context_switches, milliseconds, report, status_value, verdict

BATCH = 250
IDLE_SECONDS = 5


def main() -> None:
    options = arguments(__doc__ or "")
    with Daemon(options.bin) as daemon:
        subprocess.run([daemon.runner, "queue", "pause"], env=daemon.environment, check=True, stdout=subprocess.DEVNULL)
        body = json.dumps({"command": ["true"], "sourceDirectory": str(daemon.source), "python": "/usr/bin/python3"})
        connection = Connection(daemon.home / "control.sock")

        def submit() -> float:
            begin = time.perf_counter_ns()
            for _ in range(BATCH):
                connection.request("POST", "/v1/runs", body)
                answer = connection.getresponse()
                if answer.read() and answer.status != 201:
                    raise RuntimeError(f"status {answer.status}")
            return (time.perf_counter_ns() - begin) / 1e6 / BATCH

        peer = sqlite3.connect(daemon.root / "peer.db", isolation_level=None)
        peer.execute("PRAGMA journal_mode=wal")
        peer.execute("PRAGMA synchronous=full")
        peer.execute("CREATE TABLE run(seq INTEGER PRIMARY KEY, id TEXT UNIQUE, definition TEXT)")

        def insert() -> float:
            begin = time.perf_counter_ns()
            for i in range(BATCH):
                peer.execute("INSERT INTO run(id, definition) VALUES (?, ?)", (f"{begin}_{i}", body * 4))
            return (time.perf_counter_ns() - begin) / 1e6 / BATCH

        empty = status_value(daemon.pid(), "VmRSS")
        times = alternate(options.n, {"a durable row in SQLite": insert, "a submit to a paused queue": submit})
        medians = report("a run that waits", times)
        connection.close()
        print(f"  ratio: {medians['a submit to a paused queue'] / medians['a durable row in SQLite']:.2f} ×")
        print(f"  the last submits against the first: {times['a submit to a paused queue'][-1] / times['a submit to a paused queue'][0]:.2f} ×")
        waiting = len(daemon.json("queue", "list")["items"])
        verdict(f"memory of each of {waiting}", (status_value(daemon.pid(), "VmRSS") - empty) / waiting, 4, "KB")
        report("listings", alternate(10, {
            "git --version": lambda: milliseconds(["git", "--version"], daemon.environment, daemon.root),
            "run list, the newest ten": lambda: milliseconds([daemon.runner, "run", "list"], daemon.environment, daemon.root),
            "queue list, all of it": lambda: milliseconds([daemon.runner, "queue", "list"], daemon.environment, daemon.root)}))
        time.sleep(1)
        before = context_switches(daemon.pid())
        time.sleep(IDLE_SECONDS)
        verdict(f"wake-ups in {IDLE_SECONDS} s", context_switches(daemon.pid()) - before, 0, "")
    lifecycle_log.measure(options.bin)
    lifecycle_throughput.measure(options)
    lifecycle_kill.main()


if __name__ == "__main__":
    main()
