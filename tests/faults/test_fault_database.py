"""runner.db: a migration that is killed anywhere, and a disk that does not take what is written."""
import errno
import os
import random
import re
import shutil
import sqlite3
import time

import faults
from support import settings
from support.case import RunnerTest
from support.waiting import wait_until

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")


class Migration(RunnerTest):
    """From the first schema to the present one."""
    fresh_home = True
    SAMPLE = 12

    def first_version(self, path):
        """The present history as the first version would have written it: `path` is runner.db, nobody has it open."""
        old = path + ".old"
        with open(os.path.join(ROOT, "store", "schema.sql")) as file:
            schema = file.read()
        database = sqlite3.connect(old)
        database.executescript("PRAGMA journal_mode=WAL;" + schema)
        database.execute("ATTACH ? AS new", (path,))
        (application,) = database.execute("PRAGMA new.application_id").fetchone()
        for (table,) in database.execute("SELECT name FROM main.sqlite_master WHERE type = 'table' ORDER BY rowid").fetchall():
            columns = ", ".join(row[1] for row in database.execute("PRAGMA main.table_info(%s)" % table))
            database.execute("INSERT INTO main.%s(%s) SELECT %s FROM new.%s" % (table, columns, columns, table))
        database.commit()
        database.execute("DETACH new")
        database.execute("PRAGMA application_id=%d" % application)
        database.execute("PRAGMA user_version=1")
        database.commit()
        database.close()
        os.replace(old, path)
        self.account.own(path)

    def stop(self):
        self.ok("daemon", "stop")
        wait_until(lambda: self.home.daemon_pid() is None, "the daemon ends")

    def documents(self):
        return {run["runId"]: self.show(run["runId"]) for run in self.runs()}

    def test_killed_at_any_write_it_is_done_by_the_next_start(self):
        self.submit_python("import os, runner\nrunner.log('loss', 1.5)\nos.mkdir('outputs')\nopen('outputs/a', 'w').write('a')\n", "--tag", "k=v")
        self.submit_python("raise SystemExit(3)\n", exit_code=3)
        before = self.documents()
        self.stop()
        path = self.home.data + "/runner.db"
        self.first_version(path)
        kept = shutil.copyfile(path, self.home.base + "/runner.db.1")

        injected = faults.Faults(self.home)
        kinds = faults.WRITE | faults.SYNC | faults.TRUNCATE | faults.UNLINK
        injected.count_calls(kinds, "runner.db")
        injected.start_daemon()
        calls = injected.count
        self.assertEqual(self.documents(), before)
        self.stop()
        self.assertGreater(calls, 20)
        seed = random.randrange(1 << 30)
        numbers = range(1, calls + 1)
        if not settings.LONG:
            numbers = sorted(random.Random(seed).sample(numbers, min(self.SAMPLE, calls)))
        for number in numbers:
            for action in (faults.KILL_HALF_WAY, faults.KILL_AFTER):
                with self.subTest(seed=seed, number=number, action=action):
                    for suffix in ("", "-wal", "-shm"):
                        if os.path.exists(path + suffix):
                            os.remove(path + suffix)
                    shutil.copyfile(kept, path)
                    self.account.own(path)
                    injected.arm(action, number, kinds=kinds, path="runner.db")
                    daemon = injected.start_daemon()
                    injected.disarm()
                    if daemon.process.poll() is None:  # fewer calls than before
                        self.home.kill_daemon()
                    self.assertEqual(self.documents(), before, injected.fired_at)
                    self.assertEqual(self.ok("fsck", "--json").json["problems"], [])
                    self.home.kill_daemon()


class DiskThatFails(RunnerTest):
    fresh_home = True

    def test_nothing_is_acknowledged_any_more_and_everything_goes_on_with_the_next_daemon(self):
        self.nothing_is_lost(killed=True)

    def test_the_same_daemon_goes_on_when_the_disk_is_well_again(self):
        self.nothing_is_lost(killed=False)

    def nothing_is_lost(self, killed):
        injected = faults.Faults(self.home)
        injected.start_daemon()
        live = self.detach_gated("tell('up'); await_('go'); print('lived'); sys.exit(3)")
        self.await_gate("up")
        self.until_status(live, "Running")
        injected.arm(faults.FAIL, 1, faults.FOR_EVER, faults.SYNC, "runner.db", errno.EIO)
        self.write("main.py", "print('more')\n")
        acknowledged = []
        for _ in range(3):
            result = self.runner("submit", *self.isolation_options(), "--detach", "main.py")
            if result.code == 0:
                self.assertRegex(result.err, "power cut could lose this run")
                acknowledged.append(result.text.strip())
            else:
                self.assertEqual(result.code, 125, result.describe())
        self.assertLess(len(acknowledged), 2)
        self.assertRegex(result.err, r"runner\.db.*: nothing is written to it since 20")
        self.assertIn("runner fsck", result.err)
        self.assertEqual(self.show(live)["status"], "Running")
        row = [check for check in self.ok("doctor", "--json", code=None).json["items"] if check["name"] == "databases"]
        self.assertEqual([check["works"] for check in row], [False], row)
        self.open_gate("go")
        wait_until(lambda: os.path.exists(self.home.run_directory(live) + "/exit.json"), "it ends")
        self.assertNotIn(self.show(live)["status"], ("Completed", "Failed", "Canceled"))  # nobody could promise it

        if killed:
            self.home.kill_daemon()
        else:
            injected.disarm()  # the disk is well again
        run = self.wait(live, code=3)
        self.assertEqual((run["outcome"]["exitCode"], run["attempt"]), (3, 1))
        self.assertEqual(self.log(live), b"lived\n")
        for run_id in acknowledged:
            self.assertEqual(self.wait(run_id)["status"], "Completed")
        others = [run for run in self.runs() if run["runId"] != live]
        self.assertLessEqual(len(others), 1)
        self.assertTrue(all(re.fullmatch(r"Completed", run["status"]) for run in others), others)
        self.assertEqual(self.ok("fsck", "--json").json["problems"], [])
        self.home.assert_nothing_left()

    def test_an_end_that_did_not_reach_the_disk_keeps_its_directory_until_it_has(self):
        injected = faults.Faults(self.home)
        injected.start_daemon()
        run = self.detach_gated("tell('up'); await_('go'); print('lived')")
        self.await_gate("up")
        self.until_status(run, "Running")
        injected.arm(faults.FAIL, 1, faults.FOR_EVER, faults.SYNC, "runner.db", errno.EIO)
        self.open_gate("go")
        self.until_status(run, "Completed")  # in the daemon's memory
        self.assertGreater(injected.fired, 0)
        time.sleep(1)  # some hundred times what it takes to remove one
        self.assertTrue(os.path.exists(self.home.run_directory(run) + "/exit.json"))
        injected.disarm()
        wait_until(lambda: not os.path.exists(self.home.run_directory(run)), "the directory goes when the end is on the disk", 40)
        self.assertEqual(self.wait(run)["status"], "Completed")
        self.assertEqual(self.log(run), b"lived\n")
        self.home.assert_nothing_left()
