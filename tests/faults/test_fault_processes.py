"""Processes of a run die at the wrong moment: the shim before and after its claim, the OCI runtime at its work; a number that
names another process by now."""
import fcntl
import json
import os
import random
import signal
import subprocess
import sys
import textwrap
import time

import faults
import tracer
from support import processes, settings
from support.case import RunnerTest
from support.settings import only_in
from support.waiting import wait_until
from sweep import sample

RAN = """\
import os, sys, time
fd = os.open("/gate/ran", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
os.write(fd, (os.environ["RUNNER_RUN_ID"] + "\\n").encode())
print("ran", flush=True)
"""


def only_for_root(test):
    return test if os.geteuid() == 0 else None


class InTheWay(RunnerTest):
    """A shell script stands where a program of ours or the runtime was, and does first what its orders say."""
    fresh_home = True

    def replace(self, program, orders):
        """`program` becomes a script: `orders` (shell; $real is the program), then the program itself."""
        directory = os.path.dirname(program) + "/real"
        os.makedirs(directory, exist_ok=True)
        real = os.path.join(directory, os.path.basename(program))
        os.rename(program, real)
        self.home.write(program, "#!/bin/sh\nreal=%s\nhome=%s\n%s\nexec \"$real\" \"$@\"\n" % (
            real, self.home.base, textwrap.dedent(orders)), 0o755)

    def script(self, code=RAN):
        self.write("main.py", code)
        return "main.py"

    def token(self, name):
        """A file that the orders see as $home/NAME."""
        self.home.write("%s/%s" % (self.home.base, name), "")

    def has_said(self, name):
        wait_until(lambda: os.path.exists("%s/%s" % (self.home.base, name)), "the script in the way says " + name)


class Shim(InTheWay):
    def setUp(self):
        super().setUp()
        self.programs = self.home.own_programs()

    def test_killed_before_its_claim_it_is_replaced(self):
        self.replace(self.programs + "/runner-shim", """\
            case "$*" in */runs/*) echo x >>$home/starts; [ "$(wc -l <$home/starts)" -le 2 ] && kill -KILL $$;; esac
            """)
        run = self.detach(*self.with_gate, self.script())
        self.assertEqual(self.wait(run)["attempt"], 1)
        self.assertEqual(self.told("ran"), [run])
        self.assertEqual(self.log(run), b"ran\n")
        self.home.assert_nothing_left()

    def test_killed_before_its_claim_again_and_again_the_run_ends(self):
        self.replace(self.programs + "/runner-shim", """\
            case "$*" in */runs/*) kill -KILL $$;; esac
            """)
        run = self.detach(*self.with_gate, self.script())
        ended = self.wait(run, 125)
        self.assertEqual((ended["status"], ended["outcome"]["kind"], ended["outcome"]["message"]),
                         ("Failed", "start_failed", "the run's supervisor could not be started"))
        self.assertEqual(self.told("ran"), [])
        self.home.assert_nothing_left()

    def killed_with_the_daemon_after_the_spawn(self):
        """The daemon dies right after it has started a shim that waits for `wake` before it does anything."""
        self.replace(self.programs + "/runner-shim", """\
            case "$*" in */runs/*)
              if mkdir $home/first 2>/dev/null; then
                while [ ! -e $home/wake ]; do sleep 0.01; done
                [ -e $home/die ] && kill -KILL $$
              fi;;
            esac
            """)
        controlled = faults.Faults(self.home)
        daemon = controlled.start_daemon()
        self.token("first")
        self.submit(*self.with_gate, self.script("print('the runtime works')\n"))
        self.home.assert_nothing_left()
        os.remove(self.home.base + "/first")
        controlled.arm(faults.KILL_AFTER, kinds=faults.SPAWN, path="/runner-shim")
        self.runner("submit", *self.isolation_options(), "--detach", *self.with_gate, self.script())  # the answer may come too late
        controlled.until_killed(daemon)
        self.has_said("first")
        [run] = os.listdir(self.home.data + "/runs")
        return run

    def test_killed_before_its_claim_while_the_daemon_is_dead(self):
        run = self.killed_with_the_daemon_after_the_spawn()
        self.token("die")
        self.token("wake")
        processes.no_process_mentions(run)
        self.assertEqual(self.told("ran"), [])
        self.assertEqual(self.wait(run)["attempt"], 1)
        self.assertEqual(self.told("ran"), [run])
        self.home.assert_nothing_left()

    def test_one_that_wakes_up_when_the_next_daemon_has_started_another(self):
        run = self.killed_with_the_daemon_after_the_spawn()
        self.until_status(run, "Running", "Finalizing", "Completed")
        self.token("wake")
        self.wait(run)
        processes.no_process_mentions(run)
        self.assertEqual((self.told("ran"), self.log(run)), ([run], b"ran\n"))
        self.home.assert_nothing_left()

    def test_one_that_wakes_up_when_the_run_has_ended(self):
        run = self.killed_with_the_daemon_after_the_spawn()
        self.wait(run)
        self.token("wake")
        processes.no_process_mentions(run)
        self.assertEqual((self.told("ran"), self.log(run)), ([run], b"ran\n"))
        self.home.assert_nothing_left()


