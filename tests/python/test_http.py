"""The client against a small server on a unix socket: what it sends, what it takes, and daemons that go and come."""

import contextlib
import io
import json
import os
import pickle
import socket
import tempfile
import threading
import time
import unittest

from support import FakeDaemon, document_of, refused

from runner_sdk import _client, _errors, _http
from runner_sdk._client import Client


class Raw(threading.Thread):
    """Answers each connection with given bytes, then closes it; keeps what it was sent."""

    def __init__(self, path, *answers):
        super().__init__(daemon=True)
        self.answers = list(answers)
        self.received = []
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen(8)
        self.start()

    def run(self):
        for answer in self.answers:
            peer, _ = self.listener.accept()
            with peer:
                data = b""
                while b"\r\n\r\n" not in data:
                    piece = peer.recv(65536)
                    if not piece:
                        break
                    data += piece
                self.received.append(data)
                with contextlib.suppress(OSError):
                    for piece in answer if isinstance(answer, list) else [answer]:
                        peer.sendall(piece)
        self.listener.close()


class ClientCase(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.path = os.path.join(directory.name, "api.sock")
        self.addCleanup(setattr, _client, "PATIENCE", _client.PATIENCE)

    def daemon(self, answer):
        daemon = FakeDaemon(self.path, answer)
        self.addCleanup(daemon.die)
        return daemon

    @contextlib.contextmanager
    def said(self):
        stream = io.StringIO()
        with contextlib.redirect_stderr(stream):
            yield stream


class Requests(ClientCase):
    def test_a_question_has_method_path_query_token_and_body(self):
        daemon = self.daemon(lambda asked: {"ok": True})
        client = Client(self.path, token="secret-token")
        answer = client.ask("POST", _client.run_target("a/b ü"), {"reason": "Grüße"}, query=[("tag", "k=v w"), ("tag", "x")])
        self.assertEqual(answer, {"ok": True})
        (asked,) = daemon.asked
        self.assertEqual((asked.method, asked.segments), ("POST", ["v1", "runs", "a/b ü"]))
        self.assertEqual(asked.query, [("tag", "k=v w"), ("tag", "x")])
        self.assertEqual(asked.document, {"reason": "Grüße"})
        self.assertEqual(asked.headers["authorization"], "Bearer secret-token")
        self.assertEqual(asked.headers["content-type"], "application/json")
        self.assertNotIn("secret-token", repr(client))

    def test_connections_are_kept_and_given_to_one_thread_at_a_time(self):
        daemon = self.daemon(lambda asked: {"path": asked.path})
        client = Client(self.path)
        for number in range(20):
            self.assertEqual(client.ask("GET", "/{}".format(number)), {"path": "/{}".format(number)})
        self.assertEqual(daemon.connections, 1)
        wrong = []

        def many(who):
            for number in range(30):
                path = "/{}/{}".format(who, number)
                if client.ask("GET", path) != {"path": path}:
                    wrong.append(path)

        threads = [threading.Thread(target=many, args=(who,)) for who in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(wrong, [])
        self.assertLessEqual(len(client._connections._idle), 2)

    def test_a_body_that_is_no_unicode_or_no_json_is_refused_before_it_is_sent(self):
        client = Client(self.path)
        with self.assertRaisesRegex(_errors.Invalid, r"x\\ud800y.* is not Unicode text"):
            client.ask("POST", "/", {"text": "x\ud800y"})
        with self.assertRaises(ValueError):
            client.ask("POST", "/", {"number": float("nan")})

    def test_a_path_too_long_for_a_socket_names_the_way_out(self):
        with self.assertRaisesRegex(_errors.Invalid, "longer than 107 bytes\nhint: .*RUNNER_HOME"):
            Client("/" + "x" * 107)


class Bodies(ClientCase):
    def ask_raw(self, *answers):
        self.raw = Raw(self.path, *answers)
        client = Client(self.path)
        return client.ask("GET", "/")

    def test_a_body_with_a_length_in_any_pieces(self):
        content = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"a": 1}\n'
        self.assertEqual(self.ask_raw([content[n : n + 1] for n in range(len(content))]), {"a": 1})

    def test_a_chunked_body_with_extensions_and_trailers(self):
        answer = b'HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n5;x=y\r\n{"a":\r\n00003\r\n\r\n1\r\n1\r\n}\r\n0\r\nT: x\r\n\r\n'
        self.assertEqual(self.ask_raw(answer), {"a": 1})

    def test_a_body_that_ends_with_the_connection_and_one_that_is_empty(self):
        self.assertEqual(self.ask_raw(b'HTTP/1.0 200 OK\r\n\r\n{"a": 1}'), {"a": 1})
        os.unlink(self.path)
        self.assertEqual(self.ask_raw(b"HTTP/1.1 204 No Content\r\n\r\n"), {})

    def test_interim_answers_are_told_and_skipped(self):
        with self.said() as said:
            answer = self.ask_raw(
                b"HTTP/1.1 100 Continue\r\n\r\n"
                b"HTTP/1.1 102 Processing\r\nRunner-Notice: 20%25%20of%20the%20files\r\n\r\n"
                b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
            )
        self.assertEqual(answer, {})
        self.assertEqual(said.getvalue(), "runner: warning: 20% of the files\n")

    def test_answers_cut_short_in_any_place_are_asked_for_again(self):
        whole = b'HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n{"a": 1}'
        chunked = b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n{"a": 1}\r\n0\r\n\r\n'
        cuts = [whole[:n] for n in (0, 5, 30, len(whole) - 1)] + [chunked[:n] for n in (50, len(chunked) - 7)]
        self.assertEqual(self.ask_raw(*cuts, whole), {"a": 1})
        self.assertEqual(len(self.raw.received), len(cuts) + 1)

    def test_what_does_not_speak_http_is_no_daemon(self):
        Raw(self.path, *[b"SSH-2.0-OpenSSH\r\n"] * 3)
        with self.assertRaisesRegex(_errors.Unavailable, "does not answer: .*"):
            Client(self.path).ask("GET", "/", patience=0.02)


class Errors(ClientCase):
    def test_each_code_has_its_exception_with_message_and_hint(self):
        kinds = {
            "invalid": _errors.Invalid,
            "notFound": _errors.NotFound,
            "conflict": _errors.Conflict,
            "permission": _errors.PermissionDenied,
            "internal": _errors.RunnerError,
        }
        self.daemon(lambda asked: refused(asked.segments[0], "what: why", "the way out"))
        client = Client(self.path)
        for code, kind in kinds.items():
            with self.assertRaises(kind) as caught:
                client.ask("POST", "/" + code, {})
            error = caught.exception
            self.assertIs(type(error), kind)
            self.assertEqual((error.code, error.message, error.hint), (code, "what: why", "the way out"))
            self.assertEqual(str(error), "what: why\nhint: the way out")
        self.assertIsInstance(_errors.Invalid("x"), ValueError)

    def test_answers_without_a_document_have_their_status(self):
        self.daemon(lambda asked: (int(asked.segments[0]), b"<html>"))
        client = Client(self.path)
        for status, kind in (
            (401, _errors.PermissionDenied),
            (404, _errors.NotFound),
            (409, _errors.Conflict),
            (418, _errors.Invalid),
        ):
            with self.assertRaisesRegex(kind, str(status)):
                client.ask("GET", "/{}".format(status))
        with self.assertRaisesRegex(_errors.RunnerError, "500"):
            client.ask("GET", "/500")
        with self.assertRaisesRegex(_errors.RunnerError, "is not JSON"):
            client.ask("GET", "/200")

    def test_a_busy_daemon_is_asked_again_and_a_missing_engine_is_not(self):
        answers = [refused("unavailable", "too many others wait"), {"ok": 1}]
        daemon = self.daemon(
            lambda asked: answers.pop(0) if asked.method == "GET" else refused("unavailable", "no container engine")
        )
        client = Client(self.path)
        self.assertEqual(client.ask("GET", "/"), {"ok": 1})
        with self.assertRaisesRegex(_errors.Unavailable, "no container engine"):
            client.ask("POST", "/", {})
        self.assertEqual(len(daemon.asked), 3)

    def test_a_request_refused_before_it_was_read_is_sent_again(self):
        body = json.dumps({"error": {"code": "unavailable", "message": "too many connections", "hint": None}}).encode()
        full = b"HTTP/1.1 503 Refused\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        raw = Raw(self.path, full, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        self.assertEqual(Client(self.path).ask("POST", "/", {"x": 1}), {})
        self.assertEqual(len(raw.received), 2)

    def test_a_daemon_that_holds_the_connection_and_says_nothing_is_named(self):
        release = threading.Event()
        self.addCleanup(release.set)
        self.daemon(lambda asked: release.wait(5) and {})
        with self.assertRaisesRegex(_errors.Unavailable, "has not answered for 0 s: GET /slow"):
            Client(self.path).ask("GET", "/slow", timeout=0.05)

    def test_a_socket_of_somebody_else_is_a_matter_of_permission(self):
        client = Client(self.path)
        original = _http.Connection
        self.addCleanup(setattr, _http, "Connection", original)

        def denied(path):
            raise PermissionError(13, "Permission denied")

        _http.Connection = denied
        with self.assertRaisesRegex(_errors.PermissionDenied, "this user may not connect"):
            client.ask("GET", "/")


class Absence(ClientCase):
    def test_a_daemon_that_comes_back_is_found_on_a_new_connection(self):
        first = self.daemon(lambda asked: {"daemon": 1})
        client = Client(self.path)
        self.assertEqual(client.ask("GET", "/"), {"daemon": 1})
        first.die()
        second = self.daemon(lambda asked: {"daemon": 2})
        self.assertEqual(client.ask("POST", "/", {}), {"daemon": 2})
        self.assertEqual(len(second.asked), 1)

    def test_a_daemon_that_starts_slowly_is_awaited_and_that_is_said_once(self):
        test = self

        class Starter(io.StringIO):
            """The daemon comes when its absence has been told."""

            def write(self, words):
                if not self.getvalue():
                    test.daemon(lambda asked: {"late": True})
                return super().write(words)

        said = Starter()
        with contextlib.redirect_stderr(said):
            self.assertEqual(Client(self.path).ask("GET", "/"), {"late": True})
        self.assertEqual(said.getvalue(), "runner: the daemon is away; asking again for 120 s\n")

    def test_a_short_absence_is_not_worth_a_word(self):
        client = Client(self.path)
        with self.said() as said:
            threading.Timer(0.2, lambda: self.daemon(lambda asked: {})).start()
            client.ask("GET", "/")
        self.assertEqual(said.getvalue(), "")

    def test_after_its_patience_the_error_says_where_nobody_answers(self):
        begin = time.monotonic()
        with self.assertRaisesRegex(
            _errors.Unavailable, "does not answer: {}: No such file.*\nhint: .*daemon status".format(self.path)
        ):
            Client(self.path).ask("GET", "/", patience=0.3)
        self.assertLess(time.monotonic() - begin, 5)

    def test_a_question_that_must_not_be_repeated_is_not(self):
        raw = Raw(self.path, b"", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        client = Client(self.path)
        with self.assertRaisesRegex(_errors.Unavailable, "not known whether it has done this: POST /restore"):
            client.ask("POST", "/restore", {}, repeatable=False)
        self.assertEqual(len(raw.received), 1)
        self.assertEqual(client.ask("POST", "/other", {}), {})

    def test_a_kept_connection_that_a_daemon_closed_costs_no_question(self):
        first = self.daemon(lambda asked: {"daemon": 1})
        client = Client(self.path)
        client.ask("GET", "/")
        first.die()
        self.daemon(lambda asked: {"daemon": 2})
        self.assertEqual(client.ask("POST", "/restore", {}, repeatable=False), {"daemon": 2})

    def test_one_is_woken_once_and_told_whether_one_had_answered(self):
        woken = []

        daemons = []

        def wake(answered):
            woken.append(answered)
            # Not there at once: it is asked several times before it is, and woken only once.
            threading.Timer(0.15, lambda: daemons.append(self.daemon(lambda asked: {"number": len(woken)}))).start()

        client = Client(self.path, wake=wake)
        self.assertEqual(client.ask("GET", "/"), {"number": 1})
        self.assertEqual(client.ask("GET", "/"), {"number": 1})
        daemons[0].die()
        self.assertEqual(client.ask("GET", "/"), {"number": 2})
        self.assertEqual(woken, [False, True])

    def test_a_daemon_that_cannot_be_started_is_not_awaited(self):
        def wake(_):
            raise _errors.Unavailable("there is no program 'runner'")

        with self.assertRaisesRegex(_errors.Unavailable, "no program"):
            Client(self.path, wake=wake).ask("GET", "/")


class Streams(ClientCase):
    def test_a_stream_goes_on_where_it_was_cut_short(self):
        content = bytes(range(256)) * 40
        cut = b"HTTP/1.1 200 OK\r\nContent-Length: 10240\r\n\r\n" + content[:3000]
        again = b"HTTP/1.1 206 Partial\r\nContent-Length: 7240\r\n\r\n" + content[3000:5000]
        rest = b"HTTP/1.1 206 Partial\r\nTransfer-Encoding: chunked\r\n\r\n1478\r\n" + content[5000:] + b"\r\n0\r\n\r\n"
        raw = Raw(self.path, cut, again, rest)
        pieces = []
        Client(self.path).stream(
            "/file",
            lambda written: [("offset", str(written))],
            pieces.append,
            lambda written: {"Range": "bytes={}-".format(written)} if written else {},
        )
        self.assertEqual(b"".join(pieces), content)
        lines = [received.split(b"\r\n") for received in raw.received]
        self.assertEqual([line[0] for line in lines], [b"GET /file?offset=%d HTTP/1.1" % n for n in (0, 3000, 5000)])
        self.assertEqual([b"Range: bytes=3000-" in line for line in lines], [False, True, False])

    def test_a_daemon_that_would_begin_anew_does_not_spoil_the_file(self):
        cut = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"
        whole = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabcdefghij"
        Raw(self.path, cut, whole)
        with self.assertRaisesRegex(_errors.Unavailable, "does not go on with /file"):
            Client(self.path).stream("/file", lambda _: [], lambda piece: None, lambda n: {"Range": "bytes=3-"} if n else {})

    def test_errors_come_before_the_first_piece(self):
        self.daemon(lambda asked: refused("notFound", "no such file"))
        pieces = []
        with self.assertRaisesRegex(_errors.NotFound, "no such file"):
            Client(self.path).stream("/file", lambda _: [], pieces.append)
        self.assertEqual(pieces, [])

    def test_a_reader_that_stops_leaves_no_rest_for_the_next_question(self):
        self.daemon(lambda asked: b"x" * 1_000_000 if asked.path == "/file" else {"ok": True})
        client = Client(self.path)

        def stop(piece):
            raise KeyboardInterrupt

        with self.assertRaises(KeyboardInterrupt):
            client.stream("/file", lambda _: [], stop)
        self.assertEqual(client.ask("GET", "/"), {"ok": True})


class Forks(ClientCase):
    def test_parent_and_child_never_share_a_connection(self):
        daemon = self.daemon(lambda asked: {"path": asked.path})
        client = Client(self.path)
        client.ask("GET", "/before")
        children = []
        for number in range(4):
            pid = os.fork()
            if pid == 0:
                code = 1
                try:
                    code = 0 if all(client.ask("GET", "/c") == {"path": "/c"} for _ in range(20)) else 2
                finally:
                    os._exit(code)
            children.append(pid)
        for _ in range(20):
            self.assertEqual(client.ask("GET", "/parent"), {"path": "/parent"})
        for pid in children:
            self.assertEqual(os.waitpid(pid, 0)[1], 0)
        self.assertEqual(daemon.connections, 5)

    def test_a_pickled_client_asks_on_its_own_connection(self):
        daemon = self.daemon(lambda asked: document_of())
        client = Client(self.path, token="t")
        client.ask("GET", "/")
        copy = pickle.loads(pickle.dumps(client))
        self.assertEqual(copy.ask("GET", "/")["runId"], document_of()["runId"])
        self.assertEqual(daemon.connections, 2)
        self.assertEqual(daemon.asked[1].headers["authorization"], "Bearer t")


if __name__ == "__main__":
    unittest.main()
