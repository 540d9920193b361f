"""outputs/ and logs/ of a run: stored on every ending, listed, brought back with identical bytes, never through a link."""
import hashlib
import os
import textwrap
import time

from support.case import RunnerTest


class Endings(RunnerTest):
    LEAVE = textwrap.dedent("""\
        os.makedirs("outputs/deep")
        os.makedirs("logs")
        open("outputs/deep/model.bin", "wb").write(bytes(range(256)))
        open("logs/table.csv", "w").write("a,b\\n")
        print("written", flush=True)
        tell("written")
        """)

    def assert_stored(self, run):
        self.assertEqual([(o["name"], o["sha256"]) for o in run["outputs"]],
                         [("outputs/deep/model.bin", hashlib.sha256(bytes(range(256))).hexdigest())])
        self.assertEqual(self.log_files(run), ["logs/table.csv", "user_logs/std_log.txt"])
        directory = self.home.new_project()
        self.ok("run", "download", run["runId"], "-d", directory)
        with open(directory + "/outputs/deep/model.bin", "rb") as file:
            self.assertEqual(file.read(), bytes(range(256)))
        with open(directory + "/logs/table.csv") as file:
            self.assertEqual(file.read(), "a,b\n")
        with open(directory + "/user_logs/std_log.txt") as file:
            text = file.read()
            self.assertEqual(text.partition("Fatal Python error: ")[0], "written\n")  # a stack may follow: test_post_mortem

    def test_success(self):
        self.assert_stored(self.wait(self.detach_gated(self.LEAVE)))

    def test_failure(self):
        self.assert_stored(self.wait(self.detach_gated(self.LEAVE + "sys.exit(9)\n"), 9))

    def test_a_signal(self):
        self.assert_stored(self.wait(self.detach_gated(self.LEAVE + "os.abort()\n"), 134))

    def test_cancel(self):
        run_id = self.detach_gated(self.LEAVE + "await_('never')\n")
        self.await_gate("written")
        self.ok("cancel", run_id)
        self.assert_stored(self.wait(run_id, 130))

    def test_the_time_limit(self):
        run_id = self.detach_gated(self.LEAVE + "await_('never')\n", "--max-run-duration", "1s")
        self.assert_stored(self.wait(run_id, 124))

    def test_the_daemons_restart(self):
        run_id = self.detach_gated(self.LEAVE + "await_('go')\n")
        self.await_gate("written")
        self.home.kill_daemon()
        self.open_gate("go")
        self.assert_stored(self.wait(run_id))


class Download(RunnerTest):
    NAMES = ["plain", "with space", "ünï 漢", "new\nline", "-dash", "quote'\"", "%41#?&", "deep/er/and/deeper", ".hidden", "a\\b"]

    def test_identical_bytes_for_any_name_and_size(self):
        contents = {name: (name * 3).encode() for name in self.NAMES}
        self.submit_python("""\
            import hashlib, os
            for name in %r:
                path = "outputs/" + name
                os.makedirs(os.path.dirname(path), exist_ok=True)
                open(path, "wb").write((name * 3).encode())
            open("outputs/empty", "wb").close()
            block = b"".join(hashlib.sha256(b"%%d" %% n).digest() for n in range(100000))
            open("outputs/large", "wb").write(block + b"x")
            with open("outputs/sparse", "wb") as file:
                file.truncate(5 << 20)
            """ % self.NAMES)
        contents["empty"] = b""
        contents["large"] = b"".join(hashlib.sha256(b"%d" % n).digest() for n in range(100000)) + b"x"
        contents["sparse"] = bytes(5 << 20)
        listed = {item["name"]: item for item in self.ok("run", "files", "@last", "outputs/", "--json").json["items"]}
        self.assertEqual(sorted(listed), sorted("outputs/" + name for name in contents))
        directory = self.home.new_project()
        self.ok("run", "download", "@last", "-d", directory)
        for name, content in contents.items():
            with self.subTest(name):
                with open(directory + "/outputs/" + name, "rb") as file:
                    found = file.read()
                self.assertTrue(found == content, "%d bytes instead of %d, or others" % (len(found), len(content)))
                item = listed["outputs/" + name]
                self.assertEqual((item["bytes"], item["sha256"]), (len(content), hashlib.sha256(content).hexdigest()))
                self.assertEqual(os.stat(directory + "/outputs/" + name).st_uid, self.account.uid)

    def test_files_lists_all_and_by_prefix(self):
        self.submit_python("import os\nfor d in ('outputs/a', 'outputs/b', 'logs'):\n    os.makedirs(d)\n    open(d + '/f', 'w').write(d)\n")
        names = [item["name"] for item in self.ok("run", "files", "@last", "--json").json["items"]]
        self.assertEqual(sorted(names), ["logs/f", "outputs/a/f", "outputs/b/f", "user_logs/std_log.txt"])
        names = [item["name"] for item in self.ok("run", "files", "@last", "outputs/b", "--json").json["items"]]
        self.assertEqual(names, ["outputs/b/f"])
        self.assertIn("outputs/a/f", self.ok("run", "files", "@last").text)

    def test_one_name_brings_only_that(self):
        self.submit_python("import os\nos.mkdir('outputs')\nopen('outputs/a', 'w').write('A')\nopen('outputs/b', 'w').write('B')\n")
        directory = self.home.new_project()
        self.ok("run", "download", "@last", "outputs/b", "-d", directory)
        self.assertEqual(os.listdir(directory), ["outputs"])
        self.assertEqual(os.listdir(directory + "/outputs"), ["b"])

    def test_a_name_that_does_not_exist_is_not_found(self):
        self.submit_python("pass\n")
        result = self.runner("run", "download", "@last", "outputs/none", "-d", self.home.new_project())
        self.assertEqual(result.code, 3, result.describe())
        self.assertIn("outputs/none", result.err)

    def test_a_thousand_small_files_arrive(self):
        self.submit_python("import os\nos.mkdir('outputs')\nfor n in range(1000): open('outputs/%d' % n, 'w').write(str(n))\n")
        directory = self.home.new_project()
        self.ok("run", "download", "@last", "-d", directory)
        self.assertEqual({n: open(directory + "/outputs/" + n).read() for n in os.listdir(directory + "/outputs")},
                         {str(n): str(n) for n in range(1000)})


