"""The history outside of a run: in memory, with the daemon's rules, so that a script can be tried without it.

Metrics are kept as the records that a journal would hold, and read back from them.
"""

from __future__ import annotations

import os
import time

from runner_sdk._errors import Conflict, NotFound, Unavailable
from runner_sdk._history import FINAL, Filters, History
from runner_sdk._metrics import Recorder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Iterator, List, Optional

    from runner_sdk._history import Document, Source

_PATH_TO_SUBMIT = "start the script with `runner submit`"


def now() -> str:
    """The time as the API writes it."""
    seconds = time.time_ns() // 1000
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds // 1_000_000)) + ".{:06d}Z".format(seconds % 1_000_000)


class MemoryHistory(History):
    """One offline run and its descendants. Any thread; a forked child has a copy of its own."""

    def __init__(self, root: str, experiment: str) -> None:
        self._root = root
        self._experiment = experiment
        self._records: List[bytes] = []
        self._runs: Dict[str, Document] = {}
        self._files: Dict[str, Dict[str, Source]] = {}
        self._add(root, None, "interactive", root, {})

    def _add(self, run: str, parent: Optional[str], kind: str, name: str, tags: Dict[str, Optional[str]]) -> Document:
        begun = now()
        self._runs[run] = {
            "runId": run,
            "experiment": self._experiment,
            "kind": kind,
            "name": name,
            "status": "Running",
            "statusReason": "",
            "createdTimeUtc": begun,
            "startTimeUtc": begun,
            "endTimeUtc": None,
            "attempt": 1,
            "parentRunId": parent,
            "snapshotId": None,
            "tags": dict(tags),
            "properties": {},
            "error": None,
        }
        self._files[run] = {}
        return self._runs[run]

    def _run(self, run: str) -> Document:
        try:
            return self._runs[run]
        except KeyError:
            raise NotFound("run {}: an offline run knows only itself and its children".format(run), _PATH_TO_SUBMIT) from None

    def recorder(self, run: str) -> Recorder:
        self._run(run)
        return Recorder(self._records.append, None if run == self._root else run)

    def add_file(self, run: str, name: str, source: Source, where: str) -> None:
        from runner_sdk._artifacts import pieces_of

        files = self._files[self._run(run)["runId"]]
        if not isinstance(source, (str, bytes)):
            source = b"".join(pieces_of(source, where))
        kept = os.path.abspath(source) if isinstance(source, str) else source
        for other in files:
            if other == name:
                raise Conflict(
                    "{}: the run has a file {!r} already".format(where, name), "a name is written once; choose another"
                )
            if other.startswith(name + "/") or name.startswith(other + "/"):
                raise Conflict("{}: a part of {!r} is a file of the run already".format(where, name), "choose another name")
        files[name] = kept

    def show(self, run: str, patience: Optional[float] = None) -> Document:
        from runner_sdk._artifacts import size_of

        kept = self._run(run)
        document = dict(kept, tags=dict(kept["tags"]), properties=dict(kept["properties"]))
        document["outputs"] = [{"name": name, "bytes": size_of(source)} for name, source in sorted(self._files[run].items())]
        return document

    def change(
        self,
        run: str,
        name: Optional[str] = None,
        tags: Optional[Dict[str, Optional[str]]] = None,
        remove_tags: Optional[List[str]] = None,
        properties: Optional[Dict[str, str]] = None,
    ) -> None:
        document = self._run(run)
        for key, value in (properties or {}).items():
            present = document["properties"].get(key)
            if present is not None and present != value:
                raise Conflict(
                    "run {}: property {!r} is {!r} and cannot become {!r}".format(run, key, present, value),
                    "properties are immutable; use a tag for what changes",
                )
        document["properties"].update(properties or {})
        for key in remove_tags or []:
            document["tags"].pop(key, None)
        document["tags"].update(tags or {})
        if name is not None:
            document["name"] = name

    def children(self, run: str, recursive: bool, filters: Filters) -> Iterator[Document]:
        family = {self._run(run)["runId"]}
        found = []
        for document in list(self._runs.values()):  # parents stand before their children
            if document["parentRunId"] in family:
                found.append(document)
                if recursive:
                    family.add(document["runId"])
        return (self.show(document["runId"]) for document in reversed(found) if filters.match(document))

    def create_children(self, run: str, children: List[Document]) -> List[Document]:
        parent = self._run(run)
        if parent["status"] in FINAL:
            raise Conflict("run {}: it has ended".format(run), "create children while their parent runs")
        number = sum(document["parentRunId"] == run for document in self._runs.values())
        made = []
        for child in children:
            number += 1
            name = "{}>{}".format(parent["name"], child.get("name") or number)
            made.append(self._add(child["id"], run, "child", name, child.get("tags", {})))
        return made

    def end(self, run: str, status: str, error: Optional[Dict[str, str]] = None) -> None:
        document = self._run(run)
        if document["status"] in FINAL:
            if document["status"] == status:
                return
            raise Conflict("run {}: it is {} already".format(run, document["status"]))
        document.update(status=status, endTimeUtc=now(), error=error)
        for child in list(self._runs.values()):  # one whose parent ends first ends with it
            if child["parentRunId"] == run and child["status"] not in FINAL:
                self.end(child["runId"], "Completed" if status == "Completed" else "Canceled")
                if status != "Completed":
                    child["statusReason"] = "its parent ended"

    def stop(self, run: str, how: str, reason: Optional[str]) -> None:
        failed = {"code": "UserError", "message": reason or "marked as failed by the user"} if how == "fail" else None
        self.end(run, "Failed" if how == "fail" else "Canceled", failed)
        self._run(run)["statusReason"] = reason or ""

    def metrics(self, run: str, name: Optional[str], recursive: bool) -> Dict[str, Dict[str, Any]]:
        from runner_sdk._reading import read_back

        family = [self._run(run)["runId"]]
        if recursive:
            for document in list(self._runs.values()):
                if document["parentRunId"] in family:
                    family.append(document["runId"])
        found = {who or self._root: metrics for who, metrics in read_back(list(self._records)).items()}
        wanted = {
            who: {title: value for title, value in found[who].items() if name is None or title == name}
            for who in family
            if who in found
        }
        return {who: metrics for who, metrics in wanted.items() if metrics}

    def files(self, run: str, prefix: str = "") -> List[Dict[str, Any]]:
        return [file for file in self.show(run)["outputs"] if file["name"].startswith(prefix)]

    def read_file(self, run: str, name: str, write: Callable[[bytes], None]) -> None:
        from runner_sdk._artifacts import pieces_of

        files = self._files[self._run(run)["runId"]]
        if name not in files:
            raise NotFound("run {} has no file {!r}".format(run, name), "get_file_names() lists them")
        for piece in pieces_of(files[name], "download_file"):
            write(piece)

    def wait(self, run: str) -> Document:
        if self._run(run)["status"] not in FINAL:
            raise Conflict("run {}: an offline run ends only when this process ends it".format(run), "call complete()")
        return self.show(run)

    def submit_child(self, run: str, submission: Document) -> Document:
        raise Unavailable("submit_child: an offline run cannot submit", _PATH_TO_SUBMIT)
