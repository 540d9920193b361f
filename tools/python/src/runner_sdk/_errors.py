"""The package's exceptions: what could not be done, why, and the way out. The codes are the daemon's own, a closed set."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Optional, Type


class RunnerError(Exception):
    """What the runner could not do.

    ``code``: ``"invalid"``, ``"notFound"``, ``"conflict"``, ``"permission"``, ``"noSpace"``, ``"unavailable"`` or
    ``"internal"``, one subclass each. ``message``: one line, what and why. ``hint``: the way out, or ``None``.
    ``str(error)`` has both. Can be pickled.
    """

    code = "internal"

    def __init__(self, message: str, hint: Optional[str] = None) -> None:
        super().__init__(message, hint)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message + ("\nhint: " + self.hint if self.hint else "")


class Invalid(RunnerError, ValueError):
    """An argument is wrong; the message names it. Also a ``ValueError``."""

    code = "invalid"


class NotFound(RunnerError):
    """There is no such run, file, environment or snapshot, or it is none that this script may see."""

    code = "notFound"


class Conflict(RunnerError):
    """What is there already stands in the way: a property with another value, a file of that name, a run that has ended."""

    code = "conflict"


class PermissionDenied(RunnerError):
    """This process may not: a token that is no longer valid, a child that asks for more than its parent has."""

    code = "permission"


class NoSpace(RunnerError):
    """A disk or a quota is full."""

    code = "noSpace"


class Unavailable(RunnerError):
    """Something is missing here: the daemon does not answer, no container engine runs, this is no run."""

    code = "unavailable"


class RunFailed(RunnerError):
    """A run that was waited for did not complete.

    ``code``: that of the run's error, ``"UserError"`` where it has none. ``details``: what ``Run.get_details()`` says of it.
    """

    code = "UserError"

    def __init__(self, message: str, hint: Optional[str] = None, details: Optional[Dict[str, Any]] = None) -> None:
        super().__init__(message, hint)
        self.args = (message, hint, details)
        self.details: Dict[str, Any] = details or {}
        error = self.details.get("error")
        if isinstance(error, dict) and error.get("code"):
            self.code = str(error["code"])


class RunCanceled(RunFailed):
    """A run that was waited for was canceled, or stopped at its time limit."""

    code = "Canceled"


_BY_CODE: Dict[str, Type[RunnerError]] = {
    kind.code: kind for kind in (Invalid, NotFound, Conflict, PermissionDenied, NoSpace, Unavailable)
}
_BY_STATUS: Dict[int, str] = {
    401: "permission",
    403: "permission",
    404: "notFound",
    409: "conflict",
    503: "unavailable",
    507: "noSpace",
}


def error_of(status: int, document: Any) -> RunnerError:
    """The exception for the daemon's answer: ``{"error": {"code", "message", "hint"}}``, or anything else with its status."""
    error = document.get("error") if isinstance(document, dict) else None
    if not isinstance(error, dict) or not isinstance(error.get("message"), str):
        code = _BY_STATUS.get(status, "invalid" if 400 <= status < 500 else "internal")
        return _BY_CODE.get(code, RunnerError)("the daemon answered {}".format(status))
    hint = error.get("hint")
    return _BY_CODE.get(str(error.get("code")), RunnerError)(error["message"], hint if isinstance(hint, str) and hint else None)
