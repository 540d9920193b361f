"""``Run``: metrics."""

from __future__ import annotations

from runner_sdk._run_base import RunBase

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Optional, Union


class RunMetrics(RunBase):
    """Logging and reading back. Logging needs no daemon, is safe from threads and forked processes, and is done when the
    call returns; reading back asks the daemon."""

    def log(
        self, name: str, value: Any, step: Optional[Union[int, str]] = None, description: Optional[Union[str, int]] = None
    ) -> None:
        """Adds a point to the metric ``name``: see ``runner.log`` for values, steps and errors.

        ``description`` is accepted for Azure ML's sake, also as the third positional argument, and not kept. Costs 2 to 3
        microseconds. Raises ``Conflict`` for a run that another process logs to.
        """
        if step is not None and isinstance(step, str):  # Azure ML's order: name, value, description, step
            step, description = description, step
        self._recorder.log(name, value, step)  # type: ignore[arg-type]

    def log_list(self, name: str, value: Any, description: Optional[str] = None) -> None:
        """Adds many points to the metric ``name``; it reads back as a list, even with one element or none.

        ``value``: a list, an array of one dimension, a pandas Series, a tensor, a generator (which is exhausted): of numbers
        and texts. Raises ``TypeError`` or ``ValueError`` naming the element; nothing is logged then. Of any length.
        """
        from runner_sdk._series import log_list

        log_list(self._recorder, name, value)

    def log_row(self, name: str, description: Optional[str] = None, **columns: Any) -> None:
        """Adds a row to the metric ``name``; each keyword is a column: ``run.log_row("sine", angle=0.5, value=0.48)``.

        Values are numbers and texts; ``None`` is a missing one. Reads back as ``{column: value}``, several rows as
        ``{column: [values]}``. ``name`` and ``description`` cannot be columns: ``log_table`` has no such limit. Raises
        ``TypeError`` or ``ValueError`` naming the column, ``ValueError`` for a name with single values.
        """
        from runner_sdk._series import log_row

        log_row(self._recorder, name, columns)

    def log_table(self, name: str, value: Any, description: Optional[str] = None) -> None:
        """Adds rows to the metric ``name``: ``{column: [values]}`` or a DataFrame (without its index).

        Columns are what ``log_list`` takes; ``None``, ``pandas.NA`` and ``NaT`` are missing values, dates become ISO texts.
        Shorter columns are filled up with missing values. Reads back as ``{column: [values]}``. Of any length. Errors as
        ``log_row``; nothing is logged then.
        """
        from runner_sdk._series import log_table

        log_table(self._recorder, name, value)

    def log_image(self, name: str, path: Any = None, plot: Any = None, description: Optional[str] = None) -> None:
        """Logs a picture: the file at ``path``, or ``plot``, a matplotlib figure, its axes, or the pyplot module (its current
        figure), as PNG. It becomes an artifact of the run.

        Reads back as ``{"artifact": NAME, "type": "image"}``; ``download_file(NAME)`` fetches it. Raises ``Invalid`` unless
        exactly one of the two is given, ``NotFound`` for a missing file, ``TypeError`` for a plot that is none.
        """
        from runner_sdk._plots import add_value, picture_of

        source, extension = picture_of(path, plot)
        self._log_file(name, source, extension, "image", "log_image", add_value)

    def log_confusion_matrix(self, name: str, value: Any, description: Optional[str] = None) -> None:
        """Logs a confusion matrix: ``{"schema_type": "confusion_matrix", "schema_version": "v1", "data": {"class_labels":
        [label, …], "matrix": [[count, …], …]}}``, as a dict (numpy's arrays and numbers are fine) or as JSON text.

        Reads back as ``{"artifact": NAME, "type": "confusion_matrix"}``. Raises ``Invalid`` or ``TypeError`` saying what is
        missing.
        """
        self._log_document(name, value, "confusion_matrix")

    def log_accuracy_table(self, name: str, value: Any, description: Optional[str] = None) -> None:
        """Logs an accuracy table: as ``log_confusion_matrix``, with ``"schema_type": "accuracy_table"`` and ``"data"`` of
        ``probability_tables``, ``percentile_tables``, ``probability_thresholds``, ``percentile_thresholds`` and
        ``class_labels``."""
        self._log_document(name, value, "accuracy_table")

    def log_residuals(self, name: str, value: Any, description: Optional[str] = None) -> None:
        """Logs a histogram of residuals: as ``log_confusion_matrix``, with ``"schema_type": "residuals"`` and ``"data"`` of
        ``bin_edges`` and ``bin_counts``."""
        self._log_document(name, value, "residuals")

    def log_predictions(self, name: str, value: Any, description: Optional[str] = None) -> None:
        """Logs predictions in bins: as ``log_confusion_matrix``, with ``"schema_type": "predictions"`` and ``"data"`` of
        ``bin_averages``, ``bin_errors``, ``bin_counts`` and ``bin_edges``."""
        self._log_document(name, value, "predictions")

    def _log_document(self, name: str, value: Any, kind: str) -> None:
        from runner_sdk._plots import add_value, document_of

        where = "log_" + kind
        self._log_file(name, document_of(value, kind, where), ".json", kind, where, add_value)

    def _log_file(self, name: str, source: Any, extension: str, kind: str, where: str, add_value: Any) -> None:
        from runner_sdk._series import log_file_value

        self._recorder.head(name, where)  # says what is wrong with the name before a file is made of it
        artifact = add_value(self._history, self._id, name, source, extension, where)
        log_file_value(self._recorder, name, artifact, kind, where)

    def get_metrics(
        self, name: Optional[str] = None, recursive: bool = False, run_type: Optional[str] = None, populate: bool = False
    ) -> Dict[str, Any]:
        """The metrics, by name; ``name``: only that one, ``{}`` if nothing was logged under it.

        Logged once is the value, more often the list in log order; rows are ``{column: value or [values]}``, files
        ``{"artifact": NAME, "type": TYPE}``. Whole, never thinned: NaN and infinities are floats, integers have 64 bits.
        ``recursive``: of this run and all its descendants instead, ``{run id: {name: value}}``.

        What this process has logged is in it. Asks the daemon: raises ``Unavailable`` after 2 minutes without one.
        ``run_type`` and ``populate`` of Azure ML are accepted and ignored.
        """
        if name is not None and not isinstance(name, str):
            raise TypeError("get_metrics: name must be a text, not {}".format(type(name).__name__))
        found = self._history.metrics(self._id, name, recursive)
        return found if recursive else found.get(self._id, {})

    def flush(self, timeout_seconds: float = 300) -> None:
        """Does nothing: what was logged left this process when the call returned. There for Azure ML's scripts."""
