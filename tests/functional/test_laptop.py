"""Overnight on a laptop: the machine stays awake for runs, says when they end, and keeps them still when it needs to."""
import os
import socket
import time
import unittest

from support import buses, settings
from support.case import RunnerTest
from support.waiting import wait_until

LOCK = ("idle", "runner", "block")
TICKING = """\
    tell("running")
    number = 0
    while not os.path.exists("/gate/end"):
        number += 1
        with open("/gate/ticks.new", "w") as file: file.write(str(number))
        os.rename("/gate/ticks.new", "/gate/ticks")
        time.sleep(0.01)
    """


class LaptopTest(RunnerTest):
    fresh_home = True

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        why = buses.missing()
        if why and settings.STRICT:
            raise AssertionError(why)
        if why:
            raise unittest.SkipTest(why)

    def setUp(self):
        super().setUp()
        self.machine = self.home.new_project("machine-" + self.home.token)
        self.variables = {"RUNNER_MACHINE_ROOT": self.machine, "DBUS_SYSTEM_BUS_ADDRESS": "unix:path=/nonexistent/bus",
                          "DBUS_SESSION_BUS_ADDRESS": "unix:path=/nonexistent/bus"}

    def start_daemon(self):
        self.ok("daemon", "start", environment=self.variables)

    def use_logind(self):
        directory = self.home.new_project("bus-" + self.home.token)
        logind = buses.Logind(directory, self.account.uid)
        self.addCleanup(logind.close)
        self.variables["DBUS_SYSTEM_BUS_ADDRESS"] = logind.address
        return logind

    def daemon_threads(self):
        pid = self.home.daemon_pid()
        names = []
        for task in os.listdir("/proc/%d/task" % pid):
            with open("/proc/%d/task/%s/comm" % (pid, task)) as file:
                names.append(file.read().strip())
        return names

    def sign(self, path, text):
        self.home.write(os.path.join(self.machine, path), text + "\n")

    def on_battery(self, yes):
        self.sign("sys/class/power_supply/BAT0/type", "Battery")
        self.sign("sys/class/power_supply/BAT0/status", "Discharging" if yes else "Charging")
        self.sign("sys/class/power_supply/AC/type", "Mains")
        self.sign("sys/class/power_supply/AC/online", "0" if yes else "1")

    def check(self, name):
        return {row["name"]: row for row in self.ok("doctor", "--json").json["items"]}[name]

    def end(self, run_id):
        self.open_gate("end")
        return self.wait(run_id)


