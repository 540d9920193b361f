"""Working directories are overlays of layers that are kept: what an edit costs, that the script sees exactly the edited tree,
and that the cache may lose any of it at any time."""
import os
import shutil
import stat

from support.case import RunnerTest
from support.waiting import wait_until

LIST = """\
    import hashlib, os, sys
    for directory, names, files in os.walk("."):
        names.sort()
        for name in sorted(names + files):
            path = os.path.join(directory, name)
            info = os.lstat(path)
            if os.path.islink(path):
                what = "link " + os.readlink(path)
            elif os.path.isdir(path):
                what = "directory"
            else:
                with open(path, "rb") as file:
                    what = oct(info.st_mode & 0o777) + " " + hashlib.sha256(file.read()).hexdigest()
            print(path, what)
    """


class CheckoutsTest(RunnerTest):
    def make_tree(self, files=120):
        for number in range(files):
            self.write("src/d%d/f%d" % (number % 9, number), "content %d\n" % number)
        self.write("src/gone/deep/er", "gone")
        self.write("src/becomes_file/x", "x")
        self.write("src/becomes_directory", "y")
        self.write("src/plain", "mode", 0o644)
        self.write("src/main.py", LIST)
        return self.project + "/src"

    def edit_tree(self):
        shutil.rmtree(self.project + "/src/gone")
        shutil.rmtree(self.project + "/src/becomes_file")
        os.remove(self.project + "/src/becomes_directory")
        self.write("src/becomes_file", "now a file")
        self.write("src/becomes_directory/inside", "now a directory")
        self.write("src/d1/f1", "edited")
        os.remove(self.project + "/src/d2/f2")
        self.write("src/d3/new, with: a\\name", "new")
        os.chmod(self.project + "/src/plain", 0o755)

    def listed(self):
        """What the script should print: the source directory as it is now."""
        return self.home.call("/usr/bin/python3", "main.py", directory=self.project + "/src").out

    def seen(self, run):
        self.wait(run)
        return self.log(run)

    def submit_tree(self, *options):
        return self.detach("--source-dir", self.project + "/src", *options, "main.py")

    @property
    def checkouts(self):
        return self.home.data + "/checkouts"

    def there(self):
        """Of every checkout that is there: its files and whiteouts."""
        found = {}
        for name in os.listdir(self.checkouts):
            if name.startswith("."):
                continue
            kinds = {"files": 0, "whiteouts": 0}
            for directory, names, files in os.walk(os.path.join(self.checkouts, name, "tree")):
                for file in files:
                    try:
                        mode = os.lstat(os.path.join(directory, file)).st_mode
                    except FileNotFoundError:  # it is being evicted
                        continue
                    kinds["whiteouts" if stat.S_ISCHR(mode) else "files"] += 1
            found[name] = kinds
        return found

    def remove_all(self):
        """As somebody who needs the space would do it."""
        if os.path.exists(self.checkouts):
            for name in os.listdir(self.checkouts):
                shutil.rmtree(os.path.join(self.checkouts, name))

    def checkout_of(self, run):
        return self.show(run)["properties"]["ContentSnapshotId"]


class Layers(CheckoutsTest):
    fresh_home = True

    def test_an_edit_is_a_thin_layer_and_the_script_sees_the_edited_tree(self):
        self.make_tree()
        first = self.submit_tree()
        self.assertEqual(self.seen(first), self.listed())
        self.edit_tree()
        second = self.submit_tree()
        self.assertEqual(self.seen(second), self.listed())
        there = self.there()
        self.assertEqual(there[self.checkout_of(first)], {"files": 125, "whiteouts": 0})
        self.assertEqual(there[self.checkout_of(second)], {"files": 5, "whiteouts": 2})

    def test_a_long_history_keeps_low_stacks(self):
        self.make_tree()
        for number in range(8):
            for file in range(number * 12, number * 12 + 12):
                self.write("src/d%d/f%d" % (file % 9, file), "edited\n")
            run = self.submit_tree()
            self.assertEqual(self.seen(run), self.listed())
            record = open(os.path.join(self.checkouts, self.checkout_of(run), "record")).read()
            self.assertLess(record.count("below "), 4)

    def test_everything_may_be_changed_by_the_script_and_no_layer_is(self):
        self.make_tree()
        self.seen(self.submit_tree())
        self.edit_tree()
        self.write("src/change.py", """\
            import os, shutil
            open("d1/f1", "a").write(" by the script")
            os.remove("d4/f4")
            shutil.rmtree("d5")
            os.mkdir("d5")
            os.mkdir("gone")
            os.rename("plain", "renamed")
            print(open("d1/f1").read(), os.listdir("d5"), os.listdir("gone"), open("renamed").read())
            """)
        self.submit("--source-dir", self.project + "/src", "change.py")
        self.assertEqual(self.log(), b"edited by the script [] [] mode\n")
        self.assertEqual(self.seen(self.submit_tree()), self.listed())

    def test_two_runs_of_one_snapshot_at_once(self):
        self.home.configure("parallel = 2\n")
        self.make_tree()
        runs = [self.submit_tree(), self.submit_tree()]
        expected = self.listed()
        for run in runs:
            self.assertEqual(self.seen(run), expected)
        self.assertEqual(list(self.there()), [self.checkout_of(runs[0])])

    def test_a_script_with_a_first_line_is_found_in_whatever_layer(self):
        self.make_tree()
        self.write("src/job", "#!/bin/sh\necho in the lower layer\n", 0o755)
        os.symlink("job", self.project + "/src/linked")
        self.submit("--source-dir", self.project + "/src", "job")
        self.write("src/d1/f1", "edited")
        self.submit("--source-dir", self.project + "/src", "job")
        self.assertEqual(self.log(), b"in the lower layer\n")
        self.submit("--source-dir", self.project + "/src", "linked")
        self.assertEqual(self.log(), b"in the lower layer\n")


