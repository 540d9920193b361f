"""What happens to the machine: its clock is set, it sleeps, it is restarted; a run uses all it may have."""
import datetime
import json
import os
import sys
import time

import faults
from support import processes, settings
from support.case import GATE, RunnerTest
from support.settings import only_where_limits_work
from support.waiting import wait_until

DAY = 86400.0
MONOTONIC = "1"  # CLOCK_MONOTONIC in /proc/PID/fdinfo


class Clock(RunnerTest):
    fresh_home = True

    def setUp(self):
        super().setUp()
        self.faults = faults.Faults(self.home)
        self.faults.start_daemon()

    def live(self, *options):
        run = self.detach_gated("print('first', flush=True)\ntell('running')\nawait_('go')\nprint('second')\n", *options)
        self.await_gate("running")
        self.until_status(run, "Running")
        return run

    def assert_untouched_by(self, **shift):
        """A live run with an hour to go, one that waits and the caches: nothing ends, starts or goes because of the clock."""
        self.submit_python("print('before')\n")
        checkouts = sorted(os.listdir(self.home.data + "/checkouts"))
        live = self.live("--max-run-duration", "1h")
        waiting = self.detach_python("print('waited')\n", "--max-run-duration", "1h")
        self.faults.shift_clocks(**shift)
        later = self.detach_python("print('later')\n")
        self.assertEqual([self.show(run)["status"] for run in (live, waiting, later)], ["Running", "Queued", "Queued"])
        time.sleep(1)  # a daemon that believes the clock has had the time to do something about it
        self.assertEqual([self.show(run)["status"] for run in (live, waiting, later)], ["Running", "Queued", "Queued"])
        self.open_gate("go")
        for run in (live, waiting, later):
            ended = self.wait(run)
            begun, over = (datetime.datetime.fromisoformat(ended[name].replace("Z", "+00:00")) for name in ("startTimeUtc", "endTimeUtc"))
            self.assertLessEqual(begun, over, ended)
            self.assertGreaterEqual(ended["durationSeconds"], 0)
        self.assertEqual(self.log(live), b"first\nsecond\n")
        self.assertLessEqual(set(checkouts), set(os.listdir(self.home.data + "/checkouts")))
        self.home.assert_nothing_left()

    def test_set_forward_by_a_day(self):
        self.assert_untouched_by(wall=DAY)

    def test_set_back_by_a_day(self):
        self.assert_untouched_by(wall=-DAY)

    def test_a_night_asleep(self):
        self.assert_untouched_by(suspended=DAY)

    def test_the_limit_holds_while_the_clock_is_set_to_and_fro(self):
        begun = time.monotonic()
        run = self.detach_python("import time\ntime.sleep(600)\n", "--max-run-duration", "2", "--grace", "1s")
        for day in (DAY, -DAY, 0.0):
            self.faults.shift_clocks(wall=day)
            time.sleep(0.2)
        self.assertEqual(self.wait(run, 124)["outcome"]["kind"], "timed_out")
        self.assertLess(2, time.monotonic() - begun)

    def test_nobody_waits_on_a_clock_that_runs_on_while_the_machine_sleeps(self):
        run = self.live("--max-run-duration", "1h")
        timers = {}
        for process in (processes.shim_of(run), processes.Process(self.home.daemon_pid())):
            directory = "/proc/%d/fdinfo/" % process.pid
            for name in os.listdir(directory):
                with open(directory + name) as file:
                    facts = dict(line.split(":", 1) for line in file if ":" in line)
                if "clockid" in facts:
                    timers.setdefault(process.name, set()).add(facts["clockid"].strip())
        self.assertEqual(timers.pop("runner-shim"), {MONOTONIC})
        self.assertLessEqual(timers.pop("runnerd", set()), {MONOTONIC})
        self.open_gate("go")
        self.wait(run)


