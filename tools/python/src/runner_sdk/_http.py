"""HTTP/1.1 over a unix socket: requests to the daemon, on connections that are kept.

The standard library's client is not used: importing it costs a script 30 ms. Knows no routes.
"""

from __future__ import annotations

import os
import select
import socket
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterator, List, Optional, Tuple

_READ = 256 * 1024
_MAX_HEAD = 64 * 1024
_MAX_PATH = 107  # bytes; sockaddr_un of Linux
_KEPT = 2  # idle connections a process keeps: a run has few places (8)


class ConnectionLost(Exception):
    """The connection ended before the answer did, or could not be made. ``sent``: the request may have been carried out."""

    def __init__(self, why: str, sent: bool) -> None:
        super().__init__(why)
        self.sent = sent


class TimedOut(Exception):
    """The daemon holds the connection and says nothing."""


class Connection:
    """One connection. Used by one thread of one process at a time."""

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._buffer = bytearray()
        try:
            self._socket.connect(path)
        except OSError as error:
            self._socket.close()
            if isinstance(error, PermissionError):
                raise
            raise ConnectionLost("{}: {}".format(path, error.strerror or error), False) from None

    def close(self) -> None:
        self._socket.close()

    def is_stale(self) -> bool:
        """An idle connection that has something to read was closed by the daemon."""
        try:
            poll = select.poll()
            poll.register(self._socket, select.POLLIN)
            return bool(poll.poll(0))
        except (OSError, ValueError):
            return True

    def send(self, head: bytes, body: bytes, timeout: Optional[float]) -> None:
        try:
            self._socket.settimeout(timeout)
            self._socket.sendall(head + body)
        except socket.timeout:
            raise TimedOut() from None
        except OSError as error:
            # A daemon that refuses a request may answer and close before all of it was sent: the answer says why.
            if not isinstance(error, (BrokenPipeError, ConnectionResetError)) or not self._answer_waits():
                raise ConnectionLost(str(error), True) from None

    def _answer_waits(self) -> bool:
        try:
            return bool(self._fill())
        except ConnectionLost:
            return False

    def _fill(self) -> int:
        try:
            piece = self._socket.recv(_READ)
        except socket.timeout:
            raise TimedOut() from None
        except OSError as error:
            raise ConnectionLost(str(error), True) from None
        self._buffer += piece
        return len(piece)

    def line(self) -> bytes:
        """Up to the next CRLF, without it."""
        while True:
            end = self._buffer.find(b"\n")
            if end >= 0:
                found = bytes(self._buffer[:end]).rstrip(b"\r")
                del self._buffer[: end + 1]
                return found
            if len(self._buffer) > _MAX_HEAD:
                raise ConnectionLost("what answers does not speak HTTP", True)
            if not self._fill():
                raise ConnectionLost("the daemon closed the connection", True)

    def some(self, limit: int) -> bytes:
        """At least one and at most ``limit`` bytes; nothing at the end of the connection."""
        if not self._buffer and not self._fill():
            return b""
        piece = bytes(self._buffer[:limit])
        del self._buffer[:limit]
        return piece


