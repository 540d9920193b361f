"""`runner gc`: frees what no run needs, says what and why, and never loses what a run needs."""
import os
import sqlite3
import threading

from support.store_case import StoreTest
from support.waiting import wait_until


class Frees(StoreTest):
    def test_a_snapshot_that_no_run_references_goes_and_what_a_run_needs_stays(self):
        run_output = os.urandom(3 << 20).hex()
        self.write("model.txt", run_output)
        self.submit_python("import os, shutil\nos.mkdir('outputs')\nshutil.copy('model.txt', 'outputs/m')\nprint('kept')\n")
        before = self.content("SELECT count(*) FROM content")[0][0]
        lonely = self.tree(120, size=40000)
        lost = self.create(lonely)
        size = self.store_size()
        report = self.gc("--explain")
        self.assertEqual((report["contents"], report["runs"], report["keptSnapshots"]), (128, 1, 1))  # and 8 directories
        freed = {item["kind"]: item for item in report["freed"]}
        self.assertEqual(sorted(freed), ["checkout", "snapshot"])
        self.assertEqual(freed["checkout"]["name"], self.show()["snapshotId"])
        self.assertEqual([freed["snapshot"][key] for key in ("name", "count", "bytes")], [lost, 120, 120 * 40000])
        self.assertIn("no run", freed["snapshot"]["reason"])
        kept = {item["kind"]: item for item in report["kept"]}
        self.assertEqual(kept["snapshot"]["name"], self.show()["snapshotId"])
        self.assertIn(self.show()["runId"], kept["snapshot"]["reason"])
        self.assertEqual(kept["files"]["count"], 2)
        self.assertGreater(report["diskBytes"], 4_000_000)
        self.assertLess(self.store_size(), size - 4_000_000)
        self.assertEqual(self.content("SELECT count(*) FROM content")[0][0], before)
        self.assertEqual(self.log(), b"kept\n")
        self.ok("run", "download", "@last", "-d", self.project + "/out")
        with open(self.project + "/out/outputs/m") as file:
            self.assertEqual(file.read(), run_output)
        self.assert_fsck_clean()
        self.assertEqual(self.create(lonely), lost)  # it can be had again: no cache says that it is there still
        self.assertEqual(self.content("SELECT count(*) FROM content")[0][0], before + 128)
        self.assert_fsck_clean()

    def test_a_second_gc_finds_nothing(self):
        self.create(self.tree(10))
        self.assertGreater(self.gc()["contents"], 0)
        again = self.gc()
        self.assertEqual((again["contents"], again["chunks"], again["caches"]), (0, 0, 0))
        self.assertIn("nothing to free", self.ok("gc").text)

    def test_an_empty_home(self):
        self.assertIn("nothing to free", self.ok("gc", "--explain").text)
        self.assertIn("kept 0 snapshots", self.ok("gc").text)

    def test_explain_is_for_people(self):
        self.submit_python("print('x')\n")
        lost = self.create(self.tree(12))
        text = self.ok("gc", "--explain", "--dry-run").text
        self.assertRegex(text, r"(?m)^keep  snapshot [0-9a-f]{64}: 1 file, \d+ B: run \S+$")
        self.assertRegex(text, r"(?m)^free  snapshot %s: 12 files, 23\.4 KiB: no run references it$" % lost)
        self.assertRegex(text, r"(?m)^would free \d+ contents that no run needs")

    def test_a_dry_run_touches_nothing_and_tells_what_the_real_one_does(self):
        self.submit_python("import os\nos.mkdir('outputs')\nopen('outputs/a', 'w').write('kept')\n")
        self.create(self.tree(30))
        gone = self.tree(20, "gone")
        self.create(gone)
        os.rename(gone, gone + "-renamed")
        self.home.write(self.home.data + "/cache/.tmp-1-1", "left over")
        wait_until(lambda: not os.listdir(self.home.data + "/runs"), "the run's directory is gone")
        before = self.logical_contents()
        dry = self.gc("--explain", "--dry-run")
        self.assertEqual(self.logical_contents(), before)
        self.assertEqual(dry["diskBytes"], 0)
        self.assertEqual(sorted(item["kind"] for item in dry["freed"]), ["checkout", "snapshot", "snapshot", "statCache", "temporary"])
        real = self.gc("--explain")
        for difference in ("dryRun", "diskBytes"):
            self.assertNotEqual(dry.pop(difference), real.pop(difference))
        self.assertEqual(dry, real)
        self.assertFalse(os.path.exists(self.home.data + "/cache/.tmp-1-1"))

    def test_runs_that_share_a_snapshot(self):
        for _ in range(3):
            self.submit_python("print('x')\n")
        kept = [item for item in self.gc("--explain")["kept"] if item["kind"] == "snapshot"]
        self.assertEqual(len(kept), 1)
        self.assertEqual(kept[0]["reason"], "3 runs, the newest is " + self.show()["runId"])

    def test_a_live_run_keeps_its_snapshot_and_a_queued_one_too(self):
        live = self.detach_gated("tell('running')\nawait_('go')\nprint(open('data').read())\n")
        self.await_gate("running")
        self.write("data", "queued data")
        queued = self.detach_python("print(open('data').read())\n")
        self.assertEqual(self.gc()["contents"], 0)
        self.open_gate("go")
        self.wait(queued)
        self.assertEqual(self.log(queued), b"queued data\n")
        self.wait(live, 1)  # there was no data in its snapshot

    def test_a_damaged_tree_makes_it_careful(self):
        self.write("a/b", "content")
        self.submit_python("print('x')\n")
        self.create(self.tree(3))
        tree = self.content("SELECT hash, chunk FROM content")
        self.ok("daemon", "stop")
        wait_until(lambda: self.home.daemon_pid() is None, "the daemon ends")
        database = sqlite3.connect(self.home.data + "/content.db")
        root = bytes.fromhex(self.runs_snapshot)
        self.assertIn(root, [row[0] for row in tree])
        database.execute("DELETE FROM content WHERE hash = ?", (root,))
        database.commit()
        database.close()
        for suffix in ("", "-wal", "-shm"):
            if os.path.exists(self.home.data + "/content.db" + suffix):
                self.account.own(self.home.data + "/content.db" + suffix)
        result = self.ok("gc")
        self.assertIn("fsck", result.err)
        self.assertIn(self.runs_snapshot, result.err)
        self.assertEqual(len(self.content("SELECT 1 FROM content")), len(tree) - 1)

    @property
    def runs_snapshot(self):
        database = sqlite3.connect("file:%s/runner.db?mode=ro" % self.home.data, uri=True)
        try:
            return database.execute("SELECT hex(snapshot) FROM run").fetchone()[0].lower()
        finally:
            database.close()


