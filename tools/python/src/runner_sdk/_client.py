"""Questions to the daemon and their answers, as JSON: asked again while the daemon is away, refused with a typed error."""

from __future__ import annotations

import json
import sys
import time
from urllib.parse import quote, urlencode

from runner_sdk._errors import Invalid, PermissionDenied, Unavailable, error_of
from runner_sdk._http import ConnectionLost, Connections, TimedOut

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List, Optional, Tuple

    from runner_sdk._http import Response

    Query = List[Tuple[str, str]]

PATIENCE = 120.0  # seconds without a daemon, after which a question fails
ANSWER = 120.0  # seconds that an ordinary answer may take
_FIRST_PAUSE = 0.02  # seconds
_LONGEST_PAUSE = 0.5
_NO_ROUTE = "no such route"  # the daemon's words
_SILENCE = 1.0  # seconds after which it is said that the daemon is away: a restart takes less


class _Absence:
    """One question's time without an answer."""

    def __init__(self, path: str, patience: float) -> None:
        self._path = path
        self._patience = patience
        self._since: Optional[float] = None
        self._pause = 0.0
        self._told = False

    def wait(self, why: str) -> None:
        """Returns when it is time to ask again; raises ``Unavailable`` when it has been long enough."""
        now = time.monotonic()
        if self._since is None:
            self._since = now
        waited = now - self._since
        if waited >= self._patience:
            raise Unavailable(
                "the daemon does not answer: {}".format(why),
                "'runner daemon status' shows whether it runs, 'runner daemon logs' why not",
            )
        if waited >= _SILENCE and not self._told:
            self._told = True
            print("runner: the daemon is away; asking again for {:.0f} s".format(self._patience), file=sys.stderr, flush=True)
        time.sleep(min(self._pause, self._patience - waited))
        self._pause = min(max(2 * self._pause, _FIRST_PAUSE), _LONGEST_PAUSE)

    def over(self) -> None:
        self._since = None
        self._pause = 0.0


class Client:
    """Asks the daemon at one socket. Any thread, any process; can be pickled.

    ``token``: that of a run, for the run socket. ``wake``: called once by a question that finds nobody listening, with whether
    a daemon has answered before; it may start one, and raises when that cannot be.
    """

    def __init__(self, path: str, token: Optional[str] = None, wake: Optional[Callable[[bool], None]] = None) -> None:
        self._connections = Connections(path)
        self._token = token
        self._wake = wake
        self._answered = False

    @property
    def path(self) -> str:
        return self._connections.path

    def __repr__(self) -> str:
        return "Client({!r})".format(self.path)  # without the token

    def ask(
        self,
        method: str,
        target: str,
        document: Optional[Dict[str, Any]] = None,
        query: Optional[Query] = None,
        timeout: Optional[float] = ANSWER,
        patience: float = PATIENCE,
        repeatable: bool = True,
    ) -> Any:
        """The answer's document. ``timeout``: seconds, ``None`` for an answer that may take as long as a run does.

        A question whose connection was lost is asked again, so it must do no harm twice; else ``repeatable=False``.
        """
        body = b"" if document is None else _body_of(document)
        absence = _Absence(self.path, patience)
        woken = False
        while True:
            try:
                response = self._request(method, target, query, body, timeout, {})
                try:
                    answer = response.body()
                finally:
                    self._connections.done(response)
            except ConnectionLost as lost:
                if lost.sent and not repeatable:
                    raise Unavailable(
                        "the daemon's connection was lost; it is not known whether it has done this: {} {}".format(
                            method, target
                        ),
                        "look before you ask again",
                    ) from None
                if not lost.sent and not woken and self._wake is not None and patience > 0:
                    woken = True
                    self._wake(self._answered)
                absence.wait(str(lost))
                continue
            except TimedOut:
                raise Unavailable(
                    "the daemon has not answered for {:.0f} s: {} {}".format(timeout or 0, method, target),
                    "'runner daemon logs' may say why",
                ) from None
            # "Too many connections", "stopping": refused before it was read, or a question without consequences.
            if response.status == 503 and (method == "GET" or response.closes):
                absence.wait(error_of(503, _document_of(answer)).message)
                continue
            return _checked(response.status, answer, method, target)

    def stream(
        self,
        target: str,
        query_from: Callable[[int], Query],
        write: Callable[[bytes], None],
        headers_from: Callable[[int], Dict[str, str]] = lambda _: {},
    ) -> Dict[str, str]:
        """GET with an answer of any length, handed to ``write`` piece by piece; returns the answer's headers.

        A connection that is lost is taken up where it broke: ``query_from`` and ``headers_from`` say how, from the number of
        bytes that have been written.
        """
        absence = _Absence(self.path, PATIENCE)
        written = 0
        while True:
            try:
                response = self._request("GET", target, query_from(written), b"", None, headers_from(written))
                try:
                    if response.status >= 400:
                        answer = response.body()
                        if response.status == 503:
                            absence.wait(error_of(503, _document_of(answer)).message)
                            continue
                        if response.status == 416 and written:
                            return response.headers  # it broke behind the last byte
                        _checked(response.status, answer, "GET", target)
                    if written and "range" in {name.lower() for name in headers_from(written)} and response.status != 206:
                        raise Unavailable(
                            "the daemon does not go on with {} where it was cut short".format(target), "ask again"
                        )
                    absence.over()
                    for piece in response.pieces():
                        write(piece)
                        written += len(piece)
                    return response.headers
                finally:
                    self._connections.done(response)
            except ConnectionLost as lost:
                absence.wait(str(lost))

    def _request(
        self, method: str, target: str, query: Optional[Query], body: bytes, timeout: Optional[float], headers: Dict[str, str]
    ) -> Response:
        headers = dict(headers)
        if self._token:
            headers["Authorization"] = "Bearer " + self._token
        if body:
            headers["Content-Type"] = "application/json"
        if query:
            target += "?" + urlencode(query)
        try:
            response = self._connections.request(method, target, headers, body, timeout)
        except PermissionError:
            raise PermissionDenied(
                "{}: this user may not connect to it".format(self.path), "the daemon serves the user who started it, and root"
            ) from None
        self._answered = True
        return response


def run_target(run: str, rest: str = "") -> str:
    """The path of a run's resource."""
    return "/v1/runs/" + quote(run, safe="") + rest


def _body_of(document: Dict[str, Any]) -> bytes:
    try:
        return json.dumps(document, ensure_ascii=False, allow_nan=False).encode("utf-8")
    except UnicodeEncodeError as error:
        raise Invalid(
            "{!a} is not Unicode text".format(error.object[max(0, error.start - 20) : error.end + 20]),
            'write text.encode("utf-8", "replace").decode()',
        ) from None


def _document_of(answer: bytes) -> Any:
    try:
        return json.loads(answer) if answer else {}
    except ValueError:
        return None


def _checked(status: int, answer: bytes, method: str, target: str) -> Any:
    document = _document_of(answer)
    if status >= 400:
        error = error_of(status, document)
        if status == 405 or (status == 404 and error.message == _NO_ROUTE):
            raise Unavailable(
                "the daemon of this version cannot do this: it does not know {} {}".format(method, target),
                "update the runner; `runner --help` lists what the installed one can do",
            )
        raise error
    if document is None:
        raise error_of(500, {"error": {"code": "internal", "message": "the daemon's answer is not JSON"}})
    return document
