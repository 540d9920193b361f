"""What ``wait_for_completion(show_output=True)`` shows: what the run waits for, its log as it grows, a summary."""

from __future__ import annotations

import codecs
import sys
import time

from runner_sdk._errors import NotFound
from runner_sdk._history import FINAL
from runner_sdk._progress import size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List

    from runner_sdk._history import Document, History

_BETWEEN_LINES = 5.0  # seconds; where lines cannot be overwritten, figures alone are news no sooner
_SHOWN_METRICS = 6
_ERASE = "\r\033[K"


class _ProgressLine:
    """What a run waits for: one line that is overwritten on a terminal, few lines elsewhere."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._rest = b""
        self._shown = False
        self._what = ""
        self._told = -_BETWEEN_LINES

    def take(self, piece: bytes) -> None:
        *lines, self._rest = (self._rest + piece).split(b"\n")
        if lines:
            self._show(lines[-1].decode("utf-8", "replace"))  # of several at once the last says all

    def _show(self, line: str) -> None:
        line = "".join(letter if letter.isprintable() else "?" for letter in line)
        if self._terminal:
            print(_ERASE + "runner: " + line[:100], end="", file=sys.stderr, flush=True)
            self._shown = True
            return
        what = line.split(": ")[0]
        now = time.monotonic()
        if what != self._what or now - self._told >= _BETWEEN_LINES:
            print("runner: " + line, file=sys.stderr, flush=True)
            self._what, self._told = what, now

    def close(self) -> None:
        if self._shown:
            print(_ERASE, end="", file=sys.stderr, flush=True)
            self._shown = False


class _LogPrinter:
    """Bytes of a log to stdout, which may be a notebook's: as text, whole characters at a time."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def take(self, piece: bytes) -> None:
        self._print(self._decoder.decode(piece))

    def close(self) -> None:
        self._print(self._decoder.decode(b"", True))

    def _print(self, text: str) -> None:
        if text:
            try:
                sys.stdout.write(text)
            except UnicodeEncodeError:  # a terminal of another encoding
                encoding = sys.stdout.encoding or "ascii"
                sys.stdout.write(text.encode(encoding, "replace").decode(encoding))
            sys.stdout.flush()


def follow(history: History, run: str) -> Document:
    """Shows the run from now to its end; returns its document."""
    print("runner: run " + run, file=sys.stderr, flush=True)
    document = history.show(run)
    attempt = int(document.get("attempt") or 1)
    while document.get("kind", "script") == "script":
        _follow_attempt(history, run, attempt)
        document = history.show(run)
        if int(document.get("attempt") or 1) <= attempt:
            break
        earlier: List[Dict[str, Any]] = document.get("earlierAttempts") or []
        reason = next((str(ended.get("reason", "")) for ended in earlier if ended.get("attempt") == attempt), "")
        print("runner: attempt {} {}; the run starts again".format(attempt, reason), file=sys.stderr, flush=True)
        attempt += 1
    if document.get("status") not in FINAL:
        document = history.wait(run)
    print(summary_of(document), file=sys.stderr, flush=True)
    return document


def _follow_attempt(history: History, run: str, attempt: int) -> None:
    line = _ProgressLine()
    try:
        history.follow_progress(run, line.take)
    finally:
        line.close()
    printer = _LogPrinter()
    try:
        history.follow_log(run, attempt, printer.take)
    except NotFound:
        pass  # it never came to print anything
    finally:
        printer.close()


def summary_of(document: Document) -> str:
    """The end of a run in a few lines."""
    reason = document.get("statusReason")
    seconds = document.get("durationSeconds")
    lines = [
        "runner: run {} {}{}{}".format(
            document.get("runId"),
            document.get("status"),
            " ({})".format(reason) if reason else "",
            " in {:.1f} s".format(seconds) if isinstance(seconds, (int, float)) else "",
        )
    ]
    metrics: Dict[str, Any] = document.get("metrics") or {}
    shown = ["{}={}".format(name, _short(value)) for name, value in list(metrics.items())[:_SHOWN_METRICS]]
    if len(metrics) > _SHOWN_METRICS:
        shown.append("… ({} in all)".format(len(metrics)))
    if shown:
        lines.append("  metrics  " + "  ".join(shown))
    outputs: List[Dict[str, Any]] = document.get("outputs") or []
    if outputs:
        total = sum(int(output.get("bytes") or 0) for output in outputs)
        lines.append("  outputs  {} file{}, {}".format(len(outputs), "" if len(outputs) == 1 else "s", size(total)))
    return "\n".join(lines)


def _short(value: Any) -> str:
    if isinstance(value, list):
        value = value[-1] if value else "[]"
    text = "{:.6g}".format(value) if isinstance(value, float) else str(value)
    return text if len(text) <= 40 else text[:39] + "…"
