"""Submissions: as a driver, whose files the daemon reads itself, and from a script, whose source directory travels."""

from __future__ import annotations

import contextlib
import os
import stat
import sys

from runner_sdk._artifacts import os_error
from runner_sdk._config import ScriptRunConfig, this_interpreter
from runner_sdk._daemon import DaemonHistory
from runner_sdk._errors import Conflict, PermissionDenied
from runner_sdk._history import new_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterator, Optional, Set

    from runner_sdk._history import Document, History

# What finds the interpreter as the caller's shell would, the container engine as the caller's docker would, and the locale;
# what builds an environment as the caller's tools would. The same as `runner submit` sends.
_VARIABLES = frozenset(
    "DOCKER_HOST XDG_RUNTIME_DIR PATH HOME VIRTUAL_ENV CONDA_PREFIX CONDA_DEFAULT_ENV LANG TZ "
    "HTTP_PROXY HTTPS_PROXY NO_PROXY ALL_PROXY http_proxy https_proxy no_proxy all_proxy "
    "DOCKER_CONFIG XDG_CACHE_HOME REQUESTS_CA_BUNDLE NETRC".split()
)
_FAMILIES = ("PYENV_", "LC_", "PIP_", "UV_", "CONDA_", "MAMBA_", "RATTLER_", "SSL_CERT_")
_NOT_COPIED = (".git", "__pycache__")
_ENVIRONMENT_FIELDS = ("python", "image", "environment", "config", "requirements", "conda", "dockerfile")
_NOT_A_CHILDS = tuple(field for field in _ENVIRONMENT_FIELDS if field != "environment") + ("secrets",)
_HAS_ITS_PARENTS = "a child has this run's environment, or a registered one by its name, and this run's secrets"
_MAX_NAMED = 1 << 20  # bytes of a file in which ${NAME} is looked for


def caller_of(parts: Document) -> Document:
    """Where the submitting process stands."""
    names: Set[str] = set()
    for field in ("requirements", "conda"):  # ${NAME} there means the caller's variable: credentials stay out of files so
        if field in parts:
            names.update(_variables_named_in(parts[field]))
    variables = {}
    for name, value in os.environ.items():
        if (name in _VARIABLES or name.startswith(_FAMILIES) or name in names) and _is_unicode(name) and _is_unicode(value):
            variables[name] = value
    return {"directory": _here(), "variables": variables}


def _here() -> str:
    try:
        return os.getcwd()
    except OSError:  # somebody removed it
        return "/"


def _variables_named_in(file: str) -> Iterator[str]:
    try:
        with open(file, encoding="utf-8", errors="replace") as stream:
            text = stream.read(_MAX_NAMED)
    except OSError:
        return  # the daemon says what is wrong with it
    for piece in text.split("${")[1:]:
        name, closed, _ = piece.partition("}")
        if closed:
            yield name


