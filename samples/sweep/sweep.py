"""A sweep by hand: a support vector machine that reads handwritten digits, scored at every point of a grid, each a child run.

The digits ship with scikit-learn (1 797 pictures of 8 x 8), so this runs offline. It leaves behind
    a child for each point     tags C and gamma, metrics "fold accuracy" and "accuracy"
    a child "refit"            the best point on all but the test pictures: its accuracy there, a confusion matrix, model.pkl
    metrics of the run itself  the table "sweep", best point first; "best accuracy", "best C", "best gamma", "test accuracy"
    outputs/model.pkl          the same model
"""

import argparse
import itertools
import os
import pickle

import runner
from sklearn.datasets import load_digits
from sklearn.metrics import confusion_matrix
from sklearn.model_selection import StratifiedKFold, train_test_split
from sklearn.svm import SVC


def score(child, x, y, folds, c, gamma):
    """Cross-validates one point of the grid, and logs to its child."""
    accuracies = []
    for fold, (known, held_out) in enumerate(StratifiedKFold(folds, shuffle=True, random_state=0).split(x, y)):
        model = SVC(C=c, gamma=gamma).fit(x[known], y[known])
        accuracies.append(float(model.score(x[held_out], y[held_out])))
        child.log("fold accuracy", accuracies[-1], step=fold)
    child.log("accuracy", sum(accuracies) / len(accuracies))


def refit(child, data, c, gamma):
    """Fits the best point once more, on all pictures but those for the test; keeps the model. Returns its accuracy."""
    x_train, x_test, y_train, y_test = data
    model = SVC(C=c, gamma=gamma).fit(x_train, y_train)
    accuracy = float(model.score(x_test, y_test))
    child.log("test accuracy", accuracy)
    matrix = confusion_matrix(y_test, model.predict(x_test))
    child.log_confusion_matrix("digits", {
        "schema_type": "confusion_matrix", "schema_version": "v1",
        "data": {"class_labels": [str(digit) for digit in model.classes_], "matrix": matrix},
    })
    os.makedirs("outputs", exist_ok=True)  # collected for the parent when it ends, given to the child at once
    with open("outputs/model.pkl", "wb") as file:
        pickle.dump(model, file)
    child.upload_file("model.pkl", "outputs/model.pkl")
    return accuracy


def main():
    parser = argparse.ArgumentParser(description="Sweeps the two parameters of a support vector machine.")
    parser.add_argument("--C", type=float, nargs="+", default=[0.3, 1, 3, 10], help="penalties")
    parser.add_argument("--gamma", type=float, nargs="+", default=[0.0001, 0.0005, 0.002], help="inverse widths of the kernel")
    parser.add_argument("--folds", type=int, default=3)
    arguments = parser.parse_args()

    run = runner.Run.get_context()
    x, y = load_digits(return_X_y=True)
    data = train_test_split(x, y, test_size=0.25, random_state=0, stratify=y)
    x_train, _, y_train, _ = data

    grid = list(itertools.product(arguments.C, arguments.gamma))
    for child, (c, gamma) in zip(run.create_children(len(grid)), grid):
        child.set_tags({"sweep": "grid", "C": c, "gamma": gamma})
        with child:  # completes it; an exception would fail it, and then this run
            score(child, x_train, y_train, arguments.folds, c, gamma)

    # What has been logged is asked for, not remembered: a script that looks at a sweep later does the same.
    metrics = run.get_metrics(recursive=True)
    children = sorted(run.get_children(tags={"sweep": "grid"}, status="Completed"), key=lambda child: -metrics[child.id]["accuracy"])
    for child in children:
        tags = child.get_tags()
        run.log_row("sweep", run=child.id, C=float(tags["C"]), gamma=float(tags["gamma"]), accuracy=metrics[child.id]["accuracy"])
        print("C {:<5} gamma {:<7} accuracy {:.4f}  {}".format(tags["C"], tags["gamma"], metrics[child.id]["accuracy"], child.id))

    best = children[0]
    best.tag("best")
    c, gamma = (float(best.get_tags()[name]) for name in ("C", "gamma"))
    with run.child_run("refit") as child:
        test_accuracy = refit(child, data, c, gamma)
    run.log("best accuracy", metrics[best.id]["accuracy"])
    run.log("best C", c)
    run.log("best gamma", gamma)
    run.log("test accuracy", test_accuracy)
    print("best: C {:g}, gamma {:g}, accuracy {:.4f}, on the test pictures {:.4f}".format(
        c, gamma, metrics[best.id]["accuracy"], test_accuracy))


if __name__ == "__main__":
    main()
