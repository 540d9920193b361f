"""samples/ run as tests, with the very commands of their READMEs."""
import csv
import json
import os
import shlex
import shutil
import subprocess

from support import settings
from support.case import RunnerTest


class Diabetes(RunnerTest):
    def test_the_readmes_commands_give_metrics_a_model_a_plot_and_a_table(self):
        missing = subprocess.run([settings.PYTHON, "-c", "import sklearn, matplotlib"], capture_output=True, text=True)
        if missing.returncode != 0:
            self.skipTest("python3-sklearn and python3-matplotlib are not installed: " + missing.stderr[-200:])
        sample = self.project + "/samples/diabetes"
        shutil.copytree(settings.SOURCE_ROOT + "/samples/diabetes", sample, ignore=shutil.ignore_patterns("outputs", "logs", "__pycache__"))
        self.account.own(self.project)
        self.home.call("git", "init", "-q", "-b", "main", directory=self.project)
        with open(sample + "/README.md") as file:
            commands = [line.split("#")[0].strip() for line in file.read().split("```sh\n")[1].split("```")[0].splitlines()]
        self.assertIn("submit", commands[0])
        results = []
        for command in commands:
            words = shlex.split(command)
            self.assertEqual(words[0], "runner")
            results.append(self.ok(*words[1:], timeout=120))
        self.assertIn("best:", results[0].text)

        run = self.show()
        self.assertEqual((run["status"], run["experiment"]), ("Completed", "diabetes"))
        self.assertEqual(run["environment"]["interpreter"], settings.PYTHON)
        series = run["metrics"]["sgd test rmse"]
        self.assertEqual(len(series), 60)
        self.assertLess(series[-1], series[0])
        self.assertLess(run["metrics"]["best rmse"], 70)
        self.assertIsInstance(run["metrics"]["best model"], str)
        self.assertEqual(sorted(o["name"] for o in run["outputs"]), ["outputs/model.pkl", "outputs/models.png"])
        self.assertEqual(self.log_files(run), ["logs/models.csv", "user_logs/std_log.txt"])

        with open(self.project + "/result/outputs/models.png", "rb") as file:
            self.assertEqual(file.read(8), b"\x89PNG\r\n\x1a\n")
        with open(self.project + "/result/logs/models.csv") as file:
            rows = list(csv.DictReader(file))
        self.assertGreaterEqual(len(rows), 10)
        checked = subprocess.run([settings.PYTHON, "-c", "import pickle, sys\nmodel = pickle.load(open(sys.argv[1], 'rb'))\n"
                                  "print(model['model'].predict(model['scaler'].transform([[0] * 10])).shape)",
                                  self.project + "/result/outputs/model.pkl"], capture_output=True, text=True)
        self.assertEqual(checked.stdout, "(1,)\n", checked.stderr)
        self.assertFalse(os.path.exists(sample + "/outputs"))


class Ridge(RunnerTest):
    """The driver and the notebook, with the package as it lies in the source tree."""

    def setUp(self):
        super().setUp()
        self.sample = self.project + "/samples/ridge"
        shutil.copytree(settings.SOURCE_ROOT + "/samples/ridge", self.sample, ignore=shutil.ignore_patterns("__pycache__"))
        package = self.home.base + "/package"
        if not os.path.exists(package):
            shutil.copytree(settings.SOURCE_ROOT + "/tools/python/src", package)
        self.account.own(self.project)
        self.variables = {"PYTHONPATH": package, "RUNNER_BIN": self.home.program("runner")}

    def best_model(self):
        code = "import pickle\nprint(pickle.load(open('best.pkl', 'rb')).coef_.shape)"
        return self.home.call(settings.PYTHON, "-c", code, directory=self.project).text

    def test_the_driver_compares_the_runs_and_keeps_the_best_model(self):
        with open(self.sample + "/README.md") as file:
            block = file.read().split("```sh\n")[1].split("```")[0]
        (command,) = [shlex.split(line.split("#")[0]) for line in block.splitlines() if line.startswith("/usr/bin/python3")]
        done = self.home.call(*command, directory=self.project, environment=self.variables, timeout=120.0)
        self.assertEqual(done.code, 0, done.describe())
        runs = {run["runId"]: run for run in self.runs("-e", "ridge") if "driver" in run["tags"]}
        self.assertEqual(sorted(run["tags"]["alpha"] for run in runs.values()), ["0.01", "0.1", "1.0", "10.0"])
        *table, best = done.text.splitlines()
        rows = [line.split() for line in table]
        self.assertEqual({row[0] for row in rows}, set(runs))
        errors = [float(row[-1]) for row in rows]
        self.assertEqual(errors, sorted(errors))
        self.assertTrue(all(40 < error < 80 for error in errors), errors)
        self.assertEqual(best, "best: alpha %s, %s" % (rows[0][2], rows[0][0]))
        self.assertEqual(self.best_model(), "(10,)\n")
        metrics = self.show(rows[0][0])["metrics"]
        self.assertEqual(len(metrics["fold rmse"]), 5)
        self.assertEqual(sorted(metrics["folds"]), ["fold", "rmse", "test", "train"])
        self.assertEqual(sum(metrics["folds"]["test"]), 442)

    def test_the_notebook_runs_and_shows_its_runs(self):
        code = ("import json, nbclient, nbformat\n"
                "notebook = nbformat.read('compare.ipynb', as_version=4)\n"
                "nbclient.NotebookClient(notebook, timeout=120).execute()\n"
                "print(json.dumps([cell.get('outputs', []) for cell in notebook.cells]))\n")
        done = self.home.call(settings.PYTHON, "-c", code, directory=self.sample, environment=self.variables, timeout=180.0)
        self.assertEqual(done.code, 0, done.describe())
        cells = json.loads(done.text.splitlines()[-1])
        self.assertIn("ridge_", cells[1][0]["data"]["text/html"])
        scores = json.loads(cells[2][0]["data"]["text/plain"])
        self.assertEqual(len(scores), 4)
        self.assertIn("'rmse': [", cells[4][0]["data"]["text/plain"])
        said = cells[5][0]["text"]
        self.assertIn("of ['10.0', '1.0', '0.1', '0.01']", said)
