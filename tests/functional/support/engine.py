"""A Docker Engine as the tests see it: its API over the unix socket, without the client that users have.

Paths and fields are those of https://docs.docker.com/engine/api/v1.41/.
"""
import base64
import http.client
import io
import json
import socket
import tarfile
import urllib.parse

from . import settings


class _Connection(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__("engine", timeout=timeout)
        self._path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class EngineError(AssertionError):
    """An answer that the test did not expect."""

    def __init__(self, request, status, body):
        super().__init__("%s: %d %s" % (request, status, body[:2000].decode(errors="replace")))
        self.status = status


class Engine:
    def __init__(self, socket_path):
        self.socket = socket_path
        self.address = "unix://" + socket_path

    @staticmethod
    def of_the_tests():
        """The engine with the test images (run.py has checked that it is there)."""
        return Engine(settings.ENGINE.removeprefix("unix://"))

    def request(self, method, path, body=None, timeout=60.0, headers=None):
        """(status, body as bytes) of one request; `body` is sent as JSON, or as it is when it is bytes."""
        connection = _Connection(self.socket, timeout)
        try:
            if body is not None and not isinstance(body, bytes):
                body = json.dumps(body).encode()
            connection.request(method, path, body, {"Content-Type": "application/json", **(headers or {})})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def call(self, method, path, body=None, **options):
        """The answer's JSON (None when it is empty or no JSON); EngineError unless it is 2xx or 304."""
        status, answer = self.request(method, path, body, **options)
        if status >= 300 and status != 304:
            raise EngineError("%s %s" % (method, path), status, answer)
        try:
            return json.loads(answer) if answer else None
        except ValueError:  # a stream of several objects
            return None

    # --- containers --------------------------------------------------------------------------------------------------------

    def containers(self, text=""):
        """Of all, living and dead, the list entries that mention the text in their names, labels or mounts."""
        return [item for item in self.call("GET", "/containers/json?all=1") if text in json.dumps(item)]

    def container_of(self, run_id):
        """`docker inspect` of a run's container, or None."""
        label = urllib.parse.quote(json.dumps({"label": ["runner.run=" + run_id]}))
        found = self.call("GET", "/containers/json?all=1&filters=" + label)
        try:
            return self.inspect(found[0]["Id"]) if found else None
        except EngineError as gone:
            if gone.status != 404:
                raise
            return None  # removed between the two questions

    def inspect(self, container):
        return self.call("GET", "/containers/%s/json" % container)

    def create(self, image, command, name=None, **configuration):
        """A foreign container, not started; its id."""
        query = "?name=" + name if name else ""
        return self.call("POST", "/containers/create" + query, {"Image": image, "Cmd": command, **configuration})["Id"]

    def kill(self, container, number="KILL"):
        self.call("POST", "/containers/%s/kill?signal=%s" % (container, number))

    def remove(self, container):
        """As `docker rm -f -v`; a container that is gone already is fine."""
        status, body = self.request("DELETE", "/containers/%s?force=1&v=1" % container)
        if status >= 300 and status not in (404, 409):  # 409: somebody else is removing it
            raise EngineError("DELETE " + container, status, body)

    # --- volumes and images ------------------------------------------------------------------------------------------------

    def volumes(self, text=""):
        """Names of the volumes that mention the text in their name, labels or options (an overlay's directories)."""
        return [item["Name"] for item in self.call("GET", "/volumes")["Volumes"] or [] if text in json.dumps(item)]

    def image(self, reference):
        """`docker image inspect`, or None."""
        status, body = self.request("GET", "/images/%s/json" % reference)
        if status == 404:
            return None
        if status != 200:
            raise EngineError("GET image " + reference, status, body)
        return json.loads(body)

    def derive(self, base, reference, files):
        """A new image, `base` with {path: bytes} more and an id of its own."""
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            for name, content in files.items():
                entry = tarfile.TarInfo(name.lstrip("/"))
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
        repository, tag = reference.rsplit(":", 1)
        container = self.create(base, ["true"])
        try:
            self.call("PUT", "/containers/%s/archive?path=/" % container, archive.getvalue(),
                      headers={"Content-Type": "application/x-tar"})
            self.call("POST", "/commit?container=%s&repo=%s&tag=%s" % (container, urllib.parse.quote(repository, safe=""), tag), {})
        finally:
            self.remove(container)

    def tag(self, reference, repository, tag):
        self.call("POST", "/images/%s/tag?repo=%s&tag=%s" % (reference, urllib.parse.quote(repository, safe=""), tag))

    def remove_image(self, reference):
        """Removes the tag (and the image with its last one); one that is gone is fine."""
        status, body = self.request("DELETE", "/images/%s?force=1" % reference)
        if status >= 300 and status != 404:
            raise EngineError("DELETE image " + reference, status, body)

    def push(self, reference, user=None, password=None):
        repository, tag = reference.rsplit(":", 1)
        # The header must be there; an empty object is nobody's credentials.
        login = {"username": user, "password": password} if user else {}
        header = base64.urlsafe_b64encode(json.dumps(login).encode()).decode()
        status, body = self.request("POST", "/images/%s/push?tag=%s" % (repository, tag), headers={"X-Registry-Auth": header})
        if status != 200 or b'"error"' in body:  # errors come in the stream
            raise EngineError("push " + reference, status, body)

    def copy_image_to(self, other, reference):
        """`docker save | docker load`."""
        status, archive = self.request("GET", "/images/%s/get" % reference)
        if status != 200:
            raise EngineError("save " + reference, status, archive)
        other.call("POST", "/images/load?quiet=1", archive, headers={"Content-Type": "application/x-tar"})

    # --- the broom ---------------------------------------------------------------------------------------------------------

    def leftovers(self, text):
        return (["container %s %s" % (item["Names"], item["State"]) for item in self.containers(text)]
                + ["volume " + name for name in self.volumes(text)])

    def sweep(self, text):
        """Removes whatever mentions the text; an engine that does not answer any more has taken it along."""
        try:
            for item in self.containers(text):
                self.remove(item["Id"])
            for name in self.volumes(text):
                self.request("DELETE", "/volumes/%s?force=1" % name)
        except OSError:
            pass


def missing():
    """Why nothing can run on the test engine, or an empty text."""
    if not settings.ENGINE.startswith("unix:///"):
        return "RUNNER_TEST_ENGINE names no engine (tools/test-engine start DIR makes one)"
    try:
        if Engine.of_the_tests().image(settings.IMAGE) is None:
            return "the engine of RUNNER_TEST_ENGINE has no image " + settings.IMAGE
    except OSError as problem:
        return "the engine of RUNNER_TEST_ENGINE does not answer: %s" % problem
    return ""
