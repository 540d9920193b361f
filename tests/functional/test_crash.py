"""Every process is killed in turn: nothing acknowledged is lost, nothing runs twice, nothing is left behind."""
import os
import signal
import sqlite3
import time

from support import processes, program
from support.case import RunnerTest
from support.waiting import wait_until

RICH = """\
    import runner
    os.makedirs("outputs")
    runner.log("loss", 1.5)
    print("before", flush=True)
    tell("running")
    await_("go")
    runner.log("loss", 0.5)
    open("outputs/model", "w").write("trained")
    print("after", flush=True)
    sys.exit(5)
    """


class KilledDaemon(RunnerTest):
    fresh_home = True

    def start_rich_run(self):
        run_id = self.detach_gated(RICH)
        self.await_gate("running")
        self.until_status(run_id, "Running")
        return run_id

    def assert_as_if_nothing_had_happened(self, run_id):
        run = self.wait(run_id, 5)
        self.assertEqual((run["status"], run["outcome"]["kind"], run["outcome"]["exitCode"]), ("Failed", "exited", 5))
        self.assertEqual(self.log(run_id), b"before\nafter\n")
        self.assertEqual(run["metrics"]["loss"], [1.5, 0.5])
        self.assertEqual([o["name"] for o in run["outputs"]], ["outputs/model"])
        self.assertEqual(run["attempt"], 1)
        self.home.assert_nothing_left()

    def test_killed_in_the_middle_of_a_run_and_started_by_the_next_command(self):
        run_id = self.start_rich_run()
        first = self.home.kill_daemon()
        self.assertEqual(self.show(run_id)["status"], "Running")
        self.assertNotEqual(self.home.daemon_pid(), first)
        self.open_gate("go")
        self.assert_as_if_nothing_had_happened(run_id)

    def test_killed_again_and_again(self):
        run_id = self.start_rich_run()
        for _ in range(5):
            self.home.kill_daemon()
            self.assertEqual(self.show(run_id)["status"], "Running")
        self.open_gate("go")
        self.assert_as_if_nothing_had_happened(run_id)

    def test_a_run_that_ended_while_the_daemon_was_dead(self):
        run_id = self.start_rich_run()
        self.home.kill_daemon()
        self.open_gate("go")
        self.until_shim_ends(run_id)
        self.assertIsNone(self.home.daemon_pid())
        self.assert_as_if_nothing_had_happened(run_id)

    def test_a_command_that_waits_survives_it(self):
        run_id = self.start_rich_run()
        waiting = self.home.background("wait", run_id)
        self.home.kill_daemon()
        self.open_gate("go")
        self.assertEqual(waiting.finish().code, 5)

    def test_a_question_that_nobody_answered_any_more_is_asked_again(self):
        run_id = self.start_rich_run()
        dying = self.home.daemon_pid()
        os.kill(dying, signal.SIGSTOP)
        asking = self.home.background("run", "show", "--json", run_id)
        wait_until(lambda: processes.has_a_socket(asking.process.pid), "it connects")
        time.sleep(0.2)  # and asked
        processes.kill_and_wait(dying, signal.SIGKILL)
        answered = asking.finish()
        self.assertEqual((answered.code, answered.json["status"], answered.err), (0, "Running", ""), answered.describe())
        self.open_gate("go")
        self.assert_as_if_nothing_had_happened(run_id)

    def test_queued_runs_all_run_exactly_once(self):
        blocker = self.detach_gated("tell('running')\nawait_('go')\n")
        self.await_gate("running")
        code = "import os\nfd = os.open('/gate/ran', os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)\n" \
               "os.write(fd, (os.environ['RUNNER_RUN_ID'] + '\\n').encode())\n"
        queued = [self.detach_python(code, *self.with_gate) for _ in range(4)]
        self.home.kill_daemon()
        self.assertEqual([self.show(run)["status"] for run in queued], ["Queued"] * 4)
        self.home.kill_daemon()
        self.open_gate("go")
        self.wait(blocker)
        for run in queued:
            self.wait(run)
        with open(self.gate + "/ran") as file:
            self.assertEqual(file.read().split(), queued)  # once each, in the order of submission
        self.home.assert_nothing_left()

    def test_what_submit_acknowledged_exists_however_often_the_daemon_is_killed(self):
        code = "import os\nopen('/gate/ran-' + os.environ['RUNNER_RUN_ID'], 'x').close()\n"
        self.write("main.py", code)
        acknowledged = []
        for round_number in range(4):
            started = [self.home.background("submit", *self.isolation_options(), *self.with_gate, "--detach", "main.py",
                                            directory=self.project) for _ in range(4)]
            wait_until(lambda: any(s.process.poll() is not None for s in started), "the first submission is answered")
            pid = self.home.daemon_pid()
            if pid:
                processes.kill_and_wait(pid)
            for command in started:
                result = command.finish()
                if result.code == 0:
                    acknowledged.append(result.text.strip())
                else:
                    self.assertEqual(result.code, 125, result.describe())
        self.assertTrue(acknowledged)
        for run_id in acknowledged:
            self.assertEqual(self.wait(run_id)["status"], "Completed")
        known = {run["runId"] for run in self.runs()}
        self.assertEqual(set(acknowledged) - known, set())
        for run_id in known:  # a run whose acknowledgement was lost runs, too
            self.wait(run_id)
        self.assertEqual({n[len("ran-"):] for n in os.listdir(self.gate) if n.startswith("ran-")}, known)
        self.home.assert_nothing_left()

    def test_a_run_started_at_the_moment_of_death_runs_once(self):
        for _ in range(5):
            run_id = self.detach_python("import os\nopen('/gate/once-' + os.environ['RUNNER_RUN_ID'], 'x').close()\n", *self.with_gate)
            self.home.kill_daemon()
            self.wait(run_id)
        self.assertEqual(len([n for n in os.listdir(self.gate) if n.startswith("once-")]), 5)
        self.home.assert_nothing_left()

    def test_killed_while_it_starts(self):
        killed = []
        for _ in range(4):
            first = self.home.background("run", "list")
            killed.append(wait_until(self.home.daemon_pid, "a daemon appears"))
            processes.kill_and_wait(killed[-1])
            first.finish()
        self.submit_python("print('fine')\n")
        self.home.assert_nothing_left()
        self.assertEqual([name for name in os.listdir(self.home.data + "/cache") if name.startswith("trial")], [])
        self.assertEqual([path for pid in killed for path in processes.cgroups_mentioning("trial-%d-" % pid)], [])

    def test_what_nobody_owns_is_removed_at_the_next_start(self):
        self.runs()
        orphan = self.home.data + "/runs/orphan_1_deadbeef"
        self.home.kill_daemon()
        self.home.write(orphan + "/upper/file", "x")
        self.runs()
        self.assertFalse(os.path.exists(orphan))


