"""What was logged, as it reads back: records of a journal to names and values, and the daemon's JSON to Python's."""

from __future__ import annotations

import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterable, List, Optional

_FLOATS = {"nan": float("nan"), "inf": float("inf"), "-inf": float("-inf")}


def decoded(value: Any) -> Any:
    """One value: ``{"float": "nan"}`` and the like are floats, everything else is what it is."""
    if isinstance(value, dict) and value.get("float") in _FLOATS:
        return _FLOATS[value["float"]]
    return value


def decoded_metric(metric: Dict[str, Any]) -> Any:
    """A metric of ``GET …/metrics?values=1``: ``{"value": V}``, ``{"list": […]}``, ``{"row": {COLUMN: V}}`` or
    ``{"table": {COLUMN: […]}}``."""
    if "row" in metric:
        return {column: decoded(value) for column, value in metric["row"].items()}
    if "table" in metric:
        return {column: [decoded(value) for value in values] for column, values in metric["table"].items()}
    if "list" in metric:
        return [decoded(value) for value in metric["list"]]
    return decoded(metric["value"])


class _Points:
    def __init__(self) -> None:
        self.values: List[Any] = []
        self.is_list = False

    def read_back(self) -> Any:
        return self.values[0] if len(self.values) == 1 and not self.is_list else self.values


class _Rows:
    def __init__(self) -> None:
        self.columns: Dict[str, List[Any]] = {}
        self.count = 0
        self.is_table = False

    def add(self, columns: Dict[str, List[Any]]) -> None:
        rows = max(len(column) for column in columns.values())
        for name, column in columns.items():
            known = self.columns.setdefault(name, [])
            known.extend([None] * (self.count - len(known)))  # the column is new, or was left out
            known.extend(column)
        self.count += rows
        for known in self.columns.values():
            known.extend([None] * (self.count - len(known)))

    def read_back(self) -> Dict[str, Any]:
        if self.count == 1 and not self.is_table:
            return {name: column[0] for name, column in self.columns.items()}
        return self.columns


def read_back(records: Iterable[bytes]) -> Dict[Optional[str], Dict[str, Any]]:
    """Runs (``None``: the journal's own) to their metrics: a point logged once is the value, more often the list; a list is
    always a list; one row is ``{column: value}``, several or a table ``{column: [values]}``."""
    runs: Dict[Optional[str], Dict[str, Any]] = {}
    for raw in records:
        record = json.loads(raw[1:].decode("utf-8"))
        metrics = runs.setdefault(record.get("run"), {})
        name = record.get("metric", record.get("list"))
        if name is not None:
            points = metrics.setdefault(name, _Points())
            if isinstance(points, _Points):  # a name's first shape is its shape
                values = record.get("values", [record.get("value")])
                points.is_list = points.is_list or "list" in record
                points.values.extend(decoded(value) for value in values)
        elif "row" in record or "table" in record:
            rows = metrics.setdefault(record.get("row", record.get("table")), _Rows())
            if isinstance(rows, _Rows):
                rows.is_table = rows.is_table or "table" in record
                rows.add(
                    {
                        column: [decoded(value) for value in (values if "table" in record else [values])]
                        for column, values in record["values"].items()
                    }
                )
    return {run: {name: held.read_back() for name, held in metrics.items()} for run, metrics in runs.items() if metrics}
