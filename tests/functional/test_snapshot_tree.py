"""The script sees exactly the tree that was submitted: a manifest made before, one made inside the run, and nothing between."""
import json
import os
import shutil
import socket
import textwrap

from support import settings
from support.case import RunnerTest

# Both sides run this text. Modes are those that a snapshot keeps: 0755 where the owner may execute, else 0644.
MANIFEST = textwrap.dedent("""\
    import hashlib, json, os, stat
    def manifest(root, exact):
        found = {}
        for directory, names, files in os.walk(root):
            for name in names + files:
                path = os.path.join(directory, name)
                shown = os.fsencode(os.path.relpath(path, root)).decode("latin-1")
                if shown in ("outputs", "logs"):
                    continue  # made for every run
                info = os.lstat(path)
                if stat.S_ISLNK(info.st_mode):
                    found[shown] = ["link", os.fsencode(os.readlink(path)).decode("latin-1")]
                elif stat.S_ISDIR(info.st_mode):
                    found[shown] = ["directory"]
                else:
                    mode = info.st_mode & 0o7777 if exact else 0o755 if info.st_mode & 0o100 else 0o644
                    with open(path, "rb") as file:
                        found[shown] = [oct(mode), hashlib.sha256(file.read()).hexdigest()]
        return found
    """)
SHOW = MANIFEST + "print(json.dumps(manifest('.', True)))\n"
_side = {}
exec(MANIFEST, _side)


class TreeTest(RunnerTest):
    def link(self, target, name):
        path = os.path.join(os.fsencode(self.project), os.fsencode(name))
        os.symlink(target, path)
        self.account.own(path)

    def source_manifest(self):
        return _side["manifest"](self.project, False)

    def seen(self, log):
        return json.loads(log.splitlines()[-1])


class Exactness(TreeTest):
    def make_tree(self):
        for name in ("plain", "d/e/f/deep", " blank ", "new\nline", "back\\slash", "[a]*?", "-dash", "n" * 255, "ünï", ".hidden"):
            self.write(name, "content of " + name)
        self.write("empty", "")
        self.write("large", "0123456789abcdef" * 200_000)
        self.write("tool", "#!/bin/sh\necho the same\n", 0o755)
        self.write("no tool", "#!/bin/sh\necho the same\n", 0o644)
        self.write("odd mode", "x")
        odd = os.path.join(os.fsencode(self.project), b"\xff\xfe")
        with open(odd, "wb") as file:
            file.write(b"not UTF-8")
        os.makedirs(self.project + "/empty directory/inner")
        self.link("plain", "link")
        self.link("/nowhere/at/all", "dangling")
        self.link("d/e", "link to a directory")
        self.link("/etc/passwd", "link out of the tree")
        self.link("t" * 4095, "longest link")
        os.link(self.project + "/plain", self.project + "/hard link")
        self.account.own(self.project)
        os.chmod(self.project + "/odd mode", 0o4710)  # chown takes the bit away

    def test_the_script_sees_exactly_the_tree(self):
        self.write("main.py", SHOW)
        self.make_tree()
        expected = self.source_manifest()
        self.assertEqual(self.seen(self.submit("main.py").text), expected)
        self.assertEqual(expected["tool"][1], expected["no tool"][1])
        self.assertEqual([expected[name][0] for name in ("tool", "no tool", "odd mode")], ["0o755", "0o644", "0o755"])
        # From the store's cache of it, too.
        self.assertEqual(self.seen(self.submit("main.py").text), expected)

    def test_ten_thousand_equal_empty_files(self):
        for directory in range(10):
            path = "%s/d%d" % (self.project, directory)
            os.mkdir(path)
            for number in range(1000):
                open("%s/%d" % (path, number), "w").close()
        self.account.own(self.project)
        self.write("main.py", SHOW)
        expected = self.source_manifest()
        self.assertEqual(len(expected), 10_011)
        self.assertEqual(self.seen(self.submit("main.py").text), expected)

    def test_rewriting_all_files_while_the_run_is_queued_changes_nothing(self):
        blocker = self.detach_gated("tell('running')\nawait_('go')\n")
        self.await_gate("running")
        self.write("main.py", SHOW)
        self.make_tree()
        expected = self.source_manifest()
        queued = self.detach("main.py")
        for name in os.listdir(os.fsencode(self.project)):
            path = os.path.join(os.fsencode(self.project), name)
            if os.path.isdir(path) and not os.path.islink(path):
                shutil.rmtree(path)
            elif os.path.isfile(path) and not os.path.islink(path):
                with open(path, "r+b") as file:  # the same inode, in place
                    file.write(b"print('the new text')\n")
            else:
                os.remove(path)
        self.open_gate("go")
        self.wait(blocker)
        self.wait(queued)
        self.assertEqual(self.seen(self.log(queued).decode()), expected)

    def test_a_tree_with_large_and_many_files_changed_a_little_is_seen_changed(self):
        self.write("main.py", SHOW)
        for number in range(300):
            self.write("d%d/%d" % (number % 9, number), "%d\n" % number)
        self.submit("main.py")
        self.write("d3/12", "else\n")
        self.write("d3/3", "mode\n", 0o755)
        os.remove(self.project + "/d4/4")
        shutil.rmtree(self.project + "/d5")
        self.write("d5", "a file where a directory was")
        os.remove(self.project + "/d6/6")
        self.write("d6/6/inner", "a directory where a file was")
        self.write("new/file", "")
        self.assertEqual(self.seen(self.submit("main.py").text), self.source_manifest())


