"""The Python package and the real daemon: a script logs every shape, a driver submits, waits and searches; both ask what
can be asked."""
import json
import os
import shutil
import urllib.parse

from support import settings
from support.case import RunnerTest
from support.settings import only_in

SCRIPT = """\
import math, os
import runner_sdk
run = runner_sdk.Run.get_context()
run.log("loss", 0.5, step=1)
run.log("loss", 0.25, step=2)
run.log("accuracy", 0.9)
run.log_list("list", [1, math.nan, "x"])
run.log_list("empty", [])
run.log_row("row", angle=0.5, word="a")
run.log_table("table", {"x": [1, 2, 2**62], "y": [None, "s"]})
def refused(call, *words):
    try:
        call()
    except runner_sdk.RunnerError as error:
        assert isinstance(error, runner_sdk.Unavailable) and error.hint, error
        assert "\\n" not in error.message and all(word in str(error) for word in words), error
    else:
        raise AssertionError(words)
"""

# What only a driver can do; and what a script can beside logging.
ASKED = """\
found = run.get_metrics()
assert math.isnan(found["list"].pop(1)), found
assert found == {"loss": [0.5, 0.25], "accuracy": 0.9, "list": [1, "x"], "empty": [], "row": {"angle": 0.5, "word": "a"},
                 "table": {"x": [1, 2, 2**62], "y": [None, "s", None]}}, found
assert run.get_status() == "Running" and run.get_file_names() == [], run
refused(lambda: runner_sdk.Experiment("e").submit(runner_sdk.ScriptRunConfig(".", "main.py")), "a script in a run cannot reach")
run.upload_file("a", __file__)
run.tag("k", "v")
run.add_properties({"p": "q"})
import os
os.makedirs("/tmp/folder/deep")
for name in ("x", "deep/y"):
    open("/tmp/folder/" + name, "w").write(name)
with run.child_run("fold") as child:
    child.log("loss", 1)
    child.upload_file("a", __file__)
    child.upload_folder("plots", "/tmp/folder")
assert run.get_metrics(recursive=True)[child.id] == {"loss": 1} and run.get_status() == "Running"
assert run.get_file_names() == ["a"], run.get_file_names()
assert child.parent.id == run.id and run.parent is None and [found.id for found in run.get_children()] == [child.id]
assert child.get_file_names() == ["a", "plots/deep/y", "plots/x"], child.get_file_names()
child.download_files("plots", "/tmp/fetched")
assert open("/tmp/fetched/plots/deep/y").read() == "deep/y", os.listdir("/tmp/fetched")
"""


class Script(RunnerTest):
    def test_every_shape_arrives_and_what_a_script_asks_is_answered(self):
        self.submit_python(SCRIPT + ASKED)
        shown = self.show()
        self.assertEqual((shown["tags"], shown["properties"]["p"]), ({"k": "v"}, "q"))
        self.assertEqual(shown["metrics"], {
            "loss": [0.5, 0.25], "accuracy": 0.9, "list": [1, "NaN", "x"], "empty": [], "row": {"angle": 0.5, "word": "a"},
            "table": {"x": [1, 2, 2**62], "y": [None, "s", None]}})

    def test_runs_are_found_by_metrics_parameters_and_text(self):
        for rate in ("0.5", "0.1"):
            self.submit_python("import runner, sys\nrunner.log('loss', float(sys.argv[2]))\n", "--experiment", "found",
                               arguments=("--lr", rate))
        (newest, oldest) = [run["runId"] for run in self.runs("--experiment", "found")]
        for query, found in ((["metric=loss"], [newest, oldest]), (["metric=loss<0.2"], [newest]), (["metric=loss.max>=0.5"], [oldest]),
                             (["param=lr=0.5"], [oldest]), (["param=lr<0.5", "metric=loss>0"], [newest]), (["metric=other"], []),
                             (["kind=script", "text=" + newest[-8:]], [newest]), (["kind=child"], []), (["limit=1"], [newest])):
            with self.subTest(query):
                answer = self.asked("/v1/runs?experiment=found&" + "&".join(name + "=" + urllib.parse.quote(value) for name, _, value in
                                                           (part.partition("=") for part in query)))
                self.assertEqual([run["runId"] for run in answer["items"]], found)
                if query == ["limit=1"]:
                    rest = self.asked("/v1/runs?experiment=found&limit=1&nextToken=" + answer["nextToken"])
                    self.assertEqual(([run["runId"] for run in rest["items"]], rest["nextToken"]), ([oldest], None))

    def asked(self, path):
        result = self.home.call("curl", "-sS", "--unix-socket", self.home.data + "/control.sock", "http://localhost" + path)
        return json.loads(result.out)


