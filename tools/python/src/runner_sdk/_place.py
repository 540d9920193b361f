"""Where the user's daemon is, and starting it. For drivers and notebooks; a script in a run has the run socket instead."""

from __future__ import annotations

import os
import sys

from runner_sdk._client import Client
from runner_sdk._errors import Unavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, Optional

_START_LIMIT = 60.0  # seconds; `runner daemon start` gives up by itself after 10

_clients: Dict[str, Client] = {}  # by socket: one for all experiments and runs of this process


def home() -> str:
    """The data directory: ``RUNNER_HOME``, else ``$XDG_DATA_HOME/runner``, else ``~/.local/share/runner``."""
    chosen = os.environ.get("RUNNER_HOME")
    if chosen:
        return os.path.abspath(chosen)
    base = os.environ.get("XDG_DATA_HOME", "")
    if not os.path.isabs(base):  # the XDG specification: relative ones are ignored
        base = os.path.join(os.path.expanduser("~"), ".local", "share")
    return os.path.join(base, "runner")


def control_socket() -> str:
    """``RUNNER_SOCKET``, else ``control.sock`` in the data directory."""
    chosen = os.environ.get("RUNNER_SOCKET")
    return os.path.abspath(chosen) if chosen else os.path.join(home(), "control.sock")


def control_client() -> Client:
    """The user's daemon. Nothing is asked yet; the first question starts a daemon where there is none."""
    if os.environ.get("RUNNER_TOKEN") or os.environ.get("RUNNER_METRICS"):  # both are set in runs only
        raise Unavailable(
            "a script in a run cannot reach the user's daemon, only its own run",
            "Run.get_context().submit_child(...) submits from a run; a driver is started without `runner submit`",
        )
    path = control_socket()
    found = _clients.get(path)
    if found is None:
        found = _clients.setdefault(path, Client(path, wake=wake))
    return found


def wake(answered: bool) -> None:
    """Starts the daemon, unless one that had answered before was stopped on purpose: then it is only awaited."""
    if answered and not os.path.exists(os.path.join(home(), "daemon.json")):  # a daemon that dies leaves it there
        print("runner: the daemon was stopped; waiting for it to come back", file=sys.stderr, flush=True)
        return
    import subprocess

    program = runner_program()
    if program is None:
        raise Unavailable(
            "no daemon listens on {}, and there is no program 'runner' to start one".format(control_socket()),
            "put the directory of 'runner' into PATH, or its path into RUNNER_BIN",
        )
    try:
        done = subprocess.run(
            [program, "daemon", "start"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=_START_LIMIT,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable("start the daemon: {}: {}".format(program, error), "'runner daemon start' shows more") from None
    if done.returncode != 0:
        said = done.stderr.decode("utf-8", "replace").strip()
        message, _, hint = said.partition("\nhint: ")
        raise Unavailable(
            "start the daemon: {}".format(message or "{} exited with {}".format(program, done.returncode)),
            hint or "'runner daemon logs' may say why",
        )


def runner_program() -> Optional[str]:
    """``RUNNER_BIN`` (the program, or the directory it is in), else the first ``runner`` in ``PATH``."""
    chosen = os.environ.get("RUNNER_BIN")
    if chosen:
        if os.path.isdir(chosen):
            chosen = os.path.join(chosen, "runner")
        return chosen
    for directory in os.environ.get("PATH", os.defpath).split(os.pathsep):
        program = os.path.join(directory, "runner")
        if directory and os.path.isfile(program) and os.access(program, os.X_OK):
            return program
    return None
