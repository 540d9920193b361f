"""`run children` and `run delete`: what is below a run, and that runs go from the history and from the disk."""
import os

from support.driver_case import DriverTest
from support.on_terminal import OnTerminal
from support.store_case import StoreTest
from support.waiting import wait_until


class Family(DriverTest):
    """Tests with a script's run that lives until it is let go."""

    def setUp(self):
        super().setUp()
        self.parent = self.detach_gated('tell("ready")\nawait_("end")\n')
        self.await_gate("ready")
        self.addCleanup(self.open_gate, "end")

    def end_parent(self):
        self.open_gate("end")
        self.wait(self.parent)

    def add(self, *children, below=None):
        items = self.ask("POST", "/v1/runs/%s/children" % (below or self.parent), {"children": list(children)})["items"]
        return [child["runId"] for child in items]


class Children(Family):
    def ids(self, *options):
        return [run["runId"] for run in self.ok("run", "children", *options, "--json").json["items"]]

    def test_a_tree_has_each_run_below_its_parent(self):
        first, second = self.add({"name": "first"}, {"name": "second"})
        [deeper] = self.add({"name": "deeper"}, below=first)
        [deepest] = self.add({"name": "deepest"}, below=deeper)
        self.assertEqual(self.ids(self.parent), [second, first])
        self.assertEqual(self.ids("-r", self.parent, "--recursive"), [deepest, deeper, second, first])
        lines = self.ok("run", "children", "--recursive", self.parent).text.splitlines()
        self.assertTrue(lines[0].startswith("RUN "), lines)
        places = [(len(line) - len(line.lstrip()), line.split()[0]) for line in lines[1:]]
        self.assertEqual(places, [(0, second), (0, first), (2, deeper), (4, deepest)])
        flat = self.ok("run", "children", self.parent).text.splitlines()
        self.assertEqual([line.split()[0] for line in flat[1:]], [second, first])
        self.assertEqual(self.ids(second), [])
        self.assert_nothing_listed(second)
        self.assert_error(self.runner("run", "children", "nothing_1_00000000"), 3, "nothing_1_00000000")

    def assert_nothing_listed(self, run):
        result = self.ok("run", "children", run)
        self.assertEqual((result.out, result.err), (b"", "runner: no child runs\n"))

    def test_they_are_narrowed_as_the_list_is(self):
        good, bad = self.add({"tags": {"quality": "good"}}, {"tags": {"quality": "bad"}, "properties": {"p": "1"}})
        [below] = self.add({"tags": {"quality": "good"}}, below=bad)
        self.ask("POST", "/v1/runs/%s/end" % good, {"status": "Failed"})
        self.assertEqual(self.ids(self.parent, "--tag", "quality=good"), [good])
        self.assertEqual(self.ids(self.parent, "--tag", "quality=good", "--recursive"), [below, good])
        self.assertEqual(self.ids(self.parent, "--status", "Failed"), [good])
        self.assertEqual(self.ids(self.parent, "--property", "p=1"), [bad])
        self.assertEqual(self.ids(self.parent, "--kind", "script"), [])
        self.assertEqual(self.ids(self.parent, "--kind", "child"), [bad, good])
        lines = self.ok("run", "children", self.parent, "--recursive", "--tag", "quality=good").text.splitlines()
        self.assertEqual([line.split(" ")[0] for line in lines[1:]], [below, good])  # its parent is not there
        self.assertEqual(self.runner("run", "children", self.parent, "--status", "Great").code, 2)

    def test_more_than_a_page_and_deeper_than_a_line(self):
        made = self.add(*({} for _ in range(1500)))
        self.assertEqual(self.ids(self.parent), made[::-1])
        below = made[0]
        for _ in range(20):
            [below] = self.add({}, below=below)
        self.assertEqual(len(self.ids(self.parent, "--recursive")), 1520)
        lines = self.ok("run", "children", self.parent, "--recursive").text.splitlines()
        self.assertEqual(len(lines), 1521)
        self.assertTrue(lines[-1].startswith(" " * 24 + "20: " + below), lines[-1])