class KilledSupervisor(RunnerTest):
    fresh_home = True

    def start(self):
        run_id = self.detach_gated("""\
            import subprocess
            import runner
            os.makedirs("outputs")
            open("outputs/so-far", "w").write("x")
            runner.log("loss", 1.5)
            subprocess.Popen(["setsid", "sh", "-c", "trap '' TERM; while :; do sleep 5; done"])
            print("so far", flush=True)
            tell("running")
            await_("never")
            """, "-E", "MARK=lost-" + self.home.token)
        self.await_gate("running")
        self.until_status(run_id, "Running")
        wait_until(lambda: self.log(run_id) == b"so far\n", "the log so far is written")
        return run_id

    def assert_lost(self, run_id):
        run = self.wait(run_id, 125)
        self.assertEqual((run["status"], run["outcome"]["kind"]), ("Failed", "lost"))
        self.assertEqual(self.log(run_id), b"so far\n")
        self.assertEqual(run["metrics"]["loss"], 1.5)
        self.assertEqual([o["name"] for o in run["outputs"]], ["outputs/so-far"])
        processes.no_process_mentions("lost-" + self.home.token, 5)
        self.home.assert_nothing_left()

    def test_the_run_is_lost_its_tree_dead_and_what_it_left_is_kept(self):
        run_id = self.start()
        processes.kill_and_wait(processes.shim_of(run_id).pid)
        self.assert_lost(run_id)

    def test_the_tree_dies_even_if_the_daemon_is_dead_too(self):
        run_id = self.start()
        self.home.kill_daemon()
        processes.kill_and_wait(processes.shim_of(run_id).pid)
        processes.no_process_mentions("lost-" + self.home.token, 5)
        self.assert_lost(run_id)

    def test_a_killed_init_ends_the_run_as_killed(self):
        run_id = self.start()
        processes.kill_and_wait(processes.init_of(run_id).pid)
        run = self.wait(run_id, 125)
        self.assertEqual((run["status"], run["outcome"]["kind"]), ("Failed", "killed"))
        self.assertEqual(self.log(run_id), b"so far\n")
        self.home.assert_nothing_left()

    def test_the_next_run_starts_normally(self):
        run_id = self.start()
        processes.kill_and_wait(processes.shim_of(run_id).pid)
        self.wait(run_id, 125)
        self.submit_python("print('fine')\n")


