"""Those outside of a run: another local user, and careless or hostile clients of the control socket."""
import json
import os
import signal
import socket
import stat
import subprocess
import time

from support import processes
from support.case import RunnerTest
from support.waiting import wait_until

GET = b"GET /v1/daemon HTTP/1.1\r\nHost: r\r\n\r\n"
POST = b"POST /v1/runs HTTP/1.1\r\nHost: r\r\nContent-Type: application/json\r\n"
PROMPT = 5.0  # seconds: thirty times what a command takes on a busy machine


class Outsiders(RunnerTest):
    def setUp(self):
        super().setUp()
        self.runs()  # there is a daemon
        self.pid = self.home.daemon_pid()
        self.open = []
        self.addCleanup(self.close_all)

    def close_all(self):
        while self.open:
            self.open.pop().close()

    def connect(self, timeout=30.0):
        client = socket.socket(socket.AF_UNIX)
        client.connect(self.home.data + "/control.sock")  # waits for its turn, as our own client does
        client.settimeout(timeout)
        self.open.append(client)
        return client

    def answer(self, client):
        """Everything until the daemon closes, or the first answer with its body."""
        got = b""
        while True:
            try:
                piece = client.recv(65536)
            except ConnectionResetError:
                return got
            got += piece
            head, _, body = got.partition(b"\r\n\r\n")
            length = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
            if not piece or length and len(body) >= int(length[0].split(b":")[1]):
                return got

    def ask(self, request):
        client = self.connect()
        try:
            client.sendall(request)
        except (BrokenPipeError, ConnectionResetError):
            pass  # refused while it was still being sent: the answer is there all the same
        return self.answer(client)

    def post(self, body):
        return self.ask(POST + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    def figure(self, key):
        with open("/proc/%d/status" % self.pid) as file:
            return next(int(line.split()[1]) for line in file if line.startswith(key + ":"))

    def forget_peak(self):
        if os.geteuid() == 0:
            with open("/proc/%d/clear_refs" % self.pid, "w") as file:
                file.write("5")

    def assert_prompt(self):
        begin = time.monotonic()
        self.ok("run", "list", timeout=PROMPT)
        self.assertLess(time.monotonic() - begin, PROMPT)

    def assert_the_same_daemon(self):
        self.assertEqual(self.home.daemon_pid(), self.pid)


class Floods(Outsiders):
    def test_thousands_of_idle_connections_keep_nobody_from_being_served(self):
        before = self.figure("VmRSS")
        for number in range(2000):
            self.connect()
            if number % 500 == 499:
                self.assert_prompt()
        self.assertLessEqual(self.figure("Threads"), 256 + 32)
        self.assert_memory(self.figure("VmRSS") - before, 64 << 10)  # KiB
        self.close_all()
        self.assert_prompt()
        self.assert_the_same_daemon()

    def test_peers_that_send_a_byte_a_second_keep_nobody_from_being_served(self):
        slow = [self.connect() for _ in range(300)]
        for byte in (b"G", b"E", b"T"):
            for client in slow:
                try:
                    client.send(byte)
                except (BrokenPipeError, ConnectionResetError):
                    pass  # turned out
            self.assert_prompt()
            time.sleep(0.3)
        self.assertLessEqual(self.figure("Threads"), 256 + 32)

    def test_followers_that_never_read_hold_up_themselves_alone(self):
        run_id = self.detach_gated("for n in range(30000): print('x' * 1000)\nsys.stdout.flush()\ntell('written')\nawait_('go')\n")
        self.await_gate("written", 60)
        before = self.figure("VmRSS")
        for _ in range(300):
            client = self.connect()
            client.sendall(b"GET /v1/runs/%s/log?follow=1 HTTP/1.1\r\nHost: r\r\n\r\n" % run_id.encode())
        for _ in range(3):
            self.assert_prompt()
        self.assert_memory(self.figure("VmRSS") - before, 128 << 10)
        self.open_gate("go")
        self.close_all()  # else the places of those who wait come back at the time-out for writing
        self.wait(run_id)
        self.assertEqual(len(self.log(run_id)), 30000 * 1001)

    def test_a_follower_too_many_is_told_so(self):
        run_id = self.detach_gated("tell('running')\nawait_('go')\n")
        self.await_gate("running")
        request = b"GET /v1/runs/%s/wait HTTP/1.1\r\nHost: r\r\n\r\n" % run_id.encode()
        for _ in range(224):
            self.connect().sendall(request)

        def refused():
            client = self.connect()
            client.settimeout(1)
            try:
                client.sendall(request.replace(b"Host", b"Connection: close\r\nHost"))
            except (BrokenPipeError, ConnectionResetError):
                pass  # refused while it was still being sent: the answer is there all the same
            try:
                answer = self.answer(client)
            except TimeoutError:
                return None  # it has taken a place that was still free
            return answer if b" 503 " in answer else None
        answer = wait_until(refused, "all places are taken")
        self.assertIn(b"hint", answer)
        self.assert_prompt()
        self.open_gate("go")
        self.close_all()
        self.wait(run_id)

    def test_pipelined_requests_are_answered_one_after_the_other(self):
        client = self.connect()
        many = 2000
        asked = 0
        got = b""
        client.setblocking(False)
        flood = GET * many
        deadline = time.monotonic() + 60
        while got.count(b"HTTP/1.1 200") < many:
            self.assertLess(time.monotonic(), deadline)
            try:
                asked += client.send(flood[asked:asked + 65536])
            except BlockingIOError:
                pass
            try:
                got += client.recv(1 << 20)
            except BlockingIOError:
                time.sleep(0.001)
        self.assertEqual(asked, len(flood))

    def test_a_pipeline_whose_answers_nobody_reads_costs_nothing_but_itself(self):
        before = self.figure("VmRSS")
        for _ in range(20):
            client = self.connect()
            client.setblocking(False)
            try:
                for _ in range(200):
                    client.send(GET * 500)
            except BlockingIOError:
                pass
        self.assert_prompt()
        self.assert_memory(self.figure("VmRSS") - before, 64 << 10)


class Bombs(Outsiders):
    def tearDown(self):
        self.assert_the_same_daemon()
        self.assertEqual([run for run in self.runs() if run["status"] != "Completed"], [])
        super().tearDown()

    def assert_status(self, answer, *wanted):
        self.assertIn(answer[:12], [b"HTTP/1.1 %d" % status for status in wanted], answer[:600])

    def test_headers_without_end_are_refused(self):
        self.forget_peak()
        before = self.figure("VmRSS")
        for request in (b"GET /" + b"x" * 200000, b"GET /v1/daemon HTTP/1.1\r\n" + b"A: b\r\n" * 50000,
                        b"GET /v1/daemon HTTP/1.1\r\nA: " + b"x" * 200000, POST + b"Transfer-Encoding: chunked\r\n\r\n1;" + b"x" * 200000,
                        POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"A: b\r\n" * 50000):
            with self.subTest(request[:80]):
                self.assert_status(self.ask(request), 400, 431)
        self.assert_memory(self.figure("VmHWM") - before, 64 << 10)

    def test_bodies_without_end_are_refused(self):
        endless = POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"10000\r\n" + b" " * 65536 + b"\r\n"
        client = self.connect()
        client.sendall(endless)
        sent = 0
        try:
            while sent < 512 << 20:
                client.sendall(b"10000\r\n" + b" " * 65536 + b"\r\n")
                sent += 65536
        except (BrokenPipeError, ConnectionResetError):
            pass
        self.assertLess(sent, 512 << 20)
        self.assert_status(self.answer(client), 413)
        self.assert_status(self.ask(POST + b"Content-Length: 99999999999999\r\n\r\n"), 413)
        self.assert_status(self.ask(POST + b"Content-Length: 99999999999999999999999999\r\n\r\n"), 400)

    def test_json_that_grows_when_it_is_parsed_is_refused_before(self):
        self.forget_peak()
        before = self.figure("VmRSS")
        megabytes = 15 << 20
        for body in (b"[" * megabytes, b"{\"a\":" * (megabytes // 5), b"[" + b"{}," * (megabytes // 3), b"[" + b"0," * (megabytes // 2),
                     b"{" + b"".join(b'"%d":0,' % n for n in range(1000000)), b'{"tags":{' + b",".join(b'"%d":""' % n for n in range(200000)) + b"}}"):
            with self.subTest(body[:20]):
                answer = self.post(body)
                self.assert_status(answer, 400)
                self.assertRegex(answer, rb"more than|nested")
        if os.geteuid() == 0:  # else the peak is what it ever was
            self.assert_memory(self.figure("VmHWM") - before, 128 << 10)

    def test_numbers_and_texts_of_any_size_are_refused_or_taken_as_they_are(self):
        self.write("main.py", "pass\n")
        for value in (b"1e999", b"-1e999", b"9" * 100000, b"0." + b"1" * 100000, b'"' + b"\\ud800" * 10 + b'"', b'"\\u0000"', b"NaN", b"1e-999"):
            for member in (b"priority", b"maxRunDuration", b"memory", b"experiment"):
                with self.subTest((member, value[:10])):
                    answer = self.post(b'{"sourceDirectory": "%s", "script": "no-such.py", "%s": %s}' % (self.project.encode(), member, value))
                    self.assert_status(answer, 400, 404)

    def test_queries_of_any_length_are_answered(self):
        for query in (b"&".join(b"tag=%d" % n for n in range(5000)), b"&".join(b"property=a=b" for n in range(4000)), b"&".join(b"x" for n in range(30000)),
                      b"limit=99999999999999999999", b"limit=-1", b"since=99999999999999h", b"tag=" + b"%25" * 20000, b"status=" + b"A" * 60000):
            with self.subTest(query[:20]):
                self.assert_status(self.ask(b"GET /v1/runs?" + query + b" HTTP/1.1\r\nHost: r\r\nConnection: close\r\n\r\n"), 200, 400, 431)

    def test_what_is_no_http_is_refused(self):
        for request in (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + os.urandom(500), b"\0" * 1000, b"\r\n" * 5000, b"GET / HTTP/9.9\r\n\r\n",
                        b"GET  / HTTP/1.1\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
                        POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", POST + b"Content-Length: -1\r\n\r\n",
                        b"GET /v1/runs/%ff%fe HTTP/1.1\r\nConnection: close\r\n\r\n", b"GET /v1/../../etc/passwd HTTP/1.1\r\nConnection: close\r\n\r\n"):
            with self.subTest(request[:60]):
                self.assert_status(self.ask(request), 400, 404, 408, 413)

    def test_a_half_closed_request_is_answered_and_half_a_request_refused(self):
        client = self.connect()
        client.sendall(GET.replace(b"Host", b"Connection: close\r\nHost"))
        client.shutdown(socket.SHUT_WR)
        self.assert_status(self.answer(client), 200)
        client = self.connect()
        client.sendall(POST + b"Content-Length: 100\r\n\r\n{")
        client.shutdown(socket.SHUT_WR)
        self.assert_status(self.answer(client), 400)


class AnotherUser(Outsiders):
    """Somebody else with an account on the machine; only root can become that."""

    STRANGER = 65534
    fresh_home = True

    def as_stranger(self, code):
        """What Python code that fills `facts` finds as another user."""
        done = subprocess.run(["/usr/bin/python3", "-c", "import errno, json, os, socket\nfacts = {}\n"
                               "def attempt(call):\n    try:\n        call()\n    except OSError as error:\n        return errno.errorcode[error.errno]\n    return ''\n"
                               + code + "\nprint(json.dumps(facts))"],
                              user=self.STRANGER, group=self.STRANGER, extra_groups=[], capture_output=True, cwd="/", timeout=30)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def test_neither_files_nor_socket_nor_processes_are_within_reach(self):
        if os.geteuid() != 0:
            self.skipTest("only root can become another user")
        run_id = self.detach_gated("tell('running')\nawait_('go')\n")
        self.await_gate("running")
        pids = [self.pid, processes.shim_of(run_id).pid, processes.init_of(run_id).pid]
        places = [self.home.data, self.home.data + "/runner.db", self.home.run_directory(run_id), "/proc/%d/environ" % self.pid,
                  "/proc/%d/root/" % self.pid, "/proc/%d/fd" % self.pid, "/proc/%d/environ" % pids[1], "/proc/%d/root/" % pids[2]]
        facts = self.as_stranger("""
facts["places"] = [attempt(lambda: os.listdir(p) if p.endswith(("/", "fd", "data")) else open(p).read()) for p in %r]
facts["socket"] = attempt(lambda: socket.socket(socket.AF_UNIX).connect(%r))
facts["signals"] = [attempt(lambda: os.kill(pid, 9)) for pid in %r]
""" % (places, self.home.data + "/control.sock", pids))
        self.assertEqual(facts, {"places": ["EACCES"] * len(places), "socket": "EACCES", "signals": ["EPERM"] * 3})
        self.open_gate("go")
        self.wait(run_id)

    def test_a_socket_in_a_public_place_is_the_users_alone_all_the_same(self):
        if os.geteuid() != 0:
            self.skipTest("only root can become another user")
        self.home.kill_daemon(signal.SIGTERM)
        place = self.home.new_project()
        os.chmod(place, 0o777)
        self.ok("--socket", place + "/s", "run", "list")
        self.assertEqual(stat.S_IMODE(os.stat(place + "/s").st_mode), 0o600)
        self.assertEqual(self.as_stranger("facts['s'] = attempt(lambda: socket.socket(socket.AF_UNIX).connect(%r))" % (place + "/s")), {"s": "EACCES"})
        os.chmod(place + "/s", 0o777)  # a second line behind the mode
        answer = self.as_stranger("c = socket.socket(socket.AF_UNIX); c.connect(%r); facts['s'] = c.recv(1000).decode()" % (place + "/s"))["s"]
        self.assertIn(" 403 ", answer)
