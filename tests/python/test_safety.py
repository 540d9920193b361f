"""What may not get lost or torn: forks, threads, processes that end in every way, files of one name."""

import os
import signal
import unittest

from support import ScriptCase, without_time


class Writers(ScriptCase):
    def test_eight_processes_with_threads_lose_no_record_of_any_kind(self):
        self.run_script(
            """
            import os, threading
            import runner

            run = runner.Run.get_context()
            child = "0b7c1c34-0000-4000-8000-000000000001"

            def work(who):
                for n in range(50):
                    run.log(who, n, step=n)
                    run.log_list(who + " list", [n] * (n % 5))
                    run.log_row(who + " row", n=n)
                    run.log_table(who + " table", {"n": [n, n]})
                    if n % 10 == 0:
                        run.upload_file("%s/%d" % (who, n), open("/dev/null"))

            def threads(who):
                started = [threading.Thread(target=work, args=("%s.%d" % (who, t),)) for t in range(3)]
                for thread in started: thread.start()
                for thread in started: thread.join()

            children = []
            for process in range(8):
                pid = os.fork()
                if pid == 0:
                    threads(str(process))
                    os._exit(0)
                children.append(pid)
            for pid in children: assert os.waitpid(pid, 0)[1] == 0
            """
        )
        records = self.records()
        self.assertEqual(len(records), 24 * (4 * 50 + 5))
        points, lists, rows, tables, artifacts = {}, {}, {}, {}, set()
        for record in records:
            if "metric" in record:
                points.setdefault(record["metric"], []).append(record["value"])
            elif "list" in record:
                lists.setdefault(record["list"], []).append(record["values"])
            elif "row" in record:
                rows.setdefault(record["row"], []).append(record["values"]["n"])
            elif "table" in record:
                tables.setdefault(record["table"], []).append(record["values"]["n"])
            else:
                artifacts.add(record["artifact"])
                self.assertTrue(os.path.exists(os.path.join(self.artifacts, record["artifact"])))
        everyone = {"{}.{}".format(process, thread) for process in range(8) for thread in range(3)}
        self.assertEqual(set(points), everyone)
        for who in everyone:
            self.assertEqual(points[who], list(range(50)))
            self.assertEqual(lists[who + " list"], [[n] * (n % 5) for n in range(50)])
            self.assertEqual(rows[who + " row"], list(range(50)))
            self.assertEqual(tables[who + " table"], [[n, n] for n in range(50)])
        self.assertEqual(len(artifacts), 24 * 5)
        self.assertEqual([name for name in os.listdir(self.artifacts) if name.startswith(".new-")], [])

    def test_nothing_is_lost_when_the_process_ends_at_once(self):
        for end in ("os._exit(0)", "os.kill(os.getpid(), signal.SIGKILL)", "os.abort()", "os.execv('/bin/true', ['true'])"):
            with self.subTest(end):
                if os.path.exists(self.journal):
                    os.unlink(self.journal)
                name = "file of " + end.split("(")[0]
                done = self.run_script(
                    """
                    import os, signal, runner
                    run = runner.Run.get_context()
                    run.log("x", 1)
                    run.log_list("l", range(100_000))
                    run.upload_file({!r}, __file__)
                    run.log_row("last", a=1)
                    {}
                    """.format(name, end),
                    check=False,
                )
                self.assertIn(done.returncode, (0, -signal.SIGKILL, -signal.SIGABRT), done.stderr_text)
                records = without_time(self.records())
                self.assertEqual(records[0], {"metric": "x", "value": 1})
                self.assertEqual(sum(len(record["values"]) for record in records if "list" in record), 100_000)
                self.assertEqual(records[-1], {"row": "last", "values": {"a": 1}})
                with open(os.path.join(self.directory, "script.py"), "rb") as stream:
                    self.assertEqual(self.artifact(name), stream.read())

    def test_a_fork_while_another_thread_logs_leaves_a_child_that_can_log(self):
        self.run_script(
            """
            import os, threading
            import runner
            run = runner.Run.get_context()
            over = False
            def busy():
                n = 0
                while not over:
                    run.log("busy %d" % (n % 50), n)
                    run.log_list("list %d" % (n % 50), [n])
                    n += 1
            threads = [threading.Thread(target=busy) for _ in range(2)]
            for thread in threads: thread.start()
            for number in range(30):
                pid = os.fork()
                if pid == 0:
                    import signal
                    signal.alarm(20)  # a deadlock ends with a signal
                    run.log("child", number)
                    run.upload_file("child %d" % number, open("/dev/null"))
                    os._exit(0)
                assert os.waitpid(pid, 0)[1] == 0
            over = True
            for thread in threads: thread.join()
            """
        )
        records = self.records()
        self.assertEqual([record["value"] for record in records if record.get("metric") == "child"], list(range(30)))


