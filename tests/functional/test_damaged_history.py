"""A history with a page that cannot be read: nothing is written to it, nothing is started or removed, and what can be read is served."""
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
