"""A script works on runner-init: it stops its children, floods it with signals, takes its limits away. Init goes on."""
import resource
import time

from support import processes
from support.case import RunnerTest
from support.settings import only_in
from support.waiting import wait_until

# One process stops whatever comes next, until the gate opens.
STOPPER = """\
    import signal
    if os.fork() == 0:
        last = os.getpid()
        tell("stopping")
        while not os.path.exists("/gate/enough"):
            newest = int(open("/proc/loadavg").read().rsplit(" ", 1)[1])
            for pid in range(max(last + 1, newest - 2), newest + 50):
                try:
                    os.kill(pid, signal.SIGSTOP)
                except OSError:
                    pass
        os._exit(0)
    await_("go")
    """

FLOOD = """\
    import signal
    for number in range(4):
        if os.fork() == 0:
            tell("flooding-%d" % number)
            while True:
                try:
                    for kind in (34, 64, signal.SIGHUP, signal.SIGUSR1, signal.SIGURG, signal.SIGCHLD):
                        os.kill(1, kind)
                except OSError:
                    pass
    for kind in (signal.SIGHUP, signal.SIGUSR1):
        signal.signal(kind, signal.SIG_IGN)
    while True: time.sleep(1)
    """


class InitHostile(RunnerTest):
    configuration = "parallel = 2\n"

    def assert_dies_with_its_shim(self, run_id, marker):
        self.assertGreaterEqual(len(processes.mentioning(marker)), 2)
        self.home.kill_daemon()  # or it would end what the shim leaves
        shim = processes.shim_of(run_id)
        begin = time.monotonic()
        processes.kill_and_wait(shim.pid)
        processes.no_process_mentions(marker, 3)
        self.assertLess(time.monotonic() - begin, 3.5)

    def state_of_init(self, run_id):
        return processes.init_of(run_id).state

    def test_a_script_that_stops_every_new_process_holds_up_its_own_commands_only(self):
        run_id = self.detach_gated(STOPPER)
        self.await_gate("stopping")
        for _ in range(4):
            begin = time.monotonic()
            command = self.home.background("run", "exec", run_id, "--", "true", directory=self.project)
            time.sleep(0.3)
            self.assertNotEqual(self.state_of_init(run_id), "D")  # of a vfork that nobody ends
            command.kill()
            command.wait()
            self.assertLess(time.monotonic() - begin, 20)
        self.open_gate("enough")
        time.sleep(0.1)
        for number in range(3):  # it still listens, starts and reaps
            result = self.ok("run", "exec", run_id, "--", "sh", "-c", "exit %d" % number, code=number, timeout=20)
            self.assertEqual(result.out, b"")
        self.assert_error(self.runner("run", "exec", run_id, "--", "/nowhere"), 127, "/nowhere", hint=False)
        self.open_gate("go")
        self.wait(run_id)

    def test_a_cancel_ends_such_a_script_at_once(self):
        run_id = self.detach_gated(STOPPER, "--grace", "300ms")
        self.await_gate("stopping")
        command = self.home.background("run", "exec", run_id, "--", "sleep", "600", directory=self.project)
        self.addCleanup(lambda: (command.kill(), command.wait()))
        time.sleep(0.3)
        begin = time.monotonic()
        self.ok("cancel", run_id)
        self.wait(run_id, 130)
        self.assertLess(time.monotonic() - begin, 5)

    def test_a_flood_of_signals_keeps_init_from_nothing(self):
        marker = "flood-" + self.home.token
        run_id = self.detach_gated(FLOOD, "-E", "MARK=" + marker)
        for number in range(4):
            self.await_gate("flooding-%d" % number)
        self.ok("run", "exec", run_id, "--", "sh", "-c", "exit 5", code=5, timeout=20)
        self.assert_dies_with_its_shim(run_id, marker)

    @only_in("sandbox")
    def test_a_pause_reaches_a_flood_of_signals(self):
        run_id = self.detach_gated(FLOOD.replace("while True: time.sleep(1)", "while True: tell('beat', str(time.time()))"))
        for name in ("flooding-0", "flooding-1", "flooding-2", "flooding-3", "beat"):
            self.await_gate(name)
        self.ok("run", "pause", run_id)
        time.sleep(0.5)
        before = self.await_gate("beat")
        time.sleep(1)
        self.assertEqual(self.await_gate("beat"), before)
        self.ok("run", "resume", run_id)
        wait_until(lambda: self.await_gate("beat") != before, "the script goes on")
        self.ok("cancel", run_id)
        self.wait(run_id, 130)

    def test_an_init_whose_descriptors_were_taken_away_still_ends_with_its_shim(self):
        marker = "limit-" + self.home.token
        run_id = self.detach_gated("""\
            import resource
            try:
                resource.prlimit(1, resource.RLIMIT_NOFILE, (0, 0))
            except OSError as error:
                tell("limited", str(error))
            tell("limited", "done")
            if os.fork(): time.sleep(600)
            time.sleep(600)
            """, "-E", "MARK=" + marker)
        self.await_gate("limited")
        self.assert_dies_with_its_shim(run_id, marker)

    def test_runs_get_a_part_of_the_signals_and_messages_that_the_kernel_counts_for_the_user(self):
        seen = self.python_facts("""\
            import resource, signal
            facts["pending"] = resource.getrlimit(resource.RLIMIT_SIGPENDING)
            facts["messages"] = [line.split()[3:5] for line in open("/proc/self/limits") if line.startswith("Max msgqueue")]
            signal.pthread_sigmask(signal.SIG_BLOCK, {34})
            queued = 0
            try:
                while queued < 200000:
                    os.kill(os.getpid(), 34)
                    queued += 1
            except BlockingIOError:
                pass
            facts["queued"] = queued
            import multiprocessing
            with multiprocessing.get_context("fork").Pool(2) as pool:
                facts["pool"] = pool.map(abs, [-1, -2])
            """)
        ours = resource.getrlimit(resource.RLIMIT_SIGPENDING)[0]
        most = min(ours // 4, 4096)
        self.assertEqual(seen["pending"], [most, most])
        self.assertLessEqual(seen["queued"], most)
        self.assertGreater(seen["queued"], 100)
        self.assertEqual(seen["pool"], [1, 2])
        (soft, hard), = seen["messages"]
        self.assertEqual(soft, hard)
        self.assertLessEqual(int(soft), 409600)
