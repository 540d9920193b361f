"""What can be done to a live run: pause, resume, exec."""
import time

from support import processes
from support.case import RunnerTest
from support.waiting import wait_until

# Counts in /gate/ticks for as long as it is allowed to.
TICKING = """\
    tell("running")
    n = 0
    while not os.path.exists("/gate/go"):
        n += 1
        tell("ticks", str(n))
        time.sleep(0.005)
    print("end")
    """


class LiveTest(RunnerTest):
    def tearDown(self):
        for run in self.runs("--status", "Running") + self.runs("--status", "Paused"):  # one that a failed test left
            self.runner("cancel", run["runId"])
        super().tearDown()

    def ticking(self, *options):
        run_id = self.detach_gated(TICKING, *options)
        self.await_gate("ticks")
        return run_id

    def ticks(self):
        return int(self.await_gate("ticks"))

    def until_it_ticks(self):
        seen = self.ticks()
        wait_until(lambda: self.ticks() > seen + 1, "the script goes on")

    def stand_still(self, seconds):
        """Nothing of the script happens for so long."""
        seen, end = self.ticks(), time.monotonic() + seconds
        wait_until(lambda: self.ticks() != seen or time.monotonic() > end, "the time has passed", seconds + 10)
        self.assertEqual(self.ticks(), seen)

    def paused(self, *options):
        run_id = self.ticking(*options)
        self.ok("run", "pause", run_id)
        self.assertEqual(self.show(run_id)["status"], "Paused")
        return run_id

    def finish(self, run_id):
        self.open_gate("go")
        run = self.wait(run_id)
        self.assertEqual((run["status"], self.log(run_id)), ("Completed", b"end\n"))
        self.home.assert_nothing_left(run_id)
        return run


class Pause(LiveTest):
    def test_a_paused_run_stands_still_and_a_resumed_one_goes_on(self):
        run_id = self.paused()
        self.stand_still(0.3)
        self.ok("run", "resume", run_id)
        self.assertEqual(self.show(run_id)["status"], "Running")
        self.until_it_ticks()
        self.finish(run_id)

    def test_all_of_its_processes_stand_still(self):
        run_id = self.detach_gated("""\
            import subprocess
            child = 'n=0; while [ ! -e /gate/go ]; do n=$((n + 1)); echo $n >/gate/child.new; mv /gate/child.new /gate/child; sleep 0.01; done'
            started = subprocess.Popen(["setsid", "sh", "-c", child])
            tell("running")
            started.wait()
            """)
        self.await_gate("child")
        self.ok("run", "pause", run_id)
        seen, end = self.await_gate("child"), time.monotonic() + 0.3
        wait_until(lambda: time.monotonic() > end, "the time has passed")
        self.assertEqual(self.await_gate("child"), seen)
        self.ok("run", "resume", run_id)
        wait_until(lambda: self.await_gate("child") != seen, "the child goes on")
        self.open_gate("go")
        self.wait(run_id)

    def test_it_can_be_done_again_and_again(self):
        run_id = self.ticking()
        for _ in range(3):
            self.ok("run", "pause", run_id)
            self.stand_still(0.05)
            self.ok("run", "resume", run_id)
            self.until_it_ticks()
        self.finish(run_id)

    def test_paused_time_does_not_count_for_the_limit(self):
        run_id = self.paused("--max-run-duration", "3s")
        self.stand_still(3.5)
        self.assertEqual(self.show(run_id)["status"], "Paused")
        self.ok("run", "resume", run_id)
        self.until_it_ticks()
        self.finish(run_id)

    def test_the_rest_of_the_limit_counts_after_it(self):
        run_id = self.paused("--max-run-duration", "1500ms", "--grace", "200ms")
        self.stand_still(1.6)
        self.ok("run", "resume", run_id)
        resumed = time.monotonic()
        run = self.wait(run_id, 124)
        self.assertLess(time.monotonic() - resumed, 8)
        self.assertEqual((run["status"], run["outcome"]["kind"]), ("Canceled", "timed_out"))

    def test_a_paused_run_can_be_cancelled(self):
        run_id = self.paused()
        self.ok("cancel", run_id)
        self.assertEqual(self.wait(run_id, 130)["status"], "Canceled")
        self.home.assert_nothing_left(run_id)

    def test_it_stays_paused_through_the_daemons_death(self):
        run_id = self.paused("--max-run-duration", "3s")
        self.home.kill_daemon()
        self.stand_still(3.2)
        self.assertEqual(self.show(run_id)["status"], "Paused")
        self.ok("run", "resume", run_id)
        self.until_it_ticks()
        self.finish(run_id)

    def test_a_shim_that_dies_meanwhile_takes_the_run_along(self):
        run_id = self.paused("-E", "MARK=paused-" + self.home.token)
        processes.kill_and_wait(processes.shim_of(run_id).pid)
        self.assertEqual(self.wait(run_id, 125)["outcome"]["kind"], "lost")
        processes.no_process_mentions("paused-" + self.home.token, 5)
        self.home.assert_nothing_left(run_id)

    def test_asked_several_times_at_once_it_is_done_once(self):
        run_id = self.ticking()
        for verb, status in (("pause", "Paused"), ("resume", "Running")):
            asking = [self.home.background("run", verb, run_id) for _ in range(3)]
            codes = sorted(one.finish().code for one in asking)
            self.assertEqual(codes[0], 0, codes)
            self.assertLessEqual(set(codes), {0, 4})  # 4: it was done before this one asked
            self.assertEqual(self.show(run_id)["status"], status)
        self.finish(run_id)

    def test_several_at_once(self):
        run_id = self.ticking()
        queued = self.detach_python("pass\n")
        result = self.runner("run", "pause", run_id, queued)
        self.assertEqual(result.code, 4, result.describe())
        self.assertIn(queued, result.err)
        self.until_status(run_id, "Paused")  # what could be done is done
        self.ok("run", "resume", run_id)
        self.finish(run_id)
        self.wait(queued)


