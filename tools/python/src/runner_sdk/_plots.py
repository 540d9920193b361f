"""Values that are files: pictures, and the JSON of confusion matrices and their kin."""

from __future__ import annotations

import io
import os
from time import time_ns

from runner_sdk._artifacts import check_source
from runner_sdk._errors import Conflict, Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Tuple

    from runner_sdk._history import History, Source

_MAX_STEM = 100  # characters of a metric's name that its file's name keeps


def picture_of(path: Any, plot: Any) -> Tuple[Source, str]:
    """The picture of ``log_image``, and its file's extension."""
    if (path is None) == (plot is None):
        raise Invalid(
            "log_image: {} of path and plot".format("neither" if path is None else "both"),
            "give path='figure.png', or plot=figure (or the pyplot module)",
        )
    if path is not None:
        source = check_source(path, "log_image", "path")
        return source, os.path.splitext(source)[1] if isinstance(source, str) else ".png"
    figure = plot if hasattr(plot, "savefig") else getattr(plot, "figure", None)  # axes have one
    if not callable(getattr(figure, "savefig", None)):
        raise TypeError("log_image: plot must be a figure or the pyplot module, not {}".format(type(plot).__name__))
    stream = io.BytesIO()
    figure.savefig(stream, format="png")  # type: ignore[union-attr]
    return stream.getvalue(), ".png"


def document_of(value: Any, kind: str, where: str) -> bytes:
    """The JSON of a value in Azure ML's form, ``{"schema_type", "schema_version", "data"}``, as a dict or as text."""
    import json

    way_out = 'write {{"schema_type": "{}", "schema_version": "v1", "data": {{…}}}}'.format(kind)
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError as error:
            raise Invalid("{}: value is no JSON: {}".format(where, error), way_out) from None
    if not isinstance(value, dict):
        raise Invalid("{}: value must be a dict, or its JSON text, not {}".format(where, type(value).__name__), way_out)
    if not isinstance(value.get("data"), dict):
        raise Invalid("{}: value has no 'data'".format(where), way_out)
    if value.get("schema_type", kind) != kind:
        raise Invalid("{}: value['schema_type'] is {!r}".format(where, value["schema_type"]), way_out)
    return json.dumps(_plain(value, where, "value"), ensure_ascii=False, allow_nan=False, indent=1).encode("utf-8")


def _plain(value: Any, where: str, what: str) -> Any:
    """What JSON can say: arrays as lists, numpy's numbers as numbers, NaN and infinities as the API's texts."""
    for listed in ("tolist", "item"):
        convert = getattr(value, listed, None)
        if callable(convert):
            value = convert()
            break
    if isinstance(value, dict):
        return {str(key): _plain(item, where, "{}[{!r}]".format(what, key)) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item, where, what) for item in value]
    if isinstance(value, float) and value - value != 0.0:
        return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    if hasattr(value, "__float__"):
        return _plain(float(value), where, what)
    raise TypeError("{}: {} holds a {}, which JSON cannot say".format(where, what, type(value).__name__))


def add_value(history: History, run: str, name: str, source: Source, extension: str, where: str) -> str:
    """Adds the file of a value under a name made of the metric's and the time; returns it."""
    stem = (
        "".join(letter if letter.isalnum() or letter in "-_. " else "_" for letter in name[:_MAX_STEM]).strip(". ") or "value"
    )
    while len(stem.encode("utf-8", "replace")) > 2 * _MAX_STEM:
        stem = stem[:-1]
    moment = time_ns() // 1000
    while True:
        artifact = "{}_{}{}".format(stem, moment, extension)
        try:
            history.add_file(run, artifact, source, where)
            return artifact
        except Conflict:  # another process drew at this very microsecond
            moment += 1
