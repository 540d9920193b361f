"""A client of the run socket. Its text is also put before scripts that ask there, so it imports nothing of the tests."""
import http.client
import json
import os
import select
import socket


class Connection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("run", timeout=60)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(self.path)

    def is_closed(self):
        """By the daemon, or after its last answer; of one that waits for nothing."""
        return self.sock is None or bool(select.select([self.sock], [], [], 0)[0])


def ask_on(connection, method, target, body=None, token=None):
    """(status, document)"""
    headers = {} if token is None else {"Authorization": "Bearer " + token}
    connection.request(method, target, None if body is None else json.dumps(body), headers)
    answer = connection.getresponse()
    text = answer.read()
    try:
        document = json.loads(text)
    except ValueError:
        document = text.decode("utf-8", "replace")
    return answer.status, document


def ask(method, target, body=None, token=os.environ.get("RUNNER_TOKEN"), path=os.environ.get("RUNNER_SOCKET")):
    return ask_on(Connection(path), method, target, body, token)
