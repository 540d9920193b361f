"""``Run``: one class over three histories: a script's own, the user's daemon, memory."""

from __future__ import annotations

import os

from runner_sdk import _metrics
from runner_sdk._context import say_once
from runner_sdk._errors import Invalid, Unavailable
from runner_sdk._run_ending import RunEnding
from runner_sdk._run_facts import RunFacts
from runner_sdk._run_family import RunFamily
from runner_sdk._run_files import RunFiles
from runner_sdk._run_metrics import RunMetrics

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Optional

    from runner_sdk._history import Document, History

_context: Dict[str, "Run"] = {}  # of this process, by run id; "" is the offline run


class Run(RunMetrics, RunFacts, RunFiles, RunFamily, RunEnding):
    """A run: the one that this script is (``Run.get_context()``), a child of it, or one that a driver submitted or looks at.

    Any thread may use it, and so may forked processes: what is logged goes through the run's journal, and every process asks
    the daemon on connections of its own. Can be pickled. Two objects of one run are equal.

    Questions raise ``Unavailable`` when no daemon has answered for 2 minutes, ``NotFound`` for a run that is not there.
    """

    def __init__(self, experiment: Any, run_id: str, outputs: Optional[str] = None) -> None:
        """An existing run, for a driver or a notebook: ``Run(Experiment("diabetes"), "diabetes_1700000000_1a2b3c4d")``.

        ``experiment``: an ``Experiment``, its name, or ``None``. Nothing is asked yet.
        """
        from runner_sdk._daemon import driver_history

        if outputs is not None:
            raise Invalid("Run: outputs belongs to start_logging", "Experiment(name).start_logging(outputs='outputs')")
        if not isinstance(run_id, str) or not run_id:
            raise TypeError("Run: run_id must be a text, not {!r}".format(run_id))
        name = getattr(experiment, "name", experiment)
        self._take(driver_history(), run_id, {} if name is None else {"experiment": str(name)})

    @staticmethod
    def get(run_id: str) -> Run:
        """A run by its id, a unique prefix of it, its 8-hex tail, or ``"@last"``; for a driver or a notebook. Raises
        ``NotFound``, ``Conflict`` for a name of several."""
        from runner_sdk._daemon import driver_history

        history = driver_history()
        document = history.show(run_id)
        return run_of(history, str(document["runId"]), document)

    @staticmethod
    def get_context(allow_offline: bool = True, used_for_context_manager: bool = False) -> Run:
        """The run that this process belongs to, one object per process.

        Outside of a run: an offline run, which keeps what it is told in memory and says so once on stderr;
        ``isinstance(run, _OfflineRun)`` and an id that begins with ``"OfflineRun"`` tell it. With ``allow_offline=False``
        ``Unavailable`` instead. Asks nobody.
        """
        run, journal = os.environ.get("RUNNER_RUN_ID"), os.environ.get("RUNNER_METRICS")
        if run and journal:
            found = _context.get(run)
            if found is None:
                from runner_sdk._daemon import script_history

                facts: Document = {"kind": "script"}
                if os.environ.get("RUNNER_EXPERIMENT"):
                    facts["experiment"] = os.environ["RUNNER_EXPERIMENT"]
                if os.environ.get("RUNNER_ATTEMPT", "").isdigit():
                    facts["attempt"] = int(os.environ["RUNNER_ATTEMPT"])
                found = _context.setdefault(run, run_of(script_history(run, journal, _metrics.own), run, facts))
            return found
        if not allow_offline:
            raise Unavailable("this is no run", "start the script with `runner submit`, or allow_offline=True")
        say_once("this is no run: what is logged is kept in memory only (start the script with `runner submit`)")
        offline = _context.get("")
        if offline is None:
            from runner_sdk._history import new_id
            from runner_sdk._offline import MemoryHistory

            root = "OfflineRun_" + new_id()
            history = MemoryHistory(root, "offline")
            offline = _context.setdefault("", run_of(history, root, history.show(root)))
        return offline


class _OfflineRun(Run):
    """A run outside of a run: everything is kept in memory, under the same rules, and gone when the process ends."""

    def __init__(self) -> None:
        raise TypeError("an offline run comes from Run.get_context()")


def run_of(history: History, run: str, facts: Document) -> Run:
    """A run of a history. ``facts``: of its document what is known already."""
    from runner_sdk._daemon import DaemonHistory

    kind = Run if isinstance(history, DaemonHistory) else _OfflineRun
    made = kind.__new__(kind)
    made._take(history, run, facts)
    return made
