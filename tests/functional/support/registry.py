"""A registry on a free loopback port, and a door in front of it that holds an image's layers back until a test opens it.

Engines take registries on 127.0.0.0/8 without TLS.
"""
import http.client
import http.server
import os
import shutil
import socket
import subprocess
import tempfile
import threading

from .waiting import wait_until

_CONFIGURATION = """\
version: 0.1
log: {level: error}
storage:
  filesystem: {rootdirectory: %s/data}
http: {addr: "127.0.0.1:%d"}
"""
_LOGIN = """\
auth: {htpasswd: {realm: tests, path: %s/htpasswd}}
"""

# Who may use a registry that wants a login, and the bcrypt of it: crypt.crypt(PASSWORD, "$2y$05$abcdefghijklmnopqrstuu").
USER, PASSWORD = "somebody", "open sesame 4711"
_HASH = "$2y$05$abcdefghijklmnopqrstuuAHcf5aJ7ZHexUBqJzK4KAS9y7aZiq9K"


def missing():
    return "" if shutil.which("docker-registry") else "docker-registry is missing (apt-get install docker-registry)"


def _free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


class Registry:
    """`host` is what an image's name begins with to be pushed; pulled by `door`'s, it waits for open_door()."""

    def __init__(self, login=False):
        self._directory = tempfile.mkdtemp(prefix="rt-registry-", dir="/tmp")
        port = _free_port()
        self.host = "127.0.0.1:%d" % port
        configuration = os.path.join(self._directory, "config.yml")
        with open(configuration, "w") as file:
            file.write(_CONFIGURATION % (self._directory, port))
            if login:
                file.write(_LOGIN % self._directory)
        if login:
            with open(os.path.join(self._directory, "htpasswd"), "w") as file:
                file.write("%s:%s\n" % (USER, _HASH))
        self._log = open(os.path.join(self._directory, "log"), "wb")
        self._process = subprocess.Popen(["docker-registry", "serve", configuration], stdin=subprocess.DEVNULL,
                                         stdout=self._log, stderr=self._log)
        self._opened = threading.Event()
        self._door = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._door.daemon_threads = True
        self.door = "127.0.0.1:%d" % self._door.server_address[1]
        threading.Thread(target=self._door.serve_forever, daemon=True).start()
        try:
            wait_until(self._answers, "the registry answers")
        except AssertionError:
            self.close()
            raise

    def _answers(self):
        if self._process.poll() is not None:
            raise AssertionError("docker-registry ended with %d" % self._process.returncode)
        try:
            socket.create_connection(self.host.split(":")).close()
            return True
        except OSError:
            return False

    def open_door(self):
        self._opened.set()

    def _handler(registry):
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                upstream = http.client.HTTPConnection(registry.host, timeout=60)
                upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
                for name, value in self.headers.items():  # all of them: an engine sends an Accept for every kind of manifest
                    upstream.putheader(name, registry.host if name.lower() == "host" else value)
                upstream.endheaders()
                answer = upstream.getresponse()
                body = answer.read()
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in ("connection", "transfer-encoding", "date", "server"):
                        self.send_header(name, value)
                self.end_headers()
                if self.command == "GET":
                    try:
                        self._send(body)
                    except OSError:  # nobody waits for it any more
                        self.close_connection = True
                upstream.close()

            def _send(self, body):
                sent = 0
                if len(body) > 100_000:  # a layer: slowly to its half, so that progress is told, and no further
                    piece = len(body) // 40
                    while sent < piece * 20:
                        self.wfile.write(body[sent:sent + piece])
                        sent += piece
                        registry._opened.wait(0.05)
                    registry._opened.wait(60)
                self.wfile.write(body[sent:])

            do_HEAD = do_GET

            def log_message(self, *_):
                pass
        return Handler

    def close(self):
        self._opened.set()
        self._door.shutdown()
        self._door.server_close()
        self._process.kill()
        self._process.wait()
        self._log.close()
        shutil.rmtree(self._directory, ignore_errors=True)
