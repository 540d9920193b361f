"""history_mlflow.py PART DIRECTORY …: the work of history.py, done by MLflow with its SQLite backend in DIRECTORY. For a Python that has MLflow;
no server. Prints one line of JSON.

points N: rates of log_metric, in one process and in eight, and of log_batch; N points of one metric read back.
files SIZE COUNT: log_artifact of a file of which 1 % changes each time.
lists RUNS: search_runs over so many runs, with the parameters, tags and metrics of bench_history's.
"""

from __future__ import annotations

import json
import os
import sqlite3
import statistics
import subprocess
import sys
import time

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ["MLFLOW_ENABLE_ASYNC_LOGGING"] = "false"

import mlflow  # noqa: E402
from mlflow.entities import Metric  # noqa: E402

CALLS = 500  # of log_metric in one process
EACH = 50  # and in each of eight

EIGHT = """\
import sys
import mlflow
mlflow.set_tracking_uri(sys.argv[1])
client = mlflow.MlflowClient()
print("ready", flush=True)
sys.stdin.readline()
for i in range(int(sys.argv[4])):
    client.log_metric(sys.argv[2], "eight", int(sys.argv[3]) + 1.0 / (i + 1), step=i)
"""


def points(directory: str, count: int) -> dict:
    uri = "sqlite:///" + directory + "/mlflow.db"
    mlflow.set_tracking_uri(uri)
    client = mlflow.MlflowClient()
    with mlflow.start_run() as run:
        run_id = run.info.run_id
        mlflow.log_metric("one", 0.0, step=0)  # what is done once
        begin = time.perf_counter()
        for i in range(CALLS):
            mlflow.log_metric("one", 1.0 / (i + 1), step=i + 1)
        one = CALLS / (time.perf_counter() - begin)

        workers = [subprocess.Popen([sys.executable, "-c", EIGHT, uri, run_id, str(worker), str(EACH)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                    stderr=subprocess.DEVNULL) for worker in range(8)]
        for worker in workers:
            worker.stdout.readline()
        begin = time.perf_counter()
        for worker in workers:
            worker.stdin.write(b"go\n")
            worker.stdin.flush()
        for worker in workers:
            worker.wait()
        eight = 8 * EACH / (time.perf_counter() - begin)

        took = []
        for at in range(0, count, 1000):
            now = int(time.time() * 1000)
            batch = [Metric("ready", 1.0 / (i + 1), now, i) for i in range(at, at + 1000)]
            begin = time.perf_counter()
            client.log_batch(run_id, metrics=batch)
            took.append(time.perf_counter() - begin)
    database = sqlite3.connect(directory + "/mlflow.db")
    (there,) = database.execute("SELECT count(*) FROM metrics WHERE key = 'eight'").fetchone()
    back = []
    for _ in range(3):
        begin = time.perf_counter()
        if len(client.get_metric_history(run_id, "ready")) != count:
            raise RuntimeError("points are missing")
        back.append((time.perf_counter() - begin) * 1000)
    return {"one": one, "eight": eight, "eight lost": 8 * EACH - there, "batch": 1000 / statistics.median(took), "back": statistics.median(back)}


def files(directory: str, size: int, count: int) -> dict:
    mlflow.set_tracking_uri("sqlite:///" + directory + "/mlflow.db")
    mlflow.create_experiment("files", artifact_location="file://" + directory + "/artifacts")
    mlflow.set_experiment("files")
    stored = []
    path = directory + "/checkpoint"
    with mlflow.start_run():
        for number in range(count):
            with open(path, "r+b" if number else "wb") as file:
                file.seek(size * number // count if number else 0)
                left = size // 100 if number else size
                while left:
                    left -= file.write(os.urandom(min(left, 1 << 20)))
                file.flush()
                os.fsync(file.fileno())
            begin = time.perf_counter()
            mlflow.log_artifact(path, "checkpoints/%d" % number)
            stored.append(time.perf_counter() - begin)
    room = sum(os.lstat(os.path.join(place, name)).st_blocks * 512 for place, _, names in os.walk(directory + "/artifacts") for name in names)
    return {"stored": stored, "room": room}


def fill(database: sqlite3.Connection, run: str, runs: int) -> None:
    """Copies of a run, with what bench_history gives to each of its."""
    numbers = f"WITH RECURSIVE n(i) AS (SELECT 100 UNION ALL SELECT i + 1 FROM n WHERE i < 99 + {runs}) "
    names = [row[1] for row in database.execute("PRAGMA table_info(runs)")]
    changed = {"run_uuid": "printf('%032x', i)", "name": "printf('run %d', i)", "start_time": "1700000000000 + i", "end_time": "1700000001000 + i",
               "status": "iif(i % 10 = 0, 'FAILED', 'FINISHED')"}
    database.execute(f"INSERT INTO runs({', '.join(names)}) {numbers} SELECT {', '.join(changed.get(n, n) for n in names)} FROM n, runs"
                     f" WHERE run_uuid = ?", (run,))
    params = {"lr": "printf('%g', 1.0 / (1 + i % 1000))", "epochs": "i % 7", "batch": "1 << (i % 6)", "seed": "i", "opt": "iif(i % 3 = 0, 'adam', 'sgd')",
              "dropout": "printf('0.%d', i % 9)", "width": "i % 512", "depth": "i % 12", "augment": "'true'", "data": "printf('set%d', i % 5)"}
    tags = {"model": "printf('m%d', i % 20)", "quality": "iif(i % 100 = 0, 'fantastic run', 'so so')", "bare": "''"}
    for table, values in (("params", params), ("tags", tags)):
        for key, value in values.items():
            database.execute(f"INSERT INTO {table}(run_uuid, key, value) {numbers} SELECT printf('%032x', i), '{key}', {value} FROM n")
    for table in ("metrics", "latest_metrics"):
        for key, prime in (("loss", 997), ("accuracy", 991)):
            database.execute(f"INSERT INTO {table}(run_uuid, key, value, timestamp, step, is_nan) {numbers}"
                             f" SELECT printf('%032x', i), '{key}', i % {prime} / {prime}.0, 1700000000000, 0, 0 FROM n")
    # A parameter is a text to MLflow, which compares it as one: `lr <= 0.01` is not to be had. This stands for it, as a metric.
    database.execute(f"INSERT INTO latest_metrics(run_uuid, key, value, timestamp, step, is_nan) {numbers}"
                     " SELECT printf('%032x', i), 'lr', 1.0 / (1 + i % 1000), 1700000000000, 0, 0 FROM n")
    database.commit()
    database.execute("ANALYZE")
    database.commit()


def lists(directory: str, runs: int) -> dict:
    uri = "sqlite:///" + directory + "/mlflow.db"
    mlflow.set_tracking_uri(uri)
    with mlflow.start_run() as run:
        pass
    database = sqlite3.connect(directory + "/mlflow.db")
    fill(database, run.info.run_id, runs)
    database.close()
    client = mlflow.MlflowClient()

    def median(condition: str) -> float:
        took = []
        for _ in range(5):
            begin = time.perf_counter()
            found = client.search_runs(["0"], condition, max_results=10)
            took.append((time.perf_counter() - begin) * 1000)
            if not found:
                raise RuntimeError("no run is found: " + condition)
        return statistics.median(took)

    answer = {"newest": median(""),
              "three": median("metrics.lr <= 0.01 and tags.model = 'm3' and metrics.accuracy >= 0.5"),
              "rare": median("params.opt = 'adam' and tags.quality = 'fantastic run' and metrics.loss < 0.1")}
    # `mlflow runs list` prints all of an experiment: of one with ten runs it is what the program itself costs.
    mlflow.set_experiment("ten")
    for _ in range(10):
        with mlflow.start_run():
            pass
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-m", "mlflow", "runs", "list", "--experiment-id", client.get_experiment_by_name("ten").experiment_id], check=True,
                   env=dict(os.environ, MLFLOW_TRACKING_URI=uri), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    answer["command"] = (time.perf_counter() - begin) * 1000
    return answer


if __name__ == "__main__":
    print(json.dumps({"points": points, "files": files, "lists": lists}[sys.argv[1]](sys.argv[2], *map(int, sys.argv[3:]))))