DRIVER = """\
from runner_sdk import Experiment, Run, RunFailed, ScriptRunConfig
experiment = Experiment("drive")
run = experiment.submit(ScriptRunConfig(".", "train.py", ["--alpha", 0.5]), tags={"sweep": "a"}, properties={"p": "q"})
details = run.wait_for_completion(show_output=True)
assert details["status"] == "Completed" and details["metrics"] == {"r2": 0.5, "sine": {"x": [0, 1]}}, details["metrics"]
assert run.get_metrics() == details["metrics"], run.get_metrics()
assert run.tags == {"sweep": "a"} and run.properties["p"] == "q", (run.tags, run.properties)
assert list(experiment.get_runs(tags="sweep")) == [run] and list(experiment.get_runs(tags={"sweep": "b"})) == []
assert list(experiment.get_runs(properties={"p": "q"})) == [run] and list(experiment.get_runs(properties={"p": "x"})) == []
assert list(experiment.get_runs(type="script")) == [run] and list(experiment.get_runs(type="child")) == []
assert Run.get(run.id[-8:]) == run and Run(experiment, run.id).get_status() == "Completed"
assert "outputs/model.txt" in run.get_file_names(), run.get_file_names()
assert open(run.download_file("outputs/model.txt", "copy/")).read() == "model"
assert "train.py" in __import__("os").listdir(run.restore_snapshot(path="restored"))
failing = experiment.submit(ScriptRunConfig(".", "train.py", ["--alpha", "x"]))
try:
    failing.wait_for_completion()
except RunFailed as error:
    assert failing.id in str(error), error
else:
    raise AssertionError("it failed")
"""

DRIVER_ASKED = """\
from runner_sdk import Conflict
run.tag("late")
assert run.tags == {"sweep": "a", "late": None} and run.get_metrics() == {"r2": 0.5, "sine": {"x": [0, 1]}}
for ask in (lambda: run.child_run("x"), lambda: run.upload_file("a", "train.py"), lambda: run.add_properties({"p": "other"})):
    try:
        ask()
    except Conflict as error:
        assert "\\n" not in error.message, error
    else:
        raise AssertionError(ask)
from runner_sdk import Environment
import sys
there = Environment.from_existing_interpreter("there", sys.executable)
other = experiment.submit(ScriptRunConfig(".", "train.py", ["--alpha", 1], environment=there))
other.wait_for_completion()
assert other.get_metrics()["r2"] == 1.0 and other.get_details()["environment"]["interpreter"] == sys.executable, other.get_details()["environment"]
with experiment.start_logging(snapshot_directory=None) as here:
    here.log("x", 1)
assert here.get_status() == "Completed" and here.get_metrics() == {"x": 1}
"""


@only_in("sandbox")
class Driver(RunnerTest):
    def test_it_submits_waits_searches_and_fetches(self):
        package = self.home.base + "/package"
        shutil.copytree(os.path.join(settings.SOURCE_ROOT, "tools", "python", "src"), package)
        self.write("train.py", "import os, runner_sdk, sys\nrun = runner_sdk.Run.get_context()\nrun.log('r2', float(sys.argv[2]))\n"
                               "run.log_table('sine', {'x': [0, 1]})\nos.makedirs('outputs')\nopen('outputs/model.txt', 'w').write('model')\n"
                               "print('trained')\n")
        driver = self.home.write(self.home.base + "/driver.py", DRIVER + DRIVER_ASKED)
        done = self.home.call(settings.PYTHON, "-B", driver, directory=self.project,
                              environment={"PYTHONPATH": package, "RUNNER_BIN": self.home.program("runner")}, timeout=120.0)
        self.assertEqual(done.code, 0, done.describe())
        self.assertIn("trained", done.text)
