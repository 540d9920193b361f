"""Output of any size and kind: kept exactly, in bounded memory, readable from anywhere in it, shown harmless on a terminal."""
import hashlib
import http.client
import json
import os
import socket
import subprocess
import textwrap
import time
import urllib.parse

from support import processes, program
from support.case import RunnerTest
from support.on_terminal import OnTerminal
from support.waiting import wait_until

LOG = "user_logs/std_log.txt"
NUMBERED = """\
    import os, sys
    block = b"".join(b"line %012d\\n" % n for n in range(1 << 16))  # {bytes} bytes, compressible
    for number in range({times}):
        sys.stdout.buffer.write(block.replace(b"line", b"%04d" % number))
    sys.stdout.buffer.flush()
    """
BLOCK = 18 << 16  # bytes that NUMBERED prints a time


def numbered(times):
    return textwrap.dedent(NUMBERED).format(bytes=BLOCK, times=times)


def numbered_line(at):
    """The line that the output of `numbered` has from byte `at`, a multiple of 18, on."""
    return b"%04d %012d\n" % (at // BLOCK, at % BLOCK // 18)


class Connection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("runner", timeout=60)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(self.path)


class OutputTest(OnTerminal, RunnerTest):
    def ask(self, target, **headers):
        """(status, headers, body) of a GET."""
        connection = Connection(self.home.data + "/control.sock")
        try:
            connection.request("GET", target, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def log_target(self, run, **query):
        return "/v1/runs/%s/log?%s" % (run, urllib.parse.urlencode(query))

    def status_kib(self, pid, key):
        with open("/proc/%d/status" % pid) as file:
            for line in file:
                if line.startswith(key + ":"):
                    return int(line.split()[1])
        raise AssertionError("no %s of process %d" % (key, pid))


class Exact(OutputTest):
    def test_nuls_bad_utf8_bars_and_a_line_of_100_megabytes_are_kept_exactly(self):
        run_id = self.detach_gated("""\
            out = sys.stdout.buffer
            out.write(b"\\0\\xff\\xfe\\xc0\\x80 \\x1b]0;title\\x07\\x9b2J\\n")
            for n in range(1000): out.write(b"\\r%3d%%" % (n // 10))
            out.write(b"\\r\\n")
            for n in range(100): out.write(b"%06d" % n + b"x" * ((1 << 20) - 6))
            out.write(b"\\nno newline at the end")
            out.flush()
            tell("written")
            await_("go")
            """)
        wanted = (b"\0\xff\xfe\xc0\x80 \x1b]0;title\x07\x9b2J\n" + b"".join(b"\r%3d%%" % (n // 10) for n in range(1000)) + b"\r\n" +
                  b"".join(b"%06d" % n + b"x" * ((1 << 20) - 6) for n in range(100)) + b"\nno newline at the end")
        digest = hashlib.sha256(wanted).hexdigest()
        self.await_gate("written", 60)
        wait_until(lambda: os.path.getsize(self.home.run_directory(run_id) + "/std_log.txt") == len(wanted), "all of it is in the log")
        self.assertEqual(hashlib.sha256(self.log(run_id)).hexdigest(), digest)
        self.assertEqual(self.ok("logs", "--tail", "1", run_id).out, b"no newline at the end")
        self.open_gate("go")
        self.wait(run_id)
        self.assertEqual(hashlib.sha256(self.log(run_id)).hexdigest(), digest)
        self.assertEqual(self.ok("logs", "--tail", "1", run_id).out, b"no newline at the end")
        last = self.ok("logs", "--tail", "2", run_id).out
        self.assertEqual((len(last), last[:6]), ((100 << 20) + 22, b"000000"))
        artifacts = {file["name"]: file for file in self.ok("run", "files", run_id, "--json").json["items"]}
        self.assertEqual((artifacts[LOG]["bytes"], artifacts[LOG]["sha256"]), (len(wanted), digest))

    def test_nothing_is_lost_while_there_is_no_daemon(self):
        run_id = self.detach_gated("tell('running')\nawait_('dead')\n" + numbered(60) +
                                   "\ntell('written')\nawait_('go')\n")
        self.await_gate("running")
        self.home.kill_daemon()
        self.open_gate("dead")
        self.await_gate("written", 60)
        self.open_gate("go")
        self.wait(run_id)
        log = self.log(run_id)
        self.assertEqual(len(log), 60 * BLOCK)
        for at in range(0, len(log), 18 * 4999):
            self.assertEqual(log[at:at + 18], numbered_line(at))


class Large(OutputTest):
    """200 MB: whoever held that in memory would be seen."""
    TIMES = 170
    BYTES = TIMES * BLOCK
    MOST_KIB = 96 << 10  # of the daemon; it has 20 MiB by itself

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.run_id = None

    def setUp(self):
        super().setUp()
        if self.run_id is None:
            type(self).run_id = self.make_run()

    def make_run(self):
        run_id = self.detach_gated(numbered(self.TIMES) + "\ntell('written')\nawait_('go')\n")
        self.await_gate("written", 120)
        log = self.home.run_directory(run_id) + "/std_log.txt"
        wait_until(lambda: os.path.getsize(log) == self.BYTES, "all of it is in the log", 60)
        type(self).shim_kib = self.status_kib(processes.shim_of(run_id).pid, "VmHWM")
        self.check_parts(run_id)
        self.open_gate("go")
        self.wait(run_id, timeout=120)
        return run_id

    def check_parts(self, run_id):
        for offset in (0, 18 * 12345, self.BYTES - 18 * 7):
            self.assertEqual(self.ok("logs", run_id, "--offset", str(offset), "--limit-bytes", "36").out,
                             numbered_line(offset) + numbered_line(offset + 18))
        self.assertEqual(self.ok("logs", "-n", "3", run_id).out, b"".join(numbered_line(self.BYTES - 18 * n) for n in (3, 2, 1)))
        self.assertEqual(self.ok("logs", "--head", "2", run_id).out, numbered_line(0) + numbered_line(18))
        self.assertEqual(self.ok("logs", "--tail", "0", run_id).out, b"")
        last = self.ok("logs", "--tail", "70000", run_id).out  # more than is looked through at once
        self.assertEqual((len(last), last[:18]), (70000 * 18, numbered_line(self.BYTES - 70000 * 18)))
        document = self.ok("logs", "--json", "--tail", "1", run_id).json
        self.assertEqual((document["offset"], document["text"]), (self.BYTES - 18, numbered_line(self.BYTES - 18).decode()))

    def test_neither_shim_nor_daemon_holds_it_in_memory(self):
        self.assertLess(self.shim_kib, 16 << 10)
        self.assert_memory(self.status_kib(self.home.daemon_pid(), "VmHWM"), self.MOST_KIB)

    def test_it_is_stored_compressed(self):
        self.assertLess(os.path.getsize(self.home.data + "/content.db"), self.BYTES // 4)

    def test_parts_of_a_stored_log(self):
        self.check_parts(self.run_id)

    def test_the_end_costs_no_more_than_the_beginning(self):
        def cpu(*query):
            pid = self.home.daemon_pid()
            before = self.cpu_seconds(pid)
            for _ in range(20):
                self.ok("logs", self.run_id, *query)
            return self.cpu_seconds(pid) - before
        cpu("--tail", "1")
        end, whole = cpu("--tail", "1"), 20 * self.BYTES / 3e9  # nothing reads faster than 3 GB/s
        self.assertLess(end, whole / 2)

    @staticmethod
    def cpu_seconds(pid):
        with open("/proc/%d/stat" % pid) as file:
            fields = file.read().rpartition(") ")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def test_http_ranges(self):
        for target in (self.log_target(self.run_id), "/v1/runs/%s/file?name=%s" % (self.run_id, LOG)):
            status, headers, body = self.ask(target, Range="bytes=18-53")
            self.assertEqual((status, body), (206, numbered_line(18) + numbered_line(36)))
            self.assertEqual(headers["Content-Range"], "bytes 18-53/%d" % self.BYTES)
            self.assertEqual(self.ask(target, Range="bytes=-18")[2], numbered_line(self.BYTES - 18))
            self.assertEqual(self.ask(target, Range="bytes=%d-" % (self.BYTES - 36))[2],
                             numbered_line(self.BYTES - 36) + numbered_line(self.BYTES - 18))
            status, headers, body = self.ask(target, Range="bytes=%d-" % self.BYTES)
            self.assertEqual((status, headers["Content-Range"]), (416, "bytes */%d" % self.BYTES))
            self.assertIn(str(self.BYTES), json.loads(body)["error"]["message"])

    def test_a_range_that_is_none_gives_the_whole(self):
        short = self.detach_python("print('abc')\n")
        self.wait(short)
        for wrong in ("bytes=2-1", "lines=1-2", "bytes=a-b", "bytes=0-1,3-3", "bytes="):
            status, headers, body = self.ask(self.log_target(short), Range=wrong)
            self.assertEqual((status, body, headers["Accept-Ranges"]), (200, b"abc\n", "bytes"), wrong)

    def test_what_does_not_go_together_is_wrong_usage(self):
        for arguments in (("--head", "1", "--tail", "1"), ("--head", "1", "-f"), ("--tail", "1", "--offset", "3"), ("--tail", "x"), ("--head", "-1")):
            self.assert_error(self.runner("logs", self.run_id, *arguments), 2, arguments[0], hint=False)
        self.assertEqual(self.ask(self.log_target(self.run_id, head=1, tail=1))[0], 400)
        self.assertEqual(self.ask(self.log_target(self.run_id, tail="many"))[0], 400)


class Follow(OutputTest):
    def test_following_from_the_last_lines_goes_on_with_what_comes_also_over_a_daemons_death(self):
        run_id = self.detach_gated("for n in range(1000): print('line', n, flush=True)\ntell('written')\nawait_('go')\nprint('more')\n")
        self.await_gate("written")
        wait_until(lambda: self.log(run_id).endswith(b"line 999\n"), "all of it is in the log")
        follower = self.home.background("logs", "-f", "--tail", "2", run_id)
        follower.wait_for_output(b"line 999\n")
        self.home.kill_daemon()
        self.show(run_id)
        self.open_gate("go")
        self.assertEqual(follower.finish().out, b"line 998\nline 999\nmore\n")

    def test_a_reader_that_stops_reading_holds_up_nobody(self):
        run_id = self.detach_gated("tell('running')\nawait_('go')\n" + numbered(170) +
                                   "\ntell('written')\nawait_('end')\n")
        self.await_gate("running")
        stopped = socket.socket(socket.AF_UNIX)
        self.addCleanup(stopped.close)
        stopped.connect(self.home.data + "/control.sock")
        stopped.sendall(b"GET %s HTTP/1.1\r\nHost: runner\r\n\r\n" % self.log_target(run_id, follow=1).encode())
        self.assertTrue(stopped.recv(1))  # it is being answered, and reads no more
        copy = open(self.home.base + "/copy", "wb+")
        self.addCleanup(copy.close)
        follower = subprocess.Popen([program.program("runner"), "logs", "-f", run_id], env=self.home.environment(), stdout=copy,
                                    start_new_session=True, **self.account.popen_options())
        self.addCleanup(follower.kill)
        self.open_gate("go")
        self.await_gate("written", 60)  # the script has not waited for it
        begin = time.monotonic()
        other = self.submit_python("print('other')\n", "--dry-run")
        self.assertTrue(other.out)
        self.runs()
        self.assertLess(time.monotonic() - begin, 10)
        self.open_gate("end")
        self.wait(run_id, timeout=60)
        self.assertEqual(follower.wait(60), 0)
        self.assertEqual(copy.seek(0, os.SEEK_END), 170 * BLOCK)


class Limit(OutputTest):
    configuration = 'max_log_size = "1m"\n'

    def long_output(self, *options):
        return self.detach_python("import sys\nfor n in range(300000): print('%011d' % n)\nprint('the end', file=sys.stderr)\n", *options)

    def test_beyond_the_limit_nothing_is_kept_the_script_goes_on_and_a_notice_says_so(self):
        run_id = self.long_output()
        document = self.wait(run_id)
        self.assertEqual(document["outcome"]["kind"], "exited")
        wanted = b"".join(b"%011d\n" % n for n in range(90000))[:1 << 20]
        self.assertEqual(self.log(run_id), wanted)
        dropped = 300000 * 12 + 8 - (1 << 20)
        notices = [notice for notice in document["notices"] if LOG in notice]
        self.assertEqual(len(notices), 1, document["notices"])
        self.assertIn("(%d bytes) were not kept" % dropped, notices[0])
        self.assertIn("--max-log-size", notices[0])

    def test_a_run_may_have_another_limit_or_none(self):
        run_id = self.long_output("--max-log-size", "2m")
        document = self.wait(run_id)
        self.assertEqual(len(self.log(run_id)), 2 << 20)
        self.assertEqual(document["runDefinition"]["maxLogBytes"], 2 << 20)
        run_id = self.long_output("--max-log-size", "unlimited")
        document = self.wait(run_id)
        self.assertEqual(len(self.log(run_id)), 300000 * 12 + 8)
        self.assertEqual([notice for notice in document["notices"] if LOG in notice], [])

    def test_a_limit_that_is_no_size_is_wrong_usage(self):
        self.write("main.py", "")
        self.assert_error(self.runner("submit", *self.isolation_options(), "--max-log-size", "much", "main.py"), 2, "--max-log-size", "much", hint=False)


class Terminal(OutputTest):
    NASTY = (b"plain \x1b[1;31mred\x1b[0m \x1b[2J\x1b[H \x1b]0;owned\x07 \x1b]52;c;aGk=\x1b\\ \x1bP1$r\x1b\\ \x1b[6n \x1bc "
             b"\x07 \x9b5n \xc2\x9b6n \x00 \xff caf\xc3\xa9 \xe2\x80\xae\n")

    def test_escapes_become_visible_and_colours_stay(self):
        self.submit_python("import sys\nsys.stdout.buffer.write(%r)\n" % self.NASTY)
        for arguments in (("logs", "@last"), ("logs", "-f", "@last")):
            seen = self.on_terminal(*arguments)
            self.assertEqual(seen, b"plain \x1b[1;31mred\x1b[0m ^[[2J^[[H ^[]0;owned^G ^[]52;c;aGk=^[\\ ^[P1$r^[\\ ^[[6n ^[c "
                                   b"^G \\x9b5n \\x9b6n ^@ \\xff caf\xc3\xa9 \\u202e\n")

    def test_elsewhere_and_with_raw_the_bytes_are_exact(self):
        self.submit_python("import sys\nsys.stdout.buffer.write(%r)\n" % self.NASTY)
        self.assertEqual(self.log(), self.NASTY)
        self.assertEqual(self.ok("logs", "-f", "@last").out, self.NASTY)
        self.assertEqual(self.on_terminal("logs", "--raw", "@last"), self.NASTY)
        self.assertEqual(self.on_terminal("logs", "-f", "--raw", "@last"), self.NASTY)

    def test_a_progress_bar_is_shown_in_its_last_state(self):
        self.submit_python("for n in range(10001): print('\\r\\033[32m%5.1f%%\\033[0m' % (n / 100), end='')\nprint('\\ndone')\n")
        self.assertGreater(len(self.log()), 100000)
        self.assertEqual(self.on_terminal("logs", "@last"), b"\x1b[32m100.0%\x1b[0m\ndone\n")

    def test_a_live_progress_bar_is_redrawn_in_its_row(self):
        run_id = self.detach_gated("print('10%', end='', flush=True)\ntell('first')\nawait_('go')\nprint('\\r20%', end='', flush=True)\nawait_('end')\nprint()\n")
        self.await_gate("first")
        self.open_gate("go")
        seen = self.on_terminal("logs", "-f", run_id, until=b"20%")
        self.assertRegex(seen, rb"^(10%\r\x1b\[K)?20%$")
        self.open_gate("end")
        self.wait(run_id)

    def test_submit_shows_the_same_on_a_terminal(self):
        self.write("main.py", "import sys\nsys.stdout.buffer.write(%r)\n" % self.NASTY)
        self.assertIn(b"^[]52;c;aGk=", self.on_terminal("submit", *self.isolation_options(), "main.py"))
        self.assertIn(self.NASTY, self.on_terminal("submit", *self.isolation_options(), "--raw", "main.py"))

    def test_a_style_that_is_left_on_ends_with_the_log(self):
        self.submit_python("print('\\033[31mred for ever')\n")
        self.assertEqual(self.on_terminal("logs", "@last"), b"\x1b[31mred for ever\n\x1b[0m")
