"""The history behind a socket: the run socket for a script, the control socket for drivers and notebooks."""

from __future__ import annotations

import os

from runner_sdk._errors import Conflict, Unavailable
from runner_sdk._history import FINAL, Filters, History
from runner_sdk._metrics import Recorder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Iterator, List, Optional

    from runner_sdk._client import Client
    from runner_sdk._history import Document, Source

_PAGE = "200"  # runs of one answer of a list


class NoJournal:
    """Of a run that another process logs to."""

    def __init__(self, run: str) -> None:
        self._run = run

    def append(self, record: bytes) -> None:
        raise Conflict(
            "run {}: metrics are logged by its own script".format(self._run),
            "log there with Run.get_context().log(…); start_logging() begins a run of this process",
        )


class DaemonHistory(History):
    """Asks the daemon. ``owner``: the run whose journal and artifacts this process writes, with its descendants."""

    def __init__(
        self,
        client: Optional[Client],
        owner: Optional[str] = None,
        recorder: Optional[Recorder] = None,
        artifacts: Optional[str] = None,
        on_run_socket: bool = False,
    ) -> None:
        self._client = client
        self._owner = owner
        self._recorder = recorder
        self._artifacts = artifacts
        self.on_run_socket = on_run_socket

    def __repr__(self) -> str:
        return "DaemonHistory({!r})".format(self._client)

    @property
    def client(self) -> Client:
        if self._client is None:
            self._client = _run_client()
        return self._client

    def above(self, run: str) -> DaemonHistory:
        if run != self._owner:
            return self
        return DaemonHistory(self._client, on_run_socket=self.on_run_socket)  # nothing of the owner's parent is written here

    # --- what this process writes

    def recorder(self, run: str) -> Recorder:
        if self._recorder is None:
            return Recorder(NoJournal(run).append)
        return self._recorder if run == self._owner else Recorder(self._recorder.append, run)

    def add_file(self, run: str, name: str, source: Source, where: str) -> None:
        if self._recorder is None or self._artifacts is None:
            return self._hand_over(run, name, source, where)
        from runner_sdk._artifacts import JournalArtifacts

        if not os.path.isdir(self._artifacts):
            raise Unavailable(
                "{}: this run's daemon takes no files while a run is going on".format(where),
                "write {!r} to outputs/ in the working directory: it is kept when the run ends".format(name),
            )
        of_run = None if run == self._owner else run
        JournalArtifacts(self._recorder.append, self._artifacts, of_run).add(name, source, where)

    def _hand_over(self, run: str, name: str, source: Source, where: str) -> None:
        """The daemon reads the file, as this user would."""
        if self.on_run_socket:
            raise Conflict("{}: run {} is another script's".format(where, run), "let that script upload its own files")
        target = self.target(run, "/artifacts")
        if isinstance(source, str):
            self.client.ask("POST", target, {"name": name, "path": os.path.abspath(source)}, timeout=None)
            return
        import tempfile

        from runner_sdk._artifacts import pieces_of

        with tempfile.NamedTemporaryFile(prefix="runner-upload-") as copy:
            for piece in pieces_of(source, where):
                copy.write(piece)
            copy.flush()
            self.client.ask("POST", target, {"name": name, "path": copy.name}, timeout=None)

    def is_own_script(self, run: str) -> bool:
        return self.on_run_socket and run == self._owner

    def trees(self) -> str:
        """Where source directories of children are copied to."""
        return os.path.join(os.path.dirname(self._artifacts or ""), "trees")

    # --- what the daemon answers

    def target(self, run: str, rest: str = "") -> str:
        """The path of the run's resource."""
        from runner_sdk._client import run_target

        return run_target(run, rest)

    def show(self, run: str, patience: Optional[float] = None) -> Document:
        if patience is None:
            return self.client.ask("GET", self.target(run))  # type: ignore[no-any-return]
        return self.client.ask("GET", self.target(run), timeout=5.0, patience=patience)  # type: ignore[no-any-return]

    def change(
        self,
        run: str,
        name: Optional[str] = None,
        tags: Optional[Dict[str, Optional[str]]] = None,
        remove_tags: Optional[List[str]] = None,
        properties: Optional[Dict[str, str]] = None,
    ) -> None:
        wanted = {"name": name, "tags": tags, "removeTags": remove_tags, "properties": properties}
        self.client.ask("PATCH", self.target(run), {key: value for key, value in wanted.items() if value is not None})

    def runs(self, target: str, query: List[Any]) -> Iterator[Document]:
        """A list, page by page."""
        token: Optional[str] = None
        while True:
            more = [("nextToken", token)] if token else []
            answer = self.client.ask("GET", target, query=query + [("limit", _PAGE)] + more)
            for warning in answer.get("warnings", []):
                from runner_sdk._context import say_once

                say_once("warning: " + str(warning))
            yield from answer["items"]
            token = answer.get("nextToken")
            if not token:
                return

    def children(self, run: str, recursive: bool, filters: Filters) -> Iterator[Document]:
        query = filters.query() + ([("recursive", "1")] if recursive else [])
        return self.runs(self.target(run, "/children"), query)

    def create_children(self, run: str, children: List[Document]) -> List[Document]:
        answer = self.client.ask("POST", self.target(run, "/children"), {"children": children})
        return answer["items"]  # type: ignore[no-any-return]

    def end(self, run: str, status: str, error: Optional[Dict[str, str]] = None) -> None:
        document: Document = {"status": status}
        if error:
            document["error"] = error
        self.client.ask("POST", self.target(run, "/end"), document)

    def stop(self, run: str, how: str, reason: Optional[str]) -> None:
        try:
            self.client.ask("POST", self.target(run, "/" + how), {"reason": reason} if reason else {})
        except Conflict:
            # The daemon may have done it and died before it said so; the question was then asked again.
            wanted = "Canceled" if how == "cancel" else "Failed"
            if self.show(run).get("status") != wanted:
                raise

    def metrics(self, run: str, name: Optional[str], recursive: bool) -> Dict[str, Dict[str, Any]]:
        from runner_sdk._reading import decoded_metric

        query = [("values", "1")]
        if name is not None:
            query.append(("name", name))
        if recursive:
            query.append(("recursive", "1"))
        answer = self.client.ask("GET", self.target(run, "/metrics"), query=query)
        if "runs" not in answer:
            raise Unavailable(
                "get_metrics: the daemon of this version does not give whole metrics",
                "`runner run metrics {} --json` shows what it has".format(run),
            )
        return {
            who: {title: decoded_metric(metric) for title, metric in metrics.items()}
            for who, metrics in answer["runs"].items()
            if metrics
        }

    def files(self, run: str, prefix: str = "") -> List[Dict[str, Any]]:
        query = [("prefix", prefix)] if prefix else []
        return self.client.ask("GET", self.target(run, "/files"), query=query)["items"]  # type: ignore[no-any-return]

    def read_file(self, run: str, name: str, write: Callable[[bytes], None]) -> None:
        def rest(written: int) -> Dict[str, str]:
            return {"Range": "bytes={}-".format(written)} if written else {}

        self.client.stream(self.target(run, "/file"), lambda _: [("name", name)], write, rest)

    def restore(self, run: str, snapshot: Optional[str], directory: str) -> None:
        if self.on_run_socket:
            return super().restore(run, snapshot, directory)
        from urllib.parse import quote

        target = self.target(run, "/restore")
        if snapshot is not None:
            target = "/v1/snapshots/{}/restore".format(quote(snapshot, safe=""))
        self.client.ask("POST", target, {"directory": directory}, timeout=None, repeatable=False)

    def wait(self, run: str) -> Document:
        while True:
            document: Document = self.client.ask("GET", self.target(run, "/wait"), timeout=None)
            if document.get("status") in FINAL:
                return document

    def follow_progress(self, run: str, write: Callable[[bytes], None]) -> None:
        if not self.on_run_socket:  # that has no such route: what a child waits for is its parent's doing
            self.client.stream(self.target(run, "/progress"), lambda _: [], write)

    def follow_log(self, run: str, attempt: int, write: Callable[[bytes], None]) -> None:
        def rest(written: int) -> List[Any]:
            return [("follow", "1"), ("offset", str(written)), ("attempt", str(attempt))]

        self.client.stream(self.target(run, "/log"), rest, write)

    def submit_child(self, run: str, submission: Document) -> Document:
        return self.client.ask("POST", self.target(run, "/submit"), submission, timeout=None)  # type: ignore[no-any-return]


def _run_client() -> Client:
    """The run socket of this process's run."""
    from runner_sdk._client import Client

    path, token = os.environ.get("RUNNER_SOCKET"), os.environ.get("RUNNER_TOKEN")
    if not path or not token:
        raise Unavailable(
            "this run has no connection to the daemon: {} is not set".format("RUNNER_TOKEN" if path else "RUNNER_SOCKET"),
            "a daemon that can be asked from scripts sets it; ask this one from outside: `runner run show {}`, or "
            "runner.Run.get('{}') in a driver".format(*[os.environ.get("RUNNER_RUN_ID", "@last")] * 2),
        )
    return Client(path, token)


def driver_history() -> DaemonHistory:
    """The user's daemon, for a driver or a notebook."""
    from runner_sdk._place import control_client

    return DaemonHistory(control_client())


def script_history(run: str, journal: str, recorder: Recorder) -> DaemonHistory:
    """For the script of ``run``, whose journal is at ``journal``; artifacts lie beside it."""
    artifacts = os.path.join(os.path.dirname(journal), "artifacts")
    return DaemonHistory(None, run, recorder, artifacts, on_run_socket=True)
