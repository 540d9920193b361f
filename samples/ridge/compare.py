"""Submits train.py once for each alpha, waits for all, and keeps the best model as best.pkl. Runs beside the daemon, not in a run."""
import os
import pickle

from runner import Experiment, ScriptRunConfig

ALPHAS = (0.01, 0.1, 1.0, 10.0)
here = os.path.dirname(os.path.abspath(__file__))

experiment = Experiment("ridge")
runs = [
    experiment.submit(
        ScriptRunConfig(here, "train.py", ["--alpha", alpha], max_run_duration_seconds=300),
        tags={"driver": "compare", "alpha": alpha},
    )
    for alpha in ALPHAS
]
scores = {run: run.wait_for_completion()["metrics"]["rmse"] for run in runs}
for run in sorted(runs, key=scores.get):
    print("{:<32} alpha {:<6} rmse {:.3f}".format(run.id, run.get_tags()["alpha"], scores[run]))
best = min(runs, key=scores.get)
best.download_file("outputs/model.pkl", "best.pkl")
with open("best.pkl", "rb") as file:
    print("best: alpha {:g}, {}".format(pickle.load(file).alpha, best.id))
