"""`runner fsck` against a list of planted corruptions, one by one, and against random ones. Each is found and named with its runs;
a repair sets right what can be derived, leaves everything else byte for byte as it was, and may be killed at any time."""
import hashlib
import json
import os
import random
import shutil
import sqlite3
import subprocess
import time

from support import settings
from support.store_case import StoreTest
from support.waiting import wait_until


class Corruption:
    """`plant`: SQL statements, or a function of the test that damages files; `after_start`: what the daemon's start would clear
    away. `says`: parts of the line. `of`: the run it is named with ("parent", "child", or None). `repaired`: by --repair;
    `changes`: the tables that a repair may change."""

    def __init__(self, name, plant, says, of=None, repaired=False, changes=(), after_start=False, database="runner.db"):
        self.name, self.plant, self.says, self.of, self.repaired = name, plant, says, of, repaired
        self.changes, self.after_start, self.database = changes, after_start, database


def sql(*statements):
    return list(statements)


# %(parent)s and %(child)s: the rows' numbers.
ROWS = [
    Corruption("a final status without an end", sql("UPDATE run SET ended = NULL WHERE seq = %(parent)s"),
               ["Completed", "its end is missing"], "parent"),
    Corruption("a final status without an outcome", sql("UPDATE run SET outcome = NULL WHERE seq = %(parent)s"),
               ["Completed", "outcome is missing"], "parent"),
    Corruption("a live status with an end", sql("UPDATE run SET status = 'Running' WHERE seq = %(child)s"),
               ["Running", "an end all the same"], "child", after_start=True),
    Corruption("a status that its outcome contradicts", sql("UPDATE run SET status = 'Failed' WHERE seq = %(parent)s"),
               ["is Failed, and its outcome says: exited"], "parent"),
    Corruption("a status that there is not", sql("UPDATE run SET status = 'Dreaming' WHERE seq = %(parent)s"),
               ["is Dreaming, which is no status"], "parent"),
    Corruption("a run that is its own ancestor",
               sql("UPDATE run SET parent = %(child)s WHERE seq = %(parent)s", "UPDATE run SET parent = %(parent)s WHERE seq = %(child)s"),
               ["cannot be its own ancestor"], "parent"),
    Corruption("a parent that is missing", sql("UPDATE run SET parent = 4711 WHERE seq = %(child)s"), ["parent", "4711"], "child"),
    Corruption("an experiment that is missing", sql("UPDATE run SET experiment = 4711 WHERE seq = %(child)s"), ["experiment", "4711"], "child"),
    Corruption("a submission that is missing", sql("DELETE FROM submission WHERE run = %(child)s"), ["submission is missing"], "child"),
    Corruption("an attempt ahead of its row",
               sql("INSERT INTO attempt(run, number, started, ended, reason) VALUES (%(parent)s, 3, NULL, 1, 'x')"),
               ["attempt 3 beside attempt 1"], "parent"),
    Corruption("earlier attempts that are missing", sql("UPDATE run SET attempt = 3 WHERE seq = %(parent)s"),
               ["is at attempt 3"], "parent"),
    Corruption("a definition that is no JSON", sql("UPDATE submission SET definition = '{\"script\": ' WHERE run = %(parent)s"),
               ["its definition cannot be read"], "parent"),
    Corruption("an outcome that is no JSON", sql("UPDATE run SET outcome = 'x' WHERE seq = %(parent)s"),
               ["its outcome cannot be read"], "parent"),
    Corruption("an environment that is no JSON", sql("UPDATE run SET environment = '[' WHERE seq = %(child)s"),
               ["its environment cannot be read"], "child"),
    Corruption("an error that is no JSON", sql("UPDATE run SET error = '\"' WHERE seq = %(child)s"), ["its error cannot be read"], "child"),
    Corruption("GPUs that are no JSON", sql("UPDATE run SET gpus = '{' WHERE seq = %(child)s"), ["list of GPUs cannot be read"], "child"),
    Corruption("a git state that is no JSON", sql("UPDATE submission SET git = '{' WHERE run = %(child)s"), ["git state cannot be read"], "child"),
    Corruption("a name that is none of a run", sql("UPDATE run SET id = '../../etc' WHERE seq = %(child)s"), ["no name of a run"]),
    Corruption("a tag of no run", sql("INSERT INTO tag(run, key, value) VALUES (4711, 'k', 'v')"), ["a row of tag"]),
    Corruption("a property of no run", sql("INSERT INTO property(run, key, value) VALUES (4711, 'k', 'v')"), ["a row of property"]),
    Corruption("an artifact that leads out", sql("UPDATE artifact SET name = 'outputs/../../x' WHERE run = %(parent)s AND name = 'outputs/a'"),
               ["artifact 'outputs/../../x'"], "parent"),
    Corruption("an artifact with the size of another", sql("UPDATE artifact SET bytes = 3 WHERE run = %(parent)s AND name = 'outputs/a'"),
               ["has 11 bytes instead of 3", "outputs/a of run"], "parent", repaired=True, changes=["runner.db/artifact"]),
    Corruption("a metric with a wrong count", sql("UPDATE metric_series SET count = 7, maximum = 100 WHERE run = %(parent)s"),
               ["metric 'loss'", "summary"], "parent", repaired=True, changes=["runner.db/metric_series"]),
    Corruption("a point that is missing", sql("DELETE FROM metric_point WHERE number = 1",
                                              "UPDATE metric_series SET count = count - 1 WHERE run = %(parent)s"),
               ["metric 'loss'", "points of it are missing"], "parent"),
    Corruption("a point of no metric", sql("INSERT INTO metric_point(series, number, time, value) VALUES (4711, 0, 0, 1)"),
               ["a row of metric_point"]),
    Corruption("a journal that was read backwards", sql("UPDATE journal SET offset = -5 WHERE run = %(parent)s"), ["byte -5"], "parent"),
    Corruption("the state of the queue", sql("DELETE FROM queue"), ["whether the queue is held"], repaired=True, changes=["runner.db/queue"]),
    Corruption("an environment with the text of another",
               sql("INSERT INTO environment(digest, kind, specification, identity, created) VALUES (zeroblob(32), 'venv', '{}', 'x', 0)"),
               ["environment 0000000000000000", "another environment's"]),
    Corruption("a specification that is no JSON",
               sql("INSERT INTO environment(digest, kind, specification, identity, created)"
                   " VALUES (x'2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881', 'venv', '{', 'x', 0)"),
               ["environment 2d711642b726b044", "specification cannot be read"]),
    Corruption("a lock that is missing",
               sql("INSERT INTO environment(digest, kind, specification, identity, created, lock)"
                   " VALUES (x'2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881', 'venv', '{}', 'x', 0, zeroblob(32))"),
               ["its lock is missing"]),
    Corruption("a lock that is no JSON", sql("INSERT INTO environment_lock(digest, content) VALUES (zeroblob(32), 'x')"), ["lock", "cannot be read"]),
    Corruption("a registered environment that is no JSON",
               sql("INSERT INTO environment_version(name, version, definition, content, created) VALUES ('e', 1, '{', zeroblob(32), 0)"),
               ["registered environment e:1"]),
    Corruption("a build whose directory is gone",
               sql("INSERT INTO environment_lock(digest, content) VALUES (x'%(zeros)s', '{}')",
                   "INSERT INTO environment(digest, kind, specification, identity, created, lock)"
                   " VALUES (x'2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881', 'venv', '{}', 'x', 0, x'%(zeros)s')",
                   "INSERT INTO environment_build(environment, lock, directory, interpreter, variables, image, engine, bytes, created, used)"
                   " VALUES (x'2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881', x'%(zeros)s', '2d71-1', '/x', '{}', '', '', 0, 0, 0)"),
               ["envs/2d71-1 is gone"], repaired=True, changes=["runner.db/environment_build"]),
    Corruption("an index without a row", sql("INDEX"), ["missing from index run_by_status"], repaired=True),
    Corruption("a schema of the past", sql("PRAGMA user_version=%(version)s"), ["schema version"], after_start=True),
]


