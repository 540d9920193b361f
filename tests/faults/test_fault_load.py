"""Much at once, and clients that vanish: what was acknowledged is kept, in its order, and runs once."""
import http.client
import json
import os
import random
import signal
import socket
import sys
import time

from support import processes, settings
from support.case import RunnerTest
from support.waiting import wait_until

RUNNING, QUEUED = 20, 1000
ENDING, LOST = 3, 2  # of those that run, while the daemon is dead
VANISHING = 12


class Api(http.client.HTTPConnection):
    """The daemon's socket."""

    def __init__(self, path):
        super().__init__("localhost", timeout=60)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(self.path)

    def ask(self, method, target, body=None):
        self.request(method, target, None if body is None else json.dumps(body), {"Content-Type": "application/json"})
        answer = self.getresponse()
        return answer.status, json.loads(answer.read())


def submission(test, script):
    """What `runner submit --command SCRIPT` would say."""
    document = {"command": ["sh", "-c", script], "sourceDirectory": test.project, "mounts": [test.gate + ":/gate:rw"]}
    if settings.ISOLATION == "docker":
        document["image"] = settings.IMAGE
        document["caller"] = {"variables": {"DOCKER_HOST": test.home.engine.address}}
    return document


class Many(RunnerTest):
    fresh_home = True
    configuration = "parallel = %d\n" % RUNNING
    SCRIPT = 'echo $RUNNER_RUN_ID >>/gate/ran; echo so far; touch /gate/live-$RUNNER_RUN_ID; ' \
             'while [ ! -e /gate/go ] && [ ! -e /gate/go-$RUNNER_RUN_ID ]; do sleep 0.1; done; echo end'

    def submit_many(self, count, script):
        api = Api(self.home.data + "/control.sock")
        ids = []
        for _ in range(count):
            status, answer = api.ask("POST", "/v1/runs", submission(self, script))
            self.assertIn(status, (200, 201), answer)
            ids.append(answer["runId"])
        api.close()
        return ids

    def test_twenty_that_run_and_a_thousand_that_wait(self):
        self.write("file", "content\n")
        self.home.write(self.gate + "/ran", "", 0o666)
        self.ok("daemon", "start")
        begun = time.monotonic()
        live = self.submit_many(RUNNING, self.SCRIPT)
        for run in live:
            self.await_gate("live-" + run, 60)
        waiting = self.submit_many(QUEUED, "echo $RUNNER_RUN_ID >>/gate/ran")
        print("%d submissions took %.1f s" % (RUNNING + QUEUED, time.monotonic() - begun), file=sys.stderr)

        shims = {run: processes.shim_of(run) for run in live[:ENDING + LOST]}
        self.home.kill_daemon()
        ending, lost = live[:ENDING], live[ENDING:ENDING + LOST]
        for run in ending:
            self.open_gate("go-" + run)
        for run in lost:
            processes.kill_and_wait(shims[run].pid)
        for run in ending:
            self.until_shim_ends(run)
        # In the order of submission, whatever comes back in between. The free places are taken at once by the first that wait.
        begun = time.monotonic()
        queue = self.ok("queue", "list", "--json").json
        print("%.2f s until the next daemon showed its queue" % (time.monotonic() - begun), file=sys.stderr)
        names = [item["runId"] for item in queue["items"]]
        self.assertEqual(names, waiting[QUEUED - len(names):])
        self.assertGreaterEqual(len(names), QUEUED - 400)
        for run in ending:
            self.assertEqual((self.wait(run)["status"], self.log(run)), ("Completed", b"so far\nend\n"))
        for run in lost:
            self.assertEqual((self.wait(run, 125)["outcome"]["kind"], self.log(run)), ("lost", b"so far\n"))
        for run in live[ENDING + LOST:]:
            self.assertEqual(self.show(run)["status"], "Running")
        self.home.kill_daemon()
        self.ok("queue", "pause")
        left = [item["runId"] for item in self.ok("queue", "list", "--json").json["items"]]
        many = [] if settings.LONG else left[40:]
        if many:
            self.ok("cancel", *many, timeout=120)
        self.home.kill_daemon()
        self.ok("queue", "resume")
        self.open_gate("go")
        self.ok("wait", *live, *waiting, code=None, timeout=600)
        for run in live[ENDING + LOST:]:
            self.assertEqual(self.log(run), b"so far\nend\n")
        with open(self.gate + "/ran") as file:
            ran = file.read().split()
        self.assertEqual(sorted(ran), sorted(live + [run for run in waiting if run not in set(many)]))
        self.home.assert_nothing_left()


class VanishingClient(RunnerTest):
    fresh_home = True
    CODE = 'echo $RUNNER_RUN_ID >>/gate/ran'

    def setUp(self):
        super().setUp()
        self.home.write(self.gate + "/ran", "", 0o666)
        self.ok("daemon", "start")

    def arguments(self, key):
        return ("submit", *self.isolation_options(), *self.with_gate, "--idempotency-key", key, "--detach", "--command", self.CODE)

    def assert_one_run_each(self, runs):
        self.assertEqual(len(set(runs.values())), len(runs))
        for run in runs.values():
            self.wait(run)
        self.assertEqual(sorted(run["runId"] for run in self.runs()), sorted(runs.values()))
        with open(self.gate + "/ran") as file:
            self.assertEqual(sorted(file.read().split()), sorted(runs.values()))
        self.home.assert_nothing_left()

    def test_one_that_is_killed_at_any_moment_and_tries_again_has_one_run(self):
        for number in range(3000):
            self.write("tree/d%d/f%d" % (number % 20, number), str(number))
        generator = random.Random(settings.SEED)
        begun = time.monotonic()
        runs = {"first": self.ok(*self.arguments("first")).text.strip()}
        takes = time.monotonic() - begun
        answered = 0
        for number in range(VANISHING):
            self.write("tree/d0/new%d" % number, str(number))
            key = "key%d" % number
            client = self.home.background(*self.arguments(key), directory=self.project)
            time.sleep(takes * number / VANISHING * (0.5 + generator.random()))
            answered += client.process.poll() is not None
            client.kill()
            runs[key] = self.ok(*self.arguments(key)).text.strip()
        self.assertLess(answered, VANISHING)
        self.assert_one_run_each(runs)

    def test_one_that_says_half_or_all_of_it_and_hangs_up(self):
        document = submission(self, self.CODE)
        runs = {}
        for number, part in enumerate((0.1, 0.5, 0.95, 1.0, 1.0, 1.0)):
            key = "key%d" % number
            body = json.dumps(dict(document, idempotencyKey=key)).encode()
            request = b"POST /v1/runs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body
            with socket.socket(socket.AF_UNIX) as caller:
                caller.connect(self.home.data + "/control.sock")
                caller.sendall(request[:int(len(request) * part)])
                if number == 5:
                    wait_until(lambda: self.runs() and len(self.runs()) > 3, "its run is there", 10)
            status, answer = Api(self.home.data + "/control.sock").ask("POST", "/v1/runs", dict(document, idempotencyKey=key))
            self.assertIn(status, (200, 201), answer)
            runs[key] = answer["runId"]
        self.assert_one_run_each(runs)