class Daemon(RunnerTest):
    fresh_home = True

    def live_run(self):
        run_id = self.detach_gated("tell('running')\nawait_('go')\nprint('end')\n")
        self.await_gate("running")
        return run_id

    def test_status_tells_who_it_is_and_never_starts_one(self):
        self.assertEqual(self.runner("daemon", "status").code, 3)
        self.assertIsNone(self.home.daemon_pid())
        self.ok("daemon", "start")
        facts = self.ok("daemon", "status", "--json").json
        self.assertEqual(sorted(facts), ["home", "pid", "socket", "startedTimeUtc", "version"])
        self.assertEqual((facts["pid"], facts["home"], facts["socket"]),
                         (self.home.daemon_pid(), self.home.data, self.home.data + "/control.sock"))

    def test_stop_leaves_live_runs_alone(self):
        run_id = self.live_run()
        self.ok("daemon", "stop")
        wait_until(lambda: self.home.daemon_pid() is None, "the daemon ends")
        self.assertIsNotNone(processes.shim_of(run_id))
        self.open_gate("go")
        self.assertEqual(self.wait(run_id)["status"], "Completed")
        self.assertEqual(self.log(run_id), b"end\n")
        self.home.assert_nothing_left()

    def test_stop_with_cancel_runs_ends_them(self):
        run_id = self.live_run()
        queued = self.detach_python("pass\n")
        self.ok("daemon", "stop", "--cancel-runs")
        wait_until(lambda: self.home.daemon_pid() is None, "the daemon ends")
        self.home.assert_nothing_left()
        for run in (run_id, queued):
            self.assertEqual(self.wait(run, 130)["status"], "Canceled")

    def test_a_polite_signal_ends_it_and_removes_the_socket(self):
        self.ok("daemon", "start")
        self.home.kill_daemon(signal.SIGTERM)
        self.assertFalse(os.path.exists(self.home.data + "/control.sock"))

    def test_no_autostart_refuses(self):
        self.assert_error(self.runner("--no-autostart", "run", "list"), 125, "daemon")
        self.assertIsNone(self.home.daemon_pid())

    def test_a_second_daemon_on_the_same_home_is_a_conflict(self):
        self.ok("daemon", "start")
        pid = self.home.daemon_pid()
        second = self.home.call(program.program("runnerd"), "--home", self.home.data, timeout=20)
        self.assertEqual(second.code, 4, second.describe())
        self.assertIn(str(pid), second.err)
        self.assertIn("hint: ", second.err)
        self.assertEqual(self.home.daemon_pid(), pid)
        self.ok("run", "list")  # the first still answers

    def test_many_first_commands_at_once_start_one_daemon(self):
        commands = [self.home.background("run", "list", "--json") for _ in range(8)]
        for command in commands:
            result = command.finish()
            self.assertEqual(result.code, 0, result.describe())
        daemons = [p for p in processes.processes() if p.name == "runnerd" and p.mentions(self.home.token)]
        self.assertEqual(len(daemons), 1)

    def test_a_home_with_a_newer_schema_is_refused_and_left_alone(self):
        self.submit_python("pass\n")
        for name in ("runner.db", "content.db"):
            with self.subTest(name):
                if self.home.daemon_pid():
                    self.ok("daemon", "stop")
                    wait_until(lambda: self.home.daemon_pid() is None, "the daemon ends")
                path = os.path.join(self.home.data, name)
                old = self.set_schema(path, 999)
                self.assert_error(self.runner("run", "list"), 4, "newer")
                wait_until(lambda: self.home.daemon_pid() is None, "the daemon that refused ends", 5)
                self.assertEqual(self.set_schema(path, old), 999)
                self.assertEqual(len(self.runs()), 1)

    def set_schema(self, path, version):
        with sqlite3.connect(path) as database:
            old = database.execute("PRAGMA user_version").fetchone()[0]
            database.execute("PRAGMA user_version = %d" % version)
        database.close()
        for suffix in ("", "-wal", "-shm"):
            if os.path.exists(path + suffix):
                self.account.own(path + suffix)
        return old

    def test_two_homes_never_see_each_other(self):
        self.submit_python("pass\n")
        other = self.make_home()
        self.addCleanup(other.close)
        self.assertEqual(other.run("run", "list", "--json").json["items"], [])

    def test_history_and_files_survive_a_restart(self):
        self.submit_python("import os\nos.mkdir('outputs')\nopen('outputs/a', 'w').write('kept')\nprint('log')\n")
        before = self.show()
        self.home.kill_daemon()
        self.assertEqual(self.show(), before)
        self.assertEqual(self.log(), b"log\n")
