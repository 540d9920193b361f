"""What is left of a run, used again: restore, rerun, diff; and what a submission would do: --dry-run."""
import os
import shutil
import sqlite3
import stat
import subprocess

from support import program, settings
from support.case import RunnerTest
from support.settings import only_for, only_in

NAMES = ["with space", "ünï/x", "new\nline", "-dash", "quote'\"", "tab\tx", "deep/er/file", b"not utf8 \xff"]


def entries_of(directory):
    """name → what it is, for every entry below; the oracle for "exact"."""
    directory = os.fsencode(directory)
    found = {}
    for at, names, files in os.walk(directory):
        for name in names + files:
            path = os.path.join(at, name)
            info = os.lstat(path)
            if stat.S_ISLNK(info.st_mode):
                what = ("link", os.readlink(path))
            elif stat.S_ISDIR(info.st_mode):
                what = ("directory", stat.S_IMODE(info.st_mode))
            else:
                with open(path, "rb") as file:
                    what = ("file", stat.S_IMODE(info.st_mode), file.read())
            found[os.path.relpath(path, directory)] = what
    return found


class Reuse(RunnerTest):
    def link(self, target, name):
        path = os.path.join(self.project, name)
        os.symlink(target, path)
        self.account.own(path)

    def write_hostile(self):
        """A project with everything that a snapshot keeps."""
        for name in NAMES:
            self.write(os.fsdecode(name), b"content of " + os.fsencode(name))
        self.write("main.py", "import sys\nprint('as submitted', sys.argv[1:])\n")
        self.write("tool.sh", "#!/bin/sh\necho tool\n", 0o755)
        self.write("empty", "")
        self.write("holes", b"\0" * (3 << 20) + b"end")
        self.link("/nowhere/at/all", "dangling")
        self.link("empty", "link")
        self.link("../../../../etc", "up")
        os.mkdir(self.project + "/nothing in it", 0o755)
        self.account.own(self.project + "/nothing in it")

    def runner_error(self, code, *arguments, parts=(), hint=True, **options):
        result = self.runner(*arguments, **options)
        self.assert_error(result, code, *parts, hint=hint)
        self.assertEqual(result.out, b"")
        return result


