"""``ScriptRunConfig``: what to run, and how."""

from __future__ import annotations

import os
import sys

from runner_sdk._environment import Environment
from runner_sdk._errors import Invalid, NotFound
from runner_sdk._run_base import key_of, properties_of, text_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional, Union

    from runner_sdk._history import Document

# Keyword to field of a submission: limits and the like, as the command line takes them.
_OPTIONS = {
    "isolation": "isolation",
    "cpus": "cpus",
    "memory": "memory",
    "pids": "pids",
    "gpus": "gpus",
    "shm_size": "shmSize",
    "network": "network",
    "grace": "grace",
    "priority": "priority",
    "mounts": "mounts",
    "secrets": "secrets",
    "after": "after",
    "requeue": "requeue",
    "best_effort_limits": "bestEffortLimits",
    "max_log_size": "maxLogSize",
}


class ScriptRunConfig:
    """A script with its source directory, arguments, environment and limits: what ``Experiment.submit`` takes.

    ``source_directory``: what is snapshotted (the current directory without one) · ``script``: relative to it · ``arguments``:
    a list of texts and numbers, or one line that is split as a shell would · ``command`` instead of both: a list is exactly
    that argument vector, a text (or a list of one) is a line for ``sh`` · ``run_config``: the name of a runconfig file, which
    what is said here wins over · ``environment``: an ``Environment``, or the name of a registered one; without one, this
    Python · ``environment_variables``: win over the environment's own · ``max_run_duration_seconds``: from the start of the
    script; ``None``: no limit.

    More keywords are the options of ``runner submit``: ``isolation``, ``cpus``, ``memory`` (``"8g"``), ``pids``, ``gpus``,
    ``shm_size``, ``network`` (``"on"``, ``"off"``), ``mounts`` (``["SRC:DST:ro"]``), ``secrets`` (names), ``grace``,
    ``priority``, ``after`` (run ids), ``requeue``, ``best_effort_limits``, ``max_log_size``.

    Arguments of Azure ML that cannot be honoured raise ``Invalid`` naming them: a ``compute_target`` other than ``"local"``,
    ``distributed_job_config``, ``resume_from``, ``docker_runtime_config``. All are attributes, and may be changed until it is
    submitted.
    """

    def __init__(
        self,
        source_directory: Any = None,
        script: Optional[str] = None,
        arguments: Union[None, str, List[Any]] = None,
        run_config: Optional[str] = None,
        _telemetry_values: Any = None,
        compute_target: Any = None,
        environment: Union[None, str, Environment] = None,
        distributed_job_config: Any = None,
        resume_from: Any = None,
        max_run_duration_seconds: Optional[float] = None,
        command: Union[None, str, List[Any]] = None,
        docker_runtime_config: Any = None,
        *,
        environment_variables: Optional[Dict[str, Any]] = None,
        **options: Any,
    ) -> None:
        where = "ScriptRunConfig"
        for name in options:
            if name not in _OPTIONS:
                raise TypeError("{}: there is no argument {!r}; there are {}".format(where, name, ", ".join(sorted(_OPTIONS))))
        target = getattr(compute_target, "name", compute_target)
        if target not in (None, "local"):
            raise Invalid("{}: compute_target: {!r} is not this machine".format(where, target), "leave it out, or 'local'")
        if distributed_job_config is not None:
            raise Invalid("{}: distributed_job_config: runs have one process".format(where), "start the others from the script")
        if resume_from is not None:
            raise Invalid("{}: resume_from".format(where), "download_file() the checkpoint into the source directory")
        if docker_runtime_config is not None:
            raise Invalid(
                "{}: docker_runtime_config".format(where),
                "environment=Environment.from_docker_image(…), shm_size and mounts say the same",
            )
        if run_config is not None and not isinstance(run_config, str):
            raise TypeError(
                "{}: run_config must be the name of a runconfig file, not {}".format(where, type(run_config).__name__)
            )
        self.source_directory = source_directory
        self.script = script
        self.arguments = arguments
        self.run_config = run_config
        self.environment = environment
        self.max_run_duration_seconds = max_run_duration_seconds
        self.command = command
        self.environment_variables: Dict[str, Any] = dict(environment_variables or {})
        self.options: Dict[str, Any] = options
        self.submission()  # says now what is wrong

    def __repr__(self) -> str:
        what = self.script or self.command or self.run_config
        return "ScriptRunConfig({!r}, {!r})".format(self.directory(), what)

    def directory(self) -> str:
        """The source directory, absolute."""
        given = "." if self.source_directory is None else self.source_directory
        try:
            return os.path.abspath(os.fsdecode(os.fspath(given)))
        except TypeError:
            raise TypeError("ScriptRunConfig: source_directory must be a path, not {}".format(type(given).__name__)) from None

    def submission(self) -> Document:
        """The fields of a submission that do not depend on who submits. Raises as the constructor does."""
        where = "ScriptRunConfig"
        if not os.path.isdir(self.directory()):
            raise NotFound(
                "{}: source_directory: there is no directory {!r}".format(where, self.directory()),
                "name the directory of the script",
            )
        if self.command is not None and (self.script is not None or self.arguments is not None):
            raise Invalid("{}: command together with script or arguments".format(where), "the command names the script itself")
        if self.command is None and self.script is None and self.run_config is None:
            raise Invalid("{}: neither script nor command".format(where), "script='train.py'")
        document: Document = {}
        if self.script is not None:
            document["script"] = key_of(_path_text(self.script), where, "script")
        if self.arguments is not None:
            document["arguments"] = _words(self.arguments, where, "arguments")
        if self.command is not None:
            line = self.command if isinstance(self.command, str) else None
            words = [] if line is not None else _words(self.command, where, "command")
            if line is None and len(words) == 1:
                line = words[0]
            if line is None and not words:
                raise Invalid("{}: command is empty".format(where), "command=['python', 'train.py']")
            document["command"] = words if line is None else ["sh", "-c", text_of(line, where, "command")]
        if self.run_config is not None:
            document["config"] = self.run_config
        self._add_environment(document, where)
        self._add_limits(document, where)
        return document

    def _add_environment(self, document: Document, where: str) -> None:
        environment = self.environment
        variables: Dict[str, Any] = {}
        if isinstance(environment, Environment):
            document.update(environment.submission_parts())
            variables.update(environment.environment_variables)
        elif isinstance(environment, str):
            document["environment"] = key_of(environment, where, "environment")
        elif environment is not None:
            raise TypeError(
                "{}: environment must be an Environment or a name, not {}".format(where, type(environment).__name__)
            )
        variables.update(self.environment_variables)
        if variables:
            document["environmentVariables"] = properties_of(variables, where, "environment_variables")

    def _add_limits(self, document: Document, where: str) -> None:
        seconds = self.max_run_duration_seconds
        if seconds is not None:
            if isinstance(seconds, bool) or not hasattr(seconds, "__float__"):
                raise TypeError(
                    "{}: max_run_duration_seconds must be a number of seconds, not {}".format(where, type(seconds).__name__)
                )
            if not 0 < float(seconds) < float("inf"):
                raise Invalid("{}: max_run_duration_seconds is {}".format(where, seconds), "a positive number, or None")
            document["maxRunDuration"] = int(seconds) if float(seconds).is_integer() else float(seconds)
        for name, value in self.options.items():
            if value is not None:
                document[_OPTIONS[name]] = [_path_text(item) for item in value] if isinstance(value, (list, tuple)) else value


def _path_text(value: Any) -> Any:
    return os.fsdecode(os.fspath(value)) if isinstance(value, os.PathLike) else value


def _words(words: Any, where: str, what: str) -> List[str]:
    """One argument each; numbers as Python writes them."""
    if isinstance(words, str):
        import shlex

        try:
            return shlex.split(words)
        except ValueError as error:
            raise Invalid("{}: {}: {}".format(where, what, error), "give a list, an argument each") from None
    if not isinstance(words, (list, tuple)):
        raise TypeError("{}: {} must be a list, not {}".format(where, what, type(words).__name__))
    found = []
    for number, word in enumerate(words):
        word = _path_text(word)
        if word is None or isinstance(word, (list, tuple, dict, set, bytes)):
            raise TypeError("{}: {}[{}] must be a text or a number, not {}".format(where, what, number, type(word).__name__))
        found.append(text_of(word, where, "{}[{}]".format(what, number)))
    return found


def this_interpreter() -> Optional[str]:
    """The Python of the process that submits: the environment of a configuration that names none."""
    return sys.executable or None
