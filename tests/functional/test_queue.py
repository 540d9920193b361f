"""The queue: who starts next, who waits and why, and that people can change it."""
import textwrap

from support.case import GATE, RunnerTest
from support.waiting import wait_until

WAIT = GATE + textwrap.dedent("""\
    tell("begun-" + sys.argv[1])
    await_("go-" + sys.argv[1])
    """)


class QueueTest(RunnerTest):
    fresh_home = True
    configuration = "cpus = 2\n"

    def gated(self, name, *options):
        """A run that begins, says so, and waits to be let go."""
        self.write("main.py", WAIT)
        return self.detach(*self.with_gate, *options, "main.py", name)

    def begun(self, name):
        self.await_gate("begun-" + name)

    def let_go(self, *names):
        for name in names:
            self.open_gate("go-" + name)

    def queue(self):
        return self.ok("queue", "list", "--json").json

    def waiting(self):
        return [item["runId"] for item in self.queue()["items"]]

    def started_in_order(self, *runs):
        self.ok("wait", *runs)
        starts = [self.show(run)["startTimeUtc"] for run in runs]
        self.assertEqual(starts, sorted(starts))


class Sharing(QueueTest):
    def test_runs_share_the_machine_by_what_they_ask_for(self):
        runs = [self.gated(name, "--cpus", "1") for name in ("a", "b", "c")]
        self.begun("a")
        self.begun("b")
        queue = self.queue()
        self.assertEqual((queue["cpus"], sorted(queue["running"])), ({"total": 2, "free": 0}, sorted(runs[:2])))
        self.assertEqual(self.waiting(), runs[2:])
        reason = "waits for 1 CPU (0 of 2 free); %s has some, and 1 more" % min(runs[:2])
        self.assertEqual(self.show(runs[2])["statusReason"], reason)
        self.assertEqual({run["runId"]: run["statusReason"] for run in self.runs()}[runs[2]], reason)
        self.assertIn("waits for 1 CPU", self.ok("queue", "list").text)
        self.let_go("a")
        self.begun("c")
        self.let_go("b", "c")
        self.ok("wait", *runs)
        self.assertEqual(self.queue()["cpus"], {"total": 2, "free": 2})

    def test_who_follows_a_run_that_waits_is_told_why(self):
        first = self.gated("first")
        self.begun("first")
        followers = []
        for command in (("submit", *self.isolation_options(), "--command", "echo ran"), ("logs", "-f", "@last")):
            followers.append(self.home.background(*command, directory=self.project))
            followers[-1].wait_for_output(("waits for 2 CPUs (0 of 2 free); %s has some" % first).encode(), stream="err")
        self.let_go("first")
        for follower in followers:
            self.assertEqual(follower.finish().text, "ran\n")

    def test_without_cpus_a_run_takes_the_whole_machine(self):
        first = self.gated("first")
        self.begun("first")
        second = self.detach("--cpus", "0.5", "--command", "true")
        self.assertEqual(self.waiting(), [second])
        self.let_go("first")
        self.ok("wait", first, second)

    def test_a_small_run_overtakes_only_where_that_costs_the_big_one_nothing(self):
        self.gated("running", "--cpus", "1", "--max-run-duration", "300", "--grace", "1s")
        self.begun("running")
        big = self.detach("--command", "true")
        small = self.detach("--cpus", "1", "--command", "true")
        self.assertEqual(self.show(small)["statusReason"], "comes after %s, which waits for 2 CPUs" % big)
        short = self.detach("--cpus", "1", "--max-run-duration", "200", "--grace", "1s", "--command", "true")
        self.wait(short)
        self.assertEqual(self.waiting(), [big, small])
        self.let_go("running")
        self.started_in_order(big, small)


