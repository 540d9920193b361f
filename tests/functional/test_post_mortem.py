"""The page about an ending that asks for an explanation: system_logs/postmortem.txt, and the stacks that Python shows for it."""
import os

from support import processes
from support.case import RunnerTest
from support.settings import only_where_limits_work
from support.waiting import wait_until

PAGE = "system_logs/postmortem.txt"
PRINTED = b"Fatal Python error: Aborted"


class PostMortemTest(RunnerTest):
    def page(self, run="@last"):
        return self.ok("logs", "--name", PAGE, run).text

    def section(self, heading, run="@last"):
        """The lines under a heading that starts so."""
        lines = self.page(run).splitlines()
        begin = [i for i, line in enumerate(lines) if line.startswith(heading)]
        self.assertEqual(len(begin), 1, lines)
        rest = lines[begin[0] + 1:]
        end = [i for i, line in enumerate(rest) if line and not line.startswith(" ")]
        return "\n".join(rest[:end[0]] if end else rest)

    def assert_no_page(self, run="@last"):
        self.assertNotIn(PAGE, self.show(run)["logFiles"])
        self.assertNotIn("post-mortem", self.ok("run", "show", run).text)


class TimeLimit(PostMortemTest):
    def test_a_shell_that_started_the_script_does_not_cut_its_stacks_short(self):
        self.write("many.py", """\
            import threading, time
            def deep(left):
                return deep(left - 1) if left else time.sleep(60)
            for _ in range(95):
                threading.Thread(target=deep, args=(95,), daemon=True).start()
            print("all up", flush=True)
            deep(95)
            """)
        self.write("train.sh", "python3 many.py\necho never\n")
        self.submit("--max-run-duration", "5s", "--grace", "20s", "train.sh", code=124)
        log = self.log().decode()
        self.assertIn("all up", log)
        self.assertGreater(log.count("in deep"), 95 * 95)
        self.assertNotIn("never", log)
        self.assertLess(self.show()["durationSeconds"], 18)

    def test_the_page_shows_where_the_script_was_and_what_lived(self):
        result = self.submit_python(r"""
            import subprocess, time
            def load_everything():
                time.sleep(60)
            subprocess.Popen(["sh", "-c", "sleep 61; : \x1b[31mred"])
            print("first line \x1b[31mred", flush=True)
            print("x" * 100000, flush=True)
            print("10%\r50%\rhalf", flush=True)
            load_everything()
            """, "--max-run-duration", "2500ms", "--grace", "20s", exit_code=124)
        run = self.show()
        self.assertLess(run["durationSeconds"], 15)  # it did not sit out its grace
        self.assertEqual((run["status"], run["outcome"]["kind"], run["outcome"]["signal"]), ("Canceled", "timed_out", 6))
        self.assertIn("ended by SIGABRT, which showed its stack", run["outcome"]["message"])
        self.assertIn(PRINTED, self.log())
        self.assertIn(PAGE, run["logFiles"])
        self.assertIn("exceeded its maximum duration of 2.5s", self.page())
        self.assertIn("in load_everything", self.section("Python stacks"))
        alive = self.section("Processes, just before the signal")
        self.assertRegex(alive, r"(?m)^ +\d+ +1 +\S +[0-9.]+ MiB +[0-9.]+s  \S*python\S* main.py$")
        self.assertRegex(alive, r"sh -c sleep 61; : \\x1b\[31mred")
        curve = self.section("CPU and memory of the last minute")
        self.assertRegex(curve, r"(?m)^  memory +[▁▂▃▄▅▆▇█]{1,2}  at most [0-9.]+ MiB")
        log = self.section("The log")
        self.assertIn("first line \\x1b[31mred", log)
        self.assertIn("\n  half", log)
        self.assertLess(max(map(len, log.splitlines())), 210)
        self.assertNotIn("\x1b", self.page())
        command = "runner logs --name %s %s" % (PAGE, run["runId"].rsplit("_")[-1])
        self.assertIn(command, self.ok("run", "show", "@last").text)
        self.assertIn(command, result.err)

    def test_a_script_that_catches_the_polite_signal_gets_it_and_shows_its_stack_when_the_grace_is_over(self):
        self.submit_python("""\
            import signal, time
            signal.signal(signal.SIGTERM, lambda *_: print("asked politely", flush=True))
            def goes_on_and_on():
                while True:
                    time.sleep(0.05)
            goes_on_and_on()
            """, "--max-run-duration", "700ms", "--grace", "800ms", exit_code=124)
        run = self.show()
        self.assertGreaterEqual(run["durationSeconds"], 1.5)  # the whole grace
        log = self.log()
        self.assertLess(log.index(b"asked politely"), log.index(PRINTED))
        self.assertIn("killed after a grace of 800ms", run["outcome"]["message"])
        self.assertIn("in goes_on_and_on", self.section("Python stacks"))

    def test_every_process_of_the_group_gets_what_it_understands(self):
        self.submit_python("""\
            import signal, subprocess, sys, time
            polite = "trap \\"echo the shell was asked politely; exit 0\\" TERM; echo ready; while :; do sleep 0.05; done"
            shell = subprocess.Popen(["sh", "-c", polite])
            python = subprocess.Popen([sys.executable, "-c", "import time\\ndef in_a_child(): time.sleep(60)\\nin_a_child()"])
            asked = []
            signal.signal(signal.SIGTERM, lambda *_: asked.append(1))
            print("children ended as", shell.wait(), python.wait(), "asked", len(asked), flush=True)
            """, "--max-run-duration", "1500ms", "--grace", "20s", exit_code=124)
        log = self.log()
        self.assertEqual(log.count(PRINTED), 1)
        self.assertIn(b"the shell was asked politely\n", log)
        self.assertIn(b"children ended as 0 -6 asked 1\n", log)
        self.assertIn("in in_a_child", self.section("Python stacks"))

    def test_without_the_variable_the_signal_is_sigterm(self):
        self.submit_python("import time\ntime.sleep(60)\n", "-E", "PYTHONFAULTHANDLER=", "--max-run-duration", "500ms", exit_code=124)
        run = self.show()
        self.assertEqual(run["outcome"]["signal"], 15)
        self.assertIn("ended by SIGTERM", run["outcome"]["message"])
        self.assertEqual(self.log(), b"")
        self.assertIn("none", self.section("Python stacks"))

    def test_a_process_that_only_calls_itself_python_ends_as_any_other(self):
        self.submit("--max-run-duration", "500ms", "--command", "sh", "-c",
                    "trap \"echo aborted\" ABRT; printf python3 >/proc/self/comm; while :; do sleep 0.05; done", code=124)
        self.assertEqual((self.show()["outcome"]["signal"], self.log()), (15, b""))


