"""`runner snapshot …`: made, listed, explained, shown and restored; the warning before a large one is copied. Git is the oracle."""
import json
import os
import stat

from support.case import RunnerTest


class SnapshotTest(RunnerTest):
    def git(self, *arguments, directory=None):
        done = self.home.call("git", "-c", "user.name=t", "-c", "user.email=t@t", *arguments, directory=directory or self.project)
        self.assertEqual(done.code, 0, done.describe())
        return done.out

    def create(self, *arguments, **options):
        name = self.ok("snapshot", "create", *arguments, **options).text.strip()
        self.assertRegex(name, "^[0-9a-f]{64}$")
        return name


class Listing(SnapshotTest):
    NAMES = ["train.py", "a b", "tab\there", "new\nline", 'quote"', "back\\slash", "caf\u00e9", b"\xff\xfe".decode("utf-8", "surrogateescape"),
             "sub/deep/x", ".hidden", "sub-file"]

    def test_names_come_as_git_lists_them(self):
        self.git("init", "-q")
        for name in self.NAMES:
            self.write(name, "x")
        self.write(".gitignore", "*.log\n/out/\n")
        self.write("a.log", "")
        self.write("out/big", "")
        self.git("add", "train.py")
        # git lists the untracked ones first; ours are in one order.
        listed = self.ok("snapshot", "ls-files", "-z").out.split(b"\0")[:-1]
        self.assertEqual(listed, sorted(self.git("ls-files", "-co", "--exclude-standard", "-z").split(b"\0")[:-1]))
        ours, gits = self.ok("snapshot", "ls-files").out, self.git("ls-files", "-co", "--exclude-standard")
        self.assertEqual(sorted(ours.splitlines()), sorted(gits.splitlines()))
        # A directory in it: git lists from there, too.
        self.assertEqual(self.ok("snapshot", "ls-files", "-z", "sub").out,
                         self.git("ls-files", "-co", "--exclude-standard", "-z", directory=self.project + "/sub"))

    def test_json_has_an_item_a_file(self):
        self.write("one", "")
        self.write("two/three", "")
        self.assertEqual(self.ok("snapshot", "ls-files", "--json").json, {"items": [{"path": "one"}, {"path": "two/three"}]})
        empty = self.home.new_project()
        self.assertEqual(self.ok("snapshot", "ls-files", "--json", empty).json, {"items": []})

    def test_a_directory_whose_name_is_no_utf8_can_be_listed(self):
        directory = os.fsencode(self.project) + b"/\xff"
        os.mkdir(directory)
        self.account.own(os.fsdecode(directory))
        self.write(os.path.join(os.fsdecode(directory), "in"), "")
        self.assertEqual(self.ok("snapshot", "ls-files", os.fsdecode(directory)).out, b"in\n")

    def test_what_is_no_directory_is_said_to_be_that(self):
        self.write("file", "")
        self.assertIn("not a directory", self.ok("snapshot", "ls-files", "file", code=2).err)
        self.assertIn("No such file", self.ok("snapshot", "ls-files", "absent", code=3).err)
        self.assertIn("exclude each other", self.ok("snapshot", "ls-files", "-z", "--json", code=2).err)


