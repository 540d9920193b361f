"""The engine dies, hangs, or somebody else uses it on our container: a run ends as what happened and leaves nothing."""
from support import processes, settings
from support.docker_case import BUSYBOX, DockerTest
from support.home import Home
from support.private_engine import PrivateEngine
from support.waiting import wait_until

# Prints before, during and after the engine's death; ends with 5.
THROUGH = """\
    n=0; while [ $n -lt 200 ]; do echo "before $n"; n=$((n + 1)); done
    tell running
    await engine-is-dead
    n=0; while [ $n -lt 200 ]; do echo "meanwhile $n"; n=$((n + 1)); done
    tell printed
    await go
    n=0; while [ $n -lt 200 ]; do echo "after $n"; n=$((n + 1)); done
    exit 5
    """


def lines(*words):
    return b"".join(b"%s %d\n" % (word, n) for word in words for n in range(200))


class BehindOurBack(DockerTest):
    """Somebody with the docker client, on the common engine."""

    fresh_home = True

    def start(self):
        run_id = self.detach_shell("echo so far\nmkdir outputs\necho x >outputs/kept\ntell running\nawait never\n")
        self.await_gate("running")
        wait_until(lambda: self.log(run_id) == b"so far\n", "the log so far is written")
        return run_id, self.container_of(run_id)["Id"]

    def assert_killed(self, run_id, kind="killed", code=125):
        run = self.wait(run_id, code)
        self.assertEqual((run["status"], run["outcome"]["kind"]), ("Failed", kind))
        self.assertEqual(self.log(run_id), b"so far\n")
        self.assertEqual([o["name"] for o in run["outputs"]], ["outputs/kept"])
        self.home.assert_nothing_left(run_id)

    def test_docker_kill_ends_it_as_killed(self):
        run_id, container = self.start()
        self.engine.kill(container)
        self.assert_killed(run_id)

    def test_docker_rm_ends_it_as_killed_and_the_volume_it_leaves_goes(self):
        run_id, container = self.start()
        self.engine.request("DELETE", "/containers/%s?force=1" % container)  # without -v, as most people type it
        self.assert_killed(run_id)

    def test_somebody_elses_pause_holds_up_no_cancel(self):
        run_id, container = self.start()
        self.engine.call("POST", "/containers/%s/pause" % container)
        self.ok("cancel", run_id)
        self.assertEqual(self.wait(run_id, 130)["status"], "Canceled")
        self.home.assert_nothing_left(run_id)

    def test_somebody_elses_pause_holds_up_no_time_limit(self):
        run_id = self.detach_shell("tell running\nawait never\n", "--max-run-duration", "2s", "--grace", "200ms")
        self.await_gate("running")
        self.engine.call("POST", "/containers/%s/pause" % self.container_of(run_id)["Id"])
        self.assertEqual(self.wait(run_id, 124)["outcome"]["kind"], "timed_out")
        self.home.assert_nothing_left(run_id)

    def test_somebody_elses_unpause_is_no_reason_to_fail(self):
        run_id, container = self.start()
        self.ok("run", "pause", run_id)
        self.engine.call("POST", "/containers/%s/unpause" % container)
        self.ok("run", "resume", run_id)
        self.assertEqual(self.show(run_id)["status"], "Running")
        self.ok("cancel", run_id)
        self.wait(run_id, 130)

    def test_a_helper_that_is_killed_is_replaced(self):
        run_id, container = self.start()
        self.ok("run", "pause", run_id)
        helper = next(p for p in processes.processes() if p.name == "runner-engine" and p.mentions(run_id))
        processes.kill_and_wait(helper.pid)
        self.ok("run", "resume", run_id)
        self.assertEqual(self.show(run_id)["status"], "Running")
        self.engine.kill(container)
        self.assert_killed(run_id)

    def test_docker_stop_is_a_signal_to_the_script(self):
        run_id, container = self.start()
        self.engine.call("POST", "/containers/%s/stop?t=20" % container)
        self.assert_killed(run_id, "signaled", 143)

    def test_docker_rename_confuses_nobody(self):
        run_id, container = self.start()
        self.engine.call("POST", "/containers/%s/rename?name=other-%s" % (container, self.home.token))
        self.ok("cancel", run_id)
        self.assertEqual(self.wait(run_id, 130)["status"], "Canceled")
        self.home.assert_nothing_left(run_id)

    def test_a_foreign_container_with_the_runs_name_is_left_alone_and_the_run_works(self):
        blocker = self.hold_the_queue()
        queued = self.detach_shell("echo works\ntell running\nawait go\n")
        foreign = self.engine.create(BUSYBOX, ["sleep", "600"], name="runner-" + queued)
        self.addCleanup(self.engine.remove, foreign)
        self.open_gate("release")
        self.wait(blocker)
        self.await_gate("running")
        own = self.container_of(queued)
        self.assertNotEqual(own["Id"], foreign)
        self.assertNotEqual(own["Name"], "/runner-" + queued)
        self.open_gate("go")
        self.wait(queued)
        self.assertEqual(self.log(queued), b"works\n")
        self.assertEqual(self.engine.inspect(foreign)["State"]["Status"], "created")
        self.engine.remove(foreign)
        self.home.assert_nothing_left(queued)


