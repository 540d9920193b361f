"""What may be logged, and how the journal writes it: numbers, texts, and what numpy, pandas, torch and their kin make of them.

Their objects are recognised by what they can do; none of those packages is imported here.
"""

from __future__ import annotations

import sys

try:
    from _json import (
        encode_basestring_ascii,  # what json uses, without the 5 ms of importing json
    )
except ImportError:  # another Python than CPython
    from json.encoder import encode_basestring_ascii

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, List, Tuple

INT_MIN = -(2**63)
INT_MAX = 2**63 - 1
MAX_TEXT = 500_000  # bytes of JSON; the daemon skips records over 1 MiB


def encoded(value: Any, where: str, what: str) -> str:
    """JSON of one number or text. Errors begin with ``where`` (a call) and name ``what`` (its argument)."""
    if isinstance(value, str):
        return text(value, where, what)
    number = _number(value, where, what)
    if isinstance(number, int):
        if not INT_MIN <= number <= INT_MAX:
            raise ValueError("{}: {} {} does not fit into 64 bits; log float(value)".format(where, what, shown(number)))
        return int.__repr__(number)
    if number != number:
        return '{"float": "nan"}'
    if number - number != 0.0:
        return '{"float": "inf"}' if number > 0 else '{"float": "-inf"}'
    return float.__repr__(number)


def cell(value: Any, where: str, what: str) -> str:
    """JSON of a value in a row or table: as ``encoded``; ``None`` and pandas' missing values are null, dates their ISO text."""
    if value is None or _is_missing(value):
        return "null"
    isoformat = getattr(value, "isoformat", None)
    if callable(isoformat):
        return text(str(isoformat()), where, what)
    return encoded(value, where, what)


def _is_missing(value: Any) -> bool:
    pandas = sys.modules.get("pandas")
    return pandas is not None and (value is getattr(pandas, "NA", pandas) or value is getattr(pandas, "NaT", pandas))


def _number(value: Any, where: str, what: str) -> Any:
    """A plain int or float."""
    item = getattr(value, "item", None)  # numpy, torch, tensorflow, jax
    if callable(item):
        try:
            value = item()
        except (TypeError, ValueError, RuntimeError):
            raise ValueError(
                "{}: {} must be one number, not {} of shape {}; log one element per call, or all with log_list".format(
                    where, what, type(value).__name__, getattr(value, "shape", "?")
                )
            ) from None
    try:
        if isinstance(value, float):
            return float(value)
        if hasattr(value, "__index__"):  # int, bool
            try:
                return int(value.__index__())
            except (TypeError, AttributeError):  # tensorflow's tensors have one that works for integers only
                pass
        if hasattr(value, "__float__"):  # Decimal, Fraction, numpy.longdouble
            return float(value)
    except TypeError:
        pass  # complex numbers had a __float__ that only raises until Python 3.9
    except (ValueError, OverflowError) as error:
        raise ValueError("{}: {} {} is no number: {}".format(where, what, shown(value), error)) from None
    raise TypeError(
        "{}: {} must be a number or a text, not {}; log one number per call (log_list takes many), "
        "and put larger things into a file in outputs/".format(where, what, type(value).__name__)
    )


def step_of(step: Any, where: str) -> int:
    """``step`` as an integer of 64 bits."""
    if not hasattr(step, "__index__"):
        raise TypeError("{}: step must be an integer, not {}; write int(step)".format(where, type(step).__name__))
    number = int(step)
    if not INT_MIN <= number <= INT_MAX:
        raise ValueError("{}: step {} does not fit into 64 bits".format(where, shown(number)))
    return number


def name_of(name: Any, where: str) -> str:
    """JSON of a metric's name."""
    if not isinstance(name, str):
        raise TypeError("{}: name must be a text, not {}; write str(name)".format(where, type(name).__name__))
    if not name:
        raise ValueError("{}: name is empty; say what the value measures".format(where))
    return text(name, where, "name")


def text(value: str, where: str, what: str) -> str:
    """JSON of a text."""
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError(
            '{}: {} {!a} is not Unicode text; write text.encode("utf-8", "replace").decode()'.format(where, what, value[:60])
        ) from None
    quoted = encode_basestring_ascii(value)
    if len(quoted) > MAX_TEXT:
        raise ValueError("{}: {} is a text of {} characters; put it into a file in outputs/".format(where, what, len(value)))
    return quoted


def shown(value: Any) -> str:
    """A value in a message."""
    try:
        shortened = repr(value)
    except ValueError:  # Python refuses to print very long integers
        return "(a very long number)"
    return shortened if len(shortened) <= 60 else shortened[:57] + "..."


def items_of(values: Any, where: str, what: str) -> List[Any]:
    """The elements of a list, an array, a tensor, a pandas object or anything that can be iterated once."""
    if isinstance(values, (str, bytes, bytearray)):
        raise TypeError("{}: {} is one {}; write [{}]".format(where, what, type(values).__name__, what))
    tolist = getattr(values, "tolist", None)  # numpy, torch, pandas (a Series has keys, too); far faster than iterating
    if callable(tolist):
        shape = getattr(values, "shape", ())
        if len(shape) > 1:
            raise ValueError(
                "{}: {} must have one dimension, not shape {}; write {}.ravel(), or log_table for columns".format(
                    where, what, tuple(shape), what
                )
            )
        plain = tolist()
        return plain if isinstance(plain, list) else [plain]
    if hasattr(values, "keys"):
        raise TypeError(
            "{}: {} must be a list of values, not {}; log_row logs one row of named values, log_table many".format(
                where, what, type(values).__name__
            )
        )
    try:
        iterator = iter(values)
    except TypeError:
        raise TypeError(
            "{}: {} must be a list, an array or another iterable, not {}; log() logs one value".format(
                where, what, type(values).__name__
            )
        ) from None
    return list(iterator)


def columns_of(values: Any, where: str, what: str) -> List[Tuple[str, Any]]:
    """Names and columns of a dict or a pandas DataFrame."""
    items = getattr(values, "items", None)
    if not callable(items) or not hasattr(values, "keys"):
        raise TypeError(
            "{}: {} must be a dict of columns or a DataFrame, not {}; write {{'name': [values, …]}}".format(
                where, what, type(values).__name__
            )
        )
    columns = [(name if isinstance(name, str) else str(name), column) for name, column in items()]
    if not columns:
        raise ValueError("{}: {} has no columns; write {{'name': [values, …]}}".format(where, what))
    names = {name for name, _ in columns}
    if len(names) < len(columns):
        raise ValueError("{}: {} has two columns of one name; rename one".format(where, what))
    return columns
