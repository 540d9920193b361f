"""``Experiment``: submitting runs, starting them here, finding them. For drivers and notebooks."""

from __future__ import annotations

import os

from runner_sdk._config import ScriptRunConfig, this_interpreter
from runner_sdk._daemon import DaemonHistory, driver_history
from runner_sdk._errors import Invalid, NotFound
from runner_sdk._run import run_of
from runner_sdk._run_base import filters_of, key_of, properties_of, tags_of, text_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterator, List, Optional, Union

    from runner_sdk._history import Document
    from runner_sdk._run import Run


class Experiment:
    """An experiment by its name; it exists from its first run on. Asks nobody by itself, and two of one name are equal.

    Questions go to the user's daemon, which is started where none runs (``RUNNER_BIN`` or ``PATH`` has ``runner``;
    ``RUNNER_HOME`` and ``RUNNER_SOCKET`` choose another). They raise ``Unavailable`` when there is none for 2 minutes, and in
    a script of a run, which cannot reach it.
    """

    def __init__(self, name: str) -> None:
        self._name = text_of(key_of(name, "Experiment", "name"), "Experiment", "name")

    @property
    def name(self) -> str:
        """Its name."""
        return self._name

    def __repr__(self) -> str:
        return "Experiment({!r})".format(self._name)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Experiment) and other._name == self._name

    def __hash__(self) -> int:
        return hash(self._name)

    def _repr_html_(self) -> str:
        """For notebooks."""
        from runner_sdk._display import table

        return table([("Experiment", self._name)])

    @staticmethod
    def list() -> List[Experiment]:
        """All experiments."""
        answer = driver_history().client.ask("GET", "/v1/experiments")
        return [Experiment(item["name"]) for item in answer["items"]]

    def submit(
        self,
        config: ScriptRunConfig,
        tags: Optional[Dict[str, Any]] = None,
        *,
        properties: Optional[Dict[str, Any]] = None,
        display_name: Optional[str] = None,
        idempotency_key: Optional[str] = None,
    ) -> Run:
        """Submits a script; returns when its snapshot is on disk and the run is queued, and it then happens with the code as
        it was, whatever becomes of the files or of this process.

        ``tags``, ``properties``: of the run. ``idempotency_key``: the same key gives the same run, ``Conflict`` with other
        content. Warnings are printed on stderr. Raises ``Invalid`` or ``NotFound`` for what is wrong with the configuration.
        """
        if not isinstance(config, ScriptRunConfig):
            raise TypeError("submit: config must be a ScriptRunConfig, not {}".format(type(config).__name__))
        from runner_sdk._submitting import submit

        more: Document = {"experiment": self._name}
        if tags:
            more["tags"] = tags_of(tags, "submit")
        if properties:
            more["properties"] = properties_of(properties, "submit")
        if display_name is not None:
            more["name"] = text_of(display_name, "submit", "display_name")
        if idempotency_key is not None:
            more["idempotencyKey"] = key_of(idempotency_key, "submit", "idempotency_key")
        history = driver_history()
        document = submit(history, config, more, interpreter=this_interpreter())
        return run_of(history, document["runId"], document)

    def start_logging(
        self,
        outputs: Any = None,
        snapshot_directory: Any = ".",
        *,
        display_name: Optional[str] = None,
        tags: Optional[Dict[str, Any]] = None,
        properties: Optional[Dict[str, Any]] = None,
    ) -> Run:
        """Starts a run in this process: ``with experiment.start_logging() as run: run.log(…)``. The ``with`` completes it, an
        exception fails it; without ``with`` call ``complete()``. A process that ends without either leaves it Failed.

        ``outputs``: a directory that is collected when the run ends. ``snapshot_directory``: is snapshotted now; ``None``: no
        snapshot. What is logged needs no daemon from then on, and forked processes may log, too.
        """
        from runner_sdk._history import new_id
        from runner_sdk._journal import Journal
        from runner_sdk._metrics import Recorder
        from runner_sdk._submitting import start_ticks

        wanted: Document = {
            "id": new_id(),
            "experiment": self._name,
            "process": {"pid": os.getpid(), "startTicks": start_ticks()},
        }
        if display_name is not None:
            wanted["name"] = text_of(display_name, "start_logging", "display_name")
        if tags:
            wanted["tags"] = tags_of(tags, "start_logging")
        if properties:
            wanted["properties"] = properties_of(properties, "start_logging")
        if outputs is not None:
            wanted["outputs"] = os.path.abspath(os.fsdecode(os.fspath(outputs)))
        if snapshot_directory is not None:
            wanted["sourceDirectory"] = _directory(snapshot_directory)
            wanted["sourceDirectoryExplicit"] = snapshot_directory != "."
        client = driver_history().client
        document: Document = client.ask("POST", "/v1/interactive", wanted, timeout=None)
        run = document["runId"]
        recorder = Recorder(Journal(document["journal"]).append)
        return run_of(DaemonHistory(client, run, recorder, document["artifacts"]), run, document)

    def get_runs(
        self,
        type: Optional[str] = None,
        tags: Union[None, str, Dict[str, Any]] = None,
        properties: Union[None, str, Dict[str, Any]] = None,
        include_children: bool = False,
        status: Optional[str] = None,
    ) -> Iterator[Run]:
        """Its runs, newest first; top-level ones unless ``include_children``. All filters must hold: ``tags`` and
        ``properties`` are ``{key: value}`` (value ``None``: any) or a key, ``type`` is ``"script"``, ``"interactive"`` or
        ``"child"``. An iterator, which asks page by page: ``list()`` makes a list, ``next()`` takes the newest."""
        filters = filters_of(type, status, tags, properties, "get_runs")
        query = [("experiment", self._name)] + filters.query()
        if include_children:
            query.append(("children", "1"))
        history = driver_history()
        return (run_of(history, document["runId"], document) for document in history.runs("/v1/runs", query))


def _directory(path: Any) -> str:
    directory = os.path.abspath(os.fsdecode(os.fspath(path)))
    if not os.path.isdir(directory):
        kind = Invalid if os.path.exists(directory) else NotFound
        raise kind(
            "start_logging: snapshot_directory: there is no directory {!r}".format(directory), "None: no snapshot is taken"
        )
    return directory