class KeepAwake(LaptopTest):
    def test_one_lock_is_held_from_the_first_live_run_to_the_end_of_the_last(self):
        self.home.configure("parallel = 2\n")
        logind = self.use_logind()
        self.start_daemon()
        self.assertEqual(logind.inhibitors(), [])
        self.assertNotIn("keep-awake", self.daemon_threads())
        first = self.detach_gated("tell('one')\nawait_('end-one')\n")
        self.await_gate("one")
        wait_until(lambda: logind.inhibitors() == [LOCK], "the machine is kept awake")
        second = self.detach_gated("tell('two')\nawait_('end-two')\n")
        self.await_gate("two")
        self.assertEqual(logind.inhibitors(), [LOCK])
        self.open_gate("end-one")
        self.wait(first)
        self.assertEqual(logind.inhibitors(), [LOCK])
        self.open_gate("end-two")
        self.wait(second)
        wait_until(lambda: logind.inhibitors() == [], "the machine may sleep again")
        self.assertEqual(len([line for line in logind.calls() if " Inhibit " in line]), 1)

    def test_a_paused_run_keeps_nobody_awake(self):
        logind = self.use_logind()
        self.start_daemon()
        run_id = self.detach_gated("tell('running')\nawait_('end')\n")
        wait_until(lambda: logind.inhibitors() == [LOCK], "the machine is kept awake")
        self.await_gate("running")
        self.until_status(run_id, "Running")
        self.ok("run", "pause", run_id)
        wait_until(lambda: logind.inhibitors() == [], "the machine may sleep")
        self.ok("run", "resume", run_id)
        wait_until(lambda: logind.inhibitors() == [LOCK], "the machine is kept awake again")
        self.end(run_id)

    def test_the_next_daemon_takes_the_lock_for_the_runs_it_adopts(self):
        logind = self.use_logind()
        self.start_daemon()
        run_id = self.detach_gated("tell('running')\nawait_('end')\n")
        self.await_gate("running")
        wait_until(lambda: logind.inhibitors() == [LOCK], "the machine is kept awake")
        self.home.kill_daemon()
        wait_until(lambda: logind.inhibitors() == [], "the lock goes with its daemon")
        self.start_daemon()
        wait_until(lambda: logind.inhibitors() == [LOCK], "the machine is kept awake by the next one")
        self.end(run_id)

    def test_it_can_be_switched_off(self):
        self.home.configure("keep_awake = false\n")
        logind = self.use_logind()
        self.start_daemon()
        self.submit_python("print('x')\n")
        self.assertNotIn("keep-awake", self.daemon_threads())
        self.assertEqual([line for line in logind.calls() if " Inhibit " in line], [])
        self.assertIn("keep_awake = false", self.check("keep awake")["detail"])

    def test_without_a_bus_runs_go_on_and_doctor_says_so(self):
        self.start_daemon()
        self.submit_python("print('x')\n")
        row = self.check("keep awake")
        self.assertFalse(row["works"])
        self.assertIn("message bus", row["detail"])

    def test_with_a_bus_doctor_says_that_it_works(self):
        self.use_logind()
        self.start_daemon()
        self.assertTrue(self.check("keep awake")["works"], self.check("keep awake"))

    def test_a_bus_that_never_answers_holds_up_neither_runs_nor_the_daemons_end(self):
        path = self.home.base + "/silent"
        silent = socket.socket(socket.AF_UNIX)
        self.addCleanup(silent.close)
        silent.bind(path)
        os.chmod(path, 0o777)
        silent.listen(8)
        self.variables["DBUS_SYSTEM_BUS_ADDRESS"] = "unix:path=" + path
        self.start_daemon()
        begin = time.monotonic()
        self.submit_python("print('x')\n")
        self.assertLess(time.monotonic() - begin, 10)
        silent.settimeout(10)
        peer, _ = silent.accept()  # it was asked
        self.addCleanup(peer.close)
        pid = self.home.daemon_pid()
        begin = time.monotonic()
        self.ok("daemon", "stop")
        wait_until(lambda: not os.path.exists("/proc/%d" % pid), "the daemon ends", 10)
        self.assertLess(time.monotonic() - begin, 5)


class Logout(LaptopTest):
    def test_doctor_says_whether_runs_outlive_the_session(self):
        logind = self.use_logind()
        self.start_daemon()
        self.assertTrue(self.check("logout")["works"])  # no systemd below this root
        self.sign("run/systemd/system/x", "")
        self.assertTrue(self.check("logout")["works"])
        logind.set_kill_user_processes(True)
        row = self.check("logout")
        self.assertFalse(row["works"])
        self.assertIn("KillUserProcesses", row["detail"])
        self.assertEqual(row["remedy"], "loginctl enable-linger " + self.account.name)
        self.sign("var/lib/systemd/linger/" + self.account.name, "")
        self.assertTrue(self.check("logout")["works"])
        self.assertIn("lingering is on", self.check("logout")["detail"])

    def test_a_service_of_the_session_ends_with_it(self):
        self.sign("run/systemd/system/x", "")
        self.sign("proc/self/cgroup", "0::/user.slice/user-1000.slice/user@1000.service/app.slice/runner.service")
        self.start_daemon()
        self.assertFalse(self.check("logout")["works"])


