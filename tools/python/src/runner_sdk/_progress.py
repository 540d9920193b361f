"""A bar for long uploads and downloads. On a terminal only: in a log it would be a thousand lines."""

from __future__ import annotations

import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional

_QUIET = 0.5  # seconds; what is done by then needs no bar
_BETWEEN = 0.1  # seconds between two states of it
_WIDTH = 30  # characters


class Bar:
    """Counts bytes. Used by one thread; ``close`` removes it."""

    def __init__(self, label: str, total: Optional[int]) -> None:
        self._label = label if len(label) <= 40 else "…" + label[-39:]
        self._total = total
        self._count = 0
        self._shown = False
        self._next = time.monotonic() + _QUIET
        try:
            self._terminal = sys.stderr.isatty()
        except (AttributeError, ValueError):  # a program without a stderr, or with a closed one
            self._terminal = False

    def add(self, count: int) -> None:
        self._count += count
        if self._terminal and time.monotonic() >= self._next:
            self._next = time.monotonic() + _BETWEEN
            self._shown = True
            print("\r\033[K" + self.line(), end="", file=sys.stderr, flush=True)

    def line(self) -> str:
        """Its present state."""
        if not self._total:
            return "{} {}".format(self._label, size(self._count))
        share = min(1.0, self._count / self._total)
        filled = int(share * _WIDTH)
        return "{} [{}{}] {:3.0f} % of {}".format(
            self._label, "#" * filled, "." * (_WIDTH - filled), 100 * share, size(self._total)
        )

    def close(self) -> None:
        if self._shown:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
            self._shown = False


def size(count: float) -> str:
    """Bytes for people: ``"1.5 MB"``."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            break
        count /= 1000
    return "{:.0f} {}".format(count, unit) if unit == "B" or count >= 100 else "{:.1f} {}".format(count, unit)