class Explaining(SnapshotTest):
    def test_the_deciding_line_is_gits(self):
        self.git("init", "-q")
        self.write(".gitignore", "*.log\n!keep.log\nbuild/\n")
        for name in ("a.log", "keep.log", "build/x", "train.py", "tracked.log", "sub/b.log"):
            self.write(name, "")
        self.git("add", "-f", "tracked.log")
        lines = self.ok("snapshot", "explain", "a.log", "keep.log", "build", "train.py", "tracked.log", "sub/b.log").text.splitlines()
        self.assertEqual(lines[0], "out\t.gitignore:1:*.log\ta.log")
        self.assertEqual(lines[1], "in\t.gitignore:2:!keep.log\tkeep.log")
        self.assertEqual(lines[2], "out\t.gitignore:3:build/\tbuild")
        self.assertEqual(lines[3], "in\tnot ignored\ttrain.py")
        self.assertEqual(lines[4], "in\ttracked\ttracked.log")
        # What git says about the ignored ones.
        for line in (lines[0], lines[2], lines[5]):
            path = line.split("\t")[2]
            self.assertEqual(self.git("check-ignore", "-v", path).decode(), line.split("\t", 1)[1] + "\n")

    def test_paths_are_the_callers(self):
        self.write("src/.gitignore", "*.tmp\n")
        self.write("src/a/x.tmp", "")
        here = self.project + "/src/a"
        expected = "out\t.gitignore:1:*.tmp\tx.tmp\n"
        self.assertEqual(self.ok("snapshot", "explain", "--source-dir", "..", "x.tmp", directory=here).text, expected)
        absolute = self.project + "/src/a/x.tmp"
        self.assertEqual(self.ok("snapshot", "explain", "--source-dir", self.project + "/src", absolute).text,
                         expected.replace("\tx.tmp", "\t" + absolute))
        refused = self.ok("snapshot", "explain", "--source-dir", "a", "../x", directory=self.project + "/src", code=2)
        self.assertIn("../x: is not in the source directory", refused.err)

    def test_json_and_many_paths(self):
        self.write(".gitignore", "no*\n")
        names = ["%s%d-%s" % ("no" if number % 2 else "yes", number, "x" * 150) for number in range(400)]
        for name in names:
            self.write(name, "")
        items = self.ok("snapshot", "explain", "--json", *names).json["items"]
        self.assertEqual([item["path"] for item in items], names)
        self.assertEqual([item["included"] for item in items], [number % 2 == 0 for number in range(400)])
        self.assertEqual(items[1], {"path": names[1], "included": False, "reason": ".gitignore:1: no*", "file": ".gitignore",
                                    "line": 1, "pattern": "no*"})
        self.assertIsNone(items[0]["file"])

    def test_what_is_built_in_and_what_is_missing(self):
        self.write("venv/pyvenv.cfg", "")
        self.write("venv/lib", "")
        text = self.ok("snapshot", "explain", "venv/lib", "absent").text
        self.assertEqual(text, "out\tbuilt-in: virtual environment\tvenv/lib\nout\tmissing\tabsent\n")
        self.assertIn("PATH is missing", self.ok("snapshot", "explain", code=2).err)


