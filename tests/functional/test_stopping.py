"""However a run is stopped, nothing of it survives: sessions of their own, double forks, ignored signals, forks under way."""
import time

from support import processes
from support.case import RunnerTest

# Everything that a tree can do to escape, and one process that is always about to be another.
ESCAPING = """\
    import signal
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    def forked():
        pid = os.fork()
        if pid == 0:
            return True
        return False
    if forked():                      # a session of its own
        os.setsid()
        while True: signal.pause()
    if forked():                      # and init for a parent
        os.setsid()
        if forked():
            while True: signal.pause()
        os._exit(0)
    if forked():                      # no handler at all to be asked
        os.setsid()
        os.execvp("sh", ["sh", "-c", "trap \\"\\" TERM HUP INT; while :; do sleep 600; done"])
    if forked():                      # never the same pid for long
        while True:
            if not forked():
                os._exit(0)
            os.setsid()
    os.makedirs("outputs")
    open("outputs/so-far", "w").write("x")
    print("so far", flush=True)
    tell("running")
    while True: signal.pause()
    """


class Stopping(RunnerTest):
    def setUp(self):
        super().setUp()
        self.marker = "STOP-%s-%d" % (self.home.token, self.home.projects)

    def start(self, *options):
        run_id = self.detach_gated(ESCAPING, "-E", "MARK=" + self.marker, "--grace", "300ms", *options)
        self.await_gate("running")
        self.until_status(run_id, "Running")
        self.assertGreaterEqual(len(processes.mentioning(self.marker)), 4)
        return run_id

    def assert_all_gone(self, run_id, code, status, kind):
        run = self.wait(run_id, code)
        survivors = processes.mentioning(self.marker)  # at once: the end is told when nothing lives any more
        self.assertEqual(survivors, [])
        self.assertEqual((run["status"], run["outcome"]["kind"]), (status, kind))
        self.assertIn(b"so far\n", self.log(run_id))
        self.assertEqual([o["name"] for o in run["outputs"]], ["outputs/so-far"])
        time.sleep(0.2)
        self.assertEqual(processes.mentioning(self.marker), [])
        self.home.assert_nothing_left(run_id)

    def test_a_cancel_ends_all_of_it(self):
        run_id = self.start()
        self.ok("cancel", run_id)
        self.assert_all_gone(run_id, 130, "Canceled", "canceled")

    def test_a_time_limit_ends_all_of_it(self):
        run_id = self.start("--max-run-duration", "2s")
        self.assert_all_gone(run_id, 124, "Canceled", "timed_out")

    def test_a_failure_that_was_asked_for_ends_all_of_it(self):
        run_id = self.start()
        self.ok("run", "fail", run_id)
        self.assert_all_gone(run_id, 125, "Failed", "killed")

    def test_a_paused_one_too(self):
        run_id = self.start()
        self.ok("run", "pause", run_id)
        self.ok("cancel", run_id)
        self.assert_all_gone(run_id, 130, "Canceled", "canceled")

    def test_its_own_end_ends_all_of_it(self):
        run_id = self.detach_gated(ESCAPING.rsplit("while True", 1)[0], "-E", "MARK=" + self.marker)
        self.assert_all_gone(run_id, 0, "Completed", "exited")


class Streams(RunnerTest):
    def test_a_grandchild_that_keeps_the_output_open_does_not_keep_the_run_alive(self):
        begin = time.monotonic()
        result = self.submit_python("""\
            import os, subprocess
            subprocess.Popen(["setsid", "sh", "-c", "trap : TERM HUP; sleep 600"])  # with our stdout and stderr
            print("the script is done")
            """)
        self.assertEqual(result.out, b"the script is done\n")
        self.assertLess(time.monotonic() - begin, 30)
        self.assertEqual(self.show()["outcome"]["kind"], "exited")

    def test_a_script_that_reads_its_input_gets_its_end_at_once(self):
        result = self.submit_python("import sys\nprint(repr(sys.stdin.read()))\n")
        self.assertEqual(result.out, b"''\n")
        self.submit("--command", "cat")
        self.assertEqual(self.show()["outcome"]["exitCode"], 0)
