#!/usr/bin/python3
"""Making the checkout of a new tree against `cp -r` of it (warm cache), and a thin layer after an edit of ten files.

A checkout's time is from the acknowledgement of a submission to the appearance of its directory; it ends before the run
starts. Trees: `--tree DIR` (its .git is left out), else one is generated: --files files of 12.5 KB in directories of 30.

Bar: ≤ 1.2 × cp -r. What a checkout does that cp does not: each content is found by its hash, read out of content.db,
decompressed and checked (SHA-256); two threads do it. ext4's share of creating a file is the same for both.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import time
from pathlib import Path

from bench_support import Daemon, report, verdict
import bench_support


def generate(root: Path, files: int) -> None:
    chance = random.Random(4)
    words = [chance.randbytes(6).hex() for _ in range(400)]
    for number in range(files):
        directory = root / f"d{number // 900}" / f"e{number // 30 % 30}"
        directory.mkdir(parents=True, exist_ok=True)
        (directory / f"f{number}.py").write_text(" ".join(chance.choices(words, k=960)))


def snapshot_of(daemon: Daemon, run: str) -> str:
    return daemon.json("run", "show", run)["properties"]["ContentSnapshotId"]


def until_there(daemon: Daemon, known: set[str]) -> float:
    """When the next checkout appears, as perf_counter_ns."""
    while True:
        new = {name for name in os.listdir(daemon.home / "checkouts") if not name.startswith(".")} - known
        if new:
            return time.perf_counter_ns()
        time.sleep(0.0005)


def one_checkout(daemon: Daemon) -> float:
    known = set(os.listdir(daemon.home / "checkouts"))
    run = daemon.submit_detached("true")
    begin = time.perf_counter_ns()
    end = until_there(daemon, known)
    subprocess.run([daemon.runner, "wait", run], env=daemon.environment, check=True, stdout=subprocess.DEVNULL)
    return (end - begin) / 1e6


def forget_checkouts(daemon: Daemon, number: int) -> None:
    """By hand, which a daemon must bear. Nothing is deleted before the end: ext4 looks for inodes that were not freed within
    the last minutes, and where many were, that search (recently_deleted, find_inode_bit) is three quarters of any copy."""
    trash = daemon.root / f"trash{number}"
    trash.mkdir()
    for name in os.listdir(daemon.home / "checkouts"):
        os.rename(daemon.home / "checkouts" / name, trash / name)


def copy(source: Path, target: Path) -> float:
    os.sync()
    begin = time.perf_counter_ns()
    subprocess.run(["cp", "-r", str(source), str(target)], check=True)
    return (time.perf_counter_ns() - begin) / 1e6


def edit(source: Path, files: list[Path], number: int) -> None:
    for position in range(10):
        with open(source / files[(number * 10 + position) * 37 % len(files)], "a") as file:
            file.write(f"edit {number}\n")


def main() -> None:
    parser_extra = {"files": int(os.environ.get("RUNNER_BENCH_FILES", "20000")), "tree": os.environ.get("RUNNER_BENCH_TREE")}
    chosen = bench_support.arguments(__doc__)
    rounds = min(chosen.n, 5)
    with Daemon(chosen.bin) as daemon:
        if parser_extra["tree"]:
            daemon.source.rmdir()
            shutil.copytree(parser_extra["tree"], daemon.source, ignore=shutil.ignore_patterns(".git"), symlinks=True)
        else:
            generate(daemon.source, parser_extra["files"])
        files = sorted(path.relative_to(daemon.source) for path in daemon.source.rglob("*") if path.is_file())
        times: dict[str, list[float]] = {"checkout": [], "cp -r": [], "thin layer, ten files edited": []}
        one_checkout(daemon)  # the snapshot itself
        for number in range(rounds):
            forget_checkouts(daemon, number)
            os.sync()
            times["checkout"].append(one_checkout(daemon))
            times["cp -r"].append(copy(daemon.source, daemon.root / f"copy{number}"))
        for number in range(2 * rounds):
            edit(daemon.source, files, number)
            times["thin layer, ten files edited"].append(one_checkout(daemon))
        medians = report(f"{len(files)} files, acknowledged to checked out", times)
        verdict("checkout / cp -r", medians["checkout"] / medians["cp -r"], 1.2)
        verdict("thin layer", medians["thin layer, ten files edited"], 50, "ms")


if __name__ == "__main__":
    main()
