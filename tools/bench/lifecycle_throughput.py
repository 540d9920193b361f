#!/usr/bin/python3
"""How many runs a second: a thousand no-ops through the sandbox, against `runc run --detach` and bare `crun run` of the
same bundle at the same parallelism; and the queue alone, without execution.

Ours are submitted to a paused queue (that is not measured), then the queue is let go; measured until the last one has
ended with everything collected and stored. The peers keep nothing. The queue alone is `bench_scheduling`: rows, queue,
start and end, each acknowledged durably; its peer is how often this disk syncs.

Bars: ≥ 1.0 × runc, ≥ 0.4 × crun; ≥ 5 000 runs/s alone.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
import time
from pathlib import Path

from bench_support import Connection, Daemon, alternate, arguments, report, verdict
from noop import peer_bundle

RUNS = 1000
PARALLEL = 2 * (os.cpu_count() or 1)


def ours(daemon: Daemon) -> float:
    """Milliseconds for each of RUNS no-ops."""
    subprocess.run([daemon.runner, "queue", "pause"], env=daemon.environment, check=True, stdout=subprocess.DEVNULL)
    body = json.dumps({"command": ["/bin/true"], "sourceDirectory": str(daemon.source), "python": "/usr/bin/python3"})
    connection = Connection(daemon.home / "control.sock")

    def ask(method: str, target: str, text: str | None = None) -> dict:
        connection.request(method, target, text)
        answer = connection.getresponse()
        document = json.loads(answer.read())
        if answer.status >= 300:
            raise RuntimeError(document)
        return document

    runs = [ask("POST", "/v1/runs", body)["runId"] for _ in range(RUNS)]
    begin = time.perf_counter_ns()
    ask("POST", "/v1/queue/resume", "{}")
    for run in reversed(runs):  # the last one ends among the last: few questions
        ended = ask("GET", f"/v1/runs/{run}/wait")
        if ended["status"] != "Completed":
            raise RuntimeError(ended["statusReason"])
    each = (time.perf_counter_ns() - begin) / 1e6 / RUNS
    connection.close()
    return each


def loop(bundles: list[Path], commands: str, hide_cgroups: bool = False) -> float:
    """Milliseconds for each of RUNS rounds of the shell's `commands`, shared out to a worker a bundle ($b, $name)."""
    hide = "mount -t tmpfs none /sys/fs/cgroup; " if hide_cgroups else ""  # crun refuses hybrid machines
    workers = []
    begin = time.perf_counter_ns()
    for bundle in bundles:
        script = f"{hide}b={bundle} name={bundle.name} i=0; while [ $i -lt {RUNS // len(bundles)} ]; do {commands} || exit 1; i=$((i+1)); done"
        workers.append(subprocess.Popen(["unshare", "--mount", "sh", "-c", script], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL))
    if any(worker.wait() for worker in workers):
        raise RuntimeError(f"failed: {commands}")
    return (time.perf_counter_ns() - begin) / 1e6 / RUNS


def detached(bundles: list[Path]) -> float:
    """From start to deleted; /bin/true has ended by the time its container is deleted, or nearly."""
    return loop(bundles, "runc --root $b/state run --detach --bundle $b/bundle $name && runc --root $b/state delete --force $name")


def bare(bundles: list[Path]) -> float:
    return loop(bundles, "crun --root $b/state --cgroup-manager=disabled run --bundle $b/bundle $name", hide_cgroups=True)


def scheduling(program: Path) -> float:
    """Milliseconds for each run of the queue alone."""
    with tempfile.TemporaryDirectory(prefix="runner-bench-", dir=os.environ.get("RUNNER_BENCH_DIR")) as directory:
        done = subprocess.run([program, directory, "10000", "32"], check=True, stdout=subprocess.PIPE)
        return 1000 / json.loads(done.stdout)["runsPerSecond"]


def sync() -> float:
    """Milliseconds of one write and fdatasync."""
    with tempfile.NamedTemporaryFile(dir=os.environ.get("RUNNER_BENCH_DIR")) as file:
        begin = time.perf_counter_ns()
        for i in range(200):
            os.pwrite(file.fileno(), bytes(8192), i * 8192)
            os.fdatasync(file.fileno())
        return (time.perf_counter_ns() - begin) / 1e6 / 200


def measure(options: argparse.Namespace) -> None:
    with Daemon(options.bin, parallel=PARALLEL) as daemon:
        bundles = []
        for i in range(PARALLEL):
            bundle = peer_bundle(daemon, ["/bin/true"], f"peer{i}")
            bundles.append(bundle)
        times = alternate(max(1, options.n // 20), {
            "crun run": lambda: bare(bundles),
            "runc run --detach, delete": lambda: detached(bundles),
            "ours": lambda: ours(daemon)})
        medians = report(f"each of {RUNS} no-ops, {PARALLEL} at a time", times)
        verdict("throughput / runc --detach", medians["runc run --detach, delete"] / medians["ours"], 1.0, "×", least=True)
        verdict("throughput / crun", medians["crun run"] / medians["ours"], 0.4, "×", least=True)
    program = options.bin / "bench_scheduling"
    subprocess.run(["cmake", "--build", str(options.bin.parent), "--target", "bench_scheduling"], check=True, stdout=subprocess.DEVNULL)
    medians = report("the queue alone", alternate(3, {"one sync of this disk": sync, "a run": lambda: scheduling(program)}))
    verdict("runs a second", 1000 / medians["a run"], 5000, "", least=True)


if __name__ == "__main__":
    measure(arguments(__doc__ or ""))