class Conflicts(LiveTest):
    def conflict(self, verb, run_id, status):
        result = self.runner("run", verb, run_id)
        self.assertEqual(result.code, 4, result.describe())
        self.assertIn(status, result.err)

    def test_what_does_not_run_cannot_be_paused(self):
        running = self.ticking()
        queued = self.detach_python("pass\n")
        self.conflict("pause", queued, "Queued")
        self.finish(running)
        self.wait(queued)
        for verb in ("pause", "resume"):
            self.conflict(verb, queued, "Completed")

    def test_a_paused_run_cannot_be_paused_nor_a_running_one_resumed(self):
        run_id = self.paused()
        self.conflict("pause", run_id, "Paused")
        self.ok("run", "resume", run_id)
        self.conflict("resume", run_id, "Running")
        self.finish(run_id)

    def test_a_run_that_does_not_exist_is_not_found(self):
        for arguments in (["pause", "nothing-like-this"], ["resume", "nothing-like-this"], ["exec", "nothing-like-this", "--", "true"]):
            with self.subTest(arguments):
                self.assertEqual(self.runner("run", *arguments).code, 3)


class Exec(LiveTest):
    def execute(self, run_id, *command, code=0, **options):
        return self.ok("run", "exec", run_id, "--", *command, code=code, **options)

    def test_streams_and_exit_code_come_through(self):
        run_id = self.ticking()
        result = self.execute(run_id, "sh", "-c", "echo out; echo err >&2; exit 7", code=7)
        self.assertEqual((result.out, result.err), (b"out\n", "err\n"))
        result = self.execute(run_id, "printf", "%s|", "a b", "", "$HOME", "--", "-x")
        self.assertEqual(result.out, b"a b||$HOME|--|-x|")
        self.finish(run_id)  # and nothing of it is in the run's own log

    def test_bytes_arrive_as_they_are_however_many(self):
        run_id = self.ticking()
        result = self.execute(run_id, "python3", "-c", "import sys\nsys.stdout.buffer.write(bytes(range(256)) * 20000)")
        self.assertTrue(result.out == bytes(range(256)) * 20000, "%d bytes, or others" % len(result.out))
        self.finish(run_id)

    def test_it_is_inside_the_run(self):
        run_id = self.detach_gated("""\
            open("made-by-the-run", "w").close()
            tell("running", str(os.getuid()))
            await_("go")
            print("end")
            """, "-E", "GIVEN=x")
        uid = self.await_gate("running")
        code = "import os\nprint(os.getcwd(), os.path.exists('made-by-the-run'), os.getuid(), os.environ.get('GIVEN'), " \
               "os.environ.get('RUNNER_RUN_ID'), open('/proc/1/comm').read().strip())"
        facts = self.execute(run_id, "python3", "-c", code).text.split()
        self.assertEqual(facts, [self.project, "True", uid, "x", run_id, "runner-init"])
        self.finish(run_id)

    def test_it_has_no_more_rights_than_the_run(self):
        run_id = self.ticking()
        status = self.execute(run_id, "cat", "/proc/self/status").text
        facts = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            self.assertEqual(int(facts[name], 16), 0, name)
        self.assertEqual((facts["NoNewPrivs"], facts["Seccomp"]), ("1", "2"))
        self.finish(run_id)

    def test_a_signal_is_128_and_its_number(self):
        run_id = self.ticking()
        self.execute(run_id, "sh", "-c", "kill -9 $$", code=137)
        self.finish(run_id)

    def test_a_program_that_is_not_there_is_named(self):
        run_id = self.ticking()
        result = self.runner("run", "exec", run_id, "--", "no-such-program-here")
        self.assertEqual(result.code, 127, result.describe())
        self.assertIn("no-such-program-here", result.err)
        self.finish(run_id)

    def test_what_it_started_ends_with_the_run(self):
        run_id = self.ticking()
        self.execute(run_id, "sh", "-c", "MARK=exec-%s setsid sleep 600 >/dev/null 2>&1 &" % self.home.token)
        wait_until(lambda: processes.mentioning("exec-" + self.home.token), "the sleeper lives")
        self.finish(run_id)
        processes.no_process_mentions("exec-" + self.home.token, 5)

    def test_the_run_may_end_under_it(self):
        run_id = self.ticking()
        under = self.home.background("run", "exec", run_id, "--", "sh", "-c", "echo started; sleep 600")
        under.wait_for_output(b"started\n")
        self.finish(run_id)
        self.assertNotEqual(under.finish().code, 0)

    def test_into_a_run_that_does_not_run_it_is_a_conflict(self):
        running = self.ticking()
        queued = self.detach_python("pass\n")
        for status in ("Queued", "Completed"):
            with self.subTest(status):
                if status == "Completed":
                    self.finish(running)
                    self.wait(queued)
                result = self.runner("run", "exec", queued, "--", "true")
                self.assertEqual(result.code, 4, result.describe())
                self.assertIn(status, result.err)

    def test_without_a_command_it_is_wrong_usage(self):
        run_id = self.ticking()
        self.assertEqual(self.runner("run", "exec", run_id).code, 2)
        self.finish(run_id)
