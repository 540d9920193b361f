"""The run socket: what a script may ask about its own run and those below it, and that nobody else gets anything there."""
import base64
import hashlib
import hmac
import json
import os
import socket
import stat
import textwrap
import time

from support import processes, run_socket, settings
from support.case import RunnerTest
from support.run_socket import ask
from support.waiting import wait_until
from test_queue import QueueTest

# Before scripts that ask.
with open(run_socket.__file__) as file:
    ASK = file.read() + "ME = '/v1/runs/' + os.environ['RUNNER_RUN_ID']\n"


class RunSocketTest(RunnerTest):
    def facts(self, code, *options, **more):
        return self.python_facts(ASK + "import runner\n" + textwrap.dedent(code), *options, **more)

    def gated(self, code, *options, **more):
        return self.detach_gated(ASK + textwrap.dedent(code), *options, **more)

    @property
    def socket(self):
        return self.home.data + "/api/api.sock"

    def mac_of(self, run_id, attempt=1):
        with open(self.home.data + "/api.key", "rb") as file:
            key = file.read()
        text = run_id.encode() + b"\0" + str(attempt).encode()
        return base64.urlsafe_b64encode(hmac.new(key, text, hashlib.sha256).digest()).rstrip(b"=").decode()

    def token_of(self, run_id, attempt=1):
        return "%s.%d.%s" % (run_id, attempt, self.mac_of(run_id, attempt))

    def status_for(self, run_id, token):
        """What the host gets at the run socket with a token."""
        return ask("GET", "/v1/runs/" + run_id, token=token, path=self.socket)[0]