@only_for_root  # who may trace other people's processes
class TracedShim(InTheWay):
    """It stands behind one of its system calls when something happens to it."""

    def setUp(self):
        super().setUp()
        self.replace(self.home.own_programs() + "/runner-shim", """\
            case "$*" in */runs/*)
              if mkdir $home/traced 2>/dev/null; then
                echo $$ >$home/pid.new; mv $home/pid.new $home/pid
                while [ ! -e $home/wake ]; do sleep 0.01; done
              fi;;
            esac
            """)

    def submit_and_hold(self, *arguments):
        """A run whose shim waits for `wake`; its pid."""
        for name in ("traced", "pid", "wake"):
            path = "%s/%s" % (self.home.base, name)
            if os.path.isdir(path):
                os.rmdir(path)
            elif os.path.exists(path):
                os.unlink(path)
        run = self.detach(*self.with_gate, *arguments)
        self.has_said("pid")
        with open(self.home.base + "/pid") as file:
            return run, int(file.read())

    def wake(self):
        self.token("wake")

    def test_a_signal_right_after_the_claim_ends_no_run(self):
        """As that of a cancel does, or of a pause. This one is about nothing: there is no pause.json."""
        run, shim = self.submit_and_hold("--command", "echo ran")
        with tracer.Held(shim) as held:
            held.run_to_end_of(tracer.LINK, first=self.wake)
            self.assertTrue(os.path.exists(self.home.run_directory(run) + "/claim.json"))
            os.kill(shim, signal.SIGUSR2)
        self.assertEqual((self.wait(run)["outcome"]["kind"], self.log(run)), ("exited", b"ran\n"))
        self.home.assert_nothing_left()

    def test_killed_after_any_of_its_system_calls(self):
        self.script()
        run, shim = self.submit_and_hold("main.py")
        with tracer.Held(shim) as held:
            self.assertFalse(held.run_through(1 << 30, first=self.wake))  # to its end
            total = held.calls
        self.wait(run)
        generator = random.Random(settings.SEED)
        chosen = sample(total, 8, generator)
        lost = 0
        for number in chosen:
            run, shim = self.submit_and_hold("main.py")
            with self.subTest(call=number, of=total, seed=settings.SEED, run=run):
                with tracer.Held(shim) as held:
                    reached = held.run_through(number, first=self.wake)
                    directory = self.home.run_directory(run)
                    claimed = os.path.exists(directory + "/claim.json")
                    # The row is final before the directory goes.
                    over = os.path.exists(directory + "/exit.json") or self.show(run)["status"] == "Completed"
                    if reached:
                        held.kill()
                self.ok("wait", run, code=None)
                ended = self.show(run)
                lost += ended["outcome"]["kind"] == "lost"
                self.assertEqual(ended["outcome"]["kind"], "lost" if reached and claimed and not over else "exited")
                self.assertLessEqual(self.told("ran").count(run), 1)
                if ended["outcome"]["kind"] == "exited":
                    self.assertEqual((ended["status"], self.told("ran").count(run), self.log(run)), ("Completed", 1, b"ran\n"))
                self.assertTrue(b"ran\n".startswith(self.log(run)))
                self.home.assert_nothing_left()
        print("%d system calls of a shim, killed after %d of them, %d runs lost; seed %d" % (total, len(chosen), lost, settings.SEED), file=sys.stderr)


