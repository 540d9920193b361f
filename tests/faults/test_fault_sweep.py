"""The daemon is killed at every call that changes a file, starts a process or answers, and each of those calls fails once:
what was acknowledged is kept and runs exactly once."""
import errno
import os
import time

import faults
from support.waiting import wait_until
from sweep import Sweep

LINES = 20
# Says that it has run where no daemon can forget it.
SCRIPT = """\
import os, sys
import runner
fd = os.open("/gate/ran", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
os.write(fd, (os.environ["RUNNER_RUN_ID"] + "\\n").encode())
os.makedirs("outputs/deep")
for number in range(%d):
    print("line", number, flush=True)
runner.log("loss", 0.5)
open("outputs/deep/model", "w").write("trained" * 1000)
sys.exit(7)
""" % LINES
LOG = "".join("line %d\n" % number for number in range(LINES)).encode()


class Run(Sweep):
    """A new home, one run from its submission until nothing of it is left but its record."""

    may_fail = False
    dead_disk = False  # it stays dead until another daemon comes

    def act(self):
        self.write("main.py", SCRIPT)
        self.write("data/input.txt", os.urandom(5000))
        if self.dead_disk:
            self.try_on_a_dead_disk()
        self.run_id = self.insist(*self.with_gate, "main.py", key="only")
        self.wait_for(self.run_id, good=(7, 125))

    def try_on_a_dead_disk(self):
        if not self.faults.is_armed:
            return  # the calls are only counted
        for _ in range(2):
            result = self.runner("submit", *self.isolation_options(), "--detach", "--idempotency-key", "only", *self.with_gate, "main.py")
            if result.code == 0:
                wait_until(lambda: self.has_died() or self.faults.fired, "the disk dies", 10)
                break
            self.assertTrue(result.error_lines[0].startswith("runner: error: "), result.describe())
        time.sleep(0.3)  # whatever it does now, it does with a dead disk
        self.replace_daemon()

    def check(self):
        run = self.show(self.run_id)
        self.assertEqual([other["runId"] for other in self.runs()], [self.run_id])
        if self.may_fail and self.faults.fired and run["outcome"]["kind"] in ("start_failed", "environment_failed"):
            self.assertEqual((run["status"], self.told("ran"), run["outputs"]), ("Failed", [], []))
            self.assertRegex(run["error"]["message"], "(?i)input/output error|no space left|disk is full")
            return
        self.assertEqual((run["status"], run["outcome"]["kind"], run["outcome"].get("exitCode")), ("Failed", "exited", 7), run)
        self.assertEqual((self.told("ran"), run["attempt"], run["metrics"]), ([self.run_id], 1, {"loss": 0.5}))
        self.assertEqual(self.log(self.run_id), LOG)
        self.assertEqual([output["name"] for output in run["outputs"]], ["outputs/deep/model"])
        self.ok("run", "download", self.run_id, "-d", "got")
        with open(self.project + "/got/outputs/deep/model") as file:
            self.assertEqual(file.read(), "trained" * 1000)

    # --- the sweeps ------------------------------------------------------------------------------------------------------

    def test_killed_before_any_of_its_calls(self):
        self.sweep(faults.KILL_BEFORE, 16)

    def test_killed_after_any_of_its_calls(self):
        self.sweep(faults.KILL_AFTER, 6)

    def test_killed_half_way_through_any_of_its_writes(self):
        self.sweep(faults.KILL_HALF_WAY, 5, kinds=faults.WRITE)

    def test_any_of_its_calls_fails(self):
        self.may_fail = True
        self.sweep(faults.FAIL, 14, lambda number: errno.EIO if number % 2 else errno.ENOSPC, kinds=faults.FILES | faults.SPAWN)

    def test_any_of_its_writes_is_cut_short(self):
        self.may_fail = True  # to SQLite that is a full disk
        self.sweep(faults.FAIL_HALF_WAY, 4, kinds=faults.WRITE)

    def test_from_any_of_its_calls_on_everything_fails(self):
        """As on a disk that has died or is full, until the daemon is replaced and the disk is well."""
        self.may_fail = self.dead_disk = True
        self.sweep(faults.FAIL, 6, lambda number: errno.ENOSPC, kinds=faults.FILES, last=lambda first: faults.FOR_EVER)


