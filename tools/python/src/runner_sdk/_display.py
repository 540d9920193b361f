"""Runs and experiments as notebooks show them. Everything is escaped: names and tags are anybody's text."""

from __future__ import annotations

import html

from runner_sdk._errors import RunnerError
from runner_sdk._history import FINAL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional, Tuple

    from runner_sdk._history import Document, History

_SHOWN = 8  # tags and metrics
_LONGEST = 200  # characters of a value


def run_table(history: History, run: str, facts: Document) -> str:
    """What is known of the run now. A daemon that is away is not waited for."""
    document: Optional[Dict[str, Any]]
    try:
        document = history.show(run, patience=0.0)
    except RunnerError:
        document = None
    if document is None:
        return table(
            [("Experiment", facts.get("experiment", "?")), ("Run", run), ("Status", "unknown: the daemon does not answer")]
        )
    status = str(document.get("status", ""))
    reason = document.get("statusReason")
    rows: List[Tuple[str, Any]] = [
        ("Experiment", document.get("experiment", "")),
        ("Run", run),
        ("Name", document.get("name", "")),
        ("Status", "{} ({})".format(status, reason) if reason else status),
        ("Created", document.get("createdTimeUtc", "")),
    ]
    if status in FINAL and isinstance(document.get("durationSeconds"), (int, float)):
        rows.append(("Duration", "{:.1f} s".format(document["durationSeconds"])))
    for title, key in (("Tags", "tags"), ("Metrics", "metrics")):
        found: Dict[str, Any] = document.get(key) or {}
        if found:
            rows.append((title, _pairs(found)))
    return table(rows)


def _pairs(found: Dict[str, Any]) -> str:
    shown = [name if value is None else "{}={}".format(name, _last(value)) for name, value in list(found.items())[:_SHOWN]]
    return ", ".join(shown) + (", …" if len(found) > _SHOWN else "")


def _last(value: Any) -> Any:
    return value[-1] if isinstance(value, list) and value else value


def table(rows: List[Tuple[str, Any]]) -> str:
    """HTML of titles and values."""
    lines = []
    for title, value in rows:
        text = str(value)
        if len(text) > _LONGEST:
            text = text[: _LONGEST - 1] + "…"
        lines.append(
            '<tr><th style="text-align:left">{}</th><td style="text-align:left">{}</td></tr>'.format(
                html.escape(title), html.escape(text)
            )
        )
    return "<table>{}</table>".format("".join(lines))
