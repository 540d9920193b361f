"""Trains a small network that reads handwritten digits, epoch by epoch, with checkpoints and curves for TensorBoard.

The digits ship with scikit-learn (1 797 pictures of 8 x 8), so this runs offline. It leaves behind
    metrics                        "train loss", "validation loss" and "validation accuracy" of each epoch; "best epoch", "test accuracy"
    checkpoints/epoch-NNNN.pkl     in the history as soon as it is written, while the training goes on
    logs/events.out.tfevents.…     the same curves, for TensorBoard
    outputs/model.pkl              the network of the best epoch

A training that was interrupted goes on from its last checkpoint: of the run itself, when the runner has started it again, or of
the directory that --resume names. It comes out as if it had not been interrupted.
"""

import argparse
import copy
import glob
import io
import os
import pickle

for library in ("OMP", "OPENBLAS", "MKL"):  # matrices as small as these are quicker without threads, above all on a busy machine
    os.environ.setdefault(library + "_NUM_THREADS", "1")

import numpy as np
import runner
from events import EventWriter
from sklearn.datasets import load_digits
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

CURVES = ("train loss", "validation loss", "validation accuracy")


class Training:
    """The network with its optimiser, and the way it came: what a checkpoint holds."""

    def __init__(self, hidden, rate):
        self.model = MLPClassifier((hidden,), learning_rate_init=rate, batch_size=32, random_state=0)
        self.curves = {name: [] for name in CURVES}  # a value for each epoch
        self.best, self.best_epoch = None, 0

    @property
    def epoch(self):
        return len(self.curves["train loss"])

    def train_one_epoch(self, data):
        x_train, x_validation, y_train, y_validation = data
        order = np.random.default_rng(self.epoch).permutation(len(y_train))  # the same for an epoch, whatever came before it
        self.model.partial_fit(x_train[order], y_train[order], classes=range(10))
        accuracy = float(self.model.score(x_validation, y_validation))
        loss = float(log_loss(y_validation, self.model.predict_proba(x_validation)))
        for name, value in zip(CURVES, (float(self.model.loss_), loss, accuracy)):
            self.curves[name].append(value)
        if loss == min(self.curves["validation loss"]):
            self.best, self.best_epoch = copy.deepcopy(self.model), self.epoch


def last_checkpoint(run, directory):
    """The newest checkpoint as an open file, or None."""
    if run.attempt > 1:  # started again: what the attempts before it have uploaded
        names = [name for name in run.get_file_names() if name.startswith("attempts/") and "/checkpoints/" in name]
        if names:
            return open(run.download_file(max(names, key=os.path.basename), "checkpoint.pkl"), "rb")
    names = glob.glob(os.path.join(directory, "epoch-*.pkl")) if directory else []
    if directory and not names:
        raise SystemExit("no epoch-*.pkl in " + directory)
    return open(max(names), "rb") if names else None


def main():
    parser = argparse.ArgumentParser(description="Trains a small network, with checkpoints.")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--every", type=int, default=10, help="epochs from a checkpoint to the next")
    parser.add_argument("--hidden", type=int, default=64, help="neurons")
    parser.add_argument("--rate", type=float, default=0.001, help="learning rate of the first epoch")
    parser.add_argument("--resume", metavar="DIR", help="go on from the newest epoch-*.pkl in there (of your own: it is unpickled)")
    arguments = parser.parse_args()

    run = runner.Run.get_context()
    x, y = load_digits(return_X_y=True)
    x, x_test, y, y_test = train_test_split(x / 16, y, test_size=0.2, random_state=0, stratify=y)
    data = train_test_split(x, y, test_size=0.2, random_state=0, stratify=y)

    training = Training(arguments.hidden, arguments.rate)
    checkpoint = last_checkpoint(run, arguments.resume)
    if checkpoint:
        with checkpoint:
            vars(training).update(pickle.load(checkpoint))
        print("goes on after epoch {}".format(training.epoch))
    run.tag("resumed", training.epoch)

    events = EventWriter("logs")

    def tell(epoch):
        for name in CURVES:
            run.log(name, training.curves[name][epoch - 1], step=epoch)
            events.add_scalar(name, training.curves[name][epoch - 1], epoch)

    for epoch in range(1, training.epoch + 1):  # of the epochs before the checkpoint: these curves, too, are whole
        tell(epoch)
    while training.epoch < arguments.epochs:
        training.train_one_epoch(data)
        tell(training.epoch)
        if training.epoch % arguments.every == 0:
            run.upload_file("checkpoints/epoch-{:04}.pkl".format(training.epoch), io.BytesIO(pickle.dumps(vars(training))))
            print("epoch {}: {}".format(training.epoch, ", ".join(
                "{} {:.4f}".format(name, training.curves[name][-1]) for name in CURVES)), flush=True)
    events.close()

    run.log("best epoch", training.best_epoch)
    run.log("test accuracy", float(training.best.score(x_test, y_test)))
    os.makedirs("outputs", exist_ok=True)
    with open("outputs/model.pkl", "wb") as file:
        pickle.dump(training.best, file)
    print("best epoch {}, accuracy on the test pictures {:.4f}".format(training.best_epoch, training.best.score(x_test, y_test)))


if __name__ == "__main__":
    main()
