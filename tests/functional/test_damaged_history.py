"""A history with a page that cannot be read: nothing is written to it, nothing is started or removed, and what can be read is served."""
import os
import signal
import sqlite3

from support import processes
from support.case import RunnerTest
from support.waiting import wait_until


class DamagedHistory(RunnerTest):
    fresh_home = True

    def stop_daemon(self):
        self.ok("daemon", "stop")
        wait_until(lambda: self.home.daemon_pid() is None, "the daemon ends")

    def page_of(self, name):
        """The bytes of runner.db that are the root page of a table or index."""
        database = sqlite3.connect("file:%s/runner.db?mode=ro" % self.home.data, uri=True)
        (number,) = database.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (name,)).fetchone()
        (size,) = database.execute("PRAGMA page_size").fetchone()
        database.close()
        return (number - 1) * size, size

    def replace(self, at, content):
        with open(self.home.data + "/runner.db", "r+b") as file:
            file.seek(at)
            before = file.read(len(content))
            file.seek(at)
            file.write(content)
        return before

    def test_it_is_read_only_with_advice_and_everything_goes_on_when_it_is_whole_again(self):
        done = self.submit_python("print('done')\n").text
        self.assertEqual(done, "done\n")
        finished = self.show()["runId"]
        live = self.detach_gated("tell('up'); await_('go'); print('lived'); sys.exit(3)")
        self.await_gate("up")
        waiting = self.detach_python("print('waited')\n")
        self.stop_daemon()
        at, size = self.page_of("run_by_status")
        original = self.replace(at, b"\xff" * size)

        self.assertEqual(self.show(finished)["status"], "Completed")
        self.assertEqual(self.log(finished), b"done\n")
        refused = self.runner("submit", *self.isolation_options(), "main.py")
        self.assertEqual(refused.code, 125, refused.describe())
        self.assertRegex(refused.err, "runner.db: .*malformed: nothing is written to it since 20")
        self.assertIn("runner fsck", refused.err)
        row = [check for check in self.ok("doctor", "--json", code=None).json["items"] if check["name"] == "databases"]
        self.assertEqual([check["works"] for check in row], [False], row)
        problems = self.ok("fsck", "--json", code=None).json["problems"]
        self.assertTrue(any("runner.db" in problem["problem"] for problem in problems), problems)
        self.assertNotEqual(self.runner("gc").code, 0)

        # The run that lives is left alone, and ends.
        self.assertTrue(processes.mentioning(live))
        self.open_gate("go")
        wait_until(lambda: not [p for p in processes.mentioning(live) if p.name == "runner-shim"], "it ends")

        self.stop_daemon()
        self.replace(at, original)
        run = self.wait(live, code=3)
        self.assertEqual((run["outcome"]["kind"], run["outcome"]["exitCode"], run["attempt"]), ("exited", 3, 1))
        self.assertEqual(self.log(live), b"lived\n")
        self.assertEqual(self.wait(waiting)["status"], "Completed")
        self.assertEqual(self.ok("fsck", "--json").json["problems"], [])
        self.home.assert_nothing_left()

    def change(self, *statements):
        """Behind the back of a daemon that is dead."""
        database = sqlite3.connect(self.home.data + "/runner.db", isolation_level=None)
        for statement in statements:
            database.execute(statement)
        database.close()
        for suffix in ("", "-wal", "-shm"):
            if os.path.exists(self.home.data + "/runner.db" + suffix):
                self.account.own(self.home.data + "/runner.db" + suffix)

    def live_run(self, body="print(sorted(os.listdir('.')))"):
        run = self.detach_gated("tell('up'); await_('go'); %s" % body)
        self.await_gate("up")
        self.until_status(run, "Running")
        return run

    def test_an_index_that_has_lost_a_live_run_costs_it_nothing(self):
        run = self.live_run()
        self.home.kill_daemon()
        with_condition = "UPDATE sqlite_master SET sql = sql || ' WHERE seq < 0' WHERE name = 'run_by_status'"
        without = "UPDATE sqlite_master SET sql = replace(sql, ' WHERE seq < 0', '') WHERE name = 'run_by_status'"
        self.change("PRAGMA writable_schema=ON", with_condition, "PRAGMA schema_version=4711")
        self.change("REINDEX run_by_status")
        self.change("PRAGMA writable_schema=ON", without, "PRAGMA schema_version=4712")
        self.assertEqual(self.show(run)["status"], "Running")
        self.assertTrue(processes.mentioning(run))
        self.ok("fsck", "--repair", "--json", code=None)
        self.assertEqual(self.ok("fsck", "--json").json["problems"], [])
        self.open_gate("go")
        self.assertEqual(self.wait(run)["status"], "Completed")
        self.assertEqual(self.log(run), b"['main.py']\n")

    def test_a_live_run_whose_row_cannot_be_read_keeps_its_files(self):
        run = self.live_run()
        self.home.kill_daemon()
        (environment,) = sqlite3.connect("file:%s/runner.db?mode=ro" % self.home.data, uri=True).execute(
            "SELECT environment FROM run").fetchone()
        self.change("UPDATE run SET environment = '{broken'")
        self.home.configure("checkout_count = 0\n")
        self.ok("daemon", "start")
        self.assertIn(run, self.ok("run", "list").err)
        self.runner("gc")
        self.stop_daemon()
        self.assertTrue(processes.mentioning(run))
        self.change("UPDATE run SET environment = '%s'" % environment.replace("'", "''"))
        self.open_gate("go")
        self.assertEqual(self.wait(run)["status"], "Completed")
        self.assertEqual(self.log(run), b"['main.py']\n")

    def lose_power(self, run):
        """Everything that lives is gone at once, the daemon first."""
        self.home.kill_daemon()
        for process in processes.mentioning(run):
            if process.name == "runner-shim":
                processes.kill_and_wait(process.pid, signal.SIGKILL)
        wait_until(lambda: not processes.mentioning(run), "nothing of it lives")

    def test_records_that_a_power_cut_has_emptied_end_the_run_as_lost(self):
        run = self.live_run("print('never')")
        self.lose_power(run)
        for name in ("claim.json", "start.json"):
            with open(self.home.run_directory(run) + "/" + name, "w"):
                pass
        ended = self.wait(run, code=125)
        self.assertEqual((ended["status"], ended["outcome"]["kind"], ended["attempt"]), ("Failed", "lost", 1))
        self.assertIn("claim.json", ended["outcome"]["message"])
        self.home.assert_nothing_left()

    def test_a_run_that_did_run_is_not_started_again_because_its_directory_is_gone(self):
        run = self.live_run("print('never')")
        self.lose_power(run)
        self.home.call("rm", "-rf", self.home.run_directory(run))
        ended = self.wait(run, code=125)
        self.assertEqual((ended["status"], ended["outcome"]["kind"], ended["attempt"]), ("Failed", "lost", 1))
        self.home.assert_nothing_left()
