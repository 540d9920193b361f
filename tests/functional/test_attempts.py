"""Runs of low priority: they give way to normal ones and start again from their snapshot."""
import os
import threading

from support.waiting import wait_until
from test_queue import QueueTest

# Ends politely: what it says in its last moment is kept.
LOW = """
    import signal
    attempt = os.environ["RUNNER_ATTEMPT"]
    def leave(number, frame):
        print("saved in attempt " + attempt)
        sys.exit(0)
    signal.signal(signal.SIGTERM, leave)
    os.makedirs("outputs", exist_ok=True)
    print("left over: %s" % os.path.exists("scratch"), flush=True)
    open("scratch", "w").write("of attempt " + attempt)
    open("outputs/state.txt", "w").write("of attempt " + attempt)
    import runner
    runner.log("loss", int(attempt))
    print("attempt " + attempt, flush=True)
    tell("low-" + attempt)
    await_("low-go-" + attempt)
"""


class GivingWay(QueueTest):
    def low(self, *options, code=LOW, **more):
        run = self.detach_gated(code, "--priority", "-1", *options, **more)
        self.await_gate("low-1")
        return run

    def gives_way(self, low):
        """A normal run comes; both begin again in their turn. Returns the normal one."""
        normal = self.gated("normal")
        self.begun("normal")
        wait_until(lambda: self.show(low)["attempt"] == 2, "the second attempt is in the queue")
        return normal

    def ends_in_its_second(self, low, normal):
        """The normal run ends, the low one begins again and ends."""
        self.let_go("normal")
        self.await_gate("low-2")
        self.open_gate("low-go-2")
        self.wait(low)
        self.wait(normal)

    def test_an_attempt_whose_journal_cannot_be_kept_gives_way_all_the_same(self):
        for spoil in ("os.truncate(journal, 3 << 40)", "os.remove(journal); os.symlink('/etc/passwd', journal)"):
            with self.subTest(spoil):
                for gate in os.listdir(self.gate):
                    os.remove(os.path.join(self.gate, gate))
                low = self.low(code=LOW.replace('tell("low-"', """if attempt == "1":
        journal = "/run/runner/metrics.jsonseq"
        %s
    tell("low-\"""" % spoil))
                self.ends_in_its_second(low, self.gives_way(low))
                run = self.show(low)
                self.assertEqual((run["attempt"], run["status"], run["metrics"]), (2, "Completed", {"loss": 2}))
                [notice] = [n for n in run["notices"] if "metrics.jsonseq" in n]
                self.assertIn("not stored", notice)
                self.assertNotIn("attempts/1/metrics.jsonseq", run["logFiles"])

    def test_each_attempt_keeps_its_own_log_outputs_and_metrics(self):
        low = self.low()
        normal = self.gives_way(low)
        waiting = self.show(low)
        self.assertEqual((waiting["status"], waiting["startTimeUtc"], waiting["metrics"]), ("Queued", None, {}))
        wait_until(lambda: "waits for" in self.show(low)["statusReason"], "it is in the queue again")
        self.ends_in_its_second(low, normal)
        run = self.show(low)
        self.assertEqual((run["attempt"], run["status"], run["outcome"]["kind"]), (2, "Completed", "exited"))
        self.assertEqual(run["metrics"], {"loss": 2})
        [earlier] = run["earlierAttempts"]
        self.assertEqual(earlier["attempt"], 1)
        self.assertEqual(earlier["reason"], "gave way to %s; ended by SIGTERM" % normal)
        self.assertLess(earlier["startTimeUtc"], earlier["endTimeUtc"])
        self.assertLess(earlier["endTimeUtc"], run["startTimeUtc"])
        names = {file["name"] for file in earlier["files"]}
        self.assertLessEqual({"attempts/1/user_logs/std_log.txt", "attempts/1/outputs/state.txt", "attempts/1/metrics.jsonseq"}, names)
        self.assertEqual([output["name"] for output in run["outputs"]], ["outputs/state.txt"])
        log = self.ok("logs", low).text
        self.assertEqual(log, "left over: False\nattempt 2\n")
        self.assertEqual(self.ok("logs", "--name", "attempts/1/user_logs/std_log.txt", low).text,
                         "left over: False\nattempt 1\nsaved in attempt 1\n")
        self.ok("run", "download", low, "-d", "got")
        with open(os.path.join(self.project, "got/attempts/1/outputs/state.txt")) as file:
            self.assertEqual(file.read(), "of attempt 1")
        self.assertIn("gave way to " + normal, self.ok("show", low).text)

    def test_what_it_came_after_may_be_deleted_once_it_has_begun(self):
        self.submit_python("pass\n")
        before = self.show()["runId"]
        low = self.low("--after", before)
        self.ok("run", "delete", "--yes", before)
        self.ends_in_its_second(low, self.gives_way(low))
        self.assertEqual(self.show(low)["status"], "Completed")

    def test_who_follows_it_sees_both_attempts(self):
        self.write("main.py", "")
        low = self.low()
        follower = self.home.background("logs", "-f", low, directory=self.project)
        plain = self.home.background("logs", "-f", "--json", low, directory=self.project)
        follower.wait_for_output(b"attempt 1\n")
        self.gives_way(low)
        follower.wait_for_output(b"runner: attempt 1 gave way to ", stream="err")
        self.let_go("normal")
        self.await_gate("low-2")
        self.open_gate("low-go-2")
        self.assertEqual(follower.finish().text,
                         "left over: False\nattempt 1\nsaved in attempt 1\nleft over: False\nattempt 2\n")
        self.assertIn("attempt 2", plain.finish().text)

    def test_over_a_killed_daemon(self):
        low = self.low()
        self.home.kill_daemon()
        normal = self.gated("normal")
        self.begun("normal")
        wait_until(lambda: self.show(low)["attempt"] == 2, "the second attempt is in the queue")
        self.home.kill_daemon()
        self.assertEqual(self.show(low)["attempt"], 2)
        self.let_go("normal")
        self.await_gate("low-2")
        self.home.kill_daemon()
        self.open_gate("low-go-2")
        self.wait(low)
        self.wait(normal)
        self.assertEqual([earlier["attempt"] for earlier in self.show(low)["earlierAttempts"]], [1])

    def test_what_is_cancelled_while_it_gives_way_does_not_start_again(self):
        low = self.low("--grace", "60s", code=LOW.replace("sys.exit(0)", "tell('told'); await_('leave'); sys.exit(0)"))
        normal = self.gated("normal")
        self.await_gate("told")
        self.assertEqual(self.show(low)["statusReason"], "gives way to " + normal)
        self.ok("cancel", "--reason", "enough", low)
        self.open_gate("leave")
        self.ok("wait", low, code=130)
        run = self.show(low)
        self.assertEqual((run["status"], run["attempt"], run["outcome"]["message"]), ("Canceled", 1, "enough"))
        self.assertEqual([output["name"] for output in run["outputs"]], ["outputs/state.txt"])
        self.begun("normal")
        self.let_go("normal")
        self.wait(normal)

    def test_a_waiting_attempt_can_be_cancelled(self):
        low = self.low()
        self.gives_way(low)
        self.ok("cancel", low)
        self.ok("wait", low, code=130)
        self.assertEqual([earlier["attempt"] for earlier in self.show(low)["earlierAttempts"]], [1])
        self.let_go("normal")

    def test_secrets_are_there_in_every_attempt(self):
        code = LOW + "    assert open('/run/secrets/TOKEN').read() == 'hush'\n"
        low = self.low("--secret", "TOKEN", code=code, environment={"TOKEN": "hush"})
        normal = self.gives_way(low)
        self.ends_in_its_second(low, normal)

    def test_a_paused_one_gives_way_as_well(self):
        low = self.low()
        self.ok("run", "pause", low)
        self.gives_way(low)
        self.let_go("normal")
        self.await_gate("low-2")
        self.open_gate("low-go-2")
        self.wait(low)

    def test_what_waits_takes_nothing_of_what_lives_when_the_daemon_starts_anew(self):
        low = self.low()
        normal = self.gives_way(low)
        for _ in range(3):
            self.home.kill_daemon()
            queue = self.queue()
            self.assertEqual((queue["running"], self.waiting(), queue["cpus"]["free"]), ([normal], [low], 0))
        self.let_go("normal")
        self.await_gate("low-2")
        self.open_gate("low-go-2")
        self.wait(low)

    def test_an_attempt_that_cannot_be_removed_is_in_nobodys_way(self):
        deep = LOW.replace('print("left over', """if attempt == "1":
        here = os.getcwd()
        for _ in range(4500):
            os.mkdir("d")
            os.chdir("d")
        os.chdir(here)
    print("left over""")
        low = self.low(code=deep)
        normal = self.gives_way(low)
        self.ends_in_its_second(low, normal)

    def test_a_run_whose_secrets_died_with_the_daemon_does_not_give_way(self):
        low = self.low("--secret", "TOKEN", environment={"TOKEN": "hush"})
        self.home.kill_daemon()
        normal = self.gated("normal")
        wait_until(lambda: self.show(normal)["statusReason"].startswith("waits for"), "the normal run waits")
        self.assertEqual(self.show(low)["statusReason"], "")
        self.open_gate("low-go-1")
        self.wait(low)
        self.begun("normal")
        self.let_go("normal")
        self.wait(normal)
        self.assertEqual(self.show(low)["attempt"], 1)

    def test_who_follows_through_the_api_gets_each_log_once(self):
        low = self.low()
        answers = []
        follower = threading.Thread(target=lambda: answers.append(self.home.call(
            "curl", "-sSN", "--unix-socket", self.home.data + "/control.sock", "http://localhost/v1/runs/%s/log?follow=1" % low)))
        follower.start()
        self.gives_way(low)
        self.let_go("normal")
        self.await_gate("low-2")
        self.open_gate("low-go-2")
        self.wait(low)
        follower.join()
        self.assertEqual(answers[0].text, "left over: False\nattempt 1\nsaved in attempt 1\nleft over: False\nattempt 2\n")
