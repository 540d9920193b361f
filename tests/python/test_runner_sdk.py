"""The Python package, as a script sees it: in a process of its own, through its journal."""

import ast
import os
import unittest

from support import SOURCE, ScriptCase, need


class LogCase(ScriptCase):
    def logged(self, expression):
        """What the journal says of one value."""
        if os.path.exists(self.journal):
            os.unlink(self.journal)
        self.run_script("import runner\nfrom decimal import Decimal\nrunner.log('x', {})".format(expression))
        (record,) = self.records()
        return record["value"]


class Log(LogCase):
    def test_a_point_has_name_value_time_and_the_step_that_was_given(self):
        self.run_script("import runner\nrunner.log('loss', 0.5)\nrunner.log('loss', 0.25, step=3)\nrunner.log('n', 7, -2)")
        first, second, third = self.records()
        self.assertEqual(sorted(first), ["metric", "time", "value"])
        self.assertEqual((first["metric"], first["value"]), ("loss", 0.5))
        self.assertEqual((second["value"], second["step"]), (0.25, 3))
        self.assertEqual((third["metric"], third["value"], third["step"]), ("n", 7, -2))
        self.assertIsInstance(third["value"], int)
        self.assertLess(abs(first["time"] / 1e6 - os.stat(self.journal).st_mtime), 60)  # microseconds
        self.assertLessEqual(first["time"], third["time"])

    def test_numbers_keep_their_exact_value(self):
        for expression, expected in [
            ("0.1", 0.1),
            ("1e300", 1e300),
            ("5e-324", 5e-324),
            ("-0.0", 0.0),
            ("2**63 - 1", 2**63 - 1),
            ("-2**63", -(2**63)),
            ("True", 1),
            ("Decimal('0.25')", 0.25),
        ]:
            with self.subTest(expression):
                self.assertEqual(self.logged(expression), expected)

    def test_what_json_cannot_say_is_spelt_out(self):
        self.assertEqual(self.logged("float('nan')"), {"float": "nan"})
        self.assertEqual(self.logged("float('inf')"), {"float": "inf"})
        self.assertEqual(self.logged("-float('inf')"), {"float": "-inf"})

    def test_texts_come_back_as_they_were(self):
        for text in ["", "plain", 'quote " backslash \\ slash /', "line\nfeed\x1e\x00", "Grüße 🎉"]:
            with self.subTest(text):
                self.assertEqual(self.logged(ascii(text)), text)

    def test_names_are_any_text(self):
        self.run_script("import runner\nfor name in ('Label:0', 'blank ', 'a/b', '🎉\\n'): runner.log(name, 1)")
        self.assertEqual([record["metric"] for record in self.records()], ["Label:0", "blank ", "a/b", "🎉\n"])

    def test_numpy_scalars_are_numbers(self):
        need(self, "numpy")
        self.run_script(
            """
            import numpy, runner
            for value in (numpy.float64(0.1), numpy.float32(0.5), numpy.int64(-3), numpy.uint8(200), numpy.bool_(True),
                          numpy.float64("nan"), numpy.array(2.5), numpy.array([4]), numpy.longdouble(1.5), numpy.str_("t")):
                runner.log("x", value, step=numpy.int32(1))
            """
        )
        values = [record["value"] for record in self.records()]
        self.assertEqual(values, [0.1, 0.5, -3, 200, 1, {"float": "nan"}, 2.5, 4, 1.5, "t"])
        self.assertEqual({record["step"] for record in self.records()}, {1})

    def test_a_tensor_with_one_element_is_a_number(self):
        self.run_script(
            """
            import runner
            class Tensor:
                def item(self): return 0.75
            runner.log("x", Tensor())
            """
        )
        self.assertEqual(self.records()[0]["value"], 0.75)

    def test_what_cannot_be_logged_names_the_argument_and_the_way_out(self):
        for call, error, words in [
            ("'x', [1, 2]", "TypeError", "value must be a number or a text, not list; log one number per call"),
            ("'x', None", "TypeError", "value must be a number or a text, not NoneType"),
            ("'x', 1j", "TypeError", "value must be a number or a text, not complex"),
            ("'x', 2**63", "ValueError", "value 9223372036854775808 does not fit into 64 bits; log float(value)"),
            ("'x', 10**5000", "ValueError", "does not fit into 64 bits"),
            ("'x', Many()", "ValueError", "value must be one number, not Many of shape (2,)"),
            ("'x', 'a' * 600000", "ValueError", "value is a text of 600000 characters; put it into a file in outputs/"),
            ("'x', '\\ud800'", "ValueError", "value '\\ud800' is not Unicode text"),
            ("3, 1", "TypeError", "name must be a text, not int"),
            ("[], 1", "TypeError", "name must be a text, not list"),
            ("'', 1", "ValueError", "name is empty"),
            ("'x', 1, 1.5", "TypeError", "step must be an integer, not float; write int(step)"),
            ("'x', 1, 'two'", "TypeError", "step must be an integer, not str"),
            ("'x', 1, 2**63", "ValueError", "step 9223372036854775808 does not fit into 64 bits"),
        ]:
            for inside in (True, False):
                with self.subTest(call, inside=inside):
                    done = self.run_script(
                        """
                        import runner
                        class Many:
                            shape = (2,)
                            def item(self): raise ValueError("only one element")
                        runner.log({})
                        """.format(call),
                        inside=inside,
                        check=False,
                    )
                    self.assertEqual(done.returncode, 1)
                    self.assertIn("{}: runner.log: ".format(error), done.stderr_text)
                    self.assertIn(words, done.stderr_text)
                    self.assertFalse(os.path.exists(self.journal))

    def test_threads_forks_and_child_programs_share_the_journal_without_tearing(self):
        self.run_script(
            """
            import os, subprocess, sys, threading
            import runner

            def work(who):
                for step in range(300):
                    runner.log(who, "x" * (step % 50), step=step)

            threads = [threading.Thread(target=work, args=("thread %d" % i,)) for i in range(4)]
            for thread in threads: thread.start()
            children = []
            for i in range(4):
                child = os.fork()
                if child == 0:
                    work("fork %d" % i)
                    os._exit(0)
                children.append(child)
            program = subprocess.run([sys.executable, "-c", "import runner; runner.log('program', 1)"])
            for thread in threads: thread.join()
            for child in children: assert os.waitpid(child, 0)[1] == 0
            assert program.returncode == 0
            """
        )
        steps = {}
        for record in self.records():
            steps.setdefault(record["metric"], []).append(record.get("step"))
        self.assertEqual(steps.pop("program"), [None])
        self.assertEqual(len(steps), 8)
        for name, found in steps.items():
            self.assertEqual(found, list(range(300)), name)

    def test_a_script_that_closes_all_descriptors_goes_on_logging(self):
        self.run_script(
            """
            import os, runner
            runner.log("x", 1)
            os.closerange(3, 5000)
            other = open("other.txt", "w")
            runner.log("x", 2)
            other.write("mine")
            """
        )
        self.assertEqual([record["value"] for record in self.records()], [1, 2])
        with open(os.path.join(self.directory, "other.txt")) as stream:
            self.assertEqual(stream.read(), "mine")

    def test_descriptors_are_not_inherited_by_programs(self):
        done = self.run_script(
            """
            import fcntl, os, runner
            runner.log("x", 1)
            for fd in map(int, os.listdir("/proc/self/fd")):
                try:
                    name = os.readlink("/proc/self/fd/%d" % fd)
                    flags = fcntl.fcntl(fd, fcntl.F_GETFD)
                except OSError:
                    continue
                if name.endswith("metrics.jsonseq"):
                    assert flags & fcntl.FD_CLOEXEC
                    print("seen")
            """
        )
        self.assertEqual(done.stdout_text, "seen\n")

    def test_a_journal_that_cannot_be_written_is_said_once_and_ends_nothing(self):
        for path in (os.path.join(self.directory, "missing", "journal"), "/dev/full"):
            with self.subTest(path):
                self.journal = path
                done = self.run_script("import runner\nrunner.log('x', 1)\nrunner.log('x', 2)\nprint('end')")
                self.assertEqual(done.stdout_text, "end\n")
                self.assertEqual(done.stderr_text.count("metrics are not recorded"), 1)
                self.assertIn(path, done.stderr_text)

    def test_outside_a_run_it_prints_and_goes_on(self):
        done = self.run_script("import runner\nrunner.log('loss', 0.5)\nrunner.log('loss', 0.25, step=3)", inside=False)
        self.assertEqual(done.stdout_text, "loss = 0.5\nloss = 0.25 (step 3)\n")
        self.assertEqual(done.stderr_text, "")