class Delete(Family, OnTerminal):
    def there(self, run):
        return self.runner("run", "show", run).code == 0

    def test_what_is_below_a_run_goes_only_when_that_was_said(self):
        first, second = self.add({}, {})
        [deeper] = self.add({}, below=first)
        self.end_parent()
        refused = self.runner("run", "delete", self.parent)
        self.assert_error(refused, 2, "3 runs below run %s go with it" % self.parent, "--yes")
        self.assertEqual(self.runner("run", "delete", self.parent, "--json").code, 2)
        seen = self.on_terminal("run", "delete", self.parent, errors=True, typed=b"n\n", code=1)
        self.assertIn(b"Delete run %s and the 3 runs below it? [y/N] " % self.parent.encode(), seen)
        self.assertIn(b"nothing was deleted", seen)
        self.on_terminal("run", "delete", self.parent, errors=True, typed=b"\n", code=1)
        for run in (self.parent, first, second, deeper):
            self.assertTrue(self.there(run))
        seen = self.on_terminal("run", "delete", first, errors=True, typed=b"y\n")
        self.assertIn(b"the run below it?", seen)
        self.assertFalse(self.there(first) or self.there(deeper))
        result = self.ok("run", "delete", "-y", self.parent)
        self.assertIn("%s deleted, and 1 run below it\n" % self.parent, result.text)
        self.assertFalse(self.there(second) or self.there(self.parent))
        self.ok("fsck")

    def test_who_names_all_of_them_is_not_asked_whatever_the_order(self):
        first, second = self.add({}, {})
        self.end_parent()
        result = self.ok("run", "delete", first, self.parent, second, first, "--json")
        self.assertEqual(sorted(result.json["deleted"]), sorted([first, self.parent, second]))
        self.assertFalse(self.there(self.parent) or self.there(second))

    def test_what_lives_or_is_waited_for_stays_and_the_others_go(self):
        self.write("quick.py", "pass\n")
        ended = self.add({}, {})
        for child in ended:
            self.ask("POST", "/v1/runs/%s/end" % child, {"status": "Completed"})
        result = self.runner("run", "delete", "--yes", ended[0], self.parent, "nothing_1_00000000", ended[1])
        self.assertEqual(result.code, 3, result.describe())  # the first that failed: it is looked up before anything goes
        errors = [line for line in result.error_lines if line.startswith("runner: error: ")]
        self.assertEqual(len(errors), 2, result.describe())
        self.assertIn("run %s has not ended" % self.parent, errors[0])
        self.assertIn("nothing_1_00000000", errors[1])
        self.assertEqual([self.there(run) for run in (ended[0], ended[1], self.parent)], [False, False, True])
        self.assert_error(self.runner("run", "delete", self.parent), 4, "has not ended")

        waits = self.detach("--after", self.parent, "quick.py")
        wait_until(lambda: self.show(waits)["status"] == "Queued", "it waits")
        self.ok("queue", "pause")
        self.addCleanup(self.ok, "queue", "resume", code=None)
        self.end_parent()
        self.assert_error(self.runner("run", "delete", self.parent), 4, "run %s waits for it" % waits)
        self.ok("queue", "resume")
        self.wait(waits)
        self.ok("run", "delete", self.parent)

    def test_the_newest_are_looked_up_before_the_first_goes(self):
        self.end_parent()
        self.write("quick.py", "pass\n")
        newest = self.detach("quick.py")
        self.wait(newest)
        self.assertEqual(self.ok("run", "delete", "@last", "@last-1", "--json").json["deleted"], [newest, self.parent])


