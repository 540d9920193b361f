"""Waiting for a condition with a deadline. Tests never sleep for a guessed time."""
import time

from . import settings

PAUSE = 0.01  # seconds between two looks


def wait_until(condition, what, deadline=settings.DEADLINE):
    """Returns the first true value of condition(); AssertionError naming `what` when the deadline (seconds) has passed."""
    end = time.monotonic() + deadline
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= end:
            raise AssertionError("after %g s still not: %s" % (deadline, what))
        time.sleep(PAUSE)
