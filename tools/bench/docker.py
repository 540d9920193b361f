#!/usr/bin/python3
"""A no-op in a container, submitted and waited for, against the bare Engine API; and what runs in containers cost.

The peer is one curl that creates, starts, waits for and removes a container of the same image with the same network mode and
log driver, all over one connection. It ends when the container is removed; a run has ended, and says so, when its script has,
its outputs are stored and its log is complete, and is cleared away behind that. So the same without the removal is printed, too,
and `docker run --rm`.

Bars: ≤ 1.15 × the API calls; no wake-up of daemon, shim or helper while a run sleeps; ≤ 4 MB of private memory per run with
twenty at once.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from bench_support import Daemon, alternate, arguments, context_switches, milliseconds, report, verdict

IMAGE = os.environ.get("RUNNER_BENCH_IMAGE", "runner-test/busybox:1")
NETWORK = "host"  # what a run has unless its network is off
IDLE_SECONDS = 5
MANY = 20


def engine_address() -> str:
    address = os.environ.get("RUNNER_TEST_ENGINE") or os.environ.get("DOCKER_HOST", "")
    if not address.startswith("unix:///"):
        sys.exit('no engine: eval "$(tools/test-engine start DIR)" first')
    return address


def engine_daemon(binaries: Path, address: str, parallel: int = 1) -> Daemon:
    daemon = Daemon(binaries, parallel)
    daemon.environment["DOCKER_HOST"] = address
    return daemon


def api_calls(address: str, daemon: Daemon) -> list[str]:
    """One curl: the four requests that a no-op needs."""
    specification = daemon.root / "create.json"
    specification.write_text(json.dumps({"Image": IMAGE, "Cmd": ["sh", "-c", "true"],
                                         "HostConfig": {"NetworkMode": NETWORK, "LogConfig": {"Type": "none"}}}))
    name = f"bench-{os.getpid()}"
    common = ["--silent", "--show-error", "--fail", "--output", os.devnull, "--unix-socket", address.removeprefix("unix://")]
    requests = [
        ["-H", "Content-Type: application/json", "-d", f"@{specification}", f"http://engine/containers/create?name={name}"],
        ["-X", "POST", f"http://engine/containers/{name}/start"],
        ["-X", "POST", f"http://engine/containers/{name}/wait"],
        ["-X", "DELETE", f"http://engine/containers/{name}?v=1"],
    ]
    command = ["curl"]
    for number, request in enumerate(requests):
        command += (["--next"] if number else []) + common + request
    return command


def processes_of(home: Path) -> dict[int, str]:
    """Shims of this home and what they started, by pid: those that live as long as the run, outside of its container."""
    parents, names, commands = {}, {}, {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            parents[int(entry.name)] = int(fields[1])
            names[int(entry.name)] = (entry / "comm").read_text().strip()
            commands[int(entry.name)] = (entry / "cmdline").read_bytes()
        except OSError:
            continue
    found = {pid for pid, name in names.items()
             if name in ("runner-shim", "runner-engine") and str(home).encode() in commands[pid]}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return {pid: names[pid] for pid in found}


def private_kilobytes(pid: int) -> int:
    """Memory that this process alone has and that nobody could give back: written pages."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Private_Dirty:"):
            return int(line.split()[1])
    raise KeyError("Private_Dirty")


def sleeping(daemon: Daemon, count: int) -> list[str]:
    """Runs that sleep in their containers by now."""
    runs = [daemon.submit_detached("sleep", "600", options=("--image", IMAGE)) for _ in range(count)]
    for run in runs:
        daemon.wait_for_file(daemon.home / "runs" / run / "start.json", 60)
    return runs


def end(daemon: Daemon, runs: list[str]) -> None:
    for run in runs:
        daemon.json("cancel", run)
    for run in runs:
        daemon.wait_for_absence(daemon.home / "runs" / run, 60)


def without_removal(calls: list[str]) -> tuple[list[str], list[str]]:
    """The same calls cut before the last one, and that one."""
    last = len(calls) - calls[::-1].index("--next")
    return calls[:last - 1], ["curl", *calls[last:]]


def no_op(binaries: Path, address: str, repetitions: int) -> None:
    with engine_daemon(binaries, address) as daemon:
        environment = {**os.environ, "DOCKER_HOST": address}
        calls = api_calls(address, daemon)
        shorter, removal = without_removal(calls)

        def command(*words: str) -> float:
            return milliseconds(words, daemon.environment if words[0] == daemon.runner else environment, daemon.source)

        def until_the_end() -> float:
            time_until = command(*shorter)
            command(*removal)
            return time_until

        medians = report("no-op in a container", alternate(repetitions, {
            "runner submit --image": lambda: command(daemon.runner, "submit", "--image", IMAGE, "--command", "true"),
            "Engine API with curl": lambda: command(*calls),
            "the same without the removal": until_the_end,
            "docker run --rm": lambda: command("docker", "run", "--rm", "--network", NETWORK, IMAGE, "sh", "-c", "true"),
        }))
        mine = medians["runner submit --image"]
        verdict("against the Engine API", mine / medians["Engine API with curl"], 1.15)
        for peer in ("the same without the removal", "docker run --rm"):
            print(f"  against {peer}: {mine / medians[peer]:.2f} ×  (for information)")


def wake_ups(binaries: Path, address: str) -> None:
    with engine_daemon(binaries, address) as daemon:
        runs = sleeping(daemon, 1)
        watched = {daemon.pid(): "runnerd", **processes_of(daemon.home)}
        time.sleep(2)  # what starting stirred comes to rest
        before = {pid: context_switches(pid) for pid in watched}
        time.sleep(IDLE_SECONDS)
        after = {pid: context_switches(pid) for pid in watched if Path(f"/proc/{pid}").exists()}
        state = daemon.json("show", runs[0])
        if state["status"] != "Running":
            sys.exit(f"the run was to sleep, but it is {state['status']}: {state['statusReason']}")
        print("one run sleeps")
        for pid, name in watched.items():
            # A shim looks at its run once a second.
            bound = 2 * IDLE_SECONDS if name == "runner-shim" else 0
            verdict(f"wake-ups of {name} in {IDLE_SECONDS} s", after[pid] - before[pid], bound, "")
        end(daemon, runs)


def memory(binaries: Path, address: str) -> None:
    with engine_daemon(binaries, address, parallel=MANY) as daemon:
        runs = sleeping(daemon, MANY)
        found = processes_of(daemon.home)
        if sum(name == "runner-shim" for name in found.values()) != MANY:
            sys.exit(f"{MANY} runs sleep, but these processes were found: {found}")
        print(f"{MANY} runs sleep ({len(found)} processes beside the containers)")
        verdict("private memory per run", sum(map(private_kilobytes, found)) / 1024 / MANY, 4, "MB")
        end(daemon, runs)


def main() -> None:
    options = arguments(__doc__)
    address = engine_address()
    no_op(options.bin, address, options.n)
    wake_ups(options.bin, address)
    memory(options.bin, address)


if __name__ == "__main__":
    main()
