"""What every part of ``Run`` rests on: an id, a history to ask, a recorder for metrics."""

from __future__ import annotations

from runner_sdk._errors import Invalid
from runner_sdk._history import Filters

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional, Tuple

    from runner_sdk._experiment import Experiment
    from runner_sdk._history import Document, History
    from runner_sdk._metrics import Recorder


class RunBase:
    """Who it is, and how it prints."""

    _history: History
    _id: str
    _recorder: Recorder
    _facts: Document  # of it what never changes

    def _take(self, history: History, run: str, facts: Document) -> None:
        self._history = history
        self._id = run
        self._recorder = history.recorder(run)
        self._facts = {key: facts[key] for key in ("experiment", "parentRunId", "kind", "attempt") if key in facts}

    def _fact(self, key: str) -> Any:
        if key not in self._facts:
            document = self._history.show(self._id)
            self._facts.update({name: document.get(name) for name in ("experiment", "parentRunId", "kind", "attempt")})
        return self._facts[key]

    @property
    def id(self) -> str:
        """The run's id, for example ``"diabetes_1700000000_1a2b3c4d"``; a uuid4 for children and interactive runs."""
        return self._id

    @property
    def experiment(self) -> Experiment:
        """The experiment that it belongs to."""
        from runner_sdk._experiment import Experiment

        return Experiment(self._fact("experiment"))

    @property
    def type(self) -> str:
        """``"script"``, ``"child"`` or ``"interactive"``."""
        return str(self._fact("kind"))

    @property
    def attempt(self) -> int:
        """From 1; higher when the run was started again after the machine was, or gave way to another."""
        return int(self._fact("attempt"))

    def __repr__(self) -> str:
        """The id, and the experiment where it is known; asks nobody."""
        known = self._facts.get("experiment")
        return "Run({}id: {})".format("experiment: {}, ".format(known) if known else "", self._id)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RunBase) and other._id == self._id

    def __hash__(self) -> int:
        return hash(self._id)

    def _repr_html_(self) -> str:
        """For notebooks: a table. Waits for no daemon that is away."""
        from runner_sdk._display import run_table

        return run_table(self._history, self._id, self._facts)


def key_of(key: Any, where: str, what: str) -> str:
    """The key of a tag or a property."""
    if not isinstance(key, str):
        raise TypeError("{}: {} must be a text, not {}".format(where, what, type(key).__name__))
    if not key:
        raise Invalid("{}: {} is empty".format(where, what), "name it")
    return key


def tags_of(tags: Any, where: str, what: str = "tags") -> Dict[str, Optional[str]]:
    """Tags as the API takes them: values are texts, ``None`` is a bare tag."""
    if not hasattr(tags, "items"):
        raise TypeError("{}: {} must be a dict, not {}; write {{'key': 'value'}}".format(where, what, type(tags).__name__))
    return {
        key_of(key, where, "a key of " + what): None if value is None else text_of(value, where, "{}[{!r}]".format(what, key))
        for key, value in tags.items()
    }


def properties_of(properties: Any, where: str, what: str = "properties") -> Dict[str, str]:
    """Properties as the API takes them: values are texts."""
    if not hasattr(properties, "items"):
        raise TypeError(
            "{}: {} must be a dict, not {}; write {{'key': 'value'}}".format(where, what, type(properties).__name__)
        )
    found = {}
    for key, value in properties.items():
        key_of(key, where, "a key of " + what)
        if value is None:
            raise TypeError("{}: {}[{!r}] is None; leave it out, or give a text".format(where, what, key))
        found[key] = text_of(value, where, "{}[{!r}]".format(what, key))
    return found


def text_of(value: Any, where: str, what: str) -> str:
    """Numbers and the like become texts, as in Azure ML; what is no Unicode is refused here, before anything is sent."""
    shown = value if isinstance(value, str) else str(value)
    try:
        shown.encode("utf-8")
    except UnicodeEncodeError:
        raise Invalid(
            "{}: {} is not Unicode text".format(where, what), "write text.encode('utf-8', 'replace').decode()"
        ) from None
    return shown


def filters_of(kind: Any, status: Any, tags: Any, properties: Any, where: str) -> Filters:
    """The filters of ``get_runs`` and ``get_children``."""
    return Filters(
        kind=None if kind is None else key_of(kind, where, "type"),
        status=None if status is None else key_of(status, where, "status"),
        tags=_conditions(tags, where, "tags"),
        properties=_conditions(properties, where, "properties"),
    )


def _conditions(wanted: Any, where: str, what: str) -> List[Tuple[str, Optional[str]]]:
    if wanted is None:
        return []
    if isinstance(wanted, str):
        pairs: List[Tuple[str, Optional[str]]] = [(key_of(wanted, where, what), None)]
    elif hasattr(wanted, "items"):
        pairs = list(tags_of(wanted, where, what).items())
    else:
        raise TypeError('{}: {} must be a dict or a text ("has this key"), not {}'.format(where, what, type(wanted).__name__))
    for key, _ in pairs:
        if "=" in key:  # the list's route takes K=V
            raise Invalid(
                "{}: {} cannot look for a key with '=' in it: {!r}".format(where, what, key), "filter the list yourself"
            )
    return pairs