class Concurrent(StoreTest):
    configuration = "parallel = 4\n"

    def test_two_submitters_of_one_tree_and_a_gc_in_a_loop(self):
        tree = self.tree(300)
        self.write("t/main.py", "import os\nprint(sum(len(f) for _, _, f in os.walk('.')))\n"
                                "os.mkdir('outputs')\nopen('outputs/o', 'w').write('x' * 100)\n")
        ended = threading.Event()
        reports, problems, submitted = [], [], []

        def collect():
            while not ended.is_set():
                result = self.runner("gc", "--json", timeout=120)
                (reports if result.code == 0 else problems).append(result)

        def submit(number):
            for turn in range(6):
                self.home.write(tree + "/changing%d" % number, "%d %d" % (number, turn))
                result = self.runner("submit", *self.isolation_options(), "--detach", "--source-dir", tree, "main.py", timeout=120)
                (submitted if result.code == 0 else problems).append(result)
                created = self.runner("snapshot", "create", tree, timeout=120)  # garbage for the next gc
                if created.code != 0:
                    problems.append(created)

        collector = threading.Thread(target=collect)
        submitters = [threading.Thread(target=submit, args=(number,)) for number in range(2)]
        collector.start()
        for thread in submitters:
            thread.start()
        for thread in submitters:
            thread.join()
        ended.set()
        collector.join()
        # Two submitters edit the tree under each other: a file may be said to have changed while it was read.
        odd = [problem.describe() for problem in problems if "changing" not in problem.err]
        self.assertEqual(odd, [])
        self.assertGreater(len(reports), 1)
        self.assertGreater(len(submitted), 5)
        for result in submitted:
            run = self.wait(result.text.strip())
            self.assertEqual(run["status"], "Completed")
            self.assertIn(self.log(run["runId"]).strip(), (b"301", b"302", b"303"))
        self.assert_fsck_clean()

    def test_two_gcs_at_once(self):
        self.create(self.tree(2000, size=3000))
        commands = [self.home.background("gc", "--json") for _ in range(4)]
        results = [command.finish(120) for command in commands]
        self.assertTrue(all(result.code in (0, 4) for result in results), [r.describe() for r in results])
        self.assertTrue(any(result.code == 0 for result in results))
        for result in results:
            if result.code == 4:
                self.assertIn("another gc", result.out.decode() + result.err.decode() if isinstance(result.err, bytes) else result.text + result.err)
        self.assertEqual(self.content("SELECT count(*) FROM content"), [(0,)])
        self.assert_fsck_clean()
