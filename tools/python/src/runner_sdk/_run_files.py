"""``Run``: files."""

from __future__ import annotations

import os

from runner_sdk._errors import Conflict, Invalid, NotFound
from runner_sdk._run_base import RunBase

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, List, Optional

_PART = ".part"  # of a name while a download is not complete


class RunFiles(RunBase):
    """Artifacts. Names are ``/``-separated and written once. A script that writes below ``./outputs`` and ``./logs`` needs
    none of this: what is there is collected."""

    def upload_file(self, name: str, path_or_stream: Any, datastore_name: Optional[str] = None) -> None:
        """Adds the file ``name``, for example ``"outputs/model.pkl"``: a copy of the file at a path, or what an open stream
        gives (text as UTF-8).

        In a script, and in an interactive run's process, it is complete on this disk when the call returns, with or without a
        daemon; elsewhere the daemon copies it before it answers. Safe from threads and forked processes: of two that choose
        one name one wins.

        Raises ``Conflict`` for a name that is taken, ``NotFound`` or ``Invalid`` naming the argument, ``NoSpace`` for a full
        disk. A terminal shows a bar.
        """
        from runner_sdk._artifacts import check_name, check_source

        _refuse_datastore("upload_file", datastore_name)
        name = check_name(name, "upload_file")
        self._history.add_file(self._id, name, check_source(path_or_stream, "upload_file"), "upload_file")

    def upload_files(self, names: List[str], paths: List[Any], **options: Any) -> None:
        """``upload_file`` for each of ``names`` and ``paths``, lists of one length. What came before an error stays."""
        _refuse_datastore("upload_files", options.get("datastore_name"))
        if isinstance(names, str) or isinstance(paths, str) or len(names) != len(paths):
            raise Invalid("upload_files: names and paths must be lists of one length", "upload_folder uploads a directory")
        for name, path in zip(names, paths):
            self.upload_file(name, path)

    def upload_folder(self, name: str, path: Any, datastore_name: Optional[str] = None) -> None:
        """Adds every file below the directory ``path`` as ``name/…``. Links to files are read, those to directories are not
        entered. Errors as ``upload_file``; what came before an error stays."""
        from runner_sdk._artifacts import check_name, folder_files, os_error

        _refuse_datastore("upload_folder", datastore_name)
        prefix = check_name(name[:-1] if isinstance(name, str) and name.endswith("/") else name, "upload_folder")
        try:
            files = folder_files(path, "upload_folder")
        except OSError as error:
            raise os_error(error, "upload_folder", str(error.filename or path)) from None
        for relative, file in files:
            self._history.add_file(self._id, check_name(prefix + "/" + relative, "upload_folder"), file, "upload_folder")

    def get_file_names(self) -> List[str]:
        """The names of the run's files, sorted, with their ``outputs/``, ``logs/`` or other prefix. A live script's
        ``outputs/`` is collected when it ends; what was uploaded is there at once."""
        return sorted(file["name"] for file in self._history.files(self._id))

    def download_file(self, name: str, output_file_path: Any = None) -> str:
        """Writes the file ``name`` to ``output_file_path`` (a file, or a directory that is there or ends with ``/``); without
        one into the current directory under its last component. Returns the path.

        The file appears when it is complete; one that is there is replaced. Directories are made. Raises ``NotFound`` for a
        name that the run does not have. A terminal shows a bar.
        """
        if not isinstance(name, str):
            raise TypeError("download_file: name must be a text, not {}".format(type(name).__name__))
        last = name.rsplit("/", 1)[-1]
        if last in ("", ".", ".."):
            raise Invalid("download_file: name {!r} is no file's".format(name), "get_file_names() lists them")
        target = last if output_file_path is None else os.fsdecode(os.fspath(output_file_path))
        if os.path.isdir(target) or target.endswith("/"):
            target = os.path.join(target, last)
        size = next((file.get("bytes") for file in self._history.files(self._id, name) if file["name"] == name), None)
        self._download(name, target, size, "download_file")
        return target

    def download_files(
        self,
        prefix: Optional[str] = None,
        output_directory: Any = None,
        output_paths: Optional[List[Any]] = None,
        batch_size: int = 100,
        append_prefix: bool = True,
        timeout_seconds: Optional[float] = None,
    ) -> List[str]:
        """Writes all files whose names begin with ``prefix`` into ``output_directory`` (the current one), under their names;
        with ``append_prefix=False`` without the prefix. ``output_paths``: where each of them goes instead, in the order of
        ``get_file_names()``. Returns the paths, sorted.

        Raises ``NotFound`` when no name begins so, ``Invalid`` for a name that would leave the directory.
        ``batch_size`` and ``timeout_seconds`` of Azure ML are accepted and ignored.
        """
        where = "download_files"
        base = "." if output_directory is None else os.fsdecode(os.fspath(output_directory))
        files = sorted(self._history.files(self._id, prefix or ""), key=lambda file: str(file["name"]))
        if not files and prefix:
            raise NotFound(
                "{}: run {} has no files whose names begin with {!r}".format(where, self._id, prefix),
                "get_file_names() lists them",
            )
        if output_paths is not None:
            if len(output_paths) != len(files):
                raise Invalid(
                    "{}: output_paths has {} paths for {} files".format(where, len(output_paths), len(files)),
                    "one for each of get_file_names(); or give output_directory",
                )
            targets = [os.fsdecode(os.fspath(path)) for path in output_paths]
        else:
            targets = [_inside(base, file["name"], "" if append_prefix else prefix or "", where) for file in files]
        for file, target in zip(files, targets):
            self._download(file["name"], target, file.get("bytes"), where)
        return sorted(targets)

    def _download(self, name: str, target: str, size: Optional[int], where: str) -> None:
        from runner_sdk._artifacts import os_error
        from runner_sdk._progress import Bar

        unfinished = "{}.{}{}".format(target, os.getpid(), _PART)
        bar = Bar("download " + name, size)
        try:
            directory = os.path.dirname(target)
            if directory:
                os.makedirs(directory, exist_ok=True)
            if os.path.isdir(target):
                raise Conflict("{}: {} is a directory".format(where, target), "name a file in it")
            with open(unfinished, "wb") as stream:

                def write(piece: bytes) -> None:
                    stream.write(piece)
                    bar.add(len(piece))

                self._history.read_file(self._id, name, write)
            os.replace(unfinished, target)
        except OSError as error:
            raise os_error(error, where, target) from None
        finally:
            bar.close()
            if os.path.lexists(unfinished):
                os.unlink(unfinished)

    def restore_snapshot(self, snapshot_id: Optional[str] = None, path: Any = None) -> str:
        """Writes the run's snapshot, the code as it was submitted, into the directory ``path``, which must be empty or not
        there; without one into ``./RUN_ID``. ``snapshot_id``: another snapshot. Returns the directory.

        For drivers and notebooks. Raises ``Conflict`` when something is in the way, ``NotFound`` for a run without a
        snapshot.
        """
        target = os.path.abspath(self._id if path is None else os.fsdecode(os.fspath(path)))
        self._history.restore(self._id, snapshot_id, target)
        return target


def _refuse_datastore(where: str, datastore_name: Any) -> None:
    if datastore_name is not None:
        raise Invalid(
            "{}: datastore_name: there are no datastores here".format(where), "leave it out: files are kept with their run"
        )


def _inside(base: str, name: str, cut: str, where: str) -> str:
    """Where a file named by a run goes; never outside of ``base``."""
    relative = name[len(cut) :].lstrip("/") or name.rsplit("/", 1)[-1] if cut else name
    parts = relative.split("/")
    if any(part in ("", ".", "..") or "\0" in part for part in parts):
        raise Invalid(
            "{}: the run's file {!r} would not stay in {}".format(where, name, base),
            "fetch it by itself: download_file(name, path)",
        )
    return os.path.join(base, *parts)