class OwnEngine(DockerTest):
    """Every test has an engine of its own to torture."""

    fresh_home = True
    options = ()

    def make_home(self):
        engine = PrivateEngine(*self.options)
        self.addCleanup(engine.close)
        return Home(engine=engine)

    def start(self, code, *options):
        """A run that has told `running`, and whose start the engine has answered: a script is faster than that."""
        run_id = self.detach_shell(code, *options)
        self.await_gate("running")
        self.until_status(run_id, "Running")
        wait_until(lambda: self.container_of(run_id)["State"]["Running"], "the engine knows that the container runs")
        return run_id


class KilledEngine(OwnEngine):
    def test_the_engine_stops_the_run_when_it_is_back_and_the_run_ends_so(self):
        run_id = self.start(THROUGH)
        self.engine.kill_dockerd()
        self.open_gate("engine-is-dead")
        self.await_gate("printed")
        self.assertEqual(self.show(run_id)["status"], "Running")
        self.engine.start_again()
        result = self.runner("wait", run_id)
        run = self.show(run_id)
        self.assertEqual(run["status"], "Failed")
        self.assertIn((run["outcome"]["kind"], result.code), [("signaled", 143), ("exited", 143), ("killed", 125), ("signaled", 137)])
        self.assertEqual(self.log(run_id), lines(b"before", b"meanwhile"))
        self.home.assert_nothing_left(deadline=30)

    def test_the_next_run_works(self):
        self.start("tell running\nawait never\n")
        self.engine.kill_dockerd()
        self.engine.start_again()
        self.assertEqual(self.ok("submit", "--image", BUSYBOX, "--command", "echo fine").text, "fine\n")
        self.home.assert_nothing_left(deadline=30)

    def test_a_run_that_starts_while_there_is_none_ends_naming_it(self):
        blocker = self.hold_the_queue()
        queued = self.detach_shell("echo must not run\n")
        self.engine.kill_dockerd()
        self.open_gate("release")
        self.wait(blocker)
        run = self.wait(queued, 125)
        self.assertIn(run["outcome"]["kind"], ("environment_failed", "start_failed"))
        self.assertIn(self.engine.socket, run["outcome"]["message"])
        self.engine.start_again()
        self.home.assert_nothing_left()


