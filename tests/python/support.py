"""What the tests of the Python package share: the journal's grammar, scripts in processes of their own, a daemon that is none."""

import json
import os
import re
import socketserver
import subprocess
import sys
import tempfile
import textwrap
import threading
import unittest
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qsl, unquote, urlsplit

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tools", "python", "src")
STRICT = os.environ.get("RUNNER_STRICT") == "1"
RUN = "diabetes_1700000000_0123abcd"
MAX_RECORD = 500_000  # bytes; docs/decisions/run-history.md

if SOURCE not in sys.path:
    sys.path.insert(0, SOURCE)


def need(test, *packages):
    """Skips where a package is missing; with RUNNER_STRICT=1 that is a failure."""
    import importlib.util

    for package in packages:
        if importlib.util.find_spec(package) is None:
            if STRICT:
                test.fail(package + " is missing")
            test.skipTest(package + " is missing")


# --- the journal's grammar, written from docs/decisions/run-history.md and not from the package


def split_journal(data):
    """The JSON objects of an RFC 7464 sequence; fails on anything between them."""
    records = []
    assert data == b"" or data.startswith(b"\x1e"), data[:20]
    for part in data.split(b"\x1e")[1:]:
        assert part.endswith(b"\n") and part.count(b"\n") == 1, part[:80]
        records.append(json.loads(part.decode("utf-8"), parse_constant=_no_constant, object_pairs_hook=_no_twins))
    return records


def _no_constant(constant):
    raise AssertionError("not JSON: " + constant)


def _no_twins(pairs):
    assert len({key for key, _ in pairs}) == len(pairs), pairs
    return dict(pairs)


def _is_value(value):
    if isinstance(value, bool):
        return False
    if isinstance(value, dict):
        return list(value) == ["float"] and value["float"] in ("nan", "inf", "-inf")
    return isinstance(value, (int, float, str)) and (not isinstance(value, int) or -(2**63) <= value < 2**63)


def _is_file_value(value):
    kinds = ("image", "confusion_matrix", "accuracy_table", "residuals", "predictions")
    return (
        isinstance(value, dict)
        and set(value) == {"artifact", "type"}
        and isinstance(value["artifact"], str)
        and value["type"] in kinds
    )


def check_record(record):
    """Fails for a record that the agreement does not know."""
    rest = dict(record)
    assert isinstance(rest.pop("time"), int), record
    step = rest.pop("step", 0)
    assert isinstance(step, int) and not isinstance(step, bool), record
    assert isinstance(rest.pop("run", ""), str), record
    keys = set(rest)
    if keys == {"metric", "value"}:
        assert _is_value(rest["value"]) or _is_file_value(rest["value"]), record
    elif keys == {"list", "values"}:
        assert isinstance(rest["values"], list) and all(_is_value(value) for value in rest["values"]), record
    elif keys == {"row", "values"}:
        assert rest["values"] and all(value is None or _is_value(value) for value in rest["values"].values()), record
    elif keys == {"table", "values"}:
        columns = list(rest["values"].values())
        assert columns and all(isinstance(column, list) for column in columns), record
        assert all(value is None or _is_value(value) for column in columns for value in column), record
    elif keys == {"artifact", "bytes"}:
        assert isinstance(rest["bytes"], int) and rest["bytes"] >= 0, record
    else:
        raise AssertionError("no record of the journal: {}".format(record))
    name = next(rest[key] for key in ("metric", "list", "row", "table", "artifact") if key in rest)
    assert isinstance(name, str) and name, record
    return record


def parse_journal(data):
    """Records, each of them checked."""
    for part in data.split(b"\x1e"):
        assert len(part) < MAX_RECORD, (len(part), part[:60])
    return [check_record(record) for record in split_journal(data)]


def without_time(records):
    return [{key: value for key, value in record.items() if key != "time"} for record in records]


# --- scripts


# What scripts check their answers with; goes before their text.
CHECKS = """
def refused(error, words, call):
    try:
        call()
    except error as problem:
        assert words in str(problem), (words, str(problem))
    else:
        raise AssertionError(words)
def equal(found, wanted):
    assert repr(found) == repr(wanted), (found, wanted)
"""


