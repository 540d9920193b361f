"""The HTTP API with curl alone: the contract it serves, a run from submission to its files, and how it refuses."""
import json
import urllib.parse

from support.case import RUN_ID, RunnerTest


class Curl(RunnerTest):
    def setUp(self):
        super().setUp()
        self.ok("daemon", "start")

    def curl(self, path, *options, timeout=60.0):
        """(status, body) of one request."""
        result = self.home.call("curl", "-sS", "--unix-socket", self.home.data + "/control.sock", "-w", "\n%{http_code}", *options,
                                "http://localhost" + path, timeout=timeout)
        self.assertEqual(result.code, 0, result.describe())
        body, _, status = result.out.rpartition(b"\n")
        return int(status), body

    def get(self, path, status=200):
        found, body = self.curl(path)
        self.assertEqual(found, status, body)
        return json.loads(body)

    def post(self, path, document, status=200):
        body = document if isinstance(document, str) else json.dumps(document)
        found, answer = self.curl(path, "-X", "POST", "-H", "Content-Type: application/json", "--data-binary", body)
        self.assertEqual(found, status, answer)
        return json.loads(answer)

    def submission(self, **more):
        return {"script": "main.py", "sourceDirectory": self.project,
                "caller": {"directory": self.project, "variables": {"PATH": "/usr/bin:/bin", "HOME": self.account.home}}, **more}

    def assert_refused(self, status, code, answer):
        self.assertEqual(sorted(answer), ["error"])
        self.assertEqual(sorted(answer["error"]), ["code", "hint", "message"])
        self.assertEqual(answer["error"]["code"], code)
        self.assertTrue(answer["error"]["message"])


class Contract(Curl):
    ROUTES = {("get", "/openapi.json"), ("get", "/v1/daemon"), ("post", "/v1/daemon/stop"), ("get", "/v1/doctor"), ("post", "/v1/runs"),
              ("get", "/v1/runs"), ("get", "/v1/runs/{run}"), ("get", "/v1/runs/{run}/wait"), ("get", "/v1/runs/{run}/log"),
              ("get", "/v1/runs/{run}/files"), ("get", "/v1/runs/{run}/file"), ("post", "/v1/runs/{run}/cancel"),
              ("get", "/v1/runs/{run}/metrics"), ("get", "/v1/experiments")}

    def test_the_served_contract_names_every_route_and_every_route_it_names_answers(self):
        document = self.get("/openapi.json")
        self.assertTrue(document["openapi"].startswith("3."))
        named = {(method, path) for path, methods in document["paths"].items() for method in methods if method in ("get", "post", "put", "delete", "patch")}
        self.assertEqual(self.ROUTES - named, set())
        self.write("main.py", "import os\nos.mkdir('outputs')\nopen('outputs/a', 'w').write('x')\n")
        run = self.post("/v1/runs", self.submission(), 201)["runId"]
        self.get("/v1/runs/%s/wait" % run)
        # What takes the run away comes last: without it the other routes would be of no run.
        for method, path in sorted(named - {("post", "/v1/daemon/stop")}, key=lambda route: (route[0] == "delete", route)):
            with self.subTest((method, path)):
                query = "?name=outputs/a" if path.endswith("/file") else ""
                status, body = self.curl(path.replace("{run}", run) + query, "-X", method.upper(), "-d", "" if method == "post" else "")
                self.assertNotEqual(status, 405, body)
                self.assertNotIn(b"no such route", body)
                self.assertLess(status, 500, body)

    def test_a_path_that_is_no_route_is_not_found_and_another_method_is_refused(self):
        self.assert_refused(404, "notFound", self.get("/v1/nothing", 404))
        status, body = self.curl("/v1/daemon", "-X", "DELETE")
        self.assertEqual(status, 405, body)