class ItsOwnRun(RunSocketTest):
    def test_a_script_reads_its_own_run_by_its_id_and_as_a_dot(self):
        found = self.facts("""
            facts["by id"] = ask("GET", ME)
            facts["as a dot"] = ask("GET", "/v1/runs/.")
            facts["id"] = os.environ["RUNNER_RUN_ID"]
            facts["socket"] = os.environ["RUNNER_SOCKET"]
            """)
        self.assertEqual(found["socket"], "/run/runner-api/api.sock")
        for way in ("by id", "as a dot"):
            status, document = found[way]
            self.assertEqual((status, document["runId"], document["status"]), (200, found["id"], "Running"))

    def test_what_was_just_logged_is_read_back_at_once(self):
        found = self.facts("""
            found = []
            for number in range(30):
                runner.log("loss", number)
                status, document = ask("GET", ME + "/metrics?values=1&name=loss")
                found.append(document["runs"][os.environ["RUNNER_RUN_ID"]]["loss"])
            facts["first"], facts["last"] = found[0], found[-1]
            for number in range(20000):
                runner.log("many", number)
            facts["many"] = len(ask("GET", ME + "/metrics?values=1")[1]["runs"][os.environ["RUNNER_RUN_ID"]]["many"]["list"])
            facts["overview"] = {item["name"]: item["count"] for item in ask("GET", ME + "/metrics")[1]["items"]}
            facts["document"] = ask("GET", ME)[1]["metrics"]["loss"][-1]
            """)
        self.assertEqual(found, {"first": {"value": 0}, "last": {"list": list(range(30))}, "many": 20000,
                                 "overview": {"loss": 30, "many": 20000}, "document": 29})

    def test_values_are_whole_and_exact(self):
        found = self.facts("""
            run = runner.Run.get_context()
            run.log("once", 0.1)
            run.log("text", "NaN")
            run.log("nan", float("nan"))
            run.log("big", 2**63 - 1)
            run.log_list("list", [1, -float("inf"), "x"])
            run.log_row("row", a=1, b=float("inf"))
            run.log_row("rows", a=1)
            run.log_row("rows", b=2.5)
            run.log_table("table", {"a": [1, 2], "b": [3]})
            facts["all"] = ask("GET", ME + "/metrics?values=1&recursive=1")[1]["runs"][run.id]
            facts["none"] = ask("GET", ME + "/metrics?values=1&name=other")
            """)
        self.assertEqual(found["all"], {
            "once": {"value": 0.1}, "text": {"value": "NaN"}, "nan": {"value": {"float": "nan"}}, "big": {"value": 2**63 - 1},
            "list": {"list": [1, {"float": "-inf"}, "x"]}, "row": {"row": {"a": 1, "b": {"float": "inf"}}},
            "rows": {"table": {"a": [1, None], "b": [None, 2.5]}}, "table": {"table": {"a": [1, 2], "b": [3, None]}}})
        self.assertEqual(found["none"], [200, {"runs": {}}])
        # The control socket says the same of it.
        answer = self.home.call("curl", "-sS", "--unix-socket", self.home.data + "/control.sock",
                                "http://runner/v1/runs/@last/metrics?values=1")
        [metrics] = answer.json["runs"].values()
        self.assertEqual(metrics, found["all"])

    def test_the_python_package_reads_metrics_back(self):
        found = self.facts("""
            run = runner.Run.get_context()
            run.log("loss", 1); run.log("loss", 0.5); run.log("only", 3)
            facts["metrics"] = run.get_metrics()
            facts["one"] = run.get_metrics("only")
            facts["status"] = run.get_status()
            facts["files"] = run.get_file_names()
            """)
        self.assertEqual(found, {"metrics": {"loss": [1, 0.5], "only": 3}, "one": {"only": 3}, "status": "Running", "files": []})

    def test_its_files_and_its_log(self):
        found = self.facts("""
            import time
            print("a line", flush=True)
            end = time.monotonic() + 20
            while facts.get("log") != "a line\\n" and time.monotonic() < end:
                facts["log"] = ask("GET", ME + "/log")[1]
            facts["files"] = ask("GET", ME + "/files")
            facts["file"] = ask("GET", ME + "/file?name=nothing")[0]
            """)
        self.assertEqual(found, {"log": "a line\n", "files": [200, {"items": [], "nextToken": None}], "file": 404})

    def test_without_a_network_and_for_commands_of_exec_too(self):
        run_id = self.gated("""
            tell("status", str(ask("GET", ME)[0]))
            await_("go")
            """, "--network", "off")
        self.assertEqual(self.await_gate("status"), "200")
        code = ASK + "print(ask('GET', '/v1/runs/.')[1]['runId'])"
        python = "python3" if settings.ISOLATION == "docker" else settings.PYTHON
        self.assertEqual(self.ok("run", "exec", run_id, "--", python, "-c", code).text.strip(), run_id)
        self.open_gate("go")
        self.wait(run_id)

    def test_a_script_ends_its_own_run(self):
        run_id = self.gated("""
            import signal
            told_to_end = []
            signal.signal(signal.SIGTERM, lambda number, frame: told_to_end.append(number))  # after the answer, or before
            status, document = ask("POST", ME + "/cancel", {})
            tell("status", "%d %s" % (status, document["status"]))
            while not told_to_end:
                time.sleep(0.01)
            """)
        self.assertRegex(self.await_gate("status"), "^200 Cancel")
        run = self.wait(run_id, None)
        self.assertEqual(run["status"], "Canceled")
        self.assertIn("cancelled by its own script", run["statusReason"])