class Restore(Reuse):
    def setUp(self):
        super().setUp()
        self.write_hostile()
        self.run_id = self.detach("main.py")
        self.wait(self.run_id)
        self.expected = entries_of(self.project)
        self.out = self.home.new_project()

    def test_a_new_directory_holds_exactly_what_was_frozen_though_the_source_is_gone(self):
        shutil.rmtree(self.project)
        result = self.ok("run", "restore", self.run_id, self.out + "/new", directory=self.out)
        self.assertEqual(entries_of(self.out + "/new"), self.expected)
        files = sum(what[0] != "directory" for what in self.expected.values())
        self.assertEqual(result.text, "restored %d files to %s/new\n" % (files, self.out))
        self.assertEqual(stat.S_IMODE(os.stat(self.out + "/new").st_mode), 0o755)
        self.assertLess(os.stat(self.out + "/new/holes").st_blocks * 512, 1 << 20)
        self.assertEqual(os.listdir(self.out), ["new"])

    def test_an_empty_directory_stays_the_one_it_is(self):
        os.mkdir(self.out + "/there", 0o700)
        self.account.own(self.out + "/there")
        inode = os.stat(self.out + "/there").st_ino
        document = self.ok("run", "restore", self.run_id, ".", "--json", directory=self.out + "/there").json
        self.assertEqual(entries_of(self.out + "/there"), self.expected)
        self.assertEqual(os.stat(self.out + "/there").st_ino, inode)
        self.assertEqual(stat.S_IMODE(os.stat(self.out + "/there").st_mode), 0o700)
        self.assertEqual(document["directory"], self.out + "/there")
        self.assertEqual(document["runId"], self.run_id)
        self.assertEqual(document["snapshotId"], self.show(self.run_id)["snapshotId"])

    def test_a_relative_name_is_meant_from_where_the_caller_stands(self):
        self.ok("run", "restore", self.run_id, "a/", directory=self.out)
        self.ok("run", "restore", "@last", "../%s/b" % os.path.basename(self.out), directory=self.out)
        self.assertEqual(entries_of(self.out + "/a"), entries_of(self.out + "/b"))

    def test_a_link_to_an_empty_directory_is_followed_as_git_clone_does(self):
        real = self.home.new_project()
        os.symlink(real, self.out + "/way")
        self.ok("run", "restore", self.run_id, "way", directory=self.out)
        self.assertEqual(entries_of(real), self.expected)
        self.assertTrue(os.path.islink(self.out + "/way"))

    def test_what_is_in_the_way_stays_as_it_was(self):
        self.home.write(self.out + "/full/kept", "mine")
        self.home.write(self.out + "/file", "mine")
        os.symlink("/nowhere", self.out + "/dangling")
        before = entries_of(self.out)
        self.runner_error(4, "run", "restore", self.run_id, self.out + "/full", parts=["full", "not empty"])
        self.runner_error(4, "run", "restore", self.run_id, self.out + "/file", parts=["file", "not a directory"])
        self.runner_error(4, "run", "restore", self.run_id, self.out + "/dangling", parts=["dangling"])
        self.runner_error(3, "run", "restore", self.run_id, self.out + "/no/parent", parts=[self.out + "/no"], hint=None)
        self.runner_error(3, "run", "restore", "nosuchrun", self.out + "/x", hint=None)
        self.assertEqual(entries_of(self.out), before)

    @only_for("ordinary")
    def test_only_where_the_user_may_write(self):
        os.mkdir(self.out + "/closed", 0o755)  # root's
        self.runner_error(5, "run", "restore", self.run_id, self.out + "/closed/x", parts=[self.out + "/closed"], hint=None)
        self.runner_error(5, "run", "restore", self.run_id, self.out + "/closed", parts=[self.out + "/closed"], hint=None)
        self.assertEqual(os.listdir(self.out + "/closed"), [])

    @only_for("root")
    def test_a_full_disk_leaves_nothing_and_the_daemon_lives(self):
        small = self.out + "/small"
        os.mkdir(small)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", small], check=True)
        try:
            self.write("big", os.urandom(1 << 20))
            run_id = self.detach("main.py")
            self.wait(run_id)
            self.runner_error(125, "run", "restore", run_id, small, parts=["No space left"], hint=None)
            self.assertEqual(os.listdir(small), [])
            self.runner_error(125, "run", "restore", run_id, small + "/new", parts=["No space left"], hint=None)
            self.assertEqual(os.listdir(small), [])
        finally:
            subprocess.run(["umount", small], check=True)
        self.ok("run", "restore", self.run_id, self.out + "/fine")