class Eviction(CheckoutsTest):
    fresh_home = True

    def test_one_that_was_evicted_comes_back(self):
        self.home.configure("checkout_count = 1\n")
        self.make_tree()
        first = self.submit_tree()
        self.seen(first)
        before = self.listed()
        self.write("other/main.py", "print('other')\n")
        self.submit("--source-dir", self.project + "/other", "main.py")
        wait_until(lambda: list(self.there()) == [self.checkout_of("@last")], "the first checkout is evicted")
        again = self.submit_tree()
        self.assertEqual(self.seen(again), before)
        self.assertEqual(self.checkout_of(again), self.checkout_of(first))

    def test_one_in_use_stays(self):
        self.home.configure("checkout_cache = \"0\"\nparallel = 2\n")
        live = self.detach_gated("tell('running')\nawait_('go')\nprint(open('data').read())\n",
                                 directory=self.make_data())
        self.await_gate("running")
        self.make_tree()
        self.seen(self.submit_tree())
        wait_until(lambda: list(self.there()) == [self.checkout_of(live)], "what nobody uses is evicted")
        self.home.kill_daemon()
        self.ok("run", "list")  # starts one, which adopts the run
        self.assertEqual(list(self.there()), [self.checkout_of(live)])
        self.open_gate("go")
        self.wait(live)
        self.assertEqual(self.log(live), b"still here\n")
        wait_until(lambda: not self.there(), "what nobody uses is evicted")

    def make_data(self):
        self.write("data", "still here")
        return self.project

    def test_removed_by_hand(self):
        self.make_tree()
        self.seen(self.submit_tree())
        self.edit_tree()
        self.seen(self.submit_tree())
        self.remove_all()
        self.assertEqual(self.seen(self.submit_tree()), self.listed())


class Crashes(CheckoutsTest):
    fresh_home = True

    def test_killed_while_it_checks_out(self):
        self.make_tree(files=6000)
        for round_ in range(3):
            self.write("src/round", "round %d" % round_)
            self.remove_all()
            run = self.submit_tree()
            wait_until(lambda: self.begun(), "a checkout is begun")
            self.home.kill_daemon()
            self.assertEqual(self.seen(run), self.listed())
            wait_until(lambda: not [name for name in os.listdir(self.checkouts) if name.startswith(".")],
                       "what was begun is removed")

    def begun(self):
        try:
            return bool(os.listdir(self.checkouts))
        except FileNotFoundError:
            return False

    def test_one_that_is_not_whole_is_not_used(self):
        self.make_tree()
        run = self.submit_tree()
        self.seen(run)
        place = os.path.join(self.checkouts, self.checkout_of(run))
        self.home.kill_daemon()
        with open(place + "/record") as file:
            record = file.read()
        with open(place + "/record", "w") as file:  # as after a reboot before it was synced
            file.write(record.replace("synced 1", "synced 0").replace("boot ", "boot 0"))
        open(place + "/tree/d1/f1", "w").close()
        self.assertEqual(self.seen(self.submit_tree()), self.listed())


class Queue(CheckoutsTest):
    fresh_home = True

    def test_a_run_that_waits_for_its_slot_has_its_checkout_already(self):
        blocker = self.detach_gated("tell('running')\nawait_('go')\n")
        self.await_gate("running")
        self.make_tree()
        queued = self.submit_tree()
        wait_until(lambda: self.checkout_of(queued) in self.there(), "the checkout is made ahead")
        self.assertEqual(self.show(queued)["status"], "Queued")
        expected = self.listed()
        self.open_gate("go")
        self.wait(blocker)
        self.assertEqual(self.seen(queued), expected)

    def test_one_that_was_made_ahead_gives_room_when_it_is_needed(self):
        blocker = self.detach_gated("tell('running')\nawait_('go')\n")
        self.await_gate("running")
        self.make_tree()
        queued = self.submit_tree()
        wait_until(lambda: self.checkout_of(queued) in self.there(), "the checkout is made ahead")
        self.ok("gc")
        self.assertNotIn(self.checkout_of(queued), self.there())
        self.assertIn(self.checkout_of(blocker), self.there())
        expected = self.listed()
        self.open_gate("go")
        self.wait(blocker)
        self.assertEqual(self.seen(queued), expected)

    def test_one_that_is_cancelled_while_it_waits_lets_go_of_it(self):
        blocker = self.detach_gated("tell('running')\nawait_('go')\n")
        self.await_gate("running")
        self.make_tree()
        queued = self.submit_tree()
        wait_until(lambda: self.checkout_of(queued) in self.there(), "the checkout is made ahead")
        self.ok("cancel", queued)
        self.ok("gc")
        self.assertNotIn(self.checkout_of(queued), self.there())
        self.open_gate("go")
        self.wait(blocker)