class Damage(StoreTest):
    def stop(self):
        if self.home.daemon_pid():
            self.ok("daemon", "stop")
            wait_until(lambda: self.home.daemon_pid() is None, "the daemon ends")

    def own(self):
        subprocess.run(["chown", "-R", "--reference=" + self.home.base, self.home.data], check=True)

    def prepare(self):
        """Two runs with everything that a run can have."""
        self.write("keep.txt", "some text, long enough to be a chunk of its own " * 3)
        self.write("main.py", "import os, runner\nos.mkdir('outputs')\nopen('outputs/a', 'w').write('an artifact')\n"
                              "for i in range(5):\n    runner.log('loss', i / 2)\n")
        self.submit("--tag", "k=v", "main.py")
        parent = self.show()["runId"]
        self.write("main.py", "print('child')\n")
        self.submit("--parent", parent, "main.py")
        self.ids = {"parent": parent, "child": self.show()["runId"]}
        self.assert_fsck_clean()
        self.stop()
        with self.opened("runner.db") as database:
            self.seqs = {name: database.execute("SELECT seq FROM run WHERE id = ?", (run,)).fetchone()[0] for name, run in self.ids.items()}
            version = database.execute("PRAGMA user_version").fetchone()[0]
        self.names = dict(self.seqs, zeros="00" * 32, version=version - 1)
        self.pristine = self.home.base + "/pristine"
        shutil.copytree(self.home.data, self.pristine, symlinks=True, ignore=lambda _, names: [n for n in names if n.endswith(".sock")])

    def restore(self):
        self.stop()
        shutil.rmtree(self.home.data)
        shutil.copytree(self.pristine, self.home.data, symlinks=True)
        self.own()

    class opened:
        """A database of the home, as a stranger's tool opens it; commits at the end."""
        home = None

        def __init__(self, path):
            self.path = path

        def __enter__(self):
            self.database = sqlite3.connect(self.path, isolation_level=None, timeout=20)
            self.database.execute("PRAGMA foreign_keys=OFF")
            self.database.execute("PRAGMA ignore_check_constraints=ON")
            return self.database

        def __exit__(self, *_):
            self.database.close()

    def setUp(self):
        super().setUp()
        case = self

        class opened(Damage.opened):
            def __init__(self, name):
                super().__init__(case.home.data + "/" + name)
        self.opened = opened

    def plant(self, corruption):
        if callable(corruption.plant):
            corruption.plant(self)
        else:
            with self.opened(corruption.database) as database:
                triggers = database.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
                database.execute("BEGIN")
                for name, _ in triggers:
                    database.execute("DROP TRIGGER " + name)
                for statement in corruption.plant:
                    if statement == "INDEX":
                        continue
                    database.execute(statement % self.names)
                for _, text in triggers:
                    database.execute(text)
                database.execute("COMMIT")
                if "INDEX" in corruption.plant:
                    self.damage_index(database)
        self.own()

    @staticmethod
    def damage_index(database):
        """The index of statuses loses a row: it is said to be partial for a moment."""
        name, text = database.execute("SELECT name, sql FROM sqlite_master WHERE name = 'run_by_status'").fetchone()
        database.execute("PRAGMA writable_schema=ON")
        database.execute("UPDATE sqlite_master SET sql = sql || ' WHERE seq < 0' WHERE name = ?", (name,))
        version = database.execute("PRAGMA schema_version").fetchone()[0]
        database.execute("PRAGMA schema_version=%d" % (version + 1))
        database.execute("REINDEX run_by_status")
        database.execute("UPDATE sqlite_master SET sql = ? WHERE name = ?", (text, name))
        database.execute("PRAGMA schema_version=%d" % (version + 2))

    def fsck(self, *options, timeout=120):
        result = self.runner("fsck", "--json", *options, timeout=timeout)
        self.assertIn(result.code, (0, 1), result.describe())
        return result.json["problems"]

    def good_data(self, corruption):
        """What a repair of this must not touch."""
        rows, files = self.logical_contents()
        rows = {table: rows[table] for table in rows if table not in corruption.changes and table != "content.db/generation"}
        return rows, {path: files[path] for path in files if not path.endswith(".sock")}

    def check(self, corruption):
        self.restore()
        if corruption.after_start:
            self.runner("daemon", "start")
        self.plant(corruption)
        problems = self.fsck()
        told = [p for p in problems if all(part in p["problem"] for part in corruption.says)]
        self.assertTrue(told, (corruption.name, problems))
        if corruption.of:
            self.assertIn(self.ids[corruption.of], [run for p in told for run in p["runs"]], (corruption.name, told))
        before = self.good_data(corruption)
        after_repair = self.fsck("--repair")
        left = self.fsck()
        self.assertLessEqual(len(left), len(problems), (corruption.name, problems, left))
        self.assertEqual(self.good_data(corruption), before, corruption.name)
        if corruption.repaired:
            self.assertEqual(left, [], corruption.name)
            self.assertTrue(all(p["repaired"] for p in after_repair), (corruption.name, after_repair))
        else:
            self.assertTrue(any(all(part in p["problem"] for part in corruption.says) for p in left), (corruption.name, left))


