"""--max-run-duration and --grace: the polite signal, then the end of everything, whatever the script or the daemon does."""
import os
import time

from support import processes
from support.case import RunnerTest
from support.waiting import wait_until

# Ignores the polite signal and has descendants in sessions of their own that do, too.
STUBBORN = """\
    import os, signal, subprocess, sys, time
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for _ in range(3):
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                signal.signal(signal.SIGHUP, signal.SIG_IGN)
                os.execvp("sh", ["sh", "-c", "trap '' TERM HUP INT; while :; do sleep 5; done"])
            os._exit(0)
    subprocess.Popen(["setsid", "sh", "-c", "trap '' TERM; while :; do sleep 5; done"])
    os.makedirs("outputs", exist_ok=True)
    open("outputs/partial", "w").write("so far")
    print("started", flush=True)
    while True:
        time.sleep(5)
    """


class TimeLimit(RunnerTest):
    def setUp(self):
        super().setUp()
        self.marker = "MARK-%s-%d" % (self.home.token, self.home.projects)
        self.mark = ("-E", "MARK=" + self.marker)

    def assert_timed_out(self, run, limit):
        self.assertEqual((run["status"], run["outcome"]["kind"]), ("Canceled", "timed_out"))
        self.assertGreaterEqual(run["durationSeconds"], limit)
        processes.no_process_mentions(self.marker, 5)

    def test_a_stubborn_script_and_its_grandchildren_are_killed_and_the_exit_code_is_124(self):
        result = self.submit_python(STUBBORN, *self.mark, "--max-run-duration", "1s", "--grace", "300ms", exit_code=124)
        self.assertTrue(result.out.startswith(b"started\n"), result.out)  # and then its stack: test_post_mortem
        run = self.show()
        self.assert_timed_out(run, 1.3)
        self.assertLess(run["durationSeconds"], 6)
        self.assertEqual([o["name"] for o in run["outputs"]], ["outputs/partial"])
        self.ok("wait", run["runId"], code=124)
        self.home.assert_nothing_left(run["runId"])

    def test_a_script_that_ends_at_the_polite_signal_gets_to_write_its_checkpoint(self):
        self.submit_python("""\
            import os, signal, sys, time
            def end(*_):
                os.makedirs("outputs")
                open("outputs/checkpoint", "w").write("saved")
                print("bye")
                sys.exit(0)
            signal.signal(signal.SIGTERM, end)
            while True:
                time.sleep(5)
            """, *self.mark, "--max-run-duration", "700ms", "--grace", "20s", exit_code=124)
        run = self.show()
        self.assert_timed_out(run, 0.7)
        self.assertLess(run["durationSeconds"], 10)  # not the whole grace
        self.assertEqual(self.log(), b"bye\n")
        self.assertEqual([o["name"] for o in run["outputs"]], ["outputs/checkpoint"])

    def test_the_limit_holds_while_the_daemon_is_dead(self):
        run_id = self.detach_python(STUBBORN, *self.mark, "--max-run-duration", "1500ms", "--grace", "200ms")
        self.until_status(run_id, "Running")
        self.home.kill_daemon()
        self.assertTrue(processes.mentioning(self.marker))
        self.until_shim_ends(run_id)
        processes.no_process_mentions(self.marker, 5)
        self.assertIsNone(self.home.daemon_pid())
        run = self.wait(run_id, 124)
        self.assert_timed_out(run, 1.5)
        self.assertLess(run["durationSeconds"], 8)
        self.home.assert_nothing_left(run_id)

    def test_a_restart_of_the_daemon_neither_extends_nor_forgets_the_limit(self):
        run_id = self.detach_python(STUBBORN, *self.mark, "--max-run-duration", "2s", "--grace", "200ms")
        self.until_status(run_id, "Running")
        for _ in range(3):
            self.home.kill_daemon()
            self.show(run_id)  # starts the next one
        run = self.wait(run_id, 124)
        self.assert_timed_out(run, 2.0)
        self.assertLess(run["durationSeconds"], 6)

    def test_the_time_in_the_queue_does_not_count(self):
        blocker = self.detach_gated("tell('running')\nawait_('go')\n")
        self.await_gate("running")
        queued = self.detach_python("print('had its time')\n", "--max-run-duration", "1s")
        submitted = time.monotonic()
        wait_until(lambda: time.monotonic() > submitted + 1.2, "the queued run is older than its limit")
        self.open_gate("go")
        self.wait(blocker)
        self.wait(queued)
        self.assertEqual(self.log(queued), b"had its time\n")

    def test_a_script_that_ends_in_time_is_not_touched(self):
        self.submit_python("print('done')\n", "--max-run-duration", "1h")
        run = self.show()
        self.assertEqual((run["status"], run["outcome"]["kind"]), ("Completed", "exited"))

    def test_durations_are_read_as_the_contract_writes_them(self):
        self.write("main.py", "pass\n")
        for text, seconds in (("90", 90), ("90s", 90), ("30m", 1800), ("2h", 7200), ("1d", 86400)):
            with self.subTest(text):
                self.submit("--max-run-duration", text, "main.py")
                self.assertEqual(self.show()["runDefinition"]["maxRunDurationSeconds"], seconds)

    def test_a_forked_writer_that_outlives_the_script_is_killed_with_it(self):
        result = self.submit_python("""\
            import os, time
            if os.fork() == 0:
                os.setsid()
                while True:
                    time.sleep(5)
            print("main ends")
            """, *self.mark)
        self.assertEqual(result.out, b"main ends\n")
        processes.no_process_mentions(self.marker, 5)
