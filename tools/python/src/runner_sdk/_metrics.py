"""``log``: one metric point. The usual call, a finite float or an int, costs 2 to 3 microseconds."""

from __future__ import annotations

import os
from time import time_ns

from runner_sdk._journal import Journal
from runner_sdk._values import INT_MAX, INT_MIN, encoded, name_of, step_of, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Optional

_MAX_REMEMBERED = 10_000  # names; a script may invent one per call


class Recorder:
    """Makes records of one run's metrics and appends them: to a journal, or to a list that is kept in memory.

    Any thread; no locks, so that a fork at any moment leaves a child that can log. Names are remembered with what they were
    logged as: a name is either values or rows.
    """

    __slots__ = ("append", "tail", "heads", "tables")

    def __init__(self, append: Callable[[bytes], object], run: Optional[str] = None) -> None:
        """``run``: a descendant of the run whose journal it is; ``None``: that run itself."""
        self.append = append
        self.tail = "}\n" if run is None else ', "run": ' + text(run, "runner", "run id") + "}\n"
        self.heads: Dict[str, str] = {}  # name to the beginning of its points' records
        self.tables: Dict[str, bool] = {}  # names that were logged as rows

    def log(self, name: str, value: Any, step: Optional[int] = None) -> None:
        """One point; see ``log`` below."""
        try:
            head = self.heads[name]
        except (KeyError, TypeError):
            head = self.head(name, "runner.log")
        kind = type(value)
        if kind is float and value - value == 0.0:  # neither NaN nor infinite
            shown = repr(value)
        elif kind is int and INT_MIN <= value <= INT_MAX:
            shown = repr(value)
        else:
            shown = encoded(value, "runner.log", "value")
        if step is not None:
            if type(step) is not int or not INT_MIN <= step <= INT_MAX:
                step = step_of(step, "runner.log")
            shown = f'{shown}, "step": {step}'
        self.append(f'{head}{shown}, "time": {time_ns() // 1000}{self.tail}'.encode())

    def head(self, name: str, where: str) -> str:
        """The beginning of a point's record; from now on ``name`` is values."""
        quoted = name_of(name, where)
        if name in self.tables:
            raise ValueError(
                "{}: {!r} has rows already (log_row, log_table); log single values under another name".format(where, name)
            )
        if len(self.heads) >= _MAX_REMEMBERED:
            self.heads.clear()
        head = '\x1e{"metric": ' + quoted + ', "value": '
        self.heads[str(name)] = head
        return head

    def table(self, name: str, where: str) -> str:
        """JSON of ``name``, which from now on is rows."""
        quoted = name_of(name, where)
        if name in self.heads:
            raise ValueError(
                "{}: {!r} has single values already (log, log_list); log rows under another name".format(where, name)
            )
        if len(self.tables) >= _MAX_REMEMBERED:
            self.tables.clear()
        self.tables[str(name)] = True
        return quoted


def _nowhere(record: bytes) -> None:
    """What is logged outside of a run is checked and printed."""


_journal = os.environ.get("RUNNER_METRICS")  # set by the daemon before the script starts
own = Recorder(Journal(_journal).append if _journal else _nowhere)  # of the run that this process belongs to


def log(name: str, value: Any, step: Optional[int] = None) -> None:
    """Adds a point to the metric ``name`` of this run.

    ``name``: any text. ``value``: a number (Python's, numpy's, a tensor with one element; NaN and infinities, too), a bool
    (as 0 or 1) or a text. ``step``: an integer, or ``None``; points without steps stay in log order. Integers have 64 bits.

    Logged once a metric is a value, more often a list. Returns as soon as the point is in the run's journal, where it
    survives the end of the process in any form; it shows in ``runner run show`` about 100 ms later. Outside a run the point
    is printed instead.

    Raises ``TypeError`` or ``ValueError`` naming the argument, ``ValueError`` also for a name under which this process has
    logged rows. A journal that cannot be written (a full disk) is said once on stderr and does not raise.

    Safe from threads, forked processes and programs started by the script.

    Azure ML's ``Run.log`` has the same arguments.
    """
    own.log(name, value, step)
    if not _journal:
        print("{} = {}{}".format(name, value, "" if step is None else " (step {})".format(step)), flush=True)