class Planted(Damage):
    def test_rows(self):
        self.prepare()
        for corruption in ROWS:
            with self.subTest(corruption.name):
                self.check(corruption)

    def test_a_damaged_row_of_a_waiting_run_keeps_nobody_from_going_on(self):
        self.ok("queue", "pause")
        first = self.detach_python("print(1)\n")
        second = self.detach_python("print(2)\n")
        self.stop()
        with self.opened("runner.db") as database:
            trigger = database.execute("SELECT sql FROM sqlite_master WHERE name = 'submission_is_immutable'").fetchone()[0]
            database.execute("DROP TRIGGER submission_is_immutable")
            database.execute("UPDATE submission SET definition = 'x' WHERE run = (SELECT seq FROM run WHERE id = ?)", (first,))
            database.execute(trigger)
        self.own()
        self.ok("queue", "resume")
        self.wait(second)
        listed = self.ok("run", "list", "--all", "--json").json
        self.assertEqual([run["runId"] for run in listed["items"]], [second])
        self.assertIn("run %s is not listed" % first, listed["warnings"][0])
        self.assertIn("warning: run %s is not listed" % first, self.ok("run", "list").err)
        self.assertIn([first], [p["runs"] for p in self.fsck()])


class Files(Damage):
    """Of a daemon that runs: its start would clear them away, or has read them already."""

    def find(self, *says):
        problems = self.fsck()
        told = [p for p in problems if all(part in p["problem"] for part in says)]
        self.assertTrue(told, (says, problems))
        return told[0]

    def test_directories_of_runs_that_have_ended_or_never_were(self):
        self.prepare()
        self.ok("daemon", "start")
        self.home.write(self.home.data + "/runs/nobody_1700000000_0123abcd/std_log.txt", "x")
        self.find("runs/nobody_1700000000_0123abcd", "belongs to no run")
        with self.opened("runner.db") as database:  # as if it had ended an hour ago
            trigger = database.execute("SELECT sql FROM sqlite_master WHERE name = 'final_run_is_immutable'").fetchone()[0]
            database.execute("DROP TRIGGER final_run_is_immutable")
            database.execute("UPDATE run SET ended = ended - 3600000000 WHERE id = ?", (self.ids["child"],))
            database.execute(trigger)
        self.own()
        self.assertEqual(self.find("it was changed since")["runs"], [self.ids["child"]])
        self.home.write(self.home.data + "/runs/" + self.ids["child"] + "/std_log.txt", "x")
        self.assertEqual(self.find("runs/" + self.ids["child"], "its run has ended")["runs"], [self.ids["child"]])
        before = self.logical_contents()[0]
        self.fsck("--repair")
        self.assertEqual(self.logical_contents()[0], before)
        self.stop()
        with self.opened("runner.db") as database:  # as the ledger has it
            database.execute("DROP TRIGGER final_run_is_immutable")
            database.execute("UPDATE run SET ended = ended + 3600000000 WHERE id = ?", (self.ids["child"],))
            database.execute(trigger)
        self.own()
        self.ok("daemon", "start")
        wait_until(lambda: os.listdir(self.home.data + "/runs") == [], "the start has removed both")
        self.assert_fsck_clean()

    def test_records_of_a_run_that_lives(self):
        run = self.detach_gated("tell('up'); await_('go')\n")
        self.await_gate("up")
        self.until_status(run, "Running")
        directory = self.home.data + "/runs/" + run
        self.assert_fsck_clean()
        for name in ("start.json", "claim.json", "spec.json"):
            with open(directory + "/" + name, "rb") as file:
                good = file.read()
            with self.subTest(name):
                self.home.write(directory + "/" + name, good[:len(good) // 2])
                self.assertEqual(self.find("runs/" + run + "/" + name, "cannot be read")["runs"], [run])
                self.fsck("--repair")
                with open(directory + "/" + name, "rb") as file:
                    self.assertEqual(file.read(), good[:len(good) // 2])
            self.home.write(directory + "/" + name, good)
        self.open_gate("go")
        self.wait(run)
        self.assert_fsck_clean()

    def test_a_live_row_without_its_directory(self):
        self.prepare()
        self.ok("daemon", "start")
        with self.opened("runner.db") as database:
            triggers = database.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
            for name, _ in triggers:
                database.execute("DROP TRIGGER " + name)
            database.execute("UPDATE run SET status = 'Running', ended = NULL, outcome = NULL WHERE id = ?", (self.ids["child"],))
            for _, text in triggers:
                database.execute(text)
        self.own()
        self.assertEqual(self.find("is Running, and has no directory")["runs"], [self.ids["child"]])

    def test_the_record_of_a_checkout(self):
        self.prepare()
        self.ok("daemon", "start")
        checkouts = self.home.data + "/checkouts"
        names = [name for name in os.listdir(checkouts) if not name.startswith(".")]
        if not names:
            self.skipTest("this isolation makes no checkouts")
        with open(checkouts + "/" + names[0] + "/record", "r+b") as file:
            file.write(b"x")
        self.find("checkout " + names[0], "record cannot be read")
        self.fsck("--repair")
        self.submit("main.py")
        self.stop()
        self.assert_fsck_clean()

    def test_a_cache_that_is_gone(self):
        self.prepare()
        self.ok("daemon", "start")
        shutil.rmtree(self.home.data + "/cache")
        self.assertEqual(self.fsck(), [])


class Structure(Damage):
    """A file that is wrong about which of its pages are free: whatever is written next lands on something that is good."""

    def free_used_page(self, name, holding):
        """The list of free pages of a stopped daemon's database names the page that holds these bytes."""
        path = self.home.data + "/" + name
        with self.opened(name) as database:
            database.execute("CREATE TABLE passing (data)")
            database.execute("INSERT INTO passing VALUES (randomblob(200000))")
            database.execute("DROP TABLE passing")
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            size = database.execute("PRAGMA page_size").fetchone()[0]
        with open(path, "r+b") as file:
            data = file.read()
            page = data.index(holding) // size + 1
            trunk = int.from_bytes(data[32:36], "big")
            self.assertGreater(trunk, 0)
            file.seek((trunk - 1) * size)
            file.write(b"".join(number.to_bytes(4, "big") for number in (0, 1, page)))
            file.seek(36)
            file.write((2).to_bytes(4, "big"))
        self.own()

    def repaired_nothing(self, name, says):
        """What a repair says. Every row and every file stays as it was."""
        self.ok("daemon", "start")
        before = self.logical_contents()
        problems = self.fsck("--repair")
        told = [p["problem"] for p in problems]
        self.assertTrue(any(name + " is damaged in its structure" in text and ".recover" in text for text in told), told)
        self.assertTrue(any("reference to page" in text for text in told), told)
        found = [p for p in problems if says in p["problem"]]
        self.assertTrue(found, problems)
        self.assertFalse(any(p["repaired"] for p in found), problems)
        rows, files = self.logical_contents()
        for table in before[0]:
            if table != "content.db/generation" or name == "content.db":  # caches are told of what is missing
                self.assertEqual(rows[table], before[0][table], table)
        for path in before[1]:
            if not path.endswith(".sock"):
                self.assertEqual(files.get(path, "gone"), before[1][path], path)

    def test_nothing_is_put_onto_a_page_that_is_in_use(self):
        good, lost = os.urandom(60_000), os.urandom(60_000)
        self.write("good.bin", good)
        self.write("lost.bin", lost)
        self.prepare()
        with self.opened("content.db") as database:
            deleted = database.execute("DELETE FROM content WHERE hash = ?", (hashlib.sha256(lost).digest(),)).rowcount
        self.assertEqual(deleted, 1)
        self.free_used_page("content.db", good[100:164])
        self.repaired_nothing("content.db", "content %s: missing" % hashlib.sha256(lost).hexdigest())

    def test_no_row_is_written_onto_a_page_that_is_in_use(self):
        self.prepare()
        with self.opened("runner.db") as database:
            database.execute("UPDATE metric_series SET count = 7")
            database.execute("DELETE FROM queue")
            database.execute("UPDATE artifact SET bytes = bytes + 1")
        self.free_used_page("runner.db", self.ids["child"].encode())
        self.repaired_nothing("runner.db", "its summary is not that of its points")

    def test_a_damaged_checkout_stays_if_it_holds_the_last_copy(self):
        lost = os.urandom(60_000)
        self.write("lost.bin", lost)
        self.prepare()
        os.remove(self.project + "/lost.bin")
        checkouts = self.home.data + "/checkouts"
        places = [os.path.join(directory, "main.py") for directory, _, names in os.walk(checkouts) if "lost.bin" in names]
        if not places:
            self.skipTest("this isolation makes no checkouts")
        with self.opened("content.db") as database:
            database.execute("UPDATE chunk SET data = zeroblob(length(data)) WHERE id = (SELECT chunk FROM content WHERE hash = ?)",
                             (hashlib.sha256(lost).digest(),))
        self.own()
        copy = os.path.dirname(places[0]) + "/lost.bin"
        self.home.write(places[0], "print('changed')")
        os.chmod(places[0], 0o644)
        os.rename(copy, copy + "-")  # the repair would read the content again
        self.ok("daemon", "start")
        told = [p for p in self.fsck("--repair") if p["problem"].startswith("checkout ")]
        self.assertTrue(any("it stays" in p["problem"] and not p["repaired"] for p in told), told)
        with open(copy + "-", "rb") as file:
            self.assertEqual(file.read(), lost)


class Killed(Damage):
    def test_a_repair_that_is_killed_is_completed_by_the_next(self):
        for number in range(40):
            self.write("f%d.bin" % number, os.urandom(20_000))
        self.prepare()
        with self.opened("content.db") as database:
            hashes = [row[0] for row in database.execute("SELECT hash FROM content WHERE size = 20000")]
            self.assertEqual(len(hashes), 40)
            for content in hashes[::2]:
                database.execute("UPDATE chunk SET data = CAST(substr(data, 1, length(data) - 1) || x'5a' AS BLOB)"
                                 " WHERE id = (SELECT chunk FROM content WHERE hash = ?)", (content,))
            for content in hashes[1::2]:
                database.execute("DELETE FROM content WHERE hash = ?", (content,))
        with self.opened("runner.db") as database:
            database.execute("UPDATE metric_series SET count = 7")
            database.execute("UPDATE artifact SET bytes = bytes + 1")
        self.own()
        damaged = self.home.base + "/damaged"
        shutil.copytree(self.home.data, damaged, symlinks=True)
        for tenths in range(1, 9):
            with self.subTest(tenths):
                self.stop()
                shutil.rmtree(self.home.data)
                shutil.copytree(damaged, self.home.data, symlinks=True)
                self.own()
                self.ok("daemon", "start")
                repair = self.home.background("fsck", "--repair", "--json")
                time.sleep(tenths / 40)
                self.home.kill_daemon()
                repair.finish(60)
                self.fsck("--repair")
                self.assert_fsck_clean()
                self.submit("main.py")
                for name in ("f0.bin", "f39.bin"):
                    with open(self.project + "/" + name, "rb") as file:
                        content = file.read()
                    shown = self.home.call("sh", "-c", "cat -- \"$0\"", self.project + "/" + name)
                    self.assertEqual(shown.out, content)


class Random(Damage):
    """Whatever bytes are flipped: fsck ends in good time and says something, and so does its repair."""
    BOUND = 60  # seconds

    def flip(self, path, count):
        size = os.path.getsize(path)
        with open(path, "r+b") as file:
            for _ in range(count):
                at = self.random.randrange(size)
                file.seek(at)
                byte = file.read(1)[0]
                file.seek(at)
                file.write(bytes([byte ^ (1 << self.random.randrange(8))]))

    def targets(self):
        data = self.home.data
        return ([data + "/runner.db"] * 4 + [data + "/content.db"] * 4
                + [os.path.join(directory, name) for directory, _, names in os.walk(data + "/checkouts") for name in names
                   if os.path.isfile(os.path.join(directory, name)) and os.path.getsize(os.path.join(directory, name))]
                + [os.path.join(data, "cache", name) for name in os.listdir(data + "/cache") if name.startswith("stat-")])

    def test_random_bytes(self):
        seed = int(os.environ.get("RUNNER_TEST_SEED", time.time_ns() % 1_000_000))
        rounds = 200 if settings.LONG else 12
        print("RUNNER_TEST_SEED=%d" % seed)
        self.random = random.Random(seed)
        self.prepare()
        refused = found = 0
        for number in range(rounds):
            with self.subTest(number=number, seed=seed):
                self.restore()
                for path in self.random.sample(self.targets(), self.random.randint(1, 2)):
                    self.flip(path, self.random.choice((1, 1, 3, 20)))
                self.own()
                for options in ((), ("--repair",), ()):
                    begun = time.monotonic()
                    result = self.runner("fsck", "--json", *options, timeout=self.BOUND + 30)
                    self.assertLess(time.monotonic() - begun, self.BOUND)
                    self.assertIn(result.code, (0, 1, 4, 5, 125), result.describe())
                    if result.code in (0, 1):
                        found += result.json["problems"] != []
                    else:  # no daemon could start on it: it says which file, and what to do
                        refused += 1
                        error = json.loads(result.err.splitlines()[-1])["error"]
                        self.assertIn(".db", error["message"])
                        # Where the header itself was hit, it looks like another program's, or a newer runner's.
                        self.assertRegex(error["hint"], r"\.recover|--home")
                self.assertNotIn("SIGSEGV", self.home.daemon_log())
        print("%d rounds, %d answers with findings, %d without a daemon" % (rounds, found, refused))
