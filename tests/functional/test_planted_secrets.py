"""Values that must be kept nowhere, planted wherever a user may have some, and then searched for in everything that is left."""
import base64
import http.server
import json
import os
import secrets
import threading
import urllib.parse

from support import processes
from support.case import RunnerTest
from support.settings import only_in
from support.waiting import wait_until


class TellTale(http.server.BaseHTTPRequestHandler):
    """A package index that says back, in its reason and its page, the credentials it was sent."""

    asked = []

    def do_GET(self):
        sent = self.headers.get("Authorization", "")
        told = base64.b64decode(sent.partition(" ")[2] or "").decode(errors="replace")
        self.asked.append(self.path + " " + told)
        self.send_error(403, "refused %s %s %s" % (told, sent, self.path))

    do_HEAD = do_GET

    def log_message(self, *_):
        pass


class Watch(threading.Thread):
    """Looks at every process of ours, again and again, for what must be in no command line and no environment."""

    def __init__(self, values, names):
        super().__init__(daemon=True)
        self.values, self.names = values, names
        self.found, self.seen = set(), set()
        self.ended = threading.Event()

    def run(self):
        while not self.ended.wait(0.003):
            for pid in filter(str.isdigit, os.listdir("/proc")):
                try:
                    with open("/proc/%s/comm" % pid) as file:
                        name = file.read().strip()
                    if name not in self.names:
                        continue
                    self.seen.add(name)
                    with open("/proc/%s/cmdline" % pid, "rb") as file, open("/proc/%s/environ" % pid, "rb") as other:
                        text = file.read()
                        if name != "runner-guard":  # stands before a tool that is asked to use them, with its variables
                            text += other.read()
                except OSError:
                    continue
                self.found |= {(name, value) for value in self.values if value.encode() in text}

    def end(self):
        self.ended.set()
        self.join()


