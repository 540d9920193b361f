"""The samples that look at the history from within a run: a sweep by hand with children, a training with checkpoints. Run with the very
commands of their READMEs, in both isolations."""
import os
import shutil
import struct
import subprocess
import unittest

from support import settings
from support.case import RunnerTest
from support.waiting import wait_until
from test_history_commands import events, fields

_IMAGE = "runner-test/sklearn:1"


class SampleTest(RunnerTest):
    sample = ""

    @classmethod
    def setUpClass(cls):
        if cls is SampleTest:
            raise unittest.SkipTest("the base of the others")
        missing = subprocess.run([settings.PYTHON, "-c", "import sklearn"], capture_output=True, text=True)
        if missing.returncode != 0:
            raise unittest.SkipTest("python3-sklearn is not installed: " + missing.stderr[-200:])
        super().setUpClass()

    def setUp(self):
        super().setUp()
        source = "%s/samples/%s" % (settings.SOURCE_ROOT, self.sample)
        shutil.copytree(source, self.project, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
        subprocess.run(["chown", "-R", "--reference", self.project, self.project], check=True)

    @staticmethod
    def environment():
        return ("--image", _IMAGE) if settings.ISOLATION == "docker" else ("--python", settings.PYTHON)

    def follow_the_readme(self):
        """Its commands, in one shell that ends at the first that fails. In an engine with the image in the interpreter's place."""
        with open(self.project + "/README.md") as file:
            commands = file.read().split("```sh\n")[1].split("```")[0]
        commands = commands.replace(" ".join(("--python", settings.PYTHON)), " ".join(self.environment()))
        path = os.path.dirname(self.home.program("runner")) + ":" + self.home.environment()["PATH"]
        done = self.home.call("sh", "-e", "-c", commands, directory=self.project, environment={"PATH": path}, timeout=180.0)
        self.assertEqual(done.code, 0, done.describe())
        return done.text

    def names(self, run):
        return [file["name"] for file in self.ok("run", "files", "--json", run).json["items"]]

    def predicts(self, path):
        """What the model in this file says of ten empty pictures."""
        code = "import pickle, sys\nprint(pickle.load(open(sys.argv[1], 'rb')).predict([[0] * 64] * 10).shape)"
        return self.home.call(settings.PYTHON, "-c", code, path, directory=self.project).text


class Sweep(SampleTest):
    sample = "sweep"

    def test_every_point_is_a_child_and_the_best_is_found_and_fitted_again(self):
        said = self.follow_the_readme()
        run = self.show()
        self.assertEqual((run["status"], run["experiment"], run["notices"]), ("Completed", "sweep", []))
        children = self.runs("--parent", run["runId"])
        self.assertEqual({child["status"] for child in children}, {"Completed"})
        self.assertEqual({child["kind"] for child in children}, {"child"})
        points = {child["runId"]: child for child in children if child["tags"].get("sweep") == "grid"}
        [refit] = [child for child in children if child["runId"] not in points]
        self.assertEqual({(child["tags"]["C"], child["tags"]["gamma"]) for child in points.values()},
                         {(c, gamma) for c in ("0.3", "1", "3", "10") for gamma in ("0.0001", "0.0005", "0.002")})

        table = run["metrics"]["sweep"]
        self.assertEqual(sorted(table), ["C", "accuracy", "gamma", "run"])
        self.assertEqual(sorted(table["run"]), sorted(points))
        self.assertEqual(table["accuracy"], sorted(table["accuracy"], reverse=True))
        for row, run_id in enumerate(table["run"]):
            metrics = self.show(run_id)["metrics"]
            folds = metrics["fold accuracy"]
            self.assertEqual(len(folds), 3)
            self.assertEqual(metrics["accuracy"], table["accuracy"][row])
            self.assertAlmostEqual(sum(folds) / 3, metrics["accuracy"], 12)
            self.assertEqual(float(points[run_id]["tags"]["gamma"]), table["gamma"][row])
        self.assertEqual([run_id for run_id, child in points.items() if "best" in child["tags"]], table["run"][:1])
        self.assertEqual([run["metrics"]["best " + name] for name in ("accuracy", "C", "gamma")],
                         [table[name][0] for name in ("accuracy", "C", "gamma")])
        self.assertGreater(table["accuracy"][0], 0.98)

        refit = self.show(refit["runId"])
        self.assertTrue(refit["name"].endswith(">refit"), refit["name"])
        self.assertEqual(refit["metrics"]["test accuracy"], run["metrics"]["test accuracy"])
        self.assertGreater(run["metrics"]["test accuracy"], 0.97)
        self.assertEqual(refit["metrics"]["digits"]["type"], "confusion_matrix")
        self.assertIn(refit["metrics"]["digits"]["artifact"], self.names(refit["runId"]))
        self.ok("run", "download", refit["runId"], "model.pkl", "-d", "of-the-child")
        with open(self.project + "/of-the-child/model.pkl", "rb") as one, open(self.project + "/result/outputs/model.pkl", "rb") as other:
            self.assertEqual(one.read(), other.read())
        self.assertEqual(self.predicts("result/outputs/model.pkl"), "(10,)\n")

        self.assertIn(table["run"][0], said)
        good = self.runs("--parent", run["runId"], "--metric", "accuracy>0.987")
        self.assertEqual({child["runId"] for child in good}, {run_id for run_id, found in zip(table["run"], table["accuracy"]) if found > 0.987})
        [child] = self.runs("--parent", run["runId"], "--tag", "best")
        self.assertEqual(child["runId"], table["run"][0])
        self.assertEqual(self.runs("-e", "sweep"), [item for item in self.runs("--kind", "script") if item["experiment"] == "sweep"])

    def test_a_point_that_fails_is_a_failed_child_of_a_failed_run(self):
        self.ok("submit", *self.environment(), "sweep.py", "--C", "1", "-1", "--gamma", "0.001", code=1, timeout=120)
        run = self.show()
        self.assertEqual(run["status"], "Failed")
        bad, good = self.runs("--parent", run["runId"])
        self.assertEqual([(child["status"], child["tags"]["C"]) for child in (good, bad)], [("Completed", "1.0"), ("Failed", "-1.0")])
        self.assertIn("'C'", self.show(bad["runId"])["error"]["message"])


def curves(path):
    """{tag: {step: value}} of an event file, whose checksums hold."""
    first, *rest = events(path)
    assert first[3] == b"brain.Event:2", first
    found = {}
    for event in rest:
        value = dict(fields(dict(fields(event[5]))[1]))
        steps = found.setdefault(value[1].decode(), {})
        assert event[2] not in steps, (value, event[2])
        [steps[event[2]]] = struct.unpack("<f", value[2])
    return found


class Training(SampleTest):
    sample = "training"
    fresh_home = True
    configuration = "cpus = 2\n"
    CURVES = ("train loss", "validation loss", "validation accuracy")

    def event_file(self, run, directory):
        """What the script itself has written under logs/."""
        [name] = [name for name in self.names(run) if name.startswith("logs/")]
        self.assertRegex(name, r"^logs/events\.out\.tfevents\.\d+\.\S+$")
        self.ok("run", "download", run, name, "-d", directory)
        return os.path.join(self.project, directory, name)

    def assert_curves(self, found, metrics, epochs):
        """An event file against what was logged: the same values, with 24 bits."""
        for name in self.CURVES:
            self.assertEqual(sorted(found[name]), list(range(1, epochs + 1)), name)
            wanted = [struct.unpack("<f", struct.pack("<f", value))[0] for value in metrics[name]]
            self.assertEqual([found[name][step] for step in range(1, epochs + 1)], wanted, name)

    def test_it_leaves_checkpoints_and_curves_and_goes_on_from_a_checkpoint(self):
        self.follow_the_readme()
        first, second = self.show("@last-1"), self.show()
        for run, epochs, begun in ((first, 40, 0), (second, 60, 20)):
            with self.subTest(epochs=epochs):
                run_id, metrics = run["runId"], run["metrics"]
                self.assertEqual((run["status"], run["experiment"], run["notices"]), ("Completed", "training", []))
                self.assertEqual(run["tags"], {"resumed": str(begun)})
                self.assertEqual([name for name in self.names(run_id) if name.startswith("checkpoints/")],
                                 ["checkpoints/epoch-%04d.pkl" % epoch for epoch in range(begun + 10, epochs + 1, 10)])
                self.assertEqual([output["name"] for output in run["outputs"] if output["name"].startswith("outputs/")], ["outputs/model.pkl"])
                self.assertEqual([len(metrics[name]) for name in self.CURVES], [epochs] * 3)
                self.assertLess(metrics["train loss"][-1], metrics["train loss"][0] / 10)
                self.assertEqual(metrics["best epoch"], 1 + metrics["validation loss"].index(min(metrics["validation loss"])))
                self.assertGreater(metrics["test accuracy"], 0.9)
                self.assert_curves(curves(self.event_file(run_id, "of-" + run_id)), metrics, epochs)
                [made] = os.listdir("%s/tensorboard/%s" % (self.project, run_id))
                made = curves("%s/tensorboard/%s/%s" % (self.project, run_id, made))
                self.assertEqual(sorted(made), sorted(self.CURVES + ("best epoch", "test accuracy")))
                self.assert_curves(made, metrics, epochs)
                self.ok("run", "download", run_id, "outputs/model.pkl", "-d", "of-" + run_id)
                self.assertEqual(self.predicts("of-%s/outputs/model.pkl" % run_id), "(10,)\n")
        for name in self.CURVES:  # as if it had not been interrupted
            self.assertEqual(second["metrics"][name][:40], first["metrics"][name])
        self.assertIn(b"goes on after epoch 20\n", self.log(second["runId"]))

    def test_a_run_that_gives_way_goes_on_from_its_own_checkpoint(self):
        options = ("train.py", "--epochs", "100", "--hidden", "200")
        run = self.ok("submit", "--detach", "--priority", "-1", *self.environment(), *options).text.strip()
        wait_until(lambda: "checkpoints/epoch-0010.pkl" in self.names(run), "the first checkpoint is in the history while the run lives", 60)
        self.assertEqual(self.show(run)["status"], "Running")
        self.ok("run", "pause", run)
        self.ok("submit", *self.environment(), "--command", "true", timeout=120)  # comes first
        shown = self.wait(run, timeout=180)
        self.assertEqual((shown["status"], shown["attempt"]), ("Completed", 2))
        checkpoints = [name for name in self.names(run) if "checkpoints/" in name]
        early = [name for name in checkpoints if name.startswith("attempts/1/checkpoints/")]
        begun = 10 * len(early)
        self.assertGreaterEqual(begun, 10)
        self.assertEqual(shown["tags"], {"resumed": str(begun)})
        self.assertEqual(sorted(set(checkpoints) - set(early)),
                         ["checkpoints/epoch-%04d.pkl" % epoch for epoch in range(begun + 10, 101, 10)])
        self.assertEqual([len(shown["metrics"][name]) for name in self.CURVES], [100] * 3)
        self.assert_curves(curves(self.event_file(run, "of-it")), shown["metrics"], 100)

    def test_what_there_is_no_checkpoint_for_is_told(self):
        empty = self.home.new_project()
        result = self.ok("submit", *self.environment(), "--mount", empty + ":/earlier", "train.py", "--resume", "/earlier", code=1)
        self.assertIn("no epoch-*.pkl in /earlier", result.text + result.err)
