"""``Environment``: what a script runs in."""

from __future__ import annotations

import os
import sys

from runner_sdk._errors import Invalid, NotFound
from runner_sdk._run_base import key_of, properties_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Optional

    from runner_sdk._history import Document


class Environment:
    """An environment, made by one of the ``from_…`` methods or found by ``get``. It is built when a run first needs it, once.

    ``name``: its name; ``version``: of a registered one, else ``None``; ``environment_variables``: a dict, set for every run.
    Files are read when a run is submitted; relative paths are made absolute here.
    """

    def __init__(self, name: str, **parts: Any) -> None:
        """A registered environment's newest version: the same as ``get(name)``, and nothing is asked."""
        self.name = key_of(name, "Environment", "name")
        self.version: Optional[str] = None
        self.environment_variables: Dict[str, Any] = {}
        self._parts: Document = dict(parts)  # of a submission

    def __repr__(self) -> str:
        made_of = ", ".join("{}={!r}".format(key, value) for key, value in sorted(self._parts.items()))
        return "Environment({}{})".format(self.name, ": " + made_of if made_of else "")

    @staticmethod
    def from_conda_specification(name: str, file_path: Any) -> Environment:
        """A conda environment, from an environment file (YAML). Raises ``NotFound`` when it is missing."""
        return Environment(name, conda=_file(file_path, "from_conda_specification", "file_path"))

    @staticmethod
    def from_pip_requirements(name: str, file_path: Any, pip_version: Optional[str] = None) -> Environment:
        """A virtual environment, from a ``requirements.txt`` or ``pyproject.toml``. ``pip_version`` cannot be honoured:
        ``Invalid``."""
        if pip_version is not None:
            raise Invalid(
                "from_pip_requirements: pip_version: the runner chooses its installer",
                "leave it out; versions of packages go into the file",
            )
        return Environment(name, requirements=_file(file_path, "from_pip_requirements", "file_path"))

    @staticmethod
    def from_docker_image(
        name: str,
        image: str,
        container_registry: Any = None,
        conda_specification: Any = None,
        pip_requirements: Any = None,
    ) -> Environment:
        """An image of the container engine; with ``conda_specification``, a conda environment in it.

        ``image``: as docker takes it, registry included. Raises ``Invalid`` for ``container_registry`` and
        ``pip_requirements``, naming the way out.
        """
        where = "from_docker_image"
        if not isinstance(image, str) or not image:
            raise TypeError("{}: image must be a text like 'python:3.11', not {!r}".format(where, image))
        if container_registry is not None:
            raise Invalid("{}: container_registry".format(where), "write it before the image's name, and use `docker login`")
        if pip_requirements is not None:
            raise Invalid(
                "{}: pip_requirements in an image".format(where), "give conda_specification, or install them in a Dockerfile"
            )
        if conda_specification is None:
            return Environment(name, image=image)
        return Environment(name, image=image, conda=_file(conda_specification, where, "conda_specification"))

    @staticmethod
    def from_dockerfile(
        name: str,
        dockerfile: Any,
        conda_specification: Any = None,
        pip_requirements: Any = None,
        build_arguments: Optional[Dict[str, Any]] = None,
    ) -> Environment:
        """An image that is built from a Dockerfile: its path, or its text (of more than one line). The source directory is
        the build context. Raises ``Invalid`` for ``conda_specification`` and ``pip_requirements``: install them in the
        Dockerfile."""
        where = "from_dockerfile"
        for argument, given in (("conda_specification", conda_specification), ("pip_requirements", pip_requirements)):
            if given is not None:
                raise Invalid(
                    "{}: {} in an image of a Dockerfile".format(where, argument), "install the packages in the Dockerfile"
                )
        parts: Document = {}
        if build_arguments:
            parts["buildArguments"] = properties_of(build_arguments, where, "build_arguments")
        is_text = isinstance(dockerfile, str) and "\n" in dockerfile
        return Environment(name, dockerfile=dockerfile if is_text else _file(dockerfile, where, "dockerfile"), **parts)

    @staticmethod
    def from_existing_interpreter(name: str, interpreter_path: Any = None) -> Environment:
        """A Python that is there, with the packages it has: a path, or a program of ``PATH``; without one, this Python.
        Nothing is built or checked."""
        chosen = sys.executable if interpreter_path is None else os.fsdecode(os.fspath(interpreter_path))
        if not chosen:
            raise Invalid("from_existing_interpreter: this program has no interpreter of its own", "give interpreter_path")
        return Environment(name, python=os.path.abspath(chosen) if os.sep in chosen else chosen)

    @staticmethod
    def get(name: str, version: Any = None) -> Environment:
        """A registered environment. Asks the daemon: raises ``NotFound``."""
        from urllib.parse import quote

        from runner_sdk._place import control_client

        wanted = key_of(name, "Environment.get", "name") + ("" if version is None else ":{}".format(version))
        answer = control_client().ask("GET", "/v1/environments/" + quote(wanted, safe=""))
        found = Environment(name)
        found.version = str(answer.get("version") or version or "") or None
        return found

    def register(self) -> Environment:
        """Registers it under its name; the version rises only when the content has changed. Returns the registered one.
        Asks the daemon: raises ``Invalid`` for a name with other characters than letters, digits, ``_ . -``."""
        from runner_sdk._place import control_client
        from runner_sdk._submitting import caller_of, on_disk

        if not self._parts:
            raise Invalid("register: {!r} is registered already, or nothing".format(self.name), "make it with a from_… method")
        with on_disk(self._parts) as parts:
            document = dict(parts, name=self.name, caller=caller_of(parts))
            answer = control_client().ask("POST", "/v1/environments", document)
        for warning in answer.get("warnings", []):
            print("runner: warning: {}".format(warning), file=sys.stderr)
        registered = Environment(self.name)
        registered.version = str(answer["version"])
        registered.environment_variables = dict(self.environment_variables)
        return registered

    def submission_parts(self) -> Document:
        """Its fields of a submission."""
        if self._parts:
            return dict(self._parts)
        return {"environment": self.name if self.version is None else "{}:{}".format(self.name, self.version)}


def _file(path: Any, where: str, what: str) -> str:
    try:
        absolute = os.path.abspath(os.fsdecode(os.fspath(path)))
    except TypeError:
        raise TypeError("{}: {} must be a path, not {}".format(where, what, type(path).__name__)) from None
    if os.path.isdir(absolute):
        raise Invalid("{}: {} {!r} is a directory".format(where, what, absolute), "name the file in it")
    if not os.path.exists(absolute):
        raise NotFound(
            "{}: {}: there is no file {!r}".format(where, what, absolute),
            "relative paths are relative to the current directory",
        )
    return absolute
