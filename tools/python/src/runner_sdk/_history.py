"""What can be asked and told about runs. A ``Run`` is an id and one of these: the daemon's, or one in memory."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import (
        Any,
        BinaryIO,
        Callable,
        Dict,
        Iterator,
        List,
        Optional,
        Tuple,
        Union,
    )

    from runner_sdk._metrics import Recorder

    Document = Dict[str, Any]  # of a run, as GET /v1/runs/{run} has it
    Source = Union[str, bytes, BinaryIO]  # of a file: a path, its bytes, a stream

FINAL = ("Completed", "Failed", "Canceled")


class Filters:
    """Which runs of a list are wanted; all conditions hold. In lists a condition is a key, or a key and its value."""

    def __init__(
        self,
        kind: Optional[str] = None,
        status: Optional[str] = None,
        tags: Optional[List[Tuple[str, Optional[str]]]] = None,
        properties: Optional[List[Tuple[str, Optional[str]]]] = None,
    ) -> None:
        self.kind = kind
        self.status = status
        self.tags = tags or []
        self.properties = properties or []

    def query(self) -> List[Tuple[str, str]]:
        """As parameters of a list's route."""
        pairs = [(name, value) for name, value in (("kind", self.kind), ("status", self.status)) if value is not None]
        for name, conditions in (("tag", self.tags), ("property", self.properties)):
            for key, value in conditions:
                pairs.append((name, key if value is None else key + "=" + value))
        return pairs

    def match(self, run: Document) -> bool:
        """The same, of a document."""
        if self.kind is not None and run["kind"] != self.kind:
            return False
        if self.status is not None and run["status"].lower() != self.status.lower():
            return False
        for having, conditions in ((run["tags"], self.tags), (run["properties"], self.properties)):
            for key, value in conditions:
                if key not in having or (value is not None and having[key] != value):
                    return False
        return True


class History:
    """The questions, each about a run by its id. Any thread, any process.

    Errors are those of ``runner_sdk._errors``: ``NotFound`` for a run that is not there or not to be seen from here,
    ``Unavailable`` when nobody answers.
    """

    def recorder(self, run: str) -> Recorder:
        """Where the run's metrics go."""
        raise NotImplementedError

    def add_file(self, run: str, name: str, source: Source, where: str) -> None:
        """An artifact of the run, written once. ``Conflict`` when there is one of that name."""
        raise NotImplementedError

    def above(self, run: str) -> History:
        """The history for the run's parent."""
        return self

    def is_own_script(self, run: str) -> bool:
        """Whether the run is the script that this process belongs to, which ends with its exit code and nothing else."""
        return False

    def show(self, run: str, patience: Optional[float] = None) -> Document:
        """Everything about it."""
        raise NotImplementedError

    def change(
        self,
        run: str,
        name: Optional[str] = None,
        tags: Optional[Dict[str, Optional[str]]] = None,
        remove_tags: Optional[List[str]] = None,
        properties: Optional[Dict[str, str]] = None,
    ) -> None:
        """All of it or nothing. ``Conflict`` for a property that has another value."""
        raise NotImplementedError

    def children(self, run: str, recursive: bool, filters: Filters) -> Iterator[Document]:
        """Newest first."""
        raise NotImplementedError

    def create_children(self, run: str, children: List[Document]) -> List[Document]:
        """At once; each has an ``id`` and may have ``name`` and ``tags``."""
        raise NotImplementedError

    def end(self, run: str, status: str, error: Optional[Dict[str, str]] = None) -> None:
        """Of a child or an interactive run. ``Conflict`` for one that has ended otherwise, and for a script's."""
        raise NotImplementedError

    def stop(self, run: str, how: str, reason: Optional[str]) -> None:
        """``how``: ``"cancel"`` or ``"fail"``. ``Conflict`` for one that has ended."""
        raise NotImplementedError

    def metrics(self, run: str, name: Optional[str], recursive: bool) -> Dict[str, Dict[str, Any]]:
        """Run ids to metrics as they read back; runs without any are left out."""
        raise NotImplementedError

    def files(self, run: str, prefix: str = "") -> List[Dict[str, Any]]:
        """Artifacts: ``name`` and ``bytes``."""
        raise NotImplementedError

    def read_file(self, run: str, name: str, write: Callable[[bytes], None]) -> None:
        """The bytes of an artifact, piece by piece."""
        raise NotImplementedError

    def restore(self, run: str, snapshot: Optional[str], directory: str) -> None:
        """Writes the snapshot of the run, or ``snapshot``, into a directory that is empty or not there."""
        from runner_sdk._errors import Unavailable

        raise Unavailable(
            "restore_snapshot: only a driver or a notebook can restore snapshots",
            "or 'runner run restore RUN DIR' outside of the run",
        )

    def wait(self, run: str) -> Document:
        """The run once it is final."""
        raise NotImplementedError

    def follow_progress(self, run: str, write: Callable[[bytes], None]) -> None:
        """Lines that say what it waits for, until it starts or ends."""

    def follow_log(self, run: str, attempt: int, write: Callable[[bytes], None]) -> None:
        """The log of one attempt, until its end."""

    def submit_child(self, run: str, submission: Document) -> Document:
        """A submission as a child of the run."""
        raise NotImplementedError


def new_id() -> str:
    """A uuid4. The module uuid takes longer to import than the rest of this package."""
    raw = bytearray(os.urandom(16))
    raw[6] = raw[6] & 0x0F | 0x40
    raw[8] = raw[8] & 0x3F | 0x80
    digits = raw.hex()
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
