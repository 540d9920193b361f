#!/usr/bin/python3
"""Environments: what a cached one adds to a submit, a build against the tool run by hand, eight submits of a new one.

Cached: `submit --detach --requirements` against `submit --detach --python` of the same interpreter, while a first run
holds the only slot, so that neither starts. Processes: the kernel's count of forks and
new threads over one such submit, less that of the other kind (the least of five each). Build: `submit --rebuild` of a venv to the end of a run of `true`, against
`python -m venv` and `pip install` of the same file (uv, where it is on PATH), caches warm for both. --requirements FILE
names the file (default: one small package of the package index).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

from bench_support import Daemon, alternate, milliseconds, report, verdict
import bench_support


def forks() -> int:
    for line in Path("/proc/stat").read_text().splitlines():
        if line.startswith("processes "):
            return int(line.split()[1])
    raise RuntimeError("no count of processes")


def by_hand(daemon: Daemon, requirements: Path) -> float:
    prefix = daemon.root / "by-hand"
    shutil.rmtree(prefix, ignore_errors=True)
    begin = time.perf_counter_ns()
    quiet = {"check": True, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": daemon.environment}
    if uv := shutil.which("uv"):
        subprocess.run([uv, "venv", "--python", "/usr/bin/python3", prefix], **quiet)
        subprocess.run([uv, "pip", "install", "--python", prefix / "bin/python", "-r", requirements], **quiet)
    else:
        subprocess.run(["/usr/bin/python3", "-m", "venv", prefix], **quiet)
        subprocess.run([prefix / "bin/python", "-m", "pip", "install", "--progress-bar", "off", "-r", requirements], **quiet)
    return (time.perf_counter_ns() - begin) / 1e6


def main() -> None:
    arguments = bench_support.arguments(__doc__ or "")
    requirements = Path(os.environ.get("RUNNER_BENCH_REQUIREMENTS", ""))
    with Daemon(arguments.bin) as daemon:
        # The interpreter that `python3` means must be the one that is used by hand.
        daemon.environment["PATH"] = "/usr/bin:" + daemon.environment["PATH"]
        if not requirements.is_file():
            requirements = daemon.source / "requirements.txt"
            requirements.write_text("six==1.16.0\n")
        submit = [daemon.runner, "submit", "--requirements", str(requirements)]
        def ours() -> float:
            return milliseconds([*submit, "--rebuild", "--command", "true"], daemon.environment, daemon.source)
        built = report("a build, to the end of a run in it", alternate(max(3, arguments.n // 10), {
            "by hand": lambda: by_hand(daemon, requirements), "runner submit --rebuild": ours}))
        verdict("build", built["runner submit --rebuild"] / built["by hand"], 1.05)

        held = daemon.submit_detached("sleep", "600")
        plain = [daemon.runner, "submit", "--detach", "--python", "/usr/bin/python3", "--command", "true"]
        cached = [*submit, "--detach", "--command", "true"]
        more = min(_forks_of(cached, daemon) for _ in range(5)) - min(_forks_of(plain, daemon) for _ in range(5))
        times = report("a submit that waits", alternate(arguments.n, {
            "an existing interpreter": lambda: milliseconds(plain, daemon.environment, daemon.source),
            "a cached environment": lambda: milliseconds(cached, daemon.environment, daemon.source)}))
        verdict("a cached environment adds", times["a cached environment"] - times["an existing interpreter"], 5, "ms")
        verdict("processes it starts", more, 0, "processes")

        (daemon.source / "new.txt").write_text("six==1.15.0\n")
        before = len(list((daemon.home / "envs").iterdir()))
        for _ in range(8):
            subprocess.run([daemon.runner, "submit", "--detach", "--requirements", "new.txt", "--command", "true"], check=True,
                           env=daemon.environment, cwd=daemon.source, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        subprocess.run([daemon.runner, "cancel", held], env=daemon.environment, check=True, stdout=subprocess.DEVNULL)
        while any(run["status"] not in ("Completed", "Failed", "Canceled")
                  for run in daemon.json("run", "list", "--last", "8")["items"]):
            time.sleep(0.2)
        verdict("builds of eight submits", len(list((daemon.home / "envs").iterdir())) - before, 1, "builds")


def _forks_of(command: list[str], daemon: Daemon) -> int:
    before = forks()
    milliseconds(command, daemon.environment, daemon.source)
    return forks() - before


if __name__ == "__main__":
    main()
