"""``log``: one metric point. The usual call, a finite float or an int, costs 2 to 3 microseconds."""

from __future__ import annotations

import os
from time import time_ns

try:
    from _json import encode_basestring_ascii  # what json uses, without the 5 ms of importing json
except ImportError:  # another Python than CPython
    from json.encoder import encode_basestring_ascii

from runner_sdk._journal import append

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Optional

_JOURNAL = os.environ.get("RUNNER_METRICS")  # set by the daemon before the script starts; looking it up costs 1 microsecond
_INT_MIN = -(2**63)
_INT_MAX = 2**63 - 1
_MAX_TEXT = 500_000  # bytes of JSON; the daemon skips records over 1 MiB
_MAX_REMEMBERED = 10_000  # names; a script may invent one per call

_heads: Dict[str, str] = {}  # name to the beginning of its records


def log(name: str, value: Any, step: Optional[int] = None) -> None:
    """Adds a point to the metric ``name`` of this run.

    ``name``: any text. ``value``: a number (Python's, numpy's, a tensor with one element; NaN and infinities, too), a bool
    (as 0 or 1) or a text. ``step``: an integer, or ``None``; points without steps stay in log order. Integers have 64 bits.

    Logged once a metric is a value, more often a list. Returns as soon as the point is in the run's journal; it shows in
    ``runner run show`` about 100 ms later. Outside a run the point is printed instead.

    Raises ``TypeError`` or ``ValueError`` naming the argument. A journal that cannot be written (a full disk) is said once on
    stderr and does not raise.

    Safe from threads, forked processes and programs started by the script.

    Azure ML's ``Run.log`` has the same arguments.
    """
    try:
        head = _heads[name]
    except (KeyError, TypeError):
        head = _head(name)
    kind = type(value)
    if kind is float and value - value == 0.0:  # neither NaN nor infinite
        text = repr(value)
    elif kind is int and _INT_MIN <= value <= _INT_MAX:
        text = repr(value)
    else:
        text = _encoded(value)
    if step is not None:
        if type(step) is not int or not _INT_MIN <= step <= _INT_MAX:
            step = _checked_step(step)
        text = f'{text}, "step": {step}'
    if _JOURNAL:
        append(_JOURNAL, f'{head}{text}, "time": {time_ns() // 1000}}}\n'.encode())
    else:
        print("{} = {}{}".format(name, value, "" if step is None else " (step {})".format(step)), flush=True)


def _head(name: Any) -> str:
    if not isinstance(name, str):
        raise TypeError("runner.log: name must be a text, not {}; write str(name)".format(type(name).__name__))
    if not name:
        raise ValueError("runner.log: name is empty; say what the value measures")
    head = '\x1e{"metric": ' + _text(name, "name") + ', "value": '
    if len(_heads) >= _MAX_REMEMBERED:
        _heads.clear()
    _heads[str(name)] = head
    return head


def _encoded(value: Any) -> str:
    if isinstance(value, str):
        return _text(value, "value")
    number = _number(value)
    if isinstance(number, int):
        if not _INT_MIN <= number <= _INT_MAX:
            raise ValueError("runner.log: value {} does not fit into 64 bits; log float(value)".format(_shown(number)))
        return int.__repr__(number)
    if number != number:
        return '{"float": "nan"}'
    if number - number != 0.0:
        return '{"float": "inf"}' if number > 0 else '{"float": "-inf"}'
    return float.__repr__(number)


def _number(value: Any) -> Any:
    """A plain int or float."""
    item = getattr(value, "item", None)  # numpy, torch, tensorflow, jax
    if callable(item):
        try:
            value = item()
        except (TypeError, ValueError, RuntimeError):
            raise ValueError(
                "runner.log: value must be one number, not {} of shape {}; log one element per call".format(
                    type(value).__name__, getattr(value, "shape", "?")
                )
            ) from None
    try:
        if isinstance(value, float):
            return float(value)
        if hasattr(value, "__index__"):  # int, bool
            return int(value)
        if hasattr(value, "__float__"):  # Decimal, Fraction, numpy.longdouble
            return float(value)
    except TypeError:
        pass  # complex numbers had a __float__ that only raises until Python 3.9
    except (ValueError, OverflowError) as error:
        raise ValueError("runner.log: value {} is no number: {}".format(_shown(value), error)) from None
    raise TypeError(
        "runner.log: value must be a number or a text, not {}; log one number per call, "
        "and put larger things into a file in outputs/".format(type(value).__name__)
    )


def _checked_step(step: Any) -> int:
    if not hasattr(step, "__index__"):
        raise TypeError("runner.log: step must be an integer, not {}; write int(step)".format(type(step).__name__))
    number = int(step)
    if not _INT_MIN <= number <= _INT_MAX:
        raise ValueError("runner.log: step {} does not fit into 64 bits".format(_shown(number)))
    return number


def _text(text: str, argument: str) -> str:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError(
            'runner.log: {} {!a} is not Unicode text; write text.encode("utf-8", "replace").decode()'.format(argument, text[:60])
        ) from None
    encoded = encode_basestring_ascii(text)
    if len(encoded) > _MAX_TEXT:
        raise ValueError(
            "runner.log: {} is a text of {} characters; put it into a file in outputs/".format(argument, len(text))
        )
    return encoded


def _shown(value: Any) -> str:
    try:
        text = repr(value)
    except ValueError:  # Python refuses to print very long integers
        return "(a very long number)"
    return text if len(text) <= 60 else text[:57] + "..."
