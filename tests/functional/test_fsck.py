"""`runner fsck`: finds every kind of damage, names what needs the damaged thing, and repairs what can be had."""
import os
import shutil
import sqlite3

from support.store_case import StoreTest
from support.waiting import wait_until


class FsckTest(StoreTest):
    def damage(self, *statements):
        """Changes content.db behind the daemon's back."""
        if self.home.daemon_pid():
            self.ok("daemon", "stop")
            wait_until(lambda: self.home.daemon_pid() is None, "the daemon ends")
        path = self.home.data + "/content.db"
        database = sqlite3.connect(path)
        for sql, values in statements:
            self.assertGreater(database.execute(sql, values).rowcount, 0, sql)
        database.commit()
        database.close()
        for suffix in ("", "-wal", "-shm"):
            if os.path.exists(path + suffix):
                self.account.own(path + suffix)

    def flipped(self, content):
        """A statement that changes the last byte of a content's chunk."""
        return ("UPDATE chunk SET data = CAST(substr(data, 1, length(data) - 1) || x'5a' AS BLOB) "
                "WHERE id = (SELECT chunk FROM content WHERE hash = ?)", (content,))

    def hash_of(self, path, snapshot=None):
        """The content of a file in a run's snapshot, from the trees in content.db as tree_object.hpp describes them."""
        tree = bytes.fromhex(snapshot or self.show()["snapshotId"])
        *directories, name = path.split("/")
        for wanted in directories + [name]:
            tree = self.entries(tree)[wanted.encode()]
        return tree

    def entries(self, tree):
        codec, data = self.content("SELECT k.codec, k.data FROM content c JOIN chunk k ON k.id = c.chunk WHERE c.hash = ?", tree)[0]
        self.assertEqual(codec, 0, "a compressed tree: keep the test's trees small")
        rest = data[len(b"runner tree 1\n"):]
        found = {}
        while rest:
            space = rest.index(b" ")
            content, rest = rest[space + 1:space + 33], rest[space + 33:]
            name, rest = rest.split(b"\0", 1)
            found[name] = content
        return found

    def forget_checkouts(self):
        shutil.rmtree(self.home.data + "/checkouts")
        os.mkdir(self.home.data + "/checkouts", 0o700)
        self.account.own(self.home.data + "/checkouts")

    def forget_checkouts_of_a_stopped_daemon(self):
        self.ok("daemon", "stop")
        wait_until(lambda: self.home.daemon_pid() is None, "the daemon ends")
        self.forget_checkouts()

    def fsck(self, *options, code):
        result = self.runner("fsck", "--json", *options, timeout=120)
        self.assertEqual(result.code, code, result.describe())
        return result.json