@only_in("sandbox")
class Runtime(InTheWay):
    def setUp(self):
        super().setUp()
        real = self.home.call("sh", "-c", "command -v crun").text.strip()
        self.runtime = self.home.base + "/crun"
        self.home.write(self.runtime, "#!/bin/sh\nexec %s \"$@\"\n" % real, 0o755)
        self.home.runtime = self.runtime
        self.submit(*self.with_gate, self.script("print('the runtime works')\n"))

    def orders(self, text):
        """What the runtime does first when it is to start a run."""
        with open(self.runtime) as file:
            last = file.read().splitlines()[-1]
        temporary = self.home.write(self.runtime + ".new", "#!/bin/sh\nhome=%s\nreal=%s\ncase \" $* \" in *\" run \"*)\n%s\n;; esac\n%s\n" % (
            self.home.base, last.split()[1], textwrap.dedent(text), last), 0o755)
        os.rename(temporary, self.runtime)

    def assert_ended_without_having_run(self, run, *kinds):
        ended = self.wait(run, 125)
        self.assertEqual((ended["status"], ended["startTimeUtc"]), ("Failed", None))
        self.assertIn(ended["outcome"]["kind"], kinds)
        self.assertEqual(self.told("ran"), [])
        self.home.assert_nothing_left()
        return ended

    def test_killed_before_it_has_done_anything(self):
        self.orders("kill -KILL $$")
        run = self.detach(*self.with_gate, self.script())
        ended = self.assert_ended_without_having_run(run, "start_failed")
        self.assertIn("SIGKILL", ended["outcome"]["message"] + ended["error"]["message"])

    def test_killed_at_any_moment_of_its_work(self):
        # It works for some 5 ms; whether the script runs by then is anybody's guess, but not that it runs twice or stays.
        for milliseconds in range(1, 9):
            self.orders("exec timeout -s KILL 0.%03d $real \"$@\"" % milliseconds)
            run = self.detach(*self.with_gate, self.script())
            self.ok("wait", run, code=None)
            ended = self.show(run)
            self.assertEqual(self.told("ran").count(run), 1 if ended["startTimeUtc"] else 0, ended)
            self.assertIn(ended["outcome"]["kind"], ("exited", "start_failed", "killed"), ended)
            self.home.assert_nothing_left()

    def shim_that_waits_for_its_runtime(self):
        self.orders("touch $home/creating; while [ ! -e $home/wake ]; do sleep 0.01; done")
        run = self.detach(*self.with_gate, self.script())
        self.has_said("creating")
        self.assertTrue(os.path.exists(self.home.run_directory(run) + "/claim.json"))
        return run, processes.shim_of(run)

    def test_the_shim_is_killed_between_its_claim_and_the_start(self):
        run, shim = self.shim_that_waits_for_its_runtime()
        processes.kill_and_wait(shim.pid)
        processes.no_process_mentions(run, 5)  # the runtime died with it: it could make the run's directory again
        self.token("wake")
        self.assert_ended_without_having_run(run, "lost")

    def test_the_same_while_the_daemon_is_dead(self):
        run, shim = self.shim_that_waits_for_its_runtime()
        self.home.kill_daemon()
        processes.kill_and_wait(shim.pid)
        processes.no_process_mentions(run, 5)
        self.token("wake")
        self.assert_ended_without_having_run(run, "lost")

    def test_what_the_runtime_has_forked_makes_no_directory_again(self):
        # As crun's own second process would: its parent dies with the shim, it goes on. This one for half a second after it
        # may have been seen dead, or until the directory is gone, whichever comes first.
        late = "n=0; while [ -d ${0%/*} ] && [ $n -lt 50 ]; do [ -e $1/wake ] && n=$((n+1)); sleep 0.01; done; mkdir -p $0"
        for daemon_too in (False, True):
            for name in ("creating", "wake"):
                if os.path.exists(self.home.base + "/" + name):
                    os.unlink(self.home.base + "/" + name)
            self.orders("setsid sh -c '%s' \"$2\" $home &\ntouch $home/creating; while :; do sleep 0.01; done" % late)
            run = self.detach(*self.with_gate, self.script())
            self.has_said("creating")
            shim = processes.shim_of(run)
            self.orders(":")  # what the next daemon tries works
            if daemon_too:
                self.home.kill_daemon()
            processes.kill_and_wait(shim.pid)
            self.ok("daemon", "start")
            self.token("wake")
            self.assert_ended_without_having_run(run, "lost")

    def test_the_daemon_is_killed_between_create_and_start(self):
        run, _ = self.shim_that_waits_for_its_runtime()
        self.home.kill_daemon()
        self.token("wake")
        self.wait(run)
        self.assertEqual((self.told("ran"), self.log(run)), ([run], b"ran\n"))
        self.home.assert_nothing_left()


