#!/usr/bin/python3
"""Back in service: from SIGKILL of the daemon until the next one answers.

Three homes: an empty one, one with 10 000 queued runs and 20 running, one with a history of 1 000 000 runs (`--history`). What is
measured is what a user sees: the time of `runner run list` on a home whose daemon has just been killed; it starts the next one, which
serves when it has recovered everything: the runs that live have their resources, the queue its order. The peer is the same
command on an empty home. After that, one of the running runs is cancelled, and has to end as any other.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import statistics
import subprocess
import time
from pathlib import Path

from bench_support import Connection, Daemon, arguments, milliseconds, verdict

RUNNING = 20
QUEUED = 10_000


def submit(daemon: Daemon, command: list[str], count: int) -> list[str]:
    body = {"command": command, "sourceDirectory": str(daemon.source), "python": "/usr/bin/python3"}
    connection = Connection(daemon.home / "control.sock")
    ids = []
    for _ in range(count):
        connection.request("POST", "/v1/runs", json.dumps(body))
        answer = connection.getresponse()
        document = json.loads(answer.read())
        if answer.status != 201:
            raise RuntimeError(document)
        ids.append(document["runId"])
    connection.close()
    return ids


def history(path: Path, runs: int) -> None:
    """Copies of the one run that is there, as it is after it has ended: the runner's own rows, so many times."""
    database = sqlite3.connect(path)
    database.execute("PRAGMA synchronous=off")
    (seq,) = database.execute("SELECT seq FROM run WHERE status = 'Completed'").fetchone()

    def columns(table: str) -> list[str]:
        return [row[1] for row in database.execute(f"PRAGMA table_info({table})")]

    numbers = f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {runs})"
    changed = {"seq": f"{seq} + n.i", "id": "printf('bench_%d_%08x', 1700000000 + n.i, n.i)", "idempotency_key": "NULL"}
    names = columns("run")
    database.execute(f"INSERT INTO run({', '.join(names)}) {numbers} SELECT {', '.join(changed.get(n, n) for n in names)}"
                     f" FROM n, run WHERE seq = {seq}")
    for table in ("submission", "property", "artifact"):
        names = columns(table)
        database.execute(f"INSERT INTO {table}({', '.join(names)}) {numbers}"
                         f" SELECT {', '.join(f'{seq} + n.i' if n == 'run' else n for n in names)} FROM n, {table} WHERE run = {seq}")
    database.commit()
    database.close()


def recovery(daemon: Daemon) -> float:
    pid = daemon.pid()
    os.kill(pid, signal.SIGKILL)
    while Path(f"/proc/{pid}").exists():
        time.sleep(0.001)
    return milliseconds([daemon.runner, "run", "list"], daemon.environment, daemon.source)


def measure(name: str, daemon: Daemon, repetitions: int) -> float:
    times = [recovery(daemon) for _ in range(repetitions)]
    print(f"  {name}: median {statistics.median(times):.0f} ms, worst {max(times):.0f} ms of {repetitions}")
    return statistics.median(times)


def main() -> None:
    options = arguments(__doc__ or "", lambda parser: parser.add_argument(
        "--history", type=int, default=1_000_000, help="runs of the third home"))
    print("back in service after SIGKILL")
    with Daemon(options.bin, parallel=RUNNING) as daemon:
        peer = measure("an empty home", daemon, options.n)
    with Daemon(options.bin, parallel=RUNNING) as daemon:
        running = submit(daemon, ["sleep", "10000"], RUNNING)
        for run in running:
            daemon.wait_for_file(daemon.home / "runs" / run / "start.json", 30)
        submit(daemon, ["true"], QUEUED)
        full = measure(f"{QUEUED} queued and {RUNNING} running", daemon, options.n)
        verdict("10 000 queued and 20 running", full / 1000, 1, "s")
        print(f"  ratio to an empty home: {full / peer:.1f} ×")
        subprocess.run([daemon.runner, "queue", "pause"], env=daemon.environment, check=True, stdout=subprocess.DEVNULL)
        subprocess.run([daemon.runner, "run", "cancel", running[0]], env=daemon.environment, check=False,
                       stdout=subprocess.DEVNULL)
        daemon.wait_for_absence(daemon.home / "runs" / running[0])
        (ended,) = [run for run in daemon.json("run", "list", "--status", "Canceled")["items"] if run["runId"] == running[0]]
        print(f"  one of the adopted runs was cancelled: {ended['status']}")
    with Daemon(options.bin, parallel=1) as daemon:
        subprocess.run([daemon.runner, "submit", "--python", "/usr/bin/python3", "--command", "true"], env=daemon.environment,
                       cwd=daemon.source, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        subprocess.run([daemon.runner, "daemon", "stop"], env=daemon.environment, check=True, stdout=subprocess.DEVNULL)
        history(daemon.home / "runner.db", options.history)
        subprocess.run([daemon.runner, "daemon", "start"], env=daemon.environment, check=True, stdout=subprocess.DEVNULL)
        large = measure(f"a history of {options.history} runs", daemon, options.n)
        verdict(f"a history of {options.history} runs", large / 1000, 1, "s")
        print(f"  ratio to an empty home: {large / peer:.1f} ×")


if __name__ == "__main__":
    main()