class ScriptCase(unittest.TestCase):
    """A directory, a journal, and scripts that run as a run's or outside of one."""

    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = os.path.realpath(directory.name)
        self.io = os.path.join(self.directory, "io")
        os.mkdir(self.io)
        self.journal = os.path.join(self.io, "metrics.jsonseq")
        self.artifacts = os.path.join(self.io, "artifacts")
        os.mkdir(self.artifacts, 0o700)

    def environment(self, inside=True, **more):
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("RUNNER_", "PYTHON"))}
        environment["PYTHONPATH"] = SOURCE
        environment["PYTHONDONTWRITEBYTECODE"] = "1"
        environment["MPLCONFIGDIR"] = self.directory
        environment["HOME"] = self.directory
        if inside:
            environment["RUNNER_METRICS"] = self.journal
            environment["RUNNER_RUN_ID"] = RUN
            environment["RUNNER_EXPERIMENT"] = "diabetes"
            environment["RUNNER_ATTEMPT"] = "1"
        environment.update(more)
        return environment

    def write(self, name, text):
        path = os.path.join(self.directory, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as stream:
            stream.write(text)
        return path

    def start(self, text, inside=True, **more):
        script = self.write("script.py", textwrap.dedent(text))
        return subprocess.Popen(
            [sys.executable, script],
            env=self.environment(inside, **more),
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            universal_newlines=True,
        )

    def run_script(self, text, inside=True, check=True, **more):
        process = self.start(text, inside, **more)
        try:
            process.stdout_text, process.stderr_text = process.communicate(timeout=180)
        finally:
            process.kill()
        if check:
            self.assertEqual(process.returncode, 0, process.stderr_text)
        return process

    def raw_journal(self):
        if not os.path.exists(self.journal):
            return b""
        with open(self.journal, "rb") as stream:
            return stream.read()

    def records(self):
        return parse_journal(self.raw_journal())

    def logged(self, text, **more):
        """The records of one script, without their times."""
        if os.path.exists(self.journal):
            os.unlink(self.journal)
        self.run_script("import runner\nrun = runner.Run.get_context()\n" + textwrap.dedent(text), **more)
        return without_time(self.records())

    def artifact(self, *parts):
        with open(os.path.join(self.artifacts, *parts), "rb") as stream:
            return stream.read()


# --- a daemon that is none


class Asked:
    """One request as it arrived."""

    def __init__(self, handler, body):
        parts = urlsplit(handler.path)
        self.method = handler.command
        self.path = parts.path
        self.segments = [unquote(segment) for segment in parts.path.strip("/").split("/")]
        self.query = parse_qsl(parts.query, keep_blank_values=True)
        self.headers = {name.lower(): value for name, value in handler.headers.items()}
        self.document = json.loads(body.decode("utf-8")) if body else None
        self.handler = handler

    def __repr__(self):
        return "{} {} {} {}".format(self.method, self.path, self.query, self.document)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        asked = Asked(self, body)
        self.server.asked.append(asked)
        answer = self.server.answer(asked)
        if answer is None:  # it has written by itself
            return
        status, document = answer if isinstance(answer, tuple) else (200, answer)
        content = document if isinstance(document, bytes) else json.dumps(document).encode("utf-8")
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PATCH = do_DELETE = _answer

    def address_string(self):
        return "peer"

    def log_message(self, *_):
        pass


class FakeDaemon(socketserver.ThreadingUnixStreamServer):
    """Answers with what ``answer(asked)`` gives: a document, (status, document or bytes), or None when it wrote by itself.

    The HTTP is the standard library's: another implementation than the one that is tested.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, path, answer):
        self.answer = answer
        self.asked = []
        self.connections = 0
        self._open = set()
        if os.path.exists(path):
            os.unlink(path)
        super().__init__(path, _Handler)
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def process_request(self, request, client_address):
        self.connections += 1
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request):
        self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)

    def die(self):
        """As a killed daemon: nobody listens, every connection is gone."""
        self.shutdown()
        self.server_close()
        for request in list(self._open):
            try:
                request.shutdown(2)
            except OSError:
                pass
        self._thread.join()

    def targets(self):
        return ["{} {}".format(asked.method, asked.path) for asked in self.asked]


def refused(code, message, hint=None):
    status = {"invalid": 400, "permission": 403, "notFound": 404, "conflict": 409, "internal": 500, "unavailable": 503}[code]
    return status, {"error": {"code": code, "message": message, "hint": hint}}


def document_of(run=RUN, **more):
    """A run's document, as GET /v1/runs/{run} has it."""
    document = {
        "runId": run,
        "experiment": "diabetes",
        "kind": "script",
        "name": "first",
        "status": "Running",
        "statusReason": "",
        "createdTimeUtc": "2026-11-21T01:28:58.123456Z",
        "attempt": 1,
        "parentRunId": None,
        "snapshotId": "ab" * 32,
        "tags": {},
        "properties": {},
        "metrics": {},
        "outputs": [],
        "error": None,
        "notices": [],
    }
    document.update(more)
    return document


def lines_matching(pattern, text):
    return [line for line in text.splitlines() if re.search(pattern, line)]
