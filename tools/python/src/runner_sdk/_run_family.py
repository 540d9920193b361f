"""``Run``: parents and children."""

from __future__ import annotations

from runner_sdk._errors import Invalid
from runner_sdk._history import new_id
from runner_sdk._run_base import RunBase, filters_of, key_of, tags_of, text_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterator, List, Optional, Union

    from runner_sdk._config import ScriptRunConfig
    from runner_sdk._history import Document
    from runner_sdk._run import Run

_MOST = 10_000  # children of one request


class RunFamily(RunBase):
    """Children are runs of their own: with metrics, files, tags and an end. Their status is independent of their parent's;
    one that still runs when its parent ends, ends with it."""

    def child_run(self, name: Optional[str] = None, run_id: Optional[str] = None, outputs: Optional[str] = None) -> Run:
        """A child that runs in this process: ``with run.child_run("fold 1") as fold: fold.log(…)``. The ``with`` completes it,
        an exception fails it; without ``with`` call ``complete()`` or ``fail()``.

        Its display name is ``PARENT>NAME``. ``run_id``: a uuid4 of your own. ``outputs`` of Azure ML cannot be honoured: a
        child has no directory. Raises ``Conflict`` when this run has ended.
        """
        if outputs is not None:
            raise Invalid(
                "child_run: outputs: a child shares its parent's working directory", "use upload_folder('outputs', directory)"
            )
        child: Document = {"id": new_id() if run_id is None else key_of(run_id, "child_run", "run_id")}
        if name is not None:
            if not isinstance(name, str):
                raise TypeError("child_run: name must be a text, not {}".format(type(name).__name__))
            child["name"] = text_of(name, "child_run", "name")
        return self._child(self._history.create_children(self._id, [child])[0])

    def create_children(
        self, count: Optional[int] = None, tag_key: Optional[str] = None, tag_values: Optional[List[Any]] = None
    ) -> List[Run]:
        """Many children in one request and one commit, in order; they run at once. Either ``count`` of them, or one for each
        of ``tag_values``, tagged ``tag_key``. At most 10 000. Raises ``Invalid`` naming the argument."""
        where = "create_children"
        if (tag_key is None) != (tag_values is None):
            raise Invalid(
                "{}: tag_key and tag_values go together".format(where), "create_children(tag_key='alpha', tag_values=[0.1, 1])"
            )
        values: List[Any] = []
        if tag_values is not None:
            values = [None if value is None else text_of(value, where, "tag_values") for value in tag_values]
            key_of(tag_key, where, "tag_key")
            if count is not None and count != len(values):
                raise Invalid("{}: count is {} and tag_values has {}".format(where, count, len(values)), "leave count out")
        elif count is None:
            raise Invalid("{}: neither count nor tag_values".format(where), "create_children(3) makes three")
        elif isinstance(count, bool) or not hasattr(count, "__index__"):
            raise TypeError("{}: count must be an integer, not {}".format(where, type(count).__name__))
        number = len(values) if tag_values is not None else int(count)  # type: ignore[arg-type]
        if not 0 < number <= _MOST:
            raise Invalid("{}: {} children".format(where, number), "from 1 to {} at once".format(_MOST))
        children: List[Document] = [{"id": new_id()} for _ in range(number)]
        for child, value in zip(children, values):
            child["tags"] = {tag_key: value}
        return [self._child(document) for document in self._history.create_children(self._id, children)]

    def submit_child(self, config: ScriptRunConfig, tags: Optional[Dict[str, Any]] = None) -> Run:
        """Submits a script as a child; returns when its snapshot is taken, and the child is queued.

        From a script the source directory is copied for the daemon (without ``.git``, ``__pycache__`` and what this run
        writes to ``./outputs`` and ``./logs``); the child has this run's environment unless ``config`` names a registered one,
        and may narrow, never widen, its isolation, mounts, network and limits: ``PermissionDenied`` names what is too much.
        It runs within what this run has, so wait for it rather than compute beside it; this run's end leaves it running, a
        cancel takes it along.
        """
        from runner_sdk._config import ScriptRunConfig
        from runner_sdk._submitting import submit_child

        if not isinstance(config, ScriptRunConfig):
            raise TypeError("submit_child: config must be a ScriptRunConfig, not {}".format(type(config).__name__))
        wanted = {} if tags is None else tags_of(tags, "submit_child")
        return self._child(submit_child(self._history, self._id, config, wanted))

    def get_children(
        self,
        recursive: bool = False,
        tags: Union[None, str, Dict[str, Any]] = None,
        properties: Union[None, str, Dict[str, Any]] = None,
        type: Optional[str] = None,
        status: Optional[str] = None,
    ) -> Iterator[Run]:
        """The children, newest first; with ``recursive`` all descendants. All filters must hold: ``tags`` and ``properties``
        are ``{key: value}`` (value ``None``: any) or a key, ``type`` is ``"child"`` or ``"script"``. An iterator: ``list()``
        makes a list; it asks page by page."""
        filters = filters_of(type, status, tags, properties, "get_children")
        return (self._child(document) for document in self._history.children(self._id, bool(recursive), filters))

    @property
    def parent(self) -> Optional[Run]:
        """The parent; ``None`` for a top-level run. A script sees its own run and what is below it: of a parent above that
        only the ``id`` is known there, other questions raise ``NotFound``."""
        from runner_sdk._run import run_of

        parent = self._fact("parentRunId")
        return None if parent is None else run_of(self._history.above(self._id), str(parent), {})

    def _child(self, document: Document) -> Run:
        from runner_sdk._run import run_of

        return run_of(self._history, str(document["runId"]), document)