class Disk(StoreTest):
    MANY = 40 << 20  # bytes: more than a write-ahead log keeps for itself
    LOG = 17 << 20   # bytes of content.db's log, which may be there or not

    def disk(self):
        """What the home takes, of the file system's blocks."""
        return int(self.home.call("du", "-s", "--block-size=1", self.home.data).text.split()[0])

    def output_of(self, number, directory=None):
        """A run whose source and output have MANY bytes that no other has."""
        directory = directory or self.project
        self.home.write(directory + "/random.bin", os.urandom(self.MANY))
        self.home.write(directory + "/main.py", "import os, shutil\nos.mkdir('outputs')\nshutil.copy('random.bin', 'outputs/model%d')\n" % number)
        self.submit("main.py", directory=directory)
        run = self.show()["runId"]
        wait_until(lambda: not os.path.exists(self.home.run_directory(run)), "its directory is cleared")  # then its checkout is free
        return run

    def assert_output(self, run, number, source):
        self.ok("run", "download", run, "-d", self.project + "/got%d" % number)
        with open(source + "/random.bin", "rb") as written, open(self.project + "/got%d/outputs/model%d" % (number, number), "rb") as got:
            self.assertEqual(written.read(), got.read())

    def test_a_deleted_run_frees_the_disk_and_leaves_others_whole(self):
        gone, other = self.output_of(1), self.home.new_project()
        kept = self.output_of(2, other)
        checkouts = {run: self.home.data + "/checkouts/" + self.show(run)["snapshotId"] for run in (gone, kept)}
        for checkout in checkouts.values():
            self.assertTrue(os.path.isdir(checkout), checkout)
        before, store = self.disk(), self.store_size()
        result = self.ok("run", "delete", gone, "--json")
        self.assertEqual(result.json["deleted"], [gone])
        self.assertGreater(result.json["diskBytes"], 2 * self.MANY - self.LOG)  # the content, and the working directory's copy of it
        self.assertLess(self.store_size(), store - self.MANY + self.LOG)
        self.assertLess(self.disk(), before - 2 * self.MANY + self.LOG)
        self.assertFalse(os.path.exists(checkouts[gone]))
        self.assertTrue(os.path.isdir(checkouts[kept]))
        self.assert_output(kept, 2, other)
        self.assert_fsck_clean()
        self.assertEqual(self.gc()["contents"], 0)

    def test_what_another_run_has_too_stays(self):
        one = self.output_of(1)
        self.submit("main.py")
        result = self.ok("run", "delete", one)
        self.assertRegex(result.text, r"^%s deleted\n.* less on the disk\n$" % one)
        self.assertGreater(self.store_size(), self.MANY)
        self.assert_output("@last", 1, self.project)
        self.assert_fsck_clean()

    def test_a_checkout_below_another_stays_with_it_and_caches_of_use_stay(self):
        self.write("random.bin", os.urandom(self.MANY))
        runs = []
        for code in ("print('first')\n", "print('second')\n"):  # an edit: the second is a layer over the first
            self.write("main.py", code)
            self.submit("main.py")
            runs.append(self.show())
            wait_until(lambda: not os.path.exists(self.home.run_directory(runs[-1]["runId"])), "its directory is cleared")
        gone, kept = [run["runId"] for run in runs]
        base = self.home.data + "/checkouts/" + runs[0]["snapshotId"]
        self.home.write(self.home.data + "/cache/.tmp-1-1", "left over")
        self.ok("run", "delete", gone)
        self.assertTrue(os.path.exists(base))
        self.assertTrue(os.path.exists(self.home.data + "/cache/.tmp-1-1"))  # a whole gc's
        self.assert_fsck_clean()
        self.ok("run", "rerun", kept)
        again = self.show()["runId"]
        self.assertEqual(self.log(again), b"second\n")
        wait_until(lambda: not os.path.exists(self.home.run_directory(again)), "its directory is cleared")
        before = self.disk()
        self.ok("run", "delete", kept, again)
        self.assertFalse(os.path.exists(base))
        self.assertLess(self.disk(), before - 2 * self.MANY + self.LOG)
