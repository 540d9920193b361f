"""What a script run by ``runner submit`` can do: log metrics and know its run.

::

    import runner

    for step, batch in enumerate(batches):
        runner.log("loss", train(batch), step=step)

Nothing has to be installed inside a run, and nothing needs the daemon: a metric is one line appended to a file of the run,
which the daemon reads when it can. Outside a run ``log`` prints what it would have logged.

``import runner_sdk`` is the same package, for projects that have a ``runner.py`` of their own.
"""

from runner_sdk._context import run_id
from runner_sdk._metrics import log

__all__ = ["log", "run_id"]
