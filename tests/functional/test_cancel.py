"""Cancelling queued and running runs, politely first; Ctrl-C in a following submit."""
import os
import signal

from support import processes
from support.case import GATE, RunnerTest
from support.waiting import wait_until
from test_time_limit import STUBBORN


class Cancel(RunnerTest):
    def blocker(self, name="go", **more):
        run_id = self.detach_gated("tell('running-%s')\nprint('waiting', flush=True)\nawait_('%s')\n" % (name, name), **more)
        self.await_gate("running-" + name)
        return run_id

    def assert_canceled(self, run_id):
        run = self.wait(run_id, 130)
        self.assertEqual((run["status"], run["outcome"]["kind"]), ("Canceled", "canceled"))
        return run

    def test_a_queued_run_ends_without_ever_starting_and_the_running_one_goes_on(self):
        running = self.blocker()
        queued = self.detach_python("print('must not run')\n")
        self.assertEqual(self.show(queued)["status"], "Queued")
        self.ok("cancel", queued)
        run = self.assert_canceled(queued)
        self.assertIsNone(run["startTimeUtc"])
        self.assertEqual(self.show(running)["status"], "Running")
        self.open_gate("go")
        self.wait(running)
        self.assertEqual(self.log(queued), b"")

    def test_a_running_run_keeps_its_log_and_outputs_and_leaves_nothing(self):
        run_id = self.detach_gated("os.makedirs('outputs')\nopen('outputs/a', 'w').write('x')\nprint('so far', flush=True)\n"
                                   "tell('running')\nawait_('never')\n")
        self.await_gate("running")
        self.ok("cancel", run_id)
        run = self.assert_canceled(run_id)
        self.assertEqual(self.log(run_id), b"so far\n")
        self.assertEqual([o["name"] for o in run["outputs"]], ["outputs/a"])
        self.home.assert_nothing_left(run_id)

    def test_a_script_may_end_politely(self):
        run_id = self.detach_gated("""\
            import signal
            def end(*_):
                print("cleaned up", flush=True)
                sys.exit(0)
            signal.signal(signal.SIGTERM, end)
            tell("running")
            while True:
                time.sleep(5)
            """)
        self.await_gate("running")
        self.ok("cancel", run_id)
        self.assert_canceled(run_id)
        self.assertEqual(self.log(run_id), b"cleaned up\n")

    def test_a_stubborn_run_is_killed_after_its_grace(self):
        run_id = self.detach_python(STUBBORN, "-E", "MARK=stubborn-" + self.home.token, "--grace", "200ms")
        wait_until(lambda: self.log(run_id) == b"started\n", "the script has started")
        self.ok("cancel", run_id)
        run = self.assert_canceled(run_id)
        self.assertLess(run["durationSeconds"], 10)
        processes.no_process_mentions("stubborn-" + self.home.token, 5)

    def test_a_run_that_has_ended_cannot_be_cancelled(self):
        self.submit_python("pass\n")
        result = self.runner("cancel", "@last")
        self.assert_error(result, 4, "Completed", hint=False)

    def test_a_second_cancel_after_the_end_is_a_conflict(self):
        run_id = self.blocker()
        self.ok("cancel", run_id)
        self.assert_canceled(run_id)
        self.assertEqual(self.runner("cancel", run_id).code, 4)

    def test_several_runs_are_cancelled_at_once(self):
        first = self.blocker()
        second = self.detach_python("pass\n")
        self.ok("cancel", first, second)
        for run_id in (first, second):
            self.assert_canceled(run_id)

    def test_a_cancel_survives_the_death_of_the_daemon(self):
        run_id = self.detach_python(STUBBORN, "--grace", "1s")
        wait_until(lambda: self.log(run_id) == b"started\n", "the script has started")
        self.ok("cancel", run_id)
        self.home.kill_daemon()
        self.assert_canceled(run_id)

    def test_waiters_learn_of_a_cancel(self):
        run_id = self.blocker()
        waiting = self.home.background("wait", run_id)
        following = self.home.background("logs", "-f", run_id)
        following.wait_for_output(b"waiting\n")
        self.ok("cancel", run_id)
        self.assertEqual(waiting.finish().code, 130)
        self.assertEqual(following.finish().code, 0)


