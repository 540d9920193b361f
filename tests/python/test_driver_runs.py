"""Drivers and notebooks wait for runs, and have runs of their own process."""

import signal
import time
import unittest

from driver import DriverCase, PROLOGUE
from support import document_of, without_time


class Wait(DriverCase):
    def final(self, **more):
        return document_of(
            "r",
            **dict(
                {
                    "status": "Completed",
                    "durationSeconds": 1.25,
                    "metrics": {"loss": [2, 0.5]},
                    "outputs": [{"name": "outputs/m", "bytes": 1500}],
                },
                **more,
            ),
        )

    def follow(self, log, final, progress=b"", **more):
        self.routes.update(
            {
                "GET /v1/runs/r/progress": progress,
                "GET /v1/runs/r/log": log,
                "GET /v1/runs/r/wait": final,
                "GET /v1/runs/r": final,
            }
        )
        return self.drive("print(Run('diabetes', 'r').wait_for_completion(show_output=True)['status'])", **more)

    def test_it_shows_progress_log_and_summary(self):
        done = self.follow(b"epoch 1\nGr\xc3\xbc\xc3\x9fe \xff\n", self.final(), b"building: 1 of 2\nbuilding: 2 of 2\n")
        self.assertEqual(done.stdout_text, "epoch 1\nGrüße \ufffd\nCompleted\n")
        self.assertEqual(
            done.stderr_text.splitlines(),
            [
                "runner: run r",
                "runner: building: 2 of 2",
                "runner: run r Completed in 1.2 s",
                "  metrics  loss=0.5",
                "  outputs  1 file, 1.5 kB",
            ],
        )

    def test_a_log_that_breaks_goes_on_byte_by_byte_and_characters_stay_whole(self):
        content = "zeile äöü\n".encode() * 50

        def breaking(asked):
            query = dict(asked.query)
            self.assertEqual((query["follow"], query["attempt"]), ("1", "1"))
            rest = content[int(query["offset"]) :]
            asked.handler.send_response(200)
            asked.handler.send_header("Transfer-Encoding", "chunked")
            asked.handler.end_headers()
            piece = rest[:107]
            asked.handler.wfile.write(b"%x\r\n" % len(piece) + piece + b"\r\n")
            if len(rest) <= 107:
                asked.handler.wfile.write(b"0\r\n\r\n")
            else:
                asked.handler.wfile.flush()
                asked.handler.connection.shutdown(2)
                asked.handler.close_connection = True
            return None

        done = self.follow(breaking, self.final())
        self.assertEqual(done.stdout_text, content.decode() + "Completed\n")

    def test_a_run_that_starts_again_is_followed_into_its_next_attempt(self):
        attempts = [1, 2, 2]

        def show(asked):
            attempt = attempts.pop(0) if len(attempts) > 1 else attempts[0]
            return self.final(
                attempt=attempt, earlierAttempts=[{"attempt": 1, "reason": "gave way to a run of higher priority"}]
            )

        self.routes.update(
            {
                "GET /v1/runs/r/progress": b"",
                "GET /v1/runs/r/log": lambda asked: "attempt {}\n".format(dict(asked.query)["attempt"]).encode(),
                "GET /v1/runs/r": show,
            }
        )
        done = self.drive("Run('diabetes', 'r').wait_for_completion(show_output=True)")
        self.assertEqual(done.stdout_text, "attempt 1\nattempt 2\n")
        self.assertIn("runner: attempt 1 gave way to a run of higher priority; the run starts again", done.stderr_text)

    def test_a_failure_is_raised_with_the_errors_text_and_the_details(self):
        error = {"code": "UserError", "message": "the script exited with code 7", "hint": "look at line 3"}
        self.routes["GET /v1/runs/r/wait"] = self.final(status="Failed", error=error)
        self.routes["GET /v1/runs/c/wait"] = self.final(status="Canceled", statusReason="time limit of 90 s", error=None)
        self.drive(
            """
            try:
                Run("e", "r").wait_for_completion()
            except runner.RunFailed as error:
                equal((error.code, error.hint, error.details["status"]), ("UserError", "look at line 3", "Failed"))
                equal(str(error), "run r failed: the script exited with code 7\\nhint: look at line 3")
                assert not isinstance(error, runner.RunCanceled)
            else:
                raise AssertionError
            refused(runner.RunCanceled, "was canceled: time limit of 90 s", lambda: Run("e", "c").wait_for_completion(False, True))
            equal(Run("e", "r").wait_for_completion(raise_on_error=False)["status"], "Failed")
            """
        )

    def test_ctrl_c_leaves_the_run_going_and_says_so(self):
        released = []

        def endless(asked):
            asked.handler.send_response(200)
            asked.handler.send_header("Transfer-Encoding", "chunked")
            asked.handler.end_headers()
            asked.handler.wfile.write(b"6\r\nbegun\n\r\n")
            asked.handler.wfile.flush()
            while not released:
                time.sleep(0.02)
            asked.handler.close_connection = True
            return None

        self.start_daemon()
        self.routes.update({"GET /v1/runs/r/progress": b"", "GET /v1/runs/r/log": endless, "GET /v1/runs/r": document_of("r")})
        process = self.start(
            PROLOGUE + "Run('e', 'r').wait_for_completion(show_output=True)\n", inside=False, RUNNER_HOME=self.home
        )
        self.assertEqual(process.stdout.readline(), "begun\n")
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
        released.append(True)
        self.assertNotEqual(process.returncode, 0)
        self.assertIn("runner: run r goes on ('runner logs -f r' follows it, 'runner cancel r' stops it)", said)
        self.assertTrue(said.rstrip().endswith("KeyboardInterrupt"), said)
        self.assertFalse([target for target in self.daemon.targets() if "cancel" in target or "fail" in target])

    def test_other_ends_of_runs_that_are_not_this_process_s(self):
        self.routes.update({"POST /v1/runs/r/*": document_of("r"), "GET /v1/runs/r": document_of("r")})
        self.drive(
            """
            run = Run("e", "r")
            run.fail("no good"); run.cancel()
            refused(runner.Conflict, "metrics are logged by its own script", lambda: run.log("x", 1))
            refused(runner.Conflict, "metrics are logged by its own script", lambda: run.log_list("x", [1]))
            """
        )
        posts = [(asked.path, asked.document) for asked in self.daemon.asked if asked.method == "POST"]
        self.assertEqual(posts, [("/v1/runs/r/fail", {"reason": "no good"}), ("/v1/runs/r/cancel", {})])