class Reboot(RunnerTest):
    """The machine was switched off under live runs: nothing of them lives, and their claims are another boot's."""
    fresh_home = True
    configuration = "parallel = 3\n"

    CODE = GATE + "attempt = os.environ['RUNNER_ATTEMPT']\nprint('attempt', attempt, flush=True)\nos.makedirs('outputs', exist_ok=True)\n" \
        "open('outputs/attempt', 'w').write(attempt)\ntell(sys.argv[1] + '-' + attempt)\nawait_('go-' + sys.argv[1] + '-' + attempt)\n"

    def begin(self, name, *options, **more):
        self.write("main.py", self.CODE)
        return self.detach(*self.with_gate, *options, "-E", "MARK=" + self.home.token, "main.py", name, **more)

    def switch_off(self, *live):
        self.home.kill_daemon()
        for run in live:
            processes.kill_and_wait(processes.shim_of(run).pid)
        for run in live:
            wait_until(lambda: processes.init_of(run) is None, "nothing of %s lives" % run)
            path = self.home.run_directory(run) + "/claim.json"
            with open(path) as file:
                record = json.load(file)
            record["shim"]["bootId"] = "00000000-0000-4000-8000-000000000000"
            self.home.write(path, json.dumps(record))

    def test_the_queue_is_kept_and_live_runs_start_again_only_where_that_was_asked_for(self):
        plain, requeued, stopped = self.begin("plain"), self.begin("requeued", "--requeue"), self.begin("stopped", "--requeue")
        for name in ("plain", "requeued", "stopped"):
            self.await_gate(name + "-1")
        queued = self.begin("queued")
        self.assertEqual(self.show(queued)["status"], "Queued")
        self.assertTrue(self.show(requeued)["runDefinition"]["requeue"])
        self.switch_off(plain, requeued, stopped)
        self.assertEqual(self.wait(plain, 125)["outcome"]["kind"], "host_rebooted")
        for name in ("queued-1", "requeued-2", "stopped-2"):
            self.await_gate(name)
            if name != "stopped-2":
                self.open_gate("go-" + name)
        self.assertEqual(self.wait(queued)["attempt"], 1)
        again = self.wait(requeued)
        self.assertEqual((again["status"], again["attempt"], self.log(requeued)), ("Completed", 2, b"attempt 2\n"))
        [earlier] = again["earlierAttempts"]
        self.assertEqual(earlier["reason"], "the machine was restarted while the run was live")
        self.assertEqual(self.ok("logs", "--name", "attempts/1/user_logs/std_log.txt", requeued).text, "attempt 1\n")
        self.assertEqual([output["name"] for output in again["outputs"]], ["outputs/attempt"])
        self.ok("run", "download", requeued, "-d", "got")
        with open(self.project + "/got/attempts/1/outputs/attempt") as file:
            self.assertEqual(file.read(), "1")
        self.ok("cancel", stopped)
        self.assertEqual(self.wait(stopped, 130)["attempt"], 2)
        self.home.assert_nothing_left()

    def test_a_second_restart_and_a_killed_daemon_in_between(self):
        run = self.begin("r", "--requeue")
        self.await_gate("r-1")
        for attempt in (2, 3):
            self.switch_off(run)
            self.show(run)
            self.home.kill_daemon()
            self.show(run)
            self.await_gate("r-%d" % attempt)
        self.open_gate("go-r-3")
        self.assertEqual([earlier["attempt"] for earlier in self.wait(run)["earlierAttempts"]], [1, 2])
        self.assertEqual(self.log(run), b"attempt 3\n")
        self.home.assert_nothing_left()

    def test_what_was_to_be_cancelled_does_not_start_again(self):
        controlled = faults.Faults(self.home)
        daemon = controlled.start_daemon()
        run = self.begin("r", "--requeue")
        self.await_gate("r-1")
        controlled.arm(faults.KILL_BEFORE, kinds=faults.FILES, path="cancel.json")
        self.runner("cancel", run)
        controlled.until_killed(daemon)
        self.ok("daemon", "start")  # takes over, and hands the cancel over to the shim
        self.wait(run, 130)
        self.assertEqual((self.show(run)["attempt"], self.show(run)["status"]), (1, "Canceled"))

    def test_one_whose_secrets_are_gone_ends_and_says_so(self):
        run = self.begin("r", "--requeue", "--secret", "TOKEN", environment={"TOKEN": "hush"})
        self.await_gate("r-1")
        self.switch_off(run)
        ended = self.wait(run, 125)
        self.assertEqual((ended["outcome"]["kind"], ended["attempt"]), ("host_rebooted", 1))
        self.assertIn("cannot start again, for its secrets are not in the secrets file", ended["outcome"]["message"])

    def test_a_repetition_can_ask_for_it(self):
        first = self.begin("a")
        self.await_gate("a-1")
        self.open_gate("go-a-1")
        self.wait(first)
        os.unlink(self.gate + "/a-1")
        os.unlink(self.gate + "/go-a-1")
        again = self.ok("run", "rerun", "--detach", "--requeue", first).text.strip()
        self.await_gate("a-1")
        self.switch_off(again)
        self.show(again)
        self.await_gate("a-2")
        self.open_gate("go-a-2")
        self.assertEqual(self.wait(again)["attempt"], 2)