class Families(RunnerTest):
    """A run with children and grandchildren; one of them runs, the others wait."""
    fresh_home = True

    def family(self):
        top = self.detach_gated("tell('running')\nawait_('never')\n")
        self.await_gate("running")
        child, other = (self.detach("--parent", top, "--command", "true") for _ in range(2))
        return top, child, self.detach("--parent", child, "--command", "true"), other

    def test_children_are_cancelled_with_their_parent(self):
        family = self.family()
        self.ok("cancel", "--reason", "enough", family[0])
        self.ok("wait", *family, code=130)
        messages = [self.show(run)["outcome"]["message"] for run in family]
        self.assertEqual(messages, ["enough; ended by SIGTERM"] + ["with its parent %s: enough" % family[0]] * 3)
        self.home.assert_nothing_left(family[0])

    def test_or_without_it(self):
        top, child, grandchild, other = self.family()
        self.ok("cancel", child)
        self.ok("wait", child, grandchild, code=130)
        self.assertEqual([self.show(run)["status"] for run in (top, other)], ["Running", "Queued"])
        self.ok("cancel", "--no-recursive", top)
        self.ok("wait", top, code=130)
        self.wait(other)

    def test_of_a_parent_that_has_ended_the_children_can_still_be_cancelled(self):
        parent = self.detach("--command", "true")
        self.wait(parent)
        blocker = self.detach_gated("tell('running')\nawait_('never')\n")
        self.await_gate("running")
        child = self.detach("--parent", parent, "--command", "true")
        self.ok("cancel", parent)
        self.ok("wait", child, code=130)
        self.ok("cancel", parent, code=4)
        self.ok("cancel", blocker)

    def test_a_run_is_ended_as_failed(self):
        top, child, grandchild, other = self.family()
        self.ok("run", "fail", "--reason", "diverges", top)
        self.ok("wait", top, code=125)
        run = self.show(top)
        self.assertEqual((run["status"], run["outcome"]["kind"], run["outcome"]["message"]),
                         ("Failed", "killed", "diverges; ended by SIGTERM"))
        self.ok("wait", child, grandchild, other, code=130)

    def test_a_waiting_run_is_ended_as_failed_and_a_killed_daemon_does_not_forget_it(self):
        top, child, _, other = self.family()
        self.ok("run", "fail", child)
        self.ok("wait", child, code=125)
        self.assertEqual(self.show(child)["status"], "Failed")
        self.ok("queue", "pause")
        self.home.kill_daemon()
        self.ok("run", "fail", "--no-recursive", other)
        self.assertEqual(self.show(other)["error"]["message"], "marked as failed by the user")
        self.ok("cancel", top)


class ControlC(RunnerTest):
    def following(self):
        self.write("main.py", GATE + "tell('running')\nprint('hello', flush=True)\nawait_('go')\nprint('end')\n")
        followed = self.home.background("submit", *self.isolation_options(), *self.with_gate, "main.py", directory=self.project)
        followed.wait_for_output(b"hello\n")
        return followed, self.show()["runId"]

    def test_once_stops_following_and_says_that_the_run_goes_on(self):
        followed, run_id = self.following()
        os.kill(followed.process.pid, signal.SIGINT)
        followed.wait_for_output(run_id.encode() + b" goes on", stream="err")
        self.open_gate("go")
        self.assertEqual(self.wait(run_id)["status"], "Completed")
        followed.finish()

    def test_twice_cancels_the_run(self):
        followed, run_id = self.following()
        os.kill(followed.process.pid, signal.SIGINT)
        followed.wait_for_output(b"goes on", stream="err")
        os.kill(followed.process.pid, signal.SIGINT)
        self.assertEqual(self.wait(run_id, 130)["status"], "Canceled")
        self.assertEqual(followed.finish().code, 130)

    def test_a_killed_submit_leaves_the_run_alone(self):
        followed, run_id = self.following()
        os.kill(followed.process.pid, signal.SIGKILL)
        self.open_gate("go")
        self.assertEqual(self.wait(run_id)["status"], "Completed")
        self.assertEqual(self.log(run_id), b"hello\nend\n")