class Writable(TreeTest):
    def test_the_script_may_do_anything_to_its_copy_and_nobody_else_sees_it(self):
        for name in ("append", "rename", "delete", "mode", "truncate"):
            self.write(name, name + "\n")
        self.write("d/inner", "inner\n")
        self.write("gone/a/b", "")
        change = """\
            import shutil
            open("append", "a").write("more\\n")
            os.rename("rename", "renamed")
            os.rename("d/inner", "inner")
            os.remove("delete")
            os.chmod("mode", 0o700)
            os.truncate("truncate", 0)
            os.makedirs("made/deep")
            open("made/deep/file", "w").write("made\\n")
            open("d/new", "w").write("new\\n")
            os.symlink("append", "link")
            shutil.rmtree("gone")
            facts["tree"] = sorted(os.path.relpath(os.path.join(d, n), ".") for d, ns, fs in os.walk(".") for n in ns + fs)
            facts["append"] = open("append").read()
            facts["mode"] = os.stat("mode").st_mode & 0o777
            facts["sizes"] = [os.path.getsize("truncate"), os.path.getsize("renamed"), os.path.getsize("inner")]
            """
        before = self.source_manifest()
        for _ in range(2):  # the second run starts from the same tree as the first
            facts = self.python_facts(change)
            tree = [name for name in facts["tree"] if name.split("/")[0] not in ("outputs", "logs")]
            self.assertEqual(tree, sorted(["append", "renamed", "inner", "mode", "truncate", "made", "made/deep", "made/deep/file",
                                           "d", "d/new", "link", "main.py"]))
            self.assertEqual((facts["append"], facts["mode"], facts["sizes"]), ("append\nmore\n", 0o700, [0, 7, 6]))
        after = self.source_manifest()
        del after["main.py"]
        self.assertEqual(after, before)


class Specials(TreeTest):
    def test_fifos_sockets_and_devices_are_skipped_and_told_of(self):
        self.write("main.py", SHOW)
        os.mkfifo(self.project + "/pipe")  # opening it would wait for ever
        listener = socket.socket(socket.AF_UNIX)
        self.addCleanup(listener.close)
        here = os.getcwd()
        os.chdir(self.project)  # the path of a socket is short
        try:
            listener.bind("sock")
        finally:
            os.chdir(here)
        expected = ["pipe is a FIFO: skipped", "sock is a socket: skipped"]
        if os.geteuid() == 0:
            try:
                os.mknod(self.project + "/null", 0o020644, os.makedev(1, 3))
                expected.insert(0, "null is a device: skipped")
            except PermissionError:
                pass
        self.account.own(self.project)
        submitted = self.submit("main.py")
        self.assertEqual(list(self.seen(submitted.text)), ["main.py"])
        self.assertEqual(sorted(text for text in self.show()["notices"] if text.endswith("skipped")), expected)
        page = self.ok("run", "show", "@last").text
        for text in expected:
            self.assertIn("runner: warning: " + text, submitted.err)
            self.assertIn(text, page)

    def test_every_unreadable_file_is_named_and_no_run_begins(self):
        self.write("main.py", SHOW)
        names = ["secret.key", "d/private", "d/e/closed"]
        for name in names:
            self.write(name, "", 0o000)
        before = self.runs()
        if settings.USER == "root":  # who may read anything
            self.submit("main.py")
            return
        result = self.runner("submit", *self.isolation_options(), "main.py")
        self.assert_error(result, result.code, *names)
        self.assertNotEqual(result.code, 0)
        self.assert_no_new_run(before)
        self.write(".gitignore", "secret.key\nprivate\nclosed\n")
        self.submit("main.py")


class Large(TreeTest):
    """With RUNNER_LONG=1 only: minutes, and gigabytes of disk."""

    def usage(self):
        return sum(os.lstat(os.path.join(directory, name)).st_blocks * 512
                   for directory, _, files in os.walk(self.home.data) for name in files)

    def peak(self):
        with open("/proc/%d/status" % self.home.daemon_pid()) as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM:"))

    def test_five_gigabytes_full_and_sparse(self):
        if not os.environ.get("RUNNER_LONG"):
            return
        size = 5 << 30
        main = """\
            import os
            for name in ("sparse", "full"):
                print(os.path.getsize(name), open(name, "rb").read(3), os.stat(name).st_blocks * 512)
            """
        self.write("main.py", main)
        self.write("sparse", "end")
        os.truncate(self.project + "/sparse", size)
        self.write("full", "end")
        self.submit("main.py", timeout=600)
        self.assertLess(self.usage(), 64 << 20)
        with open(self.project + "/full", "wb") as file:
            file.write(b"end")
            for _ in range(size >> 20):
                file.write(os.urandom(1 << 20))
        lines = self.submit("main.py", timeout=1200).text.splitlines()
        self.assertEqual(lines[0].split()[:2], [str(size), "b'end'"])
        self.assertLess(int(lines[0].split()[2]), 1 << 20)
        self.assertEqual(lines[1].split()[:2], [str(size + 3), "b'end'"])
        self.assertLess(self.peak(), 256 << 20)
