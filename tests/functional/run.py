#!/usr/bin/env python3
"""Runs functional test modules: run.py test_submit [test_submit.Class.test_method …]

Exit status: 0 passed, 1 failed, 77 nothing could run here. RUNNER_STRICT=1 turns every skip into a failure.
Parameters come from the environment: support/settings.py lists them.
"""
import os
import signal
import sys
import unittest

_HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [_HERE, os.path.join(os.path.dirname(_HERE), "faults")]
sys.dont_write_bytecode = True  # the source tree may belong to somebody else

from support import accounts, engine, program, settings  # noqa: E402

SKIPPED = 77


def cannot_run():
    """Why nothing can be tested here, or an empty text."""
    if problem := program.missing():
        return problem
    if settings.USER not in ("root", "ordinary"):
        return "RUNNER_TEST_USER is neither root nor ordinary"
    if settings.USER == "root" and os.geteuid() != 0:
        return "only root can test root's daemon"
    if settings.ISOLATION == "docker":
        return engine.missing()
    return ""


class Result(unittest.TextTestResult):
    """Ends at a signal, after the test's cleanups: unittest calls those for an exit, not for the interrupt that Ctrl-C is else."""

    SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def startTestRun(self):
        super().startTestRun()
        for number in self.SIGNALS:
            signal.signal(number, self._end)

    def _end(self, number, _frame):
        for each in self.SIGNALS:
            signal.signal(each, lambda *_: None)  # the cleanups are not to be ended, too
        self.stop()
        sys.exit("ended by " + signal.Signals(number).name)


def main(names):
    if problem := cannot_run():
        print("skipped: " + problem, file=sys.stderr)
        return 1 if settings.STRICT else SKIPPED
    accounts.account()  # made once, before any home
    suite = unittest.defaultTestLoader.loadTestsFromNames(names)
    result = unittest.TextTestRunner(verbosity=2, resultclass=Result).run(suite)
    for test, reason in result.skipped:
        print("skipped: %s: %s" % (test, reason), file=sys.stderr)
    if not result.wasSuccessful() or result.testsRun == 0:
        return 1
    if result.skipped and settings.STRICT:
        return 1
    return SKIPPED if len(result.skipped) == result.testsRun else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