class Interactive(DriverCase):
    def setUp(self):
        super().setUp()

        def begun(asked):
            self.begun = asked.document
            return 201, document_of(
                asked.document["id"], kind="interactive", journal=self.journal, artifacts=self.artifacts, experiment="e"
            )

        self.routes["POST /v1/interactive"] = begun
        self.routes["POST /v1/runs/*"] = lambda asked: (
            {
                "items": [
                    document_of(child["id"], kind="child", parentRunId=asked.segments[2])
                    for child in asked.document["children"]
                ]
            }
            if asked.path.endswith("children")
            else {}
        )

    def test_a_with_block_is_a_run_with_the_journal_it_was_given(self):
        self.drive(
            """
            with Experiment("e").start_logging(outputs="out", snapshot_directory="src", tags={"t": 1}, display_name="n") as run:
                run.log("x", 1); run.upload_file("a", __file__)
                with run.child_run("c") as child: child.log("y", 2)
                pid = os.fork()
                if pid == 0:
                    run.log("x", 2)
                    sys.exit(3)
                os.waitpid(pid, 0)
            equal((run.type, run.experiment.name), ("interactive", "e"))
            print(os.getpid(), open("/proc/self/stat").read().rpartition(")")[2].split()[19])
            print(run.id, child.id)
            """
        )
        self.assertEqual(
            {key: value for key, value in self.begun.items() if key not in ("id", "process")},
            {
                "experiment": "e",
                "name": "n",
                "tags": {"t": "1"},
                "outputs": self.directory + "/out",
                "sourceDirectory": self.directory + "/src",
                "sourceDirectoryExplicit": True,
            },
        )
        ends = [(asked.segments[2], asked.document) for asked in self.daemon.asked if asked.path.endswith("/end")]
        run = self.begun["id"]
        self.assertEqual([document for _, document in ends], [{"status": "Completed"}] * 2)
        self.assertEqual(ends[1][0], run)
        child = ends[0][0]
        records = without_time(self.records())
        self.assertEqual(records[0], {"metric": "x", "value": 1})
        self.assertEqual(records[1]["artifact"], "a")
        self.assertEqual(records[2], {"metric": "y", "value": 2, "run": child})
        self.assertEqual(records[3], {"metric": "x", "value": 2})

    def test_the_process_is_named_by_its_id_and_its_start(self):
        done = self.drive(
            """
            Experiment("e").start_logging().complete()
            print(os.getpid(), open("/proc/self/stat").read().rpartition(")")[2].split()[19])
            """
        )
        pid, ticks = map(int, done.stdout_text.split())
        self.assertEqual(self.begun["process"], {"pid": pid, "startTicks": ticks})
        self.assertEqual((self.begun["sourceDirectory"], self.begun["sourceDirectoryExplicit"]), (self.directory, False))

    def test_an_exception_fails_it_and_no_snapshot_is_no_directory(self):
        done = self.drive(
            """
            with Experiment("e").start_logging(None, None) as run:
                raise ValueError("no good")
            """,
            check=False,
        )
        self.assertIn("ValueError: no good", done.stderr_text)
        self.assertNotIn("sourceDirectory", self.begun)
        self.assertEqual(
            self.daemon.asked[-1].document,
            {"status": "Failed", "error": {"code": "UserError", "message": "ValueError: no good"}},
        )
        self.drive(
            "refused(runner.NotFound, 'snapshot_directory: there is no directory', "
            "lambda: Experiment('e').start_logging(snapshot_directory='missing'))"
        )

    def test_it_logs_while_the_daemon_is_down(self):
        self.drive(
            """
            run = Experiment("e").start_logging()
            os.unlink(os.path.join(os.environ["RUNNER_HOME"], "control.sock"))
            run._history.client._connections._close_idle()
            for n in range(100): run.log("x", n)
            run.upload_file("a", __file__)
            """
        )
        self.assertEqual(len(self.records()), 101)


if __name__ == "__main__":
    unittest.main()
