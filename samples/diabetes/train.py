"""Predicts the progression of diabetes from ten measurements of a patient, with several models, and keeps the best one.

The data ships with scikit-learn (442 patients), so this runs offline. It leaves behind
    metrics               the error of each model, step by step
    outputs/model.pkl     the best model, pickled
    outputs/models.png    predictions and learning curves
    logs/models.csv       one line per model tried
"""

import argparse
import csv
import os
import pickle
import time

import matplotlib

matplotlib.use("Agg")  # a run has no display

import matplotlib.pyplot as plt
import numpy as np
import runner
from sklearn.datasets import load_diabetes
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import Lasso, Ridge, SGDRegressor
from sklearn.metrics import mean_squared_error, r2_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler


def rmse(model, x, y):
    """Root mean squared error, in units of the target (25 to 346)."""
    return float(np.sqrt(mean_squared_error(y, model.predict(x))))


class Comparison:
    """Scores models, remembers the best one and writes a line per model as it goes."""

    def __init__(self, data, table):
        self.x_train, self.x_test, self.y_train, self.y_test = data
        self.table = csv.writer(table)
        self.table.writerow(["model", "parameter", "rmse", "r2", "seconds"])
        self.stream = table
        self.best = None
        self.best_name = ""
        self.best_rmse = float("inf")

    def score(self, model, name, parameter, started, step=None):
        error = rmse(model, self.x_test, self.y_test)
        runner.log(name + " rmse", error, step=step)
        r2 = r2_score(self.y_test, model.predict(self.x_test))
        self.table.writerow([name, parameter, round(error, 4), round(r2, 4), round(time.monotonic() - started, 4)])
        self.stream.flush()  # logs/ can be read while the run goes on
        if error < self.best_rmse:
            self.best, self.best_name, self.best_rmse = model, "{} {}".format(name, parameter), error
        return error

    def sweep(self, name, make, parameters):
        """One model per parameter, one step each."""
        for step, parameter in enumerate(parameters):
            started = time.monotonic()
            model = make(parameter).fit(self.x_train, self.y_train)
            self.score(model, name, parameter, started, step=step)
        print("{}: best so far {} (rmse {:.2f})".format(name, self.best_name, self.best_rmse))

    def descend(self, epochs):
        """Stochastic gradient descent, one step per pass over the data. Returns the errors."""
        started = time.monotonic()
        model = SGDRegressor(learning_rate="invscaling", eta0=0.01, random_state=0)
        errors = []
        for epoch in range(epochs):
            model.partial_fit(self.x_train, self.y_train)
            errors.append(rmse(model, self.x_test, self.y_test))
            runner.log("sgd train rmse", rmse(model, self.x_train, self.y_train), step=epoch)
            runner.log("sgd test rmse", errors[-1], step=epoch)
        self.score(model, "sgd", epochs, started)
        print("sgd: rmse {:.2f} after {} epochs".format(errors[-1], epochs))
        return errors


def plot(comparison, errors, path):
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4))
    predicted = comparison.best.predict(comparison.x_test)
    left.scatter(comparison.y_test, predicted, s=12)
    ends = [comparison.y_test.min(), comparison.y_test.max()]
    left.plot(ends, ends, color="gray", linewidth=1)
    left.set(xlabel="measured", ylabel="predicted", title="{}: rmse {:.1f}".format(comparison.best_name, comparison.best_rmse))
    right.plot(errors)
    right.set(xlabel="epoch", ylabel="rmse", title="gradient descent")
    figure.tight_layout()
    figure.savefig(path, dpi=100)


def main():
    parser = argparse.ArgumentParser(description="Compares models on the diabetes data.")
    parser.add_argument("--epochs", type=int, default=60, help="passes of gradient descent")
    parser.add_argument("--trees", type=int, nargs="+", default=[10, 30, 60], help="sizes of the random forests")
    arguments = parser.parse_args()

    os.makedirs("outputs", exist_ok=True)
    os.makedirs("logs", exist_ok=True)
    x, y = load_diabetes(return_X_y=True)
    x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=0.25, random_state=0)
    scaler = StandardScaler().fit(x_train)
    data = scaler.transform(x_train), scaler.transform(x_test), y_train, y_test
    print("run {}: {} patients for training, {} for testing".format(runner.run_id(), len(y_train), len(y_test)))

    with open("logs/models.csv", "w", newline="") as table:
        comparison = Comparison(data, table)
        comparison.sweep("ridge", lambda alpha: Ridge(alpha=alpha), [0.01, 0.1, 1, 10, 100])
        comparison.sweep("lasso", lambda alpha: Lasso(alpha=alpha), [0.01, 0.1, 1, 5])
        comparison.sweep("forest", lambda trees: RandomForestRegressor(n_estimators=trees, random_state=0), arguments.trees)
        errors = comparison.descend(arguments.epochs)

    plot(comparison, errors, "outputs/models.png")
    with open("outputs/model.pkl", "wb") as stream:
        pickle.dump({"model": comparison.best, "scaler": scaler, "name": comparison.best_name}, stream)
    runner.log("best model", comparison.best_name)
    runner.log("best rmse", comparison.best_rmse)
    print("best: {} (rmse {:.2f})".format(comparison.best_name, comparison.best_rmse))


if __name__ == "__main__":
    main()
