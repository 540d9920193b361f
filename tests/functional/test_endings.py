"""Every way in which a run ends, told apart: kind, status, exit code of `wait`, and a message that says it."""
import json
import os
import signal

from support import processes, settings
from support.case import RunnerTest
from support.settings import only_in, only_where_limits_work
from support.waiting import wait_until


class Endings(RunnerTest):
    fresh_home = True

    def assert_ended(self, run_id, kind, status, code, message=""):
        run = self.wait(run_id, code)
        self.assertEqual((run["outcome"]["kind"], run["status"]), (kind, status), run["outcome"])
        self.assertRegex(run["outcome"]["message"], message)
        self.home.assert_nothing_left(run_id)
        return run

    def live(self, *options):
        run_id = self.detach_gated("os.makedirs(\"outputs\")\nopen(\"outputs/a\", \"w\").write(\"x\")\nprint(\"so far\", flush=True)\n"
                                   "tell(\"running\")\nawait_(\"never\")\n", *options)
        self.await_gate("running")
        self.until_status(run_id, "Running")
        wait_until(lambda: self.log(run_id) == b"so far\n", "the log so far is written")
        return run_id

    def assert_kept(self, run):
        self.assertEqual((self.log(run["runId"]), [o["name"] for o in run["outputs"]]), (b"so far\n", ["outputs/a"]))

    def test_by_itself(self):
        for code, status in ((0, "Completed"), (7, "Failed")):
            run_id = self.detach_python("import sys\nsys.exit(%d)\n" % code)
            run = self.assert_ended(run_id, "exited", status, code, "^$")
            self.assertEqual((run["outcome"]["exitCode"], run["outcome"]["signal"]), (code, None))

    def test_by_a_signal_of_its_own(self):
        run_id = self.detach_python("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n")
        run = self.assert_ended(run_id, "signaled", "Failed", 137, "^died of SIGKILL")
        self.assertEqual((run["outcome"]["exitCode"], run["outcome"]["signal"]), (None, 9))

    def test_by_a_signal_from_the_host(self):
        run_id = self.live()
        os.kill(processes.init_of(run_id).pid, signal.SIGTERM)
        self.assert_kept(self.assert_ended(run_id, "signaled", "Failed", 143, "^died of SIGTERM .*, sent from outside of the runner$"))

    def test_by_its_time_limit(self):
        run_id = self.live("--max-run-duration", "1s", "-E", "PYTHONFAULTHANDLER=")
        self.assert_kept(self.assert_ended(run_id, "timed_out", "Canceled", 124, "^exceeded its maximum duration of 1.0*s; "))

    @only_where_limits_work
    def test_for_memory_with_the_peak(self):
        run_id = self.detach_python("x = b\"x\" * (300 << 20)\n", "--memory", "64m")
        run = self.assert_ended(run_id, "out_of_memory", "Failed", 137, r"^killed for memory \(limit 64\.0 MiB, peak \d")
        self.assertLessEqual(run["outcome"]["peakMemoryBytes"], 64 << 20)
        self.assertGreater(run["outcome"]["peakMemoryBytes"], 32 << 20)

    def test_by_a_kill_of_the_container(self):
        run_id = self.live()
        processes.kill_and_wait(processes.init_of(run_id).pid)
        self.assert_kept(self.assert_ended(run_id, "killed", "Failed", 125, "^the container was killed from outside of the runner$"))

    def test_cancelled_by_the_user_who_may_say_why(self):
        for options, message in (((), "^cancelled by the user; ended by SIGTERM$"),
                                 (("--reason", "the data are wrong"), "^the data are wrong; ended by SIGTERM$")):
            run_id = self.live()
            self.ok("cancel", *options, run_id)
            self.assert_kept(self.assert_ended(run_id, "canceled", "Canceled", 130, message))
            os.remove(self.gate + "/running")

    def test_cancelled_with_its_daemon(self):
        run_id = self.live()
        self.ok("daemon", "stop", "--cancel-runs")
        self.assert_kept(self.assert_ended(run_id, "canceled", "Canceled", 130, "daemon"))

    def test_cancelled_before_it_started(self):
        blocker = self.live()
        queued = self.detach_python("pass\n")
        self.ok("cancel", queued)
        run = self.assert_ended(queued, "canceled", "Canceled", 130, "^cancelled by the user")
        self.assertIsNone(run["startTimeUtc"])
        self.ok("cancel", blocker)

    def test_by_the_loss_of_its_supervisor(self):
        run_id = self.live()
        processes.kill_and_wait(processes.shim_of(run_id).pid)
        self.assert_kept(self.assert_ended(run_id, "lost", "Failed", 125, "^the run.s supervisor was killed$"))

    def test_by_a_restart_of_the_machine(self):
        run_id = self.live("-E", "MARK=reboot-" + self.home.token)
        self.home.kill_daemon()
        processes.kill_and_wait(processes.shim_of(run_id).pid)
        processes.no_process_mentions("reboot-" + self.home.token)
        # What a machine finds that was switched off: nothing lives, and the claim is another boot's. Its pid may be anybody's
        # by now, with the same start: this very process's, say.
        claim = self.home.run_directory(run_id) + "/claim.json"
        with open(claim) as file:
            record = json.load(file)
        with open("/proc/self/stat") as file:
            ticks = int(file.read().rsplit(")", 1)[1].split()[19])
        record["shim"] = {"pid": os.getpid(), "startTicks": ticks, "bootId": "00000000-0000-4000-8000-000000000000"}
        self.home.write(claim, json.dumps(record))
        self.assert_kept(self.assert_ended(run_id, "host_rebooted", "Failed", 125, "^the machine was restarted while the run was live$"))
        self.submit_python("print(\"the next one runs\")\n")

    @only_in("sandbox")  # in a container it is the image, which test_docker_image has
    def test_without_its_environment(self):
        blocker = self.live()
        environment = self.home.new_project()
        self.home.call(settings.PYTHON, "-m", "venv", "--without-pip", environment)
        queued = self.detach_python("pass\n", "--python", environment + "/bin/python")
        os.remove(environment + "/bin/python")
        self.ok("cancel", blocker)
        run = self.assert_ended(queued, "environment_failed", "Failed", 125, "python")
        self.assertIsNone(run["startTimeUtc"])

    def test_without_having_started(self):
        run_id = self.detach("--command", "/no/such/program", "argument")
        run = self.assert_ended(run_id, "start_failed", "Failed", 125, "^could not start /no/such/program: ")
        self.assertIsNone(run["startTimeUtc"])
