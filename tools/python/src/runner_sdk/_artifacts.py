"""Files of a run on their way into the history: written beside the journal, linked to their name, named by a record.

``link(2)`` makes a name written once, across processes, and says so at the call; the file that it names is complete. The
daemon takes it from there, when it can.
"""

from __future__ import annotations

import errno
import itertools
import os
import stat
import sys
from time import time_ns

from runner_sdk._errors import Conflict, Invalid, NoSpace, NotFound, PermissionDenied
from runner_sdk._progress import Bar
from runner_sdk._values import text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Iterator, List, Optional, Tuple

    from runner_sdk._history import Source

_PIECE = 1 << 20  # bytes read at once
_MAX_COMPONENT = 255  # bytes of a file's name, on every Linux file system
_MAX_NAME = 3000  # bytes; a path may have 4095, and some are the directory's
_UNFINISHED = ".new-"
_OF_RUN = ".run-"
_OWN = ("user_logs", "system_logs", "git", "attempts")  # directories of what the runner itself keeps with a run

_numbers = itertools.count()


def check_name(name: Any, where: str) -> str:
    """``name`` if it can be an artifact's. Raises ``Invalid`` naming what is wrong and how to write it."""
    if isinstance(name, os.PathLike):
        name = os.fspath(name)
    if not isinstance(name, str):
        raise TypeError("{}: name must be a text like 'outputs/model.pkl', not {}".format(where, type(name).__name__))
    try:
        raw = name.encode("utf-8")
    except UnicodeEncodeError:
        raise Invalid("{}: name {!a} is not Unicode text".format(where, name), "choose another name") from None
    parts = name.split("/")
    if any(part in ("", ".", "..") for part in parts):
        sound = "/".join(part for part in parts if part not in ("", ".", "..")) or "outputs/model.pkl"
        raise Invalid(
            "{}: name {!r} must be file names joined by single slashes".format(where, name), "write {!r}".format(sound)
        )
    if "\0" in name or len(raw) > _MAX_NAME or any(len(part.encode("utf-8")) > _MAX_COMPONENT for part in parts):
        raise Invalid(
            "{}: name {!r} cannot be a file's".format(where, name[:60]),
            "at most {} bytes between slashes, {} in all, no NUL".format(_MAX_COMPONENT, _MAX_NAME),
        )
    if parts[0].startswith((_UNFINISHED, _OF_RUN)):
        raise Invalid(
            "{}: names that begin with {!r} or {!r} are the runner's own: {!r}".format(where, _UNFINISHED, _OF_RUN, name),
            "choose another name",
        )
    if parts[0] in _OWN:
        raise Invalid(
            "{}: files below {}/ are the runner's own: {!r}".format(where, parts[0], name), "write {!r}".format("logs/" + parts[-1])
        )
    return name


def check_source(path_or_stream: Any, where: str, what: str = "path_or_stream") -> Source:
    """A path as text, a stream as it is. Raises where there is nothing to read."""
    if hasattr(path_or_stream, "read"):
        return path_or_stream  # type: ignore[no-any-return]
    try:
        path = os.fsdecode(os.fspath(path_or_stream))
    except TypeError:
        raise TypeError(
            "{}: {} must be a path or an open file, not {}".format(where, what, type(path_or_stream).__name__)
        ) from None
    if os.path.isdir(path):
        raise Invalid("{}: {} {!r} is a directory".format(where, what, path), "upload_folder uploads directories")
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        raise NotFound(
            "{}: {}: there is no file {!r}".format(where, what, path), "relative paths are relative to {}".format(_here())
        ) from None
    except OSError as error:
        raise os_error(error, where, path) from None
    if not stat.S_ISREG(mode):
        raise Invalid("{}: {} {!r} is no regular file".format(where, what, path), "pass an open stream to read from it")
    return path


def _here() -> str:
    try:
        return os.getcwd()
    except OSError:
        return "a directory that is gone"