class LiveRestore(OwnEngine):
    options = ("--live-restore",)

    def assert_complete(self, run_id):
        run = self.wait(run_id, 5)
        self.assertEqual((run["status"], run["outcome"]["kind"], run["outcome"]["exitCode"]), ("Failed", "exited", 5))
        self.assertEqual(self.log(run_id), lines(b"before", b"meanwhile", b"after"))
        self.assert_nothing_left_after_another_start(run_id)

    def assert_nothing_left_after_another_start(self, run_id):
        """Docker 20.10 takes a restored container's volume for mounted until it is started anew; then it goes."""
        wait_until(lambda: self.engine.container_of(run_id) is None, "the container is removed")
        self.engine.kill_dockerd()
        self.engine.start_again()
        self.ok("doctor")
        self.home.assert_nothing_left(deadline=30)

    def start_and_kill_engine(self):
        run_id = self.start(THROUGH)
        self.engine.kill_dockerd()
        self.open_gate("engine-is-dead")
        self.await_gate("printed")
        return run_id

    def test_the_run_goes_on_and_its_log_has_no_gap(self):
        run_id = self.start_and_kill_engine()
        self.engine.start_again()
        self.assertTrue(self.container_of(run_id)["State"]["Running"])
        self.open_gate("go")
        self.assert_complete(run_id)

    def test_the_script_may_end_while_there_is_no_engine(self):
        run_id = self.start_and_kill_engine()
        init = processes.init_of(run_id).pid
        self.open_gate("go")
        wait_until(lambda: processes.Process(init).state in ("", "Z", "?"), "the container's first process ends")
        self.engine.start_again()
        self.assert_complete(run_id)

    def test_the_daemon_may_die_with_it(self):
        run_id = self.start_and_kill_engine()
        self.home.kill_daemon()
        self.engine.start_again()
        self.assertEqual(self.show(run_id)["status"], "Running")
        self.open_gate("go")
        self.assert_complete(run_id)

    def test_the_time_limit_holds_without_an_engine(self):
        run_id = self.start("tell running\nawait never\n", "--max-run-duration", "2s", "--grace", "200ms")
        init = processes.init_of(run_id).pid
        self.engine.kill_dockerd()
        wait_until(lambda: processes.Process(init).state in ("", "Z", "?"), "the container is killed at its limit", 10)
        self.engine.start_again()
        run = self.wait(run_id, 124)
        self.assertEqual((run["status"], run["outcome"]["kind"]), ("Canceled", "timed_out"))
        self.assert_nothing_left_after_another_start(run_id)


class HangingEngine(OwnEngine):
    def tearDown(self):
        self.engine.go_on()  # or nothing could be looked at and cleaned
        super().tearDown()

    def test_a_run_that_is_being_created_can_be_cancelled_and_leaves_nothing_later(self):
        blocker = self.hold_the_queue()
        queued = self.detach_shell("echo must not run\n")
        self.engine.hang()
        self.open_gate("release")
        self.wait(blocker)
        self.ok("cancel", queued)
        run = self.wait(queued, 130)
        self.assertEqual((run["status"], run["outcome"]["kind"], run["startTimeUtc"]), ("Canceled", "canceled", None))
        self.engine.go_on()
        self.home.assert_nothing_left(deadline=30)
        self.assertEqual(self.log(queued), b"")

    def test_a_running_run_can_be_cancelled(self):
        run_id = self.start("echo so far\ntell running\nawait never\n")
        self.engine.hang()
        self.ok("cancel", run_id)
        init = processes.init_of(run_id)
        if init is not None:
            wait_until(lambda: processes.Process(init.pid).state in ("", "Z", "?"), "the container ends", 15)
        self.engine.go_on()
        self.assertEqual(self.wait(run_id, 130)["outcome"]["kind"], "canceled")
        self.assertEqual(self.log(run_id), b"so far\n")
        self.home.assert_nothing_left(deadline=30)

    def test_leftovers_hold_up_no_daemon_and_go_when_it_is_back(self):
        run_id = self.start("tell running\nawait never\n")
        self.engine.hang()
        self.ok("cancel", run_id)
        self.wait(run_id, 130)
        self.home.kill_daemon()
        self.ok("run", "list", timeout=8)  # starts the next one, which finds what is left
        self.engine.go_on()
        self.home.assert_nothing_left(deadline=60)

    def test_commands_about_other_runs_answer_meanwhile(self):
        self.write("main.py", "print('sandbox')\n")
        self.engine.hang()
        self.assertEqual(self.ok("submit", "--python", settings.PYTHON, "main.py").text, "sandbox\n")

    def test_a_submission_does_not_wait_for_ever(self):
        self.engine.hang()
        result = self.runner("submit", "--detach", "--image", BUSYBOX, "--command", "true", "x", timeout=40)
        self.assert_error(result, 125, self.engine.socket)