class Hostile(RunnerTest):
    def notices(self):
        return "\n".join(self.show()["notices"])

    def test_links_and_specials_are_recorded_and_never_followed(self):
        secret = self.home.write(self.home.new_project() + "/secret", "host secret")
        self.submit_python("""\
            import os, socket
            os.mkdir("outputs")
            os.symlink("/etc/passwd", "outputs/link")
            os.symlink(%r, "outputs/hidden")
            os.symlink("/etc", "outputs/folder")
            os.symlink("nowhere", "outputs/dangling")
            os.mkfifo("outputs/fifo")
            server = socket.socket(socket.AF_UNIX)
            server.bind("outputs/socket")
            open("outputs/real", "w").write("real")
            """ % secret)
        run = self.show()
        self.assertEqual([o["name"] for o in run["outputs"]], ["outputs/real"])
        notices = self.notices()
        for name in ("link", "hidden", "folder", "dangling", "fifo", "socket"):
            self.assertIn("outputs/" + name, notices)

    def test_an_outputs_directory_that_is_a_link_is_not_followed(self):
        self.submit_python("import os\nos.symlink('/etc', 'outputs')\n")
        self.assertEqual(self.show()["outputs"], [])
        self.assertIn("outputs", self.notices())

    def test_files_without_any_permission_are_stored(self):
        self.submit_python("import os\nos.mkdir('outputs')\nopen('outputs/closed', 'w').write('x')\nos.chmod('outputs/closed', 0)\n"
                           "os.mkdir('outputs/dir')\nopen('outputs/dir/f', 'w').write('y')\nos.chmod('outputs/dir', 0)\n")
        self.assertEqual(sorted(o["name"] for o in self.show()["outputs"]), ["outputs/closed", "outputs/dir/f"])
        self.home.assert_nothing_left(self.show()["runId"])

    def test_snapshot_files_are_outputs_only_if_the_run_changed_them(self):
        self.write("outputs/untouched", "old")
        self.write("outputs/changed", "old")
        self.write("outputs/removed", "old")
        self.submit_python("import os\nopen('outputs/changed', 'w').write('new')\nos.remove('outputs/removed')\n"
                           "open('outputs/made', 'w').write('made')\n")
        self.assertEqual(sorted(o["name"] for o in self.show()["outputs"]), ["outputs/changed", "outputs/made"])

    def test_a_replaced_directory_gives_only_what_the_run_put_there(self):
        self.write("outputs/old/file", "old")
        self.submit_python("import os, shutil\nshutil.rmtree('outputs/old')\nos.mkdir('outputs/old')\nopen('outputs/old/new', 'w').write('n')\n")
        self.assertEqual([o["name"] for o in self.show()["outputs"]], ["outputs/old/new"])

    def test_a_name_that_is_not_text_does_not_spoil_the_rest(self):
        self.submit_python("import os\nos.mkdir('outputs')\nopen(b'outputs/\\xff\\xfe', 'w').write('x')\nopen('outputs/good', 'w').write('y')\n")
        run = self.show()
        self.assertEqual(run["status"], "Completed")
        self.assertIn("outputs/good", [o["name"] for o in run["outputs"]])


