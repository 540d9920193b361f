"""The base of all test cases: a home (shared by the class unless it wants fresh ones), a project per test, the usual moves."""
import json
import os
import re
import sys
import textwrap
import unittest

from . import accounts, processes, settings
from .home import Home
from .waiting import wait_until

RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*_\d+_[0-9a-f]{8}")
FINAL = ("Completed", "Failed", "Canceled")

# Goes before scripts that must wait for the test: /gate is a writable directory of the host.
GATE = textwrap.dedent("""\
    import os, sys, time
    def tell(name, text=""):
        with open("/gate/" + name + ".new", "w") as file:
            file.write(text)
        os.rename("/gate/" + name + ".new", "/gate/" + name)
    def await_(name):
        while not os.path.exists("/gate/" + name):
            time.sleep(0.005)
    """)


class RunnerTest(unittest.TestCase):
    maxDiff = 4000
    fresh_home = False  # True: every test gets its own home and daemon
    configuration = ""  # config.toml

    @classmethod
    def make_home(cls):
        home = Home()
        if cls.configuration:
            home.configure(cls.configuration)
        return home

    @classmethod
    def setUpClass(cls):
        if not cls.fresh_home:
            cls.home = cls.make_home()
            cls.addClassCleanup(cls.home.close)

    @classmethod
    def for_the_class(cls):
        """A case with a project, for what setUpClass does once on behalf of all."""
        case = cls()
        case.account, case.project, case._gate = cls.home.account, cls.home.new_project(), None
        return case

    def setUp(self):
        if self.fresh_home:
            self.home = self.make_home()
            self.addCleanup(self.home.close)
        self.account = self.home.account
        self.project = self.home.new_project()
        self._gate = None

    def run(self, result=None):
        """As unittest's, and shows the daemon's log with a failure."""
        before = len(result.failures) + len(result.errors) if result is not None else 0
        done = super().run(result)
        if result is not None and len(result.failures) + len(result.errors) > before and hasattr(self, "home"):
            print("--- daemon.log of %s, its end:\n%s---" % (self.id(), self._log_at_failure or self.home.daemon_log()), file=sys.stderr)
        return done

    _log_at_failure = ""

    def tearDown(self):
        self._log_at_failure = self.home.daemon_log()
        if not getattr(self._outcome, "success", True):  # a script that never came as far as the test expects says why here
            try:
                listed = self.home.run("run", "list", "--all", "--json", timeout=20).json["items"]
                self._log_at_failure += "".join("%s %s %s\n" % (run["runId"], run["status"], run["statusReason"]) for run in listed)
            except Exception as problem:  # the daemon itself may be what failed
                self._log_at_failure += "no list of runs: %s\n" % problem

    # --- files -----------------------------------------------------------------------------------------------------------

    def write(self, name, content, mode=None):
        """A file of the project (or an absolute path)."""
        if isinstance(content, str):
            content = textwrap.dedent(content)
        return self.home.write(os.path.join(self.project, name), content, mode)

    @property
    def gate(self):
        """A host directory that a run sees as /gate with `*self.with_gate`."""
        if self._gate is None:
            self._gate = self.home.new_project("gate%d-%s" % (self.home.projects + 1, self.home.token))
        return self._gate

    @property
    def with_gate(self):
        return ("--mount", self.gate + ":/gate:rw")

    def open_gate(self, name):
        self.home.write(os.path.join(self.gate, name), "")

    def await_gate(self, name, deadline=settings.DEADLINE):
        """Until the script has told `name`; returns what it wrote."""
        path = os.path.join(self.gate, name)
        wait_until(lambda: os.path.exists(path), "the script says " + name, deadline)
        with open(path) as file:
            return file.read()

    def told(self, name):
        """The words that scripts have added to a file at the gate, in order; none if there is no such file yet."""
        try:
            with open(os.path.join(self.gate, name)) as file:
                return file.read().split()
        except FileNotFoundError:
            return []

    # --- commands --------------------------------------------------------------------------------------------------------

    def runner(self, *arguments, **options):
        options.setdefault("directory", self.project)
        return self.home.run(*arguments, **options)

    def ok(self, *arguments, code=0, **options):
        """A command that must end with `code` (None: with any)."""
        result = self.runner(*arguments, **options)
        if code is not None:
            self.assertEqual(result.code, code, result.describe())
        return result

    def isolation_options(self):
        return ("--image", settings.IMAGE) if settings.ISOLATION == "docker" else ()

    def submit(self, *arguments, code=0, **options):
        """`runner submit ARGUMENTS…`, followed to the end."""
        return self.ok("submit", *self.isolation_options(), *arguments, code=code, **options)

    def detach(self, *arguments, **options):
        """`runner submit --detach ARGUMENTS…`: the run's id."""
        run_id = self.submit("--detach", *arguments, **options).text.strip()
        self.assertRegex(run_id, "^" + RUN_ID.pattern + "$")
        return run_id

    def submit_python(self, code, *options, arguments=(), exit_code=0, **more):
        self.write("main.py", code)
        return self.submit(*options, "main.py", *arguments, code=exit_code, **more)

    def detach_python(self, code, *options, arguments=(), **more):
        self.write("main.py", code)
        return self.detach(*options, "main.py", *arguments, **more)

    def detach_gated(self, code, *options, **more):
        """A Python run that can tell() and await_(); `code` comes after those two."""
        return self.detach_python(GATE + textwrap.dedent(code), *self.with_gate, *options, **more)

    def python_facts(self, code, *options, **more):
        """Runs Python code that fills the dict `facts`; returns it. Facts travel in the log, as JSON on the last line."""
        body = "import json, os, sys\nfacts = {}\n" + textwrap.dedent(code) + "\nprint(json.dumps(facts))\n"
        result = self.submit_python(body, *options, **more)
        return json.loads(result.text.splitlines()[-1])

    def show(self, run="@last"):
        return self.ok("run", "show", "--json", run).json

    def wait(self, run, code=0, timeout=60.0):
        self.ok("wait", run, code=code, timeout=timeout)
        return self.show(run)

    def log(self, run="@last", **options):
        return self.ok("logs", run, **options).out

    @staticmethod
    def log_files(document):
        """The names in `logFiles`, sorted, without what depends on how a run ended and how long it took."""
        about = ("system_logs/usage.jsonl", "system_logs/postmortem.txt")
        return sorted(name for name in document["logFiles"] if name not in about)

    def runs(self, *filters):
        return self.ok("run", "list", "--all", *filters, "--json").json["items"]

    def until_status(self, run, *wanted, deadline=settings.DEADLINE):
        def there():
            document = self.show(run)
            return document if document["status"] in wanted else None
        return wait_until(there, "%s is %s" % (run, " or ".join(wanted)), deadline)

    def until_shim_ends(self, run):
        wait_until(lambda: processes.shim_of(run) is None, "the shim of %s ends" % run)

    # --- assertions ------------------------------------------------------------------------------------------------------

    def assert_error(self, result, code, *parts, hint=True):
        """One line `runner: error: …` holding every part, then `hint: …` (unless there is none to give), nothing else."""
        described = result.describe()
        self.assertEqual(result.code, code, described)
        lines = result.error_lines
        self.assertTrue(lines, described)
        self.assertTrue(lines[0].startswith("runner: error: "), described)
        for part in parts:
            self.assertIn(part, result.err, described)
        self.assertEqual([line for line in lines if line.startswith("runner: error: ")], lines[:1], described)
        if hint:
            self.assertEqual(len(lines), 2, described)
            self.assertRegex(lines[1], r"^hint: \S", described)
        else:
            self.assertLessEqual(len(lines), 2, described)

    def assert_memory(self, kib, most):
        """Less than `most` KiB. Sanitizers keep what was freed: what they instrument is not measured."""
        if not settings.SANITIZED:
            self.assertLess(kib, most)

    def assert_no_new_run(self, before):
        self.assertEqual([run["runId"] for run in self.runs()], [run["runId"] for run in before])


def account():
    return accounts.account()
