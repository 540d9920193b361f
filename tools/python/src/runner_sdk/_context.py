"""Which run this process belongs to. The daemon says so in the environment, so child processes belong to it, too."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # typing costs every script 3 ms of import
if TYPE_CHECKING:
    from typing import Optional, Set

_said: Set[str] = set()


def say_once(message: str) -> None:
    """Writes one line to stderr, the first time it is said in this process."""
    if message not in _said:
        _said.add(message)
        print("runner: " + message, file=sys.stderr)


def run_id() -> Optional[str]:
    """The id of the run this process belongs to, for example ``"diabetes_1700000000_1a2b3c4d"``.

    Outside a run: ``None``, and a line on stderr says so once.
    """
    found = os.environ.get("RUNNER_RUN_ID")
    if not found:
        say_once("this is no run: run_id() is None (start the script with `runner submit`)")
        return None
    return found