def os_error(error: OSError, where: str, path: str) -> Exception:
    """The typed form of a file system's error."""
    message = "{}: {}: {}".format(where, path, error.strerror or error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return NoSpace(message, "free some space, and upload it again")
    if error.errno in (errno.EACCES, errno.EPERM):
        return PermissionDenied(message)
    if error.errno == errno.ENOENT:
        return NotFound(message)
    return Invalid(message)


def pieces_of(source: Source, where: str) -> Iterator[bytes]:
    """The bytes of a path, a stream (one of text as UTF-8) or bytes."""
    if isinstance(source, bytes):
        yield source
        return
    if isinstance(source, str):
        try:
            with open(source, "rb") as stream:
                piece = stream.read(_PIECE)
                while piece:
                    yield piece
                    piece = stream.read(_PIECE)
        except OSError as error:
            raise os_error(error, where, source) from None
        return
    while True:
        read: Any = source.read(_PIECE)
        if not read:
            return
        if isinstance(read, str):
            read = read.encode("utf-8")
        if not isinstance(read, (bytes, bytearray, memoryview)):
            raise TypeError("{}: path_or_stream.read() must give bytes or text, not {}".format(where, type(read).__name__))
        yield bytes(read)


def size_of(source: Source) -> Optional[int]:
    """Bytes, where that is known."""
    if isinstance(source, bytes):
        return len(source)
    try:
        return os.stat(source).st_size if isinstance(source, str) else None
    except OSError:
        return None


class JournalArtifacts:
    """Artifacts of the run that owns a journal, or of a descendant of it. Any thread, any process."""

    __slots__ = ("_append", "_directory", "_tail")

    def __init__(self, append: Callable[[bytes], object], directory: str, run: Optional[str] = None) -> None:
        """``directory``: beside the journal. ``run``: the descendant; its files lie in a directory of their own."""
        self._append = append
        self._directory = directory if run is None else os.path.join(directory, _OF_RUN + run)
        self._tail = "}\n" if run is None else ', "run": ' + text(run, "runner", "run id") + "}\n"

    def add(self, name: str, source: Source, where: str) -> None:
        """Copies ``source`` and publishes the copy as ``name``."""
        target = os.path.join(self._directory, *name.split("/"))
        taken = Conflict(
            "{}: the run has a file {!r} already".format(where, name),
            "a name is written once; choose another, like {!r}".format(_next(name)),
        )
        if os.path.lexists(target) and not os.path.isdir(target):
            raise taken  # before a large file is copied; link() decides
        try:
            os.makedirs(self._directory, mode=0o700, exist_ok=True)
            unfinished, descriptor = self._new_file()
            try:
                count = _copy(descriptor, source, name, where)
                _make_directories(self._directory, name.split("/")[:-1])
                os.link(unfinished, target)
            finally:
                os.unlink(unfinished)
        except FileExistsError:
            if os.path.isdir(target):
                raise Conflict(
                    "{}: {!r} is a directory of the run's files".format(where, name), "choose another name"
                ) from None
            raise taken from None
        except NotADirectoryError:
            raise Conflict(
                "{}: a part of {!r} is a file of the run already".format(where, name), "choose another name"
            ) from None
        except OSError as error:
            raise os_error(error, where, name) from None
        record = '\x1e{"artifact": ' + text(name, where, "name")
        self._append('{}, "bytes": {}, "time": {}{}'.format(record, count, time_ns() // 1000, self._tail).encode())

    def _new_file(self) -> Tuple[str, int]:
        while True:
            path = os.path.join(self._directory, "{}{}-{}".format(_UNFINISHED, os.getpid(), next(_numbers)))
            try:
                return path, os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            except FileExistsError:
                continue  # of an earlier process with this number


def _make_directories(base: str, parts: List[str]) -> None:
    path = base
    for part in parts:
        path = os.path.join(path, part)
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            if not os.path.isdir(path):
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path) from None


def _copy(descriptor: int, source: Source, name: str, where: str) -> int:
    bar = Bar("upload " + name, size_of(source))
    count = 0
    try:
        for piece in pieces_of(source, where):
            view = memoryview(piece)
            while view:
                written = os.write(descriptor, view)
                view = view[written:]
            count += len(piece)
            bar.add(len(piece))
    finally:
        os.close(descriptor)
        bar.close()
    return count


def _next(name: str) -> str:
    stem, extension = os.path.splitext(name)
    return stem + "_2" + extension


def folder_files(path: Any, where: str) -> List[Tuple[str, str]]:
    """Regular files below a directory as (name relative to it, path), in order; links to files, but not to directories."""
    if not isinstance(path, (str, bytes, os.PathLike)):
        raise TypeError("{}: path must be a directory's path, not {}".format(where, type(path).__name__))
    base = os.fsdecode(os.fspath(path))
    if not os.path.isdir(base):
        if os.path.exists(base):
            raise Invalid("{}: path {!r} is no directory".format(where, base), "upload_file uploads single files")
        raise NotFound(
            "{}: path: there is no directory {!r}".format(where, base), "relative paths are relative to {}".format(_here())
        )
    found: List[Tuple[str, str]] = []
    for directory, directories, names in os.walk(base, onerror=_raise):
        directories.sort()
        for name in sorted(names):
            file = os.path.join(directory, name)
            if os.path.isfile(file):
                found.append((os.path.relpath(file, base).replace(os.sep, "/"), file))
            else:
                print("runner: {}: {} is no regular file and is left out".format(where, file), file=sys.stderr)
    return found


def _raise(error: OSError) -> None:
    raise error