def _is_unicode(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


@contextlib.contextmanager
def on_disk(parts: Document) -> Iterator[Document]:
    """The parts with a Dockerfile given as text in a file, for as long as the daemon reads it."""
    text = parts.get("dockerfile")
    if not isinstance(text, str) or "\n" not in text:
        yield dict(parts)
        return
    import tempfile

    with tempfile.TemporaryDirectory(prefix="runner-dockerfile-") as directory:
        file = os.path.join(directory, "Dockerfile")
        with open(file, "w", encoding="utf-8") as stream:
            stream.write(text)
        yield dict(parts, dockerfile=file)


def _secrets_of(submission: Document) -> Dict[str, str]:
    return {name: os.environ[name] for name in submission.get("secrets", []) if name in os.environ}


def _tell(document: Document) -> None:
    for notice in document.get("notices") or []:
        print("runner: warning: {}".format(notice), file=sys.stderr, flush=True)


def submit(
    history: DaemonHistory,
    config: ScriptRunConfig,
    more: Document,
    target: str = "/v1/runs",
    interpreter: Optional[str] = None,
) -> Document:
    """A submission of a driver; returns the run's document. ``more``: experiment, tags and the like."""
    submission = dict(config.submission(), **more)
    submission["sourceDirectory"] = config.directory()
    submission["sourceDirectoryExplicit"] = config.source_directory is not None
    if interpreter and not any(field in submission for field in _ENVIRONMENT_FIELDS):
        submission["python"] = interpreter
    # The daemon may die after it has taken the run and before it says so: the question is asked again, the run is one.
    submission.setdefault("idempotencyKey", new_id())
    with on_disk(submission) as document:
        document["caller"] = caller_of(document)
        secrets = _secrets_of(document)
        if secrets:
            document["caller"]["secrets"] = secrets
        answer: Document = history.client.ask("POST", target, document, query=[("notices", "1")], timeout=None)
    _tell(answer)
    return answer


def submit_child(history: History, run: str, config: ScriptRunConfig, tags: Dict[str, Optional[str]]) -> Document:
    """A submission as a child of ``run``."""
    more: Document = {"tags": tags} if tags else {}
    if not isinstance(history, DaemonHistory):
        return history.submit_child(run, dict(config.submission(), **more))
    if not history.on_run_socket:
        return submit(history, config, more, history.target(run, "/submit"), this_interpreter())
    submission = dict(config.submission(), idempotencyKey=new_id(), **more)
    for field in _NOT_A_CHILDS:
        if submission.get(field):
            raise PermissionDenied("submit_child: {} is not a script's to choose".format(field), _HAS_ITS_PARENTS)
    tree = _copy_tree(config.directory(), history.trees())
    try:
        submission["sourceTree"] = os.path.basename(tree)
        answer = history.submit_child(run, submission)
    except BaseException:
        _remove(tree)  # taken by the daemon it is gone
        raise
    _tell(answer)
    return answer


def _copy_tree(source: str, trees: str) -> str:
    """Copies the source directory to where the daemon finds it: ``TREE/source/…``."""
    tree = os.path.join(trees, "{}-{}".format(os.getpid(), new_id()))
    own_directory = os.path.realpath(source) == os.path.realpath(os.getcwd())
    try:
        os.makedirs(tree, mode=0o700)
        left_out = ("outputs", "logs") if own_directory else ()
        _copy_directory(source, os.path.join(tree, "source"), left_out, os.path.realpath(os.path.dirname(trees)))
    except OSError as error:
        _remove(tree)
        raise os_error(error, "submit_child", str(error.filename or source)) from None
    except BaseException:
        _remove(tree)
        raise
    return tree


def _copy_directory(source: str, target: str, left_out: Any, own: str) -> None:
    """Regular files, directories and links as links; the rest of a working directory is no code. ``own``: the runner's own
    directory, where the copy goes."""
    os.mkdir(target, 0o700)
    with os.scandir(source) as entries:
        found = list(entries)
    for entry in found:
        copied = os.path.join(target, entry.name)
        if entry.name in _NOT_COPIED or entry.name in left_out:
            continue
        if entry.is_symlink():
            os.symlink(os.readlink(entry.path), copied)
        elif entry.is_dir(follow_symlinks=False):
            if os.path.realpath(entry.path) != own:
                _copy_directory(entry.path, copied, (), own)
        elif entry.is_file(follow_symlinks=False):
            _copy_file(entry.path, copied)


def _copy_file(source: str, target: str) -> None:
    import shutil

    shutil.copyfile(source, target)
    if os.stat(source).st_mode & stat.S_IXUSR:
        os.chmod(target, 0o700)


def _remove(tree: str) -> None:
    import shutil

    shutil.rmtree(tree, ignore_errors=True)


def start_ticks() -> int:
    """When this process started, in ticks since the machine did: a process id counts only with it."""
    try:
        with open("/proc/self/stat", encoding="utf-8", errors="replace") as stream:
            return int(stream.read().rpartition(")")[2].split()[19])
    except (OSError, IndexError, ValueError):
        raise Conflict("start_logging: /proc is not there", "it tells the daemon which process the run is") from None