class ShownAndRestored(SnapshotTest):
    def sample(self):
        self.write("train.py", "print('x')\n")
        self.write("run.sh", "#!/bin/sh\n", mode=0o700)
        self.write("private", "secret", mode=0o600)
        self.write("deep/er/file", "")
        os.mkdir(self.project + "/empty")
        os.symlink("/nowhere", self.project + "/dangling")
        os.symlink("train.py", self.project + "/link")
        with open(self.project + "/sparse", "wb") as file:
            file.truncate(30 << 20)
        self.write("new\nline", "1")
        for name in ("empty", "sparse"):
            self.account.own(self.project + "/" + name)
        return self.create()

    def test_a_restored_tree_is_the_snapshots(self):
        snapshot = self.sample()
        target = self.project + "-restored"
        relative = "../" + os.path.basename(target)
        self.assertRegex(self.ok("snapshot", "restore", snapshot, relative).text, r"^restored \d+ files to " + relative + r"\n$")
        self.addCleanup(self.home.call, "rm", "-rf", target)
        self.assertEqual(self.create(target), snapshot)
        modes = {name: stat.S_IMODE(os.lstat(target + "/" + name).st_mode) for name in ("train.py", "run.sh", "private", "empty")}
        self.assertEqual(modes, {"train.py": 0o644, "run.sh": 0o755, "private": 0o644, "empty": 0o755})
        self.assertEqual(os.readlink(target + "/dangling"), "/nowhere")
        self.assertEqual(os.listdir(target + "/empty"), [])
        info = os.stat(target + "/sparse")
        self.assertEqual(info.st_size, 30 << 20)
        self.assertLess(info.st_blocks * 512, 1 << 20)
        self.assertEqual(os.stat(target).st_uid, self.account.uid)
        compared = self.home.call("diff", "-r", "--no-dereference", self.project, target)
        self.assertEqual(compared.code, 0, compared.describe())

    def test_it_goes_into_an_empty_directory_and_into_no_other(self):
        self.write("code/a", "1")
        snapshot = self.create("code")
        empty = self.home.new_project()
        self.ok("snapshot", "restore", snapshot, empty)
        self.assertEqual(os.listdir(empty), ["a"])
        refused = self.ok("snapshot", "restore", snapshot, empty, code=4)
        self.assertIn("is not empty", refused.err)
        self.write("file", "")
        self.assertIn("not a directory", self.ok("snapshot", "restore", snapshot, "file", code=4).err)
        self.assertIn("No such file", self.ok("snapshot", "restore", snapshot, "absent/below", code=3).err)
        here = self.home.new_project()
        self.ok("snapshot", "restore", snapshot, ".", directory=here)
        self.assertEqual(os.listdir(here), ["a"])
        # Nothing half-made stays anywhere.
        self.assertEqual([name for name in os.listdir(self.home.base) + os.listdir(self.project) if name.startswith((".tmp", ".runner-restore"))], [])

    def test_a_tree_as_deep_as_paths_can_be(self):
        depth = 1900  # a path has at most 4 095 bytes
        deepest = "/".join(["d"] * depth)
        made = self.home.call("sh", "-c", f"mkdir -p {deepest} && echo deep > {deepest}/file && echo 'print(1)' > main.py", directory=self.project)
        self.assertEqual(made.code, 0, made.describe())
        snapshot = self.create()
        self.assertEqual(self.ok("snapshot", "ls-files").text.splitlines(), [deepest + "/file", "main.py"])
        self.assertIn("main.py", self.ok("submit", "--dry-run", "main.py").text)
        self.assertEqual(self.submit("--json", "main.py").json["snapshotId"], snapshot)
        self.ok("fsck")
        target = self.project + "-deep"
        self.addCleanup(self.home.call, "rm", "-rf", target)
        self.ok("snapshot", "restore", snapshot, target)
        self.assertEqual(self.create(target), snapshot)

    def test_names_of_snapshots(self):
        self.write("main.py", "print(1)\n")
        run = self.submit("--json", "main.py").json
        snapshot = run["snapshotId"]
        self.assertEqual(self.create(), snapshot)
        for name in (snapshot, snapshot[:12], run["runId"], "@last"):
            shown = self.ok("snapshot", "show", "--json", name).json
            self.assertEqual(shown["snapshotId"], snapshot, name)
        self.assertIn("no snapshot", self.ok("snapshot", "show", "0" * 64, code=3).err)
        self.assertIn("no snapshot and no run 'nonsense'", self.ok("snapshot", "show", "nonsense", code=3).err)
        self.assertIn("SNAPSHOT is missing", self.ok("snapshot", "show", code=2).err)

    def test_what_show_prints(self):
        snapshot = self.sample()
        text = self.ok("snapshot", "show", snapshot).text
        self.assertIn("snapshot  %s\nfiles     8\n" % snapshot, text)
        self.assertIn('f           1  6b86b273ff34  "new\\nline"\n', text)
        self.assertRegex(text, r"\nd +-  [0-9a-f]{12}  empty/\n")
        self.assertRegex(text, r"\nx +10  [0-9a-f]{12}  run\.sh\n")
        document = self.ok("snapshot", "show", snapshot, "--json").json
        self.assertEqual((document["files"], document["directories"], document["bytes"]), (8, 3, (30 << 20) + 11 + 10 + 6 + 8 + 8 + 1))
        items = {item["path"]: item for item in document["items"]}
        self.assertEqual(items["run.sh"]["type"], "executable")
        self.assertEqual(items["dangling"]["type"], "symlink")
        self.assertEqual(len(items), 11)