class Bystander(RunnerTest):
    """A record names a number that is another process's by now: nobody signals it."""
    fresh_home = True

    def setUp(self):
        super().setUp()
        code = "import signal, sys, time\nfor number in set(signal.valid_signals()) - {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD}:\n" \
               "    signal.signal(number, lambda number, frame: print('signal', number, flush=True))\nprint('ready', flush=True)\n" \
               "while True:\n    time.sleep(0.05)\n"
        self.bystander = subprocess.Popen([settings.PYTHON, "-c", code], stdout=subprocess.PIPE, **self.account.popen_options())
        self.addCleanup(self.bystander.wait)
        self.addCleanup(self.bystander.kill)
        self.addCleanup(self.bystander.stdout.close)
        self.assertEqual(self.bystander.stdout.readline(), b"ready\n")

    def live(self):
        run = self.detach_gated("print('so far', flush=True)\ntell('running')\nawait_('go')\n", "-E", "MARK=" + self.home.token)
        self.await_gate("running")
        self.until_status(run, "Running")
        return run

    def rename_processes(self, run):
        """The shim and the container's first process, as the run's records name them, become the bystander."""
        for name, member in (("claim.json", "shim"), ("start.json", "init")):
            path = "%s/%s" % (self.home.run_directory(run), name)
            with open(path) as file:
                record = json.load(file)
            self.assertGreater(record[member]["pid"], 0)
            record[member]["pid"] = self.bystander.pid
            self.home.write(path, json.dumps(record))

    def assert_unharmed(self):
        self.assertIsNone(self.bystander.poll())
        self.bystander.kill()
        self.assertEqual(self.bystander.stdout.read(), b"")  # it tells every signal

    def test_a_run_that_was_lost_while_the_daemon_was_dead(self):
        run = self.live()
        self.home.kill_daemon()
        processes.kill_and_wait(processes.shim_of(run).pid)
        self.rename_processes(run)
        ended = self.wait(run, 125)
        self.assertEqual((ended["outcome"]["kind"], self.log(run)), ("lost", b"so far\n"))
        self.assert_unharmed()
        self.home.assert_nothing_left()

    def test_a_run_that_is_to_be_cancelled(self):
        controlled = faults.Faults(self.home)
        daemon = controlled.start_daemon()
        run = self.live()
        controlled.arm(faults.KILL_BEFORE, kinds=faults.FILES, path="cancel.json")  # acknowledged in the row, not yet handed over
        self.runner("cancel", run)
        controlled.until_killed(daemon)
        processes.kill_and_wait(processes.shim_of(run).pid)
        self.rename_processes(run)
        self.runner("wait", run)
        self.assertIn(self.show(run)["outcome"]["kind"], ("lost", "canceled"))
        self.assert_unharmed()
        self.home.assert_nothing_left()

    def test_the_daemon_itself(self):
        self.ok("daemon", "start")
        path = self.home.data + "/daemon.json"
        with open(path) as file:
            record = json.load(file)
        killed = self.home.kill_daemon()
        self.assertEqual(record["pid"], killed)
        record["pid"] = self.bystander.pid
        self.home.write(path, json.dumps(record))
        self.assertEqual(self.runner("daemon", "status").code, 3)
        self.runner("daemon", "stop")
        self.assertEqual(self.runs(), [])  # the next one starts
        self.assert_unharmed()


