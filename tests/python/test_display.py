"""What people see: tables in notebooks, bars on terminals, and the package as a whole: types, words, imports."""

import ast
import inspect
import os
import pty
import re
import select
import subprocess
import sys
import unittest

from support import RUN, SOURCE, FakeDaemon, ScriptCase, document_of


class Notebooks(ScriptCase):
    def table(self, text, **more):
        done = self.run_script("import runner\nrun = runner.Run.get_context()\n" + text + "\nprint(run._repr_html_())", **more)
        return done.stdout_text

    def test_everything_is_escaped(self):
        evil = "<script>alert('&')</script>"
        html = self.table("run.tag({0!r}, {0!r}); run.name = {0!r}".format(evil), inside=False)
        self.assertNotIn("<script", html)
        self.assertIn("&lt;script&gt;alert(&#x27;&amp;&#x27;)&lt;/script&gt;", html)
        self.assertEqual(html.count("<tr>"), html.count("</tr>"))

    def test_a_run_shows_its_state_tags_and_last_metrics(self):
        socket = os.path.join(self.directory, "api.sock")
        document = document_of(
            status="Failed",
            statusReason="exit 7",
            durationSeconds=2.0,
            tags={"bare": None, "k": "v"},
            metrics={"loss": [3, 0.25]},
        )
        daemon = FakeDaemon(socket, lambda asked: document)
        self.addCleanup(daemon.die)
        html = self.table("", RUNNER_SOCKET=socket, RUNNER_TOKEN="t")
        for words in (RUN, "Failed (exit 7)", "2.0 s", "bare, k=v", "loss=0.25"):
            self.assertIn(words, html)

    def test_a_daemon_that_is_away_is_not_awaited_and_not_started(self):
        import time

        begin = time.monotonic()
        html = self.table("", RUNNER_SOCKET=os.path.join(self.directory, "none.sock"), RUNNER_TOKEN="t")
        self.assertLess(time.monotonic() - begin, 60)  # not the two minutes of a question
        self.assertIn("unknown: the daemon does not answer", html)
        done = self.run_script(
            "import runner\nprint(runner.Run('e', 'r')._repr_html_())\nprint(runner.Experiment('<e>')._repr_html_())",
            inside=False,
            RUNNER_HOME=self.directory,
            RUNNER_BIN="/bin/false",
        )
        self.assertIn("unknown", done.stdout_text)
        self.assertIn("&lt;e&gt;", done.stdout_text)


class Bars(ScriptCase):
    SCRIPT = """
import io, sys, time
import runner
from runner_sdk import _progress
_progress._QUIET, _progress._BETWEEN = 0.0, 0.0
run = runner.Run.get_context()
class Slow(io.BytesIO):
    def read(self, count=-1): return super().read(1000)
open("big", "wb").write(b"x" * 3_000_000)
run.upload_file("outputs/big", "big")
run.upload_file("slow", Slow(b"x" * 5000))
"""

    def test_a_terminal_sees_a_bar_that_goes_away(self):
        script = self.write("script.py", self.SCRIPT)
        terminal, theirs = pty.openpty()
        process = subprocess.Popen([sys.executable, script], env=self.environment(), cwd=self.directory, stderr=theirs)
        os.close(theirs)
        seen = b""
        while True:
            ready, _, _ = select.select([terminal], [], [], 60)
            try:
                piece = os.read(terminal, 65536) if ready else b""
            except OSError:  # how Linux says that the other end is closed
                piece = b""
            if not piece:
                break
            seen += piece
        os.close(terminal)
        self.assertEqual(process.wait(60), 0, seen)
        self.assertRegex(seen, rb"upload outputs/big \[#+\.*\] +\d+ % of 3\.0 MB")
        self.assertRegex(seen, rb"upload slow \d\.\d kB")
        self.assertTrue(seen.endswith(b"\r\x1b[K"))

    def test_a_log_sees_none(self):
        done = self.run_script(self.SCRIPT)
        self.assertEqual(done.stderr_text, "")

    def test_a_program_without_a_stderr_uploads(self):
        self.run_script(
            """
            import sys, runner
            sys.stderr = None
            runner.Run.get_context().upload_file("a", __file__)
            """
        )
        self.assertEqual(len(self.records()), 1)


class Package(unittest.TestCase):
    def modules(self):
        for directory, _, names in os.walk(SOURCE):
            for name in sorted(names):
                if name.endswith(".py"):
                    path = os.path.join(directory, name)
                    with open(path, encoding="utf-8") as stream:
                        yield path, stream.read()

    def test_every_public_name_is_there_and_says_what_it_is(self):
        import runner_sdk

        silent = []
        for name in runner_sdk.__all__:
            found = getattr(runner_sdk, name)
            self.assertIn(name, dir(runner_sdk))
            if not (found.__doc__ or "").strip():
                silent.append(name)
            if inspect.isclass(found):
                for member, value in inspect.getmembers(found):
                    if (
                        not member.startswith("_")
                        and (callable(value) or isinstance(value, property))
                        and not inspect.getdoc(value)
                    ):
                        silent.append(name + "." + member)
        self.assertEqual(silent, [])
        with self.assertRaisesRegex(AttributeError, "module 'runner' has no attribute 'nonsense'"):
            runner_sdk.nonsense

    def test_run_has_what_azure_mls_scripts_call(self):
        from runner_sdk import Experiment, Run

        for name in """log log_list log_row log_table log_image log_confusion_matrix log_accuracy_table log_residuals
                       log_predictions get_metrics flush tag set_tags remove_tags get_tags add_properties get_properties child_run
                       create_children submit_child get_children parent experiment upload_file upload_folder download_file
                       download_files get_file_names get_details get_status complete fail cancel wait_for_completion id name
                       restore_snapshot get_context tags properties status type""".split():
            self.assertTrue(hasattr(Run, name), name)
        for name in "submit start_logging get_runs name".split():
            self.assertTrue(hasattr(Experiment, name), name)

    def test_every_function_is_typed(self):
        untyped = []
        for path, text in self.modules():
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                    arguments = node.args.posonlyargs + node.args.args + node.args.kwonlyargs
                    arguments += [extra for extra in (node.args.vararg, node.args.kwarg) if extra]
                    bare = [a.arg for a in arguments if a.annotation is None and a.arg not in ("self", "cls")]
                    if bare or node.returns is None:
                        untyped.append((os.path.basename(path), node.name, bare))
        self.assertEqual(untyped, [])

    def test_a_file_says_one_thing(self):
        long = [(path, text.count("\n")) for path, text in self.modules() if text.count("\n") >= 400]
        self.assertEqual(long, [])

    def test_only_the_standard_library_is_imported_and_modules_only_below_themselves(self):
        allowed = getattr(sys, "stdlib_module_names", None)
        for path, text in self.modules():
            for node in ast.walk(ast.parse(text)):
                names = []
                if isinstance(node, ast.Import):
                    names = [alias.name for alias in node.names]
                elif isinstance(node, ast.ImportFrom):
                    self.assertEqual(node.level, 0, path)
                    names = [node.module]
                for name in names:
                    first = name.split(".")[0]
                    if allowed is not None and first != "runner_sdk":
                        self.assertIn(first, allowed, path)
                    self.assertNotIn(first, ("numpy", "pandas", "matplotlib", "torch"), path)

    def test_no_machine_is_named(self):
        for path, text in self.modules():
            self.assertEqual(re.findall(r"/(?:home|root|work|tmp)/\w+", text), [], path)


if __name__ == "__main__":
    unittest.main()