class RunsBelow(RunSocketTest):
    configuration = "parallel = 3\n"

    def test_a_script_asks_about_the_runs_below_it_and_not_about_those_above(self):
        top = self.gated("""
            import runner
            runner.log("mine", 1)
            await_("below")
            with open("/gate/below") as file:
                child, grandchild = file.read().split()
            found = {name: [ask("GET", "/v1/runs/" + run + rest) for run in (child, grandchild)]
                     for name, rest in (("document", ""), ("log", "/log"), ("files", "/files"), ("wait", "/wait"))}
            found["all"] = ask("GET", ME + "/metrics?values=1&recursive=1")[1]["runs"]
            found["child's"] = ask("GET", "/v1/runs/" + child + "/metrics?values=1&recursive=1")[1]["runs"]
            tell("found", json.dumps(found))
            await_("go")
            """)
        child = self.detach_python("import runner\nrunner.log('x', 2)\nprint('child')\n", "--parent", top)
        self.wait(child)
        grandchild = self.detach_python(ASK + "import runner\nrunner.log('x', 3)\nprint([ask('GET', '/v1/runs/' + run)[0] for run in %r])\n"
                                        % ([top, child],), "--parent", child)
        self.wait(grandchild)
        self.home.write(os.path.join(self.gate, "ids"), child + " " + grandchild)
        os.rename(os.path.join(self.gate, "ids"), os.path.join(self.gate, "below"))
        found = json.loads(self.await_gate("found"))
        for name in ("document", "wait"):
            self.assertEqual([[status, document["runId"], document["status"]] for status, document in found[name]],
                             [[200, child, "Completed"], [200, grandchild, "Completed"]], name)
        self.assertEqual(found["log"], [[200, "child\n"], [200, [404, 404]]])
        for status, answer in found["files"]:
            self.assertIn("user_logs/std_log.txt", [item["name"] for item in answer["items"]])
        below = {child: {"x": {"value": 2}}, grandchild: {"x": {"value": 3}}}
        self.assertEqual(found["child's"], below)
        self.assertEqual(found["all"], {top: {"mine": {"value": 1}}, **below})
        self.open_gate("go")
        self.wait(top)

    def test_a_script_ends_a_run_below_it_and_reads_what_that_one_logs_meanwhile(self):
        top = self.gated("""
            await_("child")
            with open("/gate/child") as file:
                child = "/v1/runs/" + file.read()
            tell("metrics", json.dumps(list(ask("GET", child + "/metrics?values=1")[1]["runs"].values())))
            tell("cancelled", str(ask("POST", child + "/cancel", {})[0]))
            """)
        child = self.gated("""
            import runner
            runner.log("x", 1)
            tell("id", os.environ["RUNNER_RUN_ID"])
            await_("never")
            """, "--parent", top)
        self.await_gate("id")
        os.rename(os.path.join(self.gate, "id"), os.path.join(self.gate, "child"))
        self.assertEqual(json.loads(self.await_gate("metrics")), [{"x": {"value": 1}}])
        self.assertEqual(self.await_gate("cancelled"), "200")
        self.wait(top)
        run = self.wait(child, None)
        self.assertEqual(run["status"], "Canceled")
        self.assertIn("cancelled by the script of " + top, run["statusReason"])