# Waits to be told to leave in its first attempt.
LOW = """\
import os, signal, sys, time
attempt = os.environ["RUNNER_ATTEMPT"]
print("attempt " + attempt, flush=True)
open("/gate/low-" + attempt, "w").close()
signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
while attempt == "1":
    time.sleep(0.01)
"""
NORMAL = 'echo $RUNNER_RUN_ID >>/gate/normal'


class Changes(Sweep):
    """What becomes of runs and the store by command: one gives way and begins again, one is cancelled, a gc frees."""

    def prepare(self):
        os.chmod(self.gate, 0o777)
        self.write("main.py", LOW)
        junk = self.home.new_project("junk-" + self.home.token)
        self.home.write(junk + "/file", os.urandom(100000))
        self.junk = self.ok("snapshot", "create", junk).text.strip()
        self.ok("queue", "pause")
        self.low = self.detach(*self.with_gate, "--priority", "-1", "main.py")

    def again(self, *arguments, good=(0,)):
        """A command of somebody who repeats it until it is answered."""
        for attempt in range(5):
            result = self.runner(*arguments)
            if result.code in good and (result.code != 4 or "has ended already" in result.err):
                return result
            told = "error\":" if "--json" in arguments else "runner: error: "
            self.assertEqual(len([line for line in result.error_lines if told in line]), 1, result.describe())
            if "nothing is written to it since" in result.err:
                self.replace_daemon()
        self.fail("never answered: " + result.describe())

    def act(self):
        self.again("queue", "resume")
        wait_until(lambda: os.path.exists(self.gate + "/low-1") or self.show_again(self.low)["status"] == "Failed", "it has begun")
        self.normal = self.insist(*self.with_gate, "--command", NORMAL, key="normal")
        self.cancelled = self.insist(*self.with_gate, "--after", self.low + ":any", "--command", "exec sleep 1000", key="cancelled")
        self.again("cancel", self.cancelled, good=(0, 4))  # 4: an earlier try, whose answer was lost, has ended it
        self.wait_for(self.normal, self.low, self.cancelled, good=(125, 130))
        self.again("gc")

    def show_again(self, run):
        return self.again("run", "show", "--json", run).json

    def could_not_start(self, run):
        """It ended typed because a call failed, and did not run in that attempt."""
        if not (self.may_fail and self.faults.fired and run["outcome"]["kind"] == "start_failed"):
            return False
        self.assertEqual((run["status"], run["startTimeUtc"]), ("Failed", None))
        return True

    def check(self):
        low, normal, cancelled = map(self.show, (self.low, self.normal, self.cancelled))
        self.assertEqual((len(self.runs()), cancelled["status"]), (3, "Canceled"))
        if self.could_not_start(normal):
            self.assertFalse(os.path.exists(self.gate + "/normal"))
        else:
            self.assertEqual(normal["status"], "Completed")
            with open(self.gate + "/normal") as file:
                self.assertEqual(file.read().split(), [self.normal])
        if not self.could_not_start(low):
            self.assertEqual((low["status"], low["attempt"], self.log(self.low)), ("Completed", 2, b"attempt 2\n"))
        self.assertEqual([earlier["attempt"] for earlier in low["earlierAttempts"]], list(range(1, low["attempt"])))
        if low["attempt"] == 2:
            self.assertEqual(self.ok("logs", "--name", "attempts/1/user_logs/std_log.txt", self.low).text, "attempt 1\n")
        self.ok("gc")
        self.assertNotEqual(self.runner("snapshot", "show", self.junk).code, 0)

    may_fail = False

    def test_killed_before_any_of_its_calls(self):
        self.sweep(faults.KILL_BEFORE, 8)

    def test_any_of_its_calls_fails(self):
        self.may_fail = True
        self.sweep(faults.FAIL, 5, lambda number: errno.EIO)