class Response:
    """An answer whose head has been read. Its body is read once, in pieces or whole."""

    def __init__(self, connection: Connection, method: str) -> None:
        self._connection = connection
        self.notices: List[str] = []
        while True:
            self._read_head()
            if self.status >= 200:
                break
            if "runner-notice" in self.headers:
                self.notices.append(self.headers["runner-notice"])
                tell_notice(self.headers["runner-notice"])
        self._empty = method == "HEAD" or self.status in (204, 304)
        self.complete = False
        self.closes = "close" in self.headers.get("connection", "").lower() or self._version == b"HTTP/1.0"

    def _read_head(self) -> None:
        words = self._connection.line().split(b" ", 2)
        if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():
            raise ConnectionLost("what answers does not speak HTTP", True)
        self._version = words[0]
        self.status = int(words[1])
        self.headers: Dict[str, str] = {}
        size = 0
        while True:
            line = self._connection.line()
            if not line:
                return
            size += len(line)
            if size > _MAX_HEAD:
                raise ConnectionLost("the answer's header does not end", True)
            name, _, value = line.decode("latin-1").partition(":")
            self.headers[name.strip().lower()] = value.strip()

    def pieces(self) -> Iterator[bytes]:
        """The body. Raises ``ConnectionLost`` when it is cut short."""
        if self._empty:
            pass
        elif "chunked" in self.headers.get("transfer-encoding", "").lower():
            yield from self._chunks()
        elif "content-length" in self.headers:
            yield from self._exactly(int(self.headers["content-length"]))
        else:  # the end of the connection is the end of the body
            self.closes = True
            piece = self._connection.some(_READ)
            while piece:
                yield piece
                piece = self._connection.some(_READ)
        self.complete = True

    def _exactly(self, length: int) -> Iterator[bytes]:
        while length > 0:
            piece = self._connection.some(min(length, _READ))
            if not piece:
                raise ConnectionLost("the answer was cut short", True)
            length -= len(piece)
            yield piece

    def _chunks(self) -> Iterator[bytes]:
        while True:
            try:
                length = int(self._connection.line().split(b";")[0], 16)
            except ValueError:
                raise ConnectionLost("the answer's chunks are damaged", True) from None
            if length == 0:
                while self._connection.line():
                    pass
                return
            yield from self._exactly(length)
            self._connection.line()

    def body(self) -> bytes:
        return b"".join(self.pieces())


def tell_notice(quoted: str) -> None:
    """What the daemon says while it still works on the answer."""
    from urllib.parse import unquote

    print("runner: warning: " + unquote(quoted), file=sys.stderr)


class Connections:
    """Connections to one socket, taken and given back.

    Any thread. Lists and no lock: a lock held by another thread while this one forks would stay locked in the child. A child
    never uses its parent's connections: two processes that read from one would each get half of an answer.
    """

    def __init__(self, path: str) -> None:
        self._idle: List[Connection] = []
        if len(os.fsencode(path)) > _MAX_PATH:
            from runner_sdk._errors import Invalid

            raise Invalid(
                "socket {}: the path is longer than {} bytes".format(path, _MAX_PATH),
                "choose a shorter data directory (RUNNER_HOME) or socket (RUNNER_SOCKET)",
            )
        self.path = path
        self._owner = os.getpid()

    def __reduce__(self) -> Tuple[Any, ...]:
        return Connections, (self.path,)  # a pickle carries no connections

    def __del__(self) -> None:
        self._close_idle()

    def _close_idle(self) -> None:
        while self._idle:
            try:
                self._idle.pop().close()
            except IndexError:  # another thread was faster
                return

    def request(self, method: str, target: str, headers: Dict[str, str], body: bytes, timeout: Optional[float]) -> Response:
        """Sends a request and reads the head of its answer; ``done`` gives the connection back."""
        head = "{} {} HTTP/1.1\r\nHost: runner\r\n".format(method, target)
        if body or method in ("POST", "PATCH", "PUT"):
            headers = dict(headers, **{"Content-Length": str(len(body))})
        head += "".join("{}: {}\r\n".format(name, value) for name, value in headers.items()) + "\r\n"
        connection = self._take()
        try:
            connection.send(head.encode("latin-1"), body, timeout)
            return Response(connection, method)
        except BaseException:
            connection.close()
            raise

    def done(self, response: Response) -> None:
        """The answer is read, or not wanted any more. Only a connection whose answer was read whole can be used again."""
        connection = response._connection
        if response.complete and not response.closes and os.getpid() == self._owner and len(self._idle) < _KEPT:
            self._idle.append(connection)
        else:
            connection.close()

    def _take(self) -> Connection:
        if os.getpid() != self._owner:  # forked
            self._owner = os.getpid()
            self._close_idle()
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return Connection(self.path)
            if not connection.is_stale():
                return connection
            connection.close()