class OthersRuns(RunSocketTest):
    def test_another_run_is_not_there_whoever_it_is_and_however_it_is_named(self):
        other = self.detach_python("print('other')\n")
        self.wait(other)
        found = self.facts("""
            facts["other"] = [ask(method, "/v1/runs/" + sys.argv[1] + rest)
                              for method, rest in (("GET", ""), ("GET", "/metrics?values=1"), ("GET", "/log"), ("GET", "/files"),
                                                   ("GET", "/wait"), ("POST", "/cancel"), ("POST", "/fail"))]
            facts["nobody"] = ask("GET", "/v1/runs/" + sys.argv[1][:-1] + "x")
            facts["names"] = [ask("GET", "/v1/runs/" + name)[0] for name in ("@last", "@last-1", sys.argv[1][-8:], "%2E%2E", "")]
            """, arguments=[other])
        self.assertEqual([status for status, _ in found["other"]], [404] * 7)
        words = found["other"][0][1]["error"]
        self.assertIn("no run '%s' here" % other, words["message"])
        nobody = other[:-1] + "x"
        self.assertEqual((found["nobody"][0], found["nobody"][1]["error"]["message"]), (404, words["message"].replace(other, nobody)))
        self.assertEqual(found["names"], [404] * 5)
        self.assertEqual(self.show(other)["status"], "Completed")

    def test_nothing_of_the_control_socket_is_to_be_had(self):
        found = self.facts("""
            facts["routes"] = {method + " " + path: ask(method, path, {} if method == "POST" else None)[0]
                               for method, path in (("GET", "/v1/runs"), ("POST", "/v1/runs"), ("GET", "/v1/daemon"), ("POST", "/v1/daemon/stop"),
                                                    ("GET", "/openapi.json"), ("POST", "/v1/gc"), ("GET", "/v1/queue"), ("POST", ME + "/exec"),
                                                    ("POST", ME + "/pause"), ("POST", ME + "/rerun"), ("POST", ME + "/restore"),
                                                    ("POST", ME + "/artifacts"), ("POST", "/v1/sql"), ("POST", "/v1/backup"),
                                                    ("POST", "/v1/interactive"))}
            facts["wrong method"] = ask("DELETE", ME)[0]
            facts["there"] = os.listdir("/run/runner-api")
            try:
                os.unlink("/run/runner-api/api.sock")
            except OSError as problem:
                facts["unlink"] = type(problem).__name__
            """)
        self.assertEqual({route: status for route, status in found["routes"].items() if status != 404}, {})
        self.assertEqual(found["wrong method"], 405)
        self.assertEqual(found["there"], ["api.sock"])
        self.assertIn(found["unlink"], ("OSError", "PermissionError"))


class Tokens(RunSocketTest):
    def test_without_the_runs_token_there_is_no_answer_and_no_second_question(self):
        before = self.detach_python("pass\n")
        self.wait(before)
        found = self.facts("""
            mine = os.environ["RUNNER_TOKEN"]
            me, attempt, mac = mine.rsplit(".", 2)
            other, others_mac = sys.argv[1:]
            wrong = {"none": None, "empty": "", "nonsense": "x", "ended": other + ".1." + others_mac, "forged": me + ".1." + others_mac,
                     "next": me + ".2." + mac, "longer": mine + "A", "shorter": mine[:-1], "another's": other + ".1." + mac, "only": mac}
            facts["wrong"] = {}
            for name, token in wrong.items():
                connection = Connection(os.environ["RUNNER_SOCKET"])
                status, document = ask_on(connection, "GET", ME, token=token)
                facts["wrong"][name] = [status, document["error"]["message"], connection.is_closed()]
            facts["right"] = ask("GET", ME)[0]
            """, arguments=[before, self.mac_of(before)])
        self.assertEqual(set(map(tuple, found["wrong"].values())), {(401, "no valid token", True)}, found["wrong"])
        self.assertEqual(found["right"], 200)

    def test_a_body_of_somebody_without_a_token_is_not_waited_for(self):
        self.runs()
        with socket.socket(socket.AF_UNIX) as peer:
            peer.settimeout(5)
            peer.connect(self.socket)
            peer.sendall(b"POST /v1/runs/x/cancel HTTP/1.1\r\nHost: r\r\nContent-Length: 1000000\r\n\r\n")
            self.assertTrue(peer.recv(100).startswith(b"HTTP/1.1 401"))

    def test_a_token_dies_with_its_run(self):
        run_id = self.gated("tell('running')\nawait_('go')\n")
        self.await_gate("running")
        token = self.token_of(run_id)
        self.assertEqual(self.status_for(run_id, token), 200)
        self.open_gate("go")
        self.wait(run_id)
        self.assertEqual(self.status_for(run_id, token), 401)

    def test_it_is_written_down_nowhere(self):
        run_id = self.gated("""
            import hashlib
            tell("digest", hashlib.sha256(os.environ["RUNNER_TOKEN"].encode()).hexdigest())
            await_("go")
            """, "--secret", "API_KEY", environment={"API_KEY": "a secret beside it"})
        digest = self.await_gate("digest")
        token, mac = self.token_of(run_id), self.mac_of(run_id)
        self.assertEqual(digest, hashlib.sha256(token.encode()).hexdigest())
        self.assertEqual(self.files_with(mac), [])
        if settings.ISOLATION == "docker":
            container = json.dumps(self.home.engine.container_of(run_id))
            self.assertIn("RUNNER_TOKEN=", container)  # empty: runner-init fills it in
            self.assertNotIn(mac, container)
        self.assertFalse(processes.shim_of(run_id).mentions(mac))
        self.assertNotIn(mac, json.dumps(self.show(run_id)))
        self.open_gate("go")
        self.assertNotIn(mac, json.dumps(self.wait(run_id)))
        self.home.kill_daemon()  # with what a database had not yet written to its main file
        self.assertEqual(self.files_with(mac), [])

    def files_with(self, text):
        found = []
        for directory, _, names in os.walk(self.home.base):
            for name in names:
                path = os.path.join(directory, name)
                try:
                    if not os.path.isfile(path) or os.path.islink(path):
                        continue
                    with open(path, "rb") as file:
                        if text.encode() in file.read():
                            found.append(path)
                except FileNotFoundError:
                    pass
        return found

    def test_the_key_and_the_socket_are_the_users_alone(self):
        self.runs()
        for path, mode in ((self.home.data, 0o700), (self.home.data + "/api", 0o711), (self.home.data + "/api.key", 0o600), (self.socket, 0o600)):
            info = os.stat(path)
            self.assertEqual((stat.S_IMODE(info.st_mode), info.st_uid), (mode, self.account.uid), path)
        with open(self.home.data + "/api.key", "rb") as file:
            key = file.read()
        self.assertEqual(len(key), 32)
        self.home.kill_daemon()
        self.runs()
        with open(self.home.data + "/api.key", "rb") as file:
            self.assertEqual(file.read(), key)


