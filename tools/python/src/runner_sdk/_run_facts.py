"""``Run``: tags, properties, name, status."""

from __future__ import annotations

from runner_sdk._run_base import RunBase, key_of, properties_of, tags_of, text_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional, Union


class RunFacts(RunBase):
    """Every call is one question to the daemon, and durable when it returns. Raises ``Unavailable`` after 2 minutes without
    an answer."""

    def tag(self, key: str, value: Any = None) -> None:
        """Sets a tag, replacing its value. ``value``: a text (numbers become texts); ``None``: a bare tag."""
        self._history.change(self._id, tags=tags_of({key: value}, "tag", "key"))

    def set_tags(self, tags: Dict[str, Any]) -> None:
        """Sets several tags at once, ``{key: value}``; others stay."""
        wanted = tags_of(tags, "set_tags")
        if wanted:
            self._history.change(self._id, tags=wanted)

    def remove_tags(self, tags: Union[str, List[str]]) -> None:
        """Removes tags by their keys, a list or one text. One that is not there is no error."""
        keys = [tags] if isinstance(tags, str) else list(tags)
        wanted = [key_of(key, "remove_tags", "a key of tags") for key in keys]
        if wanted:
            self._history.change(self._id, remove_tags=wanted)

    def get_tags(self) -> Dict[str, Optional[str]]:
        """The tags as they are now; the value of a bare tag is ``None``."""
        return dict(self._history.show(self._id)["tags"])

    @property
    def tags(self) -> Dict[str, Optional[str]]:
        """As ``get_tags()``. Changing the dict changes nothing: use ``tag`` and ``set_tags``."""
        return self.get_tags()

    def add_properties(self, properties: Dict[str, Any]) -> None:
        """Adds properties, ``{key: value}``; values become texts. They are immutable: ``Conflict`` when one is there with
        another value, and nothing is added then; with the same value it is no error."""
        wanted = properties_of(properties, "add_properties")
        if wanted:
            self._history.change(self._id, properties=wanted)

    def get_properties(self) -> Dict[str, str]:
        """The properties, with those the runner adds itself (``azureml.git.commit``, ``ContentSnapshotId``, …)."""
        return dict(self._history.show(self._id)["properties"])

    @property
    def properties(self) -> Dict[str, str]:
        """As ``get_properties()``."""
        return self.get_properties()

    @property
    def name(self) -> str:
        """The display name. May be set, also when the run has ended."""
        return str(self._history.show(self._id)["name"])

    @name.setter
    def name(self, name: str) -> None:
        if not isinstance(name, str):
            raise TypeError("name must be a text, not {}".format(type(name).__name__))
        self._history.change(self._id, name=text_of(name, "name", "it"))

    @property
    def display_name(self) -> str:
        """As ``name``."""
        return self.name

    @display_name.setter
    def display_name(self, name: str) -> None:
        self.name = name

    def get_status(self) -> str:
        """``"NotStarted"``, ``"Preparing"``, ``"Queued"``, ``"Starting"``, ``"Running"``, ``"Paused"``, ``"CancelRequested"``,
        ``"Finalizing"``, or one of the final ``"Completed"``, ``"Failed"``, ``"Canceled"``."""
        return str(self._history.show(self._id)["status"])

    @property
    def status(self) -> str:
        """As ``get_status()``."""
        return self.get_status()

    def get_details(self) -> Dict[str, Any]:
        """Everything about the run, as ``runner show --json`` prints it: ``runId``, ``status``, ``startTimeUtc`` (ISO 8601),
        ``tags``, ``properties``, ``outputs``, ``logFiles``, ``runDefinition``, ``error``, … An offline run has fewer."""
        return self._history.show(self._id)

    def get_snapshot_id(self) -> Optional[str]:
        """The id of its snapshot; ``None`` for a run without one."""
        found = self._history.show(self._id).get("snapshotId")
        return None if found is None else str(found)