class Incremental(SnapshotTest):
    def test_edits_that_keep_size_and_time_are_seen(self):
        for number in range(40):
            self.write("f%d" % number, "0000")
        first = self.create()
        info = os.stat(self.project + "/f7")
        self.write("f7", "1111")
        os.utime(self.project + "/f7", ns=(info.st_atime_ns, info.st_mtime_ns))
        changed = self.create()
        self.assertNotEqual(changed, first)
        self.write("f7", "0000")
        self.assertEqual(self.create(), first)

    def test_a_cache_that_is_damaged_or_gone_changes_nothing(self):
        for number in range(60):
            self.write("d%d/f%d" % (number % 5, number), "%d" % number)
        first = self.create()
        cache = self.home.data + "/cache"
        files = [name for name in os.listdir(cache) if name.startswith("stat-")]
        self.assertTrue(files)
        for name in files:
            path = cache + "/" + name
            with open(path, "rb") as file:
                good = file.read()
            for content in (good[:len(good) // 2], good[:100] + b"\0" * 100 + good[200:], b"", b"runner stat cache 1\n" + good[20:]):
                with open(path, "wb") as file:
                    file.write(content)
                self.assertEqual(self.create(), first)
            os.remove(path)
            self.assertEqual(self.create(), first)

    def test_a_new_daemon_goes_on_with_the_cache(self):
        for number in range(60):
            self.write("f%d" % number, "%d" % number)
        first = self.create()
        self.home.kill_daemon()
        self.assertEqual(self.create(), first)
        self.write("f3", "other")
        self.assertNotEqual(self.create(), first)


class Large(SnapshotTest):
    configuration = 'snapshot_warn_files = 300\nsnapshot_warn_bytes = "1g"\n'

    def fill(self, directory, count):
        for number in range(count):
            self.write("%s/f%d" % (directory, number), "%d" % number)

    def test_the_warning_names_what_to_leave_out(self):
        self.write("train.py", "print('ran')\n")
        self.fill("data/images/train", 320)
        self.fill("other", 60)
        created = self.ok("snapshot", "create")
        self.assertRegex(created.err, "^runner: warning: large snapshot: 381 files, .* will be copied; most of it is in "
                                        r"data/images/train/ \(320 files, .*\), other/ \(60 files, .*\); "
                                        "the line /data/images/train/ in .gitignore leaves the first out\n$")
        # What is known is not copied: nothing to say.
        self.assertEqual(self.ok("snapshot", "create").err, "")
        self.write("other/more", "")
        self.assertEqual(self.ok("snapshot", "create").err, "")
        # The line does what it promises.
        self.write(".gitignore", "/data/images/train/\n")
        self.assertEqual(len(self.ok("snapshot", "ls-files", "-z").out.split(b"\0")) - 1, 63)

    def test_submit_warns_once(self):
        self.write("train.py", "print('ran')\n")
        self.write(".amlignore", "")
        self.fill("many", 301)
        ran = self.submit("train.py")
        self.assertEqual(ran.err.count("large snapshot"), 1, ran.err)
        self.assertIn("in .amlignore leaves", ran.err)
        self.assertEqual(ran.text, "ran\n")

    def test_a_client_that_does_not_ask_hears_it_in_the_answer(self):
        self.fill("many", 302)
        self.ok("daemon", "start")
        answer = self.home.call("curl", "-sS", "--unix-socket", self.home.data + "/control.sock", "-H", "Content-Type: application/json",
                                "-d", json.dumps({"sourceDirectory": self.project}), "http://runner/v1/snapshots")
        self.assertEqual(len(json.loads(answer.out)["warnings"]), 1)