class Greedy(RunnerTest):
    @only_where_limits_work
    def test_a_fork_bomb_meets_its_limit_and_nobody_else_notices(self):
        bomb = self.detach_python("""\
            import os, sys, time
            refused = children = 0
            open("/gate/bomb", "w").close()
            while refused < 20:
                try:
                    if os.fork() == 0:
                        while True:
                            try:
                                os.fork()
                            except OSError:
                                time.sleep(0.01)
                    children += 1
                except OSError:
                    refused += 1
            print("refused", children < 50, flush=True)
            time.sleep(600)
            """, *self.with_gate, "--pids", "50", "--cpus", "0.5", "--max-run-duration", "4", "--grace", "1s")
        self.await_gate("bomb")
        begun = time.monotonic()
        self.assertEqual(self.submit("--cpus", "0.5", "--command", "echo fine").text, "fine\n")
        self.show(bomb)
        self.assertLess(time.monotonic() - begun, 10)
        ended = self.wait(bomb, 124)
        self.assertEqual((ended["status"], ended["outcome"]["kind"]), ("Canceled", "timed_out"))
        self.assertIn(b"refused True\n", self.log(bomb))
        self.home.assert_nothing_left()

    def test_very_many_output_files(self):
        count = 100_000 if settings.LONG else 5_000
        begun = time.monotonic()
        run = self.detach_python("""\
            import os, sys
            for part in range(100):
                os.makedirs("outputs/%d" % part)
            for number in range(int(sys.argv[1])):
                with open("outputs/%d/%d" % (number % 100, number), "w") as file:
                    file.write(str(number))
            """, arguments=[str(count)])
        self.ok("wait", run, timeout=300)
        collected = time.monotonic() - begun
        shown = self.ok("run", "show", "--json", run, timeout=120).json
        self.assertEqual(len(shown["outputs"]), count)
        self.assertEqual(sum(output["bytes"] for output in shown["outputs"]), sum(len(str(number)) for number in range(count)))
        with open("/proc/%d/status" % self.home.daemon_pid()) as file:
            peak = int([line for line in file if line.startswith("VmHWM")][0].split()[1]) // 1024
        print("%d output files: %.1f s from submit to end, the daemon's peak is %d MiB" % (count, collected, peak), file=sys.stderr)
        self.assert_memory(peak << 10, (64 + count // 500) << 10)  # a kilobyte or two a file
        self.assertLess(collected, 60 + count / 100)  # seconds; far above what it takes, for some disks make 500 files a second
        self.home.assert_nothing_left(deadline=60 + count / 100)