class Daemon(RunnerTest):
    fresh_home = True

    def test_killed_right_after_its_acknowledgement(self):
        controlled = faults.Faults(self.home)
        for number in range(3):
            self.write("main.py", RAN + "# %d\n" % number)
            daemon = controlled.start_daemon()
            controlled.arm(faults.KILL_AFTER, kinds=faults.SEND)
            run = self.detach(*self.with_gate, "main.py")
            controlled.until_killed(daemon)
            self.assertEqual(self.wait(run)["attempt"], 1)
            self.assertEqual(self.log(run), b"ran\n")
            self.home.kill_daemon()  # an ordinary one
        with open(self.gate + "/ran") as file:
            ran = file.read().split()
        self.assertEqual((len(ran), sorted(ran)), (3, sorted(run["runId"] for run in self.runs())))
        self.home.assert_nothing_left()

    def test_a_second_one_with_a_socket_of_its_own_is_refused_and_touches_nothing(self):
        run = self.detach(*self.with_gate, "--command", "while [ ! -e /gate/go ]; do sleep 0.05; done")
        self.until_status(run, "Running")
        pid = self.home.daemon_pid()
        socket = self.home.base + "/another.sock"
        second = self.home.call(self.home.program("runnerd"), "--home", self.home.data, "--socket", socket, timeout=20)
        self.assertEqual(second.code, 4, second.describe())
        self.assertFalse(os.path.exists(socket))
        self.assertEqual((self.home.daemon_pid(), self.show(run)["status"]), (pid, "Running"))
        self.open_gate("go")
        self.wait(run)

    def test_one_that_is_dead_and_not_reaped_holds_up_no_other(self):
        """As in a container whose first process reaps nobody. The lock is still held for a moment, as by what is being ended."""
        controlled = faults.Faults(self.home)
        daemon = controlled.start_daemon()
        os.kill(daemon.process.pid, signal.SIGKILL)
        wait_until(lambda: processes.Process(daemon.process.pid).state == "Z", "it is dead, and nobody has asked for it")
        with open(self.home.data + "/daemon.lock") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            begun = time.monotonic()
            command = self.home.background("run", "list")
            time.sleep(0.5)  # it has been refused
            fcntl.flock(lock, fcntl.LOCK_UN)
        self.assertEqual(command.finish().code, 0)
        self.assertLess(time.monotonic() - begun, 8)  # of the ten seconds that a command waits for another's daemon

    def test_a_word_that_comes_while_the_directory_is_removed_keeps_it_not(self):
        """As cancel.json of a cancel that comes too late."""
        controlled = faults.Faults(self.home)
        daemon = controlled.start_daemon()
        calls = 0
        for last in (False, True):
            run = self.detach(*self.with_gate, "--command", "while [ ! -e /gate/go-$RUNNER_RUN_ID ]; do sleep 0.05; done")
            self.until_status(run, "Running")
            directory = self.home.run_directory(run)
            controlled.arm(faults.STOP if last else faults.NONE, calls, kinds=faults.UNLINK, path=directory)
            self.open_gate("go-" + run)
            if last:
                controlled.until_stopped(daemon)
                self.home.write(directory + "/cancel.json", "{}")
                controlled.go_on(daemon)
            self.wait(run)
            wait_until(lambda: not os.path.exists(directory), "the directory goes")
            calls = controlled.count // 2  # by then it has listed the directory
        self.assertIsNone(daemon.process.poll())
        self.home.assert_nothing_left()
