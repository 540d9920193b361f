"""samples/ run as tests, with the very commands of their READMEs."""
import csv
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
