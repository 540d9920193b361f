"""Files that a script hands over while it runs: upload_file, log_image and their kin, through io/artifacts."""
import os
import re

from support.driver_case import DriverTest
from support.settings import only_in
from support.waiting import wait_until

# Records as the journal's page has them, without the package: what a script may get wrong.
BY_HAND = """\
    import json, os
    DIRECTORY = "/run/runner/artifacts"
    journal = os.open(os.environ["RUNNER_METRICS"], os.O_WRONLY | os.O_APPEND)
    def say(**record):
        os.write(journal, b"\\x1e" + json.dumps(dict(record, time=1700000000000000)).encode() + b"\\n")
    def put(name, content=b"content", said=None, run=None):
        path = os.path.join(DIRECTORY, *([".run-" + run] if run else []), name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(content)
        more = {"run": run} if run else {}
        say(artifact=name, bytes=len(content) if said is None else said, **more)
        return path
"""


class HandedOver(DriverTest):
    def names(self, run="@last"):
        return sorted(file["name"] for file in self.ok("run", "files", "--json", run).json["items"])

    def test_a_file_is_there_while_the_run_lives_and_its_copy_takes_no_room(self):
        run = self.detach_gated("""
            import runner
            run = runner.Run.get_context()
            open("/tmp/model", "wb").write(b"x" * 3000000)
            run.upload_file("models/best.bin", "/tmp/model")
            tell("uploaded")
            await_("look")
            tell("left", str(os.stat("/run/runner/artifacts/models/best.bin").st_size))
            try:
                run.upload_file("models/best.bin", "/tmp/model")
            except runner.Conflict as error:
                tell("taken", str(error))
            await_("end")
            """)
        self.await_gate("uploaded")
        wait_until(lambda: "models/best.bin" in self.names(run), "the file is in the history")
        self.assertEqual(self.file_of(run, "models/best.bin"), b"x" * 3000000)
        inside = self.home.run_directory(run) + "/io/artifacts/models/best.bin"
        wait_until(lambda: os.stat(inside).st_size == 0, "it is emptied")
        self.open_gate("look")
        self.assertEqual(self.await_gate("left"), "0")
        self.assertIn("models/best.bin", self.await_gate("taken"))
        self.open_gate("end")
        shown = self.wait(run)
        self.assertEqual(shown["notices"], [])
        self.assertIn("models/best.bin", self.names(run))

    def test_an_image_is_a_value_that_names_its_file(self):
        self.submit_python("""\
            import runner
            run = runner.Run.get_context()
            png = b"\\x89PNG\\r\\n\\x1a\\n" + b"\\0" * 20
            open("plot.png", "wb").write(png)
            run.log_image("plot", path="plot.png")
            run.log_confusion_matrix("matrix", {"schema_type": "confusion_matrix", "schema_version": "v1",
                                                "data": {"class_labels": ["a", "b"], "matrix": [[1, 2], [3, 4]]}})
            """)
        shown = self.show()
        self.assertEqual(sorted(shown["metrics"]), ["matrix", "plot"])
        for name, kind in (("plot", "image"), ("matrix", "confusion_matrix")):
            value = shown["metrics"][name]
            self.assertEqual(value["type"], kind)
            self.assertIn(value["artifact"], self.names())
        self.assertTrue(self.file_of(shown["runId"], shown["metrics"]["plot"]["artifact"]).startswith(b"\x89PNG"))

    def test_an_uploaded_file_was_there_before_a_collected_one_of_its_name(self):
        self.submit_python("""\
            import os, runner
            run = runner.Run.get_context()
            os.makedirs("outputs")
            open("outputs/a.txt", "w").write("first")
            run.upload_file("outputs/a.txt", "outputs/a.txt")
            open("outputs/a.txt", "w").write("second")
            open("outputs/same.txt", "w").write("same")
            run.upload_file("outputs/same.txt", "outputs/same.txt")
            open("outputs/b.txt", "w").write("collected")
            """)
        shown = self.show()
        self.assertEqual(sorted(file["name"] for file in shown["outputs"]), ["outputs/a.txt", "outputs/b.txt", "outputs/same.txt"])
        self.assertEqual(self.file_of(shown["runId"], "outputs/a.txt"), b"first")
        self.assertEqual(len(shown["notices"]), 1, shown["notices"])
        self.assertIn("outputs/a.txt", shown["notices"][0])

    def test_hostile_records_and_files_become_notices(self):
        self.write("secret.txt", "not yours")
        self.submit_python(BY_HAND + """\
    os.symlink("/etc/passwd", DIRECTORY + "/link")
    say(artifact="link", bytes=1)
    os.mkfifo(DIRECTORY + "/fifo")
    say(artifact="fifo", bytes=1)
    say(artifact="../metrics.jsonseq", bytes=1)
    say(artifact="/etc/passwd", bytes=1)
    os.symlink("/", DIRECTORY + "/root")
    say(artifact="root/etc/passwd", bytes=1)
    say(artifact="missing", bytes=1)
    put("user_logs/std_log.txt", b"forged")
    put("attempts/1/x", b"forged")
    put(".new-1-1", b"unfinished")
    put("foreign", run="somebody_1700000000_0123abcd")
    put("good", b"good")
    put("other-size", b"1234", said=3)
    print("its own words")
""")
        shown = self.show()
        run = shown["runId"]
        self.assertEqual([name for name in self.names(run) if not name.startswith("system_logs/")], ["good", "other-size", "user_logs/std_log.txt"])
        self.assertEqual(self.log(run), b"its own words\n")
        text = "\n".join(shown["notices"])
        for name in ("link", "fifo", "root/etc/passwd", "missing", "user_logs/std_log.txt", "attempts/1/x", ".new-1-1", "foreign", "other-size"):
            self.assertRegex(text, "(?m)^%s: " % re.escape(name))
        self.assertIn("2 records were damaged", text)  # names that lead out of the directory

    def test_what_was_linked_and_not_named_is_kept_and_what_is_unfinished_is_not(self):
        self.submit_python("""\
            import os, signal
            os.makedirs("/run/runner/artifacts/plots")
            open("/run/runner/artifacts/plots/a.bin", "wb").write(b"whole")
            open("/run/runner/artifacts/.new-1-2", "wb").write(b"half")
            os.kill(os.getpid(), signal.SIGKILL)
            """, exit_code=137)
        self.assertIn("plots/a.bin", self.names())
        self.assertNotIn(".new-1-2", self.names())
        self.assertEqual(self.file_of(self.show()["runId"], "plots/a.bin"), b"whole")

    def test_forked_processes_hand_over_their_files_while_the_daemon_is_away(self):
        run = self.detach_gated("""
            import runner
            run = runner.Run.get_context()
            tell("ready")
            await_("go")
            children = []
            for worker in range(4):
                pid = os.fork()
                if pid == 0:
                    for n in range(10):
                        open("/tmp/w%d-%d" % (worker, n), "wb").write(b"%d %d" % (worker, n))
                        run.upload_file("worker%d/%d" % (worker, n), "/tmp/w%d-%d" % (worker, n))
                        runner.log("made", n)
                    os._exit(0)
                children.append(pid)
            for child in children: os.waitpid(child, 0)
            tell("made")
            await_("end")
            """)
        self.await_gate("ready")
        self.home.kill_daemon()
        self.open_gate("go")
        self.await_gate("made")
        self.assertIsNone(self.home.daemon_pid())
        wanted = sorted("worker%d/%d" % (worker, n) for worker in range(4) for n in range(10))
        wait_until(lambda: [name for name in self.names(run) if name.startswith("worker")] == wanted, "all are there")
        # What a record says of files is done before what the same part of the journal says of metrics.
        wait_until(lambda: len(self.show(run)["metrics"].get("made", [])) == 40, "all that was logged is there")
        self.open_gate("end")
        shown = self.wait(run)
        self.assertEqual(shown["notices"], [])
        self.assertEqual(self.file_of(run, "worker3/7"), b"3 7")

    @only_in("sandbox")
    def test_a_daemon_that_is_killed_again_and_again_loses_none(self):
        run = self.detach_gated("""
            import runner
            run = runner.Run.get_context()
            tell("ready")
            for n in range(60):
                open("/tmp/file", "wb").write(os.urandom(200000))
                run.upload_file("many/%02d" % n, "/tmp/file")
                time.sleep(0.02)
            """)
        self.await_gate("ready")
        for _ in range(3):
            self.show(run)  # a daemon runs
            self.home.kill_daemon()
        shown = self.wait(run)
        self.assertEqual([name for name in self.names(run) if name.startswith("many/")], ["many/%02d" % n for n in range(60)])
        self.assertEqual({file["bytes"] for file in self.ok("run", "files", "--json", run).json["items"] if file["name"].startswith("many/")},
                         {200000})
        self.assertEqual(shown["notices"], [])

    def test_the_user_adds_files_of_his_own(self):
        run = self.detach_gated('tell("ready")\nawait_("end")\n')
        self.await_gate("ready")
        path = self.write("note.txt", "a note")
        target = "/v1/runs/%s/artifacts" % run
        added = self.ask("POST", target, {"name": "notes/note.txt", "path": path})
        self.assertEqual((added["name"], added["bytes"]), ("notes/note.txt", 6))
        self.assertEqual(self.ask("POST", target, {"name": "notes/note.txt", "path": path}), added)
        other = self.write("other.txt", "another")
        self.assertIn("notes/note.txt", self.refused(409, "POST", target, {"name": "notes/note.txt", "path": other}))
        for name in ("../x", "a//b", "/a", ".new-1-1", "user_logs/std_log.txt", "git/diff.patch", ""):
            self.refused(400, "POST", target, {"name": name, "path": path})
        self.refused(400, "POST", target, {"name": "x", "path": self.project})
        self.refused(404, "POST", target, {"name": "x", "path": path + ".none"})
        self.assertEqual(self.file_of(run, "notes/note.txt"), b"a note")
        self.open_gate("end")
        self.wait(run)
        self.refused(409, "POST", target, {"name": "late", "path": path})