class Finds(FsckTest):
    def test_a_sound_home(self):
        self.submit_python("import os\nos.mkdir('outputs')\nopen('outputs/a', 'w').write('x')\n")
        report = self.fsck(code=0)
        self.assertEqual(report["problems"], [])
        self.assertEqual(report["runs"], 1)
        self.assertGreaterEqual(report["contents"], 4)
        self.assertEqual(report["ledger"]["entries"], 1)
        self.assertRegex(report["ledger"]["head"], "^[0-9a-f]{64}$")
        self.assertIn("ledger: 1 entries, head " + report["ledger"]["head"], self.ok("fsck").text)
        self.assert_fsck_clean()

    def test_a_damaged_file_is_named_with_the_runs_that_need_it(self):
        self.write("a.txt", "some text, long enough to be worth a chunk of its own " * 3)
        for number in range(2):
            self.submit_python("print(%d)\n" % number)
        runs = [run["runId"] for run in self.runs()]
        damaged = self.hash_of("a.txt")
        self.damage(self.flipped(damaged))
        problems = self.fsck(code=1)["problems"]
        self.assertEqual(len(problems), 1, problems)
        self.assertIn(damaged.hex(), problems[0]["problem"])
        self.assertIn("a.txt of snapshot", problems[0]["problem"])
        self.assertEqual(sorted(problems[0]["runs"]), sorted(runs))
        text = self.ok("fsck", code=1)
        self.assertIn("1 problem", text.text)
        self.assertIn("--repair", text.err)

    def test_missing_contents_trees_and_artifacts(self):
        self.write("sub/b.txt", "b")
        self.submit_python("import os\nos.mkdir('outputs')\nopen('outputs/a', 'w').write('an artifact')\n")
        tree = self.hash_of("sub")
        artifact = bytes.fromhex([f for f in self.show()["outputs"]][0]["sha256"])
        self.damage(("DELETE FROM content WHERE hash = ?", (tree,)), ("DELETE FROM content WHERE hash = ?", (artifact,)))
        problems = [problem["problem"] for problem in self.fsck(code=1)["problems"]]
        self.assertTrue(any(tree.hex() in p and "missing" in p and "sub of snapshot" in p for p in problems), problems)
        self.assertTrue(any(artifact.hex() in p and "outputs/a of run" in p for p in problems), problems)

    def test_damage_that_nobody_needs(self):
        snapshot = self.create(self.tree(3))
        self.damage(self.flipped(self.hash_of("d0/f0", snapshot)))
        problems = self.fsck(code=1)["problems"]
        self.assertEqual(len(problems), 1, problems)
        self.assertIn("gc", problems[0]["problem"])
        self.gc()
        self.fsck(code=0)

    def test_a_database_page(self):
        self.submit_python("print('x')\n")
        self.ok("daemon", "stop")
        wait_until(lambda: self.home.daemon_pid() is None, "the daemon ends")
        database = sqlite3.connect(self.home.data + "/runner.db")
        database.execute("PRAGMA writable_schema=ON")
        database.execute("PRAGMA foreign_keys=OFF")
        database.execute("INSERT INTO tag(run, key, value) VALUES (4711, 'dangling', 'x')")
        database.commit()
        database.close()
        self.account.own(self.home.data + "/runner.db")
        problems = [problem["problem"] for problem in self.fsck(code=1)["problems"]]
        self.assertTrue(any("runner.db" in p and "tag" in p for p in problems), problems)

    def test_a_damaged_stat_cache(self):
        self.create(self.tree(30))
        self.home.write(self.home.data + "/cache/stat-" + "0" * 64, "no cache")
        self.assertIn("stat cache", self.fsck(code=1)["problems"][0]["problem"])
        self.assertTrue(self.fsck("--repair", code=0)["problems"][0]["repaired"])
        self.fsck(code=0)