class Planted(RunnerTest):
    fresh_home = True
    PLACES = ("secret", "index", "extra", "uv", "direct", "query", "proxy", "remote", "channel", "channel_url", "registry", "other")

    def setUp(self):
        super().setUp()
        self.values = {place: "%s-s3cr3t-%s" % (place.replace("_", "-"), secrets.token_hex(8)) for place in self.PLACES}
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), TellTale)
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.address = "127.0.0.1:%d" % server.server_address[1]
        TellTale.asked.clear()
        self.elsewhere = self.home.new_project()  # in no snapshot
        self.variables = {"API_KEY": self.values["secret"], "PIP_INDEX_URL": self.url("index", "/simple"),
                          "PIP_EXTRA_INDEX_URL": "http://%s/more?token=%s" % (self.address, self.values["query"]),
                          "UV_INDEX_URL": self.url("uv", "/simple"), "UV_DEFAULT_INDEX": self.url("uv", "/simple"),
                          "ftp_proxy": "http://user:%s@127.0.0.1:9" % self.values["proxy"], "AWS_SECRET_ACCESS_KEY": self.values["other"],
                          "PIP_RETRIES": "0", "PIP_DEFAULT_TIMEOUT": "3", "DOCKER_CONFIG": self.elsewhere}
        self.write("main.py", "print('ran')\n")

    def url(self, place, path):
        return "http://user:%s@%s%s" % (self.values[place], self.address, path)

    def forms(self):
        """Every form a value may take on its way."""
        for place, value in self.values.items():
            yield place, value.encode()
            yield place, urllib.parse.quote(value).encode().replace(b"-", b"%2D")
            for user in ("user:", ""):
                yield place, base64.b64encode((user + value).encode()).rstrip(b"=")

    def assert_nowhere_in(self, what, content):
        found = sorted({(place, content[max(0, content.index(form) - 300):content.index(form) + 100]) for place, form in self.forms() if form in content})
        self.assertEqual(found, [], what)

    def assert_kept_nowhere(self):
        searched = 0
        for directory, _, names in os.walk(self.home.data):
            for name in names:
                path = os.path.join(directory, name)
                try:
                    if os.path.islink(path) or not os.path.isfile(path):
                        continue
                    with open(path, "rb") as file:
                        self.assert_nowhere_in(path, file.read())
                    searched += 1
                except FileNotFoundError:
                    pass
        self.assertGreater(searched, 5)

    def everything_told(self, run):
        """What the daemon answers about a run and its environment; files come out of a store that may compress them."""
        for arguments in (["show", run], ["show", "--json", run], ["logs", run], ["logs", "--name", "system_logs/environment_build.log", run],
                          ["ls", "--all"], ["env", "list", "--json"], ["daemon", "logs"], ["run", "rerun", "--dry-run", run]):
            result = self.runner(*arguments)
            yield " ".join(arguments), result.out + result.err.encode()
        environment = self.show(run)["environment"] or {}
        if environment.get("digest"):
            for form in ([], ["--json"]):
                result = self.runner("env", "show", *form, environment["digest"])
                yield "env show", result.out + result.err.encode()
        for command in ("download", "restore"):
            directory = self.home.new_project()
            self.runner("run", command, run, *(["-d"] if command == "download" else []), directory)
            for top, _, names in os.walk(directory):
                for name in names:
                    with open(os.path.join(top, name), "rb") as file:
                        yield os.path.join(top, name), file.read()

    def check(self, results):
        for result in results:
            self.assert_nowhere_in(" ".join(map(str, result.arguments)), result.out + result.err.encode())
        for run in self.runs():
            for what, content in self.everything_told(run["runId"]):
                self.assert_nowhere_in(what, content)
        self.assert_kept_nowhere()
        self.home.kill_daemon()  # with what a database had not written to its main file
        self.assert_kept_nowhere()

    def repository(self):
        for words in (["init", "-q"], ["remote", "add", "origin", "https://user:%s@example.org/x.git" % self.values["remote"]]):
            result = self.home.call("git", "-C", self.project, *words)
            self.assertEqual(result.code, 0, result.describe())

    @only_in("sandbox")
    def test_after_runs_and_failed_builds_they_are_nowhere(self):
        self.repository()
        requirements = self.home.write(self.elsewhere + "/requirements.txt", "--index-url %s\n--extra-index-url http://%s/q?token=%s\nalpha\n"
                                       % (self.url("index", "/simple"), self.address, self.values["query"]))
        direct = self.home.write(self.elsewhere + "/direct.txt", "alpha @ %s\n" % self.url("direct", "/alpha-1.0-py3-none-any.whl"))
        conda = self.home.write(self.elsewhere + "/environment.yml", "channels:\n- http://%s/t/%s/main\n- %s\ndependencies:\n- python\n"
                                % (self.address, self.values["channel"], self.url("channel_url", "/conda")))
        self.runs()  # a daemon that has none of them
        watch = Watch(self.values.values(), {"runnerd", "runner-shim", "runner-init", "runner-guard", "runner-engine", "crun", "runc"})
        watch.start()
        results = []
        for options, code in ((["--requirements", requirements], 125), (["--requirements", direct], 125), (["--conda", conda], 125), ([], 0)):
            results.append(self.submit("--secret", "API_KEY", *options, "main.py", code=code, environment=self.variables, timeout=120))
        watch.end()
        self.assertEqual(watch.found, set())
        self.assertLessEqual({"runnerd", "runner-shim", "runner-init", "runner-guard"}, watch.seen)
        asked = "\n".join(TellTale.asked)
        for place in ("index", "direct"):  # the tools had them
            self.assertIn(self.values[place], asked)
        self.assertEqual([run["status"] for run in self.runs()], ["Completed"] + ["Failed"] * 3)
        self.check(results)

    @only_in("docker")
    def test_the_registrys_are_nowhere_after_a_pull_that_failed(self):
        auth = base64.b64encode(("user:" + self.values["registry"]).encode()).decode()
        self.home.write(self.elsewhere + "/config.json", json.dumps({"auths": {self.address: {"auth": auth}}}), 0o600)
        self.runs()
        watch = Watch(self.values.values(), {"runnerd", "runner-shim", "runner-init", "runner-guard", "runner-engine", "crun", "runc"})
        watch.start()
        results = [self.ok("submit", "--image", self.address + "/x:1", "--secret", "API_KEY", "main.py", code=125, environment=self.variables),
                   self.submit("--secret", "API_KEY", "main.py", environment=self.variables)]
        watch.end()
        self.assertEqual(watch.found, set())
        self.check(results)

    def test_a_daemon_that_was_started_with_them_passes_them_on_to_nothing(self):
        run_id = self.detach_gated("tell('environment', repr(dict(os.environ)))\nawait_('go')\n", "--secret", "API_KEY", environment=self.variables)
        self.assert_nowhere_in("the script's variables", self.await_gate("environment").encode())
        shim, init = processes.shim_of(run_id), processes.init_of(run_id)
        for process in [shim, init] + [p for p in processes.processes() if p.parent in (shim.pid, init.pid)]:
            self.assert_nowhere_in(repr(process), process.environment + b" ".join(process.command))
        self.assert_kept_nowhere()
        self.open_gate("go")
        self.wait(run_id)
        wait_until(lambda: not self.home.leftovers(run_id), "nothing is left")
        self.check([])