class Excess(RunnerTest):
    """What costs a script nothing and would cost the daemon hours: more such runs than it has workers, and one that works meanwhile."""
    WORKERS = 4

    def assert_another_works(self):
        began = time.monotonic()
        self.submit_python("print('works')\n")
        self.assertEqual(self.show()["status"], "Completed")
        self.assertLess(time.monotonic() - began, 30)

    def notices(self, run_id, deadline=60.0):
        run = self.wait(run_id, timeout=deadline)
        self.assertEqual(run["status"], "Completed")
        return run, "\n".join(run["notices"])

    def test_a_journal_and_outputs_of_terabytes_of_nothing(self):
        runs = [self.detach_python("""\
            import os
            for name in ("outputs", "logs"):
                os.mkdir(name)
            for name in ("outputs/a", "logs/b", "/run/runner/metrics.jsonseq"):
                open(name, "a").close()
                os.truncate(name, 3 << 40)
            open("outputs/real", "w").write("real")
            """) for _ in range(self.WORKERS + 1)]
        self.assert_another_works()
        for run_id in runs:
            run, notices = self.notices(run_id)
            self.assertEqual([o["name"] for o in run["outputs"]], ["outputs/real"])
            self.assertIn("outputs/a: a sparse file of 3.0 TiB", notices)
            self.assertIn("logs/b: a sparse file of 3.0 TiB", notices)
            self.assertIn("metric journal: ", notices)
            self.assertIn("at most 1.0 GiB are read", notices)
            self.assertEqual(len(run["notices"]), 3, notices)

    def test_a_journal_of_records_without_end_is_one_notice(self):
        run_id = self.detach_python("""\
            import os
            with open("/run/runner/metrics.jsonseq", "ab", buffering=0) as journal:
                for n in range(40):
                    journal.write(b"\\x1e" + b"x" * (3 << 20) + b"\\n" + b"\\x1e{}\\n" * 100)
                journal.write(b'\\x1e{"metric": "last", "value": 1, "time": 1}\\n')
            """)
        run, notices = self.notices(run_id)
        self.assertEqual(len(run["notices"]), 1, notices)
        self.assertIn("records were damaged and left out; ", notices)
        self.assertIn("in records of more than 1 MiB each were left out", notices)
        self.assertIn("last", self.ok("run", "show", run_id).text)

    def test_names_that_multiply(self):
        run_id = self.detach_python("""\
            import os
            os.mkdir("outputs")
            open("outputs/kept", "w").write("kept")
            here = os.open("outputs", os.O_RDONLY)
            for level in range(190):
                os.mkdir("d" * 250, dir_fd=here)
                below = os.open("d" * 250, os.O_RDONLY, dir_fd=here)
                os.close(here)
                here = below
            for n in range(10000):
                os.close(os.open("f%d" % n, os.O_CREAT | os.O_WRONLY, dir_fd=here))
            """)
        self.assert_another_works()
        run, notices = self.notices(run_id)
        self.assertEqual([o["name"] for o in run["outputs"]], ["outputs/kept"])
        self.assertIn("longer than 4096 bytes", notices)
        self.assertLess(len(notices), 1000)
        self.assertLess(os.stat(self.home.data + "/runner.db").st_size, 8 << 20)

    def test_a_daemon_that_stops_leaves_the_outputs_to_the_next_one(self):
        # Sixteen times what was written is not called sparse: two gigabytes to read. Several, to keep every worker busy.
        runs = [self.detach_python("""\
            import os
            os.mkdir("outputs")
            with open("outputs/large", "wb") as file:
                file.write(b"%d" % os.getpid())
                for _ in range(129):
                    file.write(bytes(1 << 20))
                file.truncate(2 << 30)
            """) for _ in range(2)]
        for run_id in runs:
            self.until_status(run_id, "Finalizing", deadline=60)
        began = time.monotonic()
        self.ok("daemon", "stop")
        self.assertLess(time.monotonic() - began, 8)
        self.assertIn("the next daemon collects it", self.home.daemon_log())
        for run_id in runs:
            run, notices = self.notices(run_id, 180)
            self.assertEqual([(o["name"], o["bytes"]) for o in run["outputs"]], [("outputs/large", 2 << 30)])
            self.assertEqual(notices, "")