class Repairs(FsckTest):
    def prepare(self):
        self.write("keep.txt", "the first text, which is long enough to be looked at " * 3)
        self.write("sub/deep/b.bin", os.urandom(5000))
        self.write("large.bin", os.urandom(5 << 20))
        os.symlink("keep.txt", self.project + "/link")
        self.submit_python("print(len(open('large.bin', 'rb').read()), len(open('sub/deep/b.bin', 'rb').read()))\n")
        self.expected = b"5242880 5000\n"

    def assert_repaired(self, count=None):
        report = self.fsck("--repair", code=0)
        self.assertTrue(report["problems"])
        self.assertTrue(all(problem["repaired"] for problem in report["problems"]), report)
        if count is not None:
            self.assertEqual(len(report["problems"]), count, report)
        self.fsck(code=0)

    def test_from_the_source_directory(self):
        self.prepare()
        contents = [self.hash_of(path) for path in ("keep.txt", "sub/deep/b.bin", "link")]
        piece = self.content("SELECT chunk FROM part ORDER BY offset LIMIT 1")[0][0]
        self.damage(*[self.flipped(content) for content in contents + [piece]])
        self.forget_checkouts()
        self.assert_repaired(4)
        self.submit_python("print(len(open('large.bin', 'rb').read()), len(open('sub/deep/b.bin', 'rb').read()))\n")
        self.assertEqual(self.log(), self.expected)

    def test_from_a_checkout_when_the_source_has_changed(self):
        self.prepare()
        if not os.listdir(self.home.data + "/checkouts"):
            self.skipTest("this isolation makes no checkouts")
        self.damage(self.flipped(self.hash_of("sub/deep/b.bin")), self.flipped(self.hash_of("keep.txt")),
                    ("DELETE FROM content WHERE hash = ?", (self.hash_of("sub/deep"),)))
        shutil.rmtree(self.project + "/sub")
        self.write("keep.txt", "another text")
        self.assert_repaired(3)
        self.forget_checkouts_of_a_stopped_daemon()
        self.fsck(code=0)

    def test_a_damaged_checkout_is_thrown_away_and_comes_back(self):
        self.prepare()
        checkouts = self.home.data + "/checkouts"
        found = [os.path.join(directory, "keep.txt") for directory, _, names in os.walk(checkouts) if "keep.txt" in names]
        if not found:
            self.skipTest("this isolation makes no checkouts")
        with open(found[0], "r+b") as file:
            file.write(b"X")
        problems = self.fsck(code=1)["problems"]
        self.assertEqual(len(problems), 1, problems)
        self.assertIn("keep.txt", problems[0]["problem"])
        self.assertIn("checkout " + self.show()["snapshotId"], problems[0]["problem"])
        self.assert_repaired(1)
        self.assertFalse(os.path.exists(found[0]))
        self.assertEqual(self.submit("main.py").text.encode(), self.expected)
        self.fsck(code=0)

    def test_missing_rows_and_trees_from_the_source_directory(self):
        self.prepare()
        gone = [self.hash_of("sub"), self.hash_of("sub/deep"), self.hash_of("sub/deep/b.bin"), bytes.fromhex(self.show()["snapshotId"])]
        self.damage(*[("DELETE FROM content WHERE hash = ?", (content,)) for content in gone])
        self.forget_checkouts()
        self.assert_repaired(4)

    def test_what_has_changed_since_is_listed_plainly_and_nothing_is_made_worse(self):
        self.prepare()
        lost, had = self.hash_of("keep.txt"), self.hash_of("sub/deep/b.bin")
        self.damage(self.flipped(lost), self.flipped(had))
        self.forget_checkouts()
        self.write("keep.txt", "x" * os.path.getsize(self.project + "/keep.txt"))  # as long as before
        rows = self.content("SELECT count(*) FROM content")
        problems = {p["problem"].split(":")[0]: p["repaired"] for p in self.fsck("--repair", code=1)["problems"]}
        self.assertEqual(problems, {"content " + lost.hex(): False, "content " + had.hex(): True})
        self.assertEqual(self.content("SELECT count(*) FROM content"), rows)
        self.assertEqual(len(self.fsck(code=1)["problems"]), 1)

    def test_a_run_never_sees_a_corrupt_file(self):
        self.prepare()
        run = self.show()
        damaged = self.hash_of("sub/deep/b.bin")
        self.damage(self.flipped(damaged))
        self.forget_checkouts()
        self.ok("snapshot", "create", ".")  # whatever a stat cache believes
        failed = self.runner("submit", *self.isolation_options(), "main.py")
        if failed.code != 0:  # only where a stat cache still said that the content is there
            self.assertEqual(failed.code, 125, failed.describe())
            self.assertIn(damaged.hex(), failed.err + failed.text)
            self.assertEqual(self.show()["status"], "Failed")
        # It was found out: the file is read again, and everything is well.
        self.assertEqual(self.submit("main.py").text.encode(), self.expected)
        self.assertEqual(self.show()["snapshotId"], run["snapshotId"])
        self.fsck(code=0)

    def test_while_submits_go_on(self):
        tree = self.tree(400)
        self.write("t/main.py", "print('x')\n")
        commands = [self.home.background("fsck", "--json") for _ in range(3)]
        for number in range(4):
            self.home.write(tree + "/new%d" % number, os.urandom(100))
            self.submit("--source-dir", tree, "main.py")
            self.create(tree)
            self.gc()
        for command in commands:
            result = command.finish(120)
            self.assertEqual(result.code, 0, result.describe())
        self.assert_fsck_clean()
