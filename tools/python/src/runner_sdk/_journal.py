"""The metric journal: the file through which a script's metrics and artifacts reach the daemon.

RFC 7464 JSON text sequence: each record is RS (0x1E), one JSON object, LF, written by one ``write(2)`` on an ``O_APPEND``
descriptor. That alone makes it safe between threads, forked children and programs started by the script; a record torn by
a full disk costs only itself. The grammar is ``runner/collect/metric_journal.hpp``.
"""

from __future__ import annotations

import errno
import fcntl
import os

from runner_sdk._context import say_once

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict

# Programs that become daemons close all descriptors; the next file they open must not land on ours.
_LOWEST_DESCRIPTOR = 500

# Path to descriptor. A dict and no lock: a lock held by another thread while this one forks would stay locked in the child.
_open: Dict[str, int] = {}


def _descriptor(path: str) -> int:
    found = _open.get(path)
    if found is not None:
        return found
    low = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        opened = fcntl.fcntl(low, fcntl.F_DUPFD_CLOEXEC, _LOWEST_DESCRIPTOR)
        os.close(low)
    except OSError:  # RLIMIT_NOFILE is lower than that
        opened = low
    winner = _open.setdefault(path, opened)  # of threads that come here at once
    if winner != opened:
        os.close(opened)
    return winner


class Journal:
    """One journal, by its path. Any thread, any process; nothing is buffered here."""

    __slots__ = ("path",)

    def __init__(self, path: str) -> None:
        self.path = path

    def append(self, record: bytes) -> bool:
        """Appends one record. ``False`` when it could not be written: a metric must not end a training, so that is said once."""
        path = self.path
        try:
            try:
                written = os.write(_open[path], record)
            except KeyError:
                written = os.write(_descriptor(path), record)
            except OSError as error:
                if error.errno != errno.EBADF:
                    raise
                _open.pop(path, None)  # somebody closed it
                written = os.write(_descriptor(path), record)
        except OSError as error:
            say_once("metrics are not recorded: {}: {}".format(path, error.strerror))
            return False
        if written != len(record):
            say_once("metrics are not recorded: {}: no space left".format(path))
            return False
        return True
