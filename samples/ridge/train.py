"""One model: ridge regression of the diabetes data with one regularisation strength, scored on five folds."""
import argparse
import os
import pickle

import runner
from sklearn.datasets import load_diabetes
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold

parser = argparse.ArgumentParser()
parser.add_argument("--alpha", type=float, default=1.0, help="regularisation strength")
parser.add_argument("--folds", type=int, default=5)
arguments = parser.parse_args()

run = runner.Run.get_context()
x, y = load_diabetes(return_X_y=True)
errors = []
for fold, (known, held_out) in enumerate(KFold(arguments.folds, shuffle=True, random_state=0).split(x)):
    model = Ridge(arguments.alpha).fit(x[known], y[known])
    errors.append(float(((model.predict(x[held_out]) - y[held_out]) ** 2).mean() ** 0.5))
    run.log("fold rmse", errors[-1], step=fold)
    run.log_row("folds", fold=fold, train=len(known), test=len(held_out), rmse=errors[-1])
run.log("rmse", sum(errors) / len(errors))

os.makedirs("outputs", exist_ok=True)
with open("outputs/model.pkl", "wb") as file:
    pickle.dump(Ridge(arguments.alpha).fit(x, y), file)
print("alpha {:g}: rmse {:.2f}".format(arguments.alpha, sum(errors) / len(errors)))