class Crash(PostMortemTest):
    CRASH = """\
        import ctypes, os, time
        os.makedirs("outputs")
        os.chdir("outputs")
        def crashes():
            ctypes.string_at(0)
        print("so far", flush=True)
        time.sleep(%s)
        crashes()
        """

    def test_a_segmentation_fault_shows_its_stack_and_leaves_no_core_dump(self):
        result = self.submit_python(self.CRASH % 1.5, exit_code=139)
        run = self.show()
        self.assertEqual((run["outcome"]["kind"], run["outcome"]["signal"]), ("signaled", 11))
        self.assertEqual(run["outputs"], [])  # the pattern of core files is the machine's; here it may be "core"
        self.assertIn("died of SIGSEGV", self.page())
        self.assertIn("in crashes", self.section("Python stacks"))
        self.assertRegex(self.section("Processes, "), r"python\S* main.py")
        self.assertIn("so far", self.section("The log"))
        self.assertIn(PAGE, result.err)

    def test_one_that_was_never_looked_at_has_its_page_all_the_same(self):
        self.submit_python(self.CRASH % 0, exit_code=139)
        self.assertIn("in crashes", self.section("Python stacks"))

    def test_core_dumps_are_off(self):
        facts = self.python_facts("import resource\nfacts[\"core\"] = resource.getrlimit(resource.RLIMIT_CORE)[0]")
        self.assertEqual(facts["core"], 0)

    @only_where_limits_work
    def test_a_run_that_was_killed_for_memory_says_so_with_its_peak_and_curve(self):
        self.submit_python("""\
            import time
            held = []
            for _ in range(3):
                held.append(b"x" * (8 << 20))
                time.sleep(0.8)
            print("now all of it", flush=True)
            while True:
                held.append(b"x" * (8 << 20))
            """, "--memory", "64m", exit_code=137)
        run = self.show()
        self.assertEqual(run["outcome"]["kind"], "out_of_memory")
        self.assertRegex(run["outcome"]["message"], r"^killed for memory \(limit 64\.0 MiB, peak 6[0-9]\.\d MiB\)$")
        self.assertIn("killed for memory", self.page())
        self.assertIn("main.py", self.section("Processes, "))
        self.assertRegex(self.section("CPU and memory"), "memory +[▁▂▃▄▅▆▇█]{2}")
        self.assertIn("now all of it", self.section("The log"))


class Others(PostMortemTest):
    def start(self):
        run_id = self.detach_gated("print(\"so far\", flush=True)\ntell(\"running\")\nawait_(\"go\")\n")
        self.await_gate("running")
        wait_until(lambda: self.log(run_id) == b"so far\n", "the log so far is written")
        return run_id

    def test_a_lost_run_has_a_page_of_what_is_known(self):
        run_id = self.start()
        wait_until(lambda: self.show(run_id)["usage"], "a sample")
        processes.kill_and_wait(processes.shim_of(run_id).pid)
        run = self.wait(run_id, 125)
        self.assertGreater(run["outcome"]["peakMemoryBytes"], 0)
        self.assertIn("the run's supervisor was killed", self.page(run_id))
        self.assertIn("so far", self.section("The log", run_id))
        self.assertRegex(self.section("CPU and memory", run_id), "memory +[▁▂▃▄▅▆▇█]")
        self.assertIn("the supervisor, which would know, was killed", self.section("Processes", run_id))

    def test_a_container_that_was_killed_from_outside_has_one(self):
        run_id = self.start()
        wait_until(lambda: self.show(run_id)["usage"], "a sample")
        processes.kill_and_wait(processes.init_of(run_id).pid)
        self.wait(run_id, 125)
        self.assertIn("from outside of the runner", self.page(run_id))
        self.assertIn("main.py", self.section("Processes, ", run_id))

    def test_a_cancelled_run_gets_sigterm_only_and_no_page(self):
        run_id = self.start()
        self.ok("cancel", run_id)
        run = self.wait(run_id, 130)
        self.assertEqual((run["outcome"]["signal"], self.log(run_id)), (15, b"so far\n"))
        self.assert_no_page(run_id)

    def test_a_script_that_ends_by_itself_has_none(self):
        self.submit_python("raise ValueError(\"no\")\n", exit_code=1)
        self.assert_no_page()
