"""The programs are replaced under live runs, as a package's upgrade does: the newer daemon takes the runs over.

RUNNER_OLDER_BIN_DIR names the programs of an older build (with its share/ beside it); without it the older ones are the same
build in other files.
"""
import os
import shutil

from support import processes, program
from support.case import RunnerTest
from support.waiting import wait_until

SCRIPT = """\
name = sys.argv[1]
os.makedirs("outputs", exist_ok=True)
print("before", flush=True)
open("here", "w").write("of " + name)
tell(name)
await_("go-" + name)
open("outputs/kept", "w").write(name)
print("after")
sys.exit(3)
"""


class Upgrade(RunnerTest):
    fresh_home = True
    configuration = "parallel = 5\n"

    def setUp(self):
        super().setUp()
        self.older = os.environ.get("RUNNER_OLDER_BIN_DIR")
        self.installed = self.home.own_programs(self.older)

    def upgrade(self):
        """Every file is another one afterwards, under the same name."""
        newer = os.path.dirname(program.bin_directory())
        for directory, _, names in os.walk(newer):
            target = os.path.join(os.path.dirname(self.installed), os.path.relpath(directory, newer))
            os.makedirs(target, exist_ok=True)
            for name in names:
                shutil.copy2(os.path.join(directory, name), os.path.join(target, name + ".dpkg-new"))
                os.rename(os.path.join(target, name + ".dpkg-new"), os.path.join(target, name))

    def is_installed(self, pid):
        """The process runs the file that has its name now."""
        return os.stat("/proc/%d/exe" % pid).st_ino == os.stat(os.readlink("/proc/%d/exe" % pid).replace(" (deleted)", "")).st_ino

    def begin(self, name, *options):
        run = self.detach_gated(SCRIPT, "-E", "MARK=" + self.home.token, *options, arguments=[name])
        self.await_gate(name)
        self.until_status(run, "Running")
        return run

    def assert_as_ever(self, run, name):
        ended = self.wait(run, 3)
        self.assertEqual((ended["outcome"]["kind"], ended["outcome"]["exitCode"], ended["attempt"]), ("exited", 3, 1))
        self.assertEqual(self.log(run), b"before\nafter\n")
        self.assertEqual([output["name"] for output in ended["outputs"]], ["outputs/kept"])

    def test_a_newer_daemon_takes_over_what_lives_and_what_waits(self):
        names = ("goes-on", "cancelled", "limited", "paused", "ends")
        options = {"limited": ("--max-run-duration", "6", "--grace", "1s")}
        runs = {name: self.begin(name, *options.get(name, ())) for name in names}
        self.ok("run", "pause", runs["paused"])
        waits = self.detach_python("print('waited')\n", "--after", runs["goes-on"] + ":any")
        self.upgrade()
        self.home.kill_daemon()
        self.open_gate("go-ends")
        self.until_shim_ends(runs["ends"])
        self.assertEqual(self.show(runs["goes-on"])["status"], "Running")
        self.assertTrue(self.is_installed(self.home.daemon_pid()))
        self.assertFalse(self.is_installed(processes.shim_of(runs["goes-on"]).pid))
        self.assert_as_ever(runs["ends"], "ends")
        self.assertEqual(self.log(runs["goes-on"]), b"before\n")
        self.assertEqual(self.ok("run", "exec", runs["goes-on"], "--", "cat", "here").text, "of goes-on")
        self.ok("cancel", runs["cancelled"])
        self.assertEqual(self.wait(runs["cancelled"], 130)["outcome"]["kind"], "canceled")
        self.assertEqual(self.show(runs["paused"])["status"], "Paused")
        self.ok("run", "resume", runs["paused"])
        self.until_status(runs["paused"], "Running")
        self.open_gate("go-paused")
        self.assert_as_ever(runs["paused"], "paused")
        self.assertEqual(self.wait(runs["limited"], 124)["outcome"]["kind"], "timed_out")
        self.open_gate("go-goes-on")
        self.assert_as_ever(runs["goes-on"], "goes-on")
        self.assertEqual(self.wait(waits)["status"], "Completed")
        self.home.assert_nothing_left()

    def test_the_older_daemon_goes_on_until_it_is_stopped(self):
        run = self.begin("first")
        self.upgrade()
        self.open_gate("go-first")
        self.assert_as_ever(run, "first")
        second = self.begin("second")  # its shim and the container's first process are the newer ones
        self.ok("daemon", "stop")
        wait_until(lambda: self.home.daemon_pid() is None, "the daemon ends")
        self.open_gate("go-second")
        self.assert_as_ever(second, "second")
        self.assertTrue(self.is_installed(self.home.daemon_pid()))
        self.home.assert_nothing_left()

    def test_the_newer_daemon_has_the_olders_history(self):
        run = self.begin("first")
        self.open_gate("go-first")
        self.assert_as_ever(run, "first")
        before = self.show(run)
        self.ok("daemon", "stop")
        wait_until(lambda: self.home.daemon_pid() is None, "the daemon ends")
        self.upgrade()
        after = self.show(run)
        self.assertEqual({key: after[key] for key in before if key != "runDefinition"}, {key: before[key] for key in before if key != "runDefinition"})
        self.assertEqual(self.runner("fsck").code, 0)
        again = self.ok("run", "rerun", "--detach", run).text.strip()
        self.assert_as_ever(again, "first")