class NextAttempts(QueueTest):
    def test_a_token_dies_with_its_attempt(self):
        helper = RunSocketTest()
        helper.home = self.home
        low = self.detach_gated("""
            tell("low-" + os.environ["RUNNER_ATTEMPT"])
            await_("low-go-" + os.environ["RUNNER_ATTEMPT"])
            """, "--priority", "-1")
        self.await_gate("low-1")
        first, second = helper.token_of(low), helper.token_of(low, 2)
        self.assertEqual([helper.status_for(low, token) for token in (first, second)], [200, 401])
        normal = self.gated("normal")
        self.begun("normal")
        wait_until(lambda: self.show(low)["attempt"] == 2, "the second attempt is in the queue")
        self.assertEqual(helper.status_for(low, first), 401)
        self.let_go("normal")
        self.await_gate("low-2")
        self.assertEqual([helper.status_for(low, token) for token in (first, second)], [401, 200])
        self.open_gate("low-go-2")
        self.wait(low)
        self.wait(normal)


class TheDaemon(RunSocketTest):
    configuration = "parallel = 2\n"

    def test_the_next_daemon_answers_at_the_same_place_inside_a_run_that_lives(self):
        run_id = self.gated("""
            import runner
            tell("before", str(ask("GET", ME)[0]))
            await_("killed")
            try:
                ask("GET", ME)
            except OSError as problem:
                tell("meanwhile", type(problem).__name__)
            await_("back")
            runner.log("x", 1)
            tell("after", json.dumps(ask("GET", ME + "/metrics?values=1")))
            await_("go")
            """)
        self.assertEqual(self.await_gate("before"), "200")
        self.home.kill_daemon()
        self.open_gate("killed")
        self.assertEqual(self.await_gate("meanwhile"), "ConnectionRefusedError")
        self.runs()  # starts a daemon
        self.open_gate("back")
        self.assertEqual(json.loads(self.await_gate("after")), [200, {"runs": {run_id: {"x": {"value": 1}}}}])
        self.open_gate("go")
        self.wait(run_id)

    def test_the_python_package_waits_for_a_daemon_that_comes_back(self):
        run_id = self.gated("""
            import runner
            run = runner.Run.get_context()
            run.log("x", 1)
            tell("running")
            await_("killed")
            tell("metrics", json.dumps(run.get_metrics()))
            """)
        self.await_gate("running")
        self.home.kill_daemon()
        self.open_gate("killed")
        self.runs()
        self.assertEqual(json.loads(self.await_gate("metrics")), {"x": 1})
        self.wait(run_id)

    def test_a_flood_holds_up_neither_the_user_nor_another_run(self):
        flood = self.gated("""
            import threading, time
            stop = time.monotonic() + 120
            def flood(token):
                while time.monotonic() < stop and not os.path.exists("/gate/go"):
                    peers = []
                    try:
                        for number in range(60):
                            peer = socket.socket(socket.AF_UNIX)
                            peer.settimeout(5)
                            peer.connect(os.environ["RUNNER_SOCKET"])
                            head = "GET " + ME + " HTTP/1.1\\r\\nHost: r\\r\\n"
                            if token:
                                head += "Authorization: Bearer " + token + "\\r\\n\\r\\n"
                            peer.sendall(head.encode())
                            peers.append(peer)
                    except OSError:
                        pass
                    for peer in peers:
                        peer.close()
            threads = [threading.Thread(target=flood, args=(token,)) for token in (None, "x", os.environ["RUNNER_TOKEN"]) * 2]
            for thread in threads:
                thread.start()
            tell("flooding")
            for thread in threads:
                thread.join()
            """)
        self.await_gate("flooding")
        end = time.monotonic() + 5
        while time.monotonic() < end:
            self.ok("run", "list", timeout=20)
        found = self.facts("""
            import time
            facts["answers"] = 0
            end = time.monotonic() + 40
            while facts["answers"] < 20 and time.monotonic() < end:
                try:
                    facts["answers"] += ask("GET", ME)[0] == 200
                except (OSError, http.client.HTTPException):
                    time.sleep(0.01)  # turned out: asked again, as the Python package does
            """)
        self.assertEqual(found["answers"], 20)
        self.open_gate("go")
        self.wait(flood)

    def test_more_connections_than_a_run_has_places_are_answered_in_turn(self):
        found = self.facts("""
            import time
            kept = []
            for number in range(20):
                kept.append(Connection(os.environ["RUNNER_SOCKET"]))
                facts[str(number)] = ask_on(kept[-1], "GET", ME, token=os.environ["RUNNER_TOKEN"])[0]
                time.sleep(0.11)  # from then on one that asks nothing makes room
            facts["open"] = sum(not connection.is_closed() for connection in kept)
            """)
        self.assertEqual(found.pop("open"), 8)
        self.assertEqual(set(found.values()), {200})


class Hostile(RunSocketTest):
    def test_large_and_malformed_questions_are_refused_and_the_next_is_answered(self):
        found = self.facts("""
            token = os.environ["RUNNER_TOKEN"]
            facts["bomb"] = ask("POST", ME + "/cancel", {"reason": [[]] * 100001})[0]
            def raw(text):
                peer = socket.socket(socket.AF_UNIX)
                peer.settimeout(20)
                peer.connect(os.environ["RUNNER_SOCKET"])
                try:
                    peer.sendall(text)
                except OSError:
                    pass
                return peer.recv(12).decode()
            head = "Authorization: Bearer " + token + "\\r\\n"
            facts["body"] = raw(("POST " + ME + "/cancel HTTP/1.1\\r\\nHost: r\\r\\n" + head + "Content-Length: 20000000\\r\\n\\r\\n").encode())
            facts["garbage"] = raw(b"\\x00\\x01\\x02\\r\\n\\r\\n")
            facts["after"] = ask("GET", ME)[1]["status"]
            """)
        self.assertEqual(found, {"bomb": 400, "body": "HTTP/1.1 413", "garbage": "HTTP/1.1 400", "after": "Running"})