class Rerun(Reuse):
    def test_the_stored_snapshot_runs_though_the_source_has_changed_and_then_is_gone(self):
        self.write("code/main.py", "import os, sys\nprint('old', sys.argv[1:], os.environ.get('A'), open('data').read())\n")
        self.write("code/data", "frozen")
        source = self.project + "/code"
        self.submit("--source-dir", source, "-E", "A=1", "--tag", "q=good", "--property", "mine=x", "main.py", "one")
        first = self.show()
        self.write("code/main.py", "print('new')\n")
        again = self.ok("run", "rerun", first["runId"])
        self.assertEqual(again.out, b"old ['one'] 1 frozen\n")
        shutil.rmtree(source)
        again = self.ok("run", "rerun", first["runId"], directory="/")
        self.assertEqual(again.out, b"old ['one'] 1 frozen\n")
        second = self.show()
        self.assertNotEqual(first["runId"], second["runId"])
        for key in ("snapshotId", "tags", "experiment", "isolation", "git", "runDefinition"):
            self.assertEqual(second[key], first[key], key)
        self.assertEqual(second["environment"]["digest"], first["environment"]["digest"])
        self.assertEqual(second["properties"], dict(first["properties"], **{"runner.rerunOf": first["runId"]}))

    def test_every_override(self):
        self.write("main.py", """\
            import os, sys
            print(sys.argv[1:], os.environ.get("A"), os.environ.get("B"), os.path.exists("/extra"),
                  os.path.exists("/run/secrets/S") and open("/run/secrets/S").read())
            """)
        self.submit("-E", "A=1", "-E", "B=1", "--tag", "kept", "main.py", "old")
        first = self.show()["runId"]
        limits = ["--memory", "512m", "--pids", "100"] if settings.USER == "root" or settings.ISOLATION == "docker" else []
        result = self.ok("run", "rerun", first, "--name", "again", "-e", "elsewhere", "--tag", "new=1", "--property", "p=2", "-E", "B=2",
                         "--mount", "/usr:/extra", "--secret", "S", "--max-run-duration", "5m", "--grace", "3s", "--priority", "4",
                         "--network", "off", "--shm-size", "8m", *limits, "--", "--lr", "a b", environment={"S": "hush"})
        self.assertEqual(result.out, b"['--lr', 'a b'] 1 2 True hush\n")
        run = self.show()
        self.assertEqual((run["name"], run["experiment"], run["priority"]), ("again", "elsewhere", 4))
        self.assertEqual(run["tags"], {"kept": None, "new": "1"})
        self.assertEqual(run["properties"]["p"], "2")
        definition = run["runDefinition"]
        self.assertEqual(definition["maxRunDurationSeconds"], 300)
        self.assertEqual(definition["graceSeconds"], 3)
        self.assertEqual(definition["network"], "off")
        self.assertEqual(definition["shmBytes"], 8 << 20)
        self.assertEqual(definition["secrets"], ["S"])
        if limits:
            self.assertEqual((definition["memoryBytes"], definition["pids"]), (512 << 20, 100))
        # Of the repetition, in turn: its secret's value is known nowhere any more.
        self.runner_error(2, "run", "rerun", run["runId"], parts=["secret S", "--secret S"])
        self.home.write(self.home.config + "/runner/secrets.toml", 'S = "kept"\n', 0o600)
        self.assertEqual(self.ok("run", "rerun", run["runId"], "--").out, b"[] 1 2 True kept\n")
        os.remove(self.home.config + "/runner/secrets.toml")

    def test_it_ends_as_a_submission_does(self):
        self.submit_python("import sys\nsys.exit(7)\n", exit_code=7)
        first = self.show()["runId"]
        self.ok("run", "rerun", first, code=7)
        run_id = self.ok("run", "rerun", "--detach", first).text.strip()
        self.wait(run_id, code=7)
        document = self.ok("run", "rerun", first, "--json", code=7).json
        self.assertEqual(document["outcome"]["exitCode"], 7)
        self.assertEqual(document["properties"]["runner.rerunOf"], first)

    def test_an_idempotency_key_gives_one_run(self):
        self.submit_python("print(1)\n")
        first = self.show()["runId"]
        ids = [self.ok("run", "rerun", first, "--detach", "--idempotency-key", "k1").text for _ in range(2)]
        self.assertEqual(ids[0], ids[1])
        self.runner_error(4, "run", "rerun", first, "--idempotency-key", "k1", "--", "x", parts=["k1"])
        self.wait(ids[0].strip())

    def test_a_first_line_decides_without_the_source(self):
        self.write("code/job", "#!/bin/sh\necho from the first line\n")
        self.submit("--source-dir", self.project + "/code", "job")
        shutil.rmtree(self.project + "/code")
        self.assertEqual(self.ok("run", "rerun", "@last").out, b"from the first line\n")

    def test_a_command_runs_again_and_has_no_arguments_to_replace(self):
        self.submit("--command", "echo a command")
        first = self.show()["runId"]
        self.assertEqual(self.ok("run", "rerun", first).out, b"a command\n")
        self.runner_error(2, "run", "rerun", first, "--", "x", parts=["ran a command"])

    def test_git_facts_are_those_of_the_code(self):
        for words in (["init", "-q"], ["add", "."], ["-c", "user.name=t", "-c", "user.email=t@t", "commit", "-q", "-m", "x"]):
            self.write("main.py", "print(1)\n")
            self.assertEqual(self.home.call("git", *words, directory=self.project).code, 0)
        self.submit("main.py")
        first = self.show()
        self.write("main.py", "print(2)\n")
        self.ok("run", "rerun", first["runId"])
        second = self.show()
        self.assertEqual(second["git"], first["git"])
        self.assertEqual(second["git"]["dirty"], False)
        self.assertEqual(second["properties"]["azureml.git.commit"], first["git"]["commit"])

    def test_a_mount_that_is_gone_must_be_given_again(self):
        place = self.home.new_project()
        self.write("main.py", "print(1)\n")
        self.submit("--mount", place + ":/data", "main.py")
        os.rmdir(place)
        before = self.runs()
        self.runner_error(2, "run", "rerun", "@last", parts=[place])
        self.assert_no_new_run(before)
        self.ok("run", "rerun", "@last", "--mount", "/usr:/data")

    @only_in("sandbox")
    def test_an_interpreter_that_changed_is_told_and_one_that_is_gone_is_refused(self):
        venv = self.home.new_project()
        self.assertEqual(self.home.call(settings.PYTHON, "-m", "venv", "--without-pip", venv + "/v").code, 0)
        self.write("main.py", "import sys\nprint(sys.prefix)\n")
        self.submit("--python", venv + "/v/bin/python", "main.py")
        first = self.show()["runId"]
        self.assertEqual(self.ok("run", "rerun", first).text, venv + "/v\n")
        self.assertEqual(self.show()["notices"], [])
        [site] = [at for at, _, _ in os.walk(venv + "/v") if at.endswith("site-packages")]
        self.home.write(site + "/more.pth", self.project + "\n")  # another search path
        told = self.ok("run", "rerun", first)
        self.assertIn("the interpreter has changed since run " + first, told.err)
        shutil.rmtree(venv)
        before = self.runs()
        self.runner_error(125, "run", "rerun", first, parts=[venv + "/v/bin/python", "--python"])
        self.assert_no_new_run(before)
        self.assertEqual(self.ok("run", "rerun", first, "--python", settings.PYTHON).text, "/usr\n")

    def test_a_snapshot_that_is_damaged_is_no_run(self):
        self.write("main.py", "print('whole')\n")
        self.write("lost", "only here: " + self.home.token)
        self.submit("main.py")
        snapshot = bytes.fromhex(self.show()["snapshotId"])
        self.home.run("daemon", "stop")
        # The tree's row goes: what a damaged database looks like to its reader.
        with sqlite3.connect(self.home.data + "/content.db") as database:
            database.execute("PRAGMA foreign_keys=OFF")
            self.assertEqual(database.execute("DELETE FROM content WHERE hash = ?", (snapshot,)).rowcount, 1)
        database.close()
        for name in os.listdir(self.home.data):
            self.account.own(os.path.join(self.home.data, name)) if name.startswith("content.db") else None
        before = self.runs()
        self.runner_error(125, "run", "rerun", "@last", parts=["snapshot", "fsck"])
        self.runner_error(3, "run", "restore", "@last", self.project + "/out", parts=["no snapshot"], hint=None)
        self.assert_no_new_run(before)


