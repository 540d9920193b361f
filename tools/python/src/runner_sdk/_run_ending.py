"""``Run``: how it ends, and waiting for that."""

from __future__ import annotations

import os
import sys

from runner_sdk._context import say_once
from runner_sdk._errors import Conflict, RunCanceled, RunFailed, RunnerError
from runner_sdk._run_base import RunBase

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any, Dict, Optional, Type, TypeVar

    Self = TypeVar("Self", bound="RunEnding")

_MAX_MESSAGE = 8_000  # characters of an error's message


class RunEnding(RunBase):
    """A script's run ends with its process, by its exit code; children and interactive runs end as they are told."""

    _entered_by: Optional[int] = None  # the process that is in the with block
    _ended = False  # by this object

    def complete(self) -> None:
        """Ends a child or an interactive run as Completed. For the script's own run it does nothing: an exit code of 0
        completes it, and a script that calls this and then fails has failed. Raises ``Conflict`` for a run that has ended
        otherwise, and for another script's."""
        if self._history.is_own_script(self._id):
            return
        self._history.end(self._id, "Completed")
        self._ended = True

    def fail(self, error_details: Any = None, error_code: Optional[str] = None) -> None:
        """Ends the run as Failed. ``error_details``: a text or an exception; ``error_code``: ``"UserError"`` without one.

        A script's run is stopped for that, its own as well: this process then gets SIGTERM. Raises ``Conflict`` for a run
        that has ended.
        """
        message = _message_of(error_details)
        if self._is_script():
            self._history.stop(self._id, "fail", message if error_code is None else "{}: {}".format(error_code, message))
        else:
            self._history.end(self._id, "Failed", {"code": error_code or "UserError", "message": message})
        self._ended = True

    def cancel(self) -> None:
        """Stops the run and its children; it ends as Canceled, a script after its grace time. Returns when that is under
        way. Raises ``Conflict`` for a run that has ended."""
        self._history.stop(self._id, "cancel", None)
        self._ended = True

    def _is_script(self) -> bool:
        return self._history.is_own_script(self._id) or self._fact("kind") == "script"

    def wait_for_completion(
        self, show_output: bool = False, wait_post_processing: bool = False, raise_on_error: bool = True
    ) -> Dict[str, Any]:
        """Waits until the run has ended; returns ``get_details()``.

        ``show_output``: prints the log on stdout as it grows, and on stderr what it waits for, and a summary. Ctrl-C ends the
        waiting, not the run, and says so. Raises ``RunFailed`` with the error's text for a run that failed, its subclass
        ``RunCanceled`` for one that was canceled or stopped at its time limit, neither with ``raise_on_error=False``;
        ``Conflict`` for a script that would wait for itself. A daemon that is away is waited for, 2 minutes at a time.
        ``wait_post_processing`` of Azure ML is accepted: outputs are collected when this returns.
        """
        if self._history.is_own_script(self._id):
            raise Conflict("wait_for_completion: run {} is this script's own".format(self._id), "it ends when the script does")
        try:
            if show_output:
                from runner_sdk._following import follow

                details = follow(self._history, self._id)
            else:
                details = self._history.wait(self._id)
        except KeyboardInterrupt:
            print(
                "\nrunner: run {0} goes on ('runner logs -f {0}' follows it, 'runner cancel {0}' stops it)".format(self._id),
                file=sys.stderr,
                flush=True,
            )
            raise
        if raise_on_error:
            raise_for(details)
        return details

    def __enter__(self: Self) -> Self:
        self._entered_by = os.getpid()
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        """Completes the run; an exception fails it, with its text. ``sys.exit(0)`` is none. The script's own run is left to
        the script's end, and a forked child leaves its parent's runs alone."""
        if self._entered_by != os.getpid() or self._ended or self._history.is_own_script(self._id):
            return
        exits_well = isinstance(error, SystemExit) and error.code in (None, 0)
        try:
            if error is None or exits_well:
                self.complete()
            else:
                self.fail(error)
        except RunnerError as problem:
            # Canceled from elsewhere, or a daemon that is away: neither may hide what the block did.
            say_once("run {} is not ended from here: {}".format(self._id, problem.message))


def _message_of(details: Any) -> str:
    if details is None:
        return "marked as failed by the script"
    if isinstance(details, BaseException):
        text = "{}: {}".format(type(details).__name__, details) if str(details) else type(details).__name__
    else:
        text = str(details)
    text = text.encode("utf-8", "replace").decode()
    return text if len(text) <= _MAX_MESSAGE else text[: _MAX_MESSAGE - 1] + "…"


def raise_for(details: Dict[str, Any]) -> None:
    """Raises what a run ended as, unless it completed."""
    status = details.get("status")
    if status == "Completed":
        return
    error = details.get("error") or {}
    outcome = details.get("outcome") or {}
    why = error.get("message") or details.get("statusReason") or outcome.get("message") or "no reason is recorded"
    run = details.get("runId")
    hint = error.get("hint") or "'runner logs {}' shows what it printed".format(run)
    kind = RunCanceled if status == "Canceled" else RunFailed
    raise kind("run {} {}: {}".format(run, "was canceled" if status == "Canceled" else "failed", why), hint, details)
