#!/usr/bin/python3
"""The run history as a user meets it: metrics out of a script and back, checkpoints, long lists; MLflow does the same work in the same run.

points: a script calls runner.log, in one process and in eight; a million ready records in its journal, until its next question is
    answered, which the daemon does when it has taken them in; the series read back with 1 000 points.
files: a checkpoint handed over ten times with 1 % changed in one region, and others that are new, each until it is among the run's files,
    alternating with `dd conv=fsync` of the same file; the room that all take.
lists: `runner run list` and one with three conditions, whole commands, over histories that bench_history has filled
    (`--runs`, one after the other); what that program says of the store alone comes first.

MLflow: `--mlflow DIR`, a virtual environment that has it, else one is made there with pip (without the option: not asked). Its SQLite backend,
its Python client in one warm process without a server, which is the least that it can cost (history_mlflow.py).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench_support import Connection, Daemon, arguments, milliseconds, verdict
from history_scripts import CHECKPOINTS, POINTS

SOURCE = Path(__file__).resolve().parent
GOLDEN = SOURCE.parent.parent / "tests/data/history/runner-4.db"
THREE = ("--param", "lr<=0.01", "--tag", "model=m3", "--metric", "accuracy>=0.5")
RARE = ("--param", "opt=adam", "--tag", "quality=fantastic run", "--metric", "loss.min<0.1")
LIST_BARS = {100_000: (15, 20), 1_000_000: (200, 200)}  # ms: the newest ten, three conditions


class Peer:
    """MLflow in its own environment; without one every answer is empty, and no ratio is printed."""

    def __init__(self, directory: Path | None) -> None:
        self.python = None
        if directory is None:
            return
        self.python = directory / "bin/python"
        if not self.python.exists():
            subprocess.run([sys.executable, "-m", "venv", directory], check=True)
            subprocess.run([self.python, "-m", "pip", "install", "--quiet", "mlflow"], check=True)

    def ask(self, part: str, *words: object) -> dict:
        if self.python is None:
            return {}
        with tempfile.TemporaryDirectory(prefix="runner-bench-", dir=os.environ.get("RUNNER_BENCH_DIR")) as place:
            done = subprocess.run([self.python, SOURCE / "history_mlflow.py", part, place, *map(str, words)], check=True, cwd=place,
                                  stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        return json.loads(done.stdout.splitlines()[-1])


def ratio(what: str, ours: float, theirs: float, unit: str, more_is_better: bool = False) -> None:
    times = ours / theirs if more_is_better else theirs / ours
    print(f"    MLflow, {what}: {theirs:,.6g} {unit}; the runner is {times:,.1f} × as good")


def run_script(daemon: Daemon, script: str, *words: object) -> tuple[str, dict]:
    """A script as a run of its own: its id, and what it has measured."""
    (daemon.source / "measure.py").write_text(script)
    run = subprocess.run([daemon.runner, "submit", "--detach", "--python", "/usr/bin/python3", "measure.py", *map(str, words)], env=daemon.environment,
                         cwd=daemon.source, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout.strip()
    ended = subprocess.run([daemon.runner, "wait", run], env=daemon.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    if ended.returncode != 0:
        subprocess.run([daemon.runner, "logs", run], env=daemon.environment, check=False)
        raise RuntimeError(f"the script of {run} failed")
    subprocess.run([daemon.runner, "run", "download", run, "outputs/measured.json", "-d", daemon.root / run], env=daemon.environment, check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return run, json.loads((daemon.root / run / "outputs/measured.json").read_text())


def processor_seconds(pid: int) -> float:
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def ask_ms(daemon: Daemon, target: str) -> tuple[float, dict]:
    connection = Connection(daemon.home / "control.sock")
    begin = time.perf_counter_ns()
    connection.request("GET", target)
    answer = connection.getresponse()
    body = answer.read()
    took = (time.perf_counter_ns() - begin) / 1e6
    connection.close()
    if answer.status != 200:
        raise RuntimeError(body)
    return took, json.loads(body)


def points(options: argparse.Namespace, peer: Peer) -> None:
    print("metric points")
    with Daemon(options.bin) as daemon:
        by_cpu = processor_seconds(daemon.pid())
        run, measured = run_script(daemon, POINTS)
        by_cpu = processor_seconds(daemon.pid()) - by_cpu
        each = statistics.median(measured["one"])
        verdict("one process, log() in batches of 100 000", 1e6 / each / 1000, 100, "thousand/s", least=True)
        verdict("  a call", each, 10, "µs")
        print(f"    of it processor time {statistics.median(measured['one by cpu']):.2f} µs; the slowest batch {max(measured['one']):.2f} µs a call")
        print(f"  eight processes at once: {measured['eight'] / 1000:,.0f} thousand/s together")
        _, overview = ask_ms(daemon, f"/v1/runs/{run}/metrics")
        counts = {item["name"]: item["count"] for item in overview["items"]}
        verdict("  points of theirs that are not in the history", measured["eight points"] - counts["eight"], 0, "")
        if counts["one"] != measured["one points"] or counts["ready"] != measured["ready points"]:
            raise RuntimeError(f"points are missing: {counts}")
        rates = [measured["ready points"] / len(measured["ready"]) / seconds for seconds in measured["ready"]]
        verdict("the daemon takes in ready records", statistics.median(rates) / 1000, 200, "thousand/s", least=True)
        print(f"    by the daemon's processor time, over all points of the script: {sum(counts.values()) / by_cpu / 1000:,.0f} thousand/s")
        target = f"/v1/runs/{run}/metrics?name=ready&max-points=1000"
        times = []
        for _ in range(options.n):
            took, answer = ask_ms(daemon, target)
            if len(answer["items"]) != 1000:
                raise RuntimeError(f"{len(answer['items'])} points")
            times.append(took)
        back = statistics.median(times)
        verdict(f"1 000 of a series of {counts['ready']:,}, by the API", back, 50, "ms")
        command = [daemon.runner, "run", "metrics", run, "--name", "ready", "--max-points", "1000", "--json"]
        print(f"    as a command: {statistics.median(milliseconds(command, daemon.environment, daemon.root) for _ in range(options.n)):.2f} ms")
    theirs = peer.ask("points", options.mlflow_points)
    if theirs:
        ratio("log_metric in one process", 1e6 / each, theirs["one"], "points/s", more_is_better=True)
        ratio("log_metric in eight processes", measured["eight"], theirs["eight"], "points/s", more_is_better=True)
        print(f"    MLflow, points of those eight that are not in its database: {theirs['eight lost']}")
        ratio("log_batch of 1 000 ready points", statistics.median(rates), theirs["batch"], "points/s", more_is_better=True)
        ratio(f"get_metric_history of {options.mlflow_points:,} points, whole (it thins in its server only)", back, theirs["back"], "ms")


def room_of(directory: Path) -> int:
    """Bytes that its files take on the disk."""
    seen, total = set(), 0
    for place, _, names in os.walk(directory):
        for name in names:
            status = os.lstat(os.path.join(place, name))
            if (status.st_dev, status.st_ino) not in seen:
                seen.add((status.st_dev, status.st_ino))
                total += status.st_blocks * 512
    return total


def files(options: argparse.Namespace, peer: Peer) -> None:
    size = options.checkpoint_mb * 1_000_000
    print(f"a checkpoint of {options.checkpoint_mb} MB, handed over {options.checkpoints} times, 1 % of it changed each time")
    with Daemon(options.bin) as daemon:
        before, by_cpu = room_of(daemon.home), processor_seconds(daemon.pid())
        _, measured = run_script(daemon, CHECKPOINTS, size, options.checkpoints, 0)
        room, by_cpu = room_of(daemon.home) - before, processor_seconds(daemon.pid()) - by_cpu
        verdict("room of all, against one", room / size, 1.3)
        print(f"    the daemon's processor time {by_cpu:.1f} s")
        _, more = run_script(daemon, CHECKPOINTS, size, 0, options.fresh)
    for kind, of in (("new", {name: measured["new"][name] + more["new"][name] for name in more["new"]}), ("1 % changed", measured["changed"])):
        rate = {name: size / 1e6 / statistics.median(times) for name, times in of.items()}
        print(f"  {kind}: dd conv=fsync {rate['dd']:.0f} MB/s; upload_file returns {rate['copied']:.0f} MB/s; in the history {rate['stored']:.0f} MB/s"
              f" (n={len(of['dd'])})")
        verdict("upload_file alone, against dd", rate["copied"] / rate["dd"], 0.3, least=True)
        verdict("until it is in the history, against dd", rate["stored"] / rate["dd"], 0.3, least=True)
    theirs = peer.ask("files", size, options.checkpoints)
    if theirs:
        ratio("log_artifact, which syncs nothing, against upload_file", rate["copied"], size / 1e6 / statistics.median(theirs["stored"]), "MB/s", more_is_better=True)
        ratio("room of all, against one", room / size, theirs["room"] / size, "×")


def fill(options: argparse.Namespace, directory: Path, runs: int) -> Path:
    """A directory with a history of so many runs, and what bench_history has measured; one that is there is used again."""
    if not (directory / "measured.jsonl").exists():
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        done = subprocess.run([options.bin / "bench_history", directory, GOLDEN, str(runs)], check=True, stdout=subprocess.PIPE, text=True)
        (directory / "ingest.db").unlink()
        (directory / "measured.jsonl").write_text(done.stdout)
    return directory


def lists(options: argparse.Namespace, peer: Peer) -> None:
    for runs in options.runs:
        print(f"a history of {runs:,} runs")
        with Daemon(options.bin) as daemon:
            filled = fill(options, (options.filled or daemon.root) / f"filled-{runs}", runs)
            for line in map(json.loads, (filled / "measured.jsonl").read_text().splitlines()):
                print(f"    the store alone, {line['what']}: {line['value']:,.6g} {line['unit']}, by processor time {line['byCpuTime']:,.6g}")
            subprocess.run([daemon.runner, "daemon", "stop"], env=daemon.environment, check=True, stdout=subprocess.DEVNULL)
            for name in ("runner.db", "runner.db-wal", "runner.db-shm"):
                (daemon.home / name).unlink(missing_ok=True)
                if (filled / name).exists():
                    shutil.copy(filled / name, daemon.home / name)
            subprocess.run([daemon.runner, "daemon", "start"], env=daemon.environment, check=True, stdout=subprocess.DEVNULL)
            if daemon.json("run", "list")["items"][0]["runId"] != f"bench_1700000000_{99 + runs:08x}":
                raise RuntimeError("that is not the history which was filled")
            medians, pid = {}, daemon.pid()
            for what, filters in (("run list", ()), ("three conditions", THREE), ("three conditions, one rare", RARE)):
                found = len(daemon.json("run", "list", *filters)["items"])
                if not found:
                    raise RuntimeError(f"{what}: no run is found")
                command = [daemon.runner, "run", "list", *filters]
                by_cpu = processor_seconds(pid) + sum(os.times()[2:4])
                medians[what] = statistics.median(milliseconds(command, daemon.environment, daemon.root) for _ in range(options.n))
                by_cpu = (processor_seconds(pid) + sum(os.times()[2:4]) - by_cpu) * 1000 / options.n
                bar = LIST_BARS.get(runs, LIST_BARS[1_000_000])[0 if what == "run list" else 1]
                verdict(f"{what} ({found} found), the whole command", medians[what], bar, "ms")
                print(f"    processor time of the command and the daemon {by_cpu:.1f} ms")
        theirs = peer.ask("lists", runs)
        if theirs:
            ratio("search_runs of the newest ten", medians["run list"], theirs["newest"], "ms")
            ratio("search_runs with three conditions", medians["three conditions"], theirs["three"], "ms")
            ratio("search_runs with three conditions, one rare", medians["three conditions, one rare"], theirs["rare"], "ms")
            ratio("`mlflow runs list` as a command", medians["run list"], theirs["command"], "ms")


PARTS = {"points": points, "files": files, "lists": lists}


def main() -> None:
    options = arguments(
        __doc__ or "",
        lambda parser: parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="which of them (all)"),
        lambda parser: parser.add_argument("--mlflow", type=Path, help="virtual environment with MLflow; made where it is not there"),
        lambda parser: parser.add_argument("--mlflow-points", type=int, default=100_000, help="length of the series that MLflow reads back"),
        lambda parser: parser.add_argument("--runs", type=int, nargs="+", default=[100_000, 1_000_000], help="lengths of histories"),
        lambda parser: parser.add_argument("--filled", type=Path, help="where filled histories are kept for the next time (nowhere)"),
        lambda parser: parser.add_argument("--checkpoint-mb", type=int, default=1000),
        lambda parser: parser.add_argument("--checkpoints", type=int, default=10),
        lambda parser: parser.add_argument("--fresh", type=int, default=2, help="checkpoints after those, new ones"))
    if "lists" in options.parts and not (options.bin / "bench_history").exists():
        sys.exit(f"no {options.bin}/bench_history: build it (cmake --build BUILD --target bench_history), or leave out lists from --parts")
    peer = Peer(options.mlflow)
    load = os.getloadavg()[0]
    print(f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} processors, load {load:.1f} before the start")
    for part in options.parts:
        PARTS[part](options, peer)


if __name__ == "__main__":
    main()