class DryRun(Reuse):
    def state(self):
        """What the databases say, logically."""
        said = []
        for name in ("runner.db", "content.db"):
            with sqlite3.connect("file:%s/%s?mode=ro" % (self.home.data, name), uri=True) as database:
                tables = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type='table' AND name NOT LIKE 'sqlite_%' ORDER BY 1")]
                said += [(table, sorted(map(repr, database.execute('SELECT * FROM "%s"' % table)))) for table in tables]
            database.close()
        return said

    def test_it_names_every_file_the_environment_and_the_command_and_leaves_the_home_as_it_was(self):
        self.write_hostile()
        self.write(".gitignore", "*.log\n")
        self.write("a.log", "out")
        self.runs()
        before = self.state()
        runs = os.listdir(self.home.data + "/runs")
        result = self.submit("--dry-run", "--max-run-duration", "90s", "main.py", "it's", "a b")
        plan = self.submit("--dry-run", "--json", "--max-run-duration", "90s", "main.py", "it's", "a b").json
        self.assertEqual(self.state(), before)
        self.assertEqual(os.listdir(self.home.data + "/runs"), runs)
        expected = {name: what for name, what in entries_of(self.project).items() if what[0] != "directory" and name != b"a.log"}
        self.assertEqual(sorted(f["path"] for f in plan["files"]), sorted(name.decode(errors="replace") for name in expected))
        self.assertEqual(plan["fileCount"], len(expected))
        self.assertEqual(plan["totalBytes"], sum(f["bytes"] for f in plan["files"]))
        types = {f["path"]: f["type"] for f in plan["files"]}
        self.assertEqual((types["tool.sh"], types["dangling"], types["empty"]), ("executable", "symlink", "file"))
        self.assertEqual(plan["command"][-3:], ["main.py", "it's", "a b"])
        self.assertEqual(plan["workingDirectory"], self.project)
        self.assertEqual(plan["runDefinition"]["maxRunDurationSeconds"], 90)
        self.assertTrue(plan["environment"]["cached"])
        for part in ("tool.sh*", "new\\nline", "main.py 'it'\\''s' 'a b'", "%d files" % len(expected), "at most 90 s"):
            self.assertIn(part, result.text)
        # And it is what then happens.
        self.submit("main.py", "it's", "a b")
        run = self.show()
        self.assertEqual(run["environment"]["digest"], plan["environment"]["digest"])
        self.ok("run", "restore", "@last", self.project + "-restored")
        self.addCleanup(shutil.rmtree, self.project + "-restored", True)
        restored = {name for name, what in entries_of(self.project + "-restored").items() if what[0] != "directory"}
        self.assertEqual(restored, set(expected))

    def test_it_refuses_what_a_submission_refuses(self):
        self.write("main.py", "pass\n")
        self.write(".gitignore", "secret*\n")
        self.write("secret.py", "pass\n")
        before = self.runs()
        for arguments in (["nowhere.py"], ["secret.py"], ["--memory", "much", "main.py"], ["--mount", "/no/such:/x", "main.py"],
                          ["--source-dir", "/no/such/place", "main.py"], ["--secret", "NOT_SET", "main.py"]):
            with self.subTest(arguments):
                real = self.runner("submit", *self.isolation_options(), *arguments)
                dry = self.runner("submit", "--dry-run", *self.isolation_options(), *arguments)
                self.assertNotEqual(real.code, 0)
                self.assertEqual((dry.code, dry.err, dry.out), (real.code, real.err, b""))
        self.assert_no_new_run(before)

    @only_for("ordinary")
    def test_unreadable_files_are_all_named(self):
        self.write("main.py", "pass\n")
        for name in ("one.txt", "two.txt"):
            os.chown(self.write(name, "x", 0o600), 0, 0)
        self.runner_error(5, "submit", "--dry-run", *self.isolation_options(), "main.py", parts=["one.txt", "two.txt"])