class Changing(QueueTest):
    def test_a_paused_queue_starts_nothing_also_after_a_crash(self):
        running = self.gated("running", "--cpus", "1")
        self.begun("running")
        self.assertTrue(self.ok("queue", "pause").text.startswith("paused: 1 running, 0 waiting"))
        held = self.detach("--cpus", "1", "--command", "true")
        self.assertEqual(self.show(held)["statusReason"], "the queue is paused")
        self.home.kill_daemon()
        self.assertTrue(self.queue()["paused"])
        self.assertEqual(self.show(held)["statusReason"], "the queue is paused")
        self.let_go("running")
        self.wait(running)
        self.assertEqual(self.show(held)["status"], "Queued")
        self.ok("queue", "resume")
        self.wait(held)

    def test_a_run_is_moved_and_stays_there(self):
        self.ok("queue", "pause")
        a, b, c = (self.detach("--command", "true") for _ in range(3))
        urgent = self.detach("--priority", "5", "--command", "true")
        self.assertEqual(self.waiting(), [urgent, a, b, c])
        self.ok("queue", "move", c, "--first")
        self.assertEqual(self.waiting(), [c, urgent, a, b])
        self.assertEqual(self.show(c)["priority"], 5)
        self.ok("queue", "move", b, "--before", a)
        self.ok("queue", "move", urgent, "--last")
        self.assertEqual(self.waiting(), [c, b, a, urgent])
        late = self.detach("--command", "true")
        self.home.kill_daemon()
        self.assertEqual(self.waiting(), [c, b, a, urgent, late])
        self.ok("queue", "resume")
        self.started_in_order(c, b, a, urgent, late)

    def test_what_cannot_be_moved_is_said(self):
        ended = self.detach("--command", "true")
        self.wait(ended)
        self.assert_error(self.runner("queue", "move", ended, "--first"), 4, ended, "does not wait", "Completed")
        self.ok("queue", "pause")
        queued = self.detach("--command", "true")
        self.assert_error(self.runner("queue", "move", queued, "--before", ended), 4, ended, "does not wait")
        self.assert_error(self.runner("queue", "move", queued, "--before", queued), 2, "before itself")
        self.assertEqual(self.runner("queue", "move", queued).code, 2)
        self.ok("cancel", queued)
        self.assertEqual(self.waiting(), [])


class After(QueueTest):
    def test_a_run_starts_when_those_it_comes_after_have_ended(self):
        first = self.gated("first", "--cpus", "0.5")
        second = self.detach("--cpus", "0.5", "--after", first, "--command", "true")
        third = self.detach("--cpus", "0.5", "--after", first[-8:] + ":any", "--after", second, "--command", "true")
        self.begun("first")
        self.assertEqual(self.show(second)["statusReason"], "waits for the end of " + first)
        self.assertEqual(self.show(third)["runDefinition"]["after"], {first: "any", second: "ok"})
        self.home.kill_daemon()
        self.assertEqual(self.waiting(), [second, third])
        self.let_go("first")
        self.started_in_order(first, second, third)

    def test_what_comes_after_a_failure_never_runs_unless_any_end_will_do(self):
        first = self.gated("first")
        needs = self.detach("--after", first, "--command", "echo ran")
        needs_too = self.detach("--after", needs, "--command", "echo ran")
        any_end = self.detach("--after", needs_too + ":any", "--command", "echo ran")
        self.begun("first")
        self.ok("cancel", first)
        run = self.wait(needs, 130)
        self.assertEqual((run["status"], run["outcome"]["kind"]), ("Canceled", "canceled"))
        self.assertEqual(run["outcome"]["message"], "it comes after %s, which ended as Canceled" % first)
        self.assertIsNone(run["startTimeUtc"])
        self.wait(needs_too, 130)
        self.wait(any_end)
        self.assertEqual(self.log(any_end), b"ran\n")

    def test_a_run_that_was_settled_while_nobody_looked(self):
        first = self.gated("first", "--cpus", "1")
        self.begun("first")
        second = self.detach("--cpus", "1", "--after", first, "--command", "true")
        self.home.kill_daemon()
        self.let_go("first")
        self.until_shim_ends(first)
        self.wait(second)

    def test_what_can_never_be_is_refused_at_once(self):
        failed = self.detach("--command", "exit 3")
        self.wait(failed, 3)
        before = self.runs()
        self.assert_error(self.runner("submit", "--after", failed, "--command", "true"), 4, failed, "ended as Failed")
        self.assert_error(self.runner("submit", "--after", "nobody", "--command", "true"), 3, "--after nobody")
        self.assert_error(self.runner("submit", "--after", failed + ":never", "--command", "true"), 2, "'never'")
        self.assert_no_new_run(before)
        self.submit("--after", failed + ":any", "--command", "true")

    def test_a_repetition_waits_for_nobody(self):
        first = self.detach("--command", "true")
        second = self.detach("--after", first, "--command", "true")
        self.wait(second)
        again = self.ok("run", "rerun", "--detach", second).text.strip()
        self.assertEqual(self.wait(again)["runDefinition"]["after"], {})

    def test_a_long_chain_that_fails_is_ended_as_a_whole(self):
        self.ok("queue", "pause")
        chain = [self.detach("--command", "exit 1")]
        for _ in range(30):
            chain.append(self.detach("--after", chain[-1], "--command", "true"))
        self.ok("queue", "resume")
        wait_until(lambda: self.show(chain[-1])["status"] == "Canceled", "the last is cancelled")
        self.assertEqual({self.show(run)["status"] for run in chain[1:]}, {"Canceled"})
        self.home.assert_nothing_left()
