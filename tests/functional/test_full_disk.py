"""Full disks: each part of the data directory on a small file system of its own. What lives goes on or fails typed, its end
is written all the same, and service resumes when there is room again."""
import os
import subprocess

from support.case import RunnerTest
from support.waiting import wait_until


class SmallDisks(RunnerTest):
    fresh_home = True

    def small(self, part, megabytes):
        """An ext4 file system at `part` of the data directory, which is not there yet."""
        path = os.path.join(self.home.data, part) if part else self.home.data
        for directory in (self.home.data, path):
            if not os.path.isdir(directory):
                os.mkdir(directory, 0o700)
                self.account.own(directory)
        image = "%s/disk-%s-%s" % (self.home.base, part or "home", self.home.token)
        with open(image, "wb") as file:
            file.truncate(megabytes << 20)
        subprocess.run(["mkfs.ext4", "-q", "-m", "0", "-E", "root_owner=%d:%d" % (self.account.uid, self.account.gid), image], check=True)
        subprocess.run(["mount", "-o", "loop", image, path], check=True)  # the home's close() unmounts it
        os.rmdir(path + "/lost+found")
        return path

    @staticmethod
    def fill(path):
        """To the last block."""
        with open(path + "/ballast", "wb", buffering=0) as file:
            piece = 1 << 20
            while piece:
                try:
                    file.write(b"x" * piece)
                    os.fsync(file.fileno())  # delayed allocation would tell later
                except OSError:
                    piece //= 2

    @staticmethod
    def empty(path):
        os.remove(path + "/ballast")

    def assert_sound(self):
        self.assertEqual(self.ok("fsck", "--json", timeout=120).json["problems"], [])
        wait_until(lambda: all(left.startswith("mount %s" % self.home.data) for left in self.home.leftovers(self.home.token)), "only the disks are left")

    def assert_says_full(self, result):
        self.assertEqual(result.code, 125, result.describe())
        self.assertRegex(result.err, "full|No space left")
        self.assertNotIn("\n\n", result.err.strip())


class Databases(SmallDisks):
    def setUp(self):
        super().setUp()
        self.disk = self.small("", 160)
        for part in ("runs", "checkouts", "cache", "roots"):  # these have a disk of their own: the home's
            target = self.home.new_project("%s-%s" % (part, self.home.token))
            os.symlink(target, os.path.join(self.disk, part))

    def test_ends_are_written_cancels_obeyed_and_submits_refused_until_there_is_room(self):
        """Twenty runs live when the disk becomes full to the last byte."""
        self.home.configure("parallel = 21\n")
        ending = [self.detach_gated("tell('%d'); await_('go'); print('the end of %d'); sys.exit(%d)" % (i, i, i)) for i in range(18)]
        slow = self.detach_gated("tell('slow'); time.sleep(600)")
        stubborn = self.detach_gated("tell('limited'); time.sleep(600)", "--max-run-duration", "600s")
        for name in [str(i) for i in range(18)] + ["slow", "limited"]:
            self.await_gate(name)
        self.fill(self.disk)
        pid = self.home.daemon_pid()
        self.write("main.py", "print('more')\n")
        self.assert_says_full(self.runner("submit", *self.isolation_options(), "main.py"))
        self.open_gate("go")
        for number, run_id in enumerate(ending):
            run = self.wait(run_id, code=number)
            self.assertEqual((run["outcome"]["kind"], run["outcome"]["exitCode"]), ("exited", number))
            self.assertEqual(self.log(run_id), b"the end of %d\n" % number)
        self.ok("run", "cancel", slow)
        self.assertEqual(self.wait(slow, code=130)["status"], "Canceled")
        self.assertEqual(self.home.daemon_pid(), pid)
        # Nor does a daemon that dies now know less.
        self.home.kill_daemon()
        self.assertEqual(self.show(ending[3])["outcome"]["exitCode"], 3)
        self.assertEqual(self.show(stubborn)["status"], "Running")
        self.ok("run", "cancel", stubborn)
        self.wait(stubborn, code=130)
        self.assert_says_full(self.runner("submit", *self.isolation_options(), "main.py"))
        self.empty(self.disk)
        self.assertEqual(self.submit("main.py").text, "more\n")
        self.assert_sound()

    def test_large_outputs_wait_for_room_and_nothing_is_lost(self):
        run_id = self.detach_gated("tell('up'); await_('go'); os.mkdir('outputs'); open('outputs/big', 'wb').write(os.urandom(9 << 20)); print('done')")
        self.await_gate("up")
        self.fill(self.disk)
        self.open_gate("go")
        run = self.until_status(run_id, "Finalizing")
        wait_until(lambda: "full" in self.show(run_id)["statusReason"], "it says what it waits for")
        self.assertEqual(run["outcome"], None)
        self.empty(self.disk)
        run = self.wait(run_id)
        self.assertEqual([(output["name"], output["bytes"]) for output in run["outputs"]], [("outputs/big", 9 << 20)])
        self.assertEqual(self.log(run_id), b"done\n")
        self.assert_sound()

    def test_metrics_of_a_live_run_wait_in_their_journal(self):
        run_id = self.detach_gated("import runner\ntell('up'); await_('go')\n"
                                   "for i in range(2000): runner.log('loss', i)\ntell('logged'); await_('end')")
        self.await_gate("up")
        self.fill(self.disk)
        self.open_gate("go")
        self.await_gate("logged")
        self.empty(self.disk)
        self.open_gate("end")
        self.wait(run_id)
        points = self.ok("run", "metrics", run_id, "--name", "loss", "--json").json["items"]
        self.assertEqual([point["value"] for point in points], list(range(2000)))
        self.assert_sound()

    def test_a_daemon_that_dies_on_a_full_disk_is_followed_by_one_that_serves(self):
        self.submit_python("print('before')\n")
        self.fill(self.disk)
        self.home.kill_daemon()
        self.assert_serves_on_a_full_disk()

    def test_a_daemon_that_was_stopped_before_the_disk_became_full_is_followed_by_one_that_serves(self):
        self.submit_python("print('before')\n")
        self.ok("daemon", "stop")
        wait_until(lambda: self.home.daemon_pid() is None, "the daemon ends")
        self.fill(self.disk)
        self.assert_serves_on_a_full_disk()

    def assert_serves_on_a_full_disk(self):
        self.assertEqual([run["status"] for run in self.runs()], ["Completed"])
        self.assertEqual(self.log(), b"before\n")
        self.assert_says_full(self.runner("submit", *self.isolation_options(), "main.py"))
        self.empty(self.disk)
        self.submit("main.py")
        self.assert_sound()


