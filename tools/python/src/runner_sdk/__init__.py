"""What a script run by ``runner submit`` can do, and what a driver or a notebook can: log, submit, wait, ask the history.

In a script::

    import runner

    run = runner.Run.get_context()
    for step, batch in enumerate(batches):
        run.log("loss", train(batch), step=step)
    run.upload_file("outputs/model.pkl", "model.pkl")

From a driver or a notebook::

    from runner import Environment, Experiment, ScriptRunConfig

    run = Experiment("diabetes").submit(ScriptRunConfig("src", "train.py", ["--alpha", 0.5]))
    run.wait_for_completion(show_output=True)
    best = max(Experiment("diabetes").get_runs(tags="sweep"), key=lambda run: run.get_metrics()["r2"])

Nothing has to be installed inside a run, and logging needs no daemon: a metric is one line appended to a file of the run,
which the daemon reads when it can. Outside a run ``Run.get_context()`` is an offline run in memory, and ``log`` prints.

``import runner_sdk`` is the same package, for projects that have a ``runner.py`` of their own. The names are those of Azure
ML's first Python SDK. Everything but ``log`` and ``run_id`` is imported when it is first asked for.
"""

from runner_sdk._context import run_id
from runner_sdk._metrics import log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List

    from runner_sdk._config import ScriptRunConfig
    from runner_sdk._environment import Environment
    from runner_sdk._errors import (
        Conflict,
        Invalid,
        NoSpace,
        NotFound,
        PermissionDenied,
        RunCanceled,
        RunFailed,
        RunnerError,
        Unavailable,
    )
    from runner_sdk._experiment import Experiment
    from runner_sdk._run import Run
    from runner_sdk._run import _OfflineRun as _OfflineRun

__all__ = [
    "Conflict",
    "Environment",
    "Experiment",
    "Invalid",
    "NoSpace",
    "NotFound",
    "PermissionDenied",
    "Run",
    "RunCanceled",
    "RunFailed",
    "RunnerError",
    "ScriptRunConfig",
    "Unavailable",
    "log",
    "run_id",
]

_WHERE = {
    "Environment": "_environment",
    "Experiment": "_experiment",
    "Run": "_run",
    "ScriptRunConfig": "_config",
    "_OfflineRun": "_run",
}


def __getattr__(name: str) -> object:
    module = _WHERE.get(name, "_errors" if name in __all__ else None)
    if module is None:
        raise AttributeError("module 'runner' has no attribute {!r}".format(name))
    import importlib

    found = getattr(importlib.import_module("runner_sdk." + module), name)
    globals()[name] = found
    return found


def __dir__() -> "List[str]":
    return sorted(set(globals()) | set(__all__))