class OnEnd(LaptopTest):
    def setUp(self):
        super().setUp()
        self.seen = self.home.new_project("seen-" + self.home.token)

    def told(self):
        """What the commands have written, by run."""
        texts = {}
        for name in os.listdir(self.seen):
            with open(self.seen + "/" + name) as file:
                texts[name] = file.read()
        return texts

    def test_a_shell_command_is_told_how_each_run_ended(self):
        self.home.configure("on_end = 'echo \"$RUNNER_STATUS|$RUNNER_OUTCOME|$RUNNER_EXPERIMENT|$RUNNER_EXIT_CODE|$RUNNER_REASON\""
                            " >> %s/$RUNNER_RUN_ID'\n" % self.seen)
        self.start_daemon()
        good = self.detach_python("pass\n", "-e", "night")
        bad = self.detach_python("import sys\nsys.exit(7)\n", "-e", "night")
        self.wait(good)
        self.wait(bad, code=7)
        live = self.detach_gated("tell('running')\nawait_('never')\n", "-e", "night", "--grace", "1s")
        queued = self.detach_python("pass\n", "-e", "night")
        self.await_gate("running")
        self.ok("cancel", queued, live)
        wait_until(lambda: len(self.told()) == 4, "four ends are told")
        self.home.assert_nothing_left(live)
        told = self.told()
        self.assertEqual(told[good], "Completed|exited|night|0|\n")
        self.assertTrue(told[bad].startswith("Failed|exited|night|7|"), told)
        self.assertTrue(told[live].startswith("Canceled|canceled|night|130|"), told)
        self.assertTrue(told[queued].startswith("Canceled|canceled|night|130|"), told)
        wait_until(lambda: os.listdir(self.home.data + "/on_end") == [], "nothing is left to be done")

    def test_an_exact_command(self):
        self.home.write(self.home.base + "/tell.sh", "#!/bin/sh\necho \"$1\" > %s/$RUNNER_RUN_ID\n" % self.seen, 0o755)
        self.home.configure("on_end = ['%s/tell.sh', 'two words; $HOME']\n" % self.home.base)
        self.start_daemon()
        run_id = self.detach_python("pass\n")
        self.wait(run_id)
        wait_until(lambda: self.told().get(run_id), "it is told")
        self.assertEqual(self.told()[run_id], "two words; $HOME\n")

    def test_one_that_fails_or_does_not_exist_or_never_ends_is_a_warning(self):
        for command, limit, word in (("'exit 3'", "1m", "exited with 3"), ("['no-such-program']", "1m", "no-such-program"), ("'sleep 600'", "500ms", "on_end_limit")):
            with self.subTest(command):
                self.home.configure("on_end = %s\non_end_limit = '%s'\n" % (command, limit))
                self.start_daemon()
                run_id = self.detach_python("pass\n")
                self.wait(run_id)
                wait_until(lambda: word in self.home.daemon_log(), "the log says " + word)
                self.assertIn("run %s: on_end" % run_id, self.home.daemon_log())
                self.ok("daemon", "stop")

    def test_a_slow_one_holds_up_no_run_and_no_two_run_at_once(self):
        self.home.configure("on_end = 'mkdir %s/busy && touch %s/$RUNNER_RUN_ID && until [ -e %s ]; do sleep 0.01; done; rmdir %s/busy'\n" %
                            (self.seen, self.seen, self.home.base + "/go", self.seen))
        self.start_daemon()
        runs = [self.detach_python("pass\n") for _ in range(4)]
        for run in runs:
            self.wait(run)
        self.ok("queue", "pause")
        waiting = [self.detach_python("pass\n") for _ in range(10)]
        self.ok("cancel", *waiting)
        for run in waiting:
            self.wait(run, code=130)
        names = set(os.listdir(self.seen))
        self.assertLessEqual(len(names - {"busy"}), 1)  # all have ended, one command is at work
        self.home.write(self.home.base + "/go", "")
        wait_until(lambda: set(os.listdir(self.seen)) == set(runs + waiting), "each is told, one after the other", 20)
        self.assertNotIn("on_end: exited", self.home.daemon_log())  # mkdir of a second one would have failed

    def test_what_waits_when_the_daemon_dies_is_made_up_for_once(self):
        self.home.configure("on_end = 'echo x >> %s/$RUNNER_RUN_ID; until [ -e %s ]; do sleep 0.01; done'\n" % (self.seen, self.home.base + "/go"))
        self.start_daemon()
        runs = [self.detach_python("pass\n") for _ in range(3)]
        for run in runs:
            self.wait(run)
        wait_until(lambda: self.told().get(runs[0]), "the first is being told")
        self.assertEqual(list(self.told()), [runs[0]])
        self.home.kill_daemon()
        self.home.write(self.home.base + "/go", "")
        self.start_daemon()
        wait_until(lambda: len(self.told()) == 3 and all(self.told().values()), "the others are told by the next daemon")
        wait_until(lambda: os.listdir(self.home.data + "/on_end") == [], "nothing is left to be done")
        self.assertEqual(set(self.told().values()), {"x\n"})

    def test_a_desktop_notification(self):
        bus = buses.Bus(self.seen, "notification_daemon")
        self.addCleanup(bus.close)
        self.variables["DBUS_SESSION_BUS_ADDRESS"] = bus.address
        self.home.configure('on_end = "notify"\n')
        self.start_daemon()
        self.wait(self.detach_python("import sys\nsys.exit(7)\n", "--name", "<b>night</b>", "-e", "night"), code=7)
        wait_until(lambda: any(" Notify " in line for line in bus.calls()), "the desktop is told")
        line = [line for line in bus.calls() if " Notify " in line][0]
        self.assertIn("Failed", line)
        self.assertIn("night", line)

    def test_without_a_desktop_that_is_a_warning(self):
        self.home.configure('on_end = "notify"\n')
        self.start_daemon()
        self.wait(self.detach_python("pass\n"))
        wait_until(lambda: 'on_end = "notify"' in self.home.daemon_log(), "the log says so")


