"""One small scenario, repeated for the Nth call that changes a file: killed there, or that call fails."""
import os
import random
import sys

import faults
from support import processes, settings
from support.case import RunnerTest
from support.home import Home
from support.waiting import wait_until

NAMES = {faults.KILL_BEFORE: "killed before", faults.KILL_AFTER: "killed after", faults.KILL_HALF_WAY: "killed half-way through",
         faults.FAIL: "failing", faults.FAIL_HALF_WAY: "half done"}


def sample(total, count, generator):
    """`count` of 1…total, one from each of as many equal parts; all of them in the long mode."""
    if settings.LONG or count >= total:
        return range(1, total + 1)
    edges = [1 + total * part // count for part in range(count + 1)]
    return [generator.randrange(low, high) for low, high in zip(edges, edges[1:])]


class Sweep(RunnerTest):
    """A subclass has the scenario: prepare(), act(), check(). Every repetition has a home of its own."""
    fresh_home = True
    kinds = faults.FILES | faults.SPAWN | faults.SEND

    def prepare(self):
        """Before the faulty daemon starts; an ordinary one may be at work, and is stopped afterwards."""

    def act(self):
        """With the faulty daemon, or the one that the next command starts when it has died."""
        raise NotImplementedError

    def check(self):
        """With whatever daemon there is; nothing fails any more."""
        raise NotImplementedError

    # --- repetitions -----------------------------------------------------------------------------------------------------

    def sweep(self, action, count, error=lambda number: 0, kinds=None, last=lambda first: first):
        """Repeats the scenario with `count` different calls hit (every one in the long mode)."""
        seed = settings.SEED
        generator = random.Random("%d %s" % (seed, self.id()))
        total = self.count_calls(kinds or self.kinds)
        hit = 0
        problems = []
        chosen = sample(total, count, generator)
        for number in chosen:
            try:
                self.repeat(action, number, last(number), error(number), kinds or self.kinds, seed)
            except AssertionError as problem:  # the rest may show what they have in common
                problems.append(str(problem))
                print(problem, file=sys.stderr, flush=True)
            hit += self.faults.fired > 0
        print("%s: %d calls, %d tried, %d reached; seed %d" % (self.id(), total, len(chosen), hit, seed), file=sys.stderr)
        self.assertEqual(problems, [], "%d of %d broke a rule" % (len(problems), len(chosen)))
        self.assertGreater(2 * hit, len(chosen), "few of the calls were reached: the scenario is not the one that was counted")

    def count_calls(self, kinds):
        with self.new_home():
            self.prepare_and_stop()
            self.faults.count_calls(kinds)
            self.faulty = self.faults.start_daemon()
            self.act()
            self.until_idle()
            total = self.faults.count
            self.check_all()
        self.assertGreater(total, 20, "nothing to interrupt")
        return total

    def repeat(self, action, first, last, error, kinds, seed):
        with self.new_home():
            self.prepare_and_stop()
            self.faults.arm(action, first, last, kinds, error=error)
            try:
                self.faulty = self.faults.start_daemon()
                self.act()
                self.until_idle()
                self.check_all()
            except Exception as problem:  # whatever it was, it is this call's doing
                raise AssertionError("%s call %d, %s (seed %d): %s\n%s" % (
                    NAMES[action], first, self.faults.fired_at, seed, problem,
                    self.faulty.err.decode(errors="replace")[-3000:] + self.home.daemon_log())) from problem

    class _NewHome:
        def __init__(self, test):
            self.test = test

        def __enter__(self):
            test = self.test
            self.before = test.home
            test.home = Home()
            if test.configuration:
                test.home.configure(test.configuration)
            test._gate = None
            test.project = test.home.new_project()
            test.faults = faults.Faults(test.home)

        def __exit__(self, *problem):
            self.test.home.close()
            self.test.home, self.test._gate = self.before, None

    def new_home(self):
        return self._NewHome(self)

    def prepare_and_stop(self):
        self.prepare()
        if self.home.daemon_pid():
            self.ok("daemon", "stop")
            wait_until(lambda: self.home.daemon_pid() is None, "the daemon ends")

    # --- moves -----------------------------------------------------------------------------------------------------------

    def has_died(self):
        return self.faulty.process.poll() is not None

    def until_idle(self):
        """Until the faulty daemon has cleared everything away, has died over it, or was kept from it."""
        wait_until(lambda: self.has_died() or not self.home.leftovers(self.home.token) or "stays until the next start" in self.said(),
                   "it has cleared up, died or given up", 15)

    def said(self):
        return self.faulty.err.decode(errors="replace")

    def insist(self, *arguments, key):
        """Submits as a careful client does: again with the same key until it is acknowledged. Returns the run's id."""
        for attempt in range(5):
            result = self.runner("submit", *self.isolation_options(), "--detach", "--idempotency-key", key, *arguments)
            if result.code == 0:
                return result.text.strip()
            self.assertEqual(len([line for line in result.error_lines if line.startswith("runner: error: ")]), 1, result.describe())
            if "nothing is written to it since" in result.err:  # until another daemon takes over
                self.replace_daemon()
        self.fail("never acknowledged: " + result.describe())

    def wait_for(self, *runs, good):
        """Until they have ended; with another daemon, once this one may not write to a damaged database any more."""
        waiting = self.home.background("wait", *runs, directory=self.project)
        wait_until(lambda: waiting.process.poll() is not None or "nothing is written to it since" in self.said(), "the runs end", 60)
        if waiting.process.poll() is None:
            self.replace_daemon()
        result = waiting.finish(60)
        self.assertIn(result.code, good, result.describe())

    def replace_daemon(self):
        """The faulty daemon goes; from here on an ordinary one is at work."""
        self.faults.disarm()
        if not self.has_died():
            processes.kill_and_wait(self.faulty.process.pid)

    def check_all(self):
        self.replace_daemon()
        self.check()
        self.home.assert_nothing_left()
        result = self.runner("fsck")
        self.assertEqual(result.code, 0, result.describe())
        left = [os.path.join(directory, name) for directory, directories, files in os.walk(self.home.data)
                for name in directories + files if name.startswith(".tmp-")]
        self.assertEqual(left, [])
