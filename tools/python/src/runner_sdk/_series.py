"""Lists, rows, tables and values that are files: the journal's other records.

Everything is checked before anything is written; what is long becomes several records below 500 kB, which the daemon puts
together again.
"""

from __future__ import annotations

from time import time_ns

from runner_sdk._values import (
    INT_MAX,
    INT_MIN,
    cell,
    columns_of,
    encoded,
    items_of,
    name_of,
    text,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List

    from runner_sdk._metrics import Recorder

_MAX_VALUES = 450_000  # bytes of a record's values; with the rest of it below 500 kB


def log_list(recorder: Recorder, name: str, values: Any) -> None:
    """Many points of one metric, in order."""
    where = "log_list"
    items = items_of(values, where, "value")
    shown = [
        repr(item)
        if (type(item) is float and item - item == 0.0) or (type(item) is int and INT_MIN <= item <= INT_MAX)
        else encoded(item, where, "value[{}]".format(number))
        for number, item in enumerate(items)
    ]
    _check_sizes(shown, where)
    recorder.head(name, where)  # the name is values from now on
    head = '\x1e{"list": ' + name_of(name, where) + ', "values": ['
    tail = '], "time": {}{}'.format(time_ns() // 1000, recorder.tail)
    for part in _parts(shown):
        recorder.append((head + ", ".join(part) + tail).encode())


def _check_sizes(shown: List[str], where: str) -> None:
    for number, item in enumerate(shown):
        if len(item) > _MAX_VALUES:
            raise ValueError(
                "{}: value[{}] is a text of {} bytes; put it into a file in outputs/".format(where, number, len(item))
            )


def _parts(shown: List[str]) -> List[List[str]]:
    parts: List[List[str]] = [[]]
    size = 0
    for item in shown:
        size += len(item) + 2
        if size > _MAX_VALUES and parts[-1]:
            parts.append([])
            size = len(item) + 2
        parts[-1].append(item)
    return parts


def log_row(recorder: Recorder, name: str, columns: Dict[str, Any]) -> None:
    """One row."""
    where = "log_row"
    if not columns:
        raise ValueError("log_row: there are no columns; write log_row({!r}, column=value)".format(name))
    cells = [_column_name(column, where) + ": " + _cell(value, where, column) for column, value in columns.items()]
    row = ", ".join(cells)
    if len(row) > _MAX_VALUES:
        raise ValueError("log_row: the row has {} bytes; put large values into a file in outputs/".format(len(row)))
    quoted = recorder.table(name, where)
    recorder.append(
        '\x1e{{"row": {}, "values": {{{}}}, "time": {}{}'.format(quoted, row, time_ns() // 1000, recorder.tail).encode()
    )


def log_table(recorder: Recorder, name: str, values: Any) -> None:
    """Many rows, by columns. Shorter columns are filled up with null."""
    where = "log_table"
    names: List[str] = []
    columns: List[List[str]] = []
    for column, items in columns_of(values, where, "value"):
        what = "value[{!r}]".format(column)
        names.append(_column_name(column, where))
        columns.append([_cell(item, where, column, number) for number, item in enumerate(items_of(items, where, what))])
    length = max(map(len, columns))
    for cells in columns:
        cells.extend(["null"] * (length - len(cells)))
    ends = _row_ends(names, columns, length)
    quoted = recorder.table(name, where)
    tail = '}}, "time": {}{}'.format(time_ns() // 1000, recorder.tail)
    begin = 0
    for end in ends:
        parts = ["{}: [{}]".format(title, ", ".join(column[begin:end])) for title, column in zip(names, columns)]
        recorder.append(('\x1e{"table": ' + quoted + ', "values": {' + ", ".join(parts) + tail).encode())
        begin = end


def _row_ends(names: List[str], columns: List[List[str]], length: int) -> List[int]:
    """Behind which rows a record ends."""
    titles = sum(len(name) + 6 for name in names)
    ends: List[int] = []
    size = titles
    for number in range(length):
        row = sum(len(column[number]) + 2 for column in columns)
        if titles + row > _MAX_VALUES:
            raise ValueError("log_table: row {} has {} bytes; put large values into a file in outputs/".format(number, row))
        size += row
        if size > _MAX_VALUES:
            ends.append(number)
            size = titles + row
    return ends + [length]


def _column_name(column: str, where: str) -> str:
    return text(column, where, "column name")


def _cell(value: Any, where: str, column: str, number: int = -1) -> str:
    if type(value) is float and value - value == 0.0:
        return repr(value)
    if type(value) is int and INT_MIN <= value <= INT_MAX:
        return repr(value)
    return cell(value, where, "column {!r}".format(column) + ("" if number < 0 else ", row {}".format(number)))


def log_file_value(recorder: Recorder, name: str, artifact: str, kind: str, where: str) -> None:
    """A value that is a file; the artifact's record came before."""
    head = recorder.head(name, where)
    recorder.append(
        '{}{{"artifact": {}, "type": "{}"}}, "time": {}{}'.format(
            head, text(artifact, where, "name"), kind, time_ns() // 1000, recorder.tail
        ).encode()
    )