class Uploads(ScriptCase):
    def test_of_eight_processes_that_choose_one_name_one_wins_and_the_others_are_told(self):
        done = self.run_script(
            """
            import os, time
            import runner
            run = runner.Run.get_context()
            begin = time.monotonic() + 0.3
            pids = []
            for number in range(8):
                pid = os.fork()
                if pid == 0:
                    time.sleep(max(0, begin - time.monotonic()))
                    try:
                        run.upload_file("outputs/best.txt", open("/proc/self/stat"))
                        os._exit(10)
                    except runner.Conflict as error:
                        assert str(error).startswith("upload_file: the run has a file 'outputs/best.txt' already"), error
                        assert "choose another, like 'outputs/best_2.txt'" in str(error), error
                        os._exit(20)
                pids.append(pid)
            print(sorted(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) if hasattr(os, "waitstatus_to_exitcode")
                         else os.waitpid(pid, 0)[1] >> 8 for pid in pids))
            """
        )
        self.assertEqual(done.stdout_text.strip(), str([10] + [20] * 7))
        self.assertEqual(len(self.records()), 1)
        self.assertEqual(os.listdir(self.artifacts), ["outputs"])

    def test_a_name_stays_taken_when_the_daemon_has_emptied_its_file(self):
        self.run_script(
            """
            import os, runner
            run = runner.Run.get_context()
            run.upload_file("outputs/a", __file__)
            os.truncate({!r}, 0)  # the daemon has it
            try:
                run.upload_file("outputs/a", __file__)
            except runner.Conflict:
                pass
            else:
                raise AssertionError("written twice")
            """.format(os.path.join(self.artifacts, "outputs", "a"))
        )
        self.assertEqual(len(self.records()), 1)

    def test_every_argument_form_of_upload_file_and_upload_folder(self):
        self.write("data/one.txt", "one")
        self.write("data/deep/two.txt", "two")
        os.symlink("one.txt", os.path.join(self.directory, "data", "link.txt"))
        os.symlink("deep", os.path.join(self.directory, "data", "directory"))
        os.mkfifo(os.path.join(self.directory, "data", "pipe"))
        done = self.run_script(
            """
            import io, pathlib, runner
            run = runner.Run.get_context()
            run.upload_file("a", "data/one.txt")
            run.upload_file(name="b/c", path_or_stream=pathlib.Path("data/one.txt"))
            run.upload_file("text", io.StringIO("Grüße"))
            run.upload_file("bytes", io.BytesIO(b"raw" * 1_000_000))
            run.upload_file("open", open("data/one.txt", "rb"))
            run.upload_files(["m", "n"], ["data/one.txt", "data/deep/two.txt"])
            run.upload_folder("folder", "data")
            run.upload_folder(name="other/", path=pathlib.Path("data/deep"))
            run.upload_folder("empty/really", "io")
            """
        )
        found = {record["artifact"]: record["bytes"] for record in self.records()}
        for name, content in {
            "a": b"one",
            "b/c": b"one",
            "text": "Grüße".encode(),
            "bytes": b"raw" * 1_000_000,
            "open": b"one",
            "m": b"one",
            "n": b"two",
            "folder/one.txt": b"one",
            "folder/link.txt": b"one",
            "folder/deep/two.txt": b"two",
            "other/two.txt": b"two",
        }.items():
            self.assertEqual(self.artifact(*name.split("/")), content, name)
            self.assertEqual(found.pop(name), len(content))
        self.assertEqual([name for name in found if not name.startswith("empty/really/")], [])
        self.assertIn("data/pipe is no regular file and is left out", done.stderr_text)

    def test_files_of_a_child_lie_beside_those_of_its_parent(self):
        self.run_script(
            """
            import os
            from runner_sdk import _metrics
            from runner_sdk._daemon import script_history
            from runner_sdk._run import run_of
            history = script_history(os.environ["RUNNER_RUN_ID"], os.environ["RUNNER_METRICS"], _metrics.own)
            for run in (os.environ["RUNNER_RUN_ID"], "child-1", "child-2"):
                run_of(history, run, {}).upload_file("outputs/model", open("/dev/null"))
                run_of(history, run, {}).log("x", 1)
                run_of(history, run, {}).log_residuals("r", {"data": {}})
            """
        )
        records = self.records()
        self.assertEqual([record.get("run") for record in records], [None] * 4 + ["child-1"] * 4 + ["child-2"] * 4)
        for directory in (".", ".run-child-1", ".run-child-2"):
            self.assertTrue(os.path.isfile(os.path.join(self.artifacts, directory, "outputs", "model")), directory)

    def test_what_cannot_be_uploaded_names_the_argument_and_leaves_nothing(self):
        self.write("there.txt", "x")
        self.run_script(
            """
            import os, runner
            run = runner.Run.get_context()
            run.upload_file("taken/file", "there.txt")
            long = "n" * 256
            class Wrong:
                def read(self, count): return 5
            class Broken:
                def read(self, count): raise RuntimeError("the stream's own error")
            for error, words, call in [
                (runner.NotFound, "upload_file: path_or_stream: there is no file 'missing'", lambda: run.upload_file("x", "missing")),
                (runner.Invalid, "upload_file: path_or_stream '.' is a directory\\nhint: upload_folder", lambda: run.upload_file("x", ".")),
                (runner.Invalid, "'/dev/null' is no regular file", lambda: run.upload_file("x", "/dev/null")),
                (TypeError, "upload_file: path_or_stream must be a path or an open file, not int", lambda: run.upload_file("x", 5)),
                (TypeError, "upload_file: path_or_stream.read() must give bytes or text, not int", lambda: run.upload_file("x", Wrong())),
                (RuntimeError, "the stream's own error", lambda: run.upload_file("x", Broken())),
                (TypeError, "upload_file: name must be a text like 'outputs/model.pkl', not int", lambda: run.upload_file(5, "there.txt")),
                (runner.Invalid, "write 'a/b'", lambda: run.upload_file("/a//b", "there.txt")),
                (runner.Invalid, "write 'a'", lambda: run.upload_file("../a", "there.txt")),
                (runner.Invalid, "write 'a'", lambda: run.upload_file("a/", "there.txt")),
                (runner.Invalid, "name '' must be file names joined by single slashes", lambda: run.upload_file("", "there.txt")),
                (runner.Invalid, "at most 255 bytes between slashes", lambda: run.upload_file(long, "there.txt")),
                (runner.Invalid, "cannot be a file's", lambda: run.upload_file("a\\0b", "there.txt")),
                (runner.Invalid, "is not Unicode text", lambda: run.upload_file("\\ud800", "there.txt")),
                (runner.Invalid, "the runner's own", lambda: run.upload_file(".new-1-1", "there.txt")),
                (runner.Invalid, "the runner's own", lambda: run.upload_file(".run-x/y", "there.txt")),
                (runner.Invalid, "files below git/ are the runner's own", lambda: run.upload_file("git/x", "there.txt")),
                (runner.Invalid, "files below user_logs/ are", lambda: run.upload_file("user_logs/std_log.txt", "there.txt")),
                (runner.Invalid, "files below system_logs/ are", lambda: run.upload_file("system_logs/x", "there.txt")),
                (runner.Invalid, "files below attempts/ are", lambda: run.upload_file("attempts/1/x", "there.txt")),
                (runner.Conflict, "a part of 'taken/file/x' is a file", lambda: run.upload_file("taken/file/x", "there.txt")),
                (runner.Conflict, "'taken' is a directory of the run's files", lambda: run.upload_file("taken", "there.txt")),
                (runner.Invalid, "datastore_name: there are no datastores", lambda: run.upload_file("x", "there.txt", datastore_name="blob")),
                (runner.NotFound, "upload_folder: path: there is no directory 'missing'", lambda: run.upload_folder("x", "missing")),
                (runner.Invalid, "is no directory\\nhint: upload_file", lambda: run.upload_folder("x", "there.txt")),
                (TypeError, "upload_folder: path must be a directory's path", lambda: run.upload_folder("x", 5)),
                (runner.Invalid, "lists of one length", lambda: run.upload_files(["x"], [])),
            ]:
                try:
                    call()
                except error as problem:
                    assert words in str(problem), (words, str(problem))
                else:
                    raise AssertionError(words)
            """
        )
        self.assertEqual(without_time(self.records()), [{"artifact": "taken/file", "bytes": 1}])
        self.assertEqual(os.listdir(self.artifacts), ["taken"])

    def test_a_full_disk_is_an_error_of_its_own_and_leaves_no_piece(self):
        self.run_script(
            """
            import resource, signal, runner
            from runner_sdk import _artifacts
            run = runner.Run.get_context()
            import errno, os
            write = os.write
            def full(descriptor, data):
                if len(data) > 100_000:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                return write(descriptor, data)
            _artifacts.os.write = full
            import io
            try:
                run.upload_file("big", io.BytesIO(b"x" * 3_000_000))
            except runner.NoSpace as error:
                assert "upload_file: big: No space left on device" in str(error), error
            else:
                raise AssertionError
            """
        )
        self.assertEqual(self.raw_journal(), b"")
        self.assertEqual(os.listdir(self.artifacts), [])


if __name__ == "__main__":
    unittest.main()