class Runs(SmallDisks):
    """The disk under runs/: working directories, /tmp and logs of live runs."""

    def test_the_script_fails_and_what_its_log_lost_is_counted(self):
        disk = self.small("runs", 48)
        run_id = self.detach_gated("tell('up'); await_('go')\nfor i in range(3000): print('%06d' % i, 'x' * 90)\nsys.stdout.flush()\n"
                                   "open('/tmp/mine', 'wb').write(os.urandom(1 << 20))")
        self.await_gate("up")
        self.fill(disk)
        self.open_gate("go")
        run = self.wait(run_id, code=1)
        self.assertEqual((run["status"], run["outcome"]["kind"]), ("Failed", "exited"))
        log = self.log(run_id)
        self.assertTrue(all(line == b"%06d %s" % (number, b"x" * 90) for number, line in enumerate(log.split(b"\n")[:-1])), log[:400])
        self.assertRegex(run["statusReason"] + repr(run["notices"]), "(?i)no space")
        self.empty(disk)
        self.submit_python("print('again')\n")
        self.assert_sound()

    def test_a_run_that_cannot_start_says_why(self):
        disk = self.small("runs", 48)
        self.submit_python("print('fits')\n")
        self.fill(disk)
        result = self.submit_python("print('fits not')\n", exit_code=125)
        self.assertRegex(result.err + result.text, "(?i)full|no space")
        self.assertEqual(self.show()["outcome"]["kind"], "start_failed")
        self.empty(disk)
        self.assertEqual(self.submit_python("print('again')\n").text, "again\n")
        self.assert_sound()


class Snapshots(SmallDisks):
    """The disk under checkouts/."""

    def test_a_checkout_that_does_not_fit_fails_its_run_only(self):
        self.home.configure("parallel = 2\n")
        disk = self.small("checkouts", 48)
        live = self.detach_gated("tell('up'); await_('go'); print(open('main.py').read()[:6])")
        self.await_gate("up")
        self.fill(disk)
        self.write("more.txt", b"abcdefgh" * (1 << 20))
        result = self.submit_python("print('fits not')\n", exit_code=125)
        self.assertRegex(result.err + result.text, "(?i)full|no space")
        self.assertEqual(self.show()["outcome"]["kind"], "start_failed")
        self.open_gate("go")
        self.assertEqual(self.wait(live)["status"], "Completed")
        self.assertEqual(self.log(live), b"import\n")
        self.empty(disk)
        self.assertEqual(self.submit("main.py").text, "fits not\n")
        self.assert_sound()