class Keys(LaptopTest):
    def test_a_wrong_value_is_named_with_its_place(self):
        for text, parts in (("[laptop]\non_battery = 'sleep'\n", (":2:", "laptop.on_battery", "freeze")),
                            ("[laptop]\nbattery = 'hold'\n", (":2:", "laptop.battery")),
                            ("laptop = 3\n", (":1:", "[laptop]")),
                            ("[laptop]\nevery = '1ms'\n", (":2:", "laptop.every")),
                            ("on_end = 3\n", (":1:", "on_end", "notify")),
                            ("on_end = ['a', 1]\n", (":1:", "on_end")),
                            ("on_end = ''\n", (":1:", "on_end")),
                            ("keep_awake = 'yes'\n", (":1:", "keep_awake")),
                            ("max_log_size = 10\n", (":1:", "max_log_size"))):
            with self.subTest(text):
                self.home.configure(text)
                self.assert_error(self.runner("daemon", "start"), 2, *parts, hint=False)


class Battery(LaptopTest):
    def laptop(self, **rules):
        self.home.configure("parallel = 2\n[laptop]\nevery = '100ms'\ncalm = '200ms'\n" +
                            "".join("%s = '%s'\n" % rule for rule in rules.items()))

    def ticks(self):
        try:
            with open(self.gate + "/ticks") as file:
                return int(file.read())
        except FileNotFoundError:
            return 0

    def assert_still(self):
        """No tick in a time in which there would be many."""
        begin = self.ticks()
        time.sleep(0.5)
        self.assertLessEqual(self.ticks() - begin, 1)

    def assert_ticking(self):
        begin = self.ticks()
        wait_until(lambda: self.ticks() > begin + 3, "the script goes on")

    def until_frozen(self, run_id, reason="on battery"):
        wait_until(lambda: (self.show(run_id)["status"], self.show(run_id)["statusReason"]) == ("Paused", reason), "%s is frozen: %s" % (run_id, reason))

    def ticking_run(self):
        run_id = self.detach_gated(TICKING)
        self.await_gate("running")
        self.until_status(run_id, "Running")
        return run_id

    def test_hold_keeps_new_runs_from_starting_and_says_why(self):
        self.laptop(on_battery="hold")
        self.on_battery(True)
        self.start_daemon()
        wait_until(lambda: self.ok("queue", "list", "--json").json["heldFor"] == "on battery", "the queue is held")
        run_id = self.detach_python("print('x')\n")
        self.assertEqual(self.show(run_id)["status"], "Queued")
        self.assertEqual(self.show(run_id)["statusReason"], "the queue is held: on battery")
        self.assertIn("on battery", self.runner("run", "list").text)
        listed = self.runner("queue", "list")
        self.assertIn("held: on battery", listed.err)
        self.assertIn("on battery", listed.text)
        self.assertFalse(self.ok("queue", "list", "--json").json["paused"])
        self.on_battery(False)
        self.assertEqual(self.wait(run_id)["status"], "Completed")
        self.assertIsNone(self.ok("queue", "list", "--json").json["heldFor"])

    def test_hold_leaves_live_runs_alone(self):
        self.laptop(on_battery="hold")
        self.start_daemon()
        run_id = self.ticking_run()
        self.on_battery(True)
        wait_until(lambda: self.ok("queue", "list", "--json").json["heldFor"] == "on battery", "the queue is held")
        self.assert_ticking()
        self.end(run_id)

    def test_the_users_hold_and_the_machines_are_two(self):
        self.laptop(on_battery="hold")
        self.on_battery(True)
        self.start_daemon()
        run_id = self.detach_python("print('x')\n")
        self.ok("queue", "pause")
        self.on_battery(False)
        wait_until(lambda: self.ok("queue", "list", "--json").json["heldFor"] is None, "the machine holds it no more")
        self.assertEqual(self.show(run_id)["statusReason"], "the queue is paused")
        self.ok("queue", "resume")
        self.wait(run_id)

    def test_freeze_pauses_live_runs_and_lets_them_go_on(self):
        self.laptop(on_battery="freeze")
        self.start_daemon()
        run_id = self.ticking_run()
        self.on_battery(True)
        self.until_frozen(run_id)
        self.assert_still()
        queued = self.detach_python("print('x')\n")
        self.assertIn("on battery", self.show(queued)["statusReason"])
        self.on_battery(False)
        self.until_status(run_id, "Running")
        self.assertEqual(self.show(run_id)["statusReason"], "")
        self.assert_ticking()
        self.end(run_id)
        self.wait(queued)

    def test_a_pause_of_the_users_stays_also_one_of_a_frozen_run(self):
        self.laptop(on_battery="freeze")
        self.start_daemon()
        before = self.ticking_run()
        self.ok("run", "pause", before)
        meanwhile = self.detach_gated("tell('other')\nawait_('end')\n")
        self.await_gate("other")
        self.on_battery(True)
        self.until_frozen(meanwhile)
        self.assertEqual(self.show(before)["statusReason"], "")
        self.ok("run", "pause", meanwhile)
        self.assertEqual(self.show(meanwhile)["statusReason"], "")
        self.on_battery(False)
        wait_until(lambda: self.ok("queue", "list", "--json").json["heldFor"] is None, "the machine holds nothing any more")
        self.assert_still()
        for run in (before, meanwhile):
            self.assertEqual(self.show(run)["status"], "Paused")
            self.ok("run", "resume", run)
        self.end(before)
        self.wait(meanwhile)

    def test_a_frozen_run_that_the_user_resumes_is_let_be(self):
        self.laptop(on_battery="freeze")
        self.start_daemon()
        run_id = self.ticking_run()
        self.on_battery(True)
        self.until_frozen(run_id)
        self.ok("run", "resume", run_id)
        time.sleep(0.5)  # several looks
        self.assertEqual(self.show(run_id)["status"], "Running")
        self.assert_ticking()
        self.end(run_id)

    def test_a_frozen_run_can_be_canceled(self):
        self.laptop(on_battery="freeze")
        self.start_daemon()
        run_id = self.ticking_run()
        self.on_battery(True)
        self.until_frozen(run_id)
        self.ok("cancel", run_id)
        self.assertEqual(self.wait(run_id, code=130)["outcome"]["kind"], "canceled")

    def test_what_was_frozen_goes_on_under_the_next_daemon(self):
        self.laptop(on_battery="freeze")
        self.start_daemon()
        run_id = self.ticking_run()
        self.on_battery(True)
        self.until_frozen(run_id)
        self.home.kill_daemon()
        self.start_daemon()
        time.sleep(0.5)  # several looks
        self.until_frozen(run_id)
        self.home.kill_daemon()
        self.on_battery(False)
        self.start_daemon()
        self.until_status(run_id, "Running")
        self.on_battery(True)
        self.until_frozen(run_id)
        self.home.kill_daemon()
        self.home.configure("")  # nobody asks for it any more
        self.start_daemon()
        self.until_status(run_id, "Running")
        self.assert_ticking()
        self.assertNotIn("laptop", self.daemon_threads())
        self.end(run_id)

    def test_heat(self):
        self.laptop(hot="freeze")
        zone = "sys/class/thermal/thermal_zone0/"
        for name, text in (("temp", "60000"), ("trip_point_0_type", "passive"), ("trip_point_0_temp", "90000")):
            self.sign(zone + name, text)
        self.start_daemon()
        run_id = self.ticking_run()
        self.on_battery(True)  # not asked for
        self.sign(zone + "temp", "95000")
        self.until_frozen(run_id, "the processor is hot")
        self.sign(zone + "temp", "60000")
        self.until_status(run_id, "Running")
        self.end(run_id)

    def test_company(self):
        self.laptop(busy="freeze")
        logind = self.use_logind()
        logind.set_idle(True)
        self.start_daemon()
        run_id = self.ticking_run()
        logind.set_idle(False)
        self.until_frozen(run_id, "somebody works at this machine")
        logind.set_idle(True)
        self.until_status(run_id, "Running")
        self.end(run_id)