class Story(Curl):
    def test_a_run_is_submitted_followed_and_downloaded_with_curl_only(self):
        self.write("main.py", "import os, runner\nrunner.log('m', 1)\nprint('one')\nos.mkdir('outputs')\n"
                              "open('outputs/o ut', 'w').write('bytes')\nraise SystemExit(3)\n")
        run = self.post("/v1/runs", self.submission(tags={"a": "b", "c": None}, maxRunDuration=60), 201)
        self.assertRegex(run["runId"], "^" + RUN_ID.pattern + "$")
        path = "/v1/runs/" + run["runId"]
        self.assertEqual(self.curl(path + "/log?follow=1"), (200, b"one\n"))
        ended = self.get(path + "/wait")
        self.assertEqual((ended["status"], ended["outcome"]["exitCode"], ended["tags"]), ("Failed", 3, {"a": "b", "c": None}))
        self.assertEqual(self.get(path), ended)
        self.assertEqual([f["name"] for f in self.get(path + "/files?prefix=outputs/")["items"]], ["outputs/o ut"])
        self.assertEqual(self.curl(path + "/file?name=" + urllib.parse.quote("outputs/o ut")), (200, b"bytes"))
        self.assertEqual(self.get(path + "/metrics")["items"][0]["name"], "m")
        self.assertEqual(self.curl(path + "/log?offset=1"), (200, b"ne\n"))
        self.assertEqual(self.get("/v1/runs/" + urllib.parse.quote("@last"))["runId"], run["runId"])
        self.assertEqual([r["runId"] for r in self.get("/v1/runs?status=Failed&tag=a=b")["items"]], [run["runId"]])
        self.assertIn({"name": run["experiment"]}, self.get("/v1/experiments")["items"])

    def test_a_run_is_cancelled(self):
        self.write("main.py", "import time\ntime.sleep(600)\n")
        run = self.post("/v1/runs", self.submission(), 201)["runId"]
        self.post("/v1/runs/%s/cancel" % run, {"reason": "because"})
        ended = self.get("/v1/runs/%s/wait" % run)
        self.assertEqual(ended["status"], "Canceled")
        self.assertIn("because", ended["outcome"]["message"])
        self.assert_refused(409, "conflict", self.post("/v1/runs/%s/cancel" % run, {}, 409))

    def test_an_idempotency_key_answers_200_the_second_time(self):
        self.write("main.py", "pass\n")
        first = self.post("/v1/runs", self.submission(idempotencyKey="api"), 201)
        self.assertEqual(self.post("/v1/runs", self.submission(idempotencyKey="api"), 200)["runId"], first["runId"])
        self.assert_refused(409, "conflict", self.post("/v1/runs", self.submission(idempotencyKey="api", name="x"), 409))

    def test_the_daemon_says_who_it_is(self):
        facts = self.get("/v1/daemon")
        self.assertEqual((facts["pid"], facts["home"]), (self.home.daemon_pid(), self.home.data))


class Refusals(Curl):
    def test_malformed_json_is_a_bad_request(self):
        before = self.runs()
        for body in ("{", "[]", "null", "\"x\"", "{\"script\": }", "\x00"):
            with self.subTest(body):
                if body == "\x00":
                    body = "{\"script\": \"a\u0001"
                self.assert_refused(400, "invalid", self.post("/v1/runs", body, 400))
        self.assert_no_new_run(before)

    def test_wrong_types_and_unknown_fields_are_named(self):
        self.write("main.py", "pass\n")
        before = self.runs()
        for more, name in (({"arguments": "text"}, "arguments"), ({"tags": []}, "tags"), ({"priority": "high"}, "priority"),
                           ({"scirpt": "x"}, "scirpt"), ({"sourceDirectory": "relative"}, "relative"), ({"sourceDirectory": 5}, "5"),
                           ({"caller": 1}, "caller"), ({"mounts": [{}]}, "mounts")):
            with self.subTest(name):
                answer = self.post("/v1/runs", self.submission(**more), 400)
                self.assert_refused(400, "invalid", answer)
                self.assertIn(name, answer["error"]["message"])
        self.assert_no_new_run(before)

    def test_wrong_types_of_other_bodies_are_named(self):
        run = self.detach("--command", "true")
        for route, member, value in (("/v1/runs/%s/move" % run, "to", 5), ("/v1/runs/%s/move" % run, "before", ["x"]), ("/v1/runs/%s/cancel" % run, "reason", {}),
                                     ("/v1/gc", "dryRun", "yes"), ("/v1/gc", "explain", 1), ("/v1/fsck", "repair", "no"), ("/v1/daemon/stop", "cancelRuns", 1)):
            answer = self.post(route, {member: value}, 400)
            self.assert_refused(400, "invalid", answer)
            self.assertIn("'%s'" % member, answer["error"]["message"])
        self.wait(run)

    def test_hostile_json_does_not_hurt_the_daemon(self):
        pid = self.home.daemon_pid()
        for body in ("[" * 100000, "{\"script\":" * 5000, json.dumps({"script": "x" * 1000000, "sourceDirectory": "/"})):
            path = self.home.write(self.project + "/body.json", body)
            status, answer = self.curl("/v1/runs", "-X", "POST", "--data-binary", "@" + path)
            self.assertEqual(status, 400, answer[:500])
        self.assertEqual(self.get("/v1/daemon")["pid"], pid)

    def test_a_body_that_is_too_large_is_refused(self):
        path = self.home.write(self.project + "/large.json", b" " * (17 << 20))
        status, body = self.curl("/v1/runs", "-X", "POST", "-H", "Expect:", "--data-binary", "@" + path)
        self.assertEqual(status, 413, body)

    def test_unknown_runs_and_files_are_not_found(self):
        self.assertEqual(self.curl("/v1/runs/%00")[0], 400)
        for path in ("/v1/runs/nothing", "/v1/runs/nothing/log", "/v1/runs/..%2f..%2fetc"):
            with self.subTest(path):
                self.assert_refused(404, "notFound", self.get(path, 404))
        self.submit_python("pass\n")
        self.assert_refused(404, "notFound", self.get("/v1/runs/@last/file?name=../../runner.db", 404))

    def test_parameters_that_are_unknown_or_wrong_are_refused(self):
        for query in ("limit=many", "status=Sleeping", "since=whenever", "colour=red"):
            with self.subTest(query):
                self.assert_refused(400, "invalid", self.get("/v1/runs?" + query, 400))
