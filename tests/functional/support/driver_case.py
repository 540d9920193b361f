"""Python processes of the user that drive the runner with its Python package: notebooks, prompts, scripts outside of a run."""
import json
import os
import textwrap

from . import settings
from .case import RunnerTest
from .program import Background

# Goes before a driver's code: tell() and await_() as in case.GATE, at a directory of its own.
_WORDS = textwrap.dedent("""\
    import json, os, sys, time
    import runner
    from runner import Experiment, Run
    GATE = %r
    def tell(name, value=""):
        with open(os.path.join(GATE, name + ".new"), "w") as file:
            json.dump(value, file)
        os.rename(os.path.join(GATE, name + ".new"), os.path.join(GATE, name))
    def await_(name):
        while not os.path.exists(os.path.join(GATE, name)):
            time.sleep(0.005)
    """)


class DriverTest(RunnerTest):
    def _driver(self, code):
        return [settings.PYTHON, "-c", _WORDS % self.gate + textwrap.dedent(code)]

    def _surroundings(self):
        package = os.path.join(os.path.dirname(os.path.dirname(self.home.program("runner"))), "share/runner/python")
        return {"PYTHONPATH": package, "RUNNER_BIN": self.home.program("runner"), "PYTHONDONTWRITEBYTECODE": "1"}

    def drive(self, code, exit_code=0, timeout=60.0):
        """Runs `code` in the project; what it printed last, as JSON, or None if it printed nothing."""
        result = self.home.call(*self._driver(code), directory=self.project, environment=self._surroundings(), timeout=timeout)
        self.assertEqual(result.code, exit_code, result.describe())
        lines = result.text.splitlines()
        return json.loads(lines[-1]) if lines else None

    def start_driver(self, code):
        """The same, going on beside the test (Background)."""
        started = Background(self._driver(code), self.account, self.project, self.home.environment(self._surroundings()))
        self.home.held(started)
        return started

    def told_value(self, name, deadline=settings.DEADLINE):
        return json.loads(self.await_gate(name, deadline))

    # --- the API ---------------------------------------------------------------------------------------------------------

    def ask(self, method, path, document=None, status=200):
        """One request on the control socket; its answer."""
        options = []
        if document is not None:  # by a file: an argument has at most 128 KiB
            options = ["-H", "Content-Type: application/json", "--data-binary", "@" + self.home.write(self.home.base + "/body.json", json.dumps(document))]
        result = self.home.call("curl", "-sS", "--unix-socket", self.home.data + "/control.sock", "-w", "\n%{http_code}", "-X", method,
                                *options, "http://localhost" + path)
        self.assertEqual(result.code, 0, result.describe())
        body, _, found = result.out.rpartition(b"\n")
        self.assertEqual(int(found), status, body)
        return json.loads(body)

    def refused(self, status, method, path, document=None):
        """The message of a request that must be refused so."""
        return self.ask(method, path, document, status)["error"]["message"]

    def file_of(self, run, name):
        """The bytes of a run's file."""
        result = self.home.call("curl", "-sSf", "--unix-socket", self.home.data + "/control.sock", "-G", "--data-urlencode", "name=" + name,
                                "http://localhost/v1/runs/%s/file" % run)
        self.assertEqual(result.code, 0, result.describe())
        return result.out
