#!/usr/bin/python3
"""The end of a tree of 200 processes that ignore SIGTERM, half of them in sessions of their own, at a time limit.

Milliseconds after the grace until the run's exit.json is there (its container is empty, its log synced) and until the run is final
(outputs and history stored), against an OCI runtime's own `kill KILL` of the same tree, from its start until the container's last process
is gone. Bar: 50 ms until exit.json.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import threading
import time
from pathlib import Path

from bench_support import Connection, Daemon, alternate, arguments, report, verdict
from noop import peer_bundle

PROCESSES = 200
LIMIT_SECONDS = 1.5  # long enough to make the tree
GRACE_SECONDS = 0.2
TREE = ("trap \"\" TERM HUP; i=1; while [ $i -lt %d ]; do sleep 600 & i=$((i+1)); setsid sleep 600 & i=$((i+1)); done; "
        "echo ready; while :; do sleep 600; done" % PROCESSES)


def wait_for_text(path: Path, text: str, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not (path.exists() and text in path.read_text(errors="replace")):
        if time.monotonic() > deadline:
            raise TimeoutError(f"no {text} in {path}")
        time.sleep(0.002)


def our_kill(daemon: Daemon) -> dict[str, float]:
    """Milliseconds after limit and grace: until exit.json, until the run is final."""
    run = daemon.submit_detached("sh", "-c", TREE, options=("--python", "/usr/bin/python3", "--max-run-duration", f"{LIMIT_SECONDS}s",
                                                            "--grace", f"{GRACE_SECONDS * 1000:.0f}ms"))
    directory = daemon.home / "runs" / run
    daemon.wait_for_file(directory / "start.json")
    due = json.loads((directory / "start.json").read_text())["deadlineMonotonicNanos"] / 1e9 + GRACE_SECONDS
    wait_for_text(directory / "std_log.txt", "ready")
    final = []

    def wait() -> None:
        connection = Connection(daemon.home / "control.sock")
        connection.request("GET", f"/v1/runs/{run}/wait")
        connection.getresponse().read()
        final.append(time.monotonic())

    waiting = threading.Thread(target=wait)
    waiting.start()
    record = directory / "exit.json"
    while not record.exists() and not final:
        time.sleep(0.0002)
    recorded = time.monotonic()
    waiting.join()
    return {"exit.json": (recorded - due) * 1000, "final": (final[0] - due) * 1000}


def peer_kill(runtime: str, bundle: Path) -> float:
    """Milliseconds from `RUNTIME kill` until nothing of the container lives."""
    state = str(bundle / "state")
    log = bundle / "io" / "peer.log"
    with open(log, "w") as output:
        subprocess.run([runtime, "--root", state, "run", "--detach", "--bundle", str(bundle / "bundle"), "bench-peer"], check=True,
                       stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
    wait_for_text(log, "ready")
    shown = subprocess.run([runtime, "--root", state, "state", "bench-peer"], check=True, stdout=subprocess.PIPE)
    pidfd = os.pidfd_open(json.loads(shown.stdout)["pid"])
    begin = time.monotonic()
    subprocess.run([runtime, "--root", state, "kill", "bench-peer", "KILL"], check=True)
    select.select([pidfd], [], [])  # the kernel lets pid 1 end last
    end = time.monotonic()
    os.close(pidfd)
    subprocess.run([runtime, "--root", state, "delete", "--force", "bench-peer"], check=False)
    return (end - begin) * 1000


def main() -> None:
    options = arguments(__doc__ or "")
    runtime = shutil.which("runc") or shutil.which("crun")
    with Daemon(options.bin) as daemon:
        final: list[float] = []

        def ours() -> float:
            measured = our_kill(daemon)
            final.append(measured["final"])
            return measured["exit.json"]

        contenders = {f"ours, until exit.json, {PROCESSES} processes": ours}
        if runtime:
            bundle = peer_bundle(daemon, ["sh", "-c", TREE])
            contenders[f"{Path(runtime).name} kill KILL"] = lambda: peer_kill(runtime, bundle)
        medians = list(report("killing a tree at its time limit", alternate(min(options.n, 10), contenders)).values())
        print(f"  ours, until the run is final: median {sorted(final)[len(final) // 2]:.2f} ms after the grace")
        verdict("after the grace", medians[0], 50, "ms")
        if runtime:
            print(f"  ratio: {medians[0] / medians[1]:.2f} ×")


if __name__ == "__main__":
    main()