class RunId(ScriptCase):
    def test_inside_a_run_it_is_the_runs(self):
        done = self.run_script("import runner\nprint(runner.run_id())")
        self.assertEqual(done.stdout_text, "diabetes_1700000000_0123abcd\n")

    def test_outside_it_is_none_and_says_so_once(self):
        done = self.run_script("import runner\nprint(runner.run_id(), runner.run_id())", inside=False)
        self.assertEqual(done.stdout_text, "None None\n")
        self.assertEqual(done.stderr_text.count("this is no run"), 1)


class Import(ScriptCase):
    def test_both_names_are_one_module(self):
        for first, second in (("runner", "runner_sdk"), ("runner_sdk", "runner")):
            with self.subTest(first):
                done = self.run_script("import {}\nimport {}\nprint(runner is runner_sdk, runner.log)".format(first, second))
                self.assertTrue(done.stdout_text.startswith("True <function log"), done.stdout_text)

    def test_from_imports_work_under_both_names(self):
        self.run_script("from runner import log\nfrom runner_sdk import log as same\nassert log is same")

    def test_a_projects_own_runner_wins_and_runner_sdk_still_works(self):
        with open(os.path.join(self.directory, "runner.py"), "w") as stream:
            stream.write("mine = True\n")
        self.run_script("import runner, runner_sdk\nassert runner.mine\nrunner_sdk.log('x', 1)")
        self.assertEqual(len(self.records()), 1)

    def test_it_needs_only_a_few_small_modules(self):
        done = self.run_script(
            """
            import sys
            before = set(sys.modules)
            import runner
            print(*sorted(set(sys.modules) - before))
            """
        )
        for heavy in ("json", "typing", "threading", "subprocess", "logging", "socket"):
            self.assertNotIn(heavy, done.stdout_text.split())

    def test_its_syntax_is_python_3_8(self):
        seen = 0
        for directory, _, names in os.walk(SOURCE):
            for name in names:
                if name.endswith(".py"):
                    with open(os.path.join(directory, name), encoding="utf-8") as stream:
                        ast.parse(stream.read(), name, feature_version=(3, 8))
                    seen += 1
        self.assertGreaterEqual(seen, 5)


if __name__ == "__main__":
    unittest.main()