class Diff(Reuse):
    def two_runs(self):
        """The ids of two runs whose code differs in every way."""
        self.write_hostile()
        self.write("pkg/model.py", "".join("line %d\n" % n for n in range(40)))
        self.submit("main.py", "--lr", "0.1")
        first = self.show()["runId"]
        for name in NAMES:
            self.write(os.fsdecode(name), b"other content of " + os.fsencode(name) + b"\n")
        os.rename(self.project + "/pkg", self.project + "/package")
        self.write("package/model.py", "".join("line %d\n" % n for n in range(41)))
        os.chmod(self.project + "/main.py", 0o755)
        os.remove(self.project + "/tool.sh")
        self.write("fresh", "new\n")
        os.remove(self.project + "/link")
        self.link("main.py", "link")
        self.submit("-E", "A=1", "main.py", "--lr", "0.2")
        return first, self.show()["runId"]

    def restored(self, run):
        place = self.home.new_project() + "/tree"
        self.ok("run", "restore", run, place)
        return place

    def test_git_applies_the_patch_to_the_first_and_has_the_second(self):
        first, second = self.two_runs()
        patch = self.ok("run", "diff", first, second, "--code").out
        one, two = self.restored(first), self.restored(second)
        path = self.home.write(self.home.new_project() + "/patch", patch)
        applied = self.home.call("git", "apply", "--whitespace=nowarn", path, directory=one)
        self.assertEqual(applied.code, 0, applied.describe())
        self.assertEqual(entries_of(one), entries_of(two))
        back = self.ok("run", "diff", second, first, "--code").out
        applied = self.home.call("git", "apply", "--whitespace=nowarn", self.home.write(path, back), directory=two)
        self.assertEqual(applied.code, 0, applied.describe())
        self.assertEqual(entries_of(two), entries_of(self.restored(first)))
        self.assertNotIn(b"\x1b", patch)

    def test_the_summary_names_what_differs_and_nothing_else(self):
        first, second = self.two_runs()
        text = self.ok("run", "diff", first, second).text
        for part in ("pkg/model.py => package/model.py | ", "(mode +x)", "tool.sh", "new\\nline", "lr  ", "0.1", "environmentVariables.A"):
            self.assertIn(part, text)
        self.assertNotIn("holes", text)
        self.assertEqual(self.ok("run", "diff", first, first).out, b"")
        document = self.ok("run", "diff", first, second, "--json").json
        self.assertEqual((document["before"], document["after"]), (first, second))
        files = {item["path"]: item for item in document["code"]["items"]}
        self.assertEqual(files["package/model.py"]["oldPath"], "pkg/model.py")
        self.assertEqual((files["package/model.py"]["additions"], files["package/model.py"]["deletions"]), (1, 0))
        self.assertEqual(files["fresh"]["status"], "added")
        self.assertEqual(files["tool.sh"]["status"], "deleted")
        self.assertEqual((files["main.py"]["oldType"], files["main.py"]["type"]), ("file", "executable"))
        self.assertEqual({item["name"] for item in document["parameters"]["items"]}, {"lr", "environmentVariables.A"})
        self.assertEqual(document["metrics"]["items"], [])

    def test_one_part_at_a_time(self):
        self.submit_python("import runner\nrunner.log('loss', 0.5)\n", arguments=["a"])
        first = self.show()["runId"]
        self.submit_python("import runner\nrunner.log('loss', 0.25)\n", arguments=["b"])
        second = self.show()["runId"]
        [metric] = self.ok("run", "diff", first, second, "--metrics", "--json").json["items"]
        self.assertEqual(metric, {"name": "loss", "before": "0.5", "after": "0.25"})
        [parameter] = self.ok("run", "diff", first, second, "--params", "--json").json["items"]
        self.assertEqual(parameter, {"name": "arguments", "before": ["a"], "after": ["b"]})
        self.assertEqual(self.ok("run", "diff", first, second, "--env", "--json").json["items"], [])
        git = self.ok("run", "diff", first, second, "--git", "--json").json
        self.assertEqual((git["a"]["runId"], git["b"]["runId"], git["sameChange"]), (first, second, True))
        [code] = self.ok("run", "diff", first, second, "--code", "--json").json["items"]
        self.assertEqual((code["path"], code["additions"], code["deletions"], code["binary"]), ("main.py", 1, 1, False))

    def test_binary_files_are_named_only(self):
        self.write("main.py", "pass\n")
        self.write("model.bin", b"a\0b" * 1000)
        self.submit("main.py")
        self.write("model.bin", b"a\0c" * 1000)
        self.submit("main.py")
        self.assertIn(b"Binary files a/model.bin and b/model.bin differ\n", self.ok("run", "diff", "@last-1", "@last", "--code").out)
        self.assertIn("Bin 3000 -> 3000 bytes", self.ok("run", "diff", "@last-1", "@last").text)

    def test_an_unknown_run_is_an_error(self):
        self.submit_python("pass\n")
        for words in (["@last", "nosuch"], ["nosuch", "@last"]):
            for part in ([], ["--code"], ["--params"]):
                self.runner_error(3, "run", "diff", *words, *part, parts=["nosuch"], hint=None)
